//! A statement's text taken apart and put together anew for each shard: rows of VALUES, parameters, calls of the clock.

use super::clock::{Clock, Clocked, Frozen, clocks};
use crate::sql::scan::{Scan, all_tokens, identifier};
use std::collections::HashMap;
use std::ops::Range;

/// A text in tokens.
#[derive(Debug)]
pub struct Tokens<'t> {
    /// The text.
    pub text: &'t str,
    ranges: Vec<Range<usize>>,
}

/// Where the rows of an INSERT … VALUES stand.
#[derive(Debug, Default)]
pub struct Rows {
    /// The closing parenthesis of the column list, if there is one.
    pub columns_end: Option<usize>,
    /// Where a list of columns would stand, if there is none.
    pub columns_at: usize,
    /// Each row with its parentheses.
    pub rows: Vec<Range<usize>>,
    /// What stands behind them: to the end of the statement.
    pub tail: Range<usize>,
    /// Values that are the word DEFAULT: their place in the text, and in their row.
    pub defaults: Vec<(Range<usize>, usize)>,
}

impl<'t> Tokens<'t> {
    /// Of a text; `None` if something in it is not closed.
    pub fn of(text: &'t str) -> Option<Self> {
        Some(Self { text, ranges: all_tokens(text)? })
    }

