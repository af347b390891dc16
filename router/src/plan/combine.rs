//! Tier 3: grouping and aggregates. Each shard groups and aggregates what it has, and the parts are put together.
//!
//! A shard is asked the client's own select list, so that names, types and formats are Postgres's, with what combining
//! needs behind it in hidden columns of text. What combines exactly is proven here, by the types of columns; how it is
//! done is [`crate::combine`]'s matter.

mod aggregates;
mod keys;
mod order;
pub(super) mod types;

use super::Refusal;
use super::as_of::AsOf;
use super::facts::Node;
use super::listed::Splice;
use super::query::direct_queries;
use super::rewrite::Clauses;
use super::scatter::{Context, Count, item_expr, time_dependent};
use super::scope::folded;
use super::spread::clock::Frozen;
use crate::combine::{Aggregate, Shape};
use crate::schema::GroupId;
use keys::Key;
use shardway_pool::frame;
use sqlparser::ast::{Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Visit, Visitor};
use std::ops::ControlFlow;

/// What each shard is asked, and how the answers become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combine {
    /// Group whose shards are asked.
    pub group: GroupId,
    /// What each of them is asked, as a Query message.
    query: Box<[u8]>,
    /// What the rows are.
    pub shape: Shape,
    /// Rows to give at most.
    pub limit: Option<Count>,
    /// Rows to skip.
    pub offset: Option<Count>,
    /// What it needs of the clock.
    pub clock: Option<AsOf>,
    /// What the shards' statement has put in.
    pub splice: Splice,
}

impl Combine {
    /// The shards' statement with the clock told, and where that is.
    pub fn told_sql(&self, frozen: Option<&Frozen>) -> (String, Vec<Splice>) {
        let text = self.text();
        let sql = String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text));
        match self.clock.zip(frozen) {
            Some((clock, frozen)) => clock.told(&sql, frozen),
            None => (sql.into_owned(), Vec::new()),
        }
    }

    /// The shards' statement, with a zero behind it.
    pub fn text(&self) -> &[u8] {
        &self.query[frame::HEADER..]
    }
}

/// What a select item is.
enum Output {
    /// The key with this number.
    Key(usize),
    /// The aggregate with this number.
    Aggregate(usize),
    /// A literal or a parameter: the same on every shard.
    Constant,
}

/// A plan while it is made.
struct Making<'a> {
    context: &'a Context<'a>,
    select: &'a Select,
    clauses: Clauses<'a>,
    hidden: Vec<String>,
    keys: Vec<Key>,
    outputs: Vec<Output>,
    aggregates: Vec<Aggregate>,
}

fn not_supported(what: impl std::fmt::Display) -> Refusal {
    Refusal::unsupported(format!("{what} over several shards is not supported yet"))
}

impl Context<'_> {
    /// Plans a query whose FROM is partitioned and whose rows are not made one by one.
    pub fn combine(&self, query: &Query) -> Result<Combine, Refusal> {
        let SetExpr::Select(select) = &*query.body else {
            return Err(Refusal::unsupported("set operations over several shards are not supported yet"));
        };
        self.check_combined(query, select)?;
        let (limit, offset) = self.limit(query)?;
        let mut making = Making::of(self, select)?;
        making.keys()?;
        making.outputs()?;
        let order = making.order(query)?;
        let mut sql = making.clauses.unordered(&making.hidden);
        sql.push_str(&mention(&limit, &offset));
        let shape = Shape {
            visible: select.projection.len(),
            hidden: making.hidden.len(),
            keys: making.keys.iter().map(|key| key.place).collect(),
            aggregates: making.aggregates,
            order,
        };
        let (clock, splice) = (self.clock(query)?, making.clauses.splice(&making.hidden));
        Ok(Combine { group: self.group, query: message(&sql), shape, limit, offset, clock, splice })
    }

    fn check_combined(&self, query: &Query, select: &Select) -> Result<(), Refusal> {
        let grouped = matches!(&select.group_by, GroupByExpr::Expressions(list, _) if !list.is_empty());
        let own_path = self.path.iter().position(|schema| schema == "pg_catalog").is_none_or(|at| at == 0);
        let checks = [
            (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
            (query.with.is_some(), "WITH"),
            (query.fetch.is_some(), "FETCH FIRST"),
            (select.projection.is_empty(), "an empty select list"),
            (select.having.is_some(), "HAVING"),
            (!select.named_window.is_empty() || select.qualify.is_some(), "a window"),
            (matches!(select.distinct, Some(Distinct::On(_))), "DISTINCT ON"),
            (matches!(select.distinct, Some(Distinct::Distinct)) && grouped, "DISTINCT with GROUP BY"),
            (!direct_queries(&select.projection).is_empty(), "a subquery beside aggregates"),
            (time_dependent(&select.projection), "the statement's time in a select list"),
            (self.is_volatile(&select.projection), "a volatile function beside aggregates"),
            (!own_path, "an aggregate under a search_path that has pg_catalog behind other schemas"),
        ];
        match checks.iter().find(|(is, _)| *is) {
            Some((_, what)) => Err(not_supported(what)),
            None => Ok(()),
        }
    }

    fn is_volatile(&self, projection: &Vec<SelectItem>) -> bool {
        struct Volatile<'a>(&'a Context<'a>);
        impl Visitor for Volatile<'_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let Expr::Function(f) = expr else { return ControlFlow::Continue(()) };
                match f.name.0.last().and_then(|part| part.as_ident()).map(folded) {
                    Some(name) if !self.0.schema.functions.is_volatile(&name) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            }
        }
        projection.visit(&mut Volatile(self)).is_break()
    }
}

