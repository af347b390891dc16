//! Where a key stands in a statement.

use crate::sql::scan::Literal;
use shardway_shardmap::{KeyType, ParamType, Use};

/// Where one key value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The n-th literal of the statement.
    Literal {
        /// Its index in the scan.
        index: usize,
        /// What stands before it.
        sign: Sign,
        /// Type it was cast to, if it was.
        cast: Option<ParamType>,
    },
    /// A parameter.
    Param {
        /// From 0.
        number: usize,
        /// Type it was cast to, if it was.
        cast: Option<ParamType>,
        /// Whether it is cast to text before.
        as_text: bool,
        /// Whether the statement uses it elsewhere too, where it may have got another type.
        elsewhere: bool,
    },
    /// NULL.
    Null,
}

/// The sign before a literal: then it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// None.
    Bare,
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// Values that one key may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Any of these (one for `=`, several for IN).
    List(Vec<KeySource>),
    /// Any element of this array (`= ANY($1)`).
    Array(KeySource),
}

/// A key column and the values that rows must have there to matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// How the key is read.
    pub key_type: KeyType,
    /// Compared, or stored.
    pub how: Use,
    /// Its values.
    pub sources: Sources,
    /// Table and column, for errors.
    pub column: (String, String),
}

impl Pin {
    /// Whether it is one value.
    pub fn is_single(&self) -> bool {
        matches!(&self.sources, Sources::List(list) if list.len() == 1)
    }
}

/// Finds the literal that starts at a line and column of the text, as the parser counts them.
#[derive(Debug)]
pub struct Places<'a> {
    text: &'a str,
    literals: &'a [Literal],
    lines: Vec<usize>,
    ascii: bool,
}

impl<'a> Places<'a> {
    /// For one scanned text.
    pub fn new(text: &'a str, literals: &'a [Literal]) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        Self { text, literals, lines: std::iter::once(0).chain(newlines).collect(), ascii: text.is_ascii() }
    }

    /// Index of the literal that starts there; `None` if the scan lifted none from that place.
    pub fn literal_at(&self, line: u64, column: u64) -> Option<usize> {
        let at = self.offset(line, column)?;
        self.literals.binary_search_by_key(&at, |l| l.start).ok()
    }

    /// The literal that starts there, as it is written.
    pub fn text_at(&self, line: u64, column: u64) -> Option<&'a str> {
        let literal = self.literals[self.literal_at(line, column)?];
        Some(&self.text[literal.start..literal.end])
    }

    /// Byte offset of a line and column, both from 1, columns in characters.
    pub fn offset(&self, line: u64, column: u64) -> Option<usize> {
        let start = *self.lines.get(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let skip = usize::try_from(column).ok()?.checked_sub(1)?;
        if self.ascii {
            return (start + skip <= self.text.len()).then_some(start + skip);
        }
        let rest = &self.text[start..];
        let offset = rest.char_indices().map(|(i, _)| i).chain([rest.len()]).nth(skip)?;
        Some(start + offset)
    }
}
