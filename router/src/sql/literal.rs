//! What a literal's text means.

use super::scan::LiteralKind;
use std::borrow::Cow;

/// The characters of a string literal, quotes and escapes undone. `None`: its meaning depends on more than the
/// text says (a backslash escape), so it is not taken for a value.
pub fn string_value(kind: LiteralKind, token: &str) -> Option<Cow<'_, str>> {
    match kind {
        LiteralKind::String => undouble(token.get(1..token.len().checked_sub(1)?)?),
        LiteralKind::Escape => {
            let inner = token.get(2..token.len().checked_sub(1)?)?;
            if inner.contains('\\') { None } else { undouble(inner) }
        }
        LiteralKind::Dollar => {
            let fence = token[1..].find('$')? + 2;
            Some(Cow::Borrowed(token.get(fence..token.len().checked_sub(fence)?)?))
        }
        LiteralKind::Integer | LiteralKind::Decimal | LiteralKind::Continued => None,
    }
}

fn undouble(inner: &str) -> Option<Cow<'_, str>> {
    Some(if inner.contains('\'') { Cow::Owned(inner.replace("''", "'")) } else { Cow::Borrowed(inner) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_undone() {
        assert_eq!(string_value(LiteralKind::String, "'it''s'").unwrap(), "it's");
        assert_eq!(string_value(LiteralKind::Dollar, "$q$it's$q$").unwrap(), "it's");
        assert_eq!(string_value(LiteralKind::Escape, "E'a''b'").unwrap(), "a'b");
        assert_eq!(string_value(LiteralKind::Escape, r"E'\x41'"), None);
    }
}
