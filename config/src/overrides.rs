//! What a database or a user has otherwise than `[pool]` says.
//!
//! PgBouncer's order: where a setting is one of both, the user's counts before the database's, and that before
//! `[pool]`.

use std::time::Duration;

use crate::model::PoolMode;
use crate::section::Section;
use crate::words::Words;

/// What a database has of its own. `None`: what `[pool]` says counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseLimits {
    /// Overrides `mode`.
    pub pool_mode: Option<PoolMode>,
    /// Overrides `default_pool_size`.
    pub pool_size: Option<usize>,
    /// Overrides `min_pool_size`.
    pub min_pool_size: Option<usize>,
    /// Overrides `reserve_pool_size`.
    pub reserve_pool_size: Option<usize>,
    /// Overrides `max_db_connections`; never 0.
    pub max_connections: Option<usize>,
    /// Overrides `max_db_client_connections`; never 0.
    pub max_client_connections: Option<usize>,
    /// Overrides `server_lifetime`.
    pub server_lifetime: Option<Duration>,
    /// Overrides `query_wait_timeout`.
    pub query_wait_timeout: Option<Duration>,
    /// Run on each new server before a client gets it; its errors are logged and no more.
    pub connect_query: Option<String>,
}

/// What a user has of its own. `None`: what the database or `[pool]` says counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Overrides `mode`.
    pub pool_mode: Option<PoolMode>,
    /// Overrides `default_pool_size`.
    pub pool_size: Option<usize>,
    /// Overrides `reserve_pool_size`.
    pub reserve_pool_size: Option<usize>,
    /// Overrides `max_user_connections`; never 0.
    pub max_connections: Option<usize>,
    /// Overrides `max_user_client_connections`; never 0.
    pub max_client_connections: Option<usize>,
    /// Overrides `query_timeout`.
    pub query_timeout: Option<Duration>,
    /// Overrides `query_wait_timeout`.
    pub query_wait_timeout: Option<Duration>,
    /// Overrides `transaction_timeout`.
    pub transaction_timeout: Option<Duration>,
    /// Overrides `idle_transaction_timeout`.
    pub idle_transaction_timeout: Option<Duration>,
    /// Overrides `client_idle_timeout`.
    pub client_idle_timeout: Option<Duration>,
}

/// The keys of a `[[databases]]` section.
pub(crate) fn of_database(section: &mut Section<'_>) -> DatabaseLimits {
    DatabaseLimits {
        pool_mode: pool_mode(section),
        pool_size: limit(section, "pool_size"),
        min_pool_size: section.optional_count("min_pool_size"),
        reserve_pool_size: section.optional_count("reserve_pool_size"),
        max_connections: limit(section, "max_connections"),
        max_client_connections: limit(section, "max_client_connections"),
        server_lifetime: section.optional_duration("server_lifetime"),
        query_wait_timeout: section.optional_duration("query_wait_timeout"),
        connect_query: section.optional_string("connect_query"),
    }
}

/// The keys of a `[[users]]` section.
pub(crate) fn of_user(section: &mut Section<'_>) -> UserLimits {
    UserLimits {
        pool_mode: pool_mode(section),
        pool_size: limit(section, "pool_size"),
        reserve_pool_size: section.optional_count("reserve_pool_size"),
        max_connections: limit(section, "max_connections"),
        max_client_connections: limit(section, "max_client_connections"),
        query_timeout: section.optional_duration("query_timeout"),
        query_wait_timeout: section.optional_duration("query_wait_timeout"),
        transaction_timeout: section.optional_duration("transaction_timeout"),
        idle_transaction_timeout: section.optional_duration("idle_transaction_timeout"),
        client_idle_timeout: section.optional_duration("client_idle_timeout"),
    }
}

fn pool_mode(section: &mut Section<'_>) -> Option<PoolMode> {
    let text = section.optional("pool_mode")?;
    section.chosen(&text, PoolMode::WORDS).ok()
}

/// A number of which 0 means that there is none of one's own.
fn limit(section: &mut Section<'_>, key: &'static str) -> Option<usize> {
    section.optional_count(key).filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, problems, trusting};
    use crate::units::seconds;

    const SERVERS: &str =
        "[[databases.groups]]\nshard_count = 1\nshards = [{ ids = [0], primary = \"postgres://h/d\" }]\n";

    #[test]
    fn a_database_may_have_limits_of_its_own() {
        let text = "[[databases]]\nname = \"shop\"\npool_mode = \"session\"\npool_size = 3\nmin_pool_size = 1\n\
                    reserve_pool_size = 0\nmax_connections = 4\nmax_client_connections = 5\n\
                    server_lifetime = \"90s\"\nquery_wait_timeout = \"0s\"\nconnect_query = \"SELECT 1\"\n";
        assert_eq!(
            config(&trusting(&format!("{text}{SERVERS}"))).databases[0].limits,
            DatabaseLimits {
                pool_mode: Some(PoolMode::Session),
                pool_size: Some(3),
                min_pool_size: Some(1),
                reserve_pool_size: Some(0),
                max_connections: Some(4),
                max_client_connections: Some(5),
                server_lifetime: Some(seconds(90)),
                query_wait_timeout: Some(seconds(0)),
                connect_query: Some("SELECT 1".to_owned()),
            }
        );
    }

    #[test]
    fn a_user_may_have_limits_of_its_own() {
        let text = "[[users]]\nname = \"a\"\npool_mode = \"statement\"\npool_size = 3\nreserve_pool_size = 2\n\
                    max_connections = 4\nmax_client_connections = 5\nquery_timeout = 1\nquery_wait_timeout = 2\n\
                    transaction_timeout = 3\nidle_transaction_timeout = 4\nclient_idle_timeout = 0\n";
        assert_eq!(
            config(text).users[0].limits,
            UserLimits {
                pool_mode: Some(PoolMode::Statement),
                pool_size: Some(3),
                reserve_pool_size: Some(2),
                max_connections: Some(4),
                max_client_connections: Some(5),
                query_timeout: Some(seconds(1)),
                query_wait_timeout: Some(seconds(2)),
                transaction_timeout: Some(seconds(3)),
                idle_transaction_timeout: Some(seconds(4)),
                client_idle_timeout: Some(seconds(0)),
            }
        );
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let text = "[[users]]\nname = \"a\"\npool_mode = \"\"\npool_size = 0\nmax_connections = 0\n\
                    max_client_connections = 0\n";
        assert_eq!(config(text).users[0].limits, UserLimits::default());
    }

    #[test]
    fn an_unknown_limit_is_named_with_its_neighbour() {
        let text = format!("[[databases]]\nname = \"shop\"\npol_size = 3\n{SERVERS}");
        assert_eq!(
            problems(&trusting(&text)),
            "t.toml:4:1: unknown key \"pol_size\" in [[databases]]; did you mean \"pool_size\"?"
        );
    }
}
