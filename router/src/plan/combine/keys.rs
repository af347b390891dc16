//! What rows are grouped by: plain columns, by GROUP BY or by DISTINCT, and where their values are told apart.

use super::types::{self, Identity};
use super::{Making, not_supported};
use crate::plan::Refusal;
use crate::plan::facts::Node;
use crate::plan::output::output_name;
use crate::plan::scatter::item_expr;
use crate::plan::scope::folded;
use shardway_pool::catalog::Column;
use sqlparser::ast::{Distinct, Expr, GroupByExpr, SelectItem, Value};

/// A column that rows are grouped by.
pub(super) struct Key {
    pub(super) node: Node,
    pub(super) column: Column,
    /// As the statement names it.
    pub(super) name: String,
    /// Where its values are told apart.
    pub(super) place: usize,
}

impl Making<'_> {
    /// What rows are grouped by.
    pub(super) fn keys(&mut self) -> Result<(), Refusal> {
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
}
