//! Tables that are made of a query's rows (`plan/ddl/filled.rs`).

use super::super::Session;
use super::super::decide::{Decided, Decision};
use super::super::simple::Failure;
use super::query;
use crate::error::ClientError;
use crate::plan::ddl::Objects;
use crate::plan::locate::Target;
use crate::plan::{Access, Across};

impl Session {
    /// Runs a command in the running transaction, and fills the table that it makes. Gives its tag.
    pub(super) async fn made(&mut self, objects: &Objects, text: &str) -> Result<String, Failure> {
        let Some(filled) = &objects.filled else { return self.together(objects, text).await };
        self.together(objects, &filled.create).await?;
        let done = Box::pin(self.fill(&filled.insert)).await;
        if done.is_err()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.failed = true;
        }
        Ok(format!("SELECT {}", done?))
    }

    /// Inserts the rows, by the schema that has the table. How many there are.
    async fn fill(&mut self, insert: &str) -> Result<u64, Failure> {
        let planning = self.planning();
        let Decided::One(Decision { plan, target, .. }) = self.decide_with(&planning, insert)? else {
            return Err(ClientError::error("0A000", "the query of this command was not understood").into());
        };
        if let Some(name) = &plan.unknown {
            return Err(ClientError::error("42P01", format!("relation \"{name}\" does not exist")).into());
        }
        match (target.map_err(ClientError::from)?, plan.across()) {
            (Target::Several(_, shards), Some(Across::Spread(spread))) => {
                self.spread_within(&plan, spread, insert, shards).await
            }
            (target, _) => {
                let shard = self.single_shard(&plan, target)?;
                let tag = self.ask_objects(shard, Access::Write, &query(insert), true).await?;
                Ok(tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
            }
        }
    }
}
