//! The resolver: looks, now and then and whenever something is handed over to it, what transactions of ours are prepared
//! on the servers, and brings those to their end that nobody works on.
//!
//! Several may do so at the same time, in one process or in many: each fences before it decides, so all decide the same,
//! and whoever comes later finds nothing left to do.

use super::decisions::{self, Decision, Standing};
use super::finish::finish;
use super::gid::{Gid, Name};
use super::{Found, Level, Moment, Stage};
use crate::database::Database;
use crate::schema::ShardRef;
use shardway_pool::control::ControlError;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often it looks by itself.
const PAUSE: Duration = Duration::from_secs(1);

/// How old another process' transaction has to be: that one may still be at it.
const OTHERS: Duration = Duration::from_secs(3);

/// How often it looks for decisions that were left.
const SWEEP: Duration = Duration::from_secs(10);

/// How long such a decision is known before it is taken away: whoever made it may still ask for it.
const KEPT: Duration = Duration::from_secs(60);

/// The transactions that are prepared in a database, ours by their beginning.
const PREPARED: &str = "SELECT gid, owner, prepared, extract(epoch FROM pg_catalog.clock_timestamp() - prepared) \
     FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() AND gid LIKE 'shardway:%'";

/// The isolation levels that transactions have by default: for whom, how closely that is said, and the level.
const LEVELS: &str = "SELECT coalesce(r.rolname, ''), ((s.setrole <> 0)::int4 * 2 + (s.setdatabase <> 0)::int4 + 1)::text, \
       lower(split_part(c, '=', 2)) \
     FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c \
     WHERE split_part(c, '=', 1) = 'default_transaction_isolation' AND s.setdatabase IN (0, \
       (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) \
     UNION ALL SELECT '', '0', setting FROM pg_catalog.pg_settings WHERE name = 'default_transaction_isolation' \
       AND source IN ('configuration file', 'command line')";

/// What it remembers between two looks.
#[derive(Default)]
struct Memory {
    /// Since when decisions are known that stand on servers.
    decisions: HashMap<(ShardRef, Name), Instant>,
    /// What was complained about.
    told: HashSet<String>,
    swept: Option<Instant>,
}

/// Works for a database until that is gone.
pub async fn run(database: Weak<Database>) {
    let mut memory = Memory::default();
    loop {
        let Some(database) = database.upgrade() else { return };
        turn(&database, &mut memory, Instant::now()).await;
        let two_phase = database.two_phase.clone();
        drop(database);
        two_phase.rest(PAUSE).await;
    }
}

/// One look at everything. `now` is what decisions are reckoned by that were left.
async fn turn(database: &Arc<Database>, memory: &mut Memory, now: Instant) {
    let moment = database.two_phase.moment();
    let done = database.two_phase.take_done();
    let looks = look_everywhere(database, memory).await;
    let whole = looks.len() == database.all_shards().count();
    let looked: HashSet<ShardRef> = looks.iter().map(|(shard, _)| *shard).collect();
    let mut found: Vec<(Gid, Found)> =
        looks.into_iter().flat_map(|(_, found)| found).filter(|(gid, _)| gid.is_of(&database.name)).collect();
    for (gid, found) in &mut found {
        found.stage = stage(database, &moment, gid, found.age);
    }
    let (orphans, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, found)| found.stage == Stage::Orphaned);
    let names: HashSet<Name> = orphans.iter().chain(&others).map(|(gid, _)| gid.name).collect();
    let left = resolve(database, orphans, memory).await;
    let pending: HashSet<&str> =
        others.iter().map(|(_, found)| found).chain(&left).map(|found| &*found.gid).collect();
    let pending: HashSet<Name> = pending.into_iter().filter_map(Gid::parse).map(|gid| gid.name).collect();
    let is_there = |shard: ShardRef| database.all_shards().any(|known| known == shard);
    let is_looked_at = |shard: ShardRef| looked.contains(&shard) || !is_there(shard);
    database.two_phase.lift(&moment, is_looked_at, |name| pending.contains(name));
    database.two_phase.publish(others.into_iter().map(|(_, found)| found).chain(left).collect());
    forget(database, done).await;
    if memory.swept.is_none_or(|at| now.duration_since(at) >= SWEEP) {
        memory.swept = Some(now);
        sweep(database, memory, whole.then_some(&names), now).await;
    }
}

