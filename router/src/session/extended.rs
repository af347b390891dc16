//! Running a batch: on one shard as it came, or piece by piece where its statements go to different places.

use super::batch::{Batch, Item};
use super::prepared::Prepared;
use super::caching::Asked;
use super::relay::{Capture, Relay, Step};
use super::simple::Failure;
use super::transaction::Transaction;
use super::{End, Session};
use crate::error::ClientError;
use crate::plan::locate::Target;
use crate::plan::{Access, Plan};
use crate::reply;
use crate::schema::ShardRef;
use crate::sql::command::Command;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::prepared::StatementId;
use shardway_pool::server::ServerConn;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a ReadyForQuery message.
const READY_LEN: usize = 6;

/// Sync.
const SYNC: &[u8] = b"S\0\0\0\x04";

impl Session {
    /// Runs a batch and, if Sync ended it, says ReadyForQuery.
    pub(super) async fn run_batch(&mut self, batch: Batch) -> Result<(), End> {
        let started = Instant::now();
        let ran = match self.one_place(&batch) {
            Some((shard, access)) => self.batch_on(shard, access, &batch, started).await,
            None => self.piecewise(&batch, started).await,
        };
        match ran {
            Ok(Progress { failed: false, ready: true }) => return Ok(()),
            Ok(Progress { failed, ready }) => {
                if ready {
                    return Ok(());
                }
                if failed && !batch.sync {
                    self.skipping = true;
                    return Ok(());
                }
                if failed {
                    self.end_batch_after_error().await;
                    return Ok(());
                }
            }
            Err(failure) => {
                self.fail(failure)?;
                if !batch.sync {
                    self.skipping = true;
                    return Ok(());
                }
                self.end_batch_after_error().await;
                return Ok(());
            }
        }
        if batch.sync {
            self.end_batch().await?;
        }
        Ok(())
    }

    /// Sync after success: a transaction that was opened for the batch commits.
    async fn end_batch(&mut self) -> Result<(), End> {
        if self.transaction.as_ref().is_some_and(|t| !t.explicit)
            && let Err(error) = self.commit(false).await
        {
            self.statement_failed(error)?;
        }
        self.release();
        self.ready();
        Ok(())
    }

    /// Sync after an error: a transaction that was opened for the batch is rolled back.
    pub(super) async fn end_batch_after_error(&mut self) {
        if self.transaction.as_ref().is_some_and(|t| !t.explicit) {
            self.rollback(false).await;
        }
        self.release();
        self.ready();
    }

    /// The one shard that a whole batch can run on as it came; `None` if it must be taken apart.
    fn one_place(&mut self, batch: &Batch) -> Option<(ShardRef, Access)> {
        if !batch.sync || self.transaction.as_ref().is_some_and(|t| !t.explicit) {
            return None;
        }
        let mut shard: Option<ShardRef> = None;
        let mut group = None;
        let mut access = Access::Read;
        for item in &batch.items {
            let (plan, place) = match item {
                Item::Bind { statement, target, .. } => match target.as_ref().ok()? {
                    Target::One(place) => (&statement.plan, Some(*place)),
                    Target::Any(g) => {
                        group.get_or_insert(*g);
                        (&statement.plan, None)
                    }
                    Target::Everywhere(g) if self.database.maps[g.0].shard_count() == 1 => {
                        group.get_or_insert(*g);
                        (&statement.plan, None)
                    }
                    Target::Everywhere(_) | Target::Several(..) => return None,
                },
                Item::Portal { portal, .. } => {
                    if bound_here(&batch.items, portal) {
                        continue;
                    }
                    let place = self.portal_shard(portal)?;
                    if shard.is_some_and(|s| s != place) {
                        return None;
                    }
                    shard = Some(place);
                    continue;
                }
                Item::Parse { statement, .. } | Item::DescribeStatement { statement, .. } => {
                    group.get_or_insert(super::decide::plan_group(&statement.plan));
                    (&statement.plan, None)
                }
                Item::CloseStatement => continue,
                Item::Fail(_) => return None,
            };
            if !is_servers(&plan.command) {
                return None;
            }
            access = stronger(access, plan, matches!(item, Item::Bind { .. }));
            if let Some(place) = place {
                if shard.is_some_and(|s| s != place) {
                    return None;
                }
                shard = Some(place);
            }
        }
        let shard = match (shard, group) {
            (Some(shard), Some(group)) if shard.group != group => return None,
            (Some(shard), _) => shard,
            (None, Some(group)) => self.any_shard(group),
            // Close alone, or an empty batch: no server is needed.
            (None, None) => return None,
        };
        Some((shard, access))
    }

