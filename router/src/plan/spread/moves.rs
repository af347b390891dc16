//! UPDATE that sets the sharding key: rows may have to move to another shard.
//!
//! Every shard that may have such rows runs the statement itself, and so computes, checks and gives the new rows as one
//! Postgres would: assignment casts, generated columns, BEFORE triggers and RETURNING are all its own. Rows whose new key is
//! another shard's are then deleted there and inserted on that shard, with the columns as they came out, before anybody
//! else can see them.
//!
//! Where a foreign key looks for the new key at once, a row can't have it on its old shard. Rows are then updated but for
//! their key, give what that is to be, and get it where they are inserted; those that stay get it then, too. If the key is
//! one plain value, its shard is known before: this one runs the statement as it is, and on the others all rows leave.
//!
//! A key is compared with the keys of its own shard while the shard's rows are updated, and with all others when the
//! moved rows are inserted. One Postgres compares each new key at once with every row as it is at that moment, and so may
//! fail with 23505 where rows take over each other's keys; here that fails only if these rows stay on one shard.

use super::text::Tokens;
use super::{Context, quoted, refused, returning};
use crate::plan::Refusal;
use crate::plan::dml::Written;
use crate::plan::pin::Pin;
use crate::plan::query::direct_queries;
use crate::plan::scope::{folded, relation_name};
use crate::schema::{Kind, Table};
use shardway_shardmap::KeyType;
use sqlparser::ast::{Assignment, AssignmentTarget, Statement, TableFactor, Update};
use std::sync::Arc;

/// Types from this number on are users' own.
const USERS: u32 = 16384;

/// An UPDATE whose rows may move.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Where the rows are, if that is known.
    pub pin: Option<Pin>,
    /// What the table's columns are called by in the statement, as SQL.
    pub label: String,
    /// The columns that an INSERT gives, as SQL.
    pub columns: Vec<String>,
    /// The key's place among them.
    pub key: usize,
    /// How it is read.
    pub key_type: KeyType,
    /// How rows get their new key elsewhere first; else why they can't.
    pub leave: Result<Leave, &'static str>,
    /// Columns that change beside the key.
    pub beside: Vec<String>,
    /// Whether triggers of UPDATE look at the key.
    pub sees_key: bool,
    /// Tables to which triggers add rows of the new key.
    pub strays: Vec<Stray>,
}

/// Rows that leave before they have their new key.
#[derive(Clone, Debug)]
pub struct Leave {
    /// The new key of all, if it is one plain value.
    pub to: Option<Pin>,
    /// Which of how many assignments sets it.
    pub assignment: (usize, usize),
    /// Its type, as SQL.
    pub type_name: String,
}

/// A table that may get rows on the wrong shard.
#[derive(Clone, Debug)]
pub struct Stray {
    /// It.
    pub table: Arc<Table>,
    /// The columns that an INSERT gives, as SQL.
    pub columns: Vec<String>,
    /// The key's place among them.
    pub key: usize,
    /// How it is read.
    pub key_type: KeyType,
}

/// Rows of a table can't move between shards.
pub fn stays(table: &Table, why: &str) -> Refusal {
    let key = match table.kind {
        Kind::Sharded { key, .. } => &*table.columns[key].name,
        _ => "",
    };
    Refusal {
        code: "0A000",
        message: format!(
            "setting \"{key}\", the sharding key of \"{}\", may move rows between shards, which is not supported {why}",
            table.name
        ),
        hint: "Insert the row with its new key and delete the old one, in one transaction.",
    }
}

/// The columns that an INSERT of a whole row gives, as SQL, and the key's place among them.
fn whole_row(table: &Table, key: usize) -> Option<(Vec<String>, usize)> {
    let given = table.columns.iter().filter(|column| !column.generated);
    let place = given.clone().position(|column| column.name == table.columns[key].name)?;
    Some((given.map(|column| quoted(&column.name)).collect(), place))
}

