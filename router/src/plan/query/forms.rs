//! Forms of syntax: what can be said of a piece of a query by its shape alone.

use crate::plan::scope::relation_name;
use crate::schema::Schema;
use sqlparser::ast::{
    Distinct, Expr, FunctionArguments, GroupByExpr, ObjectName, Query, Select, SetExpr, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Whether it is the word ONLY, which the parser takes for a relation with an alias.
pub(super) fn is_only(name: &ObjectName) -> bool {
    matches!(&name.0[..], [part] if part.as_ident().is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("only")))
}

/// Whether a name is one of Postgres's own, which every shard has alike.
pub(super) fn is_system(schema: Option<&str>, name: &str) -> bool {
    match schema {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
        None => name.starts_with("pg_"),
    }
}

/// A derived table's SELECT if it only filters and picks: no grouping, no limit, no window, nothing that looks at
/// rows together.
pub(super) fn plain<'q>(query: &'q Query, schema: &Schema) -> Option<&'q Select> {
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match &*query.body {
        SetExpr::Select(select) if bare && is_row_by_row(select, schema) => Some(select),
        _ => None,
    }
}

/// Whether a SELECT gives its rows one by one: no DISTINCT, grouping, aggregate, window or set-returning function.
pub fn is_row_by_row(select: &Select, schema: &Schema) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let distinct = matches!(&select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
    !grouped
        && !distinct
        && select.having.is_none()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.projection.iter().all(|item| is_scalar_throughout(item, schema))
}

/// Whether every call in a piece of syntax gives one value for one row.
pub fn is_scalar_throughout(piece: &impl Visit, schema: &Schema) -> bool {
    struct Scalars<'a>(&'a Schema);
    impl Visitor for Scalars<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(f) if !is_scalar(f, self.0) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    piece.visit(&mut Scalars(schema)).is_continue()
}

/// Functions known to look at one row and to give one value. What is not known may be an aggregate.
pub(super) fn is_scalar(function: &sqlparser::ast::Function, schema: &Schema) -> bool {
    let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    let distinct = matches!(&function.args, FunctionArguments::List(l) if l.duplicate_treatment.is_some() || !l.clauses.is_empty());
    plain
        && !distinct
        && relation_name(&function.name).is_some_and(|(_, name)| schema.functions.is_scalar(&name))
}

/// Whether a piece of syntax has an expression that `is` says yes to.
pub(super) fn mentions(piece: &impl Visit, is: impl Fn(&Expr) -> bool) -> bool {
    struct Any<F>(F);
    impl<F: Fn(&Expr) -> bool> Visitor for Any<F> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if (self.0)(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    piece.visit(&mut Any(is)).is_break()
}

/// The queries nested in a piece of syntax, not those nested in these.
pub fn direct_queries(piece: &impl Visit) -> Vec<Query> {
    #[derive(Default)]
    struct Collector {
        depth: usize,
        queries: Vec<Query>,
    }
    impl Visitor for Collector {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if self.depth == 0 {
                self.queries.push(query.clone());
            }
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
    }
    let mut collector = Collector::default();
    let _ = piece.visit(&mut collector);
    collector.queries
}
