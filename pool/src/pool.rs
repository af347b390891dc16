//! A bounded pool of connections to one database of one server for one user.
//!
//! PgBouncer's semantics: the server used last is lent first (LIFO, so that surplus ones age out), clients that
//! must wait are served in order (FIFO), a failed login is not tried again before `server_login_retry`. Lending an
//! idle server neither awaits nor calls the system.

use crate::address::{Login, ServerAddress};
use crate::error::PoolError;
use crate::lease::Lease;
use crate::login;
use crate::server::{self, Parameters, ServerConn};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What bounds a pool. A duration of zero means "off".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Servers at once (`default_pool_size`).
    pub size: usize,
    /// Servers kept even when idle (`min_pool_size`).
    pub min_size: usize,
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
    /// Named statements a server may hold (`max_prepared_statements`).
    pub max_prepared: usize,
}

impl PoolLimits {
    /// From `[pool]`; `size` as precedence decided it.
    pub fn new(pool: &shardway_config::Pool, size: usize) -> Self {
        Self {
            size,
            min_size: pool.min_pool_size,
            connect_timeout: pool.server_connect_timeout,
            login_retry: pool.server_login_retry,
            wait_timeout: pool.query_wait_timeout,
            lifetime: pool.server_lifetime,
            idle_timeout: pool.server_idle_timeout,
            check_delay: pool.server_check_delay,
            max_prepared: pool.max_prepared_statements,
        }
    }
}

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

/// A client in the queue.
#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Result<Lease, PoolError>>,
    /// Runtime that it lives in.
    worker: u32,
    since: Instant,
}

/// How much longer another runtime's client must have waited to be served before one of the server's own: moving a
/// server costs system calls on both sides and a wake-up.
const HEAD_START: Duration = Duration::from_millis(5);

/// Places in the queue that are looked at for that.
const FAR_ENOUGH: usize = 64;

#[derive(Debug)]
struct State {
    limits: Arc<PoolLimits>,
    /// Boxed, as leases hold them: what changes hands is a pointer.
    #[allow(clippy::vec_box, reason = "a server goes in and out of here without being copied")]
    idle: Vec<Box<ServerConn>>,
    waiters: VecDeque<Waiter>,
    /// Every server: idle, lent, connecting.
    total: usize,
    connecting: usize,
    failed: Option<(Instant, PoolError)>,
    /// Serves who still asks, and keeps nothing idle.
    retired: bool,
}

impl State {
    fn new(limits: PoolLimits) -> Self {
        Self {
            limits: Arc::new(limits),
            idle: Vec::new(),
            waiters: VecDeque::new(),
            total: 0,
            connecting: 0,
            failed: None,
            retired: false,
        }
    }

    /// Drops the places of clients that left the queue.
    fn tidy(&mut self) {
        self.waiters.retain(|waiter| !waiter.sender.is_closed());
    }

    /// Whoever waits longest, with a small preference for those who live where the server is at home.
    fn next_waiter(&mut self, home: u32) -> Option<Waiter> {
        let first = self.waiters.front()?;
        if first.worker != home
            && let Some(at) = self.waiters.iter().take(FAR_ENOUGH).position(|waiter| waiter.worker == home)
            && self.waiters[at].since.saturating_duration_since(first.since) <= HEAD_START
        {
            return self.waiters.remove(at);
        }
        self.waiters.pop_front()
    }
}

/// A bounded pool; see the module.
#[derive(Debug)]
pub struct Pool {
    address: Arc<ServerAddress>,
    login: ArcSwap<Login>,
    state: Mutex<State>,
    /// What a server reported when it logged in, before any client's settings were put in place.
    greeting: ArcSwapOption<Parameters>,
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

/// A client's place in the queue; left early, it is given up.
#[derive(Debug)]
pub struct Turn {
    receiver: oneshot::Receiver<Result<Lease, PoolError>>,
    pool: Arc<Pool>,
    served: bool,
}

impl Turn {
    /// Ready with a server when it is this client's turn. Errors: see [`PoolError`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lease, PoolError>> {
        let outcome = ready!(Pin::new(&mut self.receiver).poll(cx));
        self.served = true;
        Poll::Ready(outcome.unwrap_or(Err(PoolError::Closed)).and_then(Lease::rehome))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.served {
            return;
        }
        // What came in this very moment goes back to the pool with the receiver, outside the lock.
        self.receiver.close();
        self.pool.state().tidy();
    }
}

