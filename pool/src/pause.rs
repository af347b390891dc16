//! PAUSE and RESUME: while a pool is paused nobody is lent a server, and servers are closed as they come back.
//!
//! Clients queue, and `query_wait_timeout` goes on counting, as with PgBouncer. Whoever holds a server of another pool
//! already is in the middle of something that the pause waits for: it is served still.

use crate::pool::Pool;
use std::sync::Arc;

impl Pool {
    /// Lends nothing from here on: idle servers are closed now, logins under way given up, lent servers closed when
    /// they come back.
    pub fn pause(self: &Arc<Self>) {
        let idle = {
            let mut state = self.state();
            state.paused = true;
            state.pauses += 1;
            std::mem::take(&mut state.idle)
        };
        idle.into_iter().for_each(|conn| self.discard(conn));
        self.changed.notify_waiters();
    }

    /// Lends servers again, first to those who wait.
    pub fn resume(self: &Arc<Self>) {
        {
            let mut state = self.state();
            state.paused = false;
            self.launch(&mut state);
        }
        self.changed.notify_waiters();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.state().paused
    }

    /// Whether it has no server, be it idle, lent or logging in.
    pub fn is_drained(&self) -> bool {
        self.state().total == 0
    }

    /// Waits until it has no server any more, or is paused no more.
    pub async fn drained(&self) {
        self.until(|pool| pool.is_drained() || !pool.is_paused()).await;
    }

    /// Waits until it is paused once more.
    pub(crate) async fn paused_since(&self, pauses: u64) {
        self.until(|pool| pool.state().pauses != pauses).await;
    }

    async fn until(&self, is_so: impl Fn(&Pool) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}
