//! Cancel requests reach what works for their client, and nothing else.

use std::time::Instant;

use shardway_tests::{RawClient, World};
use tokio_postgres::NoTls;

use super::{PLAIN, SHOP, account, ask, code, value};

/// Waits until `count` servers run a statement with this in it.
async fn running(world: &World, what: &str, count: usize) {
    let mut clients = Vec::new();
    for shard in 0..world.shards().count() {
        clients.push(world.shard_direct(shard).await);
    }
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
               AND pid <> pg_backend_pid() AND position($1 in query) > 0";
    let deadline = Instant::now() + shardway_tests::PATIENCE;
    loop {
        let mut seen = 0;
        for client in &clients {
            seen += client.query_one(sql, &[&what]).await.unwrap().get::<_, i64>(0);
        }
        if seen == count as i64 {
            return;
        }
        assert!(Instant::now() < deadline, "{seen} servers run {what:?}, not {count}");
        tokio::task::yield_now().await;
    }
}

async fn cancel(world: &World, key: (i32, i32)) {
    RawClient::cancel(world.proxy().port(), key).await;
}

#[tokio::test]
async fn a_cancel_reaches_the_shard_that_works() {
    let id = account(3, "cancel one");
    let mut raw = SHOP.raw("app").await;
    let sql = format!("SELECT pg_sleep(600) FROM account WHERE user_id = {id}");
    raw.query(&sql).send().await;
    running(&SHOP, &sql, 1).await;
    cancel(&SHOP, raw.cancel_key()).await;
    let reply = raw.recv_until_ready().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("57014", 'I'));
    assert_eq!(
        value(&ask(&mut raw, &format!("SELECT name FROM account WHERE user_id = {id}")).await),
        "cancel one"
    );
    running(&SHOP, &sql, 0).await;
}

#[tokio::test]
async fn a_cancel_reaches_every_shard_of_a_scattered_read() {
    for shard in 0..4 {
        account(shard, &format!("cancel all {shard}"));
    }
    let mut raw = SHOP.raw("app").await;
    let sleeps = "name LIKE 'cancel all%' AND pg_sleep(600) IS NOT NULL";
    raw.query(&format!("SELECT name FROM account WHERE {sleeps}")).send().await;
    running(&SHOP, sleeps, 4).await;
    cancel(&SHOP, raw.cancel_key()).await;
    let reply = raw.recv_until_ready().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("57014", 'I'));
    running(&SHOP, sleeps, 0).await;
    assert_eq!(
        ask(&mut raw, "SELECT name FROM account WHERE name LIKE 'cancel all%'").await.texts().0.len(),
        4
    );
}

#[tokio::test]
async fn a_cancel_with_a_wrong_key_does_nothing() {
    let mut raw = PLAIN.raw("app").await;
    let sql = "SELECT pg_sleep(600), 'wrong key'";
    raw.query(sql).send().await;
    running(&PLAIN, sql, 1).await;
    let (pid, secret) = raw.cancel_key();
    for key in [(pid, secret.wrapping_add(1)), (pid.wrapping_add(1), secret), (0, 0)] {
        cancel(&PLAIN, key).await;
    }
    running(&PLAIN, sql, 1).await;
    cancel(&PLAIN, (pid, secret)).await;
    assert_eq!(code(&raw.recv_until_ready().await), "57014");
}

#[tokio::test]
async fn a_cancelled_statement_fails_its_transaction() {
    let mut raw = PLAIN.raw("app").await;
    ask(&mut raw, "BEGIN").await;
    let sql = "SELECT pg_sleep(600), 'in a transaction'";
    raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0).sync().send().await;
    running(&PLAIN, sql, 1).await;
    cancel(&PLAIN, raw.cancel_key()).await;
    let reply = raw.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), code(&reply).as_str(), reply.status()), ("12EZ", "57014", 'E'));
    assert_eq!(ask(&mut raw, "ROLLBACK").await.status(), 'I');
    assert_eq!(ask(&mut raw, "SELECT 1").await.tags(), "TDCZ");
}

#[tokio::test]
async fn a_late_cancel_hits_nobody() {
    let (mut a, mut b) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
    for _ in 0..20 {
        assert_eq!(ask(&mut a, "SELECT 1").await.tags(), "TDCZ");
        b.query("SELECT pg_sleep(0.01)").send().await;
        cancel(&PLAIN, a.cancel_key()).await;
        assert_eq!(b.recv_until_ready().await.tags(), "TDCZ");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_running() {
    let mut raw = SHOP.raw("app").await;
    let sql = "/* shard: 2 */ SELECT pg_sleep(600), 'hangs up'";
    raw.query(sql).send().await;
    running(&SHOP, sql, 1).await;
    raw.hang_up();
    running(&SHOP, sql, 0).await;
}

#[tokio::test]
async fn tokio_postgres_cancels() {
    let id = account(1, "cancelled by a driver");
    let client = SHOP.connect("app").await;
    let token = client.cancel_token();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&id];
    let sql = "SELECT pg_sleep(600) FROM account WHERE user_id = $1";
    let (slept, ()) = tokio::join!(client.query(sql, &params), async {
        running(&SHOP, sql, 1).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");
    let row = client.query_one("SELECT name FROM account WHERE user_id = $1", &[&id]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "cancelled by a driver");
}
