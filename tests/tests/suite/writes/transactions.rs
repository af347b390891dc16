//! Transactions over several shards, as on one Postgres: errors, savepoints, settings, limits, and what can't be prepared.

use shardway_tests::{DATABASE, PASSWORD, Param, RawClient, SharedWorld};

use super::{ask, both, code, nothing_prepared, put, seen, two_servers};
use crate::operation::support::{at_rest, soon};

static SHOP: SharedWorld = SharedWorld::new(|| {
    let world = two_servers();
    for server in 0..2 {
        let roles = "CREATE ROLE clerk; GRANT clerk TO app; CREATE ROLE strict LOGIN PASSWORD 'secret'; \
             GRANT pg_read_all_data, pg_write_all_data TO strict; \
             ALTER ROLE strict SET default_transaction_isolation = 'serializable'";
        world.server(server).sql("postgres", roles).expect("roles");
    }
    for shard in world.shards() {
        shard.sql("GRANT ALL ON account TO clerk");
    }
    let strict = "[[users]]\nname = 'strict'\npassword = 'secret'";
    world.proxy().reconfigure(strict);
    world.proxy().sighup();
    world.proxy().wait_for_log("reload:");
    world
});

fn read(id: i32) -> String {
    format!("SELECT balance FROM account WHERE user_id = {id}")
}

/// Runs statements one by one and gives the status after each.
async fn statuses(raw: &mut RawClient, statements: &[&str]) -> String {
    let mut seen = String::new();
    for sql in statements {
        seen.push(ask(raw, sql).await.status());
    }
    seen
}

fn message(reply: &shardway_tests::Reply) -> String {
    reply.error().and_then(|error| error.field('M')).unwrap_or_default()
}

#[tokio::test]
async fn repeatable_read_and_serializable_stay_on_one_shard() {
    let ids = both(&SHOP);
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        for (before, begin, after) in [
            (String::new(), format!("BEGIN ISOLATION LEVEL {level}"), "SELECT 1"),
            (String::new(), format!("BEGIN; SET TRANSACTION ISOLATION LEVEL {level}"), "SELECT 1"),
            (
                format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}"),
                "BEGIN".to_owned(),
                "RESET default_transaction_isolation",
            ),
            (
                format!("SET default_transaction_isolation = '{}'", level.to_lowercase()),
                "BEGIN".to_owned(),
                "RESET ALL",
            ),
        ] {
            let mut raw = SHOP.raw("app").await;
            if !before.is_empty() {
                assert_eq!(ask(&mut raw, &before).await.status(), 'I');
                let all = ask(&mut raw, "SELECT sum(balance) FROM account").await;
                assert_eq!((code(&all).as_str(), all.status()), ("0A000", 'I'), "{before}");
            }
            // On one shard they are as ever, whichever server was asked what the level means.
            for id in ids {
                let write = put(id, 100);
                assert_eq!(
                    statuses(&mut raw, &[&begin, &read(id), &write, "COMMIT"]).await,
                    "TTTI",
                    "{begin}"
                );
            }
            assert_eq!(statuses(&mut raw, &[&begin, &read(ids[0])]).await, "TT");
            let refused = ask(&mut raw, &read(ids[1])).await;
            assert_eq!((code(&refused).as_str(), refused.status()), ("0A000", 'E'), "{before} {begin}");
            assert!(
                message(&refused).contains("unless all reads and writes stay on one shard"),
                "{refused:?}"
            );
            assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
            assert_eq!(ask(&mut raw, after).await.status(), 'I');
            assert_eq!(statuses(&mut raw, &["BEGIN", &read(ids[0]), &read(ids[1]), "COMMIT"]).await, "TTTI");
        }
    }
}

#[tokio::test]
async fn levels_that_come_with_the_login_or_the_role_count_too() {
    let ids = both(&SHOP);
    let mut by_startup = RawClient::connect(SHOP.proxy().port()).await;
    let startup = [
        ("user", "app"),
        ("database", DATABASE),
        ("options", "-c default_transaction_isolation=serializable"),
    ];
    by_startup.try_login(&startup, PASSWORD).await.expect("a login");
    let by_role = SHOP.raw("strict").await;
    for mut raw in [by_startup, by_role] {
        let all = soon("the role's level to be known", async || {
            let all = ask(&mut raw, "SELECT sum(balance) FROM account").await;
            (!code(&all).is_empty()).then_some(all)
        })
        .await;
        assert_eq!(code(&all), "0A000");
        assert_eq!(statuses(&mut raw, &["BEGIN", &read(ids[0]), &put(ids[0], 100), "COMMIT"]).await, "TTTI");
        assert_eq!(statuses(&mut raw, &["BEGIN", &read(ids[0])]).await, "TT");
        assert_eq!(code(&ask(&mut raw, &read(ids[1])).await), "0A000");
        ask(&mut raw, "ROLLBACK").await;
        let relaxed = ["BEGIN ISOLATION LEVEL READ COMMITTED", &read(ids[0]), &read(ids[1]), "COMMIT"];
        assert_eq!(statuses(&mut raw, &relaxed).await, "TTTI");
    }
}

