//! Faults between Shardway and its servers, and between it and its clients, at the very byte: whoever is hit gets a
//! proper error, and nobody else notices.

mod broken;
mod cancels;
mod client_cuts;
mod listening;
mod malice;
mod middle;
mod opening;
mod replicas;
mod server_cuts;
mod streams;

use shardway_tests::{Fault, RawClient, Reply, SharedWorld, World};
use tokio::sync::{Mutex, MutexGuard};

use crate::operation::support::{SCHEMA, at_rest, soon};

const CONFIG: &str = "[server]\nauth = 'trust'\n\
    [pool]\ndefault_pool_size = 1\nserver_login_retry = '20ms'\ncancel_wait_timeout = '500ms'\n\
    [routing]\nhealth_check_interval = '1h'";

/// One server with two shards, one connection to each: clients follow each other on it.
static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(2).middles().schema(SCHEMA).config(CONFIG).start());

static GATE: Mutex<()> = Mutex::const_new(());

/// One test's turn on the shared world.
async fn turn() -> MutexGuard<'static, ()> {
    let turn = GATE.lock().await;
    at_rest(&WORLD.admin().await).await;
    turn
}

/// The answer to a Query.
async fn ask(raw: &mut RawClient, sql: &str) -> Reply {
    raw.query(sql).recv_until_ready().await
}

/// The SQLSTATE of an answer's error; empty if there is none.
fn code(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('C')).unwrap_or_default()
}

/// Another client is served, on every shard, by what the faulty connection left behind.
async fn others_are_served() {
    let mut other = WORLD.raw("app").await;
    for shard in 0..2 {
        let sql = format!("/* shard: {shard} */ SELECT 'another {shard}'");
        let reply = soon("another client to be served", async || {
            let reply = ask(&mut other, &sql).await;
            // The login that a fault hit may be what this one waited for.
            reply.error().is_none().then_some(reply)
        })
        .await;
        assert_eq!(reply.texts(), [[Some(format!("another {shard}").as_str())]]);
        assert_eq!(reply.status(), 'I');
    }
}

/// Waits for a fault that may not strike: whether it did.
async fn struck(fault: &Fault<'_>) -> bool {
    tokio::task::yield_now().await;
    fault.has_happened()
}
