//! SHOW LISTS: how many there are of what.

use crate::admin::answer::{Row, row};
use crate::admin::{gather, standing};
use crate::proxy::Proxy;
use std::sync::atomic::Ordering;

pub(super) fn rows(proxy: &Proxy) -> Vec<Row> {
    let world = proxy.world();
    let pools = gather::pools(proxy);
    let servers = pools.values().map(|pool| pool.stats).fold(Default::default(), gather::sum);
    let connections = proxy.connections.load(Ordering::Acquire);
    // The admin database, its pool and whose that is are counted too, as PgBouncer counts its own.
    [
        ("databases", world.databases.len() + 1),
        ("users", world.users.len() + usize::from(!world.users.contains_key(world.console()))),
        ("peers", 0),
        ("pools", pools.len() + 1),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", connections),
        ("login_clients", standing::logging_in(proxy)),
        ("free_servers", 0),
        ("used_servers", servers.idle + servers.active + servers.connecting),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ]
    .map(|(list, items)| row![list, items])
    .into()
}