#[tokio::test]
async fn a_read_only_transaction_reads_every_shard_and_writes_none() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    assert_eq!(statuses(&mut raw, &["BEGIN READ ONLY", &read(ids[0]), &read(ids[1])]).await, "TTT");
    assert_eq!(ask(&mut raw, "SELECT count(*) FROM account").await.status(), 'T');
    assert_eq!(code(&ask(&mut raw, &put(ids[1], 1)).await), "25006");
    assert_eq!(code(&ask(&mut raw, &read(ids[0])).await), "25P02");
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
}

#[tokio::test]
async fn an_error_on_one_shard_fails_the_transaction_on_all() {
    let ids = both(&SHOP);
    for wrong in 0..2 {
        let mut raw = SHOP.raw("app").await;
        assert_eq!(statuses(&mut raw, &["BEGIN", &put(ids[0], 1), &put(ids[1], 1)]).await, "TTT");
        let failed =
            ask(&mut raw, &format!("UPDATE account SET balance = 1/0 WHERE user_id = {}", ids[wrong])).await;
        assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'E'));
        for sql in
            [read(ids[0]), read(ids[1]), "SELECT count(*) FROM account".to_owned(), "SAVEPOINT a".to_owned()]
        {
            let refused = ask(&mut raw, &sql).await;
            assert_eq!((code(&refused).as_str(), refused.status()), ("25P02", 'E'), "{sql}");
        }
        let ended = ask(&mut raw, "COMMIT").await;
        assert_eq!((ended.commands(), ended.status()), (vec!["ROLLBACK".to_owned()], 'I'));
        assert_eq!(seen(&SHOP, ids), ["100", "100"]);
    }
}

#[tokio::test]
async fn a_savepoint_brings_back_all_shards_whichever_failed() {
    let ids = both(&SHOP);
    for wrong in 0..2 {
        let mut raw = SHOP.raw("app").await;
        let script =
            ["BEGIN", &put(ids[0], 1), &put(ids[1], 1), "SAVEPOINT a", &put(ids[0], 2), &put(ids[1], 2)];
        assert_eq!(statuses(&mut raw, &script).await, "TTTTTT");
        assert_eq!(
            ask(&mut raw, &format!("SELECT 1/(balance - 2) FROM account WHERE user_id = {}", ids[wrong]))
                .await
                .status(),
            'E'
        );
        assert_eq!(statuses(&mut raw, &["ROLLBACK TO a", &read(ids[0]), &read(ids[1])]).await, "TTT");
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
        assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    }
}

#[tokio::test]
async fn a_server_that_joins_has_the_savepoints_that_were_there() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    let script = [
        "BEGIN",
        &put(ids[0], 1),
        "SAVEPOINT a",
        "SAVEPOINT b",
        &put(ids[1], 1),
        "ROLLBACK TO b",
        &put(ids[0], 2),
    ];
    assert_eq!(statuses(&mut raw, &script).await, "TTTTTTT");
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(seen(&SHOP, ids), ["2", "100"]);
    let script = [
        "BEGIN",
        "SAVEPOINT a",
        &put(ids[0], 3),
        "RELEASE a",
        "SAVEPOINT c",
        &put(ids[1], 3),
        "ROLLBACK TO c",
        "COMMIT",
    ];
    assert_eq!(statuses(&mut raw, &script).await, "TTTTTTTI");
    assert_eq!(seen(&SHOP, ids), ["3", "100"]);
}

