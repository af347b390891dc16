//! The audit log's place in a session: before a statement that writes is sent the log has to be writable, and before its
//! client is told that it is done its line has to be written.

use super::Session;
use super::batch::Item;
use super::prepared::Prepared;
use super::simple::Failure;
use crate::audit::line::{self, End, Ending, Outcome, Statement, Who};
use crate::audit::{Audit, Written};
use crate::error::ClientError;
use crate::plan::{Access, Plan};
use crate::schema::ShardRef;
use crate::sql::command::Command;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// What one session has to tell the log.
pub(super) struct Trail {
    audit: Arc<Audit>,
    who: Who,
    /// One for each answer that is to come; `None` for those that do not write.
    running: Vec<Option<Statement>>,
    began: Instant,
    /// Shards that were written on.
    shards: Vec<(String, ShardRef)>,
    /// Command tags that came, in order.
    tags: Vec<String>,
    /// SQLSTATE of the server's error.
    error: Option<String>,
    /// Statements of portals that were bound in the transaction.
    portals: HashMap<Vec<u8>, Option<Statement>>,
    /// The transaction that it wrote in, and how many there were.
    transaction: Option<String>,
    transactions: u64,
    /// COMMIT is on its way.
    commits: bool,
}

impl Trail {
    fn new(audit: Arc<Audit>, who: Who) -> Self {
        Self {
            audit,
            who,
            running: Vec::new(),
            began: Instant::now(),
            shards: Vec::new(),
            tags: Vec::new(),
            error: None,
            portals: HashMap::new(),
            transaction: None,
            transactions: 0,
            commits: false,
        }
    }

    /// Whether tags of what runs are wanted.
    pub(super) fn wants_tags(&self) -> bool {
        !self.running.is_empty()
    }

    /// The lines of what has run; `failure` is how the first one ended that has no tag.
    fn lines(&mut self, mut failure: Option<Outcome>) -> Vec<Written> {
        let (duration, tags) = (self.began.elapsed(), std::mem::take(&mut self.tags));
        // A batch is done as a whole or not at all.
        let committed = match (&self.transaction, &failure) {
            (Some(_), _) | (None, Some(Outcome::Unknown)) => None,
            (None, Some(Outcome::Error(_))) => Some(false),
            (None, Some(Outcome::Ok(_)) | None) => Some(true),
        };
        let mut tags = tags.into_iter();
        let mut written = Vec::new();
        for statement in std::mem::take(&mut self.running) {
            let outcome = match tags.next() {
                Some(tag) => Outcome::Ok(line::rows(&tag)),
                // All of them were sent, and any of them may have been done.
                None if failure == Some(Outcome::Unknown) => Outcome::Unknown,
                None => match failure.take() {
                    Some(outcome) => outcome,
                    // The server did not get so far.
                    None => break,
                },
            };
            let Some(statement) = statement else { continue };
            let shards: Vec<_> = self.shards.iter().map(|(group, at)| (group.as_str(), *at)).collect();
            let ending = Ending { outcome, transaction: self.transaction.as_deref(), committed, duration };
            let text = line::of_statement(&self.who, &statement, &shards, &ending);
            written.push(self.audit.submit(text));
        }
        self.shards.clear();
        self.error = None;
        written
    }

    fn end(&mut self, end: End) -> Option<Written> {
        self.portals.clear();
        self.commits = false;
        let transaction = self.transaction.take()?;
        Some(self.audit.submit(line::of_end(&self.who, &transaction, end)))
    }
}

impl Drop for Trail {
    /// The session ends in the middle of something.
    fn drop(&mut self) {
        self.lines(Some(Outcome::Unknown));
        self.end(if self.commits { End::Unknown } else { End::RolledBack });
    }
}

impl Session {
    /// Whether statements that write have lines.
    pub(super) fn is_audited(&self) -> bool {
        self.world.audit.is_some()
    }

    /// Whether a transaction's end is to have a line.
    pub(super) fn tells_end(&self) -> bool {
        self.trail.as_ref().is_some_and(|trail| trail.transaction.is_some())
    }

    /// Whether a statement is to have a line of its own: EXECUTE stands for another one, which has.
    pub(super) fn audits(&self, plan: &Plan, text: &str) -> bool {
        self.is_audited()
            && plan.access == Access::Write
            && match plan.command {
                Command::Execute | Command::Notify | Command::Load => false,
                // Without that word, in either spelling, nothing is done.
                Command::Explain => {
                    let text = text.to_ascii_lowercase();
                    text.contains("analyze") || text.contains("analyse")
                }
                _ => true,
            }
    }

    /// Whether a batch holds what is to have a line.
    pub(super) fn audits_items(&self, items: &[Item]) -> bool {
        self.is_audited()
            && items.iter().any(|item| match item {
                Item::Bind { statement, .. } => self.audits(&statement.plan, &statement.text),
                Item::Portal { tag: b'E', portal, .. } => self
                    .trail
                    .as_ref()
                    .is_some_and(|trail| trail.portals.get(portal).is_some_and(Option::is_some)),
                _ => false,
            })
    }

    /// A simple query's statement is about to be sent. Errors: the log can't be written.
    pub(super) async fn audit_statement(&mut self, plan: &Plan, text: &str) -> Result<(), ClientError> {
        let statement = statement_of(plan, text);
        self.audit_begins(vec![Some(statement)]).await
    }

