//! A proxy as a child process, whichever it is: its directory, its port, its log, and waiting until it answers.

use crate::error::BenchError;
use crate::wire::{Client, Endpoint, WireError};
use shardway_cluster::{Afterwards, Daemon, OsUser, Port};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much of a log an error shows, in lines.
const TAIL: usize = 12;

/// A running proxy. It ends when this is dropped, or when this process does.
pub struct Proxy {
    name: String,
    daemon: Daemon,
    dir: PathBuf,
    port: Port,
}

/// What it takes to start one.
pub struct Launch<'a> {
    /// The contestant's.
    pub name: &'a str,
    /// Whom it runs as.
    pub user: Option<OsUser>,
    /// Its files, names and texts, as they are to be in a directory of its own.
    pub files: &'a dyn Fn(&Path) -> Vec<(&'static str, String)>,
    /// Databases that must answer, with the user who asks and a statement each.
    pub ready: &'a [(&'a str, &'a str, &'a str)],
}

impl Proxy {
    /// Starts the program that listens on `port`; `command` is given its directory.
    ///
    /// # Errors
    /// It ends, or does not answer in time; both bring its log.
    pub fn start(
        port: Port,
        launch: &Launch<'_>,
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<Proxy, BenchError> {
        let failed = || BenchError::io(format!("making a directory for {}", launch.name));
        let dir = tempfile::Builder::new().prefix("shardway-bench-").tempdir().map_err(failed())?;
        let daemon = Daemon::new(launch.name, dir.path(), Afterwards::Remove, libc::SIGKILL)?;
        let mut proxy = Proxy { name: launch.name.into(), daemon, dir: dir.keep(), port };
        for (name, text) in (launch.files)(&proxy.dir) {
            proxy.write(name, &text, launch.user).map_err(failed())?;
        }
        give(&proxy.dir, launch.user).map_err(failed())?;
        proxy.daemon.spawn(&command(&proxy.dir), launch.user, &proxy.log())?;
        for &(database, user, sql) in launch.ready {
            proxy.wait_ready(&proxy.endpoint(database, user), sql)?;
        }
        Ok(proxy)
    }

    /// Where clients find one of its databases.
    pub fn endpoint(&self, database: &str, user: &str) -> Endpoint {
        Endpoint { port: self.port.number(), database: database.into(), user: user.into() }
    }

    /// Its process.
    ///
    /// # Errors
    /// It has ended, in words.
    pub fn pid(&self) -> Result<u32, String> {
        self.daemon.pid().ok_or_else(|| format!("{} has ended", self.name))
    }

    fn write(&self, name: &str, text: &str, user: Option<OsUser>) -> std::io::Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text)?;
        give(&path, user)
    }

    fn wait_ready(&mut self, to: &Endpoint, sql: &str) -> Result<(), BenchError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.daemon.try_wait()? {
                return Err(BenchError::Ended { name: self.name.clone(), status, log: self.log_tail() });
            }
            let why = match answers(to, sql) {
                Ok(()) => return Ok(()),
                Err(why) => format!("{sql}: {why}"),
            };
            if Instant::now() > deadline {
                return Err(BenchError::NotReady { name: self.name.clone(), why, log: self.log_tail() });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.join("proxy.log")
    }

    fn log_tail(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

fn answers(to: &Endpoint, sql: &str) -> Result<(), WireError> {
    Client::connect(to)?.query(sql).map(drop)
}

fn give(path: &Path, user: Option<OsUser>) -> std::io::Result<()> {
    user.map_or(Ok(()), |user| chown(path, Some(user.uid), Some(user.gid)))
}
