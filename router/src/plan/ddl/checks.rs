//! Whether a schema that a command has made still holds what plans rely on: rows of one key on one shard, what must be
//! unique within a shard's reach, foreign keys between rows that are together.
//!
//! It compares what was with what is. What was wrong before is none of the command's doing.

use super::refuse;
use crate::plan::Refusal;
use crate::schema::{Kind, Schema, SchemaProblem, Table};
use shardway_pool::catalog::{Barrier, Catalog, ForeignKey, Name};
use shardway_shardmap::KeyType;

/// A database's tables as they were read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// What was read of each group.
    pub catalogs: Vec<Catalog>,
    /// What that means.
    pub schema: Schema,
    /// What is wrong with it.
    pub problems: Vec<SchemaProblem>,
}

/// Compares them; `committed` is what others see, `renames` says that a table may have another name now. Gives the tables
/// that must have no rows. Errors: why the command is refused.
pub fn compare(before: &Read, after: &Read, committed: &Schema, renames: bool) -> Result<Vec<Name>, Refusal> {
    if let Some(problem) = after.problems.iter().find(|problem| !before.problems.contains(problem)) {
        return Err(refuse(
            problem.0.clone(),
            "A table's key must be of a type that has one text for each value.",
        ));
    }
    let empty = changed_kinds(before, after, committed)?;
    if renames {
        check_renamed(before, after)?;
    }
    check_triggers(before, after)?;
    check_effects(before, after)?;
    let numbered = numbered_rows(before, after);
    for (group, now) in after.catalogs.iter().enumerate() {
        let old = before.catalogs.get(group);
        check_foreign_tables(old, now, &after.schema)?;
        let is_new = |table: &Name| empty.contains(table);
        for barrier in &now.barriers {
            if is_new(&barrier.table) || !old.is_some_and(|old| old.barriers.contains(barrier)) {
                check_barrier(&after.schema, barrier)?;
            }
        }
        for key in &now.foreign_keys {
            let known = old.is_some_and(|old| old.foreign_keys.contains(key));
            if is_new(&key.table) || is_new(&key.to) || !known {
                check_foreign_key(&after.schema, key)?;
            }
        }
    }
    Ok(empty.into_iter().chain(numbered).collect())
}

/// Sharded tables with a new column that every shard has numbered by itself.
fn numbered_rows(before: &Read, after: &Read) -> Vec<Name> {
    let uses = after.catalogs.iter().flat_map(|catalog| &catalog.sequence_uses);
    let numbered = uses.filter(|used| {
        let sharded = |t: &Table| matches!(t.kind, Kind::Sharded { .. });
        table(&after.schema, &used.table).is_some_and(sharded)
            && table(&before.schema, &used.table).is_some_and(|old| old.column(&used.column).is_none())
    });
    numbered.map(|used| used.table.clone()).collect()
}

/// A foreign table is one, however many shards look at it: what is written on all of them is written many times.
fn check_foreign_tables(old: Option<&Catalog>, now: &Catalog, schema: &Schema) -> Result<(), Refusal> {
    let is_new = |name: &Name| old.is_none_or(|old| old.relation(name).is_none());
    for relation in now.relations.iter().filter(|relation| relation.kind == 'f') {
        let name = (relation.schema.clone(), relation.name.clone());
        let local = table(schema, &name).is_none_or(|table| matches!(table.kind, Kind::Local(_)));
        if !local && is_new(&name) {
            return Err(refuse(
                format!("foreign table \"{}\" would be written once for each shard", name.1),
                "Add a [[databases.tables]] entry that makes it local to one shard, then RELOAD.",
            ));
        }
    }
    Ok(())
}

fn table<'a>(schema: &'a Schema, name: &Name) -> Option<&'a Table> {
    schema.get(&name.0, &name.1).map(|table| &**table)
}

/// What tells kinds of tables apart.
fn kind_of(table: &Table) -> (&'static str, Option<(&str, KeyType)>, Option<crate::schema::GroupId>) {
    match table.kind {
        Kind::Sharded { key, key_type, .. } => {
            ("sharded", Some((&table.columns[key].name, key_type)), table.group())
        }
        Kind::Reference(_) => ("reference", None, table.group()),
        Kind::Local(_) => ("local", None, table.group()),
        Kind::View(_) => ("view", None, table.group()),
        Kind::Unlisted => ("unlisted", None, None),
        Kind::Ambiguous => ("ambiguous", None, None),
    }
}

