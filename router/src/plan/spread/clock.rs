//! What names the clock: `now()`, CURRENT_DATE and their kin. One Postgres gives one value for a whole statement; over
//! several shards the value is taken once and put in the place of the call, as a literal of the very type.

use crate::plan::scope::folded;
use crate::sql::scan::all_tokens;
use sqlparser::ast::{Expr, FunctionArg, FunctionArguments, Visit, Visitor};
use std::ops::{ControlFlow, Range};

/// Values of the clock that a statement is to see on every shard, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// When the transaction began.
    pub transaction: String,
    /// When the statement did.
    pub statement: String,
}

/// What a word of the clock gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Timestamptz,
    Timestamp,
    Date,
    Timetz,
    Time,
}

/// A call of the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The word, in lower case: the name that Postgres gives to a column of it.
    name: Box<str>,
    gives: Gives,
    /// Of the statement's own beginning, not of the transaction's.
    of_statement: bool,
    precision: Option<String>,
}

impl Clock {
    /// It as a literal.
    pub fn literal(&self, frozen: &Frozen) -> String {
        let time = if self.of_statement { &frozen.statement } else { &frozen.transaction };
        let precision = self.precision.as_ref().map(|p| format!("({p})")).unwrap_or_default();
        let base = format!("'{time}+00'::pg_catalog.timestamptz");
        match self.gives {
            Gives::Timestamptz if precision.is_empty() => format!("({base})"),
            Gives::Timestamptz => format!("({base}::pg_catalog.timestamptz{precision})"),
            Gives::Timestamp => format!("({base}::pg_catalog.timestamp{precision})"),
            Gives::Date => format!("({base}::pg_catalog.date)"),
            Gives::Timetz => format!("({base}::pg_catalog.timetz{precision})"),
            Gives::Time => format!("({base}::pg_catalog.time{precision})"),
        }
    }

    /// The same as a query of one value, which has the name that the call would have as a column.
    pub fn named_literal(&self, frozen: &Frozen) -> String {
        format!("(SELECT {} AS \"{}\")", self.literal(frozen), self.name)
    }

    /// Whether it is the statement's own beginning.
    pub fn is_of_statement(&self) -> bool {
        self.of_statement
    }
}

/// Words of the clock that are syntax.
fn word(name: &str) -> Option<Gives> {
    Some(match name {
        "current_timestamp" => Gives::Timestamptz,
        "localtimestamp" => Gives::Timestamp,
        "current_date" => Gives::Date,
        "current_time" => Gives::Timetz,
        "localtime" => Gives::Time,
        _ => return None,
    })
}

/// Functions of the clock; whether it is the statement's own beginning that they give.
fn function(name: &str) -> Option<bool> {
    match name {
        "now" | "transaction_timestamp" => Some(false),
        "statement_timestamp" => Some(true),
        _ => None,
    }
}

/// Whether a function's name is one of the clock's.
pub fn is_clock(name: &str) -> bool {
    word(name).is_some() || function(name).is_some()
}

/// Where a text names the clock; `tokens` are its.
pub fn clocks(text: &str, tokens: &[Range<usize>]) -> Vec<(Range<usize>, Clock)> {
    let at = |n: usize| tokens.get(n).map_or("", |range| &text[range.clone()]);
    let mut found = Vec::new();
    for (n, range) in tokens.iter().enumerate() {
        if !text.as_bytes()[range.start].is_ascii_alphabetic() || range.len() > 24 {
            continue;
        }
        let name = at(n).to_ascii_lowercase();
        let before = if n > 0 { at(n - 1) } else { "" };
        if let (Some(gives), false) = (word(&name), before == "." || before.eq_ignore_ascii_case("as")) {
            let precise =
                at(n + 1) == "(" && at(n + 3) == ")" && at(n + 2).bytes().all(|b| b.is_ascii_digit());
            let precision = precise.then(|| at(n + 2).to_owned());
            let end = if precise { tokens[n + 3].end } else { range.end };
            let name = name.into();
            found.push((range.start..end, Clock { name, gives, of_statement: false, precision }));
        } else if let (Some(of_statement), "(", ")") = (function(&name), at(n + 1), at(n + 2)) {
            let start = match before {
                "." if n > 1 && at(n - 2).eq_ignore_ascii_case("pg_catalog") => tokens[n - 2].start,
                "." => continue,
                _ => range.start,
            };
            let (name, gives) = (name.into(), Gives::Timestamptz);
            let clock = Clock { name, gives, of_statement, precision: None };
            found.push((start..tokens[n + 2].end, clock));
        }
    }
    found
}

