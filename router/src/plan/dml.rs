//! Statements that write: which shard their rows live on.

use super::Refusal;
use super::pin::{KeySource, Pin, Sources};
use super::query::{Analyzer, Ctes, direct_queries};
use super::scope::{Source, folded, relation_name};
use crate::schema::{Kind, Table};
use shardway_shardmap::Use;
use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Insert, OnConflictAction, OnInsert, Query,
    SetExpr, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind,
};
use std::sync::Arc;

/// What a write does beyond what the analysis has found.
#[derive(Debug, Default)]
pub struct Written {
    /// The table that is written.
    pub table: Option<Arc<Table>>,
    /// Keys of the rows that are stored.
    pub stored: Option<Pin>,
}

type Outcome = Result<Written, Refusal>;

/// INSERT.
pub fn insert(analyzer: &mut Analyzer<'_>, insert: &Insert) -> Outcome {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Refusal::unsupported("this form of INSERT is not supported"));
    };
    analyzer.found.relations += 1;
    let table = analyzer.table(name)?;
    let Some(table) = table else { return Ok(Written::default()) };
    let scope = analyzer.scopes.open(None);
    let label = insert.table_alias.as_ref().map(|a| folded(&a.alias)).unwrap_or_else(|| table.name.clone());
    analyzer.scopes.mention(scope, label, insert.table_alias.is_some(), Source::Table(table.clone()));
    let mut nested = insert.returning.iter().flat_map(direct_queries).collect::<Vec<_>>();
    nested.extend(insert.on.iter().flat_map(direct_queries));
    analyzer.dml_block(scope, &[], None, nested, &Ctes::new())?;
    let Kind::Sharded { key, .. } = table.kind else {
        if let Some(source) = &insert.source {
            analyzer.query(source, None, &super::facts::Facts::default(), &Ctes::new())?;
        }
        return Ok(Written { table: Some(table), stored: None });
    };
    // The row that is there has the new one's shard; with the new one's key it stays there.
    let own_key = |a: &Assignment| is_excluded(&a.value, &table.columns[key].name);
    let moved: Vec<_> = conflict_assignments(insert).into_iter().filter(|a| !own_key(a)).collect();
    refuse_key_update(&table, key, &moved)?;
    let stored = Some(stored_keys(analyzer, insert, &table, key)?);
    Ok(Written { table: Some(table), stored })
}