#[tokio::test]
async fn a_chained_transaction_is_as_the_one_before_it() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    assert_eq!(statuses(&mut raw, &["BEGIN", &put(ids[0], 1), &put(ids[1], 1)]).await, "TTT");
    assert_eq!(ask(&mut raw, "COMMIT AND CHAIN").await.status(), 'T');
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    assert_eq!(statuses(&mut raw, &[&put(ids[0], 2), &put(ids[1], 2)]).await, "TT");
    assert_eq!(ask(&mut raw, "ROLLBACK AND CHAIN").await.status(), 'T');
    assert_eq!(statuses(&mut raw, &[&put(ids[0], 3), &put(ids[1], 3), "COMMIT"]).await, "TTI");
    assert_eq!(seen(&SHOP, ids), ["3", "3"]);
    let script = ["BEGIN", "SET TRANSACTION READ ONLY", &read(ids[0]), &read(ids[1]), "COMMIT AND CHAIN"];
    assert_eq!(statuses(&mut raw, &script).await, "TTTTT");
    assert_eq!(code(&ask(&mut raw, &put(ids[1], 4)).await), "25006");
    ask(&mut raw, "ROLLBACK").await;
}

#[tokio::test]
async fn what_is_set_inside_stays_if_it_commits_and_goes_if_it_does_not() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    let shown = async |raw: &mut RawClient| {
        let mut seen = Vec::new();
        for id in ids {
            let sql = format!(
                "SELECT current_setting('app.who', true), current_setting('work_mem') FROM account WHERE user_id = {id}"
            );
            seen.push(
                ask(raw, &sql)
                    .await
                    .texts()
                    .0
                    .remove(0)
                    .into_iter()
                    .map(Option::unwrap_or_default)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        seen
    };
    let script =
        ["BEGIN", &put(ids[0], 1), "SET work_mem = '3MB'", "SET LOCAL app.who = 'ada'", &put(ids[1], 1)];
    assert_eq!(statuses(&mut raw, &script).await, "TTTTT");
    assert_eq!(shown(&mut raw).await, ["ada 3MB", "ada 3MB"]);
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(shown(&mut raw).await, [" 3MB", " 3MB"]);
    // Prepared, it is as if committed to the server that prepared it: what was set there goes all the same.
    let wrong = format!("INSERT INTO entry VALUES ({}, 99)", ids[0]);
    let script = ["BEGIN", &wrong, &put(ids[1], 2), "SET work_mem = '5MB'"];
    assert_eq!(statuses(&mut raw, &script).await, "TTTT");
    assert_eq!(code(&ask(&mut raw, "COMMIT").await), "23503");
    assert_eq!(shown(&mut raw).await, [" 3MB", " 3MB"]);
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
}

#[tokio::test]
async fn a_role_that_is_set_for_the_transaction_commits_on_every_shard() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    let script = ["BEGIN", "SET LOCAL ROLE clerk", &put(ids[0], 1), &put(ids[1], 1)];
    assert_eq!(statuses(&mut raw, &script).await, "TTTT");
    let reply = ask(&mut raw, "COMMIT").await;
    assert_eq!(reply.commands(), ["COMMIT"], "{reply:?}");
    assert!(reply.of('N').next().is_none(), "{reply:?}");
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    assert_eq!(
        statuses(&mut raw, &["SET ROLE clerk", "BEGIN", &put(ids[0], 2), &put(ids[1], 2), "COMMIT"]).await,
        "ITTTI"
    );
    assert_eq!(seen(&SHOP, ids), ["2", "2"]);
}

#[tokio::test]
async fn listening_begins_with_a_commit_over_several_shards() {
    let ids = both(&SHOP);
    let (mut raw, mut other) = (SHOP.raw("app").await, SHOP.raw("app").await);
    let script = ["BEGIN", "LISTEN bell", &put(ids[0], 1), &put(ids[1], 1), "COMMIT"];
    assert_eq!(statuses(&mut raw, &script).await, "TTTTI");
    assert_eq!(ask(&mut other, "NOTIFY bell, 'one'").await.status(), 'I');
    let rung = raw.recv().await;
    assert_eq!(rung.tag, b'A');
}

#[tokio::test]
async fn a_notification_goes_out_with_a_commit_over_several_shards() {
    let ids = both(&SHOP);
    let (mut raw, mut other) = (SHOP.raw("app").await, SHOP.raw("app").await);
    assert_eq!(ask(&mut other, "LISTEN ring").await.status(), 'I');
    for (notify, last) in [("NOTIFY ring, 'one'", "COMMIT"), ("SELECT pg_notify('ring', 'two')", "COMMIT")] {
        // Whichever wrote first: the server that notifies can't prepare.
        let script = ["BEGIN", &put(ids[1], 1), notify, &put(ids[0], 1), last];
        assert_eq!(statuses(&mut raw, &script).await, "TTTTI", "{notify}");
        let rung = other.recv().await;
        assert_eq!(rung.tag, b'A', "{notify}");
    }
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
}

