//! MERGE: each shard merges its rows of the source into its rows of the target.
//!
//! That is right where a row of the source can only meet rows of its own shard, and what is inserted for it belongs there:
//! the source is one sharded table (or a plain subquery of one), joined by the key, which is what an INSERT stores. A
//! source that is the same on every shard may only change rows that are there. A source of one row that names its key
//! sends the statement to one shard.

use super::{
    Outcome, Pin, Refusal, Sources, Written, column_names, label_of, missing_key, refuse_sequences,
    sets_column,
};
use crate::plan::query::{Analyzer, Ctes, direct_queries, is_row_by_row};
use crate::plan::scope::{folded, relation_name};
use crate::plan::spread::clock::Clocked;
use crate::schema::effects::events;
use crate::schema::{Kind, Schema, Table};
use shardway_shardmap::Use;
use sqlparser::ast::{
    BinaryOperator, Expr, Merge, MergeAction, MergeClauseKind, MergeInsertExpr, MergeInsertKind,
    MergeUpdateKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

fn refused(why: &str) -> Refusal {
    Refusal::unsupported(format!("this MERGE over several shards is not supported: {why}"))
}

/// The column of the source that brings the key.
enum Brings {
    /// It is the key of a sharded table.
    Key(String),
    /// It is this value in the source's one row.
    Value(String, Box<Expr>),
    /// None: the source is the same on every shard.
    Nothing,
}

/// MERGE.
pub(in crate::plan) fn merge(analyzer: &mut Analyzer<'_>, merge: &Merge) -> Outcome {
    let schema = analyzer.schema();
    let source = TableWithJoins { relation: merge.source.clone(), joins: Vec::new() };
    let target = TableWithJoins { relation: merge.table.clone(), joins: Vec::new() };
    let TableFactor::Table { name, .. } = &merge.table else { return Err(refused("of its target")) };
    let table = analyzer.table(name)?;
    if table.as_ref().is_some_and(|table| table.of_view.is_some()) {
        return Err(refused("its target is a view"));
    }
    if let Some(table) = &table {
        table.check_effects(done_by(merge))?;
        let updates = merge.clauses.iter().filter_map(|clause| match &clause.action {
            MergeAction::Update(update) => Some(&update.kind),
            _ => None,
        });
        for update in updates {
            table.check_update_effects(|column| match update {
                MergeUpdateKind::Set(all) => all.iter().any(|set| sets_column(set, column)),
                _ => true,
            })?;
        }
        let inserts = done_by(merge) & events::INSERT != 0;
        table.check_defaults(|_| inserts)?;
    }
    let scope = analyzer.scopes.open(None);
    let mut nested = direct_queries(&merge.clauses);
    nested.extend(direct_queries(&merge.on));
    let has_queries = !nested.is_empty();
    analyzer.dml_block(scope, &[target.clone(), source], Some(&merge.on), nested, &Ctes::new())?;
    let written = Written { table: table.clone(), ..Written::default() };
    if schema.is_unsharded() {
        return Ok(written);
    }
    let Some(table) = table else { return Ok(written) };
    let Kind::Sharded { key, .. } = table.kind else {
        return Err(refused("its target is not a sharded table"));
    };
    if merge.output.is_some() || has_queries {
        return Err(refused("it has RETURNING, or subqueries in its conditions or actions"));
    }
    let label = label_of(&target).unwrap_or_default();
    // What ON says holds for rows that meet; the source's others are merged as well.
    analyzer.found.sharded.iter_mut().for_each(|sharded| sharded.pin = None);
    let brings = brings(analyzer, merge, schema, &label, &table.columns[key].name)?;
    check_actions(merge, &table, key, &brings)?;
    if let (Brings::Value(_, value), Kind::Sharded { key_type, .. }) = (&brings, &table.kind) {
        let key_type = *key_type;
        let why = "the source's key is not a constant or a parameter";
        analyzer.note_use(value, table.columns[key].type_oid);
        let source = analyzer.key_source(value).ok_or_else(|| refused(why))?;
        let column = (table.name.clone(), table.columns[key].name.clone());
        let pin = Pin { key_type, how: Use::Compare, sources: Sources::List(vec![source]), column };
        let inserts = merge.clauses.iter().any(|clause| matches!(clause.action, MergeAction::Insert(_)));
        let stored = inserts.then(|| Pin { how: Use::Store, ..pin.clone() });
        if let Some(first) = analyzer.found.sharded.first_mut() {
            first.pin = Some(pin);
        }
        return Ok(Written { stored, on_one: true, ..written });
    }
    Ok(written)
}

/// What a MERGE may do to rows.
pub(in crate::plan) fn done_by(merge: &Merge) -> u8 {
    let of = |action: &MergeAction| match action {
        MergeAction::Insert(_) => events::INSERT,
        MergeAction::Update { .. } => events::UPDATE,
        MergeAction::Delete { .. } => events::DELETE,
        _ => 0,
    };
    merge.clauses.iter().map(|clause| of(&clause.action)).fold(0, |all, one| all | one)
}

fn brings(
    analyzer: &Analyzer<'_>,
    merge: &Merge,
    schema: &Schema,
    target: &str,
    key: &str,
) -> Result<Brings, Refusal> {
    match (analyzer.found.sharded.len(), &merge.source) {
        (2, source) => {
            let column = key_of_source(analyzer, source, schema);
            column
                .map(Brings::Key)
                .ok_or_else(|| refused("the source is not a sharded table or a plain subquery of one"))
        }
        (1, TableFactor::Derived { subquery, lateral: false, alias: Some(alias), .. }) => {
            // What it gives on every shard is checked with the other subqueries.
            let Some(select) = one_row(subquery) else { return Ok(Brings::Nothing) };
            if !alias.columns.is_empty() {
                return Err(refused("the source's columns are renamed"));
            }
            let label = folded(&alias.name);
            let equal = |expr: &Expr| equated(&merge.on, target, key, &label, expr);
            let named = select.projection.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } => {
                    let own =
                        Expr::CompoundIdentifier(vec![folded_ident(&label), folded_ident(&folded(alias))]);
                    equal(&own).then(|| (folded(alias), expr.clone()))
                }
                _ => None,
            });
            let (name, value) = named.ok_or_else(|| refused("the source is not joined by the key"))?;
            Ok(Brings::Value(name, Box::new(value)))
        }
        (1, TableFactor::Table { args: None, sample: None, .. }) => Ok(Brings::Nothing),
        (1, _) => Err(refused("the source is not a table or a plain subquery")),
        _ => Err(refused("it reads several sharded tables")),
    }
}

