//! Tier 4: what none of the others proves. One shard's Postgres is the engine: of every table that is not whole there,
//! the columns and rows that the statement may need are brought into a temporary table, and the client's statement runs
//! on these.
//!
//! Every mention of such a table is rewritten to its temporary table, by its full name: whatever the search path is,
//! and however the statement spelled it, no part of the statement can read the one shard's own rows in their place.
//! This file says what is brought; how, is the session's matter.

mod columns;
mod cut;
mod distinct;
mod home;
mod refused;
mod renamed;

use super::Refusal;
use super::as_of::{AsOf, Naming};
use super::pin::Pin;
use super::query::{Found, Named, Piece, Pushed};
use super::spread::clock::Frozen;
use super::traits::Traits;
use crate::schema::{GroupId, Kind, Schema, ShardRef, Table};
use crate::sql::scan::{Literal, Scan};
use columns::Needed;
pub use columns::is_exact_in_binary;
pub use home::Home;
pub(in crate::plan) use refused::names_place;
pub(in crate::plan) use renamed::Renamed;
use shardway_pool::catalog::Column;
use shardway_shardmap::ShardId;
use sqlparser::ast::Query;
use std::sync::Arc;

/// What is brought together, and what runs on it.
#[derive(Clone, Debug)]
pub struct Gather {
    /// The engine's group.
    pub group: GroupId,
    /// The engine's shard, where it must be this one.
    pub at: Option<ShardId>,
    /// The client's statement, with the queries of views in their places.
    pub text: String,
    /// Its literals.
    pub literals: Vec<Literal>,
    /// How many parameters it has.
    pub params: usize,
    /// Views whose queries stand in it, in full, with the groups that have them; the client must be allowed to read them.
    pub views: Vec<(GroupId, String)>,
    /// The client's statement where that is another, and how that became this one, step by step, the last one first.
    inlined: Option<(String, Vec<Renamed>)>,
    /// The statement over the temporary tables.
    renamed: Renamed,
    /// How it names the clock.
    pub clock: Naming,
    /// The tables that are brought.
    pub tables: Vec<Brought>,
    /// Whether none of their rows are: the statement is explained, and not run.
    pub stays_empty: bool,
}

/// A table that is brought to the engine.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The temporary table's full name.
    pub name: String,
    /// The table's own, in full.
    pub of: String,
    /// Where its rows are.
    pub home: Home,
    /// Whether the engine may not have it: the temporary table can't be made like it.
    pub is_foreign: bool,
    /// The columns of its primary key, quoted, where all of them are brought and the engine has to be told of them.
    pub keys: Vec<String>,
    /// Its columns, all of them, quoted; and whether each is brought.
    columns: Vec<(String, bool)>,
    /// The keys of its rows; none if any may matter.
    pub pins: Vec<Pin>,
    /// What its columns are called by in what follows.
    label: String,
    /// Which of its rows are brought.
    filter: Option<Pushed>,
    /// Whether rows that are the same in what is brought need not be brought twice.
    distinct: bool,
    /// ORDER BY and LIMIT, where the first rows of each shard are enough.
    cut: Vec<Piece>,
    /// Whether they travel in binary; else in text.
    pub binary: bool,
}

impl Gather {
    /// The statement over the temporary tables.
    pub fn sql(&self) -> &str {
        &self.renamed.sql
    }

    /// The same for the statement with EXPLAIN before it, on this shard; it `runs` if rows are brought.
    pub fn explained(&self, lead: &str, at: ShardId, runs: bool) -> Self {
        let literal = |literal: &Literal| Literal {
            start: literal.start + lead.len(),
            end: literal.end + lead.len(),
            ..*literal
        };
        Self {
            at: Some(at),
            text: format!("{lead}{}", self.text),
            literals: self.literals.iter().map(literal).collect(),
            inlined: self.inlined.as_ref().map(|(text, steps)| {
                (format!("{lead}{text}"), steps.iter().map(|step| step.behind(lead)).collect())
            }),
            renamed: self.renamed.behind(lead),
            stays_empty: !runs,
            ..self.clone()
        }
    }

    /// Whether the engine lacks a table, so that it can't say what the client's own text means.
    pub fn is_foreign(&self) -> bool {
        self.tables.iter().any(|table| table.is_foreign)
    }

    /// Whether shards of several groups take part.
    pub fn spans_groups(&self) -> bool {
        self.tables.iter().any(|table| table.home.group() != self.group)
    }

