//! Running a batch: on one shard as it came, or piece by piece where its statements go to different places.

use super::batch::{Batch, Item};
use super::prepared::Prepared;
use super::caching::Asked;
use super::parameters::with_values;
use super::relay::{Capture, Relay, Step};
use super::simple::Failure;
use super::transaction::Transaction;
use super::{End, Session};
use crate::error::ClientError;
use crate::plan::locate::{Params, Target};
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
                Item::CloseStatement { .. } => continue,
                Item::Fail { .. } => return None,
            };
            if !self.is_servers(&plan.command) {
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
                self.settle(&batch.items, 0);
                self.proxy.metrics.cached();
                return Ok(Progress { failed: false, ready: false });
            }
            Asked::Fill(ticket, ttl) => {
                let mut capture = self.capture();
                let access = Access::ReadPrimary;
                let done = self.unit(shard, access, &batch.bytes, &batch.items, true, Some(&mut capture)).await;
                let failed = done?;
                if !failed {
                    self.finish_fill(ticket, ttl, &capture, READY_LEN);
                }
                failed
            }
            Asked::Primary => {
                self.unit(shard, Access::ReadPrimary, &batch.bytes, &batch.items, true, None).await?
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
                    self.after_error(index, items);
                } else {
                    self.settle(items, 0);
                }
                self.heard(index);
                self.remember_portals(shard, items);
                if !failed {
                    self.remember_set_config(shard, bytes.filled(), items).await;
                }
                self.follow(index, outcome.status);
                Ok(failed)
            }
            Err(broken) => Err(Failure::Statement(self.broken(index, broken)?)),
        }
    }

    /// After an error the server skipped the rest: what was to be prepared or closed there is not.
    fn after_error(&mut self, index: usize, items: &[Item]) {
        let mut undone = 0;
        let script = std::mem::take(&mut self.script);
        // The first step that is left is the one that failed; a Parse gives up the old unnamed statement before it does.
        let unnamed_gone = matches!(script.front(), Some(Step::ForwardUnnamed));
        let server = &mut self.servers[index].lease;
        server.unnamed = None;
        // Undone from the end: a Parse that was skipped may have been given up again for another.
        for step in script.into_iter().rev() {
            match step {
                Step::ForwardParse(id) => {
                    server.prepared.remove(id);
                    undone += 1;
                }
                Step::SwallowParse(id) => server.prepared.remove(id),
                Step::SwallowClose(id) => server.prepared.restore(id),
                Step::ForwardUnnamed | Step::KnownParse(_) | Step::Fabricate(_) => undone += 1,
                Step::Forward | Step::Swallow => {}
            }
        }
        self.settle(items, undone);
        if unnamed_gone {
            self.unnamed = None;
        }
    }

    fn remember_portals(&mut self, shard: ShardRef, items: &[Item]) {
        let Some(transaction) = &mut self.transaction else { return };
        let mut declared = Vec::new();
        for item in items {
            if let Item::Bind { portal, statement, .. } = item {
                transaction.portals.insert(portal.clone(), shard);
                if statement.plan.command == Command::Declare {
                    declared.push(statement.clone());
                }
            }
        }
        for statement in declared {
            self.declared(&statement.text, shard);
        }
    }

    async fn remember_set_config(&mut self, shard: ShardRef, bytes: &[u8], items: &[Item]) {
        for item in items {
            let Item::Bind { statement, at, .. } = item else { continue };
            if statement.plan.setting.is_none() {
                continue;
            }
            let params = frame::cstr(&bytes[at.start + HEADER..at.end]).and_then(|(_, rest)| frame::cstr(rest));
            let params = params.and_then(|(_, rest)| Params::parse(rest));
            let text = params.and_then(|params| with_values(&statement.text, &statement.types, &params));
            self.set_config_everywhere(shard, text).await;
        }
    }

    /// Runs a batch piece by piece, each statement where it belongs. Statements that write, and several of them, are
    /// one transaction, as the batch is in Postgres.
    async fn piecewise(&mut self, batch: &Batch, started: Instant) -> Result<Progress, Failure> {
        let together = self.needs_transaction(batch);
        let mut at = 0;
        while at < batch.items.len() {
            let end = piece_end(&batch.items, at);
            // Statements that the session answers itself end no transaction of a batch but by COMMIT or ROLLBACK.
            let servers = batch.items[at..end].iter().any(|item| {
                matches!(item, Item::Bind { statement, .. } if self.is_servers(&statement.plan.command))
            });
            if together && servers && self.transaction.is_none() {
                self.transaction = Some(Transaction::implicit());
            }
            if self.piece(&batch.bytes, &batch.items[at..end], started).await? {
                return Ok(Progress { failed: true, ready: false });
            }
            at = end;
        }
        Ok(Progress { failed: false, ready: false })
    }

    /// Whether what a batch does must hold together: its writes, or a portal until it is executed.
    fn needs_transaction(&self, batch: &Batch) -> bool {
        let binds = || batch.items.iter().filter_map(|i| match i {
            Item::Bind { statement, .. } if self.is_servers(&statement.plan.command) => Some(&statement.plan),
            _ => None,
        });
        let writes = binds().any(|plan| plan.access == Access::Write) && binds().count() > 1;
        writes || !batch.sync && binds().next().is_some() || executes_apart(&batch.items)
    }

    /// One statement's messages, or a message that belongs to none. Whether the answer is an error.
    async fn piece(&mut self, bytes: &Buffer, items: &[Item], started: Instant) -> Result<bool, Failure> {
        match &items[0] {
            Item::Fail { error, parse: Some(parse) } => {
                return Err(self.in_postgres_words(parse, error.clone()).await.into());
            }
            Item::Fail { error, parse: None } => return Err(error.clone().into()),
            Item::CloseStatement { .. } => {
                self.client.output.extend(reply::CLOSE_COMPLETE);
                self.settle(items, 0);
                return Ok(false);
            }
            Item::Portal { tag, portal, .. } => return self.portal(bytes, items, *tag, portal).await,
            _ => {}
        }
        let bind = items.iter().enumerate().find_map(|(at, item)| match item {
            Item::Bind { statement, target, key, .. } => Some((at, statement.clone(), target.clone(), key.clone())),
            _ => None,
        });
        let Some((at, statement, target, key)) = bind else { return self.unbound(bytes, items).await };
        if !self.is_servers(&statement.plan.command) {
            return self.control_piece(&statement, items).await;
        }
        let target = match target {
            Ok(target) => target,
            Err(refusal) => {
                let failed = at > 0 && self.unbound(bytes, &items[..at]).await?;
                return if failed { Ok(true) } else { Err(ClientError::from(refusal).into()) };
            }
        };
        match target {
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

    /// A message for a portal that an earlier piece or batch bound.
    async fn portal(&mut self, bytes: &Buffer, items: &[Item], tag: u8, portal: &[u8]) -> Result<bool, Failure> {
        match self.portal_shard(portal) {
            Some(shard) => self.unit(shard, Access::ReadPrimary, bytes, items, false, None).await,
            // Closing what is not there is no error.
            None if tag == b'C' => {
                self.client.output.extend(reply::CLOSE_COMPLETE);
                Ok(false)
            }
            None => {
                let name = String::from_utf8_lossy(portal);
                Err(ClientError::error("34000", format!("portal \"{name}\" does not exist")).into())
            }
        }
    }

    /// Parse and Describe of a statement without a Bind: any shard knows.
    pub(super) async fn unbound(&mut self, bytes: &Buffer, items: &[Item]) -> Result<bool, Failure> {
        let Some(Item::Parse { statement, .. } | Item::DescribeStatement { statement, .. }) = items.first() else {
            return Ok(false);
        };
        if !self.is_servers(&statement.plan.command) {
            self.describe_control(items);
            return Ok(false);
        }
        let shard = self.any_shard(super::decide::plan_group(&statement.plan));
        self.unit(shard, Access::Read, bytes, items, false, None).await
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
        self.settle(items, 0);
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
                Item::Portal { tag: b'C', .. } | Item::CloseStatement { .. } => out.extend(reply::CLOSE_COMPLETE),
                Item::Portal { .. } | Item::Fail { .. } => {}
            }
        }
    }

    /// Whether servers run the command; else the session answers itself.
    pub(super) fn is_servers(&self, command: &Command) -> bool {
        match command {
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
            | Command::Empty => false,
            // Without a transaction there is no cursor.
            Command::Cursor => !self.servers.is_empty(),
            _ => true,
        }
    }
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    failed: bool,
    ready: bool,
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

