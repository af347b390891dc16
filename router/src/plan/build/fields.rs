//! Functions that are called without parentheses: to Postgres `u.count` is `count(u)` where `u` has no column of that
//! name, and `(row).f` is `f(row)`.

use crate::plan::query::Named;
use crate::plan::scope::folded;
use crate::schema::Functions;
use sqlparser::ast::{AccessExpr, Expr, Visit, Visitor};
use std::ops::ControlFlow;

struct Fields<'a> {
    named: &'a [Named],
    functions: &'a Functions,
}

/// The function that a statement calls in this way, if there is one that may do more than look at its row.
pub(in crate::plan) fn function_as_field(
    statement: &impl Visit,
    named: &[Named],
    functions: &Functions,
) -> Option<String> {
    statement.visit(&mut Fields { named, functions }).break_value()
}

impl Fields<'_> {
    /// Fields of composite values have names of functions, too: those that only look at their row do no harm.
    fn does_more(&self, name: &str) -> bool {
        let functions = self.functions;
        functions.knows(name)
            && (!functions.is_scalar(name) || functions.is_volatile(name) || functions.reads_tables(name))
    }
}

impl Visitor for Fields<'_> {
    type Break = String;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        let called = match expr {
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [.., label, name] => {
                    let (label, name) = (folded(label), folded(name));
                    let lacks = |n: &Named| n.label == label && n.table.column(&name).is_none();
                    (self.functions.knows(&name) && self.named.iter().any(lacks)).then_some(name)
                }
                _ => None,
            },
            Expr::CompoundFieldAccess { access_chain, .. } => {
                access_chain.iter().find_map(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(name)) => {
                        Some(folded(name)).filter(|n| self.does_more(n))
                    }
                    _ => None,
                })
            }
            _ => None,
        };
        called.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}
