//! Tier 2: a statement that is right when each shard runs it by itself and the answers are put together.
//!
//! Concatenation, ORDER BY by k-way merge, LIMIT and OFFSET. Sort keys travel as hidden text columns behind the
//! client's own and are stripped, so that neither wildcards nor result formats matter to the merge.

use super::Refusal;
use super::facts::Node;
use super::locking;
use super::output::output_name;
use super::pin::Places;
use super::query::is_row_by_row;
use super::rewrite::Clauses;
use super::scope::{ScopeId, Scopes, Source, folded, relation_name};
use crate::schema::{GroupId, Kind, Schema};
use shardway_pool::catalog::Column;
use sqlparser::ast::{
    Expr, JoinConstraint, JoinOperator, LimitClause, OrderByExpr, OrderByKind, OrderBySort, Query, Select,
    SelectItem, SetExpr, TableFactor, Value,
};

/// How values of a sort key compare, read from their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortType {
    /// Integers, numerics and floats of any size, with NaN and the infinities.
    Number,
    /// Bytes: text under a C-like collation, uuid.
    Bytes,
    /// `false` before `true`.
    Bool,
}

/// One ORDER BY item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// How it compares.
    pub sort: SortType,
    /// Largest first.
    pub descending: bool,
    /// NULLs before all else.
    pub nulls_first: bool,
    /// Whether its text is exact only with `extra_float_digits` of 1 or more.
    pub float: bool,
}

/// A number of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// Written in the statement.
    Fixed(u64),
    /// A parameter, from 0.
    Param(usize),
}

/// What each shard is asked, and how the answers become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scatter {
    /// Group whose shards are asked.
    pub group: GroupId,
    /// What each of them is asked.
    pub sql: String,
    /// How rows are ordered; as many hidden columns come last.
    pub order: Vec<SortKey>,
    /// Rows to give at most.
    pub limit: Option<Count>,
    /// Rows to skip.
    pub offset: Option<Count>,
    /// FOR UPDATE and its kin, as they are written.
    pub locks: Option<String>,
}

impl Scatter {
    /// The shards' statement: LIMIT and OFFSET become one LIMIT that lets enough rows through.
    pub fn shard_sql(&self) -> String {
        let term = |count: &Count| match count {
            Count::Fixed(n) => format!("{n}::int8"),
            Count::Param(n) => format!("(${})::int8", n + 1),
        };
        let mut sql = self.sql.clone();
        self.bounds(&mut sql, term);
        if let Some(locks) = &self.locks {
            sql.push('\n');
            sql.push_str(locks);
        }
        sql
    }

    /// Whether it locks no more than some of the rows that its condition lets through.
    pub fn locks_some(&self) -> bool {
        self.locks.is_some() && (self.limit.is_some() || self.offset.is_some())
    }

    fn bounds(&self, sql: &mut String, term: impl Fn(&Count) -> String) {
        match (&self.limit, &self.offset) {
            (None, None) => {}
            (Some(Count::Fixed(limit)), None) => sql.push_str(&format!("LIMIT {limit}")),
            (Some(Count::Fixed(limit)), Some(Count::Fixed(offset))) => {
                sql.push_str(&format!("LIMIT {}", limit.saturating_add(*offset).min(i64::MAX as u64)));
            }
            (Some(limit), None) => sql.push_str(&format!("LIMIT {}", term(limit))),
            (None, Some(Count::Fixed(_))) => {}
            // Mentioned, so that the statement has the parameters that the client binds; NULL is no limit.
            (None, Some(offset)) => sql.push_str(&format!("LIMIT NULL::int8 + {}", term(offset))),
            (Some(limit), Some(offset)) => sql.push_str(&format!("LIMIT {} + {}", term(limit), term(offset))),
        }
    }
}

/// A FROM in which every row of the result is made on exactly one shard, given co-located sharded tables.
pub fn is_partitioned(select: &Select, kind_of: impl Fn(&TableFactor) -> Option<Kind>) -> bool {
    let sharded = |factor: &TableFactor| matches!(kind_of(factor), Some(Kind::Sharded { .. }));
    let known = |factor: &TableFactor| {
        matches!(factor, TableFactor::Table { args: None, sample: None, .. })
            && matches!(kind_of(factor), Some(Kind::Sharded { .. } | Kind::Reference(_)))
    };
    let inner = |op: &JoinOperator| {
        matches!(op, JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c)
            if !matches!(c, JoinConstraint::Natural))
    };
    let left = |op: &JoinOperator| matches!(op, JoinOperator::Left(c) | JoinOperator::LeftOuter(c) if !matches!(c, JoinConstraint::Natural));
    let factors = || {
        select
            .from
            .iter()
            .flat_map(|t| std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)))
    };
    let joins = || select.from.iter().flat_map(|t| &t.joins);
    let all_inner = joins().all(|j| inner(&j.join_operator));
    // With outer joins, the rows that are kept must be those of a sharded table.
    let anchored = select.from.len() == 1
        && sharded(&select.from[0].relation)
        && joins().all(|j| inner(&j.join_operator) || left(&j.join_operator));
    factors().all(known) && factors().any(sharded) && (all_inner || anchored)
}

