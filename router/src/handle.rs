//! What others can reach of one client: the servers that a cancel request has to go to, what its session notes about
//! itself, and its task, to which orders are given.

use crate::error::ClientError;
use crate::workers::WorkerId;
use shardway_pool::Pool;
use shardway_pool::cancel::CancelTarget;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Why a client is closed by order, in PgBouncer's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// KILL_CLIENT.
    Killed = HOLD_STILL + 1,
    /// KILL.
    DatabaseRemoved,
    /// It kept SUSPEND waiting.
    SuspendTimeout,
    /// It waits for a server that it will not get any more.
    ShuttingDown,
}

/// No order.
const GO_ON: u8 = 0;

/// Read and write nothing.
const HOLD_STILL: u8 = 1;

/// That it waits for a server: it was not told, is to be, was.
const UNTOLD: u8 = 0;
const TO_BE_TOLD: u8 = 1;
const TOLD: u8 = 2;

impl Reason {
    fn of(order: u8) -> Option<Self> {
        let all = [Self::Killed, Self::DatabaseRemoved, Self::SuspendTimeout, Self::ShuttingDown];
        all.into_iter().find(|reason| *reason as u8 == order)
    }

    /// What the client is told. The SQLSTATE is Postgres's for a connection that an administrator ends.
    pub fn error(self) -> ClientError {
        let message = match self {
            Self::Killed => "admin forced disconnect",
            Self::DatabaseRemoved => "database removed",
            Self::SuspendTimeout => "suspend_timeout",
            Self::ShuttingDown => "server shutting down",
        };
        ClientError::fatal("57P01", message)
    }
}

/// What tells one question of a client from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u64);

/// What a client is told in place of the next cancel's own error.
#[derive(Debug)]
struct Verdict {
    error: ClientError,
    /// After this, another cancel was meant.
    until: Instant,
}

/// What tells one wait of a client from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitId(u64);

fn crossed() -> ClientError {
    let message = "deadlock detected: transactions wait for each other's server connections";
    let hint = "Roll back and try the transaction again; a larger default_pool_size makes this rarer.";
    ClientError::error("40P01", message).hint(hint)
}

/// What a client's session notes about itself: one task writes, others read. Times count from the handle's making.
#[derive(Debug, Default)]
struct Notes {
    /// Microseconds; its last question, from 1.
    request: AtomicU64,
    /// The same, of a wait for a server that goes on; 0: none does.
    waiting_since: AtomicU64,
    /// The wait that is to end without one.
    parted: AtomicU64,
    /// When the last transaction began that was on several shards.
    spans: AtomicU64,
    prepared: AtomicUsize,
    /// Cancel requests that came for it.
    cancels: AtomicUsize,
}

/// A client's handle.
#[derive(Debug)]
pub struct ClientHandle {
    targets: Mutex<Vec<Arc<CancelTarget>>>,
    notes: Notes,
    /// The worker it is to move to, counted from 1; 0 for none.
    moving: AtomicUsize,
    order: AtomicU8,
    /// The order to hold still was carried out.
    is_still: AtomicBool,
    /// How far it is with being told that it waits.
    notice: AtomicU8,
    worker: AtomicUsize,
    born: Instant,
    task: Mutex<Option<Waker>>,
    kept: Mutex<Vec<Arc<CancelTarget>>>,
    /// Where it waits, or did, while it holds another server.
    awaited: Mutex<Weak<Pool>>,
    verdict: Mutex<Option<Verdict>>,
    /// What it calls itself since it changed that.
    application_name: Mutex<Option<Box<str>>>,
}

impl Default for ClientHandle {
    fn default() -> Self {
        Self {
            targets: Mutex::default(),
            notes: Notes::default(),
            moving: AtomicUsize::new(0),
            order: AtomicU8::new(GO_ON),
            is_still: AtomicBool::new(false),
            notice: AtomicU8::new(UNTOLD),
            worker: AtomicUsize::new(0),
            born: Instant::now(),
            task: Mutex::default(),
            kept: Mutex::default(),
            awaited: Mutex::default(),
            verdict: Mutex::default(),
            application_name: Mutex::default(),
        }
    }
}

impl ClientHandle {
    /// Servers that stay with the client while they do nothing for it.
    pub fn kept(&self) -> MutexGuard<'_, Vec<Arc<CancelTarget>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Servers that work for the client now.
    pub fn targets(&self) -> MutexGuard<'_, Vec<Arc<CancelTarget>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which task serves the client, and where. Once for each: a task's waker is good for its whole life, so that
    /// waiting for a shutdown or a reload costs an idle client nothing.
    pub fn attend(&self, task: &Waker, worker: WorkerId) {
        self.worker.store(worker.0, Release);
        // Another destination, given meanwhile, stays.
        let _ = self.moving.compare_exchange(worker.0 + 1, 0, AcqRel, Acquire);
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }

    /// The worker that serves it.
    pub fn worker(&self) -> WorkerId {
        WorkerId(self.worker.load(Acquire))
    }