/// Tables that are of another kind now, and may be: nobody else has seen them.
fn changed_kinds(before: &Read, after: &Read, committed: &Schema) -> Result<Vec<Name>, Refusal> {
    let mut empty = Vec::new();
    for now in after.schema.tables() {
        let name = (now.schema.clone(), now.name.clone());
        let Some(old) = table(&before.schema, &name) else {
            check_new(now)?;
            check_turned(table(committed, &name), now)?;
            continue;
        };
        let (was, is) = (kind_of(old), kind_of(now));
        if was == is || was.0 == "view" || is.0 == "view" {
            continue;
        }
        // A schema that lacks it, or had it otherwise, is what others plan with.
        let seen = table(committed, &name).is_some();
        if seen {
            return Err(refuse_change(old, was.1.map(|(key, _)| key), now, is));
        }
        check_new(now)?;
        empty.push(name);
    }
    Ok(empty)
}

/// Refuses that a name which others know as a table's is one of another kind as soon as they see that it is not any more:
/// their statements wait for it with the shards that they were planned for.
fn check_turned(known: Option<&Table>, now: &Table) -> Result<(), Refusal> {
    let Some(old) = known else { return Ok(()) };
    let (was, is) = (kind_of(old), kind_of(now));
    if was == is || was.0 == "view" {
        return Ok(());
    }
    let name = &now.name;
    let what = |kind: (&str, Option<(&str, KeyType)>, Option<crate::schema::GroupId>)| match kind.1 {
        Some((key, _)) => format!("a {} table by \"{key}\"", kind.0),
        None => format!("a {} table", kind.0),
    };
    Err(refuse(
        format!(
            "\"{name}\" is {}, and would be {} by the same COMMIT: what waits for it is on its way to the old one's shards",
            what(was),
            what(is)
        ),
        "Drop or rename the old one in a transaction of its own.",
    ))
}

/// Under another name a table must be what it was: an entry of the configuration may have said so of the old one.
fn check_renamed(before: &Read, after: &Read) -> Result<(), Refusal> {
    let lacks = |schema: &Schema, table: &Table| schema.get(&table.schema, &table.name).is_none();
    let gone: Vec<_> = before.schema.tables().filter(|table| lacks(&after.schema, table)).collect();
    for now in after.schema.tables().filter(|table| lacks(&before.schema, table)) {
        let same_name = |old: &&&std::sync::Arc<Table>| old.name == now.name;
        let Some(old) = gone.iter().find(same_name).or_else(|| gone.first().filter(|_| gone.len() == 1))
        else {
            continue;
        };
        let (was, is) = (kind_of(old), kind_of(now));
        if was != is {
            return Err(refuse(
                format!(
                    "\"{}\" would be a {} table as \"{}\", and is a {} table with its rows where they are",
                    old.name, is.0, now.name, was.0
                ),
                "Add a [[databases.tables]] entry for the new name, and RELOAD before.",
            ));
        }
    }
    Ok(())
}

/// What tables do by themselves must be right over shards.
fn check_effects(before: &Read, after: &Read) -> Result<(), Refusal> {
    let known = before.schema.side_effects();
    match after.schema.side_effects().into_iter().find(|found| !known.contains(found)) {
        Some(found) => Err(refuse(
            found,
            "Let it touch nothing but the row at hand, rows of the same key and, to read, reference tables.",
        )),
        None => Ok(()),
    }
}

/// Triggers of sharded tables see the rows of their shard alone, and a row must stay where its key was when it was sent.
fn check_triggers(before: &Read, after: &Read) -> Result<(), Refusal> {
    let acted = |now: &Table| {
        let old = before.schema.get(&now.schema, &now.name);
        // A new partition has its table's triggers.
        old.map_or(now.family.is_some(), |old| old.triggers_act)
    };
    let acts =
        |now: &&std::sync::Arc<Table>| now.triggers_act && !matches!(now.kind, Kind::Local(_)) && !acted(now);
    if let Some(table) = after.schema.tables().find(acts) {
        return Err(refuse(
            format!(
                "triggers or rules of \"{}\" would read or write tables, of which they see one shard's rows alone",
                table.name
            ),
            "Keep them to the row at hand. If they touch no rows but those of the same key, run the command shard by shard, \
             with /* shard: n */ in front.",
        ));
    }
    for (group, now) in after.catalogs.iter().enumerate() {
        for rewritten in &now.rewritten {
            let known = before.catalogs.get(group).is_some_and(|old| old.rewritten.contains(rewritten));
            let Some(table) = table(&after.schema, &rewritten.0).filter(|_| !known) else { continue };
            let Kind::Sharded { key, .. } = table.kind else { continue };
            let key = &table.columns[key].name;
            if rewritten.1.is_empty() || rewritten.1.eq_ignore_ascii_case(key) {
                return Err(refuse(
                    format!(
                        "a trigger of \"{}\" may change the sharding key \"{key}\" of a row that is on its shard already",
                        table.name
                    ),
                    "Let the trigger's function assign other columns by name, and not this one.",
                ));
            }
        }
    }
    Ok(())
}

