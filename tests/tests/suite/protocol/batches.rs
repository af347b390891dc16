//! Several statements in one batch: one shard, several shards, and an error among them.

use shardway_tests::{Param, RawClient};

use super::{SHOP, account, ask, code, same};

fn execute_by_key(raw: &mut RawClient, statement: &str, id: i32) {
    raw.bind("", statement, &[Param::Text(&id.to_string())], &[]).execute("", 0);
}

const NAME: &str = "SELECT name FROM account WHERE user_id = $1";
const ADD: &str = "UPDATE account SET balance = balance + 1 WHERE user_id = $1";

fn balance(shard: usize, id: i32) -> String {
    SHOP.shard(shard).sql(&format!("SELECT balance FROM account WHERE user_id = {id}"))
}

#[tokio::test]
async fn many_executes_go_to_one_shard() {
    let id = account(2, "many executes");
    let mut raw = SHOP.raw("app").await;
    raw.parse("add", ADD, &[]).parse("name", NAME, &[]);
    for _ in 0..100 {
        execute_by_key(&mut raw, "add", id);
        execute_by_key(&mut raw, "name", id);
    }
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!(reply.tags(), format!("11{}Z", "2C2DC".repeat(100)));
    assert_eq!(balance(2, id), "200");
}

#[tokio::test]
async fn reads_of_several_shards_are_answered_in_order() {
    let ids = [3, 0, 2, 1].map(|shard| account(shard, &format!("batch {shard}")));
    let mut raw = SHOP.raw("app").await;
    raw.parse("", NAME, &[]);
    for id in ids {
        execute_by_key(&mut raw, "", id);
    }
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), reply.status()), ("12DC2DC2DC2DCZ", 'I'));
    assert_eq!(reply.texts(), [[Some("batch 3")], [Some("batch 0")], [Some("batch 2")], [Some("batch 1")]]);
}

#[tokio::test]
async fn a_batch_is_one_transaction() {
    let (a, b) = (account(1, "atomic a"), account(2, "atomic b"));
    let mut raw = SHOP.raw("app").await;
    raw.parse("add", ADD, &[]).parse("name", NAME, &[]).parse(
        "take",
        "UPDATE account SET balance = -1 WHERE user_id = $1",
        &[],
    );
    raw.sync().recv_until_ready().await;
    // The read of another shard in between makes it a batch over two shards.
    execute_by_key(&mut raw, "add", a);
    execute_by_key(&mut raw, "name", b);
    execute_by_key(&mut raw, "take", a);
    execute_by_key(&mut raw, "name", b);
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("2C2DC2EZ", "23514"));
    assert_eq!((reply.status(), balance(1, a)), ('I', "100".into()));
}

#[tokio::test]
async fn an_error_skips_to_the_sync() {
    let reply = same(async |raw| {
        raw.parse("a", "SELECT 1", &[]).parse("b", "SELECT 1 / n FROM unnest(ARRAY[$1::int]) n", &[]);
        execute_by_key(raw, "b", 1);
        execute_by_key(raw, "b", 0);
        raw.bind("", "a", &[], &[]).execute("", 0).parse("c", "SELECT 3", &[]).sync();
        let mut messages = raw.recv_until_ready().await.0;
        // What was parsed before the error is there, what would have come behind it is not.
        for statement in ["a", "b", "c"] {
            messages.extend(raw.describe_statement(statement).sync().recv_until_ready().await.0);
        }
        shardway_tests::Reply(messages)
    });
    assert_eq!(reply.await.tags(), "112DC2EZtTZtTZEZ");
}

#[tokio::test]
async fn an_error_skips_to_the_sync_over_several_shards() {
    let (a, b) = (account(0, "skips a"), account(1, "skips b"));
    let mut raw = SHOP.raw("app").await;
    raw.parse("name", NAME, &[]).parse(
        "bad",
        "SELECT 1 / balance FROM account WHERE user_id = $1 AND 0 / (balance - 100) = 1",
        &[],
    );
    execute_by_key(&mut raw, "name", a);
    execute_by_key(&mut raw, "bad", b);
    execute_by_key(&mut raw, "name", b);
    let skipped = raw.parse("skipped", "SELECT 1", &[]).sync().recv_until_ready().await;
    assert_eq!((skipped.tags().as_str(), code(&skipped).as_str()), ("112DC2EZ", "22012"));
    execute_by_key(&mut raw, "name", b);
    assert_eq!(raw.sync().recv_until_ready().await.texts(), [[Some("skips b")]]);
    let reply = raw.describe_statement("skipped").sync().recv_until_ready().await;
    assert_eq!(code(&reply), "26000");
    let reply = raw.parse("skipped", "SELECT 1", &[]).sync().recv_until_ready().await;
    assert_eq!(reply.tags(), "1Z");
}

