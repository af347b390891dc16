//! Transactions: BEGIN is held until the first statement says where, servers join as they are touched.

use super::Session;
use super::ddl::Changed;
use super::listen::Change;
use super::portals::Portals;
use super::savepoints::Savepoint;
use super::servers::{cancel_abandoned, refused};
use crate::audit::line::End;
use crate::error::ClientError;
use crate::reply;
use crate::sql::command::Command;
use crate::sql::scan::tokens;
use shardway_config::PoolMode;
use shardway_pool::settings::Settings;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use crate::schema::ShardRef;

/// How long a server may take to roll back where `cancel_wait_timeout` does not say.
pub(super) const ROLLBACK_LIMIT: Duration = Duration::from_secs(60);

/// A transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Whether the client opened it; else it ends with the batch it was opened for.
    pub explicit: bool,
    /// The client's BEGIN, options and all.
    begin: Cow<'static, str>,
    /// What a server that joins must be told: SAVEPOINTs, SETs, in order.
    pub(super) prelude: Vec<String>,
    /// Savepoints that are there, in order.
    pub(super) savepoints: Vec<Savepoint>,
    /// No other server may join: it could not be told what was set.
    pub(super) closed: bool,
    /// A server of it was lost, and what it did there: no savepoint brings that back.
    pub(super) lost: bool,
    /// It changed the schema.
    pub(super) ddl: bool,
    /// What the schema is for it, where it is not what it is for all.
    pub(super) changed: Option<Changed>,
    /// An error happened: all that is left is to roll back.
    pub failed: bool,
    /// Session parameters that were set inside; they stay if it commits.
    pub(super) settings: Option<Settings>,
    /// LISTENs and UNLISTENs that take effect if it commits.
    pub(super) listens: Vec<Change>,
    /// When it began, as its first server says, once a statement over several shards has asked: in UTC.
    pub(super) clock: Option<String>,
    /// It is about to be needed: the first server is asked with its BEGIN.
    pub(super) asks_clock: bool,
    /// Portals bound inside, by name.
    pub portals: HashMap<Vec<u8>, ShardRef>,
    /// Those with rows of several shards.
    pub(super) across: Portals,
}

impl Transaction {
    /// One that ends with its batch.
    pub fn implicit() -> Self {
        Self { begin: PLAIN_BEGIN.into(), ..Self::default() }
    }

    /// One that a text of several statements left open on a server.
    pub fn opened(failed: bool) -> Self {
        Self { explicit: true, begin: PLAIN_BEGIN.into(), failed, ..Self::default() }
    }

    /// Has servers that join told so too.
    pub(super) fn tell_joining(&mut self, text: &str) {
        self.prelude.push(text.trim().trim_end_matches(';').to_owned());
    }

    /// Whether a server that joins is told no more than BEGIN: that has one answer, so what follows need not wait for it.
    pub(super) fn opens_plainly(&self) -> bool {
        self.begin == PLAIN_BEGIN && self.prelude.is_empty() && !self.closed
    }

    /// Whether the client has said when constraints are checked.
    pub(super) fn sets_constraints(&self) -> bool {
        self.prelude.iter().any(|command| command.to_ascii_lowercase().contains("constraints"))
    }

    /// What a server is told that joins.
    pub fn opening(&self) -> String {
        let mut sql = self.begin.clone().into_owned();
        for command in &self.prelude {
            // On a line of its own: a comment at the end of one command must not swallow the next.
            sql.push_str("\n;");
            sql.push_str(command);
        }
        sql
    }
}

/// What a server is told by a BEGIN without options.
const PLAIN_BEGIN: &str = "BEGIN";

/// The answer to it: CommandComplete and ReadyForQuery.
const BEGUN: &[u8] = b"C\0\0\0\x0aBEGIN\0Z\0\0\0\x05T";

/// Whether a text is BEGIN and no more.
fn is_plain_begin(text: &str) -> bool {
    let text = text.trim();
    text.strip_suffix(';').unwrap_or(text).eq_ignore_ascii_case(PLAIN_BEGIN)
}

/// The options of a BEGIN or START TRANSACTION, as SET TRANSACTION takes them.
fn begin_options(text: &str) -> Option<String> {
    let words = tokens(text);
    let noise =
        |word: &&&str| ["begin", "start", "work", "transaction"].iter().any(|n| word.eq_ignore_ascii_case(n));
    let skip = words.iter().take(2).filter(noise).count();
    let options: Vec<&str> = words[skip..].iter().copied().filter(|word| *word != ";").collect();
    (!options.is_empty()).then(|| options.join(" "))
}

