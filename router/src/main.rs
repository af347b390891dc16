//! The `shardway` binary: serve, check, shard-of, demo.
#![allow(clippy::print_stdout, reason = "the answers of these commands go to standard output")]

use clap::{Parser, Subcommand};
use shardway_config::{Config, LogFormat, Problems, ProcessEnv, Source};
use shardway_shardmap::{CanonicalKey, Function, ShardMap};
use std::path::PathBuf;
use std::process::ExitCode;

/// A sharding proxy and query router for PostgreSQL.
#[derive(Parser)]
#[command(name = "shardway", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients. Without a file: DATABASE_URL (with {shard} in it), DATABASE_SHARD_COUNT and REDIS_URL.
    Serve(ConfigFile),
    /// Say everything that is wrong with a configuration, each with line and column.
    Check(ConfigFile),
    /// Say which shard owns a key (FNV-1a).
    ShardOf {
        /// The key, as Postgres prints it.
        key: String,
        /// Number of shards.
        #[arg(long)]
        count: u32,
    },
    /// Start Postgres servers with replicas, fill them through Shardway, and show what it does.
    Demo(shardway_router::demo::Options),
}

#[derive(clap::Args)]
struct ConfigFile {
    /// Configuration file.
    #[arg(long, env = "SHARDWAY_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn source(&self) -> Source {
        match &self.config {
            Some(path) => Source::File(path.clone()),
            None => Source::Environment,
        }
    }

    fn load(&self) -> Result<Config, Problems> {
        shardway_config::load(&self.source(), &ProcessEnv)
    }
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(file) => serve(&file),
        Command::Check(file) => check(&file),
        Command::ShardOf { key, count } => shard_of(key, count),
        Command::Demo(options) => demo(options),
    }
}

fn serve(file: &ConfigFile) -> ExitCode {
    let config = match file.load() {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::FAILURE;
        }
    };
    start_log(config.server.log_format);
    match shardway_router::serve::run(config, file.source()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The log goes to standard error; `RUST_LOG` says how much of it.
fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn check(file: &ConfigFile) -> ExitCode {
    match file.load() {
        Ok(config) => {
            if let Err(problem) = shardway_router::support::certificates(&config) {
                println!("{problem}");
                return ExitCode::FAILURE;
            }
            let refused = shardway_router::support::refused(&config).into_iter();
            let refused = refused.map(|what| format!("{what}: serve will not start with it"));
            for what in refused.chain(shardway_router::support::ignored(&config)) {
                println!("warning: {what}");
            }
            println!("the configuration is valid");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            println!("{problems}");
            ExitCode::FAILURE
        }
    }
}

fn shard_of(key: String, count: u32) -> ExitCode {
    let located = ShardMap::new(Function::Fnv1a, count)
        .map_err(|e| e.to_string())
        .and_then(|map| map.locate(&CanonicalKey::Text(key.into())).map_err(|e| e.to_string()));
    match located {
        Ok(shard) => {
            println!("{shard}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("shardway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(options: shardway_router::demo::Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("shardway: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(shardway_router::demo::run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shardway: {error}");
            ExitCode::FAILURE
        }
    }
}
