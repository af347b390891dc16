//! Channels' names, as LISTEN and its kin spell them.

use crate::sql::scan::{identifier, tokens};
use std::borrow::Borrow;
use std::sync::Arc;

/// Bytes of a name that count (`NAMEDATALEN - 1`).
const MAX_NAME: usize = 63;

/// A channel's name, cut to what Postgres keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel(Arc<[u8]>);

impl Channel {
    /// The channel that a LISTEN names; `None` if it names none, or more than one.
    pub fn of_listen(text: &str) -> Option<Self> {
        match tokens(text)[..] {
            [_, name] => Self::of_token(name),
            _ => None,
        }
    }

    /// What an UNLISTEN names: a channel, or (`Some(None)`) all; `None` if it can't be told.
    pub fn of_unlisten(text: &str) -> Option<Option<Self>> {
        match tokens(text)[..] {
            [_, "*"] => Some(None),
            [_, name] => Self::of_token(name).map(Some),
            _ => None,
        }
    }

    fn of_token(token: &str) -> Option<Self> {
        let quoted = token.len() > 2 && token.starts_with('"');
        let plain = token.starts_with(|first: char| first == '_' || first.is_alphabetic());
        if !quoted && (!plain || is_reserved(token)) {
            return None;
        }
        let name = identifier(token);
        let end = (0..=name.len().min(MAX_NAME)).rev().find(|&end| name.is_char_boundary(end))?;
        Some(Self(name.as_bytes()[..end].into()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        // It was cut between two characters.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its name as SQL.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.name().replace('"', "\"\""))
    }
}

impl Borrow<[u8]> for Channel {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a word can be no name unless it is quoted: keywords that are reserved, or may be functions or types only.
/// Source: PostgreSQL, "SQL Key Words".
fn is_reserved(word: &str) -> bool {
    const WORDS: &str = " all analyse analyze and any array as asc asymmetric authorization binary both case cast check \
         collate collation column concurrently constraint create cross current_catalog current_date current_role \
         current_schema current_time current_timestamp current_user default deferrable desc distinct do else end except \
         false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is isnull \
         join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order \
         outer overlaps placing primary references returning right select session_user similar some symmetric table \
         tablesample then to trailing true union unique user using variadic verbose when where window with ";
    WORDS.contains(&format!(" {} ", word.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listened(text: &str) -> Option<String> {
        Channel::of_listen(text).map(|channel| channel.name().to_owned())
    }

    #[test]
    fn names_are_read_as_postgres_reads_them() {
        assert_eq!(listened("LISTEN Orders;").as_deref(), Some("orders"));
        assert_eq!(listened("listen /* quietly */ \"Or\"\"ders\"").as_deref(), Some("Or\"ders"));
        assert_eq!(Channel::of_listen("LISTEN \"a\"\"b\"").unwrap().quoted(), "\"a\"\"b\"");
        let long = "é".repeat(40);
        assert_eq!(listened(&format!("LISTEN {long}")), Some("é".repeat(31)));
    }

    #[test]
    fn what_is_no_name_is_not_taken_for_one() {
        for text in [
            "LISTEN",
            "LISTEN a b",
            "LISTEN \"\"",
            "LISTEN 7",
            "LISTEN *",
            "LISTEN user",
            "LISTEN 'a'",
            "LISTEN $1",
        ] {
            assert_eq!(listened(text), None, "{text}");
        }
    }

    #[test]
    fn unlisten_names_one_or_all() {
        assert_eq!(Channel::of_unlisten("UNLISTEN *"), Some(None));
        assert_eq!(Channel::of_unlisten("UNLISTEN a;").unwrap(), Channel::of_listen("LISTEN A"));
        assert_eq!(Channel::of_unlisten("UNLISTEN"), None);
    }
}
