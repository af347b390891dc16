//! Databases that nobody configured: the fallback (`* = …` in a `pgbouncer.ini`) makes one for the first client that asks
//! for its name, and it is forgotten when it has been unused for `autodb_idle_timeout`.
//!
//! Only clients that have proven who they are get here, and users who are looked up on a database.

use crate::admin::standing;
use crate::database::Database;
use crate::proxy::{Proxy, World};
use shardway_config::Origin;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// The database of a name, made if need be; `None`: there is none. Errors: it can't be made; in words.
pub async fn open(proxy: &Arc<Proxy>, name: &str) -> Result<Option<Arc<Database>>, String> {
    let world = proxy.world();
    if let Some(found) = world.databases.get(name) {
        return Ok(Some(found.clone()));
    }
    if world.config.fallback.is_none() {
        return Ok(None);
    }
    let (asked, name) = (proxy.clone(), name.to_owned());
    // Not on a worker, and one after the other with reloads.
    let made = proxy.control.spawn(async move {
        let _one_by_one = asked.reloading.lock().await;
        make(&asked, &name)
    });
    made.await.unwrap_or_else(|e| Err(format!("it ended early: {e}")))
}

fn make(proxy: &Proxy, name: &str) -> Result<Option<Arc<Database>>, String> {
    let world = proxy.world();
    if let Some(found) = world.databases.get(name) {
        return Ok(Some(found.clone()));
    }
    let Some(fallback) = &world.config.fallback else { return Ok(None) };
    let world = world.with(&fallback.named(name))?;
    let made = world.databases.get(name).cloned();
    proxy.adjust(world);
    // All databases may be paused.
    standing::carry_over(proxy);
    tracing::info!(database = name, "registered new auto-database");
    Ok(made)
}

/// Since when the databases that the fallback made have been unused.
#[derive(Debug, Default)]
pub struct Unused(HashMap<String, Instant>);

impl Unused {
    /// Looks at all of them, and forgets those that have been unused for too long.
    pub async fn sweep(&mut self, proxy: &Arc<Proxy>, now: Instant) {
        let world = proxy.world();
        let Some(limit) = world.config.fallback.as_ref().map(|fallback| fallback.idle_timeout) else {
            return;
        };
        self.look(proxy, &world, now);
        if limit.is_zero() {
            return;
        }
        let late = self.0.iter().filter(|(_, since)| now.saturating_duration_since(**since) > limit);
        let late: Vec<String> = late.map(|(name, _)| name.clone()).collect();
        if late.is_empty() {
            return;
        }
        let _one_by_one = proxy.reloading.lock().await;
        for name in late {
            self.0.remove(&name);
            forget(proxy, &name);
        }
    }

    fn look(&mut self, proxy: &Proxy, world: &World, now: Instant) {
        let made = world.databases.values().filter(|database| database.config.origin == Origin::Fallback);
        let idle: Vec<&str> = made
            .filter(|database| !is_used(proxy, database))
            .map(|database| database.name.as_str())
            .collect();
        self.0.retain(|name, _| idle.contains(&name.as_str()));
        for name in idle {
            self.0.entry(name.to_owned()).or_insert(now);
        }
    }
}

/// Whether it has clients or servers.
fn is_used(proxy: &Proxy, database: &Database) -> bool {
    let servers = database.servers().flat_map(|server| server.pools());
    let mut servers = servers.map(|(_, pool)| pool.stats());
    servers.any(|pool| pool.idle + pool.active + pool.connecting + pool.waiting > 0)
        || proxy.admin.clients.all().iter().any(|client| client.who.database == database.name)
}

fn forget(proxy: &Proxy, name: &str) {
    let world = proxy.world();
    let Some(database) = world.databases.get(name) else { return };
    if database.config.origin != Origin::Fallback || is_used(proxy, database) {
        return;
    }
    proxy.adjust(world.without(name));
    database.servers().for_each(|server| server.retire());
    database.stop_watching();
    tracing::info!(database = name, "auto-database is forgotten: nobody used it");
}
