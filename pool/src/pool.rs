//! A bounded pool of connections to one database of one server for one user.
//!
//! PgBouncer's semantics: the server used last is lent first (LIFO, so that surplus ones age out), clients that
//! must wait are served in order (FIFO), a failed login is not tried again before `server_login_retry`. Lending an
//! idle server neither awaits nor calls the system.

use crate::address::{Login, ServerAddress};
use crate::budget::Budgets;
use crate::cancel::CancelTarget;
use crate::error::PoolError;
use crate::lease::Lease;
use crate::limits::PoolLimits;
use crate::queue::{Queue, Turn, Waiter};
use crate::server::{self, Parameters, ServerConn};
use crate::snapshot::Member;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// What changes, under the pool's lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Arc<PoolLimits>,
    /// Boxed, as leases hold them: what changes hands is a pointer.
    #[allow(clippy::vec_box, reason = "a server goes in and out of here without being copied")]
    pub(crate) idle: Vec<Box<ServerConn>>,
    pub(crate) waiters: Queue,
    /// Every server: idle, lent, connecting.
    pub(crate) total: usize,
    pub(crate) connecting: usize,
    /// Those that have logged in.
    pub(crate) members: Vec<Member>,
    pub(crate) failed: Option<(Instant, PoolError)>,
    /// Serves who still asks, and keeps nothing idle.
    pub(crate) retired: bool,
    /// Serves only who holds another server already, and keeps nothing idle.
    pub(crate) paused: bool,
    /// How often it was paused.
    pub(crate) pauses: u64,
    /// Waits for other pools to make room.
    pub(crate) starving: bool,
    /// When a server was closed last because its life was over.
    pub(crate) last_over: Option<Instant>,
}

impl State {
    fn new(limits: PoolLimits) -> Self {
        Self {
            limits: Arc::new(limits),
            idle: Vec::new(),
            waiters: Queue::default(),
            total: 0,
            connecting: 0,
            members: Vec::new(),
            failed: None,
            retired: false,
            paused: false,
            pauses: 0,
            starving: false,
            last_over: None,
        }
    }

    /// Whether servers are closed when nobody waits for them.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.retired || self.paused
    }
}

/// A bounded pool; see the module.
#[derive(Debug)]
pub struct Pool {
    pub(crate) address: Arc<ServerAddress>,
    pub(crate) login: ArcSwap<Login>,
    state: Mutex<State>,
    /// It was paused or resumed, or closed its last server.
    pub(crate) changed: Notify,
    /// What it shares with others.
    pub(crate) budgets: Budgets,
    /// What a server reported when it logged in, before any client's settings were put in place.
    pub(crate) greeting: ArcSwapOption<Parameters>,
}

/// What a look into the pool gave.
enum Found {
    Server(Box<ServerConn>),
    Wait(Turn),
}

/// What a client that asks in passing gets.
#[derive(Debug)]
pub enum Asked {
    /// A server, ready for use.
    Lease(Lease),
    /// A place in the queue.
    Wait(Turn),
    /// Something is to be done or said first: see [`Pool::checkout`].
    Slowly,
}

impl Pool {
    /// An empty pool; the first client that asks makes it connect.
    pub fn new(address: Arc<ServerAddress>, login: Login, limits: PoolLimits, budgets: Budgets) -> Arc<Self> {
        let pool = Arc::new(Self {
            address,
            login: ArcSwap::from_pointee(login),
            state: Mutex::new(State::new(limits)),
            changed: Notify::new(),
            greeting: ArcSwapOption::empty(),
            budgets,
        });
        pool.budgets.join(&pool);
        pool
    }

    /// Where its servers are.
    pub fn address(&self) -> &Arc<ServerAddress> {
        &self.address
    }

    /// What bounds it.
    pub fn limits(&self) -> Arc<PoolLimits> {
        self.state().limits.clone()
    }

    /// Takes new bounds and a new login from here on; running clients are not disturbed.
    pub fn reconfigure(self: &Arc<Self>, login: Login, limits: PoolLimits) {
        let changed = **self.login.load() != login;
        self.login.store(Arc::new(login));
        let mut state = self.state();
        state.limits = Arc::new(limits);
        if changed {
            state.failed = None;
        }
        self.launch(&mut state);
    }

