//! Conditions that may be asked of a table's rows where they lie, before they are gathered.
//!
//! Only what names columns of that one table and constants, and what can't fail where the statement itself would not:
//! comparisons, IN, BETWEEN, LIKE, IS NULL, and AND, OR, NOT of these. No function, no arithmetic on columns.

use super::conditions::placeholder;
use super::{Analyzer, Block};
use crate::plan::facts::Mention;
use crate::plan::scope::View;
use crate::schema::Table;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

/// A condition on the rows of one table: SQL over its own columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Text, and between its pieces the parameters (from 0) that stand there.
    pub pieces: Vec<Piece>,
}

/// A piece of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text.
    Sql(String),
    /// A parameter, from 0.
    Param(usize),
}

impl Pushed {
    fn sql(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Sql(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Sql(text.to_owned())),
        }
    }

    /// Either of two conditions.
    pub fn or(mut self, other: Self) -> Self {
        if self == other {
            return self;
        }
        self.sql(" OR ");
        self.append(other);
        self
    }

    fn append(&mut self, other: Self) {
        for piece in other.pieces {
            match piece {
                Piece::Sql(text) => self.sql(&text),
                param => self.pieces.push(param),
            }
        }
    }
}

/// The table that a condition is looked at for.
struct For<'t> {
    mention: Mention,
    table: &'t Table,
    view: View,
}

/// OID of `bool`.
const BOOL: u32 = 16;

/// Strings that a date or time reads from the clock.
const CLOCK: [&str; 5] = ["now", "today", "tomorrow", "yesterday", "allballs"];

impl Block<'_> {
    /// Tables from here on are on the nullable side of an outer join.
    pub(super) fn nullable_from(&mut self, first: (usize, usize)) {
        let mentions: Vec<Mention> = self.tables[first.0..].iter().map(|(mention, ..)| *mention).collect();
        self.nullable.extend(mentions);
        let known: Vec<Mention> = self.known[first.1..].iter().map(|(mention, _)| *mention).collect();
        self.nullable.extend(known);
    }
}

