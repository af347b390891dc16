//! PREPARE, EXECUTE and DEALLOCATE of SQL: one namespace with the protocol's statements, on whatever server.

use shardway_tests::{Param, RawClient, Reply, SharedWorld, World};

use crate::operation::support::key_on;
use crate::protocol::{ask, code, same_on, value};

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
CREATE TABLE label (id int PRIMARY KEY, text text);
";

/// One server connection for all clients.
static PLAIN: SharedWorld =
    SharedWorld::new(|| World::builder().schema(SCHEMA).config("[pool]\ndefault_pool_size = 1").start());

static SHOP: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(2).schema(SCHEMA).config("[pool]\ndefault_pool_size = 2").start()
});

/// Asks one after the other, as Postgres itself is asked; gives all that came.
async fn same(statements: &[&str]) -> Reply {
    same_on(&PLAIN, 0, async |raw| {
        let mut messages = Vec::new();
        for sql in statements {
            messages.extend(ask(raw, sql).await.0);
        }
        Reply(messages)
    })
    .await
}

async fn one(raw: &mut RawClient, sql: &str) -> String {
    value(&ask(raw, sql).await)
}

#[tokio::test]
async fn prepared_statements_answer_as_postgres_does() {
    same(&[
        "PREPARE p (int, text) AS SELECT $1 + 1 AS n, upper($2) AS t",
        "EXECUTE p(1, 'a')",
        "EXECUTE p(1 + 2, 'a' || 'b')",
        "EXECUTE p(-7, NULL)",
        "EXECUTE p('5', E'x\\ny')",
        "EXECUTE p(1)",
        "EXECUTE p",
        "PREPARE p AS SELECT 1",
        "PREPARE \"Q q\" AS VALUES ($1::int, 'x'), (2, $2)",
        "EXECUTE \"Q q\" (1, 'it''s')",
        "PREPARE w (int) AS SELECT $1 WHERE false",
        "EXECUTE w(1)",
        "DEALLOCATE p",
        "EXECUTE p(1, 'a')",
        "DEALLOCATE p",
        "DEALLOCATE PREPARE ALL",
        "EXECUTE w(1)",
    ])
    .await;
}

#[tokio::test]
async fn errors_point_to_where_they_are_in_the_clients_text() {
    same(&["PREPARE p AS SELECT no_such_column", "EXECUTE p"]).await;
    let reply = ask(&mut PLAIN.raw("app").await, "SELECT 1; PREPARE p (int, no_such_type) AS SELECT 1").await;
    let field = |code| reply.error().and_then(|error| error.field(code)).unwrap_or_default();
    assert_eq!((field('C').as_str(), field('P').as_str()), ("42704", "27"));
    same(&[
        "PREPARE p AS SELEC 1",
        "PREPARE",
        "PREPARE p AS CREATE TABLE x (a int)",
        "EXECUTE p(",
        "EXECUTE",
    ])
    .await;
    same(&["PREPARE p (int) AS SELECT 1 / $1", "EXECUTE p(0)", "EXECUTE p(1)"]).await;
    same(&["BEGIN", "PREPARE p AS SELECT no_such_column", "SELECT 1", "ROLLBACK", "EXECUTE p"]).await;
}

#[tokio::test]
async fn a_write_says_what_it_did_and_a_transaction_undoes_it() {
    same(&[
        "PREPARE ins (int, text) AS INSERT INTO label VALUES ($1, $2)",
        "BEGIN",
        "EXECUTE ins(1, 'a')",
        "EXECUTE ins(2, 'b')",
        "SELECT count(*) FROM label",
        "ROLLBACK",
        "SELECT count(*) FROM label",
        "PREPARE ret (int) AS INSERT INTO label VALUES ($1, 'r') RETURNING id, text",
        "BEGIN; EXECUTE ret(5); EXECUTE ret(6); ROLLBACK",
        "EXECUTE ins(1, 'a'); EXECUTE ins(1, 'again')",
        "SELECT count(*) FROM label",
    ])
    .await;
}

