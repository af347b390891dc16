//! `[pgbouncer]`: every setting of PgBouncer 1.25 and of its next release, typed, by chapter.
//!
//! A setting is written down once, in its chapter, with its type, its default and whether it can be changed at run
//! time; reading, SHOW CONFIG and SET follow from that.

mod auth;
mod chapter;
mod listening;
mod logging;
mod network;
mod pooling;
mod serving;
mod tls;

use crate::suggest::nearest;
use crate::value::quoted;
use chapter::{Change, Chapter, Entry};

pub use auth::Auth;
pub use listening::Listening;
pub use logging::Logging;
pub use network::Network;
pub use pooling::Pooling;
pub use serving::Serving;
pub use tls::Tls;

/// What `[pgbouncer]` says, defaults filled in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where clients find the process.
    pub listening: Listening,
    /// Who may log in, and how.
    pub auth: Auth,
    /// Server connections: how many, how long, how they are kept in order.
    pub pooling: Pooling,
    /// What clients may do, and for how long.
    pub serving: Serving,
    /// TLS on both sides.
    pub tls: Tls,
    /// Logs and statistics.
    pub logging: Logging,
    /// Sockets and names.
    pub network: Network,
}

/// A row of SHOW CONFIG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The setting's name.
    pub key: &'static str,
    /// What it is; `None` (NULL) for what has no default and is not set.
    pub value: Option<String>,
    /// What it would be if nobody had set it; `None` (NULL) for what has no default.
    pub default: Option<String>,
    /// Whether SET and RELOAD can change it; if not, it counts at start alone.
    pub changeable: bool,
}

/// Settings for which PgBouncer has no default, not even an empty one. SHOW CONFIG has NULL there, and a second
/// `[pgbouncer]` leaves them alone.
pub(super) const WITHOUT_DEFAULT: [&str; 10] = [
    "auth_dbname",
    "auth_file",
    "auth_ident_file",
    "auth_ldap_options",
    "auth_user",
    "client_tls13_ciphers",
    "conffile",
    "server_tls13_ciphers",
    "user",
    "verbose",
];

/// Why a setting cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is none of this name; the nearest that there is.
    #[error("unknown setting {}{}", quoted(.name), hint(*.near))]
    Unknown {
        /// As it was given.
        name: String,
        /// The nearest name, if any is near.
        near: Option<&'static str>,
    },
    /// The value is none for this setting.
    #[error("{0}")]
    Value(String),
    /// It counts at start alone. PgBouncer's console says nothing of this and leaves the setting as it is.
    #[error("{0} can be changed in the file alone, and counts from the next start on")]
    AtStart(&'static str),
}

fn hint(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

impl Settings {
    /// The rows of SHOW CONFIG, by name.
    pub fn rows(&self) -> Vec<Row> {
        let defaults = Settings::default();
        let pairs = self.chapters().into_iter().zip(defaults.chapters());
        let mut rows: Vec<Row> = pairs.flat_map(|(chapter, default)| chapter.rows(default)).collect();
        rows.sort_by_key(|row| row.key);
        rows
    }

    /// One row of SHOW CONFIG; `None`: there is no such setting.
    pub fn row(&self, name: &str) -> Option<Row> {
        self.rows().into_iter().find(|row| row.key == name)
    }

    /// The console's `SET name = value`.
    ///
    /// # Errors
    /// The name is unknown, the value is none for it, or it cannot be changed at run time. Nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SetError> {
        match self.entry(name)? {
            Entry { name, change: Change::AtStart } => Err(SetError::AtStart(name)),
            Entry { .. } => self.put(name, value).map(drop),
        }
    }

    /// Sets whatever there is, as the file may; gives the name back.
    pub(super) fn put(&mut self, name: &str, value: &str) -> Result<&'static str, SetError> {
        let known = self.entry(name)?.name;
        let set = self.chapters_mut().into_iter().find_map(|chapter| chapter.set(known, value));
        set.unwrap_or(Ok(())).map(|()| known).map_err(SetError::Value)
    }

    /// Every setting's name, by chapter.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.chapters().into_iter().flat_map(|chapter| chapter.entries()).map(|entry| entry.name).collect()
    }

    fn entry(&self, name: &str) -> Result<Entry, SetError> {
        let mut entries = self.chapters().into_iter().flat_map(|chapter| chapter.entries());
        entries
            .find(|entry| entry.name == name)
            .copied()
            .ok_or_else(|| SetError::Unknown { name: name.to_owned(), near: nearest(name, &self.names()) })
    }

    fn chapters(&self) -> [&dyn Chapter; 7] {
        let Self { listening, auth, pooling, serving, tls, logging, network } = self;
        [listening, auth, pooling, serving, tls, logging, network]
    }

    fn chapters_mut(&mut self) -> [&mut dyn Chapter; 7] {
        let Self { listening, auth, pooling, serving, tls, logging, network } = self;
        [listening, auth, pooling, serving, tls, logging, network]
    }
}

#[cfg(test)]
mod tests;
