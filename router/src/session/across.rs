//! Running a statement on several shards: who is asked what, and how it ends. How the answers become one is next door:
//! `scatter.rs` puts rows together, `combine.rs` groups, `gather.rs` brings rows to one of them.

use super::Session;
use super::asked::{Asked, Window, shard_messages};
use super::batch::Item;
use super::gather::Client;
use super::moment::Asking;
use super::portals::{Locking, needs_portal};
use super::prepared::Prepared;
use super::simple::Failure;
use crate::error::ClientError;
use crate::plan::locate::Params;
use crate::plan::scatter::Scatter;
use crate::plan::{Access, Across, Plan, Tier};
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use crate::sql::command::Command;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::ShardId;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

impl Session {
    /// In simple protocol: rows and CommandComplete, without ReadyForQuery. Gives the tier.
    pub(super) async fn across_simple(
        &mut self,
        plan: &Plan,
        group: GroupId,
        shards: Vec<ShardId>,
    ) -> Result<Tier, Failure> {
        let across = across_of(plan)?;
        if let Across::Gather(gather) = &across {
            return self.gather(gather, plan.access, Client::simple()).await;
        }
        let window = Window::of(&across, None)?;
        let servers = self.open(&across, group, shards, plan.access).await?;
        let told = self.told(&across).await?;
        let messages = if self.takes_snapshots(&servers) {
            // By Bind, a server says when it has begun.
            shard_messages(&told.sql, &[], NO_PARAMS, &no_params()?, told.hidden)
        } else {
            let mut message = Buffer::default();
            frame::put(&mut message, b'Q', &told.sql);
            message
        };
        let answered = self.answers(&servers, messages.filled(), (&across, window), true).await;
        answered.map_err(|failure| told.located(failure))
    }

