//! Limits of time and of rights in a transaction over several shards: a statement that takes too long, a lock that is not to be had,
//! writes where none are allowed, and a cancel at each step.

use shardway_tests::{Param, RawClient, Reply, SharedWorld, World};

use super::recovery::{STEPS, settled, write_on_both};
use super::{ask, both, code, nothing_prepared, put, seen, two_servers};
use crate::operation::support::{at_rest, soon};

static SHOP: SharedWorld = SharedWorld::new(two_servers);

/// One test's turn with the middles: whoever else commits here would be struck, too.
static GATE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn read(id: i32) -> String {
    format!("SELECT balance FROM account WHERE user_id = {id}")
}

fn message(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('M')).unwrap_or_default()
}

/// Runs statements that all go well.
async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        let reply = ask(raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
}

/// Both rows can be locked by somebody else.
async fn both_are_free(world: &World, ids: [i32; 2]) {
    for (shard, id) in ids.into_iter().enumerate() {
        let free = format!(
            "SELECT count(*) FROM (SELECT FROM account WHERE user_id = {id} FOR UPDATE SKIP LOCKED) _"
        );
        soon("the row to be free", async || (world.shard(shard).sql(&free) == "1").then_some(())).await;
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_fails_the_transaction_on_both_shards() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    for at in 0..2 {
        let mut raw = SHOP.raw("app").await;
        all(&mut raw, &["BEGIN", &put(ids[0], 1), &put(ids[1], 1)]).await;
        // It counts on servers that the transaction has already, and for this transaction alone.
        all(&mut raw, &["SET LOCAL statement_timeout = '300ms'"]).await;
        let slow = format!("SELECT pg_sleep(600) FROM account WHERE user_id = {}", ids[at]);
        let late = ask(&mut raw, &slow).await;
        assert_eq!((code(&late).as_str(), late.status()), ("57014", 'E'), "{late:?}");
        assert_eq!(message(&late), "canceling statement due to statement timeout");
        assert_eq!(code(&ask(&mut raw, &read(ids[1 - at])).await), "25P02");
        // Nobody has to wait for the client's ROLLBACK.
        both_are_free(&SHOP, ids).await;
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
        assert_eq!(seen(&SHOP, ids), ["100", "100"]);
        let show = "SELECT current_setting('statement_timeout') FROM account WHERE user_id";
        let shown = ask(&mut raw, &format!("{show} = {}", ids[at])).await;
        assert_eq!(shown.texts(), [[Some("0")]]);
    }
    // One that several shards run, in a transaction of its own and in the client's.
    let everywhere = format!(
        "UPDATE account SET balance = 3 WHERE user_id IN ({}, {}) AND pg_sleep(600) IS NOT NULL",
        ids[0], ids[1]
    );
    let mut raw = SHOP.raw("app").await;
    all(&mut raw, &["SET statement_timeout = '300ms'"]).await;
    for (begin, status) in [(None, 'I'), (Some("BEGIN"), 'E')] {
        all(&mut raw, &begin.into_iter().collect::<Vec<_>>()).await;
        let late = ask(&mut raw, &everywhere).await;
        assert_eq!((code(&late).as_str(), late.status()), ("57014", status), "{late:?}");
        assert_eq!(message(&late), "canceling statement due to statement timeout");
    }
    assert_eq!(ask(&mut raw, "ROLLBACK").await.status(), 'I');
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
    nothing_prepared(&SHOP).await;
}

#[tokio::test]
async fn a_lock_that_is_not_to_be_had_fails_the_transaction_on_both_shards() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    for at in 0..2 {
        let mut holder = SHOP.raw("app").await;
        all(&mut holder, &["BEGIN", &format!("{} FOR UPDATE", read(ids[at]))]).await;
        let mut raw = SHOP.raw("app").await;
        all(&mut raw, &["BEGIN", "SET LOCAL lock_timeout = '200ms'", &put(ids[1 - at], 1)]).await;
        let refused = ask(&mut raw, &put(ids[at], 1)).await;
        assert_eq!((code(&refused).as_str(), refused.status()), ("55P03", 'E'), "{refused:?}");
        both_are_free(&SHOP, if at == 0 { [both(&SHOP)[0], ids[1]] } else { [ids[0], both(&SHOP)[1]] }).await;
        // Behind a savepoint the rest of it goes on.
        assert_eq!(ask(&mut raw, "ROLLBACK").await.status(), 'I');
        all(&mut raw, &["BEGIN", "SET LOCAL lock_timeout = '200ms'", &put(ids[1 - at], 2), "SAVEPOINT a"])
            .await;
        assert_eq!(code(&ask(&mut raw, &put(ids[at], 2)).await), "55P03");
        all(&mut raw, &["ROLLBACK TO a"]).await;
        let nowait = ask(&mut raw, &format!("{} FOR UPDATE NOWAIT", read(ids[at]))).await;
        assert_eq!(code(&nowait), "55P03");
        all(&mut raw, &["ROLLBACK TO a"]).await;
        assert_eq!(ask(&mut holder, "ROLLBACK").await.status(), 'I');
        all(&mut raw, &[&put(ids[at], 3)]).await;
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
        let mut expected = ["3", "3"];
        expected[1 - at] = "2";
        assert_eq!(seen(&SHOP, ids), expected);
        all(&mut raw, &["BEGIN", &put(ids[0], 100), &put(ids[1], 100), "COMMIT"]).await;
    }
}

