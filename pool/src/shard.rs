//! A logical shard: its servers, who among them takes writes, and which replica may serve a read.

use crate::address::{Login, ServerAddress};
use crate::budget::{Budget, Budgets};
use crate::health::{Health, Lsn, Role};
use crate::limits::PoolLimits;
use crate::pool::Pool;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// One database on one server, with a pool per user.
#[derive(Debug)]
pub struct Server {
    /// Where it is.
    pub address: Arc<ServerAddress>,
    /// Login given in its URL.
    pub login: Option<Login>,
    /// What is known of it.
    pub health: Health,
    /// What bounds its servers over all users.
    pub budget: Arc<Budget>,
    pools: RwLock<HashMap<String, Arc<Pool>>>,
    /// Pools that are its own no more, while somebody uses them.
    former: Mutex<Vec<Weak<Pool>>>,
    retired: AtomicBool,
    paused: AtomicBool,
}

impl Server {
    /// A server nobody asked yet.
    pub fn new(address: ServerAddress, login: Option<Login>) -> Arc<Self> {
        Arc::new(Self {
            address: Arc::new(address),
            login,
            health: Health::default(),
            budget: Arc::default(),
            pools: RwLock::default(),
            former: Mutex::default(),
            retired: AtomicBool::new(false),
            paused: AtomicBool::new(false),
        })
    }

    /// The pool of `login`'s user, made on first use, with what bounds it and what bounds that user's servers.
    pub fn pool(&self, login: &Login, bounds: impl FnOnce() -> (PoolLimits, Arc<Budget>)) -> Arc<Pool> {
        if let Some(pool) = self.pools.read().unwrap_or_else(PoisonError::into_inner).get(&login.user) {
            return pool.clone();
        }
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (limits, user) = bounds();
            let budgets = Budgets { database: self.budget.clone(), user };
            let pool = Pool::new(self.address.clone(), login.clone(), limits, budgets);
            if self.retired.load(Ordering::Acquire) {
                pool.retire();
            }
            if self.is_paused() {
                pool.pause();
            }
            pool
        };
        pools.entry(login.user.clone()).or_insert_with(make).clone()
    }

    /// Every pool with its user.
    pub fn pools(&self) -> Vec<(String, Arc<Pool>)> {
        let pools = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        pools.iter().map(|(user, pool)| (user.clone(), pool.clone())).collect()
    }

    /// It is configured no more: nothing of it stays idle.
    pub fn retire(&self) {
        // Before the pools are listed: one that is made meanwhile sees it.
        self.retired.store(true, Ordering::Release);
        self.keep_pools(|_| false);
    }

    /// Retires the pools of users that `stays` does not name.
    pub fn keep_pools(&self, stays: impl Fn(&str) -> bool) {
        let gone: Vec<_> = {
            let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
            pools.extract_if(|user, _| !stays(user)).collect()
        };
        {
            let mut former = self.former();
            former.retain(|pool| pool.strong_count() > 0);
            former.extend(gone.iter().map(|(_, pool)| Arc::downgrade(pool)));
        }
        gone.iter().for_each(|(_, pool)| pool.retire());
    }

    fn former(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends nobody a server: see [`Pool::pause`]. Counts for pools that are made later, too.
    pub fn pause(&self) {
        // Before the pools are listed: one that is made meanwhile sees it.
        self.paused.store(true, Ordering::Release);
        self.every_pool().iter().for_each(Pool::pause);
    }

    /// Lends servers again.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Release);
        self.every_pool().iter().for_each(Pool::resume);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Whether none of its pools has a server.
    pub fn is_drained(&self) -> bool {
        self.every_pool().iter().all(|pool| pool.is_drained())
    }

    /// Waits until none of its pools has a server any more, or it is paused no more.
    pub async fn drained(&self) {
        for pool in self.every_pool() {
            pool.drained().await;
        }
    }

    /// Its pools, and those that were its own and are still in use.
    fn every_pool(&self) -> Vec<Arc<Pool>> {
        let former: Vec<_> = self.former().iter().filter_map(Weak::upgrade).collect();
        self.pools().into_iter().map(|(_, pool)| pool).chain(former).collect()
    }

    /// It is reachable: logins need not wait for `server_login_retry` because it was not.
    pub fn retry(&self) {
        self.pools().iter().for_each(|(_, pool)| pool.retry());
    }
}

/// A logical shard's servers. The first one is configured as primary.
#[derive(Debug)]
pub struct Shard {
    /// All of them.
    pub servers: Vec<Arc<Server>>,
    primary: AtomicUsize,
    polls_begun: AtomicU64,
    /// Last finished poll of the primary: its number and what it read.
    last_poll: std::sync::Mutex<(u64, Lsn)>,
    /// Asks the poller not to wait for its next turn.
    pub wake: Notify,
}

/// How far a replica must be for one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadBarrier {
    /// Nothing was written.
    #[default]
    None,
    /// Something was written; a poll that begins after number `.0` will say how far that reached.
    AfterPoll(u64),
    /// Replayed at least this far.
    Replayed(Lsn),
}