impl Pool {
    /// An empty pool; the first client that asks makes it connect.
    pub fn new(address: Arc<ServerAddress>, login: Login, limits: PoolLimits) -> Arc<Self> {
        Arc::new(Self {
            address,
            login: ArcSwap::from_pointee(login),
            state: Mutex::new(State::new(limits)),
            greeting: ArcSwapOption::empty(),
        })
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

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if it did, the counts would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

    /// What its servers report to a client that has set nothing; `None` before the first login.
    pub fn greeting(&self) -> Option<Arc<Parameters>> {
        self.greeting.load_full()
    }

    /// Whether a client would have to wait for another to be served.
    pub fn is_exhausted(&self) -> bool {
        let state = self.state();
        state.idle.is_empty() && state.connecting == 0 && state.total >= state.limits.size
    }

    /// Clients that are served or wait: what "least outstanding requests" compares.
    pub fn load(&self) -> usize {
        let stats = self.stats();
        stats.active + stats.waiting
    }

    /// An idle server that is at home here and was in use not long ago, or, if none is idle, a place in the queue:
    /// neither takes a call of the system. `now` is the caller's clock.
    pub fn ask(self: &Arc<Self>, now: Instant) -> Asked {
        let mut conn = {
            let mut state = self.state();
            if !state.waiters.is_empty() || state.idle.is_empty() {
                if state.total == 0 && self.recent_failure(&state).is_some() {
                    return Asked::Slowly;
                }
                return Asked::Wait(self.queue(&mut state, now));
            }
            let here = server::worker();
            let Some(at) = state.idle.iter().rposition(|conn| conn.home() == here) else {
                return Asked::Slowly;
            };
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

    fn queue(self: &Arc<Self>, state: &mut State, now: Instant) -> Turn {
        let (sender, receiver) = oneshot::channel();
        state.waiters.push_back(Waiter { sender, worker: server::worker(), since: now });
        self.launch(state);
        Turn { receiver, pool: self.clone(), served: false }
    }

    /// A server, as soon as one is free. Errors: see [`PoolError`]; dropped while it waits, it leaves no trace.
    pub async fn checkout(self: &Arc<Self>) -> Result<Lease, PoolError> {
        loop {
            let conn = match self.find()? {
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
        let check_delay = self.limits().check_delay;
        if !conn.is_alive() {
            self.discard(conn);
            return None;
        }
        let asleep = !check_delay.is_zero() && conn.idle_since.elapsed() > check_delay;
        let mut lease = Lease::new(conn, self.clone()).rehome().ok()?;
        if asleep && lease.run("").await.is_err() {
            lease.close();
            return None;
        }
        Some(lease)
    }

    /// An idle server, or a place in the queue with a login under way.
    fn find(self: &Arc<Self>) -> Result<Found, PoolError> {
        let mut state = self.state();
        if state.waiters.is_empty()
            && let Some(conn) = take_nearest(&mut state.idle)
        {
            return Ok(Found::Server(conn));
        }
        if state.total == 0
            && let Some(error) = self.recent_failure(&state)
        {
            return Err(error);
        }
        Ok(Found::Wait(self.queue(&mut state, Instant::now())))
    }

    fn recent_failure(&self, state: &State) -> Option<PoolError> {
        let (at, error) = state.failed.as_ref()?;
        (at.elapsed() < state.limits.login_retry).then(|| error.clone())
    }

    /// Starts one login per waiting client, within the pool's size.
    fn launch(self: &Arc<Self>, state: &mut State) {
        let size = state.limits.size;
        while state.connecting < state.waiters.len() && state.total < size {
            if self.recent_failure(state).is_some() {
                return;
            }
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            state.total += 1;
            state.connecting += 1;
            let slot = Connecting { pool: self.clone(), done: false };
            runtime.spawn(slot.connect());
        }
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
            conn.cancel_slot().settled().await;
            pool.give_back(conn);
        });
    }

    /// Gives a server to whoever waits longest, or lays it by.
    fn hand_over(self: &Arc<Self>, mut conn: Box<ServerConn>) {
        loop {
            let waiter = {
                let mut state = self.state();
                conn.max_prepared = state.limits.max_prepared;
                let lifetime = state.limits.lifetime;
                let old = !lifetime.is_zero() && conn.age(conn.idle_since) > lifetime;
                let surplus = state.retired || state.total > state.limits.size;
                match state.next_waiter(conn.home()) {
                    Some(waiter) if !old => waiter,
                    Some(waiter) => {
                        // It waits on, for the server that takes this one's place.
                        state.waiters.push_front(waiter);
                        drop(state);
                        return self.discard(conn);
                    }
                    None if surplus || old => {
                        drop(state);
                        return self.discard(conn);
                    }
                    None => return state.idle.push(conn),
                }
            };
            match waiter.sender.send(Ok(Lease::new(conn, self.clone()))) {
                Ok(()) => return,
                // That client left while it waited; the next one is served.
                Err(Ok(lease)) => conn = lease.into_conn(),
                Err(Err(_)) => unreachable!("a lease was sent"),
            }
        }
    }

    /// Closes a server and makes room for another.
    pub(crate) fn discard(self: &Arc<Self>, conn: Box<ServerConn>) {
        drop(conn);
        self.forget();
    }

    /// Counts out a server that is closed already.
    pub(crate) fn forget(self: &Arc<Self>) {
        let mut state = self.state();
        state.total -= 1;
        self.launch(&mut state);
    }

    /// Tells clients that have waited for `query_wait_timeout`; for a background task.
    pub fn expire(&self, now: Instant) {
        let mut late = Vec::new();
        let limit = {
            let mut state = self.state();
            let limit = state.limits.wait_timeout;
            let is_late = |w: &Waiter| now.saturating_duration_since(w.since) >= limit;
            while !limit.is_zero() && state.waiters.front().is_some_and(is_late) {
                late.extend(state.waiters.pop_front());
            }
            limit
        };
        for waiter in late {
            // Whoever is gone needs no answer.
            let _ = waiter.sender.send(Err(PoolError::WaitTimeout(limit)));
        }
    }

    /// Closes idle servers that are too old or too long idle; for a background task.
    pub fn sweep(self: &Arc<Self>, now: Instant) {
        let limits = self.limits();
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            // Whoever waits since a login failed gets another one once it may be tried.
            self.launch(&mut state);
            let mut surplus = state.total.saturating_sub(limits.size);
            let mut spare = state.total.saturating_sub(limits.min_size);
            // The ones at the front have been idle longest.
            let mut i = 0;
            while i < state.idle.len() {
                let conn = &mut state.idle[i];
                let idle_for = now.saturating_duration_since(conn.idle_since);
                let old = !limits.lifetime.is_zero() && conn.age(now) > limits.lifetime;
                let unused = !limits.idle_timeout.is_zero() && idle_for > limits.idle_timeout && spare > 0;
                if old || unused || surplus > 0 || !conn.is_alive() {
                    gone.push(state.idle.remove(i));
                    spare = spare.saturating_sub(1);
                    surplus = surplus.saturating_sub(1);
                } else {
                    i += 1;
                }
            }
        }
        gone.into_iter().for_each(|conn| self.discard(conn));
    }

    /// Its server or user is configured no more: idle servers are closed now, lent ones when they come back. Whoever
    /// is in a transaction may still ask.
    pub fn retire(self: &Arc<Self>) {
        let idle = {
            let mut state = self.state();
            state.retired = true;
            std::mem::take(&mut state.idle)
        };
        idle.into_iter().for_each(|conn| self.discard(conn));
    }
}

/// The idle server used last, one that is at home in the caller's runtime before others.
#[allow(clippy::vec_box, reason = "as in the pool's state")]
fn take_nearest(idle: &mut Vec<Box<ServerConn>>) -> Option<Box<ServerConn>> {
    let here = server::worker();
    match idle.iter().rposition(|conn| conn.home() == here) {
        Some(at) => Some(idle.remove(at)),
        None => idle.pop(),
    }
}

/// A login under way; however it ends, the pool's counts are put right.
struct Connecting {
    pool: Arc<Pool>,
    done: bool,
}

impl Connecting {
    async fn connect(mut self) {
        let login = self.pool.login.load_full();
        let timeout = self.pool.limits().connect_timeout;
        let outcome = login::connect(&self.pool.address, &login, timeout).await;
        self.done = true;
        match outcome {
            Ok(conn) => {
                self.pool.greeting.store(Some(Arc::new(conn.parameters.clone())));
                {
                    let mut state = self.pool.state();
                    state.connecting -= 1;
                    state.failed = None;
                }
                self.pool.hand_over(Box::new(conn));
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: PoolError) {
        tracing::warn!(server = %self.pool.address, "{error}");
        let waiters = {
            let mut state = self.pool.state();
            state.connecting -= 1;
            state.total -= 1;
            state.failed = Some((Instant::now(), error.clone()));
            // Whoever waits may still be served by a server that is there, or about to be.
            if state.total == 0 { std::mem::take(&mut state.waiters) } else { VecDeque::new() }
        };
        waiters.into_iter().for_each(|waiter| {
            let _ = waiter.sender.send(Err(error.clone()));
        });
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.done {
            self.failed(PoolError::Closed);
        }
    }
}