#[tokio::test]
async fn a_commit_whose_constraints_wait_too_long_is_undone_on_both_shards() {
    let _turn = GATE.lock().await;
    for at in 0..2 {
        let ids = both(&SHOP);
        // A new entry's owner is looked at when its transaction commits; somebody has that row.
        let mut holder = SHOP.raw("app").await;
        all(&mut holder, &["BEGIN", &format!("DELETE FROM account WHERE user_id = {}", ids[at])]).await;
        let mut raw = SHOP.raw("app").await;
        all(&mut raw, &["SET lock_timeout = '300ms'", "BEGIN"]).await;
        for id in ids {
            all(&mut raw, &[&format!("INSERT INTO entry VALUES ({id}, {id})")]).await;
        }
        let refused = ask(&mut raw, "COMMIT").await;
        assert_eq!((code(&refused).as_str(), refused.status()), ("55P03", 'I'), "{refused:?}");
        assert_eq!(ask(&mut holder, "ROLLBACK").await.status(), 'I');
        let kept = format!("SELECT count(*) FROM entry WHERE user_id IN ({}, {})", ids[0], ids[1]);
        assert_eq!(SHOP.everywhere(&kept), ["0", "0"]);
        both_are_free(&SHOP, ids).await;
        nothing_prepared(&SHOP).await;
        // With nobody in its way the same goes through.
        all(&mut raw, &["BEGIN"]).await;
        for id in ids {
            all(&mut raw, &[&format!("INSERT INTO entry VALUES ({id}, {id})")]).await;
        }
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
        assert_eq!(SHOP.everywhere(&kept), ["1", "1"]);
        let gone = format!("DELETE FROM entry WHERE user_id IN ({}, {})", ids[0], ids[1]);
        all(&mut raw, &[&gone]).await;
    }
}

#[tokio::test]
async fn a_transaction_that_may_only_read_reads_every_shard_and_writes_none() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    let spread = format!("UPDATE account SET balance = 5 WHERE user_id IN ({}, {})", ids[0], ids[1]);
    let split = format!("INSERT INTO entry VALUES ({0}, {0}), ({1}, {1})", ids[0], ids[1]);
    let moved = format!("UPDATE entry SET user_id = user_id + 1 WHERE user_id = {}", ids[0]);
    for (before, begin, after) in [
        ("SELECT 1", "BEGIN READ ONLY", "SELECT 1"),
        ("SELECT 1", "BEGIN; SET TRANSACTION READ ONLY", "SELECT 1"),
        ("SET default_transaction_read_only = on", "BEGIN", "RESET default_transaction_read_only"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "START TRANSACTION",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        ),
    ] {
        let mut raw = SHOP.raw("app").await;
        all(&mut raw, &[before]).await;
        for write in [&put(ids[1], 5), &spread, &split, &moved] {
            all(&mut raw, &[begin, &read(ids[0]), &read(ids[1]), "SELECT count(*) FROM account"]).await;
            let refused = ask(&mut raw, write).await;
            assert_eq!(
                (code(&refused).as_str(), refused.status()),
                ("25006", 'E'),
                "{begin}: {write}: {refused:?}"
            );
            assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
        }
        // A COPY too, before any data is sent.
        all(&mut raw, &[begin]).await;
        let refused = raw.query("COPY entry FROM STDIN").recv_until_ready().await;
        assert_eq!((refused.tags().as_str(), code(&refused).as_str()), ("EZ", "25006"), "{begin}");
        all(&mut raw, &["ROLLBACK"]).await;
        if before.contains("READ ONLY") || before.contains("read_only") {
            // So are statements that are transactions by themselves.
            assert_eq!(code(&ask(&mut raw, &spread).await), "25006", "{before}");
            // What says otherwise at its beginning may write, on both.
            all(&mut raw, &["BEGIN READ WRITE", &put(ids[0], 5), &put(ids[1], 5), "ROLLBACK"]).await;
        }
        all(&mut raw, &[after, "BEGIN", &put(ids[0], 6), &put(ids[1], 6), "ROLLBACK"]).await;
    }
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
}