impl<'a> Making<'a> {
    fn of(context: &'a Context<'a>, select: &'a Select) -> Result<Self, Refusal> {
        let clauses = Clauses::of(context.sql, context.places)?;
        if clauses.items() != select.projection.len() {
            return Err(Refusal::unsupported("the statement's clauses could not be told apart"));
        }
        Ok(Self {
            context,
            select,
            clauses,
            hidden: Vec::new(),
            keys: Vec::new(),
            outputs: Vec::new(),
            aggregates: Vec::new(),
        })
    }

    /// Adds a hidden column; gives its place. One that is there already is not added again.
    fn hide(&mut self, sql: String) -> usize {
        let at = self.hidden.iter().position(|known| *known == sql).unwrap_or_else(|| {
            self.hidden.push(sql);
            self.hidden.len() - 1
        });
        self.select.projection.len() + at
    }

    fn node(&self, expr: &Expr) -> Option<Node> {
        self.context.scopes.resolve(self.context.scope, expr)
    }

    fn outputs(&mut self) -> Result<(), Refusal> {
        for (n, item) in self.select.projection.iter().enumerate() {
            let expr = item_expr(item).ok_or_else(|| not_supported("* beside grouping"))?;
            let key = self.node(expr).map(|node| self.keys.iter().position(|key| key.node == node));
            let output = match (key, expr) {
                (Some(Some(key)), _) => Output::Key(key),
                (Some(None), _) => {
                    return Err(not_supported(format!("{expr}, by which is not grouped,")));
                }
                (None, Expr::Function(function)) => {
                    let call = self.clauses.call(n).map(str::to_owned);
                    let aggregate = self.aggregate(function, n, call.as_deref())?;
                    self.aggregates.push(aggregate);
                    Output::Aggregate(self.aggregates.len() - 1)
                }
                (None, Expr::Value(_)) => Output::Constant,
                (None, _) => {
                    return Err(not_supported(format!(
                        "{expr}, which is neither a grouped column nor an aggregate,"
                    )));
                }
            };
            self.outputs.push(output);
        }
        Ok(())
    }
}

/// LIMIT and OFFSET are counted here, but the statement must have the parameters that the client binds.
fn mention(limit: &Option<Count>, offset: &Option<Count>) -> String {
    let params = [limit, offset].into_iter().flatten().filter_map(|count| match count {
        Count::Param(n) => Some(format!(" + (${})::pg_catalog.int8", n + 1)),
        Count::Fixed(_) => None,
    });
    let params: String = params.collect();
    // NULL is no limit, and NULL plus anything is NULL.
    if params.is_empty() { params } else { format!("LIMIT NULL::pg_catalog.int8{params}") }
}

/// A Query message.
fn message(sql: &str) -> Box<[u8]> {
    let length = sql.len() as u32 + 5;
    [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat().into_boxed_slice()
}
