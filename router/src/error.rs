//! Errors as clients get to see them: a SQLSTATE, a message, and what to do about it.

use crate::plan::Refusal;
use shardway_pool::{PoolError, frame};
use std::borrow::Cow;

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
    /// A server's own words, every field of them: an ErrorResponse's body.
    pub body: Option<Box<[u8]>>,
    /// PgBouncer's message, where that is not ours: for those who run this in its place.
    pub poolers: Option<Cow<'static, str>>,
}

impl ClientError {
    /// An error of the statement.
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
            body: None,
            poolers: None,
        }
    }

    /// An error that ends the connection.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// An error as a server said it.
    pub fn of_server(body: &[u8]) -> Self {
        let field = |code| frame::error_field(body, code).map(|f| String::from_utf8_lossy(f).into_owned());
        let message = field(b'M').unwrap_or_else(|| "the server refused".to_owned());
        if let Some(b"FATAL" | b"PANIC") = frame::error_field(body, b'V') {
            // It ended the server's connection, not the client's.
            return Self::error("08006", format!("a server closed the connection unexpectedly: {message}"));
        }
        let error = Self::error(&field(b'C').unwrap_or_else(|| "XX000".to_owned()), message);
        Self { hint: field(b'H'), body: Some(body.into()), ..error }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With PgBouncer's message for the same thing.
    #[must_use]
    pub fn or_poolers(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.poolers = Some(message.into());
        self
    }

    /// As those are told who run a `pgbouncer.ini`: in PgBouncer's words, if it has any.
    #[must_use]
    pub fn in_poolers_words(mut self) -> Self {
        if let Some(message) = self.poolers.take() {
            self.message = message.into_owned();
        }
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
        let client =
            Self { poolers: poolers(&error).map(Cow::Owned), ..Self::error(error.code(), error.to_string()) };
        match error.hint() {
            Some(hint) => client.hint(hint),
            None => client,
        }
    }
}

/// What PgBouncer says, where that is something else: a server's own message as it is.
fn poolers(error: &PoolError) -> Option<String> {
    match error {
        PoolError::Login { message, .. } => Some(message.to_string()),
        PoolError::Failing(last) => {
            let last = poolers(last).unwrap_or_else(|| last.to_string());
            Some(format!("server login has been failing, cached error: {last} (server_login_retry)"))
        }
        _ => None,
    }
}
