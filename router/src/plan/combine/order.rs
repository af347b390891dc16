//! ORDER BY over groups: by what names them, or by their aggregates.

use super::types;
use super::{Making, Output, not_supported};
use crate::combine::{By, Sort};
use crate::plan::Refusal;
use crate::plan::output::output_name;
use crate::plan::scatter::{direction, item_expr};
use crate::plan::scope::folded;
use sqlparser::ast::{
    Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, OrderByKind, Query, Value,
};

impl Making<'_> {
    /// How groups are ordered.
    pub(super) fn order(&mut self, query: &Query) -> Result<Vec<Sort>, Refusal> {
        let Some(order) = &query.order_by else { return Ok(Vec::new()) };
        let OrderByKind::Expressions(items) = &order.kind else { return Err(not_supported("ORDER BY ALL")) };
        let sort = |item: &sqlparser::ast::OrderByExpr| {
            let (descending, nulls_first) = direction(item)?;
            Ok(Sort { by: self.sorted_by(&item.expr)?, descending, nulls_first })
        };
        items.iter().map(sort).collect()
    }

    /// What an ORDER BY item means: an ordinal, an output's name, or an expression over the input. SQL-92 first.
    fn sorted_by(&mut self, expr: &Expr) -> Result<By, Refusal> {
        let refused = || not_supported(format!("ordering groups by {expr}"));
        match expr {
            Expr::Nested(inner) => self.sorted_by(inner),
            Expr::Value(v) => {
                let Value::Number(text, _) = &v.value else { return Err(refused()) };
                let ordinal: usize = text.parse().map_err(|_| refused())?;
                let output = ordinal.checked_sub(1).filter(|n| *n < self.outputs.len());
                self.by_output(output.ok_or_else(refused)?)
            }
            Expr::Identifier(name) => {
                let name = folded(name);
                let items = self.select.projection.iter().enumerate();
                let named: Vec<usize> =
                    items.filter(|(_, item)| output_name(item).may_be(&name)).map(|(n, _)| n).collect();
                match named[..] {
                    [] => self.by_key(expr),
                    [one] => self.by_output(one),
                    // Postgres takes several outputs of one name if they are the same.
                    [first, ref others @ ..]
                        if others.iter().all(|other| self.show_one_key(first, *other)) =>
                    {
                        self.by_output(first)
                    }
                    _ => Err(refused()),
                }
            }
            Expr::Function(function) => self.by_call(expr, function),
            _ => self.by_key(expr),
        }
    }

    fn by_output(&self, output: usize) -> Result<By, Refusal> {
        match self.outputs[output] {
            Output::Key(key) => self.by(key),
            Output::Aggregate(n) => Ok(By::Aggregate(n)),
            Output::Constant => Err(not_supported("ordering groups by a constant")),
        }
    }

    fn show_one_key(&self, a: usize, b: usize) -> bool {
        matches!((&self.outputs[a], &self.outputs[b]), (Output::Key(a), Output::Key(b)) if a == b)
    }

    fn by(&self, key: usize) -> Result<By, Refusal> {
        let key = &self.keys[key];
        let compared = types::key_order(&key.column).ok_or_else(|| {
            let (name, of) = (&key.name, &key.column.type_name);
            not_supported(format!(
                "ordering by {name}: the order of type {of} there can't be reproduced, which"
            ))
        })?;
        Ok(By::Column(key.place, compared))
    }

    fn by_key(&self, expr: &Expr) -> Result<By, Refusal> {
        let refused = || not_supported(format!("ordering groups by {expr}"));
        let node = self.node(expr).ok_or_else(refused)?;
        self.by(self.keys.iter().position(|key| key.node == node).ok_or_else(refused)?)
    }

    /// An aggregate: one of the select list, or one that travels hidden.
    fn by_call(&mut self, expr: &Expr, function: &Function) -> Result<By, Refusal> {
        let items = self.select.projection.iter();
        if let Some(output) = items.map(item_expr).position(|item| item == Some(expr)) {
            return self.by_output(output);
        }
        let refused = || not_supported(format!("ordering groups by {expr}"));
        // Behind DISTINCT, Postgres takes nothing that is not selected.
        let distinct = matches!(self.select.distinct, Some(Distinct::Distinct));
        if distinct || function.filter.is_some() || !self.is_plain(function) {
            return Err(refused());
        }
        let text = function.to_string();
        let call = text.find('(').map(|at| text[at..].to_owned());
        let column = self.hide(format!("({text})::pg_catalog.text"));
        let aggregate = self.aggregate(function, column, call.as_deref())?;
        self.aggregates.push(aggregate);
        Ok(By::Aggregate(self.aggregates.len() - 1))
    }

    /// Whether a call is made on rows or on a column: then its text is known, and so is its type.
    fn is_plain(&self, function: &Function) -> bool {
        let FunctionArguments::List(list) = &function.args else { return false };
        match &list.args[..] {
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => true,
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(e))] => self.node(e).is_some(),
            _ => false,
        }
    }
}
