//! `shardway demo`: a sharded shop on this machine, from nothing to a prompt.
//!
//! Two Postgres servers with a streaming replica each, four logical shards on them and a second group beside,
//! a proxy in front, filled through that proxy, and a short tour. Everything is real: the servers are child
//! processes and the proxy is this same program's `serve`. It is no benchmark: servers, proxy and client share
//! one machine.
mod config;
mod data;
mod error;
mod fill;
mod house;
mod ids;
mod inserts;
mod proxy;
mod screen;
mod servers;
mod session;
mod steps;
mod tour;

pub use error::DemoError;

use house::House;
use screen::Screen;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often a proxy that ended by itself is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `shardway demo`'s own arguments.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Keep everything in this directory, and start from what is there [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// End after the tour
    #[arg(long)]
    pub once: bool,
    /// Listen here for clients [default: 6432, or any that is free]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
}

/// Runs the demo until Ctrl-C or SIGTERM, or to the end of the tour with `--once`; then stops what it started.
///
/// # Errors
/// No Postgres on the machine, a server or the proxy that does not come up or ends, SQL that fails.
pub async fn run(options: Options) -> Result<(), DemoError> {
    let screen = Screen::stdout();
    tokio::select! {
        outcome = show(&options, screen) => outcome,
        outcome = interrupted(screen) => outcome,
    }
}

async fn show(options: &Options, screen: Screen) -> Result<(), DemoError> {
    let started = Instant::now();
    let mut house = House::build(options, screen).await?;
    house.fill().await?;
    screen.done("ready", started.elapsed());
    house.introduce();
    tour::walk(&house, screen).await?;
    if options.once {
        return Ok(());
    }
    screen.line("");
    screen.line(&format!("Up until {}.", screen.bold("Ctrl-C")));
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        house.proxy.check()?;
    }
}

async fn interrupted(screen: Screen) -> Result<(), DemoError> {
    let failed = DemoError::io("listening for signals");
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => return Err(failed(error)),
        };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // The terminal has just shown ^C, perhaps in the middle of a line.
    screen.progress("");
    Ok(())
}
