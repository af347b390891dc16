//! The command line.

use crate::shardway::Binary;
use clap::Parser;
use std::path::{Path, PathBuf};

/// Runs Postgres itself, PgBouncer and Shardway side by side, and tells what each transaction costs.
#[derive(Parser)]
#[command(name = "shardway-bench")]
pub struct Options {
    /// How often everything is run; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    rounds: u32,
    /// How long each run is, in seconds.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    seconds: u32,
    /// Only cases with this in their names; may be given several times.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub case: Vec<String>,
    /// Lists the cases and ends.
    #[arg(long)]
    pub list: bool,
    /// Where the results go as JSON [default: bench.json in the target directory].
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The proxy to measure [default: release/shardway in the target directory].
    #[arg(long, value_name = "PATH")]
    shardway: Option<PathBuf>,
    /// Another build to measure in the same run; may be given several times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named_binary)]
    also: Vec<(String, PathBuf)>,
    /// Shardway's worker threads [default: its own].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// One round of one second: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Instead of the cases: Shardway with one worker, two, … up to the number of cores.
    #[arg(long)]
    pub scale: bool,
}

impl Options {
    /// How often everything is run.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds as usize }
    }

    /// How long each run is.
    pub fn seconds(&self) -> u32 {
        if self.quick { 1 } else { self.seconds }
    }

    /// Where the results go.
    pub fn json(&self) -> PathBuf {
        self.json.clone().unwrap_or_else(|| target().join("bench.json"))
    }

    /// The builds of Shardway: the one that goals are asked of is first.
    pub fn binaries(&self, cores: usize) -> Vec<Binary> {
        let program = self.shardway.clone().unwrap_or_else(|| target().join("release/shardway"));
        if self.scale {
            let with = |workers: usize| Binary {
                name: format!("shardway x{workers}"),
                program: program.clone(),
                workers: Some(workers),
            };
            return (1..=cores).map(with).collect();
        }
        let first = ("shardway".to_owned(), program);
        let all = std::iter::once(first).chain(self.also.iter().cloned());
        all.map(|(name, program)| Binary { name, program, workers: self.workers }).collect()
    }
}

/// The target directory that this program was built in.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.parent().and_then(Path::parent).unwrap_or(Path::new("target")).to_owned()
}

fn at_least_one(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("at least one".into()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

fn named_binary(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("NAME=PATH is expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Options {
        Options::parse_from(std::iter::once("shardway-bench").chain(arguments.iter().copied()))
    }

    #[test]
    fn other_builds_come_after_the_one_that_is_measured() {
        let options = parsed(&["--shardway", "new", "--also", "before=old", "--workers", "1"]);
        let [new, old] = &options.binaries(8)[..] else { panic!("two") };
        assert_eq!((new.name.as_str(), new.program.as_path()), ("shardway", Path::new("new")));
        assert_eq!((old.name.as_str(), old.program.as_path()), ("before", Path::new("old")));
        assert_eq!((new.workers, old.workers), (Some(1), Some(1)));
        assert!(named_binary("old").is_err() && named_binary("=old").is_err());
    }

    #[test]
    fn scaling_is_one_build_with_ever_more_workers() {
        let workers: Vec<_> = parsed(&["--scale"]).binaries(3).iter().map(|binary| binary.workers).collect();
        assert_eq!(workers, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn several_cases_may_be_named_and_quick_is_one_round() {
        let options = parsed(&["--case", "copy", "idle", "--quick", "--rounds", "9"]);
        assert_eq!((options.case.len(), options.rounds(), options.seconds()), (2, 1, 1));
    }
}
