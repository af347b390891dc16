//! Settings that the contract has and this version does not carry out: those that protect something are refused at
//! start, the others are named in a warning.

use shardway_config::{AuthMethod, ChangeStream, Config, PoolMode, TlsMode};

/// Refuses what must not be ignored. Errors: in words, all of them.
pub fn check(config: &Config) -> Result<(), String> {
    let mut problems = Vec::new();
    let mut refuse = |wrong: bool, what: &str| {
        if wrong {
            problems.push(format!("{what} is not supported yet"));
        }
    };
    let server = &config.server;
    refuse(server.auth == AuthMethod::Cert, "auth = \"cert\"");
    refuse(server.auth == AuthMethod::Hba, "auth = \"hba\"");
    refuse(server.auth_query.is_some(), "auth_query");
    refuse(server.tls != TlsMode::Disable, "tls towards clients");
    let required = matches!(config.pool.server_tls, TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull);
    refuse(required, "server_tls beyond \"prefer\"");
    refuse(server.audit_log.is_some(), "audit_log");
    refuse(config.pool.mode != PoolMode::Transaction, "a pool mode other than \"transaction\"");
    let other_mode = |user: &shardway_config::User| user.pool_mode.is_some_and(|m| m != PoolMode::Transaction);
    refuse(config.users.iter().any(other_mode), "a user's pool_mode other than \"transaction\"");
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Names what is set and has no effect.
pub fn warn(config: &Config) {
    let pool = &config.pool;
    let unused = [
        (pool.reserve_pool_size > 0, "pool.reserve_pool_size"),
        (pool.max_db_connections > 0, "pool.max_db_connections"),
        (pool.max_user_connections > 0, "pool.max_user_connections"),
        (!pool.transaction_timeout.is_zero(), "pool.transaction_timeout"),
        (config.routing.scatter_parallelism > 0, "routing.scatter_parallelism"),
        (config.cache.change_stream != ChangeStream::Off, "cache.change_stream"),
        (config.users.iter().any(|u| u.max_connections > 0), "users.max_connections"),
    ];
    for (_, name) in unused.iter().filter(|(set, _)| *set) {
        tracing::warn!("{name} is set, and has no effect in this version");
    }
}
