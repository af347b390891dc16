//! WITH that writes, run by several shards: each does all of it to its own rows.
//!
//! That is right where each part only meets rows of one key: an UPDATE or DELETE whose other tables are joined by the key, an
//! INSERT that hands the key on, queries that pick rows. What a reference table gives is the same on every shard. The
//! statement at the end gives the shards' rows one after the other, or counts them.

use super::clock;
use super::settled::{Settled, check_looks};
use super::text::Tokens;
use super::{ClockOf, Context, How, Spread, keeps_name, refused, returning};
use crate::plan::Refusal;
use crate::plan::dml::with::statement_of;
use crate::plan::dml::{Written, of_insert};
use crate::plan::query::{Lies, direct_queries};
use crate::schema::GroupId;
use crate::schema::effects::events;
use sqlparser::ast::{Query, SelectItem, SetExpr, Statement};

/// It takes more than each shard's own rows.
fn apart(why: &str) -> Refusal {
    Refusal {
        hint: "Pin each part to one shard by its key, or send the parts one by one in a transaction.",
        ..Refusal::unsupported(format!(
            "a WITH that writes on several shards takes parts that each shard can do to its own rows: {why}"
        ))
    }
}

impl Context<'_> {
    pub(in crate::plan) fn with(
        &self,
        query: &Query,
        written: &Written,
        group: GroupId,
    ) -> Result<Spread, Refusal> {
        let settled = Settled::new(self.schema);
        self.check_whole(query, &settled)?;
        let mut parts = written.parts.iter();
        let mut part = |statement: &Statement| {
            let written = parts.next().ok_or_else(|| refused("this WITH"))?;
            self.part(statement, written, &settled)
        };
        let mut tells = Vec::new();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            match statement_of(&cte.query) {
                Some(statement) => {
                    part(statement)?;
                    tells.extend(returning(statement).into_iter().flatten());
                }
                None if settled.is_query(&cte.query) => tells.extend(items(&cte.query.body)),
                None => return Err(apart("a query in it has more than one right answer")),
            }
        }
        let (verb, returns) = match statement_of(query) {
            Some(statement) => {
                part(statement)?;
                tells.extend(returning(statement).into_iter().flatten());
                (verb_of(statement), returning(statement).is_some())
            }
            None => {
                self.check_last(query, written, &settled)?;
                tells.extend(items(&query.body));
                ("SELECT", true)
            }
        };
        let table = written.parts.iter().find_map(|part| part.table.clone());
        let table = table.ok_or_else(|| refused("a write of no table"))?;
        let tokens = Tokens::of(self.text).ok_or_else(|| refused("this text"))?;
        let calls = tokens.clocks();
        if clock::calls(query) != calls.len() || clock::asks_age(query) || !tells.into_iter().all(keeps_name)
        {
            return Err(refused("this use of the clock in a write"));
        }
        let clock = calls.iter().map(|(_, call)| call.is_of_statement()).max();
        let clock = clock.map(|own| if own { ClockOf::Statement } else { ClockOf::Transaction });
        let is_dated = self.reads_dates(query, &table);
        let counts = verb == "SELECT" && written.lies == Lies::Counted;
        Ok(Spread { group, returns, clock, is_dated, how: How::Each, table, verb, counts })
    }

    /// What holds for all parts.
    fn check_whole(&self, query: &Query, settled: &Settled<'_>) -> Result<(), Refusal> {
        settled.check_functions(self.traits)?;
        check_looks(query)?;
        if self.found.system || !self.found.local.is_empty() {
            return Err(refused("a system catalog or a local table beside a write"));
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return Err(apart("RECURSIVE is not"));
        }
        if self.found.unclear || self.found.sharded.iter().any(|sharded| !sharded.with_target) {
            return Err(apart("one of them reads rows that are not joined to its own by the key"));
        }
        Ok(())
    }

    /// A part that writes.
    fn part(&self, statement: &Statement, written: &Written, settled: &Settled<'_>) -> Result<(), Refusal> {
        let table = written.table.as_ref().ok_or_else(|| refused("a write of no table"))?;
        if !written.apart || written.on_one || written.moves || table.of_view.is_some() {
            let name = &table.name;
            return Err(apart(&format!("what is written to \"{name}\" is not known to belong to the shard")));
        }
        match statement {
            Statement::Insert(insert) => {
                table.check_per_statement(of_insert(insert))?;
                let source = insert.source.as_deref().ok_or_else(|| refused("INSERT without rows"))?;
                self.selected(insert, source, written, table)
            }
            Statement::Update(_) | Statement::Delete(_) => {
                let is_update = matches!(statement, Statement::Update(_));
                table.check_per_statement(if is_update { events::UPDATE } else { events::DELETE })?;
                settled.check_subqueries(statement)?;
                self.check_resets(statement, table)
            }
            _ => Err(refused("this statement behind WITH")),
        }
    }

    /// The query at the end: its rows are those of all shards, in no order.
    fn check_last(&self, query: &Query, written: &Written, settled: &Settled<'_>) -> Result<(), Refusal> {
        let cut = query.limit_clause.is_some() || query.fetch.is_some() || !query.locks.is_empty();
        if cut || query.order_by.is_some() {
            return Err(apart(
                "the query at the end puts rows of all shards in order, or takes some of them",
            ));
        }
        if !matches!(written.lies, Lies::Apart | Lies::Counted) {
            return Err(apart("the query at the end does more than to pick rows"));
        }
        match direct_queries(&query.body).iter().all(|nested| settled.is_query(nested)) {
            true => Ok(()),
            false => Err(apart("a query in it has more than one right answer")),
        }
    }
}

/// What a query selects.
fn items(body: &SetExpr) -> Vec<&SelectItem> {
    match body {
        SetExpr::Select(select) => select.projection.iter().collect(),
        SetExpr::SetOperation { left, right, .. } => [items(left), items(right)].concat(),
        SetExpr::Query(query) => items(&query.body),
        _ => Vec::new(),
    }
}

/// The word that a statement's tag begins with.
pub(in crate::plan) fn verb_of(statement: &Statement) -> &'static str {
    match statement {
        Statement::Insert(_) => "INSERT",
        Statement::Update(_) => "UPDATE",
        Statement::Merge(_) => "MERGE",
        Statement::Delete(_) => "DELETE",
        _ => "SELECT",
    }
}
