//! Values that a command has each shard make up for rows that are there, as far as its words tell.

use super::head::Head;
use crate::schema::{Kind, Schema, Table};
use crate::sql::scan::{all_tokens, identifier};
use shardway_pool::catalog::Name;

const CLOCKS: [&str; 5] =
    ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"];
const COUNTERS: [&str; 7] =
    ["SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL2", "SERIAL4", "SERIAL8", "IDENTITY"];
const PLACES: [&str; 7] = [
    "CURRENT_CATALOG",
    "CURRENT_SCHEMA",
    "CURRENT_ROLE",
    "CURRENT_USER",
    "SESSION_USER",
    "SYSTEM_USER",
    "USER",
];

/// Words in front of parentheses that are types, or functions of theirs that read nothing but their argument and the
/// session's settings.
const TYPES: [&str; 15] = [
    "VARCHAR",
    "CHAR",
    "CHARACTER",
    "VARYING",
    "BPCHAR",
    "NUMERIC",
    "DECIMAL",
    "FLOAT",
    "BIT",
    "VARBIT",
    "TIME",
    "TIMETZ",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "INTERVAL",
];

fn is_any(token: &str, words: &[&str]) -> bool {
    words.iter().any(|word| token.eq_ignore_ascii_case(word))
}

/// Whether a token is a string that dates and times read as the moment.
fn is_now(token: &str) -> bool {
    let inner = match token.split_once('\'') {
        Some((_, inner)) => inner.trim_end_matches('\''),
        None if token.starts_with('$') => token.split('$').nth(2).unwrap_or_default(),
        None => return false,
    };
    is_any(inner.trim(), &["now", "today", "tomorrow", "yesterday"])
}

/// Whether a text has such a string in it.
pub fn says_now(text: &str) -> bool {
    all_tokens(text).is_some_and(|tokens| tokens.into_iter().any(|range| is_now(&text[range])))
}

fn altered<'a>(head: &Head, schema: &'a Schema, path: &[String]) -> Option<&'a Table> {
    let object = head.relations.first().filter(|_| head.verb == "ALTER" && head.kind == "TABLE")?;
    schema.find(path, object.schema.as_deref(), &object.name).map(|table| &**table)
}

/// Names in front of parentheses.
fn called(head: &Head) -> impl Iterator<Item = String> + '_ {
    let calls = head.rest.windows(2).filter(|pair| pair[1] == "(" && !is_any(&pair[0], &TYPES));
    calls.map(|pair| identifier(&pair[0]))
}

/// The reference table that ALTER TABLE would give new values of a kind that differs from shard to shard: those of
/// functions, of the clock, of sequences.
pub(super) fn in_copies(head: &Head, schema: &Schema, path: &[String]) -> Option<Name> {
    let table = altered(head, schema, path).filter(|table| matches!(table.kind, Kind::Reference(_)))?;
    let says = |words: &[&str]| head.rest.iter().any(|token| is_any(token, words));
    let calls = called(head).any(|name| schema.functions.knows(&name));
    let values = calls || says(&CLOCKS) || head.rest.iter().any(|token| is_now(token));
    let made_up = says(&COUNTERS) || says(&["DEFAULT", "USING"]) && values;
    made_up.then(|| (table.schema.clone(), table.name.clone()))
}

/// Functions that ALTER TABLE may call for the rows that are there, by name. `None`: what it gives them can't be known by
/// that.
pub(super) fn calls(head: &Head) -> Option<Vec<String>> {
    let unknown = |token: &String| {
        is_any(token, &CLOCKS) || is_any(token, &COUNTERS) || is_any(token, &PLACES) || is_now(token)
    };
    let is_plain = head.verb == "ALTER" && head.kind == "TABLE" && !head.rest.iter().any(unknown);
    is_plain.then(|| called(head).collect())
}

/// Tables whose key ALTER TABLE gives another type, or the same with other values: rows would have to move.
pub(super) fn rekeyed(head: &Head, schema: &Schema, path: &[String]) -> Vec<Name> {
    let Some(table) = altered(head, schema, path) else { return Vec::new() };
    let Kind::Sharded { key, .. } = table.kind else { return Vec::new() };
    let key = &table.columns[key].name;
    let is = |at: usize, word: &str| head.rest.get(at).is_some_and(|token| token.eq_ignore_ascii_case(word));
    let types = |at: usize| {
        let name = at + 1 + usize::from(is(at + 1, "COLUMN"));
        let typed = is(name + 1, "TYPE") || is(name + 1, "SET") && is(name + 2, "DATA");
        is(at, "ALTER") && typed && head.rest.get(name).is_some_and(|token| identifier(token) == *key)
    };
    if !(0..head.rest.len()).any(types) {
        return Vec::new();
    }
    let name = |table: &Table| (table.schema.clone(), table.name.clone());
    let heirs = schema.tables().filter(|other| table.family.is_some() && other.family == table.family);
    std::iter::once(name(table)).chain(heirs.map(|other| name(other))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_mean_the_moment_are_known_however_they_are_written() {
        for text in
            ["'now'", "' now '", "E'Today'", "$$tomorrow$$", "$a$ yesterday $a$", "timestamptz ' NOW '"]
        {
            assert!(says_now(text), "{text}");
        }
        for text in ["now()", "'now and then'", "'nowhere'", "\"now\""] {
            assert!(!says_now(text), "{text}");
        }
    }

    #[test]
    fn what_alter_table_calls_is_read_off_its_words() {
        let calls = |text| calls(&Head::of(text).unwrap());
        let of = |text| calls(text).unwrap().join(" ");
        assert_eq!(of("ALTER TABLE t ALTER n TYPE varchar(7) USING lower(n)"), "lower");
        assert_eq!(of("ALTER TABLE t ADD at timestamptz(3) DEFAULT s.f(1)"), "f");
        assert_eq!(calls("ALTER TABLE t ADD at timestamptz DEFAULT CURRENT_TIMESTAMP"), None);
        assert_eq!(calls("ALTER TABLE t ADD n serial"), None);
        assert_eq!(calls("DO $$ BEGIN END $$"), None);
    }
}
