//! Writes of reference tables: every shard's copy is to come out the same.
//!
//! What is settled (see `settled.rs`) every shard runs for itself. All else the first shard runs, giving the rows as they
//! came out, and the others are told these: volatile functions, sequences and the order of rows are the first shard's.
//! Sequences of the other shards are never asked, so they may stay behind.
//!
//! Triggers of users run on every shard. Those that only change the row at hand are let through, and the rows that came
//! out are compared; those that may do more, as far as their text tells, are refused: what they write would be written
//! once for each shard.

use super::clock::reads_clock;
use super::settled::{Settled, has_default_word};
use super::split::{Fills, conflict_columns, functions_of, width_of};
use super::text::Tokens;
use super::{ClockOf, Context, How, Same, quoted, refused};
use crate::plan::Refusal;
use crate::plan::scope::{folded, relation_name};
use crate::schema::{Schema, Table};
use shardway_pool::catalog::Column;
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, FromTable, Insert, ObjectName, OnConflictAction,
    SetExpr, Statement, TableFactor, TableWithJoins, Update,
};

/// A write that the first shard runs, and whose rows the others are told.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The table, as SQL.
    pub table: String,
    /// What its columns are called by in the statement, as SQL.
    pub label: String,
    /// Its columns, as SQL: what the first shard gives of each row.
    pub columns: Vec<String>,
    /// Which of them name a row, in an UPDATE or DELETE.
    pub key: Vec<usize>,
    /// How the others are told.
    pub rewrite: Rewrite,
}

/// How the other shards are told of a row.
#[derive(Clone, Debug)]
pub enum Rewrite {
    /// It is there: these columns have values. With ON CONFLICT DO UPDATE, what that sets.
    Insert(Vec<usize>, Option<String>),
    /// These columns of it were set.
    Update(Vec<usize>),
    /// It is gone.
    Delete,
}

/// Whether a column's default comes to the same on every copy, once the clock is frozen.
pub(in crate::plan) fn has_settled_default(schema: &Schema, column: &Column) -> bool {
    if column.from_sequence || column.has_default && column.default.is_none() && !column.generated {
        return false;
    }
    let Some(text) = &column.default else { return true };
    let settled = Settled::new(schema);
    functions_of(text).is_some_and(|names| names.iter().all(|name| settled.is_function(name)))
        && !text.contains("::reg")
        && !reads_clock(text)
}

type Planned = Result<(How, Option<ClockOf>), Refusal>;

