//! What even a gather would answer wrongly, and so is refused: what looks at where rows lie, or at the one shard's
//! catalog, and what does something to the database.

use super::Context;
use crate::plan::Refusal;
use crate::plan::scope::{folded, relation_name};
use crate::plan::traits::{OBJECTS, OF_SERVER, names_object, reads_by_text};
use sqlparser::ast::{Expr, Query, Select, SelectItem, Visit, Visitor, visit_expressions};
use std::ops::ControlFlow;

/// Volatile functions that do nothing but answer, once for each row, as they would in one Postgres.
const HARMLESS: [&str; 9] = [
    "random",
    "setseed",
    "gen_random_uuid",
    "uuid_generate_v1",
    "uuid_generate_v4",
    "clock_timestamp",
    "timeofday",
    "pg_sleep",
    "pg_typeof",
];

/// Functions named pg_… that look at their arguments alone.
const PLAIN: [&str; 3] = ["pg_sleep", "pg_size_pretty", "pg_backend_pid"];

fn not_supported(what: &str) -> Refusal {
    Refusal::unsupported(format!("{what} over several shards is not supported"))
}

impl Context<'_> {
    /// Refuses what would not be answered as by one Postgres.
    pub(in crate::plan) fn check(&self, query: &Query) -> Result<(), Refusal> {
        if self.traits.locks {
            return Err(not_supported("FOR UPDATE or FOR SHARE"));
        }
        if self.found.system {
            return Err(not_supported("a system catalog beside sharded tables"));
        }
        for name in &self.traits.functions {
            let catalog = name.starts_with("pg_") && !PLAIN.contains(&name.as_str());
            let reader = reads_by_text(name) || matches!(name.as_str(), "lo_get" | "current_schemas");
            let acts = self.schema.functions.is_volatile(name) && !HARMLESS.contains(&name.as_str());
            let names = OBJECTS.contains(&name.as_str()) || OF_SERVER.contains(&name.as_str());
            if catalog || reader || acts || names || name.starts_with("to_reg") || name.starts_with("has_") {
                return Err(not_supported(&format!("function {name}")));
            }
        }
        let mut looks = Looks::default();
        let _ = query.visit(&mut looks);
        match looks.at {
            Some(what) => Err(not_supported(&what)),
            None => Ok(()),
        }
    }
}

/// Finds what looks at where rows lie.
#[derive(Default)]
struct Looks {
    at: Option<String>,
}

impl Visitor for Looks {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for item in &select.projection {
            // A type's name before its literal was read as a column with an alias, which is never in such quotes.
            let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
            let name = match expr {
                Expr::Identifier(name) => Some(folded(name)),
                Expr::CompoundIdentifier(parts) => parts.last().map(folded),
                _ => None,
            };
            if alias.quote_style == Some('\'')
                && let Some(name) = name.filter(|name| OBJECTS.contains(&name.as_str()))
            {
                self.at = Some(format!("a value of type {name}"));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_system_column(expr) {
            self.at = Some(format!("the system column {expr}"));
        }
        if let Some(name) = names_object(expr) {
            self.at = Some(format!("a value of type {}", name.to_string().to_ascii_lowercase()));
        }
        ControlFlow::Continue(())
    }
}

/// Whether a query looks at where rows lie, or at who answers, which each shard says of its own.
pub(in crate::plan) fn names_place(query: &Query) -> bool {
    let of_server = |expr: &Expr| match expr {
        Expr::Function(call) => {
            relation_name(&call.name).is_some_and(|(_, name)| OF_SERVER.contains(&name.as_str()))
        }
        _ => false,
    };
    let is = |expr: &Expr| match is_system_column(expr) || of_server(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    visit_expressions(query, is).is_break()
}

fn is_system_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    let name = name.map(folded).unwrap_or_default();
    matches!(name.as_str(), "ctid" | "xmin" | "xmax" | "cmin" | "cmax" | "tableoid")
}
