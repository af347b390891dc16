//! Where proxies tell each other of their transactions that wait for long: a table on each database's first shard. It is
//! written to only while there are some, and what is on it is good for as long as its proxy says so.

use super::host_of;
use super::locks::Backend;
use super::own::Own;
use super::sight::{Held, Sight, Tie, TieId};
use crate::database::Database;
use crate::proxy::World;
use crate::two_phase::decisions::is_missing;
use shardway_pool::control::{Control, ControlError};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Makes the table. Two that do it at once wait for each other.
const MAKE: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL lock_timeout = '4s'; \
     SELECT pg_catalog.pg_advisory_xact_lock(7310033112); \
     CREATE SCHEMA IF NOT EXISTS shardway; \
     CREATE UNLOGGED TABLE IF NOT EXISTS shardway.waits (owner text NOT NULL, client text NOT NULL, request text NOT NULL, \
       began text NOT NULL, turn text NOT NULL, shard text NOT NULL, pid int4 NOT NULL, \
       seen timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp())";

/// What the others have told lately.
const OTHERS: &str = "SELECT owner, client, request, began, turn, shard, pid FROM shardway.waits \
     WHERE seen > pg_catalog.clock_timestamp() - interval '3 s' AND owner <> ";

/// What is remembered of the tables.
#[derive(Default)]
pub(super) struct Board {
    /// Databases on whose table there is something of ours.
    used: HashSet<String>,
    /// Those that can't have one, for the log.
    without: HashSet<String>,
}

type Ties = BTreeMap<TieId, Tie>;

impl Board {
    /// Says what there is of ours, and hears what there is of others.
    pub(super) async fn exchange(&mut self, world: &World, owner: u64, own: &[Own], sight: &Sight) -> Ties {
        let mut rows = HashMap::<String, Vec<String>>::new();
        for one in own {
            if let Some(database) = &one.database {
                let tie = &sight.ties[&one.id];
                rows.entry(database.name.clone())
                    .or_default()
                    .extend(tie.holds.iter().map(|held| row(&one.id, tie, held)));
            }
        }
        let mut talks = JoinSet::new();
        for name in self.used.iter().filter(|name| !rows.contains_key(*name)) {
            talk(&mut talks, world, name, withdraw(owner), false);
        }
        for (name, rows) in &rows {
            talk(&mut talks, world, name, tell(owner, rows), true);
        }
        self.used = rows.into_keys().collect();
        let mut others = Ties::new();
        for (database, answer) in talks.join_all().await {
            match answer {
                Ok(rows) => rows.into_iter().for_each(|row| _ = take(&mut others, &database, row)),
                Err(error) if self.without.insert(database.name.clone()) => {
                    let name = &database.name;
                    tracing::info!(
                        database = name,
                        "deadlocks with clients of other proxies can't be found: {error}"
                    );
                }
                Err(_) => {}
            }
        }
        others
    }
}

type Talk = (Arc<Database>, Result<Vec<Vec<Option<String>>>, ControlError>);

/// Has a database's table told something, if that can be reached.
fn talk(talks: &mut JoinSet<Talk>, world: &World, name: &str, text: String, makes: bool) {
    let Some(database) = world.databases.get(name).cloned() else { return };
    talks.spawn(async move {
        let said = tokio::time::timeout(super::ANSWER, say(&database, &text, makes)).await;
        let said = said.unwrap_or_else(|_| Err(ControlError::Unreachable("no answer in time".to_owned())));
        (database, said)
    });
}

async fn say(database: &Database, text: &str, makes: bool) -> Result<Vec<Vec<Option<String>>>, ControlError> {
    let first = database.all_shards().next();
    let Some(first) = first else { return Ok(Vec::new()) };
    let control = database.control_at(first)?;
    match control.ask(text).await {
        Err(error) if is_missing(&error) && makes => {
            make(control).await?;
            control.ask(text).await
        }
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        said => said,
    }
}

async fn make(control: &Control) -> Result<(), ControlError> {
    match control.ask(MAKE).await {
        // Another one was faster, for all the lock.
        Err(error) if matches!(error.code(), "23505" | "42P06" | "42P07") => Ok(()),
        made => made.map(drop),
    }
}

fn withdraw(owner: u64) -> String {
    // What a proxy left behind that is no more goes with it.
    format!(
        "DELETE FROM shardway.waits WHERE owner = '{owner:016x}' OR seen < pg_catalog.clock_timestamp() - interval '1 min'"
    )
}

fn tell(owner: u64, rows: &[String]) -> String {
    let mut text = withdraw(owner);
    let columns = "owner, client, request, began, turn, shard, pid";
    let _ = write!(text, "; INSERT INTO shardway.waits ({columns}) VALUES {}", rows.join(", "));
    let _ = write!(text, "; {OTHERS}'{owner:016x}'");
    text
}

/// A row's values.
fn row(id: &TieId, tie: &Tie, held: &Held) -> String {
    let place = held.place.replace('\'', "''");
    format!(
        "('{:016x}', '{:x}', '{:x}', '{:x}', '{:x}', '{place}', {})",
        id.owner, id.client, id.request, tie.began, tie.turn, held.backend.pid
    )
}

/// Takes a row of another proxy's.
fn take(ties: &mut Ties, database: &Database, row: Vec<Option<String>>) -> Option<()> {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let mut number = || u64::from_str_radix(&next()?, 16).ok();
    let id = TieId { owner: number()?, client: number()?, request: number()? };
    let (began, turn) = (number()?, number()?);
    let (place, pid) = (next()?, next()?.parse().ok()?);
    let at = database.all_shards().find(|at| database.label(*at) == place)?;
    let host = host_of(&database.shard(at).primary().address);
    let tie = ties.entry(id).or_insert_with(|| Tie { began, holds: Vec::new(), pool: None, turn });
    tie.holds.push(Held { backend: Backend { host, pid }, place });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_names_shards_as_they_are() {
        let id = TieId { owner: 1, client: 2, request: 17 };
        let held = Held { backend: Backend { host: "a:1".into(), pid: 9 }, place: "it's/0".to_owned() };
        let tie = Tie { began: 255, holds: Vec::new(), pool: None, turn: 3 };
        let told = tell(1, &[row(&id, &tie, &held)]);
        assert!(told.contains("('0000000000000001', '2', '11', 'ff', '3', 'it''s/0', 9)"), "{told}");
    }
}
