//! How long a client may take, by user.

use std::time::Duration;

use shardway_tests::{Message, RawClient};

use super::{ONE, WORLD, alone, holder, of_user, proxy};
use crate::operation::support::{admin_of, at_rest, key_on, lines, pooled, reload, soon, value};

/// SQLSTATE and message of what a connection is closed with.
async fn last_words(raw: &mut RawClient) -> (String, String) {
    let reply = raw.expect_closed().await;
    let error: &Message = reply.of('E').last().expect("an error");
    assert_eq!(error.field('S').as_deref(), Some("FATAL"), "{error:?}");
    (error.field('C').unwrap_or_default(), error.field('M').unwrap_or_default())
}

fn is(code: &str, message: &str) -> (String, String) {
    (code.to_owned(), message.to_owned())
}

#[tokio::test]
async fn transaction_timeout_ends_a_transaction_whatever_it_does() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ntransaction_timeout = '3s'");
    let late = is("25P04", "transaction timeout");

    let mut alone = proxy.raw("app").await;
    alone.query("SELECT pg_sleep(604)").send().await;

    let mut across = proxy.raw("app").await;
    across.query("SELECT pg_sleep(605), count(*) FROM t").send().await;

    let mut silent = proxy.raw("app").await;
    silent.query("BEGIN").recv_until_ready().await;
    silent.query(ONE).recv_until_ready().await;

    let mut at_work = proxy.raw("app").await;
    at_work.query("BEGIN").recv_until_ready().await;
    at_work.query("SELECT pg_sleep(0.2)").recv_until_ready().await;
    at_work.query("SELECT pg_sleep(603)").send().await;

    assert_eq!(last_words(&mut alone).await, late, "a statement of its own is a transaction too");
    for raw in [&mut across, &mut silent, &mut at_work] {
        assert_eq!(last_words(raw).await, late);
    }
    at_rest(&admin_of(&proxy).await).await;
}

#[tokio::test]
async fn transaction_timeout_counts_each_transaction_by_itself() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ntransaction_timeout = '3s'");
    let client = proxy.connect("app").await;
    for _ in 0..4 {
        assert_eq!(value(&client, "BEGIN; /* shard: 0 */ SELECT 1 FROM pg_sleep(0.4); COMMIT").await, "1");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(value(&client, "/* shard: 0 */ SELECT 2 FROM pg_sleep(0.4)").await, "2");
    }
}

#[tokio::test]
async fn query_timeout_ends_who_waits_for_a_server_too() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1");
    of_user(&proxy, "md5user", "query_timeout", "2s");
    of_user(&proxy, "md5user", "pool_size", 1);
    reload(&proxy).await;
    let mut first = proxy.raw("md5user").await;
    let mut second = proxy.raw("md5user").await;
    first.query("BEGIN").recv_until_ready().await;
    first.query(ONE).recv_until_ready().await;
    second.query(ONE).send().await;
    assert_eq!(last_words(&mut second).await, is("57014", "query_timeout"));
}

#[tokio::test]
async fn a_users_own_timeouts_count_before_the_others_and_zero_is_none() {
    let _alone = alone().await;
    let proxy = proxy(
        "[pool]\nquery_timeout = '300ms'\ntransaction_timeout = '5s'\nidle_transaction_timeout = '300ms'\n\
         client_idle_timeout = '1s'",
    );
    for setting in ["query_timeout", "transaction_timeout", "idle_transaction_timeout", "client_idle_timeout"]
    {
        of_user(&proxy, "app", setting, "0s");
    }
    reload(&proxy).await;
    let client = holder(&proxy, "app").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(value(&client, "/* shard: 0 */ SELECT 1 FROM pg_sleep(0.4); COMMIT").await, "1");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(value(&client, ONE).await, "1");

    let mut other = proxy.raw("md5user").await;
    assert_eq!(last_words(&mut other).await, is("57P05", "client_idle_timeout"));
    let mut other = proxy.raw("md5user").await;
    other.query("SELECT pg_sleep(606)").send().await;
    assert_eq!(last_words(&mut other).await.0, "57014");
}

#[tokio::test]
async fn a_databases_query_wait_timeout_counts_before_the_default_and_a_users_before_that() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1\n[databases]\nquery_wait_timeout = '2s'");
    of_user(&proxy, "md5user", "query_wait_timeout", "0s");
    reload(&proxy).await;
    let _held = (holder(&proxy, "app").await, holder(&proxy, "md5user").await);
    let (mut app, mut other) = (proxy.raw("app").await, proxy.raw("md5user").await);
    app.query(ONE).send().await;
    other.query(ONE).send().await;
    assert_eq!(last_words(&mut app).await, is("57P03", "query_wait_timeout"));
    let waited = tokio::time::timeout(Duration::from_millis(300), other.recv()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn the_wait_for_a_server_counts_from_when_it_is_asked_for() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1\nquery_wait_timeout = '4s'");
    let held = holder(&proxy, "app").await;
    let mut raw = proxy.raw("app").await;
    raw.query("COPY t FROM STDIN").recv_until(b'G').await;
    // The server is asked for when the first line is known to be its own.
    tokio::time::sleep(Duration::from_millis(4100)).await;
    raw.copy_data(format!("{}\tlate\n", key_on(0, 2)).as_bytes()).copy_done().send().await;
    let admin = admin_of(&proxy).await;
    soon("the client to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    // Long enough for who waits too long to be found out.
    tokio::time::sleep(Duration::from_millis(800)).await;
    lines(&held, "COMMIT").await;
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.commands(), ["COPY 1"], "{reply:?}");
    WORLD.shard(0).sql("DELETE FROM t");
}

#[tokio::test]
async fn client_idle_timeout_passes_over_whoever_has_a_server() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmode = 'session'\nclient_idle_timeout = '1500ms'");
    let (mut keeper, mut idle) = (proxy.raw("app").await, proxy.raw("app").await);
    keeper.query(ONE).recv_until_ready().await;
    assert_eq!(last_words(&mut idle).await, is("57P05", "client_idle_timeout"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    let reply = keeper.query(ONE).recv_until_ready().await;
    assert_eq!(reply.commands(), ["SELECT 1"], "{reply:?}");
}
