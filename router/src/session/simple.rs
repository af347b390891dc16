//! The simple query protocol: one text, one or more statements, one ReadyForQuery.

use super::caching::Asked;
use super::copying::Protocol;
use super::decide::{Decided, Decision};
use super::explain::placed_by_hint;
use super::kept::no_blocks;
use super::listed::{Spliced, with_lists};
use super::listen::changes_listening;
use super::parameters::sets;
use super::relay::{Capture, Exchange, Relay};
use super::sql_prepared::hinted;
use super::transaction::{Answer, Transaction};
use super::{End, Session, body};
use crate::error::ClientError;
use crate::plan::locate::Target;
use crate::plan::{Access, Across, Plan, Route, Tier};
use crate::plan_cache::{Planning, SearchPath};
use crate::reply;
use crate::schema::ShardRef;
use crate::sql::command::Command;
use shardway_config::PoolMode;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use std::sync::Arc;

impl Session {
    /// Runs a Query message and says ReadyForQuery. `decided` is what its text was found to be, if that is known.
    pub(super) async fn simple(&mut self, message: Buffer, decided: Option<Decided>) -> Result<(), End> {
        let text = match frame::cstr(body(&message)) {
            Some((text, [])) => text,
            _ => return Err(End::Fatal(ClientError::protocol("invalid string in message"))),
        };
        let Ok(text) = std::str::from_utf8(text) else {
            let error = ClientError::error("22021", "invalid byte sequence for encoding \"UTF8\"");
            self.statement_failed(error)?;
            self.ready();
            return Ok(());
        };
        // A batch that ended with Flush and was never synced ends here, as in Postgres.
        if self.transaction.as_ref().is_some_and(|t| !t.explicit)
            && let Err(error) = self.commit(false).await
        {
            self.statement_failed(error)?;
            self.ready();
            return Ok(());
        }
        match self.simple_text(text, &message, decided).await {
            Ok(true) => self.check_mode()?,
            Ok(false) => {
                self.check_mode()?;
                self.ready();
            }
            Err(failure) => {
                self.fail(failure)?;
                self.release();
                self.ready();
            }
        }
        Ok(())
    }

