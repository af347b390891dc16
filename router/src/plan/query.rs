//! Key analysis: which sharded relations a query mentions, and to which keys each of them is pinned.

use super::Refusal;
use super::facts::{Facts, Mention, Node};
use super::pin::{KeySource, Pin, Places, Sources};
use super::scope::{Column, ScopeId, Scopes, Source, comparable, folded, relation_name};
use crate::schema::{GroupId, Kind, Schema, ShardRef, Table};
use shardway_shardmap::{ParamType, Use};
use sqlparser::ast::{
    BinaryOperator, DataType, Distinct, Expr, FunctionArguments, GroupByExpr, Join, JoinConstraint, JoinOperator,
    ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, UnaryOperator, Value, Visit, Visitor,
};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A sharded table in a statement.
#[derive(Clone, Debug)]
pub struct Sharded {
    /// Where its key must be, if that is known.
    pub pin: Option<Pin>,
    /// Whether its key equals that of the first sharded table of its block, for every row that matters.
    pub colocated: bool,
}

/// What an analysis has found.
#[derive(Debug, Default)]
pub struct Found {
    /// Every mention of a sharded table.
    pub sharded: Vec<Sharded>,
    /// Groups of every table mentioned.
    pub groups: HashSet<usize>,
    /// Local tables' places.
    pub local: Vec<ShardRef>,
    /// Relations accounted for, of any kind.
    pub relations: usize,
    /// A relation that the schema does not have.
    pub unknown: Option<String>,
    /// All mentioned tables.
    pub tables: Vec<Arc<Table>>,
}

/// The analysis of one statement.
pub struct Analyzer<'a> {
    schema: &'a Schema,
    path: &'a [String],
    places: &'a Places<'a>,
    param_uses: &'a HashMap<usize, usize>,
    /// Names and mentions.
    pub scopes: Scopes,
    /// Outcome.
    pub found: Found,
}

/// A query block while it is looked at: what must wait until all its facts are known.
#[derive(Default)]
struct Block<'q> {
    tables: Vec<(Mention, Arc<Table>, Vec<usize>)>,
    /// ON conditions of outer joins: facts for their nullable side alone.
    conditions: Vec<(&'q Expr, ScopeId)>,
    queries: Vec<(Query, ScopeId, Sees)>,
}

/// What a nested query may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// The block's facts: it is evaluated for rows of the block.
    Block,
    /// What the block inherited.
    Outside,
}

/// Names of CTEs in sight.
pub type Ctes = HashSet<String>;

type Outcome<T = ()> = Result<T, Refusal>;

impl<'a> Analyzer<'a> {
    /// An analysis under a search path.
    pub fn new(
        schema: &'a Schema,
        path: &'a [String],
        places: &'a Places<'a>,
        param_uses: &'a HashMap<usize, usize>,
    ) -> Self {
        Self { schema, path, places, param_uses, scopes: Scopes::default(), found: Found::default() }
    }