/// Who works on what is prepared, if somebody does.
fn stage(database: &Database, moment: &Moment, gid: &Gid, age: Duration) -> Stage {
    let two_phase = &database.two_phase;
    match two_phase.stage(moment, &gid.name) {
        Some(stage) => stage,
        None if !two_phase.is_own(&gid.name) && age < OTHERS => Stage::InProgress,
        None => Stage::Orphaned,
    }
}

/// What is prepared on the shards that answer, each with a list of its own.
async fn look_everywhere(
    database: &Arc<Database>,
    memory: &mut Memory,
) -> Vec<(ShardRef, Vec<(Gid, Found)>)> {
    let mut looks = JoinSet::new();
    for shard in database.all_shards() {
        let database = database.clone();
        looks.spawn(async move { (shard, look(&database, shard).await) });
    }
    let (mut answers, mut levels) = (Vec::new(), Vec::new());
    while let Some(Ok((shard, answer))) = looks.join_next().await {
        match answer {
            Ok(look) => {
                answers.push((shard, look.found));
                levels.extend(look.levels);
                complain(database, memory, shard, look.complaint);
            }
            // Whether servers are up is the health checks' affair.
            Err(error) if error.code().is_empty() => {
                tracing::debug!(
                    database = database.name,
                    shard = database.label(shard),
                    "not looked at: {error}"
                );
            }
            Err(error) => {
                let what = format!("two-phase commit can't be prepared for: {error}");
                complain(database, memory, shard, Some(what));
            }
        }
    }
    levels.sort_by(|a, b| (&a.role, a.weight, &a.level).cmp(&(&b.role, b.weight, &b.level)));
    levels.dedup();
    database.two_phase.publish_levels(levels);
    answers
}

fn complain(database: &Database, memory: &mut Memory, shard: ShardRef, what: Option<String>) {
    let Some(what) = what else { return };
    let server = database.shard(shard).primary().address.to_string();
    if memory.told.insert(format!("{server}: {what}")) {
        tracing::error!(database = database.name, shard = database.label(shard), server, "{what}");
    }
}

/// What a shard says.
struct Look {
    /// What is prepared there.
    found: Vec<(Gid, Found)>,
    /// Its default isolation levels.
    levels: Vec<Level>,
    /// What is to be said about it.
    complaint: Option<String>,
}

async fn look(database: &Database, shard: ShardRef) -> Result<Look, ControlError> {
    let server = database.shard(shard).primary().clone();
    let control = database.control_at(shard)?;
    if server.is_paused() {
        control.close_idle();
        return Err(ControlError::Unreachable("it is paused".to_owned()));
    }
    let address = server.address.to_string();
    let mut complaint = None;
    if !database.two_phase.is_ready(&address) {
        let prepared = decisions::prepare(control).await?;
        database.two_phase.note_ready(&address, true);
        if prepared == 0 {
            let what = "max_prepared_transactions is 0: transactions that write on several shards fail when one of them is this";
            complaint = Some(what.to_owned());
        }
    }
    let mut found = Vec::new();
    let mut levels = Vec::new();
    for row in control.ask(&format!("{PREPARED}; {LEVELS}")).await? {
        match &row[..] {
            [Some(role), Some(weight), Some(level)] => {
                let weight = weight.parse().unwrap_or_default();
                levels.push(Level { role: role.clone(), weight, level: level.clone() });
            }
            _ => found.extend(read(shard, row)),
        }
    }
    Ok(Look { found, levels, complaint })
}

fn read(shard: ShardRef, row: Vec<Option<String>>) -> Option<(Gid, Found)> {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let (gid, owner, prepared) = (next()?, next()?, next()?);
    let age = next()?.parse::<f64>().ok().and_then(|age| Duration::try_from_secs_f64(age).ok());
    let age = age.unwrap_or_default();
    Some((Gid::parse(&gid)?, Found { shard, gid, owner, prepared, age, stage: Stage::InProgress }))
}

