//! Which lookups may be answered from the cache: those whose answer depends on nothing but rows of one table.
//!
//! Proven by form: one table, plain columns, AND-ed equalities of columns with constants or parameters. No function,
//! no cast, no sub-select, and no constant whose meaning the clock or a setting decides ('now' for a timestamp).

use super::Cacheable;
use super::query::Found;
use super::scope::folded;
use crate::schema::{Kind, Table};
use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    TableFactor, Value,
};
use std::sync::Arc;

/// Types whose input does not depend on the clock or on settings.
const STEADY: [&str; 10] =
    ["int2", "int4", "int8", "text", "varchar", "bpchar", "citext", "uuid", "bool", "numeric"];

/// Whether, and by what, a statement's answer may be cached.
pub fn cacheable(statement: &Statement, found: &Found) -> Option<Cacheable> {
    let Statement::Query(query) = statement else { return None };
    let [table] = &found.tables[..] else { return None };
    let kind = matches!(table.kind, Kind::Sharded { .. } | Kind::Reference(_));
    let plain = kind
        && table.of_view.is_none()
        && found.relations == 1
        && !table.has_row_security
        && is_lookup(query, table);
    plain.then(|| Cacheable { table: Arc::clone(table) })
}

fn is_lookup(query: &Query, table: &Table) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    let bare = query.with.is_none()
        && query.locks.is_empty()
        && query.fetch.is_none()
        && query.limit_clause.is_none();
    let ordered = match &query.order_by {
        None => true,
        Some(order) => {
            matches!(&order.kind, OrderByKind::Expressions(items) if items.iter().all(|i| is_column(&i.expr)))
        }
    };
    bare && ordered
        && is_plain_select(select)
        && select.selection.as_ref().is_some_and(|s| is_condition(s, table))
}

fn is_plain_select(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let one_table = matches!(&select.from[..], [from] if from.joins.is_empty()
        && matches!(&from.relation, TableFactor::Table { args: None, sample: None, .. }));
    let columns = select.projection.iter().all(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => is_column(expr),
        SelectItem::Wildcard(_) => true,
        _ => false,
    });
    one_table
        && columns
        && !grouped
        && select.distinct.is_none()
        && select.having.is_none()
        && select.into.is_none()
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn is_condition(expr: &Expr, table: &Table) -> bool {
    match expr {
        Expr::Nested(inner) => is_condition(inner, table),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            is_condition(left, table) && is_condition(right, table)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            is_steady(left, table) && is_constant(right) || is_steady(right, table) && is_constant(left)
        }
        _ => false,
    }
}

fn is_steady(expr: &Expr, table: &Table) -> bool {
    let name = match expr {
        Expr::Identifier(name) => folded(name),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded).unwrap_or_default(),
        _ => return false,
    };
    table.column(&name).is_some_and(|i| {
        let column = &table.columns[i];
        column.type_kind == 'e' || STEADY.contains(&column.type_name.as_str())
    })
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(v) if matches!(v.value,
        Value::Number(..) | Value::SingleQuotedString(_) | Value::Placeholder(_) | Value::Boolean(_)))
}
