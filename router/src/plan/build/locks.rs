//! Rows of reference tables that a statement for one shard locks: everybody has to lock them in one place.

use super::Builder;
use crate::plan::query::Found;
use crate::schema::{Kind, Table};
use crate::sql::scan::{all_tokens, identifier};
use std::sync::Arc;

impl Builder<'_> {
    /// The reference tables that FOR UPDATE, or its like, is about.
    pub(super) fn locked_copies(&self, found: &Found) -> Vec<Arc<Table>> {
        let labels = locked(self.text);
        let is_locked = |label: &String| labels.as_ref().is_none_or(|labels| labels.contains(label));
        let mut copies: Vec<Arc<Table>> = Vec::new();
        for named in &found.named {
            let is_copy = matches!(named.table.kind, Kind::Reference(_));
            if is_copy && is_locked(&named.label) && !copies.contains(&named.table) {
                copies.push(named.table.clone());
            }
        }
        copies
    }
}

/// What the locking clauses of a text name behind OF; `None` if one of them names nothing, and so means all.
fn locked(text: &str) -> Option<Vec<String>> {
    let tokens = all_tokens(text)?;
    let at = |n: usize| tokens.get(n).map_or("", |range| &text[range.clone()]);
    let is = |n: usize, word: &str| at(n).eq_ignore_ascii_case(word);
    let mut labels = Vec::new();
    for n in (0..tokens.len()).filter(|&n| is(n, "for")) {
        let strength = match () {
            () if is(n + 1, "no") && is(n + 2, "key") && is(n + 3, "update") => n + 3,
            () if is(n + 1, "key") && is(n + 2, "share") => n + 2,
            () if is(n + 1, "update") || is(n + 1, "share") => n + 1,
            () => continue,
        };
        if !is(strength + 1, "of") {
            return None;
        }
        let mut last = strength + 2;
        loop {
            match at(last + 1) {
                "." => last += 2,
                "," => {
                    labels.push(identifier(at(last)));
                    last += 2;
                }
                _ => break labels.push(identifier(at(last))),
            }
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::locked;

    #[test]
    fn what_is_locked_is_named_behind_of() {
        let names = |text| locked(text).map(|labels| labels.join(" "));
        assert_eq!(names("SELECT 1 FROM a, b FOR UPDATE"), None);
        assert_eq!(
            names("SELECT 1 FROM a, b FOR NO KEY UPDATE OF A, s.\"B\" NOWAIT").as_deref(),
            Some("a B")
        );
        assert_eq!(names("SELECT 1 FROM a, b FOR KEY SHARE OF a FOR UPDATE OF b").as_deref(), Some("a b"));
        assert_eq!(names("SELECT substring(a for 3) FROM a FOR SHARE OF a").as_deref(), Some("a"));
    }
}
