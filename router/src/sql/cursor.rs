//! DECLARE, FETCH, MOVE and CLOSE, taken apart: what is asked of which cursor. Source: `fetch_args` and
//! `DeclareCursorStmt` in gram.y.

use super::scan::{all_tokens, identifier};

/// A DECLARE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declare<'a> {
    /// The cursor's name.
    pub name: String,
    /// Whether simple queries fetch its rows in binary.
    pub binary: bool,
    /// Whether it may be moved backwards.
    pub scroll: Scroll,
    /// Whether it outlives its transaction.
    pub hold: bool,
    /// The text up to its query.
    pub head: &'a str,
    /// Its query.
    pub query: &'a str,
}

/// Whether a cursor may be moved backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scroll {
    /// NO SCROLL.
    No,
    /// Not said: as far as it costs nothing.
    #[default]
    Maybe,
    /// SCROLL.
    Yes,
}

/// What is asked of cursors that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorCommand {
    /// FETCH or MOVE.
    Fetch {
        /// MOVE: no rows are given.
        moves: bool,
        /// The cursor.
        name: String,
        /// Which rows.
        way: Way,
    },
    /// CLOSE.
    Close(String),
    /// CLOSE ALL.
    CloseAll,
}

/// Which rows are meant. ALL is [`ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// FORWARD, NEXT, or a count alone.
    Forward(i64),
    /// BACKWARD, PRIOR.
    Backward(i64),
    /// ABSOLUTE, FIRST, LAST.
    Absolute(i64),
    /// RELATIVE.
    Relative(i64),
}

/// As many as there are.
pub const ALL: i64 = i64::MAX;

impl<'a> Declare<'a> {
    /// Of a text; `None`: it is for Postgres to say what is wrong with it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let tokens = all_tokens(text)?;
        let word = |n: usize| tokens.get(n).map(|range| &text[range.clone()]);
        let is = |n: usize, what: &str| word(n).is_some_and(|word| word.eq_ignore_ascii_case(what));
        let name = identifier(word(1).filter(|name| is_name(name))?);
        let cursor = (2..tokens.len()).find(|&n| is(n, "cursor"))?;
        let (mut binary, mut scroll) = (false, Scroll::Maybe);
        for n in 2..cursor {
            match word(n)?.to_ascii_lowercase().as_str() {
                "binary" => binary = true,
                "scroll" if is(n - 1, "no") => scroll = Scroll::No,
                "scroll" => scroll = Scroll::Yes,
                "no" | "insensitive" | "asensitive" => {}
                _ => return None,
            }
        }
        let holds = is(cursor + 1, "with") && is(cursor + 2, "hold");
        let doesnt = is(cursor + 1, "without") && is(cursor + 2, "hold");
        let at = if holds || doesnt { cursor + 3 } else { cursor + 1 };
        let start = tokens.get(at + 1).filter(|_| is(at, "for"))?.start;
        let last = tokens.iter().rev().find(|range| &text[(*range).clone()] != ";")?;
        let query = text.get(start..last.end)?;
        Some(Self { name, binary, scroll, hold: holds, head: &text[..start], query })
    }
}

impl CursorCommand {
    /// Of a text; `None`: it is for Postgres to say what is wrong with it.
    pub fn parse(text: &str) -> Option<Self> {
        let tokens = all_tokens(text)?;
        let words: Vec<&str> =
            tokens.into_iter().map(|range| &text[range]).filter(|word| *word != ";").collect();
        let (first, rest) = words.split_first()?;
        let moves = match first.to_ascii_lowercase().as_str() {
            "close" => {
                let [name] = rest else { return None };
                let all = name.eq_ignore_ascii_case("all");
                return Some(if all { Self::CloseAll } else { Self::Close(cursor(name)?) });
            }
            "fetch" => false,
            "move" => true,
            _ => return None,
        };
        let (way, rest) = match rest {
            // Words like NEXT are names too.
            [_] => (Way::Forward(1), rest),
            _ => way(rest)?,
        };
        let name = match rest {
            [name] => name,
            [from, name] if ["from", "in"].iter().any(|word| from.eq_ignore_ascii_case(word)) => name,
            _ => return None,
        };
        Some(Self::Fetch { moves, name: cursor(name)?, way })
    }
}

/// The direction that words begin with, and what stands behind it.
fn way<'a, 'b>(words: &'b [&'a str]) -> Option<(Way, &'b [&'a str])> {
    let (first, rest) = words.split_first()?;
    Some(match first.to_ascii_lowercase().as_str() {
        "next" => (Way::Forward(1), rest),
        "prior" => (Way::Backward(1), rest),
        "first" => (Way::Absolute(1), rest),
        "last" => (Way::Absolute(-1), rest),
        "all" => (Way::Forward(ALL), rest),
        "absolute" => count(rest).map(|(n, rest)| (Way::Absolute(n), rest))?,
        "relative" => count(rest).map(|(n, rest)| (Way::Relative(n), rest))?,
        "forward" => count_or_one(rest, Way::Forward),
        "backward" => count_or_one(rest, Way::Backward),
        "from" | "in" => (Way::Forward(1), words),
        _ => count(words).map(|(n, rest)| (Way::Forward(n), rest))?,
    })
}

