//! SHOW POOLS: one row for each database and login, over all shards. What each shard has is in SHOW SHARDS and
//! SHOW REPLICAS.

use crate::admin::answer::{Row, row};
use crate::admin::gather;
use crate::admin::snapshot::PoolRow;
use crate::proxy::{ADMIN_DATABASE, Proxy};

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let mode = proxy.world().config.pool.mode.to_string();
    let admins = proxy.admin.clients.all().iter().filter(|c| c.who.database == ADMIN_DATABASE).count();
    let console = PoolRow { clients: admins, max_wait: Some(Default::default()), ..PoolRow::default() };
    let mut rows = vec![pool_row(ADMIN_DATABASE, ADMIN_DATABASE, &console, "statement")];
    for ((database, user), row) in gather::pools(proxy) {
        rows.push(pool_row(&database, &user, &row, &mode));
    }
    rows
}

fn pool_row(database: &str, user: &str, pool: &PoolRow, mode: &str) -> Row {
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
        stats.idle,
        0,
        0,
        stats.connecting,
        pool.max_wait.map(|wait| wait.as_secs()),
        pool.max_wait.map(|wait| wait.subsec_micros()),
        mode,
        None::<&str>,
    ]
}
