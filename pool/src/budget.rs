//! What several pools share: `max_db_connections` over the pools of one physical database, `max_user_connections` over
//! those of one server user.
//!
//! PgBouncer's semantics: a pool whose clients wait has the sibling's server closed that has been idle longest. Beyond
//! that, a pool that has no server at all is not left to starve beside one that is never idle: where its first client has
//! waited clearly longer, the other pool closes a server for it.
//!
//! Connections of the control plane (health, catalogs, LISTEN, `auth_query`) are not counted. PgBouncer counts those of its
//! `auth_query`, which it takes from a pool of the user that asks; here they are few and apart, so that no login
//! waits for a server that only clients who have logged in could release.
//!
//! Locks: the list of those who starve is taken while a pool's own lock is held, and never the other way round; siblings
//! are locked one at a time, by a task that holds no lock.

use crate::pool::Pool;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How much longer a pool without any server has to have waited for a busy one to give one up: opening and closing
/// servers by turns is dear.
const GRACE: Duration = Duration::from_millis(100);

/// A number of servers that pools share.
#[derive(Debug, Default)]
pub struct Budget {
    /// 0: none.
    limit: AtomicUsize,
    used: AtomicUsize,
    /// Whether somebody starves, or more is used than may be.
    pressed: AtomicBool,
    pools: Mutex<Vec<Weak<Pool>>>,
    starving: Mutex<Vec<Starving>>,
}

/// A pool whose clients wait for a server that it may not open.
#[derive(Debug)]
struct Starving {
    pool: Weak<Pool>,
    /// Since when its first client waits.
    since: Instant,
    /// Whether it has no server at all.
    destitute: bool,
}

impl Starving {
    fn is(&self, pool: &Arc<Pool>) -> bool {
        self.pool.as_ptr() == Arc::as_ptr(pool)
    }
}

impl Budget {
    /// Of `limit` servers; 0: as many as one likes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit), ..Self::default() })
    }

    /// Has another limit count from here on. Servers beyond it are closed as they become idle.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Release);
        self.press(&self.starving());
    }

    /// Servers that there are.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    pub(crate) fn is_full(&self) -> bool {
        let limit = self.limit.load(Ordering::Acquire);
        limit > 0 && self.used() >= limit
    }

    fn is_exceeded(&self) -> bool {
        let limit = self.limit.load(Ordering::Acquire);
        limit > 0 && self.used() > limit
    }

    /// Takes a pool in.
    fn join(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|known| known.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// Those that share it.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    }

    fn starving(&self) -> MutexGuard<'_, Vec<Starving>> {
        self.starving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn press(&self, starving: &[Starving]) {
        self.pressed.store(!starving.is_empty() || self.is_exceeded(), Ordering::Release);
    }

    /// Counts a server in, if there is room for one, and nobody's clients have waited for it longer than since `since`.
    fn take(&self, pool: &Arc<Pool>, since: Option<Instant>) -> bool {
        if self.pressed.load(Ordering::Acquire) && !self.is_first(pool, since) {
            return false;
        }
        let limit = self.limit.load(Ordering::Acquire);
        let more = |used: usize| (limit == 0 || used < limit).then_some(used + 1);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    /// Whether no other pool has waited for room since before `since`; `None` gives way to all.
    fn is_first(&self, pool: &Arc<Pool>, since: Option<Instant>) -> bool {
        let before = |other: &Starving| since.is_none_or(|since| other.since < since);
        !self.starving().iter().any(|other| !other.is(pool) && before(other))
    }

    /// Counts a server in, whether there is room or not.
    fn take_anyway(&self) {
        self.used.fetch_add(1, Ordering::AcqRel);
        self.press(&self.starving());
    }

    fn put_back(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
        if self.pressed.load(Ordering::Acquire) {
            self.press(&self.starving());
        }
    }

    /// Has a pool wait for room. It is woken when there may be some.
    fn starve(&self, pool: &Arc<Pool>, since: Instant, destitute: bool) {
        let mut starving = self.starving();
        starving.retain(|entry| !entry.is(pool) && entry.pool.strong_count() > 0);
        starving.push(Starving { pool: Arc::downgrade(pool), since, destitute });
        self.press(&starving);
    }

    /// It waits no more.
    fn sate(&self, pool: &Arc<Pool>) {
        if self.pressed.load(Ordering::Acquire) {
            let mut starving = self.starving();
            starving.retain(|entry| !entry.is(pool));
            self.press(&starving);
        }
    }

    /// Has the pool look for room whose first client has waited longest.
    fn wake(&self) {
        if !self.pressed.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let first =
            self.starving().iter().min_by_key(|entry| entry.since).and_then(|entry| entry.pool.upgrade());
        if let Some(pool) = first {
            runtime.spawn(async move { pool.make_room() });
        }
    }

    /// Since when the first client waits of those pools that have no server at all.
    fn destitute_since(&self) -> Option<Instant> {
        self.starving().iter().filter(|entry| entry.destitute).map(|entry| entry.since).min()
    }

    /// Closes servers that are idle, the one that has been so for longest first, until there is room for one. Whether
    /// there is. To be called without any lock.
    fn evict(&self) -> bool {
        while self.is_full() {
            let pools = self.pools();
            let idle = pools.iter().filter_map(|pool| Some((pool.idle_longest()?, pool)));
            let Some((_, pool)) = idle.min_by_key(|(since, _)| *since) else { return false };
            pool.evict();
        }
        true
    }
}

/// The two that each pool has a part in.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// Over all pools of the server's database (`max_db_connections`).
    pub database: Arc<Budget>,
    /// Over all pools of the server's user (`max_user_connections`).
    pub user: Arc<Budget>,
}

