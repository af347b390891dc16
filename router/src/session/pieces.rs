//! Running a batch piece by piece, each statement where it belongs.

use super::Session;
use super::batch::{Batch, Item};
use super::explain::placed_by_hint;
use super::extended::Progress;
use super::gather::beyond_any_shard;
use super::listen::changes_listening;
use super::parameters::sets;
use super::portals::needs_portal;
use super::prepared::Prepared;
use super::simple::Failure;
use super::spread::beyond_one_group;
use super::transaction::Transaction;
use crate::error::ClientError;
use crate::plan::copy::CopyPlan;
use crate::plan::locate::Target;
use crate::plan::spread::How;
use crate::plan::{Access, Across, Plan, Tier};
use crate::reply;
use crate::sql::command::Command;
use shardway_pool::buffer::Buffer;
use std::sync::Arc;

impl Session {
    /// Runs a batch piece by piece, each statement where it belongs. Statements that write, and several of them, are
    /// one transaction, as the batch is in Postgres.
    pub(super) async fn piecewise(&mut self, batch: &Batch) -> Result<Progress, Failure> {
        let together = self.needs_transaction(batch);
        let mut at = 0;
        while at < batch.items.len() {
            let end = piece_end(&batch.items, at);
            // Statements that the session answers itself end no transaction of a batch but by COMMIT or ROLLBACK.
            let servers = batch.items[at..end].iter().any(|item| {
                matches!(item, Item::Bind { statement, .. } if self.reaches_servers(&statement.plan.command))
                    || binds_listening(item)
                    || binds_setting(item)
            });
            if together && servers && self.transaction.is_none() {
                self.transaction = Some(Transaction::implicit());
            }
            let deals = |item: &Item| matches!(item, Item::Bind { statement, .. } if deals(&statement.plan));
            if let (true, Some(next)) =
                (batch.items[at..end].iter().any(deals), batch.items.get(end).and_then(Item::tag))
            {
                return Err(super::copying::unexpected(next).into());
            }
            if self.piece(&batch.bytes, &batch.items[at..end]).await? {
                return Ok(Progress { failed: true, ready: false });
            }
            at = end;
        }
        Ok(Progress { failed: false, ready: false })
    }

    /// Whether what a batch does must hold together: its writes, or a portal until it is executed.
    fn needs_transaction(&self, batch: &Batch) -> bool {
        let binds = || {
            batch.items.iter().filter_map(|i| match i {
                Item::Bind { statement, .. } if self.reaches_servers(&statement.plan.command) => {
                    Some(&statement.plan)
                }
                _ => None,
            })
        };
        let binds_at_all = batch.items.iter().filter(|item| matches!(item, Item::Bind { .. })).count();
        let listens = batch.items.iter().any(binds_listening) && binds_at_all > 1;
        let writes = binds().any(|plan| plan.access == Access::Write) && binds().count() > 1;
        let deals = binds().any(|plan| deals(plan));
        let spread = |item: &Item| {
            matches!(item, Item::Bind { statement, target: Ok(Target::Several(..)), .. }
                if statement.plan.access == Access::Write)
        };
        let deals = deals || batch.items.iter().any(spread);
        let sets = sets_before_others(&batch.items) || !batch.sync && batch.items.iter().any(binds_setting);
        let goes_on = !batch.sync && binds().next().is_some();
        writes
            || listens
            || deals
            || sets
            || goes_on
            || executes_apart(&batch.items)
            || has_portals(&batch.items)
    }

    /// One statement's messages, or a message that belongs to none, with its lines in the audit log if it is to have some.
    /// Whether the answer is an error.
    pub(super) async fn piece(&mut self, bytes: &Buffer, items: &[Item]) -> Result<bool, Failure> {
        if !self.audits_items(items) {
            return self.run_piece(bytes, items).await;
        }
        self.audit_items(items).await?;
        let ran = Box::pin(self.run_piece(bytes, items)).await;
        self.audit_ends(ran.as_ref().err(), matches!(ran, Ok(true))).await;
        ran
    }

