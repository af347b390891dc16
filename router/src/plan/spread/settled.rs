//! What comes to the same wherever it is worked out: on every copy of a reference table, whatever the order of its rows.

use super::clock::is_clock;
use super::refused;
use crate::plan::Refusal;
use crate::plan::query::direct_queries;
use crate::plan::scope::folded;
use crate::plan::traits::{Traits, reads_by_text};
use crate::schema::Schema;
use sqlparser::ast::{
    DataType, Expr, GroupByExpr, Query, Select, SetExpr, Statement, TableFactor, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Volatile functions that do nothing but answer, once for each row, as they would in one Postgres.
const HARMLESS: [&str; 10] = [
    "random",
    "setseed",
    "gen_random_uuid",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "clock_timestamp",
    "timeofday",
    "pg_sleep",
    "pg_typeof",
];

/// Functions of Postgres' own that are not volatile, and yet say something else on every server.
const OF_THE_SERVER: [&str; 8] = [
    "current_database",
    "current_catalog",
    "version",
    "current_schema",
    "current_schemas",
    "row_security_active",
    "system_user",
    "obj_description",
];

/// Aggregates whose value does not depend on the order of their rows.
const UNORDERED: [&str; 6] = ["count", "min", "max", "bool_and", "bool_or", "every"];

/// Looks for what is not settled.
pub(super) struct Settled<'a> {
    schema: &'a Schema,
}

impl<'a> Settled<'a> {
    pub(super) fn new(schema: &'a Schema) -> Self {
        Self { schema }
    }

    /// Refuses functions that do something beside answering, or that look at where they run.
    pub(super) fn check_functions(&self, traits: &Traits) -> Result<(), Refusal> {
        for name in &traits.functions {
            let acts = self.is_volatile(name) && !HARMLESS.contains(&name.as_str());
            if acts || self.is_of_the_server(name) {
                return Err(refused(&format!("function {name} in a write")));
            }
        }
        Ok(())
    }

    /// Whether a function's answer may differ from server to server.
    pub(super) fn is_of_the_server(&self, name: &str) -> bool {
        let catalog = name.starts_with("pg_") && !matches!(name, "pg_sleep" | "pg_typeof" | "pg_size_pretty");
        catalog
            || reads_by_text(name)
            || OF_THE_SERVER.contains(&name)
            || ["inet_", "txid_", "to_reg", "has_", "lo_"].iter().any(|start| name.starts_with(start))
    }

    fn is_volatile(&self, name: &str) -> bool {
        self.schema.functions.is_volatile(name) || HARMLESS.contains(&name) && name != "pg_typeof"
    }

    /// Whether a function is known to give the same for the same, in one transaction.
    pub(super) fn is_function(&self, name: &str) -> bool {
        let functions = &self.schema.functions;
        let known = functions.knows(name) || functions.is_scalar(name) || is_clock(name);
        known && !self.is_volatile(name) && !functions.reads_tables(name) && !self.is_of_the_server(name)
    }

    /// Refuses queries within the statement that have more than one right answer: each shard would take its own.
    pub(super) fn check_subqueries(&self, statement: &Statement) -> Result<(), Refusal> {
        if direct_queries(statement).iter().all(|query| self.is_query(query)) {
            return Ok(());
        }
        Err(Refusal::unsupported(
            "a subquery whose answer depends on the order of rows, or that calls a volatile function, in a write on several \
             shards is not supported",
        ))
    }

    /// Whether a query has one right answer, rows in no order.
    pub(super) fn is_query(&self, query: &Query) -> bool {
        let cut = query.limit_clause.is_some() || query.fetch.is_some() || !query.locks.is_empty();
        !cut && query
            .with
            .as_ref()
            .is_none_or(|with| with.cte_tables.iter().all(|cte| self.is_query(&cte.query)))
            && self.is_body(&query.body)
            && self.calls_are(query)
            && direct_queries(&query.body).iter().all(|nested| self.is_query(nested))
    }

    fn is_body(&self, body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => self.is_select(select),
            SetExpr::Query(query) => self.is_query(query),
            SetExpr::SetOperation { left, right, .. } => self.is_body(left) && self.is_body(right),
            SetExpr::Values(_) => true,
            _ => false,
        }
    }

    fn is_select(&self, select: &Select) -> bool {
        let distinct = matches!(&select.distinct, Some(sqlparser::ast::Distinct::On(_)));
        let grouped =
            matches!(&select.group_by, GroupByExpr::Expressions(_, modifiers) if modifiers.is_empty());
        let tables = select.from.iter().all(|from| {
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)).all(
                |factor| {
                    matches!(factor, TableFactor::Table { sample: None, .. } | TableFactor::Derived { .. })
                },
            )
        });
        !distinct && grouped && tables && select.named_window.is_empty()
    }

    /// Whether every call is of a function that gives the same for the same rows in any order.
    fn calls_are(&self, piece: &impl Visit) -> bool {
        struct Calls<'a, 'b>(&'a Settled<'b>);
        impl Visitor for Calls<'_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let Expr::Function(f) = expr else { return ControlFlow::Continue(()) };
                let name = f.name.0.last().and_then(|part| part.as_ident()).map(folded).unwrap_or_default();
                let scalar = self.0.schema.functions.is_scalar(&name) || is_clock(&name);
                let fine = f.over.is_none() && (scalar || UNORDERED.contains(&name.as_str()));
                if fine && self.0.is_function(&name) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            }
        }
        piece.visit(&mut Calls(self)).is_continue()
    }

    /// Whether a piece of a statement comes to the same on every copy: calls, and queries in it.
    pub(super) fn is_piece(&self, piece: &impl Visit) -> bool {
        self.calls_are(piece)
            && direct_queries(piece).iter().all(|query| self.is_query(query))
            && check_looks(piece).is_ok()
    }
}

/// Whether a value is, or holds, the word DEFAULT.
pub(in crate::plan) fn has_default_word(value: &Expr) -> bool {
    match value {
        Expr::Identifier(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"),
        Expr::Tuple(values) => values.iter().any(has_default_word),
        Expr::Nested(inner) => has_default_word(inner),
        _ => false,
    }
}

/// Refuses what looks at where rows lie, or at object numbers.
pub(super) fn check_looks(piece: &impl Visit) -> Result<(), Refusal> {
    struct Looks(Option<String>);
    impl Visitor for Looks {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let column = match expr {
                Expr::Identifier(name) => Some(name),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            // xmax only tells whether a row is new, as it does in one Postgres.
            let system = |name: &str| matches!(name, "ctid" | "xmin" | "cmin" | "cmax" | "tableoid");
            if column.is_some_and(|name| system(&folded(name))) {
                self.0 = Some(format!("the system column {expr}"));
            }
            let reg = match expr {
                Expr::Cast { data_type: DataType::Regclass, .. } => true,
                Expr::Cast { data_type: DataType::Custom(name, _), .. } => {
                    name.to_string().to_ascii_lowercase().trim_start_matches("pg_catalog.").starts_with("reg")
                }
                _ => false,
            };
            if reg {
                self.0 = Some("a cast to a type of object numbers".to_owned());
            }
            ControlFlow::Continue(())
        }
    }
    let mut looks = Looks(None);
    let _ = piece.visit(&mut looks);
    match looks.0 {
        Some(what) => Err(refused(&format!("{what} in a write"))),
        None => Ok(()),
    }
}
