//! Savepoints: kept on every server of the transaction, and for those to come.

use super::Session;
use super::servers::Participant;
use super::transaction::Answer;
use crate::error::ClientError;
use crate::plan_cache::SearchPath;
use crate::sql::command::Command;
use crate::sql::scan::{identifier, tokens};
use shardway_pool::settings::Settings;
use std::sync::Arc;

/// A savepoint, and what to go back to.
#[derive(Debug)]
pub struct Savepoint {
    name: String,
    /// Its place among what joining servers are told.
    at: usize,
    settings: Option<Settings>,
    path: Arc<SearchPath>,
    /// How many LISTENs and UNLISTENs there were.
    listens: usize,
    /// How many portals over several shards there had been.
    portals: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Set,
    Release,
    RollBack,
}

impl Session {
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    pub(super) async fn savepoint(&mut self, text: &str) -> Result<Answer, ClientError> {
        let words = tokens(text);
        let (kind, tag, long) = match words.first().map(|word| word.to_ascii_uppercase()).as_deref() {
            Some("SAVEPOINT") => (Kind::Set, "SAVEPOINT", "SAVEPOINT"),
            Some("RELEASE") => (Kind::Release, "RELEASE", "RELEASE SAVEPOINT"),
            _ => (Kind::RollBack, "ROLLBACK", "ROLLBACK TO SAVEPOINT"),
        };
        let name = words.last().map(|word| identifier(word)).unwrap_or_default();
        match &self.transaction {
            Some(transaction) if transaction.explicit && transaction.lost => {
                return Err(ClientError::error(
                    "25P02",
                    "a server of this transaction is gone: it can only be rolled back",
                ));
            }
            Some(transaction) if transaction.explicit => {}
            _ => {
                return Err(ClientError::error(
                    "25P01",
                    format!("{long} can only be used in transaction blocks"),
                ));
            }
        }
        if kind != Kind::RollBack {
            self.check_failed(&Command::Show)?;
        }
        if kind != Kind::Set && !self.has_savepoint(&name) {
            return Err(ClientError::error("3B001", format!("savepoint \"{name}\" does not exist")));
        }
        self.run_on_all(text).await?;
        if kind == Kind::RollBack {
            // Temporary tables came or went with it.
            let holders = self.servers.iter_mut().filter(|participant| participant.holds_anything());
            holders.for_each(Participant::doubt);
        }
        match kind {
            Kind::Set => self.remember_savepoint(name, text),
            Kind::Release => self.release_savepoint(&name),
            Kind::RollBack => self.go_back_to(&name),
        }
        if kind == Kind::RollBack && self.transaction.as_ref().is_some_and(|t| t.changed.is_some()) {
            // What was made behind it is gone.
            Box::pin(self.reread_within()).await?;
        }
        Ok(Answer::Tag(tag))
    }

    fn has_savepoint(&self, name: &str) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.savepoints.iter().any(|s| s.name == name))
    }

    fn remember_savepoint(&mut self, name: String, text: &str) {
        let path = self.path.clone();
        let Some(transaction) = &mut self.transaction else { return };
        let (at, settings) = (transaction.prelude.len(), transaction.settings.clone());
        let (listens, portals) = (transaction.listens.len(), transaction.across.mark());
        transaction.savepoints.push(Savepoint { name, at, settings, path, listens, portals });
        transaction.tell_joining(text);
    }

    /// What was set behind it stays, as if there had been no savepoint.
    fn release_savepoint(&mut self, name: &str) {
        let Some(transaction) = &mut self.transaction else { return };
        let Some(first) = transaction.savepoints.iter().rposition(|s| s.name == name) else { return };
        for savepoint in transaction.savepoints.drain(first..).rev() {
            transaction.prelude.remove(savepoint.at);
        }
    }

    fn go_back_to(&mut self, name: &str) {
        let Some(transaction) = &mut self.transaction else { return };
        let Some(place) = transaction.savepoints.iter().rposition(|s| s.name == name) else { return };
        transaction.savepoints.truncate(place + 1);
        let savepoint = &transaction.savepoints[place];
        transaction.prelude.truncate(savepoint.at + 1);
        transaction.settings.clone_from(&savepoint.settings);
        transaction.listens.truncate(savepoint.listens);
        transaction.across.go_back_to(savepoint.portals);
        transaction.failed = false;
        self.path = savepoint.path.clone();
    }
}
