//! Signals that end it.

use std::time::{Duration, Instant};

use shardway_tests::{Proxy, RawClient, SharedWorld, World};
use tokio::net::TcpStream;

use super::support::{SCHEMA, backends, soon, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// SQLSTATE of what ends a connection.
async fn last_word(raw: &mut RawClient) -> Option<String> {
    raw.expect_closed().await.error().and_then(|error| error.field('C'))
}

async fn begin(proxy: &Proxy, key: i32) -> RawClient {
    let mut raw = proxy.raw("app").await;
    raw.query("BEGIN").recv_until_ready().await;
    raw.query(&format!("INSERT INTO t VALUES ({key}, 'x')")).recv_until_ready().await;
    raw
}

fn is_there(key: i32) -> bool {
    WORLD.shard(0).sql(&format!("SELECT count(*) FROM t WHERE user_id = {key}")) == "1"
}

#[tokio::test]
async fn sigterm_lets_a_transaction_finish_and_nobody_else_in() {
    let proxy = WORLD.another_proxy();
    let mut idle = proxy.raw("app").await;
    let mut admin = RawClient::connect(proxy.port()).await;
    admin.login("admin", "shardway", shardway_tests::PASSWORD).await;
    let mut at_the_door = RawClient::connect(proxy.port()).await;
    let mut busy = begin(&proxy, 1).await;
    proxy.sigterm();
    assert_eq!(last_word(&mut idle).await.as_deref(), Some("57P01"));
    assert_eq!(last_word(&mut admin).await.as_deref(), Some("57P01"));
    assert_eq!(last_word(&mut at_the_door).await.as_deref(), Some("57P03"));
    soon("the door to be shut", async || TcpStream::connect(("127.0.0.1", proxy.port())).await.err()).await;
    assert_eq!(proxy.http_get("/health/ready").0, 503);
    assert_eq!(proxy.http_get("/health/live").0, 200);
    let updated = busy.query("UPDATE t SET name = 'y' WHERE user_id = 1").recv_until_ready().await;
    assert_eq!((updated.commands(), updated.status()), (vec!["UPDATE 1".to_owned()], 'T'));
    let committed = busy.query("COMMIT").recv_until_ready().await;
    assert_eq!(committed.commands(), ["COMMIT"]);
    assert_eq!(last_word(&mut busy).await.as_deref(), Some("57P01"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(is_there(1));
}

#[tokio::test]
async fn sigterm_lets_a_running_statement_finish() {
    let proxy = WORLD.another_proxy();
    let mut raw = proxy.raw("app").await;
    let lock = WORLD.shard(0).connect().await;
    value(&lock, "SELECT pg_advisory_lock(7)").await;
    raw.query("SELECT pg_advisory_xact_lock(7), 'done'").send().await;
    soon("it to run", async || (backends(&WORLD, 0, "wait_event = 'advisory'") == 1).then_some(())).await;
    proxy.sigterm();
    proxy.wait_for_log("draining");
    value(&lock, "SELECT pg_advisory_unlock(7)").await;
    assert_eq!(raw.recv_until_ready().await.tags(), "TDCZ");
    assert_eq!(last_word(&mut raw).await.as_deref(), Some("57P01"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[tokio::test]
async fn shutdown_timeout_bounds_the_drain() {
    let proxy = WORLD.another_proxy_with("[server]\nshutdown_timeout = '500ms'");
    let mut slow = begin(&proxy, 2).await;
    let began = Instant::now();
    proxy.sigterm();
    assert_eq!(last_word(&mut slow).await.as_deref(), Some("57P01"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    soon("the transaction to be gone", async || {
        (backends(&WORLD, 0, "state = 'idle in transaction'") == 0).then_some(())
    })
    .await;
    assert!(!is_there(2));
}

#[tokio::test]
async fn a_second_sigterm_ends_at_once() {
    let proxy = WORLD.another_proxy();
    let mut slow = begin(&proxy, 3).await;
    proxy.sigterm();
    proxy.wait_for_log("draining");
    proxy.sigterm();
    assert_eq!(last_word(&mut slow).await.as_deref(), Some("57P01"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(!is_there(3));
}

#[tokio::test]
async fn sigint_ends_at_once_and_stops_what_runs() {
    let proxy = WORLD.another_proxy();
    let mut sleeper = proxy.raw("app").await;
    sleeper.query("SELECT pg_sleep(604)").send().await;
    let sleeping = "query LIKE '%sleep(604)%' AND state = 'active'";
    soon("it to run", async || (backends(&WORLD, 0, sleeping) == 1).then_some(())).await;
    let mut idle = begin(&proxy, 4).await;
    proxy.signal(libc::SIGINT);
    assert_eq!(last_word(&mut idle).await.as_deref(), Some("57P01"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    soon("the server to stop", async || (backends(&WORLD, 0, sleeping) == 0).then_some(())).await;
    assert!(!is_there(4));
}

#[tokio::test]
async fn a_proxy_without_clients_ends_right_away() {
    let proxy = WORLD.another_proxy();
    assert_eq!(value(&proxy.connect("app").await, "SELECT 1").await, "1");
    proxy.sigterm();
    assert_eq!(proxy.wait_exit().code(), Some(0));
}
