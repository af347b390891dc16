//! Pipelines: a client that sends on before it has its answers, and Flush in the place of Sync.

use shardway_tests::{Param, RawClient};

use super::{SHOP, account, code, same};

const NAME: &str = "SELECT name FROM account WHERE user_id = $1";

#[tokio::test]
async fn batches_sent_at_once_are_answered_in_order() {
    let ids = [0, 1, 2, 3].map(|shard| account(shard, &format!("pipeline {shard}")));
    let mut raw = SHOP.raw("app").await;
    raw.parse("name", NAME, &[]).sync();
    for id in ids.repeat(50) {
        raw.bind("", "name", &[Param::Text(&id.to_string())], &[]).execute("", 0).sync();
    }
    raw.query("SELECT 'last'");
    assert_eq!(raw.recv_until_ready().await.tags(), "1Z");
    for shard in [0, 1, 2, 3].repeat(50) {
        let reply = raw.recv_until_ready().await;
        assert_eq!(reply.tags(), "2DCZ");
        assert_eq!(reply.texts(), [[Some(format!("pipeline {shard}").as_str())]]);
    }
    assert_eq!(raw.recv_until_ready().await.texts(), [[Some("last")]]);
}

#[tokio::test]
async fn an_error_ends_its_own_batch_only() {
    let reply = same(async |raw| {
        raw.parse("", "SELECT 1 / n FROM unnest(ARRAY[$1::int]) n", &[])
            .bind("", "", &[Param::Text("0")], &[])
            .execute("", 0)
            .sync();
        raw.bind("", "", &[Param::Text("1")], &[]).execute("", 0).sync();
        let mut messages = raw.recv_until_ready().await.0;
        messages.extend(raw.recv_until_ready().await.0);
        shardway_tests::Reply(messages)
    });
    assert_eq!(reply.await.tags(), "12EZ2DCZ");
}

#[tokio::test]
async fn a_transaction_fits_into_a_pipeline() {
    let (a, b) = (account(0, "piped a"), account(2, "piped b"));
    let mut raw = SHOP.raw("app").await;
    raw.query("BEGIN").query(&format!("UPDATE account SET balance = 1 WHERE user_id = {a}"));
    raw.parse("", NAME, &[]).bind("", "", &[Param::Text(&b.to_string())], &[]).execute("", 0).sync();
    raw.query("COMMIT").query(&format!("SELECT balance FROM account WHERE user_id = {a}"));
    let mut seen = String::new();
    for _ in 0..5 {
        let reply = raw.recv_until_ready().await;
        seen = format!("{seen} {}{}", reply.tags(), reply.status());
    }
    assert_eq!(seen, " CZT CZT 12DCZT CZI TDCZI");
}

/// The messages up to one with this tag, without a Sync having been sent.
async fn flushed(raw: &mut RawClient, tag: u8) -> String {
    raw.flush().recv_until(tag).await.tags()
}

#[tokio::test]
async fn a_flush_brings_what_was_asked_so_far() {
    let id = account(1, "flushed");
    let mut raw = SHOP.raw("app").await;
    assert_eq!(flushed(raw.parse("", NAME, &[]).describe_statement(""), b'T').await, "1tT");
    assert_eq!(flushed(raw.bind("", "", &[Param::Text(&id.to_string())], &[]), b'2').await, "2");
    assert_eq!(flushed(raw.execute("", 0), b'C').await, "DC");
    let ready = raw.sync().recv_until_ready().await;
    assert_eq!((ready.tags().as_str(), ready.status()), ("Z", 'I'));
}

#[tokio::test]
async fn what_was_flushed_commits_at_the_sync() {
    let id = account(2, "flush commits");
    let balance = || SHOP.shard(2).sql(&format!("SELECT balance FROM account WHERE user_id = {id}"));
    let mut raw = SHOP.raw("app").await;
    let add = "UPDATE account SET balance = balance + 1 WHERE user_id = $1";
    raw.parse("", add, &[]).bind("", "", &[Param::Text(&id.to_string())], &[]);
    assert_eq!(flushed(raw.execute("", 0), b'C').await, "12C");
    assert_eq!(balance(), "100");
    assert_eq!(raw.sync().recv_until_ready().await.tags(), "Z");
    assert_eq!(balance(), "101");
}

#[tokio::test]
async fn after_an_error_with_flush_all_is_skipped_to_the_sync() {
    let reply = same(async |raw| {
        raw.parse("", "SELECT 1 / (n - 1) FROM generate_series(1, 1) n", &[])
            .bind("", "", &[], &[])
            .execute("", 0)
            .flush();
        let mut messages = raw.recv_until(b'E').await.0;
        raw.parse("skipped", "SELECT 2", &[])
            .flush()
            .query("SELECT 3")
            .parse("skipped", "SELECT 4", &[])
            .sync();
        messages.extend(raw.recv_until_ready().await.0);
        messages.extend(raw.describe_statement("skipped").sync().recv_until_ready().await.0);
        shardway_tests::Reply(messages)
    });
    let reply = reply.await;
    assert_eq!((reply.tags().as_str(), reply.status()), ("12EZEZ", 'I'));
    assert_eq!(code(&reply), "22012");
}

#[tokio::test]
async fn an_empty_batch_is_ready_at_once() {
    let reply = same(async |raw| {
        raw.sync().sync();
        let mut messages = raw.recv_until_ready().await.0;
        messages.extend(raw.recv_until_ready().await.0);
        shardway_tests::Reply(messages)
    });
    assert_eq!(reply.await.tags(), "ZZ");
}
