//! Counts per database, as PgBouncer's SHOW STATS has them.
//!
//! Cheap to write: a [`Tally`] belongs to one database on one worker thread, which alone adds to it, with a plain
//! load and store. Readers sum over the workers. Averages are over the last whole period and what has passed since.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is counted, in the order of PgBouncer's columns. Times are microseconds, volumes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A server was lent to a client.
    ServerAssignments,
    /// Transactions that ended; a statement outside of one is one.
    Transactions,
    /// Statements that servers ran.
    Queries,
    /// From clients.
    Received,
    /// To clients.
    Sent,
    /// Between a transaction's first statement and its end, its idle time included.
    TransactionTime,
    /// Servers at work for a statement.
    QueryTime,
    /// Clients waiting for a server; added when they have got one.
    WaitTime,
    /// Parse messages of clients, of named statements.
    ClientParses,
    /// Parse messages to servers.
    ServerParses,
    /// Bind messages of clients, of named statements.
    Binds,
}

/// How many there are.
pub const COUNTS: usize = 11;

/// PgBouncer's names for [`Count`]s in STATS_TOTALS and, with prefixes, everywhere else.
pub(super) const NAMES: [&str; COUNTS] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
];

/// A database's counts on one worker. Only that worker's thread may add. Apart from what other threads write: a cache line
/// that two of them write to costs both a lot.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally([AtomicU64; COUNTS]);

impl Tally {
    /// Adds to a count, without an atomic addition: nobody else writes it.
    pub fn add(&self, count: Count, amount: u64) {
        let cell = &self.0[count as usize];
        cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
    }
}

/// A look at counts, in the order of [`Count`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; COUNTS]);

impl Counts {
    /// One of them.
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: &Counts) -> Self {
        Self(std::array::from_fn(|n| self.0[n].wrapping_add(other.0[n])))
    }

    /// PgBouncer's averages since `old`, which is `past` ago: events and bytes per second; microseconds per
    /// transaction, per query, and per server that was waited for.
    pub fn averages(&self, old: &Counts, past: Duration) -> Self {
        let gone = |n: usize| self.0[n].saturating_sub(old.0[n]);
        let micros = past.as_micros().max(1);
        let each = |n: usize, of: Count| gone(n).checked_div(gone(of as usize)).unwrap_or(0);
        Self(std::array::from_fn(|n| match n {
            n if n == Count::TransactionTime as usize => each(n, Count::Transactions),
            n if n == Count::QueryTime as usize => each(n, Count::Queries),
            n if n == Count::WaitTime as usize => each(n, Count::ServerAssignments),
            n => u64::try_from(u128::from(gone(n)) * 1_000_000 / micros).unwrap_or(u64::MAX),
        }))
    }
}

/// Counts of every database, with a memory of how they were.
#[derive(Debug)]
pub struct Tallies {
    cells: Mutex<HashMap<(String, u32), Arc<Tally>>>,
    periods: Mutex<Periods>,
}

/// The begins of the last period and of the one before.
#[derive(Debug)]
struct Periods {
    older: (Instant, BTreeMap<String, Counts>),
    newer: (Instant, BTreeMap<String, Counts>),
}

impl Default for Tallies {
    fn default() -> Self {
        let start = || (Instant::now(), BTreeMap::new());
        let periods = Mutex::new(Periods { older: start(), newer: start() });
        Self { cells: Mutex::default(), periods }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tallies {
    /// The tally of a database on a worker, for that worker's sessions to keep.
    pub fn of(&self, database: &str, worker: u32) -> Arc<Tally> {
        lock(&self.cells).entry((database.to_owned(), worker)).or_default().clone()
    }

    /// What was counted, by database.
    pub fn totals(&self) -> BTreeMap<String, Counts> {
        let mut totals = BTreeMap::<String, Counts>::new();
        for ((database, _), tally) in lock(&self.cells).iter() {
            let counts = Counts(std::array::from_fn(|n| tally.0[n].load(Relaxed)));
            let total = totals.entry(database.clone()).or_default();
            *total = total.plus(&counts);
        }
        totals
    }

    /// How the counts stood one to two periods ago, and how long that is.
    pub(super) fn before(&self, now: Instant) -> (BTreeMap<String, Counts>, Duration) {
        let periods = lock(&self.periods);
        (periods.older.1.clone(), now.saturating_duration_since(periods.older.0))
    }

    /// Ends a period.
    pub(super) fn turn(&self, now: Instant) {
        let totals = self.totals();
        let mut periods = lock(&self.periods);
        periods.older = std::mem::replace(&mut periods.newer, (now, totals));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_counts_are_summed_by_database() {
        let tallies = Tallies::default();
        for (database, worker, amount) in [("shop", 1, 3), ("shop", 2, 4), ("annex", 1, 1)] {
            tallies.of(database, worker).add(Count::Queries, amount);
        }
        let totals = tallies.totals();
        let queries = |name: &str| totals[name].get(Count::Queries);
        assert_eq!((queries("shop"), queries("annex")), (7, 1));
    }

    #[test]
    fn averages_are_per_second_and_times_per_event() {
        let tallies = Tallies::default();
        let start = Instant::now();
        tallies.turn(start);
        let tally = tallies.of("shop", 1);
        for (count, amount) in [(Count::Queries, 600), (Count::QueryTime, 1_200_000), (Count::Sent, 6000)] {
            tally.add(count, amount);
        }
        tallies.turn(start + Duration::from_secs(60));
        let (before, past) = tallies.before(start + Duration::from_secs(60));
        let old = before.get("shop").copied().unwrap_or_default();
        let averages = tallies.totals()["shop"].averages(&old, past);
        assert_eq!(past, Duration::from_secs(60));
        let [queries, time, sent] = [Count::Queries, Count::QueryTime, Count::Sent].map(|c| averages.get(c));
        assert_eq!((queries, time, sent), (10, 2000, 100));
        assert_eq!(averages.get(Count::WaitTime), 0, "nobody waited");
    }
}
