//! An existing `pgbouncer.ini`, read as PgBouncer 1.25 reads it, so that it can be run as it is.
//!
//! [`read`] takes the file, what it includes, its `auth_file` and its `auth_hba_file`, and gives everything that they
//! say, typed: [`Settings`] (`[pgbouncer]`), [`Database`]s, [`User`]s, [`Peer`]s, the [`Login`]s of `auth_file` and the
//! rules of `auth_hba_file`.
//! [`Pgbouncer::to_config`] is the part that this crate's own model can hold, and [`Pgbouncer::beyond_config`]
//! names the rest. [`Settings::rows`] and [`Settings::set`] are the admin console's SHOW CONFIG and SET.
//!
//! Nothing here opens a socket or checks a password. Source of every rule:
//! <https://www.pgbouncer.org/config.html>, and the behaviour of the program where that page is silent.

mod auth_file;
mod beyond;
mod certificates;
mod checks;
mod connection_string;
mod database;
mod hosts;
mod include;
mod ini;
mod options;
mod peer;
mod reader;
mod report;
mod settings;
mod to_config;
mod unheeded;
mod user;
mod values;

#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::hba::Hba;
use crate::model::{AuthMethod, Config};
use crate::problems::{Place, Problem, Problems};
use reader::Reader;
use report::Report;

pub use crate::hba::{Disk, Files};
pub use auth_file::Login;
pub use database::{Database, LoadBalanceHosts, TargetSession};
pub use hosts::Host;
pub use peer::Peer;
pub use settings::{Auth, Listening, Logging, Network, Pooling, Row, Serving, SetError, Settings, Tls};
pub use user::User;
pub use values::{AuthType, CheckQuery, List, SocketDir, SocketMode, TlsProtocols};

/// Everything that a `pgbouncer.ini` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Pgbouncer {
    /// `[pgbouncer]`, defaults filled in.
    pub settings: Settings,
    /// `[databases]` without the fallback, in the order of the file. No name twice.
    pub databases: Vec<Database>,
    /// `* = …`: what a database is that has no entry. Its own name is `*`.
    pub fallback: Option<Database>,
    /// `[users]`, in the order of the file. No name twice.
    pub users: Vec<User>,
    /// `[peers]`, in the order of the file. No id twice.
    pub peers: Vec<Peer>,
    /// The lines of `auth_file`. No name twice. Empty where `auth_type` does without the file.
    pub logins: Vec<Login>,
    /// The rules of `auth_hba_file`; there with `auth_type = hba` alone.
    pub hba: Option<Hba>,
    /// What is odd and does not keep the file from being run: sorted by place.
    pub warnings: Vec<Problem>,
    /// Where each setting that the file gives stands.
    places: BTreeMap<&'static str, Place>,
}

/// Reads a `pgbouncer.ini`, the files that it includes, its `auth_file` and its `auth_hba_file`.
///
/// Relative paths are left to `files`; PgBouncer takes them from the working directory of the process.
///
/// # Errors
/// Everything for which PgBouncer refuses to start, and what it would only stumble over later (a port that is no
/// number, an `auth_type` that nobody could log in by): each with its file, line and column, sorted.
pub fn read(path: &Path, files: &dyn Files) -> Result<Pgbouncer, Problems> {
    let report = Report::default();
    let mut reader = Reader::new(&report, path);
    include::walk(path, files, &report, &mut |item| reader.take(item));
    let pgbouncer = reader.finish();
    pgbouncer.complete(path, files, report)
}

/// Reads a `pgbouncer.ini` from the disk, as what everything else runs by.
pub(crate) fn load(path: &Path) -> Result<Config, Problems> {
    read(path, &Disk)?.into_config(&Disk)
}

/// Whether a setting's value is to be found in the configuration that is made of the file.
pub(crate) fn is_held(setting: &str) -> bool {
    to_config::HELD.contains(&setting)
}

/// The rules that authentication goes by, if it goes by rules. Lines that are wrong are left out, as by PgBouncer.
fn hba(settings: &Settings, files: &dyn Files, report: &Report) -> Option<Hba> {
    let auth = &settings.auth;
    let path = auth.auth_hba_file.as_ref().filter(|_| auth.auth_type.method() == AuthMethod::Hba)?;
    let (hba, problems) = Hba::read_what_can_be(path, auth.auth_ident_file.as_deref(), files);
    for Problem { place, message } in problems {
        match place {
            Place::Spot { .. } => report.warn(&place, format!("{message}; the line is left out")),
            Place::File { .. } | Place::Environment { .. } => report.warn(&place, message),
        }
    }
    Some(hba)
}

impl Pgbouncer {
    /// Reads the files that the settings name, and checks the whole.
    fn complete(mut self, path: &Path, files: &dyn Files, report: Report) -> Result<Self, Problems> {
        self.logins = auth_file::read(&self, files, &report);
        self.hba = hba(&self.settings, files, &report);
        checks::check(&self, path, &report);
        unheeded::warn(&self, &report);
        let (problems, warnings) = report.into_parts();
        match Problems::collect(problems) {
            Some(problems) => Err(problems),
            None => Ok(Self { warnings, ..self }),
        }
    }

    /// What everything else runs by: [`Pgbouncer::to_config`], with the files that it leaves out.
    ///
    /// # Errors
    /// What is wrong with certificates and keys.
    pub fn into_config(self, files: &dyn Files) -> Result<Config, Problems> {
        let mut config = self.to_config();
        (config.server.tls_files, config.pool.server_tls_files) = self.tls_files(files)?;
        config.pgbouncer = Some(Arc::new(self));
        Ok(config)
    }

    /// As if the file said `name = value`, until it is read again: the console's SET. Files that settings name are
    /// read anew.
    ///
    /// # Errors
    /// In words: see [`Settings::set`], and everything that is wrong with the whole then.
    pub fn set(&self, name: &str, value: &str, files: &dyn Files) -> Result<Config, String> {
        let mut changed = self.clone();
        changed.settings.set(name, value).map_err(|e| e.to_string())?;
        let path = self.settings.listening.conffile.clone().unwrap_or_default();
        let changed = changed.complete(&path, files, Report::default()).map_err(|e| e.to_string())?;
        changed.into_config(files).map_err(|e| e.to_string())
    }

    /// Where a setting stands in the file; `None`: it has its default.
    pub fn place(&self, setting: &str) -> Option<&Place> {
        self.places.get(setting)
    }
}
