//! PREPARE and EXECUTE, taken apart: names, types and arguments as they are written.

use super::literal::string_value;
use super::scan::{LiteralKind, Scan, all_tokens, identifier};
use std::ops::Range;

/// PREPARE name (types) AS statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// The name.
    pub name: String,
    /// Where the types of its parameters are written.
    pub types: Vec<Range<usize>>,
    /// The statement.
    pub statement: &'a str,
    /// Where that starts.
    pub at: usize,
}

/// EXECUTE name (arguments).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The name.
    pub name: String,
    /// The arguments, as they are written.
    pub arguments: Vec<&'a str>,
}

/// What is known of an argument from its text alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// NULL.
    Null,
    /// A string, of no type yet, in the form that a parameter takes as text.
    Text(String),
    /// A number without a sign or a fraction: an integer of Postgres', which is to be assigned.
    Integer(u64),
    /// An expression: for a server.
    Expression,
}

impl<'a> Prepare<'a> {
    /// Of a text; `None`: it is for Postgres to say what is wrong with it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let tokens = all_tokens(text)?;
        let name = name(text, tokens.get(1)?)?;
        let (types, next) = list(text, &tokens, 2)?;
        let keyword = tokens.get(next)?;
        let at = tokens.get(next + 1).filter(|_| text[keyword.clone()].eq_ignore_ascii_case("as"))?.start;
        let statement = text[at..].trim_end().trim_end_matches(';');
        Some(Self { name, types, statement, at })
    }
}

impl<'a> Execute<'a> {
    /// Of a text; `None`: it is for Postgres to say what is wrong with it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let tokens = all_tokens(text)?;
        let name = name(text, tokens.get(1)?)?;
        let (arguments, next) = list(text, &tokens, 2)?;
        let arguments = arguments.into_iter().map(|place| &text[place]).collect();
        let ends = tokens.get(next).is_none_or(|token| &text[token.clone()] == ";");
        ends.then_some(Self { name, arguments })
    }
}

impl Argument {
    /// Reads one.
    pub fn of(text: &str) -> Self {
        if text.eq_ignore_ascii_case("null") {
            return Self::Null;
        }
        let mut scan = Scan::default();
        let constant = scan.run(text).is_ok().then(|| match (&scan.literals[..], scan.words.len()) {
            ([literal], 1) => Some((literal.kind, &text[literal.start..literal.end])),
            _ => None,
        });
        match constant.flatten() {
            Some((LiteralKind::Integer, digits)) => digits.parse().map_or(Self::Expression, Self::Integer),
            Some((kind, token)) => {
                string_value(kind, token).map_or(Self::Expression, |value| Self::Text(value.into_owned()))
            }
            None => Self::Expression,
        }
    }
}

fn name(text: &str, token: &Range<usize>) -> Option<String> {
    let token = &text[token.clone()];
    token.starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic()).then(|| identifier(token))
}

/// Where the members of a list in parentheses are that starts at token `n`, and the token behind it; none if there is no list.
fn list(text: &str, tokens: &[Range<usize>], n: usize) -> Option<(Vec<Range<usize>>, usize)> {
    let word = |n: usize| tokens.get(n).map(|token| &text[token.clone()]);
    if word(n) != Some("(") {
        return Some((Vec::new(), n));
    }
    let (mut members, mut depth, mut start) = (Vec::new(), 0, n + 1);
    for at in n + 1..tokens.len() {
        let ends = match word(at)? {
            "(" | "[" => {
                depth += 1;
                false
            }
            ")" if depth == 0 => true,
            ")" | "]" => {
                depth -= 1;
                false
            }
            "," => depth == 0,
            _ => false,
        };
        if ends {
            let closes = word(at) == Some(")");
            if start == at {
                // Nothing between two commas is no argument.
                return (closes && members.is_empty()).then_some((members, at + 1));
            }
            members.push(tokens[start].start..tokens[at - 1].end);
            start = at + 1;
            if closes {
                return Some((members, at + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepare_is_taken_apart() {
        let text = "PREPARE \"A b\" (int, numeric(4, 2), text[]) AS /* x */ SELECT $1, ',)' ; ";
        let prepare = Prepare::parse(text).unwrap();
        assert_eq!(prepare.name, "A b");
        let types: Vec<_> = prepare.types.into_iter().map(|place| &text[place]).collect();
        assert_eq!(types, ["int", "numeric(4, 2)", "text[]"]);
        assert_eq!(prepare.statement, "SELECT $1, ',)' ");
        assert_eq!(&text[prepare.at..prepare.at + 6], "SELECT");
        let plain = Prepare::parse("prepare P as values (1)").unwrap();
        assert_eq!((plain.name.as_str(), plain.types.len(), plain.statement), ("p", 0, "values (1)"));
        for wrong in ["prepare", "prepare p", "prepare p (int as select 1", "prepare 1 as select 1"] {
            assert_eq!(Prepare::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_execute_is_taken_apart() {
        let text = "execute p ( 'a, (b', f(1, (2)), array[1,2] , -5 , 1, 2, 3, 4 );";
        let execute = Execute::parse(text).unwrap();
        assert_eq!(execute.arguments, ["'a, (b'", "f(1, (2))", "array[1,2]", "-5", "1", "2", "3", "4"]);
        assert_eq!(Execute::parse("EXECUTE p").unwrap().arguments.len(), 0);
        for wrong in ["execute p(1", "execute p(1,)", "execute p(,1)", "execute p(1) x", "execute 'p'"] {
            assert_eq!(Execute::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn constants_are_known_by_their_text() {
        let text = |text: &str| Argument::Text(text.into());
        assert_eq!(Argument::of("'it''s'"), text("it's"));
        assert_eq!(Argument::of("007"), Argument::Integer(7));
        assert_eq!(Argument::of("NULL"), Argument::Null);
        for expression in ["-5", "1.5", "true", "1 + 1", "'a' || 'b'", "E'\\n'", "now()"] {
            assert_eq!(Argument::of(expression), Argument::Expression, "{expression}");
        }
    }
}
