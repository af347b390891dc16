//! Statements over one table to which it is all the same how often a row is there: `SELECT DISTINCT`, and groups whose
//! aggregates do not count. Of each shard, rows are then brought once.

use super::{Context, columns::is_identity};
use crate::plan::scope::relation_name;
use crate::schema::{Schema, Table};
use sqlparser::ast::{
    Distinct, DuplicateTreatment, Expr, Function, FunctionArguments, GroupByExpr, Query, SetExpr,
    TableFactor, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Aggregates that give the same however often a value is there.
const INSENSITIVE: [&str; 7] = ["min", "max", "bool_and", "bool_or", "every", "bit_and", "bit_or"];

impl Context<'_> {
    /// Whether rows that are the same in the columns that are brought need be brought once only.
    pub(super) fn is_distinct(&self, query: &Query, table: &Table, brought: &[(String, bool)]) -> bool {
        let (SetExpr::Select(select), [named]) = (&*query.body, &self.found.named[..]) else { return false };
        let one = matches!(&select.from[..], [from] if from.joins.is_empty()
            && matches!(from.relation, TableFactor::Table { args: None, sample: None, .. }));
        let bare = query.with.is_none() && self.found.relations == 1 && !self.traits.volatile;
        let windows = !select.named_window.is_empty() || select.qualify.is_some();
        if !one || !bare || windows || !named.whole {
            return false;
        }
        // What is equal must be the same: 1.0 and 1.00 are not.
        let mut columns = table.columns.iter().zip(brought).filter(|(_, (_, brought))| *brought);
        let mut calls = Calls { schema: self.schema, aggregates: false };
        let insensitive = query.visit(&mut calls).is_continue();
        let grouped =
            !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
        let distinct = matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
        let folds = distinct || grouped || calls.aggregates;
        folds && insensitive && columns.all(|(column, _)| is_identity(column))
    }
}

/// Breaks off at a call that may see how often a row is there.
struct Calls<'a> {
    schema: &'a Schema,
    /// Whether one is an aggregate.
    aggregates: bool,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        let Some((_, name)) = relation_name(&call.name) else { return ControlFlow::Break(()) };
        if self.schema.functions.is_scalar(&name) && call.over.is_none() {
            return ControlFlow::Continue(());
        }
        self.aggregates = true;
        if is_insensitive(call, &name, self.schema) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

fn is_insensitive(call: &Function, name: &str, schema: &Schema) -> bool {
    let FunctionArguments::List(list) = &call.args else { return false };
    let plain = call.over.is_none() && call.within_group.is_empty();
    let once = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    plain && (once || INSENSITIVE.contains(&name) && !schema.functions.is_overloaded(name))
}
