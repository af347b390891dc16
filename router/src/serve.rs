//! `shardway serve`: starts the workers, listens to signals, drains.

use crate::client::auth::SaltKey;
use crate::proxy::{Phase, Proxy, World};
use crate::{http, listener, reload, support};
use shardway_config::{Config, Source};
use shardway_pool::server;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How often idle servers are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. Errors: in words, for whoever started it.
pub fn run(config: Config, source: Source) -> Result<(), String> {
    support::check(&config)?;
    support::warn(&config);
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
    let addresses = addresses(&proxy.world().config)?;
    let workers = spawn_workers(&proxy, &addresses)?;
    serve_http(&proxy).await?;
    tokio::spawn(sweep(proxy.clone()));
    for database in proxy.world().databases.values().cloned() {
        tokio::spawn(read_schema(database));
    }
    for address in &addresses {
        tracing::info!(%address, workers = workers.len(), "listening");
    }
    wait_for_end(&proxy).await.map_err(|e| format!("signals can't be had: {e}"))?;
    proxy.enter(Phase::Stopping);
    // Sessions that were told to go get a moment to say so.
    let until = Instant::now() + Duration::from_secs(1);
    while proxy.connections.load(Ordering::Acquire) > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tracing::info!("stopped");
    Ok(())
}

fn addresses(config: &Config) -> Result<Vec<std::net::SocketAddr>, String> {
    let mut all = Vec::new();
    for listen in &config.server.listen {
        all.extend(listener::resolve(listen).map_err(|e| format!("server.listen {listen:?}: {e}"))?);
    }
    Ok(all)
}

/// One current-thread runtime per worker, each with listeners of its own.
fn spawn_workers(
    proxy: &Arc<Proxy>,
    addresses: &[std::net::SocketAddr],
) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
    let wanted = proxy.world().config.server.worker_threads;
    let count = if wanted > 0 { wanted } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let mut workers = Vec::with_capacity(count);
    for id in 0..count {
        let listeners = addresses
            .iter()
            .map(|address| listener::bind(*address).map_err(|e| format!("can't listen on {address}: {e}")))
            .collect::<Result<Vec<_>, _>>()?;
        let proxy = proxy.clone();
        let worker = std::thread::Builder::new()
            .name(format!("worker-{id}"))
            .spawn(move || work(id as u32 + 1, &proxy, listeners))
            .map_err(|e| format!("a worker can't start: {e}"))?;
        workers.push(worker);
    }
    Ok(workers)
}

fn work(id: u32, proxy: &Arc<Proxy>, listeners: Vec<std::net::TcpListener>) {
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

async fn serve_http(proxy: &Arc<Proxy>) -> Result<(), String> {
    let Some(address) = proxy.world().config.server.http.clone() else { return Ok(()) };
    let listener =
        tokio::net::TcpListener::bind(&address).await.map_err(|e| format!("can't listen on {address}: {e}"))?;
    let proxy = proxy.clone();
    tokio::spawn(async move {
        if let Err(e) = http::serve(proxy, listener).await {
            tracing::error!("HTTP failed: {e}");
        }
    });
    Ok(())
}

/// Reads a schema, as often as it takes.
async fn read_schema(database: Arc<crate::database::Database>) {
    let mut pause = Duration::from_millis(100);
    while let Err(e) = database.refresh(None).await {
        tracing::warn!(database = database.name, "the schema could not be read: {e}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// Closes servers that are too old or too long idle.
async fn sweep(proxy: Arc<Proxy>) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tick.tick().await;
        let now = Instant::now();
        for database in proxy.world().databases.values() {
            for server in database.groups.iter().flat_map(|g| &g.shards).flat_map(|s| &s.servers) {
                server.pools().iter().for_each(|(_, pool)| pool.sweep(now));
            }
        }
    }
}

/// Handles signals until the process is to end: SIGHUP reloads, SIGTERM drains, SIGINT and a second SIGTERM end now.
async fn wait_for_end(proxy: &Arc<Proxy>) -> io::Result<()> {
    let mut hup = signal(SignalKind::hangup())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = hup.recv() => {
                // Its outcome is logged.
                let _ = reload::reload(proxy).await;
            }
            _ = term.recv() => break,
            _ = int.recv() => return Ok(()),
        }
    }
    proxy.enter(Phase::Draining);
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
    }
    Ok(())
}
