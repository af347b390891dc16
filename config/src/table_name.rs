//! A table's name: `table`, `schema.table`, and quotes around a part that holds a dot (`public."My.Table"`).
//!
//! Letters keep their case with or without quotes: the file spells names as Postgres stores them.

use crate::model::TableName;

/// Why a text is no table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("a table's name cannot be empty")]
    Empty,
    #[error(
        "a table's name is \"table\" or \"schema.table\"; a part that holds a dot stands in double quotes"
    )]
    Parts,
    #[error("the double quotes of a table's name go around a whole part")]
    Quotes,
}

pub(crate) fn parse(text: &str) -> Result<TableName, NameError> {
    let (first, rest) = part(text)?;
    let Some(rest) = rest else { return Ok(TableName { schema: None, name: first }) };
    match part(rest)? {
        (name, None) => Ok(TableName { schema: Some(first), name }),
        (_, Some(_)) => Err(NameError::Parts),
    }
}

/// One part, and what follows its dot.
fn part(text: &str) -> Result<(String, Option<&str>), NameError> {
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_part(quoted)?,
        None => plain_part(text)?,
    };
    if name.is_empty() { Err(NameError::Empty) } else { Ok((name, rest)) }
}

fn plain_part(text: &str) -> Result<(String, Option<&str>), NameError> {
    let (name, rest) = text.split_once('.').map_or((text, None), |(name, rest)| (name, Some(rest)));
    if name.contains('"') { Err(NameError::Quotes) } else { Ok((name.to_owned(), rest)) }
}

/// A part whose opening quote is gone; a doubled quote inside stands for one.
fn quoted_part(text: &str) -> Result<(String, Option<&str>), NameError> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"').ok_or(NameError::Quotes)?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(doubled) => {
                name.push('"');
                rest = doubled;
            }
            None if after.is_empty() => return Ok((name, None)),
            None => return Ok((name, Some(after.strip_prefix('.').ok_or(NameError::Quotes)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(schema: Option<&str>, name: &str) -> Result<TableName, NameError> {
        Ok(TableName { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    #[test]
    fn names_are_taken_as_they_are_spelled() {
        assert_eq!(parse("orders"), name(None, "orders"));
        assert_eq!(parse("CatalogModule"), name(None, "CatalogModule"));
        assert_eq!(parse("public.country"), name(Some("public"), "country"));
    }

    #[test]
    fn quotes_hold_dots_and_doubled_quotes() {
        assert_eq!(parse("public.\"My.Table\""), name(Some("public"), "My.Table"));
        assert_eq!(parse("\"a.b\".c"), name(Some("a.b"), "c"));
        assert_eq!(parse("\"say \"\"hi\"\"\""), name(None, "say \"hi\""));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", ".", "a.", ".a", "\"\"", "a.\"\""] {
            assert_eq!(parse(text), Err(NameError::Empty), "{text}");
        }
        for text in ["a.b.c", "a.b.", "\"a\".\"b\".c"] {
            assert_eq!(parse(text), Err(NameError::Parts), "{text}");
        }
        for text in ["\"a", "a\"b", "\"a\"b", "a.\"b", "\"a\"\"", "\""] {
            assert_eq!(parse(text), Err(NameError::Quotes), "{text}");
        }
    }
}
