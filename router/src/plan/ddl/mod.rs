//! Commands on objects: tables and all that belongs to them, schemas, types, functions, rights, and what looks after
//! them (VACUUM, ANALYZE, REINDEX, LOCK). Where each of them runs, and how.
//!
//! One that can run in a transaction runs on every shard that has the object, in one. What it has done is then read off
//! the first shard's catalog and checked before another shard is asked: see [`checks`].

pub mod alike;
pub mod checks;
mod code;
mod filled;
mod head;
pub mod interleave;
pub mod made_up;
mod places;

use super::{Refusal, views};
use crate::schema::effects::events;
use crate::schema::placing::Home;
use crate::schema::{Kind, Schema, Table};
use crate::sql::command::Command;
pub use filled::Filled;
pub(super) use filled::of_select_into;
use head::Head;
pub use head::Object;
use shardway_pool::catalog::Name;

/// How a command runs on shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On all of them in one transaction.
    Together,
    /// The same, and only within a transaction block of the client's: LOCK.
    InBlock,
    /// On each by itself: it can't run in a transaction.
    Apart,
    /// The same, where the client has no transaction: ANALYZE, which else held its locks on catalogs that shards of one
    /// server share until all of them are through.
    ApartIfAlone,
}

/// A command on objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects {
    /// Where it runs, in order.
    pub homes: Vec<Home>,
    /// How.
    pub way: Way,
    /// Whether the catalog is another one afterwards, as far as plans and checks go.
    pub changes: bool,
    /// Whether tables may have other names afterwards.
    pub renames: bool,
    /// Whether sequences may stand otherwise afterwards.
    pub counts: bool,
    /// Whether it is about what a server's databases share: then it runs once on each server.
    pub per_server: bool,
    /// Whether it only locks or looks after what is there: no shard's commit decides over it.
    pub reads: bool,
    /// Relations that it names; `None`: nobody knows.
    pub named: Option<Vec<Object>>,
    /// Tables that must have no rows: it would give those of a reference table values that every shard makes up by
    /// itself, or rows keys that they were not placed by.
    pub only_empty: Vec<Name>,
    /// Functions that it may call for rows that are there, by name; `None`: what it gives them can't be known by that.
    pub calls: Option<Vec<String>>,
    /// Whether it says in which steps sequences count.
    pub steps: bool,
    /// Of CREATE TABLE AS: how the table is made, and filled.
    pub filled: Option<Filled>,
}

/// What to do where a command is refused that may run on one shard.
const BY_HAND: &str = "Run it shard by shard, with /* shard: n */ in front.";

fn refuse(message: impl Into<String>, hint: &'static str) -> Refusal {
    Refusal { code: "0A000", message: message.into(), hint }
}

/// Plans one. Errors: what is not done on several shards, and why.
pub fn plan(schema: &Schema, path: &[String], text: &str, command: &Command) -> Result<Objects, Refusal> {
    let head = Head::of(text).ok_or_else(|| refuse("the command is not closed", ""))?;
    refuse_whole_servers(&head)?;
    refuse_own_schema(&head, path)?;
    refuse_code(&head, schema)?;
    let filled = filled::of(&head, text, schema, path)?;
    refuse_copies(&head, schema, path, text)?;
    refuse_labels(&head, schema)?;
    refuse_truncate(&head, schema, path)?;
    let apart = is_apart(&head);
    if apart {
        refuse_unkeyed_index(&head, schema, path)?;
    }
    if !is_known(&head) {
        return Err(refuse(format!("{} over several shards is not supported", head.verb), BY_HAND));
    }
    let homes = places::of(&head, schema, path)?;
    let way = match head.verb.as_str() {
        _ if apart => Way::Apart,
        "LOCK" => Way::InBlock,
        "ANALYZE" | "ANALYSE" => Way::ApartIfAlone,
        _ => Way::Together,
    };
    let definition = matches!(head.verb.as_str(), "CREATE" | "ALTER" | "DROP" | "IMPORT" | "DO");
    Ok(Objects {
        homes,
        way,
        changes: definition || head.verb == "REASSIGN" && *command == Command::Ddl,
        counts: definition
            && !matches!(head.kind.as_str(), "INDEX" | "VIEW" | "FUNCTION")
            && head.verb != "DROP",
        renames: head.verb == "ALTER",
        per_server: is_of_server(&head),
        reads: head.verb == "LOCK",
        only_empty: made_up::in_copies(&head, schema, path)
            .into_iter()
            .chain(made_up::rekeyed(&head, schema, path))
            .collect(),
        calls: made_up::calls(&head),
        steps: text.to_ascii_uppercase().contains("INCREMENT"),
        filled,
        named: (head.verb != "DO").then_some(head.relations),
    })
}

