//! Simple queries: one text, one or more statements.

use super::{PLAIN, SHOP, account, ask, code, key, same_query, value};

#[tokio::test]
async fn a_query_is_answered_as_by_the_server() {
    for sql in [
        "SELECT 1 AS one, NULL AS nothing, 'ä' AS text, now() - now() AS zero",
        "SELECT * FROM account WHERE false",
        "VALUES (1, 'a'), (2, 'b')",
        "SHOW server_version",
        "CREATE TABLE IF NOT EXISTS account (user_id int)",
        "EXPLAIN SELECT 1",
        "SELECT",
    ] {
        let reply = same_query(sql).await;
        assert_eq!((reply.error(), reply.status()), (None, 'I'), "{sql}");
    }
}

#[tokio::test]
async fn nothing_is_answered_as_nothing() {
    for sql in ["", " ", ";", " -- only a remark\n", "/* shard: 1 */", ";;  ;"] {
        assert_eq!(same_query(sql).await.tags(), "IZ", "{sql:?}");
    }
}

#[tokio::test]
async fn several_statements_are_answered_in_one_go() {
    for sql in [
        "SELECT 1; SELECT 2, 3",
        "SELECT 1;;SELECT 2;",
        "BEGIN; SELECT 1; COMMIT",
        "BEGIN; SELECT 1; ROLLBACK; SELECT 2",
        "SET work_mem = '5MB'; SHOW work_mem; RESET work_mem",
        "BEGIN; SELECT 1/0; SELECT 2; COMMIT",
        "SELECT 1; SELECT 1/0; SELECT 2",
        "SELECT 1; SELEC 2; SELECT 3",
        "START TRANSACTION READ ONLY; SHOW transaction_read_only",
        "COMMIT; SELECT 1",
        "SELECT 1; ROLLBACK",
    ] {
        same_query(sql).await;
    }
}

#[tokio::test]
async fn several_statements_for_one_shard_go_there() {
    let (a, b) = (account(1, "one text a"), account(1, "one text b"));
    let mut raw = SHOP.raw("app").await;
    let sql = format!(
        "UPDATE account SET balance = 1 WHERE user_id = {a}; UPDATE account SET balance = 2 WHERE user_id = {b};
         SELECT sum(balance) FROM account WHERE user_id IN ({a}, {b}) AND user_id = {a}"
    );
    let reply = ask(&mut raw, &sql).await;
    assert_eq!((reply.tags().as_str(), value(&reply).as_str()), ("CCTDCZ", "1"));
    assert_eq!(reply.commands(), ["UPDATE 1", "UPDATE 1", "SELECT 1"]);
}

#[tokio::test]
async fn several_reads_of_different_shards_are_answered_in_order() {
    let (a, b) = (account(0, "reads a"), account(3, "reads b"));
    let mut raw = SHOP.raw("app").await;
    let name = |id: i32| format!("SELECT name FROM account WHERE user_id = {id}");
    let reply = ask(&mut raw, &[name(a), name(b), name(a)].join(";")).await;
    assert_eq!(reply.tags(), "TDCTDCTDCZ");
    assert_eq!(reply.texts(), [[Some("reads a")], [Some("reads b")], [Some("reads a")]]);
    assert_eq!(reply.status(), 'I');
}

#[tokio::test]
async fn a_text_with_its_own_transaction_commits_on_its_shard() {
    let id = account(2, "own transaction");
    let mut raw = SHOP.raw("app").await;
    let change = format!("UPDATE account SET balance = 7 WHERE user_id = {id}");
    let reply = ask(&mut raw, &format!("BEGIN; {change}; COMMIT")).await;
    assert_eq!(reply.commands(), ["BEGIN", "UPDATE 1", "COMMIT"]);
    assert_eq!(reply.status(), 'I');
    assert_eq!(SHOP.shard(2).sql(&format!("SELECT balance FROM account WHERE user_id = {id}")), "7");
}

#[tokio::test]
async fn an_error_in_the_middle_undoes_what_came_before_it() {
    let (id, other) = (key(1), account(2, "undo other"));
    let mut raw = SHOP.raw("app").await;
    let sql = format!(
        "INSERT INTO account VALUES ({id}, 'undone'); SELECT name FROM account WHERE user_id = {other};
         UPDATE account SET balance = -1 WHERE user_id = {id}; SELECT 1"
    );
    let reply = ask(&mut raw, &sql).await;
    assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("CTDCEZ", "23514"));
    assert_eq!(reply.status(), 'I');
    assert_eq!(SHOP.shard(1).sql(&format!("SELECT count(*) FROM account WHERE user_id = {id}")), "0");
}

#[tokio::test]
async fn what_follows_a_commit_within_a_text_is_a_transaction_of_its_own() {
    for (world, shard) in [(&PLAIN, 0), (&SHOP, 1)] {
        let [a, b, c] = [(); 3].map(|()| key(1));
        let sql = format!(
            "INSERT INTO account VALUES ({a}); COMMIT; INSERT INTO account VALUES ({b});
             SELECT name FROM account WHERE user_id = {}; INSERT INTO account VALUES ({c}, NULL, -1)",
            key(0)
        );
        let reply = ask(&mut world.raw("app").await, &sql).await;
        assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("CCCTCEZ", "23514"));
        let kept =
            world.shard(shard).sql(&format!("SELECT user_id FROM account WHERE user_id IN ({a}, {b}, {c})"));
        assert_eq!(kept, a.to_string(), "only what was committed");
    }
}

#[tokio::test]
async fn the_position_of_an_error_counts_from_the_start_of_the_text() {
    let (a, b) = (account(0, "position a"), account(1, "position b"));
    let mut raw = SHOP.raw("app").await;
    let sql =
        format!("SELECT name FROM account WHERE user_id = {a}; SELECT nam FROM account WHERE user_id = {b}");
    let reply = ask(&mut raw, &sql).await;
    let position: usize = reply.error().unwrap().field('P').unwrap().parse().unwrap();
    assert_eq!(position, sql.find("nam FROM").unwrap() + 1);
}