#[tokio::test]
async fn a_temporary_table_on_one_shard_is_no_hindrance_and_on_two_a_clear_error() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    let [first, second] =
        [0, 1].map(|shard| format!("/* shard: {shard} */ CREATE TEMP TABLE t{shard} (n int)"));
    let script = ["BEGIN", &put(ids[0], 1), &second, &put(ids[1], 1)];
    assert_eq!(statuses(&mut raw, &script).await, "TTTT");
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    // The table is still there, and no hindrance as long as nobody touches it.
    let script = ["BEGIN", &put(ids[0], 2), &put(ids[1], 2), "COMMIT"];
    assert_eq!(statuses(&mut raw, &script).await, "TTTI");
    assert_eq!(seen(&SHOP, ids), ["2", "2"]);
    let mut raw = SHOP.raw("app").await;
    let script = ["BEGIN", &first, &second, &put(ids[0], 3), &put(ids[1], 3)];
    assert_eq!(statuses(&mut raw, &script).await, "TTTTT");
    let refused = ask(&mut raw, "COMMIT").await;
    assert_eq!((code(&refused).as_str(), refused.status()), ("0A000", 'I'));
    assert_eq!(seen(&SHOP, ids), ["2", "2"]);
    nothing_prepared(&SHOP).await;
}

#[tokio::test]
async fn a_gather_within_is_no_hindrance() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    let gather = "SELECT count(*) FROM account a JOIN account b ON a.balance = b.balance AND a.name = b.name";
    for before in [true, false] {
        let mut script = vec!["BEGIN".to_owned(), put(ids[0], 1), put(ids[1], 1)];
        script.insert(if before { 1 } else { 3 }, gather.to_owned());
        for sql in &script {
            assert_eq!(ask(&mut raw, sql).await.status(), 'T', "{sql}");
        }
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    }
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
}

#[tokio::test]
async fn a_server_that_waited_too_long_fails_the_transaction_and_all_is_rolled_back() {
    let ids = both(&SHOP);
    for ends in [true, false] {
        let mut raw = SHOP.raw("app").await;
        ask(&mut raw, "SET idle_in_transaction_session_timeout = '2s'").await;
        assert_eq!(statuses(&mut raw, &["BEGIN", &put(ids[0], 1)]).await, "TT");
        let work = format!("SELECT pg_sleep(2.5), balance FROM account WHERE user_id = {}", ids[1]);
        assert_eq!(ask(&mut raw, &work).await.status(), 'T');
        assert_eq!(ask(&mut raw, &put(ids[1], 1)).await.status(), 'T');
        let failed =
            ask(&mut raw, if ends { "COMMIT" } else { &*Box::leak(read(ids[0]).into_boxed_str()) }).await;
        assert_eq!(code(&failed), "08006");
        assert!(message(&failed).contains("idle-in-transaction timeout"), "{failed:?}");
        if !ends {
            assert_eq!(failed.status(), 'E');
            assert_eq!(code(&ask(&mut raw, &read(ids[1])).await), "25P02");
            assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
        }
        assert_eq!(seen(&SHOP, ids), ["100", "100"]);
    }
}

#[tokio::test]
async fn an_idle_transaction_of_the_clients_own_ends_on_every_shard() {
    let other = SHOP.another_proxy_with("[pool]\nidle_transaction_timeout = '2s'");
    let ids = both(&SHOP);
    let mut raw = other.raw("app").await;
    assert_eq!(statuses(&mut raw, &["BEGIN", &put(ids[0], 1), &put(ids[1], 1)]).await, "TTT");
    let end = raw.rest().await;
    assert_eq!(code(&end), "25P03");
    for (shard, id) in ids.into_iter().enumerate() {
        let free = format!(
            "SELECT count(*) FROM (SELECT FROM account WHERE user_id = {id} FOR UPDATE SKIP LOCKED) _"
        );
        soon("the row to be free", async || (SHOP.shard(shard).sql(&free) == "1").then_some(())).await;
    }
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
}