/// How often a piece of syntax calls the clock.
pub fn calls(piece: &impl Visit) -> usize {
    #[derive(Default)]
    struct Calls(usize);
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            if let Expr::Function(f) = expr {
                let parts: Vec<String> =
                    f.name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
                self.0 += usize::from(match &parts[..] {
                    [name] => is_clock(name),
                    [schema, name] => schema == "pg_catalog" && is_clock(name),
                    _ => false,
                });
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls::default();
    let _ = piece.visit(&mut calls);
    calls.0
}

/// Whether a piece of syntax asks the clock by `age` of one argument, which has no word to be put in the place of.
pub fn asks_age(piece: &impl Visit) -> bool {
    struct Age;
    impl Visitor for Age {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let one = |args: &FunctionArguments| match args {
                FunctionArguments::List(list) => matches!(&list.args[..], [FunctionArg::Unnamed(_)]),
                _ => false,
            };
            match expr {
                Expr::Function(f)
                    if one(&f.args)
                        && f.name.0.last().and_then(|p| p.as_ident()).is_some_and(|n| folded(n) == "age") =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    piece.visit(&mut Age).is_break()
}

/// Words by which a date or time is read from the clock.
const WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// Other words that may stand in a date or time.
const BESIDE: [&str; 16] =
    ["ad", "allballs", "am", "at", "bc", "bce", "ce", "d", "dow", "dst", "m", "on", "pm", "t", "y", "z"];

/// The longest text that Postgres takes for a date or time (MAXDATELEN).
const LONGEST: usize = 128;

/// Whether a value, as a date or time, or as an array or range of some, would be read from the clock.
pub fn is_read_from_clock(value: &[u8]) -> bool {
    let trimmed = value.trim_ascii();
    match trimmed.first() {
        Some(b'{' | b'[' | b'(') => trimmed.split(|byte| b"{}[](),\"\\".contains(byte)).any(is_date_of_clock),
        _ => is_date_of_clock(trimmed),
    }
}

/// Whether one of the words stands in it, and nothing that could not stand beside it: a zone's name is the one word that
/// is not known here.
fn is_date_of_clock(value: &[u8]) -> bool {
    if value.len() > LONGEST || !value.iter().any(u8::is_ascii_alphabetic) {
        return false;
    }
    let (mut reads, mut unknown) = (false, 0);
    for token in value.split(|byte| byte.is_ascii_whitespace() || *byte == b',') {
        let mut runs = token.split(|byte| !byte.is_ascii_alphabetic()).filter(|run| !run.is_empty());
        let is_one_of =
            |run: &[u8], words: &[&str]| words.iter().any(|w| run.eq_ignore_ascii_case(w.as_bytes()));
        if runs.clone().any(|run| is_one_of(run, &WORDS)) {
            reads = true;
        } else if runs.any(|run| !is_one_of(run, &BESIDE)) {
            unknown += 1;
        }
    }
    reads && unknown < 2
}

/// Whether a text of the catalog has a string that would be.
pub(super) fn reads_clock(text: &str) -> bool {
    let read = |range: &Range<usize>| {
        let token = &text[range.clone()];
        token.starts_with('\'') && is_read_from_clock(token.trim_matches('\'').as_bytes())
    };
    all_tokens(text).is_some_and(|tokens| tokens.iter().any(read))
}

/// The characters of a string literal with escapes or in pieces, near enough to find words in them.
pub fn loosely(token: &str) -> String {
    let escapes = token.starts_with(['e', 'E']);
    let (mut out, mut inside) = (String::new(), false);
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => inside = !inside,
            _ if !inside => {}
            '\\' if escapes => out.push(escaped(&mut chars)),
            c => out.push(c),
        }
    }
    out
}

fn escaped(chars: &mut std::str::Chars<'_>) -> char {
    let (radix, most) = match chars.clone().next() {
        Some('x') => (16, 2),
        Some('u') => (16, 4),
        Some('U') => (16, 8),
        Some('0'..='7') => (8, 3),
        Some('b' | 'f' | 'n' | 'r' | 't') => {
            chars.next();
            return ' ';
        }
        _ => return chars.next().unwrap_or(' '),
    };
    if radix == 16 {
        chars.next();
    }
    let mut code = 0;
    for _ in 0..most {
        let Some(digit) = chars.clone().next().and_then(|c| c.to_digit(radix)) else { break };
        code = code * radix + digit;
        chars.next();
    }
    char::from_u32(code).unwrap_or(' ')
}

/// An expression's text in pieces: SQL, and calls of the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clocked {
    pieces: Vec<(String, Option<Clock>)>,
}

