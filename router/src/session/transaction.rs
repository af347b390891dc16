//! Transactions: BEGIN is held until the first statement says where, servers join as they are touched.

use super::servers::refused;
use super::Session;
use crate::error::ClientError;
use crate::plan_cache::SearchPath;
use crate::reply;
use crate::sql::command::Command;
use shardway_pool::server::RunError;
use shardway_pool::settings::Settings;
use std::collections::HashMap;
use std::sync::Arc;

use crate::schema::ShardRef;

/// A transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Whether the client opened it; else it ends with the batch it was opened for.
    pub explicit: bool,
    /// The client's BEGIN, options and all.
    begin: String,
    /// What a server that joins must be told: SAVEPOINTs, SETs, in order.
    prelude: Vec<String>,
    /// An error happened: all that is left is to roll back.
    pub failed: bool,
    /// Session parameters that were set inside; they stay if it commits.
    settings: Option<Settings>,
    /// Portals bound inside, by name.
    pub portals: HashMap<Vec<u8>, ShardRef>,
}

impl Transaction {
    /// One that ends with its batch.
    pub fn implicit() -> Self {
        Self { begin: "BEGIN".to_owned(), ..Self::default() }
    }

    /// One that a text of several statements left open on a server.
    pub fn opened(failed: bool) -> Self {
        Self { explicit: true, begin: "BEGIN".to_owned(), failed, ..Self::default() }
    }

    /// What a server is told that joins.
    pub fn opening(&self) -> String {
        let mut sql = self.begin.clone();
        for command in &self.prelude {
            sql.push(';');
            sql.push_str(command);
        }
        sql
    }
}

