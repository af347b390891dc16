//! Workers: the threads that serve clients, and how many of them are in use.
//!
//! Each is a current-thread runtime, and a client's whole life at a time is on one of them. As long as one can do the
//! work, one does it: it then finds more to do each time it looks, and sleeps and wakes less often, which is what
//! most of a proxy's time goes into. When the busiest comes near its limit another one joins and clients move
//! over, each between two of its transactions; when there is less to do they move back.

use crate::handle::ClientHandle;
use crate::proxy::Proxy;
use shardway_config::WorkerUse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A worker's place among all of them, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId(pub usize);

/// A thread that serves clients.
#[derive(Debug)]
pub struct Worker {
    /// Its runtime.
    pub runtime: Handle,
    /// The clock that counts the time it runs.
    clock: libc::clockid_t,
}

impl Worker {
    /// The calling thread as a worker, with the runtime that it is to run.
    pub fn this_thread(runtime: Handle) -> Self {
        let mut clock = 0;
        // SAFETY: a thread's own id is valid, and `clock` outlives the call.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        Self { runtime, clock: if failed == 0 { clock } else { libc::CLOCK_PROCESS_CPUTIME_ID } }
    }

    /// How long it has run.
    fn ran(&self) -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` outlives the call; a clock that is gone makes it fail and leaves zero.
        unsafe { libc::clock_gettime(self.clock, &mut time) };
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

/// All workers.
#[derive(Debug)]
pub struct Workers {
    all: OnceLock<Vec<Worker>>,
    /// How many of them are in use.
    active: AtomicUsize,
    next: AtomicUsize,
}

impl Default for Workers {
    fn default() -> Self {
        Self { all: OnceLock::new(), active: AtomicUsize::new(1), next: AtomicUsize::new(0) }
    }
}

/// How often the workers' loads are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Share of its time that a worker may be busy before another one joins in.
const BUSY: f64 = 0.8;

/// Share of their time that those who stay may be busy before the last one leaves.
const SLACK: f64 = 0.5;

/// Looks in a row that must say so before one joins in.
const JOIN_AFTER: u32 = 2;

/// Looks in a row that must say so before one leaves.
const LEAVE_AFTER: u32 = 50;

impl Workers {
    /// Takes the workers, once, when all of them run.
    pub fn assemble(&self, workers: Vec<Worker>) {
        let _ = self.all.set(workers);
    }

    fn all(&self) -> &[Worker] {
        self.all.get().map_or(&[], Vec::as_slice)
    }

    /// How many are in use.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// The worker for a new client: those in use take turns.
    pub fn place(&self) -> WorkerId {
        let active = self.active();
        WorkerId(if active == 1 { 0 } else { self.next.fetch_add(1, Ordering::Relaxed) % active })
    }

    /// A worker's runtime; the caller's own while the workers are not all there yet.
    pub fn runtime(&self, id: WorkerId) -> Handle {
        self.all().get(id.0).map_or_else(Handle::current, |worker| worker.runtime.clone())
    }
}

/// Watches the workers' loads, and has clients move; for a background task.
pub async fn balance(proxy: Arc<Proxy>) {
    let workers = &proxy.workers;
    let mut tick = tokio::time::interval(TICK);
    let mut balance = Balance::default();
    let mut before: Vec<Duration> = workers.all().iter().map(Worker::ran).collect();
    let mut looked = Instant::now();
    loop {
        tick.tick().await;
        let (ran, now): (Vec<_>, _) = (workers.all().iter().map(Worker::ran).collect(), Instant::now());
        let passed = now.saturating_duration_since(looked).as_secs_f64().max(0.001);
        let loads: Vec<f64> = ran
            .iter()
            .zip(&before)
            .map(|(now, then)| now.saturating_sub(*then).as_secs_f64() / passed)
            .collect();
        (before, looked) = (ran, now);
        let active = workers.active();
        let wanted = balance.follow(proxy.world().config.server.worker_use, &loads, active);
        if wanted != active {
            workers.active.store(wanted, Ordering::Release);
            tracing::debug!(workers = wanted, "workers in use");
            spread(&proxy.client_handles(), wanted);
        }
    }
}

/// Has clients move so that each of the first `active` workers serves its share.
fn spread(clients: &[Arc<ClientHandle>], active: usize) {
    let share = clients.len().div_ceil(active);
    let mut served = vec![0; active];
    let mut homeless = Vec::new();
    for client in clients {
        match served.get_mut(client.worker().0) {
            Some(count) if *count < share => {
                *count += 1;
                client.stay();
            }
            _ => homeless.push(client),
        }
    }
    let mut free = served.iter().enumerate().flat_map(|(id, count)| std::iter::repeat_n(id, share - count));
    for client in homeless {
        if let Some(id) = free.next() {
            client.move_to(WorkerId(id));
        }
    }
}

/// How many workers are to be in use, from look to look.
#[derive(Debug, Default)]
struct Balance {
    all: bool,
    busy: u32,
    slack: u32,
}

impl Balance {
    /// How many from here on, as the configuration has it.
    fn follow(&mut self, which: WorkerUse, loads: &[f64], active: usize) -> usize {
        let before = std::mem::replace(&mut self.all, which == WorkerUse::All);
        match which {
            WorkerUse::All => loads.len(),
            // From the beginning, then.
            WorkerUse::Auto if before => 1,
            WorkerUse::Auto => self.decide(loads, active),
        }
    }

    /// How many from here on; `loads` are the shares of their time that the workers ran since the last look.
    fn decide(&mut self, loads: &[f64], active: usize) -> usize {
        let all = loads.len();
        let loads = &loads[..active.min(all)];
        let total: f64 = loads.iter().sum();
        let busiest = loads.iter().copied().fold(0.0, f64::max);
        self.busy = if busiest > BUSY { self.busy + 1 } else { 0 };
        self.slack = if active > 1 && total < SLACK * (active - 1) as f64 { self.slack + 1 } else { 0 };
        if self.busy >= JOIN_AFTER && active < all {
            self.busy = 0;
            return active + 1;
        }
        if self.slack >= LEAVE_AFTER {
            self.slack = 0;
            return active - 1;
        }
        active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(looks: u32, loads: &[f64], active: usize) -> usize {
        let mut balance = Balance::default();
        (0..looks).map(|_| balance.decide(loads, active)).last().unwrap_or(active)
    }

    #[test]
    fn one_worker_does_what_it_can() {
        assert_eq!(after(100, &[0.7, 0.0], 1), 1);
    }

    #[test]
    fn a_busy_worker_gets_help_and_a_moment_is_not_enough() {
        assert_eq!(after(1, &[0.95, 0.0], 1), 1);
        assert_eq!(after(2, &[0.95, 0.0], 1), 2);
    }

    #[test]
    fn there_are_no_more_than_there_are() {
        assert_eq!(after(100, &[1.0, 1.0], 2), 2);
    }

    #[test]
    fn every_worker_gets_its_share_and_nobody_moves_without_need() {
        let clients: Vec<_> = (0..5).map(|_| Arc::new(ClientHandle::default())).collect();
        spread(&clients, 2);
        let moved: Vec<_> = clients.iter().filter_map(|client| client.destination()).collect();
        assert_eq!(moved, [WorkerId(1), WorkerId(1)]);
        spread(&clients, 1);
        assert!(clients[0].destination().is_none());
    }

    #[test]
    fn those_with_little_to_do_leave_after_a_while() {
        assert_eq!(after(49, &[0.2, 0.2], 2), 2);
        assert_eq!(after(50, &[0.2, 0.2], 2), 1);
        assert_eq!(after(500, &[0.4, 0.4], 2), 2);
    }
}
