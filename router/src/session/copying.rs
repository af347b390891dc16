//! COPY over several shards, in both protocols: which way it goes.

use super::batch::Item;
use super::prepared::Prepared;
use super::simple::{Failure, everywhere};
use super::{Session, reply};
use crate::error::ClientError;
use crate::plan::Plan;
use crate::plan::copy::CopyPlan;
use crate::schema::GroupId;
use crate::sql::command::Command;
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// How the client asked for a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Simple,
    Extended,
}

impl Session {
    /// COPY of a table that is on several shards; the client gets everything but ReadyForQuery.
    pub(super) async fn copy(&mut self, plan: &Plan, text: &str, protocol: Protocol) -> Result<(), Failure> {
        match &plan.copy {
            Some(CopyPlan::In(copy)) => {
                self.begin_write(plan, None).await;
                let done = self.copy_in(copy, text, protocol).await;
                self.end_write().await;
                done
            }
            Some(CopyPlan::Out { group, format }) => self.copy_out(*group, format, text).await,
            Some(CopyPlan::Rows { .. }) | None => Err(everywhere(plan).into()),
        }
    }

    /// COPY of a query's rows, which come from several shards.
    pub(super) async fn copy_query(
        &mut self,
        plan: &Plan,
        group: GroupId,
        shards: Vec<ShardId>,
    ) -> Result<(), Failure> {
        let Some(CopyPlan::Rows { across, format, looks }) = &plan.copy else {
            return Err(everywhere(plan).into());
        };
        if let Some((text, splice)) = looks {
            self.look_at_options(group, text, *splice).await?;
        }
        let format = format.as_ref().map_err(|refusal| ClientError::from(refusal.clone()))?;
        let tier = self.copy_out_rows(across, format, plan.access, group, shards).await?;
        self.count(tier);
        Ok(())
    }

    /// One COPY's messages in extended protocol.
    pub(super) async fn copy_piece(
        &mut self,
        statement: &Arc<Prepared>,
        several: Option<(GroupId, Vec<ShardId>)>,
        items: &[Item],
    ) -> Result<bool, Failure> {
        for item in items {
            let Item::Portal { tag: b'E', .. } = item else {
                self.describe_control(std::slice::from_ref(item));
                continue;
            };
            self.check_failed(&Command::Copy)?;
            match several.clone() {
                Some((group, shards)) => self.copy_query(&statement.plan, group, shards).await?,
                None => {
                    self.copy(&statement.plan, &statement.text, Protocol::Extended).await?;
                    self.count(crate::plan::Tier::Scatter);
                }
            }
        }
        Ok(false)
    }
}

/// What Postgres says of a message that no COPY FROM STDIN has.
pub(super) fn unexpected(tag: u8) -> ClientError {
    ClientError::error("08P01", format!("unexpected message type 0x{tag:02X} during COPY from stdin"))
}

/// CopyOutResponse's or CopyInResponse's body: so many columns of one format.
pub(super) fn response(format: u8, columns: usize) -> Vec<u8> {
    let mut body = vec![format];
    body.extend_from_slice(&(columns as u16).to_be_bytes());
    (0..columns).for_each(|_| body.extend_from_slice(&u16::from(format).to_be_bytes()));
    body
}

/// Says how many rows were copied.
pub(super) fn complete(session: &mut Session, rows: u64) {
    let tag = format!("COPY {rows}");
    reply::complete(&mut session.client.output, &tag);
    session.audit_answer(Some(vec![tag]), None);
}

/// The rows that a CommandComplete of COPY counts.
pub(super) fn copied(body: &[u8]) -> Result<u64, ClientError> {
    let tag = String::from_utf8_lossy(body);
    let count = tag.trim_end_matches('\0').strip_prefix("COPY ").and_then(|n| n.parse().ok());
    count.ok_or_else(|| ClientError::error("08P01", format!("a shard ended its COPY with \"{tag}\"")))
}
