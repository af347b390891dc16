//! What a pool has done to it from time to time: clients that wait too long are told, servers that are too old or too
//! long idle are closed, `min_pool_size` is kept up.

use crate::error::PoolError;
use crate::limits::PoolLimits;
use crate::pool::{Pool, State};
use crate::server::ServerConn;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a retired pool looks after those who still wait.
const TICK: Duration = Duration::from_millis(100);

impl State {
    /// Whether a server's life is over, and no other one's was just now: those that were opened together are not closed
    /// together, but one in each `size`-th part of `server_lifetime`.
    pub(crate) fn is_over(&self, conn: &ServerConn, now: Instant) -> bool {
        let lifetime = self.limits.lifetime;
        if lifetime.is_zero() || conn.age(now) <= lifetime {
            return false;
        }
        let gap = lifetime / u32::try_from(self.limits.size).unwrap_or(u32::MAX);
        self.last_over.is_none_or(|last| now.saturating_duration_since(last) >= gap)
    }

    /// Takes idle servers out that are too old, too long idle, too many, or gone.
    #[allow(clippy::vec_box, reason = "as in the pool's state")]
    fn sweep(&mut self, limits: &PoolLimits, now: Instant) -> Vec<Box<ServerConn>> {
        let mut gone = Vec::new();
        let mut surplus = self.total.saturating_sub(limits.most());
        let mut spare = self.total.saturating_sub(limits.min_size);
        // The ones at the front have been idle longest.
        let mut i = 0;
        while i < self.idle.len() {
            let idle_for = now.saturating_duration_since(self.idle[i].idle_since);
            let unused = !limits.idle_timeout.is_zero() && idle_for > limits.idle_timeout && spare > 0;
            let old = self.is_over(&self.idle[i], now);
            if old || unused || surplus > 0 || !self.idle[i].is_alive() {
                if old {
                    self.last_over = Some(now);
                }
                gone.push(self.idle.remove(i));
                spare = spare.saturating_sub(1);
                surplus = surplus.saturating_sub(1);
            } else {
                i += 1;
            }
        }
        gone
    }
}

impl Pool {
    /// Tells clients that have waited for `query_wait_timeout`, and tries again to have a server for the others; for a
    /// background task.
    pub fn expire(self: &Arc<Self>, now: Instant) {
        let (late, limit, starving) = {
            let mut state = self.state();
            let limit = state.limits.wait_timeout;
            let late = if limit.is_zero() { Vec::new() } else { state.waiters.late(now, limit) };
            if !state.waiters.is_empty() {
                self.launch(&mut state);
                self.launch_reserve(&mut state, now);
            }
            (late, limit, state.starving)
        };
        for waiter in late {
            // Whoever is gone needs no answer.
            let _ = waiter.sender.send(Err(PoolError::WaitTimeout(limit)));
        }
        if starving {
            self.make_room();
        }
    }

    /// Closes idle servers that are too old or too long idle; for a background task. `in_use`: whether clients are
    /// connected that may ask, so that `min_pool_size` is kept up.
    pub fn sweep(self: &Arc<Self>, now: Instant, in_use: impl FnOnce() -> bool) {
        let gone = {
            let mut state = self.state();
            let limits = state.limits.clone();
            state.sweep(&limits, now)
        };
        gone.into_iter().for_each(|conn| self.discard(conn));
        if self.budgets.are_exceeded() {
            self.evict();
        }
        if self.limits().min_size > 0 && in_use() {
            self.fill(&mut self.state());
        }
    }

    /// Its server or user is configured no more: idle servers are closed now, lent ones when they come back. Whoever
    /// is in a transaction may still ask.
    pub fn retire(self: &Arc<Self>) {
        let idle = {
            let mut state = self.state();
            if std::mem::replace(&mut state.retired, true) {
                return;
            }
            std::mem::take(&mut state.idle)
        };
        idle.into_iter().for_each(|conn| self.discard(conn));
        self.look_after_itself();
    }

    /// Whoever sweeps pools does not know a retired one any more: those who still wait there are not to be forgotten.
    fn look_after_itself(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let pool = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tick.tick().await;
                let Some(pool) = pool.upgrade() else { return };
                let now = Instant::now();
                pool.expire(now);
                pool.sweep(now, || false);
            }
        });
    }

    /// Since when the first client in the queue waits.
    pub fn first_waits_since(&self) -> Option<Instant> {
        self.state().waiters.first_since()
    }

    /// Whether it was given up: its servers are closed as they come back.
    pub fn is_retired(&self) -> bool {
        self.state().retired
    }

    /// Since when its server is idle that has been so for longest.
    pub(crate) fn idle_longest(&self) -> Option<Instant> {
        self.state().idle.first().map(|conn| conn.idle_since)
    }

    /// Closes that server, for a sibling that needs its place.
    pub(crate) fn evict(self: &Arc<Self>) {
        let conn = {
            let mut state = self.state();
            if state.idle.is_empty() { None } else { Some(state.idle.remove(0)) }
        };
        if let Some(conn) = conn {
            tracing::debug!(server = %self.address, "closing because: evicted");
            self.discard(conn);
        }
    }
}