impl Analyzer<'_> {
    /// What a table's rows must be like to matter to its block, and whether its block asks no more of any row.
    pub(super) fn pushed(
        &self,
        block: &Block<'_>,
        mention: Mention,
        table: &Table,
    ) -> (Option<Pushed>, bool) {
        let mut all = Vec::new();
        let mut whole = block.tables.len() == 1 && block.own_filters.is_empty() && block.queries.is_empty();
        if !block.nullable.contains(&mention) {
            for &(condition, view) in &block.filters {
                whole &= self.take(condition, &For { mention, table, view }, &mut all);
            }
        }
        for &(_, condition, view) in block.own_filters.iter().filter(|(of, ..)| *of == mention) {
            self.take(condition, &For { mention, table, view }, &mut all);
        }
        let mut all = all.into_iter();
        let pushed = all.next().map(|mut pushed| {
            for next in all {
                pushed.sql(" AND ");
                pushed.append(next);
            }
            pushed
        });
        (pushed, whole)
    }

    /// Takes what can be taken of AND-ed conditions. Whether that is all.
    fn take(&self, condition: &Expr, of: &For<'_>, all: &mut Vec<Pushed>) -> bool {
        match condition {
            Expr::Nested(inner) => self.take(inner, of, all),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let left = self.take(left, of, all);
                self.take(right, of, all) && left
            }
            _ => {
                let mut out = Pushed::default();
                out.sql("(");
                let taken = self.condition(condition, of, &mut out).is_some();
                if taken {
                    out.sql(")");
                    all.push(out);
                }
                taken
            }
        }
    }

    fn condition(&self, expr: &Expr, of: &For<'_>, out: &mut Pushed) -> Option<()> {
        match expr {
            Expr::Nested(inner) => {
                out.sql("(");
                self.condition(inner, of, out)?;
                out.sql(")");
            }
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                out.sql("(");
                self.condition(left, of, out)?;
                out.sql(&format!(") {op} ("));
                self.condition(right, of, out)?;
                out.sql(")");
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                out.sql("NOT (");
                self.condition(expr, of, out)?;
                out.sql(")");
            }
            Expr::BinaryOp { left, op, right } if is_comparison(op) => {
                // Between constants it is not about the table's rows.
                if !self.is_column(left, of) && !self.is_column(right, of) {
                    return None;
                }
                self.operand(left, of, out)?;
                out.sql(&format!(" {op} "));
                self.operand(right, of, out)?;
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let (_, name) = self.scopes.resolve(of.view, expr)?;
                of.table.column(&name).filter(|&at| of.table.columns[at].type_oid == BOOL)?;
                self.column(expr, of, out)?;
            }
            Expr::IsNull(of_column) => {
                self.column(of_column, of, out)?;
                out.sql(" IS NULL");
            }
            Expr::IsNotNull(of_column) => {
                self.column(of_column, of, out)?;
                out.sql(" IS NOT NULL");
            }
            Expr::Between { expr, negated, low, high } => {
                self.column(expr, of, out)?;
                out.sql(if *negated { " NOT BETWEEN " } else { " BETWEEN " });
                self.constant(low, out)?;
                out.sql(" AND ");
                self.constant(high, out)?;
            }
            Expr::InList { expr, list, negated } => {
                self.column(expr, of, out)?;
                out.sql(if *negated { " NOT IN (" } else { " IN (" });
                for (n, value) in list.iter().enumerate() {
                    out.sql(if n > 0 { ", " } else { "" });
                    self.constant(value, out)?;
                }
                out.sql(")");
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                self.column(expr, of, out)?;
                out.sql(if *negated { " NOT LIKE " } else { " LIKE " });
                self.constant(pattern, out)?;
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                self.column(left, of, out)?;
                out.sql(" = ANY (");
                self.constant(right, out)?;
                out.sql(")");
            }
            _ => return None,
        }
        Some(())
    }

    fn operand(&self, expr: &Expr, of: &For<'_>, out: &mut Pushed) -> Option<()> {
        if self.is_column(expr, of) { self.column(expr, of, out) } else { self.constant(expr, out) }
    }

    fn is_column(&self, expr: &Expr, of: &For<'_>) -> bool {
        self.scopes.resolve(of.view, expr).is_some_and(|(mention, _)| mention == of.mention)
    }

    fn column(&self, expr: &Expr, of: &For<'_>, out: &mut Pushed) -> Option<()> {
        let (mention, name) = self.scopes.resolve(of.view, expr)?;
        of.table.column(&name).filter(|_| mention == of.mention)?;
        out.sql(&format!("\"{}\"", name.replace('"', "\"\"")));
        Some(())
    }

    /// A constant, as the statement has it.
    fn constant(&self, expr: &Expr, out: &mut Pushed) -> Option<()> {
        match expr {
            Expr::Nested(inner) => {
                out.sql("(");
                self.constant(inner, out)?;
                out.sql(")");
            }
            Expr::Value(value) => match &value.value {
                Value::Null => out.sql("NULL"),
                Value::Boolean(is) => out.sql(if *is { "true" } else { "false" }),
                Value::Placeholder(_) => out.pieces.push(Piece::Param(placeholder(&value.value)?)),
                Value::SingleQuotedString(text) if CLOCK.iter().any(|word| names(text, word)) => return None,
                Value::Number(..) | Value::SingleQuotedString(_) => {
                    out.sql(self.places.text_at(value.span.start.line, value.span.start.column)?);
                }
                _ => return None,
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                out.sql("- ");
                self.constant(expr, out)?;
            }
            Expr::BinaryOp { left, op: op @ (BinaryOperator::Plus | BinaryOperator::Minus), right } => {
                self.constant(left, out)?;
                out.sql(&format!(" {op} "));
                self.constant(right, out)?;
            }
            Expr::Cast { expr, data_type, format: None, .. } => {
                out.sql("CAST(");
                self.constant(expr, out)?;
                out.sql(&format!(" AS {data_type})"));
            }
            Expr::TypedString(typed) => {
                let Value::SingleQuotedString(text) = &typed.value.value else { return None };
                if CLOCK.iter().any(|word| names(text, word)) {
                    return None;
                }
                let start = typed.value.span.start;
                out.sql(&format!("{} {}", typed.data_type, self.places.text_at(start.line, start.column)?));
            }
            Expr::Interval(interval) if matches!(&*interval.value, Expr::Value(_)) => {
                out.sql(&interval.to_string());
            }
            _ => return None,
        }
        Some(())
    }
}

fn names(text: &str, word: &str) -> bool {
    text.to_ascii_lowercase().contains(word)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq)
}
