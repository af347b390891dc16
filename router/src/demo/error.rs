//! What can keep the demo from running, said so that whoever started it knows what to do.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A Postgres or Redis server could not be made, started or asked.
    #[error(transparent)]
    Server(#[from] shardway_cluster::Error),
    /// The operating system refused something.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The refusal.
        source: io::Error,
    },
    /// The proxy is not there any more.
    #[error("the proxy ended ({status}); the end of its log:\n{tail}")]
    ProxyEnded {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        tail: String,
    },
    /// The proxy runs but does not say that it is ready.
    #[error("the proxy was not ready within {within:?}; the end of its log:\n{tail}")]
    ProxyLate {
        /// How long it was waited for.
        within: Duration,
        /// What it said last.
        tail: String,
    },
    /// The data directory was made by another version of the demo, or is something else.
    #[error("{} is neither empty nor a directory of this demo: choose another one", dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },
    /// A statement that must work did not, or no connection could be had.
    #[error("{doing}: {message}")]
    Sql {
        /// The statement's beginning, or what was being done.
        doing: String,
        /// What the server said.
        message: String,
    },
    /// A part of the demo panicked.
    #[error("a task of the demo failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl DemoError {
    /// For `map_err`: the refusal, with what was being done.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    /// For `map_err`: the failure, with the statement.
    pub(super) fn sql(doing: &str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing: String = doing.chars().take(120).collect();
        move |error| Self::Sql { doing, message: explain(&error) }
    }
}

/// A client's view of a failure: SQLSTATE and message, with detail and hint where there are some.
pub(super) fn explain(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else { return chain(error) };
    let mut text = format!("{} {}", db.code().code(), db.message());
    for more in [db.detail(), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

/// tokio-postgres says "error connecting to server" and leaves the reason to its source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