#[tokio::test]
async fn a_cancel_reaches_every_shard_of_the_transaction() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    assert_eq!(statuses(&mut raw, &["BEGIN", &put(ids[0], 1), &put(ids[1], 1)]).await, "TTT");
    raw.query("SELECT pg_sleep(30) FROM account WHERE balance = 1").send().await;
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(30)%' \
         AND pid <> pg_backend_pid() AND datname = current_database()";
    soon("both to sleep", async || (SHOP.everywhere(running) == ["1", "1"]).then_some(())).await;
    RawClient::cancel(SHOP.proxy().port(), raw.cancel_key()).await;
    let cancelled = raw.recv_until_ready().await;
    assert_eq!((code(&cancelled).as_str(), cancelled.status()), ("57014", 'E'));
    assert_eq!(SHOP.everywhere(running), ["0", "0"]);
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
}

#[tokio::test]
async fn a_text_of_several_statements_is_all_or_nothing() {
    let ids = both(&SHOP);
    let [a, b] = ids;
    let mut raw = SHOP.raw("app").await;
    let done = ask(&mut raw, &format!("{}; {}", put(a, 1), put(b, 1))).await;
    assert_eq!((done.commands().len(), done.status()), (2, 'I'));
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    let failed = ask(&mut raw, &format!("{}; {}; SELECT 1/0", put(a, 2), put(b, 2))).await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'I'));
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    // What a COMMIT within ends stays; what comes behind it is another one.
    let mixed =
        format!("BEGIN; {}; {}; COMMIT; {}; {}; SELECT 1/0", put(a, 3), put(b, 3), put(a, 4), put(b, 4));
    let failed = ask(&mut raw, &mixed).await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'I'));
    assert_eq!(seen(&SHOP, ids), ["3", "3"]);
    let open = ask(&mut raw, &format!("{}; BEGIN; {}", put(a, 5), put(b, 5))).await;
    assert_eq!(open.status(), 'T');
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(seen(&SHOP, ids), ["5", "5"]);
}

#[tokio::test]
async fn a_pipeline_up_to_its_sync_is_all_or_nothing() {
    let ids = both(&SHOP);
    let [a, b] = ids;
    let mut raw = SHOP.raw("app").await;
    let say = |raw: &mut RawClient, sql: &str, param: i32| {
        let text = param.to_string();
        raw.parse("", sql, &[]).bind("", "", &[Param::Text(&text)], &[]).execute("", 0);
    };
    let update = |balance: i32| format!("UPDATE account SET balance = {balance} WHERE user_id = $1");
    let plain = |raw: &mut RawClient, sql: &str| {
        raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
    };
    say(&mut raw, &update(1), a);
    say(&mut raw, &update(1), b);
    raw.sync();
    let done = raw.recv_until_ready().await;
    assert_eq!((done.tags(), done.status()), ("12C12CZ".to_owned(), 'I'));
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    say(&mut raw, &update(2), a);
    say(&mut raw, &update(2), b);
    say(&mut raw, "SELECT 1/(balance - 2) FROM account WHERE user_id = $1", a);
    say(&mut raw, &update(3), b);
    raw.sync();
    let failed = raw.recv_until_ready().await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'I'));
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    // An explicit COMMIT within ends what came before it.
    plain(&mut raw, "BEGIN");
    say(&mut raw, &update(4), a);
    say(&mut raw, &update(4), b);
    plain(&mut raw, "COMMIT");
    say(&mut raw, &update(5), a);
    say(&mut raw, &update(5), b);
    say(&mut raw, "SELECT 1/(balance - 5) FROM account WHERE user_id = $1", a);
    raw.sync();
    let failed = raw.recv_until_ready().await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'I'));
    assert_eq!(seen(&SHOP, ids), ["4", "4"]);
}

#[tokio::test]
async fn a_commit_that_fails_in_a_batch_is_told_before_its_ready_for_query() {
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    let insert = |owner: i32| format!("INSERT INTO entry VALUES ({owner}, 99)");
    raw.parse("", &insert(ids[0]), &[]).bind("", "", &[], &[]).execute("", 0);
    raw.parse("", &put(ids[1], 1), &[]).bind("", "", &[], &[]).execute("", 0).sync();
    let failed = raw.recv_until_ready().await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("23503", 'I'));
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
    let failed = ask(&mut raw, &format!("{}; {}", insert(ids[0]), put(ids[1], 1))).await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("23503", 'I'));
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
    nothing_prepared(&SHOP).await;
    at_rest(&SHOP.admin().await).await;
}
