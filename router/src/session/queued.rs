//! A client that waits for a server: it is told so after a while (PgBouncer's `query_wait_notify`).

use super::relay::MAX_AHEAD;
use crate::database::Database;
use crate::handle::ClientHandle;
use crate::proxy::Proxy;
use crate::reply;
use shardway_pool::wire::Wire;
use std::task::{Context, Poll};
use std::time::Instant;

/// PgBouncer's words.
const QUEUED: &str = "No server connection available in postgres backend, client being queued";

/// Ready when the client that waits is gone. Tells it that it waits, once that is due.
pub(super) fn poll_waiting(client: &mut Wire, handle: &ClientHandle, cx: &mut Context<'_>) -> Poll<()> {
    if !client.is_midway && handle.takes_notice() {
        reply::notice(&mut client.output, QUEUED);
    }
    if handle.was_told() && !client.output.is_empty() {
        // What fails is found out by the look at the other direction.
        let _ = client.poll_flush(cx);
    }
    client.poll_end(cx, MAX_AHEAD)
}

/// Has clients told that have waited for longer than `query_wait_notify`; for a background task. As by PgBouncer those of
/// paused databases are not, and nobody is twice.
pub fn remind(proxy: &Proxy, now: Instant) {
    let world = proxy.world();
    let after = world.query_wait_notify();
    if after.is_zero() {
        return;
    }
    let is_late = |since: Instant| now.saturating_duration_since(since) >= after;
    let has_late = |database: &&std::sync::Arc<Database>| {
        let mut pools =
            database.servers().filter(|server| !server.is_paused()).flat_map(|server| server.pools());
        pools.any(|(_, pool)| pool.first_waits_since().is_some_and(is_late))
    };
    let late: Vec<&str> =
        world.databases.values().filter(has_late).map(|database| database.name.as_str()).collect();
    if late.is_empty() {
        return;
    }
    for client in proxy.admin.clients.all() {
        if let Some(handle) = client.handle().filter(|_| late.contains(&client.who.database.as_str()))
            && handle.waiting_since().is_some_and(is_late)
        {
            handle.tell_that_it_waits();
        }
    }
}
