//! INSERT … VALUES whose rows live on several shards.

use super::clock::{Clocked, reads_clock};
use super::settled::{Settled, check_looks};
use super::text::Tokens;
use super::{ClockOf, Context, How, quoted, refused};
use crate::plan::Refusal;
use crate::plan::dml::Written;
use crate::plan::pin::Pin;
use crate::plan::scope::relation_name;
use crate::plan::traits::Traits;
use crate::schema::{Kind, Schema, Table};
use shardway_pool::catalog::Column;
use sqlparser::ast::{Insert, OnInsert, SetExpr, Visit};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

/// How the rows are split.
#[derive(Clone, Debug)]
pub struct Split {
    /// Where the rows' keys stand.
    pub pin: Pin,
    /// Columns that take the clock's value.
    pub fills: Fills,
    /// The key, as SQL, where rows may be left out: by ON CONFLICT, or by a trigger.
    pub key: Option<String>,
}

/// Columns of VALUES whose default names the clock, and so is put in as a value.
#[derive(Clone, Debug, Default)]
pub struct Fills {
    /// For the column list: the names of columns that it leaves out, with a comma before each.
    pub named: String,
    /// The list itself, where the text has none: by the time that it runs, columns may stand in another order.
    pub list: String,
    /// What each row gets at its end; none is DEFAULT.
    pub appended: Vec<Option<Clocked>>,
    /// What stands for the word DEFAULT, by its place in the row.
    pub listed: Vec<(usize, Clocked)>,
}

impl Fills {
    /// Which values of the clock they need.
    pub fn clock(&self) -> Option<ClockOf> {
        let all = || self.appended.iter().flatten().chain(self.listed.iter().map(|(_, clocked)| clocked));
        let statement = all().any(Clocked::is_of_statement);
        all().next().map(|_| if statement { ClockOf::Statement } else { ClockOf::Transaction })
    }

    /// Of an INSERT whose rows have so many values.
    pub(super) fn of(insert: &Insert, table: &Table, width: usize) -> Self {
        let mut fills = Self::default();
        let clocked = |column: usize| table.columns[column].default.as_deref().and_then(Clocked::of);
        if insert.columns.is_empty() {
            let last = (width..table.columns.len()).rev().find(|&column| clocked(column).is_some());
            fills.appended = (width..last.map_or(width, |last| last + 1)).map(clocked).collect();
            let given = (0..width.min(table.columns.len())).filter_map(|at| Some((at, clocked(at)?)));
            fills.listed = given.collect();
            let given = table.columns.iter().take(width + fills.appended.len());
            let names: Vec<String> = given.map(|column| quoted(&column.name)).collect();
            fills.list = format!("({}) ", names.join(", "));
            return fills;
        }
        let place = |name: &str| {
            let is = |listed: &&sqlparser::ast::ObjectName| {
                relation_name(listed).is_some_and(|(schema, first)| match &schema {
                    Some(column) => column == name,
                    None => first == name,
                })
            };
            insert.columns.iter().position(|listed| is(&listed))
        };
        for (at, column) in table.columns.iter().enumerate() {
            match (clocked(at), place(&column.name)) {
                (Some(clocked), Some(place)) => fills.listed.push((place, clocked)),
                (Some(clocked), None) => {
                    fills.named.push_str(&format!(", {}", quoted(&column.name)));
                    fills.appended.push(Some(clocked));
                }
                (None, _) => {}
            }
        }
        fills
    }
}

