//! What happens after a miss: ask L2, else ask Postgres and keep the answer, unless a write comes between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Cache;
use super::deps::ReadSet;
use super::key::CacheKey;
use super::l1::L1;
use super::l2::{L2, Marks, Read};
use super::local::Local;
use super::versions::Snapshot;

/// What to do after a miss.
#[derive(Debug)]
pub enum Fill {
    /// L2 had the answer.
    Answer(Bytes),
    /// Ask Postgres, then give the answer to [`Cache::finish_fill`]; or drop the ticket.
    Ticket(FillTicket),
    /// Ask Postgres and keep nothing: a write is under way, or the cache is closed.
    Bypass,
}

/// The right to keep one answer: what was true before the question was sent.
pub struct FillTicket {
    key: Box<[u8]>,
    /// Whose versions the snapshot is of.
    local: Arc<Local>,
    taken: Instant,
    snapshot: Snapshot,
    /// The same at Redis, where there is one.
    shared: Option<(Arc<L2>, ReadSet, Marks)>,
}

impl std::fmt::Debug for FillTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FillTicket").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

impl Cache {
    /// Begins after a miss, **before** the question is sent to Postgres.
    ///
    /// With Redis this is one round trip, which brings the answer or what is needed to keep one. It takes 50 ms at
    /// the very most; a Redis that is slow or gone makes it [`Fill::Bypass`].
    pub async fn begin_fill(&self, key: &CacheKey, reads: &ReadSet) -> Fill {
        let Some(l1) = self.local.l1.load_full() else { return Fill::Bypass };
        if !l1.takes(key.as_bytes().len()) {
            return Fill::Bypass;
        }
        // Before L2 is asked as well: its answer goes to L1, and is out of date there by the same rule.
        let Some(snapshot) = self.local.versions.snapshot(reads) else { return Fill::Bypass };
        let ticket = FillTicket {
            key: key.as_bytes().into(),
            local: self.local.clone(),
            taken: Instant::now(),
            snapshot,
            shared: None,
        };
        let Some(l2) = self.l2.load_full() else { return Fill::Ticket(ticket) };
        match l2.read(key.as_bytes(), reads).await {
            Some(Read::Hit { answer, left }) => self.fill_from_l2(&l1, ticket, answer, left),
            Some(Read::Miss(marks)) => {
                self.local.counters.l2_misses.add_one();
                Fill::Ticket(FillTicket { shared: Some((l2, *reads, marks)), ..ticket })
            }
            None => Fill::Bypass,
        }
    }

    fn fill_from_l2(&self, l1: &L1, ticket: FillTicket, answer: Bytes, left: Duration) -> Fill {
        if !self.local.versions.holds(&ticket.snapshot) {
            return Fill::Bypass;
        }
        self.local.counters.l2_hits.add_one();
        // What is left of its time, so that no answer grows older by moving from level to level.
        if let Some(ttl) = l1.time_left(Some(left), Duration::ZERO).filter(|_| l1.takes(answer.len())) {
            l1.insert(ticket.key, &answer, ticket.snapshot, ttl);
        }
        Fill::Answer(answer)
    }

    /// Keeps the answer to a question that was sent after its ticket was taken. It is thrown away when a write came
    /// between, when it is too large, or when the cache was closed in the meantime.
    ///
    /// `ttl` is the rule's own, where it has one. Never waits: L2 is written to in the background.
    pub fn finish_fill(&self, ticket: FillTicket, answer: &[u8], ttl: Option<Duration>) {
        let counters = &self.local.counters;
        match self.keep(ticket, answer, ttl) {
            Some(()) => counters.fills.add_one(),
            None => counters.discarded_fills.add_one(),
        }
    }

    fn keep(&self, ticket: FillTicket, answer: &[u8], ttl: Option<Duration>) -> Option<()> {
        // Another cache, from before this one was switched on: its versions say nothing here.
        if !Arc::ptr_eq(&ticket.local, &self.local) {
            return None;
        }
        let l1 = self.local.l1.load_full().filter(|l1| l1.takes(answer.len()))?;
        let ttl = l1.time_left(ttl, ticket.taken.elapsed())?;
        // Only to save the work: were it to come true a moment later, the lookup would still see it.
        if !self.local.versions.holds(&ticket.snapshot) {
            return None;
        }
        if let Some((l2, reads, marks)) = &ticket.shared {
            l2.store(&ticket.key, reads, marks, answer, ttl);
        }
        l1.insert(ticket.key, answer, ticket.snapshot, ttl);
        Some(())
    }
}
