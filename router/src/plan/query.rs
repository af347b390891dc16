//! Key analysis: which sharded relations a query mentions, and to which keys each of them is pinned.

use super::Refusal;
use super::facts::{Facts, Mention, Node};
use super::pin::{KeySource, Pin, Places, Sources};
use super::scope::{Column, Named, ScopeId, Scopes, Source, View, comparable, folded, relation_name};
use crate::schema::{GroupId, Kind, Schema, ShardRef, Table};
use shardway_shardmap::{ParamType, Use};
use sqlparser::ast::{
    BinaryOperator, DataType, Distinct, Expr, FunctionArguments, GroupByExpr, Join, JoinConstraint,
    JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, UnaryOperator,
    Value, Visit, Visitor,
};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A sharded table in a statement.
#[derive(Clone, Debug)]
pub struct Sharded {
    /// Where its key must be, if that is known.
    pub pin: Option<Pin>,
    /// The key's type.
    pub type_oid: u32,
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
    /// Whether a system catalog is mentioned: its object ids differ from shard to shard.
    pub system: bool,
}

/// The analysis of one statement.
pub struct Analyzer<'a> {
    schema: &'a Schema,
    path: &'a [String],
    places: &'a Places<'a>,
    param_uses: &'a HashMap<usize, usize>,
    /// Where a parameter stands beside a column, by number, line and column of the text.
    key_uses: RefCell<HashMap<(usize, u64, u64), u32>>,
    /// Names and mentions.
    pub scopes: Scopes,
    /// Outcome.
    pub found: Found,
}

/// A query block while it is looked at: what must wait until all its facts are known.
#[derive(Default)]
struct Block<'q> {
    tables: Vec<(Mention, Arc<Table>, Vec<usize>)>,
    /// ON conditions that hold for some tables alone: those of outer joins, and those that an outer join follows.
    conditions: Vec<Condition<'q>>,
    queries: Vec<(Query, View, Sees)>,
}

/// What an outer join asks of its nullable side.
#[derive(Clone)]
enum Condition<'q> {
    /// ON, and what it sees.
    On(&'q Expr, View),
    /// USING, or NATURAL of which nothing is known.
    Using(Vec<(Node, Node)>),
}

/// Where a join stands among the joins of its FROM item.
#[derive(Clone, Copy)]
struct JoinPlace {
    /// First table of the item.
    first: usize,
    /// First name of the item.
    first_name: usize,
    /// Whether no RIGHT or FULL join follows, so that its condition holds for every row.
    kept: bool,
}

/// What a nested query may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// The block's facts: it is evaluated for rows of the block.
    Block,
    /// What the block inherited.
    Outside,
}

