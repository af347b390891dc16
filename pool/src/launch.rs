//! Opening servers: how many at a time, within which bounds, and what becomes of those who wait when it fails.
//!
//! An empty pool opens one server for each client that waits, all at a time. One that has servers doubles at most, since
//! clients are served faster by what comes back than by a login; and after a failure one login at a time is tried.

use crate::address::{Login, ServerAddress};
use crate::error::PoolError;
use crate::frame;
use crate::lease::Lease;
use crate::limits::PoolLimits;
use crate::login;
use crate::pool::{Pool, State};
use crate::server::{RunError, ServerConn};
use crate::snapshot::Member;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;

/// Logins that a pool may have under way at a time however few servers it has.
const AT_ONCE: usize = 4;

impl Pool {
    /// The error of the last login, where it is too early to try another one.
    pub(crate) fn recent_failure(&self, state: &State) -> Option<PoolError> {
        let (at, error) = state.failed.as_ref()?;
        // What was missing has been learned meanwhile.
        if matches!(error, PoolError::Unproven { .. }) && self.login.load().is_ready() {
            return None;
        }
        (at.elapsed() < state.limits.login_retry && !state.paused).then(|| error.clone())
    }

    /// Opens servers for those who wait, within the pool's size.
    pub(crate) fn launch(self: &Arc<Self>, state: &mut State) {
        let wanted = if state.paused { state.waiters.engaged() } else { state.waiters.len() };
        let size = state.limits.size;
        self.open_up_to(state, wanted, size);
    }

    /// Opens servers of the reserve for those who have waited for `reserve_pool_timeout`.
    pub(crate) fn launch_reserve(self: &Arc<Self>, state: &mut State, now: Instant) {
        let limits = state.limits.clone();
        let none = limits.reserve_size == 0 || limits.reserve_timeout.is_zero() || state.paused;
        if none || state.total < limits.size {
            return;
        }
        let late = state.waiters.waited(now, limits.reserve_timeout);
        if late > 0 && state.total < limits.size + limits.reserve_size {
            tracing::warn!(server = %self.address, "taking connection from reserve_pool");
            self.open_up_to(state, late, limits.size + limits.reserve_size);
        }
    }

    /// Opens servers until `min_pool_size` are there; for none of them is another one closed.
    pub(crate) fn fill(self: &Arc<Self>, state: &mut State) {
        let least = state.limits.min_size.min(state.limits.size);
        while state.total < least && !state.keeps_nothing() && self.may_try(state) {
            let Ok(runtime) = Handle::try_current() else { return };
            if !self.budgets.take(self, None) {
                return;
            }
            self.open(state, &runtime, false);
        }
    }

    fn open_up_to(self: &Arc<Self>, state: &mut State, wanted: usize, size: usize) {
        while state.connecting < wanted && state.total < size && self.may_try(state) {
            let Ok(runtime) = Handle::try_current() else { return };
            if !self.budgets.take(self, state.waiters.first_since()) {
                if !std::mem::replace(&mut state.starving, true) {
                    let pool = self.clone();
                    runtime.spawn(async move { pool.make_room() });
                }
                return;
            }
            self.open(state, &runtime, false);
        }
    }

    /// Whether another login may be under way now.
    fn may_try(&self, state: &State) -> bool {
        let there = state.total - state.connecting;
        let at_once = match there {
            _ if state.failed.is_some() => 1,
            0 => usize::MAX,
            there => there.max(AT_ONCE),
        };
        state.connecting < at_once && self.recent_failure(state).is_none()
    }

    /// Begins a login; it has been counted in already by the budgets.
    fn open(self: &Arc<Self>, state: &mut State, runtime: &Handle, engaged: bool) {
        state.total += 1;
        state.connecting += 1;
        let slot = Connecting { pool: self.clone(), pauses: state.pauses, engaged, done: false };
        runtime.spawn(slot.connect());
    }

    /// Has a sibling's idle server closed, and opens one in its place; or waits in line for that. To be called without
    /// any lock.
    pub(crate) fn make_room(self: &Arc<Self>) {
        let Some((since, destitute)) = self.need() else { return self.sate() };
        let room = self.budgets.make_room(self, since, destitute);
        let mut state = self.state();
        let before = state.total;
        // Not to be begun anew if it was too late.
        state.starving = true;
        if room {
            self.launch(&mut state);
            self.launch_reserve(&mut state, Instant::now());
        } else {
            self.launch_engaged(&mut state);
        }
        if state.total > before {
            drop(state);
            self.sate();
        }
    }

    /// Opens a server for a client that holds another one, where there is no room for it: see
    /// [`crate::budget::Budgets::take_engaged`].
    fn launch_engaged(self: &Arc<Self>, state: &mut State) {
        let wanted = state.waiters.engaged() > state.connecting && state.total < state.limits.size;
        if wanted
            && self.may_try(state)
            && let Ok(runtime) = Handle::try_current()
            && self.budgets.take_engaged(self)
        {
            self.open(state, &runtime, true);
        }
    }

