//! ORDER BY with LIMIT over one table: of each shard, only as many first rows are brought as the whole may give.
//!
//! The order itself need not be known here: the shards and the engine are all Postgres.

use super::Context;
use crate::plan::output::output_name;
use crate::plan::pin::Places;
use crate::plan::query::conditions::placeholder;
use crate::plan::query::{Named, Piece, is_row_by_row, is_scalar_throughout};
use crate::plan::rewrite::Clauses;
use crate::plan::scatter::{Count, item_expr, limits};
use crate::plan::scope::folded;
use crate::schema::Table;
use sqlparser::ast::{
    Expr, OrderByExpr, OrderByKind, Query, Select, SetExpr, TableFactor, Value, ValueWithSpan, Visit, Visitor,
};
use std::ops::ControlFlow;

impl Context<'_> {
    /// ORDER BY and LIMIT for each shard; `None` where its first rows may not be enough.
    pub(super) fn cut(&self, query: &Query, table: &Table) -> Option<Vec<Piece>> {
        let SetExpr::Select(select) = &*query.body else { return None };
        let [named] = &self.found.named[..] else { return None };
        let bare = query.with.is_none() && query.fetch.is_none() && self.found.relations == 1;
        let one = matches!(&select.from[..], [from] if from.joins.is_empty()
            && matches!(from.relation, TableFactor::Table { args: None, sample: None, .. }));
        if !bare || !one || !named.whole || self.traits.volatile || !is_row_by_row(select, self.schema) {
            return None;
        }
        let (Some(limit), offset) = limits(query).ok()? else { return None };
        let mut pieces = vec![Piece::Sql("\n".to_owned())];
        if let Some(order) = &query.order_by {
            let OrderByKind::Expressions(items) = &order.kind else { return None };
            if !items.iter().all(|item| self.is_of_rows(item, select, named, table)) {
                return None;
            }
            let places = Places::new(self.text, &self.scan.literals);
            let (start, text) = Clauses::of(self.text, &places).ok()?.order()?;
            pieces.extend(with_params(text, start, items, &places)?);
        }
        pieces.push(Piece::Sql("\nLIMIT ".to_owned()));
        let counts = match (limit, offset) {
            (Count::Fixed(limit), Some(Count::Fixed(offset))) => {
                [Some(Count::Fixed(limit.saturating_add(offset).min(i64::MAX as u64))), None]
            }
            (limit, offset) => [Some(limit), offset],
        };
        let two = counts.iter().flatten().count() > 1;
        // Together they may be more than a bigint holds.
        pieces.push(Piece::Sql(if two { "LEAST(" } else { "" }.to_owned()));
        for (n, count) in counts.into_iter().flatten().enumerate() {
            let plus = if n > 0 { " + " } else { "" };
            let wide = if two { "pg_catalog.numeric" } else { "pg_catalog.int8" };
            match count {
                Count::Fixed(rows) => pieces.push(Piece::Sql(format!("{plus}{rows}::{wide}"))),
                Count::Param(number) => {
                    pieces.push(Piece::Sql(format!("{plus}(")));
                    pieces.push(Piece::Param(number));
                    pieces.push(Piece::Sql(format!(")::{wide}")));
                }
            }
        }
        pieces.extend(two.then(|| Piece::Sql(", 9223372036854775807)::pg_catalog.int8".to_owned())));
        Some(pieces)
    }

    /// Whether an ORDER BY item means the same of the table's rows as of the statement's.
    fn is_of_rows(&self, item: &OrderByExpr, select: &Select, named: &Named, table: &Table) -> bool {
        let mut expr = &item.expr;
        // To Postgres, parentheses around it are not there.
        while let Expr::Nested(inner) = expr {
            expr = inner;
        }
        match expr {
            Expr::Value(_) => return false,
            // It means an output of that name before it means a column.
            Expr::Identifier(name) => {
                let is_meant = |item: &&_| output_name(item).may_be(&folded(name));
                let mut meant = select.projection.iter().filter(is_meant);
                if meant.any(|output| item_expr(output) != Some(expr)) {
                    return false;
                }
            }
            _ => {}
        }
        let mut columns = Columns { named, table };
        is_scalar_throughout(&item.expr, self.schema) && item.expr.visit(&mut columns).is_continue()
    }
}

/// Breaks off at a name that is no column of the table.
struct Columns<'a> {
    named: &'a Named,
    table: &'a Table,
}

impl Visitor for Columns<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_column = match expr {
            Expr::Identifier(name) => self.table.column(&folded(name)).is_some(),
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [label, name] => {
                    folded(label) == self.named.label && self.table.column(&folded(name)).is_some()
                }
                _ => false,
            },
            _ => true,
        };
        if is_column { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// A text with its parameters apart. `start` is where it stands in the statement.
fn with_params(
    text: &str,
    start: usize,
    items: &Vec<OrderByExpr>,
    places: &Places<'_>,
) -> Option<Vec<Piece>> {
    let mut params = Params { places, at: Vec::new() };
    let _ = items.visit(&mut params);
    params.at.sort_unstable();
    let mut pieces = Vec::new();
    let mut done = 0;
    for (at, number) in params.at {
        let at = at.checked_sub(start)?;
        let written = format!("${}", number + 1);
        if !text.get(at..)?.starts_with(&written) {
            return None;
        }
        pieces.push(Piece::Sql(text.get(done..at)?.to_owned()));
        pieces.push(Piece::Param(number));
        done = at + written.len();
    }
    pieces.push(Piece::Sql(text[done..].to_owned()));
    Some(pieces)
}

/// Where parameters stand, and which they are.
struct Params<'a> {
    places: &'a Places<'a>,
    at: Vec<(usize, usize)>,
}

impl Visitor for Params<'_> {
    type Break = ();

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let (Value::Placeholder(_), Some(number)) = (&value.value, placeholder(&value.value)) {
            let start = value.span.start;
            self.at.extend(self.places.offset(start.line, start.column).map(|at| (at, number)));
        }
        ControlFlow::Continue(())
    }
}
