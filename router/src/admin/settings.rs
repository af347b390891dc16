//! Settings as SHOW CONFIG lists them and SET changes them: PgBouncer's names and units (seconds, bytes) where it has
//! the setting, the configuration file's section and key where it has not.

use shardway_config::{AuditLog, Config, Keepalive, Listen, PoolMode, Source, load};
use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

/// How a running process takes a change on.
#[derive(Clone, Copy)]
pub(super) enum Changeable {
    /// By SET, or by RELOAD.
    Set(fn(&mut Config, &str) -> Result<(), String>),
    /// By RELOAD alone.
    Reload,
    /// Not at all.
    No,
}

/// One setting.
pub(super) struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value as text.
    pub get: fn(&Config) -> String,
    /// Whether and how it changes.
    pub change: Changeable,
}

const fn read(name: &'static str, get: fn(&Config) -> String) -> Setting {
    Setting { name, get, change: Changeable::Reload }
}

const fn fixed(name: &'static str, get: fn(&Config) -> String) -> Setting {
    Setting { name, get, change: Changeable::No }
}

fn pool_mode(text: &str) -> Result<PoolMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "session" => Ok(PoolMode::Session),
        "transaction" => Ok(PoolMode::Transaction),
        "statement" => Ok(PoolMode::Statement),
        _ => Err("it is session, transaction or statement".to_owned()),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as the other readers of values")]
fn any_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

macro_rules! written {
    ($name:literal, $section:ident . $field:ident, $show:expr, $parse:expr) => {
        Setting {
            name: $name,
            get: |config| $show(&config.$section.$field),
            change: Changeable::Set(|config, text| {
                config.$section.$field = $parse(text)?;
                Ok(())
            }),
        }
    };
}

macro_rules! time {
    ($name:literal, $section:ident . $field:ident) => {
        written!($name, $section.$field, seconds, duration)
    };
}

macro_rules! count {
    ($name:literal, $section:ident . $field:ident) => {
        written!($name, $section.$field, text, number)
    };
}

macro_rules! switch {
    ($name:literal, $section:ident . $field:ident) => {
        written!($name, $section.$field, text, boolean)
    };
}

