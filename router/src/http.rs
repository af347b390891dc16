//! /metrics and /health/*, over HTTP.

use crate::admin::tally::Count;
use crate::handover;
use crate::proxy::{Phase, Proxy};
use crate::two_phase::Stage;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use shardway_pool::Pool;
use shardway_pool::shard::{Server, Shard};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::net::TcpListener;

/// How often a process that ends looks whether another one has begun.
const LOOK: Duration = Duration::from_millis(250);

/// Serves until the proxy stops, or until the process that takes its place answers at the same address. Errors: the listener fails.
pub async fn serve(proxy: Arc<Proxy>, listener: TcpListener) -> io::Result<()> {
    let mut phase = proxy.phase();
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .route("/health/storage", get(storage))
        .with_state(proxy);
    let address = listener.local_addr()?;
    let stop = async move {
        let _ = phase.wait_for(|p| p.is_ending()).await;
        // The next process answers, as soon as there is one.
        let stopped = async { drop(phase.wait_for(|p| *p == Phase::Stopping).await) };
        let relieved = async {
            while !handover::is_shared(address) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            () = stopped => {}
            () = relieved => {}
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> Response {
    let mut text = proxy.metrics.text();
    pool_gauges(&proxy, &mut text);
    database_counters(&proxy, &mut text);
    worker_gauges(&proxy, &mut text);
    cache_counters(&proxy, &mut text);
    audit_counters(&proxy, &mut text);
    two_phase_gauge(&proxy, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Ready: every shard has a primary that is up, and the schema is known.
async fn ready(State(proxy): State<Arc<Proxy>>) -> Response {
    let missing = not_ready(&proxy);
    let phase = *proxy.phase().borrow();
    if phase != Phase::Serving {
        let what = if phase == Phase::Suspended { "suspended\n" } else { "shutting down\n" };
        return (StatusCode::SERVICE_UNAVAILABLE, what).into_response();
    }
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n").into_response()
}

fn not_ready(proxy: &Proxy) -> Vec<String> {
    let world = proxy.world();
    let mut missing = Vec::new();
    for database in
        world.databases.values().filter(|database| database.is_watched() && !database.awaits_login())
    {
        if !database.is_schema_read() {
            missing.push(format!("{}: the schema is not known yet", database.name));
        }
        for group in &database.groups {
            for (id, shard) in group.shards.iter().enumerate() {
                let primary = shard.primary();
                if !primary.health.is_up() {
                    let why = primary.health.last_error().unwrap_or_else(|| "not asked yet".to_owned());
                    missing.push(format!(
                        "{}/{}/{id}: {} is down: {why}",
                        database.name, group.name, primary.address
                    ));
                }
            }
        }
    }
    missing
}

/// Servers, lag and the cache as JSON, for dashboards.
async fn storage(State(proxy): State<Arc<Proxy>>) -> Response {
    let world = proxy.world();
    let mut shards = Vec::new();
    for database in world.databases.values() {
        for group in &database.groups {
            for (id, shard) in group.shards.iter().enumerate() {
                let servers: Vec<_> = shard
                    .servers
                    .iter()
                    .map(|server| {
                        let pools: Vec<_> = server.pools().iter().map(|(_, pool)| pool.stats()).collect();
                        serde_json::json!({
                            "address": server.address.to_string(),
                            "up": server.health.is_up(),
                            "role": format!("{:?}", server.health.role()).to_ascii_lowercase(),
                            "lag_ms": server.health.lag().as_millis() as u64,
                            "active": pools.iter().map(|p| p.active).sum::<usize>(),
                            "idle": pools.iter().map(|p| p.idle).sum::<usize>(),
                            "waiting": pools.iter().map(|p| p.waiting).sum::<usize>(),
                            "error": server.health.last_error(),
                        })
                    })
                    .collect();
                shards.push(serde_json::json!({
                    "database": database.name, "group": group.name, "shard": id, "servers": servers,
                }));
            }
        }
    }
    let cache = (**proxy.cache.load()).as_ref().map(|cache| {
        let stats = cache.stats();
        serde_json::json!({
            "l1_hits": stats.l1_hits, "l1_misses": stats.l1_misses,
            "l2_hits": stats.l2_hits, "l2_misses": stats.l2_misses,
            "l1_entries": stats.l1_entries, "redis_up": stats.redis_up,
        })
    });
    let healthy = not_ready(&proxy).is_empty();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "healthy": healthy, "shards": shards, "cache": cache }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Pools and replicas: gathered when asked for, so that nothing is counted twice.
fn pool_gauges(proxy: &Proxy, out: &mut String) {
    let world = proxy.world();
    for (name, help) in [
        ("shardway_pool_connections", "Server connections by state"),
        ("shardway_pool_size", "Servers that a pool may have"),
        ("shardway_pool_waiting_clients", "Clients that wait for a server"),
        ("shardway_pool_max_wait_seconds", "How long the first of them has waited"),
        ("shardway_server_up", "Whether the server answered the last check"),
        ("shardway_replica_lag_seconds", "How far a replica is behind its primary"),
    ] {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for database in world.databases.values() {
            for group in &database.groups {
                for (id, shard) in group.shards.iter().enumerate() {
                    for server in &shard.servers {
                        let labels = format!(
                            "database=\"{}\",group=\"{}\",shard=\"{id}\",server=\"{}\"",
                            escape(&database.name),
                            escape(&group.name),
                            escape(&server.address.to_string())
                        );
                        gauge(out, name, &labels, shard, server);
                    }
                }
            }
        }
    }
}

fn gauge(out: &mut String, name: &str, labels: &str, shard: &Shard, server: &Arc<Server>) {
    match name {
        "shardway_server_up" => {
            let _ = writeln!(out, "{name}{{{labels}}} {}", u8::from(server.health.is_up()));
        }
        "shardway_replica_lag_seconds" => {
            if !Arc::ptr_eq(server, shard.primary()) {
                let _ = writeln!(out, "{name}{{{labels}}} {}", server.health.lag().as_secs_f64());
            }
        }
        "shardway_pool_size" => of_pools(out, name, labels, server, |pool| pool.limits().size as f64),
        "shardway_pool_waiting_clients" => {
            of_pools(out, name, labels, server, |pool| pool.stats().waiting as f64);
        }
        "shardway_pool_max_wait_seconds" => {
            of_pools(out, name, labels, server, |pool| pool.waited(Instant::now()).as_secs_f64());
        }
        _ => {
            for (user, pool) in server.pools() {
                let stats = pool.stats();
                for (state, value) in
                    [("active", stats.active), ("idle", stats.idle), ("connecting", stats.connecting)]
                {
                    let user = escape(&user);
                    let _ = writeln!(out, "{name}{{{labels},user=\"{user}\",state=\"{state}\"}} {value}");
                }
            }
        }
    }
}

fn of_pools(out: &mut String, name: &str, labels: &str, server: &Server, value: impl Fn(&Pool) -> f64) {
    for (user, pool) in server.pools() {
        let _ = writeln!(out, "{name}{{{labels},user=\"{}\"}} {}", escape(&user), value(&pool));
    }
}

/// What SHOW STATS counts by database.
fn database_counters(proxy: &Proxy, out: &mut String) {
    const SECONDS: f64 = 1e-6;
    let totals = proxy.admin.tallies.totals();
    for (name, help, count, unit) in [
        ("transactions_total", "Transactions", Count::Transactions, 1.0),
        ("queries_total", "Messages that asked for something", Count::Queries, 1.0),
        ("received_bytes_total", "Bytes from clients", Count::Received, 1.0),
        ("sent_bytes_total", "Bytes to clients", Count::Sent, 1.0),
        ("transaction_seconds_total", "Time in transactions", Count::TransactionTime, SECONDS),
        ("query_seconds_total", "Time until answers were through", Count::QueryTime, SECONDS),
        ("wait_seconds_total", "Time that clients waited for servers", Count::WaitTime, SECONDS),
        ("server_assignments_total", "Servers lent", Count::ServerAssignments, 1.0),
    ] {
        let name = format!("shardway_database_{name}");
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
        for (database, counts) in &totals {
            let value = counts.get(count) as f64 * unit;
            let _ = writeln!(out, "{name}{{database=\"{}\"}} {value}", escape(database));
        }
    }
}

/// How the workers share the clients.
fn worker_gauges(proxy: &Proxy, out: &mut String) {
    let mut served = vec![0; proxy.workers.active()];
    for client in proxy.client_handles() {
        let worker = client.worker().0;
        served.resize(served.len().max(worker + 1), 0);
        served[worker] += 1;
    }
    let name = "shardway_worker_clients";
    let _ = writeln!(out, "# HELP {name} Clients by the worker that serves them\n# TYPE {name} gauge");
    for (worker, clients) in served.iter().enumerate() {
        let _ = writeln!(out, "{name}{{worker=\"{}\"}} {clients}", worker + 1);
    }
}

/// Prepared transactions that nobody works on.
fn two_phase_gauge(proxy: &Proxy, out: &mut String) {
    let name = "shardway_two_phase_prepared";
    let _ =
        writeln!(out, "# HELP {name} Prepared transactions that were left on servers\n# TYPE {name} gauge");
    for database in proxy.world().databases.values().filter(|database| database.is_sharded()) {
        let left = database.two_phase.found().iter().filter(|found| found.stage == Stage::Orphaned).count();
        let _ = writeln!(out, "{name}{{database=\"{}\"}} {left}", escape(&database.name));
    }
}

fn audit_counters(proxy: &Proxy, out: &mut String) {
    let Some(audit) = proxy.world().audit.clone() else { return };
    let metrics = [
        (
            "shardway_audit_lines_total",
            "counter",
            "Lines of the audit log that were written",
            audit.written(),
        ),
        ("shardway_audit_failures_total", "counter", "Attempts to write it that failed", audit.failures()),
        ("shardway_audit_failing", "gauge", "Whether it can't be written now", audit.is_failing().into()),
    ];
    for (name, kind, help, value) in metrics {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}

fn cache_counters(proxy: &Proxy, out: &mut String) {
    let Some(cache) = (**proxy.cache.load()).clone() else { return };
    let stats = cache.stats();
    for (name, values) in [
        ("shardway_cache_hits_total", [("l1", stats.l1_hits), ("l2", stats.l2_hits)]),
        ("shardway_cache_misses_total", [("l1", stats.l1_misses), ("l2", stats.l2_misses)]),
    ] {
        let _ = writeln!(out, "# TYPE {name} counter");
        for (level, value) in values {
            let _ = writeln!(out, "{name}{{level=\"{level}\"}} {value}");
        }
    }
    let _ = writeln!(out, "# TYPE shardway_cache_entries gauge\nshardway_cache_entries {}", stats.l1_entries);
}

/// A label value in Prometheus's text format.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
