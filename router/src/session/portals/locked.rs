//! SELECT … LIMIT … FOR UPDATE over several shards: as many rows are locked as one Postgres would lock.
//!
//! A shard locks a row when it is fetched. Without an order, shards are asked one after the other for what is still missing.
//! With one, the next row of each shard has to be known, and so is locked: each is fetched behind a savepoint, and what is
//! not wanted in the end is unlocked by going back to it.

use super::fetch::Sink;
use super::live::Opening;
use super::{Portal, Rows};
use crate::error::ClientError;
use crate::plan::locate::Params;
use crate::plan::scatter::Scatter;
use crate::plan::{Access, Across};
use crate::reply;
use crate::schema::GroupId;
use crate::session::Session;
use crate::session::asked::Window;
use crate::session::gather::described;
use crate::session::simple::Failure;
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// A query that locks, and where it runs.
pub(in crate::session) struct Locking<'a> {
    pub(in crate::session) scatter: &'a Arc<Scatter>,
    pub(in crate::session) group: GroupId,
    pub(in crate::session) shards: Vec<ShardId>,
    /// The client's own text, for its errors.
    pub(in crate::session) text: &'a str,
    pub(in crate::session) types: &'a [u32],
    /// Bind's body behind the names.
    pub(in crate::session) bind: &'a [u8],
    pub(in crate::session) params: Params<'a>,
}

impl Session {
    /// The same in simple protocol.
    pub(in crate::session) async fn locked_simple(
        &mut self,
        scatter: &Arc<Scatter>,
        (group, shards): (GroupId, Vec<ShardId>),
        text: &str,
    ) -> Result<(), Failure> {
        let bind = [0; 6];
        let malformed = || ClientError::error("08P01", "invalid message format");
        let params = Params::parse(&bind).ok_or_else(malformed)?;
        self.locked_rows(Locking { scatter, group, shards, text, types: &[], bind: &bind, params }).await
    }

    /// Columns, rows and tag.
    pub(in crate::session) async fn locked_rows(&mut self, locking: Locking<'_>) -> Result<(), Failure> {
        let opened = self.open_together();
        let done = self.lock_and_give(locking).await;
        let count = self.close_together(opened, done).await?;
        reply::complete(&mut self.client.output, &format!("SELECT {count}"));
        Ok(())
    }

    async fn lock_and_give(&mut self, locking: Locking<'_>) -> Result<u64, Failure> {
        let Locking { scatter, group, shards, text, types, bind, params } = locking;
        let formats = params.result_formats;
        let opening = Opening {
            scatter,
            group,
            shards,
            access: Access::ReadPrimary,
            text,
            types,
            values: &bind[..bind.len() - formats.len()],
            window: Window::of(&Across::Scatter(scatter.clone()), Some(&params))?,
            fences: true,
        };
        let (live, columns) = self.open_live(opening).await?;
        let mut description = Some(described(&columns, formats));
        let mut portal = Portal::new(b"", 0, Rows::Live(live), columns);
        let done = self.go_forward(&mut portal, u64::MAX, formats, &mut Sink::Client(&mut description)).await;
        let count = done?;
        self.describe_rows(&mut description);
        if let Rows::Live(live) = portal.rows {
            self.close_live(live).await?;
        }
        Ok(count)
    }
}
