//! The part of a `pgbouncer.ini` that this crate's own model can hold.
//!
//! Each entry of `[databases]` becomes a database of one group with one shard, so that nothing is routed by a key.

use std::time::Duration;

use toml::de::DeTable;

use crate::context::{At, Context};
use crate::groups::default_name;
use crate::model;
use crate::model::{
    AuthLookup, Cache, Config, Endpoint, Fallback, Group, Listen, LogFormat, Origin, Pool, Routing, Server,
    Shard, ShardFunction, TlsMode, WorkerUse,
};
use crate::overrides::{DatabaseLimits, UserLimits};
use crate::section::Section;
use crate::sockets::{Keepalive, Sockets, Tcp};
use crate::source::Document;
use crate::tls::TlsFiles;
use crate::{cache, routing};

use super::database::{Database, LoadBalanceHosts};
use super::values::{AuthType, CheckQuery, SocketDir};
use super::{Pgbouncer, User};

/// Settings that [`Config`] holds, and with them what they stand for.
pub(super) const HELD: [&str; 61] = [
    "admin_users",
    "auth_dbname",
    "auth_file",
    "auth_hba_file",
    "auth_ident_file",
    "auth_query",
    "auth_type",
    "auth_user",
    "autodb_idle_timeout",
    "cancel_wait_timeout",
    "client_idle_timeout",
    "client_login_timeout",
    "client_tls_ca_file",
    "client_tls_cert_file",
    "client_tls_key_file",
    "client_tls_protocols",
    "client_tls_sslmode",
    "default_pool_size",
    "idle_transaction_timeout",
    "listen_addr",
    "listen_backlog",
    "listen_port",
    "max_client_conn",
    "max_db_client_connections",
    "max_db_connections",
    "max_prepared_statements",
    "max_user_client_connections",
    "max_user_connections",
    "min_pool_size",
    "pidfile",
    "pool_mode",
    "query_timeout",
    "query_wait_timeout",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "server_check_delay",
    "server_check_query",
    "server_connect_timeout",
    "server_idle_timeout",
    "server_lifetime",
    "server_login_retry",
    "server_reset_query",
    "server_round_robin",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "server_tls_protocols",
    "server_tls_sslmode",
    "so_reuseport",
    "stats_users",
    "tcp_defer_accept",
    "tcp_keepalive",
    "tcp_keepcnt",
    "tcp_keepidle",
    "tcp_keepintvl",
    "tcp_socket_buffer",
    "tcp_user_timeout",
    "transaction_timeout",
    "unix_socket_dir",
    "unix_socket_group",
    "unix_socket_mode",
];

/// Settings that are carried out as the file has them, where a configuration comes from one.
pub(super) const CARRIED: [&str; 24] = [
    "application_name_add_host",
    "conffile",
    "disable_pqexec",
    "ignore_startup_parameters",
    "log_connections",
    "log_disconnections",
    "log_pooler_errors",
    "log_stats",
    "logfile",
    "login_notify_message",
    "max_packet_size",
    "pool_idle_timeout",
    "query_wait_notify",
    "scram_iterations",
    "server_fast_close",
    "server_reset_query_always",
    "stats_period",
    "suspend_timeout",
    "syslog",
    "syslog_facility",
    "syslog_ident",
    "track_extra_parameters",
    "user",
    "verbose",
];

impl Pgbouncer {
    /// What this crate's own model can hold of the file. [`Pgbouncer::beyond_config`] names the rest.
    ///
    /// What PgBouncer has no setting for is as in a `shardway.toml` that says nothing of it, but for `http`, which is
    /// off: several processes of one machine would ask for the same port. Databases whose servers are nowhere are left
    /// out. The files of
    /// certificates are named and not read: see [`Pgbouncer::tls_files`].
    pub fn to_config(&self) -> Config {
        let (routing, cache) = defaults();
        let databases = self.databases.iter().filter_map(|database| self.database(database)).collect();
        Config {
            server: self.server(),
            pool: self.pool(),
            routing,
            cache,
            users: self.users(),
            databases,
            fallback: self.fallback(),
            pgbouncer: None,
        }
    }

    fn fallback(&self) -> Option<Fallback> {
        let entry = self.fallback.as_ref()?;
        let idle_timeout = self.settings.pooling.autodb_idle_timeout;
        Some(Fallback::new(self.database(entry)?, entry.dbname.is_some(), idle_timeout))
    }

