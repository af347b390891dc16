//! COPY's own grammar, every form of it that Postgres takes: the parser has gaps here (`HEADER match`, WHERE,
//! `FORCE_QUOTE *`, strings of more than one byte where one is meant).
//! Source: PostgreSQL, `gram.y`, CopyStmt.

use crate::plan::pin::Places;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::ops::Range;

/// A COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What is copied.
    pub source: Source,
    /// Out of it; else into it.
    pub to: bool,
    /// Whether the client is the other end; else a file or program of the server's.
    pub with_client: bool,
    /// Options, in lower case, in order.
    pub options: Vec<(String, Value)>,
    /// Where the condition stands in the text that rows must meet to be copied in.
    pub condition: Option<Range<usize>>,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table, and the columns that are named.
    Table {
        /// Its name, part by part.
        name: Vec<String>,
        /// Columns; empty for all.
        columns: Vec<String>,
        /// Where their list stands in the text, or would.
        list: Range<usize>,
    },
    /// What a query gives: its place in the text.
    Query(Range<usize>),
}

/// An option's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// None.
    Nothing,
    /// A word, a number or a string.
    Text(String),
    /// `*`
    Star,
    /// Names in parentheses.
    List(Vec<String>),
}

/// Reads one; `None` where it is not understood.
pub fn read(text: &str) -> Option<Copy> {
    let all = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    let tokens: Vec<TokenWithSpan> =
        all.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut reader = Reader { places: Places::new(text, &[]), end: text.len(), tokens: &tokens, at: 0 };
    let copy = reader.copy()?;
    while reader.takes(&Token::SemiColon) {}
    matches!(reader.peek(), None | Some(Token::EOF)).then_some(copy)
}

struct Reader<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    places: Places<'a>,
    end: usize,
}