fn count_or_one<'a, 'b>(words: &'b [&'a str], way: fn(i64) -> Way) -> (Way, &'b [&'a str]) {
    match words.first() {
        Some(word) if word.eq_ignore_ascii_case("all") => (way(ALL), &words[1..]),
        _ => count(words).map_or((way(1), words), |(n, rest)| (way(n), rest)),
    }
}

/// A signed count, and what stands behind it. Postgres reads no larger ones.
fn count<'a, 'b>(words: &'b [&'a str]) -> Option<(i64, &'b [&'a str])> {
    let (sign, digits) = match *words.first()? {
        "-" => (-1, 1),
        "+" => (1, 1),
        _ => (1, 0),
    };
    let number: i32 = words.get(digits)?.parse().ok()?;
    Some((sign * i64::from(number), &words[digits + 1..]))
}

fn cursor(token: &str) -> Option<String> {
    is_name(token).then(|| identifier(token))
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(way: Way) -> Option<CursorCommand> {
        Some(CursorCommand::Fetch { moves: false, name: "c".into(), way })
    }

    #[test]
    fn every_direction_is_understood() {
        for (text, way) in [
            ("FETCH c", Way::Forward(1)),
            ("fetch from c;", Way::Forward(1)),
            ("FETCH IN C", Way::Forward(1)),
            ("FETCH NEXT FROM \"c\"", Way::Forward(1)),
            ("FETCH PRIOR c", Way::Backward(1)),
            ("FETCH FIRST IN c", Way::Absolute(1)),
            ("FETCH LAST c", Way::Absolute(-1)),
            ("FETCH ABSOLUTE 3 c", Way::Absolute(3)),
            ("FETCH ABSOLUTE -3 FROM c", Way::Absolute(-3)),
            ("FETCH RELATIVE + 2 FROM c", Way::Relative(2)),
            ("FETCH RELATIVE 0 c", Way::Relative(0)),
            ("FETCH 10 c", Way::Forward(10)),
            ("FETCH -10 FROM c", Way::Forward(-10)),
            ("FETCH ALL FROM c", Way::Forward(ALL)),
            ("FETCH FORWARD c", Way::Forward(1)),
            ("FETCH FORWARD 0 FROM c", Way::Forward(0)),
            ("FETCH FORWARD ALL IN c", Way::Forward(ALL)),
            ("FETCH BACKWARD FROM c", Way::Backward(1)),
            ("FETCH BACKWARD -4 c", Way::Backward(-4)),
            ("FETCH /* x */ BACKWARD ALL c -- y", Way::Backward(ALL)),
        ] {
            assert_eq!(CursorCommand::parse(text), fetch(way), "{text}");
        }
        let next = CursorCommand::Fetch { moves: true, name: "next".into(), way: Way::Forward(1) };
        assert_eq!(CursorCommand::parse("move next"), Some(next));
        assert_eq!(CursorCommand::parse("CLOSE ALL"), Some(CursorCommand::CloseAll));
        assert_eq!(CursorCommand::parse("close \"All\";"), Some(CursorCommand::Close("All".into())));
    }

    #[test]
    fn what_is_no_such_command_is_left_to_postgres() {
        for text in [
            "FETCH",
            "FETCH 1",
            "FETCH ABSOLUTE c",
            "FETCH 2147483648 c",
            "FETCH NEXT 2 c",
            "CLOSE",
            "CLOSE a b",
        ] {
            assert_eq!(CursorCommand::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_declare_is_taken_apart() {
        let text = "DECLARE \"A c\" BINARY NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 'x' FOR UPDATE ; ";
        let declare = Declare::parse(text).unwrap();
        assert_eq!((declare.name.as_str(), declare.binary, declare.hold), ("A c", true, false));
        assert_eq!((declare.scroll, declare.query), (Scroll::No, "SELECT 'x' FOR UPDATE"));
        assert!(declare.head.ends_with("HOLD FOR "));
        let declare = Declare::parse("declare c scroll cursor with hold for table t").unwrap();
        assert_eq!((declare.scroll, declare.hold, declare.query), (Scroll::Yes, true, "table t"));
        assert_eq!(Declare::parse("declare c cursor for select 1").unwrap().scroll, Scroll::Maybe);
        for text in [
            "declare c cursor",
            "declare c cursor for",
            "declare 1 cursor for select 1",
            "declare c odd cursor for x",
        ] {
            assert_eq!(Declare::parse(text), None, "{text}");
        }
    }
}
