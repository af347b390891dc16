//! What a pool knows of its servers, for those who look at it.

use crate::cancel::CancelTarget;
use crate::pool::Pool;
use crate::server::ServerConn;
use crate::tls::TlsStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Servers of a pool by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Waiting for a client.
    pub idle: usize,
    /// Serving one.
    pub active: usize,
    /// Logging in.
    pub connecting: usize,
    /// Clients that wait.
    pub waiting: usize,
}

/// What a server does, in PgBouncer's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It serves a client.
    Active,
    /// It waits for one, and was in use not long ago.
    Idle,
    /// It has waited for longer than `server_check_delay`, and is asked before it is lent.
    Used,
}

/// A server that has logged in, as the pool got it: what stays the same for its whole life.
#[derive(Debug)]
pub(crate) struct Member {
    target: Arc<CancelTarget>,
    since: SystemTime,
    local: Option<SocketAddr>,
    tls: String,
}

impl Member {
    pub(crate) fn new(conn: &ServerConn) -> Self {
        Self {
            target: conn.cancel_target().clone(),
            since: SystemTime::now(),
            local: conn.wire.stream.local_addr().ok(),
            tls: conn.wire.stream.tls().map(TlsStream::summary).unwrap_or_default(),
        }
    }

    pub(crate) fn target(&self) -> &Arc<CancelTarget> {
        &self.target
    }

    pub(crate) fn is(&self, target: &Arc<CancelTarget>) -> bool {
        Arc::ptr_eq(&self.target, target)
    }
}

/// One server connection at one moment.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// What it does.
    pub state: ServerState,
    /// Who it is: the same as in the hands of the client that it serves. Has its address, and its process's id.
    pub target: Arc<CancelTarget>,
    /// When it logged in.
    pub connected: SystemTime,
    /// Our end of the connection; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// Its TLS session's version and cipher suite; empty without one.
    pub tls: String,
    /// How long it has been idle; `None` while it serves a client, whose last request is its own.
    pub idle_for: Option<Duration>,
    /// Named statements that it holds; while it serves a client, after the last one that it was given.
    pub prepared: usize,
    /// Whether it is closed as soon as its client gives it back.
    pub close_needed: bool,
}

impl Pool {
    /// Servers and waiting clients.
    pub fn stats(&self) -> PoolStats {
        let state = self.state();
        PoolStats {
            idle: state.idle.len(),
            active: state.total - state.idle.len() - state.connecting,
            connecting: state.connecting,
            waiting: state.waiters.len(),
        }
    }

    /// Every server that has logged in.
    pub fn servers(&self, now: Instant) -> Vec<ServerSnapshot> {
        let state = self.state();
        let check_delay = state.limits.check_delay;
        let snapshot = |member: &Member| {
            let idle = state.idle.iter().find(|conn| member.is(conn.cancel_target()));
            let idle_for = idle.map(|conn| now.saturating_duration_since(conn.idle_since));
            ServerSnapshot {
                state: match idle_for {
                    None => ServerState::Active,
                    Some(time) if !check_delay.is_zero() && time > check_delay => ServerState::Used,
                    Some(_) => ServerState::Idle,
                },
                target: member.target.clone(),
                connected: member.since,
                local: member.local,
                tls: member.tls.clone(),
                idle_for,
                prepared: match idle {
                    Some(conn) => conn.prepared.len(),
                    None => member.target.prepared.load(Ordering::Relaxed),
                },
                close_needed: state.keeps_nothing(),
            }
        };
        state.members.iter().map(snapshot).collect()
    }

    /// How long the client has waited that waits longest; zero if none does.
    pub fn waited(&self, now: Instant) -> Duration {
        let first = self.state().waiters.first_since();
        first.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Whether a client would have to wait for another to be served.
    pub fn is_exhausted(&self) -> bool {
        let state = self.state();
        let full = || state.total >= state.limits.size || self.budgets.are_full();
        state.paused || state.idle.is_empty() && state.connecting == 0 && full()
    }

    /// Clients that are served or wait: what "least outstanding requests" compares.
    pub fn load(&self) -> usize {
        let stats = self.stats();
        stats.active + stats.waiting
    }
}
