//! Reading a key from text or from an integer literal, by the column's type.
//!
//! Text here is what Postgres would hand to the column type's input function: an unknown-typed literal's
//! content, a text-format parameter whose type Postgres infers, an unescaped COPY field. Values that come
//! with a type of their own are `param`'s.

use crate::int::IntText;
use crate::numeric::Numeric;
use crate::store::{fit, strip_padding};
use crate::{KeyType, KeyValue, fold, int, numeric, uuid};

pub(crate) const NOT_UTF8: &str = "the text is not valid UTF-8, so its encoding is unknown";
pub(crate) const NO_CONVERSION: &str = "Postgres has no built-in operator or cast between the two types";
const FOLD_UNKNOWN: &str = "lower-casing this citext value depends on the database's locale";
const NOT_INTEGRAL: &str = "the number is beyond 64 bits";

/// What is done with a value, since the two convert differently.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Use {
    /// `column = value`: no length or range of the column applies.
    Compare,
    /// INSERT, UPDATE's SET, COPY: the value must fit the column, by assignment's rules.
    Store,
}

impl KeyType {
    /// Reads text of no type of its own: an unknown-typed literal, a text-format parameter, a COPY field.
    ///
    /// `text` is UTF-8, already unescaped. Text that is not UTF-8 is unproven rather than invalid, for a
    /// session of another `client_encoding` may mean something by it.
    pub fn read_text<'a>(&self, text: &'a [u8], how: Use) -> KeyValue<'a> {
        match self {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => match int::parse(text) {
                IntText::Int(value) => self.stored_int(value),
                IntText::Invalid => KeyValue::Invalid,
                IntText::Unproven(why) => KeyValue::Unproven(why),
            },
            KeyType::Uuid => uuid::parse(text).map_or(KeyValue::Invalid, KeyValue::uuid),
            KeyType::Text
            | KeyType::Varchar { .. }
            | KeyType::Bpchar { .. }
            | KeyType::Citext
            | KeyType::Enum => match utf8(text) {
                Ok(text) => self.read_string(text, how),
                Err(outcome) => outcome,
            },
        }
    }

    /// Reads an integer literal, or an integer parameter of any width.
    ///
    /// An integer compared with an integer column keeps its value, even beyond the column's range: it then
    /// equals no row, and its shard says so as well as any other. Stored into text it becomes its decimal
    /// text (an assignment cast). For other pairs Postgres itself knows no operator, but a user's own cast
    /// (`CREATE CAST (int4 AS text) … AS IMPLICIT`) may supply one, hence unproven rather than invalid.
    pub fn read_int(&self, value: i64, how: Use) -> KeyValue<'static> {
        match (self, how) {
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Use::Compare) => KeyValue::int(value),
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Use::Store) => self.stored_int(value),
            (_, Use::Store) if self.is_string() => {
                self.read_string(int::Decimal::new(value).as_str(), how).into_owned()
            }
            _ => KeyValue::Unproven(NO_CONVERSION),
        }
    }

    /// Reads a numeric literal such as `7.0` or `1e3`, or the text of a `numeric` parameter.
    ///
    /// A fraction equals no integer, and is rounded where it is stored in one; what is not read here is unproven.
    pub fn read_numeric_text(&self, text: &[u8], how: Use) -> KeyValue<'static> {
        self.read_numeric(numeric::parse(text), how)
    }

    pub(crate) fn read_numeric(&self, value: Numeric, how: Use) -> KeyValue<'static> {
        match value {
            Numeric::Integral(_) if !self.is_integer() => KeyValue::Unproven(NO_CONVERSION),
            Numeric::Integral(value) => self.read_int(value, how),
            Numeric::Fraction(_) if !self.is_integer() => KeyValue::Unproven(NO_CONVERSION),
            // No integer is equal to it.
            Numeric::Fraction(_) if how == Use::Compare => KeyValue::Null,
            Numeric::Fraction(rounded) => self.stored_int(rounded),
            Numeric::Other => KeyValue::Unproven(NOT_INTEGRAL),
        }
    }

    /// Reads a string for a column of string type or an enum.
    pub(crate) fn read_string<'a>(&self, text: &'a str, how: Use) -> KeyValue<'a> {
        match (self, how) {
            (KeyType::Varchar { max_chars }, Use::Store) => {
                fit(text, *max_chars).map_or(KeyValue::Invalid, KeyValue::text)
            }
            (KeyType::Bpchar { max_chars: Some(max_chars) }, Use::Store) => {
                fit(text, *max_chars).map_or(KeyValue::Invalid, |text| KeyValue::text(strip_padding(text)))
            }
            (KeyType::Bpchar { .. }, _) => KeyValue::text(strip_padding(text)),
            (KeyType::Citext, _) => {
                fold::lower(text).map_or(KeyValue::Unproven(FOLD_UNKNOWN), KeyValue::text)
            }
            (KeyType::Text | KeyType::Varchar { .. } | KeyType::Enum, _) => KeyValue::text(text),
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8 | KeyType::Uuid, _) => {
                KeyValue::Unproven(NO_CONVERSION)
            }
        }
    }

    /// An integer that went through the type's input function or an assignment cast: 22003 beyond its range.
    fn stored_int(&self, value: i64) -> KeyValue<'static> {
        let fits = match self {
            KeyType::Int2 => i16::try_from(value).is_ok(),
            KeyType::Int4 => i32::try_from(value).is_ok(),
            _ => true,
        };
        if fits { KeyValue::int(value) } else { KeyValue::Invalid }
    }

    /// Whether the type is of Postgres's string category, to which anything may be assigned.
    pub(crate) fn is_string(self) -> bool {
        matches!(self, KeyType::Text | KeyType::Varchar { .. } | KeyType::Bpchar { .. } | KeyType::Citext)
    }
}

/// The text of a value, or what it is if it has none: no Postgres encoding has a NUL.
pub(crate) fn utf8(text: &[u8]) -> Result<&str, KeyValue<'static>> {
    if text.contains(&0) {
        return Err(KeyValue::Invalid);
    }
    std::str::from_utf8(text).map_err(|_| KeyValue::Unproven(NOT_UTF8))
}

#[cfg(test)]
mod tests;
