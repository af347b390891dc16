//! What is counted, under the prefix `shardway_`.

use crate::plan::Tier;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds: 50 µs to 10 s.
const BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// The counters that sessions touch. Handles are resolved once, so that counting is an atomic addition.
pub struct Metrics {
    registry: Registry,
    single: IntCounter,
    scatter: IntCounter,
    combine: IntCounter,
    gather: IntCounter,
    local: IntCounter,
    cached: IntCounter,
    refused: IntCounter,
    /// From the last byte of a statement to the last byte of its answer.
    pub latency: Histogram,
    /// Clients logged in.
    pub clients: IntGauge,
    /// Clients that could not log in.
    pub login_failures: IntCounter,
    /// Statements that a replica served.
    pub replica_reads: IntCounter,
    /// Errors that servers sent, passed on.
    pub server_errors: IntCounter,
    /// Reloads that were taken, and those that were not.
    pub reloads: IntCounterVec,
    /// Transactions that several servers were to commit together, by outcome.
    pub two_phase: IntCounterVec,
    /// Transactions over several shards that were ended for others to go on.
    pub deadlocks: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let queries =
            IntCounterVec::new(Opts::new("shardway_queries_total", "Statements by tier"), &["tier"]);
        let reloads =
            IntCounterVec::new(Opts::new("shardway_reloads_total", "Reloads by outcome"), &["outcome"]);
        let latency = HistogramOpts::new("shardway_query_duration_seconds", "Statement latency")
            .buckets(BUCKETS.to_vec());
        let commits = Opts::new("shardway_two_phase_commits_total", "Commits on several servers by outcome");
        let two_phase = valid(IntCounterVec::new(commits, &["outcome"]));
        let (queries, reloads) = (valid(queries), valid(reloads));
        let metrics = Self {
            single: queries.with_label_values(&["single"]),
            scatter: queries.with_label_values(&["scatter"]),
            combine: queries.with_label_values(&["combine"]),
            gather: queries.with_label_values(&["gather"]),
            local: queries.with_label_values(&["local"]),
            cached: queries.with_label_values(&["cached"]),
            refused: queries.with_label_values(&["refused"]),
            latency: valid(Histogram::with_opts(latency)),
            clients: valid(IntGauge::new("shardway_clients", "Clients logged in")),
            login_failures: valid(IntCounter::new(
                "shardway_login_failures_total",
                "Clients that could not log in",
            )),
            replica_reads: valid(IntCounter::new(
                "shardway_replica_reads_total",
                "Statements that a replica served",
            )),
            server_errors: valid(IntCounter::new("shardway_server_errors_total", "Errors sent by servers")),
            reloads: reloads.clone(),
            two_phase: two_phase.clone(),
            deadlocks: valid(IntCounter::new(
                "shardway_deadlocks_total",
                "Transactions ended because of a deadlock over several shards",
            )),
            registry,
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 9] = [
            Box::new(queries),
            Box::new(reloads),
            Box::new(two_phase),
            Box::new(metrics.deadlocks.clone()),
            Box::new(metrics.latency.clone()),
            Box::new(metrics.clients.clone()),
            Box::new(metrics.login_failures.clone()),
            Box::new(metrics.replica_reads.clone()),
            Box::new(metrics.server_errors.clone()),
        ];
        for collector in collectors {
            valid(metrics.registry.register(collector));
        }
        metrics
    }

    /// A statement that servers ran.
    pub fn ran(&self, tier: Tier, took: Duration) {
        match tier {
            Tier::Single => self.single.inc(),
            Tier::Scatter => self.scatter.inc(),
            Tier::Combine => self.combine.inc(),
            Tier::Gather => self.gather.inc(),
        }
        self.latency.observe(took.as_secs_f64());
    }

    /// A statement that no server saw: BEGIN held back, SHOW on the admin database.
    pub fn local(&self) {
        self.local.inc();
    }

    /// A statement that the cache answered.
    pub fn cached(&self) {
        self.cached.inc();
    }

    /// A statement that was not proven.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Everything in Prometheus's text format, without what is gathered elsewhere.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        if let Err(e) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!("metrics could not be encoded: {e}");
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Names and labels above are constants: a failure is a mistake of ours that any start shows.
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("metric names and labels are valid")
}
