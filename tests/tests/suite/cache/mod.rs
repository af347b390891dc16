//! The cache through the real proxy: what it serves, and that it never serves what a write has made old.

mod alone;
mod edges;

use shardway_tests::{Proxy, RawClient, Reply, SharedWorld, World, eventually};

const CONFIG: &str = "
[cache]
enabled = true
[[cache.rules]]
table = \"item\"
[[cache.rules]]
table = \"catalog\"
";

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text, seen timestamptz);
CREATE TABLE other (user_id int PRIMARY KEY, name text);
CREATE TABLE catalog (id text PRIMARY KEY, price numeric);
CREATE TABLE parent (user_id int PRIMARY KEY);
INSERT INTO catalog VALUES ('a', 1), ('b', 2);
";

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(4).servers(2).replicas(1).schema(SCHEMA).config(CONFIG).start()
});

/// Answers from the cache so far.
fn hits(proxy: &Proxy) -> u64 {
    proxy.metric("shardway_queries_total{tier=\"cached\"}")
}

/// A statement that goes well.
async fn run(client: &mut RawClient, sql: &str) -> Reply {
    let reply = client.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {:?}", reply.error());
    reply
}

/// Runs a query twice; gives its answer, and whether the second run was a hit.
async fn twice(world: &World, client: &tokio_postgres::Client, sql: &str) -> (Vec<String>, bool) {
    let before = hits(world.proxy());
    let first = texts(client, sql).await;
    let second = texts(client, sql).await;
    assert_eq!(first, second, "{sql}");
    (second, hits(world.proxy()) > before)
}

async fn texts(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.expect(sql);
    messages
        .iter()
        .filter_map(|m| match m {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        })
        .collect()
}

/// Tests that count hits must not run side by side.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_lookup_by_key_is_answered_from_the_cache_the_second_time() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let client = WORLD.connect("app").await;
    client.batch_execute("INSERT INTO item VALUES (1, 'one')").await.unwrap();
    let (rows, hit) = twice(&WORLD, &client, "SELECT user_id, name FROM item WHERE user_id = 1").await;
    assert_eq!((rows, hit), (vec!["1|one".to_owned()], true));
    let (rows, hit) = twice(&WORLD, &client, "SELECT price FROM catalog WHERE id = 'a'").await;
    assert_eq!((rows, hit), (vec!["1".to_owned()], true));
}

#[tokio::test]
async fn the_extended_protocol_is_answered_from_the_cache_too_frame_by_frame() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let client = WORLD.connect("app").await;
    client.batch_execute("INSERT INTO item VALUES (2, 'two')").await.unwrap();
    let statement = client.prepare("SELECT name FROM item WHERE user_id = $1").await.unwrap();
    let read = async || client.query_one(&statement, &[&2i32]).await.unwrap().get::<_, String>(0);
    assert_eq!(read().await, "two");
    let before = hits(WORLD.proxy());
    assert_eq!(read().await, "two");
    assert_eq!(hits(WORLD.proxy()), before + 1);
    let other = client.query_opt(&statement, &[&222i32]).await.unwrap();
    assert!(other.is_none(), "another parameter is another question");
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_of_every_session() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (writer, reader) = (WORLD.connect("app").await, WORLD.connect("app").await);
    writer.batch_execute("INSERT INTO item VALUES (3, 'v0')").await.unwrap();
    let sql = "SELECT name FROM item WHERE user_id = 3";
    for version in 1..50 {
        texts(&reader, sql).await;
        let update = format!("UPDATE item SET name = 'v{version}' WHERE user_id = 3");
        if version % 2 == 0 {
            writer.batch_execute(&update).await.unwrap();
        } else {
            writer.execute(&update, &[]).await.unwrap();
        }
        assert_eq!(texts(&reader, sql).await, [format!("v{version}")]);
    }
}

#[tokio::test]
async fn what_a_transaction_writes_is_not_seen_before_it_commits_and_always_after() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (writer, reader) = (WORLD.connect("app").await, WORLD.connect("app").await);
    writer.batch_execute("INSERT INTO item VALUES (4, 'before')").await.unwrap();
    let sql = "SELECT name FROM item WHERE user_id = 4";
    assert_eq!(texts(&reader, sql).await, ["before"]);
    writer.batch_execute("BEGIN; UPDATE item SET name = 'after' WHERE user_id = 4").await.unwrap();
    assert_eq!(texts(&reader, sql).await, ["before"]);
    assert_eq!(texts(&writer, sql).await, ["after"]);
    writer.batch_execute("COMMIT").await.unwrap();
    assert_eq!(texts(&reader, sql).await, ["after"]);
    let (_, hit) = twice(&WORLD, &reader, sql).await;
    assert!(hit, "once the write is over, lookups are cached again");
}