fn folded_ident(name: &str) -> sqlparser::ast::Ident {
    sqlparser::ast::Ident::with_quote('"', name)
}

/// Whether a condition says that the target's key equals a column of the source.
fn equated(on: &Expr, target: &str, key: &str, source: &str, column: &Expr) -> bool {
    let is_key = |expr: &Expr| is_column(expr, target, key, false);
    let wanted = match column {
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        _ => return false,
    };
    let is_wanted = |expr: &Expr| is_column(expr, source, &wanted, false);
    match on {
        Expr::Nested(inner) => equated(inner, target, key, source, column),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equated(left, target, key, source, column) || equated(right, target, key, source, column)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            is_key(left) && is_wanted(right) || is_wanted(left) && is_key(right)
        }
        _ => false,
    }
}

fn is_column(expr: &Expr, table: &str, column: &str, bare: bool) -> bool {
    match expr {
        Expr::Nested(inner) => is_column(inner, table, column, bare),
        Expr::Identifier(name) => bare && folded(name) == column,
        Expr::CompoundIdentifier(parts) => {
            matches!(&parts[..], [own, name] if folded(own) == table && folded(name) == column)
        }
        _ => false,
    }
}

/// The one row that a subquery without tables gives.
fn one_row(query: &Query) -> Option<&Select> {
    match &*query.body {
        SetExpr::Select(select)
            if select.from.is_empty()
                && select.selection.is_none()
                && query.with.is_none()
                && query.limit_clause.is_none() =>
        {
            Some(select)
        }
        _ => None,
    }
}

