//! Savepoints, over as many shards as the transaction touches.

use super::{SHOP, account, ask, code, same, value};

#[tokio::test]
async fn a_savepoint_takes_back_what_came_after_it() {
    let id = account(2, "savepoint");
    let set = |balance: i32| format!("UPDATE account SET balance = {balance} WHERE user_id = {id}");
    let mut raw = SHOP.raw("app").await;
    for sql in ["BEGIN", &set(1), "SAVEPOINT a", &set(2), "SAVEPOINT b", &set(3), "ROLLBACK TO SAVEPOINT b"] {
        assert_eq!(ask(&mut raw, sql).await.status(), 'T', "{sql}");
    }
    let read = format!("SELECT balance FROM account WHERE user_id = {id}");
    assert_eq!(value(&ask(&mut raw, &read).await), "2");
    assert_eq!(ask(&mut raw, &set(-1)).await.status(), 'E');
    assert_eq!(ask(&mut raw, "ROLLBACK TO a").await.status(), 'T');
    assert_eq!(value(&ask(&mut raw, &read).await), "1");
    assert_eq!(code(&ask(&mut raw, "RELEASE b").await), "3B001");
    assert_eq!(ask(&mut raw, "ROLLBACK TO a").await.status(), 'T');
    assert_eq!(ask(&mut raw, "RELEASE a").await.commands(), ["RELEASE"]);
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(SHOP.shard(2).sql(&read), "1");
}

#[tokio::test]
async fn a_shard_that_joins_late_knows_the_savepoints() {
    let (a, b) = (account(0, "late a"), account(3, "late b"));
    let read = |id: i32| format!("SELECT balance FROM account WHERE user_id = {id}");
    let mut raw = SHOP.raw("app").await;
    for sql in
        ["BEGIN", &format!("UPDATE account SET balance = 9 WHERE user_id = {a}"), "SAVEPOINT s", &read(b)]
    {
        assert_eq!(ask(&mut raw, sql).await.status(), 'T', "{sql}");
    }
    let failed = ask(&mut raw, &format!("SELECT 1 / (balance - 100) FROM account WHERE user_id = {b}")).await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'E'));
    for sql in ["ROLLBACK TO s", &read(a), &read(b), "RELEASE s"] {
        assert_eq!(ask(&mut raw, sql).await.status(), 'T', "{sql}");
    }
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(SHOP.shard(0).sql(&read(a)), "9");
}

#[tokio::test]
async fn a_setting_is_taken_back_to_its_savepoint() {
    let settings = [
        "BEGIN",
        "SET work_mem = '5MB'",
        "SAVEPOINT a",
        "SET work_mem = '6MB'",
        "SAVEPOINT b",
        "SET work_mem = '7MB'",
        "ROLLBACK TO b",
        "SHOW work_mem",
        "ROLLBACK TO a",
        "SHOW work_mem",
        "COMMIT",
        "SHOW work_mem",
        "BEGIN",
        "SAVEPOINT c",
        "SET work_mem = '8MB'",
        "RELEASE c",
        "COMMIT",
        "SHOW work_mem",
    ];
    let reply = same(async |raw| {
        let mut messages = Vec::new();
        for sql in settings {
            messages.extend(ask(raw, sql).await.0);
        }
        shardway_tests::Reply(messages)
    });
    assert_eq!(reply.await.texts(), [[Some("6MB")], [Some("5MB")], [Some("5MB")], [Some("8MB")]]);
}

#[tokio::test]
async fn a_savepoint_needs_a_transaction() {
    for sql in ["SAVEPOINT a", "RELEASE a", "ROLLBACK TO a"] {
        let reply = same(async |raw| ask(raw, sql).await);
        assert_eq!(code(&reply.await), "25P01");
    }
}

#[tokio::test]
async fn a_savepoint_may_be_the_first_thing_in_a_transaction() {
    let id = account(1, "first savepoint");
    let mut raw = SHOP.raw("app").await;
    for sql in ["BEGIN", "SAVEPOINT a", &format!("UPDATE account SET balance = 3 WHERE user_id = {id}")] {
        assert_eq!(ask(&mut raw, sql).await.status(), 'T', "{sql}");
    }
    assert_eq!(ask(&mut raw, "ROLLBACK TO a").await.status(), 'T');
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(SHOP.shard(1).sql(&format!("SELECT balance FROM account WHERE user_id = {id}")), "100");
}