#[tokio::test]
async fn a_write_on_several_shards_is_seen_by_the_next_read_of_every_session() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let world = &*WORLD;
    let (writer, reader) = (world.connect("app").await, world.connect("app").await);
    writer
        .batch_execute("INSERT INTO item VALUES (101, 'a'), (102, 'a'), (103, 'a'), (104, 'a')")
        .await
        .unwrap();
    let item = |user: i32| format!("SELECT name FROM item WHERE user_id = {user}");
    let price = "SELECT price FROM catalog WHERE id = 'b'";
    for (round, name) in ["b", "c"].into_iter().enumerate() {
        for user in 101..105 {
            assert!(twice(world, &reader, &item(user)).await.1, "kept");
        }
        let before = twice(world, &reader, price).await.0;
        writer.batch_execute("BEGIN").await.unwrap();
        let sql = format!("UPDATE item SET name = '{name}' WHERE user_id IN (101, 102, 103, 104)");
        writer.batch_execute(&sql).await.unwrap();
        writer.batch_execute("UPDATE catalog SET price = price + 1 WHERE id = 'b'").await.unwrap();
        assert_eq!(texts(&reader, price).await, before, "not committed");
        writer.batch_execute("COMMIT").await.unwrap();
        for user in 101..105 {
            assert_eq!(texts(&reader, &item(user)).await, [name]);
        }
        assert_eq!(texts(&reader, price).await, [(3 + round).to_string()]);
    }
    writer.batch_execute("DELETE FROM item WHERE name = 'c'").await.unwrap();
    for user in 101..105 {
        assert_eq!(texts(&reader, &item(user)).await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_in_a_transaction_leaves_the_cache_usable() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let reader = WORLD.connect("app").await;
    {
        let mut writer = WORLD.raw("app").await;
        writer.query("INSERT INTO item VALUES (5, 'kept')").recv_until_ready().await;
        writer.query("BEGIN").recv_until_ready().await;
        writer.query("UPDATE item SET name = 'lost' WHERE user_id = 5").recv_until_ready().await;
        writer.hang_up();
    }
    let sql = "SELECT name FROM item WHERE user_id = 5";
    let before = hits(WORLD.proxy());
    tokio::task::block_in_place(|| {
        eventually("the lookup is cached again", || {
            let rows = tokio::runtime::Handle::current().block_on(texts(&reader, sql));
            assert_eq!(rows, ["kept"]);
            (hits(WORLD.proxy()) > before).then_some(())
        });
    });
}

#[tokio::test]
async fn what_is_not_proven_safe_is_not_cached() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let client = WORLD.connect("app").await;
    client.batch_execute("INSERT INTO item VALUES (6, 'six', now())").await.unwrap();
    client.batch_execute("INSERT INTO other VALUES (6, 'six')").await.unwrap();
    for sql in [
        "SELECT name FROM other WHERE user_id = 6",
        "SELECT name FROM item WHERE user_id = 6 AND seen < now()",
        "SELECT name FROM item WHERE user_id = 6 AND seen < 'tomorrow'",
        "SELECT name FROM item WHERE user_id = 6 FOR UPDATE",
        "SELECT count(*) FROM item WHERE user_id = 6",
        "SELECT name FROM item WHERE user_id = 6 AND random() < 2",
    ] {
        let (_, hit) = twice(&WORLD, &client, sql).await;
        assert!(!hit, "{sql}");
    }
    client.batch_execute("BEGIN").await.unwrap();
    let (_, hit) = twice(&WORLD, &client, "SELECT name FROM item WHERE user_id = 6").await;
    assert!(!hit, "in a transaction, nothing is cached");
    client.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn answers_are_kept_apart_by_what_can_change_them() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let client = WORLD.connect("app").await;
    client.batch_execute("INSERT INTO item VALUES (7, 'seven', '2026-01-02 03:04:05+00')").await.unwrap();
    let sql = "SELECT seen FROM item WHERE user_id = 7";
    client.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
    assert_eq!(texts(&client, sql).await, ["2026-01-02 03:04:05+00"]);
    client.batch_execute("SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    assert_eq!(texts(&client, sql).await, ["2026-01-02 12:04:05+09"]);
    client.batch_execute("SET TimeZone = 'UTC'").await.unwrap();
    assert_eq!(texts(&client, sql).await, ["2026-01-02 03:04:05+00"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_share_what_redis_holds_and_hear_of_each_others_writes() {
    let world = World::builder().shards(2).schema(SCHEMA).redis().config(CONFIG).start();
    let second = world.another_proxy();
    let (one, two) = (world.connect("app").await, second.connect("app").await);
    one.batch_execute("INSERT INTO item VALUES (8, 'old')").await.unwrap();
    let sql = "SELECT name FROM item WHERE user_id = 8";
    eventually("both proxies answer from their caches", || {
        let run = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            run.block_on(async { (texts(&one, sql).await, texts(&two, sql).await) });
            (hits(&second) > 0).then_some(())
        })
    });
    one.batch_execute("UPDATE item SET name = 'new' WHERE user_id = 8").await.unwrap();
    assert_eq!(texts(&one, sql).await, ["new"], "the proxy that wrote never answers with the past");
    eventually("the other proxy hears of it", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(texts(&two, sql)) == ["new"]
        })
        .then_some(())
    });
    world.redis().kill().unwrap();
    assert_eq!(texts(&one, sql).await, ["new"], "without Redis, Postgres carries on");
    one.batch_execute("UPDATE item SET name = 'newest' WHERE user_id = 8").await.unwrap();
    assert_eq!(texts(&one, sql).await, ["newest"]);
}
