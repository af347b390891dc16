//! The `shardway` binary: serve, check, shard-of, demo.
#![allow(clippy::print_stdout, reason = "the answers of these commands go to standard output")]

mod pooler;

use clap::{Parser, Subcommand};
use pooler::Pooler;
use shardway_config::{Config, LogFormat, Problems, ProcessEnv, Source};
use shardway_router::log::Log;
use shardway_router::serve::{self, Launch};
use shardway_router::{daemon, support};
use shardway_shardmap::{CanonicalKey, Function, ShardMap};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

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
    Serve(Serve),
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
    /// An existing pgbouncer.ini, in the place of a configuration file.
    #[arg(long, value_name = "FILE")]
    pgbouncer: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Take the place of the process that runs: listen beside it, then have the one that the pid file names finish.
    #[arg(short = 'R', long, visible_alias = "reboot")]
    takeover: bool,
    /// Run in the background. Needs a pid file.
    #[arg(short, long)]
    daemon: bool,
    /// Write no log to standard error.
    #[arg(short, long)]
    quiet: bool,
    /// Log more; twice: much more.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Turn into this user once the addresses are taken.
    #[arg(short, long)]
    user: Option<String>,
}

impl ConfigFile {
    fn source(&self) -> Source {
        match (&self.pgbouncer, &self.config) {
            (Some(path), _) => Source::Pgbouncer(path.clone()),
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => Source::Environment,
        }
    }

    fn load(&self) -> Result<Config, Problems> {
        shardway_config::load(&self.source(), &ProcessEnv)
    }
}

/// As PgBouncer's command line has it.
fn serve_as_pooler(options: Pooler) -> ExitCode {
    let Some(file) = options.file else {
        eprintln!(
            "pgbouncer: no configuration file specified\nTry \"pgbouncer --help\" for more information."
        );
        return ExitCode::FAILURE;
    };
    serve(Serve {
        file: ConfigFile { config: None, pgbouncer: Some(file) },
        takeover: options.reboot,
        daemon: options.daemon,
        quiet: options.quiet,
        verbose: options.verbose,
        user: options.user,
    })
}

fn main() -> ExitCode {
    if let Some(options) = Pooler::called() {
        return serve_as_pooler(options);
    }
    match Cli::parse().command {
        Command::Serve(options) => serve(options),
        Command::Check(file) => check(&file),
        Command::ShardOf { key, count } => shard_of(key, count),
        Command::Demo(options) => demo(options),
    }
}

fn serve(options: Serve) -> ExitCode {
    match options.file.load() {
        Ok(config) => match start(options, config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error}");
                eprintln!("shardway: {error}");
                ExitCode::FAILURE
            }
        },
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Serve, config: Config) -> Result<(), String> {
    let logging = config.pgbouncer.as_ref().map(|ini| &ini.settings.logging);
    let verbose = logging.map_or(0, |logging| logging.verbose).max(options.verbose.into());
    let log = Arc::new(Log::new(!options.quiet && !options.daemon));
    if let Some(path) = logging.and_then(|logging| logging.logfile.as_deref()) {
        log.reopen(Some(path)).map_err(|e| format!("can't open logfile {}: {e}", path.display()))?;
    }
    start_log(config.server.log_format, verbose, log.clone());
    if let Some(Err(e)) = logging.map(|logging| log.follow_syslog(logging)) {
        tracing::warn!("{e}");
    }
    if options.daemon && config.server.pid_file.is_none() {
        return Err("daemon needs pidfile configured".to_owned());
    }
    let source = options.file.source();
    let launch = Launch { source, takeover: options.takeover, user: options.user, log };
    let prepared = serve::prepare(config, launch)?;
    if options.daemon {
        daemon::detach().map_err(|e| format!("can't go to the background: {e}"))?;
    }
    serve::run(prepared)
}

/// `RUST_LOG` says how much is logged, else how talkative the process is to be.
fn start_log(format: LogFormat, verbose: usize, log: Arc<Log>) {
    let level = ["info", "debug", "trace"][verbose.min(2)];
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let is_terminal = log.is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(is_terminal).init(),
        LogFormat::Json => log.json().init(),
    }
}

fn check(file: &ConfigFile) -> ExitCode {
    match file.load() {
        Ok(config) => {
            if let Err(problem) = support::certificates(&config) {
                println!("{problem}");
                return ExitCode::FAILURE;
            }
            for what in support::ignored(&config) {
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
