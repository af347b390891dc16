//! Commands around a table or another statement: COPY, DECLARE, EXPLAIN.

use super::Builder;
use crate::plan::pin::Places;
use crate::plan::query::Analyzer;
use crate::plan::{Access, Plan, Refusal, Route, copy};
use crate::schema::{GroupId, Kind};
use crate::sql::command::Command;
use sqlparser::ast::{CopySource, CopyTarget, Statement};
use std::collections::HashMap;

impl Builder<'_> {
    /// COPY table or query.
    pub(super) fn copy(&self, command: Command) -> Result<Plan, Refusal> {
        if self.schema.is_unsharded() {
            return Ok(self.simple(command, Access::Write, Route::Any(GroupId(0))));
        }
        let Statement::Copy { source, to, target, options, legacy_options, .. } = self.parse()? else {
            return Err(Refusal::unsupported("this form of COPY is not supported"));
        };
        if !matches!(target, CopyTarget::Stdin | CopyTarget::Stdout) {
            return Err(Refusal::unsupported("COPY from or to a server's file is not supported"));
        }
        let (name, columns) = match &source {
            CopySource::Table { table_name, columns } => (table_name, columns),
            CopySource::Query(_) => {
                return Err(Refusal::unsupported("COPY (query) is not supported across shards yet"));
            }
        };
        let places = Places::new(self.text, &self.scan.literals);
        let uses = HashMap::new();
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &uses);
        let Some(table) = analyzer.table(name)? else {
            let mut plan = self.simple(command, Access::Write, Route::Any(GroupId(0)));
            plan.unknown = analyzer.found.unknown;
            return Ok(plan);
        };
        let access = if to { Access::ReadPrimary } else { Access::Write };
        let route = match (&table.kind, to) {
            (Kind::Reference(group), true) => Route::Any(*group),
            (Kind::Reference(group), false) => Route::Everywhere(*group),
            (Kind::Local(place), _) => Route::One(*place),
            (Kind::Sharded { group, .. }, _) => Route::Everywhere(*group),
            _ => return Err(Refusal::unsupported("COPY of this relation is not supported")),
        };
        let mut plan = self.simple(command, access, route);
        if matches!(table.kind, Kind::Sharded { .. }) {
            match copy::plan(&table, columns, to, &options, &legacy_options) {
                Ok(copy) => plan.copy = Some(copy),
                // A hint may still send it to one shard.
                Err(refusal) => plan.route = Route::Refuse(refusal),
            }
        }
        plan.writes.extend((!to).then_some(table));
        Ok(plan)
    }

    /// DECLARE of a cursor over what one shard has.
    pub(super) fn declare(&self, command: Command) -> Result<Plan, Refusal> {
        if self.schema.is_unsharded() {
            let leaves = self.may_leave(&command);
            return Ok(Plan { leaves, ..self.simple(command, Access::ReadPrimary, Route::Any(GroupId(0))) });
        }
        let query = match self.parse()? {
            Statement::Declare { mut stmts } => stmts.pop().and_then(|declare| declare.for_query),
            _ => None,
        };
        let Some(query) = query else {
            return Err(Refusal::unsupported("this form of DECLARE is not supported"));
        };
        let mut plan = self.statement(command.clone(), &Statement::Query(query))?;
        plan.leaves |= self.may_leave(&command);
        plan.access = Access::ReadPrimary;
        plan.cacheable = None;
        match &mut plan.route {
            Route::Keyed { otherwise, .. } => *otherwise = None,
            Route::Across(_) => {
                return Err(Refusal::unsupported("a cursor over several shards is not supported yet"));
            }
            _ => {}
        }
        Ok(plan)
    }

    /// EXPLAIN of a statement that one shard runs.
    pub(super) fn explain(&self, command: Command) -> Result<Plan, Refusal> {
        let statement = match self.parse() {
            Ok(Statement::Explain { statement, .. }) => statement,
            _ if self.schema.is_unsharded() => return Ok(self.unparsed(command)),
            _ => return Err(Refusal::unsupported("this form of EXPLAIN is not supported")),
        };
        let mut plan = self.statement(command, &statement)?;
        if plan.access == Access::Read {
            plan.access = Access::ReadPrimary;
        }
        plan.cacheable = None;
        match &mut plan.route {
            Route::Keyed { otherwise, .. } => *otherwise = None,
            Route::Across(_) => {
                return Err(Refusal::unsupported("EXPLAIN over several shards is not supported yet"));
            }
            _ => {}
        }
        Ok(plan)
    }
}
