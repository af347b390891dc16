//! What a session counts for SHOW STATS, and notes for SHOW CLIENTS.
//!
//! Counting is done where the numbers are at hand: once for each message that is answered, with the times that the
//! session has looked up anyway, into cells that only its own thread writes.

use super::Session;
use crate::admin::tally::{Count, Tally};
use crate::proxy::Proxy;
use shardway_pool::wire::Wire;
use shardway_pool::{Lease, server};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What has been counted so far.
pub(super) struct Meter {
    /// Of the database, on the worker that serves the session.
    tally: Arc<Tally>,
    worker: u32,
    /// When the transaction that goes on began.
    began: Option<Instant>,
    /// The client's bytes that are counted already.
    received: u64,
    sent: u64,
    /// Servers that stay with the session and are listed as its own.
    kept: usize,
}

impl Meter {
    /// For a session that lives on the calling thread. What its client has said to log in is not counted.
    pub(super) fn new(proxy: &Proxy, database: &str, client: &Wire) -> Self {
        let worker = server::worker();
        let tally = proxy.admin.tallies.of(database, worker);
        Self { tally, worker, began: None, received: client.received, sent: client.sent, kept: 0 }
    }

    /// Where to count what happens once.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

fn micros(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + u64::from(time.subsec_micros())
}

impl Session {
    /// From here on it counts where the calling thread does.
    pub(super) fn meter_here(&mut self) {
        let worker = server::worker();
        if self.meter.worker != worker {
            self.meter.worker = worker;
            self.meter.tally = self.proxy.admin.tallies.of(&self.database.name, worker);
        }
    }

    /// A message was taken up at `self.now`.
    pub(super) fn note_request(&self) {
        self.registration.handle.requested(self.now);
    }

    /// It is answered, up to ReadyForQuery. As with PgBouncer, a message counts as one query, whatever is in it, and its
    /// time includes its wait for a server.
    pub(super) fn meter_answer(&mut self, end: Instant) {
        let Meter { tally, began, received, sent, .. } = &mut self.meter;
        tally.add(Count::Queries, 1);
        tally.add(Count::QueryTime, micros(end.saturating_duration_since(self.now)));
        let (new_received, new_sent) = (self.client.received, self.client.sent);
        tally.add(Count::Received, new_received - std::mem::replace(received, new_received));
        tally.add(Count::Sent, new_sent - std::mem::replace(sent, new_sent));
        let start = began.unwrap_or_else(|| {
            tally.add(Count::Transactions, 1);
            self.now
        });
        *began = self.transaction.is_some().then_some(start);
        if began.is_none() {
            tally.add(Count::TransactionTime, micros(end.saturating_duration_since(start)));
        }
    }

    /// A server was lent to it at once.
    pub(super) fn meter_lease(&self) {
        self.meter.tally.add(Count::ServerAssignments, 1);
    }

    /// A server was lent to it that it has waited for since then. Until when is known without a look at the clock.
    pub(super) fn meter_wait(&self, since: Instant, lease: &Lease) {
        self.meter_lease();
        let waited = lease.free_since().saturating_duration_since(since);
        self.meter.tally.add(Count::WaitTime, micros(waited));
    }

    /// There may be other servers that stay with the session than are listed.
    pub(super) fn note_kept(&mut self) {
        if self.kept.len() != self.meter.kept {
            self.list_kept();
        }
    }

    /// Lists the servers that stay with the session.
    pub(super) fn list_kept(&mut self) {
        self.meter.kept = self.kept.len();
        let kept = self.kept.iter().map(|participant| participant.lease.cancel_target().clone());
        *self.registration.handle.kept() = kept.collect();
        self.proxy.deadlocks.stir();
    }

    /// It has servers of several shards, or is about to.
    pub(super) fn note_span(&self) {
        self.registration.handle.spans(self.meter.began.unwrap_or(self.now));
        self.proxy.deadlocks.stir();
    }

    /// How many named statements the client has.
    pub(super) fn note_prepared(&self) {
        self.registration.handle.has_prepared(self.statements.len());
    }
}
