//! Temporary tables on one of several shards: where they are made, and commands that name them.
//!
//! Postgres looks for a temporary table before any other of that name. So a command that would run on every shard must
//! not name one: on its shard it would mean another table than on the others.

use super::Builder;
use crate::plan::scope::relation_name;
use crate::plan::{Access, Plan, Refusal, Route, Tier, ddl};
use crate::schema::placing::Home;
use crate::schema::{GroupId, ShardRef};
use crate::sql::command::Command;
use sqlparser::ast::{ObjectName, Query, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};
use std::sync::Arc;

impl Builder<'_> {
    /// CREATE of a temporary table, view or sequence: on any shard, or where its rows come from.
    pub(super) fn temporary(&self, command: Command) -> Result<Plan, Refusal> {
        let made = |route| Plan { leaves: true, ..self.simple(command.clone(), Access::Write, route) };
        if self.schema.is_unsharded() {
            return Ok(made(Route::Any(GroupId(0))));
        }
        let refused = || Refusal::unsupported("this kind of temporary object is not supported across shards");
        let statement = self.parse()?;
        let (name, query) = match &statement {
            Statement::CreateTable(table) if table.inherits.is_none() && table.partition_of.is_none() => {
                (&table.name, table.query.as_deref())
            }
            Statement::CreateView(view) if !view.materialized => (&view.name, Some(&*view.query)),
            Statement::CreateSequence { name, .. } => (name, None),
            _ => return Err(refused()),
        };
        let place = relation_name(name).and_then(|(_, bare)| self.schema.place_of_temporary(&bare));
        match (query, place) {
            (None, None) => Ok(made(Route::Any(GroupId(0)))),
            // What it reads is not looked at: it may be another table now.
            (Some(_), Some(_)) if matches!(&statement, Statement::CreateView(view) if view.or_replace) => {
                Err(refused())
            }
            // Postgres says that it is there already.
            (_, Some(place)) => Ok(made(Route::One(place))),
            (Some(query), None) => self.filled(command, query),
        }
    }

    /// One that is filled by a query, which must be of one shard.
    fn filled(&self, command: Command, query: &Query) -> Result<Plan, Refusal> {
        let mut plan = self.statement(command, &Statement::Query(query.clone().into()))?;
        (plan.access, plan.leaves, plan.cacheable) = (Access::Write, true, None);
        match &mut plan.route {
            Route::Any(_) | Route::One(_) => {}
            Route::Keyed { otherwise, .. } => *otherwise = None,
            _ => {
                return Err(Refusal::unsupported(
                    "a temporary table filled from several shards is not supported yet",
                ));
            }
        }
        Ok(plan)
    }

    /// DDL and utility commands: everywhere, but for those on the session's temporary tables.
    pub(super) fn on_objects(&self, command: Command) -> Result<Plan, Refusal> {
        let leaves = self.may_leave(&command);
        let to = |route| Plan { leaves, ..self.simple(command.clone(), Access::Write, route) };
        if self.schema.is_unsharded() {
            return Ok(to(Route::Any(GroupId(0))));
        }
        if !self.schema.has_temporary() || !self.names_temporary() {
            return self.permanent(command, leaves);
        }
        let refused = || {
            Refusal {
            code: "0A000",
            message: "this command names a temporary table of this session in a way that is not supported across shards"
                .to_owned(),
            hint: "Name the temporary table alone, or drop it first.",
        }
        };
        let statement = self.parse().map_err(|_| refused())?;
        let names = object_names(&statement).ok_or_else(refused)?;
        let places: Vec<Option<ShardRef>> =
            names.into_iter().map(|name| self.temporary_place(name)).collect();
        match places.split_first() {
            Some((Some(place), rest)) if rest.iter().all(|other| *other == Some(*place)) => {
                Ok(to(Route::One(*place)))
            }
            _ if places.iter().all(Option::is_none) => self.permanent(command, leaves),
            _ => Err(refused()),
        }
    }

    /// A command on what is not temporary.
    fn permanent(&self, command: Command, leaves: bool) -> Result<Plan, Refusal> {
        let objects = ddl::plan(self.schema, self.path, self.text, &command)?;
        let group = objects.homes.first().map_or(GroupId(0), Home::group);
        let plan = self.simple(command, Access::Write, Route::Everywhere(group));
        // The text of a DO block is a literal.
        let shareable = self.scan.literals.is_empty();
        Ok(Plan { leaves, shareable, tier: Tier::Scatter, objects: Some(Arc::new(objects)), ..plan })
    }

    /// Whether a word of the text is the name of a temporary table.
    fn names_temporary(&self) -> bool {
        let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, self.text).tokenize() else { return true };
        tokens.iter().any(|token| match token {
            Token::Word(word) => {
                let name = match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_ascii_lowercase(),
                };
                self.schema.get("pg_temp", &name).is_some()
            }
            _ => false,
        })
    }

    /// The shard of the temporary table that a name means, if it means one.
    fn temporary_place(&self, name: &ObjectName) -> Option<ShardRef> {
        let (schema, bare) = relation_name(name)?;
        let table = self.schema.find(self.path, schema.as_deref(), &bare)?;
        (table.schema == "pg_temp").then(|| self.schema.place_of_temporary(&bare)).flatten()
    }
}

/// The tables, views, sequences and indexes that a command is about; `None` where that is not known.
fn object_names(statement: &Statement) -> Option<Vec<&ObjectName>> {
    Some(match statement {
        Statement::Drop { names, cascade: false, .. } => names.iter().collect(),
        Statement::AlterTable(table) => vec![&table.name],
        Statement::CreateIndex(index) => vec![&index.table_name],
        Statement::Truncate(truncate) => truncate.table_names.iter().map(|target| &target.name).collect(),
        Statement::Analyze(analyze) => vec![analyze.table_name.as_ref()?],
        _ => return None,
    })
}