    /// The server is reachable: where it was not at the last login, the next one need not wait for
    /// `server_login_retry`.
    pub fn retry(self: &Arc<Self>) {
        let mut state = self.state();
        if state.failed.as_ref().is_some_and(|(_, error)| error.is_outage()) {
            state.failed = None;
            self.launch(&mut state);
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if it did, the counts would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its servers report to a client that has set nothing; `None` before the first login.
    pub fn greeting(&self) -> Option<Arc<Parameters>> {
        self.greeting.load_full()
    }

    /// An idle server that is at home here and was in use not long ago, or, if none is idle, a place in the queue:
    /// neither takes a call of the system. `now` is the caller's clock.
    pub fn ask(self: &Arc<Self>, now: Instant) -> Asked {
        self.ask_as(now, false)
    }

    /// The same for whoever holds a server of another pool: a paused pool serves it still.
    pub fn ask_engaged(self: &Arc<Self>, now: Instant) -> Asked {
        self.ask_as(now, true)
    }

    fn ask_as(self: &Arc<Self>, now: Instant, engaged: bool) -> Asked {
        let mut conn = {
            let mut state = self.state();
            if !state.waiters.is_empty() || state.idle.is_empty() {
                if state.total == 0 && self.recent_failure(&state).is_some() {
                    return Asked::Slowly;
                }
                return Asked::Wait(self.queue(&mut state, now, engaged));
            }
            let Some(at) = state.nearest() else { return Asked::Slowly };
            let check_delay = state.limits.check_delay;
            let asleep = now.saturating_duration_since(state.idle[at].idle_since) > check_delay;
            if asleep && !check_delay.is_zero() {
                return Asked::Slowly;
            }
            state.idle.remove(at)
        };
        if !conn.is_alive() {
            self.discard(conn);
            return Asked::Slowly;
        }
        Asked::Lease(Lease::new(conn, self.clone()))
    }

    fn queue(self: &Arc<Self>, state: &mut State, now: Instant, engaged: bool) -> Turn {
        let receiver = state.waiters.join(now, engaged);
        self.launch(state);
        Turn::new(receiver, self.clone())
    }

    /// Changes the queue, under the pool's lock.
    pub(crate) fn with_queue(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.state().waiters);
    }

    /// A server, as soon as one is free. Errors: see [`PoolError`]; dropped while it waits, it leaves no trace.
    pub async fn checkout(self: &Arc<Self>) -> Result<Lease, PoolError> {
        self.checkout_as(false).await
    }

    /// The same for whoever holds a server of another pool: a paused pool serves it still.
    pub async fn checkout_engaged(self: &Arc<Self>) -> Result<Lease, PoolError> {
        self.checkout_as(true).await
    }

    async fn checkout_as(self: &Arc<Self>, engaged: bool) -> Result<Lease, PoolError> {
        loop {
            let conn = match self.find(engaged)? {
                Found::Server(conn) => conn,
                Found::Wait(mut turn) => return poll_fn(|cx| turn.poll(cx)).await,
            };
            if let Some(lease) = self.ready(conn).await {
                return Ok(lease);
            }
        }
    }

    /// Makes sure that a server that was idle is still there.
    async fn ready(self: &Arc<Self>, mut conn: Box<ServerConn>) -> Option<Lease> {
        let limits = self.limits();
        let check_delay = limits.check_delay;
        if !conn.is_alive() {
            self.discard(conn);
            return None;
        }
        let asleep = !check_delay.is_zero() && conn.idle_since.elapsed() > check_delay;
        let mut lease = Lease::new(conn, self.clone()).rehome().ok()?;
        if asleep && lease.run(&limits.check_query).await.is_err() {
            lease.close();
            return None;
        }
        Some(lease)
    }

    /// An idle server, or a place in the queue with a login under way.
    fn find(self: &Arc<Self>, engaged: bool) -> Result<Found, PoolError> {
        let mut state = self.state();
        if state.waiters.is_empty()
            && let Some(conn) = state.take_nearest()
        {
            return Ok(Found::Server(conn));
        }
        if state.total == 0
            && let Some(error) = self.recent_failure(&state)
        {
            return Err(PoolError::Failing(Arc::new(error)));
        }
        Ok(Found::Wait(self.queue(&mut state, Instant::now(), engaged)))
    }

    /// Takes back a server that somebody held.
    pub(crate) fn give_back(self: &Arc<Self>, mut conn: Box<ServerConn>) {
        if !conn.is_clean() {
            return self.discard(conn);
        }
        if conn.cancel_slot().is_busy() {
            return self.give_back_later(conn);
        }
        conn.idle_since = conn.used_until.take().unwrap_or_else(Instant::now);
        self.hand_over(conn);
    }

    fn give_back_later(self: &Arc<Self>, conn: Box<ServerConn>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return self.discard(conn) };
        let pool = self.clone();
        runtime.spawn(async move {
            match conn.cancel_slot().settled().await {
                true => pool.give_back(conn),
                false => pool.discard(conn),
            }
        });
    }

