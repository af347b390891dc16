//! SHOW SHARDS and SHOW REPLICAS: each shard with the server that takes its writes, and the servers that follow.

use crate::admin::answer::{Row, row};
use crate::admin::gather::{self, by_name};
use crate::proxy::Proxy;
use shardway_pool::PoolStats;
use shardway_pool::health::Role;
use shardway_pool::shard::{Server, Shard};
use std::sync::Arc;

/// A row for every shard, or for every server of every shard: what comes before it is the same.
fn each(proxy: &Proxy, mut visit: impl FnMut(Row, &Shard, &str)) {
    let world = proxy.world();
    for database in by_name(&world) {
        for (group, map) in database.groups.iter().zip(&database.maps) {
            for (number, shard) in group.shards.iter().enumerate() {
                visit(row![&database.name, &group.name, number], shard, map.function().name());
            }
        }
    }
}

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let mut rows = Vec::new();
    each(proxy, |mut cells, shard, function| {
        let (primary, stats) = (shard.primary(), pooled(shard.primary()));
        cells.extend(row![
            function,
            primary.address.to_string(),
            state(primary),
            role(primary),
            lsn(primary),
            shard.servers.len() - 1,
            stats.active,
            stats.idle,
            stats.waiting,
            primary.health.last_error(),
        ]);
        rows.push(cells);
    });
    rows
}

pub(super) fn replicas(proxy: &Proxy) -> Vec<Row> {
    let routing = proxy.world().config.routing.clone();
    let mut rows = Vec::new();
    each(proxy, |cells, shard, _| {
        for server in shard.servers.iter().filter(|server| !Arc::ptr_eq(server, shard.primary())) {
            let (health, stats) = (&server.health, pooled(server));
            let fresh = routing.replica_max_lag.is_zero() || health.lag() <= routing.replica_max_lag;
            let serves = routing.replica_reads && health.is_up() && health.role() == Role::Standby && fresh;
            let known = health.role() != Role::Unknown;
            let mut cells = cells.clone();
            cells.extend(row![
                server.address.to_string(),
                state(server),
                role(server),
                lsn(server),
                known.then(|| health.lag().as_millis().to_string()),
                if serves { "yes" } else { "no" },
                stats.active,
                stats.idle,
                stats.waiting,
                health.last_error(),
            ]);
            rows.push(cells);
        }
    });
    rows
}

fn state(server: &Server) -> &'static str {
    if server.health.is_up() { "up" } else { "down" }
}

fn role(server: &Server) -> &'static str {
    match server.health.role() {
        Role::Primary => "primary",
        Role::Standby => "replica",
        Role::Unknown => "unknown",
    }
}

/// Its last known position; none before the first look.
fn lsn(server: &Server) -> Option<String> {
    (server.health.role() != Role::Unknown).then(|| server.health.lsn().to_string())
}

fn pooled(server: &Server) -> PoolStats {
    server.pools().iter().map(|(_, pool)| pool.stats()).fold(PoolStats::default(), gather::sum)
}