    async fn run_piece(&mut self, bytes: &Buffer, items: &[Item]) -> Result<bool, Failure> {
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
            Item::Bind { statement, target, key, .. } => {
                Some((at, statement.clone(), target.clone(), key.clone()))
            }
            _ => None,
        });
        let Some((at, statement, target, key)) = bind else { return self.unbound(bytes, items).await };
        self.bind_elsewhere(items).await?;
        if let (Command::Cursor, Some(command)) = (&statement.plan.command, self.own_cursor(&statement.text))
        {
            Box::pin(self.cursor_piece(&command, bytes, items)).await?;
            return Ok(false);
        }
        if statement.plan.command == Command::Execute {
            return self.execute_piece(&statement, bytes, items).await;
        }
        if !self.is_servers(&statement.plan.command) {
            return self.control_piece(&statement, items).await;
        }
        // A cursor may have been declared by what stands before it in the batch.
        let now = match of_cursor(&statement.plan) {
            true => self.hinted(&statement.text, statement.may_hint, &statement.plan)?,
            false => None,
        };
        let target = now.map_or(target, |place| Ok(Target::One(place)));
        if let Some(explained) = statement.plan.explained() {
            let hint = placed_by_hint(&target);
            let tier = Box::pin(self.explain_extended(&statement, explained, hint, bytes, items)).await?;
            self.count(tier);
            return Ok(false);
        }
        let target = match target {
            Ok(target) => target,
            Err(refusal) => {
                let failed = at > 0 && self.unbound(bytes, &items[..at]).await?;
                return if failed { Ok(true) } else { Err(ClientError::from(refusal).into()) };
            }
        };
        match target {
            Target::Everywhere(_) if statement.plan.objects.is_some() => {
                self.begin_write(&statement.plan, None).await;
                let done = self.objects_extended(&statement, bytes, items).await;
                self.end_write().await;
                done?;
                self.count(statement.plan.tier);
                Ok(false)
            }
            Target::Everywhere(_) if statement.plan.setval.is_some() => {
                if let Some(setval) = &statement.plan.setval {
                    Box::pin(self.setval_extended(setval, &statement, bytes, items)).await?;
                }
                self.count(Tier::Scatter);
                Ok(false)
            }
            Target::Several(group, shards) if statement.plan.copy.is_some() => {
                self.copy_piece(&statement, Some((group, shards)), items).await
            }
            Target::Everywhere(_) if statement.plan.copy.is_some() => {
                self.copy_piece(&statement, None, items).await
            }
            Target::Several(group, shards) => {
                let tier = self.across_extended(&statement, group, shards, bytes, items).await?;
                self.count(tier);
                Ok(false)
            }
            target => {
                let shard = self.single_shard(&statement.plan, target)?;
                if let Some(spread) = self.late_insert(shard, bytes, items) {
                    let shards = vec![shard.shard];
                    Box::pin(self.spread_extended(&statement, &spread, shards, bytes, items)).await?;
                    self.count(statement.plan.tier);
                    return Ok(false);
                }
                self.begin_write(&statement.plan, key.as_deref()).await;
                let done = self.unit(shard, statement.plan.access, bytes, items, false, None).await;
                self.end_write().await;
                let failed = done?;
                self.after_ddl(&statement.plan).await;
                self.count(statement.plan.tier);
                Ok(failed)
            }
        }
    }

    /// A message for a portal that an earlier piece or batch bound.
    async fn portal(
        &mut self,
        bytes: &Buffer,
        items: &[Item],
        tag: u8,
        portal: &[u8],
    ) -> Result<bool, Failure> {
        if self.has_portal(portal) {
            let max_rows = match items {
                [Item::Portal { max_rows, .. }, ..] => *max_rows,
                _ => 0,
            };
            Box::pin(self.portal_message(tag, portal, max_rows)).await?;
            return Ok(false);
        }
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
        let Some(Item::Parse { statement, .. } | Item::DescribeStatement { statement, .. }) = items.first()
        else {
            return Ok(false);
        };
        if statement.plan.command == Command::Execute {
            return Box::pin(self.execute_piece(statement, bytes, items)).await;
        }
        if !self.is_servers(&statement.plan.command) {
            self.describe_control(items);
            return Ok(false);
        }
        if let (Command::Cursor, Some(command)) = (&statement.plan.command, self.own_cursor(&statement.text))
        {
            Box::pin(self.cursor_piece(&command, bytes, items)).await?;
            return Ok(false);
        }
        if let Some(gather) = beyond_any_shard(&statement.plan) {
            Box::pin(self.describe_gather(statement, gather, items)).await?;
            return Ok(false);
        }
        if is_fed_from_afar(&statement.plan) {
            return Err(beyond_one_group().into());
        }
        let shard = super::decide::first_shard(crate::plan::hinted::group(&statement.plan));
        self.unit(shard, Access::Read, bytes, items, false, None).await
    }

    /// What a session answers itself, in extended protocol.
    async fn control_piece(&mut self, statement: &Arc<Prepared>, items: &[Item]) -> Result<bool, Failure> {
        for item in items {
            match item {
                Item::Portal { tag: b'E', .. } => {
                    self.check_failed(&statement.plan.command)?;
                    if statement.plan.command == Command::Prepare {
                        if self.sql_prepare(&statement.text).await? {
                            return Ok(true);
                        }
                        self.answer_prepare();
                        continue;
                    }
                    self.control(&statement.plan, &statement.text).await?;
                }
                Item::Portal { tag: b'D', .. } if statement.plan.command == Command::ListeningChannels => {
                    self.describe_channels();
                }
                other => self.describe_control(std::slice::from_ref(other)),
            }
        }
        Ok(false)
    }

    pub(super) fn describe_control(&mut self, items: &[Item]) {
        self.settle(items, 0);
        let out = &mut self.client.output;
        for item in items {
            match item {
                Item::Parse { .. } => out.extend(reply::PARSE_COMPLETE),
                Item::Bind { .. } => out.extend(reply::BIND_COMPLETE),
                Item::DescribeStatement { statement, .. } => {
                    out.extend(reply::NO_PARAMETERS);
                    match statement.plan.command {
                        Command::ListeningChannels => super::listen::describe_channels(out),
                        _ => out.extend(reply::NO_DATA),
                    }
                }
                Item::Portal { tag: b'D', .. } => out.extend(reply::NO_DATA),
                Item::Portal { tag: b'C', .. } | Item::CloseStatement { .. } => {
                    out.extend(reply::CLOSE_COMPLETE)
                }
                Item::Portal { .. } | Item::Fail { .. } => {}
            }
        }
    }
}

