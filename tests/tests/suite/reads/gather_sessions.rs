//! Gathers among the other statements of a session: in transactions, prepared, refused, broken off. Nothing of them is
//! left on a server.

use std::time::Duration;

use shardway_tests::{Param, RawClient, Reply, SharedWorld, World};

use super::world::said;
use crate::operation::support::soon;

static WORLD: SharedWorld = SharedWorld::new(|| world(""));

fn world(config: &str) -> World {
    let world = World::builder()
        .shards(3)
        .schema(
            "CREATE TABLE t (user_id int, n int, v text);
             CREATE TABLE u (user_id int, m int);
             CREATE TABLE own (user_id int, who text);
             ALTER TABLE own ENABLE ROW LEVEL SECURITY; ALTER TABLE own FORCE ROW LEVEL SECURITY;
             CREATE POLICY mine ON own USING (who = current_setting('app.who', true));",
        )
        .config(config)
        .start();
    // Two rows on each, wherever their key belongs.
    world.shards().for_each(|shard| {
        drop(shard.sql("INSERT INTO t VALUES (1, 2, 'a'), (2, 3, 'b'); INSERT INTO u VALUES (1, 2)"));
        drop(shard.sql("SET app.who = 'x'; INSERT INTO own VALUES (1, 'x'), (2, 'y')"));
    });
    world
}

const DISTINCT: &str = "SELECT count(DISTINCT n), count(*) FROM t";
const SLOW: &str = "SELECT count(DISTINCT n) FROM t WHERE pg_sleep(600) IS NOT NULL";

async fn run(client: &mut RawClient, sql: &str) -> Reply {
    client.query(sql).recv_until_ready().await
}

#[track_caller]
fn code(reply: &Reply) -> String {
    said(reply).unwrap_err().0
}

/// Waits until no server has a temporary table: others' tests may be about some.
async fn nothing_is_left(world: &World) {
    let sql = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'";
    soon("temporary tables to go", async || world.everywhere(sql).iter().all(|n| n == "0").then_some(()))
        .await;
}

#[tokio::test]
async fn a_transaction_sees_what_it_wrote_and_goes_on() {
    let world = world("");
    let mut client = world.raw("app").await;
    run(&mut client, "BEGIN").await;
    run(&mut client, "INSERT INTO t VALUES (7, 70, 'new')").await;
    for _ in 0..3 {
        let reply = run(&mut client, DISTINCT).await;
        assert_eq!(reply.texts(), [[Some("3"), Some("7")]]);
        assert_eq!(reply.status(), 'T');
    }
    run(&mut client, "SAVEPOINT a").await;
    run(&mut client, "UPDATE t SET n = 71 WHERE user_id = 7").await;
    let reply = run(&mut client, "SELECT max(x.n) FROM t x JOIN u ON x.n >= u.m").await;
    assert_eq!(reply.texts(), [[Some("71")]]);
    run(&mut client, "ROLLBACK TO a").await;
    let reply = run(&mut client, "SELECT max(x.n) FROM t x JOIN u ON x.n >= u.m").await;
    assert_eq!(reply.texts(), [[Some("70")]]);
    assert_eq!(run(&mut client, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("3"), Some("7")]]);
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn an_error_fails_the_transaction_and_a_savepoint_brings_it_back() {
    let mut client = WORLD.raw("app").await;
    for wrong in [
        "SELECT 1 / (count(DISTINCT n) - 2) FROM t",
        "SELECT nosuch, count(DISTINCT n) FROM t",
        "SELECT count(DISTINCT n), v FROM t",
        "SELECT count(DISTINCT n) FROM t WHERE v::int > 2",
        "SELECT count(DISTINCT n) FROM t FOR UPDATE",
    ] {
        run(&mut client, "BEGIN").await;
        run(&mut client, "SAVEPOINT a").await;
        assert_eq!(run(&mut client, wrong).await.status(), 'E', "{wrong}");
        assert_eq!(code(&run(&mut client, DISTINCT).await), "25P02");
        run(&mut client, "ROLLBACK TO a").await;
        assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
        assert_eq!(run(&mut client, wrong).await.status(), 'E', "{wrong}");
        assert_eq!(run(&mut client, "COMMIT").await.commands(), ["ROLLBACK"]);
        let reply = run(&mut client, wrong).await;
        assert_eq!((said(&reply).is_err(), reply.status()), (true, 'I'), "{wrong}");
        assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
    }
    nothing_is_left(&WORLD).await;
}