impl Context<'_> {
    pub(super) fn copies(&self, statement: &Statement, table: &Table, tokens: &Tokens<'_>) -> Planned {
        if !self.found.sharded.is_empty() {
            return Err(Refusal::unsupported(format!(
                "writing reference table \"{}\" from rows of sharded tables is not supported yet",
                table.name
            )));
        }
        if table.triggers_act {
            return Err(Refusal {
                code: "0A000",
                message: format!(
                    "reference table \"{}\" has triggers or rules that may do more than change the row at hand, and would \
                     do so once on every shard",
                    table.name
                ),
                hint: "Let triggers of reference tables change nothing but NEW.",
            });
        }
        let compared = match table.has_triggers {
            true => table.columns.iter().map(|column| quoted(&column.name)).collect(),
            false => Vec::new(),
        };
        let settled = Settled::new(self.schema);
        // Another table may change between the shards' turns; this one's writers wait for each other.
        let alone = self.found.tables.iter().all(|read| **read == *table)
            && !self.found.system
            && !self.casts_text(statement, table);
        let same = |fills| Same { fills, compared };
        match statement {
            Statement::Insert(insert) => match self.settled_insert(insert, table, tokens, &settled) {
                Some(fills) if alone => {
                    let clock = fills.as_ref().and_then(Fills::clock);
                    Ok((How::Same(same(fills)), clock))
                }
                _ => self.copied_insert(insert, table),
            },
            Statement::Update(update) => {
                let default = update.assignments.iter().any(|a| has_default_word(&a.value));
                let alone = alone && update.from.is_none() && update.table.joins.is_empty();
                let pieces = settled.is_piece(&update.assignments)
                    && settled.is_piece(&update.selection)
                    && settled.is_piece(&update.returning);
                if alone && pieces && !default {
                    return Ok((How::Same(same(None)), None));
                }
                self.copied_update(update, table)
            }
            Statement::Delete(delete) => {
                let pieces = settled.is_piece(&delete.selection) && settled.is_piece(&delete.returning);
                if delete.using.is_none() && pieces && alone {
                    return Ok((How::Same(same(None)), None));
                }
                self.copied_delete(delete, table)
            }
            _ => Err(refused("this write of a reference table")),
        }
    }

    /// Whether an INSERT comes to the same on every copy; the columns that take the clock's value then.
    fn settled_insert(
        &self,
        insert: &Insert,
        table: &Table,
        tokens: &Tokens<'_>,
        settled: &Settled<'_>,
    ) -> Option<Option<Fills>> {
        let source = insert.source.as_deref()?;
        let SetExpr::Values(values) = &*source.body else { return None };
        let width = width_of(insert, tokens).ok()?;
        let pieces =
            settled.is_piece(source) && settled.is_piece(&insert.on) && settled.is_piece(&insert.returning);
        let defaults = |column: usize| {
            values.rows.iter().any(|row| row.content.get(column).is_some_and(has_default_word))
        };
        let given = |name: &str| {
            let place = match insert.columns.is_empty() {
                true => table.column(name).filter(|at| *at < width),
                false => insert.columns.iter().position(|listed| column_of(listed).as_deref() == Some(name)),
            };
            place.is_some_and(|place| !defaults(place))
        };
        let columns = table
            .columns
            .iter()
            .all(|column| given(&column.name) || has_settled_default(self.schema, column));
        (pieces && columns).then(|| Some(Fills::of(insert, table, width)))
    }

    fn copied(&self, table: &Table, label: String, rewrite: Rewrite, key: Vec<usize>) -> Planned {
        for name in &self.traits.functions {
            let acts = matches!(name.as_str(), "setval" | "pg_notify" | "set_config" | "setseed");
            if acts || name.starts_with("lo_") || name.contains("advisory") {
                return Err(refused(&format!("function {name} in a write of a reference table")));
            }
        }
        let columns = table.columns.iter().map(|column| quoted(&column.name)).collect();
        let table = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        Ok((How::Copied(Copied { table, label, columns, key, rewrite }), None))
    }

    pub(super) fn copied_insert(&self, insert: &Insert, table: &Table) -> Planned {
        let label = insert.table_alias.as_ref().map_or(table.name.clone(), |alias| folded(&alias.alias));
        let stored = table.columns.iter().enumerate().filter(|(_, column)| !column.generated);
        let stored = stored.map(|(at, _)| at).collect();
        let update = match conflict_columns(insert)
            .map(|conflict| (&conflict.action, &conflict.conflict_target))
        {
            Some((OnConflictAction::DoUpdate(update), target)) => {
                let set = assigned(&update.assignments, table)?;
                let arbiters = arbiters(table, target.as_ref()).unwrap_or_default();
                let moved = update.assignments.iter().any(|assignment| {
                    names_of(assignment).iter().any(|name| {
                        arbiters.contains(name) && !crate::plan::dml::is_excluded(&assignment.value, name)
                    })
                });
                if moved || arbiters.is_empty() {
                    return Err(refused("ON CONFLICT that sets what it looks for, with volatile values,"));
                }
                let set = set.iter().map(|&at| {
                    let name = quoted(&table.columns[at].name);
                    format!("{name} = EXCLUDED.{name}")
                });
                Some(set.collect::<Vec<_>>().join(", "))
            }
            _ => None,
        };
        self.copied(table, quoted(&label), Rewrite::Insert(stored, update), Vec::new())
    }

    fn copied_update(&self, update: &Update, table: &Table) -> Planned {
        let key = primary_key(table)?;
        let set = assigned(&update.assignments, table)?;
        if set.iter().any(|at| key.contains(at)) {
            return Err(refused("setting the primary key of a reference table with volatile values"));
        }
        let identity = |at: &usize| table.columns[*at].has_default && table.columns[*at].default.is_none();
        if set.iter().any(identity) {
            return Err(refused("setting an identity column of a reference table with volatile values"));
        }
        self.copied(table, label_of(&update.table, table), Rewrite::Update(set), key)
    }

    fn copied_delete(&self, delete: &Delete, table: &Table) -> Planned {
        let key = primary_key(table)?;
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let label = from.first().map_or_else(|| quoted(&table.name), |from| label_of(from, table));
        self.copied(table, label, Rewrite::Delete, key)
    }
}

fn label_of(from: &TableWithJoins, table: &Table) -> String {
    match &from.relation {
        TableFactor::Table { alias: Some(alias), .. } => quoted(&folded(&alias.name)),
        _ => quoted(&table.name),
    }
}

fn primary_key(table: &Table) -> Result<Vec<usize>, Refusal> {
    let key: Vec<usize> = table.primary_key().iter().filter_map(|name| table.column(name)).collect();
    if !key.is_empty() {
        return Ok(key);
    }
    Err(Refusal {
        code: "0A000",
        message: format!(
            "this write of reference table \"{}\" may come out otherwise on every shard, and the table has no primary key \
             to tell the rows by",
            table.name
        ),
        hint: "Give the table a primary key, or write values that do not depend on where they are worked out.",
    })
}

/// The column that a name in a column list or before `=` stands for: of `address.street`, the first part.
fn column_of(name: &ObjectName) -> Option<String> {
    relation_name(name).map(|(first, second)| first.unwrap_or(second))
}

fn names_of(assignment: &Assignment) -> Vec<String> {
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => column_of(name).into_iter().collect(),
        AssignmentTarget::Tuple(names) => names.iter().filter_map(column_of).collect(),
    }
}

/// The columns that are set.
fn assigned(assignments: &[Assignment], table: &Table) -> Result<Vec<usize>, Refusal> {
    let mut set = Vec::new();
    for name in assignments.iter().flat_map(names_of) {
        let at = table.column(&name).ok_or_else(|| refused("this form of SET"))?;
        if !table.columns[at].generated && !set.contains(&at) {
            set.push(at);
        }
    }
    Ok(set)
}

/// The columns by which ON CONFLICT looks for a row; `None` if it looks for any conflict, or that is not known.
pub(in crate::plan) fn arbiters(table: &Table, target: Option<&ConflictTarget>) -> Option<Vec<String>> {
    match target? {
        ConflictTarget::Columns(columns) => Some(columns.iter().map(folded).collect()),
        ConflictTarget::OnConstraint(name) => {
            let (_, name) = relation_name(name)?;
            table.uniques.iter().find(|unique| unique.name == name).map(|unique| unique.columns.clone())
        }
    }
}
