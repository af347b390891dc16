//! pgbench as a child process, and what its report says.

use crate::case::Load;
use crate::error::BenchError;
use crate::latency;
use crate::wire::Endpoint;
use shardway_cluster::{HOST, Installation};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What even a slow machine manages.
const CONNECTED_PER_SECOND: usize = 200;

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// In seconds.
    Seconds(u32),
    /// In transactions of all clients together, at least one each.
    Transactions(usize),
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How many transactions there were.
    pub transactions: u64,
    /// How many of them in a second, without the connecting before the first one.
    pub tps: f64,
    /// How many failed (serialisation, deadlocks); other errors end a run.
    pub failed: u64,
}

/// pgbench, with its scripts as files.
pub struct Pgbench {
    program: PathBuf,
    dir: PathBuf,
}

impl Pgbench {
    /// Finds it beside Postgres; its scripts and logs are in `dir`.
    ///
    /// # Errors
    /// It is not there.
    pub fn find(dir: &Path) -> Result<Pgbench, BenchError> {
        let program = Installation::find()?.program("pgbench");
        if !program.is_file() {
            let advice = "it comes with Postgres (Debian: postgresql-contrib for old versions)";
            return Err(BenchError::Missing { program: "pgbench", advice });
        }
        Ok(Pgbench { program, dir: dir.to_owned() })
    }

    /// Makes pgbench's own tables in `to`.
    ///
    /// # Errors
    /// It fails.
    pub fn initialise(&self, to: &Endpoint, scale: u32) -> Result<(), BenchError> {
        let mut command = self.command(to);
        command.args(["-i", "-q", "-s", &scale.to_string(), &to.database]);
        let output = command.output().map_err(BenchError::io("running pgbench"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(BenchError::Program { program: "pgbench -i", output: errors(&output) }),
        }
    }

    /// Runs `load` against `to`. Gives the report and the sorted latencies in milliseconds of the transactions that
    /// were logged: none for a run that is counted in transactions. Errors are the contestant's, in words.
    pub fn run(&self, load: &Load, to: &Endpoint, length: Length) -> Result<(Report, Vec<f64>), String> {
        let script = self.dir.join(format!("{}.sql", load.script.name));
        let log = self.dir.join("log");
        std::fs::create_dir_all(&log)
            .and_then(|()| std::fs::write(&script, load.script.text))
            .map_err(words)?;
        let mut command = self.command(to);
        command.args(arguments(load, length)).arg("-f").arg(&script);
        if let Length::Seconds(_) = length {
            command.arg("-l").arg("--log-prefix").arg(log.join("t"));
            command.arg("--sampling-rate").arg(load.script.logged.to_string());
        }
        let output = command.arg(&to.database).output().map_err(words)?;
        let latencies = take_log(&log).map_err(words);
        Ok((judged(&output)?, latencies?))
    }

    fn command(&self, to: &Endpoint) -> Command {
        let mut command = client_program(&self.program);
        command.args(["-h", HOST, "-p", &to.port.to_string(), "-U", &to.user]);
        command
    }
}

/// A client program that sees none of the caller's `PG…` variables: they would redirect it.
pub fn client_program(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

fn words(error: std::io::Error) -> String {
    format!("pgbench: {error}")
}

fn arguments(load: &Load, length: Length) -> Vec<String> {
    let mut arguments: Vec<String> = ["-n", "-M", load.mode.word()].map(String::from).into();
    arguments.extend(["-c".into(), load.clients.to_string(), "-j".into(), load.threads.to_string()]);
    if load.reconnect {
        arguments.push("-C".into());
    }
    match length {
        Length::Seconds(seconds) => {
            arguments.extend(["-T".into(), (seconds + connecting(load.clients)).to_string()]);
        }
        Length::Transactions(all) => {
            arguments.extend(["-t".into(), all.div_ceil(load.clients).max(1).to_string()]);
        }
    }
    arguments
}

/// The seconds of a run count from before the first connection, and a server starts a process for each.
fn connecting(clients: usize) -> u32 {
    u32::try_from(clients / CONNECTED_PER_SECOND).unwrap_or(u32::MAX)
}

/// A run that lost a client or a transaction measures something else.
fn judged(output: &Output) -> Result<Report, String> {
    if !output.status.success() {
        return Err(format!("pgbench failed: {}", errors(output)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let report = parse(&text).ok_or("pgbench's report is not understood")?;
    match report {
        Report { failed: 0, transactions: 1.., .. } => Ok(report),
        Report { transactions: 0, .. } => Err("pgbench finished no transaction".into()),
        Report { failed, .. } => Err(format!("{failed} transactions failed")),
    }
}

/// The first thing that it complained about; what follows tends to be the same of every client.
fn errors(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let first = text.lines().find(|line| line.contains("ERROR") || line.contains("FATAL"));
    first.or_else(|| text.lines().last()).unwrap_or("without a word").trim().to_owned()
}

/// Reads pgbench's report: `name: value` lines, and `tps = value (…)`.
fn parse(text: &str) -> Option<Report> {
    let lines: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(": ").or_else(|| line.split_once(" = "))).collect();
    // "80", or "80/100" where the number was given.
    let number = |name: &str| {
        let digits = lines.get(name)?.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    };
    Some(Report {
        transactions: number("number of transactions actually processed")?,
        // There is none where there was no transaction.
        tps: lines.get("tps").map_or(Some(0.0), |tps| tps.split_whitespace().next()?.parse().ok())?,
        // Versions before 15 do not have the line: they know no failed transactions, only clients that gave up.
        failed: number("number of failed transactions").unwrap_or(0),
    })
}

/// Reads and removes the logs of one run.
fn take_log(dir: &Path) -> std::io::Result<Vec<f64>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        all.extend(latency::milliseconds(&std::fs::read_to_string(&path)?));
        std::fs::remove_file(path)?;
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: <builtin: select only>
scaling factor: 10
number of clients: 4
duration: 1 s
number of transactions actually processed: 8456
number of failed transactions: 2 (0.024%)
latency average = 0.473 ms
tps = 8452.703446 (without initial connection time)
";

    #[test]
    fn a_report_is_read() {
        let report = Report { transactions: 8456, tps: 8452.703446, failed: 2 };
        assert_eq!(parse(REPORT), Some(report));
    }

    #[test]
    fn a_report_of_a_counted_run_and_of_an_old_version_is_read() {
        let text =
            "number of transactions actually processed: 80/100\ntps = 2070.0 (including reconnection times)";
        assert_eq!(parse(text), Some(Report { transactions: 80, tps: 2070.0, failed: 0 }));
        assert_eq!(parse("pgbench: error"), None);
    }

    #[test]
    fn failed_transactions_and_no_transactions_are_failures() {
        use std::os::unix::process::ExitStatusExt;
        let output = |status: i32, stdout: &str, stderr: &str| Output {
            status: std::process::ExitStatus::from_raw(status << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        assert_eq!(judged(&output(0, REPORT, "")), Err("2 transactions failed".into()));
        let stderr = "pgbench: error: client 0 aborted: ERROR:  no\npgbench: error: Run was aborted";
        let said = "pgbench failed: pgbench: error: client 0 aborted: ERROR:  no";
        assert_eq!(judged(&output(2, REPORT, stderr)), Err(said.into()));
        let nothing = "number of transactions actually processed: 0\nnumber of failed transactions: 0 (NaN%)";
        assert_eq!(judged(&output(0, nothing, "")), Err("pgbench finished no transaction".into()));
    }
}
