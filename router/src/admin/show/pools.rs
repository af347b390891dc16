//! SHOW POOLS: one row for each database and login, over all shards. What each shard has is in SHOW SHARDS and
//! SHOW REPLICAS.

use super::databases::load_balance_hosts;
use crate::admin::answer::{Row, row};
use crate::admin::gather;
use crate::admin::snapshot::PoolRow;
use crate::proxy::Proxy;

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let admins = proxy.admin.clients.all().iter().filter(|c| c.who.database == world.console()).count();
    let console = PoolRow { clients: admins, ..PoolRow::default() };
    let mut rows = vec![pool_row(world.console(), world.console(), &console, "statement", None)];
    for ((database, user), row) in gather::pools(proxy) {
        let found = world.databases.get(&database);
        let mode = found.map(|found| world.pool_mode(found, &user).to_string()).unwrap_or_default();
        let balance = found.and_then(|found| load_balance_hosts(found));
        rows.push(pool_row(&database, &user, &row, &mode, balance));
    }
    rows
}

fn pool_row(database: &str, user: &str, pool: &PoolRow, mode: &str, balance: Option<&str>) -> Row {
    let stats = pool.stats;
    row![
        database,
        user,
        pool.clients.saturating_sub(stats.waiting),
        stats.waiting,
        0,
        0,
        stats.active,
        0,
        0,
        stats.idle.saturating_sub(pool.used),
        pool.used,
        0,
        stats.connecting,
        pool.max_wait.as_secs(),
        pool.max_wait.subsec_micros(),
        mode,
        balance,
    ]
}
