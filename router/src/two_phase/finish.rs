//! Bringing a decided transaction to its end on a server, whoever prepared it.

use super::decisions::{self, Standing};
use super::gid::Name;
use crate::database::Database;
use crate::schema::ShardRef;
use shardway_pool::control::{Control, ControlError};
use shardway_pool::server::TextRow;
use std::time::{Duration, Instant};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Commits or rolls back what is prepared under this name; if there is nothing (any more), somebody did that before:
/// gives whether it was done here. Errors: the server's.
pub async fn finish(
    database: &Database,
    shard: ShardRef,
    gid: &str,
    commit: bool,
) -> Result<bool, ControlError> {
    let verb = if commit { "COMMIT" } else { "ROLLBACK" };
    let sql = format!("{verb} PREPARED '{gid}'");
    let mut outcome = database.control_at(shard)?.ask(&sql).await;
    if outcome.as_ref().is_err_and(|error| error.code() == "42501") {
        // Only its owner may, and superusers.
        outcome = as_owner(database, shard, &sql, gid).await.unwrap_or(outcome);
    }
    match outcome {
        Err(error) if error.code() == "42704" => Ok(false),
        outcome => outcome.map(|_| true),
    }
}

/// Runs a command as who prepared something: a role that can log in, or one that who logs in otherwise may take. `None`:
/// nobody can.
async fn as_owner(
    database: &Database,
    shard: ShardRef,
    sql: &str,
    gid: &str,
) -> Option<Result<Vec<TextRow>, ControlError>> {
    let server = database.shard(shard).primary();
    let asked = format!("SELECT owner FROM pg_catalog.pg_prepared_xacts WHERE gid = '{gid}'");
    let rows = database.control_at(shard).ok()?.ask(&asked).await.ok()?;
    let owner = rows.into_iter().flatten().flatten().next()?;
    if let Some(login) = database.two_phase.login_of(&owner).or_else(|| database.login_of(&owner)) {
        return Some(Control::new(&server.address, &login).ok()?.ask(sql).await);
    }
    // A connection of its own: what it is set to be must not stay with others.
    let control = Control::by(&server.address, database.logins_to(server)).ok()?;
    control.ask(&format!("SET ROLE \"{}\"", owner.replace('"', "\"\""))).await.ok()?;
    Some(control.ask(sql).await)
}

/// The same, as often as it takes until `deadline`. Errors: the last one.
pub async fn insist(
    database: &Database,
    shard: ShardRef,
    gid: &str,
    commit: bool,
    deadline: Instant,
) -> Result<bool, ControlError> {
    loop {
        let error = match finish(database, shard, gid, commit).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How a transaction stands whose decider was lost at COMMIT, asked as often as it takes until `deadline`. Errors: the
/// last one.
pub async fn standing(
    database: &Database,
    decider: ShardRef,
    name: &Name,
    deadline: Instant,
) -> Result<Standing, ControlError> {
    loop {
        let asked = match database.control_at(decider) {
            Ok(control) => decisions::fence(control, name).await,
            Err(error) => Err(error),
        };
        let error = match asked {
            Ok(standing) => return Ok(standing),
            Err(error) => error,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