impl Context<'_> {
    pub(super) fn split(
        &self,
        insert: &Insert,
        written: &Written,
        table: &Table,
        tokens: &Tokens<'_>,
    ) -> Result<(How, Option<ClockOf>), Refusal> {
        let Kind::Sharded { key, .. } = table.kind else { return Err(refused("this INSERT")) };
        let pin = written.stored.clone().ok_or_else(|| refused("this INSERT"))?;
        if !self.found.sharded.is_empty() {
            return Err(Refusal::unsupported(
                "rows for several shards whose values are read from sharded tables are not supported",
            ));
        }
        let width = width_of(insert, tokens)?;
        let settled = Settled::new(self.schema);
        settled.check_functions(self.traits)?;
        settled.check_subqueries_of(insert)?;
        check_looks(insert)?;
        for column in &table.columns {
            check_default(self.schema, table, column)?;
        }
        let fills = Fills::of(insert, table, width);
        let clock = fills.clock();
        let skips = insert.on.is_some() || table.has_triggers;
        let label = insert
            .table_alias
            .as_ref()
            .map_or_else(|| quoted(&table.name), |alias| quoted(&crate::plan::scope::folded(&alias.alias)));
        let hidden = skips && insert.returning.is_some();
        let name = quoted(&table.columns[key].name);
        let key = hidden.then(|| format!("{label}.{name}::pg_catalog.text"));
        Ok((How::Split(Split { pin, fills, key }), clock))
    }
}

/// Refuses a default that calls a function of users which is stable, or has a string such as 'now' read: it would be worked
/// out at another time on each shard.
pub(in crate::plan) fn check_default(schema: &Schema, table: &Table, column: &Column) -> Result<(), Refusal> {
    let Some(text) = &column.default else { return Ok(()) };
    let functions = &schema.functions;
    let doubtful = |name: &String| functions.reads_tables(name) && !functions.is_volatile(name);
    match functions_of(text) {
        Some(_) if reads_clock(text) => Err(Refusal {
            code: "0A000",
            message: format!(
                "the default of \"{}\" of \"{}\" has a string that each shard would read from its own clock",
                column.name, table.name
            ),
            hint: "ALTER COLUMN … SET DEFAULT now() or CURRENT_DATE.",
        }),
        Some(names) if !names.iter().any(doubtful) => Ok(()),
        _ => Err(refused(&format!("the default of \"{}\" of \"{}\", in rows", column.name, table.name))),
    }
}

impl Settled<'_> {
    fn check_subqueries_of(&self, insert: &Insert) -> Result<(), Refusal> {
        let of = |piece: &dyn Fn() -> bool| {
            if piece() { Ok(()) } else { Err(refused("a subquery without a settled answer among values")) }
        };
        let values = match insert.source.as_deref().map(|source| &*source.body) {
            Some(SetExpr::Values(values)) => values,
            _ => return Err(refused("this INSERT")),
        };
        of(&|| values.rows.iter().all(|row| self.queries_are(&row.content)))?;
        of(&|| self.queries_are(&insert.on) && self.queries_are(&insert.returning))
    }

    fn queries_are(&self, piece: &impl Visit) -> bool {
        crate::plan::query::direct_queries(piece).iter().all(|query| self.is_query(query))
    }
}

/// How many values each row of VALUES has. The rows are those that the text shows.
pub(super) fn width_of(insert: &Insert, tokens: &Tokens<'_>) -> Result<usize, Refusal> {
    let unclear = || refused("this form of INSERT");
    let source = insert.source.as_deref().ok_or_else(unclear)?;
    let SetExpr::Values(values) = &*source.body else { return Err(unclear()) };
    let cut = source.order_by.is_some() || source.limit_clause.is_some() || source.fetch.is_some();
    let found = tokens.rows().ok_or_else(unclear)?;
    let width = values.rows.first().map_or(0, |row| row.content.len());
    // Postgres itself says that all rows must have the same length.
    let ragged = values.rows.iter().any(|row| row.content.len() != width);
    if cut || ragged || source.with.is_some() || found.rows.len() != values.rows.len() {
        return Err(unclear());
    }
    if insert.columns.is_empty() != found.columns_end.is_none() {
        return Err(unclear());
    }
    Ok(width)
}

/// The functions that an expression of the catalog calls; `None` if it is not understood.
pub(in crate::plan) fn functions_of(text: &str) -> Option<Vec<String>> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?;
    let expr = parser.parse_expr().ok()?;
    let mut traits = Traits::default();
    let _ = expr.visit(&mut traits);
    Some(traits.functions)
}

/// Whether an INSERT may leave rows out.
pub(super) fn conflict_columns(insert: &Insert) -> Option<&sqlparser::ast::OnConflict> {
    match &insert.on {
        Some(OnInsert::OnConflict(conflict)) => Some(conflict),
        _ => None,
    }
}
