//! A Postgres server: a data directory, a port that stays its own, and a postmaster that comes and goes.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{
    Daemon, Error, HOST, Installation, OsUser, Port, Result, ServerBuilder, files, settings::Settings,
};

/// A Postgres server of our own. Dropping it ends the server and removes its directory, unless that was
/// chosen by the caller ([`ServerBuilder::data_dir`]). Every method may be called from any thread.
#[derive(Debug)]
pub struct Server {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) port: Port,
    pub(crate) installation: &'static Installation,
    pub(crate) user: Option<OsUser>,
    pub(crate) settings: Settings,
    pub(crate) daemon: Mutex<Daemon>,
}

impl Server {
    /// A primary of its own; nothing happens until [`ServerBuilder::start`].
    pub fn builder() -> ServerBuilder {
        ServerBuilder::primary()
    }

    /// A streaming replica of `primary`, with the primary's settings.
    pub fn replica_of(primary: &Server) -> ServerBuilder {
        ServerBuilder::replica_of(primary)
    }

    /// Starts all of `servers` side by side.
    ///
    /// # Errors
    /// The first server's that failed; the others are started nevertheless.
    pub fn start_all<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Result<()> {
        thread::scope(|scope| {
            let starts: Vec<_> = servers.into_iter().map(|server| scope.spawn(|| server.start())).collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .fold(Ok(()), Result::and)
        })
    }

    /// The name it has in errors, and as a replica in the primary's `pg_stat_replication`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address it listens on.
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// Its port, the same through all restarts.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its data directory, which also holds its Unix socket and its log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The postmaster's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon().pid()
    }

    /// The address of one of its databases, for the user whose name (or `name:password`) is given.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{HOST}:{}/{database}", self.port())
    }

    /// All that it has logged since its directory was made.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn log(&self) -> Result<String> {
        let path = self.log_path();
        let bytes = std::fs::read(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    pub(crate) fn late(&self, what: impl Into<String>, within: std::time::Duration) -> Error {
        let log = files::tail(&self.log_path(), 0);
        Error::Late { name: self.name.clone(), what: what.into(), within, log }
    }

    /// A panic elsewhere while it was held leaves the daemon as it was.
    pub(crate) fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