/// Whether no shard understands a statement as it came: its tables are of several groups.
pub(super) fn is_beyond_any_shard(plan: &Plan) -> bool {
    plan.across().is_some() && (beyond_any_shard(plan).is_some() || is_fed_from_afar(plan))
}

/// Whether it is an INSERT … SELECT from another shard group.
fn is_fed_from_afar(plan: &Plan) -> bool {
    matches!(plan.across(), Some(Across::Spread(spread)) if matches!(&spread.how, How::Fed(fed) if fed.spans_groups))
}

pub(super) fn bound_here(items: &[Item], name: &[u8]) -> bool {
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

/// Whether it goes where a cursor is.
fn of_cursor(plan: &Plan) -> bool {
    plan.command == Command::Cursor || plan.current_of.is_some()
}

/// Whether a portal over several shards stays: it lives in a transaction.
fn has_portals(items: &[Item]) -> bool {
    let mut at = 0;
    while at < items.len() {
        let end = piece_end(items, at);
        let stays = |item: &Item| {
            let Item::Bind { statement, target: Ok(Target::Several(..)), .. } = item else { return false };
            let plan = &statement.plan;
            let reads = plan.copy.is_none() && plan.command == Command::Plannable;
            reads && plan.across().is_some_and(|across| needs_portal(across, &items[at..end]))
        };
        if items[at..end].iter().any(stays) {
            return true;
        }
        at = end;
    }
    false
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

/// Whether a parameter is set, and more is asked for behind that: should it fail, the parameter is what it was.
fn sets_before_others(items: &[Item]) -> bool {
    let closes = |item: &Item| matches!(item, Item::CloseStatement { .. } | Item::Portal { tag: b'C', .. });
    let mut at = 0;
    while at < items.len() {
        let end = piece_end(items, at);
        if items[at..end].iter().any(binds_setting) && !items[end..].iter().all(closes) {
            return true;
        }
        at = end;
    }
    false
}

fn binds_setting(item: &Item) -> bool {
    matches!(item, Item::Bind { statement, .. } if sets(&statement.plan))
}

fn binds_listening(item: &Item) -> bool {
    matches!(item, Item::Bind { statement, .. } if changes_listening(&statement.plan))
}

/// COPY FROM STDIN into several shards: what goes wrong with it is known before the batch's end.
fn deals(plan: &Plan) -> bool {
    plan.copy.as_ref().is_some_and(CopyPlan::writes)
}

/// Whether a server may wait for data of the client's when it is asked this.
pub(super) fn may_copy_in(items: &[Item]) -> bool {
    items.iter().any(|item| match item {
        Item::Bind { statement, .. } => {
            statement.plan.command == Command::Copy && statement.plan.access == Access::Write
        }
        // What was bound in an earlier batch may be anything.
        Item::Portal { tag: b'E', portal, .. } => !bound_here(items, portal),
        _ => false,
    })
}
