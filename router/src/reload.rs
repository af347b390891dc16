//! SIGHUP and RELOAD: the new configuration is taken whole, or the old one is kept whole.

use crate::proxy::{Proxy, World};
use crate::support;
use shardway_config::{ProcessEnv, diff, load};
use shardway_pool::{Login, PoolLimits};
use std::sync::Arc;

/// Reads the configuration again. Errors: everything that is wrong with it, in words; nothing has changed then.
pub async fn reload(proxy: &Arc<Proxy>) -> Result<(), String> {
    let outcome = take(proxy).await;
    match &outcome {
        Ok(()) => proxy.metrics.reloads.with_label_values(&["taken"]).inc(),
        Err(problems) => {
            proxy.metrics.reloads.with_label_values(&["kept"]).inc();
            tracing::error!("reload: the old configuration is kept: {problems}");
        }
    }
    outcome
}

async fn take(proxy: &Arc<Proxy>) -> Result<(), String> {
    let config = load(&proxy.source, &ProcessEnv).map_err(|problems| problems.to_string())?;
    support::check(&config)?;
    let old = proxy.world();
    let changes = diff(&old.config, &config);
    if changes.is_empty() {
        tracing::info!("reload: nothing has changed");
        return Ok(());
    }
    let world = World::build(config, Some(&old), &proxy.salts)?;
    for database in world.databases.values() {
        if let Err(e) = database.refresh(None).await {
            tracing::warn!(database = database.name, "the schema could not be read: {e}");
        }
    }
    reconfigure_pools(&world);
    for change in &changes {
        let later = if change.needs_restart() { " (takes effect at the next start)" } else { "" };
        tracing::info!("reload: {change}{later}");
    }
    support::warn(&world.config);
    proxy.replace(world);
    proxy.empty_cache().await;
    Ok(())
}

/// Pools that stay take their new bounds and logins.
fn reconfigure_pools(world: &World) {
    for database in world.databases.values() {
        for server in database.groups.iter().flat_map(|g| &g.shards).flat_map(|s| &s.servers) {
            for (user, pool) in server.pools() {
                let login = match (&database.config.user, &server.login) {
                    (None, Some(login)) => login.clone(),
                    _ => world.server_login(database, &user),
                };
                let login = Login { user: user.clone(), ..login };
                let limits: PoolLimits = world.limits(&user);
                pool.reconfigure(login, limits);
            }
        }
    }
}
