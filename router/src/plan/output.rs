//! The names that Postgres gives to the columns of a SELECT: ORDER BY means these before it means the input's.
//! Source: `FigureColname` in parse_target.c.

use super::scope::folded;
use sqlparser::ast::{BinaryOperator, Expr, SelectItem};

/// A column's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputName {
    /// It is this.
    Known(String),
    /// It can't be told here, but is one of these or the word for a piece of syntax.
    Unsure,
    /// It has none that a statement could mean.
    None,
}

impl OutputName {
    /// Whether a name in ORDER BY may mean this column.
    pub fn may_be(&self, name: &str) -> bool {
        match self {
            Self::Known(own) => own == name,
            Self::Unsure => true,
            Self::None => false,
        }
    }
}

/// The name of a select item.
pub fn output_name(item: &SelectItem) -> OutputName {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => OutputName::Known(folded(alias)),
        SelectItem::UnnamedExpr(expr) => figure(expr),
        // The names of its columns are the input's own.
        _ => OutputName::None,
    }
}

fn figure(expr: &Expr) -> OutputName {
    let known = |name: &str| OutputName::Known(name.to_owned());
    match expr {
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Identifier(name) => OutputName::Known(folded(name)),
        Expr::CompoundIdentifier(parts) => {
            parts.last().map_or(OutputName::None, |p| OutputName::Known(folded(p)))
        }
        Expr::Function(f) => {
            let name = f.name.0.last().and_then(|part| part.as_ident()).map(folded);
            name.map_or(OutputName::Unsure, OutputName::Known)
        }
        // `id::text` is named id; a cast of something nameless is named after the type.
        Expr::Cast { expr, .. } => match figure(expr) {
            OutputName::None => OutputName::Unsure,
            name => name,
        },
        Expr::Extract { .. } => known("extract"),
        Expr::Ceil { .. } => known("ceil"),
        Expr::Floor { .. } => known("floor"),
        Expr::Position { .. } => known("position"),
        Expr::Overlay { .. } => known("overlay"),
        Expr::Substring { .. } => known("substring"),
        Expr::AtTimeZone { .. } => known("timezone"),
        Expr::Array(_) => known("array"),
        Expr::Exists { .. } => known("exists"),
        // What stands for spellings that the parser lacks: a collation behind a cast, a literal behind its type.
        Expr::BinaryOp { op: BinaryOperator::Xor | BinaryOperator::PGRegexMatch, .. } => OutputName::Unsure,
        Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::Value(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::InList { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..) => OutputName::None,
        _ => OutputName::Unsure,
    }
}
