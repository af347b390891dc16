//! What goes wrong on one shard while all of them are asked: the client is told, and nothing is left behind.

use std::time::Duration;

use shardway_tests::{RawClient, SharedWorld, World};

use super::world::said;

static WORLD: SharedWorld = SharedWorld::new(|| world(""));

fn world(config: &str) -> World {
    let world = World::builder()
        .shards(3)
        .schema(
            "CREATE TABLE t (user_id int, n int, v varchar(10) COLLATE \"C\");
             CREATE AGGREGATE count(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
             CREATE AGGREGATE sum(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
             CREATE AGGREGATE max(varchar) (SFUNC = textcat, STYPE = text, INITCOND = '');",
        )
        .config(config)
        .start();
    // Two rows on each, wherever their key belongs.
    world.shards().for_each(|shard| drop(shard.sql("INSERT INTO t VALUES (1, 2, 'a'), (2, 3, 'b')")));
    world
}

const ALL: &str = "SELECT count(*), sum(n) FROM t";
const SLOW: &str = "SELECT count(*), sum(n) FROM t WHERE pg_sleep(600) IS NOT NULL";

async fn is_well(client: &mut RawClient) {
    let reply = client.query(ALL).recv_until_ready().await;
    assert_eq!(reply.texts(), [[Some("6"), Some("15")]]);
}

/// Waits until all three shards, or none, run the slow statement. It is run elsewhere in the world by nobody else.
async fn slow_on(world: &World, count: usize) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
               AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    for _ in 0..500 {
        if world.everywhere(sql).iter().filter(|n| *n != "0").count() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {count} shards run the slow statement");
}

#[tokio::test]
async fn a_cancel_a_lost_server_and_a_client_that_leaves_are_survived() {
    let world = world("");
    let mut client = world.raw("app").await;
    for way in ["simple", "extended"] {
        match way {
            "simple" => client.query(SLOW),
            _ => client.parse("", SLOW, &[]).bind("", "", &[], &[]).execute("", 0).sync(),
        };
        client.send().await;
        slow_on(&world, 3).await;
        RawClient::cancel(world.proxy().port(), client.cancel_key()).await;
        let reply = client.recv_until_ready().await;
        assert_eq!((said(&reply).unwrap_err().0.as_str(), reply.status()), ("57014", 'I'), "{way}");
        slow_on(&world, 0).await;
        is_well(&mut client).await;
    }
    client.query(SLOW).send().await;
    slow_on(&world, 3).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
               AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    // The others are not waited for.
    world.server(0).sql(world.shard(1).database(), end).unwrap();
    let reply = client.recv_until_ready().await;
    assert_eq!(reply.status(), 'I');
    assert!(said(&reply).is_err(), "{reply:?}");
    slow_on(&world, 0).await;
    is_well(&mut client).await;
    client.query(SLOW).send().await;
    slow_on(&world, 3).await;
    client.hang_up();
    slow_on(&world, 0).await;
    is_well(&mut world.raw("app").await).await;
}

#[tokio::test]
async fn a_query_timeout_ends_it_on_every_shard() {
    let world = world("[pool]\nquery_timeout = '2s'");
    let mut client = world.raw("app").await;
    for sql in [SLOW, "SELECT n FROM t WHERE pg_sleep(600) IS NOT NULL"] {
        let reply = client.query(sql).expect_closed().await;
        assert_eq!(said(&reply).unwrap_err().0, "57014", "{reply:?}");
        slow_on(&world, 0).await;
        client = world.raw("app").await;
    }
    is_well(&mut client).await;
}

#[tokio::test]
async fn aggregates_that_may_be_a_users_own_are_left_to_postgres() {
    let mut client = WORLD.raw("app").await;
    for (sql, expected) in [
        ("SELECT count(n) FROM t", "15"),
        ("SELECT max(v) FROM t", "ababab"),
        ("SELECT sum(n + 1) FROM t", "21"),
    ] {
        let reply = client.query(sql).recv_until_ready().await;
        assert_eq!(reply.texts(), [[Some(expected)]], "{sql}");
    }
    // With pg_catalog behind it, a schema may have a count(*) of its own.
    client.query("SET search_path = public, pg_catalog").recv_until_ready().await;
    let reply = client.query("SELECT count(*) FROM t").recv_until_ready().await;
    assert_eq!(reply.texts(), [[Some("6")]]);
    client.query("RESET search_path").recv_until_ready().await;
    // Of these Postgres has one for exactly this type.
    let reply =
        client.query("SELECT sum(n), max(n), min(v), avg(n), count(*) FROM t").recv_until_ready().await;
    let expected = [Some("15"), Some("3"), Some("a"), Some("2.5000000000000000"), Some("6")];
    assert_eq!(reply.texts(), [expected]);
}
