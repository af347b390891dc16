//! `${VARIABLE}` in strings. `$${` stands for a literal `${`; a `$` alone is itself, as SQL needs it (`$1`).
//!
//! What a variable holds is taken as it is and not expanded again.

use crate::env::Env;
use crate::value::quoted;

/// Why a string cannot be expanded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpandError {
    #[error("the environment variable {0} is not set")]
    Unset(String),
    #[error("{} is not the name of an environment variable (a literal ${{ is written $${{)", quoted(.0))]
    Name(String),
    #[error("${{ without its }} (a literal ${{ is written $${{)")]
    Open,
}

/// Puts variables in their places.
pub(crate) fn expand(text: &str, env: &dyn Env) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, opened) = (&rest[..at], &rest[at + 2..]);
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = opened;
        } else {
            let (name, after) = opened.split_once('}').ok_or(ExpandError::Open)?;
            expanded.push_str(before);
            expanded.push_str(&lookup(name, env)?);
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn lookup(name: &str, env: &dyn Env) -> Result<String, ExpandError> {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    let continues = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.starts_with(starts) || !name.chars().all(continues) {
        return Err(ExpandError::Name(name.to_owned()));
    }
    env.get(name).ok_or_else(|| ExpandError::Unset(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::env;

    fn expanded(text: &str) -> Result<String, ExpandError> {
        expand(text, &env(&[("A", "1"), ("B_2", "${A}"), ("EMPTY", "")]))
    }

    #[test]
    fn variables_are_put_in_their_places_once() {
        assert_eq!(expanded("x${A}y${EMPTY}${B_2}").unwrap(), "x1y${A}");
    }

    #[test]
    fn a_doubled_dollar_before_a_brace_is_a_literal() {
        assert_eq!(expanded("$${A} $1 $$ ${A}").unwrap(), "${A} $1 $$ 1");
    }

    #[test]
    fn what_cannot_be_expanded_says_why() {
        assert_eq!(expanded("${NOPE}").unwrap_err().to_string(), "the environment variable NOPE is not set");
        assert_eq!(expanded("a ${A").unwrap_err(), ExpandError::Open);
        assert_eq!(
            expanded("${A:-b}").unwrap_err().to_string(),
            "\"A:-b\" is not the name of an environment variable (a literal ${ is written $${)"
        );
        assert_eq!(expanded("${}").unwrap_err(), ExpandError::Name(String::new()));
    }
}
