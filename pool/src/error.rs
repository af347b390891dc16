//! What goes wrong between Shardway and a server.

use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why there is no server, or no server any more. Cloned to every client that waited for it.
#[derive(Clone, Debug, Error)]
pub enum PoolError {
    /// The server can't be reached.
    #[error("could not connect to server {server}: {cause}")]
    Connect {
        /// Which.
        server: String,
        /// Why, in the system's words.
        cause: Arc<str>,
    },
    /// The server did not let us in: its own error, every field of it.
    #[error("server {server} refused login: {message}")]
    Login {
        /// Which.
        server: String,
        /// Its SQLSTATE.
        code: Arc<str>,
        /// Its message.
        message: Arc<str>,
    },
    /// The server asks for something that we can't give.
    #[error("could not log in to server {server}: {cause}")]
    Credentials {
        /// Which.
        server: String,
        /// What is missing.
        cause: &'static str,
    },
    /// We can give what the server asks for once the user's password has been seen to be known.
    #[error(
        "could not log in to server {server}: of this user only a SCRAM secret is known, and nobody has logged in with \
         its password yet"
    )]
    Unproven {
        /// Which.
        server: String,
    },
    /// TLS with the server did not come about, and there is to be no connection without.
    #[error("no TLS with server {server}: {cause}")]
    Tls {
        /// Which.
        server: String,
        /// Why.
        cause: Arc<str>,
    },
    /// No server came free in time.
    #[error("query_wait_timeout")]
    WaitTimeout(Duration),
    /// The server closed the connection, or broke the protocol.
    #[error("server {server} closed the connection unexpectedly: {cause}")]
    Lost {
        /// Which.
        server: String,
        /// What was seen.
        cause: Arc<str>,
    },
    /// The last login failed, and it is too early for another one (`server_login_retry`).
    #[error("server login has been failing, cached error: {0} (server_login_retry)")]
    Failing(Arc<PoolError>),
    /// The pool is going away.
    #[error("the pool was closed")]
    Closed,
}

impl PoolError {
    /// The SQLSTATE that a client gets to see.
    pub fn code(&self) -> &str {
        match self {
            Self::Connect { .. } | Self::Credentials { .. } | Self::Unproven { .. } | Self::Tls { .. } => {
                "08001"
            }
            Self::Login { code, .. } => code,
            Self::WaitTimeout(_) | Self::Closed => "57P03",
            Self::Lost { .. } => "08006",
            Self::Failing(last) => last.code(),
        }
    }

    /// Whether the server was not there, or not yet; else it was, and said no.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Login { code, .. } => code.starts_with("57P"),
            Self::Failing(last) => last.is_outage(),
            _ => false,
        }
    }

    /// What the client can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } | Self::Lost { .. } => Some(
                "The shard is not reachable right now; try again, and see SHOW SERVERS on the admin database.",
            ),
            Self::Login { .. } | Self::Credentials { .. } => {
                Some("Check the user and password that Shardway has for this server.")
            }
            Self::Unproven { .. } => {
                Some("Log in with the user's password once, or configure the password itself.")
            }
            Self::Tls { .. } => {
                Some("Check server_tls and server_tls_ca, and the certificate that the server shows.")
            }
            Self::WaitTimeout(_) => {
                Some("Every server connection is busy; raise default_pool_size or shorten transactions.")
            }
            Self::Failing(last) => last.hint(),
            Self::Closed => None,
        }
    }
}
