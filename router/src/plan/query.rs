//! Key analysis: which sharded relations a query mentions, and to which keys each of them is pinned.

pub(super) mod conditions;
mod forms;
mod from;
mod known;
mod links;
mod pushed;
mod relations;
mod stored;

use super::Refusal;
use super::facts::{Facts, Mention, Node};
use super::pin::{Pin, Places, Sources};
use super::scope::{ScopeId, Scopes, View, folded};
use super::traits::Uses;
use crate::schema::{Kind, Schema, ShardRef, Table};
pub use forms::{direct_queries, is_row_by_row, is_scalar_throughout};
use forms::{is_scalar, mentions};
use known::Kept;
pub use known::{Ctes, Does, Known, Lies};
pub use pushed::{Piece, Pushed};
use shardway_shardmap::Use;
use sqlparser::ast::{Expr, GroupByExpr, ObjectName, Query, Select, SetExpr, TableWithJoins, Visit, Visitor};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
pub use stored::item;

/// A sharded table in a statement.
#[derive(Clone, Debug)]
pub struct Sharded {
    /// Where its key must be, if that is known.
    pub pin: Option<Pin>,
    /// The key's type.
    pub type_oid: u32,
    /// Whether its key equals that of the first sharded table of its block, for every row that matters.
    pub colocated: bool,
    /// Whether its key equals that of the row that is written, for every row that matters.
    pub with_target: bool,
    /// Whether its rows are where the statement runs because those of a WITH before it are.
    pub at_home: bool,
}

/// A table where a statement names it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name.
    pub name: ObjectName,
    /// What columns are called by there: its alias, or its own name.
    pub label: String,
    /// Whether that is an alias.
    pub aliased: bool,
    /// The table.
    pub table: Arc<Table>,
    /// Where its key must be, if that is known.
    pub pin: Option<Pin>,
    /// What its rows must be like to matter, as far as that is known.
    pub pushed: Option<Pushed>,
    /// Whether it stands alone in its FROM, and WHERE asks no more than that.
    pub whole: bool,
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
    /// Every place where a query reads one.
    pub named: Vec<Named>,
    /// Whether a system catalog is mentioned: its object ids differ from shard to shard.
    pub system: bool,
    /// A view whose query has to take its place, before more can be said.
    pub inlined: Option<Named>,
    /// Whether it reads rows of WITH of which it is not known where they are.
    pub unclear: bool,
    /// A view that says in which order its rows come.
    pub ordered: Option<Named>,
}

/// The analysis of one statement.
pub struct Analyzer<'a> {
    schema: &'a Schema,
    path: &'a [String],
    places: &'a Places<'a>,
    param_uses: &'a HashMap<usize, Uses>,
    /// Where a parameter stands beside a column, by number, line and column of the text.
    key_uses: RefCell<HashMap<(usize, u64, u64), u32>>,
    /// Names as they are written, and whether an alias stands behind them.
    names: HashMap<Mention, (ObjectName, String, bool)>,
    /// The key of the rows that an UPDATE or DELETE writes.
    target: Option<Node>,
    /// What the columns of the query that is looked at next are equal to, for every row of it that matters.
    link: Option<Vec<Option<Node>>>,
    /// Which column of the SELECT that is looked at next is stored as a key, and that key's type.
    stored: Option<(usize, Option<u32>)>,
    /// What that column has in every row, where rows of WITH tell it.
    stored_values: Option<Sources>,
    /// Whether a WITH that writes is looked at.
    in_with: bool,
    /// Its names, for the part that is looked at.
    around: Ctes,
    /// Whether the rows of the SELECT that is looked at next are given under a name.
    gives: bool,
    /// The block that was looked at last and gives such rows.
    kept: Option<Kept>,
    /// Whether such a SELECT had no table that says where its rows are.
    unanchored: bool,
    /// Keys, among the rows of WITH, of the shard that these are on.
    homes: Vec<Node>,
    /// The scope of the SELECT that was done last.
    last_scope: Option<ScopeId>,
    /// Names and mentions.
    pub scopes: Scopes,
    /// Outcome.
    pub found: Found,
}

/// A query block while it is looked at: what must wait until all its facts are known.
#[derive(Default)]
struct Block<'q> {
    tables: Vec<(Mention, Arc<Table>, Vec<usize>)>,
    /// Names of WITH.
    known: Vec<(Mention, Known)>,
    /// ON conditions that hold for some tables alone: those of outer joins, and those that an outer join follows.
    conditions: Vec<Condition<'q>>,
    queries: Vec<(Query, View, Sees)>,
    /// Of queries behind IN, by their place: what their columns are compared with.
    links: HashMap<usize, Vec<Option<Node>>>,
    /// Conditions that hold for every row.
    filters: Vec<(&'q Expr, View)>,
    /// ON conditions of outer joins, with the one table on their nullable side.
    own_filters: Vec<(Mention, &'q Expr, View)>,
    /// Tables that an outer join may put NULLs in the place of.
    nullable: HashSet<Mention>,
}

/// What an outer join asks of its nullable side.
#[derive(Clone)]
enum Condition<'q> {
    /// ON, and what it sees.
    On(&'q Expr, View),
    /// USING, or NATURAL of which nothing is known.
    Using(Vec<(Node, Node)>),
}

/// What a nested query may use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// The block's facts: it is evaluated for rows of the block.
    Block,
    /// What the block inherited.
    Outside,
}