fn conflict_assignments(insert: &Insert) -> Vec<Assignment> {
    match &insert.on {
        Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
            OnConflictAction::DoUpdate(update) => update.assignments.clone(),
            OnConflictAction::DoNothing => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The key of every row of VALUES.
fn stored_keys(
    analyzer: &mut Analyzer<'_>,
    insert: &Insert,
    table: &Table,
    key: usize,
) -> Result<Pin, Refusal> {
    let Kind::Sharded { key_type, .. } = table.kind else { unreachable!("asked for sharded tables only") };
    let names = column_names(insert, table);
    let position = names
        .iter()
        .position(|n| *n == Some(&table.columns[key].name))
        .ok_or_else(|| missing_key(table, key))?;
    let rows = match insert.source.as_deref() {
        Some(Query { body, with: None, .. }) => match &**body {
            SetExpr::Values(values) => &values.rows,
            _ => {
                return Err(Refusal::unsupported(
                    "INSERT … SELECT into a sharded table is not supported yet",
                ));
            }
        },
        Some(_) => {
            return Err(Refusal::unsupported("INSERT … WITH into a sharded table is not supported yet"));
        }
        None => return Err(missing_key(table, key)),
    };
    for row in rows {
        refuse_sequences(table, &names, &row.content)?;
    }
    let mut sources = Vec::with_capacity(rows.len());
    for row in rows {
        for nested in direct_queries(&row.content) {
            analyzer.query(&nested, None, &super::facts::Facts::default(), &Ctes::new())?;
        }
        let value = row.content.get(position).ok_or_else(|| missing_key(table, key))?;
        sources.push(stored_source(analyzer, value, table, key)?);
    }
    let column = (table.name.clone(), table.columns[key].name.clone());
    Ok(Pin { key_type, how: Use::Store, sources: Sources::List(sources), column })
}

fn stored_source(
    analyzer: &Analyzer<'_>,
    value: &Expr,
    table: &Table,
    key: usize,
) -> Result<KeySource, Refusal> {
    if is_default(value) {
        return Err(missing_key(table, key));
    }
    analyzer.note_use(value, table.columns[key].type_oid);
    analyzer.key_source(value).ok_or_else(|| Refusal {
        code: "0A000",
        message: format!(
            "the key \"{}\" of \"{}\" must be a constant or a parameter, so that the row's shard is known",
            table.columns[key].name, table.name
        ),
        hint: "Compute the key first and pass it as a value.",
    })
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

fn is_excluded(value: &Expr, column: &str) -> bool {
    matches!(value, Expr::CompoundIdentifier(parts)
        if matches!(&parts[..], [table, name] if folded(table) == "excluded" && folded(name) == column))
}

/// The column that each value of a row is for; `None` for a part of one (`address.street`).
fn column_names<'a>(insert: &Insert, table: &'a Table) -> Vec<Option<&'a String>> {
    let own = |name: String| table.column(&name).map(|i| &table.columns[i].name);
    if insert.columns.is_empty() {
        return table.columns.iter().map(|c| Some(&c.name)).collect();
    }
    let plain = |name| match relation_name(name) {
        Some((None, name)) => own(name),
        _ => None,
    };
    insert.columns.iter().map(plain).collect()
}

/// Refuses what would number rows on each shard by itself.
fn refuse_sequences(table: &Table, names: &[Option<&String>], row: &[Expr]) -> Result<(), Refusal> {
    let given = |name: &String| {
        let value = names.iter().position(|n| *n == Some(name)).and_then(|at| row.get(at));
        value.is_some_and(|value| !is_default(value))
    };
    match table.columns.iter().find(|c| c.from_sequence && !given(&c.name)) {
        None => Ok(()),
        Some(column) => Err(Refusal {
            code: "0A000",
            message: format!(
                "\"{}\" of sharded table \"{}\" takes its default from a sequence, which would repeat on every shard",
                column.name, table.name
            ),
            hint: "Give the column a value, or a default such as gen_random_uuid().",
        }),
    }
}

/// A row without a key has no shard: what Postgres says of a missing NOT NULL column, if there is no default either.
pub fn missing_key(table: &Table, key: usize) -> Refusal {
    if table.columns[key].has_default {
        return Refusal {
            code: "0A000",
            message: format!(
                "the default of \"{}\", the sharding key of \"{}\", can't be known before a shard is chosen",
                table.columns[key].name, table.name
            ),
            hint: "Give the column a value.",
        };
    }
    null_key(&table.name, &table.columns[key].name)
}

/// A NULL key has no shard.
pub fn null_key(table: &str, column: &str) -> Refusal {
    Refusal {
        code: "23502",
        message: format!(
            "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
        ),
        hint: "The column is the table's sharding key: every row must have one.",
    }
}

/// UPDATE.
pub fn update(analyzer: &mut Analyzer<'_>, update: &Update) -> Outcome {
    let mut tables = vec![update.table.clone()];
    match &update.from {
        Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => {
            tables.extend(from.iter().cloned());
        }
        None => {}
    }
    let mut nested = direct_queries(&update.assignments);
    nested.extend(update.returning.iter().flat_map(direct_queries));
    let table = target(analyzer, &update.table)?;
    let scope = analyzer.scopes.open(None);
    analyzer.dml_block(scope, &tables, update.selection.as_ref(), nested, &Ctes::new())?;
    if let Some(table) = &table
        && let Kind::Sharded { key, .. } = table.kind
    {
        refuse_key_update(table, key, &update.assignments)?;
    }
    Ok(Written { table, stored: None })
}

/// DELETE.
pub fn delete(analyzer: &mut Analyzer<'_>, delete: &Delete) -> Outcome {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [first] = &from[..] else {
        return Err(Refusal::unsupported("this form of DELETE is not supported"));
    };
    let mut tables = from.clone();
    tables.extend(delete.using.iter().flatten().cloned());
    let nested = delete.returning.iter().flat_map(direct_queries).collect();
    let table = target(analyzer, first)?;
    let scope = analyzer.scopes.open(None);
    analyzer.dml_block(scope, &tables, delete.selection.as_ref(), nested, &Ctes::new())?;
    Ok(Written { table, stored: None })
}

fn target(analyzer: &mut Analyzer<'_>, table: &TableWithJoins) -> Result<Option<Arc<Table>>, Refusal> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => analyzer.table(name),
        _ => Err(Refusal::unsupported("this form of UPDATE or DELETE is not supported")),
    }
}

fn refuse_key_update(table: &Table, key: usize, assignments: &[Assignment]) -> Result<(), Refusal> {
    let key = &table.columns[key].name;
    let sets_key = |target: &AssignmentTarget| match target {
        AssignmentTarget::ColumnName(name) => relation_name(name).is_none_or(|(_, n)| n == *key),
        AssignmentTarget::Tuple(names) => {
            names.iter().any(|name| relation_name(name).is_none_or(|(_, n)| n == *key))
        }
    };
    if assignments.iter().any(|a| sets_key(&a.target)) {
        return Err(Refusal::unsupported(format!(
            "setting \"{key}\", the sharding key of \"{}\", would move rows between shards, which is not supported yet",
            table.name
        )));
    }
    Ok(())
}
