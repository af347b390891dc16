//! What a `pgbouncer.ini` says and the configuration has no place for: carried out as the file has it. Without such a file,
//! what is said here.

use crate::client::auth::secret::DEFAULT_ITERATIONS;
use crate::error::ClientError;
use crate::proxy::{ADMIN_DATABASE, World};
use shardway_config::{Config, PgbouncerSettings};
use shardway_pool::frame::{HEADER, MAX_MESSAGE};
use std::time::Duration;

/// PgBouncer's default of `suspend_timeout`.
pub const SUSPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How sessions go about their servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Servers are reset in every pool mode, before anybody else gets them (`server_reset_query_always`).
    pub resets_always: bool,
    /// A session ends when its server is to be closed (`server_fast_close`).
    pub closes_fast: bool,
    /// Servers that are configured no more stay to the session's end.
    pub keeps_former: bool,
}

/// Rounds for a SCRAM secret that is made from a plain password.
pub fn scram_iterations(config: &Config) -> u32 {
    let iterations = config.pgbouncer.as_ref().map(|ini| ini.settings.auth.scram_iterations);
    iterations.map_or(DEFAULT_ITERATIONS, |count| u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

impl World {
    /// The settings of the `pgbouncer.ini` that is run, if it is one.
    pub fn ini(&self) -> Option<&PgbouncerSettings> {
        self.config.pgbouncer.as_ref().map(|ini| &ini.settings)
    }

    /// An error as clients are told it: in PgBouncer's words where this runs in its place.
    pub fn worded(&self, error: ClientError) -> ClientError {
        if self.ini().is_some() { error.in_poolers_words() } else { error }
    }

    /// The console's name on the console: one of the two that it has.
    pub fn console(&self) -> &'static str {
        if self.ini().is_some() { "pgbouncer" } else { ADMIN_DATABASE }
    }

    /// How long SUSPEND waits for clients that do not take what was sent to them; zero: for ever.
    pub fn suspend_timeout(&self) -> Duration {
        self.ini().map_or(SUSPEND_TIMEOUT, |ini| ini.serving.suspend_timeout)
    }

    /// How long a client waits for a server before it is told so; zero: it is not.
    pub fn query_wait_notify(&self) -> Duration {
        self.ini().map_or(Duration::ZERO, |ini| Duration::from_secs(ini.serving.query_wait_notify as u64))
    }

    /// After how long a pool without clients and servers is forgotten; zero: never.
    pub fn pool_idle_timeout(&self) -> Duration {
        self.ini().map_or(Duration::ZERO, |ini| ini.pooling.pool_idle_timeout)
    }

    /// Bytes that the body of a client's or a server's message may have.
    pub fn max_message(&self) -> usize {
        let whole = self.ini().map(|ini| ini.serving.max_packet_size as usize);
        whole.map_or(MAX_MESSAGE, |whole| MAX_MESSAGE.min(whole.saturating_sub(HEADER)))
    }

    /// How sessions go about their servers.
    pub fn ways(&self) -> Ways {
        self.ini().map_or_else(Ways::default, |ini| Ways {
            resets_always: ini.pooling.server_reset_query_always,
            closes_fast: ini.pooling.server_fast_close,
            keeps_former: true,
        })
    }
}