    /// The same with what `of` says in the place of each temporary table, by its place among the tables.
    #[must_use]
    pub fn with(&self, of: impl Fn(usize) -> String) -> Self {
        let other = |piece: &str| {
            let at = self.tables.iter().position(|table| piece.starts_with(&table.name))?;
            Some(format!("{}{}", of(at), &piece[self.tables[at].name.len()..]))
        };
        Self { renamed: self.renamed.with(other), ..self.clone() }
    }

    /// The same with values in the place of calls of the clock; `None` if they can't be told apart.
    pub fn told(&self, clock: &AsOf, frozen: &Frozen) -> Option<Self> {
        Some(Self { renamed: self.renamed.told(&self.text, clock, frozen)?, ..self.clone() })
    }

    /// A place in [`Gather::sql`] as one in the client's text, both in characters from 1.
    pub fn position(&self, position: usize) -> usize {
        let steps = self.inlined.iter().flat_map(|(_, steps)| steps);
        steps.fold(self.renamed.position(position), |position, step| step.position(position))
    }

    /// The statement as the client sent it.
    pub fn asked(&self) -> &str {
        self.inlined.as_ref().map_or(&self.text, |(text, _)| text)
    }

    /// The same for a statement that became this one by having a view's query in the place of its name.
    pub(super) fn of_view(mut self, text: &str, view: &Table, step: Renamed) -> Self {
        let group = view.group().unwrap_or(self.group);
        self.views.push((group, format!("{}.{}", quoted(&view.schema), quoted(&view.name))));
        let (_, steps) = self.inlined.get_or_insert_default();
        steps.push(step);
        let (asked, _) = self.inlined.get_or_insert_default();
        text.clone_into(asked);
        self
    }
}

impl Brought {
    /// The columns that are brought, as SQL.
    pub fn columns(&self) -> String {
        self.brought().collect::<Vec<_>>().join(", ")
    }

    /// The columns that are brought, quoted.
    pub fn brought(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|(_, is)| *is).map(|(name, _)| name.as_str())
    }

    /// SELECT of its rows, and the parameters (from 0) that this takes.
    pub fn select(&self) -> (String, Vec<usize>) {
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {}", self.columns(), self.of);
        if !self.cut.is_empty() {
            sql.push_str(&format!(" AS {}", quoted(&self.label)));
        }
        if self.filter.is_some() {
            sql.push_str(" WHERE ");
        }
        let mut params: Vec<usize> = Vec::new();
        for piece in self.filter.iter().flat_map(|filter| &filter.pieces).chain(&self.cut) {
            match piece {
                Piece::Sql(text) => sql.push_str(text),
                Piece::Param(number) => {
                    let at = params.iter().position(|known| known == number).unwrap_or_else(|| {
                        params.push(*number);
                        params.len() - 1
                    });
                    sql.push_str(&format!("${}", at + 1));
                }
            }
        }
        (sql, params)
    }

    /// CREATE TABLE of the temporary table: the columns that are brought, as they are.
    pub fn create(&self) -> String {
        format!("CREATE TEMPORARY TABLE {} AS {} WITH NO DATA", self.name, self.bare_select())
    }

    /// The same with the table's keys, for a statement that selects what hangs on a key that it groups by.
    pub fn create_with_keys(&self) -> String {
        let mut sql = format!("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING INDEXES)", self.name, self.of);
        for (name, _) in self.columns.iter().filter(|(_, brought)| !brought) {
            sql.push_str(&format!("; ALTER TABLE {} DROP COLUMN {name}", self.name));
        }
        sql
    }

    fn bare_select(&self) -> String {
        format!("SELECT {} FROM {}", self.columns(), self.of)
    }
}

/// What planning a gather needs to know.
pub(in crate::plan) struct Context<'a> {
    pub(super) schema: &'a Schema,
    pub(super) text: &'a str,
    pub(super) scan: &'a Scan,
    pub(super) found: &'a Found,
    pub(super) traits: &'a Traits,
}

