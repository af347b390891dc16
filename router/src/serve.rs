//! `shardway serve`: starts the workers, listens to signals, drains.

use crate::client::auth::SaltKey;
use crate::listener::{self, Bound, SocketFile};
use crate::proxy::{Phase, Proxy, World};
use crate::workers::{self, Worker, WorkerId};
use crate::{admin, http, reload, support};
use shardway_config::{Config, Source};
use shardway_pool::server;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
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
    let (addresses, files) = spawn_workers(&proxy, bound)?;
    serve_http(&proxy, http);
    tokio::spawn(sweep(proxy.clone()));
    tokio::spawn(workers::balance(proxy.clone()));
    tokio::spawn(admin::keep_stats(proxy.clone()));
    for database in proxy.world().databases.values() {
        tokio::spawn(database.clone().read_schema());
    }
    for address in &addresses {
        tracing::info!(%address, "listening");
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
    runtime.block_on(std::future::pending::<()>());
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
