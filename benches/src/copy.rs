//! COPY of about 100 MB through psql, as often as there is time for.

use crate::case::{Direction, Place};
use crate::contestant::Contestant;
use crate::figures::{Figures, Metric, percentile};
use crate::fill::{DATABASE, USER};
use crate::measure::{Bench, micros, on_clock};
use crate::pgbench::client_program;
use crate::wire::Endpoint;
use shardway_cluster::{HOST, Installation};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A million rows of 97 bytes.
const OUT: &str = "COPY pgbench_accounts TO STDOUT";
const IN: &str = "COPY accounts_in FROM STDIN";
const EMPTY: &str = "TRUNCATE accounts_in";

const MEGABYTE: f64 = 1e6;

/// Copies for as long as a run is, at least once. The rate is in MB/s, the cost in µs of CPU for 100 MB, the
/// latencies are those of a whole COPY.
///
/// # Errors
/// psql fails; in words.
pub fn run(bench: &Bench<'_>, who: &Contestant, direction: Direction) -> Result<Figures, String> {
    let to = who.endpoint(Place::Main, bench.server.port());
    let data = data(bench)?;
    let megabytes = std::fs::metadata(&data).map_err(words)?.len() as f64 / MEGABYTE;
    let (mut times, mut cpu) = (Vec::new(), None);
    while times.iter().sum::<f64>() < f64::from(bench.seconds) {
        if direction == Direction::In {
            bench.server.sql(DATABASE, EMPTY).map_err(|error| error.to_string())?;
        }
        let (time, took) = on_clock(who, Place::Main, || once(&to, direction, &data))?;
        times.push(time.as_secs_f64());
        cpu = took.map(|took| cpu.unwrap_or(Duration::ZERO) + took);
    }
    let all = times.iter().sum::<f64>();
    let copied = megabytes * times.len() as f64;
    times.sort_by(f64::total_cmp);
    let mut figures = Figures::from([(Metric::Rate, copied / all)]);
    figures.extend(percentile(&times, 0.5).map(|p50| (Metric::P50, p50 * 1e3)));
    figures.extend(percentile(&times, 0.99).map(|p99| (Metric::P99, p99 * 1e3)));
    figures.extend(cpu.map(|cpu| (Metric::Cost, micros(cpu) / (copied / 100.0))));
    Ok(figures)
}

/// A file with the rows, taken from the server itself, in its own directory: it goes with it.
fn data(bench: &Bench<'_>) -> Result<PathBuf, String> {
    let path = bench.server.dir().join("accounts.copy");
    if !path.exists() {
        let to = Endpoint { port: bench.server.port(), database: DATABASE.into(), user: USER.into() };
        let file = File::create(&path).map_err(words)?;
        psql(&to, OUT, Stdio::null(), file.into())?;
    }
    Ok(path)
}

fn once(to: &Endpoint, direction: Direction, data: &Path) -> Result<Duration, String> {
    let start = Instant::now();
    match direction {
        Direction::Out => psql(to, OUT, Stdio::null(), Stdio::null())?,
        Direction::In => psql(to, IN, File::open(data).map_err(words)?.into(), Stdio::null())?,
    }
    Ok(start.elapsed())
}

fn psql(to: &Endpoint, sql: &str, input: Stdio, output: Stdio) -> Result<(), String> {
    let installation = Installation::find().map_err(|error| error.to_string())?;
    let mut command: Command = client_program(&installation.program("psql"));
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", &to.port.to_string()]);
    command.args(["-U", &to.user, "-d", &to.database, "-c", sql]);
    let child = command.stdin(input).stdout(output).stderr(Stdio::piped()).spawn().map_err(words)?;
    let ended = child.wait_with_output().map_err(words)?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned()),
    }
}

fn words(error: std::io::Error) -> String {
    format!("psql: {error}")
}
