//! The part of a `pgbouncer.ini` that this crate's own model can hold.
//!
//! Each entry of `[databases]` becomes a database of one group with one shard, so that nothing is routed by a key.

use std::time::Duration;

use toml::de::DeTable;

use crate::context::{At, Context};
use crate::groups::default_name;
use crate::model;
use crate::model::{
    Cache, Config, Endpoint, Group, Listen, LogFormat, Pool, Routing, Server, Shard, ShardFunction, TlsMode,
    WorkerUse,
};
use crate::section::Section;
use crate::source::Document;
use crate::tls::TlsFiles;
use crate::units::seconds;
use crate::{cache, routing};

use super::database::Database;
use super::hosts::Host;
use super::values::{AuthType, SocketDir};
use super::{Pgbouncer, User};

/// Settings that [`Config`] holds, and with them what they stand for.
pub(super) const HELD: [&str; 41] = [
    "admin_users",
    "auth_file",
    "auth_hba_file",
    "auth_ident_file",
    "auth_query",
    "auth_type",
    "auth_user",
    "cancel_wait_timeout",
    "client_idle_timeout",
    "client_login_timeout",
    "client_tls_ca_file",
    "client_tls_cert_file",
    "client_tls_key_file",
    "client_tls_sslmode",
    "default_pool_size",
    "idle_transaction_timeout",
    "listen_addr",
    "listen_port",
    "max_client_conn",
    "max_db_connections",
    "max_prepared_statements",
    "max_user_connections",
    "min_pool_size",
    "pool_mode",
    "query_timeout",
    "query_wait_timeout",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "server_check_delay",
    "server_connect_timeout",
    "server_idle_timeout",
    "server_lifetime",
    "server_login_retry",
    "server_reset_query",
    "server_tls_ca_file",
    "server_tls_cert_file",
    "server_tls_key_file",
    "server_tls_sslmode",
    "stats_users",
    "transaction_timeout",
    "unix_socket_dir",
];

impl Pgbouncer {
    /// What this crate's own model can hold of the file. [`Pgbouncer::beyond_config`] names the rest.
    ///
    /// What PgBouncer has no setting for is as in a `shardway.toml` that says nothing of it, but for `http`, which is
    /// off: several processes of one machine would ask for the same port. Databases that no [`Endpoint`] can hold
    /// (several hosts, the abstract namespace) are left out rather than sent to a part of their servers. The files of
    /// certificates are named and not read: see [`Pgbouncer::tls_files`].
    pub fn to_config(&self) -> Config {
        let (routing, cache) = defaults();
        let databases = self.databases.iter().filter_map(|database| self.database(database)).collect();
        Config { server: self.server(), pool: self.pool(), routing, cache, users: self.users(), databases }
    }

    fn server(&self) -> Server {
        let (auth, tls) = (&self.settings.auth, &self.settings.tls);
        Server {
            listen: self.listen(),
            http: None,
            admin_users: auth.admin_users.iter().map(str::to_owned).collect(),
            stats_users: auth.stats_users.iter().map(str::to_owned).collect(),
            auth: auth.auth_type.method(),
            hba_file: auth.auth_hba_file.clone(),
            ident_file: auth.auth_ident_file.clone(),
            hba: self.hba.clone(),
            // Without its user the query is not run.
            auth_query: auth.auth_user.as_ref().map(|_| auth.auth_query.clone()),
            auth_user: auth.auth_user.clone(),
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
            shutdown_timeout: seconds(60),
            log_format: LogFormat::Text,
            audit_log: None,
        }
    }

    fn listen(&self) -> Vec<Listen> {
        let listening = &self.settings.listening;
        let tcp = |host: &str| Listen::Tcp { host: host.to_owned(), port: listening.listen_port };
        let mut listen: Vec<Listen> = listening.addresses().map(tcp).collect();
        if let SocketDir::Directory(path) = &listening.unix_socket_dir {
            listen.push(Listen::Unix(path.clone()));
        }
        listen
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
            server_lifetime: at_least_something(pooling.server_lifetime),
            server_idle_timeout: pooling.server_idle_timeout,
            server_connect_timeout: pooling.server_connect_timeout,
            server_login_retry: pooling.server_login_retry,
            server_reset_query: pooling.server_reset_query.clone(),
            server_check_delay: at_least_something(pooling.server_check_delay),
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
            user: database.user.clone(),
            password: self.password(database),
            groups: vec![group],
            tables: Vec::new(),
        })
    }

    /// The one server of a database; `None`: there are several, or it is where no endpoint can be.
    pub(super) fn endpoint(&self, database: &Database) -> Option<Endpoint> {
        let host = match (database.hosts.as_slice(), &self.settings.listening.unix_socket_dir) {
            ([Host::Name(name)], _) => name.clone(),
            ([Host::Directory(path)], _) | ([], SocketDir::Directory(path)) => path.display().to_string(),
            _ => return None,
        };
        Some(Endpoint {
            host,
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
    model::User {
        name: name.to_owned(),
        password,
        pool_mode: own.and_then(|own| own.pool_mode),
        pool_size: own.and_then(|own| own.pool_size).unwrap_or(0),
        max_connections: own.and_then(|own| own.max_user_connections).unwrap_or(0),
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