impl Budgets {
    fn each(&self) -> [&Arc<Budget>; 2] {
        [&self.database, &self.user]
    }

    /// Takes a pool in.
    pub(crate) fn join(&self, pool: &Arc<Pool>) {
        self.each().iter().for_each(|budget| budget.join(pool));
    }

    /// Counts a server in for a pool whose first client waits since `since`. `false`: there is no room, or it is for
    /// another pool.
    pub(crate) fn take(&self, pool: &Arc<Pool>, since: Option<Instant>) -> bool {
        if !self.database.take(pool, since) {
            return false;
        }
        let both = self.user.take(pool, since);
        if !both {
            self.database.put_back();
        }
        both
    }

    /// Makes room for a server by closing siblings' idle ones; else the pool waits in line. To be called without any
    /// lock.
    pub(crate) fn make_room(&self, pool: &Arc<Pool>, since: Instant, destitute: bool) -> bool {
        for budget in self.each() {
            // In line first: what becomes idle while it looks wakes it again.
            budget.starve(pool, since, destitute);
            if budget.is_first(pool, Some(since)) && budget.evict() {
                continue;
            }
            if Arc::ptr_eq(budget, &self.user) {
                // There is room, and others may have it.
                self.database.sate(pool);
                self.database.wake();
            }
            return false;
        }
        true
    }

    /// Counts a server in for a client that holds another one already: were it to wait for who else holds one, all might
    /// wait for each other. Each client has one server of a database at most, so that limit stands.
    pub(crate) fn take_engaged(&self, pool: &Arc<Pool>) -> bool {
        if self.database.take(pool, None) {
            self.user.take_anyway();
            return true;
        }
        false
    }

    /// Counts a server out, and has whoever waits for that look.
    pub(crate) fn put_back(&self) {
        for budget in self.each() {
            budget.put_back();
            budget.wake();
        }
    }

    /// The pool waits for neither any more.
    pub(crate) fn sate(&self, pool: &Arc<Pool>) {
        self.each().iter().for_each(|budget| budget.sate(pool));
    }

    /// Whether there is anything to be looked at, for a look in passing.
    pub(crate) fn are_pressed(&self) -> bool {
        self.each().iter().any(|budget| budget.pressed.load(Ordering::Acquire))
    }

