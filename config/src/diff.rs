//! What a reload changes, for the log and for deciding what has to be done.
//!
//! Each struct is taken apart by its fields' names, so a field that is added to the model and forgotten here
//! does not compile.

mod databases;
mod overrides;
mod pgbouncer;

use std::fmt;

use crate::model::{Cache, CacheRule, Config, Pool, Routing, Secret, Server, User};
use crate::show::Show;
use crate::units::show_size;

/// One difference between two configurations. Shown as `pool.default_pool_size: 20 -> 40`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changed: keys joined by dots, and names in the place of list positions
    /// (`databases.shop.groups.main.shards.2.primary`).
    pub path: String,
    /// How it changed.
    pub kind: ChangeKind,
}

/// How a value changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// To another value.
    Value {
        /// What it was.
        old: String,
        /// What it is.
        new: String,
    },
    /// To another value that is not shown.
    Secret,
    /// It was not there.
    Added,
    /// It is gone.
    Removed,
}

impl Change {
    /// Whether a running process cannot take this on: sockets and worker threads are made at start.
    pub fn needs_restart(&self) -> bool {
        const AT_START: [&str; 5] =
            ["server.listen", "server.http", "server.worker_threads", "server.sockets", "server.pid_file"];
        AT_START.contains(&self.path.as_str()) || pgbouncer::counts_at_start(&self.path)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ChangeKind::Value { old, new } => write!(f, "{}: {old} -> {new}", self.path),
            ChangeKind::Secret => write!(f, "{}: changed", self.path),
            ChangeKind::Added => write!(f, "{}: added", self.path),
            ChangeKind::Removed => write!(f, "{}: removed", self.path),
        }
    }
}

/// Everything that differs, in the order of the configuration file. Users, databases, groups, tables and
/// cache rules are matched by name; where the order of groups or keys has a meaning it is compared too.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let Config { server, pool, routing, cache, users, databases, fallback, pgbouncer } = old;
    let mut changes = Changes::default();
    diff_server(&mut changes, server, &new.server);
    diff_pool(&mut changes, pool, &new.pool);
    diff_routing(&mut changes, routing, &new.routing);
    diff_cache(&mut changes, cache, &new.cache);
    changes.named("users", users, &new.users, |user| user.name.clone(), diff_user);
    changes.named("databases", databases, &new.databases, |database| database.name.clone(), databases::diff);
    pgbouncer::diff_fallback(&mut changes, fallback.as_ref(), new.fallback.as_ref());
    pgbouncer::diff(&mut changes, pgbouncer.as_deref(), new.pgbouncer.as_deref());
    changes.0
}

/// The changes found so far.
#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn push(&mut self, path: String, kind: ChangeKind) {
        self.0.push(Change { path, kind });
    }

    fn value<T: Show + PartialEq>(&mut self, path: &str, key: &str, old: &T, new: &T) {
        if old != new {
            self.shown(path, key, old.show(), new.show());
        }
    }

    fn size(&mut self, path: &str, key: &str, old: u64, new: u64) {
        if old != new {
            self.shown(path, key, show_size(old), show_size(new));
        }
    }

    fn shown(&mut self, path: &str, key: &str, old: String, new: String) {
        self.push(format!("{path}.{key}"), ChangeKind::Value { old, new });
    }

    fn secret<T: PartialEq>(&mut self, path: &str, key: &str, old: &T, new: &T) {
        if old != new {
            self.push(format!("{path}.{key}"), ChangeKind::Secret);
        }
    }

    /// Compares what has the same name, and tells what came and went.
    fn named<T>(
        &mut self,
        path: &str,
        old: &[T],
        new: &[T],
        name: impl Fn(&T) -> String,
        mut both: impl FnMut(&mut Self, &str, &T, &T),
    ) {
        let find = |list: &[T], wanted: &str| list.iter().position(|item| name(item) == wanted);
        for item in old {
            let path = format!("{path}.{}", name(item));
            match find(new, &name(item)) {
                Some(index) => both(self, &path, item, &new[index]),
                None => self.push(path, ChangeKind::Removed),
            }
        }
        for item in new.iter().filter(|item| find(old, &name(item)).is_none()) {
            self.push(format!("{path}.{}", name(item)), ChangeKind::Added);
        }
    }
}

