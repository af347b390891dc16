//! What a case is: which work each contestant is given, and what is asked of Shardway. The list is in `cases`.

use serde::Serialize;

/// How pgbench sends a statement (its `-M`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One Query message.
    Simple,
    /// Parse, Bind, Execute each time.
    Extended,
    /// Parse once, under a name.
    Prepared,
}

impl Mode {
    /// pgbench's word.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Simple => "simple",
            Mode::Extended => "extended",
            Mode::Prepared => "prepared",
        }
    }
}

/// Which of a contestant's databases a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One database, 20 servers.
    Main,
    /// The same database, through a pool of five.
    Narrow,
    /// Four shards; Shardway only.
    Sharded,
    /// Four shards behind a Shardway whose cache is on.
    Cached,
}

/// A pgbench script.
#[derive(Debug)]
pub struct Script {
    /// For file names.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// One statement of it, to ask whether it is served.
    pub probe: &'static str,
    /// How many rows the probe has.
    pub rows: usize,
    /// How many transactions make a warm-up of some tenths of a second.
    pub warm_up: usize,
    /// The share of transactions whose latency is logged: what is quick would pay for its log.
    pub logged: f64,
    /// What is run on the server itself before each run, on each of the databases behind it, so that every run finds
    /// the same tables.
    pub before: &'static str,
}

/// One pgbench run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is run.
    pub script: &'static Script,
    /// How it is sent.
    pub mode: Mode,
    /// Connections.
    pub clients: usize,
    /// pgbench's threads.
    pub threads: usize,
    /// A new connection for each transaction.
    pub reconnect: bool,
    /// Where.
    pub place: Place,
}

/// The way that COPY goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `COPY … TO STDOUT`.
    Out,
    /// `COPY … FROM STDIN`.
    In,
}

/// What a contestant is given to do.
#[derive(Clone, Copy, Debug)]
pub enum Workload {
    /// pgbench.
    Pgbench(Load),
    /// One big COPY after the other, through psql.
    Copy(Direction),
    /// So many clients that have run one query and wait.
    Idle {
        /// How many.
        clients: usize,
    },
}

/// What a case counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Transactions; the cost is µs of CPU each.
    Transaction,
    /// Megabytes; the cost is µs of CPU for 100 of them.
    Megabyte,
    /// Idle clients; the cost is KiB each.
    Client,
}

/// What is asked of Shardway in a case, each against PgBouncer in the same run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this many times PgBouncer's CPU.
    Cpu(f64),
    /// At least this many times PgBouncer's throughput.
    Rate(f64),
    /// At most so many KiB for a client.
    KibPerClient(f64),
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// `group/what/how`.
    pub name: String,
    /// What Postgres itself is given, where that means anything.
    pub direct: Option<Workload>,
    /// What PgBouncer is given: where Shardway's work needs shards, the nearest that one database has.
    pub pgbouncer: Workload,
    /// What every Shardway is given.
    pub shardway: Workload,
    /// What is asked of it.
    pub goals: Vec<Goal>,
}

impl Case {
    /// What it counts.
    pub fn unit(&self) -> Unit {
        match self.shardway {
            Workload::Pgbench(_) => Unit::Transaction,
            Workload::Copy(_) => Unit::Megabyte,
            Workload::Idle { .. } => Unit::Client,
        }
    }

    /// Whether Shardway is to have its cache on for it.
    pub fn needs_cache(&self) -> bool {
        matches!(self.shardway, Workload::Pgbench(Load { place: Place::Cached, .. }))
    }
}
