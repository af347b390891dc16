//! Reading a key from a value that has a type of its own: a parameter, or a literal under a cast.
//!
//! The value is first what its own type makes of it, then compared with or assigned to the column by the
//! operators and casts that Postgres 15 and its citext extension come with. Pairs without one are unproven,
//! not invalid: users add casts, `varchar` to `uuid` being the popular one.

use crate::int::IntText;
use crate::read::{NO_CONVERSION, utf8};
use crate::store::strip_padding;
use crate::{KeyType, KeyValue, Use, int, numeric, uuid};

/// The type that a parameter has for Postgres: declared in Parse, inferred, or cast to in the statement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ParamType {
    /// Undeclared (0 or `unknown` in Parse), where Postgres infers it from its place beside the key alone.
    /// A parameter that also stands elsewhere takes the type of its first place: ask for a description.
    Unknown,
    /// The column's own type, whatever its oid: an enum, citext, a domain over the column's type.
    Column,
    /// `int2`
    Int2,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `numeric`
    Numeric,
    /// `text`
    Text,
    /// `varchar` without a limit, as parameters are
    Varchar,
    /// `bpchar` without a limit, as parameters are
    Bpchar,
    /// `citext`
    Citext,
    /// `uuid`
    Uuid,
    /// Any other, by its oid in `pg_type`; of no use for a key.
    Other(u32),
}

impl ParamType {
    /// The parameter type of a built-in type's oid (`pg_type.dat`). Citext and enums have no fixed oid, so
    /// the caller must tell them: they come out as [`ParamType::Other`].
    pub fn from_oid(oid: u32) -> Self {
        match oid {
            0 | 705 => Self::Unknown,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            25 => Self::Text,
            1042 => Self::Bpchar,
            1043 => Self::Varchar,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            other => Self::Other(other),
        }
    }
}

