//! Postgres's rules on length and padding for `varchar(n)` and `char(n)`.

/// `text` as a column of at most `max_chars` characters stores it (`varchar_input`, `bpchar_input`, and the
/// same rule in assignment casts): cut if all that is cut are spaces. `None` is their 22001.
pub(crate) fn fit(text: &str, max_chars: u32) -> Option<&str> {
    let max_chars = usize::try_from(max_chars).unwrap_or(usize::MAX);
    // A character has at least one byte.
    if text.len() <= max_chars {
        return Some(text);
    }
    let Some((end, _)) = text.char_indices().nth(max_chars) else { return Some(text) };
    let (kept, excess) = text.split_at(end);
    excess.bytes().all(|b| b == b' ').then_some(kept)
}

/// `text` without `char(n)`'s padding, which is U+0020 alone (`bpchartruelen`).
pub(crate) fn strip_padding(text: &str) -> &str {
    text.trim_end_matches(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spaces_may_be_cut() {
        assert_eq!(fit("abc", 3), Some("abc"));
        assert_eq!(fit("abc   ", 3), Some("abc"));
        assert_eq!(fit("ab    ", 3), Some("ab "));
        assert_eq!(fit("abcd", 3), None);
        assert_eq!(fit("ab  x", 3), None);
        assert_eq!(fit("abc\u{a0}", 3), None);
        assert_eq!(fit("   ", 0), Some(""));
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(fit("日本語", 3), Some("日本語"));
        assert_eq!(fit("日本語 ", 3), Some("日本語"));
        assert_eq!(fit("日本語", 2), None);
    }

    #[test]
    fn padding_is_spaces_alone() {
        assert_eq!(strip_padding(" a b  "), " a b");
        assert_eq!(strip_padding("a\t"), "a\t");
        assert_eq!(strip_padding("a\u{a0}"), "a\u{a0}");
        assert_eq!(strip_padding("  "), "");
    }
}
