//! Runs Shardway, PgBouncer and Postgres side by side and prints what each transaction cost. README.md says what is
//! measured and how to read it.
#![allow(clippy::print_stdout, reason = "the table goes to standard output")]

mod case;
mod cases;
mod contestant;
mod copy;
mod error;
mod figures;
mod fill;
mod idle;
mod latency;
mod limits;
mod measure;
mod options;
mod pgbench;
mod pgbouncer;
mod process;
mod proxy;
mod report;
mod rounds;
mod scripts;
mod shardway;
mod summary;
mod table;
mod wire;
mod workshop;

use clap::Parser;
use options::Options;
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("shardway-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every run that could be was.
fn run(options: &Options) -> Result<bool, error::BenchError> {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let cases = if options.scale { cases::scaling(cores) } else { cases::all() };
    let cases = cases::named(cases, &options.case)?;
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(true);
    }
    let report = report::measured(options, cases, cores)?;
    print!("{}", report.text());
    report.write(&options.json())?;
    Ok(report.is_whole())
}
