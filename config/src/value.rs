//! One value of the file, asked for what it should be. Each question reports what is wrong with the answer.
//!
//! A value of the wrong type is named by its type alone, since it may be a password that slipped.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::context::{At, Checked, Context, Reported, Text};
use crate::expand::expand;
use crate::units::{self, UnitError};

/// One value and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    context: &'a Context<'a>,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(crate) fn new(context: &'a Context<'a>, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { context, value }
    }

    pub(crate) fn at(self) -> At {
        At::Offset(self.value.span().start)
    }

    pub(crate) fn context(self) -> &'a Context<'a> {
        self.context
    }

    pub(crate) fn is_integer(self) -> bool {
        self.value.get_ref().is_integer()
    }

    pub(crate) fn is_empty_list(self) -> bool {
        self.value.get_ref().as_array().is_some_and(|elements| elements.is_empty())
    }

    fn mismatch(self, expected: &str) -> Reported {
        let found = type_of(self.value.get_ref());
        self.context.report(self.at(), format!("expected {expected}, found {found}"))
    }

    pub(crate) fn table(self) -> Checked<&'a DeTable<'a>> {
        self.value.get_ref().as_table().ok_or_else(|| self.mismatch("a table"))
    }

    /// The elements of a list; `of` says of what, for the message.
    pub(crate) fn list(self, of: &str) -> Checked<Vec<Value<'a>>> {
        let elements = self.value.get_ref().as_array().ok_or_else(|| self.mismatch(of))?;
        Ok(elements.iter().map(|element| Value::new(self.context, element)).collect())
    }

    pub(crate) fn flag(self) -> Checked<bool> {
        self.value.get_ref().as_bool().ok_or_else(|| self.mismatch("true or false"))
    }

    /// A string, its variables expanded.
    pub(crate) fn text(self) -> Checked<Text> {
        self.text_as("a string")
    }

    fn text_as(self, expected: &str) -> Checked<Text> {
        let raw = self.value.get_ref().as_str().ok_or_else(|| self.mismatch(expected))?;
        match expand(raw, self.context.env()) {
            // The protocol ends its strings with NUL, so none of ours can hold one.
            Ok(value) if value.contains('\0') => {
                Err(self.context.report(self.at(), "a string cannot hold the NUL character"))
            }
            Ok(value) => Ok(Text { value, at: self.at() }),
            Err(error) => Err(self.context.report(self.at(), error)),
        }
    }

    pub(crate) fn integer(self, allowed: RangeInclusive<i64>) -> Checked<i64> {
        let integer = self.value.get_ref().as_integer().ok_or_else(|| self.mismatch("a whole number"))?;
        let number = parse(integer).filter(|number| allowed.contains(number));
        number.ok_or_else(|| {
            let (low, high) = allowed.into_inner();
            let found = clipped(&integer.to_string());
            self.context
                .report(self.at(), format!("expected a whole number from {low} to {high}, found {found}"))
        })
    }

    pub(crate) fn duration(self) -> Checked<Duration> {
        self.quantity(UnitError::NotADuration, units::duration)
    }

    /// Bytes.
    pub(crate) fn size(self) -> Checked<u64> {
        self.quantity(UnitError::NotASize, units::size)
    }

    /// A string with a unit, or a bare number without.
    fn quantity<T>(self, kind: UnitError, parse_as: fn(&str) -> Result<T, UnitError>) -> Checked<T> {
        let (text, shown) = match self.value.get_ref() {
            DeValue::Integer(integer) => {
                let decimal = parse(integer).map_or_else(|| integer.as_str().to_owned(), |n| n.to_string());
                (decimal, clipped(&integer.to_string()))
            }
            _ => {
                let text = self.text_as(&kind.to_string())?.value;
                let shown = quoted(&text);
                (text, shown)
            }
        };
        let refuse = |error| self.context.report(self.at(), format!("expected {error}, found {shown}"));
        parse_as(&text).map_err(refuse)
    }
}

/// `None` when it does not fit.
fn parse(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What the operator wrote, in quotes, fit for one line of a log.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", clipped(text))
}

/// Long enough to be known again, short enough for a message.
fn clipped(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
