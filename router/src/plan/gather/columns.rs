//! Which columns of a table a statement may need: those whose names it has anywhere, and all where it says `*` or means
//! whole rows. A column that is named nowhere can't matter, nor can its absence change what another name means.

use crate::plan::query::Named;
use crate::plan::scope::folded;
use crate::schema::Table;
use shardway_pool::catalog::Column;
use sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// What a statement says of columns.
#[derive(Default)]
pub(super) struct Needed {
    /// Every word of it, as Postgres folds it.
    words: HashSet<String>,
    /// Names whose every column is meant: `x.*`, or `x` where a value is expected.
    whole: HashSet<String>,
    /// Where names of tables stand under a `*`.
    starred: HashSet<(u64, u64)>,
    /// SELECTs directly under EXISTS: what they select does not matter.
    exists: HashSet<(u64, u64)>,
    /// Every column of every table is.
    all: bool,
}

impl Needed {
    pub(super) fn of(query: &Query, text: &str) -> Self {
        let mut needed = Self::default();
        match Tokenizer::new(&PostgreSqlDialect {}, text).tokenize() {
            Ok(tokens) => needed.words(&tokens),
            Err(_) => needed.all = true,
        }
        let _ = query.visit(&mut needed);
        needed
    }

    fn words(&mut self, tokens: &[Token]) {
        let mut dotted = None;
        let mut last = None;
        for token in tokens {
            match token {
                Token::Whitespace(_) => continue,
                Token::Word(word) => {
                    let ident =
                        Ident { value: word.value.clone(), quote_style: word.quote_style, span: empty() };
                    let name = folded(&ident);
                    self.words.insert(name.clone());
                    last = Some(name);
                }
                Token::Period => dotted = last.take(),
                Token::Mul => self.whole.extend(dotted.take()),
                _ => (dotted, last) = (None, None),
            }
        }
    }

    /// Marks the columns that a mention of a table needs.
    pub(super) fn mark(&self, named: &Named, columns: &mut [(String, bool)], table: &Table) {
        let place = named.name.0.first().and_then(|part| part.as_ident()).map(at);
        let starred = place.is_none_or(|place| self.starred.contains(&place));
        let all = self.all || starred || self.whole.contains(&named.label);
        for ((_, brought), column) in columns.iter_mut().zip(&table.columns) {
            *brought |= all || self.words.contains(&column.name);
        }
    }

    fn star(&mut self, tables: &TableWithJoins) {
        self.star_factor(&tables.relation);
        for join in &tables.joins {
            self.star_factor(&join.relation);
        }
    }

    fn star_factor(&mut self, factor: &TableFactor) {
        match factor {
            TableFactor::Table { name, .. } => {
                self.starred.extend(name.0.first().and_then(|part| part.as_ident()).map(at));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.star(table_with_joins),
            _ => {}
        }
    }
}

impl Visitor for Needed {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let star = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
        let span = select.select_token.0.span.start;
        if star && !self.exists.contains(&(span.line, span.column)) {
            select.from.iter().for_each(|tables| self.star(tables));
        }
        let joins = select.from.iter().flat_map(|tables| &tables.joins);
        self.all |= joins.map(|join| &join.join_operator).any(is_natural);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.all |= table_with_joins.joins.iter().map(|join| &join.join_operator).any(is_natural);
            }
            // Columns that are renamed by their place.
            TableFactor::Table { alias: Some(alias), .. } if !alias.columns.is_empty() => self.all = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Exists { subquery, .. } => {
                if let SetExpr::Select(select) = &*subquery.body
                    && select.distinct.is_none()
                {
                    let span = select.select_token.0.span.start;
                    self.exists.insert((span.line, span.column));
                }
            }
            // It may be a whole row. Of a column of that name all columns are brought in vain.
            Expr::Identifier(name) => {
                self.whole.insert(folded(name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, _: &ObjectName) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

fn is_natural(operator: &JoinOperator) -> bool {
    use JoinOperator as J;
    match operator {
        J::Join(c) | J::Inner(c) | J::CrossJoin(c) => matches!(c, JoinConstraint::Natural),
        J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) => matches!(c, JoinConstraint::Natural),
        J::FullOuter(c) => matches!(c, JoinConstraint::Natural),
        _ => true,
    }
}

fn at(ident: &Ident) -> (u64, u64) {
    (ident.span.start.line, ident.span.start.column)
}

fn empty() -> sqlparser::tokenizer::Span {
    sqlparser::tokenizer::Span::empty()
}

/// Types from here on are the database's own, and have other numbers on every shard.
pub(super) const FIRST_OF_USERS: u32 = 16384;

/// Built-in types that have no binary form, or one that means something else on another shard: aclitem, reg*, records.
const TEXT_ONLY: [u32; 28] = [
    24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 1008, 2207, 2208, 2209, 2210, 2211, 3735,
    3770, 4090, 4097, 4192, 1033, 1034, 194, 3642, 2249, 2287,
];

/// Whether a column's values mean the same on every shard in binary: enums are sent by name, arrays and composites of
/// users' types by number.
pub(super) fn is_binary(column: &Column) -> bool {
    is_exact_in_binary(column.type_oid) || column.type_kind == 'e'
}

/// Whether a type is built in, and its binary form means the same on every shard.
pub fn is_exact_in_binary(oid: u32) -> bool {
    oid < FIRST_OF_USERS && !TEXT_ONLY.contains(&oid)
}

/// Built-in types whose equal values are the same value: bool, integers, text, oid, dates and times, uuid, bytea.
const IDENTITIES: [u32; 14] = [16, 17, 18, 20, 21, 23, 25, 26, 1043, 1082, 1083, 1114, 1184, 2950];

/// Whether values of a column that are equal can't be told apart.
pub(super) fn is_identity(column: &Column) -> bool {
    (IDENTITIES.contains(&column.type_oid) || column.type_kind == 'e') && !column.nondeterministic
}