impl Shard {
    /// From its servers, the configured primary first; never empty.
    pub fn new(servers: Vec<Arc<Server>>) -> Self {
        assert!(!servers.is_empty(), "a shard has a primary");
        let shard = Self {
            servers,
            primary: AtomicUsize::new(0),
            polls_begun: AtomicU64::new(0),
            last_poll: std::sync::Mutex::default(),
            wake: Notify::new(),
        };
        // Servers that stay over a reload know what they are: a promoted one goes on taking writes.
        shard.elect();
        shard
    }

    /// The server that takes writes: the configured one, or the replica that was promoted.
    pub fn primary(&self) -> &Arc<Server> {
        &self.servers[self.primary.load(Ordering::Acquire)]
    }

    /// Whether the server that takes writes said last that it takes none: it was demoted, or nobody is promoted yet.
    pub fn lacks_primary(&self) -> bool {
        self.primary().health.role() == Role::Standby
    }

    /// Whether it has more than a primary.
    pub fn has_replicas(&self) -> bool {
        self.servers.len() > 1
    }

    /// Takes over who takes writes from the same shard's earlier self: a reload must not undo a failover.
    pub fn inherit(&self, primary: &Arc<Server>) {
        if let Some(at) = self.servers.iter().position(|server| Arc::ptr_eq(server, primary)) {
            self.primary.store(at, Ordering::Release);
        }
    }

    /// Chooses who takes writes by what every server said: the present primary while it is one, else any that is.
    /// Gives whether that changed.
    pub fn elect(&self) -> bool {
        let now = self.primary.load(Ordering::Acquire);
        let is_primary = |s: &Arc<Server>| s.health.is_up() && s.health.role() == Role::Primary;
        if is_primary(&self.servers[now]) {
            return false;
        }
        match self.servers.iter().position(is_primary) {
            Some(found) if found != now => {
                self.primary.store(found, Ordering::Release);
                true
            }
            _ => false,
        }
    }

    /// Begins a poll of the primary; gives its number.
    pub fn poll_begins(&self) -> u64 {
        self.polls_begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends the poll that [`Shard::poll_begins`] numbered.
    pub fn poll_ends(&self, number: u64, lsn: Lsn) {
        *self.last_poll.lock().unwrap_or_else(PoisonError::into_inner) = (number, lsn);
    }

    /// The barrier of a session whose write was acknowledged just now.
    pub fn barrier_after_write(&self) -> ReadBarrier {
        ReadBarrier::AfterPoll(self.polls_begun.load(Ordering::Acquire))
    }

    /// The replica with the least to do that is healthy, fresh enough for everyone (`max_lag`) and far enough for
    /// this session (`barrier`, which becomes more exact as polls come in). `None`: ask the primary.
    pub fn replica(
        &self,
        barrier: &mut ReadBarrier,
        max_lag: Duration,
        load: impl Fn(&Arc<Server>) -> usize,
    ) -> Option<&Arc<Server>> {
        if let ReadBarrier::AfterPoll(number) = *barrier {
            let (last, lsn) = *self.last_poll.lock().unwrap_or_else(PoisonError::into_inner);
            if last <= number {
                self.wake.notify_one();
                return None;
            }
            *barrier = ReadBarrier::Replayed(lsn);
        }
        let needed = if let ReadBarrier::Replayed(lsn) = *barrier { lsn } else { Lsn::default() };
        let mut behind = false;
        let fit = self.servers.iter().enumerate().filter(|(i, server)| {
            let health = &server.health;
            let serves = *i != self.primary.load(Ordering::Acquire)
                && health.is_up()
                && health.role() == Role::Standby
                && (max_lag.is_zero() || health.lag() <= max_lag);
            behind |= serves && health.lsn() < needed;
            serves && health.lsn() >= needed
        });
        let best = fit.map(|(_, server)| server).min_by_key(|server| load(server));
        if best.is_none() && behind {
            self.wake.notify_one();
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Report;
    use crate::testing::address;

    fn server(role: Role) -> Arc<Server> {
        let server = Server::new(address(), None);
        server.health.record(Ok(Report { role, lsn: Lsn(1) }), Duration::ZERO);
        server
    }

    #[test]
    fn a_shard_made_of_known_servers_knows_its_primary() {
        let shard = Shard::new(vec![server(Role::Standby), server(Role::Primary)]);
        assert!(Arc::ptr_eq(shard.primary(), &shard.servers[1]));
        assert!(!shard.lacks_primary());
    }

    #[test]
    fn a_shard_of_standbys_lacks_a_primary_until_one_is_promoted() {
        let shard = Shard::new(vec![server(Role::Standby), server(Role::Standby)]);
        assert!(shard.lacks_primary());
        shard.servers[1].health.record(Ok(Report { role: Role::Primary, lsn: Lsn(1) }), Duration::ZERO);
        assert!(shard.elect() && !shard.lacks_primary());
    }
}