    /// Sends a whole batch to one shard.
    async fn batch_on(
        &mut self,
        shard: ShardRef,
        access: Access,
        batch: &Batch,
        started: Instant,
    ) -> Result<Progress, Failure> {
        let failed = match self.ask_cache_for_batch(batch).await {
            Asked::Hit(answer) => {
                self.client.output.extend(&answer);
                self.proxy.metrics.cached();
                return Ok(Progress { failed: false, ready: false });
            }
            Asked::Fill(ticket, ttl) => {
                let mut capture = self.capture();
                let access = Access::ReadPrimary;
                let done = self.unit(shard, access, &batch.bytes, &batch.items, true, Some(&mut capture)).await;
                self.finish_fill(ticket, ttl, &capture, READY_LEN);
                done?
            }
            Asked::No => {
                for item in &batch.items {
                    if let Item::Bind { statement, key, .. } = item {
                        self.begin_write(&statement.plan, key.as_deref()).await;
                    }
                }
                let done = self.unit(shard, access, &batch.bytes, &batch.items, true, None).await;
                self.end_write().await;
                done?
            }
        };
        for item in &batch.items {
            if let Item::Bind { statement, .. } = item {
                self.proxy.metrics.ran(statement.plan.tier, started.elapsed());
                self.after_ddl(&statement.plan).await;
            }
        }
        Ok(Progress { failed, ready: true })
    }

    /// Sends items to one shard, with a Sync behind them. Whether the answer is an error.
    async fn unit(
        &mut self,
        shard: ShardRef,
        access: Access,
        bytes: &Buffer,
        items: &[Item],
        ready: bool,
        capture: Option<&mut Capture>,
    ) -> Result<bool, Failure> {
        let index = self.acquire(shard, access).await?;
        let max = self.servers[index].lease.pool().limits().max_prepared.max(1);
        let server = &mut self.servers[index].lease;
        self.script.clear();
        let mut writer = Writer { server, script: &mut self.script, max };
        items.iter().for_each(|item| writer.item(bytes.filled(), item));
        server.wire.output.extend(SYNC);
        server.outstanding += 1;
        let relay = Relay::extended(&mut self.client, server, &mut self.script, ready).capturing(capture);
        let limit = self.world.config.pool.query_timeout;
        match relay.run_within(limit).await {
            Ok(outcome) => {
                let failed = outcome.error.is_some();
                if failed {
                    self.proxy.metrics.server_errors.inc();
                    self.forget_unprepared(index);
                    self.servers[index].lease.unnamed = None;
                }
                self.remember_portals(shard, items);
                self.follow(index, outcome.status);
                Ok(failed)
            }
            Err(broken) => Err(Failure::Statement(self.broken(index, broken)?)),
        }
    }

    /// After an error the server skipped the rest: what was to be prepared there is not.
    fn forget_unprepared(&mut self, index: usize) {
        for step in std::mem::take(&mut self.script) {
            match step {
                Step::ForwardParse(id) => {
                    self.servers[index].lease.prepared.remove(id);
                    self.forget_statement(id);
                }
                Step::SwallowParse(id) => self.servers[index].lease.prepared.remove(id),
                Step::KnownParse(id) => self.forget_statement(id),
                Step::Forward | Step::Swallow | Step::Fabricate(_) => {}
            }
        }
    }

    fn forget_statement(&mut self, id: StatementId) {
        self.statements.retain(|_, statement| statement.id != id);
    }

    fn remember_portals(&mut self, shard: ShardRef, items: &[Item]) {
        let Some(transaction) = &mut self.transaction else { return };
        for item in items {
            if let Item::Bind { portal, .. } = item {
                transaction.portals.insert(portal.clone(), shard);
            }
        }
    }

    /// Runs a batch item by item, each statement where it belongs. Statements that write, and several of them, are
    /// one transaction, as the batch is in Postgres.
    async fn piecewise(&mut self, batch: &Batch, started: Instant) -> Result<Progress, Failure> {
        let binds = || batch.items.iter().filter_map(|i| match i {
            Item::Bind { statement, .. } => Some(statement),
            _ => None,
        });
        let control = binds().any(|s| !is_servers(&s.plan.command));
        let writes = binds().any(|s| s.plan.access == Access::Write && is_servers(&s.plan.command));
        let several = binds().count() > 1;
        if self.transaction.is_none() && !control && (writes && several || !batch.sync && binds().next().is_some()) {
            self.transaction = Some(Transaction::implicit());
        }
        let mut at = 0;
        while at < batch.items.len() {
            let end = piece_end(&batch.items, at);
            if self.piece(&batch.bytes, &batch.items[at..end], started).await? {
                return Ok(Progress { failed: true, ready: false });
            }
            at = end;
        }
        Ok(Progress { failed: false, ready: false })
    }

