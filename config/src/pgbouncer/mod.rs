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

use crate::hba::Hba;
use crate::model::AuthMethod;
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
    let mut pgbouncer = reader.finish();
    pgbouncer.logins = auth_file::read(&pgbouncer, files, &report);
    pgbouncer.hba = hba(&pgbouncer.settings, files, &report);
    checks::check(&pgbouncer, path, &report);
    unheeded::warn(&pgbouncer, &report);
    let (problems, warnings) = report.into_parts();
    match Problems::collect(problems) {
        Some(problems) => Err(problems),
        None => Ok(Pgbouncer { warnings, ..pgbouncer }),
    }
}

/// The rules that authentication goes by, if it goes by rules.
fn hba(settings: &Settings, files: &dyn Files, report: &Report) -> Option<Hba> {
    let auth = &settings.auth;
    let path = auth.auth_hba_file.as_ref().filter(|_| auth.auth_type.method() == AuthMethod::Hba)?;
    let read = Hba::read(path, auth.auth_ident_file.as_deref(), files);
    read.map_err(|problems| report.adopt(problems)).ok()
}

impl Pgbouncer {
    /// Where a setting stands in the file; `None`: it has its default.
    pub fn place(&self, setting: &str) -> Option<&Place> {
        self.places.get(setting)
    }
}