    fn server(&self) -> Server {
        let (auth, tls) = (&self.settings.auth, &self.settings.tls);
        Server {
            listen: self.listen(),
            sockets: self.sockets(),
            pid_file: self.settings.listening.pidfile.clone(),
            http: None,
            admin_users: auth.admin_users.iter().map(str::to_owned).collect(),
            stats_users: auth.stats_users.iter().map(str::to_owned).collect(),
            auth: auth.auth_type.method(),
            hba_file: auth.auth_hba_file.clone(),
            ident_file: auth.auth_ident_file.clone(),
            hba: self.hba.clone(),
            // Without its user the query is not run.
            lookup: AuthLookup {
                auth_query: auth.auth_user.as_ref().map(|_| auth.auth_query.clone()),
                auth_user: auth.auth_user.clone(),
                auth_dbname: auth.auth_dbname.clone(),
            },
            tls: if tls.client_tls_sslmode == TlsMode::Prefer {
                TlsMode::Allow
            } else {
                tls.client_tls_sslmode
            },
            tls_cert: tls.client_tls_cert_file.clone(),
            tls_key: tls.client_tls_key_file.clone(),
            tls_client_ca: tls.client_tls_ca_file.clone(),
            tls_files: TlsFiles::default(),
            worker_threads: 0,
            worker_use: WorkerUse::Auto,
            max_client_conn: self.settings.pooling.max_client_conn,
            client_login_timeout: self.settings.serving.client_login_timeout,
            // It waits for as long as it takes.
            shutdown_timeout: Duration::ZERO,
            log_format: LogFormat::Text,
            audit_log: None,
        }
    }

    fn listen(&self) -> Vec<Listen> {
        let listening = &self.settings.listening;
        let tcp = |host: &str| Listen::Tcp { host: host.to_owned(), port: listening.listen_port };
        let mut listen: Vec<Listen> = listening.addresses().map(tcp).collect();
        match &listening.unix_socket_dir {
            SocketDir::Off => {}
            SocketDir::Directory(path) => listen.push(Listen::Unix(path.clone())),
            SocketDir::Abstract(name) => listen.push(Listen::Unix(format!("@{name}").into())),
        }
        listen
    }

    fn sockets(&self) -> Sockets {
        let (listening, network) = (&self.settings.listening, &self.settings.network);
        let whole_seconds = |count: usize| Duration::from_secs(count as u64);
        let keepalive = Keepalive {
            idle: whole_seconds(network.tcp_keepidle),
            interval: whole_seconds(network.tcp_keepintvl),
            count: u32::try_from(network.tcp_keepcnt).unwrap_or(u32::MAX),
        };
        Sockets {
            so_reuseport: listening.so_reuseport,
            listen_backlog: listening.listen_backlog,
            unix_socket_port: Some(listening.listen_port),
            unix_socket_mode: listening.unix_socket_mode.0,
            unix_socket_group: listening.unix_socket_group.clone().filter(|group| !group.is_empty()),
            tcp: Tcp {
                keepalive: network.tcp_keepalive.then_some(keepalive),
                user_timeout: Duration::from_millis(network.tcp_user_timeout as u64),
                socket_buffer: network.tcp_socket_buffer,
            },
            tcp_defer_accept: network.tcp_defer_accept > 0,
        }
    }

    fn pool(&self) -> Pool {
        let (pooling, serving, tls) = (&self.settings.pooling, &self.settings.serving, &self.settings.tls);
        Pool {
            mode: pooling.pool_mode,
            default_pool_size: pooling.default_pool_size,
            min_pool_size: pooling.min_pool_size,
            reserve_pool_size: pooling.reserve_pool_size,
            reserve_pool_timeout: pooling.reserve_pool_timeout,
            max_db_connections: pooling.max_db_connections,
            max_user_connections: pooling.max_user_connections,
            max_db_client_connections: pooling.max_db_client_connections,
            max_user_client_connections: pooling.max_user_client_connections,
            server_lifetime: at_least_something(pooling.server_lifetime),
            server_idle_timeout: pooling.server_idle_timeout,
            server_connect_timeout: pooling.server_connect_timeout,
            server_login_retry: pooling.server_login_retry,
            server_reset_query: pooling.server_reset_query.clone(),
            server_round_robin: pooling.server_round_robin,
            server_check_delay: match pooling.server_check_query {
                CheckQuery::Off => Duration::ZERO,
                CheckQuery::Empty | CheckQuery::Sql(_) => at_least_something(pooling.server_check_delay),
            },
            server_check_query: match &pooling.server_check_query {
                CheckQuery::Off | CheckQuery::Empty => String::new(),
                CheckQuery::Sql(query) => query.clone(),
            },
            query_timeout: serving.query_timeout,
            query_wait_timeout: serving.query_wait_timeout,
            cancel_wait_timeout: serving.cancel_wait_timeout,
            client_idle_timeout: serving.client_idle_timeout,
            idle_transaction_timeout: serving.idle_transaction_timeout,
            transaction_timeout: serving.transaction_timeout,
            max_prepared_statements: pooling.max_prepared_statements,
            server_tls: tls.server_tls_sslmode,
            server_tls_ca: tls.server_tls_ca_file.clone(),
            server_tls_cert: tls.server_tls_cert_file.clone(),
            server_tls_key: tls.server_tls_key_file.clone(),
            server_tls_files: TlsFiles::default(),
        }
    }

