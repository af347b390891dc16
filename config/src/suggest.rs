//! The nearest known word to one that is not known.

/// The known word that `unknown` was probably meant to be: at most one edit for every three letters (and one
/// for short words), so that what is merely unlike is not offered.
pub(crate) fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    let wanted: Vec<char> = unknown.chars().flat_map(char::to_lowercase).map(underscored).collect();
    let within = (wanted.len() / 3).max(1);
    let close = known.iter().filter(|word| word.len().abs_diff(wanted.len()) <= within);
    let ranked = close.map(|word| (distance(&wanted, word), *word));
    ranked.filter(|(edits, _)| *edits <= within).min_by_key(|(edits, _)| *edits).map(|(_, word)| word)
}

/// A hyphen for an underscore is the commonest slip, and no slip at all to look at.
fn underscored(c: char) -> char {
    if c == '-' { '_' } else { c }
}

/// Levenshtein's distance, one row at a time.
fn distance(left: &[char], right: &str) -> usize {
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (line, theirs) in right.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, ours) in left.iter().enumerate() {
            let replaced = diagonal + usize::from(*ours != theirs);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[left.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        let distance = |left: &str, right| super::distance(&left.chars().collect::<Vec<_>>(), right);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn slips_find_their_word_and_strangers_do_not() {
        let known = ["default_pool_size", "min_pool_size", "mode"];
        assert_eq!(nearest("default_pol_size", &known), Some("default_pool_size"));
        assert_eq!(nearest("Default-Pool-Size", &known), Some("default_pool_size"));
        assert_eq!(nearest("mod", &known), Some("mode"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }

    #[test]
    fn a_key_of_a_million_letters_is_turned_away_at_once() {
        assert_eq!(nearest(&"x".repeat(1_000_000), &["mode"]), None);
    }
}
