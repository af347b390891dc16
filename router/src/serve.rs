//! `shardway serve`: takes hold of its addresses, starts the workers, looks after the pools.

use crate::client::auth::SaltKey;
use crate::database::Database;
use crate::idle_pools::IdlePools;
use crate::listener::{self, Binding, Bound, SocketFile};
use crate::log::Log;
use crate::pid_file::PidFile;
use crate::proxy::{Phase, Proxy, World};
use crate::workers::{self, Worker, WorkerId};
use crate::{
    admin, autodb, bulletin, crossed, deadlock, http, identity, pid_file, session, signals, support,
};
use shardway_config::{Config, Sockets, Source};
use shardway_pool::server;
use shardway_pool::shard::Server;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::runtime;

/// How long the audit log has at the end to be written.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long sessions have at the end to tell their clients.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often clients that wait for a server are looked at: a timer for each of them would cost more than it is worth.
const EXPIRE: Duration = Duration::from_millis(100);

/// A worker always has a timer that is due soon. A runtime that has none is woken, by a system call, for each one that is
/// set: that of every client's login.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a process that is to be relieved serves on while this one gets ready.
const READY: Duration = Duration::from_secs(10);

/// How often idle servers are looked at.
const SWEEP: Duration = Duration::from_millis(333);

/// How the process was started, beside its configuration.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Where the configuration comes from, to read it again.
    pub source: Source,
    /// Whether it takes the place of one that runs.
    pub takeover: bool,
    /// The user that it turns into; `None`: what a `pgbouncer.ini` says.
    pub user: Option<String>,
    /// Where the log goes, for RELOAD to open its file anew.
    pub log: Arc<Log>,
}

/// All that has to be had before anything is served.
pub struct Prepared {
    config: Config,
    launch: Launch,
    bound: Bound,
    http: Option<TcpListener>,
    /// The process whose place is taken.
    before: Option<i32>,
}

/// Takes hold of every address, as the user that the process is to be. Nothing else runs yet, so that the process may go to the
/// background afterwards. Errors: in words, for whoever starts it.
pub fn prepare(config: Config, launch: Launch) -> Result<Prepared, String> {
    support::warn(&config);
    let before = match &config.server.pid_file {
        Some(path) if launch.takeover => {
            pid_file::running(path)?.filter(|pid| pid_file::is_of_our_kind(*pid))
        }
        Some(path) => PidFile::check(path).map(|()| None)?,
        None => None,
    };
    let how = Binding { sockets: &config.server.sockets, takeover: launch.takeover };
    let bound = Bound::bind(&config.server.listen, how)?;
    let http = bind_http(&config, how)?;
    let user = launch
        .user
        .as_ref()
        .or(config.pgbouncer.as_ref().and_then(|ini| ini.settings.listening.user.as_ref()));
    if let Some(user) = user {
        identity::become_user(user).map_err(|e| format!("can't be user {user}: {e}"))?;
    }
    Ok(Prepared { config, launch, bound, http, before })
}

/// Serves until the end. Errors: in words, for whoever started it.
pub fn run(prepared: Prepared) -> Result<(), String> {
    let control = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime can't start: {e}"))?;
    control.block_on(start(prepared))
}

async fn start(prepared: Prepared) -> Result<(), String> {
    let Prepared { config, launch, bound, http, before } = prepared;
    let salts = SaltKey::random();
    let pid_file = config.server.pid_file.as_deref().map(PidFile::write).transpose()?;
    let world = World::build(config, None, &salts)?;
    let proxy = Proxy::new(world, salts, launch.source, launch.log);
    let (addresses, files) = spawn_workers(&proxy, bound)?;
    serve_http(&proxy, http)?;
    tokio::spawn(sweep(proxy.clone()));
    tokio::spawn(deadlock::run(proxy.clone()));
    tokio::spawn(workers::balance(proxy.clone()));
    tokio::spawn(bulletin::listen(Arc::downgrade(&proxy)));
    tokio::spawn(admin::keep_stats(proxy.clone()));
    for database in proxy.world().databases.values() {
        tokio::spawn(database.clone().read_schema());
    }
    for address in &addresses {
        tracing::info!(%address, "listening");
    }
    if let Some(pid) = before {
        tokio::spawn(relieve(proxy.clone(), pid));
    }
    signals::until_the_end(&proxy, files).await.map_err(|e| format!("signals can't be had: {e}"))?;
    proxy.enter(Phase::Stopping);
    // What still runs is cancelled, and sessions that were told to go get a moment to say so.
    let until = Instant::now() + LAST_WORDS;
    let _ = tokio::time::timeout(LAST_WORDS, proxy.cancel_all()).await;
    while proxy.connections.load(Ordering::Acquire) > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let audit = proxy.world().audit.clone();
    if let Some(audit) = audit {
        audit.finish(LAST_LINES).await;
    }
    tracing::info!("stopped");
    drop(pid_file);
    Ok(())
}