/// A derived table's column: its name, and the column that it is, if it is a plain one.
type Output = (String, Option<Node>);

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
        Self {
            schema,
            path,
            places,
            param_uses,
            key_uses: RefCell::default(),
            scopes: Scopes::default(),
            found: Found::default(),
        }
    }

    /// A query and all that is nested in it.
    pub fn query(&mut self, query: &Query, outer: Option<View>, inherited: &Facts, ctes: &Ctes) -> Outcome {
        let mut ctes = ctes.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                // Each sees all of them, those behind it too.
                ctes.extend(with.cte_tables.iter().map(|cte| folded(&cte.alias.name)));
            }
            for cte in &with.cte_tables {
                self.query(&cte.query, outer, inherited, &ctes)?;
                ctes.insert(folded(&cte.alias.name));
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
            self.query(&nested, scope.map(View::from).or(outer), inherited, &ctes)?;
        }
        Ok(())
    }

    fn set_expr(
        &mut self,
        body: &SetExpr,
        outer: Option<View>,
        inherited: &Facts,
        ctes: &Ctes,
    ) -> Outcome<Option<ScopeId>> {
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
            SetExpr::Table(_) => {
                Err(Refusal::unsupported("TABLE is not supported across shards yet; use SELECT * FROM"))
            }
        }
    }

    fn select(
        &mut self,
        select: &Select,
        outer: Option<View>,
        inherited: &Facts,
        ctes: &Ctes,
    ) -> Outcome<ScopeId> {
        if select.into.is_some() {
            return Err(Refusal::unsupported(
                "SELECT INTO is not supported across shards yet; create the table first",
            ));
        }
        let mut facts = inherited.clone();
        let mut block = Block::default();
        let scope = self.scopes.open(outer);
        self.block_of(select, scope, &mut facts, &mut block, ctes)?;
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
            block
                .queries
                .extend(direct_queries(condition).into_iter().map(|q| (q, scope.into(), Sees::Block)));
        }
        block.queries.extend(others.into_iter().map(|q| (q, scope.into(), Sees::Block)));
        self.finish(block, &facts, &Facts::default(), ctes)
    }

    fn block_of<'q>(
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
        nested.extend(select.having.iter().flat_map(direct_queries));
        nested.extend(direct_queries(&select.group_by));
        nested.extend(select.distinct.iter().flat_map(direct_queries));
        nested.extend(direct_queries(&select.named_window));
        // An aggregate gives a row even where WHERE lets none through: what it says does not hold then.
        let sees = if self.may_invent_rows(select, scope) { Sees::Outside } else { Sees::Block };
        block.queries.extend(nested.into_iter().map(|q| (q, scope.into(), sees)));
        let filters = select.selection.iter().flat_map(direct_queries);
        block.queries.extend(filters.map(|q| (q, scope.into(), Sees::Block)));
        Ok(())
    }

    /// Whether a SELECT may give a row that no row of its FROM stands behind.
    fn may_invent_rows(&self, select: &Select, scope: ScopeId) -> bool {
        let grouped_by_rows = matches!(&select.group_by, GroupByExpr::Expressions(list, modifiers)
            if !list.is_empty() && modifiers.is_empty()
                && !list.iter().any(|e| matches!(e, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) | Expr::Tuple(_))));
        !grouped_by_rows && !self.is_without_aggregates(select, scope)
    }

    /// Whether no aggregate of a SELECT is its own. One in a sub-select belongs to that, unless its arguments are of here.
    fn is_without_aggregates(&self, select: &Select, scope: ScopeId) -> bool {
        struct Own<'a, 'b> {
            analyzer: &'a Analyzer<'b>,
            scope: ScopeId,
            depth: usize,
        }
        impl Visitor for Own<'_, '_> {
            type Break = ();
            fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
                self.depth += 1;
                ControlFlow::Continue(())
            }
            fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
                self.depth -= 1;
                ControlFlow::Continue(())
            }
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let Expr::Function(f) = expr else { return ControlFlow::Continue(()) };
                let nested =
                    self.depth > 0 && !mentions(&f.args, |e| self.analyzer.scopes.may_own(self.scope, e));
                if nested || is_scalar(f, self.analyzer.schema) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            }
        }
        let own = || Own { analyzer: self, scope, depth: 0 };
        select.having.is_none() && select.projection.visit(&mut own()).is_continue()
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
            let strict = match &block.conditions[index] {
                Condition::On(condition, view) => {
                    self.conjuncts(condition, *view, &mut local);
                    self.strict_mentions(condition, *view)
                }
                Condition::Using(pairs) => {
                    pairs.iter().for_each(|(a, b)| self.equal(&mut local, a, b));
                    pairs.iter().flat_map(|(a, b)| [a.0, b.0]).collect()
                }
            };
            // `c LEFT JOIN … ON c.k = b.k` matches only where b is no null row, so where b's own condition held.
            for mention in strict {
                let of = block.tables.iter().filter(|(m, ..)| *m == mention);
                due.extend(of.flat_map(|(_, _, own)| own.iter().copied()));
            }
        }
        Some(local)
    }

    /// Mentions with a column in an AND-ed equality of the condition: none of them is a null row where it holds.
    fn strict_mentions(&self, condition: &Expr, scope: View) -> Vec<Mention> {
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
        self.found.sharded.push(Sharded { pin, type_oid: table.columns[key].type_oid, colocated });
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
        let optional = |join: &Join| {
            use JoinOperator as J;
            matches!(join.join_operator, J::Right(_) | J::RightOuter(_) | J::FullOuter(_))
        };
        let last_optional = tables.joins.iter().rposition(optional);
        if last_optional.is_some()
            && tables.joins.iter().map(|j| &j.relation).chain([&tables.relation]).any(is_nested_join)
        {
            return Err(Refusal::unsupported(
                "parentheses in FROM beside RIGHT or FULL JOIN are not supported across shards yet",
            ));
        }
        self.factor(&tables.relation, scope, facts, block, ctes, &[])?;
        for (i, join) in tables.joins.iter().enumerate() {
            let kept = last_optional.is_none_or(|last| i > last);
            self.join(join, scope, facts, block, ctes, JoinPlace { first, first_name, kept })?;
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
        place: JoinPlace,
    ) -> Outcome {
        use JoinOperator as J;
        let here = block.tables.len();
        match &join.join_operator {
            J::Join(c) | J::Inner(c) | J::CrossJoin(c) => {
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                match c {
                    JoinConstraint::On(condition) => {
                        let view = self.scopes.view(scope, place.first_name);
                        nested_in(condition, view, block);
                        if place.kept {
                            self.conjuncts(condition, view, facts);
                        } else {
                            // An outer join that follows keeps rows for which this does not hold.
                            block.conditions.push(Condition::On(condition, view));
                            for (_, _, conditions) in &mut block.tables[place.first..] {
                                conditions.push(block.conditions.len() - 1);
                            }
                        }
                    }
                    JoinConstraint::Using(columns) => {
                        let pairs = self.using(columns, scope, place.first_name);
                        if place.kept {
                            pairs.iter().for_each(|(a, b)| self.equal(facts, a, b));
                        }
                    }
                    JoinConstraint::Natural | JoinConstraint::None => {}
                }
                Ok(())
            }
            J::Left(c) | J::LeftOuter(c) => {
                let condition = outer_condition(c, block);
                self.factor(&join.relation, scope, facts, block, ctes, &condition)?;
                self.place_condition(c, scope, place, block, &condition);
                Ok(())
            }
            J::Right(c) | J::RightOuter(c) => {
                let condition = outer_condition(c, block);
                for (_, _, conditions) in &mut block.tables[place.first..here] {
                    conditions.extend_from_slice(&condition);
                }
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                self.place_condition(c, scope, place, block, &condition);
                self.blur_merged(c, scope);
                Ok(())
            }
            J::FullOuter(c) => {
                self.factor(&join.relation, scope, facts, block, ctes, &[])?;
                if let JoinConstraint::On(condition) = c {
                    nested_in(condition, self.scopes.view(scope, place.first_name), block);
                }
                self.blur_merged(c, scope);
                Ok(())
            }
            _ => Err(Refusal::unsupported("this kind of join is not supported")),
        }
    }

    /// RIGHT and FULL joins merge columns into ones that are not the first owner's.
    fn blur_merged(&mut self, c: &JoinConstraint, scope: ScopeId) {
        if matches!(c, JoinConstraint::Using(_) | JoinConstraint::Natural) {
            self.scopes.blur(scope);
        }
    }

    /// Once both sides of a join are named, its condition sees them.
    fn place_condition<'q>(
        &mut self,
        c: &'q JoinConstraint,
        scope: ScopeId,
        place: JoinPlace,
        block: &mut Block<'q>,
        noted: &[usize],
    ) {
        let view = self.scopes.view(scope, place.first_name);
        let condition = match c {
            JoinConstraint::On(condition) => {
                nested_in(condition, view, block);
                Condition::On(condition, view)
            }
            JoinConstraint::Using(columns) => Condition::Using(self.using(columns, scope, place.first_name)),
            JoinConstraint::Natural | JoinConstraint::None => return,
        };
        noted.iter().for_each(|&index| block.conditions[index] = condition.clone());
    }

    /// USING: the last mention's columns, each with the earlier one that it equals, where that can be said.
    fn using(&mut self, columns: &[ObjectName], scope: ScopeId, first_name: usize) -> Vec<(Node, Node)> {
        let mut pairs = Vec::new();
        for column in columns.iter().filter_map(relation_name).map(|(_, name)| name) {
            let names = &self.scopes.names(scope)[first_name..];
            let Some((Named { mention: right, .. }, left)) = names.split_last() else { break };
            let owner =
                left.iter().map(|n| (n.mention, column.clone())).find(|n| self.scopes.type_of(n).is_some());
            if let (Some(owner), false) = (owner, self.scopes.is_blurred(scope)) {
                pairs.push((owner, (*right, column.clone())));
            }
            self.scopes.merge(scope, &column);
        }
        pairs
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
                    return Err(Refusal::unsupported(
                        "column aliases in FROM are not supported across shards yet",
                    ));
                }
                if args.is_some() {
                    self.lateral_in(factor, scope, block);
                    self.found.relations += 1;
                    let label = label.or_else(|| relation_name(name).map(|(_, n)| n)).unwrap_or_default();
                    self.scopes.alias(scope, label, Source::Opaque);
                    return Ok(());
                }
                self.relation(name, label, scope, block, ctes, conditions)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let label = alias.as_ref().map(|a| folded(&a.name)).unwrap_or_default();
                let renamed = alias.as_ref().is_some_and(|a| !a.columns.is_empty());
                match plain(subquery, self.schema).filter(|_| !lateral && !renamed && conditions.is_empty()) {
                    Some(select) => self.inline(select, label, scope, facts, block, ctes),
                    None => {
                        let sees = if *lateral { Sees::Block } else { Sees::Outside };
                        block.queries.push(((**subquery).clone(), self.scopes.view(scope, 0), sees));
                        self.scopes.alias(scope, label, Source::Opaque);
                        Ok(())
                    }
                }
            }
            TableFactor::Function { name, alias, .. } => {
                self.lateral_in(factor, scope, block);
                let label =
                    alias.as_ref().map(|a| folded(&a.name)).or_else(|| relation_name(name).map(|(_, n)| n));
                self.scopes.alias(scope, label.unwrap_or_default(), Source::Opaque);
                Ok(())
            }
            TableFactor::UNNEST { alias, .. } | TableFactor::TableFunction { alias, .. } => {
                self.lateral_in(factor, scope, block);
                let label = alias.as_ref().map(|a| folded(&a.name)).unwrap_or_default();
                self.scopes.alias(scope, label, Source::Opaque);
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } if conditions.is_empty() => {
                self.table_with_joins(table_with_joins, scope, facts, block, ctes)
            }
            _ => Err(Refusal::unsupported("this form of FROM is not supported across shards yet")),
        }
    }

    /// Queries in a function's arguments see what stands before it in FROM.
    fn lateral_in(&self, factor: &TableFactor, scope: ScopeId, block: &mut Block<'_>) {
        let view = self.scopes.view(scope, 0);
        block.queries.extend(direct_queries(factor).into_iter().map(|q| (q, view, Sees::Block)));
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
        self.block_of(select, inner, facts, block, ctes)?;
        let Some((outputs, complete)) = self.outputs(select, inner) else {
            self.scopes.alias(scope, label, Source::Opaque);
            return Ok(());
        };
        let columns = outputs.iter().map(|(name, node)| Column {
            name: name.clone(),
            type_oid: node.as_ref().and_then(|n| self.scopes.type_of(n)),
        });
        let mention = self.scopes.alias(scope, label, Source::Derived(columns.collect(), complete));
        for (name, node) in &outputs {
            // A name that two columns have means neither.
            let unique = outputs.iter().filter(|(other, _)| other == name).count() == 1;
            if let (Some(node), true) = (node, unique) {
                self.equal(facts, node, &(mention, name.clone()));
            }
        }
        Ok(())
    }

    /// A SELECT's columns, as far as they have plain names, and whether those are all; `None` where that can't be said.
    fn outputs(&self, select: &Select, inner: ScopeId) -> Option<(Vec<Output>, bool)> {
        let (mut outputs, mut complete) = (Vec::new(), true);
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { expr, alias } => {
                    outputs.push((folded(alias), self.scopes.resolve(inner, expr)));
                }
                SelectItem::UnnamedExpr(expr) => match column_name(expr) {
                    Some(name) => outputs.push((name, self.scopes.resolve(inner, expr))),
                    None => complete = false,
                },
                SelectItem::Wildcard(_) => {
                    let [Named { mention, .. }] = self.scopes.names(inner) else { return None };
                    let Source::Table(table) = self.scopes.source(*mention) else { return None };
                    outputs.extend(
                        table.columns.iter().map(|c| (c.name.clone(), Some((*mention, c.name.clone())))),
                    );
                }
                _ => return None,
            }
        }
        Some((outputs, complete))
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
        let aliased = label.is_some();
        let label = label.unwrap_or_else(|| bare.clone());
        if schema.is_none() && ctes.contains(&bare) {
            self.scopes.mention(scope, label, aliased, Source::Opaque);
            return Ok(());
        }
        let Some(table) = self.table(name)? else {
            self.scopes.mention(scope, label, aliased, Source::Opaque);
            return Ok(());
        };
        let mention = self.scopes.mention(scope, label, aliased, Source::Table(table.clone()));
        block.tables.push((mention, table, conditions.to_vec()));
        Ok(())
    }

    /// Looks a relation up and notes its group; `None` for system catalogs and unknown names.
    pub fn table(&mut self, name: &ObjectName) -> Outcome<Option<Arc<Table>>> {
        let Some((schema, bare)) = relation_name(name) else {
            return Err(Refusal::unsupported(format!("the name {name} is not understood")));
        };
        if is_only(name) {
            return Err(Refusal::unsupported("ONLY is not supported across shards yet"));
        }
        let table = self.schema.find(self.path, schema.as_deref(), &bare);
        let Some(table) = table.cloned() else {
            if is_system(schema.as_deref(), &bare) {
                self.found.system = true;
            } else {
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
            Kind::View(_) if !self.schema.is_unsharded() => {
                Err(Refusal::unsupported(format!("\"{name}\" is a view; what it reads can't be routed yet")))
            }
            Kind::Unlisted if !self.schema.is_unsharded() => Err(Refusal {
                code: "0A000",
                message: format!(
                    "table \"{name}\" has no usable key column and no [[databases.tables]] entry"
                ),
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
    fn conjuncts(&self, condition: &Expr, scope: impl Into<View>, facts: &mut Facts) {
        let scope = scope.into();
        match condition {
            Expr::Nested(inner) => self.conjuncts(inner, scope, facts),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conjuncts(left, scope, facts);
                self.conjuncts(right, scope, facts);
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                self.equality(left, right, scope, facts)
            }
            Expr::InList { expr, list, negated: false } => {
                if let Some(node) = self.scopes.resolve(scope, expr)
                    && let Some(sources) = list.iter().map(|e| self.key_source(e)).collect::<Option<Vec<_>>>()
                {
                    self.has(facts, &node, Sources::List(sources), list);
                }
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(node) = self.scopes.resolve(scope, left)
                    && let Some(sources) = self.array(right)
                {
                    self.has(facts, &node, sources, []);
                }
            }
            _ => {}
        }
    }

    fn equality(&self, left: &Expr, right: &Expr, scope: View, facts: &mut Facts) {
        let (a, b) = (self.scopes.resolve(scope, left), self.scopes.resolve(scope, right));
        match (a, b) {
            (Some(a), Some(b)) => self.equal(facts, &a, &b),
            (Some(node), None) => {
                if let Some(source) = self.key_source(right) {
                    self.has(facts, &node, Sources::List(vec![source]), [right]);
                }
            }
            (None, Some(node)) => {
                if let Some(source) = self.key_source(left) {
                    self.has(facts, &node, Sources::List(vec![source]), [left]);
                }
            }
            (None, None) => self.row_equality(left, right, scope, facts),
        }
    }

    /// `(a, b) = (1, 2)`
    fn row_equality(&self, left: &Expr, right: &Expr, scope: View, facts: &mut Facts) {
        if let (Expr::Tuple(left), Expr::Tuple(right)) = (left, right)
            && left.len() == right.len()
        {
            left.iter().zip(right).for_each(|(l, r)| self.equality(l, r, scope, facts));
        }
    }

    /// Takes a column's values into the facts, unless values that are not the same may be equal there.
    fn has<'e>(
        &self,
        facts: &mut Facts,
        node: &Node,
        sources: Sources,
        exprs: impl IntoIterator<Item = &'e Expr>,
    ) {
        let Some(oid) = self.scopes.type_of(node) else { return };
        exprs.into_iter().for_each(|expr| self.note_use(expr, oid));
        facts.has(node, sources);
    }

    /// Notes a parameter that stands beside a column of a type: there it is of that type, or of one like it.
    pub fn note_use(&self, expr: &Expr, oid: u32) {
        match expr {
            Expr::Nested(inner) => self.note_use(inner, oid),
            Expr::Value(value) => {
                if let Some(number) = placeholder(&value.value) {
                    let start = value.span.start;
                    self.key_uses.borrow_mut().insert((number, start.line, start.column), oid);
                }
            }
            _ => {}
        }
    }

    /// Settles, once all is seen, which parameters are used for nothing but columns like the key.
    pub fn settle(&self, pin: &mut Pin, oid: u32) {
        let uses = self.key_uses.borrow();
        let settle = |source: &mut KeySource| {
            if let KeySource::Param { number, elsewhere, .. } = source {
                let alike =
                    uses.iter().filter(|((n, ..), other)| n == number && comparable(**other, oid)).count();
                *elsewhere = self.param_uses.get(number).copied().unwrap_or(0) > alike.max(1);
            }
        };
        match &mut pin.sources {
            Sources::List(list) => list.iter_mut().for_each(settle),
            Sources::Array(source) => std::iter::once(source).for_each(settle),
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
                Value::Placeholder(_) => {
                    let number = placeholder(&value.value)?;
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
            KeySource::Param { number, cast: None, elsewhere } => {
                Some(KeySource::Param { number, cast, elsewhere })
            }
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

/// A parameter's number, from 0.
pub fn placeholder(value: &Value) -> Option<usize> {
    let Value::Placeholder(name) = value else { return None };
    name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// The column that Postgres names an expression after, if it is a plain reference.
fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => column_name(inner),
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        _ => None,
    }
}

fn is_nested_join(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::NestedJoin { .. })
}

fn nested_in<'q>(condition: &'q Expr, view: View, block: &mut Block<'q>) {
    block.queries.extend(direct_queries(condition).into_iter().map(|q| (q, view, Sees::Outside)));
}

/// Makes room for an outer join's condition; its index for the nullable side's tables.
fn outer_condition(c: &JoinConstraint, block: &mut Block<'_>) -> Vec<usize> {
    match c {
        JoinConstraint::On(_) | JoinConstraint::Using(_) => {
            block.conditions.push(Condition::Using(Vec::new()));
            vec![block.conditions.len() - 1]
        }
        JoinConstraint::Natural | JoinConstraint::None => Vec::new(),
    }
}

/// Whether it is the word ONLY, which the parser takes for a relation with an alias.
fn is_only(name: &ObjectName) -> bool {
    matches!(&name.0[..], [part] if part.as_ident().is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("only")))
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
fn plain<'q>(query: &'q Query, schema: &Schema) -> Option<&'q Select> {
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match &*query.body {
        SetExpr::Select(select) if bare && is_row_by_row(select, schema) => Some(select),
        _ => None,
    }
}

/// Whether a SELECT gives its rows one by one: no DISTINCT, grouping, aggregate, window or set-returning function.
pub fn is_row_by_row(select: &Select, schema: &Schema) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let distinct = matches!(&select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
    !grouped
        && !distinct
        && select.having.is_none()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.projection.iter().all(|item| only_scalars(item, schema))
}

fn only_scalars(item: &SelectItem, schema: &Schema) -> bool {
    struct Scalars<'a>(&'a Schema);
    impl Visitor for Scalars<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(f) if !is_scalar(f, self.0) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    item.visit(&mut Scalars(schema)).is_continue()
}

/// Functions known to look at one row and to give one value. What is not known may be an aggregate.
fn is_scalar(function: &sqlparser::ast::Function, schema: &Schema) -> bool {
    let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    let distinct = matches!(&function.args, FunctionArguments::List(l) if l.duplicate_treatment.is_some() || !l.clauses.is_empty());
    plain
        && !distinct
        && relation_name(&function.name).is_some_and(|(_, name)| schema.functions.is_scalar(&name))
}

/// Whether a piece of syntax has an expression that `is` says yes to.
fn mentions(piece: &impl Visit, is: impl Fn(&Expr) -> bool) -> bool {
    struct Any<F>(F);
    impl<F: Fn(&Expr) -> bool> Visitor for Any<F> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if (self.0)(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    piece.visit(&mut Any(is)).is_break()
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
