//! `x IN (SELECT y …)`: only rows of the query whose `y` equals `x` matter, so that is a fact within it.

use super::forms::plain;
use super::{Analyzer, Block, Sees, direct_queries};
use crate::plan::facts::{Facts, Node};
use crate::plan::scope::ScopeId;
use sqlparser::ast::{BinaryOperator, Expr, Select, SelectItem, UnaryOperator};

impl Analyzer<'_> {
    /// Takes the queries nested in a condition into the block, with what is compared with them.
    pub(super) fn linked_queries<'q>(&self, condition: &'q Expr, scope: ScopeId, block: &mut Block<'q>) {
        match condition {
            Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } => {
                self.linked_queries(inner, scope, block);
            }
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.linked_queries(left, scope, block);
                self.linked_queries(right, scope, block);
            }
            Expr::InSubquery { expr, subquery, .. } if plain(subquery, self.schema).is_some() => {
                let compared: Vec<Option<Node>> = match &**expr {
                    Expr::Tuple(parts) => parts.iter().map(|e| self.scopes.resolve(scope, e)).collect(),
                    one => vec![self.scopes.resolve(scope, one)],
                };
                block.links.insert(block.queries.len(), compared);
                block.queries.push(((**subquery).clone(), scope.into(), Sees::Block));
                let others = direct_queries(&**expr).into_iter();
                block.queries.extend(others.map(|q| (q, scope.into(), Sees::Block)));
            }
            other => {
                let nested = direct_queries(other).into_iter();
                block.queries.extend(nested.map(|q| (q, scope.into(), Sees::Block)));
            }
        }
    }

    /// Takes what a SELECT's columns are compared with into its facts.
    pub(super) fn follow_link(
        &self,
        link: Option<Vec<Option<Node>>>,
        select: &Select,
        scope: ScopeId,
        facts: &mut Facts,
    ) {
        let Some(link) = link.filter(|link| link.len() == select.projection.len()) else { return };
        for (outer, item) in link.into_iter().zip(&select.projection) {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
                return;
            };
            if let (Some(outer), Some(inner)) = (outer, self.scopes.resolve(scope, expr)) {
                self.equal(facts, &outer, &inner);
            }
        }
    }
}
