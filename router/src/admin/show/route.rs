//! `SHOW ROUTE '<statement>'`: where a statement would go and why, without running it.
//!
//! One row for each statement of the text. With several databases, the first that knows its tables answers. A
//! statement that would not be run has the tier `refused`, with its SQLSTATE and the reason.

use crate::admin::answer::{Row, row};
use crate::admin::gather::by_name;
use crate::database::Database;
use crate::error::ClientError;
use crate::plan::explain::place::{Placed, placed};
use crate::plan::locate::{Target, Values, locate};
use crate::plan::{Access, Across, Plan, Refusal, Route, hinted};
use crate::plan_cache::{Planning, SearchPath};
use crate::proxy::{Proxy, World};
use crate::schema::{Kind, ShardRef};
use crate::sql::command::Command;
use crate::sql::scan::Scan;
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// The routes of every statement of a text.
pub(crate) async fn rows(proxy: &Proxy, text: &str) -> Vec<Row> {
    let world = proxy.world();
    let statements = match split(text) {
        Some(statements) => statements,
        None => return vec![refused("42601", "unterminated quoted string or comment", None)],
    };
    let mut rows = Vec::with_capacity(statements.len());
    for statement in statements {
        rows.push(statement_row(&world, statement).await);
    }
    if rows.is_empty() {
        rows.push(refused("42601", "there is no statement", None));
    }
    rows
}

/// A text's statements; `None` if something in it is not closed.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut scan = Scan::default();
    scan.run(text).ok()?;
    let ends: Vec<_> = scan.semicolons.iter().map(|at| at + 1).chain([text.len()]).collect();
    let mut start = 0;
    let mut statements = Vec::new();
    for end in ends {
        let piece = &text[start..end];
        start = end;
        if scan.run(piece).is_ok() && !matches!(scan.word_at(piece, 0).as_str(), "" | ";") {
            statements.push(piece);
        }
    }
    Some(statements)
}

async fn statement_row(world: &World, text: &str) -> Row {
    let mut missing = None;
    for database in by_name(world) {
        let mut planned = plan(&database.planning(), text);
        if planned.0.unknown.is_some() {
            // As for a client: it may have been created a moment ago. A failure is logged by who reads it next.
            let _ = database.refresh(Some(&database.planning())).await;
            planned = plan(&database.planning(), text);
        }
        let (plan, scan) = planned;
        match &plan.unknown {
            Some(name) if !database.planning().schema.is_unsharded() => {
                missing = missing.or(Some(name.clone()))
            }
            _ => return route(world, database, &plan, &scan, text),
        }
    }
    let reason = missing.map(|name| format!("relation \"{name}\" does not exist"));
    refused("42P01", reason.as_deref().unwrap_or("no database is configured"), None)
}

fn plan(planning: &Planning, text: &str) -> (Arc<Plan>, Scan) {
    let mut scan = Scan::default();
    // A text that was split can be scanned.
    let _ = scan.run(text);
    let plan = planning.plan(text, &mut scan, &SearchPath::of_user("public"));
    (plan, scan)
}

fn route(world: &World, database: &Database, plan: &Plan, scan: &Scan, text: &str) -> Row {
    if is_answered_here(&plan.command) {
        return row!["local", None::<&str>, None::<&str>, None::<&str>, "no", None::<&str>, answered_here()];
    }
    let (target, hinted) = match target(database, plan, scan, text) {
        Ok(found) => found,
        Err(error) => {
            let group = (!plan.writes.is_empty()).then(|| &*database.groups[hinted::group(plan).0].name);
            return refused(&error.code, &error.message, group);
        }
    };
    let (subject, _) = subject(plan, scan, text);
    let Some(Placed { tier, group, shards, others }) = placed(subject, &target, &database.maps) else {
        return everywhere(plan, &database.groups[hinted::group(plan).0].name);
    };
    let mut shards = any_or(shards);
    let mut name = database.groups[group.0].name.to_string();
    for (other, of) in others {
        name.push_str(&format!("; {}", database.groups[other.0].name));
        shards.push_str(&format!("; {}", any_or(of)));
    }
    let replica = plan.access == Access::Read && world.config.routing.replica_reads && !hinted_write(plan);
    let has_replicas = database.groups[group.0].shards.iter().any(|shard| shard.has_replicas());
    let cached = tier == "single" && !hinted && is_cached(world, plan);
    row![
        tier,
        &name,
        shards,
        if replica && has_replicas && !cached { "replica" } else { "primary" },
        if cached { "yes" } else { "no" },
        None::<&str>,
        reason(subject, hinted),
    ]
}

