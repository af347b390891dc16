//! Running a batch: on one shard as it came, or piece by piece where its statements go to different places.

use super::batch::{Batch, Item};
use super::caching::Asked;
use super::cure::{Exchanged, left};
use super::decide::first_shard;
use super::listed::Spliced;
use super::parameters::with_values;
use super::pieces::{bound_here, is_beyond_any_shard, may_copy_in};
use super::relay::{Capture, Exchange, Outcome, Relay, Step};
use super::simple::Failure;
use super::temporary::planned_ahead;
use super::{End, Session};
use crate::plan::locate::{Params, Target};
use crate::plan::{Access, Plan};
use crate::schema::ShardRef;
use crate::sql::command::Command;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use std::collections::VecDeque;

/// Bytes of a ReadyForQuery message.
const READY_LEN: usize = 6;

impl Session {
    /// Runs a batch and, if Sync ended it, says ReadyForQuery.
    pub(super) async fn run_batch(&mut self, mut batch: Batch) -> Result<(), End> {
        self.leave_rest(&mut batch);
        self.unsynced = !batch.sync;
        let ran = match self.one_place(&batch) {
            _ if self.plans_ahead(&batch.items) => Err(planned_ahead().into()),
            Some((shard, access)) => self.batch_on(shard, access, &batch).await,
            None => self.piecewise(&batch).await,
        };
        self.unsynced = false;
        let resyncs = std::mem::take(&mut self.resyncs);
        let sync = batch.sync && !resyncs;
        match ran {
            Ok(Progress { failed: false, ready: true }) => return Ok(()),
            Ok(Progress { failed, ready }) => {
                if ready {
                    return Ok(());
                }
                if failed && !sync {
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
                if !sync {
                    self.skipping = true;
                    return Ok(());
                }
                self.end_batch_after_error().await;
                return Ok(());
            }
        }
        if sync {
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
        self.check_mode()?;
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
    pub(super) fn one_place(&mut self, batch: &Batch) -> Option<(ShardRef, Access)> {
        if !batch.sync || self.transaction.as_ref().is_some_and(|t| !t.explicit || t.across.is_any()) {
            return None;
        }
        let mut shard: Option<ShardRef> = None;
        let mut group = None;
        let mut access = Access::Read;
        for item in &batch.items {
            let (plan, place) = match item {
                Item::Bind { statement, .. } if statement.plan.explained().is_some() => return None,
                Item::Bind { statement, target, .. } => match target.as_ref().ok()? {
                    Target::One(place) => (&statement.plan, Some(*place)),
                    Target::Any(g) => {
                        group.get_or_insert(*g);
                        (&statement.plan, None)
                    }
                    Target::Everywhere(g)
                        if self.database.maps[g.0].shard_count() == 1 && statement.plan.objects.is_none() =>
                    {
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
                    if is_beyond_any_shard(&statement.plan) {
                        return None;
                    }
                    group.get_or_insert(crate::plan::hinted::group(&statement.plan));
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
            (None, Some(group)) if batch.items.iter().any(|i| matches!(i, Item::Bind { .. })) => {
                self.any_shard(group)
            }
            (None, Some(group)) => first_shard(group),
            // Close alone, or an empty batch: no server is needed.
            (None, None) => return None,
        };
        // What takes the clock of a transaction that began elsewhere is told it.
        let is_clocked =
            |item: &Item| matches!(item, Item::Bind { statement, .. } if statement.plan.clocked.is_some());
        if self.is_late(shard) && batch.items.iter().any(is_clocked) {
            return None;
        }
        Some((shard, access))
    }

    /// Sends a whole batch to one shard.
    async fn batch_on(
        &mut self,
        shard: ShardRef,
        access: Access,
        batch: &Batch,
    ) -> Result<Progress, Failure> {
        let audited = self.audits_items(&batch.items);
        // ReadyForQuery comes when the lines are written.
        let ready = self.listening.is_none() && !audited;
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
                let done =
                    self.unit(shard, access, &batch.bytes, &batch.items, ready, Some(&mut capture)).await;
                let failed = done?;
                if !failed {
                    self.finish_fill(ticket, ttl, &capture, if ready { READY_LEN } else { 0 });
                }
                failed
            }
            Asked::Primary => {
                self.unit(shard, Access::ReadPrimary, &batch.bytes, &batch.items, ready, None).await?
            }
            Asked::No => {
                if audited {
                    self.audit_items(&batch.items).await?;
                }
                for item in &batch.items {
                    if let Item::Bind { statement, key, .. } = item {
                        self.begin_write(&statement.plan, key.as_deref()).await;
                    }
                }
                let done = self.unit(shard, access, &batch.bytes, &batch.items, ready, None).await;
                self.end_write().await;
                if audited {
                    self.audit_ends(done.as_ref().err(), matches!(done, Ok(true))).await;
                }
                done?
            }
        };
        for item in &batch.items {
            if let Item::Bind { statement, .. } = item {
                self.count(statement.plan.tier);
                self.after_ddl(&statement.plan).await;
            }
        }
        Ok(Progress { failed, ready })
    }

    /// Sends items to one shard, with a Sync behind them. Whether the answer is an error.
    pub(super) async fn unit(
        &mut self,
        shard: ShardRef,
        access: Access,
        bytes: &Buffer,
        items: &[Item],
        ready: bool,
        capture: Option<&mut Capture>,
    ) -> Result<bool, Failure> {
        let looks = self.only_looks(
            shard,
            items.iter().map(|item| match item {
                Item::Bind { statement, .. } => statement.plan.command == Command::Show,
                item => !matches!(item, Item::Portal { tag: b'E', portal, .. } if !bound_here(items, portal)),
            }),
        );
        let done = self.ask_unit(shard, access, bytes, items, ready, capture).await;
        if looks {
            self.only_looked(shard);
        }
        done
    }

    async fn ask_unit(
        &mut self,
        shard: ShardRef,
        access: Access,
        bytes: &Buffer,
        items: &[Item],
        ready: bool,
        capture: Option<&mut Capture>,
    ) -> Result<bool, Failure> {
        let index = self.acquire(shard, access).await?;
        for item in items {
            if let Item::Bind { statement, .. } = item {
                self.doubt_by(index, &statement.plan, &statement.text);
                if statement.plan.command == Command::Copy {
                    Box::pin(self.tell_copy(index, &statement.text)).await?;
                }
                self.lock_before_rows(&statement.plan, shard).await?;
            }
        }
        let told = self.told_items(shard, items).await?;
        let items = told.as_deref().unwrap_or(items);
        self.prove(index, items).await?;
        let exchange = if self.unsynced && may_copy_in(items) {
            // The client's next Sync is not this statement's own.
            self.write_flushed(index, bytes, items);
            Exchange::extended(ready).owing_sync()
        } else {
            let above = self.write_batch(index, bytes, items);
            Exchange::extended(ready).curable(self.transaction.is_none().then_some(above))
        };
        match self.exchange(index, items, exchange, capture).await? {
            Exchanged::Sick(ailment) => {
                let said = items.len() - left(&self.script);
                Box::pin(self.cure(index, bytes, items, ready, ailment, said)).await
            }
            Exchanged::Done(outcome, shapes) => self.land_unit(shard, bytes, items, outcome, shapes).await,
        }
    }

    /// Sends what was written for a server, and its answer to the client.
    pub(super) async fn exchange(
        &mut self,
        index: usize,
        items: &[Item],
        exchange: Exchange,
        capture: Option<&mut Capture>,
    ) -> Result<Exchanged, Failure> {
        if self.is_query {
            answer_as_query(&mut self.script, items);
        }
        let limit = self.statement_limit();
        let (hides, moved) = (self.hides_parameters, self.moved);
        let tells_tags = self.wants_tags();
        let server = &mut self.servers[index].lease;
        let mut exchange = exchange.moving(moved).hiding_parameters(hides).telling_tags(tells_tags);
        exchange = exchange.splicing(Spliced::of(items));
        let handle = &self.registration.handle;
        let relay = Relay::new(&mut self.client, server, &mut self.script, &mut exchange, handle);
        let relay = relay.capturing(capture);
        match relay.run_within(limit).await {
            Ok(outcome) => {
                self.answered(index);
                let mut found = exchange.found();
                if tells_tags {
                    self.audit_answer(found.tags.take(), outcome.error);
                }
                let done = Exchanged::Done(outcome, found.shapes);
                Ok(found.ailment.map_or(done, Exchanged::Sick))
            }
            Err(broken) => Err(Failure::Statement(self.broken(index, broken)?)),
        }
    }

    /// The answer to a unit is through. Whether it is an error.
    pub(super) async fn land_unit(
        &mut self,
        shard: ShardRef,
        bytes: &Buffer,
        items: &[Item],
        outcome: Outcome,
        shapes: Vec<Vec<u8>>,
    ) -> Result<bool, Failure> {
        let index = self.servers.iter().position(|p| p.shard == shard).unwrap_or_default();
        let failed = outcome.error.is_some();
        if failed {
            self.proxy.metrics.server_errors.inc();
            self.after_error(index, items);
        } else {
            self.settle(items, 0);
        }
        self.told_shapes(index, items, shapes);
        self.heard(index);
        self.remember_portals(shard, items);
        if !failed {
            self.remember_set_config(shard, bytes.filled(), items).await;
            self.cursors_closed_by(items).await?;
        }
        if outcome.status == b'I' && self.listening.is_some() {
            Box::pin(self.settle_notifications()).await;
        }
        let index = self.servers.iter().position(|p| p.shard == shard).unwrap_or(index);
        self.follow(index, outcome.status);
        if failed && Spliced::is_in(items) {
            Box::pin(self.relearn(outcome.error)).await;
        }
        Ok(failed)
    }

    /// After an error the server skipped the rest: what was to be prepared or closed there is not.
    pub(super) fn after_error(&mut self, index: usize, items: &[Item]) {
        let (undone, unnamed_gone) = self.unwind(index);
        self.settle(items, undone);
        if unnamed_gone {
            self.unnamed = None;
        }
    }

    /// Takes back what was noted of steps that the server skipped. How many of the client's that prepare or close a
    /// statement there were, and whether its unnamed one is gone.
    pub(super) fn unwind(&mut self, index: usize) -> (usize, bool) {
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
                Step::Forward
                | Step::ForwardShape
                | Step::ForwardRows
                | Step::Swallow
                | Step::SwallowNoData => {}
            }
        }
        (undone, unnamed_gone)
    }

    pub(super) fn remember_portals(&mut self, shard: ShardRef, items: &[Item]) {
        let Some(transaction) = &mut self.transaction else { return };
        let mut declared = Vec::new();
        for item in items {
            if let Item::Bind { portal, statement, .. } = item {
                transaction.portals.insert(portal.clone(), shard);
                if matches!(statement.plan.command, Command::Declare { .. }) {
                    declared.push(statement.clone());
                }
            }
        }
        for statement in declared {
            self.declared(&statement.text, shard);
        }
    }

    async fn cursors_closed_by(&mut self, items: &[Item]) -> Result<(), Failure> {
        for item in items {
            if let Item::Bind { statement, .. } = item
                && statement.plan.command == Command::Cursor
            {
                self.cursors_closed(&statement.text).await?;
            }
        }
        Ok(())
    }

    async fn remember_set_config(&mut self, shard: ShardRef, bytes: &[u8], items: &[Item]) {
        for item in items {
            let Item::Bind { statement, at, .. } = item else { continue };
            if statement.plan.setting.is_none() {
                continue;
            }
            let params =
                frame::cstr(&bytes[at.start + HEADER..at.end]).and_then(|(_, rest)| frame::cstr(rest));
            let params = params.and_then(|(_, rest)| Params::parse(rest));
            let Some(params) = params else { continue };
            if let Ok(Some(assigned)) = self.assigned(&statement.plan, Some((&params, &statement.types))) {
                self.note_assigned(shard, assigned);
            }
            self.note_path(&statement.plan, Some((&params, &statement.types)));
            let text = with_values(&statement.text, &statement.types, &params);
            self.set_config_everywhere(shard, text).await;
        }
    }

    /// Whether servers take part in what the command does.
    pub(super) fn reaches_servers(&self, command: &Command) -> bool {
        *command == Command::Execute || self.is_servers(command)
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
            | Command::Characteristics
            | Command::Reset { .. }
            | Command::DiscardAll
            | Command::Discard(_)
            | Command::Prepare
            | Command::Execute
            | Command::Deallocate(_)
            | Command::Listen
            | Command::Unlisten
            | Command::ListeningChannels
            | Command::Empty => false,
            // Without a transaction there is no cursor but one that was held.
            Command::Cursor => !self.servers.is_empty() || self.shards_with_cursors().next().is_some(),
            _ => true,
        }
    }
}

/// Messages of ours in the place of a Query: what answers them alone is not the client's. They are a Parse, or Bind,
/// Describe and Execute.
fn answer_as_query(script: &mut VecDeque<Step>, items: &[Item]) {
    if let [Item::Parse { .. }] = items {
        script.retain(|step| !matches!(step, Step::KnownParse(_)));
        for step in script {
            if let Step::ForwardParse(id) = *step {
                *step = Step::SwallowParse(id);
            }
        }
        return;
    }
    // Behind them the server may be told to close what it has too many of.
    let asked = script.iter_mut().rev().skip_while(|step| matches!(step, Step::SwallowClose(_)));
    let answers = asked.skip(1).zip([Step::SwallowNoData, Step::Swallow]);
    answers.for_each(|(step, instead)| *step = instead);
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) failed: bool,
    pub(super) ready: bool,
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
