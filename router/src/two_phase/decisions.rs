//! The table that says which transactions are committed: a row is written by the transaction itself, on one of its
//! servers, so that it is there if and only if that server committed.
//!
//! Who wants to know how a transaction ended that it is not part of writes a row of the other kind under the same name
//! first. Then either that row stands and the transaction can't commit any more, or its own row did before.

use super::gid::{Gid, Name};
use shardway_pool::control::{Control, ControlError};

/// A transaction's decision to commit, said within it: if it commits, this is so. Without the first statement a server that
/// does not wait for its disk could forget what others already carried out.
///
/// `parts` are the names of what the other servers prepare: whoever would take the row away must have looked for them. Deferred
/// constraints are checked here, as PREPARE does: what is left to the COMMIT waits for nobody's locks.
pub fn decide(name: &Name, parts: &[&str]) -> String {
    let parts = parts.join(" ");
    format!(
        "SELECT pg_catalog.set_config('synchronous_commit', 'local', true) \
         WHERE pg_catalog.current_setting('synchronous_commit') = 'off'; \
         INSERT INTO shardway.decisions (name, committed, parts) VALUES ('{name}', true, '{parts}'); \
         SET CONSTRAINTS ALL IMMEDIATE"
    )
}

/// Writes that it did not commit, unless it did: rows of what was written (or none), and of what stands there.
fn fence_text(name: &Name) -> String {
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL lock_timeout = '1s'; \
         SET LOCAL synchronous_commit = 'on'; \
         INSERT INTO shardway.decisions (name, committed) VALUES ('{name}', false) \
         ON CONFLICT DO NOTHING RETURNING 'fenced'; \
         SELECT committed FROM shardway.decisions WHERE name = '{name}'"
    )
}

/// Makes the table. Two that do it at once wait for each other.
const MAKE: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL lock_timeout = '4s'; \
     SELECT pg_catalog.pg_advisory_xact_lock(7310033112); \
     CREATE SCHEMA IF NOT EXISTS shardway; \
     CREATE TABLE IF NOT EXISTS shardway.decisions (name text PRIMARY KEY, committed boolean NOT NULL, \
       parts text NOT NULL DEFAULT '', made timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()); \
     GRANT USAGE ON SCHEMA shardway TO PUBLIC; GRANT SELECT, INSERT ON shardway.decisions TO PUBLIC";

/// Whether it is there, and how many transactions the server lets be prepared.
const LOOK: &str = "SELECT pg_catalog.to_regclass('shardway.decisions') IS NOT NULL, \
     pg_catalog.current_setting('max_prepared_transactions')";

/// How a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is committed.
    Committed,
    /// It is not, and never will be: so it was written here before.
    Aborted,
    /// The same, since just now. Whoever committed it long ago may have taken its row away, however, once nothing of it
    /// was left to be decided.
    Fenced,
}

/// How a transaction stands, from here on for good. Errors: the decider's; one that the transaction itself still holds up
/// answers 55P03.
pub async fn fence(decider: &Control, name: &Name) -> Result<Standing, ControlError> {
    let rows = match decider.ask(&fence_text(name)).await {
        // Then nothing can have been decided there, and has to be from now on.
        Err(error) if is_missing(&error) => {
            make(decider).await?;
            decider.ask(&fence_text(name)).await?
        }
        rows => rows?,
    };
    let says = |text: &str| rows.iter().flatten().flatten().any(|value| value == text);
    Ok(match (says("fenced"), says("t")) {
        (true, _) => Standing::Fenced,
        (false, true) => Standing::Committed,
        (false, false) if says("f") => Standing::Aborted,
        // Taken away between the two: it was one that had committed.
        (false, false) => {
            return Err(ControlError::Unreachable("the decision was just taken away".to_owned()));
        }
    })
}

/// Whether an error says that the table is not there.
pub fn is_missing(error: &ControlError) -> bool {
    matches!(error.code(), "42P01" | "3F000")
}

async fn make(server: &Control) -> Result<(), ControlError> {
    match server.ask(MAKE).await {
        // Another one was faster, for all the lock.
        Err(error) if matches!(error.code(), "23505" | "42P06" | "42P07") => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Sees to it that the table is there. Gives `max_prepared_transactions`. Errors: the server's.
pub async fn prepare(server: &Control) -> Result<u32, ControlError> {
    let rows = server.ask(LOOK).await?;
    let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
    let (there, max) = (row.next().flatten(), row.next().flatten());
    if there.as_deref() != Some("t") {
        make(server).await?;
    }
    Ok(max.and_then(|max| max.parse().ok()).unwrap_or_default())
}

/// Takes rows away of transactions of which nothing is left to be decided. Errors: the server's.
pub async fn forget(server: &Control, names: &[Name]) -> Result<(), ControlError> {
    for names in names.chunks(1000) {
        let list: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        server.ask(&format!("DELETE FROM shardway.decisions WHERE name IN ({})", list.join(","))).await?;
    }
    Ok(())
}

/// A transaction that is committed by what stands there.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What it is called.
    pub name: Name,
    /// What was prepared of it, elsewhere. None are known of a row that can't be read.
    pub parts: Vec<Gid>,
}

impl Decision {
    /// Whether somebody who knows these parts can tell that nobody needs it any more. Others may have the same servers, and
    /// a shard that is not configured may hold a part of it.
    pub fn can_be_judged_by(&self, knows: impl Fn(&Gid) -> bool) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(knows)
    }
}

/// What is decided there. Rows that say that something is not committed are taken away after a day. Errors: the server's.
pub async fn committed(server: &Control) -> Result<Vec<Decision>, ControlError> {
    let rows = server
        .ask(
            "DELETE FROM shardway.decisions \
             WHERE NOT committed AND made < pg_catalog.clock_timestamp() - interval '1 day'; \
             SELECT name, parts FROM shardway.decisions WHERE committed ORDER BY made LIMIT 10000",
        )
        .await?;
    let decision = |row: &Vec<Option<String>>| match &row[..] {
        [Some(name), Some(parts)] => {
            let parts = parts.split_whitespace().map(Gid::parse).collect::<Option<_>>().unwrap_or_default();
            Some(Decision { name: Name::parse(name)?, parts })
        }
        _ => None,
    };
    Ok(rows.iter().filter_map(decision).collect())
}

#[cfg(test)]
mod tests {
    use super::super::gid::Place;
    use super::*;

    #[test]
    fn a_decision_is_left_to_those_who_know_all_of_its_parts() {
        let name = Name { instance: 1, number: 2 };
        let gid = |database: &str, shard| {
            Gid::new(database, name, Place::new("main", 0), Place::new("main", shard))
        };
        let knows = |gid: &Gid| gid.is_of("shop") && gid.own.shard < 3;
        let judged = |parts: Vec<Gid>| Decision { name, parts }.can_be_judged_by(knows);
        assert!(judged(vec![gid("shop", 1), gid("shop", 2)]));
        assert!(!judged(vec![gid("shop", 1), gid("shop", 3)]), "a shard that is not configured");
        assert!(!judged(vec![gid("other", 1)]), "another database's");
        assert!(!judged(Vec::new()), "a row that can't be read");
    }
}