#[tokio::test]
async fn sql_and_the_protocol_share_one_namespace() {
    same_on(&PLAIN, 0, async |raw| {
        let mut messages = ask(raw, "PREPARE s (int) AS SELECT $1 + 1 AS n").await.0;
        raw.describe_statement("s")
            .bind("", "s", &[Param::Text("4")], &[])
            .describe_portal("")
            .execute("", 0);
        messages.extend(raw.sync().recv_until_ready().await.0);
        messages.extend(raw.parse("s", "SELECT 1", &[]).sync().recv_until_ready().await.0);
        messages.extend(raw.close_statement("s").sync().recv_until_ready().await.0);
        messages.extend(ask(raw, "EXECUTE s(1)").await.0);
        messages.extend(raw.parse("t", "SELECT $1::text", &[]).sync().recv_until_ready().await.0);
        messages.extend(ask(raw, "EXECUTE t('x')").await.0);
        messages.extend(ask(raw, "PREPARE t AS SELECT 1").await.0);
        messages.extend(ask(raw, "DEALLOCATE t").await.0);
        raw.bind("", "t", &[Param::Text("4")], &[]).execute("", 0);
        messages.extend(raw.sync().recv_until_ready().await.0);
        Reply(messages)
    })
    .await;
}

#[tokio::test]
async fn an_execute_in_extended_protocol_is_described_and_run() {
    same_on(&PLAIN, 0, async |raw| {
        let mut messages = ask(raw, "PREPARE e (int) AS SELECT generate_series(1, $1) AS n").await.0;
        raw.parse("", "EXECUTE e(3)", &[]).describe_statement("").bind("", "", &[], &[]).describe_portal("");
        messages.extend(raw.execute("", 0).sync().recv_until_ready().await.0);
        raw.parse("", "EXECUTE e(3)", &[]).bind("", "", &[], &[1]).execute("", 2).execute("", 0);
        messages.extend(raw.sync().recv_until_ready().await.0);
        raw.parse("", "PREPARE f AS SELECT 1", &[]).bind("", "", &[], &[]).execute("", 0);
        raw.parse("", "EXECUTE f", &[]).bind("", "", &[], &[]).execute("", 0);
        messages.extend(raw.sync().recv_until_ready().await.0);
        raw.parse("", "EXECUTE nothing", &[]).bind("", "", &[], &[]).execute("", 0);
        messages.extend(raw.sync().recv_until_ready().await.0.into_iter().filter(|m| m.tag == b'Z'));
        Reply(messages)
    })
    .await;
}

#[tokio::test]
async fn an_execute_can_be_explained() {
    same(&[
        "PREPARE x (int) AS SELECT $1 + 1 AS n",
        "EXPLAIN (COSTS OFF, VERBOSE) EXECUTE x(4)",
        "EXPLAIN EXECUTE no(1)",
    ])
    .await;
    let mut raw = SHOP.raw("app").await;
    ask(&mut raw, "PREPARE x (int) AS SELECT name FROM item WHERE user_id = $1").await;
    let reply = ask(&mut raw, "EXPLAIN (COSTS OFF) EXECUTE x(4)").await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("", 'I'), "{reply:?}");
    assert!(reply.texts().0.iter().flatten().flatten().any(|line| line.contains("on item")), "{reply:?}");
}

#[tokio::test]
async fn every_client_has_its_own_names_on_one_server() {
    let (mut a, mut b) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
    ask(&mut a, "PREPARE own AS SELECT 'a'").await;
    assert_eq!(code(&ask(&mut b, "EXECUTE own").await), "26000");
    ask(&mut b, "PREPARE own AS SELECT 'b'").await;
    for _ in 0..2 {
        assert_eq!(one(&mut a, "EXECUTE own").await, "a");
        assert_eq!(one(&mut b, "EXECUTE own").await, "b");
    }
    ask(&mut b, "DISCARD ALL").await;
    assert_eq!(code(&ask(&mut b, "EXECUTE own").await), "26000");
    assert_eq!(one(&mut a, "EXECUTE own").await, "a");
}