impl Context<'_> {
    pub(super) fn moves(
        &self,
        update: &Update,
        table: &Table,
        pin: Option<&Pin>,
        written: &Written,
        tokens: &Tokens<'_>,
    ) -> Result<Moved, Refusal> {
        let Kind::Sharded { key, key_type, .. } = table.kind else { return Err(refused("this UPDATE")) };
        let moving = &table.side_effects.moving;
        if let Some(why) = &moving.never {
            return Err(stays(table, why));
        }
        if returning_queries(update) {
            return Err(stays(table, "with a subquery in RETURNING"));
        }
        let (columns, place) = whole_row(table, key).ok_or_else(|| refused("this UPDATE"))?;
        let label = match &update.table.relation {
            TableFactor::Table { alias: Some(alias), .. } => quoted(&folded(&alias.name)),
            _ => quoted(&table.name),
        };
        let stray = |(schema, name): &(String, String)| {
            let table = self.schema.get(schema, name)?.clone();
            let Kind::Sharded { key, key_type, .. } = table.kind else { return None };
            let (columns, key) = whole_row(&table, key)?;
            Some(Stray { table, columns, key, key_type })
        };
        let key_name = &table.columns[key].name;
        let set = update.assignments.iter().filter_map(column_of).filter(|name| name != key_name);
        let beside: Vec<String> = set.chain(moving.sets.iter().cloned()).collect();
        Ok(Moved {
            pin: pin.cloned(),
            label,
            columns,
            key: place,
            key_type,
            leave: leave(update, table, key, &beside, written.stored.as_ref(), tokens),
            beside,
            sees_key: moving.sees_key,
            strays: moving.strays.iter().filter_map(stray).collect(),
        })
    }
}

fn leave(
    update: &Update,
    table: &Table,
    key: usize,
    beside: &[String],
    stored: Option<&Pin>,
    tokens: &Tokens<'_>,
) -> Result<Leave, &'static str> {
    let key = &table.columns[key];
    let is_key = |a: &Assignment| column_of(a).is_some_and(|name| name == key.name);
    let nth = update.assignments.iter().position(is_key).ok_or("where columns are set by a list")?;
    if update.assignments.iter().any(|a| column_of(a).is_none()) {
        return Err("where columns are set by a list");
    }
    if key.type_oid >= USERS {
        return Err("where the key is of a type of your own");
    }
    if update.returning.is_some() && (update.from.is_some() || tokens.returns_more()) {
        return Err("where RETURNING takes more than the columns of the new row");
    }
    let assignment = (nth, update.assignments.len());
    let value = tokens.assigned(nth, assignment.1).ok_or("in this form")?;
    let to = stored.filter(|pin| pin.is_single()).cloned();
    // What the key is to be is asked when the other columns have changed.
    let changed = |word: &String| {
        let generated = table.columns.iter().any(|column| column.generated && column.name == *word);
        generated
            || beside.contains(word)
            || matches!(word.as_str(), "select" | "default" | "ctid" | "tableoid")
            || matches!(word.as_str(), "xmin" | "xmax" | "cmin" | "cmax")
    };
    let words: Vec<String> = tokens.words(value).collect();
    let label = match &update.table.relation {
        TableFactor::Table { alias: Some(alias), .. } => folded(&alias.name),
        _ => table.name.clone(),
    };
    // The row as a whole has them all.
    let whole = |n: usize| {
        let behind = |m: usize, what: &str| words.get(n + m).is_some_and(|word| word == what);
        words[n] == label && (!behind(1, ".") || behind(2, "*"))
    };
    if to.is_none() && (words.iter().any(changed) || (0..words.len()).any(whole)) {
        return Err("where the new key depends on more than columns that stay as they are");
    }
    Ok(Leave { to, assignment, type_name: format!("pg_catalog.{}", quoted(&key.type_name)) })
}

/// The one column that an assignment sets, or a part of.
fn column_of(assignment: &Assignment) -> Option<String> {
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => relation_name(name).map(|(first, name)| first.unwrap_or(name)),
        AssignmentTarget::Tuple(_) => None,
    }
}

fn returning_queries(update: &Update) -> bool {
    returning(&Statement::Update(update.clone())).is_some_and(|items| !direct_queries(items).is_empty())
}
