//! Aggregates whose parts, computed by each shard, make the whole.

use super::types::{self, oid};
use super::{Making, not_supported};
use crate::combine::{Aggregate, Bits, Fold};
use crate::plan::Refusal;
use crate::plan::query::is_scalar_throughout;
use crate::plan::scope::relation_name;
use shardway_pool::catalog::Column;
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

/// What an aggregate is called on.
enum Argument<'e> {
    /// `*`
    Rows,
    /// An expression over one row.
    Expr(&'e Expr),
}

impl Making<'_> {
    /// The aggregate that stands in a column. `call` is its text behind the name.
    pub(super) fn aggregate(
        &mut self,
        function: &Function,
        column: usize,
        call: Option<&str>,
    ) -> Result<Aggregate, Refusal> {
        let refused = || not_supported(format!("{function}"));
        let name = match relation_name(&function.name) {
            Some((schema, name)) if schema.as_deref().is_none_or(|s| s == "pg_catalog") => name,
            _ => return Err(refused()),
        };
        let argument = self.argument(function).ok_or_else(refused)?;
        let call = call.ok_or_else(refused)?;
        let (types, fold) = match (name.as_str(), argument) {
            ("count", Argument::Rows) => (&[oid::INT8][..], Fold::Sum),
            // Any type can be counted, and a function for one type would be preferred.
            ("count", Argument::Expr(_)) if !self.is_overloaded("count") => (&[oid::INT8][..], Fold::Sum),
            ("sum", Argument::Expr(e)) if self.adds(e, &name) => (&[oid::INT8, oid::NUMERIC][..], Fold::Sum),
            ("avg", Argument::Expr(e)) if self.adds(e, &name) => (&[oid::NUMERIC][..], self.average(call)),
            ("min" | "max", Argument::Expr(e)) => self.extreme(e, &name, column, call).ok_or_else(refused)?,
            ("bool_and" | "every", Argument::Expr(_)) if !self.is_overloaded(&name) => {
                (&[oid::BOOL][..], Fold::All)
            }
            ("bool_or", Argument::Expr(_)) if !self.is_overloaded(&name) => (&[oid::BOOL][..], Fold::Any),
            ("bit_and" | "bit_or" | "bit_xor", Argument::Expr(e)) if self.adds(e, &name) => {
                let bits = match name.as_str() {
                    "bit_and" => Bits::And,
                    "bit_or" => Bits::Or,
                    _ => Bits::Xor,
                };
                (&[oid::INT2, oid::INT4, oid::INT8][..], Fold::Bits(bits))
            }
            _ => return Err(refused()),
        };
        Ok(Aggregate { column, types, fold })
    }

    /// What a plain call is made on: no DISTINCT, ORDER BY, WITHIN GROUP or OVER; row by row, FILTER included.
    fn argument<'e>(&self, function: &'e Function) -> Option<Argument<'e>> {
        let plain = function.over.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none()
            && !function.uses_odbc_syntax
            && matches!(function.parameters, FunctionArguments::None);
        let FunctionArguments::List(list) = &function.args else { return None };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            return None;
        }
        let schema = self.context.schema;
        if function.filter.as_ref().is_some_and(|filter| !is_scalar_throughout(&**filter, schema)) {
            return None;
        }
        match &list.args[..] {
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Some(Argument::Rows),
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(e))] => {
                is_scalar_throughout(e, schema).then_some(Argument::Expr(e))
            }
            _ => None,
        }
    }

    fn is_overloaded(&self, name: &str) -> bool {
        self.context.schema.functions.is_overloaded(name)
    }

    fn column(&self, expr: &Expr) -> Option<Column> {
        self.context.column_of(&self.node(expr)?)
    }

    /// Whether a sum of the expression is Postgres's own. A column's type says so; else the shards will say which type
    /// it has, and that of floats is not taken.
    fn adds(&self, expr: &Expr, name: &str) -> bool {
        match self.column(expr) {
            Some(column) => types::sums_exactly(&column),
            None => !self.is_overloaded(name),
        }
    }

    fn average(&mut self, call: &str) -> Fold {
        Fold::Average {
            sum: self.hide(format!("(pg_catalog.sum{call})::pg_catalog.text")),
            count: self.hide(format!("(pg_catalog.count{call})::pg_catalog.text")),
        }
    }

    fn extreme(
        &mut self,
        expr: &Expr,
        name: &str,
        column: usize,
        call: &str,
    ) -> Option<(&'static [u32], Fold)> {
        let of = self.column(expr)?;
        let extreme = types::extreme(&of)?;
        // There is no max(varchar) but a user's.
        if of.type_oid == oid::VARCHAR && self.is_overloaded(name) {
            return None;
        }
        let by = match extreme.encoded {
            Some((before, after)) => self.hide(format!("{before}pg_catalog.{name}{call}{after}")),
            None => column,
        };
        Some((extreme.types, Fold::Extreme { largest: name == "max", by, compared: extreme.compared }))
    }
}