    /// Whether one has no room.
    pub(crate) fn are_full(&self) -> bool {
        self.each().iter().any(|budget| budget.is_full())
    }

    /// Whether more is used of one than may be.
    pub(crate) fn are_exceeded(&self) -> bool {
        self.each().iter().any(|budget| budget.is_exceeded())
    }

    /// A server is idle: somebody may want its place.
    pub(crate) fn wake(&self) {
        self.each().iter().for_each(|budget| budget.wake());
    }

    /// Whether a pool whose first client waits since `since` is to leave a server's place to one that has none.
    pub(crate) fn claim(&self, since: Instant) -> bool {
        let before = |first: Instant| first + GRACE < since;
        self.each().iter().filter_map(|budget| budget.destitute_since()).any(before)
    }

    /// Counts servers out that went with their pool.
    pub(crate) fn forget(&self, servers: usize) {
        self.each().iter().for_each(|budget| {
            budget.used.fetch_sub(servers, Ordering::AcqRel);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pool;

    fn budgets(database: usize, user: usize) -> Budgets {
        Budgets { database: Budget::new(database), user: Budget::new(user) }
    }

    #[test]
    fn no_more_are_counted_in_than_either_allows() {
        let budgets = budgets(3, 2);
        let pool = pool(&budgets);
        assert!(budgets.take(&pool, None) && budgets.take(&pool, None));
        assert!(!budgets.take(&pool, None));
        assert_eq!((budgets.database.used(), budgets.user.used()), (2, 2), "nothing is left of what failed");
        budgets.put_back();
        assert!(budgets.take(&pool, None));
    }

    #[test]
    fn zero_is_no_limit_and_what_was_taken_then_counts_later() {
        let budgets = budgets(0, 0);
        let pool = pool(&budgets);
        assert!((0..9).all(|_| budgets.take(&pool, None)));
        budgets.database.set_limit(9);
        assert!(!budgets.take(&pool, None) && !budgets.are_exceeded());
        budgets.database.set_limit(8);
        assert!(budgets.are_exceeded() && budgets.are_pressed());
        budgets.put_back();
        assert!(!budgets.are_exceeded() && !budgets.are_pressed());
    }

    #[test]
    fn whose_client_has_waited_longest_has_the_next_server() {
        let budgets = budgets(1, 0);
        let (first, second) = (pool(&budgets), pool(&budgets));
        let now = Instant::now();
        let earlier = now.checked_sub(Duration::from_secs(1)).unwrap();
        assert!(budgets.take(&first, Some(now)));
        assert!(!budgets.make_room(&second, earlier, true), "nobody is idle");
        budgets.put_back();
        assert!(!budgets.take(&first, Some(now)), "there is room, and it is not for this one");
        assert!(budgets.take(&second, Some(earlier)));
        budgets.put_back();
        budgets.sate(&second);
        assert!(budgets.take(&first, Some(now)));
    }

    #[test]
    fn a_pool_without_servers_has_a_claim_once_it_has_waited_clearly_longer() {
        let budgets = budgets(1, 0);
        let (busy, other) = (pool(&budgets), pool(&budgets));
        let now = Instant::now();
        let earlier = |time: Duration| now.checked_sub(time).unwrap();
        assert!(budgets.take(&busy, Some(now)));
        assert!(!budgets.make_room(&other, earlier(GRACE / 2), true));
        assert!(!budgets.claim(now));
        assert!(!budgets.make_room(&other, earlier(GRACE * 2), true));
        assert!(budgets.claim(now) && !budgets.claim(earlier(GRACE)));
        assert!(!budgets.make_room(&other, earlier(GRACE * 2), false));
        assert!(!budgets.claim(now), "one that has a server is served by it");
    }

    #[test]
    fn what_a_pool_had_is_free_when_it_is_gone() {
        let budgets = budgets(1, 1);
        let pool = pool(&budgets);
        assert!(budgets.take(&pool, None));
        pool.state().total = 1;
        drop(pool);
        assert_eq!((budgets.database.used(), budgets.user.used()), (0, 0));
    }
}
