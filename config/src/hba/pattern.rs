//! Regular expressions of system users.
//!
//! PostgreSQL has its own kind. What only PostgreSQL has does not compile here, and escapes that both have and mean
//! otherwise are refused. One difference stays: where an expression matches in several ways, the first one counts here
//! and the longest one there, which can change what `\1` holds.

use regex_lite::{Regex, RegexBuilder};

use crate::context::{At, Checked, Context};

/// A compiled expression; it is told from others by its text.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// Compiles what stands behind the slash.
    pub(super) fn read(context: &Context<'_>, text: &str, at: At) -> Checked<Self> {
        let refuse = |why: &str| Err(context.report(at, format!("this regular expression {why}")));
        if let Some(escape) = ambiguous(text) {
            return refuse(&format!("has \\{escape}, which PostgreSQL takes otherwise"));
        }
        // A dot is any character, line breaks included, as in PostgreSQL.
        match RegexBuilder::new(text).dot_matches_new_line(true).build() {
            Ok(regex) => Ok(Self(regex)),
            Err(error) => refuse(&format!("is not supported: {error}")),
        }
    }

    /// Whether it has parentheses.
    pub(super) fn captures(&self) -> bool {
        self.0.captures_len() > 1
    }

    /// What the first parentheses hold where it matches anywhere in `name`, if they have a part in the match.
    pub(super) fn capture<'n>(&self, name: &'n str) -> Option<Option<&'n str>> {
        let found = self.0.captures(name)?;
        Some(found.get(1).map(|group| group.as_str()))
    }
}

/// The first escape that means one thing here and another in PostgreSQL: edges of words, numbers of characters, and
/// classes that are without ASCII alone here, so that what they leave out would be more.
fn ambiguous(text: &str) -> Option<char> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            let escaped = chars.next().filter(|escaped| "bB<>xDSW".contains(*escaped));
            if escaped.is_some() {
                return escaped;
            }
        }
    }
    None
}
