//! FOR UPDATE and its kin: words that the parser does not know, and what a lock over several shards takes.

use super::Refusal;
use super::scope::{folded, relation_name};
use crate::schema::Kind;
use crate::sql::scan::all_tokens;
use sqlparser::ast::{Query, Select, TableFactor};
use std::ops::Range;

/// A text whose locking clauses are worded as the parser knows them, every other character at its place: FOR NO KEY UPDATE
/// as FOR UPDATE, FOR KEY SHARE as FOR SHARE, and OF several tables as if it were of all. `None` if there is no such clause.
pub(super) fn reworded(text: &str) -> Option<String> {
    let tokens = all_tokens(text)?;
    let is = |n: usize, word: &str| {
        tokens.get(n).is_some_and(|range: &Range<usize>| text[range.clone()].eq_ignore_ascii_case(word))
    };
    let mut blank: Vec<Range<usize>> = Vec::new();
    for n in 0..tokens.len() {
        if !is(n, "for") {
            continue;
        }
        let lock = if is(n + 1, "no") && is(n + 2, "key") && is(n + 3, "update") {
            n + 3
        } else if is(n + 1, "key") && is(n + 2, "share") {
            n + 2
        } else if is(n + 1, "update") || is(n + 1, "share") {
            n + 1
        } else {
            continue;
        };
        blank.extend(tokens[n + 1..lock].iter().cloned());
        if is(lock + 1, "of") {
            let mut end = lock + 2;
            while is(end + 1, ",") || is(end + 1, ".") {
                end += 2;
            }
            if (lock + 2..end).any(|n| is(n, ",")) {
                blank.extend(tokens.get(lock + 1..=end)?.iter().cloned());
            }
        }
    }
    if blank.is_empty() {
        return None;
    }
    let mut reworded = String::with_capacity(text.len());
    let mut at = 0;
    for range in blank {
        reworded.push_str(&text[at..range.start]);
        reworded.extend(text[range.clone()].chars().map(|_| ' '));
        at = range.end;
    }
    reworded.push_str(&text[at..]);
    Some(reworded)
}

/// Refuses locks on rows that every shard has: who locks the copy of one shard has not locked the others'.
pub(super) fn check(
    query: &Query,
    select: &Select,
    kind_of: impl Fn(&TableFactor) -> Option<Kind>,
) -> Result<(), Refusal> {
    let joined = |factor: &TableFactor| matches!(kind_of(factor), Some(Kind::Reference(_)));
    let factors = select.from.iter().flat_map(|table| {
        std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
    });
    for factor in factors.filter(|factor| joined(factor)) {
        let TableFactor::Table { name, alias, .. } = factor else { continue };
        let label = match alias {
            Some(alias) => Some(folded(&alias.name)),
            None => relation_name(name).map(|(_, name)| name),
        };
        let locked = |of: &Option<sqlparser::ast::ObjectName>| {
            of.as_ref().is_none_or(|of| relation_name(of).map(|(_, name)| name) == label)
        };
        if query.locks.iter().any(|lock| locked(&lock.of)) {
            return Err(Refusal {
                code: "0A000",
                message: "locking rows of a reference table beside those of several shards is not supported"
                    .to_owned(),
                hint: "Say FOR UPDATE OF the sharded tables, or lock the reference table in a statement of its own.",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_that_the_parser_does_not_know_are_worded_as_others() {
        for (text, expected) in [
            ("SELECT 1 FOR NO KEY UPDATE", Some("SELECT 1 FOR        UPDATE")),
            ("SELECT 1 for key share nowait", Some("SELECT 1 for     share nowait")),
            ("SELECT 1 FOR UPDATE OF a, b SKIP LOCKED", Some("SELECT 1 FOR UPDATE         SKIP LOCKED")),
            ("SELECT 1 FOR UPDATE OF a SKIP LOCKED", None),
            ("SELECT 'for key share'", None),
            ("SELECT substring(a from 1 for 2)", None),
        ] {
            assert_eq!(reworded(text).as_deref(), expected, "{text}");
        }
    }
}