    /// The users of `auth_file`, and those of `[users]` that it does not have: nobody can log in as these by a
    /// password. None under `auth_type = any`, since then any name will do.
    fn users(&self) -> Vec<model::User> {
        if self.settings.auth.auth_type == AuthType::Any {
            return Vec::new();
        }
        let own = |name: &str| self.users.iter().find(|user| user.name == name);
        let listed =
            self.logins.iter().map(|login| user(&login.name, login.secret.clone(), own(&login.name)));
        let known = |name: &str| self.logins.iter().any(|login| login.name == name);
        let others = self.users.iter().filter(|other| !known(&other.name));
        listed.chain(others.map(|other| user(&other.name, None, Some(other)))).collect()
    }

    fn database(&self, database: &Database) -> Option<model::Database> {
        let shard = Shard { primary: self.endpoint(database)?, replicas: Vec::new() };
        let group = Group {
            name: default_name(),
            function: ShardFunction::Fnv1a,
            keys: Vec::new(),
            shards: vec![shard],
        };
        Some(model::Database {
            name: database.name.clone(),
            origin: Origin::Pgbouncer,
            parameters: parameters(database),
            user: database.user.clone(),
            password: self.password(database),
            lookup: self.lookup(database),
            limits: database_limits(database),
            groups: vec![group],
            tables: Vec::new(),
        })
    }

    /// An entry's own `auth_user` has `auth_query` run, where there is none for all.
    fn lookup(&self, database: &Database) -> AuthLookup {
        let default = || database.auth_user.as_ref().map(|_| self.settings.auth.auth_query.clone());
        AuthLookup {
            auth_query: database.auth_query.clone().or_else(default),
            auth_user: database.auth_user.clone(),
            auth_dbname: database.auth_dbname.clone(),
        }
    }

    /// Where a database's servers are; `None`: nowhere, as there is no Unix socket either.
    pub(super) fn endpoint(&self, database: &Database) -> Option<Endpoint> {
        let mut hosts: Vec<String> = database.hosts.iter().map(ToString::to_string).collect();
        if hosts.is_empty() {
            hosts.push(match &self.settings.listening.unix_socket_dir {
                SocketDir::Off => return None,
                SocketDir::Directory(path) => path.display().to_string(),
                SocketDir::Abstract(name) => format!("@{name}"),
            });
        }
        let host = hosts.remove(0);
        Some(Endpoint {
            host,
            balances: database.load_balance_hosts == LoadBalanceHosts::RoundRobin && !hosts.is_empty(),
            others: hosts,
            target: database.target_session_attrs,
            port: database.port,
            dbname: database.dbname.clone().unwrap_or_else(|| database.name.clone()),
            user: None,
            password: None,
            sslmode: None,
        })
    }

    /// The password of a database's own login: its own, or what `auth_file` has for that user in plain text.
    pub(super) fn password(&self, database: &Database) -> Option<model::Secret> {
        let of = |user: &String| self.logins.iter().find(|login| login.name == *user)?.password().cloned();
        database.password.clone().or_else(|| database.user.as_ref().and_then(of))
    }
}

/// PgBouncer's 0 is the shortest time here, and ours turns the setting off.
fn at_least_something(time: Duration) -> Duration {
    time.max(Duration::from_micros(1))
}

fn user(name: &str, password: Option<model::Secret>, own: Option<&User>) -> model::User {
    model::User { name: name.to_owned(), password, limits: own.map(user_limits).unwrap_or_default() }
}

fn user_limits(own: &User) -> UserLimits {
    UserLimits {
        pool_mode: own.pool_mode,
        pool_size: own.pool_size,
        reserve_pool_size: own.reserve_pool_size,
        max_connections: own.max_user_connections,
        max_client_connections: own.max_user_client_connections,
        query_timeout: own.query_timeout,
        query_wait_timeout: own.query_wait_timeout,
        transaction_timeout: own.transaction_timeout,
        idle_transaction_timeout: own.idle_transaction_timeout,
        client_idle_timeout: own.client_idle_timeout,
    }
}

/// What servers are asked for by name where a client does not.
fn parameters(database: &Database) -> Vec<(String, String)> {
    let named = [
        ("client_encoding", &database.client_encoding),
        ("DateStyle", &database.datestyle),
        ("TimeZone", &database.timezone),
        ("application_name", &database.application_name),
    ];
    named.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value).clone()?))).collect()
}

fn database_limits(own: &Database) -> DatabaseLimits {
    DatabaseLimits {
        pool_mode: own.pool_mode,
        pool_size: own.pool_size,
        min_pool_size: own.min_pool_size,
        reserve_pool_size: own.reserve_pool_size,
        max_connections: own.max_db_connections,
        max_client_connections: own.max_db_client_connections,
        server_lifetime: own.server_lifetime,
        query_wait_timeout: own.query_wait_timeout,
        connect_query: own.connect_query.clone(),
    }
}

/// What a `shardway.toml` has that says nothing.
fn defaults() -> (Routing, Cache) {
    let document = Document { name: String::new(), text: String::new() };
    let nothing = std::collections::HashMap::<String, String>::new();
    let context = Context::new(&document, &nothing);
    let table = DeTable::new();
    let mut root = Section::root(&context, &table, At::Offset(0));
    (routing::read(root.table("routing")), cache::read(root.table("cache")))
}

#[cfg(test)]
mod tests;