#[tokio::test]
async fn what_one_shard_refuses_is_undone_to_the_savepoint_on_both_and_the_rest_commits() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    for extended in [false, true] {
        for wrong in 0..2 {
            let mut raw = SHOP.raw("app").await;
            let base = 10 * (wrong as i32 + 1);
            let script = ["BEGIN", &put(ids[0], base), &put(ids[1], base), "SAVEPOINT a", &put(ids[0], 1)];
            all(&mut raw, &script).await;
            all(&mut raw, &["SAVEPOINT b", &put(ids[1], 1)]).await;
            // A statement of which one shard refuses its part.
            let half = format!(
                "UPDATE account SET balance = 7 / (CASE user_id WHEN {} THEN 0 ELSE 1 END) WHERE user_id IN ({}, {})",
                ids[wrong], ids[0], ids[1]
            );
            let refused = match extended {
                false => ask(&mut raw, &half).await,
                true => {
                    raw.parse("", &half, &[]).bind("", "", &[] as &[Param<'_>], &[]).execute("", 0).sync();
                    raw.recv_until_ready().await
                }
            };
            assert_eq!((code(&refused).as_str(), refused.status()), ("22012", 'E'), "{refused:?}");
            all(&mut raw, &["ROLLBACK TO b", &put(ids[1], 2), "RELEASE b"]).await;
            let now = [read(ids[0]), read(ids[1])];
            assert_eq!(ask(&mut raw, &now[0]).await.texts(), [[Some("1")]]);
            assert_eq!(ask(&mut raw, &now[1]).await.texts(), [[Some("2")]]);
            assert_eq!(code(&ask(&mut raw, "SELECT 1/0").await), "22012");
            all(&mut raw, &["ROLLBACK TO a"]).await;
            assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
            assert_eq!(seen(&SHOP, ids), [base.to_string(), base.to_string()]);
        }
    }
    nothing_prepared(&SHOP).await;
}

#[tokio::test]
async fn a_cancel_at_any_step_of_a_commit_ends_it_one_way_and_says_which() {
    let _turn = GATE.lock().await;
    for step in &STEPS {
        for after in [false, true] {
            at_rest(&SHOP.admin().await).await;
            let ids = both(&SHOP);
            let mut raw = SHOP.raw("app").await;
            write_on_both(&mut raw, ids, 7).await;
            let stalled = step.spot(&SHOP, after).stall();
            raw.query("COMMIT").send().await;
            stalled.happened().await;
            RawClient::cancel(SHOP.proxy().port(), raw.cancel_key()).await;
            stalled.lift();
            let place = format!("{step:?}, after: {after}");
            let reply = raw.recv_until_ready().await;
            assert_eq!(reply.status(), 'I', "{place}: {reply:?}");
            let found = settled(&SHOP, ids).await;
            match code(&reply).as_str() {
                "" => {
                    assert_eq!(reply.commands(), ["COMMIT"], "{place}");
                    assert_eq!(found, ["7", "7"], "{place}");
                }
                "57014" => assert_eq!(found, ["100", "100"], "{place}: {reply:?}"),
                other => panic!("{place}: {other}: {reply:?}"),
            }
            // The session goes on.
            write_on_both(&mut raw, ids, 8).await;
            assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"], "{place}");
            assert_eq!(settled(&SHOP, ids).await, ["8", "8"], "{place}");
        }
    }
}

#[tokio::test]
async fn a_cancel_of_each_kind_of_statement_fails_the_transaction_on_both_shards() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    let [a, b] = ids;
    let running = "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(601)%' \
         AND pid <> pg_backend_pid() AND datname = current_database()";
    for sleeps in [
        format!("SELECT pg_sleep(601) FROM account WHERE user_id = {b}"),
        format!("SELECT sum(balance) FROM account WHERE user_id IN ({a}, {b}) AND pg_sleep(601) IS NOT NULL"),
        format!("UPDATE account SET balance = 9 WHERE user_id IN ({a}, {b}) AND pg_sleep(601) IS NOT NULL"),
        format!(
            "INSERT INTO entry SELECT user_id, {a} FROM account WHERE user_id = {a} AND pg_sleep(601) IS NOT NULL"
        ),
        format!("DELETE FROM account WHERE user_id = {b} AND pg_sleep(601) IS NOT NULL"),
    ] {
        let mut raw = SHOP.raw("app").await;
        all(&mut raw, &["BEGIN", &put(a, 1), &put(b, 1)]).await;
        raw.query(&sleeps).send().await;
        soon(&sleeps, async || SHOP.everywhere(running).contains(&"t".to_owned()).then_some(())).await;
        RawClient::cancel(SHOP.proxy().port(), raw.cancel_key()).await;
        let cancelled = raw.recv_until_ready().await;
        assert_eq!(
            (code(&cancelled).as_str(), cancelled.status()),
            ("57014", 'E'),
            "{sleeps}: {cancelled:?}"
        );
        both_are_free(&SHOP, ids).await;
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"], "{sleeps}");
        assert_eq!(seen(&SHOP, ids), ["100", "100"], "{sleeps}");
    }
    // Between two statements there is nothing to cancel.
    let mut raw = SHOP.raw("app").await;
    all(&mut raw, &["BEGIN", &put(a, 1), &put(b, 1)]).await;
    RawClient::cancel(SHOP.proxy().port(), raw.cancel_key()).await;
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
}