impl KeyType {
    /// Reads a value of type `declared` in text format. `text` is UTF-8.
    pub fn read_text_as<'a>(&self, declared: ParamType, text: &'a [u8], how: Use) -> KeyValue<'a> {
        match declared {
            ParamType::Unknown | ParamType::Column => self.read_text(text, how),
            ParamType::Int2 => self.read_int_text(KeyType::Int2, text, how),
            ParamType::Int4 => self.read_int_text(KeyType::Int4, text, how),
            ParamType::Int8 => self.read_int_text(KeyType::Int8, text, how),
            ParamType::Numeric => self.read_numeric_text(text, how),
            ParamType::Text | ParamType::Varchar | ParamType::Citext => self.read_typed_string(text, how),
            ParamType::Bpchar => self.read_bpchar(text, how),
            ParamType::Uuid => uuid::parse(text).map_or(KeyValue::Invalid, |uuid| self.read_uuid(uuid, how)),
            ParamType::Other(_) => KeyValue::Unproven(NO_CONVERSION),
        }
    }

    /// Reads a value of type `declared` in binary format, as the type's receive function would.
    ///
    /// A length that is not the type's is invalid (22P03, 08P01), except under [`ParamType::Unknown`], where
    /// it says that Postgres inferred another type.
    pub fn read_binary<'a>(&self, declared: ParamType, bytes: &'a [u8], how: Use) -> KeyValue<'a> {
        match declared {
            ParamType::Unknown => match self.read_own_binary(bytes, how) {
                KeyValue::Invalid => KeyValue::Unproven("the parameter is not of the column's type"),
                outcome => outcome,
            },
            ParamType::Column => self.read_own_binary(bytes, how),
            ParamType::Int2 => self.read_int_binary(KeyType::Int2, bytes, how),
            ParamType::Int4 => self.read_int_binary(KeyType::Int4, bytes, how),
            ParamType::Int8 => self.read_int_binary(KeyType::Int8, bytes, how),
            ParamType::Numeric => self.read_numeric(numeric::from_binary(bytes), how),
            // The receive functions of the string types take the very text.
            ParamType::Text | ParamType::Varchar | ParamType::Citext => self.read_typed_string(bytes, how),
            ParamType::Bpchar => self.read_bpchar(bytes, how),
            ParamType::Uuid => {
                bytes.try_into().map_or(KeyValue::Invalid, |uuid: [u8; 16]| self.read_uuid(uuid, how))
            }
            ParamType::Other(_) => KeyValue::Unproven(NO_CONVERSION),
        }
    }

    fn read_own_binary<'a>(&self, bytes: &'a [u8], how: Use) -> KeyValue<'a> {
        match self {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => self.read_int_binary(*self, bytes, how),
            KeyType::Uuid => self.read_binary(ParamType::Uuid, bytes, how),
            KeyType::Text
            | KeyType::Varchar { .. }
            | KeyType::Bpchar { .. }
            | KeyType::Citext
            | KeyType::Enum => self.read_text(bytes, how),
        }
    }

    /// Text of an integer of type `wire`, whose own range comes first.
    fn read_int_text(&self, wire: KeyType, text: &[u8], how: Use) -> KeyValue<'static> {
        match int::parse(text) {
            IntText::Int(value) => match wire.read_int(value, Use::Store) {
                KeyValue::Invalid => KeyValue::Invalid,
                _ => self.read_int(value, how),
            },
            IntText::Invalid => KeyValue::Invalid,
            IntText::Unproven(why) => KeyValue::Unproven(why),
        }
    }

    fn read_int_binary(&self, wire: KeyType, bytes: &[u8], how: Use) -> KeyValue<'static> {
        let value = match wire {
            KeyType::Int2 => bytes.try_into().ok().map(|b| i64::from(i16::from_be_bytes(b))),
            KeyType::Int4 => bytes.try_into().ok().map(|b| i64::from(i32::from_be_bytes(b))),
            _ => bytes.try_into().ok().map(i64::from_be_bytes),
        };
        value.map_or(KeyValue::Invalid, |value| self.read_int(value, how))
    }

    /// A `text`, `varchar` or `citext` value.
    ///
    /// Beside `text` and `varchar` all three compare by `texteq`. Beside `char(n)`, `text` and `citext`
    /// compare by `texteq` with the column's padding stripped, `varchar` by `bpchareq`, which ignores
    /// trailing spaces: without its own, the value names the shard of every row it can equal. Beside
    /// `citext`, `text` and `varchar` compare case-sensitively, and rows that are equal so are equal in
    /// lower case, by which they are sharded.
    fn read_typed_string<'a>(&self, text: &'a [u8], how: Use) -> KeyValue<'a> {
        match utf8(text) {
            // An enum takes its labels from untyped literals alone.
            Ok(_) if *self == KeyType::Enum => KeyValue::Unproven(NO_CONVERSION),
            Ok(text) => self.read_string(text, how),
            Err(outcome) => outcome,
        }
    }

    /// A `bpchar` value: on its way to another type it loses its trailing spaces (`rtrim1`).
    fn read_bpchar<'a>(&self, text: &'a [u8], how: Use) -> KeyValue<'a> {
        match (self, how) {
            (KeyType::Text | KeyType::Varchar { .. }, Use::Compare) => {
                // `varchar = bpchar` is bpchareq: rows with and without trailing spaces match, on any shard.
                KeyValue::Unproven("varchar and bpchar compare without regard to trailing spaces")
            }
            _ => match utf8(text) {
                Ok(text) => self.read_typed_string(strip_padding(text).as_bytes(), how),
                Err(outcome) => outcome,
            },
        }
    }

    /// A uuid, which is assigned to string types as its canonical text.
    fn read_uuid(&self, uuid: [u8; 16], how: Use) -> KeyValue<'static> {
        match (self, how) {
            (KeyType::Uuid, _) => KeyValue::uuid(uuid),
            (_, Use::Store) if self.is_string() => {
                self.read_string(uuid::Hyphenated::new(&uuid).as_str(), how).into_owned()
            }
            _ => KeyValue::Unproven(NO_CONVERSION),
        }
    }
}

#[cfg(test)]
mod tests;
