//! Settings that the contract has and this version does not carry out: they are named in a warning. To `check` they are
//! valid, and worth a word.

use shardway_config::{ChangeStream, Config, Server, TlsMode};
use shardway_pool::tls::Connector;

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
    let settings = [
        (config.routing.scatter_parallelism > 0, "routing.scatter_parallelism"),
        (config.cache.change_stream != ChangeStream::Off, "cache.change_stream"),
    ];
    let set = settings.into_iter().filter(|(set, _)| *set);
    let set = set.map(|(_, name)| format!("{name} is set, and has no effect in this version"));
    let without_tls = "hba_file: hostssl records are for nobody while tls is \"disable\"".to_owned();
    set.chain(has_tls_rules(&config.server).then_some(without_tls)).chain(beside(config)).collect()
}

/// What a `pgbouncer.ini` says in vain, all in one; `None`: nothing.
fn beside(config: &Config) -> Option<String> {
    let ini = config.pgbouncer.as_ref()?;
    let odd = ini.warnings.iter().map(ToString::to_string);
    let not_carried = ini.beyond_config().into_iter().map(|what| format!("{what} (not carried out)"));
    let all: Vec<String> = odd.chain(not_carried).collect();
    (!all.is_empty()).then(|| format!("pgbouncer.ini: {}", all.join("; ")))
}

/// For who starts or reloads: to the log.
pub fn warn(config: &Config) {
    ignored(config).iter().for_each(|what| tracing::warn!("{what}"));
}