/// COMMIT or ROLLBACK outside of a transaction block.
fn no_transaction(tag: &'static str) -> Answer {
    Answer::Warned("25P01", "there is no transaction in progress".to_owned(), tag)
}

/// The answer to a statement that the session answers itself.
pub enum Answer {
    /// CommandComplete with this tag.
    Tag(&'static str),
    /// The same, after a warning.
    Warned(&'static str, String, &'static str),
}

impl Session {
    /// BEGIN.
    pub(super) async fn begin(&mut self, text: &str) -> Result<Answer, ClientError> {
        let plainly = text.trim_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("begin"));
        let start = !plainly && tokens(text).first().is_some_and(|word| word.eq_ignore_ascii_case("start"));
        let tag = if start { "START TRANSACTION" } else { "BEGIN" };
        if let Some(open) = &mut self.transaction {
            // A batch's own transaction becomes the client's, as in Postgres.
            if !open.explicit {
                open.explicit = true;
                if let Some(options) = begin_options(text) {
                    self.everywhere_in_transaction(&format!("SET TRANSACTION {options}")).await?;
                }
                return Ok(Answer::Tag(tag));
            }
            return Ok(Answer::Warned("25001", "there is already a transaction in progress".to_owned(), tag));
        }
        let begin = if is_plain_begin(text) {
            PLAIN_BEGIN.into()
        } else {
            text.trim().trim_end_matches(';').to_owned().into()
        };
        self.transaction = Some(Transaction { explicit: true, begin, ..Transaction::default() });
        Ok(Answer::Tag(tag))
    }

    /// A BEGIN without options, where there is no transaction yet. False if it is not one.
    pub(super) fn begin_now(&mut self, text: &str) -> bool {
        if self.transaction.is_some() || !is_plain_begin(text) || self.mode == PoolMode::Statement {
            return false;
        }
        let begin = PLAIN_BEGIN.into();
        self.transaction = Some(Transaction { explicit: true, begin, ..Transaction::default() });
        self.proxy.metrics.local();
        self.client.send(BEGUN);
        true
    }

    /// Whether the transaction can be ended by its one server itself, with nothing to be done or decided here.
    pub(super) fn ends_plainly(&self, command: &Command) -> bool {
        let Some(transaction) = &self.transaction else { return false };
        let [participant] = &self.servers[..] else { return false };
        if participant.is_doubtful() {
            return false;
        }
        let ends = match command {
            Command::Commit { chain } => !chain && !transaction.failed && participant.lease.status == b'T',
            Command::Rollback { chain } => !chain && !transaction.lost && participant.lease.status != b'I',
            _ => false,
        };
        let leaves = transaction.settings.is_some() || transaction.ddl || !transaction.listens.is_empty();
        ends && transaction.explicit && !leaves && self.is_unmarked() && !self.tells_end()
    }

    /// COMMIT. Errors are for the client; the transaction is over either way.
    pub(super) async fn commit(&mut self, chain: bool) -> Result<Answer, ClientError> {
        self.audit_commits();
        let answer = self.commit_servers(chain).await;
        let unknown = self.outcome_unknown;
        self.end_write().await;
        self.audit_transaction(match &answer {
            Ok(Answer::Tag("ROLLBACK")) => End::RolledBack,
            Ok(_) => End::Committed,
            Err(_) if unknown => End::Unknown,
            Err(_) => End::RolledBack,
        })
        .await;
        answer
    }

    async fn commit_servers(&mut self, chain: bool) -> Result<Answer, ClientError> {
        let Some(transaction) = self.transaction.take() else {
            return Ok(no_transaction("COMMIT"));
        };
        // A server whose transaction has failed would answer COMMIT with ROLLBACK, and no error.
        if transaction.failed || self.servers.iter().any(|p| p.lease.status == b'E') {
            self.roll_back_servers().await;
            self.chain(chain, &transaction);
            return Ok(Answer::Tag("ROLLBACK"));
        }
        let before = self.channels().to_vec();
        if !transaction.listens.is_empty()
            && let Err(error) = self.listen_before_commit(&transaction.listens).await
        {
            self.roll_back_servers().await;
            return Err(error);
        }
        let settings = transaction.settings.clone().map(|settings| self.proxy.settings.share(settings));
        if let Err(error) = self.commit_participants(settings.as_ref()).await {
            self.roll_back_servers().await;
            self.keep_channels(&before).await;
            return Err(error);
        }
        if let Some(settings) = settings {
            self.settings = settings;
        }
        self.settle_notifications().await;
        self.release_all();
        if !transaction.listens.is_empty() {
            let wanted = self.channels_after(&before, &transaction.listens);
            self.keep_channels(&wanted).await;
        }
        self.settings_changed();
        if transaction.ddl {
            self.reread_schema().await;
        }
        self.chain(chain, &transaction);
        Ok(if transaction.explicit { Answer::Tag("COMMIT") } else { no_transaction("COMMIT") })
    }