impl Clocked {
    /// Of a default's text; `None` if it does not name the clock.
    pub fn of(text: &str) -> Option<Self> {
        let tokens = all_tokens(text)?;
        let found = clocks(text, &tokens);
        if found.is_empty() {
            return None;
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        for (range, clock) in found {
            pieces.push((text[at..range.start].to_owned(), Some(clock)));
            at = range.end;
        }
        pieces.push((text[at..].to_owned(), None));
        Some(Self { pieces })
    }

    /// Whether it asks for the statement's own beginning.
    pub fn is_of_statement(&self) -> bool {
        self.pieces.iter().any(|(_, clock)| clock.as_ref().is_some_and(Clock::is_of_statement))
    }

    /// It with literals.
    pub fn frozen(&self, frozen: &Frozen) -> String {
        let piece = |(sql, clock): &(String, Option<Clock>)| {
            let literal = clock.as_ref().map(|clock| clock.literal(frozen)).unwrap_or_default();
            format!("{sql}{literal}")
        };
        self.pieces.iter().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen(text: &str) -> String {
        let frozen = Frozen { transaction: "T".into(), statement: "S".into() };
        Clocked::of(text).map_or_else(|| "-".to_owned(), |clocked| clocked.frozen(&frozen))
    }

    #[test]
    fn calls_become_literals_of_their_types() {
        assert_eq!(frozen("now()"), "('T+00'::pg_catalog.timestamptz)");
        assert_eq!(frozen("pg_catalog.now ( ) - x"), "('T+00'::pg_catalog.timestamptz) - x");
        assert_eq!(frozen("statement_timestamp()"), "('S+00'::pg_catalog.timestamptz)");
        assert_eq!(
            frozen("CURRENT_TIMESTAMP(3)"),
            "('T+00'::pg_catalog.timestamptz::pg_catalog.timestamptz(3))"
        );
        assert_eq!(frozen("localtime"), "('T+00'::pg_catalog.timestamptz::pg_catalog.time)");
        assert_eq!(frozen("current_date + 1"), "('T+00'::pg_catalog.timestamptz::pg_catalog.date) + 1");
    }

    #[test]
    fn what_only_looks_like_a_call_stays() {
        for text in
            ["'now()'", "my.now()", "\"now\"()", "now", "t.current_date", "x AS current_date", "-- now()\n1"]
        {
            assert_eq!(frozen(text), "-", "{text}");
        }
    }

    #[test]
    fn strings_that_are_read_from_the_clock_are_known() {
        for text in [
            "now",
            " NOW ",
            "today 12:00",
            "tomorrow",
            "Yesterday",
            "12:00 today",
            "04:05 PM tomorrow",
            "now EST5EDT",
            "today Europe/Berlin",
            "now-5",
            "{2024-01-01,now}",
            "[\"now\",)",
            "(1,\"now\")",
            "{\"{\\\"now\\\"}\"}",
        ] {
            assert!(is_read_from_clock(text.as_bytes()), "{text}");
        }
        for text in [
            "nowhere",
            "2024-01-01",
            "",
            "todays",
            "the right now",
            "Now we are six",
            "Today is nice",
            "what was up yesterday",
            "2024-01-01T12:00:00Z",
            "{\"text\": \"it is now\"}",
            "{a,b}",
            "Hello, it is today",
        ] {
            assert!(!is_read_from_clock(text.as_bytes()), "{text}");
        }
        assert!(reads_clock("('now'::text)::date") && !reads_clock("'new'::text"));
    }

    #[test]
    fn escapes_and_pieces_are_looked_through() {
        assert_eq!(loosely(r"E'\x6e\157\u0077'"), "now");
        assert_eq!(loosely("'no'\n  'w'"), "now");
        assert_eq!(loosely(r"e'it\'s\n'"), "it's ");
    }
}
