//! From the first process to the finished report.

use crate::case::Case;
use crate::contestant::Contestant;
use crate::error::BenchError;
use crate::figures::Outcome;
use crate::measure::Bench;
use crate::options::Options;
use crate::pgbench::Pgbench;
use crate::pgbouncer::Installed;
use crate::shardway::Binary;
use crate::summary::{Places, Summary, summary};
use crate::table::{brief, table};
use crate::workshop::Workshop;
use crate::{fill, limits, rounds};
use serde::Serialize;
use shardway_cluster::{Installation, Server};
use std::path::Path;

/// Where the contestants stand; other builds of Shardway follow.
const PLACES: Places = Places { direct: 0, pgbouncer: 1, shardway: 2 };

/// Sockets that the largest case takes in one process, and some more.
const FILES_NEEDED: u64 = 4096;

/// Everything that was measured, and where.
#[derive(Serialize)]
pub struct Report {
    cores: usize,
    postgres: String,
    pgbouncer: String,
    rounds: usize,
    seconds: u32,
    cases: Vec<Summary>,
}

/// Starts everybody, runs `cases` and sums them up.
///
/// # Errors
/// Something that all runs need is missing or does not start.
pub fn measured(options: &Options, cases: Vec<Case>, cores: usize) -> Result<Report, BenchError> {
    raise_limits()?;
    let installed = Installed::find()?;
    let workshop = Workshop::open()?;
    let copy = |number: usize| workshop.dir().join(format!("shardway-{number}"));
    let binaries = options.binaries(cores).into_iter().enumerate();
    let binaries = binaries.map(|(number, binary)| binary.copied(copy(number)));
    let binaries = binaries.collect::<Result<Vec<Binary>, BenchError>>()?;
    let pgbench = Pgbench::find(workshop.dir())?;
    eprintln!("starting Postgres and filling it");
    let server = fill::server(&pgbench)?;
    fill::shards(&server)?;
    let cached = cases.iter().any(Case::needs_cache);
    let contestants = start(&server, &installed, binaries, cached)?;
    let (rounds, seconds) = (options.rounds(), options.seconds());
    let bench = Bench { server: &server, pgbench: &pgbench, seconds };
    let runs = rounds::run(&bench, cases, &contestants, rounds, |round, case, who, outcome| {
        tell((round + 1, rounds), case, who, outcome);
    });
    let names: Vec<&str> = contestants.iter().map(Contestant::name).collect();
    let cases = runs.iter().map(|ran| summary(&ran.case, &names, &ran.runs, PLACES)).collect();
    let (postgres, pgbouncer) = (Installation::find()?.version().into(), installed.version.to_string());
    Ok(Report { cores, postgres, pgbouncer, rounds, seconds, cases })
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let Report { cores, postgres, pgbouncer, rounds, seconds, .. } = self;
        let head =
            format!("{postgres}, PgBouncer {pgbouncer}, {cores} cores; median of {rounds} x {seconds} s");
        let (met, asked) = self.goals();
        format!("{head}\n\n{}\ngoals met: {met} of {asked}\n", table(&self.cases))
    }

    /// Of the first Shardway, how many are met, and how many there are.
    fn goals(&self) -> (usize, usize) {
        let rows = self.cases.iter().filter_map(|case| case.rows.get(PLACES.shardway));
        let verdicts: Vec<bool> = rows.flat_map(|row| &row.verdicts).map(|verdict| verdict.met).collect();
        (verdicts.iter().filter(|met| **met).count(), verdicts.len())
    }

    /// For programs.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let failed = || BenchError::io(format!("writing {}", path.display()));
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from).map_err(failed())?;
        std::fs::write(path, text + "\n").map_err(failed())?;
        eprintln!("\nwritten to {}", path.display());
        Ok(())
    }

    /// Whether nothing failed. What is refused has not failed: it says so.
    pub fn is_whole(&self) -> bool {
        let mut rows = self.cases.iter().flat_map(|case| &case.rows);
        !rows.any(|row| matches!(row.result, Outcome::Failed(_)))
    }
}

fn start(
    server: &Server,
    installed: &Installed,
    binaries: Vec<Binary>,
    cached: bool,
) -> Result<Vec<Contestant>, BenchError> {
    let port = server.port();
    let mut contestants = vec![Contestant::Direct, Contestant::pgbouncer(installed.clone(), port)?];
    for binary in binaries {
        contestants.push(Contestant::shardway(binary, port, cached)?);
    }
    Ok(contestants)
}

fn raise_limits() -> Result<(), BenchError> {
    let files = limits::raise_open_files().map_err(BenchError::io("raising the limit of open files"))?;
    if files < FILES_NEEDED {
        eprintln!("only {files} open files are allowed (ulimit -Hn): cases with many clients may fail");
    }
    Ok(())
}

fn tell((round, rounds): (usize, usize), case: &Case, who: &Contestant, outcome: &Outcome) {
    if *outcome != Outcome::Without {
        let brief = brief(case.unit(), outcome);
        eprintln!("{round}/{rounds}  {:<27}{:<14}{brief}", case.name, who.name());
    }
}