/// Ends what nobody works on. Gives what could not be ended.
async fn resolve(database: &Arc<Database>, orphans: Vec<(Gid, Found)>, memory: &mut Memory) -> Vec<Found> {
    let mut by_decider = HashMap::<Option<ShardRef>, BTreeMap<Name, Vec<Found>>>::new();
    for (gid, found) in orphans {
        let decider = database.shard_at(&gid.decider);
        by_decider.entry(decider).or_default().entry(gid.name).or_default().push(found);
    }
    let mut left = Vec::new();
    let mut work = JoinSet::new();
    for (decider, transactions) in by_decider {
        let Some(decider) = decider else {
            let lost = transactions.into_values().flatten();
            left.extend(lost.map(|found| (found, "the shard that decides it is not configured".to_owned())));
            continue;
        };
        let database = database.clone();
        work.spawn(async move { resolve_by(&database, decider, transactions).await });
    }
    while let Some(Ok(more)) = work.join_next().await {
        left.extend(more);
    }
    for (found, why) in &left {
        if memory.told.insert(found.gid.clone()) {
            tracing::warn!(
                database = database.name,
                shard = database.label(found.shard),
                gid = found.gid,
                owner = found.owner,
                "a prepared transaction is left: {why}"
            );
        }
    }
    left.into_iter().map(|(found, _)| found).collect()
}

/// The same, of transactions that one shard decides; with why they could not be ended.
async fn resolve_by(
    database: &Database,
    decider: ShardRef,
    transactions: BTreeMap<Name, Vec<Found>>,
) -> Vec<(Found, String)> {
    let mut left = Vec::new();
    let mut unreachable = None;
    for (name, all) in transactions {
        let standing = match &unreachable {
            // No need to wait for it once more.
            Some(error) => Err(ControlError::clone(error)),
            None => match database.control_at(decider) {
                Ok(control) => decisions::fence(control, &name).await,
                Err(error) => Err(error),
            },
        };
        let commit = match standing {
            Ok(standing) => standing == Standing::Committed,
            Err(error) => {
                left.extend(
                    all.into_iter().map(|found| (found, format!("its decision can't be read: {error}"))),
                );
                unreachable = Some(error).filter(|error| error.code().is_empty());
                continue;
            }
        };
        for mut found in all {
            let ended = finish(database, found.shard, &found.gid, commit).await;
            let how = if commit { "committed" } else { "rolled back" };
            match ended {
                Ok(true) => tracing::info!(
                    database = database.name,
                    shard = database.label(found.shard),
                    gid = found.gid,
                    "a prepared transaction that was left is {how} now"
                ),
                Ok(false) => {}
                Err(error) => {
                    found.stage = if commit { Stage::Committing } else { Stage::Orphaned };
                    left.push((found, format!("it can't be {how}: {error}")));
                }
            }
        }
    }
    left
}

/// Takes decisions away that have been carried out.
async fn forget(database: &Database, done: Vec<(ShardRef, Name)>) {
    let mut by_shard = HashMap::<ShardRef, Vec<Name>>::new();
    for (shard, name) in done {
        by_shard.entry(shard).or_default().push(name);
    }
    for (shard, names) in by_shard {
        // After a reload the shard may be another one, or none. What stays is found later.
        if database.all_shards().any(|known| known == shard)
            && let Ok(control) = database.control_at(shard)
            && let Err(error) = decisions::forget(control, &names).await
        {
            tracing::debug!(database = database.name, "decisions are left: {error}");
        }
    }
}

/// Takes decisions away that processes left which are no more: known for long, and of transactions of which nothing is
/// prepared any more. `prepared` is what is, if that is known of all shards.
async fn sweep(database: &Database, memory: &mut Memory, prepared: Option<&HashSet<Name>>, now: Instant) {
    let mut known = HashMap::new();
    for shard in database.all_shards() {
        let Ok(control) = database.control_at(shard) else { continue };
        if database.shard(shard).primary().is_paused() {
            continue;
        }
        let Ok(decided) = decisions::committed(control).await else { continue };
        let mut over = Vec::new();
        let knows = |gid: &Gid| gid.is_of(&database.name) && database.shard_at(&gid.own).is_some();
        for Decision { name, .. } in decided.into_iter().filter(|decision| decision.can_be_judged_by(knows)) {
            let since = memory.decisions.get(&(shard, name)).copied().unwrap_or(now);
            let is_needed = prepared.is_none_or(|prepared| prepared.contains(&name));
            if now.duration_since(since) >= KEPT && !is_needed {
                over.push(name);
            } else {
                known.insert((shard, name), since);
            }
        }
        if let Err(error) = decisions::forget(control, &over).await {
            tracing::debug!(database = database.name, "decisions are left: {error}");
        }
    }
    memory.decisions = known;
}

#[cfg(test)]
mod tests;
