//! The whole of the demo: servers, cache, proxy; built in order, taken down in reverse.

use super::config::{self, Ports};
use super::error::DemoError;
use super::fill;
use super::proxy::Proxy;
use super::screen::Screen;
use super::servers::Servers;
use super::{Options, session};
use shardway_cluster::{Error, Port, Redis};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Tells a data directory that is complete; its text changes when what is in one does.
const MARKER: (&str, &str) = ("filled", "shardway demo 1\n");

/// Fields are dropped in order: nobody is left without what it talks to.
pub(super) struct House {
    /// In front.
    pub(super) proxy: Proxy,
    /// Held for as long as the proxy runs.
    pub(super) ports: Ports,
    redis: Option<Redis>,
    servers: Arc<Servers>,
    kept: Option<PathBuf>,
    filled: bool,
    screen: Screen,
}

impl House {
    /// Starts everything; the tables are there, their rows only if a kept directory had them.
    pub(super) async fn build(options: &Options, screen: Screen) -> Result<Self, DemoError> {
        let kept = options.data_dir.as_deref().map(kept_dir).transpose()?;
        let filled = kept.as_deref().is_some_and(is_filled);
        let servers = Arc::new(start_servers(kept.clone(), filled, screen).await?);
        let redis = start_redis(screen)?;
        let ports = Ports { listen: port(options.port, 6432)?, http: port(None, 9632)? };
        let started = Instant::now();
        let text = config::text(&servers, &ports, redis.as_ref().map(Redis::url).as_deref());
        let proxy = Proxy::start(kept.as_deref(), &text, ports.http.number()).await?;
        screen.done(&format!("proxy :{}", ports.listen.number()), started.elapsed());
        Ok(Self { proxy, ports, redis, servers, kept, filled, screen })
    }

    /// Fills the tables through the proxy, unless they are full.
    pub(super) async fn fill(&mut self) -> Result<(), DemoError> {
        if self.filled {
            self.screen.line("  The data directory is filled already; its rows are kept.");
            return Ok(());
        }
        fill::all(self.ports.listen.number(), self.screen).await?;
        if let Some(dir) = &self.kept {
            let marker = dir.join(MARKER.0);
            fs::write(&marker, MARKER.1).map_err(DemoError::io(format!("writing {}", marker.display())))?;
        }
        let servers = self.servers.clone();
        tokio::task::spawn_blocking(move || servers.settle()).await??;
        Ok(())
    }

    /// Says where everything is.
    pub(super) fn introduce(&self) {
        let (screen, http) = (self.screen, self.ports.http.number());
        let url = self.url("app", "shop");
        let line = |what: &str, text: &str| screen.line(&format!("  {what:<9}{text}"));
        screen.line("");
        line("connect", &screen.bold(&url));
        line("psql", &format!("psql '{url}'"));
        line("admin", &format!("psql '{}'  (SHOW ROUTE '…', RELOAD)", self.url("admin", "shardway")));
        line("metrics", &format!("http://127.0.0.1:{http}/metrics"));
        line("health", &format!("http://127.0.0.1:{http}/health/ready"));
        line("servers", &self.servers.ports());
        line("config", &self.proxy.config_file().display().to_string());
        line("log", &self.proxy.log_file().display().to_string());
    }

    fn url(&self, user: &str, database: &str) -> String {
        let (password, port) = (session::PASSWORD, self.ports.listen.number());
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let redis = if self.redis.is_some() { ", Redis" } else { "" };
        let data = match &self.kept {
            Some(dir) => format!("; the data stays in {}", dir.display()),
            None => String::from("; the data goes with them"),
        };
        self.screen.settle(&format!("Stopping the proxy{redis} and the servers{data}."));
    }
}

async fn start_servers(kept: Option<PathBuf>, filled: bool, screen: Screen) -> Result<Servers, DemoError> {
    screen.progress("  starting two Postgres servers with a replica each …");
    let started = Instant::now();
    let servers = tokio::task::spawn_blocking(move || Servers::start(kept.as_deref())).await??;
    screen.done(&servers.ports(), started.elapsed());
    if filled {
        return Ok(servers);
    }
    screen.progress("  making databases and tables …");
    let started = Instant::now();
    let servers = tokio::task::spawn_blocking(move || servers.lay_out().map(|()| servers)).await??;
    screen.done("shop_0 … shop_3, mfg_0, mfg_1", started.elapsed());
    Ok(servers)
}

/// The cache's second level is good to have; without it the demo shows the first alone.
fn start_redis(screen: Screen) -> Result<Option<Redis>, DemoError> {
    let started = Instant::now();
    match Redis::run() {
        Ok(redis) => {
            screen.done(&format!("redis :{}", redis.port()), started.elapsed());
            Ok(Some(redis))
        }
        Err(Error::RedisNotFound) => {
            screen.line("  redis-server is not installed: the cache has its first level alone");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The port that was asked for; else the usual one if nobody has it, else any.
fn port(wanted: Option<u16>, usual: u16) -> Result<Port, DemoError> {
    match wanted {
        Some(wanted) => Ok(Port::chosen(wanted)),
        None if TcpListener::bind(("127.0.0.1", usual)).is_ok() => Ok(Port::chosen(usual)),
        None => Ok(Port::reserve()?),
    }
}

/// The directory, absolute (servers run elsewhere), made if it is not there.
fn kept_dir(dir: &Path) -> Result<PathBuf, DemoError> {
    let doing = || format!("making the data directory {}", dir.display());
    fs::create_dir_all(dir).map_err(DemoError::io(doing()))?;
    let dir = dir.canonicalize().map_err(DemoError::io(doing()))?;
    let mut entries = fs::read_dir(&dir).map_err(DemoError::io(doing()))?;
    let marker = fs::read_to_string(dir.join(MARKER.0)).ok();
    let ours = match &marker {
        Some(text) => text == MARKER.1,
        None => dir.join("server-a").exists() || entries.next().is_none(),
    };
    if ours { Ok(dir) } else { Err(DemoError::NotOurs { dir }) }
}

fn is_filled(dir: &Path) -> bool {
    dir.join(MARKER.0).exists()
}
