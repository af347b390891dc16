//! SIGHUP and RELOAD: the new configuration is taken whole, or the old one is kept whole.

use crate::proxy::{Proxy, World};
use crate::support;
use shardway_config::hba::Disk;
use shardway_config::{Config, ProcessEnv, Source, diff, load};
use shardway_pool::Login;
use shardway_pool::shard::Server;
use std::sync::Arc;

/// Reads the configuration again, one reload after the other. Errors: everything that is wrong with it, in words;
/// nothing has changed then.
pub async fn reload(proxy: &Arc<Proxy>) -> Result<(), String> {
    // Not on a worker, where clients would wait for it; and it goes on if the admin who asked for it leaves.
    let asked = proxy.clone();
    let done = proxy.control.spawn(async move {
        let _one_by_one = asked.reloading.lock().await;
        reload_now(&asked).await
    });
    done.await.unwrap_or_else(|e| Err(format!("the reload ended early: {e}")))
}

async fn reload_now(proxy: &Arc<Proxy>) -> Result<(), String> {
    // Whatever becomes of the rest: it may have been moved away.
    if let Some(audit) = &proxy.world().audit {
        audit.reopen();
    }
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

/// Changes the configuration that is in force, until the next reload. Errors: what is wrong with it then; nothing
/// has changed.
pub async fn change(
    proxy: &Arc<Proxy>,
    edit: impl FnOnce(&mut Config) -> Result<(), String> + Send + 'static,
) -> Result<(), String> {
    let asked = proxy.clone();
    let done = proxy.control.spawn(async move {
        let _one_by_one = asked.reloading.lock().await;
        let mut config = asked.world().config.clone();
        edit(&mut config)?;
        adopt(&asked, config).await
    });
    done.await.unwrap_or_else(|e| Err(format!("the change ended early: {e}")))
}

/// Changes a setting as if the `pgbouncer.ini` in force said so, until the next reload. Errors: as with [`change`].
pub async fn set_pgbouncer(proxy: &Arc<Proxy>, name: &str, value: &str) -> Result<(), String> {
    let (name, value) = (name.to_owned(), value.to_owned());
    change(proxy, move |config| {
        let ini = config.pgbouncer.as_ref().ok_or("there is no pgbouncer.ini")?;
        *config = ini.set(&name, &value, &Disk)?;
        Ok(())
    })
    .await?;
    reopen_log(proxy);
    Ok(())
}

/// Takes the present configuration anew, so that sessions ask for their servers afresh; `before` is done at the moment
/// of the change. Errors: in words.
pub async fn renew(
    proxy: &Arc<Proxy>,
    before: impl FnOnce(&Proxy, &World) + Send + 'static,
) -> Result<(), String> {
    let asked = proxy.clone();
    let done = proxy.control.spawn(async move {
        let _one_by_one = asked.reloading.lock().await;
        let config = asked.world().config.clone();
        install(&asked, config, |old| before(&asked, old)).await
    });
    done.await.unwrap_or_else(|e| Err(format!("it ended early: {e}")))
}

async fn take(proxy: &Arc<Proxy>) -> Result<(), String> {
    let config = load(&source(proxy), &ProcessEnv).map_err(|problems| problems.to_string())?;
    adopt(proxy, config).await?;
    reopen_log(proxy);
    Ok(())
}

/// Where the configuration comes from: SET can give a `pgbouncer.ini` another path.
fn source(proxy: &Proxy) -> Source {
    let world = proxy.world();
    let ini = world.config.pgbouncer.as_ref().and_then(|ini| ini.settings.listening.conffile.clone());
    ini.map_or_else(|| proxy.source.clone(), Source::Pgbouncer)
}

/// The log's file may have been moved away, or be another one.
fn reopen_log(proxy: &Proxy) {
    let world = proxy.world();
    let Some(ini) = &world.config.pgbouncer else { return };
    if let Err(e) = proxy.log.reopen(ini.settings.logging.logfile.as_deref()) {
        tracing::error!("the log's file can't be opened: {e}");
    }
    if let Err(e) = proxy.log.follow_syslog(&ini.settings.logging) {
        tracing::warn!("{e}");
    }
}

/// Has a configuration take the place of the present one.
async fn adopt(proxy: &Arc<Proxy>, config: Config) -> Result<(), String> {
    support::warn(&config);
    let old = proxy.world();
    let changes = diff(&old.config, &config);
    if changes.is_empty() {
        tracing::info!("reload: nothing has changed in the configuration");
        for database in old.databases.values() {
            if let Err(e) = database.refresh(None).await {
                tracing::warn!(database = database.name, "the schema could not be read: {e}");
            }
        }
        return Ok(());
    }
    install(proxy, config, |_| ()).await?;
    for change in &changes {
        let later = if change.needs_restart() { " (takes effect at the next start)" } else { "" };
        tracing::info!("reload: {change}{later}");
    }
    Ok(())
}

/// Builds what a configuration says, and puts it in the place of what is there.
async fn install(proxy: &Arc<Proxy>, config: Config, before: impl FnOnce(&World)) -> Result<(), String> {
    let old = proxy.world();
    let world = World::build(config, Some(&old), &proxy.salts)?;
    for database in world.databases.values() {
        if let Err(e) = database.refresh(None).await {
            tracing::warn!(database = database.name, "the schema could not be read: {e}");
            tokio::spawn(database.clone().read_schema());
        }
    }
    reconfigure_pools(&world);
    before(&old);
    proxy.replace(world);
    crate::admin::standing::carry_over(proxy);
    retire(proxy, &old);
    proxy.empty_cache().await;
    Ok(())
}

/// Pools that stay take their new bounds and logins.
fn reconfigure_pools(world: &World) {
    for database in world.databases.values() {
        for server in database.servers() {
            for (user, pool) in server.pools() {
                let login = match (&database.config.user, &server.login) {
                    (None, Some(login)) => login.clone(),
                    _ => world.server_login(database, &user),
                };
                let login = Login { user: user.clone(), ..login };
                pool.reconfigure(login, world.limits(database, &user));
            }
        }
    }
}

/// Servers that are configured no more, and pools of users that are not, keep no connection idle. What clients still have
/// of them WAIT_CLOSE waits for.
fn retire(proxy: &Proxy, old: &World) {
    let new = &proxy.world();
    let stay: Vec<&Arc<Server>> = new.databases.values().flat_map(|d| d.servers()).collect();
    for database in old.databases.values() {
        for server in database.servers().filter(|server| !stay.iter().any(|s| Arc::ptr_eq(s, server))) {
            proxy.admin.give_up_pools(&database.name, server, |_| false);
            server.retire();
        }
    }
    for database in new.databases.values() {
        for server in database.servers() {
            let stays = |user: &str| new.may_log_in(database, server, user);
            proxy.admin.give_up_pools(&database.name, server, stays);
        }
    }
    for (name, database) in &old.databases {
        // Sessions that have not seen the change yet may hold it for long.
        if !new.databases.get(name).is_some_and(|d| Arc::ptr_eq(d, database)) {
            database.stop_watching();
        }
    }
}