/// What planning a scatter needs to know.
pub struct Context<'a> {
    /// The statement.
    pub sql: &'a str,
    /// Where literals stand.
    pub places: &'a Places<'a>,
    /// Names.
    pub scopes: &'a Scopes,
    /// The SELECT's scope.
    pub scope: ScopeId,
    /// Group whose shards are asked.
    pub group: GroupId,
    /// Where functions are known.
    pub schema: &'a Schema,
    /// Where unqualified names are looked for.
    pub path: &'a [String],
}

impl Context<'_> {
    /// Plans a query whose FROM is partitioned. Errors say what is not proven.
    pub fn plan(&self, query: &Query) -> Result<Scatter, Refusal> {
        let SetExpr::Select(select) = &*query.body else {
            return Err(Refusal::unsupported("set operations over several shards are not supported yet"));
        };
        self.check(query, select)?;
        let (order, hidden) = self.order(query, select)?;
        let (limit, offset) = self.limit(query)?;
        let clauses = Clauses::of(self.sql, self.places)?;
        if (limit.is_some() || offset.is_some()) && !clauses.is_limited() {
            return Err(Refusal::unsupported("the statement's clauses could not be told apart"));
        }
        let locks = clauses.locks().map(str::to_owned);
        if locks.is_none() != query.locks.is_empty() {
            return Err(Refusal::unsupported("the statement's clauses could not be told apart"));
        }
        let sql = clauses.ordered(&hidden);
        Ok(Scatter { group: self.group, sql, order, limit, offset, locks })
    }

    fn check(&self, query: &Query, select: &Select) -> Result<(), Refusal> {
        let refuse = |what: &str| {
            Err(Refusal::unsupported(format!("{what} over several shards is not supported yet")))
        };
        if !is_row_by_row(select, self.schema) {
            return refuse("DISTINCT, grouping, or a function that may be an aggregate or a window");
        }
        if !query.locks.is_empty() {
            locking::check(query, select, |factor| match factor {
                TableFactor::Table { name, .. } => {
                    let (schema, bare) = relation_name(name)?;
                    self.schema.find(self.path, schema.as_deref(), &bare).map(|t| t.kind.clone())
                }
                _ => None,
            })?;
        }
        if query.with.is_some() {
            return refuse("WITH");
        }
        if query.fetch.is_some() {
            return refuse("FETCH FIRST");
        }
        if select.projection.is_empty() {
            return refuse("an empty select list");
        }
        if time_dependent(&select.projection) {
            return refuse("the statement's time in a select list");
        }
        Ok(())
    }

    fn order(&self, query: &Query, select: &Select) -> Result<(Vec<SortKey>, Vec<String>), Refusal> {
        let Some(order) = &query.order_by else { return Ok((Vec::new(), Vec::new())) };
        let OrderByKind::Expressions(items) = &order.kind else {
            return Err(Refusal::unsupported("ORDER BY ALL is not supported"));
        };
        items
            .iter()
            .map(|item| self.sort_key(item, select))
            .collect::<Result<Vec<_>, _>>()
            .map(|v| v.into_iter().unzip())
    }

    fn sort_key(&self, item: &OrderByExpr, select: &Select) -> Result<(SortKey, String), Refusal> {
        let (descending, nulls_first) = direction(item)?;
        let expr = self.sort_expr(&item.expr, select)?;
        let column = self.column(&expr).ok_or_else(|| {
            Refusal::unsupported(format!(
                "ORDER BY {} over several shards is not supported yet: it is no plain column",
                item.expr
            ))
        })?;
        let (sort, float, sql) = hidden_column(&column, &expr.to_string()).ok_or_else(|| {
            Refusal::unsupported(format!(
                "ORDER BY {} over several shards is not supported yet: the order of type {} there can't be reproduced exactly",
                item.expr, column.type_name
            ))
        })?;
        Ok((SortKey { sort, descending, nulls_first, float }, sql))
    }

    /// What an ORDER BY item means: an ordinal, an output name, or an expression over the input. SQL-92 first.
    fn sort_expr(&self, expr: &Expr, select: &Select) -> Result<Expr, Refusal> {
        let not_plain =
            || Refusal::unsupported(format!("ORDER BY {expr} over several shards is not supported yet"));
        match expr {
            Expr::Nested(inner) => self.sort_expr(inner, select),
            Expr::Value(v) => {
                let Value::Number(text, _) = &v.value else { return Err(not_plain()) };
                let ordinal: usize = text.parse().map_err(|_| not_plain())?;
                let before = select.projection.get(..ordinal).ok_or_else(not_plain)?;
                if before
                    .iter()
                    .any(|i| !matches!(i, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }))
                {
                    return Err(not_plain());
                }
                before.last().and_then(item_expr).cloned().ok_or_else(not_plain)
            }
            Expr::Identifier(name) => {
                let name = folded(name);
                let outputs: Vec<_> =
                    select.projection.iter().filter(|i| output_name(i).may_be(&name)).collect();
                match outputs[..] {
                    [] => Ok(expr.clone()),
                    [one] => item_expr(one).cloned().ok_or_else(not_plain),
                    // Postgres takes several outputs of one name if they are the same expression.
                    _ => Err(not_plain()),
                }
            }
            _ => Ok(expr.clone()),
        }
    }

    fn column(&self, expr: &Expr) -> Option<Column> {
        self.column_of(&self.scopes.resolve(self.scope, expr)?)
    }

    /// The catalog's column that a reference means.
    pub(super) fn column_of(&self, (mention, name): &Node) -> Option<Column> {
        let Source::Table(table) = self.scopes.source(*mention) else { return None };
        table.column(name).map(|i| table.columns[i].clone())
    }

    pub(super) fn limit(&self, query: &Query) -> Result<(Option<Count>, Option<Count>), Refusal> {
        limits(query)
    }
}