#[tokio::test]
async fn errors_point_at_the_clients_own_text() {
    let mut client = WORLD.raw("app").await;
    for (sql, at) in [
        ("SELECT count(DISTINCT n), nosuch FROM t", 27),
        ("SELECT 'é', count(DISTINCT n) FROM t JOIN u ON t.n = u.nosuch", 54),
        ("SELECT 1; SELECT count(DISTINCT nosuch) FROM t", 33),
    ] {
        let reply = run(&mut client, sql).await;
        let error = reply.error().unwrap();
        assert_eq!(
            (error.field('C').unwrap(), error.field('P').unwrap()),
            ("42703".into(), at.to_string()),
            "{sql}"
        );
    }
}

#[tokio::test]
async fn prepared_statements_are_executed_again_and_among_others() {
    let mut client = WORLD.raw("app").await;
    let sql = "SELECT count(DISTINCT n) FROM t WHERE n > $1";
    client.parse("p", sql, &[]).describe_statement("p").sync().recv_until_ready().await;
    for (n, expected) in [("0", "2"), ("2", "1"), ("9", "0"), ("0", "2")] {
        let reply =
            client.bind("", "p", &[Param::Text(n)], &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(reply.texts(), [[Some(expected)]]);
    }
    let reply = client
        .bind("", "p", &[Param::Text("0")], &[])
        .execute("", 0)
        .parse("", "SELECT n FROM t WHERE user_id = $1 ORDER BY n", &[])
        .bind("", "", &[Param::Text("1")], &[])
        .execute("", 0)
        .bind("", "p", &[Param::Text("2")], &[])
        .describe_portal("")
        .execute("", 0)
        .sync()
        .recv_until_ready()
        .await;
    assert_eq!(reply.commands(), ["SELECT 1", "SELECT 1", "SELECT 1"], "{reply:?}");
    let reply = run(&mut client, &format!("SELECT 1; {DISTINCT}; SELECT 2")).await;
    assert_eq!(reply.commands(), ["SELECT 1", "SELECT 1", "SELECT 1"]);
    let limited =
        client.bind("", "p", &[Param::Text("0")], &[]).execute("", 1).sync().recv_until_ready().await;
    assert_eq!((limited.tags(), limited.texts() == [[Some("2")]]), ("2DsZ".into(), true));
}

#[tokio::test]
async fn a_search_path_that_has_temporary_tables_last_changes_nothing() {
    let mut client = WORLD.raw("app").await;
    for path in ["public, pg_temp", "pg_temp, public", "pg_catalog, public", "\"$user\", public"] {
        run(&mut client, &format!("SET search_path = {path}")).await;
        assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]], "{path}");
        let qualified =
            "SELECT count(DISTINCT public.t.n), count(DISTINCT u.user_id) FROM public.t, public.u";
        assert_eq!(run(&mut client, qualified).await.texts(), [[Some("2"), Some("1")]], "{path}");
    }
}

#[tokio::test]
async fn the_clients_settings_hold_on_every_shard() {
    let mut client = WORLD.raw("app").await;
    let sql = "SELECT string_agg(DISTINCT who, ','), count(*) FROM own";
    for (who, expected) in [("x", ["x", "3"]), ("y", ["y", "3"])] {
        run(&mut client, &format!("SET app.who = '{who}'")).await;
        assert_eq!(run(&mut client, sql).await.texts(), [expected.map(Some)]);
    }
    run(&mut client, "SET default_transaction_read_only = on").await;
    assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
    run(&mut client, "SET default_transaction_isolation = 'serializable'").await;
    assert_eq!(code(&client.query(DISTINCT).recv_until_ready().await), "0A000");
}

