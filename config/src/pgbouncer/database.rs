//! `[databases]`: what clients connect to, and where that is.

use std::time::Duration;

use crate::model::{PoolMode, Secret};
use crate::problems::Place;
use crate::words::Words;

use super::hosts::{Host, hosts};
use super::options::{Given, options};
use super::report::{Piece, Report};

/// The name that stands for every database without an entry.
pub(super) const FALLBACK: &str = "*";

/// The console's own name.
pub(super) const CONSOLE: &str = "pgbouncer";

/// PgBouncer's `load_balance_hosts`: which of several hosts a new server is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalanceHosts {
    /// The next one each time.
    #[default]
    RoundRobin,
    /// The same one until it fails.
    Disable,
}

impl Words for LoadBalanceHosts {
    const WORDS: &'static [(&'static str, Self)] =
        &[("round-robin", Self::RoundRobin), ("disable", Self::Disable)];
}

/// PgBouncer's `target_session_attrs`: which servers will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSession {
    /// Every one.
    #[default]
    Any,
    /// One that is no standby and whose transactions write by default.
    ReadWrite,
    /// Any other.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// One that is.
    Standby,
}

impl Words for TargetSession {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
    ];
}

/// One line of `[databases]`. `None`: what `[pgbouncer]` says counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// What clients connect to; `*`: any name that has no entry.
    pub name: String,
    /// Where the entry stands.
    pub place: Place,
    /// The server's database; `None`: it has the name that the client gave.
    pub dbname: Option<String>,
    /// Where the servers are. None: at the Unix socket in `unix_socket_dir`. Several are equals, not replicas.
    pub hosts: Vec<Host>,
    /// The servers' port. Default: 5432.
    pub port: u16,
    /// One server login for every client; `None`: the client's own.
    pub user: Option<String>,
    /// That login's password; `None`: the one that `auth_file` has for it.
    pub password: Option<Secret>,
    /// Overrides `auth_user`.
    pub auth_user: Option<String>,
    /// Overrides `auth_query`.
    pub auth_query: Option<String>,
    /// Overrides `auth_dbname`.
    pub auth_dbname: Option<String>,
    /// Overrides `default_pool_size`; 0 is a size too.
    pub pool_size: Option<usize>,
    /// Overrides `min_pool_size`.
    pub min_pool_size: Option<usize>,
    /// Overrides `reserve_pool_size` (`reserve_pool` is the same).
    pub reserve_pool_size: Option<usize>,
    /// Overrides `pool_mode`; a user's own counts more.
    pub pool_mode: Option<PoolMode>,
    /// Which of several hosts a new server is on. Default: round-robin.
    pub load_balance_hosts: LoadBalanceHosts,
    /// Which servers will do. Default: any. Came after 1.25.
    pub target_session_attrs: TargetSession,
    /// Overrides `max_db_connections`.
    pub max_db_connections: Option<usize>,
    /// Overrides `max_db_client_connections`.
    pub max_db_client_connections: Option<usize>,
    /// Overrides `server_lifetime`; whole seconds.
    pub server_lifetime: Option<Duration>,
    /// Overrides `query_wait_timeout`; whole seconds, 0: off. Came after 1.25.
    pub query_wait_timeout: Option<Duration>,
    /// `client_encoding` that new servers are asked for.
    pub client_encoding: Option<String>,
    /// `datestyle` that new servers are asked for.
    pub datestyle: Option<String>,
    /// `timezone` that new servers are asked for.
    pub timezone: Option<String>,
    /// `application_name` that new servers are given.
    pub application_name: Option<String>,
    /// Run on each new server before a client gets it; its errors are logged and no more.
    pub connect_query: Option<String>,
}

const KNOWN: [&str; 24] = [
    "dbname",
    "host",
    "port",
    "user",
    "password",
    "auth_user",
    "auth_query",
    "auth_dbname",
    "pool_size",
    "min_pool_size",
    "reserve_pool",
    "reserve_pool_size",
    "pool_mode",
    "load_balance_hosts",
    "target_session_attrs",
    "max_db_connections",
    "max_db_client_connections",
    "server_lifetime",
    "query_wait_timeout",
    "client_encoding",
    "datestyle",
    "timezone",
    "application_name",
    "connect_query",
];

/// Reads an entry. What is wrong with it is reported.
pub(super) fn read(name: &Piece, value: &Piece, report: &Report) -> Database {
    if name.text == CONSOLE {
        report.problem(&name.place, format!("the name \"{CONSOLE}\" is the console's own"));
    }
    let mut database = Database::new(name);
    for option in options(value, report) {
        if !(database.server(&option) || database.pool(&option) || database.session(&option)) {
            option.unknown("databases", &KNOWN);
        }
    }
    database
}

impl Database {
    fn new(name: &Piece) -> Self {
        Self {
            name: name.text.clone(),
            place: name.place.clone(),
            dbname: None,
            hosts: Vec::new(),
            port: 5432,
            user: None,
            password: None,
            auth_user: None,
            auth_query: None,
            auth_dbname: None,
            pool_size: None,
            min_pool_size: None,
            reserve_pool_size: None,
            pool_mode: None,
            load_balance_hosts: LoadBalanceHosts::default(),
            target_session_attrs: TargetSession::default(),
            max_db_connections: None,
            max_db_client_connections: None,
            server_lifetime: None,
            query_wait_timeout: None,
            client_encoding: None,
            datestyle: None,
            timezone: None,
            application_name: None,
            connect_query: None,
        }
    }

    /// Where the servers are, and who logs in. Whether the option is one of these.
    fn server(&mut self, option: &Given<'_>) -> bool {
        match option.key().as_str() {
            "dbname" => self.dbname = option.text(),
            "host" => self.hosts = option.parsed(hosts).unwrap_or_default(),
            "port" => self.port = option.port().unwrap_or(self.port),
            "user" => self.user = option.text(),
            "password" => self.password = option.secret(),
            "auth_user" => self.auth_user = option.text(),
            "auth_query" => self.auth_query = option.text(),
            "auth_dbname" => self.auth_dbname = option.text(),
            "load_balance_hosts" => self.load_balance_hosts = option.word().unwrap_or_default(),
            "target_session_attrs" => self.target_session_attrs = option.word().unwrap_or_default(),
            _ => return false,
        }
        true
    }

    /// How many and how long.
    fn pool(&mut self, option: &Given<'_>) -> bool {
        match option.key().as_str() {
            "pool_size" => self.pool_size = option.size(),
            "min_pool_size" => self.min_pool_size = option.size(),
            "reserve_pool" | "reserve_pool_size" => self.reserve_pool_size = option.size(),
            "pool_mode" => self.pool_mode = option.word(),
            "max_db_connections" => self.max_db_connections = option.limit(),
            "max_db_client_connections" => self.max_db_client_connections = option.limit(),
            "server_lifetime" => self.server_lifetime = option.timeout(),
            "query_wait_timeout" => self.query_wait_timeout = option.seconds(),
            _ => return false,
        }
        true
    }

    /// What a new server is told.
    fn session(&mut self, option: &Given<'_>) -> bool {
        match option.key().as_str() {
            "client_encoding" => self.client_encoding = option.text(),
            "datestyle" => self.datestyle = option.text(),
            "timezone" => self.timezone = option.text(),
            "application_name" => self.application_name = option.text(),
            "connect_query" => self.connect_query = option.text(),
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests;
