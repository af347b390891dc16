//! SHOW DATABASES and SHOW USERS.

use crate::admin::answer::{Row, row};
use crate::admin::gather::{self, by_name};
use crate::database::Database;
use crate::proxy::{ADMIN_DATABASE, Proxy, World};

/// Each database once, whatever it is spread over, and the admin database, as PgBouncer lists its own.
pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let mut rows = vec![admin_row(proxy)];
    rows.extend(by_name(&world).into_iter().map(|database| database_row(proxy, &world, database)));
    rows
}

fn database_row(proxy: &Proxy, world: &World, database: &Database) -> Row {
    let pool = &world.config.pool;
    let primaries = database.groups.iter().flat_map(|g| &g.shards).map(|shard| &shard.primary().address);
    let hosts = distinct(primaries.clone().map(|address| address.host.clone()));
    let names = distinct(primaries.clone().map(|address| address.dbname.clone()));
    let ports = distinct(primaries.map(|address| address.port.to_string()));
    row![
        &database.name,
        hosts.join(","),
        // One number has no room for several.
        ports.first().filter(|_| ports.len() == 1),
        names.join(","),
        database.config.user.as_ref(),
        pool.default_pool_size,
        pool.min_pool_size,
        pool.reserve_pool_size,
        pool.server_lifetime.as_secs(),
        None::<&str>,
        None::<&str>,
        pool.max_db_connections,
        connections(database.servers().flat_map(|server| server.pools()).map(|(_, pool)| pool.stats())),
        0,
        clients(proxy, |client| client.database == database.name),
        0,
        i32::from(proxy.admin.is_disabled(&database.name)),
    ]
}

fn admin_row(proxy: &Proxy) -> Row {
    let connected = clients(proxy, |client| client.database == ADMIN_DATABASE);
    let (none, no_user) = (None::<&str>, None::<&str>);
    row![
        ADMIN_DATABASE,
        none,
        listen_port(proxy),
        ADMIN_DATABASE,
        no_user,
        0,
        0,
        0,
        0,
        "statement",
        none,
        0,
        0,
        0,
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

fn connections(stats: impl Iterator<Item = shardway_pool::pool::PoolStats>) -> usize {
    let all = stats.fold(Default::default(), gather::sum);
    all.idle + all.active + all.connecting
}

fn clients(proxy: &Proxy, meant: impl Fn(&crate::admin::clients::Entrance) -> bool) -> usize {
    proxy.admin.clients.all().iter().filter(|client| meant(&client.who)).count()
}

/// Configured users, and whoever else is connected where any name will do.
pub(super) fn users(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let mut names: Vec<String> = world.users.keys().cloned().collect();
    names.extend(proxy.admin.clients.all().iter().map(|client| client.who.user.clone()));
    names.sort();
    names.dedup();
    names.iter().map(|name| user_row(proxy, &world, name)).collect()
}

fn user_row(proxy: &Proxy, world: &World, name: &str) -> Row {
    let configured = world.config.users.iter().find(|user| user.name == name);
    // PgBouncer's column is text, and empty where the user has no size of its own.
    let pool_size = configured.filter(|u| u.pool_size > 0).map(|u| u.pool_size.to_string());
    let own_limit = configured.map(|user| user.max_connections).filter(|limit| *limit > 0);
    let pools = world.databases.values().flat_map(|d| d.servers()).flat_map(|server| server.pools());
    row![
        name,
        pool_size.unwrap_or_default(),
        "",
        configured.and_then(|user| user.pool_mode).map(|mode| mode.to_string()),
        own_limit.unwrap_or(world.config.pool.max_user_connections),
        connections(pools.filter(|(user, _)| user == name).map(|(_, pool)| pool.stats())),
        0,
        clients(proxy, |client| client.user == name),
    ]
}