impl Context<'_> {
    /// Plans any query, with the engine in one group, and on the shard `at` if that is said. `pins` are settled: one for each
    /// table that is named, in order.
    pub(super) fn plan(
        &self,
        query: &Query,
        group: GroupId,
        at: Option<ShardId>,
        pins: Vec<Option<Pin>>,
    ) -> Result<Gather, Refusal> {
        self.check(query)?;
        let needed = Needed::of(query, self.text);
        let mut tables: Vec<(&Arc<Table>, Brought)> = Vec::new();
        let mut mentions = Vec::new();
        let engine = at.map(|shard| ShardRef { group, shard });
        for (named, pin) in self.found.named.iter().zip(pins) {
            let Some(home) = Home::of(&named.table).filter(|home| !home.is_whole_at(group, engine)) else {
                continue;
            };
            let at = match tables.iter_mut().position(|(table, _)| Arc::ptr_eq(table, &named.table)) {
                Some(at) => {
                    tables[at].1.add(named, pin);
                    at
                }
                None => {
                    let name = format!("pg_temp.\"shardway gather {}\"", tables.len() + 1);
                    tables.push((&named.table, Brought::of(name, named, pin, home, group)));
                    tables.len() - 1
                }
            };
            needed.mark(named, &mut tables[at].1.columns, &named.table);
            mentions.push((named, tables[at].1.name.clone()));
        }
        if let [(table, brought)] = &mut tables[..] {
            brought.cut = self.cut(query, table).unwrap_or_default();
            brought.distinct = self.is_distinct(query, table, &brought.columns);
        }
        // Types of users have other numbers on every shard: clients are shown those of the first.
        let own = |column: &Column| column.type_oid >= columns::FIRST_OF_USERS;
        for (table, brought) in tables.iter().filter(|(_, brought)| brought.home.group() != group) {
            let mut columns = table.columns.iter().zip(&brought.columns);
            if let Some((column, _)) = columns.find(|(column, (_, brought))| *brought && own(column)) {
                return Err(Refusal {
                    hint: "Leave the column out of the statement, or ask each shard group for itself.",
                    ..Refusal::unsupported(format!(
                        "column \"{}\" of \"{}\" is of a type that users have made, and would have to go to another shard \
                         group, which may have another type of that name",
                        column.name, table.name
                    ))
                });
            }
        }
        let reads_own = tables.iter().any(|(table, brought)| {
            table.columns.iter().zip(&brought.columns).any(|(column, (_, brought))| *brought && own(column))
        });
        let reference = self.found.named.iter().filter(|named| named.table.kind == Kind::Reference(group));
        let shows_own = reads_own || reference.flat_map(|named| &named.table.columns).any(own);
        let at = at.or(shows_own.then_some(ShardId(0)));
        let tables: Vec<Brought> = tables.into_iter().map(|(table, brought)| brought.whole(table)).collect();
        let renamed = Renamed::of(self.text, query, &mentions).ok_or_else(|| {
            Refusal::unsupported("the statement's tables could not be told apart in its text")
        })?;
        Ok(Gather {
            group,
            at,
            text: self.text.to_owned(),
            literals: self.scan.literals.clone(),
            params: self.traits.param_uses.keys().max().map_or(0, |last| last + 1),
            views: Vec::new(),
            inlined: None,
            renamed,
            clock: Naming::of(query, self.text),
            tables,
            stays_empty: false,
        })
    }
}

impl Brought {
    fn of(name: String, named: &Named, pin: Option<Pin>, home: Home, engine: GroupId) -> Self {
        let table = &named.table;
        let columns = table.columns.iter().map(|column| (quoted(&column.name), false)).collect();
        let of = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        let pins = pin.into_iter().collect();
        let (label, filter) = (named.label.clone(), named.pushed.clone());
        Self {
            name,
            of,
            home,
            is_foreign: home.is_foreign_to(engine),
            keys: Vec::new(),
            columns,
            pins,
            label,
            filter,
            distinct: false,
            cut: Vec::new(),
            binary: false,
        }
    }

    /// Another mention of the same table: what either needs is brought.
    fn add(&mut self, named: &Named, pin: Option<Pin>) {
        match pin {
            Some(pin) if !self.pins.is_empty() => self.pins.push(pin),
            _ => self.pins.clear(),
        }
        self.filter = match (self.filter.take(), &named.pushed) {
            (Some(one), Some(other)) => Some(one.or(other.clone())),
            _ => None,
        };
    }

    /// Once all of its mentions are known: there is a column at least, and the format is said.
    fn whole(mut self, table: &Table) -> Self {
        if !self.columns.iter().any(|(_, brought)| *brought)
            && let Some((_, brought)) = self.columns.get_mut(key_of(table))
        {
            *brought = true;
        }
        let columns = table.columns.iter().zip(&self.columns);
        self.binary =
            columns.filter(|(_, (_, brought))| *brought).all(|(column, _)| columns::is_binary(column));
        let keys: Vec<String> = table.primary_key().iter().map(|name| quoted(name)).collect();
        if keys.iter().all(|key| self.brought().any(|column| column == key)) {
            self.keys = keys;
        }
        self
    }
}

fn key_of(table: &Table) -> usize {
    match table.kind {
        Kind::Sharded { key, .. } => key,
        _ => 0,
    }
}

/// A name as SQL that means just it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
