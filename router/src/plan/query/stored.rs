//! INSERT … SELECT: the sharded table whose key a SELECT hands on, so that each shard's rows stay where they are.

use super::{Analyzer, Block, is_row_by_row};
use crate::plan::facts::{Facts, Node};
use crate::plan::scope::{ScopeId, Source};
use crate::schema::Kind;
use sqlparser::ast::{Distinct, Expr, GroupByExpr, Select, SelectItem, Value, Visit, Visitor};
use std::ops::ControlFlow;

impl Analyzer<'_> {
    /// The next SELECT's column at this place is stored as a key of this type.
    pub fn stores(&mut self, place: usize, type_oid: u32) {
        self.stored = Some((place, type_oid));
    }

    /// The key of the table whose rows say where those of the SELECT are stored: it has a row behind every one of them, and
    /// the stored column equals its key.
    pub(super) fn anchor(
        &self,
        (place, type_oid): (usize, u32),
        select: &Select,
        scope: ScopeId,
        block: &Block<'_>,
        facts: &Facts,
    ) -> Option<Node> {
        let node = self.output(select, scope, place)?;
        if !crate::plan::scope::comparable(self.scopes.type_of(&node)?, type_oid)
            || !self.keeps_rows_apart(select, scope, place, &node, facts)
        {
            return None;
        }
        block.tables.iter().find_map(|(mention, table, conditions)| {
            let Kind::Sharded { key, .. } = table.kind else { return None };
            let own = (*mention, table.columns[key].name.clone());
            let stays = conditions.is_empty() && !block.nullable.contains(mention);
            (stays && facts.are_equal(&node, &own)).then_some(own)
        })
    }

    /// The column that a SELECT gives at a place, if it is a plain one.
    fn output(&self, select: &Select, scope: ScopeId, place: usize) -> Option<Node> {
        if let [SelectItem::Wildcard(_)] = &select.projection[..] {
            let [named] = self.scopes.names(scope) else { return None };
            let Source::Table(table) = self.scopes.source(named.mention) else { return None };
            return Some((named.mention, table.columns.get(place)?.name.clone()));
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
        if matches!(select.distinct, Some(Distinct::On(_))) || has_window(select) {
            return false;
        }
        let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else { return false };
        if keys.is_empty() && modifiers.is_empty() {
            // DISTINCT looks at the key, too.
            let bare = Select { distinct: None, ..select.clone() };
            return is_row_by_row(&bare, self.schema);
        }
        let is_key = |key: &Expr| match key {
            Expr::Value(value) => {
                matches!(&value.value, Value::Number(n, _) if n.parse() == Ok(place + 1))
            }
            key => self.scopes.resolve(scope, key).is_some_and(|own| facts.are_equal(&own, node)),
        };
        modifiers.is_empty() && keys.iter().any(is_key)
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

fn has_window(select: &Select) -> bool {
    struct Windows;
    impl Visitor for Windows {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(f) if f.over.is_some() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    !select.named_window.is_empty() || select.visit(&mut Windows).is_break()
}
