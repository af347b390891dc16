//! INSERT … SELECT whose rows go through the proxy: the query runs first, by whatever tier it has, and all its rows are
//! held before the first one is stored. So it sees none of them, as in one Postgres.
//!
//! The rows are stored as `INSERT … SELECT … FROM (VALUES …)`, with each column of VALUES of the type that the query gave:
//! its values are then cast to the table's column just as those of the query would have been.

use super::clock::Clocked;
use super::settled::{Settled, check_looks};
use super::split::Fills;
use super::text::Tokens;
use super::{ClockOf, Context, Copied, How, Spread, refused};
use crate::plan::Refusal;
use crate::plan::dml::{check_conflict, column_names, from_sequence, missing_key};
use crate::plan::query::direct_queries;
use crate::schema::{GroupId, Kind, Table};
use shardway_shardmap::KeyType;
use sqlparser::ast::{Expr, Insert, OnConflictAction, OnInsert, Query, Select, SelectItem, SetExpr, Value};

/// How the rows of a query are stored.
#[derive(Clone, Debug)]
pub struct Fed {
    /// Where they go.
    pub to: To,
    /// The columns of the table that the query's are for, by their place; `None` for a part of one.
    pub columns: Vec<Option<usize>>,
    /// Columns of the query that are bare literals, which have no type of their own.
    pub bare: Vec<usize>,
    /// For the column list: columns that it leaves out and that take the clock's value, with a comma before each.
    pub named: String,
    /// Their values.
    pub appended: Vec<Clocked>,
    /// Whether ON CONFLICT stands behind the query.
    pub conflicts: bool,
    /// Whether rows may be left out, so that those of RETURNING are in no order.
    pub skips: bool,
    /// Whether a shard's rows must be stored by one statement.
    pub at_once: bool,
    /// Whether the query reads tables of other groups, so that no shard understands the whole statement.
    pub spans_groups: bool,
}

/// Where rows go.
#[derive(Clone, Debug)]
pub enum To {
    /// To the shard of the key in this column of the query.
    Key(usize, KeyType),
    /// To every shard, as the first one has stored them.
    All(Copied),
}

impl Context<'_> {
    pub(in crate::plan) fn fed(
        &self,
        insert: &Insert,
        source: &Query,
        table: &std::sync::Arc<Table>,
        group: GroupId,
    ) -> Result<Spread, Refusal> {
        let no = |what: &str| Err(refused(&format!("INSERT … SELECT with {what}")));
        if self.found.system || !self.found.local.is_empty() {
            return no("system catalogs or local tables");
        }
        if !direct_queries(&insert.on).is_empty() || !direct_queries(&insert.returning).is_empty() {
            return no("subqueries in ON CONFLICT or RETURNING");
        }
        if !source.locks.is_empty() {
            return no("row locks");
        }
        check_looks(&insert.returning)?;
        let settled = Settled::new(self.schema);
        settled.check_functions(self.traits)?;
        let tokens = Tokens::of(self.text).ok_or_else(|| refused("this text"))?;
        let (range, list) =
            tokens.query(insert.on.is_some()).ok_or_else(|| refused("this form of INSERT … SELECT"))?;
        if insert.columns.is_empty() != list.is_none() {
            return no("such a column list");
        }
        if tokens.params().iter().any(|(at, _)| !range.contains(&at.start)) {
            return no("parameters behind the query");
        }
        let calls = tokens.clocks();
        if super::clock::calls(insert) != calls.len() || super::clock::asks_age(insert) {
            return no("this use of the clock");
        }
        let names = column_names(&insert.columns, table);
        let columns = names.iter().map(|name| table.column(name.as_ref()?)).collect();
        let conflict = match &insert.on {
            Some(OnInsert::OnConflict(conflict)) => Some(conflict),
            Some(_) => return no("this form of ON"),
            None => None,
        };
        let at_once =
            conflict.is_some_and(|conflict| matches!(conflict.action, OnConflictAction::DoUpdate(_)));
        let mut fed = Fed {
            to: To::Key(0, KeyType::Int4),
            columns,
            bare: bare(source),
            named: String::new(),
            appended: Vec::new(),
            conflicts: insert.on.is_some(),
            skips: insert.on.is_some() || table.has_triggers,
            at_once,
            spans_groups: self.found.groups.len() > 1,
        };
        let mut clock = None;
        if calls.iter().any(|(_, call)| call.is_of_statement()) {
            clock = Some(ClockOf::Statement);
        } else if !calls.is_empty() {
            clock = Some(ClockOf::Transaction);
        }
        fed.to = match table.kind {
            Kind::Sharded { key, key_type, .. } => {
                check_conflict(insert, table, key)?;
                let width = width(source).unwrap_or(names.len());
                let fills = self.check_defaults(insert, table, width)?;
                clock = clock.max(fills.clock());
                fed.named.clone_from(&fills.named);
                fed.appended = fills.appended.into_iter().flatten().collect();
                let place = names.iter().position(|name| *name == Some(&table.columns[key].name));
                let place = place.filter(|at| *at < width).ok_or_else(|| missing_key(table, key))?;
                To::Key(place, key_type)
            }
            _ if table.triggers_act => return no("triggers that may do more than change the row at hand"),
            _ => match self.copied_insert(insert, table)? {
                (How::Copied(copied), _) => To::All(copied),
                _ => return no("this reference table"),
            },
        };
        let is_dated = self.reads_dates(insert, table);
        let table = table.clone();
        let (returns, how) = (insert.returning.is_some(), How::Fed(fed));
        Ok(Spread { group, returns, clock, is_dated, how, table, verb: "INSERT", counts: false })
    }

    /// What columns that the query does not give take: no sequence that repeats, and one value of the clock.
    fn check_defaults(&self, insert: &Insert, table: &Table, width: usize) -> Result<Fills, Refusal> {
        let names = column_names(&insert.columns, table);
        let given = |name: &String| names.iter().take(width).any(|own| *own == Some(name));
        for column in &table.columns {
            super::check_default(self.schema, table, column)?;
            if column.from_sequence && !given(&column.name) {
                return Err(from_sequence(column, table));
            }
        }
        let fills = Fills::of(insert, table, width);
        if insert.columns.is_empty() && !fills.appended.is_empty() {
            return Err(refused("INSERT … SELECT without a column list, where a default names the clock,"));
        }
        Ok(fills)
    }
}

/// How many columns a query gives, if that can be told.
pub(in crate::plan) fn width(query: &Query) -> Option<usize> {
    let select = first(&query.body)?;
    let plain =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    select.projection.iter().all(plain).then_some(select.projection.len())
}

fn first(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first(&query.body),
        SetExpr::SetOperation { left, .. } => first(left),
        _ => None,
    }
}

/// The columns of a query that are string literals or NULL: an INSERT takes them as of the table's column's type.
fn bare(query: &Query) -> Vec<usize> {
    let SetExpr::Select(select) = &*query.body else { return Vec::new() };
    let is_bare = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Value(value))
        | SelectItem::ExprWithAlias { expr: Expr::Value(value), .. } => {
            !matches!(value.value, Value::Number(..) | Value::Boolean(_))
        }
        _ => false,
    };
    if width(query).is_none() {
        return Vec::new();
    }
    select.projection.iter().enumerate().filter(|(_, item)| is_bare(item)).map(|(at, _)| at).collect()
}
