//! The program under the name of `pgbouncer`: PgBouncer's own command line, for service files and scripts that have it.

use clap::Parser;
use std::path::{Path, PathBuf};

/// PgBouncer's options and its one file.
#[derive(Parser)]
#[command(
    name = "pgbouncer",
    about = "Shardway in the place of PgBouncer: a connection pooler for PostgreSQL.",
    version = concat!(env!("CARGO_PKG_VERSION"), " (Shardway, in the place of PgBouncer)"),
    override_usage = "pgbouncer [OPTION]... CONFIG_FILE"
)]
pub struct Pooler {
    /// Run in background (as a daemon)
    #[arg(short, long)]
    pub daemon: bool,
    /// Run quietly
    #[arg(short, long)]
    pub quiet: bool,
    /// Do an online reboot
    #[arg(short = 'R', long)]
    pub reboot: bool,
    /// Assume identity of USERNAME
    #[arg(short, long, value_name = "USERNAME")]
    pub user: Option<String>,
    /// Increase verbosity
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The pgbouncer.ini
    #[arg(value_name = "CONFIG_FILE")]
    pub file: Option<PathBuf>,
}

impl Pooler {
    /// The command line, if the program was called by that name. Ends the process where PgBouncer would.
    pub fn called() -> Option<Self> {
        let program = std::env::args_os().next()?;
        (Path::new(&program).file_stem()? == "pgbouncer").then(Self::parse)
    }
}
