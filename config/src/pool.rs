//! `[pool]`: server connections, under PgBouncer's names.

use crate::context::Text;
use crate::model::{Pool, PoolMode, TlsMode};
use crate::section::Section;
use crate::tls::{Named, path};
use crate::units::{hours, minutes, seconds};

pub(crate) fn read(mut section: Section<'_>) -> Pool {
    let s = &mut section;
    let named = Named {
        cert: s.optional("server_tls_cert"),
        key: s.optional("server_tls_key"),
        ca: s.optional("server_tls_ca"),
    };
    // A URL may ask for more than the setting does.
    let server_tls_files = named.read(s.context(), TlsMode::Require);
    let pool = Pool {
        mode: s.choice("mode", PoolMode::Transaction),
        default_pool_size: s.count("default_pool_size", 20),
        min_pool_size: s.count("min_pool_size", 0),
        reserve_pool_size: s.count("reserve_pool_size", 0),
        reserve_pool_timeout: s.duration("reserve_pool_timeout", seconds(5)),
        max_db_connections: s.count("max_db_connections", 0),
        max_user_connections: s.count("max_user_connections", 0),
        max_db_client_connections: s.count("max_db_client_connections", 0),
        max_user_client_connections: s.count("max_user_client_connections", 0),
        server_lifetime: s.duration("server_lifetime", hours(1)),
        server_idle_timeout: s.duration("server_idle_timeout", minutes(10)),
        server_connect_timeout: s.duration("server_connect_timeout", seconds(15)),
        server_login_retry: s.duration("server_login_retry", seconds(15)),
        server_reset_query: s.text("server_reset_query").map_or("DISCARD ALL".to_owned(), |text| text.value),
        server_check_delay: s.duration("server_check_delay", seconds(30)),
        server_round_robin: s.flag("server_round_robin", false),
        server_check_query: s.optional_string("server_check_query").unwrap_or_default(),
        query_timeout: s.duration("query_timeout", seconds(0)),
        query_wait_timeout: s.duration("query_wait_timeout", seconds(120)),
        cancel_wait_timeout: s.duration("cancel_wait_timeout", seconds(10)),
        client_idle_timeout: s.duration("client_idle_timeout", seconds(0)),
        idle_transaction_timeout: s.duration("idle_transaction_timeout", seconds(0)),
        transaction_timeout: s.duration("transaction_timeout", seconds(0)),
        max_prepared_statements: s.count("max_prepared_statements", 200),
        server_tls: s.choice("server_tls", TlsMode::Prefer),
        server_tls_ca: path(&named.ca),
        server_tls_cert: path(&named.cert),
        server_tls_key: path(&named.key),
        server_tls_files,
    };
    check_tls(s, &pool, &named);
    section.finish();
    pool
}

/// What one key asks of another.
fn check_tls(section: &Section<'_>, pool: &Pool, named: &Named) {
    let verifies = matches!(pool.server_tls, TlsMode::VerifyCa | TlsMode::VerifyFull);
    if verifies && named.ca.is_none() {
        let message = format!("server_tls = \"{}\" needs \"server_tls_ca\" in [pool]", pool.server_tls);
        section.context().report(section.at_key("server_tls"), message);
    }
    let pair = |one: &Option<Text>, key: &str, other: &Option<Text>, needed: &str| {
        if let (Some(text), None) = (one, other) {
            section.context().report(text.at, format!("\"{key}\" needs \"{needed}\" in [pool]"));
        }
    };
    pair(&named.cert, "server_tls_cert", &named.key, "server_tls_key");
    pair(&named.key, "server_tls_key", &named.cert, "server_tls_cert");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{config, problems};

    #[test]
    fn what_is_written_wins_over_the_defaults() {
        let (dir, _) = crate::testing::pem_files();
        let ca = dir.path().join("client_ca");
        let pool = config(
            &"[pool]\nmode = \"session\"\ndefault_pool_size = 0x10\nquery_timeout = \"250ms\"\nserver_lifetime = 90\n\
             server_reset_query = \"\"\nserver_tls = \"verify-full\"\nserver_tls_ca = \"CA\"".replace("CA", &ca.display().to_string()),
        )
        .pool;
        assert_eq!(pool.mode, PoolMode::Session);
        assert_eq!(pool.default_pool_size, 16);
        assert_eq!(pool.query_timeout, Duration::from_millis(250));
        assert_eq!(pool.server_lifetime, seconds(90));
        assert_eq!(pool.server_reset_query, "");
        assert_eq!(pool.server_tls, TlsMode::VerifyFull);
        assert_eq!(pool.server_tls_ca, Some(ca));
        assert_eq!(pool.min_pool_size, 0);
    }

    #[test]
    fn numbers_too_large_are_problems_and_not_panics() {
        assert_eq!(
            problems(&format!(
                "[pool]\ndefault_pool_size = {}\nquery_timeout = {}\n",
                "9".repeat(30),
                "9".repeat(30)
            )),
            "t.toml:2:21: expected a whole number from 0 to 2147483647, found 999999999999999999999999999999\n\
             t.toml:3:17: expected a duration of at most 36500d, found 999999999999999999999999999999"
        );
    }
}
