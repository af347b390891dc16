//! Limits on clients: how many, how long they may wait, idle and run.

use std::time::{Duration, Instant};

use shardway_tests::{DATABASE, PASSWORD, Proxy, RawClient};

use super::{Scene, WORLD, is, last_words, words};
use crate::operation::support::{admin_of, at_rest, backends, code, lines, pooled, soon, value};

/// A proxy of the test's own over the shared servers.
fn proxy(toml: &str) -> Proxy {
    WORLD.another_proxy_with(toml)
}

#[tokio::test]
async fn max_client_conn_turns_away_the_next_and_lets_in_when_one_leaves() {
    let scene = Scene::set().await;
    let proxy = proxy("[server]\nmax_client_conn = 2");
    let first = proxy.connect("app").await;
    let second = proxy.connect("app").await;
    let third = proxy.client_config("app").connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(code(&third), "53300");
    drop(second);
    soon("room for another", async || {
        let mut raw = RawClient::connect(proxy.port()).await;
        raw.try_login(&[("user", "app"), ("database", DATABASE)], PASSWORD).await.ok()
    })
    .await;
    assert_eq!(value(&first, "SELECT 1").await, "1");
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_full_proxy_still_takes_cancel_requests() {
    let scene = Scene::set().await;
    let proxy = proxy("[server]\nmax_client_conn = 1");
    let client = proxy.connect("app").await;
    let token = client.cancel_token();
    let sleeping =
        tokio::spawn(
            async move { client.simple_query("SELECT pg_sleep(601)").await.err().map(|e| code(&e)) },
        );
    soon("it to sleep", async || {
        let asleep =
            (0..2).map(|server| backends(&WORLD, server, "state = 'active' AND query LIKE '%sleep(601)%'"));
        (asleep.sum::<usize>() == 1).then_some(())
    })
    .await;
    token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert_eq!(sleeping.await.unwrap().as_deref(), Some("57014"));
    scene.is_unharmed().await;
}

#[tokio::test]
async fn query_wait_timeout_ends_who_waited_too_long() {
    let scene = Scene::set().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1\nquery_wait_timeout = '1500ms'");
    let admin = admin_of(&proxy).await;
    let (holder, mut waiting) = (proxy.connect("app").await, proxy.raw("app").await);
    lines(&holder, "BEGIN; /* shard: 0 */ SELECT 1").await;
    let began = Instant::now();
    waiting.query("/* shard: 0 */ SELECT 1").send().await;
    assert_eq!(words(&last_words(&mut waiting).await), is("57P03", "query_wait_timeout"));
    assert!(began.elapsed() >= Duration::from_millis(1500));
    lines(&holder, "/* shard: 0 */ SELECT 1; COMMIT").await;
    at_rest(&admin).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn query_wait_timeout_holds_for_servers_that_reconnect_gave_up() {
    let scene = Scene::set().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1\nquery_wait_timeout = '3s'");
    let admin = admin_of(&proxy).await;
    let (holder, mut waiting) = (proxy.connect("app").await, proxy.raw("app").await);
    lines(&holder, "BEGIN; /* shard: 0 */ SELECT 1").await;
    waiting.query("/* shard: 0 */ SELECT 1").send().await;
    soon("it to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    lines(&admin, "RECONNECT").await;
    assert_eq!(words(&last_words(&mut waiting).await), is("57P03", "query_wait_timeout"));
    lines(&holder, "/* shard: 0 */ SELECT 1; COMMIT").await;
    at_rest(&admin).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn query_timeout_ends_the_client_and_the_query() {
    let scene = Scene::set().await;
    let proxy = proxy("[pool]\nquery_timeout = '2s'");
    let mut raw = proxy.raw("app").await;
    assert_eq!(raw.query("SELECT pg_sleep(0.01)").recv_until_ready().await.tags(), "TDCZ");
    raw.query("SELECT pg_sleep(602)").send().await;
    assert_eq!(words(&last_words(&mut raw).await), is("57014", "query timeout"));
    at_rest(&admin_of(&proxy).await).await;
    scene.is_unharmed().await;
}

#[tokio::test]
async fn idle_transaction_timeout_ends_the_client_and_rolls_back() {
    let scene = Scene::set().await;
    let proxy = proxy("[pool]\nidle_transaction_timeout = '1500ms'");
    let mut raw = proxy.raw("app").await;
    raw.query("BEGIN").recv_until_ready().await;
    raw.query("INSERT INTO t VALUES (9400, 'x')").recv_until_ready().await;
    assert_eq!(words(&last_words(&mut raw).await), is("25P03", "idle transaction timeout"));
    scene.is_unharmed().await;
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM t WHERE user_id = 9400"), ["0", "0"]);
}

#[tokio::test]
async fn client_idle_timeout_ends_who_says_nothing() {
    let scene = Scene::set().await;
    let proxy = proxy("[pool]\nclient_idle_timeout = '1s'");
    let mut raw = proxy.raw("app").await;
    assert_eq!(
        raw.query("SELECT pg_sleep(1.5)").recv_until_ready().await.tags(),
        "TDCZ",
        "at work is not idle"
    );
    assert_eq!(words(&last_words(&mut raw).await), is("57P05", "client_idle_timeout"));
    scene.is_unharmed().await;
}