/// LIMIT and OFFSET, where they are numbers or parameters.
pub(super) fn limits(query: &Query) -> Result<(Option<Count>, Option<Count>), Refusal> {
    match &query.limit_clause {
        None => Ok((None, None)),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            let limit = limit.as_ref().map(count).transpose()?.flatten();
            let offset = offset.as_ref().map(|o| count(&o.value)).transpose()?.flatten();
            Ok((limit, offset))
        }
        Some(_) => Err(Refusal::unsupported("this form of LIMIT is not supported")),
    }
}

/// A row count; `None` where it is NULL or ALL, which is no limit.
fn count(expr: &Expr) -> Result<Option<Count>, Refusal> {
    let refused = || {
        Refusal::unsupported(
            "a LIMIT or OFFSET that is no number or parameter is not supported over several shards yet",
        )
    };
    match expr {
        Expr::Nested(inner) => count(inner),
        Expr::Value(v) => match &v.value {
            Value::Null => Ok(None),
            Value::Number(text, _) => text.parse().map(|n| Some(Count::Fixed(n))).map_err(|_| refused()),
            Value::Placeholder(p) => {
                let number =
                    p.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
                number.map(|n| Some(Count::Param(n))).ok_or_else(refused)
            }
            Value::SingleQuotedString(text) => {
                text.trim().parse().map(|n| Some(Count::Fixed(n))).map_err(|_| refused())
            }
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

pub(super) fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Whether an ORDER BY item wants the largest first, and NULLs.
pub(super) fn direction(item: &OrderByExpr) -> Result<(bool, bool), Refusal> {
    let descending = match &item.options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(_) => {
            return Err(Refusal::unsupported("ORDER BY USING over several shards is not supported yet"));
        }
    };
    Ok((descending, item.options.nulls_first.unwrap_or(descending)))
}

/// The hidden column for a sort key, as text, and how it compares; `None` for types whose order is not known here.
fn hidden_column(column: &Column, expr: &str) -> Option<(SortType, bool, String)> {
    let (sort, float, sql) = match column.type_name.as_str() {
        "int2" | "int4" | "int8" | "numeric" | "oid" => {
            (SortType::Number, false, format!("({expr})::pg_catalog.text"))
        }
        "float4" | "float8" => (SortType::Number, true, format!("({expr})::pg_catalog.text")),
        "bool" => (SortType::Bool, false, format!("({expr})::pg_catalog.text")),
        "uuid" => (SortType::Bytes, false, format!("({expr})::pg_catalog.text")),
        "text" | "varchar" if column.byte_order => {
            (SortType::Bytes, false, format!("({expr})::pg_catalog.text"))
        }
        // Text of dates follows DateStyle and TimeZone; their distance from the epoch does not.
        "timestamp" | "timestamptz" | "date" => {
            (SortType::Number, false, format!("(EXTRACT(epoch FROM {expr}))::pg_catalog.text"))
        }
        _ => return None,
    };
    Some((sort, float, sql))
}

/// Whether the select list shows the statement's or transaction's time, which would differ from shard to shard.
pub(super) fn time_dependent(projection: &[SelectItem]) -> bool {
    use sqlparser::ast::{Visit, Visitor};
    use std::ops::ControlFlow;
    struct Times;
    impl Visitor for Times {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            const NAMES: [&str; 9] = [
                "now",
                "current_timestamp",
                "current_date",
                "current_time",
                "localtime",
                "localtimestamp",
                "transaction_timestamp",
                "statement_timestamp",
                "clock_timestamp",
            ];
            match expr {
                Expr::Function(f)
                    if f.name
                        .0
                        .last()
                        .and_then(|p| p.as_ident())
                        .is_some_and(|i| NAMES.contains(&folded(i).as_str())) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    projection.iter().any(|item| item.visit(&mut Times).is_break())
}
