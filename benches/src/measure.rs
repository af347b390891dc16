//! One contestant, one case, one round: warm-up, run, and what it took.

use crate::case::{Case, Load, Mode, Place, Workload};
use crate::contestant::Contestant;
use crate::copy;
use crate::figures::{Figures, Metric, Outcome, percentile};
use crate::fill::{DATABASE, SHARDS, shard_database};
use crate::idle;
use crate::pgbench::{Length, Pgbench};
use crate::pgbouncer::PREPARED_PER_SIMPLE;
use crate::process::cpu_time;
use crate::wire::{Client, Endpoint};
use shardway_cluster::Server;
use std::time::Duration;

/// What all runs share.
pub struct Bench<'a> {
    /// Behind everybody.
    pub server: &'a Server,
    /// The load generator.
    pub pgbench: &'a Pgbench,
    /// How long a run is.
    pub seconds: u32,
}

/// Why there are no figures.
pub enum Trouble {
    /// The proxy does not support the statement.
    Refused(String),
    /// Something is wrong.
    Failed(String),
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Trouble::Failed(what)
    }
}

impl Bench<'_> {
    /// What becomes of `who` in `case`.
    pub fn run(&self, who: &Contestant, case: &Case) -> Outcome {
        let Some(work) = who.work(case) else { return Outcome::Without };
        let (work, estimated) = feasible(who, work);
        let ran = match &work {
            Workload::Pgbench(load) => self.pgbench(who, load),
            Workload::Copy(direction) => copy::run(self, who, *direction).map_err(Trouble::from),
            Workload::Idle { clients } => idle::run(self, who, *clients).map_err(Trouble::from),
        };
        match ran {
            Ok(figures) if estimated => Outcome::Measured { figures: as_prepared(figures), estimated },
            Ok(figures) => Outcome::Measured { figures, estimated },
            Err(Trouble::Refused(why)) => Outcome::Refused(why),
            Err(Trouble::Failed(why)) => Outcome::Failed(why),
        }
    }

    fn pgbench(&self, who: &Contestant, load: &Load) -> Result<Figures, Trouble> {
        self.prepare(load)?;
        let to = who.endpoint(load.place, self.server.port());
        probe(&to, load)?;
        self.pgbench.run(load, &to, Length::Transactions(load.script.warm_up))?;
        let length = Length::Seconds(self.seconds);
        let ((report, latencies), cpu) = on_clock(who, load.place, || self.pgbench.run(load, &to, length))?;
        let mut figures = Figures::from([(Metric::Rate, report.tps)]);
        figures.extend(percentile(&latencies, 0.5).map(|p50| (Metric::P50, p50)));
        figures.extend(percentile(&latencies, 0.99).map(|p99| (Metric::P99, p99)));
        figures.extend(cpu.map(|cpu| (Metric::Cost, micros(cpu) / report.transactions as f64)));
        Ok(figures)
    }

    fn prepare(&self, load: &Load) -> Result<(), String> {
        if load.script.before.is_empty() {
            return Ok(());
        }
        let databases: Vec<String> = match load.place {
            Place::Main | Place::Narrow => vec![DATABASE.into()],
            Place::Sharded | Place::Cached => (0..SHARDS).map(shard_database).collect(),
        };
        databases.iter().try_for_each(|database| {
            self.server.sql(database, load.script.before).map(drop).map_err(|error| error.to_string())
        })
    }
}

/// Runs something, and tells what CPU time the proxy took for it: none where there is no proxy.
pub fn on_clock<T>(
    who: &Contestant,
    place: Place,
    run: impl FnOnce() -> Result<T, String>,
) -> Result<(T, Option<Duration>), String> {
    let Some(proxy) = who.proxy(place) else { return Ok((run()?, None)) };
    let clock = || cpu_time(proxy.pid()?).map_err(|error| format!("its CPU time: {error}"));
    let before = clock()?;
    let done = run()?;
    Ok((done, Some(clock()? - before)))
}

/// In µs.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What a version of PgBouncer can't do is run in the nearest way that it can.
fn feasible(who: &Contestant, work: Workload) -> (Workload, bool) {
    match (who, work) {
        (Contestant::PgBouncer { installed, .. }, Workload::Pgbench(load))
            if load.mode == Mode::Prepared && !installed.carries_prepared() =>
        {
            (Workload::Pgbench(Load { mode: Mode::Simple, ..load }), true)
        }
        _ => (work, false),
    }
}

fn as_prepared(mut figures: Figures) -> Figures {
    figures.entry(Metric::Cost).and_modify(|cost| *cost *= PREPARED_PER_SIMPLE);
    figures
}

/// Whether the statement is served at all, and answered in full.
fn probe(to: &Endpoint, load: &Load) -> Result<(), Trouble> {
    let answer = Client::connect(to).and_then(|mut client| client.query(load.script.probe));
    match answer {
        Ok(rows) if rows == load.script.rows => Ok(()),
        Ok(rows) => Err(format!("{} has {rows} rows, not {}", load.script.probe, load.script.rows).into()),
        Err(error) if error.is_refusal() => Err(Trouble::Refused(error.to_string())),
        Err(error) => Err(error.to_string().into()),
    }
}