#[tokio::test]
async fn what_can_not_be_held_is_refused_and_the_session_goes_on() {
    let world = world("[routing]\ngather_max_bytes = '256KiB'");
    let mut client = world.raw("app").await;
    for shard in world.shards() {
        shard.sql("INSERT INTO t SELECT 5, g, repeat('x', 100) FROM generate_series(1, 4000) g");
    }
    for sql in ["SELECT count(DISTINCT v || n) FROM t", "SELECT v FROM t ORDER BY v || v"] {
        let reply = run(&mut client, sql).await;
        assert_eq!((code(&reply).as_str(), reply.status()), ("54000", 'I'), "{sql}");
        assert!(reply.error().unwrap().field('H').unwrap().contains("gather_max_bytes"));
        // These columns and these rows are few enough.
        assert_eq!(run(&mut client, "SELECT count(DISTINCT n) FROM t").await.texts(), [[Some("4000")]]);
        let few = "SELECT count(DISTINCT v) FROM t WHERE n < 9 AND v <> 'x'";
        assert_eq!(run(&mut client, few).await.texts(), [[Some("3")]]);
        run(&mut client, "BEGIN").await;
        assert_eq!(run(&mut client, sql).await.status(), 'E');
        run(&mut client, "ROLLBACK").await;
    }
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn the_clients_own_temporary_table_is_joined_where_it_is() {
    let mut client = WORLD.raw("app").await;
    run(&mut client, "CREATE TEMPORARY TABLE mine (n int)").await;
    run(&mut client, "INSERT INTO mine VALUES (2), (4)").await;
    for _ in 0..3 {
        let reply =
            run(&mut client, "SELECT count(*), count(t.n) FROM mine LEFT JOIN t ON t.n = mine.n").await;
        assert_eq!(reply.texts(), [[Some("4"), Some("3")]]);
        assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
    }
    assert_eq!(run(&mut client, "SELECT count(*) FROM mine").await.texts(), [[Some("2")]]);
    run(&mut client, "DROP TABLE mine").await;
}

/// Waits until some shard, or none, runs the slow statement.
async fn slow(world: &World, is: bool) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
               AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    for _ in 0..500 {
        if world.everywhere(sql).iter().any(|n| n != "0") == is {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the slow statement runs: {}", !is);
}

#[tokio::test]
async fn a_cancel_a_lost_server_and_a_client_that_leaves_are_survived() {
    let world = world("");
    let mut client = world.raw("app").await;
    for inside in [false, true] {
        if inside {
            run(&mut client, "BEGIN").await;
        }
        client.query(SLOW).send().await;
        slow(&world, true).await;
        RawClient::cancel(world.proxy().port(), client.cancel_key()).await;
        let reply = client.recv_until_ready().await;
        assert_eq!((code(&reply).as_str(), reply.status()), ("57014", if inside { 'E' } else { 'I' }));
        slow(&world, false).await;
    }
    run(&mut client, "ROLLBACK").await;
    assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
    client.query(SLOW).send().await;
    slow(&world, true).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
               AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    world.shards().for_each(|shard| drop(world.server(0).sql(shard.database(), end)));
    let reply = client.recv_until_ready().await;
    assert_eq!((said(&reply).is_err(), reply.status()), (true, 'I'));
    assert_eq!(run(&mut client, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
    client.query(SLOW).send().await;
    slow(&world, true).await;
    client.hang_up();
    slow(&world, false).await;
    assert_eq!(run(&mut world.raw("app").await, DISTINCT).await.texts(), [[Some("2"), Some("6")]]);
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn the_engine_is_a_primary_where_reads_go_to_replicas() {
    let world = World::builder().shards(2).replicas(1).schema("CREATE TABLE t (user_id int, n int)").start();
    let mut client = world.raw("app").await;
    for n in 0..20 {
        run(&mut client, &format!("INSERT INTO t VALUES ({n}, {n})")).await;
    }
    for _ in 0..5 {
        assert_eq!(run(&mut client, DISTINCT_OF_TWENTY).await.texts(), [[Some("20")]]);
    }
}

const DISTINCT_OF_TWENTY: &str = "SELECT count(DISTINCT n) FROM t";

#[tokio::test]
async fn the_tables_of_a_shard_are_seen_as_of_one_moment() {
    let schema = "CREATE TABLE a (user_id int, n int); CREATE TABLE b (user_id int, n int)";
    let world = World::builder().shards(3).schema(schema).start();
    let shard = world.shard(0);
    let mut client = world.raw("app").await;
    let sql = "SELECT count(*) FROM a FULL JOIN b ON a.n = b.n WHERE a.n IS NULL OR b.n IS NULL";
    // Each shard is the engine once, and brings rows to another twice.
    for n in 0..3 {
        let mut writer = shard.connect().await;
        let writes = writer.transaction().await.unwrap();
        writes.batch_execute("LOCK TABLE b").await.unwrap();
        client.query(sql).send().await;
        soon("it to wait for the second table", async || {
            let waits =
                shard.sql("SELECT count(*) FROM pg_locks WHERE relation = 'b'::regclass AND NOT granted");
            (waits == "1").then_some(())
        })
        .await;
        writes
            .batch_execute(&format!("INSERT INTO a VALUES (1, {n}); INSERT INTO b VALUES (1, {n})"))
            .await
            .unwrap();
        writes.commit().await.unwrap();
        assert_eq!(client.recv_until_ready().await.texts(), [[Some("0")]], "{n}");
    }
}
