//! A SELECT's text, taken apart at its top-level clauses, so that a shard can be asked for more columns than the
//! client was, and for rows that are not yet ordered or counted off.

use super::Refusal;
use super::pin::Places;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::ops::Range;

/// Where the clauses of a single SELECT stand in its text.
#[derive(Debug)]
pub(super) struct Clauses<'a> {
    sql: &'a str,
    /// FROM.
    from: usize,
    /// ORDER BY.
    order: Option<usize>,
    /// LIMIT or OFFSET, whichever comes first.
    limit: Option<usize>,
    /// The end of the statement.
    end: usize,
    /// For each select item: its text from the first parenthesis to the last.
    calls: Vec<Option<Range<usize>>>,
}

impl<'a> Clauses<'a> {
    /// Those of a statement that is known to be a SELECT … FROM …
    pub(super) fn of(sql: &'a str, places: &Places<'_>) -> Result<Self, Refusal> {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok();
        let found = tokens.as_deref().and_then(|tokens| Marks::find(tokens));
        let confused = || Refusal::unsupported("the statement's clauses could not be told apart");
        let (tokens, marks) = tokens.as_deref().zip(found).ok_or_else(confused)?;
        let at = |n: usize| {
            let start = tokens[n].span.start;
            places.offset(start.line, start.column).ok_or_else(confused)
        };
        let call = |call: &Option<(usize, usize)>| {
            call.map(|(open, close)| Ok(at(open)?..at(close)? + 1)).transpose()
        };
        Ok(Self {
            sql,
            from: at(marks.from)?,
            order: marks.order.map(at).transpose()?,
            limit: marks.limit.map(at).transpose()?,
            end: marks.end.map_or(Ok(sql.len()), at)?,
            calls: marks.calls.iter().map(call).collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is a LIMIT or an OFFSET.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Select items.
    pub(super) fn items(&self) -> usize {
        self.calls.len()
    }

    /// What stands behind the name in a select item that is a function call: arguments in parentheses, and FILTER.
    pub(super) fn call(&self, item: usize) -> Option<&'a str> {
        self.calls.get(item)?.clone().map(|range| &self.sql[range])
    }

    /// The statement up to its LIMIT, with hidden columns behind its select list.
    pub(super) fn ordered(&self, hidden: &[String]) -> String {
        self.with(hidden, self.limit.unwrap_or(self.end))
    }

    /// The same up to its ORDER BY.
    pub(super) fn unordered(&self, hidden: &[String]) -> String {
        self.with(hidden, self.order.or(self.limit).unwrap_or(self.end))
    }

    fn with(&self, hidden: &[String], end: usize) -> String {
        let mut sql = self.sql[..self.from].to_owned();
        // Named, because an unnamed cast of a column has the column's name, which ORDER BY and GROUP BY may mean.
        for (n, column) in hidden.iter().enumerate() {
            sql.push_str(&format!(", {column} AS \"shardway hidden {}\"", n + 1));
        }
        sql.push(' ');
        // A line comment must not swallow what is put behind it.
        sql.push_str(&self.sql[self.from..end]);
        sql.push('\n');
        sql
    }
}

/// Tokens at which top-level clauses begin.
#[derive(Default)]
struct Marks {
    from: usize,
    order: Option<usize>,
    limit: Option<usize>,
    end: Option<usize>,
    calls: Vec<Option<(usize, usize)>>,
}

impl Marks {
    fn find(tokens: &[TokenWithSpan]) -> Option<Self> {
        let mut marks = Self { calls: vec![None], ..Self::default() };
        let mut depth = 0i32;
        let mut from = None;
        let mut before: Option<(usize, Keyword)> = None;
        for (i, token) in tokens.iter().enumerate() {
            match &token.token {
                Token::Whitespace(_) => continue,
                Token::LParen | Token::LBracket => {
                    if from.is_none() && depth == 0 {
                        marks.calls.last_mut()?.get_or_insert((i, i));
                    }
                    depth += 1;
                }
                Token::RParen | Token::RBracket => {
                    depth -= 1;
                    if let (None, 0, Some(call)) = (from, depth, marks.calls.last_mut()?) {
                        call.1 = i;
                    }
                }
                Token::Comma if depth == 0 && from.is_none() => marks.calls.push(None),
                Token::SemiColon if depth == 0 => {
                    marks.end = Some(i);
                    break;
                }
                Token::Word(word) if depth == 0 && word.quote_style.is_none() => {
                    let last = before.replace((i, word.keyword));
                    match (word.keyword, last) {
                        // IS DISTINCT FROM
                        (Keyword::FROM, Some((_, Keyword::DISTINCT))) => {}
                        (Keyword::FROM, _) if from.is_none() => from = Some(i),
                        (Keyword::BY, Some((order, Keyword::ORDER))) if from.is_some() => {
                            marks.order.get_or_insert(order);
                        }
                        (Keyword::LIMIT | Keyword::OFFSET, _) if from.is_some() => {
                            marks.limit.get_or_insert(i);
                        }
                        _ => {}
                    }
                    continue;
                }
                _ => {}
            }
            before = None;
        }
        Some(Self { from: from?, ..marks })
    }
}