    /// Tells the client what ended its statement, unless it knows; the transaction it is in has failed then.
    pub(super) fn fail(&mut self, failure: Failure) -> Result<(), End> {
        match failure {
            Failure::Session(end) => return Err(end),
            Failure::Answered => {}
            Failure::Statement(error) => {
                if error.code == "0A000" {
                    self.proxy.metrics.refused();
                }
                return self.statement_failed(error);
            }
            Failure::ServerError(body) => {
                let error = self.judged(ClientError::of_server(&body));
                reply::error(&mut self.client.output, &error);
            }
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
        Ok(())
    }

    /// Whether the client has got its ReadyForQuery from the server.
    async fn simple_text(
        &mut self,
        text: &str,
        message: &Buffer,
        decided: Option<Decided>,
    ) -> Result<bool, Failure> {
        let decided = match self.decide(text, decided).await {
            Ok(decided) => decided,
            Err(error) => return Err(self.text_in_postgres_words(text, error).await.into()),
        };
        match decided {
            Decided::Empty => {
                self.client.output.extend(reply::EMPTY_QUERY);
                Ok(false)
            }
            // Should Postgres not agree that it is unclosed, it would run on one shard alone.
            Decided::Unclosed if !self.database.planning().schema.is_unsharded() => {
                let error = ClientError::error("42601", "unterminated quoted string or comment");
                Err(self.text_in_postgres_words(text, error).await.into())
            }
            Decided::Unclosed => {
                // One shard words the error, whichever.
                let shard = self.any_shard(crate::schema::GroupId(0));
                self.forward(shard, Access::ReadPrimary, message, Ready::Servers, None).await?;
                Ok(true)
            }
            Decided::One(decision)
                if self.mode == PoolMode::Statement && decision.plan.command == Command::Begin =>
            {
                Err(End::Fatal(no_blocks()).into())
            }
            Decided::One(decision) => {
                let ours = self.listening.is_some();
                let ready = if ours { Ready::Ours } else { Ready::Servers };
                Ok(self.one(text, decision, message, ready).await?.ready)
            }
            Decided::Many(statements) => self.many(text, statements, message).await,
        }
    }

    /// Runs one statement, with its line in the audit log if it is to have one.
    async fn one(
        &mut self,
        text: &str,
        decision: Decision,
        message: &Buffer,
        ready: Ready,
    ) -> Result<Ran, Failure> {
        if !self.audits(&decision.plan, text) {
            return self.run_one(text, decision, message, ready).await;
        }
        self.audit_statement(&decision.plan, text).await?;
        // ReadyForQuery comes when the line is written.
        let ran = Box::pin(self.run_one(text, decision, message, Ready::Ours)).await;
        self.audit_ends(ran.as_ref().err(), ran.as_ref().is_ok_and(|ran| ran.failed)).await;
        ran
    }

    async fn run_one(
        &mut self,
        text: &str,
        decision: Decision,
        message: &Buffer,
        ready: Ready,
    ) -> Result<Ran, Failure> {
        const OURS: Ran = Ran { ready: false, failed: false };
        let Decision { plan, target, key } = decision;
        self.check_failed(&plan.command)?;
        if plan.command == Command::ListeningChannels {
            self.describe_channels();
        }
        if plan.command == Command::Cursor
            && let Some(command) = self.own_cursor(text)
        {
            Box::pin(self.cursor_simple(&command)).await?;
            return Ok(OURS);
        }
        if self.control(&plan, text).await? {
            return Ok(OURS);
        }
        if plan.command == Command::Execute {
            let failed = self.sql_execute(text, hinted(&target)).await?;
            return Ok(Ran { ready: false, failed });
        }
        if let Some(explained) = plan.explained() {
            let tier = Box::pin(self.explain_simple(explained, placed_by_hint(&target), text)).await?;
            self.count(tier);
            return Ok(OURS);
        }
        if plan.command == Command::Explain
            && let Some(failed) = Box::pin(self.explain_execute(text)).await?
        {
            return Ok(Ran { ready: false, failed });
        }
        if plan.command == Command::Prepare {
            let failed = self.sql_prepare(text).await?;
            if !failed {
                self.answer_prepare();
            }
            return Ok(Ran { ready: false, failed });
        }
        let target = match target {
            Ok(target) => target,
            Err(refusal) => return Err(self.text_in_postgres_words(text, refusal.into()).await.into()),
        };
        match target {
            Target::Several(group, shards) if plan.copy.is_some() => {
                self.copy_query(&plan, group, shards).await?;
                Ok(OURS)
            }
            Target::Several(group, shards) => {
                let tier = match plan.across() {
                    Some(across) if matches!(plan.command, Command::Declare { .. }) => {
                        Box::pin(self.declare_simple(&plan, (group, shards), text)).await?;
                        across.tier()
                    }
                    Some(Across::Scatter(scatter)) if scatter.locks_some() => {
                        Box::pin(self.locked_simple(scatter, (group, shards), text)).await?;
                        Tier::Scatter
                    }
                    Some(Across::Spread(spread)) => {
                        Box::pin(self.spread_simple(&plan, spread, text, shards)).await?
                    }
                    _ => self.across_simple(&plan, group, shards).await?,
                };
                self.count(tier);
                Ok(OURS)
            }
            Target::Everywhere(_) if plan.objects.is_some() => {
                self.begin_write(&plan, None).await;
                let done = self.objects_simple(text).await;
                self.end_write().await;
                done?;
                self.count(plan.tier);
                Ok(OURS)
            }
            Target::Everywhere(_) if plan.setval.is_some() => {
                if let Some(setval) = &plan.setval {
                    Box::pin(self.setval_simple(setval, text)).await?;
                }
                self.count(Tier::Scatter);
                Ok(OURS)
            }
            Target::Everywhere(_) if plan.copy.is_some() => {
                self.copy(&plan, text, Protocol::Simple).await?;
                self.count(Tier::Scatter);
                Ok(OURS)
            }
            target => {
                let shard = match self.single_shard(&plan, target) {
                    Ok(shard) => shard,
                    Err(error) => return Err(self.text_in_postgres_words(text, error).await.into()),
                };
                if let Some(spread) = self.late_write(&plan, shard, text) {
                    Box::pin(self.spread_simple(&plan, &spread, text, vec![shard.shard])).await?;
                    self.count(plan.tier);
                    return Ok(OURS);
                }
                if matches!(plan.command, Command::Declare { .. }) {
                    self.check_declared(text, Some(shard)).await?;
                }
                if plan.leaves || plan.unpreparable || self.holds_anything() {
                    let index = self.acquire(shard, plan.access).await?;
                    self.doubt_by(index, &plan, text);
                }
                if plan.command == Command::Copy && self.database.translates() {
                    let index = self.acquire(shard, plan.access).await?;
                    Box::pin(self.tell_copy(index, text)).await?;
                }
                self.lock_before_rows(&plan, shard).await?;
                let failed = match self.ask_cache(&plan, text, key.as_deref()).await {
                    Asked::Hit(answer) => {
                        self.client.output.extend(&answer);
                        self.proxy.metrics.cached();
                        return Ok(OURS);
                    }
                    Asked::Fill(ticket, ttl) => {
                        let mut capture = self.capture();
                        let done = self
                            .forward(shard, Access::ReadPrimary, message, ready, Some(&mut capture))
                            .await;
                        let failed = done?;
                        let tail = if ready == Ready::Servers { READY_LEN } else { 0 };
                        if !failed {
                            self.finish_fill(ticket, ttl, &capture, tail);
                        }
                        failed
                    }
                    Asked::Primary => self.forward(shard, Access::ReadPrimary, message, ready, None).await?,
                    Asked::No => {
                        let assigned = self.assigned(&plan, None)?;
                        self.holding = assigned.is_some();
                        self.begin_write(&plan, key.as_deref()).await;
                        let looks = self.only_looks(shard, std::iter::once(plan.command == Command::Show));
                        let told = match self.told_text(&plan, shard, text).await {
                            Ok(None) => Ok(with_lists(text, std::iter::once((0..text.len(), &*plan)))),
                            told => told,
                        };
                        let done = match told {
                            Ok(told) => self.forward_told(shard, plan.access, message, told, ready).await,
                            Err(failure) => Err(failure),
                        };
                        if looks {
                            self.only_looked(shard);
                        }
                        self.end_write().await;
                        if let (Some(assigned), Ok(false)) = (assigned, &done) {
                            self.note_assigned(shard, assigned);
                        }
                        self.holding = false;
                        self.release();
                        done?
                    }
                };
                if matches!(plan.command, Command::Declare { .. }) && !failed {
                    self.declared(text, shard);
                }
                if plan.command == Command::Cursor && !failed {
                    self.cursors_closed(text).await?;
                }
                if plan.setting.is_some() && !failed {
                    self.note_path(&plan, None);
                    self.set_config_everywhere(shard, Some(text.to_owned())).await;
                }
                self.after_ddl(&plan).await;
                self.count(plan.tier);
                Ok(Ran { ready: ready == Ready::Servers, failed })
            }
        }
    }

    /// The one shard that a statement runs on.
    pub(super) fn single_shard(&mut self, plan: &Plan, target: Target) -> Result<ShardRef, ClientError> {
        match target {
            Target::One(shard) => Ok(shard),
            Target::Any(group) => Ok(self.any_shard(group)),
            Target::Everywhere(group) if self.database.maps[group.0].shard_count() == 1 => {
                Ok(self.any_shard(group))
            }
            Target::Everywhere(_) | Target::Several(..) => Err(everywhere(plan)),
        }
    }

    /// Sends a message to a shard as it came, or as `told` has it, and its answer to the client. Whether the answer is an
    /// error.
    async fn forward_told(
        &mut self,
        shard: ShardRef,
        access: Access,
        message: &Buffer,
        told: Option<(Buffer, Box<Spliced>)>,
        ready: Ready,
    ) -> Result<bool, Failure> {
        let Some((message, spliced)) = told else {
            return self.forward(shard, access, message, ready, None).await;
        };
        self.spliced = Some(spliced);
        self.forward(shard, access, &message, ready, None).await
    }

    /// Sends a message as it came to a shard, and its answer to the client. Whether the answer is an error.
    pub(super) async fn forward(
        &mut self,
        shard: ShardRef,
        access: Access,
        message: &Buffer,
        ready: Ready,
        capture: Option<&mut Capture>,
    ) -> Result<bool, Failure> {
        let spliced = self.spliced.take();
        let index = self.acquire(shard, access).await?;
        let limit = self.statement_limit();
        let server = &mut self.servers[index].lease;
        // A Query ends the unnamed statement.
        server.unnamed = None;
        server.wire.send(message.filled());
        server.outstanding += 1;
        self.script.clear();
        let tells_tags = self.trail.as_ref().is_some_and(|trail| trail.wants_tags());
        let mut exchange =
            Exchange::simple(ready == Ready::Servers).moving(self.moved).telling_tags(tells_tags);
        exchange = exchange.splicing(spliced);
        let handle = &self.registration.handle;
        let relay = Relay::new(&mut self.client, server, &mut self.script, &mut exchange, handle);
        let relay = relay.capturing(capture);
        match relay.run_within(limit).await {
            Ok(outcome) => {
                self.answered(index);
                let is_spliced = exchange.is_spliced();
                if tells_tags {
                    self.audit_answer(exchange.found().tags, outcome.error);
                }
                if outcome.error.is_some() {
                    self.proxy.metrics.server_errors.inc();
                }
                self.heard(index);
                if outcome.status == b'I' && self.listening.is_some() {
                    Box::pin(self.settle_notifications()).await;
                }
                self.follow(index, outcome.status);
                if is_spliced && outcome.error.is_some() {
                    Box::pin(self.relearn(outcome.error)).await;
                }
                Ok(outcome.error.is_some())
            }
            Err(broken) => Err(Failure::Statement(self.broken(index, broken)?)),
        }
    }

    /// After an exchange: the session's state is the server's.
    pub(super) fn follow(&mut self, index: usize, status: u8) {
        match (&mut self.transaction, status) {
            (Some(transaction), b'E') => transaction.failed = true,
            // A transaction that failed elsewhere stays so: only ROLLBACK TO brings it back.
            (Some(_), b'T') => {}
            // The server ended it: a text with its own COMMIT.
            (Some(_), _) => {
                self.transaction = None;
                self.settings_changed();
            }
            // A text with its own BEGIN left one open on this server.
            (None, b'T' | b'E') => {
                self.transaction = Some(Transaction::opened(status == b'E'));
                self.servers[index].wrote = true;
            }
            (None, _) => {}
        }
        self.release();
    }

    /// Several statements in one text. All for one shard, they go there as they came; else one by one, as the one
    /// transaction that Postgres makes of them.
    async fn many(&mut self, text: &str, statements: Vec<Piece>, message: &Buffer) -> Result<bool, Failure> {
        let audited =
            statements.iter().any(|(range, decision)| self.audits(&decision.plan, &text[range.clone()]));
        // One by one, each has a line.
        let common = if audited { None } else { self.common_shard(&statements) };
        // What takes the clock of a transaction that began elsewhere is told it.
        let is_clocked = || statements.iter().any(|(_, decision)| decision.plan.clocked.is_some());
        let common = common.filter(|(shard, _)| !(self.is_late(*shard) && is_clocked()));
        if let Some((shard, access)) = common {
            self.check_failed(&Command::Plannable)?;
            let holds = self.holds_anything();
            for (range, Decision { plan, .. }) in &statements {
                if plan.leaves || plan.unpreparable || holds {
                    let index = self.acquire(shard, access).await?;
                    self.doubt_by(index, plan, &text[range.clone()]);
                }
            }
            for (_, decision) in &statements {
                self.begin_write(&decision.plan, decision.key.as_deref()).await;
            }
            let ready = if self.listening.is_some() { Ready::Ours } else { Ready::Servers };
            let told = with_lists(text, statements.iter().map(|(range, d)| (range.clone(), &*d.plan)));
            let done = self.forward_told(shard, access, message, told, ready).await;
            self.end_write().await;
            done?;
            for (_, decision) in &statements {
                self.after_ddl(&decision.plan).await;
            }
            return Ok(ready == Ready::Servers);
        }
        let done = self.one_by_one(text, statements).await;
        let implicit = self.transaction.as_ref().is_some_and(|t| !t.explicit);
        match (done, implicit) {
            (Ok(false), true) => {
                self.commit(false).await?;
            }
            (Ok(true), true) => {
                self.rollback(false).await;
            }
            (Err(failure), implicit) => {
                if implicit {
                    self.rollback(false).await;
                }
                return Err(failure);
            }
            (Ok(_), false) => {}
        }
        Ok(false)
    }

    /// Runs pieces in turn up to the first that fails. Whether one did.
    async fn one_by_one(&mut self, text: &str, statements: Vec<Piece>) -> Result<bool, Failure> {
        let count = statements.len();
        let several = count > 1;
        // What is set last is undone by nothing.
        let holds = |n: usize, plan: &Plan| must_hold_together(plan) || n + 1 < count && sets(plan);
        let mut left = statements.iter().enumerate().filter(|(n, (_, d))| holds(*n, &d.plan)).count();
        let path = self.path.clone();
        let planning = self.planning();
        for (n, (range, decision)) in statements.into_iter().enumerate() {
            // A COMMIT within the text ends the transaction that the statements so far were; another one follows.
            let joins = self.reaches_servers(&decision.plan.command)
                || changes_listening(&decision.plan)
                || sets(&decision.plan)
                || matches!(decision.plan.command, Command::SetLocal { .. });
            if several && left > 0 && self.transaction.is_none() && joins {
                self.transaction = Some(Transaction::implicit());
            }
            left -= usize::from(holds(n, &decision.plan));
            let piece = text[range.clone()].trim_start();
            let start = range.end - piece.len();
            let mut message = Buffer::default();
            frame::put(&mut message, b'Q', &[piece.trim_end().as_bytes(), b"\0"].concat());
            self.moved = text[..start].chars().count();
            let decision = self.decision_now(piece.trim_end(), decision, &path, &planning).await;
            let ran = match decision {
                Ok(decision) => self.one(piece.trim_end(), decision, &message, Ready::Ours).await,
                Err(error) => Err(error.into()),
            };
            self.moved = 0;
            if ran?.failed {
                return Ok(true);
            }
            if several && self.has_doubts() {
                self.settle_doubts().await?;
            }
        }
        Ok(false)
    }

    /// What was decided for a statement of a text; decided anew if one before it changed the search path, or made a
    /// temporary table: its names may mean other tables now.
    async fn decision_now(
        &mut self,
        text: &str,
        decided: Decision,
        path: &SearchPath,
        planning: &Arc<Planning>,
    ) -> Result<Decision, ClientError> {
        // One of the statements before it may have declared a cursor, and so said where that is.
        let of_cursor = decided.plan.command == Command::Cursor || decided.plan.current_of.is_some();
        let known = decided.plan.unknown.is_none() && !of_cursor;
        if known && *self.path == *path && self.with_planning(|now| std::ptr::eq(now, &**planning)) {
            return Ok(decided);
        }
        match self.decide(text, None).await? {
            Decided::One(decision) => Ok(decision),
            _ => Ok(decided),
        }
    }

    /// The one shard that every statement of a text can run on, if the session handles none of them itself.
    fn common_shard(&mut self, statements: &[Piece]) -> Option<(ShardRef, Access)> {
        let (mut shard, mut group) = (None, None);
        let mut access = Access::ReadPrimary;
        for (_, Decision { plan, target, .. }) in statements {
            let passes = matches!(
                plan.command,
                Command::Plannable
                    | Command::Show
                    | Command::Explain
                    | Command::Ddl
                    | Command::Utility
                    | Command::Temporary
            ) && plan.explained().is_none();
            // What comes behind it may mean other tables.
            let changes = matches!(plan.command, Command::Ddl | Command::Utility | Command::Temporary);
            let shadows = self.with_planning(|planning| {
                let schema = &planning.schema;
                !schema.is_unsharded() && (plan.leaves || changes && schema.has_temporary())
            });
            if !passes || shadows || plan.setting.is_some() || !plan.locks.is_empty() {
                return None;
            }
            if plan.access == Access::Write {
                access = Access::Write;
            }
            match target.as_ref().ok()? {
                Target::One(place) if shard.is_none_or(|s| s == *place) => shard = Some(*place),
                Target::Any(g)
                    if plan.access != Access::Write || self.database.maps[g.0].shard_count() == 1 =>
                {
                    group.get_or_insert(*g);
                }
                _ => return None,
            }
        }
        match (shard, group) {
            (Some(shard), Some(group)) if shard.group != group => None,
            (Some(shard), _) => Some((shard, access)),
            (None, group) => Some((self.any_shard(group?), access)),
        }
    }

    /// Statements that the session handles itself. Whether it did.
    pub(super) async fn control(&mut self, plan: &Plan, text: &str) -> Result<bool, ClientError> {
        let own = matches!(plan.command, Command::Set { .. } | Command::SetLocal { .. })
            .then(|| Command::of_text(text));
        let answer = match own.as_ref().unwrap_or(&plan.command) {
            Command::Begin => self.begin(text).await?,
            Command::Commit { chain } => self.commit(*chain).await?,
            Command::Rollback { chain } => self.rollback(*chain).await,
            Command::Savepoint => self.savepoint(text).await?,
            Command::SetLocal { search_path } => self.set_local(text, search_path.as_deref()).await?,
            Command::Set { name, value } => {
                self.set(name, value.clone(), text).await?;
                Answer::Tag("SET")
            }
            Command::Characteristics => self.characteristics(text).await?,
            Command::Reset { name } => {
                self.reset(name, text).await?;
                Answer::Tag("RESET")
            }
            Command::DiscardAll => self.discard_all().await?,
            Command::Discard(tag) => self.discard(text, tag).await?,
            Command::Deallocate(name) => self.deallocate(name.as_deref())?,
            Command::ListeningChannels => {
                self.list_channels();
                return Ok(true);
            }
            Command::Listen => self.listen(text).await?,
            Command::Unlisten => self.unlisten(text).await?,
            Command::Cursor if !self.is_servers(&plan.command) => self.no_cursor(text)?,
            Command::Empty => {
                self.client.output.extend(reply::EMPTY_QUERY);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.answer(answer);
        Ok(true)
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<Answer, ClientError> {
        match name {
            None => {
                self.statements.clear();
                self.note_prepared();
                Ok(Answer::Tag("DEALLOCATE ALL"))
            }
            Some(name) => match self.statements.remove(name.as_bytes()) {
                Some(_) => {
                    self.note_prepared();
                    Ok(Answer::Tag("DEALLOCATE"))
                }
                None => {
                    Err(ClientError::error("26000", format!("prepared statement \"{name}\" does not exist")))
                }
            },
        }
    }

    /// After DDL, what was read of the catalog is out of date; inside a transaction, once that has committed.
    pub(super) async fn after_ddl(&mut self, plan: &Plan) {
        if !plan.command.is_ddl() {
            return;
        }
        match &mut self.transaction {
            Some(transaction) => transaction.ddl = true,
            None => self.reread_schema().await,
        }
    }

    pub(super) async fn reread_schema(&mut self) {
        if let Err(e) = self.database.refresh(None).await {
            tracing::warn!(database = self.database.name, "the schema could not be read: {e}");
        }
        self.proxy.bulletin.tell(&self.database.name).await;
        self.follow_schema();
    }
}

/// What would have to run on every shard.
pub(super) fn everywhere(plan: &Plan) -> ClientError {
    let what = match (&plan.command, &plan.route) {
        (Command::Copy, _) => "COPY over several shards",
        (Command::Ddl | Command::Utility, _) => "running this on every shard",
        (_, Route::Everywhere(_)) => "writing a reference table, which means every shard,",
        _ => "this statement over several shards",
    };
    ClientError::error("0A000", format!("{what} is not supported yet"))
        .hint("Run it shard by shard, with /* shard: n */ in front.")
}

/// Whether a statement needs the transaction that Postgres makes of a text of several.
fn must_hold_together(plan: &Plan) -> bool {
    let local = matches!(plan.command, Command::SetLocal { .. }) || plan.setting.is_some();
    let local = local || changes_listening(plan) || matches!(plan.command, Command::Declare { .. });
    local || plan.access == Access::Write && !matches!(plan.route, Route::Refuse(_))
}

/// Bytes of a ReadyForQuery message.
const READY_LEN: usize = 6;

/// A statement among several: its place in the text, and its decision.
type Piece = (std::ops::Range<usize>, Decision);

/// Whose ReadyForQuery the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// The server's, as it comes.
    Servers,
    /// The session's own, later.
    Ours,
}

/// How a statement ran.
struct Ran {
    /// Whether the client has its ReadyForQuery.
    ready: bool,
    /// Whether the answer was a server's error.
    failed: bool,
}

/// What ends a statement early.
pub enum Failure {
    /// The client is told, and goes on.
    Statement(ClientError),
    /// The same, in the server's own words: an ErrorResponse's body.
    ServerError(Vec<u8>),
    /// The client was told already.
    Answered,
    /// The session ends.
    Session(End),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Statement(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::Session(end)
    }
}