/// Has the process finish whose place is taken, as soon as this one can serve.
async fn relieve(proxy: Arc<Proxy>, pid: i32) {
    let until = Instant::now() + READY;
    while Instant::now() < until
        && !proxy.world().databases.values().all(|database| database.is_schema_read())
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::info!(pid, "the process that served before is asked to finish");
    // SAFETY: a signal to a process takes no memory of ours.
    if unsafe { libc::kill(pid, libc::SIGTERM) } != 0 {
        tracing::warn!(pid, "it can't be: {}", io::Error::last_os_error());
    }
}

/// Starts the workers, one current-thread runtime each; the first one listens. Gives the addresses for the log and
/// the files of Unix sockets.
fn spawn_workers(proxy: &Arc<Proxy>, bound: Bound) -> Result<(Vec<String>, Vec<SocketFile>), String> {
    let wanted = proxy.world().config.server.worker_threads;
    let count = if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let (listeners, addresses, files) = bound.open();
    let (ready, started) = mpsc::channel();
    for id in 0..count {
        let ready = ready.clone();
        std::thread::Builder::new()
            .name(format!("worker-{}", id + 1))
            .spawn(move || work(WorkerId(id), &ready))
            .map_err(|e| format!("a worker can't start: {e}"))?;
    }
    drop(ready);
    let mut workers: Vec<(WorkerId, Worker)> = started.iter().take(count).collect();
    if workers.len() < count {
        return Err("a worker can't start".to_owned());
    }
    workers.sort_by_key(|(id, _)| id.0);
    proxy.workers.assemble(workers.into_iter().map(|(_, worker)| worker).collect());
    for listener in listeners {
        let proxy = proxy.clone();
        proxy.workers.runtime(WorkerId(0)).spawn(async move {
            if let Err(e) = listener::accept(proxy, listener).await {
                tracing::error!("a listener failed: {e}");
            }
        });
    }
    Ok((addresses, files))
}

/// A worker's thread: runs what is spawned on its runtime until the process ends.
fn work(id: WorkerId, ready: &mpsc::Sender<(WorkerId, Worker)>) {
    // Zero is every other thread.
    server::set_worker(u32::try_from(id.0 + 1).unwrap_or(u32::MAX));
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tracing::error!("a worker can't start: {e}"),
    };
    let _ = ready.send((id, Worker::this_thread(runtime.handle().clone())));
    runtime.block_on(async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
        }
    });
}

fn bind_http(config: &Config, how: Binding<'_>) -> Result<Option<TcpListener>, String> {
    let Some(text) = &config.server.http else { return Ok(None) };
    let failed = |e: io::Error| format!("can't listen on {text}: {e}");
    let plain = Sockets { tcp_defer_accept: false, ..how.sockets.clone() };
    let how = Binding { sockets: &plain, ..how };
    let mut outcome = Err(format!("can't listen on {text}: it has no address"));
    for address in text.to_socket_addrs().map_err(failed)? {
        outcome = listener::bind(address, how).map_err(failed);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map(Some)
}

fn serve_http(proxy: &Arc<Proxy>, listener: Option<TcpListener>) -> Result<(), String> {
    let Some(listener) = listener else { return Ok(()) };
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(|e| format!("HTTP can't be served: {e}"))?;
    let proxy = proxy.clone();
    tokio::spawn(async move {
        if let Err(e) = http::serve(proxy, listener).await {
            tracing::error!("HTTP failed: {e}");
        }
    });
    Ok(())
}

/// Looks after the pools: clients that wait too long, servers that are too old or too long idle.
async fn sweep(proxy: Arc<Proxy>) {
    let mut tick = tokio::time::interval(EXPIRE);
    let mut swept = Instant::now();
    let (mut unused, mut idle) = (autodb::Unused::default(), IdlePools::default());
    loop {
        tick.tick().await;
        let now = Instant::now();
        let sweeps = now.saturating_duration_since(swept) >= SWEEP;
        if sweeps {
            swept = now;
            unused.sweep(&proxy, now).await;
        }
        let world = proxy.world();
        if sweeps {
            world.make_forced_pools();
            session::remind(&proxy, now);
            crossed::part(&proxy, now);
            idle.sweep(&proxy, now);
        }
        for database in world.databases.values() {
            for server in database.servers() {
                for (user, pool) in server.pools() {
                    pool.expire(now);
                    if sweeps {
                        pool.sweep(now, || is_in_use(&proxy, database, server, &user));
                    }
                }
            }
        }
    }
}

/// Whether clients are connected that a user's servers are for, or may be any time.
fn is_in_use(proxy: &Proxy, database: &Database, server: &Server, user: &str) -> bool {
    let forced = database.config.user.is_some() || server.login.is_some();
    forced || proxy.clients_by_name.has(&database.name, user)
}