/// All of them, by name.
pub(super) const SETTINGS: &[Setting] = &[
    read("admin_users", |c| c.server.admin_users.join(", ")),
    read("auth_dbname", |c| c.server.lookup.auth_dbname.clone().unwrap_or_default()),
    read("auth_hba_file", |c| path(c.server.hba_file.as_deref())),
    read("auth_ident_file", |c| path(c.server.ident_file.as_deref())),
    read("auth_query", |c| c.server.lookup.auth_query.clone().unwrap_or_default()),
    read("auth_type", |c| c.server.auth.to_string()),
    read("auth_user", |c| c.server.lookup.auth_user.clone().unwrap_or_default()),
    read("cache.change_stream", |c| c.cache.change_stream.to_string()),
    read("cache.enabled", |c| c.cache.enabled.to_string()),
    read("cache.l1_max_bytes", |c| c.cache.l1_max_bytes.to_string()),
    read("cache.l1_max_entries", |c| c.cache.l1_max_entries.to_string()),
    read("cache.max_entry_bytes", |c| c.cache.max_entry_bytes.to_string()),
    read("cache.time_to_idle", |c| seconds(&c.cache.time_to_idle)),
    read("cache.ttl", |c| seconds(&c.cache.ttl)),
    time!("cancel_wait_timeout", pool.cancel_wait_timeout),
    time!("client_idle_timeout", pool.client_idle_timeout),
    time!("client_login_timeout", server.client_login_timeout),
    read("client_tls_ca_file", |c| path(c.server.tls_client_ca.as_deref())),
    read("client_tls_cert_file", |c| path(c.server.tls_cert.as_deref())),
    read("client_tls_key_file", |c| path(c.server.tls_key.as_deref())),
    read("client_tls_sslmode", |c| c.server.tls.to_string()),
    count!("default_pool_size", pool.default_pool_size),
    time!("idle_transaction_timeout", pool.idle_transaction_timeout),
    fixed("listen_addr", listen_addr),
    fixed("listen_backlog", |c| c.server.sockets.listen_backlog.to_string()),
    fixed("listen_port", listen_port),
    count!("max_client_conn", server.max_client_conn),
    count!("max_db_client_connections", pool.max_db_client_connections),
    count!("max_db_connections", pool.max_db_connections),
    count!("max_prepared_statements", pool.max_prepared_statements),
    count!("max_user_client_connections", pool.max_user_client_connections),
    count!("max_user_connections", pool.max_user_connections),
    count!("min_pool_size", pool.min_pool_size),
    fixed("pidfile", |c| path(c.server.pid_file.as_deref())),
    written!("pool_mode", pool.mode, ToString::to_string, pool_mode),
    time!("query_timeout", pool.query_timeout),
    time!("query_wait_timeout", pool.query_wait_timeout),
    count!("reserve_pool_size", pool.reserve_pool_size),
    time!("reserve_pool_timeout", pool.reserve_pool_timeout),
    read("routing.gather_max_bytes", |c| c.routing.gather_max_bytes.to_string()),
    time!("routing.health_check_interval", routing.health_check_interval),
    read("routing.read_your_writes", |c| c.routing.read_your_writes.to_string()),
    time!("routing.replica_max_lag", routing.replica_max_lag),
    switch!("routing.replica_reads", routing.replica_reads),
    count!("routing.scatter_parallelism", routing.scatter_parallelism),
    switch!("routing.two_phase_commit", routing.two_phase_commit),
    read("routing.unlisted_tables", |c| c.routing.unlisted_tables.to_string()),
    read("server.audit_log", audit_log),
    fixed("server.http", |c| c.server.http.clone().unwrap_or_default()),
    read("server.log_format", |c| c.server.log_format.to_string()),
    time!("server.shutdown_timeout", server.shutdown_timeout),
    fixed("server.worker_threads", |c| c.server.worker_threads.to_string()),
    fixed("server.worker_use", |c| c.server.worker_use.to_string()),
    time!("server_check_delay", pool.server_check_delay),
    time!("server_connect_timeout", pool.server_connect_timeout),
    time!("server_idle_timeout", pool.server_idle_timeout),
    time!("server_lifetime", pool.server_lifetime),
    time!("server_login_retry", pool.server_login_retry),
    written!("server_reset_query", pool.server_reset_query, ToString::to_string, any_text),
    read("server_tls_ca_file", |c| path(c.pool.server_tls_ca.as_deref())),
    read("server_tls_cert_file", |c| path(c.pool.server_tls_cert.as_deref())),
    read("server_tls_key_file", |c| path(c.pool.server_tls_key.as_deref())),
    read("server_tls_sslmode", |c| c.pool.server_tls.to_string()),
    fixed("so_reuseport", |c| i32::from(c.server.sockets.so_reuseport).to_string()),
    fixed("stats_period", |_| seconds(&super::desk::STATS_PERIOD)),
    read("stats_users", |c| c.server.stats_users.join(", ")),
    fixed("suspend_timeout", |_| seconds(&crate::ini::SUSPEND_TIMEOUT)),
    fixed("tcp_defer_accept", |c| i32::from(c.server.sockets.tcp_defer_accept).to_string()),
    fixed("tcp_keepalive", |c| i32::from(c.server.sockets.tcp.keepalive.is_some()).to_string()),
    fixed("tcp_keepcnt", |c| keepalive(c).count.to_string()),
    fixed("tcp_keepidle", |c| seconds(&keepalive(c).idle)),
    fixed("tcp_keepintvl", |c| seconds(&keepalive(c).interval)),
    fixed("tcp_socket_buffer", |c| c.server.sockets.tcp.socket_buffer.to_string()),
    // PgBouncer's unit is the system's.
    fixed("tcp_user_timeout", |c| c.server.sockets.tcp.user_timeout.as_millis().to_string()),
    time!("transaction_timeout", pool.transaction_timeout),
    fixed("unix_socket_dir", unix_socket_dir),
    fixed("unix_socket_group", |c| c.server.sockets.unix_socket_group.clone().unwrap_or_default()),
    fixed("unix_socket_mode", |c| format!("0{:o}", c.server.sockets.unix_socket_mode)),
];

