//! The column types that can be a shard key, and why the others can't.
//!
//! A type qualifies if equal values always print as the same text. Reading values of a type is `read`'s and
//! `param`'s concern.

use std::fmt;

/// `VARHDRSZ`: Postgres adds it to the length in the typmod of `varchar(n)` and `char(n)`.
const VARHDRSZ: i32 = 4;

/// The type of a key column, as far as reading its values goes.
///
/// Text columns must have a deterministic collation: under another one, texts that differ are equal. The
/// catalog knows (`pg_collation.collisdeterministic`); see [`UnsupportedKeyType::nondeterministic`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyType {
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `text`, and `varchar` without a limit
    Text,
    /// `varchar(max_chars)`
    Varchar {
        /// The most characters a stored value may have.
        max_chars: u32,
    },
    /// `char(n)`, and `bpchar` without a limit: trailing spaces are padding and mean nothing
    Bpchar {
        /// The most characters a stored value may have, its padding aside; `None` without a limit.
        max_chars: Option<u32>,
    },
    /// `citext` of the contrib extension: texts are equal if their lower-case forms are
    Citext,
    /// `uuid`
    Uuid,
    /// An enum, whose values are its labels. Not known by name: the caller sees `typtype = 'e'`.
    Enum,
}

impl KeyType {
    /// The key type of a column.
    ///
    /// `typname` is `pg_type.typname` of the column's type, or of a domain's base type. It must be the one
    /// in `pg_catalog`, or `citext` from its extension: names alone do not tell a user's own type apart.
    /// `typmod` is `pg_attribute.atttypmod` (for a domain `pg_type.typtypmod`), -1 where there is none.
    ///
    /// # Errors
    /// The type can't be a shard key; the error names it and says why.
    pub fn from_catalog(typname: &str, typmod: i32) -> Result<KeyType, UnsupportedKeyType> {
        match typname {
            "int2" => Ok(KeyType::Int2),
            "int4" => Ok(KeyType::Int4),
            "int8" => Ok(KeyType::Int8),
            "text" => Ok(KeyType::Text),
            "varchar" => Ok(match char_limit(typmod) {
                Some(max_chars) => KeyType::Varchar { max_chars },
                None => KeyType::Text,
            }),
            "bpchar" => Ok(KeyType::Bpchar { max_chars: char_limit(typmod) }),
            "citext" => Ok(KeyType::Citext),
            "uuid" => Ok(KeyType::Uuid),
            "numeric" | "float4" | "float8" => {
                Err(UnsupportedKeyType::new(typname, UnsupportedReason::TextNotUnique))
            }
            _ => Err(UnsupportedKeyType::new(typname, UnsupportedReason::NotSupported)),
        }
    }

    /// Whether the key is an integer, as the modulo and range functions need.
    pub fn is_integer(self) -> bool {
        matches!(self, KeyType::Int2 | KeyType::Int4 | KeyType::Int8)
    }

    /// Whether `a = b` between columns of these types implies one canonical key, so that such a join stays
    /// within a shard.
    ///
    /// Not so for `citext` beside `text` (compared case-sensitively, sharded in lower case) nor for
    /// `varchar` beside `char(n)` (compared by `bpchareq`, which ignores trailing spaces of both). `text`
    /// beside `char(n)` would do, but [`KeyType::Text`] may be a `varchar`. Two enums agree if they are the
    /// same enum, which the caller must know.
    pub fn colocates_with(self, other: KeyType) -> bool {
        self.family() == other.family()
    }

    fn family(self) -> Family {
        match self {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => Family::Integer,
            KeyType::Text | KeyType::Varchar { .. } => Family::Text,
            KeyType::Bpchar { .. } => Family::Bpchar,
            KeyType::Citext => Family::Citext,
            KeyType::Uuid => Family::Uuid,
            KeyType::Enum => Family::Enum,
        }
    }
}

/// Types whose values are compared, and canonical, in the same way.
#[derive(PartialEq, Eq)]
enum Family {
    Integer,
    Text,
    Bpchar,
    Citext,
    Uuid,
    Enum,
}