    /// Gives a server to whoever waits longest, or lays it by.
    pub(crate) fn hand_over(self: &Arc<Self>, mut conn: Box<ServerConn>) {
        let pressed = self.budgets.are_pressed();
        let waiter = {
            let mut state = self.state();
            conn.max_prepared = state.limits.max_prepared;
            let over = state.is_over(&conn, conn.idle_since);
            if over {
                state.last_over = Some(conn.idle_since);
            }
            // Whoever waits is served by the one that takes its place.
            if over || pressed && state.waiters.first_since().is_some_and(|since| self.budgets.claim(since)) {
                drop(state);
                return self.discard(conn);
            }
            let waiter = match state.paused {
                true => state.waiters.next_engaged(),
                false => state.waiters.next(conn.home()),
            };
            let surplus = || state.keeps_nothing() || state.total > state.limits.most();
            match waiter {
                Some(waiter) => waiter,
                None if surplus() || pressed && self.budgets.are_exceeded() => {
                    drop(state);
                    return self.discard(conn);
                }
                None => {
                    state.idle.push(conn);
                    drop(state);
                    if pressed {
                        self.budgets.wake();
                    }
                    return;
                }
            }
        };
        self.hand_to(waiter, conn);
    }

    /// Gives a server to a client that waited for it; if that one left meanwhile, to the next one.
    pub(crate) fn hand_to(self: &Arc<Self>, waiter: Waiter, conn: Box<ServerConn>) {
        match waiter.sender.send(Ok(Lease::new(conn, self.clone()))) {
            Ok(()) => {}
            Err(Ok(lease)) => self.hand_over(lease.into_conn()),
            Err(Err(_)) => unreachable!("a lease was sent"),
        }
    }

    /// Closes a server and makes room for another.
    pub(crate) fn discard(self: &Arc<Self>, conn: Box<ServerConn>) {
        let target = conn.cancel_target().clone();
        drop(conn);
        self.forget(&target);
    }

    /// Counts out a server that is closed already.
    pub(crate) fn forget(self: &Arc<Self>, target: &Arc<CancelTarget>) {
        let mut state = self.state();
        state.members.retain(|member| !member.is(target));
        self.one_less(&mut state);
        self.launch(&mut state);
    }

    /// A server is no more, or will not be.
    pub(crate) fn one_less(&self, state: &mut State) {
        state.total -= 1;
        self.budgets.put_back();
        if state.total == 0 {
            self.changed.notify_waiters();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budgets.forget(state.total);
    }
}

impl State {
    /// The idle server used last (or longest ago), one that is at home in the caller's runtime before others.
    fn take_nearest(&mut self) -> Option<Box<ServerConn>> {
        match self.nearest() {
            Some(at) => Some(self.idle.remove(at)),
            None if self.limits.round_robin && !self.idle.is_empty() => Some(self.idle.remove(0)),
            None => self.idle.pop(),
        }
    }

    /// Where that one is, if it is at home there.
    fn nearest(&self) -> Option<usize> {
        let here = server::worker();
        let mut idle = self.idle.iter();
        if self.limits.round_robin {
            idle.position(|conn| conn.home() == here)
        } else {
            idle.rposition(|conn| conn.home() == here)
        }
    }
}
