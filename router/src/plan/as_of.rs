//! Reads that name the clock, and run where `now()` is not their transaction's own: on several shards, or on one that joined
//! the transaction later. Each call is told as a value, the same for all. Pure.

use super::listed::Splice;
use super::scatter::item_expr;
use super::spread::clock::{Clock, Frozen, calls, clocks};
use super::spread::{ClockOf, returning};
use crate::sql::scan::all_tokens;
use sqlparser::ast::{Select, SelectItem, Statement, Visit, Visitor};
use std::ops::{ControlFlow, Range};

/// What a statement needs of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// Which of its values.
    pub of: ClockOf,
    /// Whether a column may have its name from a call.
    names: bool,
}

/// How a statement names the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Not at all.
    None,
    /// By calls that can be told.
    Told(AsOf),
    /// Also in a way that has no place for a value, as in FROM.
    Untold,
}

impl Naming {
    /// That of a statement with this text.
    pub(super) fn of(statement: &impl Visit, text: &str) -> Self {
        let Some(tokens) = all_tokens(text) else { return Self::None };
        let found = clocks(text, &tokens);
        if found.is_empty() {
            return Self::None;
        }
        if calls(statement) != found.len() {
            return Self::Untold;
        }
        let of_statement = found.iter().any(|(_, clock)| clock.is_of_statement());
        let of = if of_statement { ClockOf::Statement } else { ClockOf::Transaction };
        Self::Told(AsOf { of, names: statement.visit(&mut Named).is_break() })
    }

    /// What is to be told, if anything can be.
    pub fn told(self) -> Option<AsOf> {
        match self {
            Self::Told(as_of) => Some(as_of),
            Self::None | Self::Untold => None,
        }
    }
}

/// Breaks off at a column without a name of its own that calls the clock.
struct Named;

impl Visitor for Named {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        look(returning(statement).into_iter().flatten())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        look(&select.projection)
    }
}

fn look<'a>(items: impl IntoIterator<Item = &'a SelectItem>) -> ControlFlow<()> {
    let unnamed = |item: &&SelectItem| matches!(item, SelectItem::UnnamedExpr(_));
    let mut items = items.into_iter().filter(unnamed).filter_map(item_expr);
    match items.any(|expr| calls(expr) > 0) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

impl AsOf {
    /// What stands in the place of each call in a text, by its place in bytes.
    pub fn edits(&self, text: &str, frozen: &Frozen) -> Vec<(Range<usize>, String)> {
        let found = all_tokens(text).map(|tokens| clocks(text, &tokens)).unwrap_or_default();
        let told = |(range, clock): (Range<usize>, Clock)| {
            (range, if self.names { clock.named_literal(frozen) } else { clock.literal(frozen) })
        };
        found.into_iter().map(told).collect()
    }

    /// A text with values in the place of its calls, and where they are.
    pub fn told(&self, text: &str, frozen: &Frozen) -> (String, Vec<Splice>) {
        edited(text, self.edits(text, frozen))
    }
}

/// A text with other pieces in the place of some of its own, which are in order, and where these are.
pub fn edited(text: &str, edits: Vec<(Range<usize>, String)>) -> (String, Vec<Splice>) {
    let (mut sql, mut splices) = (String::with_capacity(text.len()), Vec::with_capacity(edits.len()));
    let (mut done, mut characters) = (0, 0);
    for (range, with) in edits {
        sql.push_str(&text[done..range.start]);
        sql.push_str(&with);
        characters += text[done..range.start].chars().count();
        let was = text[range.clone()].chars().count();
        splices.push(Splice { at: characters, was, is: with.chars().count() });
        characters += was;
        done = range.end;
    }
    sql.push_str(&text[done..]);
    (sql, splices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::listed::in_clients_text;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn naming(text: &str) -> Naming {
        Naming::of(&Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap(), text)
    }

    fn told(text: &str) -> String {
        let frozen = Frozen { transaction: "T".into(), statement: "S".into() };
        naming(text).told().map_or_else(|| "-".to_owned(), |as_of| as_of.told(text, &frozen).0)
    }

    #[test]
    fn calls_are_told_as_values() {
        assert_eq!(
            told("SELECT a FROM t WHERE at >= now() AND d = current_date"),
            "SELECT a FROM t WHERE at >= ('T+00'::pg_catalog.timestamptz) \
             AND d = ('T+00'::pg_catalog.timestamptz::pg_catalog.date)"
        );
        assert_eq!(
            told("SELECT a, now() - at AS age FROM t"),
            "SELECT a, ('T+00'::pg_catalog.timestamptz) - at AS age FROM t"
        );
        assert_eq!(
            naming("SELECT statement_timestamp() AS s FROM t").told().map(|a| a.of),
            Some(ClockOf::Statement)
        );
        for text in ["SELECT a FROM t", "SELECT 'now()' FROM t", "SELECT now FROM t"] {
            assert_eq!(naming(text), Naming::None, "{text}");
        }
        assert_eq!(naming("SELECT * FROM t, now() n WHERE at > n"), Naming::Untold);
    }

    #[test]
    fn columns_keep_their_names() {
        assert_eq!(
            told("SELECT Now(), count(*) FROM t WHERE d < CURRENT_DATE"),
            "SELECT (SELECT ('T+00'::pg_catalog.timestamptz) AS \"now\"), count(*) FROM t \
             WHERE d < (SELECT ('T+00'::pg_catalog.timestamptz::pg_catalog.date) AS \"current_date\")"
        );
        assert!(told("SELECT n FROM (SELECT now()::date FROM t) x(n)").contains("AS \"now\""));
    }

    #[test]
    fn places_lead_back_to_the_clients_text() {
        let text = "SELECT é FROM t WHERE at >= now() AND nosuch = current_date OR x";
        let frozen = Frozen { transaction: "T".into(), statement: String::new() };
        let (sql, splices) = naming(text).told().unwrap().told(text, &frozen);
        let place = |of: &str, word: &str| of[..of.find(word).unwrap()].chars().count() + 1;
        for word in ["é", ">=", "nosuch", "OR x"] {
            assert_eq!(in_clients_text(place(&sql, word), &splices), place(text, word), "{word}");
        }
    }
}
