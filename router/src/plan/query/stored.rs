//! INSERT … SELECT: the sharded table whose key a SELECT hands on, so that each shard's rows stay where they are.

use super::{Analyzer, Block, is_scalar_throughout};
use crate::plan::facts::{Facts, Node};
use crate::plan::pin::Sources;
use crate::plan::scope::{ScopeId, Source, comparable, folded};
use crate::schema::{Kind, Schema, Table};
use sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Ident, NamedWindowDefinition, NamedWindowExpr, Query, Select,
    SelectItem, Value, VisitMut, VisitorMut, WindowType,
};
use std::ops::ControlFlow;
use std::sync::Arc;

impl Analyzer<'_> {
    /// The next SELECT's column at this place is stored as a key of this type.
    pub fn stores(&mut self, place: usize, type_oid: u32) {
        self.stored = Some((place, Some(type_oid)));
    }

    /// The next SELECT's column at this place is a key as it is.
    pub fn stores_like(&mut self, place: usize) {
        self.stored = Some((place, None));
    }

    /// The table whose rows say where those of the SELECT are.
    pub fn target_table(&self) -> Option<&Arc<Table>> {
        match self.scopes.source(self.target.as_ref()?.0) {
            Source::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The key of the table whose rows say where those of the SELECT are stored: it has a row behind every one of them, and
    /// the stored column equals its key.
    pub(super) fn anchor(
        &self,
        (place, type_oid): (usize, Option<u32>),
        select: &Select,
        scope: ScopeId,
        block: &Block<'_>,
        facts: &Facts,
    ) -> Option<Node> {
        let node = self.output(select, scope, place)?;
        let type_of = self.scopes.type_of(&node)?;
        if type_oid.is_some_and(|oid| !comparable(type_of, oid))
            || !self.keeps_rows_apart(select, scope, place, &node, facts)
        {
            return None;
        }
        let own = block.tables.iter().find_map(|(mention, table, conditions)| {
            let Kind::Sharded { key, .. } = table.kind else { return None };
            let own = (*mention, table.columns[key].name.clone());
            let stays = conditions.is_empty() && !block.nullable.contains(mention);
            (stays && facts.are_equal(&node, &own)).then_some(own)
        });
        own.or_else(|| self.known_anchor(block, &node, facts))
    }

    /// The values of the column that a SELECT gives at a place, where rows of WITH tell them.
    pub(super) fn values_of(
        &self,
        place: usize,
        select: &Select,
        scope: ScopeId,
        block: &Block<'_>,
    ) -> Option<Sources> {
        self.known_values(block, &self.output(select, scope, place)?)
    }

    /// Once a SELECT that stores keys was looked at: the values of all keys, where rows of WITH tell them.
    pub fn take_stored_values(&mut self) -> Option<Sources> {
        self.stored_values.take()
    }

    /// The column that a SELECT gives at a place, if it is a plain one.
    fn output(&self, select: &Select, scope: ScopeId, place: usize) -> Option<Node> {
        if let [SelectItem::Wildcard(_)] = &select.projection[..] {
            let [named] = self.scopes.names(scope) else { return None };
            let Source::Table(table) = self.scopes.source(named.mention) else {
                return self.all_columns(named.mention)?.get(place)?.1.clone();
            };
            return Some((named.mention, table.columns.get(place)?.name.clone()));
        }
        if let [SelectItem::QualifiedWildcard(..)] = &select.projection[..] {
            return self.outputs(&select.projection, scope)?.0.get(place)?.1.clone();
        }
        self.scopes.resolve(scope, item(select, place)?)
    }

    /// Whether no row of the SELECT is made of rows with several keys.
    fn keeps_rows_apart(
        &self,
        select: &Select,
        scope: ScopeId,
        place: usize,
        node: &Node,
        facts: &Facts,
    ) -> bool {
        let is_key = |key: &Expr| match key {
            Expr::Value(value) => {
                matches!(&value.value, Value::Number(n, _) if n.parse() == Ok(place + 1))
            }
            key => self.scopes.resolve(scope, key).is_some_and(|own| facts.are_equal(&own, node)),
        };
        // A number in a window's PARTITION BY is a constant.
        let parts = |key: &Expr| !matches!(key, Expr::Value(_)) && is_key(key);
        let Some(without_windows) = without_windows(select, parts, self.schema) else { return false };
        if let Some(Distinct::On(keys)) = &select.distinct
            && !keys.iter().any(is_key)
        {
            return false;
        }
        let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else { return false };
        if keys.is_empty() && modifiers.is_empty() {
            // DISTINCT looks at the key, too.
            let bare = Select { distinct: None, ..without_windows };
            return bare.qualify.is_none() && self.is_without_aggregates(&bare, scope);
        }
        without_windows == *select && modifiers.is_empty() && keys.iter().any(is_key)
    }
}

/// The expression that a SELECT gives at a place; `None` where a wildcard stands before it.
pub fn item(select: &Select, place: usize) -> Option<&Expr> {
    let plain =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    match select.projection.get(place)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }
            if select.projection[..place].iter().all(plain) =>
        {
            Some(expr)
        }
        _ => None,
    }
}

/// A SELECT with NULL in the place of each window function, all of which look at rows of one key only, as `parts` finds a
/// key in PARTITION BY; `None` where one may look at others.
fn without_windows(select: &Select, parts: impl Fn(&Expr) -> bool, schema: &Schema) -> Option<Select> {
    struct Windows<F> {
        keeps: F,
        depth: usize,
    }
    impl<F: Fn(&Function) -> bool> VisitorMut for Windows<F> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(call) if call.over.is_some() => {
                    if self.depth > 0 || !(self.keeps)(call) {
                        return ControlFlow::Break(());
                    }
                    *expr = Expr::Value(Value::Null.into());
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let named = |name: &Ident| {
        select.named_window.iter().find_map(|NamedWindowDefinition(own, window)| match window {
            NamedWindowExpr::WindowSpec(spec) if folded(own) == folded(name) => Some(spec),
            _ => None,
        })
    };
    let keeps = |call: &Function| {
        let spec = match &call.over {
            Some(WindowType::WindowSpec(spec)) => Some(spec),
            Some(WindowType::NamedWindow(name)) => named(name),
            None => None,
        };
        let own = spec.is_some_and(|spec| spec.window_name.is_none() && spec.partition_by.iter().any(&parts));
        own && is_scalar_throughout(&call.args, schema)
            && call.within_group.is_empty()
            && call.filter.as_ref().is_none_or(|filter| is_scalar_throughout(&**filter, schema))
    };
    let mut bare = select.clone();
    bare.visit(&mut Windows { keeps, depth: 0 }).is_continue().then_some(())?;
    bare.named_window.clear();
    Some(bare)
}
