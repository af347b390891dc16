//! What can keep a run from being measured at all. What goes wrong for one contestant in one case is no error of this
//! kind: it is that contestant's outcome, and the run goes on.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A server did not come up, or refused what it was told.
    #[error(transparent)]
    Cluster(#[from] shardway_cluster::Error),
    /// A program is not on this machine.
    #[error("{program} is missing: {advice}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// Where it comes from.
        advice: &'static str,
    },
    /// The proxy to measure is not where it was said to be.
    #[error("there is no proxy at {}: build it with `cargo build --release --bin shardway`", .0.display())]
    NoBinary(PathBuf),
    /// `--case` names nothing.
    #[error("no case has {0:?} in its name: --list shows them all")]
    NoSuchCase(String),
    /// The operating system refused something.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The refusal.
        source: io::Error,
    },
    /// A proxy ended when it should have come up.
    #[error("{name} ended while it started ({status}); the end of its log:\n{log}")]
    Ended {
        /// The contestant.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines.
        log: String,
    },
    /// A proxy does not answer.
    #[error("{name} is not ready: {why}; the end of its log:\n{log}")]
    NotReady {
        /// The contestant.
        name: String,
        /// Its last answer.
        why: String,
        /// Its last lines.
        log: String,
    },
    /// A program that fills the databases failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        output: String,
    },
}

impl BenchError {
    /// For `map_err`: the refusal, with what was being done.
    pub fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