/// The answer to a statement that the session answers itself.
pub enum Answer {
    /// CommandComplete with this tag.
    Tag(&'static str),
    /// The same, after a warning.
    Warned(&'static str, &'static str, &'static str),
}

impl Session {
    /// BEGIN.
    pub(super) fn begin(&mut self, text: &str) -> Answer {
        let tag = if text.trim_start().get(..5).is_some_and(|w| w.eq_ignore_ascii_case("start")) {
            "START TRANSACTION"
        } else {
            "BEGIN"
        };
        if let Some(open) = &mut self.transaction {
            // A batch's own transaction becomes the client's, as in Postgres.
            if !open.explicit {
                open.explicit = true;
                return Answer::Tag(tag);
            }
            return Answer::Warned("25001", "there is already a transaction in progress", tag);
        }
        let begin = text.trim().trim_end_matches(';').to_owned();
        self.transaction = Some(Transaction { explicit: true, begin, ..Transaction::default() });
        Answer::Tag(tag)
    }

    /// COMMIT: the one writer first, then those that only read. Errors are for the client; the transaction is over
    /// either way.
    pub(super) async fn commit(&mut self, chain: bool) -> Result<Answer, ClientError> {
        let answer = self.commit_servers(chain).await;
        self.end_write().await;
        answer
    }

    async fn commit_servers(&mut self, chain: bool) -> Result<Answer, ClientError> {
        let Some(transaction) = self.transaction.take() else {
            return Ok(Answer::Warned("25P01", "there is no transaction in progress", "COMMIT"));
        };
        if transaction.failed {
            self.roll_back_servers().await;
            self.chain(chain, &transaction);
            return Ok(Answer::Tag("ROLLBACK"));
        }
        self.servers.sort_by_key(|p| !p.wrote);
        for index in 0..self.servers.len() {
            let participant = &mut self.servers[index];
            if let Err(error) = participant.lease.run("COMMIT").await {
                let client = refused(&error);
                let wrote = participant.wrote;
                self.outcome_unknown |= wrote && matches!(error, RunError::Lost(_));
                self.roll_back_servers().await;
                // A reader that fails after the writer has committed takes nothing back.
                if wrote || index == 0 || matches!(error, RunError::Refused(_)) {
                    return Err(client);
                }
                break;
            }
        }
        if let Some(settings) = transaction.settings.clone() {
            self.settings = Arc::new(settings);
            // Each server was told of every SET inside.
            self.servers.iter_mut().for_each(|p| p.lease.settings = self.settings.clone());
        }
        self.release_all();
        self.settings_changed();
        self.chain(chain, &transaction);
        Ok(Answer::Tag("COMMIT"))
    }

    /// ROLLBACK.
    pub(super) async fn rollback(&mut self, chain: bool) -> Answer {
        let Some(transaction) = self.transaction.take() else {
            return Answer::Warned("25P01", "there is no transaction in progress", "ROLLBACK");
        };
        self.roll_back_servers().await;
        self.end_write().await;
        self.chain(chain, &transaction);
        Answer::Tag("ROLLBACK")
    }

    fn chain(&mut self, chain: bool, before: &Transaction) {
        if chain && before.explicit {
            let begin = before.begin.clone();
            self.transaction = Some(Transaction { explicit: true, begin, ..Transaction::default() });
        }
    }

    /// Ends the servers' transactions and gives them back; one that can't be rolled back is closed.
    pub(super) async fn roll_back_servers(&mut self) {
        for participant in &mut self.servers {
            if participant.lease.status != b'I' && participant.lease.run("ROLLBACK").await.is_err() {
                // Not clean, so it is closed when it is given back.
                participant.lease.status = b'E';
            }
            // A SET inside was undone with it; what is in place is what was there when it joined.
        }
        self.release_all();
        self.settings_changed();
    }

    /// SAVEPOINT, RELEASE, ROLLBACK TO, SET LOCAL, SET inside a transaction: for every server in it, and for those to
    /// come. Gives the tag.
    pub(super) async fn everywhere_in_transaction(&mut self, text: &str, revives: bool) -> Result<(), ClientError> {
        let mut failure = None;
        for participant in &mut self.servers {
            if let Err(error) = participant.lease.run(text).await {
                failure.get_or_insert_with(|| refused(&error));
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.prelude.push(text.trim().trim_end_matches(';').to_owned());
            if revives {
                transaction.failed = false;
            }
        }
        Ok(())
    }

    /// SET of a session parameter: takes effect now, and stays if the transaction it is in commits.
    pub(super) async fn set(&mut self, name: &str, value: Option<String>, text: &str) -> Result<(), ClientError> {
        self.check_setting(name, value.as_deref())?;
        let command = text.trim().trim_end_matches(';').to_owned();
        if self.transaction.is_some() {
            // At least one server must take it, so that a value that can't be is an error now.
            if self.servers.is_empty() {
                let shard = self.any_shard(crate::schema::GroupId(0));
                self.acquire(shard, crate::plan::Access::ReadPrimary).await?;
            }
            self.everywhere_in_transaction(text, false).await?;
            if name == "search_path"
                && let Some(value) = &value
            {
                self.path = SearchPath::parse(value, &self.user);
            }
            let current = (*self.settings).clone();
            if let Some(transaction) = &mut self.transaction {
                transaction.settings.get_or_insert(current).set(name, command, value);
            }
            return Ok(());
        }
        let shard = self.any_shard(crate::schema::GroupId(0));
        let index = self.acquire(shard, crate::plan::Access::ReadPrimary).await?;
        let outcome = self.servers[index].lease.run(text).await;
        if let Err(error) = outcome {
            self.release();
            return Err(refused(&error));
        }
        let mut settings = (*self.settings).clone();
        settings.set(name, command, value);
        self.settings = Arc::new(settings);
        self.servers[index].lease.settings = self.settings.clone();
        self.report_parameters(index);
        self.settings_changed();
        self.release();
        Ok(())
    }

    /// RESET of one parameter, or of all.
    pub(super) async fn reset(&mut self, name: &str, text: &str) -> Result<(), ClientError> {
        if self.transaction.is_some() {
            self.everywhere_in_transaction(text, false).await?;
            let startup = self.startup.clone();
            let current = (*self.settings).clone();
            if let Some(transaction) = &mut self.transaction {
                reset_in(transaction.settings.get_or_insert(current), name, &startup);
            }
            return Ok(());
        }
        let mut settings = (*self.settings).clone();
        reset_in(&mut settings, name, &self.startup.clone());
        self.settings = Arc::new(settings);
        self.settings_changed();
        Ok(())
    }

    /// A parameter that would break what Shardway relies on is refused.
    fn check_setting(&self, name: &str, value: Option<&str>) -> Result<(), ClientError> {
        let unsharded = self.database.planning().schema.is_unsharded();
        let refuse = |what: &str| Err(ClientError::error("0A000", what.to_owned()));
        match name {
            "standard_conforming_strings" if !value.is_some_and(|v| v.eq_ignore_ascii_case("on")) => {
                refuse("standard_conforming_strings must stay on: keys are read from literals")
            }
            "client_encoding" | "names" if !unsharded && !value.is_some_and(super::state::is_utf8) => {
                refuse("client_encoding must be UTF8: keys are read from text")
            }
            name if name.starts_with("shardway.") => {
                refuse("shardway.* parameters are not supported yet; use /* shard: n */ or /* sharding_key: 'k' */")
            }
            _ => Ok(()),
        }
    }

    /// Writes an answer of our own.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.proxy.metrics.local();
        let tag = match answer {
            Answer::Tag(tag) => tag,
            Answer::Warned(code, message, tag) => {
                reply::warning(&mut self.client.output, code, message);
                tag
            }
        };
        reply::complete(&mut self.client.output, tag);
    }

    /// In a failed transaction, only its end may be asked for.
    pub(super) fn check_failed(&self, command: &Command) -> Result<(), ClientError> {
        let ends = matches!(command, Command::Commit { .. } | Command::Rollback { .. } | Command::Savepoint | Command::Empty);
        match &self.transaction {
            Some(transaction) if transaction.failed && !ends => Err(ClientError::error(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }
}

fn reset_in(settings: &mut Settings, name: &str, startup: &Settings) {
    match name {
        "all" => settings.reset_to(startup),
        name => settings.reset_one(name, startup),
    }
}