    fn at(&self, n: usize) -> &'t str {
        self.ranges.get(n).map_or("", |range| &self.text[range.clone()])
    }

    /// Where the statement ends: before a closing semicolon.
    pub fn end(&self) -> usize {
        let last = self.ranges.iter().rev().find(|range| &self.text[(*range).clone()] != ";");
        last.map_or(0, |range| range.end)
    }

    /// Calls of the clock.
    pub fn clocks(&self) -> Vec<(Range<usize>, Clock)> {
        clocks(self.text, &self.ranges)
    }

    /// Parameters and their numbers, from 0.
    pub fn params(&self) -> Vec<(Range<usize>, usize)> {
        let number = |range: &Range<usize>| {
            let digits = self.text[range.clone()].strip_prefix('$')?;
            Some((range.clone(), digits.parse::<usize>().ok()?.checked_sub(1)?))
        };
        self.ranges.iter().filter_map(number).collect()
    }

    /// The text from `ON CONFLICT` to before its `DO`.
    pub fn conflict_target(&self) -> Option<&'t str> {
        let mut depth = 0i32;
        let mut start = None;
        for (n, range) in self.ranges.iter().enumerate() {
            match self.at(n) {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                word if depth == 0
                    && word.eq_ignore_ascii_case("on")
                    && self.at(n + 1).eq_ignore_ascii_case("conflict") =>
                {
                    start = Some(range.start);
                }
                word if depth == 0 && word.eq_ignore_ascii_case("do") => {
                    return start.map(|start| &self.text[start..range.start]);
                }
                _ => {}
            }
        }
        None
    }

    /// RETURNING and what stands behind it, to the end of the statement.
    pub fn returning(&self) -> Option<Range<usize>> {
        let found = self.outside(0).find(|&n| self.at(n).eq_ignore_ascii_case("returning"))?;
        Some(self.ranges[found].start..self.end())
    }

    /// Words of a piece of the text, as identifiers.
    pub fn words(&self, range: Range<usize>) -> impl Iterator<Item = String> + '_ {
        let inside = move |at: &&Range<usize>| at.start >= range.start && at.end <= range.end;
        self.ranges.iter().filter(inside).map(|at| identifier(&self.text[at.clone()]))
    }

    /// Whether RETURNING takes parameters, or OLD and NEW.
    pub fn returns_more(&self) -> bool {
        let Some(returning) = self.returning() else { return false };
        (0..self.ranges.len()).filter(|&n| self.ranges[n].start > returning.start).any(|n| {
            let word = self.at(n);
            let row = matches!(&*word.to_ascii_lowercase(), "old" | "new");
            row && self.at(n + 1) == "." || word.starts_with('$')
        })
    }

    /// The value of one of so many assignments of an UPDATE.
    pub fn assigned(&self, nth: usize, of: usize) -> Option<Range<usize>> {
        let is = |n: usize, word: &str| self.at(n).eq_ignore_ascii_case(word);
        let set = self.outside(0).find(|&n| is(n, "set"))?;
        let mut starts = vec![set + 1];
        let mut end = self.ranges.len();
        for n in self.outside(set + 1) {
            if is(n, ",") {
                starts.push(n + 1);
            } else if is(n, ";")
                || is(n, "where")
                || is(n, "returning")
                || is(n, "from") && !is(n - 1, "distinct")
            {
                end = n;
                break;
            }
        }
        starts.push(end + 1);
        if starts.len() != of + 1 || nth >= of {
            return None;
        }
        let last = starts[nth + 1] - 2;
        let equals = (starts[nth]..last).find(|&n| self.at(n) == "=")?;
        Some(self.ranges[equals + 1].start..self.ranges[last].end)
    }

    /// Tokens from one on that stand in no parentheses.
    fn outside(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        let mut depth = 0i32;
        (from..self.ranges.len()).filter(move |&n| {
            match self.at(n) {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                _ => return depth == 0,
            }
            false
        })
    }

    /// Where the query of an INSERT … SELECT stands, and the closing parenthesis of the column list, if there is one.
    /// `conflicts` says that ON CONFLICT stands behind it.
    pub fn query(&self, conflicts: bool) -> Option<(Range<usize>, Option<usize>)> {
        let is = |n: usize, word: &str| self.at(n).eq_ignore_ascii_case(word);
        let begins = |n: usize| ["select", "with", "values", "table", "("].iter().any(|word| is(n, word));
        let mut n = (0..self.ranges.len()).find(|&n| is(n, "into"))? + 2;
        while self.at(n) == "." {
            n += 2;
        }
        if is(n, "as") {
            n += 2;
        }
        let mut columns = None;
        if self.at(n) == "(" && !begins(n + 1) {
            n = (n..self.ranges.len()).find(|&n| self.at(n) == ")")?;
            columns = Some(self.ranges[n].start);
            n += 1;
        }
        if is(n, "overriding") {
            n += 3;
        }
        if !begins(n) {
            return None;
        }
        let start = self.ranges[n].start;
        let mut end = self.end();
        let mut depth = 0i32;
        for at in n..self.ranges.len() {
            match self.at(at) {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                _ if depth > 0 => {}
                word if word.eq_ignore_ascii_case("returning") => {
                    end = end.min(self.ranges[at - 1].end);
                    break;
                }
                word if conflicts && word.eq_ignore_ascii_case("on") && is(at + 1, "conflict") => {
                    end = self.ranges[at - 1].end;
                }
                _ => {}
            }
        }
        Some((start..end, columns))
    }

    /// The rows of VALUES; `None` if there are none where an INSERT has them.
    pub fn rows(&self) -> Option<Rows> {
        let mut found = Rows::default();
        let mut depth = 0i32;
        let mut n = 0;
        // Up to VALUES.
        loop {
            let range = self.ranges.get(n)?;
            match self.at(n) {
                "(" | "[" => depth += 1,
                ")" | "]" => {
                    depth -= 1;
                    if depth == 0 {
                        found.columns_end = Some(range.start);
                    }
                }
                word if depth == 0 && word.eq_ignore_ascii_case("values") && self.at(n + 1) == "(" => break,
                _ => {}
            }
            n += 1;
        }
        // OVERRIDING SYSTEM VALUE stands between the list and the rows.
        let overrides = n.checked_sub(3).filter(|&at| self.at(at).eq_ignore_ascii_case("overriding"));
        found.columns_at = self.ranges[overrides.unwrap_or(n)].start;
        n += 1;
        loop {
            n = self.row(n, &mut found)?;
            if self.at(n) != "," || self.at(n + 1) != "(" {
                break;
            }
            n += 1;
        }
        let last = found.rows.last()?.end;
        found.tail = last..self.end().max(last);
        Some(found)
    }

    /// One row, which starts at a token; the token behind it.
    fn row(&self, first: usize, found: &mut Rows) -> Option<usize> {
        let (mut depth, mut value, mut n) = (0i32, 0, first);
        loop {
            let range = self.ranges.get(n)?;
            match self.text.as_bytes()[range.start] {
                b'(' | b'[' => depth += 1,
                b')' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        found.rows.push(self.ranges[first].start..range.end);
                        return Some(n + 1);
                    }
                }
                b',' if depth == 1 => value += 1,
                b'd' | b'D' if depth == 1 && self.at(n).eq_ignore_ascii_case("default") => {
                    let alone = matches!(self.at(n - 1), "(" | ",") && matches!(self.at(n + 1), ")" | ",");
                    if alone {
                        found.defaults.push((range.clone(), value));
                    }
                }
                _ => {}
            }
            n += 1;
        }
    }
}

