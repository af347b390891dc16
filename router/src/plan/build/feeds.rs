//! INSERT … SELECT whose rows go through the proxy: the query runs as any other does, and its rows are dealt out.

use super::Builder;
use super::fields::function_as_field;
use super::one_group;
use crate::plan::facts::Facts;
use crate::plan::pin::Places;
use crate::plan::query::{Analyzer, Ctes};
use crate::plan::traits::Traits;
use crate::plan::{Access, Across, Plan, Refusal, Route, Tier};
use crate::plan::{dml, spread};
use crate::schema::{GroupId, Kind};
use crate::sql::command::Command;
use sqlparser::ast::{Query, SetExpr, Statement, TableObject};
use std::sync::Arc;

impl Builder<'_> {
    /// The plan of an INSERT … SELECT that no shard can run by itself. Errors: `refusal` for any other statement.
    pub(super) fn fed_plan(
        &self,
        command: Command,
        statement: &Statement,
        traits: &Traits,
        refusal: Refusal,
    ) -> Result<Plan, Refusal> {
        match self.fed(statement, traits) {
            None => Err(refusal),
            Some(Err(why)) => Err(why),
            Some(Ok(across)) => {
                let mut plan = self.simple(command, Access::Write, Route::Any(GroupId(0)));
                if let Across::Spread(spread) = &across {
                    plan.writes.push(spread.table.clone());
                }
                (plan.tier, plan.route) = (Tier::Scatter, Route::Across(across));
                // What is a literal without a type in one text may be a number in another.
                plan.shareable = false;
                Ok(plan)
            }
        }
    }

    /// Gives the plan of an INSERT … SELECT that is right on one shard only a way over several.
    pub(super) fn feed(&self, plan: &mut Plan, statement: &Statement, traits: &Traits) {
        if let Route::Keyed { otherwise: otherwise @ None, .. } = &mut plan.route
            && let Some(Ok(across)) = self.fed(statement, traits)
        {
            *otherwise = Some(across);
            plan.shareable = false;
        }
    }

    /// `None` if it is no INSERT … SELECT into a table of several shards.
    fn fed(&self, statement: &Statement, traits: &Traits) -> Option<Result<Across, Refusal>> {
        let Statement::Insert(insert) = statement else { return None };
        let source = insert.source.as_deref().filter(|source| !is_values(source))?;
        let TableObject::TableName(name) = &insert.table else { return None };
        let places = Places::new(self.text, &self.scan.literals);
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &traits.param_uses);
        let table = analyzer.table(name).ok()?.filter(|table| table.of_view.is_none())?;
        let is_reference = matches!(table.kind, Kind::Reference(_));
        if !is_reference && !matches!(table.kind, Kind::Sharded { .. }) {
            return None;
        }
        analyzer.found.relations += 1;
        if analyzer.query(source, None, &Facts::default(), &Ctes::new()).is_err() {
            return None;
        }
        let found = &analyzer.found;
        let spans = found.groups.len() > 1;
        if traits.relations != found.relations || is_reference && found.sharded.is_empty() && !spans {
            return None;
        }
        if let Some(name) = function_as_field(statement, &found.named, &self.schema.functions) {
            return Some(Err(Refusal::unsupported(format!(
                "function {name}, called as if it were a column,"
            ))));
        }
        let planned = self.check_functions(traits, found, is_reference).and_then(|()| {
            let group = table.group().map_or_else(|| one_group(found), Ok)?;
            let context = spread::Context { schema: self.schema, text: self.text, found, traits };
            dml::check_insert(insert, &table)?;
            table.check_per_statement(dml::of_insert(insert))?;
            context.fed(insert, source, &table, group)
        });
        Some(planned.map(|spread| Across::Spread(Arc::new(spread))))
    }
}

/// Whether it is VALUES and nothing else.
fn is_values(query: &Query) -> bool {
    query.with.is_none() && matches!(&*query.body, SetExpr::Values(_))
}
