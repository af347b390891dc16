//! Errors as clients get to see them: a SQLSTATE, a message, and what to do about it.

use crate::plan::Refusal;
use shardway_pool::PoolError;

/// How much of a client's world an error ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement.
    Error,
    /// The connection.
    Fatal,
}

/// An error for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// What it ends.
    pub severity: Severity,
    /// SQLSTATE.
    pub code: String,
    /// Message.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ClientError {
    /// An error of the statement.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code: code.to_owned(), message: message.into(), hint: None }
    }

    /// An error that ends the connection.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The peer does not speak the protocol.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::fatal("08P01", message)
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        let error = Self::error(refusal.code, refusal.message);
        if refusal.hint.is_empty() { error } else { error.hint(refusal.hint) }
    }
}

impl From<PoolError> for ClientError {
    fn from(error: PoolError) -> Self {
        let client = Self::error(error.code(), error.to_string());
        match error.hint() {
            Some(hint) => client.hint(hint),
            None => client,
        }
    }
}