#[tokio::test]
async fn an_execute_goes_where_its_arguments_say() {
    let mut raw = SHOP.raw("app").await;
    ask(&mut raw, "PREPARE ins (int, text) AS INSERT INTO item VALUES ($1, $2)").await;
    ask(&mut raw, "PREPARE get (int) AS SELECT name FROM item WHERE user_id = $1").await;
    ask(&mut raw, "PREPARE every AS SELECT user_id FROM item ORDER BY user_id").await;
    ask(&mut raw, "PREPARE above (int) AS SELECT count(*) FROM item WHERE user_id > $1").await;
    let mut keys = [key_on(0, 2), key_on(1, 2)];
    for (shard, key) in keys.iter().enumerate() {
        let reply = ask(&mut raw, &format!("EXECUTE ins({key}, 'on {shard}')")).await;
        assert_eq!(reply.commands(), ["INSERT 0 1"], "{reply:?}");
        assert_eq!(SHOP.shard(shard).sql("SELECT user_id, name FROM item"), format!("{key}|on {shard}"));
        assert_eq!(one(&mut raw, &format!("EXECUTE get({key})")).await, format!("on {shard}"));
        assert_eq!(one(&mut raw, &format!("EXECUTE get('{key}')")).await, format!("on {shard}"));
        assert_eq!(one(&mut raw, &format!("EXECUTE get({key} + 1 - 1)")).await, format!("on {shard}"));
    }
    keys.sort_unstable();
    let reply = ask(&mut raw, "EXECUTE every").await;
    assert_eq!(reply.texts().0, keys.map(|key| vec![Some(key.to_string())]));
    assert_eq!(reply.tags(), "TDDCZ");
    assert_eq!(one(&mut raw, "EXECUTE above(0)").await, "2");
    raw.parse("", "EXECUTE every", &[]).describe_statement("").bind("", "", &[], &[]).describe_portal("");
    assert_eq!(raw.execute("", 0).sync().recv_until_ready().await.tags(), "1tT2TDDCZ");
    ask(&mut raw, "PREPARE pairs (int) AS SELECT a.name FROM item a JOIN item b ON a.name <> b.name WHERE a.user_id = $1").await;
    let reply = ask(&mut raw, &format!("EXECUTE pairs({})", key_on(1, 2))).await;
    assert_eq!((reply.tags().as_str(), value(&reply).as_str()), ("TDCZ", "on 1"), "{reply:?}");
    let reply = ask(&mut raw, "EXECUTE ins(NULL, 'nowhere')").await;
    assert_eq!(code(&reply), "23502", "{reply:?}");
}

#[tokio::test]
async fn arguments_are_not_cut_to_a_type_without_its_length() {
    same(&["PREPARE p (char(10)) AS SELECT $1 = 'abc', octet_length($1)", "EXECUTE p ('ab' || 'c')"]).await;
}

#[tokio::test]
async fn arguments_that_read_or_leave_something_are_refused() {
    for world in [&PLAIN, &SHOP] {
        let mut raw = world.raw("app").await;
        ask(&mut raw, "PREPARE p (text) AS SELECT $1").await;
        for argument in
            ["(SELECT max(name) FROM item)", "set_config('app.tenant', '7', false)", "'x' FROM item"]
        {
            assert_eq!(code(&ask(&mut raw, &format!("EXECUTE p ({argument})")).await), "0A000", "{argument}");
        }
        assert_eq!(one(&mut raw, "EXECUTE p (upper('a') || 1)").await, "A1");
        assert_eq!(one(&mut raw, "SELECT current_setting('app.tenant', true) IS NULL").await, "t");
    }
}

#[tokio::test]
async fn an_execute_describes_its_rows_on_a_server_that_has_more_statements_than_it_may() {
    for max in [0, 1] {
        let config = format!("[pool]\ndefault_pool_size = 1\nmax_prepared_statements = {max}");
        let proxy = PLAIN.another_proxy_with(&config);
        let mut raw = proxy.raw("app").await;
        for name in ["a", "b"] {
            assert_eq!(ask(&mut raw, &format!("PREPARE {name} AS SELECT '{name}' AS n")).await.tags(), "CZ");
        }
        for name in ["a", "b", "a"] {
            let reply = ask(&mut raw, &format!("EXECUTE {name}")).await;
            assert_eq!(reply.tags(), "TDCZ", "{max}: {reply:?}");
            assert_eq!(value(&reply), name);
        }
    }
}
