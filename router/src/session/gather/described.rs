//! Parse and Describe of a statement over several shard groups without a Bind: no shard understands it as it came, so it is
//! made ready as if it were to run, and taken back.

use super::engine::Engine;
use super::prepare::Prepared;
use crate::error::ClientError;
use crate::plan::explain::Format;
use crate::plan::gather::{Brought, Gather};
use crate::plan::locate::{Params, Values};
use crate::plan::{Access, Across, Plan};
use crate::reply;
use crate::schema::ShardRef;
use crate::session::Session;
use crate::session::batch::Item;
use crate::session::explain::column;
use crate::session::prepared::Prepared as Statement;
use crate::session::simple::Failure;
use shardway_pool::frame;

/// Bind's body behind the names: no parameters.
const NO_PARAMS: &[u8] = &[0; 6];

/// The gather of a statement that no shard understands as it came; and the format in which it is explained, where it is.
pub(in crate::session) fn beyond_any_shard(plan: &Plan) -> Option<(&Gather, Option<Format>)> {
    let (across, format) = match plan.across()? {
        Across::Explained(explained) => (explained.plan.as_ref()?.across()?, Some(explained.asked.format)),
        across => (across, None),
    };
    match across {
        Across::Gather(gather) if gather.is_foreign() => Some((gather, format)),
        _ => None,
    }
}

impl Session {
    /// Answers the messages.
    pub(in crate::session) async fn describe_gather(
        &mut self,
        statement: &Statement,
        (gather, explained): (&Gather, Option<Format>),
        items: &[Item],
    ) -> Result<(), Failure> {
        self.settle(items, 0);
        for item in items {
            match item {
                Item::Parse { .. } => self.client.output.extend(reply::PARSE_COMPLETE),
                Item::DescribeStatement { .. } => {
                    let described = self.described_gather(gather, &statement.types).await?;
                    let out = &mut self.client.output;
                    frame::put(out, b't', &described.meant.params);
                    match (explained, &described.meant.columns[..]) {
                        (Some(format), _) => frame::put(out, b'T', &column(format, 0)),
                        (None, []) => out.extend(reply::NO_DATA),
                        (None, columns) => frame::put(out, b'T', columns),
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) async fn described_gather(
        &mut self,
        gather: &Gather,
        types: &[u32],
    ) -> Result<Prepared, Failure> {
        let malformed = || ClientError::error("08P01", "invalid message format");
        let params = Params::parse(NO_PARAMS).ok_or_else(malformed)?;
        let values = Values { text: &gather.text, literals: &gather.literals, params: None, types };
        let all = self.shards_with_rows(gather, &values);
        let of = |(table, from): (&Brought, Vec<ShardRef>)| {
            from.into_iter().take(usize::from(table.is_foreign)).collect()
        };
        let from: Vec<Vec<ShardRef>> = gather.tables.iter().zip(all).map(of).collect();
        let parts = self.parts(gather, Access::Read, &from).await?;
        self.servers[parts.engine].unpreparable = true;
        let engine = Engine {
            gather,
            parts: &parts,
            types,
            params,
            bind: NO_PARAMS,
            describes_only: true,
            is_text_exact: true,
            nested: self.transaction.is_some(),
            max: 0,
        };
        let limit = self.statement_limit();
        let prepared = limit.within(engine.prepare(&mut self.servers[..])).await;
        let prepared = prepared.unwrap_or_else(|late| Err(late.into()));
        let prepared = prepared.map_err(|failure| self.reworded(failure, gather, |position| position));
        let is_over = matches!(prepared, Err(Failure::Session(_)));
        let cleaned = self.clean_up(&parts, prepared.is_ok(), false, is_over).await;
        let prepared = prepared.and_then(|prepared| cleaned.map(|()| prepared).map_err(Failure::from));
        if prepared.is_err()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.failed = true;
        }
        let prepared = prepared?;
        self.release();
        Ok(prepared)
    }
}
