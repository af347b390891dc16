//! UPDATE that sets the sharding key: rows may have to move to another shard.
//!
//! Every shard that may have such rows runs the statement itself, and so computes, checks and gives the new rows as one
//! Postgres would: assignment casts, generated columns, BEFORE triggers and RETURNING are all its own. Rows whose new key is
//! another shard's are then deleted there and inserted on that shard, with the columns as they came out, before anybody
//! else can see them.
//!
//! A key is compared with the keys of its own shard while the shard's rows are updated, and with all others when the
//! moved rows are inserted. One Postgres compares each new key at once with every row as it is at that moment, and so may
//! fail with 23505 where rows take over each other's keys; here that fails only if these rows stay on one shard.

use super::{Context, quoted, refused, returning};
use crate::plan::Refusal;
use crate::plan::pin::Pin;
use crate::plan::query::direct_queries;
use crate::plan::scope::folded;
use crate::schema::{Kind, Table};
use shardway_shardmap::KeyType;
use sqlparser::ast::{Statement, TableFactor, Update};

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

impl Context<'_> {
    pub(super) fn moves(&self, update: &Update, table: &Table, pin: Option<&Pin>) -> Result<Moved, Refusal> {
        let Kind::Sharded { key, key_type, .. } = table.kind else { return Err(refused("this UPDATE")) };
        let key = &table.columns[key].name;
        let no = |why| Err(stays(table, why));
        if table.has_row_security {
            return no("for tables with row security");
        }
        if table.triggers_act {
            return no("for tables with triggers or rules that may do more than change the row at hand");
        }
        if returning_queries(update) {
            return no("with a subquery in RETURNING");
        }
        let columns: Vec<&String> =
            table.columns.iter().filter(|column| !column.generated).map(|column| &column.name).collect();
        let label = match &update.table.relation {
            TableFactor::Table { alias: Some(alias), .. } => quoted(&folded(&alias.name)),
            _ => quoted(&table.name),
        };
        let place = columns.iter().position(|name| *name == key).ok_or_else(|| refused("this UPDATE"))?;
        let columns = columns.into_iter().map(|name| quoted(name)).collect();
        Ok(Moved { pin: pin.cloned(), label, columns, key: place, key_type })
    }
}

fn returning_queries(update: &Update) -> bool {
    returning(&Statement::Update(update.clone())).is_some_and(|items| !direct_queries(items).is_empty())
}