/// The column by which the source gives its table's key.
fn key_of_source(analyzer: &Analyzer<'_>, source: &TableFactor, schema: &Schema) -> Option<String> {
    let key_of = |name: &sqlparser::ast::ObjectName| {
        let (_, bare) = relation_name(name)?;
        let table = analyzer.found.tables.iter().rev().find(|table| table.name == bare)?;
        match table.kind {
            Kind::Sharded { key, .. } => Some(table.columns[key].name.clone()),
            _ => None,
        }
    };
    match source {
        TableFactor::Table { name, alias, sample: None, args: None, .. }
            if alias.as_ref().is_none_or(|alias| alias.columns.is_empty()) =>
        {
            key_of(name)
        }
        TableFactor::Derived { subquery, lateral: false, alias: Some(alias), .. }
            if alias.columns.is_empty() =>
        {
            let SetExpr::Select(select) = &*subquery.body else { return None };
            let plain = subquery.with.is_none()
                && subquery.limit_clause.is_none()
                && subquery.fetch.is_none()
                && subquery.locks.is_empty()
                && is_row_by_row(select, schema);
            let [
                TableWithJoins { relation: TableFactor::Table { name, sample: None, args: None, .. }, joins },
            ] = &select.from[..]
            else {
                return None;
            };
            if !plain || !joins.is_empty() {
                return None;
            }
            let key = key_of(name)?;
            let is_key = |expr: &Expr| match expr {
                Expr::Identifier(name) => folded(name) == key,
                Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|name| folded(name) == key),
                _ => false,
            };
            select.projection.iter().find_map(|item| match item {
                SelectItem::UnnamedExpr(expr) if is_key(expr) => Some(key.clone()),
                SelectItem::ExprWithAlias { expr, alias } if is_key(expr) => Some(folded(alias)),
                SelectItem::Wildcard(_) if select.projection.len() == 1 => Some(key.clone()),
                _ => None,
            })
        }
        _ => None,
    }
}

fn check_actions(merge: &Merge, table: &Table, key: usize, brings: &Brings) -> Result<(), Refusal> {
    let source = match &merge.source {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            folded(&alias.name)
        }
        TableFactor::Table { name, .. } => relation_name(name).map(|(_, name)| name).unwrap_or_default(),
        _ => return Err(refused("of its source")),
    };
    for clause in &merge.clauses {
        if matches!((clause.clause_kind, brings), (MergeClauseKind::NotMatchedBySource, Brings::Value(..))) {
            return Err(refused("rows of every shard are without a match in its source"));
        }
        match &clause.action {
            MergeAction::Update(update) => {
                let MergeUpdateKind::Set(assignments) = &update.kind else { return Err(refused("SET *")) };
                if assignments.iter().any(|set| sets_column(set, &table.columns[key].name)) {
                    return Err(refused("setting the sharding key may move rows between shards"));
                }
                if assignments.iter().any(|set| crate::plan::spread::has_default_word(&set.value)) {
                    return Err(refused("SET … = DEFAULT"));
                }
            }
            MergeAction::Insert(insert) => check_insert(insert, table, key, brings, &source)?,
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
        }
    }
    Ok(())
}

/// What is inserted has the source's key, and no default that differs from shard to shard.
fn check_insert(
    insert: &MergeInsertExpr,
    table: &Table,
    key: usize,
    brings: &Brings,
    source: &str,
) -> Result<(), Refusal> {
    let brought = match brings {
        Brings::Key(name) | Brings::Value(name, _) => name,
        Brings::Nothing => {
            return Err(refused("its source is the same on every shard, and would be inserted on each"));
        }
    };
    let MergeInsertKind::Values(values) = &insert.kind else { return Err(refused("this form of INSERT")) };
    let [row] = &values.rows[..] else { return Err(refused("INSERT without a row of values")) };
    let names = column_names(&insert.columns, table);
    let place = names.iter().position(|name| *name == Some(&table.columns[key].name));
    let value = place.and_then(|at| row.content.get(at)).ok_or_else(|| missing_key(table, key))?;
    if !is_column(value, source, brought, true) {
        return Err(refused("INSERT must store the source's key as it is"));
    }
    refuse_sequences(table, &names, &row.content)?;
    let given = |name: &String| names.iter().take(row.content.len()).any(|n| *n == Some(name));
    let clocked = |text: &Option<String>| text.as_deref().is_some_and(|text| Clocked::of(text).is_some());
    let defaults = row.content.iter().any(crate::plan::spread::has_default_word);
    if table.columns.iter().any(|column| clocked(&column.default) && (defaults || !given(&column.name))) {
        return Err(refused("a default of the table names the clock; give the column a value"));
    }
    Ok(())
}