/// Roles, and membership in them.
fn is_of_server(head: &Head) -> bool {
    match head.verb.as_str() {
        "CREATE" | "ALTER" | "DROP" | "COMMENT" => matches!(head.kind.as_str(), "ROLE" | "USER" | "GROUP"),
        "GRANT" | "REVOKE" => head.kind.is_empty(),
        _ => false,
    }
}

/// What Postgres does not run in a transaction. What is forgotten here it says itself, and nothing was done then.
fn is_apart(head: &Head) -> bool {
    match head.verb.as_str() {
        "VACUUM" => true,
        "REFRESH" => false,
        "CLUSTER" => head.relations.is_empty(),
        "REINDEX" => head.concurrently || matches!(head.kind.as_str(), "DATABASE" | "SYSTEM" | "SCHEMA"),
        "ALTER" if head.kind == "TABLE" => head.says("DETACH") && head.says("CONCURRENTLY"),
        "ALTER" if head.kind == "DATABASE" => head.says("TABLESPACE"),
        _ => head.concurrently,
    }
}

/// Verbs that are commands on objects. Anything else is no command at all, or one that is not known to be safe.
fn is_known(head: &Head) -> bool {
    const VERBS: [&str; 18] = [
        "CREATE", "ALTER", "DROP", "COMMENT", "SECURITY", "GRANT", "REVOKE", "TRUNCATE", "LOCK", "VACUUM",
        "ANALYZE", "ANALYSE", "CLUSTER", "REFRESH", "REINDEX", "DO", "REASSIGN", "IMPORT",
    ];
    VERBS.contains(&head.verb.as_str()) || head.verb == "CHECKPOINT"
}

/// What is of a whole server, or of Shardway.
fn refuse_whole_servers(head: &Head) -> Result<(), Refusal> {
    let what = match (head.verb.as_str(), head.kind.as_str()) {
        ("CREATE" | "DROP", "DATABASE") => {
            "a database is made or dropped on its servers, not through one of its shards"
        }
        ("ALTER", "DATABASE") if head.says("RENAME") => {
            "a shard's database can't be renamed through Shardway"
        }
        ("CREATE" | "DROP" | "ALTER", "TABLESPACE") => {
            "tablespaces are of a server, and shards may share one"
        }
        ("ALTER", "SYSTEM") => "ALTER SYSTEM is of a server, and shards may share one",
        ("CREATE" | "DROP" | "ALTER", "SUBSCRIPTION") => "subscriptions are of one shard",
        ("CREATE", "EVENT TRIGGER") => "an event trigger would act once on each shard",
        _ => return Ok(()),
    };
    Err(refuse(
        format!("{what}: this is not supported on a sharded database"),
        "Do it on the servers themselves.",
    ))
}

/// The schema of Shardway's own tables.
const OWN_SCHEMA: &str = "shardway";

fn refuse_own_schema(head: &Head, path: &[String]) -> Result<(), Refusal> {
    let named = |object: &Object| object.schema.as_deref() == Some(OWN_SCHEMA);
    let creates = head.verb == "CREATE" && path.first().is_some_and(|first| first == OWN_SCHEMA);
    let bare = |object: &Object| object.schema.is_none() && creates;
    let relations = || head.relations.iter().chain(&head.indexes);
    let moves = head.verb == "ALTER"
        && head.rest.windows(3).any(|words| {
            words[0].eq_ignore_ascii_case("SET")
                && words[1].eq_ignore_ascii_case("SCHEMA")
                && crate::sql::scan::identifier(&words[2]) == OWN_SCHEMA
        });
    if head.schemas.iter().any(|schema| schema == OWN_SCHEMA)
        || relations().any(|o| named(o) || bare(o))
        || moves
    {
        return Err(refuse(
            "the schema \"shardway\" is kept for Shardway's own tables",
            "Use another schema.",
        ));
    }
    Ok(())
}

/// Code whose effect over several shards can't be known.
fn refuse_code(head: &Head, schema: &Schema) -> Result<(), Refusal> {
    match head.verb.as_str() {
        "CALL" => Err(refuse("what a procedure does on several shards can't be known", BY_HAND)),
        "DO" => code::defines_only(&head.rest, schema).map_err(|what| {
            refuse(format!("a DO block that {what} would do so on each shard by itself"), BY_HAND)
        }),
        _ => Ok(()),
    }
}

