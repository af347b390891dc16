//! Servers that a client can only get from other clients: for finding those who wait for each other.

use crate::cancel::CancelTarget;
use crate::pool::{Pool, State};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Pool {
    /// The servers one of which has to be given back before anybody who waits here gets one; `None` where that is not the
    /// only way: one is idle or being opened, or another may be opened.
    ///
    /// A look at each pool that shares the limit which is reached, one after the other: exact for those that do not change
    /// meanwhile.
    pub fn lent_out(&self) -> Option<Vec<Arc<CancelTarget>>> {
        let (mut lent, is_full) = {
            let state = self.state();
            (lent(&state)?, state.total >= state.limits.most())
        };
        if !is_full {
            let siblings = self.budgets.database.is_full().then(|| self.budgets.database.pools())?;
            lent.clear();
            for pool in siblings {
                lent.extend(self::lent(&pool.state())?);
            }
        }
        Some(lent)
    }

    /// Whether somebody who holds a server of another pool has waited for `time`.
    pub fn holds_up(&self, now: Instant, time: Duration) -> bool {
        self.state().waiters.engaged_waited(now, time)
    }
}

/// All of a pool's servers, if each of them is in somebody's hands.
fn lent(state: &State) -> Option<Vec<Arc<CancelTarget>>> {
    let all = state.idle.is_empty() && state.connecting == 0 && state.members.len() == state.total;
    all.then(|| state.members.iter().map(|member| member.target().clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, Budgets};
    use crate::testing::pool;

    #[test]
    fn who_may_get_a_server_otherwise_waits_for_nobody() {
        let budgets = Budgets::default();
        let pool = pool(&budgets);
        assert!(pool.lent_out().is_none(), "it may open two");
        pool.state().total = 2;
        assert!(pool.lent_out().is_none(), "they are not all known");
        pool.state().connecting = 2;
        assert!(pool.lent_out().is_none(), "they are being opened");
    }

    #[test]
    fn a_limit_that_pools_share_is_one_that_others_hold() {
        let budgets = Budgets { database: Budget::new(1), user: Arc::default() };
        let (empty, other) = (pool(&budgets), pool(&budgets));
        assert!(empty.lent_out().is_none(), "there is room");
        assert!(budgets.take(&other, None));
        assert_eq!(empty.lent_out().map(|lent| lent.len()), Some(0), "nobody is known to have it");
        other.state().total = 1;
        assert!(empty.lent_out().is_none(), "its server is not known yet");
    }
}