/// Where the piece that starts at `at` ends: a statement's Parse, Bind and Describes and its portal's Describes and
/// Executes are one piece, any other message is one by itself.
fn piece_end(items: &[Item], at: usize) -> usize {
    let (Item::Parse { statement: first, .. }
    | Item::Bind { statement: first, .. }
    | Item::DescribeStatement { statement: first, .. }) = &items[at]
    else {
        return at + 1;
    };
    let mut bound = None;
    for (i, item) in items.iter().enumerate().skip(at) {
        let belongs = match item {
            Item::Parse { .. } => i == at,
            Item::DescribeStatement { statement, .. } => statement.id == first.id,
            Item::Bind { statement, portal, .. } => {
                bound.is_none() && statement.id == first.id && bound.replace(portal).is_none()
            }
            Item::Portal { portal, .. } => bound == Some(portal),
            Item::CloseStatement { .. } | Item::Fail { .. } => false,
        };
        if !belongs {
            return i;
        }
    }
    items.len()
}

/// Whether a portal is executed in another piece than the one that binds it.
fn executes_apart(items: &[Item]) -> bool {
    let mut at = 0;
    while at < items.len() {
        if let Item::Portal { tag: b'D' | b'E', portal, .. } = &items[at]
            && bound_here(&items[..at], portal)
        {
            return true;
        }
        at = piece_end(items, at);
    }
    false
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
            Item::Parse { at, statement, name } if name.is_empty() => {
                self.server.unnamed = Some(statement.id);
                self.server.wire.output.extend(&bytes[at.clone()]);
                self.script.push_back(Step::ForwardUnnamed);
            }
            Item::Parse { statement, .. } => {
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
            Item::CloseStatement { .. } => self.script.push_back(Step::Fabricate(reply::CLOSE_COMPLETE)),
            Item::Fail { .. } => {}
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
            self.script.push_back(Step::SwallowClose(old));
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
