//! `shardway serve`: starts the workers, listens to signals, drains.

use crate::client::auth::SaltKey;
use crate::listener::{self, Bound, Listener, SocketFile};
use crate::proxy::{Phase, Proxy, World};
use crate::{admin, http, reload, support};
use shardway_config::{Config, Source};
use shardway_pool::server;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How long sessions have at the end to tell their clients.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often clients that wait for a server are looked at: a timer for each of them would cost more than it is worth.
const EXPIRE: Duration = Duration::from_millis(100);

/// How often idle servers are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. Errors: in words, for whoever started it.
pub fn run(config: Config, source: Source) -> Result<(), String> {
    support::admit(&config)?;
    let control = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime can't start: {e}"))?;
    control.block_on(start(config, source))
}

async fn start(config: Config, source: Source) -> Result<(), String> {
    let salts = SaltKey::random();
    let world = World::build(config, None, &salts)?;
    let proxy = Proxy::new(world, salts, source);
    let bound = Bound::bind(&proxy.world().config.server.listen)?;
    let http = bind_http(&proxy).await?;
    let Workers { addresses, files, threads } = spawn_workers(&proxy, bound)?;
    serve_http(&proxy, http);
    tokio::spawn(sweep(proxy.clone()));
    tokio::spawn(admin::keep_stats(proxy.clone()));
    for database in proxy.world().databases.values() {
        tokio::spawn(database.clone().read_schema());
    }
    for address in &addresses {
        tracing::info!(%address, workers = threads.len(), "listening");
    }
    wait_for_end(&proxy, files).await.map_err(|e| format!("signals can't be had: {e}"))?;
    proxy.enter(Phase::Stopping);
    // What still runs is cancelled, and sessions that were told to go get a moment to say so.
    let until = Instant::now() + LAST_WORDS;
    let _ = tokio::time::timeout(LAST_WORDS, proxy.cancel_all()).await;
    while proxy.connections.load(Ordering::Acquire) > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Workers that listen.
struct Workers {
    addresses: Vec<String>,
    files: Vec<SocketFile>,
    threads: Vec<JoinHandle<()>>,
}

/// One current-thread runtime per worker, each with listeners of its own.
fn spawn_workers(proxy: &Arc<Proxy>, bound: Bound) -> Result<Workers, String> {
    let wanted = proxy.world().config.server.worker_threads;
    let count = if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let mut shares = (1..count).map(|_| bound.share()).collect::<Result<Vec<_>, _>>()?;
    let (first, addresses, files) = bound.open();
    shares.push(first);
    let mut threads = Vec::with_capacity(count);
    for (id, listeners) in (1..).zip(shares) {
        let proxy = proxy.clone();
        let worker = std::thread::Builder::new()
            .name(format!("worker-{id}"))
            .spawn(move || work(id, &proxy, listeners))
            .map_err(|e| format!("a worker can't start: {e}"))?;
        threads.push(worker);
    }
    Ok(Workers { addresses, files, threads })
}

fn work(id: u32, proxy: &Arc<Proxy>, listeners: Vec<Listener>) {
    server::set_worker(id);
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tracing::error!("a worker can't start: {e}"),
    };
    runtime.block_on(async {
        for listener in listeners {
            let proxy = proxy.clone();
            tokio::spawn(async move {
                if let Err(e) = listener::accept(proxy, listener).await {
                    tracing::error!("a listener failed: {e}");
                }
            });
        }
        let mut phase = proxy.phase();
        let _ = phase.wait_for(|p| *p == Phase::Stopping).await;
        // The sessions of this worker have been told; they end with the process.
        tokio::time::sleep(Duration::from_secs(2)).await;
    });
}

async fn bind_http(proxy: &Proxy) -> Result<Option<tokio::net::TcpListener>, String> {
    let Some(address) = proxy.world().config.server.http.clone() else { return Ok(None) };
    let bound = tokio::net::TcpListener::bind(&address).await;
    bound.map(Some).map_err(|e| format!("can't listen on {address}: {e}"))
}

fn serve_http(proxy: &Arc<Proxy>, listener: Option<tokio::net::TcpListener>) {
    let Some(listener) = listener else { return };
    let proxy = proxy.clone();
    tokio::spawn(async move {
        if let Err(e) = http::serve(proxy, listener).await {
            tracing::error!("HTTP failed: {e}");
        }
    });
}

/// Looks after the pools: clients that wait too long, servers that are too old or too long idle.
async fn sweep(proxy: Arc<Proxy>) {
    let mut tick = tokio::time::interval(EXPIRE);
    let mut swept = Instant::now();
    loop {
        tick.tick().await;
        let now = Instant::now();
        let sweeps = now.saturating_duration_since(swept) >= SWEEP;
        if sweeps {
            swept = now;
        }
        for database in proxy.world().databases.values() {
            for (_, pool) in database.servers().flat_map(|server| server.pools()) {
                pool.expire(now);
                if sweeps {
                    pool.sweep(now);
                }
            }
        }
    }
}

/// Handles signals until the process is to end: SIGHUP reloads, SIGTERM drains, SIGINT and a second SIGTERM end now.
/// `files` go when nobody is let in any more.
async fn wait_for_end(proxy: &Arc<Proxy>, files: Vec<SocketFile>) -> io::Result<()> {
    let mut hup = signal(SignalKind::hangup())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    // SHUTDOWN on the admin database does what the signals do.
    let (mut asked, mut now) = (proxy.phase(), proxy.phase());
    loop {
        tokio::select! {
            _ = hup.recv() => {
                // Its outcome is logged.
                let _ = reload::reload(proxy).await;
            }
            _ = term.recv() => break,
            _ = int.recv() => return Ok(()),
            _ = asked.wait_for(|phase| *phase == Phase::Draining) => break,
            _ = now.wait_for(|phase| *phase == Phase::Stopping) => return Ok(()),
        }
    }
    proxy.enter(Phase::Draining);
    drop(files);
    let limit = proxy.world().config.server.shutdown_timeout;
    tracing::info!(clients = proxy.connections.load(Ordering::Acquire), "draining");
    let drained = async {
        while proxy.connections.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = drained => {}
        () = tokio::time::sleep(limit) => tracing::warn!("shutdown_timeout: clients are closed in the middle of their transactions"),
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = now.wait_for(|phase| *phase == Phase::Stopping) => {}
    }
    Ok(())
}