/// Views that are made of rows.
fn refuse_copies(head: &Head, schema: &Schema, path: &[String], text: &str) -> Result<(), Refusal> {
    if head.verb == "REFRESH" && head.concurrently {
        return Err(refuse(
            "REFRESH … CONCURRENTLY makes a temporary table, and can't be committed on several shards together",
            "Leave CONCURRENTLY out, or run it shard by shard, with /* shard: n */ in front.",
        ));
    }
    let is_view = head.verb == "CREATE" && head.kind == "MATERIALIZED VIEW";
    if is_view
        && copies_rows(head)
        && head.rest.iter().any(|token| differs_by_shard(token, schema))
        && let Err(why) = views::unfit_to_store(schema, path, text)
    {
        return Err(refuse(
            format!("CREATE MATERIALIZED VIEW would take each shard's own rows: {why}"),
            "Select the sharding key, and join and group by it; or make a view.",
        ));
    }
    Ok(())
}

/// Whether a word is the name of a relation of which each shard may have other rows, or of a function that may read one.
fn differs_by_shard(token: &str, schema: &Schema) -> bool {
    let name = crate::sql::scan::identifier(token);
    let alike = |table: &Name| {
        let known = schema.get(&table.0, &table.1);
        known.is_none_or(|known| matches!(known.kind, Kind::Reference(_) | Kind::Local(_)))
    };
    schema.placing.named(&name).any(|table| !alike(table)) || schema.functions.reads_tables(&name)
}

/// Another label for a value of an enum: rows lie where the old one put them.
fn refuse_labels(head: &Head, schema: &Schema) -> Result<(), Refusal> {
    let at = head.rest.iter().position(|token| token.eq_ignore_ascii_case("RENAME"));
    let Some(at) = at.filter(|_| head.verb == "ALTER" && head.kind == "TYPE") else { return Ok(()) };
    let is_value = head.rest.get(at + 1).is_some_and(|token| token.eq_ignore_ascii_case("VALUE"));
    let name = at.checked_sub(1).map(|at| crate::sql::scan::identifier(&head.rest[at]));
    let keyed = |table: &Table| matches!(table.kind, Kind::Sharded { key, .. } if Some(&table.columns[key].type_name) == name.as_ref());
    match schema.tables().find(|table| is_value && keyed(table)) {
        Some(table) => Err(refuse(
            format!(
                "rows of \"{}\" are placed by their values of this type, and would stay where the old one put them",
                table.name
            ),
            "Make a new type and a new table, and bring the rows there.",
        )),
        None => Ok(()),
    }
}

/// TRUNCATE of tables that do something of their own then.
fn refuse_truncate(head: &Head, schema: &Schema, path: &[String]) -> Result<(), Refusal> {
    let named = head.relations.iter().filter(|_| head.verb == "TRUNCATE");
    let tables = named.filter_map(|object| schema.find(path, object.schema.as_deref(), &object.name));
    for table in tables.filter(|table| !matches!(table.kind, Kind::Local(_))) {
        table.check_effects(events::TRUNCATE)?;
        table.check_per_statement(events::TRUNCATE)?;
    }
    Ok(())
}

/// Whether CREATE goes on with AS and a query whose rows it takes.
fn copies_rows(head: &Head) -> bool {
    let mut depth = 0i32;
    let mut before = "";
    let starts = head.rest.iter().position(|token| {
        match token.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            _ => {}
        }
        // `GENERATED … AS` and the like stand in the parentheses.
        let is = depth == 0 && token.eq_ignore_ascii_case("AS") && !before.eq_ignore_ascii_case("GENERATED");
        before = token.as_str();
        is
    });
    let last = |n: usize, word: &str| {
        let at = head.rest.len().checked_sub(n);
        at.and_then(|at| head.rest.get(at)).is_some_and(|token| token.eq_ignore_ascii_case(word))
    };
    starts.is_some() && !(last(3, "WITH") && last(2, "NO") && last(1, "DATA"))
}

/// CREATE UNIQUE INDEX CONCURRENTLY can't be taken back when its catalog has been read.
fn refuse_unkeyed_index(head: &Head, schema: &Schema, path: &[String]) -> Result<(), Refusal> {
    if !head.unique {
        return Ok(());
    }
    let table =
        head.relations.first().and_then(|object| schema.find(path, object.schema.as_deref(), &object.name));
    let Some(table) = table else { return Ok(()) };
    let Kind::Sharded { key, .. } = table.kind else { return Ok(()) };
    let key = &table.columns[key].name;
    // A column by itself: what follows the name may be an operator class or a direction, but no call.
    let plain = |element: &&[String]| match element {
        [name, rest @ ..] => {
            crate::sql::scan::identifier(name) == *key
                && !rest.iter().any(|token| token == "(" || token.eq_ignore_ascii_case("COLLATE"))
        }
        [] => false,
    };
    if head.elements().iter().any(plain) {
        return Ok(());
    }
    let name: Name = (table.schema.clone(), table.name.clone());
    Err(checks::lacks_key("unique index", None, &name, key))
}