type Outcome<T = ()> = Result<T, Refusal>;

impl<'a> Analyzer<'a> {
    /// An analysis under a search path.
    pub fn new(
        schema: &'a Schema,
        path: &'a [String],
        places: &'a Places<'a>,
        param_uses: &'a HashMap<usize, Uses>,
    ) -> Self {
        Self {
            schema,
            path,
            places,
            param_uses,
            key_uses: RefCell::default(),
            names: HashMap::new(),
            target: None,
            link: None,
            stored: None,
            stored_values: None,
            in_with: false,
            around: Ctes::new(),
            gives: false,
            kept: None,
            unanchored: false,
            homes: Vec::new(),
            last_scope: None,
            scopes: Scopes::default(),
            found: Found::default(),
        }
    }

    /// The schema it looks things up in.
    pub fn schema(&self) -> &'a Schema {
        self.schema
    }

    /// A query and all that is nested in it.
    pub fn query(&mut self, query: &Query, outer: Option<View>, inherited: &Facts, ctes: &Ctes) -> Outcome {
        let mut ctes = ctes.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                // Each sees all of them, those behind it too.
                let names = with.cte_tables.iter().map(|cte| folded(&cte.alias.name));
                ctes.extend(names.map(|name| (name, Known::default())));
            }
            for cte in &with.cte_tables {
                self.query(&cte.query, outer, inherited, &ctes)?;
                ctes.insert(folded(&cte.alias.name), Known::default());
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
                let gives = self.gives;
                self.set_expr(left, outer, inherited, ctes)?;
                self.gives = gives;
                self.set_expr(right, outer, inherited, ctes)?;
                Ok(None)
            }
            SetExpr::Values(values) => {
                self.unanchored |= std::mem::take(&mut self.gives);
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
        let (link, stored) = (self.link.take(), self.stored.take());
        let gives = std::mem::take(&mut self.gives);
        let scope = self.scopes.open(outer);
        self.block_of(select, scope, &mut facts, &mut block, ctes)?;
        self.take_known(&block, &mut facts);
        self.follow_link(link, select, scope, &mut facts);
        if let Some(stored) = stored {
            self.target = self.anchor(stored, select, scope, &block, &facts);
            self.stored_values = self.values_of(stored.0, select, scope, &block);
        }
        if gives {
            let anchor = self.anchor_of_rows(&block);
            self.unanchored |= anchor.is_none();
            self.target = anchor.clone();
            self.kept = Some(Kept { scope, facts: facts.clone(), anchor });
        }
        self.finish(block, &facts, inherited, ctes)?;
        self.last_scope = Some(scope);
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
        let none = Ctes::new();
        for (n, table) in tables.iter().enumerate() {
            // What is written is a table, whatever names there are around it.
            let ctes = if n == 0 { &none } else { ctes };
            self.table_with_joins(table, scope, &mut facts, &mut block, ctes)?;
        }
        self.take_known(&block, &mut facts);
        if let Some((mention, table, _)) = block.tables.first()
            && let Kind::Sharded { key, .. } = table.kind
        {
            self.target = Some((*mention, table.columns[key].name.clone()));
        }
        if let Some(condition) = selection {
            self.conjuncts(condition, scope, &mut facts);
            self.linked_queries(condition, scope, &mut block);
        }
        block.queries.extend(others.into_iter().map(|q| (q, scope.into(), Sees::Block)));
        if self.in_with {
            self.kept = Some(Kept { scope, facts: facts.clone(), anchor: self.target.clone() });
        }
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
            block.filters.push((condition, scope.into()));
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
            let facts = local.as_ref().unwrap_or(facts);
            let pin = self.record(*mention, table, facts, &mut anchor);
            let (pushed, whole) = self.pushed(&block, *mention, table);
            if let Some((name, label, aliased)) = self.names.remove(mention) {
                let table = table.clone();
                self.found.named.push(Named { name, label, aliased, table, pin, pushed, whole });
            }
        }
        self.record_known(&block, facts);
        for (at, (query, scope, sees)) in block.queries.iter().enumerate() {
            let seen = if *sees == Sees::Block { facts } else { inherited };
            self.link = block.links.get(&at).cloned();
            self.query(query, Some(*scope), seen, ctes)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        mention: Mention,
        table: &Arc<Table>,
        facts: &Facts,
        anchor: &mut Option<Node>,
    ) -> Option<Pin> {
        let Kind::Sharded { key, key_type, .. } = table.kind else { return None };
        let column = &table.columns[key].name;
        let node = (mention, column.clone());
        let colocated = facts.are_equal(anchor.get_or_insert_with(|| node.clone()), &node);
        let with_target = self.target.as_ref().is_some_and(|target| facts.are_equal(target, &node));
        let sources = facts.values(&(mention, column.clone())).cloned();
        let pin = sources.map(|sources| Pin {
            key_type,
            how: Use::Compare,
            sources,
            column: (table.name.clone(), column.clone()),
        });
        self.found.sharded.push(Sharded {
            pin: pin.clone(),
            type_oid: table.columns[key].type_oid,
            colocated,
            with_target,
            at_home: self.is_at_home(&node, facts),
        });
        pin
    }
}