#[tokio::test]
async fn a_close_behind_an_error_does_not_happen() {
    let reply = same(async |raw| {
        raw.parse("kept", "SELECT 1", &[]).sync().recv_until_ready().await;
        raw.parse("", "SELECT 1/0", &[]).bind("", "", &[], &[]).execute("", 0).close_statement("kept").sync();
        let failed = raw.recv_until_ready().await;
        assert_eq!(code(&failed), "22012");
        raw.bind("", "kept", &[], &[]).execute("", 0).sync().recv_until_ready().await
    });
    assert_eq!(reply.await.tags(), "2DCZ");
}

#[tokio::test]
async fn a_parse_that_fails_leaves_nothing_behind() {
    let reply = same(async |raw| {
        raw.parse("s", "SELECT 1", &[]).parse("", "SELECT 2", &[]).sync().recv_until_ready().await;
        raw.parse("t", "SELECT nothing", &[]).sync().recv_until_ready().await;
        raw.parse("", "SELECT nothing", &[]).sync().recv_until_ready().await;
        raw.bind("", "", &[], &[]).sync();
        let mut messages = raw.recv_until_ready().await.0;
        messages.extend(raw.parse("t", "SELECT 3", &[]).sync().recv_until_ready().await.0);
        messages.extend(raw.bind("", "t", &[], &[]).execute("", 0).sync().recv_until_ready().await.0);
        shardway_tests::Reply(messages)
    });
    assert_eq!(reply.await.tags(), "EZ1Z2DCZ");
}

#[tokio::test]
async fn a_batch_may_hold_its_own_transaction() {
    let id = account(3, "in a batch");
    let mut raw = SHOP.raw("app").await;
    raw.parse("", "BEGIN", &[]).bind("", "", &[], &[]).execute("", 0);
    raw.parse("", ADD, &[]);
    execute_by_key(&mut raw, "", id);
    let open = raw.sync().recv_until_ready().await;
    assert_eq!((open.tags().as_str(), open.status()), ("12C12CZ", 'T'));
    raw.parse("", NAME, &[]);
    execute_by_key(&mut raw, "", id);
    raw.parse("", "COMMIT", &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0);
    let done = raw.sync().recv_until_ready().await;
    assert_eq!((done.tags().as_str(), done.status()), ("12DC12nCZ", 'I'));
    assert_eq!(balance(3, id), "101");
}

#[tokio::test]
async fn what_writes_on_two_shards_is_done_as_a_whole() {
    let (a, b) = (account(0, "two writers a"), account(1, "two writers b"));
    let mut raw = SHOP.raw("app").await;
    raw.parse("", ADD, &[]);
    execute_by_key(&mut raw, "", a);
    execute_by_key(&mut raw, "", b);
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("", 'I'));
    assert_eq!([balance(0, a), balance(1, b)], ["101", "101"]);
    raw.parse("", ADD, &[]);
    execute_by_key(&mut raw, "", a);
    execute_by_key(&mut raw, "", b);
    raw.parse("", "SELECT 1/0", &[]).bind("", "", &[], &[]).execute("", 0);
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("22012", 'I'));
    assert_eq!([balance(0, a), balance(1, b)], ["101", "101"]);
    assert_eq!(ask(&mut raw, "SELECT 1").await.tags(), "TDCZ");
}

#[tokio::test]
async fn descriptions_of_other_statements_may_stand_between() {
    let id = account(1, "between");
    let mut raw = SHOP.raw("app").await;
    raw.parse("name", NAME, &[])
        .parse("begin", "BEGIN", &[])
        .describe_statement("name")
        .describe_statement("begin");
    raw.describe_statement("name");
    execute_by_key(&mut raw, "name", id);
    raw.describe_statement("begin").describe_statement("name");
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!(reply.tags(), "11tTtntT2DCtntTZ");
}