    /// One statement's messages, or messages that belong to none. Whether the answer is an error.
    async fn piece(&mut self, bytes: &Buffer, items: &[Item], started: Instant) -> Result<bool, Failure> {
        let bind = items.iter().find_map(|item| match item {
            Item::Bind { statement, target, key, .. } => Some((statement.clone(), target.clone(), key.clone())),
            _ => None,
        });
        if let Some(Item::Fail(error)) = items.iter().find(|i| matches!(i, Item::Fail(_))) {
            return Err(error.clone().into());
        }
        let Some((statement, target, key)) = bind else { return self.unbound(bytes, items).await };
        if !is_servers(&statement.plan.command) {
            return self.control_piece(&statement, items).await;
        }
        match target.map_err(ClientError::from)? {
            Target::Several(group, shards) => {
                self.scatter_extended(&statement, group, shards, bytes, items).await?;
                self.proxy.metrics.ran(crate::plan::Tier::Scatter, started.elapsed());
                Ok(false)
            }
            target => {
                let shard = self.single_shard(&statement.plan, target)?;
                self.begin_write(&statement.plan, key.as_deref()).await;
                let done = self.unit(shard, statement.plan.access, bytes, items, false, None).await;
                self.end_write().await;
                let failed = done?;
                self.after_ddl(&statement.plan).await;
                self.proxy.metrics.ran(statement.plan.tier, started.elapsed());
                Ok(failed)
            }
        }
    }

    /// Parse, Describe and Close without a Bind, or a portal of an earlier batch.
    pub(super) async fn unbound(&mut self, bytes: &Buffer, items: &[Item]) -> Result<bool, Failure> {
        let mut group = None;
        for item in items {
            match item {
                Item::Parse { statement, .. } | Item::DescribeStatement { statement, .. } => {
                    if !is_servers(&statement.plan.command) {
                        self.describe_control(items);
                        return Ok(false);
                    }
                    group = Some(super::decide::plan_group(&statement.plan));
                }
                Item::Portal { portal, .. } => {
                    let Some(shard) = self.portal_shard(portal) else {
                        let name = String::from_utf8_lossy(portal);
                        return Err(ClientError::error("34000", format!("portal \"{name}\" does not exist")).into());
                    };
                    return self.unit(shard, Access::ReadPrimary, bytes, items, false, None).await;
                }
                _ => {}
            }
        }
        match group {
            Some(group) => {
                let shard = self.any_shard(group);
                self.unit(shard, Access::Read, bytes, items, false, None).await
            }
            None => {
                items.iter().for_each(|_| self.client.output.extend(reply::CLOSE_COMPLETE));
                Ok(false)
            }
        }
    }

    /// What a session answers itself, in extended protocol.
    async fn control_piece(&mut self, statement: &Arc<Prepared>, items: &[Item]) -> Result<bool, Failure> {
        for item in items {
            match item {
                Item::Portal { tag: b'E', .. } => {
                    self.check_failed(&statement.plan.command)?;
                    self.control(&statement.plan, &statement.text).await?;
                }
                other => self.describe_control(std::slice::from_ref(other)),
            }
        }
        Ok(false)
    }

    fn describe_control(&mut self, items: &[Item]) {
        let out = &mut self.client.output;
        for item in items {
            match item {
                Item::Parse { .. } => out.extend(reply::PARSE_COMPLETE),
                Item::Bind { .. } => out.extend(reply::BIND_COMPLETE),
                Item::DescribeStatement { .. } => {
                    out.extend(reply::NO_PARAMETERS);
                    out.extend(reply::NO_DATA);
                }
                Item::Portal { tag: b'D', .. } => out.extend(reply::NO_DATA),
                Item::Portal { tag: b'C', .. } | Item::CloseStatement => out.extend(reply::CLOSE_COMPLETE),
                Item::Portal { .. } | Item::Fail(_) => {}
            }
        }
    }
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    failed: bool,
    ready: bool,
}

/// Whether servers run the command; else the session answers itself.
pub(super) fn is_servers(command: &Command) -> bool {
    !matches!(
        command,
        Command::Begin
            | Command::Commit { .. }
            | Command::Rollback { .. }
            | Command::Savepoint
            | Command::SetLocal { .. }
            | Command::Set { .. }
            | Command::Reset { .. }
            | Command::DiscardAll
            | Command::Deallocate(_)
            | Command::Unlisten
            | Command::Cursor
            | Command::Empty
    )
}