/// Compares the plain fields; the others are named so that none can be forgotten.
macro_rules! compare {
    ($changes:ident, $path:expr, $type:ident, $old:ident, $new:ident, [$($plain:ident),*], [$($other:ident),*]) => {
        let $type { $($plain,)* $($other: _,)* } = $old;
        $($changes.value($path, stringify!($plain), $plain, &$new.$plain);)*
    };
}
use compare;

fn diff_server(changes: &mut Changes, old: &Server, new: &Server) {
    compare!(
        changes,
        "server",
        Server,
        old,
        new,
        [
            listen,
            http,
            admin_users,
            stats_users,
            auth,
            hba_file,
            ident_file,
            tls,
            tls_cert,
            tls_key,
            tls_client_ca,
            worker_threads,
            worker_use,
            max_client_conn,
            client_login_timeout,
            shutdown_timeout,
            log_format,
            audit_log,
            pid_file
        ],
        [lookup, hba, tls_files, sockets]
    );
    databases::diff_lookup(changes, "server", &old.lookup, &new.lookup);
    changes.value("server", "sockets", &format!("{:?}", old.sockets), &format!("{:?}", new.sockets));
    // Rules are too much to show.
    changes.secret("server", "hba", &old.hba, &new.hba);
    changes.secret("server", "tls_files", &old.tls_files, &new.tls_files);
}

fn diff_pool(changes: &mut Changes, old: &Pool, new: &Pool) {
    compare!(
        changes,
        "pool",
        Pool,
        old,
        new,
        [
            mode,
            default_pool_size,
            min_pool_size,
            reserve_pool_size,
            reserve_pool_timeout,
            max_db_connections,
            max_user_connections,
            max_db_client_connections,
            max_user_client_connections,
            server_lifetime,
            server_idle_timeout,
            server_connect_timeout,
            server_login_retry,
            server_reset_query,
            server_check_delay,
            server_round_robin,
            server_check_query,
            query_timeout,
            query_wait_timeout,
            cancel_wait_timeout,
            client_idle_timeout,
            idle_transaction_timeout,
            transaction_timeout,
            max_prepared_statements,
            server_tls,
            server_tls_ca,
            server_tls_cert,
            server_tls_key
        ],
        [server_tls_files]
    );
    changes.secret("pool", "server_tls_files", &old.server_tls_files, &new.server_tls_files);
}

fn diff_routing(changes: &mut Changes, old: &Routing, new: &Routing) {
    compare!(
        changes,
        "routing",
        Routing,
        old,
        new,
        [
            two_phase_commit,
            scatter_parallelism,
            replica_reads,
            replica_max_lag,
            read_your_writes,
            health_check_interval,
            unlisted_tables
        ],
        [gather_max_bytes]
    );
    changes.size("routing", "gather_max_bytes", old.gather_max_bytes, new.gather_max_bytes);
}

fn diff_cache(changes: &mut Changes, old: &Cache, new: &Cache) {
    compare!(
        changes,
        "cache",
        Cache,
        old,
        new,
        [enabled, l1_max_entries, ttl, time_to_idle, change_stream],
        [l1_max_bytes, max_entry_bytes, redis_url, rules]
    );
    changes.size("cache", "l1_max_bytes", old.l1_max_bytes, new.l1_max_bytes);
    changes.size("cache", "max_entry_bytes", old.max_entry_bytes, new.max_entry_bytes);
    // The URL may hold a password.
    changes.secret("cache", "redis_url", &old.redis_url, &new.redis_url);
    changes.named("cache.rules", &old.rules, &new.rules, |rule| rule.table.show(), diff_rule);
}

fn diff_rule(changes: &mut Changes, path: &str, old: &CacheRule, new: &CacheRule) {
    compare!(changes, path, CacheRule, old, new, [ttl], [table]);
}

fn diff_user(changes: &mut Changes, path: &str, old: &User, new: &User) {
    compare!(changes, path, User, old, new, [], [name, password, limits]);
    changes.secret::<Option<Secret>>(path, "password", &old.password, &new.password);
    overrides::of_user(changes, path, &old.limits, &new.limits);
}

#[cfg(test)]
mod tests;