    /// In extended protocol: the answers to a statement's messages, without ReadyForQuery. Gives the tier.
    pub(super) async fn across_extended(
        &mut self,
        statement: &Arc<Prepared>,
        group: GroupId,
        shards: Vec<ShardId>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<Tier, Failure> {
        let across = across_of(&statement.plan)?;
        if matches!(statement.plan.command, Command::Declare { .. }) {
            Box::pin(self.declare_piece(statement, (group, shards), bytes, items)).await?;
            return Ok(across.tier());
        }
        if needs_portal(&across, items) {
            // An EXECUTE of SQL comes without one.
            let opened = self.open_together();
            let done = Box::pin(self.portal_piece(statement, &across, (group, shards), bytes, items)).await;
            self.close_together(opened, done).await?;
            return Ok(across.tier());
        }
        if let Across::Spread(spread) = &across {
            return Box::pin(self.spread_extended(statement, spread, shards, bytes, items)).await;
        }
        let asked = Asked::of(items, bytes)?;
        self.answer_before_bind(bytes, &items[..asked.bind]).await?;
        let params = Params::parse(asked.params)
            .ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
        if let Across::Gather(gather) = &across {
            let client = Client {
                types: &statement.types,
                bind: asked.params,
                describes: asked.describes,
                bound: true,
            };
            let tier = self.gather(gather, statement.plan.access, client).await?;
            self.closed(asked.closes);
            return Ok(tier);
        }
        let window = Window::of(&across, Some(&params))?;
        let servers = self.open(&across, group, shards, statement.plan.access).await?;
        let told = self.told(&across).await?;
        let messages = shard_messages(&told.sql, &statement.types, asked.params, &params, told.hidden);
        if !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
        let messages = messages.filled();
        let answered = self.answers(&servers, messages, (&across, window), asked.describes).await;
        let tier = answered.map_err(|failure| told.located(failure))?;
        self.closed(asked.closes);
        Ok(tier)
    }

    pub(super) fn closed(&mut self, portals: usize) {
        for _ in 0..portals {
            self.client.output.extend(reply::CLOSE_COMPLETE);
        }
    }

    /// Parse and Describe in front of the Bind. A lone Parse needs no server: the shards will say what is wrong with it.
    pub(super) async fn answer_before_bind(&mut self, bytes: &Buffer, items: &[Item]) -> Result<(), Failure> {
        match items {
            [] => {}
            [Item::Parse { name, .. }] if name.is_empty() => {
                self.client.output.extend(reply::PARSE_COMPLETE);
                self.settle(items, 0);
            }
            items => {
                if Box::pin(self.unbound(bytes, items)).await? {
                    return Err(Failure::Answered);
                }
            }
        }
        Ok(())
    }

    /// Servers of the shards that are asked.
    pub(super) async fn open(
        &mut self,
        across: &Across,
        group: GroupId,
        shards: Vec<ShardId>,
        access: Access,
    ) -> Result<Vec<usize>, ClientError> {
        if let Across::Scatter(scatter) = across {
            self.check_floats(scatter)?;
        }
        if across.clock().is_some() {
            self.ask_clock_at_begin();
        }
        let all: Vec<ShardRef> = match shards.is_empty() {
            true => self.database.shards_of(group).collect(),
            false => shards.into_iter().map(|shard| ShardRef { group, shard }).collect(),
        };
        let mut servers = Vec::with_capacity(all.len());
        for shard in all {
            servers.push(self.acquire(shard, access).await?);
        }
        Ok(servers)
    }

    pub(super) fn check_floats(&self, scatter: &Scatter) -> Result<(), ClientError> {
        let floats = scatter.order.iter().any(|key| key.float);
        let digits = self.settings.value("extra_float_digits").map(|v| v.parse::<i32>().unwrap_or(0));
        if floats && digits.is_some_and(|digits| digits < 1) {
            return Err(ClientError::error(
                "0A000",
                "ordering by floats over several shards needs extra_float_digits of 1 or more",
            ));
        }
        Ok(())
    }

    /// A statement without parameters, its rows described and in the format that is asked for: they and the tag. Gives the
    /// tier.
    pub(super) async fn across_rows(
        &mut self,
        across: &Across,
        access: Access,
        group: GroupId,
        shards: Vec<ShardId>,
        binary: bool,
    ) -> Result<Tier, Failure> {
        // No parameters, one format for all.
        let bind = [0, 0, 0, 0, 0, 1, 0, u8::from(binary)];
        self.across_bound(across, access, (group, shards), &[], &bind).await
    }

    /// The same with what stands behind the names in a Bind. BindComplete comes with it, or not.
    pub(super) async fn across_bound(
        &mut self,
        across: &Across,
        access: Access,
        (group, shards): (GroupId, Vec<ShardId>),
        types: &[u32],
        bind: &[u8],
    ) -> Result<Tier, Failure> {
        let params =
            Params::parse(bind).ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
        match across {
            Across::Gather(gather) => {
                let client = Client { types, bind, describes: true, bound: !params.is_empty() };
                return self.gather(gather, access, client).await;
            }
            Across::Scatter(scatter) if scatter.locks_some() => {
                let text = &scatter.shard_sql();
                let locking = Locking { scatter, group, shards, text, types, bind, params };
                Box::pin(self.locked_rows(locking)).await?;
                return Ok(Tier::Scatter);
            }
            Across::Scatter(_) | Across::Combine(_) => {}
            Across::Spread(_) | Across::Explained(_) => {
                let message = "COPY of what a statement over several shards writes is not supported";
                return Err(ClientError::error("0A000", message).into());
            }
        }
        let window = Window::of(across, Some(&params))?;
        let servers = self.open(across, group, shards, access).await?;
        let told = self.told(across).await?;
        let messages = shard_messages(&told.sql, types, bind, &params, told.hidden);
        let answered = self.answers(&servers, messages.filled(), (across, window), true).await;
        answered.map_err(|failure| told.located(failure))
    }

    /// Sends every server the same, before anything is waited for.
    pub(super) fn send(&mut self, servers: &[usize], messages: &[u8]) {
        for &index in servers {
            let server = &mut self.servers[index].lease;
            server.wire.send(messages);
            server.unnamed = None;
            server.outstanding += 1;
        }
    }

    /// Asks the servers, makes their answers one, and leaves every server ready.
    async fn answers(
        &mut self,
        servers: &[usize],
        messages: &[u8],
        (across, window): (&Across, Window),
        describe: bool,
    ) -> Result<Tier, Failure> {
        let limit = self.statement_limit();
        let answered = limit.within(self.answers_of(servers, messages, across, window, describe)).await;
        let answered = answered.unwrap_or_else(|late| Err(late.into()));
        let drained = self.settle_servers(servers, &answered).await;
        // An error behind a shard's last row is an error of the statement.
        match answered.and_then(|total| drained.map(|()| total).map_err(Failure::from)) {
            Ok(total) => {
                reply::complete(&mut self.client.output, &format!("SELECT {total}"));
                Ok(across.tier())
            }
            Err(failure) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.failed = true;
                }
                Err(failure)
            }
        }
    }

    async fn answers_of(
        &mut self,
        servers: &[usize],
        messages: &[u8],
        across: &Across,
        window: Window,
        describe: bool,
    ) -> Result<u64, Failure> {
        self.ask_at_once(servers, messages, Asking::Rows).await?;
        match across {
            Across::Scatter(scatter) => self.merge(servers, scatter, window, describe).await,
            Across::Combine(combine) => self.combine(servers, combine, window, describe).await,
            // Have ways of their own.
            Across::Gather(_) | Across::Spread(_) | Across::Explained(_) => Ok(0),
        }
    }

    /// Brings every server to its ReadyForQuery, and gives them back. What nobody wants any more is cancelled.
    pub(super) async fn settle_servers<T>(
        &mut self,
        servers: &[usize],
        answered: &Result<T, Failure>,
    ) -> Result<(), ClientError> {
        // Combined groups go out when the servers are back already.
        if self.servers.is_empty() {
            return Ok(());
        }
        let cancels = if answered.is_err() { self.cancel_servers(servers) } else { Cancels::default() };
        if let Err(Failure::Session(_)) = answered {
            return Ok(());
        }
        let drained = self.drain(servers).await;
        cancels.arrived().await;
        let now = Instant::now();
        self.answered = Some(now);
        servers.iter().for_each(|&index| self.servers[index].lease.used_until = Some(now));
        if answered.is_ok() && drained.is_ok() {
            self.release();
        }
        drained
    }

    /// Cancels what servers still work on.
    pub(super) fn cancel_servers(&self, servers: &[usize]) -> Cancels {
        let timeout = self.world.config.pool.cancel_wait_timeout;
        let busy = servers.iter().map(|&index| &self.servers[index].lease).filter(|l| l.outstanding > 0);
        Cancels(busy.map(|lease| tokio::spawn(lease.cancel_target().announce().send(timeout))).collect())
    }

    pub(super) async fn drain(&mut self, servers: &[usize]) -> Result<(), ClientError> {
        let mut failure = Ok(());
        for &index in servers {
            if let Err(error) = self.servers[index].lease.drain().await
                && failure.is_ok()
            {
                failure = Err(super::servers::refused(&error));
            }
        }
        failure
    }
}

/// Cancels of ours on their way.
#[derive(Debug, Default)]
pub(super) struct Cancels(Vec<JoinHandle<()>>);

impl Cancels {
    /// Waits until they are through, or given up: what the servers are asked next is not what they were meant for.
    pub(super) async fn arrived(self) {
        for cancel in self.0 {
            let _ = cancel.await;
        }
    }
}

/// A Bind's body behind the names: no parameters, rows in text.
const NO_PARAMS: &[u8] = &[0; 6];

fn no_params() -> Result<Params<'static>, ClientError> {
    Params::parse(NO_PARAMS).ok_or_else(|| ClientError::error("08P01", "invalid message format"))
}

fn across_of(plan: &Plan) -> Result<Across, ClientError> {
    let refused = || ClientError::error("0A000", "this statement over several shards is not supported yet");
    plan.across().cloned().ok_or_else(refused)
}
