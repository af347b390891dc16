//! Tier 3: grouping and aggregates. Each shard groups and aggregates what it has, and the parts are put together.
//!
//! A shard is asked the client's own select list, so that names, types and formats are Postgres's, with what combining
//! needs behind it in hidden columns of text. What combines exactly is proven here, by the types of columns; how it is
//! done is [`crate::combine`]'s matter.

mod aggregates;
mod order;
mod types;

use super::Refusal;
use super::facts::Node;
use super::output::output_name;
use super::query::direct_queries;
use super::rewrite::Clauses;
use super::scatter::{Context, Count, item_expr, time_dependent};
use super::scope::folded;
use crate::combine::{Aggregate, Shape};
use crate::schema::GroupId;
use shardway_pool::catalog::Column;
use shardway_pool::frame;
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Value, Visit, Visitor,
};
use std::ops::ControlFlow;
use types::Identity;

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
}

impl Combine {
    /// The shards' statement as a Query message.
    pub fn message(&self) -> &[u8] {
        &self.query
    }

    /// The shards' statement, with a zero behind it.
    pub fn text(&self) -> &[u8] {
        &self.query[frame::HEADER..]
    }
}

/// A column that rows are grouped by.
struct Key {
    node: Node,
    column: Column,
    /// As the statement names it.
    name: String,
    /// Where its values are told apart.
    place: usize,
}

/// What a select item is.
enum Output {
    /// The key with this number.
    Key(usize),
    /// The aggregate with this number.
    Aggregate(usize),
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

/// Whether a SELECT groups or removes duplicates, or calls something that may be an aggregate.
pub(super) fn not_supported(what: impl std::fmt::Display) -> Refusal {
    Refusal::unsupported(format!("{what} over several shards is not supported yet"))
}

impl Context<'_> {
    /// Plans a query whose FROM is partitioned and whose rows are not made one by one.
    pub fn combine(&self, query: &Query) -> Result<Combine, Refusal> {
        let SetExpr::Select(select) = &*query.body else {
            return Err(Refusal::unsupported("set operations over several shards are not supported yet"));
        };
        self.check_combined(query, select)?;
        let clauses = Clauses::of(self.sql, self.places)?;
        let (limit, offset) = self.limit(query)?;
        let known = |item: &SelectItem| item_expr(item).is_some();
        if clauses.items() != select.projection.len() && select.projection.iter().all(known) {
            return Err(Refusal::unsupported("the statement's clauses could not be told apart"));
        }
        let mut making = Making {
            context: self,
            select,
            clauses,
            hidden: Vec::new(),
            keys: Vec::new(),
            outputs: Vec::new(),
            aggregates: Vec::new(),
        };
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
        Ok(Combine { group: self.group, query: message(&sql), shape, limit, offset })
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

impl Making<'_> {
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

    /// What rows are grouped by.
    fn keys(&mut self) -> Result<(), Refusal> {
        if matches!(self.select.distinct, Some(Distinct::Distinct)) {
            for item in &self.select.projection {
                let expr = item_expr(item).ok_or_else(|| not_supported("DISTINCT over *"))?;
                self.key(expr)?;
            }
            return Ok(());
        }
        let GroupByExpr::Expressions(list, modifiers) = &self.select.group_by else {
            return Err(not_supported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(not_supported("GROUP BY with a modifier"));
        }
        for item in list {
            let expr = self.grouped(item)?;
            self.key(&expr)?;
        }
        Ok(())
    }

    /// What a GROUP BY item means: an ordinal, a column of the input, or else an output's name. Source:
    /// `findTargetlistEntrySQL92`.
    fn grouped(&self, item: &Expr) -> Result<Expr, Refusal> {
        let refused = || not_supported(format!("GROUP BY {item}"));
        match item {
            Expr::Nested(inner) => self.grouped(inner),
            Expr::Value(v) => {
                let Value::Number(text, _) = &v.value else { return Err(refused()) };
                let ordinal: usize = text.parse().map_err(|_| refused())?;
                let output = ordinal.checked_sub(1).and_then(|n| self.select.projection.get(n));
                output.and_then(item_expr).cloned().ok_or_else(refused)
            }
            Expr::Identifier(name) if self.node(item).is_none() => {
                let name = folded(name);
                let mut outputs = self.select.projection.iter().filter(|i| output_name(i).may_be(&name));
                match (outputs.next(), outputs.next()) {
                    // Every table has these, though no catalog lists them.
                    _ if types::is_system_column(&name) => Err(refused()),
                    (Some(output), None) => item_expr(output).cloned().ok_or_else(refused),
                    _ => Err(refused()),
                }
            }
            _ => Ok(item.clone()),
        }
    }

    fn key(&mut self, expr: &Expr) -> Result<(), Refusal> {
        let plain = || not_supported(format!("grouping by {expr}, which is no plain column,"));
        let node = self.node(expr).ok_or_else(plain)?;
        if self.keys.iter().any(|key| key.node == node) {
            return Ok(());
        }
        let column = self.context.column_of(&node).ok_or_else(plain)?;
        let name = expr.to_string();
        let place = match types::identity(&column) {
            Some(Identity::Own) => match self.shown(&node) {
                Some(place) => place,
                None => self.hide(format!("({name})::pg_catalog.text")),
            },
            Some(Identity::Encoded(before, after)) => self.hide(format!("{before}{name}{after}")),
            None => {
                let what = format!(
                    "grouping by {name}: equal values of type {} may differ, which",
                    column.type_name
                );
                return Err(not_supported(what));
            }
        };
        self.keys.push(Key { node, column, name, place });
        Ok(())
    }

    /// The output that shows a column.
    fn shown(&self, node: &Node) -> Option<usize> {
        let shows = |item: &SelectItem| item_expr(item).and_then(|e| self.node(e)).as_ref() == Some(node);
        self.select.projection.iter().position(shows)
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
