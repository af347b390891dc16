//! Lower-casing `citext` as far as no locale can disagree.
//!
//! `citext_eq` compares `lower()` of both sides under the database's own locale, which Shardway does not
//! have. What is needed is less than that locale: that values it holds equal get one canonical form. Values
//! it holds unequal may share one, for then they merely share a shard.

use std::borrow::Cow;

/// The lower-case form of `text`, or `None` where locales and Unicode versions may differ on it.
///
/// ASCII is folded; other text is taken only if it is in lower case already. Dotless `ı` is never taken:
/// Turkish locales lower `I` to it, so `I`, folded to `i` here, would be its equal on another shard.
pub(crate) fn lower(text: &str) -> Option<Cow<'_, str>> {
    if !text.is_ascii() {
        return text.chars().all(is_settled).then_some(Cow::Borrowed(text));
    }
    let folded = text.bytes().any(|b| b.is_ascii_uppercase());
    Some(if folded { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) })
}

/// Whether every locale and Unicode version lowers `c` to itself.
fn is_settled(c: char) -> bool {
    is_assigned(c) && c != 'ı' && c.to_lowercase().eq([c])
}

/// Whether Unicode is known to have given `c` its meaning. An unassigned code point may turn out upper case
/// to a server whose tables are newer than ours.
fn is_assigned(c: char) -> bool {
    // Blocks that are full, or that hold no letters, follow what has the Alphabetic or Number property.
    c.is_alphanumeric()
        || matches!(c, '\0'..='\u{36f}' | '\u{2000}'..='\u{20ff}' | '\u{2190}'..='\u{2bff}')
        || matches!(c, '\u{3000}'..='\u{303f}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f300}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_lowered() {
        assert_eq!(lower("SKU-9 [x]").as_deref(), Some("sku-9 [x]"));
        assert!(matches!(lower("sku-9"), Some(Cow::Borrowed("sku-9"))));
    }

    #[test]
    fn other_text_is_taken_if_it_is_in_lower_case_already() {
        for text in ["zoë", "日本", "straße", "naïve – 7 €", "e\u{301}", "🙂", "ς"] {
            assert_eq!(lower(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn text_that_locales_lower_differently_is_not_taken() {
        // Upper and title case, the Turkish i's, the Kelvin sign, final sigma, ASCII capitals beside
        // combining marks, an unassigned code point.
        for text in ["Zoë", "É", "İ", "ı", "\u{212a}", "ΟΔΟΣ", "ǅ", "J\u{301}", "Ⅷ", "Ⓐ", "\u{e0fff}"]
        {
            assert_eq!(lower(text), None, "{text}");
        }
    }
}