/// The `n` in the typmod of `varchar(n)` or `char(n)`, read as `varchar_input` and `bpchar_input` do.
fn char_limit(typmod: i32) -> Option<u32> {
    if typmod < VARHDRSZ { None } else { u32::try_from(typmod - VARHDRSZ).ok() }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyType::Int2 => f.write_str("smallint"),
            KeyType::Int4 => f.write_str("integer"),
            KeyType::Int8 => f.write_str("bigint"),
            KeyType::Text => f.write_str("text"),
            KeyType::Varchar { max_chars } => write!(f, "varchar({max_chars})"),
            KeyType::Bpchar { max_chars: Some(n) } => write!(f, "char({n})"),
            KeyType::Bpchar { max_chars: None } => f.write_str("bpchar"),
            KeyType::Citext => f.write_str("citext"),
            KeyType::Uuid => f.write_str("uuid"),
            KeyType::Enum => f.write_str("enum"),
        }
    }
}

/// A type that can't be a shard key, or not with the group's function. The configuration's fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("type {type_name} can't be a shard key: {reason}")]
pub struct UnsupportedKeyType {
    /// The type as the catalog or [`KeyType`]'s `Display` names it.
    pub type_name: String,
    /// Why not.
    pub reason: UnsupportedReason,
}

impl UnsupportedKeyType {
    /// The refusal of a text type whose column has a nondeterministic collation.
    pub fn nondeterministic(type_name: &str) -> Self {
        Self::new(type_name, UnsupportedReason::NondeterministicCollation)
    }

    pub(crate) fn new(type_name: impl Into<String>, reason: UnsupportedReason) -> Self {
        Self { type_name: type_name.into(), reason }
    }
}

/// Why a type can't be a shard key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnsupportedReason {
    /// Equal values have several texts: `1.0` and `1.00`, `0` and `-0`.
    #[error("its text is not unique per value")]
    TextNotUnique,
    /// No reader for it.
    #[error("it is not supported as a key")]
    NotSupported,
    /// Different texts may be equal.
    #[error("its collation is nondeterministic, so texts that differ may be equal")]
    NondeterministicCollation,
    /// Modulo and range take integers alone.
    #[error("function {0} needs an integer key")]
    NeedsInteger(&'static str),
    /// A value of a list map is not how this type prints it, so no key would ever meet it.
    #[error("the list holds {0:?}, which is not the canonical form of any value of this type")]
    ListValue(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supported_types_are_known_by_their_catalog_names() {
        for (name, typmod, expected) in [
            ("int2", -1, KeyType::Int2),
            ("int4", -1, KeyType::Int4),
            ("int8", -1, KeyType::Int8),
            ("text", -1, KeyType::Text),
            ("varchar", -1, KeyType::Text),
            ("varchar", 14, KeyType::Varchar { max_chars: 10 }),
            ("bpchar", -1, KeyType::Bpchar { max_chars: None }),
            ("bpchar", 5, KeyType::Bpchar { max_chars: Some(1) }),
            ("citext", -1, KeyType::Citext),
            ("uuid", -1, KeyType::Uuid),
        ] {
            assert_eq!(KeyType::from_catalog(name, typmod), Ok(expected), "{name} {typmod}");
        }
    }

    #[test]
    fn types_whose_text_is_not_unique_are_refused_with_that_reason() {
        for name in ["numeric", "float4", "float8"] {
            let message = KeyType::from_catalog(name, -1).unwrap_err().to_string();
            assert_eq!(
                message,
                format!("type {name} can't be a shard key: its text is not unique per value")
            );
        }
    }

    #[test]
    fn every_other_type_is_refused_by_name() {
        for name in ["date", "timestamp", "timestamptz", "bytea", "jsonb", "bool", "name", "char", ""] {
            let error = KeyType::from_catalog(name, -1).unwrap_err();
            assert_eq!((error.type_name.as_str(), error.reason), (name, UnsupportedReason::NotSupported));
        }
    }

    #[test]
    fn only_types_that_compare_as_they_are_sharded_join_within_a_shard() {
        assert!(KeyType::Int2.colocates_with(KeyType::Int8));
        assert!(KeyType::Text.colocates_with(KeyType::Varchar { max_chars: 3 }));
        assert!(!KeyType::Text.colocates_with(KeyType::Citext));
        assert!(!KeyType::Varchar { max_chars: 3 }.colocates_with(KeyType::Bpchar { max_chars: Some(3) }));
    }
}
