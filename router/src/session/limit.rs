//! How long something may take, and what the client is told when it took longer.
//!
//! PgBouncer's settings and texts; the SQLSTATEs are Postgres's for the settings of its own that come closest.

use super::{End, Session};
use crate::error::ClientError;
use std::time::{Duration, Instant};

/// A time that is not to be exceeded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// Zero: for ever.
    time: Duration,
    code: &'static str,
    text: &'static str,
}

impl Limit {
    const NONE: Self = Self { time: Duration::ZERO, code: "", text: "" };

    fn new(time: Duration, code: &'static str, text: &'static str) -> Self {
        Self { time, code, text }
    }

    /// Whether there is none.
    pub(super) fn is_none(&self) -> bool {
        self.time.is_zero()
    }

    /// The shorter of two.
    fn or(self, other: Self) -> Self {
        if self.is_none() || !other.is_none() && other.time < self.time { other } else { self }
    }

    /// What ends a session that took longer.
    pub(super) fn exceeded(&self) -> ClientError {
        ClientError::fatal(self.code, self.text)
    }

    /// Does something within the limit. Errors: it took longer.
    pub(super) async fn within<T>(self, work: impl Future<Output = T>) -> Result<T, End> {
        if self.is_none() {
            return Ok(work.await);
        }
        tokio::time::timeout(self.time, work).await.map_err(|_| End::Fatal(self.exceeded()))
    }
}

impl Session {
    /// How long the servers may take over what is asked of them now.
    pub(super) fn statement_limit(&self) -> Limit {
        Limit::new(self.timeouts.query, "57014", "query timeout").or(self.transaction_limit())
    }

    /// How long the client may wait for a server.
    pub(super) fn wait_limit(&self) -> Limit {
        let limit = Limit::new(self.timeouts.query, "57014", "query_timeout");
        // PgBouncer counts a transaction while it has a server.
        if self.servers.is_empty() { limit } else { limit.or(self.transaction_limit()) }
    }

    /// How long the client may be silent.
    pub(super) fn idle_limit(&self) -> Limit {
        match &self.transaction {
            Some(_) => Limit::new(self.timeouts.idle_transaction, "25P03", "idle transaction timeout")
                .or(self.transaction_limit()),
            // PgBouncer passes over whoever has a server, be it only that of its session.
            None if !self.kept.is_empty() => Limit::NONE,
            None => Limit::new(self.timeouts.client_idle, "57P05", "client_idle_timeout"),
        }
    }

    /// What is left to the transaction, be it one statement's own.
    fn transaction_limit(&self) -> Limit {
        let mut time = self.timeouts.transaction;
        if !time.is_zero() {
            // Zero would be for ever.
            let spent = Instant::now().saturating_duration_since(self.began);
            time = time.saturating_sub(spent).max(Duration::from_millis(1));
        }
        Limit::new(time, "25P04", "transaction timeout")
    }

    /// Whether what servers are asked for is bounded in time.
    pub(super) fn is_timed(&self) -> bool {
        !self.timeouts.query.is_zero() || !self.timeouts.transaction.is_zero()
    }
}
