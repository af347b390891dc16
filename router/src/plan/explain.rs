//! EXPLAIN over shards: what is explained and how it was asked for. What is said is put together in `report.rs` and, for the
//! formats that programs read, in `document.rs`; `place.rs` says where a statement goes, to EXPLAIN and to SHOW ROUTE alike.

pub mod document;
pub mod place;
pub mod report;
pub mod words;

use super::Plan;
use crate::schema::GroupId;
use crate::sql::scan::{Literal, all_tokens};
use std::sync::Arc;

/// A statement that is explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// EXPLAIN with its options, as the client wrote them, up to the statement.
    pub lead: String,
    /// What they come to.
    pub asked: Asked,
    /// The statement.
    pub text: String,
    /// Its literals.
    pub literals: Vec<Literal>,
    /// Its plan; `None` for EXECUTE, which names a statement that the session knows.
    pub plan: Option<Arc<Plan>>,
    /// The group that its shards are of.
    pub group: GroupId,
}

/// How an explanation was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether the statement runs.
    pub analyzes: bool,
    /// What is written.
    pub format: Format,
}

/// FORMAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines, a row for each.
    Text,
    /// One document.
    Json,
    /// One document.
    Xml,
    /// One document.
    Yaml,
}

impl Format {
    /// The type of the column `QUERY PLAN`. Source: ExplainResultDesc in explain.c.
    pub fn oid(self) -> u32 {
        match self {
            Self::Text | Self::Yaml => 25,
            Self::Json => 114,
            Self::Xml => 142,
        }
    }
}

/// Reads what stands before the statement; gives that and where the statement begins. What is not understood of the options
/// is Postgres' to refuse. `None`: this is no EXPLAIN of anything.
pub fn read(text: &str) -> Option<(Asked, usize)> {
    let tokens = all_tokens(text)?;
    let word = |n: usize| tokens.get(n).map(|token| text[token.clone()].to_ascii_lowercase());
    let is = |n: usize, words: &[&str]| word(n).is_some_and(|word| words.contains(&word.as_str()));
    let first = (0..tokens.len()).find(|&n| !is(n, &[";"]))?;
    if !is(first, &["explain"]) {
        return None;
    }
    let mut asked = Asked { analyzes: false, format: Format::Text };
    let mut n = first + 1;
    if is(n, &["("]) && !is(n + 1, &["(", "select", "with", "table", "values"]) {
        n += 1;
        while !is(n, &[")"]) {
            let end = (n..tokens.len()).find(|&n| is(n, &[",", ")"]))?;
            let value = if end > n + 1 { word(n + 1) } else { None };
            asked.option(&word(n)?, value.as_deref());
            n = if is(end, &[","]) { end + 1 } else { end };
        }
        n += 1;
    } else {
        asked.analyzes = is(n, &["analyze", "analyse"]);
        n += usize::from(asked.analyzes);
        n += usize::from(is(n, &["verbose"]));
    }
    Some((asked, tokens.get(n)?.start))
}

impl Asked {
    fn option(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|value| value.trim_matches(['\'', '"']));
        match name.trim_matches('"') {
            "analyze" | "analyse" => self.analyzes = !matches!(value, Some("false" | "off" | "0")),
            "format" => {
                self.format = match value {
                    Some("json") => Format::Json,
                    Some("xml") => Format::Xml,
                    Some("yaml") => Format::Yaml,
                    _ => Format::Text,
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (bool, Format, &str) {
        let (asked, at) = read(text).unwrap();
        (asked.analyzes, asked.format, &text[at..])
    }

    #[test]
    fn options_are_read_in_both_forms() {
        use Format::*;
        for (text, analyzes, format) in [
            ("EXPLAIN SELECT 1", false, Text),
            ("explain analyze SELECT 1", true, Text),
            ("EXPLAIN ANALYSE VERBOSE SELECT 1", true, Text),
            ("EXPLAIN VERBOSE SELECT 1", false, Text),
            ("EXPLAIN () SELECT 1", false, Text),
            ("EXPLAIN (ANALYZE) SELECT 1", true, Text),
            ("EXPLAIN (costs off, ANALYZE true, FORMAT 'json') SELECT 1", true, Json),
            ("EXPLAIN (ANALYZE, FORMAT YAML, ANALYZE off) SELECT 1", false, Yaml),
            ("/* a */ EXPLAIN -- b\n (ANALYZE 0, BUFFERS, FORMAT XML)\n SELECT 1", false, Xml),
        ] {
            assert_eq!(of(text), (analyzes, format, "SELECT 1"), "{text}");
        }
    }

    #[test]
    fn a_query_in_parentheses_is_no_list_of_options() {
        assert_eq!(of("EXPLAIN (SELECT 1)"), (false, Format::Text, "(SELECT 1)"));
        assert_eq!(of("EXPLAIN ((SELECT 1))").2, "((SELECT 1))");
        assert_eq!(of("EXPLAIN (ANALYZE) (VALUES (1))"), (true, Format::Text, "(VALUES (1))"));
    }

    #[test]
    fn what_explains_nothing_is_not_understood() {
        for text in ["EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN (ANALYZE", "EXPLAIN (ANALYZE)", "SELECT 1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
