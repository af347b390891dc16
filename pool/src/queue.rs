//! Clients that wait for a server of a pool: first come, first served (PgBouncer's FIFO), but for a small preference
//! that spares a socket's move from one runtime to another.

use crate::error::PoolError;
use crate::lease::Lease;
use crate::pool::Pool;
use crate::server;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What a client that waited is given.
pub(crate) type Outcome = Result<Lease, PoolError>;

/// How much longer another runtime's client must have waited to be served before one of the server's own: moving a
/// server costs system calls on both sides and a wake-up.
const HEAD_START: Duration = Duration::from_millis(5);

/// Places in the queue that are looked at for that.
const FAR_ENOUGH: usize = 64;

/// A client in the queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) sender: oneshot::Sender<Outcome>,
    /// Runtime that it lives in.
    worker: u32,
    since: Instant,
    /// Whether it holds a server of another pool meanwhile.
    engaged: bool,
}

/// The clients that wait, longest first.
#[derive(Debug, Default)]
pub(crate) struct Queue(VecDeque<Waiter>);

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a client in that lives on the calling thread; `engaged`: it holds a server of another pool meanwhile.
    pub(crate) fn join(&mut self, now: Instant, engaged: bool) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.0.push_back(Waiter { sender, worker: server::worker(), since: now, engaged });
        receiver
    }

    /// Drops the places of clients that left.
    fn tidy(&mut self) {
        self.0.retain(|waiter| !waiter.sender.is_closed());
    }

    /// Whoever waits longest, with a small preference for those who live where the server is at home.
    pub(crate) fn next(&mut self, home: u32) -> Option<Waiter> {
        let first = self.0.front()?;
        if first.worker != home
            && let Some(at) = self.0.iter().take(FAR_ENOUGH).position(|waiter| waiter.worker == home)
            && self.0[at].since.saturating_duration_since(first.since) <= HEAD_START
        {
            return self.0.remove(at);
        }
        self.0.pop_front()
    }

    /// The engaged one that waits longest: who is in the middle of something is served even by a paused pool.
    pub(crate) fn next_engaged(&mut self) -> Option<Waiter> {
        let at = self.0.iter().position(|waiter| waiter.engaged)?;
        self.0.remove(at)
    }

    /// How many are engaged.
    pub(crate) fn engaged(&self) -> usize {
        self.0.iter().filter(|waiter| waiter.engaged).count()
    }

    /// Whether one of those has waited for `limit`.
    pub(crate) fn engaged_waited(&self, now: Instant, limit: Duration) -> bool {
        self.0.iter().any(|waiter| waiter.engaged && now.saturating_duration_since(waiter.since) >= limit)
    }

    /// Since when the first one waits.
    pub(crate) fn first_since(&self) -> Option<Instant> {
        self.0.front().map(|waiter| waiter.since)
    }

    /// How many have waited for `limit`.
    pub(crate) fn waited(&self, now: Instant, limit: Duration) -> usize {
        self.0.iter().take_while(|waiter| now.saturating_duration_since(waiter.since) >= limit).count()
    }

    /// Those that have waited for `limit`.
    pub(crate) fn late(&mut self, now: Instant, limit: Duration) -> Vec<Waiter> {
        let is_late = |w: &Waiter| now.saturating_duration_since(w.since) >= limit;
        let mut late = Vec::new();
        while self.0.front().is_some_and(is_late) {
            late.extend(self.0.pop_front());
        }
        late
    }

    /// All of them; nobody waits then.
    pub(crate) fn drain(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.0).into()
    }
}

/// A client's place in the queue; left early, it is given up.
#[derive(Debug)]
pub struct Turn {
    receiver: oneshot::Receiver<Outcome>,
    pool: Arc<Pool>,
    served: bool,
}

impl Turn {
    pub(crate) fn new(receiver: oneshot::Receiver<Outcome>, pool: Arc<Pool>) -> Self {
        Self { receiver, pool, served: false }
    }

    /// Where it is.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Ready with a server when it is this client's turn. Errors: see [`PoolError`].
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
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
        self.pool.with_queue(Queue::tidy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_another_server_is_found_wherever_it_stands() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let _clients: Vec<_> = [false, true, false, true].map(|engaged| queue.join(now, engaged)).into();
        assert_eq!(queue.engaged(), 2);
        assert!(queue.next_engaged().is_some_and(|waiter| waiter.engaged));
        assert_eq!((queue.engaged(), queue.len()), (1, 3));
        assert!(queue.next_engaged().is_some());
        assert!(queue.next_engaged().is_none());
    }

    #[test]
    fn those_who_have_waited_long_stand_first() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let _clients: Vec<_> = [3, 2, 1].map(|ago| queue.join(now - ago * second, false)).into();
        assert_eq!(queue.waited(now, 2 * second), 2);
        assert_eq!(queue.first_since(), Some(now - 3 * second));
        assert_eq!(queue.late(now, 3 * second).len(), 1);
        assert_eq!(queue.waited(now, 2 * second), 1);
    }
}
