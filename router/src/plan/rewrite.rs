//! A SELECT's text, taken apart at its top-level clauses, so that a shard can be asked for more columns than the
//! client was, and for rows that are not yet ordered or counted off.

use super::Refusal;
use super::listed::Splice;
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
    /// FOR UPDATE or one of its kin, the first of them.
    locks: Option<usize>,
    /// The end of the statement.
    end: usize,
    /// For each select item: its text from the first parenthesis to the last.
    calls: Vec<Option<Range<usize>>>,
}

impl<'a> Clauses<'a> {
    /// Those of a statement that is known to be a SELECT … FROM …
    pub(super) fn of(sql: &'a str, places: &Places<'_>) -> Result<Self, Refusal> {
        let confused = || Refusal::unsupported("the statement's clauses could not be told apart");
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location();
        let tokens = tokens.map_err(|_| confused())?;
        let marks = Marks::find(&tokens);
        let at = |n: usize| {
            let start = tokens[n].span.start;
            places.offset(start.line, start.column).ok_or_else(confused)
        };
        let call = |call: &Option<(usize, usize)>| {
            call.map(|(open, close)| Ok(at(open)?..at(close)? + 1)).transpose()
        };
        Ok(Self {
            sql,
            from: at(marks.from.ok_or_else(confused)?)?,
            order: marks.order.map(at).transpose()?,
            limit: marks.limit.map(at).transpose()?,
            locks: marks.locks.map(at).transpose()?,
            end: marks.end.map_or(Ok(sql.len()), at)?,
            calls: marks.calls.iter().map(call).collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is a LIMIT or an OFFSET.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// ORDER BY and what it orders by, as it is written, and where that begins.
    pub(super) fn order(&self) -> Option<(usize, &'a str)> {
        let start = self.order?;
        Some((start, &self.sql[start..self.tail()]))
    }

    /// FOR UPDATE and its kin, as they are written.
    pub(super) fn locks(&self) -> Option<&'a str> {
        let start = self.locks?;
        let end = self.limit.filter(|limit| *limit > start).unwrap_or(self.end);
        Some(self.sql[start..end].trim_end())
    }

    /// Where what stands behind ORDER BY begins.
    fn tail(&self) -> usize {
        self.limit.into_iter().chain(self.locks).min().unwrap_or(self.end)
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
        self.with(hidden, self.tail())
    }

    /// The same up to its ORDER BY.
    pub(super) fn unordered(&self, hidden: &[String]) -> String {
        self.with(hidden, self.order.unwrap_or(self.tail()))
    }

    /// What the same texts have that the client's has not.
    pub(super) fn splice(&self, hidden: &[String]) -> Splice {
        let at = self.sql[..self.from].chars().count();
        Splice { at, was: 0, is: put_in(hidden).chars().count() }
    }

    fn with(&self, hidden: &[String], end: usize) -> String {
        let mut sql = self.sql[..self.from].to_owned();
        sql.push_str(&put_in(hidden));
        // A line comment must not swallow what is put behind it.
        sql.push_str(&self.sql[self.from..end]);
        sql.push('\n');
        sql
    }
}

/// What stands between the select list and FROM.
fn put_in(hidden: &[String]) -> String {
    let mut sql = String::new();
    // Named, because an unnamed cast of a column has the column's name, which ORDER BY and GROUP BY may mean.
    for (n, column) in hidden.iter().enumerate() {
        sql.push_str(&format!(", {column} AS \"shardway hidden {}\"", n + 1));
    }
    sql.push(' ');
    sql
}

/// Tokens at which top-level clauses begin, while they are looked for.
#[derive(Default)]
struct Marks {
    depth: i32,
    from: Option<usize>,
    order: Option<usize>,
    limit: Option<usize>,
    locks: Option<usize>,
    end: Option<usize>,
    calls: Vec<Option<(usize, usize)>>,
}

impl Marks {
    fn find(tokens: &[TokenWithSpan]) -> Self {
        let mut marks = Self { calls: vec![None], ..Self::default() };
        let mut before: Option<(usize, Keyword)> = None;
        let mut dotted = false;
        for (i, token) in tokens.iter().enumerate() {
            let last = match &token.token {
                Token::Whitespace(_) => continue,
                _ => before.take(),
            };
            // Behind a point, and behind AS in the select list, any word is a name.
            let is_name = dotted || marks.from.is_none() && matches!(last, Some((_, Keyword::AS)));
            dotted = token.token == Token::Period;
            match &token.token {
                Token::Word(_) if is_name => {}
                Token::LParen | Token::LBracket => marks.open(i),
                Token::RParen | Token::RBracket => marks.close(i),
                Token::Comma if marks.depth == 0 && marks.from.is_none() => marks.calls.push(None),
                Token::SemiColon if marks.depth == 0 => {
                    marks.end = Some(i);
                    break;
                }
                Token::Word(word) if marks.depth == 0 && word.quote_style.is_none() => {
                    marks.word(i, word.keyword, last);
                    before = Some((i, word.keyword));
                }
                _ => {}
            }
        }
        marks
    }

    /// The select item that a token belongs to, if it is at the top of one.
    fn item(&mut self) -> Option<&mut Option<(usize, usize)>> {
        let inside = self.from.is_none() && self.depth == 0;
        self.calls.last_mut().filter(|_| inside)
    }

    fn open(&mut self, at: usize) {
        if let Some(call) = self.item() {
            call.get_or_insert((at, at));
        }
        self.depth += 1;
    }

    fn close(&mut self, at: usize) {
        self.depth -= 1;
        if let Some(Some(call)) = self.item() {
            call.1 = at;
        }
    }

    fn word(&mut self, at: usize, word: Keyword, before: Option<(usize, Keyword)>) {
        match (word, before) {
            // IS DISTINCT FROM
            (Keyword::FROM, Some((_, Keyword::DISTINCT))) => {}
            (Keyword::FROM, _) => {
                self.from.get_or_insert(at);
            }
            (Keyword::BY, Some((order, Keyword::ORDER))) if self.from.is_some() => {
                self.order.get_or_insert(order);
            }
            (Keyword::LIMIT | Keyword::OFFSET, _) if self.from.is_some() => {
                self.limit.get_or_insert(at);
            }
            (Keyword::UPDATE | Keyword::SHARE | Keyword::NO | Keyword::KEY, Some((lock, Keyword::FOR)))
                if self.from.is_some() =>
            {
                self.locks.get_or_insert(lock);
            }
            _ => {}
        }
    }
}