    /// A query and all that is nested in it.
    pub fn query(&mut self, query: &Query, outer: Option<ScopeId>, inherited: &Facts, ctes: &Ctes) -> Outcome {
        let mut ctes = ctes.clone();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let name = folded(&cte.alias.name);
                if with.recursive {
                    ctes.insert(name.clone());
                }
                self.query(&cte.query, outer, inherited, &ctes)?;
                ctes.insert(name);
            }
        }
        let scope = self.set_expr(&query.body, outer, inherited, &ctes)?;
        let mut rest = Vec::new();
        if let Some(order) = &query.order_by {
            rest.extend(direct_queries(order));
        }
        if let Some(limit) = &query.limit_clause {
            rest.extend(direct_queries(limit));
        }
        for nested in rest {
            self.query(&nested, scope.or(outer), inherited, &ctes)?;
        }
        Ok(())
    }

    fn set_expr(&mut self, body: &SetExpr, outer: Option<ScopeId>, inherited: &Facts, ctes: &Ctes) -> Outcome<Option<ScopeId>> {
        match body {
            SetExpr::Select(select) => self.select(select, outer, inherited, ctes).map(Some),
            SetExpr::Query(query) => self.query(query, outer, inherited, ctes).map(|()| None),
            SetExpr::SetOperation { left, right, .. } => {
                self.set_expr(left, outer, inherited, ctes)?;
                self.set_expr(right, outer, inherited, ctes)?;
                Ok(None)
            }
            SetExpr::Values(values) => {
                for nested in direct_queries(values) {
                    self.query(&nested, outer, inherited, ctes)?;
                }
                Ok(None)
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Refusal::unsupported("data-modifying WITH is not supported across shards yet"))
            }
            SetExpr::Table(_) => Err(Refusal::unsupported("TABLE is not supported across shards yet; use SELECT * FROM")),
        }
    }

    fn select(&mut self, select: &Select, outer: Option<ScopeId>, inherited: &Facts, ctes: &Ctes) -> Outcome<ScopeId> {
        if select.into.is_some() {
            return Err(Refusal::unsupported("SELECT INTO is not supported across shards yet; create the table first"));
        }
        let mut facts = inherited.clone();
        let mut block = Block::default();
        let scope = self.scopes.open(outer);
        self.from_and_where(select, scope, &mut facts, &mut block, ctes)?;
        self.finish(block, &facts, inherited, ctes)?;
        Ok(scope)
    }

    /// A block of a statement that is no SELECT: its tables, then its condition, then other expressions.
    pub fn dml_block(
        &mut self,
        scope: ScopeId,
        tables: &[TableWithJoins],
        selection: Option<&Expr>,
        others: Vec<Query>,
        ctes: &Ctes,
    ) -> Outcome {
        let mut facts = Facts::default();
        let mut block = Block::default();
        for table in tables {
            self.table_with_joins(table, scope, &mut facts, &mut block, ctes)?;
        }
        if let Some(condition) = selection {
            self.conjuncts(condition, scope, &mut facts);
            block.queries.extend(direct_queries(condition).into_iter().map(|q| (q, scope, Sees::Block)));
        }
        block.queries.extend(others.into_iter().map(|q| (q, scope, Sees::Block)));
        self.finish(block, &facts, &Facts::default(), ctes)
    }

    fn from_and_where<'q>(
        &mut self,
        select: &'q Select,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
    ) -> Outcome {
        for table in &select.from {
            self.table_with_joins(table, scope, facts, block, ctes)?;
        }
        if let Some(condition) = &select.selection {
            self.conjuncts(condition, scope, facts);
        }
        let mut nested = direct_queries(&select.projection);
        nested.extend(select.selection.iter().flat_map(direct_queries));
        nested.extend(select.having.iter().flat_map(direct_queries));
        nested.extend(direct_queries(&select.group_by));
        nested.extend(select.distinct.iter().flat_map(direct_queries));
        nested.extend(direct_queries(&select.named_window));
        block.queries.extend(nested.into_iter().map(|q| (q, scope, Sees::Block)));
        Ok(())
    }

    /// Once a block's facts are all known: pins of its tables, then what is nested in it.
    fn finish(&mut self, block: Block<'_>, facts: &Facts, inherited: &Facts, ctes: &Ctes) -> Outcome {
        let mut anchor = None;
        for (mention, table, conditions) in &block.tables {
            let local = self.with_conditions(facts, &block, conditions);
            self.record(*mention, table, local.as_ref().unwrap_or(facts), &mut anchor);
        }
        for (query, scope, sees) in &block.queries {
            let seen = if *sees == Sees::Block { facts } else { inherited };
            self.query(query, Some(*scope), seen, ctes)?;
        }
        Ok(())
    }

    /// The facts that hold for the nullable side of outer joins.
    fn with_conditions(&self, facts: &Facts, block: &Block<'_>, conditions: &[usize]) -> Option<Facts> {
        if conditions.is_empty() {
            return None;
        }
        let mut local = facts.clone();
        let mut due = conditions.to_vec();
        let mut done = HashSet::new();
        while let Some(index) = due.pop() {
            if !done.insert(index) {
                continue;
            }
            let (condition, scope) = block.conditions[index];
            self.conjuncts(condition, scope, &mut local);
            // `c LEFT JOIN … ON c.k = b.k` matches only where b is no null row, so where b's own condition held.
            for mention in self.strict_mentions(condition, scope) {
                let of = block.tables.iter().filter(|(m, ..)| *m == mention);
                due.extend(of.flat_map(|(_, _, own)| own.iter().copied()));
            }
        }
        Some(local)
    }

    /// Mentions with a column in an AND-ed equality of the condition: none of them is a null row where it holds.
    fn strict_mentions(&self, condition: &Expr, scope: ScopeId) -> Vec<Mention> {
        match condition {
            Expr::Nested(inner) => self.strict_mentions(inner, scope),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let mut all = self.strict_mentions(left, scope);
                all.extend(self.strict_mentions(right, scope));
                all
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                [left, right].iter().filter_map(|e| self.scopes.resolve(scope, e)).map(|n| n.0).collect()
            }
            _ => Vec::new(),
        }
    }

    fn record(&mut self, mention: Mention, table: &Arc<Table>, facts: &Facts, anchor: &mut Option<Node>) {
        let Kind::Sharded { key, key_type, .. } = table.kind else { return };
        let column = &table.columns[key].name;
        let node = (mention, column.clone());
        let colocated = facts.are_equal(anchor.get_or_insert_with(|| node.clone()), &node);
        let sources = facts.values(&(mention, column.clone())).cloned();
        let pin = sources.map(|sources| Pin {
            key_type,
            how: Use::Compare,
            sources,
            column: (table.name.clone(), column.clone()),
        });
        self.found.sharded.push(Sharded { pin, colocated });
    }

    fn table_with_joins<'q>(
        &mut self,
        tables: &'q TableWithJoins,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
    ) -> Outcome {
        let first = block.tables.len();
        let first_name = self.scopes.names(scope).len();
        self.factor(&tables.relation, scope, facts, block, ctes, &[])?;
        for join in &tables.joins {
            self.join(join, scope, facts, block, ctes, (first, first_name))?;
        }
        Ok(())
    }

    fn join<'q>(
        &mut self,
        join: &'q Join,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
        (first, first_name): (usize, usize),
    ) -> Outcome {
        use JoinOperator as J;
        let here = block.tables.len();
        match &join.join_operator {
            J::Join(c) | J::Inner(c) | J::CrossJoin(c) => {
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                match c {
                    JoinConstraint::On(condition) => {
                        self.conjuncts(condition, scope, facts);
                        self.nested_in(condition, scope, block);
                    }
                    JoinConstraint::Using(columns) => self.using(columns, scope, first_name, Some(facts)),
                    JoinConstraint::Natural | JoinConstraint::None => {}
                }
                Ok(())
            }
            J::Left(c) | J::LeftOuter(c) => {
                let condition = self.outer_condition(c, scope, block);
                self.factor(&join.relation, scope, facts, block, ctes, &condition)?;
                if let JoinConstraint::Using(columns) = c {
                    self.using(columns, scope, first_name, None);
                }
                Ok(())
            }
            J::Right(c) | J::RightOuter(c) => {
                let condition = self.outer_condition(c, scope, block);
                for (_, _, conditions) in &mut block.tables[first..here] {
                    conditions.extend_from_slice(&condition);
                }
                self.factor(&join.relation, scope, facts, block, ctes, &[])
            }
            J::FullOuter(c) => {
                if let JoinConstraint::On(condition) = c {
                    self.nested_in(condition, scope, block);
                }
                self.factor(&join.relation, scope, facts, block, ctes, &[])
            }
            _ => Err(Refusal::unsupported("this kind of join is not supported")),
        }
    }

    fn nested_in<'q>(&mut self, condition: &'q Expr, scope: ScopeId, block: &mut Block<'q>) {
        block.queries.extend(direct_queries(condition).into_iter().map(|q| (q, scope, Sees::Outside)));
    }

    /// Notes an outer join's condition; its index for the nullable side's tables.
    fn outer_condition<'q>(&mut self, c: &'q JoinConstraint, scope: ScopeId, block: &mut Block<'q>) -> Vec<usize> {
        let JoinConstraint::On(condition) = c else { return Vec::new() };
        self.nested_in(condition, scope, block);
        block.conditions.push((condition, scope));
        vec![block.conditions.len() - 1]
    }

    /// USING: the last mention's columns equal those of an earlier one.
    fn using(&mut self, columns: &[ObjectName], scope: ScopeId, first_name: usize, mut facts: Option<&mut Facts>) {
        for column in columns.iter().filter_map(relation_name).map(|(_, name)| name) {
            let names = &self.scopes.names(scope)[first_name..];
            let Some(((_, right), left)) = names.split_last() else { return };
            let right = *right;
            let mut owners = left.iter().map(|(_, m)| (*m, column.clone())).filter(|n| self.scopes.type_of(n).is_some());
            let owner = owners.next();
            if let (Some(owner), Some(facts)) = (owner, facts.as_deref_mut()) {
                self.equal(facts, &owner, &(right, column.clone()));
            }
            self.scopes.merge(scope, &column);
        }
    }

    fn factor<'q>(
        &mut self,
        factor: &'q TableFactor,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
        conditions: &[usize],
    ) -> Outcome {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                let label = alias.as_ref().map(|a| folded(&a.name));
                if alias.as_ref().is_some_and(|a| !a.columns.is_empty()) && args.is_none() {
                    return Err(Refusal::unsupported("column aliases in FROM are not supported across shards yet"));
                }
                if args.is_some() {
                    block.queries.extend(direct_queries(factor).into_iter().map(|q| (q, scope, Sees::Block)));
                    self.found.relations += 1;
                    let label = label.or_else(|| relation_name(name).map(|(_, n)| n)).unwrap_or_default();
                    self.scopes.mention(scope, label, Source::Opaque);
                    return Ok(());
                }
                self.relation(name, label, scope, block, ctes, conditions)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let label = alias.as_ref().map(|a| folded(&a.name)).unwrap_or_default();
                let renamed = alias.as_ref().is_some_and(|a| !a.columns.is_empty());
                match plain(subquery).filter(|_| !lateral && !renamed && conditions.is_empty()) {
                    Some(select) => self.inline(select, label, scope, facts, block, ctes),
                    None => {
                        let sees = if *lateral { Sees::Block } else { Sees::Outside };
                        block.queries.push(((**subquery).clone(), scope, sees));
                        self.scopes.mention(scope, label, Source::Opaque);
                        Ok(())
                    }
                }
            }
            TableFactor::Function { name, alias, .. } => {
                block.queries.extend(direct_queries(factor).into_iter().map(|q| (q, scope, Sees::Block)));
                self.found.relations += 1;
                let label = alias.as_ref().map(|a| folded(&a.name)).or_else(|| relation_name(name).map(|(_, n)| n));
                self.scopes.mention(scope, label.unwrap_or_default(), Source::Opaque);
                Ok(())
            }
            TableFactor::UNNEST { alias, .. } | TableFactor::TableFunction { alias, .. } => {
                block.queries.extend(direct_queries(factor).into_iter().map(|q| (q, scope, Sees::Block)));
                let label = alias.as_ref().map(|a| folded(&a.name)).unwrap_or_default();
                self.scopes.mention(scope, label, Source::Opaque);
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } if conditions.is_empty() => {
                self.table_with_joins(table_with_joins, scope, facts, block, ctes)
            }
            _ => Err(Refusal::unsupported("this form of FROM is not supported across shards yet")),
        }
    }

    /// A derived table that only filters and picks columns: what holds inside holds outside, and the reverse.
    fn inline<'q>(
        &mut self,
        select: &'q Select,
        label: String,
        scope: ScopeId,
        facts: &mut Facts,
        block: &mut Block<'q>,
        ctes: &Ctes,
    ) -> Outcome {
        let inner = self.scopes.open(None);
        self.from_and_where(select, inner, facts, block, ctes)?;
        let mut columns = Vec::new();
        let mut nodes = Vec::new();
        for item in &select.projection {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(folded(alias))),
                SelectItem::Wildcard(_) if self.scopes.names(inner).len() == 1 => {
                    let (_, mention) = self.scopes.names(inner)[0];
                    let Source::Table(table) = self.scopes.source(mention) else {
                        self.scopes.mention(scope, label, Source::Opaque);
                        return Ok(());
                    };
                    for column in &table.columns {
                        nodes.push(((mention, column.name.clone()), column.name.clone()));
                        columns.push(Column { name: column.name.clone(), type_oid: Some(column.type_oid) });
                    }
                    continue;
                }
                _ => {
                    self.scopes.mention(scope, label, Source::Opaque);
                    return Ok(());
                }
            };
            let node = self.scopes.resolve(inner, expr);
            let name = name.or_else(|| node.as_ref().map(|n| n.1.clone())).unwrap_or_default();
            columns.push(Column { name: name.clone(), type_oid: node.as_ref().and_then(|n| self.scopes.type_of(n)) });
            nodes.extend(node.map(|node| (node, name)));
        }
        let mention = self.scopes.mention(scope, label, Source::Derived(columns));
        for (node, name) in nodes {
            facts.equal(&node, &(mention, name));
        }
        Ok(())
    }

    fn relation(
        &mut self,
        name: &ObjectName,
        label: Option<String>,
        scope: ScopeId,
        block: &mut Block<'_>,
        ctes: &Ctes,
        conditions: &[usize],
    ) -> Outcome {
        self.found.relations += 1;
        let Some((schema, bare)) = relation_name(name) else {
            return Err(Refusal::unsupported(format!("the name {name} is not understood")));
        };
        let label = label.unwrap_or_else(|| bare.clone());
        if schema.is_none() && ctes.contains(&bare) {
            self.scopes.mention(scope, label, Source::Opaque);
            return Ok(());
        }
        let Some(table) = self.table(name)? else {
            self.scopes.mention(scope, label, Source::Opaque);
            return Ok(());
        };
        let mention = self.scopes.mention(scope, label, Source::Table(table.clone()));
        block.tables.push((mention, table, conditions.to_vec()));
        Ok(())
    }

    /// Looks a relation up and notes its group; `None` for system catalogs and unknown names.
    pub fn table(&mut self, name: &ObjectName) -> Outcome<Option<Arc<Table>>> {
        let Some((schema, bare)) = relation_name(name) else {
            return Err(Refusal::unsupported(format!("the name {name} is not understood")));
        };
        let table = match &schema {
            Some(schema) => self.schema.get(schema, &bare),
            None if is_system(None, &bare) => None,
            None => self.path.iter().find_map(|s| self.schema.get(s, &bare)),
        };
        let Some(table) = table.cloned() else {
            if !is_system(schema.as_deref(), &bare) {
                self.found.unknown.get_or_insert_with(|| name.to_string());
            }
            return Ok(None);
        };
        self.note(&table)?;
        self.found.tables.push(table.clone());
        Ok(Some(table))
    }

    fn note(&mut self, table: &Table) -> Outcome {
        let name = &table.name;
        match &table.kind {
            Kind::View(_) if !self.schema.is_unsharded() => Err(Refusal::unsupported(format!(
                "\"{name}\" is a view; what it reads can't be routed yet"
            ))),
            Kind::Unlisted if !self.schema.is_unsharded() => Err(Refusal {
                code: "0A000",
                message: format!("table \"{name}\" has no usable key column and no [[databases.tables]] entry"),
                hint: "Add an entry that says whether it is sharded, reference or local, then RELOAD.",
            }),
            Kind::Ambiguous => Err(Refusal {
                code: "0A000",
                message: format!("table \"{name}\" exists in several shard groups"),
                hint: "Add a [[databases.tables]] entry that says which group it belongs to, then RELOAD.",
            }),
            kind => {
                if let Kind::Local(place) = kind {
                    self.found.local.push(*place);
                }
                self.found.groups.extend(table.group().map(|GroupId(g)| g));
                Ok(())
            }
        }
    }

    /// Takes every AND-ed equality of a condition into the facts.
    fn conjuncts(&self, condition: &Expr, scope: ScopeId, facts: &mut Facts) {
        match condition {
            Expr::Nested(inner) => self.conjuncts(inner, scope, facts),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conjuncts(left, scope, facts);
                self.conjuncts(right, scope, facts);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => self.equality(left, right, scope, facts),
            Expr::InList { expr, list, negated: false } => {
                if let Some(node) = self.scopes.resolve(scope, expr)
                    && let Some(sources) = list.iter().map(|e| self.key_source(e)).collect::<Option<Vec<_>>>()
                {
                    facts.has(&node, Sources::List(sources));
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(node) = self.scopes.resolve(scope, left)
                    && let Some(sources) = self.array(right)
                {
                    facts.has(&node, sources);
                }
            }
            _ => {}
        }
    }

    fn equality(&self, left: &Expr, right: &Expr, scope: ScopeId, facts: &mut Facts) {
        let (a, b) = (self.scopes.resolve(scope, left), self.scopes.resolve(scope, right));
        match (a, b) {
            (Some(a), Some(b)) => self.equal(facts, &a, &b),
            (Some(node), None) => {
                if let Some(source) = self.key_source(right) {
                    facts.has(&node, Sources::List(vec![source]));
                }
            }
            (None, Some(node)) => {
                if let Some(source) = self.key_source(left) {
                    facts.has(&node, Sources::List(vec![source]));
                }
            }
            (None, None) => self.row_equality(left, right, scope, facts),
        }
    }

    /// `(a, b) = (1, 2)`
    fn row_equality(&self, left: &Expr, right: &Expr, scope: ScopeId, facts: &mut Facts) {
        if let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right)
            && left.len() == right.len()
        {
            left.iter().zip(right).for_each(|(l, r)| self.equality(l, r, scope, facts));
        }
    }

    fn equal(&self, facts: &mut Facts, a: &Node, b: &Node) {
        if let (Some(x), Some(y)) = (self.scopes.type_of(a), self.scopes.type_of(b))
            && comparable(x, y)
        {
            facts.equal(a, b);
        }
    }

    fn array(&self, expr: &Expr) -> Option<Sources> {
        match expr {
            Expr::Nested(inner) => self.array(inner),
            Expr::Array(array) => {
                array.elem.iter().map(|e| self.key_source(e)).collect::<Option<Vec<_>>>().map(Sources::List)
            }
            Expr::Value(_) => self.key_source(expr).map(Sources::Array),
            Expr::Cast { expr, data_type: DataType::Array(inner), .. } => {
                let sqlparser::ast::ArrayElemTypeDef::SquareBracket(element, _) = inner else { return None };
                let cast = Some(cast_type(element)?);
                match self.array(expr)? {
                    Sources::Array(KeySource::Literal { index, negative: false, cast: None }) => {
                        Some(Sources::Array(KeySource::Literal { index, negative: false, cast }))
                    }
                    Sources::Array(KeySource::Param { number, cast: None, elsewhere }) => {
                        Some(Sources::Array(KeySource::Param { number, cast, elsewhere }))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Where a key value stands, if the expression is a constant that can be read without evaluating.
    pub fn key_source(&self, expr: &Expr) -> Option<KeySource> {
        match expr {
            Expr::Nested(inner) => self.key_source(inner),
            Expr::Value(value) => match &value.value {
                Value::Null => Some(KeySource::Null),
                Value::Placeholder(name) => {
                    let number = name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)?;
                    let elsewhere = self.param_uses.get(&number).copied().unwrap_or(0) > 1;
                    Some(KeySource::Param { number, cast: None, elsewhere })
                }
                _ => {
                    let start = value.span.start;
                    let index = self.places.literal_at(start.line, start.column)?;
                    Some(KeySource::Literal { index, negative: false, cast: None })
                }
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.key_source(expr)? {
                KeySource::Literal { index, negative: false, cast: None } => {
                    Some(KeySource::Literal { index, negative: true, cast: None })
                }
                _ => None,
            },
            Expr::Cast { expr, data_type, format: None, .. } => self.cast(expr, data_type),
            Expr::TypedString(typed) => {
                let start = typed.value.span.start;
                let index = self.places.literal_at(start.line, start.column)?;
                Some(KeySource::Literal { index, negative: false, cast: Some(cast_type(&typed.data_type)?) })
            }
            _ => None,
        }
    }

    fn cast(&self, expr: &Expr, data_type: &DataType) -> Option<KeySource> {
        let cast = Some(cast_type(data_type)?);
        match self.key_source(expr)? {
            KeySource::Literal { index, negative: false, cast: None } => {
                Some(KeySource::Literal { index, negative: false, cast })
            }
            KeySource::Param { number, cast: None, elsewhere } => Some(KeySource::Param { number, cast, elsewhere }),
            KeySource::Null => Some(KeySource::Null),
            _ => None,
        }
    }
}

/// The types under which a cast value is still read without evaluating: no length, no precision.
fn cast_type(data_type: &DataType) -> Option<ParamType> {
    match data_type {
        DataType::SmallInt(None) | DataType::Int2(None) => Some(ParamType::Int2),
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Some(ParamType::Int4),
        DataType::BigInt(None) | DataType::Int8(None) => Some(ParamType::Int8),
        DataType::Text => Some(ParamType::Text),
        DataType::Varchar(None) | DataType::CharacterVarying(None) => Some(ParamType::Varchar),
        DataType::Uuid => Some(ParamType::Uuid),
        _ => None,
    }
}

/// Whether a name is one of Postgres's own, which every shard has alike.
fn is_system(schema: Option<&str>, name: &str) -> bool {
    match schema {
        Some(schema) => matches!(schema, "pg_catalog" | "information_schema"),
        None => name.starts_with("pg_"),
    }
}

/// A derived table's SELECT if it only filters and picks: no grouping, no limit, no window, nothing that looks at
/// rows together.
fn plain(query: &Query) -> Option<&Select> {
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match &*query.body {
        SetExpr::Select(select) if bare && is_row_by_row(select) => Some(select),
        _ => None,
    }
}

/// Whether a SELECT gives its rows one by one: no DISTINCT, grouping, aggregate, window or set-returning function.
pub fn is_row_by_row(select: &Select) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let distinct = matches!(&select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
    !grouped && !distinct && select.having.is_none() && select.named_window.is_empty() && select.qualify.is_none()
        && select.projection.iter().all(only_scalars)
}

fn only_scalars(item: &SelectItem) -> bool {
    struct Functions;
    impl Visitor for Functions {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(f) if !is_scalar(f) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    item.visit(&mut Functions).is_continue()
}

/// Functions known to look at one row and to give one value. What is not listed may be an aggregate.
fn is_scalar(function: &sqlparser::ast::Function) -> bool {
    const SCALARS: &[&str] = &[
        "abs", "ceil", "ceiling", "floor", "round", "trunc", "sign", "sqrt", "power", "mod", "coalesce", "nullif",
        "greatest", "least", "lower", "upper", "length", "char_length", "substr", "substring", "left", "right",
        "replace", "trim", "btrim", "ltrim", "rtrim", "concat", "concat_ws", "md5", "to_char", "date_trunc",
        "date_part", "to_json", "to_jsonb", "jsonb_build_object", "json_build_object", "array_length",
        "cardinality", "encode", "decode", "initcap", "strpos", "split_part", "lpad", "rpad", "repeat", "reverse",
    ];
    let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    let distinct = matches!(&function.args, FunctionArguments::List(l) if l.duplicate_treatment.is_some() || !l.clauses.is_empty());
    plain && !distinct
        && matches!(relation_name(&function.name), Some((schema, name))
            if schema.as_deref().is_none_or(|s| s == "pg_catalog") && SCALARS.contains(&name.as_str()))
}

/// The queries nested in a piece of syntax, not those nested in these.
pub fn direct_queries(piece: &impl Visit) -> Vec<Query> {
    #[derive(Default)]
    struct Collector {
        depth: usize,
        queries: Vec<Query>,
    }
    impl Visitor for Collector {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if self.depth == 0 {
                self.queries.push(query.clone());
            }
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
    }
    let mut collector = Collector::default();
    let _ = piece.visit(&mut collector);
    collector.queries
}
