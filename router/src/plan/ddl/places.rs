//! Where a command on objects runs.

use super::head::{Head, Object};
use super::{Refusal, refuse};
use crate::schema::placing::{Home, Placing};
use crate::schema::{GroupId, Schema, ShardRef};
use crate::sql::scan::identifier;
use shardway_config::TableKind;
use shardway_pool::catalog::Name;
use shardway_shardmap::ShardId;
use std::collections::BTreeSet;

/// Words that begin an element of CREATE TABLE which is no column.
const CONSTRAINTS: [&str; 7] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "LIKE"];

/// Where a command runs. Errors: it names what lives in different places, or a table that might belong to several.
pub(super) fn of(head: &Head, schema: &Schema, path: &[String]) -> Result<Vec<Home>, Refusal> {
    let placing = &schema.placing;
    let everywhere = || (0..schema.shard_counts.len()).map(|group| Home::Group(GroupId(group))).collect();
    if head.verb == "CREATE" && matches!(head.kind.as_str(), "TABLE" | "FOREIGN TABLE") {
        return new_table(head, schema, path);
    }
    let mut homes: BTreeSet<Home> = BTreeSet::new();
    for object in &head.relations {
        homes.extend(homes_of(object, schema, path));
    }
    for index in &head.indexes {
        let along = schema_names(index, path);
        let table = along.iter().find_map(|name| placing.table_of_index(name));
        homes.extend(table.into_iter().flat_map(|table| placing.homes(table)));
    }
    if homes.is_empty() && schema.shard_counts.len() > 1 {
        homes = mentioned(head, placing);
    }
    if homes.is_empty() {
        return Ok(everywhere());
    }
    agreed(homes.into_iter().collect())
}

/// Homes that one command may have.
fn agreed(homes: Vec<Home>) -> Result<Vec<Home>, Refusal> {
    let is_shard = |home: &Home| matches!(home, Home::Shard(_));
    if homes.len() > 1 && homes.iter().any(is_shard) {
        return Err(refuse(
            "this command names tables that live on one shard beside others",
            "Use a command for each of them.",
        ));
    }
    Ok(homes)
}

/// The names that an object may have along the search path.
fn schema_names(object: &Object, path: &[String]) -> Vec<Name> {
    let with = |schema: &String| (schema.clone(), object.name.clone());
    match &object.schema {
        Some(schema) => vec![with(schema)],
        None => path.iter().map(with).collect(),
    }
}

fn homes_of(object: &Object, schema: &Schema, path: &[String]) -> Vec<Home> {
    let names = schema_names(object, path);
    let found = names.iter().map(|name| schema.placing.homes(name)).find(|homes| !homes.is_empty());
    found.unwrap_or_default().to_vec()
}

/// With several groups: those of the relations that a command mentions anywhere.
fn mentioned(head: &Head, placing: &Placing) -> BTreeSet<Home> {
    let reads = matches!(head.kind.as_str(), "VIEW" | "MATERIALIZED VIEW" | "RULE" | "PUBLICATION" | "INDEX");
    let words = head.rest.iter().filter(|_| reads).map(|token| identifier(token));
    words
        .flat_map(|word| {
            placing.named(&word).flat_map(|name| placing.homes(name)).copied().collect::<Vec<_>>()
        })
        .collect()
}

/// CREATE TABLE: where the configuration says, else with the table that it belongs to, else by its columns.
fn new_table(head: &Head, schema: &Schema, path: &[String]) -> Result<Vec<Home>, Refusal> {
    let placing = &schema.placing;
    let Some(object) = head.relations.first() else { return Ok(vec![Home::Group(GroupId(0))]) };
    // Postgres makes it in the first schema of the path that there is.
    let names = schema_names(object, path);
    let entry = names.iter().rev().find_map(|name| placing.entry(name));
    match entry {
        Some(TableKind::Local { group, shard }) => {
            let place = ShardRef { group: GroupId(*group), shard: ShardId(*shard) };
            return Ok(vec![Home::Shard(place)]);
        }
        Some(TableKind::Sharded { group, .. } | TableKind::Reference { group }) => {
            return Ok(vec![Home::Group(GroupId(*group))]);
        }
        None => {}
    }
    let parents: BTreeSet<Home> =
        parents(head).iter().flat_map(|parent| homes_of(parent, schema, path)).collect();
    if !parents.is_empty() {
        return agreed(parents.into_iter().collect());
    }
    let columns: Vec<String> = head.elements().into_iter().filter_map(column).collect();
    match placing.group_of_columns(&columns) {
        Some(group) => Ok(vec![Home::Group(group)]),
        None => Err(refuse(
            format!("table \"{}\" could belong to any of several shard groups", object.name),
            "Add a [[databases.tables]] entry that says which, then RELOAD.",
        )),
    }
}

/// The column that an element of CREATE TABLE defines.
fn column(element: &[String]) -> Option<String> {
    let first = element.first()?;
    let is_column = !CONSTRAINTS.iter().any(|word| first.eq_ignore_ascii_case(word));
    is_column.then(|| identifier(first))
}

/// Tables that a new one is a partition or an heir of.
fn parents(head: &Head) -> Vec<Object> {
    let rest: Vec<&str> = head.rest.iter().map(String::as_str).collect();
    let is = |at: usize, word: &str| rest.get(at).is_some_and(|token| token.eq_ignore_ascii_case(word));
    let start = (0..rest.len()).find_map(|at| {
        let partition = is(at, "PARTITION") && is(at + 1, "OF");
        let inherits = is(at, "INHERITS") && is(at + 1, "(");
        (partition || inherits).then_some((at + 2, inherits))
    });
    let Some((mut at, many)) = start else { return Vec::new() };
    let mut all = Vec::new();
    while at < rest.len() {
        let first = identifier(rest[at]);
        let object = match rest.get(at + 1) {
            Some(&".") if at + 2 < rest.len() => {
                at += 2;
                Object { schema: Some(first), name: identifier(rest[at]) }
            }
            _ => Object { schema: None, name: first },
        };
        all.push(object);
        if !(many && rest.get(at + 1) == Some(&",")) {
            break;
        }
        at += 2;
    }
    all
}