/// What stands in the place of a piece of the text.
#[derive(Clone, Debug)]
pub enum With<'a> {
    /// A call of the clock as a literal.
    Clock(Clock),
    /// A column's default that names the clock.
    Default(&'a Clocked),
    /// A parameter, under another number.
    Param(usize),
    /// A parameter's value.
    Value(String),
}

/// A text that is put together from pieces of the client's.
#[derive(Clone, Debug, Default)]
pub struct Woven {
    /// It.
    pub sql: String,
    /// The client's parameters, from 0, in the order of its own.
    pub params: Vec<usize>,
    numbers: HashMap<usize, usize>,
    /// Where a piece starts, and where that stands in the client's text.
    marks: Vec<(usize, usize)>,
}

impl Woven {
    /// The text as it is.
    pub fn plain(text: &str) -> Self {
        Self { sql: text.to_owned(), marks: vec![(0, 0)], ..Self::default() }
    }

    /// Appends a piece of the client's text, with what stands in the place of pieces of it. `edits` are in order.
    pub fn piece(
        &mut self,
        text: &str,
        range: Range<usize>,
        edits: &[(Range<usize>, With<'_>)],
        frozen: &Frozen,
    ) {
        let first = edits.partition_point(|(at, _)| at.start < range.start);
        let mut at = range.start;
        for (place, with) in edits[first..].iter().take_while(|(place, _)| place.end <= range.end) {
            self.copy(text, at..place.start);
            self.marks.push((self.sql.len(), place.start));
            match with {
                With::Clock(clock) => self.sql.push_str(&clock.literal(frozen)),
                With::Default(default) => self.sql.push_str(&default.frozen(frozen)),
                With::Param(number) => self.param(*number),
                With::Value(value) => self.sql.push_str(value),
            }
            at = place.end;
        }
        self.copy(text, at..range.end);
    }

    fn copy(&mut self, text: &str, range: Range<usize>) {
        self.marks.push((self.sql.len(), range.start));
        self.sql.push_str(&text[range]);
    }

    fn param(&mut self, number: usize) {
        let params = &mut self.params;
        let own = *self.numbers.entry(number).or_insert_with(|| {
            params.push(number);
            params.len()
        });
        self.sql.push('$');
        self.sql.push_str(&own.to_string());
    }

    /// Appends text of our own.
    pub fn own(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// A place in it as one in the client's text, both in characters from 1.
    pub fn position(&self, text: &str, position: usize) -> usize {
        let offset = self.sql.char_indices().map(|(at, _)| at).nth(position.saturating_sub(1));
        let offset = offset.unwrap_or(self.sql.len());
        let next = self.marks.partition_point(|(at, _)| *at <= offset);
        let Some(&(start, source)) = next.checked_sub(1).and_then(|n| self.marks.get(n)) else {
            return position;
        };
        let source = (source + offset - start).min(text.len());
        text.char_indices().take_while(|(at, _)| *at < source).count() + 1
    }
}

/// The text of an INSERT with spaces in the place of `OVERRIDING SYSTEM VALUE`, or `USER`, which the parser does not know: it
/// lets values be given that are given anyway, or passes them over. `None` if that is not there.
pub fn without_overriding(text: &str, scan: &Scan) -> Option<String> {
    if scan.word_at(text, 0) != "INSERT" || !text.to_ascii_lowercase().contains("overriding") {
        return None;
    }
    let tokens = all_tokens(text)?;
    let is = |n: usize, word: &str| {
        tokens.get(n).is_some_and(|range| text[range.clone()].eq_ignore_ascii_case(word))
    };
    let first = (0..tokens.len())
        .find(|&n| is(n, "overriding") && (is(n + 1, "system") || is(n + 1, "user")) && is(n + 2, "value"))?;
    let range = tokens[first].start..tokens[first + 2].end;
    let blank = |c: char| if c == '\n' { c } else { ' ' };
    let spaces: String = text[range.clone()].chars().map(blank).collect();
    Some([&text[..range.start], &spaces, &text[range.end..]].concat())
}

/// Whether an INSERT passes over the values that it gives to identities.
pub fn overrides_users_values(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if !lower.contains("overriding") {
        return false;
    }
    let tokens = all_tokens(text).unwrap_or_default();
    let is = |n: usize, word: &str| {
        tokens.get(n).is_some_and(|range| text[range.clone()].eq_ignore_ascii_case(word))
    };
    (0..tokens.len()).any(|n| is(n, "overriding") && is(n + 1, "user") && is(n + 2, "value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "INSERT INTO t (a, b) OVERRIDING SYSTEM VALUE VALUES ($1, 'x),('), (DEFAULT, f(1, $3)) , ($1, now())  ON CONFLICT (a) DO NOTHING RETURNING $4 ; ";

    #[test]
    fn rows_are_found_in_the_text() {
        let tokens = Tokens::of(TEXT).unwrap();
        let rows = tokens.rows().unwrap();
        let texts: Vec<&str> = rows.rows.iter().map(|row| &TEXT[row.clone()]).collect();
        assert_eq!(texts, ["($1, 'x),(')", "(DEFAULT, f(1, $3))", "($1, now())"]);
        assert_eq!(&TEXT[rows.tail], "  ON CONFLICT (a) DO NOTHING RETURNING $4");
        assert_eq!(rows.columns_end.map(|at| &TEXT[at..=at]), Some(")"));
        assert_eq!(rows.defaults.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [0]);
        assert_eq!(tokens.conflict_target(), Some("ON CONFLICT (a) "));
    }

    #[test]
    fn assignments_and_returning_are_found_in_the_text() {
        let text = "UPDATE t AS x SET a[1] = (SELECT 2, 3), \"set\" = b IS DISTINCT FROM c , k= - 7::int FROM y WHERE z = (1) \
                    RETURNING k, (a) ; ";
        let tokens = Tokens::of(text).unwrap();
        let value = |nth| tokens.assigned(nth, 3).map(|at| &text[at]);
        assert_eq!(value(0), Some("(SELECT 2, 3)"));
        assert_eq!(value(1), Some("b IS DISTINCT FROM c"));
        assert_eq!(value(2), Some("- 7::int"));
        assert_eq!((value(3), tokens.assigned(0, 2)), (None, None));
        assert_eq!(tokens.returning().map(|at| &text[at]), Some("RETURNING k, (a)"));
        let short = Tokens::of("UPDATE t SET k = $1").unwrap();
        assert_eq!(short.assigned(0, 1).map(|at| &short.text[at]), Some("$1"));
        assert_eq!(short.returning(), None);
    }

    #[test]
    fn parameters_get_numbers_of_their_own_and_places_lead_back() {
        let tokens = Tokens::of(TEXT).unwrap();
        let rows = tokens.rows().unwrap();
        let edits: Vec<_> = tokens.params().into_iter().map(|(at, n)| (at, With::Param(n))).collect();
        let mut woven = Woven::default();
        woven.own("X ");
        for row in [1, 2] {
            woven.piece(TEXT, rows.rows[row].clone(), &edits, &Frozen::default());
            woven.own(",");
        }
        woven.piece(TEXT, rows.tail.clone(), &edits, &Frozen::default());
        assert_eq!(woven.sql, "X (DEFAULT, f(1, $1)),($2, now()),  ON CONFLICT (a) DO NOTHING RETURNING $3");
        assert_eq!(woven.params, [2, 0, 3]);
        let at = woven.sql.find("now").unwrap() + 1;
        assert_eq!(woven.position(TEXT, at), TEXT.find("now").unwrap() + 1);
        assert_eq!(Woven::plain(TEXT).position(TEXT, 7), 7);
    }
}