/// The access that a batch needs, given what it needed so far and one more statement.
fn stronger(so_far: Access, plan: &Plan, runs: bool) -> Access {
    let one = if runs { plan.access } else { Access::Read };
    match (so_far, one) {
        (Access::Write, _) | (_, Access::Write) => Access::Write,
        (Access::ReadPrimary, _) | (_, Access::ReadPrimary) => Access::ReadPrimary,
        _ => Access::Read,
    }
}

fn bound_here(items: &[Item], name: &[u8]) -> bool {
    items.iter().any(|item| matches!(item, Item::Bind { portal, .. } if portal == name))
}

/// Where the piece that starts at `at` ends: a statement's Parse, Bind, Describe and Executes are one piece.
fn piece_end(items: &[Item], at: usize) -> usize {
    let mut bound = false;
    for (i, item) in items.iter().enumerate().skip(at) {
        match item {
            Item::Parse { .. } if i > at => return i,
            Item::Bind { .. } if bound => return i,
            Item::Bind { .. } => bound = true,
            Item::Fail(_) if i > at => return i,
            _ => {}
        }
    }
    items.len()
}

/// Writes messages for a server, with statement names that it knows, and the script of what they are answered with.
struct Writer<'a> {
    server: &'a mut ServerConn,
    script: &'a mut std::collections::VecDeque<Step>,
    max: usize,
}

impl Writer<'_> {
    fn item(&mut self, bytes: &[u8], item: &Item) {
        match item {
            Item::Parse { at, statement, named: false } => {
                self.server.unnamed = Some(statement.id);
                self.copy(&bytes[at.clone()]);
            }
            Item::Parse { statement, named: true, .. } => {
                if self.server.prepared.touch(statement.id) {
                    self.script.push_back(Step::KnownParse(statement.id));
                } else {
                    self.parse(statement);
                    self.script.push_back(Step::ForwardParse(statement.id));
                    self.evict(statement.id);
                }
            }
            Item::Bind { at, statement, named, .. } => {
                self.ensure(statement, *named);
                if *named { self.bind(&bytes[at.clone()], statement) } else { self.copy(&bytes[at.clone()]) }
            }
            Item::DescribeStatement { statement, named } => {
                self.ensure(statement, *named);
                let name = if *named { statement.id.server_name() } else { String::new() };
                frame::put(&mut self.server.wire.output, b'D', &[b"S", name.as_bytes(), b"\0"].concat());
                self.script.push_back(Step::Forward);
            }
            Item::Portal { at, .. } => self.copy(&bytes[at.clone()]),
            Item::CloseStatement => self.script.push_back(Step::Fabricate(reply::CLOSE_COMPLETE)),
            Item::Fail(_) => {}
        }
    }

    fn copy(&mut self, message: &[u8]) {
        self.server.wire.output.extend(message);
        self.script.push_back(Step::Forward);
    }

    /// Sees to it that the server has the statement.
    fn ensure(&mut self, statement: &Prepared, named: bool) {
        if !named {
            if self.server.unnamed != Some(statement.id) {
                self.server.unnamed = Some(statement.id);
                frame::put(&mut self.server.wire.output, b'P', &[b"\0", &statement.parse_tail[..]].concat());
                self.script.push_back(Step::Swallow);
            }
            return;
        }
        if !self.server.prepared.touch(statement.id) {
            self.parse(statement);
            self.script.push_back(Step::SwallowParse(statement.id));
            self.evict(statement.id);
        }
    }

    fn parse(&mut self, statement: &Prepared) {
        let name = statement.id.server_name();
        let body = [name.as_bytes(), b"\0", &statement.parse_tail[..]].concat();
        frame::put(&mut self.server.wire.output, b'P', &body);
    }

    /// Counts the statement in; closes the one that the server used longest ago if it has too many.
    fn evict(&mut self, id: StatementId) {
        if let Some(old) = self.server.prepared.insert(id, self.max) {
            let name = old.server_name();
            frame::put(&mut self.server.wire.output, b'C', &[b"S", name.as_bytes(), b"\0"].concat());
            self.script.push_back(Step::Swallow);
        }
    }

    /// Bind, with the server's name of the statement in the place of the client's.
    fn bind(&mut self, message: &[u8], statement: &Prepared) {
        let body = &message[HEADER..];
        let Some((portal, rest)) = frame::cstr(body) else { return };
        let Some((_, rest)) = frame::cstr(rest) else { return };
        let name = statement.id.server_name();
        let length = 4 + portal.len() + 1 + name.len() + 1 + rest.len();
        let out = &mut self.server.wire.output;
        out.push(b'B');
        out.extend(&(length as u32).to_be_bytes());
        for part in [portal, b"\0", name.as_bytes(), b"\0", rest] {
            out.extend(part);
        }
        self.script.push_back(Step::Forward);
    }
}