/// The setting of a name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// What a file says that says nothing; `None` never happens.
pub(super) fn defaults() -> Option<Config> {
    let env = HashMap::from([("DATABASE_URL".to_owned(), "postgres://u:p@localhost/d".to_owned())]);
    load(&Source::Environment, &env).ok()
}

fn text(value: &impl Display) -> String {
    value.to_string()
}

/// Whole seconds where they are whole, as PgBouncer prints them.
fn seconds(duration: &Duration) -> String {
    duration.as_secs_f64().to_string()
}

fn path(path: Option<&std::path::Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

fn keepalive(config: &Config) -> Keepalive {
    config.server.sockets.tcp.keepalive.unwrap_or_default()
}

fn audit_log(config: &Config) -> String {
    match &config.server.audit_log {
        None => String::new(),
        Some(AuditLog::Stderr) => "stderr".to_owned(),
        Some(AuditLog::File(file)) => file.display().to_string(),
    }
}

fn listen_addr(config: &Config) -> String {
    let host = |listen: &Listen| match listen {
        Listen::Tcp { host, .. } => Some(host.clone()),
        Listen::Unix(_) => None,
    };
    config.server.listen.iter().filter_map(host).collect::<Vec<_>>().join(",")
}

fn listen_port(config: &Config) -> String {
    let port = |listen: &Listen| match listen {
        Listen::Tcp { port, .. } => Some(port.to_string()),
        Listen::Unix(_) => None,
    };
    let mut ports: Vec<_> = config.server.listen.iter().filter_map(port).collect();
    ports.dedup();
    ports.join(",")
}

fn unix_socket_dir(config: &Config) -> String {
    let directory = |listen: &Listen| match listen {
        Listen::Unix(directory) => Some(directory.display().to_string()),
        Listen::Tcp { .. } => None,
    };
    config.server.listen.iter().filter_map(directory).collect::<Vec<_>>().join(",")
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|n| i32::try_from(*n).is_ok());
    number.ok_or_else(|| format!("expected a whole number from 0 to {}, found {text}", i32::MAX))
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(true),
        "0" | "false" | "off" | "no" => Ok(false),
        _ => Err(format!("expected true or false, found {text}")),
    }
}

/// A number of seconds, or a number with a unit as the configuration file has them.
fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: u64 = 36_500 * 24 * 3_600_000;
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let scale = match unit {
        "ms" => 1.0,
        "" | "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => f64::NAN,
    };
    let millis = text[..text.len() - unit.len()].parse::<f64>().map_or(f64::NAN, |n| (n * scale).round());
    match millis {
        millis if (0.0..=LONGEST as f64).contains(&millis) => Ok(Duration::from_millis(millis as u64)),
        _ => Err(format!("expected a duration such as 15, 250ms or 10m, found {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_listed_by_name_and_have_defaults() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        let defaults = defaults().expect("the environment alone is valid");
        let default = |name: &str| (find(name).unwrap().get)(&defaults);
        assert_eq!(default("max_client_conn"), "10000");
        assert_eq!(default("server_lifetime"), "3600");
        assert_eq!(default("auth_type"), "scram-sha-256");
        assert_eq!(default("listen_port"), "6432");
        assert_eq!(default("max_user_connections"), "0");
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        for (text, millis) in [("15", 15_000), ("0.5", 500), ("250ms", 250), ("10m", 600_000), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1x", "1..5", "99999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(seconds(&Duration::from_millis(250)), "0.25");
        assert_eq!(seconds(&Duration::from_secs(15)), "15");
    }
}