    /// Since when its first client waits, and whether it has no server at all; `None` where nobody waits for whom no
    /// server is being opened.
    fn need(&self) -> Option<(Instant, bool)> {
        let state = self.state();
        let more = state.waiters.len() > state.connecting && state.total < state.limits.most();
        let since = state.waiters.first_since().filter(|_| more)?;
        Some((since, state.total == 0))
    }

    /// It waits for no other pool any more.
    pub(crate) fn sate(self: &Arc<Self>) {
        self.state().starving = false;
        self.budgets.sate(self);
        // What it did not need is somebody else's.
        self.budgets.wake();
    }
}

/// A login under way; however it ends, the pool's counts are put right.
struct Connecting {
    pool: Arc<Pool>,
    /// How often the pool had been paused when it began.
    pauses: u64,
    /// Whether it is for a client that holds another server.
    engaged: bool,
    done: bool,
}

impl Connecting {
    async fn connect(mut self) {
        let pool = self.pool.clone();
        let login = pool.login.load_full();
        let limits = pool.limits();
        let outcome = tokio::select! {
            outcome = log_in(&pool.address, &login, &limits) => Some(outcome),
            () = pool.paused_since(self.pauses) => None,
        };
        self.done = true;
        match outcome {
            Some(Ok(conn)) => self.succeeded(Box::new(conn)),
            Some(Err(error)) => self.failed(error),
            None => {
                let mut state = pool.state();
                state.connecting -= 1;
                pool.one_less(&mut state);
                pool.launch(&mut state);
            }
        }
    }

    fn succeeded(&self, mut conn: Box<ServerConn>) {
        self.pool.greeting.store(Some(Arc::new(conn.parameters.clone())));
        let engaged = {
            let mut state = self.pool.state();
            state.connecting -= 1;
            state.members.push(Member::new(&conn));
            conn.max_prepared = state.limits.max_prepared;
            state.failed = None;
            if self.engaged { state.waiters.next_engaged() } else { None }
        };
        match engaged {
            Some(waiter) => self.pool.hand_to(waiter, conn),
            None => self.pool.hand_over(conn),
        }
        // Those who still wait: more may be tried now.
        self.pool.launch(&mut self.pool.state());
    }

    fn failed(&self, error: PoolError) {
        tracing::warn!(server = %self.pool.address, "{error}");
        let waiters = {
            let mut state = self.pool.state();
            state.connecting -= 1;
            state.failed = Some((Instant::now(), error.clone()));
            self.pool.one_less(&mut state);
            // Whoever waits may still be served by a server that is there, or about to be.
            if state.total == 0 { state.waiters.drain() } else { Vec::new() }
        };
        waiters.into_iter().for_each(|waiter| {
            let _ = waiter.sender.send(Err(error.clone()));
        });
    }
}

/// Logs in, and runs `connect_query`.
async fn log_in(
    address: &Arc<ServerAddress>,
    login: &Login,
    limits: &PoolLimits,
) -> Result<ServerConn, PoolError> {
    let mut conn = login::connect(address, login, limits.connect_timeout).await?;
    let Some(query) = &limits.connect_query else { return Ok(conn) };
    let failed = |cause: &str| PoolError::Connect { server: address.to_string(), cause: cause.into() };
    let run = introduce(&mut conn, query);
    let ran = match limits.connect_timeout.is_zero() {
        true => Ok(run.await),
        false => tokio::time::timeout(limits.connect_timeout, run).await,
    };
    match ran {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => return Err(failed("connect_query took too long")),
    }
    if conn.status != b'I' {
        return Err(failed("connect_query left a transaction open"));
    }
    // It is what every client finds, as if the server had said so when it logged in.
    conn.reported = false;
    Ok(conn)
}

/// Runs `connect_query`; what the server has against it is logged. Errors: the server is lost.
async fn introduce(conn: &mut ServerConn, query: &str) -> Result<(), PoolError> {
    match conn.run(query).await {
        Ok(()) => Ok(()),
        Err(RunError::Lost(error)) => Err(error),
        Err(RunError::Refused(body)) => {
            let field = |code| String::from_utf8_lossy(frame::error_field(&body, code).unwrap_or_default());
            tracing::warn!(
                server = %conn.address(),
                "connect_query failed: {}: {}", field(b'C'), field(b'M')
            );
            Ok(())
        }
    }
}

impl Lease {
    /// Runs `connect_query` again, where there is one: what it had set is taken back by a RESET or a DISCARD. Errors: the
    /// server is lost.
    pub async fn introduce(&mut self) -> Result<(), PoolError> {
        match self.pool().limits().connect_query.clone() {
            Some(query) => introduce(self, &query).await,
            None => Ok(()),
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.done {
            self.failed(PoolError::Closed);
        }
    }
}