    /// ROLLBACK.
    pub(super) async fn rollback(&mut self, chain: bool) -> Answer {
        let Some(transaction) = self.transaction.take() else {
            return no_transaction("ROLLBACK");
        };
        self.roll_back_servers().await;
        self.follow_schema();
        self.end_write().await;
        self.audit_transaction(End::RolledBack).await;
        self.chain(chain, &transaction);
        if transaction.explicit { Answer::Tag("ROLLBACK") } else { no_transaction("ROLLBACK") }
    }

    fn chain(&mut self, chain: bool, before: &Transaction) {
        if chain && before.explicit {
            let begin = before.begin.clone();
            // What it was told to be by SET TRANSACTION, the next one is too.
            let told = |command: &&String| {
                let words = tokens(command);
                let is =
                    |n: usize, word: &str| words.get(n).is_some_and(|w: &&str| w.eq_ignore_ascii_case(word));
                is(0, "set") && is(1, "transaction") && !is(2, "snapshot")
            };
            let prelude = before.prelude.iter().filter(told).cloned().collect();
            self.transaction = Some(Transaction { explicit: true, begin, prelude, ..Transaction::default() });
        }
    }

    /// Ends the servers' transactions and gives them back; one that can't be rolled back is closed.
    pub(super) async fn roll_back_servers(&mut self) {
        let (timeout, limit) = (self.world.config.pool.cancel_wait_timeout, self.rollback_limit());
        // A server that does not answer must not keep its place for a client that may be gone.
        let end = tokio::time::Instant::now() + limit;
        let mut asked = Vec::with_capacity(self.servers.len());
        for (index, participant) in self.servers.iter_mut().enumerate() {
            if participant.lease.outstanding > 0 {
                // In the middle of an answer that nobody reads: not clean, so it is closed when it is given back.
                cancel_abandoned(participant, timeout);
            } else if participant.lease.status != b'I' {
                let told = tokio::time::timeout_at(end, participant.lease.tell("ROLLBACK")).await;
                asked.push((index, matches!(told, Ok(Ok(())))));
            }
        }
        for (index, told) in asked {
            let lease = &mut self.servers[index].lease;
            if !told || !matches!(tokio::time::timeout_at(end, lease.drain()).await, Ok(Ok(()))) {
                // Not clean, so it is closed when it is given back.
                lease.status = b'E';
            }
            // A SET inside was undone with it; what is in place is what was there when it joined.
        }
        for index in 0..self.servers.len() {
            self.tell(index);
        }
        self.release_all();
        self.settings_changed();
    }

    /// Runs a command on every server of the transaction.
    pub(super) async fn run_on_all(&mut self, text: &str) -> Result<(), ClientError> {
        let mut failure = None;
        for participant in &mut self.servers {
            if let Err(error) = participant.lease.run(text).await {
                failure.get_or_insert_with(|| refused(&error));
            }
        }
        for index in 0..self.servers.len() {
            self.tell(index);
        }
        failure.map_or(Ok(()), Err)
    }

    /// The same, and on those to come.
    pub(super) async fn everywhere_in_transaction(&mut self, text: &str) -> Result<(), ClientError> {
        self.run_on_all(text).await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.tell_joining(text);
        }
        Ok(())
    }

    /// Writes an answer of our own.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.proxy.metrics.local();
        let tag = match answer {
            Answer::Tag(tag) => tag,
            Answer::Warned(code, message, tag) => {
                reply::warning(&mut self.client.output, code, &message);
                tag
            }
        };
        reply::complete(&mut self.client.output, tag);
    }

    /// In a failed transaction, only its end may be asked for.
    pub(super) fn check_failed(&self, command: &Command) -> Result<(), ClientError> {
        let ends = matches!(
            command,
            Command::Commit { .. } | Command::Rollback { .. } | Command::Savepoint | Command::Empty
        );
        match &self.transaction {
            Some(transaction) if transaction.failed && !ends => Err(ClientError::error(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }
}
