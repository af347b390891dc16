//! The canonical form of a key, and the outcome of reading one.
//!
//! The canonical form is the text that Postgres prints for the value: integers in decimal, uuids in lower
//! case with hyphens, text as it is, `citext` in lower case, `bpchar` without its padding. It is held
//! unprinted where that is smaller, and printed on the stack, so that hashing never allocates.

use std::borrow::Cow;
use std::fmt;

use crate::{int, uuid};

/// A key in canonical form. Keys of one column are equal exactly if their canonical texts are.
///
/// The readers of [`crate::KeyType`] are the way to get one; a text put in by hand is the caller's promise
/// that it is canonical.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CanonicalKey<'a> {
    /// An integer of any width.
    Int(i64),
    /// The canonical text itself.
    Text(Cow<'a, str>),
    /// A uuid's sixteen bytes, in network order.
    Uuid([u8; 16]),
}

impl CanonicalKey<'_> {
    /// Runs `f` on the canonical text, without allocating.
    pub fn with_text<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        match self {
            CanonicalKey::Int(value) => f(int::Decimal::new(*value).as_str()),
            CanonicalKey::Text(text) => f(text),
            CanonicalKey::Uuid(bytes) => f(uuid::Hyphenated::new(bytes).as_str()),
        }
    }

    /// The same key, owning its text.
    pub fn into_owned(self) -> CanonicalKey<'static> {
        match self {
            CanonicalKey::Int(value) => CanonicalKey::Int(value),
            CanonicalKey::Text(text) => CanonicalKey::Text(Cow::Owned(text.into_owned())),
            CanonicalKey::Uuid(bytes) => CanonicalKey::Uuid(bytes),
        }
    }
}

impl fmt::Display for CanonicalKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.pad(text))
    }
}

/// What a value turned out to be when it was read as a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyValue<'a> {
    /// One key, beyond doubt.
    Key(CanonicalKey<'a>),
    /// NULL, which has no shard; or, compared, a number that equals no key.
    Null,
    /// No Postgres version takes this for a value. Postgres raises its own error, and any shard may say so.
    Invalid,
    /// It may be a value, but not one key for certain; why, to finish a sentence like "can't route: …".
    Unproven(&'static str),
}

impl<'a> KeyValue<'a> {
    /// The key, if there is one.
    pub fn key(&self) -> Option<&CanonicalKey<'a>> {
        match self {
            KeyValue::Key(key) => Some(key),
            KeyValue::Null | KeyValue::Invalid | KeyValue::Unproven(_) => None,
        }
    }

    /// The same outcome, owning its text.
    pub fn into_owned(self) -> KeyValue<'static> {
        match self {
            KeyValue::Key(key) => KeyValue::Key(key.into_owned()),
            KeyValue::Null => KeyValue::Null,
            KeyValue::Invalid => KeyValue::Invalid,
            KeyValue::Unproven(why) => KeyValue::Unproven(why),
        }
    }

    pub(crate) fn int(value: i64) -> KeyValue<'static> {
        KeyValue::Key(CanonicalKey::Int(value))
    }

    pub(crate) fn uuid(bytes: [u8; 16]) -> KeyValue<'static> {
        KeyValue::Key(CanonicalKey::Uuid(bytes))
    }

    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        KeyValue::Key(CanonicalKey::Text(text.into()))
    }
}