    /// A batch's messages are about to be sent. Errors: the log can't be written.
    pub(super) async fn audit_items(&mut self, items: &[Item]) -> Result<(), ClientError> {
        let mut bound: HashMap<Vec<u8>, Option<Statement>> = HashMap::new();
        let mut running = Vec::new();
        for item in items {
            match item {
                Item::Bind { portal, statement, .. } => {
                    let audited = self.audits(&statement.plan, &statement.text).then(|| prepared(statement));
                    bound.insert(portal.clone(), audited);
                }
                Item::Portal { tag: b'E', portal, .. } => {
                    let before = || self.trail.as_ref().and_then(|trail| trail.portals.get(portal));
                    running.push(bound.get(portal).or_else(before).cloned().flatten());
                }
                _ => {}
            }
        }
        self.audit_begins(running).await?;
        if let Some(trail) = &mut self.trail {
            trail.portals.extend(bound);
        }
        Ok(())
    }

    async fn audit_begins(&mut self, running: Vec<Option<Statement>>) -> Result<(), ClientError> {
        let Some(audit) = self.world.audit.clone() else { return Ok(()) };
        audit.admit().await?;
        let who = self.who();
        let kept =
            self.trail.take().filter(|trail| Arc::ptr_eq(&trail.audit, &audit) || self.transaction.is_some());
        let mut trail = kept.unwrap_or_else(|| Box::new(Trail::new(audit, who.clone())));
        trail.who = who;
        (trail.running, trail.began) = (running, Instant::now());
        if self.transaction.is_some() && trail.transaction.is_none() {
            trail.transactions += 1;
            trail.transaction = Some(format!("{}.{}", trail.who.session, trail.transactions));
        }
        self.trail = Some(trail);
        Ok(())
    }

    fn who(&self) -> Who {
        let address = self.client.stream.peer_addr().ok().filter(|_| !self.client.stream.is_unix());
        Who {
            user: self.user.clone(),
            database: self.database.name.clone(),
            client: address.map_or_else(|| "[local]".to_owned(), |address| address.to_string()),
            application_name: self.settings.value("application_name").map(str::to_owned),
            session: self.registration.key.pid,
        }
    }

    /// What was sent has run, or will not: waits until its lines are written.
    pub(super) async fn audit_ends(&mut self, failure: Option<&Failure>, failed: bool) {
        let Some(trail) = &mut self.trail else { return };
        let code = trail.error.take();
        // The client is told of it in a moment.
        let verdict = failure.and_then(|_| self.registration.handle.verdict_code());
        let of_code = |code: &str| match code {
            "57014" => Outcome::Error(verdict.clone().unwrap_or_else(|| code.to_owned())),
            // The server was lost, or the client while it waited; or who decides was while it committed, and does not say.
            "08006" | "08007" => Outcome::Unknown,
            code => Outcome::Error(code.to_owned()),
        };
        let outcome = match failure {
            Some(Failure::Session(_)) => Some(Outcome::Unknown),
            Some(Failure::Statement(error)) => Some(of_code(&error.code)),
            Some(Failure::ServerError(body)) => Some(of_code(&ClientError::of_server(body).code)),
            Some(Failure::Answered) => Some(Outcome::Error(code.unwrap_or_default())),
            None if failed => Some(Outcome::Error(code.unwrap_or_default())),
            // It ran, where nobody has seen its tag.
            None => Some(Outcome::Ok(None)).filter(|_| trail.tags.is_empty()),
        };
        for written in trail.lines(outcome) {
            written.wait().await;
        }
        if self.transaction.is_none() {
            self.audit_transaction(End::Committed).await;
        }
    }

    /// A transaction is over: waits until that is written.
    pub(super) async fn audit_transaction(&mut self, end: End) {
        let written = self.trail.as_mut().and_then(|trail| trail.end(end));
        if let Some(written) = written {
            written.wait().await;
        }
    }

    /// COMMIT is about to be sent: should nobody hear of its end, nobody knows it.
    pub(super) fn audit_commits(&mut self) {
        if let Some(trail) = &mut self.trail {
            trail.commits = true;
        }
    }

    /// A shard is about to be asked.
    pub(super) fn audit_shard(&mut self, shard: ShardRef, access: Access) {
        let Some(trail) = self.trail.as_mut().filter(|trail| !trail.running.is_empty()) else { return };
        if access == Access::Write && !trail.shards.iter().any(|(_, known)| *known == shard) {
            trail.shards.push((self.database.groups[shard.group.0].name.clone(), shard));
        }
    }

    /// What a server said at the end of statements: their tags, and the SQLSTATE of what ended them early.
    pub(super) fn audit_answer(&mut self, tags: Option<Vec<String>>, error: Option<[u8; 5]>) {
        let Some(trail) = &mut self.trail else { return };
        trail.tags.extend(tags.into_iter().flatten());
        if let Some(code) = error {
            trail.error = Some(String::from_utf8_lossy(&code).into_owned());
        }
    }

    /// Whether tags of what runs are wanted.
    pub(super) fn wants_tags(&self) -> bool {
        self.trail.as_ref().is_some_and(|trail| trail.wants_tags())
    }
}

fn statement_of(plan: &Plan, text: &str) -> Statement {
    Statement { time: SystemTime::now(), text: text.into(), tables: plan.writes.clone() }
}

fn prepared(statement: &Prepared) -> Statement {
    statement_of(&statement.plan, &statement.text)
}
