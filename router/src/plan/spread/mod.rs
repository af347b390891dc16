//! Writes that several shards run: UPDATE and DELETE where the rows lie, INSERT split by key, reference tables on every
//! shard.
//!
//! What is planned here holds for any text of the template: texts for the shards are put together when it runs
//! (`text.rs`). What reads the clock is frozen (`clock.rs`); what else is volatile may stay where each row is on one
//! shard only, and on a reference table is worked out on the first shard (`copies.rs`).

pub mod clock;
mod copies;
mod dated;
mod fed;
mod moves;
mod settled;
mod split;
pub mod text;
mod with;

use super::Refusal;
use super::dml::{self, Written};
use super::output::{OutputName, output_name};
use super::pin::Pin;
use super::query::{Found, direct_queries};
use super::scope::relation_name;
use super::traits::Traits;
use crate::schema::effects::events;
use crate::schema::{GroupId, Kind, Schema, Table};
use clock::Clocked;
pub use copies::{Copied, Rewrite};
pub(super) use copies::{arbiters, has_settled_default};
pub(super) use dated::is_dated;
pub use dated::is_dated_type;
pub(super) use fed::width as query_width;
pub use fed::{Fed, To};
pub use moves::{Leave, Moved, Stray, stays};
use settled::Settled;
pub(super) use settled::has_default_word;
pub use split::{Fills, Split};
pub(super) use split::{check_default, functions_of};
use sqlparser::ast::{Insert, Query, SelectItem, SetExpr, Statement};
use std::sync::Arc;
use text::Tokens;

/// A write that several shards run.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Group whose shards run it.
    pub group: GroupId,
    /// The table that is written.
    pub table: Arc<Table>,
    /// Whether it gives rows.
    pub returns: bool,
    /// Whether it needs a value of the clock.
    pub clock: Option<ClockOf>,
    /// Whether strings in it may be read as dates or times, and so from the clock.
    pub is_dated: bool,
    /// What each shard does.
    pub how: How,
    /// The word that its tag begins with.
    pub verb: &'static str,
    /// Whether each shard gives a row of counts, which are added up.
    pub counts: bool,
}

impl Spread {
    /// Whether every shard writes the same: the table is a reference table.
    pub fn is_of_every_shard(&self) -> bool {
        matches!(self.how, How::Same(_) | How::Copied(_))
    }
}

/// Which values of the clock a statement needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockOf {
    /// The transaction's beginning.
    Transaction,
    /// The statement's, too.
    Statement,
}

/// What each shard does.
#[derive(Clone, Debug)]
pub enum How {
    /// The same, each with its rows.
    Each,
    /// Its rows of VALUES.
    Split(Split),
    /// The same, each with its copy of the whole table.
    Same(Same),
    /// The first runs the statement, the others are told what became of each row.
    Copied(Copied),
    /// The same, each with its rows; those whose key is another shard's then go there.
    Moved(Moved),
    /// What a query gives, wherever its rows are, goes to the shards of its keys.
    Fed(Fed),
}

/// A write of a reference table that comes to the same on every copy.
#[derive(Clone, Debug)]
pub struct Same {
    /// Columns that take the clock's value, in an INSERT … VALUES.
    pub fills: Option<Fills>,
    /// Columns of the rows written that are compared: all of them where triggers may have changed them.
    pub compared: Vec<String>,
}

/// What planning a write needs to know.
pub(super) struct Context<'a> {
    pub(super) schema: &'a Schema,
    pub(super) text: &'a str,
    pub(super) found: &'a Found,
    pub(super) traits: &'a Traits,
}

