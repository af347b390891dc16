//! `key=value key='value'`: what stands behind a name in `[databases]`, `[users]` and `[peers]`.
//!
//! Spaces alone part the pairs and may stand around `=`; a quote inside quotes is doubled; no value is empty.

use super::ini::end_of_quoted;
use super::report::{Piece, Report};

/// `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: Piece,
    pub(super) value: Piece,
}

const NO_VALUE: &str = "expected key=value (a value with spaces stands in ')";
const EMPTY: &str = "a value cannot be empty; leave the key out";
const OPEN: &str = "a ' without its end (a ' inside is doubled)";
const NO_SPACE: &str = "expected a space behind the '";

/// The pairs, as far as they could be read; the first thing that is wrong is reported and ends them.
pub(super) fn pairs(text: &Piece, report: &Report) -> Vec<Pair> {
    let mut cursor = Cursor { text, at: 0 };
    let mut pairs = Vec::new();
    loop {
        match cursor.pair(report) {
            Ok(Some(pair)) => pairs.push(pair),
            Ok(None) => return pairs,
            Err(message) => {
                report.problem(&text.part(cursor.at, String::new()).place, message);
                return pairs;
            }
        }
    }
}

/// A text and how far it is read.
struct Cursor<'a> {
    text: &'a Piece,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.text.len() - self.rest().trim_start_matches(' ').len();
    }

    /// What goes on to one of `ends`, which stays.
    fn until(&mut self, ends: &[char]) -> Piece {
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let piece = self.text.part(self.at, self.rest()[..length].to_owned());
        self.at += length;
        piece
    }

    fn pair(&mut self, report: &Report) -> Result<Option<Pair>, &'static str> {
        self.skip_spaces();
        if self.rest().is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let key = self.until(&['=', ' ']);
        self.skip_spaces();
        if key.text.is_empty() || !self.rest().starts_with('=') {
            self.at = start;
            return Err(NO_VALUE);
        }
        self.at += 1;
        let value = self.value(&key, report)?;
        Ok(Some(Pair { key, value }))
    }

    fn value(&mut self, key: &Piece, report: &Report) -> Result<Piece, &'static str> {
        let before = self.at;
        self.skip_spaces();
        if self.rest().starts_with('\'') {
            return self.quoted();
        }
        let value = self.until(&[' ']);
        if value.text.is_empty() {
            return Err(EMPTY);
        }
        // `password= dbname=x`: most likely meant as no password.
        if self.at - value.text.len() > before && value.text.contains('=') {
            let message =
                format!("\"{}\" is followed by a space, so that what comes next is its value", key.text);
            report.warn(&key.place, message);
        }
        Ok(value)
    }

    fn quoted(&mut self) -> Result<Piece, &'static str> {
        let inside = &self.rest()[1..];
        let end = end_of_quoted(inside, '\'').ok_or(OPEN)?;
        if end == 0 {
            return Err(EMPTY);
        }
        let value = self.text.part(self.at, inside[..end].replace("''", "'"));
        self.at += end + 2;
        if self.rest().is_empty() || self.rest().starts_with(' ') { Ok(value) } else { Err(NO_SPACE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problems::Place;

    /// `column:key=column:value`, then problems, then warnings; one per line.
    fn shown(text: &str) -> String {
        let place = Place::Spot { file: "f".into(), line: 1, column: 1 };
        let report = Report::default();
        let pairs = pairs(&Piece { text: text.into(), place }, &report);
        let (problems, warnings) = report.into_parts();
        let mut lines: Vec<String> = pairs.iter().map(line).collect();
        lines.extend(problems.iter().map(ToString::to_string));
        lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    }

    fn line(Pair { key, value }: &Pair) -> String {
        let column = |place: &Place| match place {
            Place::Spot { column, .. } => *column,
            _ => 0,
        };
        format!("{}:{}={}:{:?}", column(&key.place), key.text, column(&value.place), value.text)
    }

    #[test]
    fn pairs_are_parted_by_spaces() {
        assert_eq!(shown("host=x  port = 5 "), "1:host=6:\"x\"\n9:port=16:\"5\"");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn values_with_spaces_stand_in_quotes_and_quotes_are_doubled() {
        assert_eq!(shown("a='it''s b=c' d=x'y"), "1:a=3:\"it's b=c\"\n15:d=17:\"x'y\"");
        assert_eq!(shown("ü='ä ö' b=1"), "1:ü=3:\"ä ö\"\n9:b=11:\"1\"");
    }

    #[test]
    fn a_tab_is_part_of_a_value_as_in_pgbouncer() {
        assert_eq!(shown("a=x\tb=y"), "1:a=3:\"x\\tb=y\"");
    }

    #[test]
    fn what_is_no_pair_is_named_with_its_place() {
        assert_eq!(
            shown("a=1 host"),
            "1:a=3:\"1\"\nf:1:5: expected key=value (a value with spaces stands in ')"
        );
        assert_eq!(shown("=x"), "f:1:1: expected key=value (a value with spaces stands in ')");
        assert_eq!(shown("a='b"), "f:1:3: a ' without its end (a ' inside is doubled)");
        assert_eq!(shown("a='b'c=d"), "f:1:6: expected a space behind the '");
        assert_eq!(shown("a=''"), "f:1:3: a value cannot be empty; leave the key out");
        assert_eq!(shown("a="), "f:1:3: a value cannot be empty; leave the key out");
    }

    #[test]
    fn a_value_that_swallows_the_next_pair_is_taken_as_pgbouncer_takes_it_and_warned_of() {
        assert_eq!(
            shown("password= dbname=x"),
            "1:password=11:\"dbname=x\"\n\
             warning: f:1:1: \"password\" is followed by a space, so that what comes next is its value"
        );
    }
}