fn hinted_write(plan: &Plan) -> bool {
    plan.access == Access::Write
}

fn answered_here() -> &'static str {
    "the session answers it itself"
}

/// In short why it goes there.
fn reason(plan: &Plan, hinted: bool) -> &'static str {
    match &plan.route {
        _ if hinted => "sent as its hint says",
        Route::Any(_) => "any shard gives the same answer",
        Route::One(_) => "it concerns one shard alone",
        Route::Keyed { .. } => "its key says which shard",
        Route::Across(Across::Spread(spread)) if spread.is_of_every_shard() => "it concerns every shard",
        Route::Across(_) => "no key pins it to one shard",
        Route::Everywhere(_) => "it concerns every shard",
        Route::Refuse(_) => "",
    }
}

fn refused(code: &str, reason: &str, group: Option<&str>) -> Row {
    row!["refused", group, None::<&str>, None::<&str>, "no", code, reason]
}

/// What would have to be done on every shard in one transaction.
fn everywhere(plan: &Plan, group: &str) -> Row {
    let reason = match plan.command {
        Command::Ddl | Command::Utility => "running this on every shard is not supported yet",
        Command::Copy => "COPY over several shards is not supported yet",
        _ => "writing on every shard is not supported yet",
    };
    refused("0A000", reason, Some(group))
}

fn any_or(shards: Vec<ShardId>) -> String {
    if shards.is_empty() { "any".to_owned() } else { list(shards) }
}

fn list(shards: Vec<ShardId>) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Where it leads, and whether a hint said so.
fn target(database: &Database, plan: &Plan, scan: &Scan, text: &str) -> Result<(Target, bool), ClientError> {
    if let Some(place) = hinted(database, plan, scan, text)? {
        return Ok((Target::One(place), true));
    }
    // Where the statement leads that an EXECUTE names, its session knows.
    if let Some(explained) = plan.explained().filter(|explained| explained.plan.is_none()) {
        return Ok((Target::Any(explained.group), false));
    }
    let (plan, values) = subject(plan, scan, text);
    let found =
        locate(&plan.route, &database.maps, &values).map_err(|refusal| needs_values(refusal, text))?;
    Ok((found, false))
}

/// What is routed: of an EXPLAIN, the statement in it.
fn subject<'a>(plan: &'a Plan, scan: &'a Scan, text: &'a str) -> (&'a Plan, Values<'a>) {
    let own = Values { text, literals: &scan.literals, params: None, types: &[] };
    let Some(explained) = plan.explained() else { return (plan, own) };
    let inner = Values { text: &explained.text, literals: &explained.literals, ..own };
    explained.plan.as_deref().map_or((plan, own), |plan| (plan, inner))
}

/// A key that is a parameter is known only when the statement is executed.
fn needs_values(refusal: Refusal, text: &str) -> ClientError {
    let mut error = ClientError::from(refusal);
    if text.contains('$') && error.message.ends_with("the parameter is missing") {
        error.message.push_str("; write its value in the place of the parameter");
    }
    error
}

fn hinted(
    database: &Database,
    plan: &Plan,
    scan: &Scan,
    text: &str,
) -> Result<Option<ShardRef>, ClientError> {
    if scan.has_block_comment { hinted::place(&database.maps, plan, text) } else { Ok(None) }
}

/// Statements that no server sees.
fn is_answered_here(command: &Command) -> bool {
    use Command as C;
    matches!(
        command,
        C::Begin | C::Commit { .. } | C::Rollback { .. } | C::Savepoint | C::SetLocal { .. } | C::Set { .. }
    ) || matches!(
        command,
        C::Reset { .. }
            | C::DiscardAll
            | C::Deallocate(_)
            | C::Listen
            | C::Unlisten
            | C::ListeningChannels
            | C::Empty
    )
}

/// Whether the cache may answer it: a rule names its table, and a sharded one is looked up by its key.
fn is_cached(world: &World, plan: &Plan) -> bool {
    let Some(cacheable) = &plan.cacheable else { return false };
    let table = &cacheable.table;
    let named = world.config.cache.rules.iter().any(|rule| {
        rule.table.name == table.name && rule.table.schema.as_ref().is_none_or(|s| *s == table.schema)
    });
    // Where there is one shard in all no key is looked for.
    let keyed = !matches!(table.kind, Kind::Sharded { .. })
        || matches!(&plan.route, Route::Any(_))
        || matches!(&plan.route, Route::Keyed { pins, .. } if pins.len() == 1);
    world.config.cache.enabled && named && keyed && plan.access == Access::Read
}