impl Context<'_> {
    /// Plans a write of a sharded table over several shards, or of a reference table.
    pub(super) fn plan(
        &self,
        statement: &Statement,
        written: &Written,
        group: GroupId,
        pin_of_target: Option<&Pin>,
    ) -> Result<Spread, Refusal> {
        let table = written.table.clone().ok_or_else(|| refused("a write of no table"))?;
        if let Kind::Sharded { .. } = table.kind {
            table.check_per_statement(done_by(statement))?;
        }
        if !self.found.local.is_empty() {
            return Err(refused("a write beside local tables"));
        }
        let tokens = Tokens::of(self.text).ok_or_else(|| refused("this text"))?;
        let (how, mut clock) = match (&table.kind, statement) {
            (Kind::Sharded { .. }, Statement::Insert(insert)) => match insert.source.as_deref() {
                Some(source) if matches!(*source.body, SetExpr::Select(_)) => {
                    self.selected(insert, source, written, &table)?;
                    (How::Each, None)
                }
                _ => self.split(insert, written, &table, &tokens)?,
            },
            (Kind::Sharded { .. }, Statement::Update(update)) if written.moves => {
                self.each(statement, &table)?;
                (How::Moved(self.moves(update, &table, pin_of_target, written, &tokens)?), None)
            }
            (Kind::Sharded { .. }, _) => {
                self.each(statement, &table)?;
                (How::Each, None)
            }
            (Kind::Reference(_), _) => self.copies(statement, &table, &tokens)?,
            _ => return Err(refused("a write of this table")),
        };
        let calls = tokens.clocks();
        if !matches!(how, How::Copied(_)) {
            self.check_clock(statement, calls.len())?;
        }
        if calls.iter().any(|(_, call)| call.is_of_statement()) {
            clock = Some(ClockOf::Statement);
        } else if !calls.is_empty() {
            clock = clock.or(Some(ClockOf::Transaction));
        }
        if matches!(how, How::Copied(_)) {
            clock = None;
        }
        let is_dated = !matches!(how, How::Copied(_)) && self.reads_dates(statement, &table);
        let (returns, verb) = (returning(statement).is_some(), with::verb_of(statement));
        Ok(Spread { group, returns, clock, is_dated, how, table, verb, counts: false })
    }

    /// UPDATE or DELETE: each row that it writes depends on rows of its own shard alone.
    fn each(&self, statement: &Statement, table: &Table) -> Result<(), Refusal> {
        if self.found.sharded.iter().any(|sharded| !sharded.with_target) {
            return Err(Refusal::unsupported(format!(
                "writing \"{}\" on several shards takes tables that are joined to it by the key; this one reads others",
                table.name
            )));
        }
        let settled = Settled::new(self.schema);
        settled.check_functions(self.traits)?;
        settled.check_subqueries(statement)?;
        settled::check_looks(statement)?;
        if self.found.system {
            return Err(refused("a system catalog beside a write"));
        }
        self.check_resets(statement, table)
    }

    /// Refuses defaults that each shard would read from its own clock.
    fn check_resets(&self, statement: &Statement, table: &Table) -> Result<(), Refusal> {
        if sets_default(statement) && table.columns.iter().any(|c| is_clocked(c.default.as_deref())) {
            return Err(refused("SET … = DEFAULT, where a default of the table names the clock,"));
        }
        Ok(())
    }

    /// INSERT … SELECT: each shard stores what it selects.
    fn selected(
        &self,
        insert: &Insert,
        source: &Query,
        written: &Written,
        table: &Table,
    ) -> Result<(), Refusal> {
        let cut = source.limit_clause.is_some() || source.fetch.is_some() || !source.locks.is_empty();
        if written.stored.is_some() || cut || self.found.sharded.iter().any(|read| !read.with_target) {
            return Err(refused("this INSERT … SELECT"));
        }
        if source.order_by.is_some() && insert.returning.is_some() {
            return Err(refused("INSERT … SELECT … ORDER BY with RETURNING"));
        }
        let settled = Settled::new(self.schema);
        settled.check_functions(self.traits)?;
        settled::check_looks(insert)?;
        let queries_are = |queries: Vec<Query>| queries.iter().all(|query| settled.is_query(query));
        if !queries_are(direct_queries(&source.body))
            || !queries_are(direct_queries(&insert.on))
            || !queries_are(direct_queries(&insert.returning))
        {
            return Err(refused("a subquery without a settled answer in INSERT … SELECT"));
        }
        let width = match &*source.body {
            SetExpr::Select(select) if !dml::is_whole(select) => select.projection.len(),
            _ => written.width.unwrap_or(table.columns.len()),
        };
        let given = |at: usize, name: &str| match insert.columns.is_empty() {
            true => at < width,
            false => {
                insert.columns.iter().any(|listed| relation_name(listed).is_some_and(|(_, own)| own == name))
            }
        };
        for (at, column) in table.columns.iter().enumerate() {
            check_default(self.schema, table, column)?;
            if !given(at, &column.name) && is_clocked(column.default.as_deref()) {
                let message = format!(
                    "the default of \"{}\" of \"{}\" reads the clock, which each shard would do by itself in INSERT … SELECT",
                    column.name, table.name
                );
                return Err(Refusal {
                    code: "0A000",
                    message,
                    hint: "Name the column, and select now() for it.",
                });
            }
        }
        Ok(())
    }

    /// Every call of the clock is one that can be told in the text, and changes no column's name.
    fn check_clock(&self, statement: &Statement, found: usize) -> Result<(), Refusal> {
        if clock::calls(statement) != found || clock::asks_age(statement) {
            return Err(refused("this use of the clock in a write"));
        }
        if returning(statement).into_iter().flatten().all(keeps_name) {
            return Ok(());
        }
        let message =
            "a column of RETURNING that is named after the clock is not supported over several shards";
        Err(Refusal { code: "0A000", message: message.into(), hint: "Name it: now() AS now." })
    }
}

/// Whether a column has the same name when the clock is told by a literal.
fn keeps_name(item: &SelectItem) -> bool {
    match item {
        SelectItem::UnnamedExpr(expr) if clock::calls(expr) > 0 => match output_name(item) {
            OutputName::Known(name) => !clock::is_clock(&name) && name != "case",
            OutputName::Unsure => false,
            OutputName::None => true,
        },
        _ => true,
    }
}

/// What a statement does to rows.
fn done_by(statement: &Statement) -> u8 {
    match statement {
        Statement::Insert(insert) => dml::of_insert(insert),
        Statement::Update(_) => events::UPDATE,
        Statement::Delete(_) => events::DELETE,
        Statement::Merge(merge) => dml::done_by(merge),
        _ => events::ROWS,
    }
}

/// RETURNING.
pub(super) fn returning(statement: &Statement) -> Option<&Vec<SelectItem>> {
    match statement {
        Statement::Insert(insert) => insert.returning.as_ref(),
        Statement::Update(update) => update.returning.as_ref(),
        Statement::Delete(delete) => delete.returning.as_ref(),
        _ => None,
    }
}

/// Whether a default names the clock.
fn is_clocked(default: Option<&str>) -> bool {
    default.is_some_and(|text| Clocked::of(text).is_some())
}

fn sets_default(statement: &Statement) -> bool {
    let Statement::Update(update) = statement else { return false };
    update.assignments.iter().any(|a| settled::has_default_word(&a.value))
}

/// A name as SQL that means just it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn refused(what: &str) -> Refusal {
    Refusal::unsupported(format!("{what} over several shards is not supported"))
}