fn check_new(table: &Table) -> Result<(), Refusal> {
    let name = &table.name;
    match table.kind {
        Kind::Unlisted => Err(refuse(
            format!("table \"{name}\" has no usable key column and no [[databases.tables]] entry"),
            "Add an entry that says whether it is sharded, reference or local, then RELOAD.",
        )),
        Kind::Ambiguous => Err(refuse(
            format!("table \"{name}\" would exist in several shard groups"),
            "Add a [[databases.tables]] entry that says which group it belongs to, then RELOAD.",
        )),
        _ => Ok(()),
    }
}

fn refuse_change(
    old: &Table,
    key: Option<&str>,
    now: &Table,
    is: (&'static str, Option<(&str, KeyType)>, Option<crate::schema::GroupId>),
) -> Refusal {
    let name = &old.name;
    let message = match (key, is.1) {
        (Some(key), Some((other, _))) if key == other => {
            format!("the type of \"{key}\", the sharding key of \"{name}\", can't be changed")
        }
        (Some(key), None) if now.column(key).is_none() => {
            format!("\"{key}\", the sharding key of \"{name}\", can't be dropped or renamed")
        }
        _ => format!(
            "table \"{name}\" would become a {} table, and its rows would be in the wrong places",
            is.0
        ),
    };
    refuse(message, "Make a new table, and bring the rows there.")
}

/// The refusal of something unique that lacks the key; in Citus's spirit.
pub fn lacks_key(what: &str, index: Option<&str>, table: &Name, key: &str) -> Refusal {
    let name = index.map(|index| format!(" \"{index}\"")).unwrap_or_default();
    Refusal {
        code: "0A000",
        message: format!("{what}{name} on \"{}\" must contain the sharding key \"{key}\"", table.1),
        hint: "Each shard sees its own rows only. Add the key to it, or make the table a reference table.",
    }
}

fn check_barrier(schema: &Schema, barrier: &Barrier) -> Result<(), Refusal> {
    let Some(table) = table(schema, &barrier.table) else { return Ok(()) };
    let Kind::Sharded { key, .. } = table.kind else { return Ok(()) };
    let key = &table.columns[key].name;
    if barrier.columns.contains(key) {
        return Ok(());
    }
    let mut refusal = lacks_key(&barrier.what, Some(&barrier.index), &barrier.table, key);
    if barrier.what == "exclusion constraint" {
        refusal.message.push_str(" with the operator =");
    }
    Err(refusal)
}

fn check_foreign_key(schema: &Schema, key: &ForeignKey) -> Result<(), Refusal> {
    let (Some(from), Some(to)) = (table(schema, &key.table), table(schema, &key.to)) else { return Ok(()) };
    let refused = |why: &str| {
        let message = format!(
            "foreign key \"{}\" from \"{}\" to \"{}\" is not co-located: {why}",
            key.name, from.name, to.name
        );
        Err(refuse(message, "Let both tables have the sharding key, and make it part of the foreign key."))
    };
    match (&from.kind, &to.kind) {
        (Kind::Sharded { key: at, .. }, _) if key.emptied.contains(&from.columns[*at].name) => {
            refused("it would set the sharding key to NULL")
        }
        (
            Kind::Sharded { group, key: own, key_type },
            Kind::Sharded { group: other, key: its, key_type: its_type },
        ) => {
            let pair = (from.columns[*own].name.clone(), to.columns[*its].name.clone());
            if group != other {
                refused("the tables are of different shard groups")
            } else if !key.columns.contains(&pair) {
                refused(&format!("it must pair the sharding keys \"{}\" and \"{}\"", pair.0, pair.1))
            } else if !alike(*key_type, *its_type) {
                refused("the sharding keys are of types that are not stored alike")
            } else {
                Ok(())
            }
        }
        (Kind::Sharded { group, .. } | Kind::Reference(group), Kind::Reference(other)) if group == other => {
            Ok(())
        }
        (Kind::Local(place), Kind::Reference(other)) if place.group == *other => Ok(()),
        (Kind::Local(place), Kind::Local(other)) if place == other => Ok(()),
        (Kind::Reference(_), Kind::Sharded { .. }) => {
            refused("a reference table is on every shard, the rows that it refers to are on one")
        }
        _ => refused("the rows that it refers to are on other shards"),
    }
}

/// Whether equal values of two key types have one canonical text.
fn alike(a: KeyType, b: KeyType) -> bool {
    let class = |key: KeyType| match key {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => 0,
        KeyType::Text | KeyType::Varchar { .. } => 1,
        KeyType::Bpchar { .. } => 2,
        KeyType::Citext => 3,
        KeyType::Uuid => 4,
        KeyType::Enum => 5,
    };
    class(a) == class(b)
}
