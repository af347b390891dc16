//! Where the log goes: standard error, a file, the system's log, or several of them. RELOAD opens the file anew, so that it
//! can be rotated.

use crate::syslog::{self, Syslog};
use shardway_config::PgbouncerLogging as Logging;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The log's destinations.
#[derive(Debug, Default)]
pub struct Log {
    to_stderr: bool,
    file: Mutex<Option<(PathBuf, File)>>,
    syslog: Mutex<Option<Syslog>>,
}

impl Log {
    /// To standard error, if wanted; a file may be added.
    pub fn new(to_stderr: bool) -> Self {
        Self { to_stderr, file: Mutex::default(), syslog: Mutex::default() }
    }

    /// Goes to this file from here on, opened anew; to none with `None`. Errors: it can't be opened; all is as it was then.
    pub fn reopen(&self, path: Option<&Path>) -> io::Result<()> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            Ok::<_, io::Error>((path.to_owned(), file))
        };
        let file = path.map(open).transpose()?;
        *self.file() = file;
        Ok(())
    }

    /// Goes to the system's log too, or no more, as a `pgbouncer.ini` says. Errors: it can't be reached, and gets nothing.
    pub fn follow_syslog(&self, logging: &Logging) -> Result<(), String> {
        let Logging { syslog_facility, syslog_ident, .. } = logging;
        let connect = || Syslog::connect(Path::new(syslog::SOCKET), syslog_facility, syslog_ident);
        let connected = if logging.syslog { connect().map(Some) } else { Ok(None) };
        let (syslog, outcome) = match connected {
            Ok(syslog) => (syslog, Ok(())),
            Err(e) => (None, Err(format!("syslog can't be reached at {}: {e}", syslog::SOCKET))),
        };
        *self.syslog() = syslog;
        outcome
    }

    /// Whether a terminal, and nothing else, shows it.
    pub fn is_terminal(&self) -> bool {
        self.to_stderr && io::stderr().is_terminal() && self.file().is_none()
    }

    fn syslog(&self) -> MutexGuard<'_, Option<Syslog>> {
        self.syslog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> MutexGuard<'_, Option<(PathBuf, File)>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line at a time. What can't be written is lost: there is nowhere to tell.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.to_stderr {
            let _ = io::stderr().lock().write_all(line);
        }
        if let Some((_, file)) = &mut *self.file() {
            let _ = file.write_all(line);
        }
        if let Some(syslog) = &*self.syslog() {
            syslog.write(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_when_it_is_reopened() {
        let path = std::env::temp_dir().join(format!("shardway-log-{}", std::process::id()));
        let moved = path.with_extension("1");
        let log = Log::new(false);
        log.reopen(Some(&path)).unwrap();
        (&log).write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        (&log).write_all(b"two\n").unwrap();
        log.reopen(Some(&path)).unwrap();
        (&log).write_all(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert!(log.reopen(Some(Path::new("/nowhere/at/all"))).is_err());
        (&log).write_all(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\nfour\n");
    }
}