#[tokio::test]
async fn of_two_servers_the_one_that_prepares_nothing_is_named_and_commits_over_both_say_so() {
    let world = World::builder().shards(2).servers(2).schema(super::SCHEMA).without_proxy().start();
    let none = world.server(1);
    none.sql("postgres", "ALTER SYSTEM SET max_prepared_transactions = 0").expect("the setting");
    none.restart().expect("the server");
    let proxy = world.another_proxy();
    let line = proxy.wait_for_log("max_prepared_transactions is 0");
    assert!(line.contains("ERROR") && line.contains(&none.port().to_string()), "{line}");
    let other = world.server(0).port().to_string();
    let named = |line: &&str| line.contains("max_prepared_transactions") && line.contains(&other);
    assert_eq!(proxy.log().lines().find(named), None, "the other one is as it should be");
    let ids = both(&world);
    let mut raw = proxy.raw("app").await;
    // Whichever is written first decides, and need not prepare.
    for (order, code_at_commit) in [([0, 1], "55000"), ([1, 0], "")] {
        all(&mut raw, &["BEGIN", &put(ids[order[0]], 1), &put(ids[order[1]], 1)]).await;
        let reply = ask(&mut raw, "COMMIT").await;
        assert_eq!((code(&reply).as_str(), reply.status()), (code_at_commit, 'I'), "{order:?}: {reply:?}");
        let expected = if code_at_commit.is_empty() { "1" } else { "100" };
        assert_eq!(seen(&world, ids), [expected, expected], "{order:?}");
        if !code_at_commit.is_empty() {
            let hint = reply.error().and_then(|error| error.field('H')).unwrap_or_default();
            assert!(hint.contains("max_prepared_transactions"), "{hint}");
        }
    }
    // So it is for a statement that is a transaction by itself, which begins on the first shard.
    let spread = format!("UPDATE account SET balance = 2 WHERE user_id IN ({}, {})", ids[0], ids[1]);
    assert_eq!(code(&ask(&mut raw, &spread).await), "55000");
    assert_eq!(seen(&world, ids), ["1", "1"]);
    // One writer needs no preparing.
    all(&mut raw, &["BEGIN", &read(ids[0]), &put(ids[1], 3), "COMMIT"]).await;
    assert_eq!(seen(&world, ids), ["1", "3"]);
}
