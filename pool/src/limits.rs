//! What bounds a pool.

use std::sync::Arc;
use std::time::Duration;

/// What bounds a pool, and what its servers are told. A duration of zero means "off".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Servers at once (`default_pool_size`).
    pub size: usize,
    /// Servers kept even when idle (`min_pool_size`).
    pub min_size: usize,
    /// More servers, once a client has waited for `reserve_timeout` (`reserve_pool_size`).
    pub reserve_size: usize,
    /// How long the first client has to wait for them (`reserve_pool_timeout`).
    pub reserve_timeout: Duration,
    /// Connect and login of one server (`server_connect_timeout`).
    pub connect_timeout: Duration,
    /// Pause after a failed login (`server_login_retry`).
    pub login_retry: Duration,
    /// How long a client waits for a server (`query_wait_timeout`).
    pub wait_timeout: Duration,
    /// A server older than this is closed when idle (`server_lifetime`).
    pub lifetime: Duration,
    /// A server idle for longer is closed (`server_idle_timeout`).
    pub idle_timeout: Duration,
    /// A server idle for longer is asked before it is lent (`server_check_delay`).
    pub check_delay: Duration,
    /// Whether the server that has been idle longest is lent first (`server_round_robin`).
    pub round_robin: bool,
    /// By this query; an empty one has no text (`server_check_query`).
    pub check_query: Arc<str>,
    /// Named statements that a server may hold when a batch is through (`max_prepared_statements`). With 0 each batch has
    /// its own prepared anew and closed behind it: nothing is prepared across the pool.
    pub max_prepared: usize,
    /// Run on each new server before a client gets it; its errors are logged and no more (`connect_query`).
    pub connect_query: Option<Arc<str>>,
}

impl PoolLimits {
    /// Servers at once, with those of the reserve.
    pub fn most(&self) -> usize {
        self.size + self.reserve_size
    }
}
