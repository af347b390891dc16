//! SHOW DATABASES and SHOW USERS.

use crate::admin::answer::{Row, row};
use crate::admin::gather::{self, by_name};
use crate::admin::standing;
use crate::database::Database;
use crate::proxy::{Proxy, World};

/// What PgBouncer says that the pool of its console has room for; it has no server.
const CONSOLE_POOL_SIZE: usize = 2;

/// Each database once, whatever it is spread over, and the admin database, as PgBouncer lists its own.
pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let mut rows = vec![admin_row(proxy)];
    rows.extend(by_name(&world).into_iter().map(|database| database_row(proxy, &world, database)));
    rows
}

fn database_row(proxy: &Proxy, world: &World, database: &Database) -> Row {
    let (pool, own) = (&world.config.pool, &database.config.limits);
    let primaries = database.groups.iter().flat_map(|g| &g.shards).map(|shard| &shard.primary().address);
    let configured = database.config.groups.iter().flat_map(|g| &g.shards).flat_map(|s| &s.primary.others);
    let hosts = primaries.clone().map(|address| address.host.clone()).chain(configured.cloned());
    let hosts = distinct(hosts);
    let names = distinct(primaries.clone().map(|address| address.dbname.clone()));
    let ports = distinct(primaries.map(|address| address.port.to_string()));
    row![
        &database.name,
        hosts.join(","),
        // One number has no room for several.
        ports.first().filter(|_| ports.len() == 1),
        names.join(","),
        database.config.user.as_ref(),
        own.pool_size.unwrap_or(pool.default_pool_size),
        own.min_pool_size.unwrap_or(pool.min_pool_size),
        own.reserve_pool_size.unwrap_or(pool.reserve_pool_size),
        own.server_lifetime.unwrap_or(pool.server_lifetime).as_secs(),
        own.pool_mode.map(|mode| mode.to_string()),
        load_balance_hosts(database),
        own.max_connections.unwrap_or(pool.max_db_connections),
        connections(database.servers().flat_map(|server| server.pools()).map(|(_, pool)| pool.stats())),
        own.max_client_connections.unwrap_or(pool.max_db_client_connections),
        clients(proxy, |client| client.database == database.name),
        i32::from(standing::is_paused(proxy, &database.name)),
        i32::from(proxy.admin.is_disabled(&database.name)),
    ]
}

/// How the first of several hosts that are as good as each other is found; `None` where there are not several.
pub(super) fn load_balance_hosts(database: &Database) -> Option<&'static str> {
    let mut primaries = database.config.groups.iter().flat_map(|g| &g.shards).map(|shard| &shard.primary);
    let several = primaries.find(|primary| !primary.others.is_empty())?;
    Some(if several.balances { "round-robin" } else { "disable" })
}

fn admin_row(proxy: &Proxy) -> Row {
    let world = proxy.world();
    let (console, pool) = (world.console(), &world.config.pool);
    let connected = clients(proxy, |client| client.database == console);
    let none = None::<&str>;
    row![
        console,
        none,
        listen_port(proxy),
        console,
        console,
        CONSOLE_POOL_SIZE,
        pool.min_pool_size,
        pool.reserve_pool_size,
        pool.server_lifetime.as_secs(),
        "statement",
        none,
        pool.max_db_connections,
        0,
        pool.max_db_client_connections,
        connected,
        0,
        0
    ]
}

fn listen_port(proxy: &Proxy) -> Option<u16> {
    proxy.world().config.server.listen.iter().find_map(|listen| match listen {
        shardway_config::Listen::Tcp { port, .. } => Some(*port),
        shardway_config::Listen::Unix(_) => None,
    })
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

fn connections(stats: impl Iterator<Item = shardway_pool::PoolStats>) -> usize {
    let all = stats.fold(Default::default(), gather::sum);
    all.idle + all.active + all.connecting
}

fn clients(proxy: &Proxy, meant: impl Fn(&crate::admin::clients::Entrance) -> bool) -> usize {
    proxy.admin.clients.all().iter().filter(|client| meant(&client.who)).count()
}

/// Configured users, whoever else is connected where any name will do, and the one whose the console's pool is.
pub(super) fn users(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let mut names: Vec<String> = world.users.keys().cloned().collect();
    names.push(world.console().to_owned());
    names.extend(proxy.admin.clients.all().iter().map(|client| client.who.user.clone()));
    names.sort();
    names.dedup();
    names.iter().map(|name| user_row(proxy, &world, name)).collect()
}

fn user_row(proxy: &Proxy, world: &World, name: &str) -> Row {
    let configured = world.config.users.iter().find(|user| user.name == name);
    // PgBouncer's column is text, and empty where the user has no size of its own.
    let pool_size = configured.and_then(|user| user.limits.pool_size).map(|size| size.to_string());
    let reserve = configured.and_then(|user| user.limits.reserve_pool_size).map(|size| size.to_string());
    let own_limit = configured.and_then(|user| user.limits.max_connections);
    let client_limit = configured.and_then(|user| user.limits.max_client_connections);
    let pools = world.databases.values().flat_map(|d| d.servers()).flat_map(|server| server.pools());
    row![
        name,
        pool_size.unwrap_or_default(),
        reserve.unwrap_or_default(),
        configured.and_then(|user| user.limits.pool_mode).map(|mode| mode.to_string()),
        own_limit.unwrap_or(world.config.pool.max_user_connections),
        connections(pools.filter(|(user, _)| user == name).map(|(_, pool)| pool.stats())),
        client_limit.unwrap_or(world.config.pool.max_user_client_connections),
        clients(proxy, |client| client.user == name),
    ]
}
