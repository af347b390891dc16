//! Settings that the contract has and this version does not carry out: `serve` refuses those that protect something,
//! the others are named in a warning. To `check` they are valid, and worth a word.

use shardway_config::{ChangeStream, Config, PoolMode, Server, TlsMode, User};
use shardway_pool::tls::Connector;

/// What must not be ignored, and is not carried out: in words, one for each setting.
pub fn refused(config: &Config) -> Vec<String> {
    let server = &config.server;
    let other_mode = |user: &User| user.pool_mode.is_some_and(|m| m != PoolMode::Transaction);
    let settings = [
        (server.auth_query.is_some(), "auth_query"),
        (server.audit_log.is_some(), "audit_log"),
        (config.pool.mode != PoolMode::Transaction, "a pool mode other than \"transaction\""),
        (config.users.iter().any(other_mode), "a user's pool_mode other than \"transaction\""),
    ];
    let set = settings.into_iter().filter(|(set, _)| *set);
    set.map(|(_, what)| format!("{what} is not supported yet")).collect()
}

/// Whether the certificates and keys that were read fit together. Errors: the first that does not, with the place that
/// names its file.
pub fn certificates(config: &Config) -> Result<(), String> {
    crate::proxy::acceptor(config)?;
    Connector::new(&config.pool.server_tls_files).map(drop).map_err(|e| e.to_string())
}

/// Rules that no connection can match.
fn has_tls_rules(server: &Server) -> bool {
    server.tls == TlsMode::Disable
        && server.hba.iter().flat_map(|hba| hba.rules()).any(|rule| rule.needs_tls())
}

/// What is set and has no effect: in words, one for each setting.
pub fn ignored(config: &Config) -> Vec<String> {
    let pool = &config.pool;
    let settings = [
        (pool.reserve_pool_size > 0, "pool.reserve_pool_size"),
        (pool.max_db_connections > 0, "pool.max_db_connections"),
        (pool.max_user_connections > 0, "pool.max_user_connections"),
        (!pool.transaction_timeout.is_zero(), "pool.transaction_timeout"),
        (config.routing.scatter_parallelism > 0, "routing.scatter_parallelism"),
        (config.cache.change_stream != ChangeStream::Off, "cache.change_stream"),
        (config.users.iter().any(|u| u.max_connections > 0), "users.max_connections"),
    ];
    let set = settings.into_iter().filter(|(set, _)| *set);
    let set = set.map(|(_, name)| format!("{name} is set, and has no effect in this version"));
    let without_tls = "hba_file: hostssl records are for nobody while tls is \"disable\"".to_owned();
    set.chain(has_tls_rules(&config.server).then_some(without_tls)).collect()
}

/// For who starts or reloads: errors name what must not be ignored, the rest goes to the log.
pub fn admit(config: &Config) -> Result<(), String> {
    let refused = refused(config);
    if !refused.is_empty() {
        return Err(refused.join("\n"));
    }
    ignored(config).iter().for_each(|what| tracing::warn!("{what}"));
    Ok(())
}