impl Reader<'_> {
    fn copy(&mut self) -> Option<Copy> {
        self.word("copy").then_some(())?;
        let binary = self.word("binary");
        let source = self.source()?;
        let to = if self.word("from") { false } else { self.word("to").then_some(true)? };
        let with_client = !self.word("program") && (self.word("stdin") || self.word("stdout"));
        if !with_client {
            self.string()?;
        }
        let mut options = Vec::new();
        if binary {
            options.push(("format".to_owned(), Value::Text("binary".to_owned())));
        }
        let using = self.word("using");
        if self.word("delimiters") {
            options.push(("delimiter".to_owned(), Value::Text(self.string()?)));
        } else if using {
            return None;
        }
        self.word("with");
        if self.takes(&Token::LParen) {
            self.generic(&mut options)?;
        } else {
            while self.old(&mut options)? {}
        }
        let condition = self.condition(to)?;
        Some(Copy { source, to, with_client, options, condition })
    }

    fn source(&mut self) -> Option<Source> {
        if self.takes(&Token::LParen) {
            let start = self.offset(self.at)?;
            self.skip_to_paren()?;
            let end = self.offset(self.at)?;
            self.at += 1;
            return Some(Source::Query(start..end));
        }
        let mut name = vec![self.name()?];
        while self.takes(&Token::Period) {
            name.push(self.name()?);
        }
        let start = self.offset(self.at)?;
        if !self.takes(&Token::LParen) {
            return Some(Source::Table { name, columns: Vec::new(), list: start..start });
        }
        let columns = self.names()?;
        Some(Source::Table { name, columns, list: start..self.offset(self.at)? })
    }

    /// Up to the parenthesis that closes.
    fn skip_to_paren(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.peek()? {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return Some(()),
                Token::RParen => depth -= 1,
                Token::EOF => return None,
                _ => {}
            }
            self.at += 1;
        }
    }

    /// `name [value], …)`
    fn generic(&mut self, options: &mut Vec<(String, Value)>) -> Option<()> {
        loop {
            let name = self.name()?;
            let value = match self.peek()? {
                Token::Comma | Token::RParen => Value::Nothing,
                Token::Mul => {
                    self.at += 1;
                    Value::Star
                }
                Token::LParen => {
                    self.at += 1;
                    Value::List(self.names()?)
                }
                _ => Value::Text(self.scalar()?),
            };
            options.push((name, value));
            if self.takes(&Token::RParen) {
                return Some(());
            }
            self.takes(&Token::Comma).then_some(())?;
        }
    }

    fn scalar(&mut self) -> Option<String> {
        match self.peek()? {
            Token::Word(_) => self.name(),
            Token::Number(digits, _) => {
                let digits = digits.clone();
                self.at += 1;
                Some(digits)
            }
            Token::Minus | Token::Plus => {
                let sign = if *self.peek()? == Token::Minus { "-" } else { "" };
                self.at += 1;
                self.scalar().map(|digits| format!("{sign}{digits}"))
            }
            _ => self.string(),
        }
    }

    /// An option as it was written before version 9.0. Whether there was one.
    fn old(&mut self, options: &mut Vec<(String, Value)>) -> Option<bool> {
        let mut add = |name: &str, value| options.push((name.to_owned(), value));
        for format in ["binary", "csv"] {
            if self.word(format) {
                add("format", Value::Text(format.to_owned()));
                return Some(true);
            }
        }
        for name in ["freeze", "header"] {
            if self.word(name) {
                add(name, Value::Nothing);
                return Some(true);
            }
        }
        for name in ["delimiter", "null", "quote", "escape"] {
            if self.word(name) {
                self.word("as");
                add(name, Value::Text(self.string()?));
                return Some(true);
            }
        }
        if self.word("encoding") {
            add("encoding", Value::Text(self.string()?));
            return Some(true);
        }
        if !self.word("force") {
            return Some(false);
        }
        let name = if self.word("quote") {
            "force_quote"
        } else if self.word("not") {
            self.word("null").then_some("force_not_null")?
        } else {
            self.word("null").then_some("force_null")?
        };
        if name == "force_quote" && self.takes(&Token::Mul) {
            add(name, Value::Star);
            return Some(true);
        }
        let mut columns = vec![self.name()?];
        while self.takes(&Token::Comma) {
            columns.push(self.name()?);
        }
        add(name, Value::List(columns));
        Some(true)
    }

    /// WHERE, up to the statement's end.
    fn condition(&mut self, to: bool) -> Option<Option<Range<usize>>> {
        if to || !self.word("where") {
            return Some(None);
        }
        let start = self.offset(self.at)?;
        while !matches!(self.peek(), None | Some(Token::EOF | Token::SemiColon)) {
            self.at += 1;
        }
        Some(Some(start..self.offset(self.at)?))
    }

    /// `name, …)`
    fn names(&mut self) -> Option<Vec<String>> {
        let mut names = vec![self.name()?];
        while self.takes(&Token::Comma) {
            names.push(self.name()?);
        }
        self.takes(&Token::RParen).then_some(names)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    /// Byte offset of a token.
    fn offset(&self, token: usize) -> Option<usize> {
        match self.tokens.get(token) {
            None => Some(self.end),
            Some(TokenWithSpan { token: Token::EOF, .. }) => Some(self.end),
            Some(token) => self.places.offset(token.span.start.line, token.span.start.column),
        }
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is = self.peek() == Some(token);
        self.at += usize::from(is);
        is
    }

    /// A keyword.
    fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
        self.at += usize::from(is);
        is
    }

    /// An identifier, as Postgres folds it.
    fn name(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let name = match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_ascii_lowercase(),
        };
        self.at += 1;
        Some(name)
    }

    fn string(&mut self) -> Option<String> {
        let text = match self.peek()? {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::UnicodeStringLiteral(text) => text.clone(),
            Token::DollarQuotedString(text) => text.value.clone(),
            _ => return None,
        };
        self.at += 1;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    fn options(sql: &str) -> Vec<(String, Value)> {
        read(sql).unwrap_or_else(|| panic!("not understood: {sql}")).options
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let new = options(
            "COPY s.\"T\" (a, \"B\") FROM STDIN WITH (FORMAT csv, HEADER match, DELIMITER E'\\t', NULL '', \
             FORCE_QUOTE *, force_null (a, \"B\"), freeze off, header 1)",
        );
        let list = Value::List(vec!["a".into(), "B".into()]);
        let expected = [
            ("format", text("csv")),
            ("header", text("match")),
            ("delimiter", text("\t")),
            ("null", text("")),
            ("force_quote", Value::Star),
            ("force_null", list.clone()),
            ("freeze", text("off")),
            ("header", text("1")),
        ];
        assert_eq!(new, expected.map(|(name, value)| (name.to_owned(), value)));
        let old = options(
            "copy t from stdin with csv header delimiter as ';' null as 'x' quote '''' force not null a, \"B\"",
        );
        let expected = [
            ("format", text("csv")),
            ("header", Value::Nothing),
            ("delimiter", text(";")),
            ("null", text("x")),
            ("quote", text("'")),
            ("force_not_null", list),
        ];
        assert_eq!(old, expected.map(|(name, value)| (name.to_owned(), value)));
        let oldest = options("COPY BINARY t FROM STDIN USING DELIMITERS '|'");
        assert_eq!(oldest, [("format".to_owned(), text("binary")), ("delimiter".to_owned(), text("|"))]);
    }

    #[test]
    fn a_query_and_a_condition_are_places_in_the_text() {
        let sql = "COPY (SELECT ')', é FROM t WHERE (a)) TO STDOUT (FORMAT csv);";
        let copy = read(sql).unwrap();
        let Source::Query(range) = copy.source else { panic!("no query") };
        assert_eq!((&sql[range], copy.to), ("SELECT ')', é FROM t WHERE (a)", true));
        let sql = "COPY t FROM STDIN CSV WHERE n > 1 AND (a)\n;";
        let copy = read(sql).unwrap();
        assert_eq!(sql[copy.condition.unwrap()].trim(), "n > 1 AND (a)");
    }

    #[test]
    fn what_is_no_copy_is_not_understood() {
        for sql in ["COPY t", "COPY t FROM STDIN (", "COPY t FROM STDIN CSV odd", "COPY t (a FROM STDIN"] {
            assert_eq!(read(sql), None, "{sql}");
        }
        assert!(!read("COPY t FROM '/tmp/x' CSV").unwrap().with_client);
        assert!(!read("COPY t TO PROGRAM 'cat'").unwrap().with_client);
    }
}
