//! What can go wrong between asking for a server and having one, said so that the reader knows what to do.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server could not be made, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No Postgres server programs on this machine.
    #[error(
        "no PostgreSQL server was found on this machine: install one (Debian and Ubuntu: `apt-get install \
         postgresql`, Fedora: `dnf install postgresql-server`, macOS: `brew install postgresql`) or set \
         SHARDWAY_PG_BIN to the directory that holds `initdb` and `postgres`"
    )]
    PostgresNotFound,
    /// `SHARDWAY_PG_BIN` names a directory without the programs.
    #[error("SHARDWAY_PG_BIN is {dir}, but there is no `{missing}` in it")]
    PostgresIncomplete {
        /// What the variable says.
        dir: PathBuf,
        /// The first program that is missing there.
        missing: &'static str,
    },
    /// No Redis server program on this machine.
    #[error(
        "`redis-server` was not found: install it (Debian and Ubuntu: `apt-get install redis-server`) or set \
         SHARDWAY_REDIS_SERVER to the program's path"
    )]
    RedisNotFound,
    /// Postgres refuses to run as root, and there is nobody else to run as.
    #[error(
        "PostgreSQL does not run as root and this machine has no OS user named `postgres`: add one (`useradd \
         --system postgres`) or run as another user"
    )]
    NoPostgresUser,
    /// The operating system refused something.
    #[error("{action}: {source}")]
    Io {
        /// What was being done, with the path.
        action: String,
        /// The refusal.
        source: io::Error,
    },
    /// A helper program said no.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        output: String,
    },
    /// The SQL text given to [`Server::sql`](crate::Server::sql) failed.
    #[error("SQL failed on {server}, database {database}: {message}")]
    Sql {
        /// The server's name.
        server: String,
        /// The database it ran in.
        database: String,
        /// What psql reported.
        message: String,
    },
    /// The process ended when it should have come up.
    #[error("{name} ended while it started ({status}); the end of its log:\n{log}")]
    Exited {
        /// The server's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// What was waited for did not come about in time.
    #[error("{name}: {what} did not happen within {within:?}; the end of its log:\n{log}")]
    Late {
        /// The server's name.
        name: String,
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// The process was asked for something that only a running one can do.
    #[error("{name} is not running")]
    NotRunning {
        /// The server's name.
        name: String,
    },
    /// The kept data directory holds a server that is not (any more) a replica.
    #[error(
        "{dir} holds a primary (a replica that was promoted?), so it can't follow another server: remove the \
         directory to have a new replica made"
    )]
    NotAReplica {
        /// The data directory.
        dir: PathBuf,
    },
    /// The caller's data directory holds something else.
    #[error("{dir} is neither empty nor a PostgreSQL data directory: choose another one")]
    NotADataDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// Every port that was tried is taken.
    #[error("no free port between {from} and {to} on 127.0.0.1")]
    NoFreePort {
        /// The first port that was tried.
        from: u16,
        /// The end of the range.
        to: u16,
    },
}

impl Error {
    /// For `map_err`: the refusal, with what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }

    /// Whether the process ended because another one has its port.
    pub(crate) fn is_address_in_use(&self) -> bool {
        matches!(self, Error::Exited { log, .. } if log.contains("Address already in use"))
    }
}
