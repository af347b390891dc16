//! Commands around a table or another statement: COPY, DECLARE, EXPLAIN.

use super::{Builder, spelled};
use crate::plan::copy::CopyPlan;
use crate::plan::copy::grammar::{Copy, Source};
use crate::plan::pin::Places;
use crate::plan::query::Analyzer;
use crate::plan::traits::Traits;
use crate::plan::{Access, Plan, Refusal, Route, SettingCall, copy};
use crate::schema::effects::events;
use crate::schema::{GroupId, Kind};
use crate::sql::command::Command;
use crate::sql::cursor::Declare;
use crate::sql::scan::Scan;
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::HashMap;
use std::ops::Range;

impl Builder<'_> {
    /// COPY table or query.
    pub(super) fn copy(&self, command: Command) -> Result<Plan, Refusal> {
        if self.schema.is_unsharded() {
            return Ok(self.simple(command, Access::Write, Route::Any(GroupId(0))));
        }
        let Some(read) = copy::grammar::read(self.text) else {
            return Err(Refusal::unsupported("this form of COPY is not supported"));
        };
        if !read.with_client {
            return Err(Refusal::unsupported("COPY from or to a server's file is not supported"));
        }
        let plan = match &read.source {
            Source::Table { name, .. } => self.copy_table(command, &read, name)?,
            Source::Query(place) => self.copy_query(command, &read, place.clone())?,
        };
        // Its options are literals.
        Ok(Plan { shareable: false, cacheable: None, ..plan })
    }

    fn copy_table(&self, command: Command, read: &Copy, name: &[String]) -> Result<Plan, Refusal> {
        let plain =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let part = |name: &String| {
            let quoted = || Ident::with_quote('"', name.clone());
            ObjectNamePart::Identifier(if plain(name) { Ident::new(name.clone()) } else { quoted() })
        };
        let name = ObjectName(name.iter().map(part).collect());
        let places = Places::new(self.text, &self.scan.literals);
        let uses = HashMap::new();
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &uses);
        let Some(table) = analyzer.table(&name)? else {
            let mut plan = self.simple(command, Access::Write, Route::Any(GroupId(0)));
            plan.unknown = analyzer.found.unknown;
            return Ok(plan);
        };
        if table.of_view.is_some() {
            let hint = "COPY (SELECT …) gives a view's rows.";
            let message = format!("\"{}\" is a view, which COPY does not take by its name", table.name);
            return Err(Refusal { hint, ..Refusal::unsupported(message) });
        }
        if !read.to {
            table.check_effects(events::INSERT)?;
        }
        let access = if read.to { Access::ReadPrimary } else { Access::Write };
        let mut plan = match (&table.kind, read.to) {
            (Kind::Reference(group), true) => self.simple(command, access, Route::Any(*group)),
            (Kind::Local(place), _) => self.simple(command, access, Route::One(*place)),
            (Kind::Sharded { group, .. }, true) => {
                let format = copy::lower(&read.options).map(|options| options.format);
                let copy = CopyPlan::Out { group: *group, format };
                Plan { copy: Some(copy), ..self.simple(command, access, Route::Everywhere(*group)) }
            }
            (Kind::Sharded { group, .. } | Kind::Reference(group), false) => {
                self.check_condition(read, &analyzer, matches!(table.kind, Kind::Reference(_)))?;
                table.check_per_statement(events::INSERT)?;
                let copy = CopyPlan::In(Box::new(copy::copy_in(self.schema, &table, self.text, read)));
                Plan { copy: Some(copy), ..self.simple(command, access, Route::Everywhere(*group)) }
            }
            _ => return Err(Refusal::unsupported("COPY of this relation is not supported")),
        };
        plan.writes.extend((!read.to).then_some(table));
        Ok(plan)
    }

    /// Refuses a condition that shards may find differently about: of a reference table all must find the same.
    fn check_condition(&self, read: &Copy, analyzer: &Analyzer<'_>, is_for_all: bool) -> Result<(), Refusal> {
        let Some(place) = &read.condition else { return Ok(()) };
        let text = format!("SELECT 1 WHERE {}", &self.text[place.clone()]);
        let parsed = Parser::new(&PostgreSqlDialect {})
            .with_recursion_limit(super::MAX_DEPTH)
            .try_with_sql(&text)
            .and_then(|mut parser| parser.parse_statement());
        let statement = parsed.map_err(|e| {
            Refusal::unsupported(format!("the condition of this COPY is not understood: {e}"))
        })?;
        let traits = Traits::of(&statement);
        self.check_functions(&traits, &analyzer.found, false)?;
        let differs = |name: &String| {
            // What names the clock is told the time.
            self.schema.functions.is_volatile(name) || !self.schema.functions.is_scalar(name) || name == "age"
        };
        if is_for_all && (traits.volatile || traits.functions.iter().any(differs)) {
            return Err(Refusal::unsupported(
                "a condition that each shard may answer differently, in a COPY into a reference table,",
            ));
        }
        Ok(())
    }

    /// COPY of what a query gives.
    fn copy_query(&self, command: Command, read: &Copy, place: Range<usize>) -> Result<Plan, Refusal> {
        let text = &self.text[place.clone()];
        let refused = || Refusal::unsupported("this form of COPY (query) is not supported across shards");
        let mut scan = Scan::default();
        scan.run(text).map_err(|_| refused())?;
        if Command::of(&scan, text) != Command::Plannable {
            return Err(refused());
        }
        // No literal stands before the query: those of the whole text have the same numbers.
        let query = Builder { scan: &scan, text, ..*self };
        let plan = query.planned(Command::Plannable)?;
        if let (Some(across), false) = (plan.across(), plan.access == Access::Write) {
            let copy = copy::rows(across.clone(), self.text, place, &read.options);
            return Ok(Plan { command, copy: Some(copy), ..plan });
        }
        match plan.route {
            // What several shards would write, and give, is not put together.
            Route::Keyed { group, pins, why, .. } => {
                let route = Route::Keyed { group, pins, otherwise: None, why };
                Ok(Plan { command, route, ..plan })
            }
            Route::Any(_) | Route::One(_) => Ok(Plan { command, ..plan }),
            Route::Refuse(refusal) => Err(refusal),
            _ => Err(refused()),
        }
    }

    /// DECLARE of a cursor: as its query.
    pub(super) fn declare(&self, command: Command) -> Result<Plan, Refusal> {
        if self.schema.is_unsharded() {
            let leaves = self.may_leave(&command);
            let planned =
                self.declared().ok().flatten().and_then(|query| self.statement(command.clone(), &query).ok());
            let access = of_cursor(planned.map_or(Access::ReadPrimary, |plan| plan.access));
            return Ok(Plan { leaves, ..self.simple(command, access, Route::Any(GroupId(0))) });
        }
        let refused = || Refusal::unsupported("this form of DECLARE is not supported");
        let text = Declare::parse(self.text).ok_or_else(refused)?.query;
        let selects = spelled::tables_as_selects(text);
        let text = selects.as_deref().unwrap_or(text);
        let mut scan = Scan::default();
        scan.run(text).map_err(|_| refused())?;
        // No literal stands before the query: those of the whole text have the same numbers.
        let query = Builder { scan: &scan, text, ..*self };
        let statement = query.parse()?;
        if !matches!(statement, Statement::Query(_)) {
            return Err(refused());
        }
        let mut plan = query.statement(command.clone(), &statement)?;
        plan.leaves |= self.may_leave(&command);
        plan.access = of_cursor(plan.access);
        plan.cacheable = None;
        Ok(plan)
    }

    /// The query of a DECLARE.
    fn declared(&self) -> Result<Option<Statement>, Refusal> {
        let query = match self.parse()? {
            Statement::Declare { mut stmts } => stmts.pop().and_then(|declare| declare.for_query),
            _ => None,
        };
        Ok(query.map(Statement::Query))
    }

    /// EXPLAIN where there is one shard in all.
    pub(super) fn explain(&self, command: Command) -> Result<Plan, Refusal> {
        let Ok(Statement::Explain { statement, .. }) = self.parse() else {
            return Ok(self.unparsed(command));
        };
        let mut plan = self.statement(command, &statement)?;
        if matches!(plan.setting, Some(SettingCall::Session(_))) {
            return Err(Refusal::unsupported("set_config in a statement that is explained is not supported"));
        }
        if plan.access == Access::Read {
            plan.access = Access::ReadPrimary;
        }
        plan.cacheable = None;
        Ok(plan)
    }
}

/// What a cursor does by the time that it is closed: functions that its query calls run with each FETCH. It stays on a
/// primary.
fn of_cursor(query: Access) -> Access {
    if query == Access::Read { Access::ReadPrimary } else { query }
}
