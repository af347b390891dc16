//! Pools that nobody needs any more: without clients, servers and a queue for longer than PgBouncer's `pool_idle_timeout`.

use crate::database::Database;
use crate::proxy::Proxy;
use shardway_pool::Pool;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Since when pools are empty, by their places in memory: an empty one is held by its server until it is forgotten.
#[derive(Debug, Default)]
pub struct IdlePools(HashMap<usize, Instant>);

impl IdlePools {
    /// Looks at all of them, and forgets those that have been empty for too long.
    pub fn sweep(&mut self, proxy: &Proxy, now: Instant) {
        let world = proxy.world();
        let limit = world.pool_idle_timeout();
        if limit.is_zero() {
            return self.0.clear();
        }
        let mut seen = HashMap::new();
        for database in world.databases.values() {
            for server in database.servers() {
                for (user, pool) in server.pools() {
                    let place = Arc::as_ptr(&pool) as usize;
                    if !is_empty(&pool) || has_clients(proxy, database) {
                        continue;
                    }
                    let since = self.0.get(&place).copied().unwrap_or(now);
                    if now.saturating_duration_since(since) <= limit {
                        seen.insert(place, since);
                        continue;
                    }
                    tracing::info!(database = database.name, user, "an idle pool is forgotten");
                    server.keep_pools(|other| other != user);
                }
            }
        }
        self.0 = seen;
    }
}

fn is_empty(pool: &Pool) -> bool {
    let stats = pool.stats();
    stats.idle + stats.active + stats.connecting + stats.waiting == 0
}

fn has_clients(proxy: &Proxy, database: &Database) -> bool {
    proxy.admin.clients.all().iter().any(|client| client.who.database == database.name)
}
