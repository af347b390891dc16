//! What a setting's text means, and how PgBouncer's SHOW CONFIG words it.

mod auth_type;
mod numbers;
mod socket;
mod tls_protocols;

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{PoolMode, TlsMode};
use crate::value::quoted;
use crate::words::{self, Words};

pub(super) use numbers::{count, fraction, whole};

pub use auth_type::AuthType;
pub use socket::{SocketDir, SocketMode};
pub use tls_protocols::TlsProtocols;

/// A type that a setting of `[pgbouncer]` may have.
pub(super) trait Value: Sized {
    /// Reads it. Errors: what was expected and what was found, in words.
    fn parse(text: &str) -> Result<Self, String>;

    /// As SHOW CONFIG has it.
    fn show(&self) -> String;

    /// As SHOW CONFIG has it in the column of defaults.
    fn show_default(&self) -> String {
        self.show()
    }
}

/// Names with commas or spaces between them (`a, b`), kept as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(String);

impl List {
    /// A list as it would be written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The names one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split([',', ' ', '\t']).filter(|name| !name.is_empty())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `server_check_query`: how an idle server is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckQuery {
    /// Not at all (the empty string).
    Off,
    /// By a query without text (`<empty>`).
    Empty,
    /// By this query.
    Sql(String),
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// Empty: none.
impl Value for Option<String> {
    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

/// Empty: none.
impl Value for Option<PathBuf> {
    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

impl Value for List {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::new(text))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for CheckQuery {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => Self::Off,
            "<empty>" => Self::Empty,
            sql => Self::Sql(sql.to_owned()),
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Off => String::new(),
            Self::Empty => "<empty>".to_owned(),
            Self::Sql(sql) => sql.clone(),
        }
    }
}

/// PgBouncer takes numbers alone, any but 0 for yes. The words can mean but one thing, so they are taken too.
impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => Ok(true),
            "no" | "off" | "false" => Ok(false),
            _ => whole(text)
                .map(|number| number != 0)
                .map_err(|_| format!("expected 0 or 1, found {}", quoted(text))),
        }
    }

    fn show(&self) -> String {
        u8::from(*self).to_string()
    }
}

impl Value for usize {
    fn parse(text: &str) -> Result<Self, String> {
        count(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u16 {
    fn parse(text: &str) -> Result<Self, String> {
        let fits = |number: i64| u16::try_from(number).ok();
        whole(text)
            .ok()
            .and_then(fits)
            .ok_or_else(|| format!("expected a whole number from 0 to 65535, found {}", quoted(text)))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Bytes up to 4294967295. PgBouncer's number wraps around there, so that -1 is the largest; what is larger is the
/// largest here.
impl Value for u32 {
    fn parse(text: &str) -> Result<Self, String> {
        whole(text).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Seconds, fractions too.
impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        fraction(text)
    }

    fn show(&self) -> String {
        numbers::general(self.as_secs_f64())
    }
}

impl Value for PoolMode {
    fn parse(text: &str) -> Result<Self, String> {
        word(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for TlsMode {
    fn parse(text: &str) -> Result<Self, String> {
        word(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// One of a few words, in any case, as in PgBouncer.
pub(super) fn word<T: Words>(text: &str) -> Result<T, String> {
    let found = words::choice(&text.to_ascii_lowercase(), T::WORDS);
    found.ok_or_else(|| format!("expected one of {}, found {}", words::list(T::WORDS), quoted(text)))
}

#[cfg(test)]
mod tests;
