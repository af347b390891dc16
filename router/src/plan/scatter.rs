//! Tier 2: a statement that is right when each shard runs it by itself and the answers are put together.
//!
//! Concatenation, ORDER BY by k-way merge, LIMIT and OFFSET. Sort keys travel as hidden text columns behind the
//! client's own and are stripped, so that neither wildcards nor result formats matter to the merge.

use super::Refusal;
use super::as_of::{AsOf, Naming};
use super::combine::types::oid;
use super::facts::Node;
use super::listed::Splice;
use super::locking;
use super::output::output_name;
use super::pin::Places;
use super::query::is_row_by_row;
use super::rewrite::Clauses;
use super::scope::{ScopeId, Scopes, Source, folded, relation_name};
use super::spread::clock::Frozen;
use super::spread::quoted;
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
    /// The table whose rows are locked one after the other in order, as SQL: which row it is stands in one more hidden
    /// column, the last one.
    pub places: Option<String>,
    /// What it needs of the clock.
    pub clock: Option<AsOf>,
    /// What the shards' statement has put in; `None` if it is the client's own.
    pub splice: Option<Splice>,
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

    /// The same with the clock told, and where that is.
    pub fn told_sql(&self, frozen: Option<&Frozen>) -> (String, Vec<Splice>) {
        let sql = self.shard_sql();
        match self.clock.zip(frozen) {
            Some((clock, frozen)) => clock.told(&sql, frozen),
            None => (sql, Vec::new()),
        }
    }

    /// Columns behind the client's.
    pub fn hidden(&self) -> usize {
        self.order.len() + usize::from(self.places.is_some())
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
            (Some(limit), Some(offset)) => {
                sql.push_str(&format!("LIMIT {}", sum(&term(limit), &term(offset))))
            }
        }
    }
}

/// LIMIT and OFFSET together: each of them may be as large as a bigint is. What is NULL is no limit.
fn sum(limit: &str, offset: &str) -> String {
    format!("LEAST({limit}::pg_catalog.numeric + {offset}, 9223372036854775807)::pg_catalog.int8")
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
        let (order, mut hidden) = self.order(query, select)?;
        let (limit, offset) = self.limit(query)?;
        let clauses = Clauses::of(self.sql, self.places)?;
        if (limit.is_some() || offset.is_some()) && !clauses.is_limited() {
            return Err(Refusal::unsupported("the statement's clauses could not be told apart"));
        }
        let locks = clauses.locks().map(str::to_owned);
        if locks.is_none() != query.locks.is_empty() {
            return Err(Refusal::unsupported("the statement's clauses could not be told apart"));
        }
        let alone = if locks.is_some() && !order.is_empty() { self.locked_table(select) } else { None };
        let places = alone.map(|(table, place)| {
            hidden.push(place);
            table
        });
        let sql = clauses.ordered(&hidden);
        let (clock, splice) = (self.clock(query)?, Some(clauses.splice(&hidden)));
        Ok(Scatter { group: self.group, sql, order, limit, offset, locks, places, clock, splice })
    }

    /// What a query needs of the clock. Errors: that can't be told.
    pub(super) fn clock(&self, query: &Query) -> Result<Option<AsOf>, Refusal> {
        match Naming::of(query, self.sql) {
            Naming::Untold => {
                Err(Refusal::unsupported("this use of the clock over several shards is not supported yet"))
            }
            naming => Ok(naming.told()),
        }
    }

    /// The one table of a query that locks its rows, and SQL for where a row of it is; `None` if there are more, or it is a
    /// view.
    fn locked_table(&self, select: &Select) -> Option<(String, String)> {
        let [from] = &select.from[..] else { return None };
        let TableFactor::Table { name, alias, .. } = &from.relation else { return None };
        let (schema, bare) = relation_name(name)?;
        let table = self.schema.find(self.path, schema.as_deref(), &bare)?;
        if !from.joins.is_empty() || table.of_view.is_some() {
            return None;
        }
        let label = alias.as_ref().map_or_else(|| table.name.clone(), |alias| folded(&alias.name));
        let label = quoted(&label);
        let place = format!("({label}.tableoid::pg_catalog.text || {label}.ctid::pg_catalog.text)");
        Some((format!("{}.{}", quoted(&table.schema), quoted(&table.name)), place))
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
            Value::Number(text, _) => fixed(text).map(Some).ok_or_else(refused),
            Value::Placeholder(p) => {
                let number =
                    p.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
                number.map(|n| Some(Count::Param(n))).ok_or_else(refused)
            }
            Value::SingleQuotedString(text) => fixed(text.trim()).map(Some).ok_or_else(refused),
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

/// A number of rows that is written out. Greater ones than a bigint holds are Postgres' to refuse.
fn fixed(text: &str) -> Option<Count> {
    text.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok()).map(Count::Fixed)
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
    // By their numbers: anybody may have a type of his own that is called so.
    let (sort, float, sql) = match column.type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC | oid::OID => {
            (SortType::Number, false, format!("({expr})::pg_catalog.text"))
        }
        oid::FLOAT4 | oid::FLOAT8 => (SortType::Number, true, format!("({expr})::pg_catalog.text")),
        oid::BOOL => (SortType::Bool, false, format!("({expr})::pg_catalog.text")),
        oid::UUID => (SortType::Bytes, false, format!("({expr})::pg_catalog.text")),
        oid::TEXT | oid::VARCHAR if column.byte_order => {
            (SortType::Bytes, false, format!("({expr})::pg_catalog.text"))
        }
        // Text of dates follows DateStyle and TimeZone; their distance from the epoch does not.
        oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::DATE => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_somebodys_own_is_not_taken_for_postgres_own_of_that_name() {
        let column = |type_oid| Column {
            name: "k".into(),
            type_name: "uuid".into(),
            type_oid,
            type_kind: 'e',
            typmod: -1,
            byte_order: true,
            nondeterministic: false,
            has_default: false,
            default: None,
            from_sequence: false,
            generated: false,
        };
        assert_eq!(hidden_column(&column(20_000), "k"), None);
        let (sort, ..) = hidden_column(&column(oid::UUID), "k").unwrap();
        assert_eq!(sort, SortType::Bytes);
    }
}