    /// Has its task move to another worker as soon as it is between transactions.
    pub fn move_to(&self, worker: WorkerId) {
        self.moving.store(worker.0 + 1, Release);
        self.wake();
    }

    /// It need not move, whatever was said before.
    pub fn stay(&self) {
        self.moving.store(0, Release);
    }

    /// The worker it is to move to.
    pub fn destination(&self) -> Option<WorkerId> {
        self.moving.load(Acquire).checked_sub(1).map(WorkerId)
    }

    /// Has its task look what there is.
    pub fn wake(&self) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }

    /// Has it closed at once, whatever it does. The first reason counts.
    pub fn kill(&self, reason: Reason) {
        for order in [GO_ON, HOLD_STILL] {
            let _ = self.order.compare_exchange(order, reason as u8, AcqRel, Acquire);
        }
        self.wake();
    }

    /// Whether it is to be closed.
    pub fn is_killed(&self) -> bool {
        self.order.load(Acquire) > HOLD_STILL
    }

    /// Has its task read and write nothing from here on.
    pub fn hold_still(&self) {
        self.is_still.store(false, Release);
        let _ = self.order.compare_exchange(GO_ON, HOLD_STILL, AcqRel, Acquire);
        self.wake();
    }

    /// Has it go on.
    pub fn go_on(&self) {
        let _ = self.order.compare_exchange(HOLD_STILL, GO_ON, AcqRel, Acquire);
        self.wake();
    }

    /// Its task reads and writes nothing any more.
    pub fn rests(&self) {
        self.is_still.store(true, Release);
    }

    /// Whether it has come to rest since it was told to hold still.
    pub fn is_still(&self) -> bool {
        self.is_still.load(Acquire)
    }

    /// What its task asks before all else: ready if it may go on; pending as long as it is to hold still, which it has to
    /// confirm. Errors: why it is to be closed.
    #[inline]
    pub fn poll_orders(&self) -> Poll<Result<(), Reason>> {
        match self.order.load(Acquire) {
            GO_ON => Poll::Ready(Ok(())),
            order => self.poll_order(order),
        }
    }

    #[cold]
    fn poll_order(&self, order: u8) -> Poll<Result<(), Reason>> {
        match Reason::of(order) {
            Some(reason) => Poll::Ready(Err(reason)),
            None => Poll::Pending,
        }
    }

    /// The client asked for something.
    pub fn requested(&self, at: Instant) {
        self.notes.request.store(self.note(at), Relaxed);
    }

    /// Its last question.
    pub fn request(&self) -> RequestId {
        RequestId(self.notes.request.load(Acquire))
    }

    /// Its transaction, which began then, is on several shards.
    pub fn spans(&self, since: Instant) {
        self.notes.spans.store(self.note(since), Relaxed);
    }

    /// When the last one began that was.
    pub fn spans_since(&self) -> Option<Instant> {
        self.noted(&self.notes.spans)
    }

    /// What its server does is about to be cancelled, and this is why.
    pub fn condemn(&self, error: ClientError, until: Instant) {
        *self.verdict() = Some(Verdict { error, until });
    }

    /// What it will be told in place of the next cancel's own error: its SQLSTATE.
    pub fn verdict_code(&self) -> Option<String> {
        let verdict = self.verdict();
        let verdict = verdict.as_ref().filter(|verdict| Instant::now() <= verdict.until)?;
        Some(verdict.error.code.clone())
    }

    /// Why it was cancelled, if not by somebody who wanted just that.
    pub fn takes_verdict(&self) -> Option<ClientError> {
        let verdict = self.verdict().take()?;
        (Instant::now() <= verdict.until).then_some(verdict.error)
    }

    fn verdict(&self) -> MutexGuard<'_, Option<Verdict>> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cancel request came for it.
    pub fn is_cancelled(&self) {
        self.notes.cancels.fetch_add(1, AcqRel);
        self.wake();
    }

    /// How many have come.
    pub fn cancels(&self) -> usize {
        self.notes.cancels.load(Acquire)
    }

    /// It waits for a server.
    pub fn waits(&self, since: Instant) {
        // Whoever sees this sees what it holds, and where it waits.
        self.notes.waiting_since.store(self.note(since), Release);
    }

    /// It is about to wait there, and holds another server.
    pub fn waits_in(&self, pool: &Arc<Pool>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(pool);
    }

    /// Where it waits, if it holds another server.
    pub fn awaited(&self) -> Option<Arc<Pool>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Its wait for a server.
    pub fn wait(&self) -> Option<WaitId> {
        Some(self.notes.waiting_since.load(Acquire)).filter(|note| *note > 0).map(WaitId)
    }

    /// Has it give up that wait: who holds what it waits for waits for it.
    pub fn part(&self, wait: WaitId) {
        self.notes.parted.store(wait.0, Release);
        self.wake();
    }

    /// The error for a client that waits, if it is to give up.
    pub fn parted(&self) -> Option<ClientError> {
        let parted = self.notes.parted.load(Acquire);
        (parted > 0 && parted == self.notes.waiting_since.load(Relaxed)).then(crossed)
    }

    /// It has its server, or gave up.
    pub fn waits_no_more(&self) {
        self.notes.waiting_since.store(0, Relaxed);
        if self.notice.load(Relaxed) == TO_BE_TOLD {
            self.notice.store(UNTOLD, Relaxed);
        }
    }

    /// Has the client told that it waits for a server: once in its life.
    pub fn tell_that_it_waits(&self) {
        if self.notice.compare_exchange(UNTOLD, TO_BE_TOLD, AcqRel, Acquire).is_ok() {
            self.wake();
        }
    }

    /// Whether it is to be told now; only once.
    pub fn takes_notice(&self) -> bool {
        let is_due = self.notice.load(Acquire) == TO_BE_TOLD;
        if is_due {
            self.notice.store(TOLD, Release);
        }
        is_due
    }

    /// Whether it was told.
    pub fn was_told(&self) -> bool {
        self.notice.load(Relaxed) == TOLD
    }

    /// Named statements that it has now.
    pub fn has_prepared(&self, count: usize) {
        self.notes.prepared.store(count, Relaxed);
    }

    /// When it asked for something last.
    pub fn request_time(&self) -> Option<Instant> {
        self.noted(&self.notes.request)
    }

    /// Since when it waits for a server.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.noted(&self.notes.waiting_since)
    }

    /// Named statements that it has.
    pub fn prepared(&self) -> usize {
        self.notes.prepared.load(Relaxed)
    }

    /// It calls itself something else now.
    pub fn is_called(&self, application_name: &str) {
        *self.application_name.lock().unwrap_or_else(PoisonError::into_inner) = Some(application_name.into());
    }

    /// What it calls itself, if that is not what it said first.
    pub fn application_name(&self) -> Option<String> {
        self.application_name.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(str::to_owned)
    }

    fn note(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    fn noted(&self, note: &AtomicU64) -> Option<Instant> {
        let micros = note.load(Relaxed).checked_sub(1)?;
        Some(self.born + Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_to_hold_still_goes_on_when_that_is_taken_back() {
        let handle = ClientHandle::default();
        assert!(matches!(handle.poll_orders(), Poll::Ready(Ok(()))));
        handle.hold_still();
        assert!(!handle.is_still());
        assert!(handle.poll_orders().is_pending() && !handle.is_still());
        handle.rests();
        assert!(handle.is_still());
        handle.go_on();
        assert!(matches!(handle.poll_orders(), Poll::Ready(Ok(()))));
    }

    #[test]
    fn who_is_to_be_closed_is_closed_for_the_first_reason_whatever_is_said_later() {
        let handle = ClientHandle::default();
        handle.hold_still();
        handle.kill(Reason::DatabaseRemoved);
        handle.kill(Reason::Killed);
        handle.hold_still();
        handle.go_on();
        assert!(handle.is_killed());
        assert_eq!(handle.poll_orders(), Poll::Ready(Err(Reason::DatabaseRemoved)));
    }

    #[test]
    fn a_client_is_told_once_that_it_waits_and_not_when_it_waits_no_more() {
        let handle = ClientHandle::default();
        handle.tell_that_it_waits();
        handle.waits_no_more();
        assert!(!handle.takes_notice() && !handle.was_told());
        handle.tell_that_it_waits();
        assert!(handle.takes_notice() && handle.was_told() && !handle.takes_notice());
        handle.tell_that_it_waits();
        assert!(!handle.takes_notice());
    }

    #[test]
    fn who_is_to_give_up_one_wait_does_not_give_up_another() {
        let handle = ClientHandle::default();
        handle.waits(handle.born);
        let wait = handle.wait().unwrap();
        handle.waits_no_more();
        handle.part(wait);
        assert!(handle.parted().is_none());
        handle.waits(handle.born + Duration::from_micros(1));
        assert!(handle.parted().is_none());
        handle.part(handle.wait().unwrap());
        assert_eq!(handle.parted().map(|error| error.code).as_deref(), Some("40P01"));
    }

    #[test]
    fn a_verdict_is_told_once_and_not_much_later() {
        let handle = ClientHandle::default();
        let error = ClientError::error("40P01", "deadlock detected");
        assert_eq!(handle.takes_verdict(), None);
        handle.condemn(error.clone(), Instant::now() + Duration::from_secs(60));
        assert_eq!((handle.takes_verdict(), handle.takes_verdict()), (Some(error.clone()), None));
        handle.condemn(error, handle.born);
        assert_eq!(handle.takes_verdict(), None);
    }

    #[test]
    fn notes_are_what_was_noted() {
        let handle = ClientHandle::default();
        assert_eq!((handle.request_time(), handle.waiting_since()), (None, None));
        let at = handle.born + Duration::from_micros(7);
        handle.requested(at);
        handle.waits(handle.born);
        assert_eq!((handle.request_time(), handle.waiting_since()), (Some(at), Some(handle.born)));
        handle.waits_no_more();
        assert_eq!(handle.waiting_since(), None);
    }
}
