//! The cache where it could be misled: tables that are written under another name, questions that only look alike, and
//! clients that mean harm.

use shardway_tests::{Param, SharedWorld, World};

use super::{hits, run};

const CONFIG: &str = "
[cache]
enabled = true
[[cache.rules]]
table = \"item\"
[[cache.rules]]
table = \"catalog\"
[[cache.rules]]
table = \"whole\"
[[cache.rules]]
table = \"part\"
[[cache.rules]]
table = \"heir\"
[[cache.rules]]
table = \"shown\"
[[cache.rules]]
table = \"priced\"
";

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
CREATE TABLE catalog (id text PRIMARY KEY, price numeric);
CREATE VIEW shown AS SELECT * FROM item;
CREATE VIEW priced AS SELECT * FROM catalog;
CREATE TABLE whole (user_id int, name text) PARTITION BY RANGE (user_id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (1000);
CREATE TABLE heir (extra int) INHERITS (catalog);
CREATE TABLE source (id text PRIMARY KEY, price numeric);
CREATE RULE along AS ON UPDATE TO source DO ALSO UPDATE catalog SET price = NEW.price WHERE id = NEW.id;
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE item SET name = NEW.name WHERE user_id = NEW.user_id; RETURN NEW; END $$;
CREATE FUNCTION put(text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN UPDATE item SET name = $1 WHERE user_id = 11; RETURN 1; END $$;
CREATE TRIGGER follow AFTER UPDATE ON part FOR EACH ROW EXECUTE FUNCTION follow();
";

static WORLD: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(2).schema(SCHEMA).config(CONFIG).start();
    world.server(0).sql("postgres", "CREATE ROLE other; GRANT other TO app").unwrap();
    world
});

/// A read that is answered from the cache, a write, and what the read must say then.
async fn sees(read: &str, write: &[&str], expected: &str) {
    let (mut writer, mut reader) = (WORLD.raw("app").await, WORLD.raw("app").await);
    let before = hits(WORLD.proxy());
    for _ in 0..3 {
        run(&mut reader, read).await;
    }
    assert!(hits(WORLD.proxy()) > before, "{read} is cached");
    for write in write {
        run(&mut writer, write).await;
    }
    let texts = run(&mut reader, read).await;
    assert_eq!(texts.texts(), [[Some(expected)]], "{read} after {write:?}");
}

/// A write that may touch anything keeps everything out of the cache for its time.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn a_write_under_another_name_is_seen() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut client = WORLD.raw("app").await;
    run(&mut client, "INSERT INTO item VALUES (1, 'a')").await;
    run(&mut client, "INSERT INTO whole VALUES (1, 'a')").await;
    for shard in WORLD.shards() {
        shard.sql("INSERT INTO catalog VALUES ('a', 1), ('b', 2); INSERT INTO source VALUES ('a', 1)");
        shard.sql("INSERT INTO heir VALUES ('h', 1, 1)");
    }
    let item = "SELECT name FROM item WHERE user_id = 1";
    let view = "UPDATE shown SET name = 'v' WHERE user_id = 1";
    sees(item, &[&format!("/* shard: 0 */ {view}"), &format!("/* shard: 1 */ {view}")], "v").await;
    let (whole, part) =
        ("SELECT name FROM whole WHERE user_id = 1", "SELECT name FROM part WHERE user_id = 1");
    sees(whole, &["UPDATE part SET name = 'v' WHERE user_id = 1"], "v").await;
    sees(part, &["UPDATE whole SET name = 'w' WHERE user_id = 1"], "w").await;
    sees(whole, &["DELETE FROM part WHERE user_id = 1; INSERT INTO whole VALUES (1, 'x')"], "x").await;
    // Members of a family have each other's triggers.
    sees(item, &["UPDATE whole SET name = 'by trigger' WHERE user_id = 1"], "by trigger").await;
    // A reference table is written shard by shard.
    for (read, write) in [
        ("SELECT price FROM catalog WHERE id = 'h'", "UPDATE heir SET price = 5 WHERE id = 'h'"),
        ("SELECT price FROM heir WHERE id = 'h'", "UPDATE catalog SET price = 5 + 0 WHERE id = 'h'"),
        ("SELECT price FROM catalog WHERE id = 'b'", "UPDATE priced SET price = 5 WHERE id = 'b'"),
        ("SELECT price FROM catalog WHERE id = 'a'", "UPDATE source SET price = 5 WHERE id = 'a'"),
    ] {
        let back = write.replace(" = 5", " = 1");
        let both = |sql: &str| [0, 1].map(|shard| format!("/* shard: {shard} */ {sql}"));
        for (sql, expected) in [(write, "5"), (&back, "1")] {
            let [first, second] = both(sql);
            sees(read, &[&first, &second], expected).await;
        }
    }
}

#[tokio::test]
async fn a_write_of_every_form_is_seen() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut client = WORLD.raw("app").await;
    run(&mut client, "INSERT INTO item VALUES (11, 'a')").await;
    run(&mut client, "INSERT INTO item VALUES (12, 'b')").await;
    let read = "SELECT name FROM item WHERE user_id = 11";
    let shard = WORLD.shards().position(|s| s.sql("SELECT 1 FROM item WHERE user_id = 11").trim() == "1");
    let shard = shard.expect("it is on one of them");
    let writes = [
        "PREPARE p AS UPDATE item SET name = 'w0' WHERE user_id = 11; EXECUTE p".to_owned(),
        "EXPLAIN ANALYZE UPDATE item SET name = 'w1' WHERE user_id = 11".to_owned(),
        "BEGIN; UPDATE item SET name = 'no' WHERE user_id = 11; SAVEPOINT a; \
         UPDATE item SET name = 'w2' WHERE user_id = 11; COMMIT"
            .to_owned(),
        "INSERT INTO item VALUES (11, 'x') ON CONFLICT (user_id) DO UPDATE SET name = 'w3'".to_owned(),
        "/* sharding_key: '11' */ UPDATE item SET name = 'w4'".to_owned(),
        "PREPARE q AS UPDATE item SET name = 'w5' WHERE user_id = $1; EXPLAIN ANALYZE EXECUTE q(11)"
            .to_owned(),
        "EXPLAIN (ANALYSE) UPDATE item SET name = 'w6' WHERE user_id = 11".to_owned(),
        format!("BEGIN; /* shard: {shard} */ DECLARE c CURSOR FOR SELECT put('w7'); FETCH c; COMMIT"),
        format!(
            "BEGIN; /* shard: {shard} */ DECLARE c CURSOR WITH HOLD FOR SELECT put('w8'); COMMIT; CLOSE c"
        ),
    ];
    for (n, write) in writes.iter().enumerate() {
        sees(read, &[write], &format!("w{n}")).await;
    }
    for (n, write) in [
        "WITH x AS (UPDATE item SET name = 'h0' WHERE user_id = 11 RETURNING *) SELECT * FROM x",
        "DO $$ BEGIN UPDATE item SET name = 'h1' WHERE user_id = 11; END $$",
        "MERGE INTO item USING (SELECT 11 AS k) s ON user_id = k WHEN MATCHED THEN UPDATE SET name = 'h2'",
        "UPDATE item SET name = 'h3'",
    ]
    .into_iter()
    .enumerate()
    {
        let both: Vec<String> = [0, 1].map(|shard| format!("/* shard: {shard} */ {write}")).into();
        sees(read, &[&both[0], &both[1]], &format!("h{n}")).await;
    }
}

#[tokio::test]
async fn a_role_is_shown_what_it_may_see() {
    let mut client = WORLD.raw("app").await;
    run(&mut client, "INSERT INTO item VALUES (21, 'secret')").await;
    let read = "SELECT name FROM item WHERE user_id = 21";
    for _ in 0..3 {
        run(&mut client, read).await;
    }
    run(&mut client, "SET ROLE other").await;
    let reply = client.query(read).recv_until_ready().await;
    assert_eq!(reply.error().and_then(|e| e.field('C')).as_deref(), Some("42501"), "{}", reply.tags());
    run(&mut client, "RESET ROLE").await;
    assert_eq!(run(&mut client, read).await.texts(), [[Some("secret")]]);
    run(&mut client, "SET SESSION AUTHORIZATION app").await;
    assert_eq!(run(&mut client, read).await.texts(), [[Some("secret")]]);
}

const BY_NUMBER: &str = "SELECT name FROM item WHERE user_id = $1";

#[tokio::test]
async fn messages_in_another_order_are_answered_in_that_order() {
    let (mut odd, mut plain) = (WORLD.raw("app").await, WORLD.raw("app").await);
    run(&mut odd, "INSERT INTO item VALUES (31, 'x')").await;
    for client in [&mut odd, &mut plain] {
        client.parse("", BY_NUMBER, &[23]).sync().recv_until_ready().await;
    }
    for _ in 0..3 {
        let reply = odd
            .bind("", "", &[Param::Text("31")], &[])
            .execute("", 0)
            .describe_portal("")
            .sync()
            .recv_until_ready()
            .await;
        assert_eq!(reply.tags(), "2DCTZ");
        let reply = plain
            .bind("", "", &[Param::Text("31")], &[])
            .describe_portal("")
            .execute("", 0)
            .sync()
            .recv_until_ready()
            .await;
        assert_eq!(reply.tags(), "2TDCZ");
    }
}

#[tokio::test]
async fn messages_that_fail_do_so_where_others_are_answered_from_the_cache() {
    let mut client = WORLD.raw("app").await;
    run(&mut client, "INSERT INTO item VALUES (41, 'x')").await;
    client.parse("s", BY_NUMBER, &[23]).sync().recv_until_ready().await;
    for _ in 0..3 {
        let reply =
            client.bind("", "s", &[Param::Text("41")], &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(reply.tags(), "2DCZ");
    }
    let reply =
        client.bind("p", "s", &[Param::Text("41")], &[]).execute("q", 0).sync().recv_until_ready().await;
    assert_eq!(reply.error().and_then(|e| e.field('C')).as_deref(), Some("34000"), "{}", reply.tags());
    // A statement that is parsed beside the one that is bound.
    for _ in 0..3 {
        let reply = client
            .parse("", BY_NUMBER, &[23])
            .bind("", "", &[Param::Text("41")], &[])
            .execute("", 0)
            .sync()
            .recv_until_ready()
            .await;
        assert_eq!(reply.tags(), "12DCZ");
    }
    let reply = client
        .parse("t", "SELECT nosuch FROM item WHERE user_id = $1", &[23])
        .bind("", "s", &[Param::Text("41")], &[])
        .execute("", 0)
        .sync()
        .recv_until_ready()
        .await;
    assert_eq!(reply.error().and_then(|e| e.field('C')).as_deref(), Some("42703"), "{}", reply.tags());
    // More types than parameters.
    client.parse("three", BY_NUMBER, &[23, 23, 23]).sync().recv_until_ready().await;
    let reply =
        client.bind("", "three", &[Param::Text("41")], &[]).execute("", 0).sync().recv_until_ready().await;
    assert_eq!(reply.error().and_then(|e| e.field('C')).as_deref(), Some("08P01"), "{}", reply.tags());
}

/// Two databases of the proxy's over the same databases of the server's.
#[tokio::test]
async fn a_write_through_another_database_of_the_same_servers_is_seen() {
    for shards in [1, 2] {
        let world = World::builder()
            .shards(shards)
            .schema(SCHEMA)
            .config(CONFIG)
            .edit_config(|table| {
                let databases = table["databases"].as_array_mut().expect("there are databases");
                let mut second = databases[0].clone();
                second["name"] = "alias".into();
                databases.push(second);
            })
            .start();
        let (reader, writer) = (world.connect("app").await, world.proxy().connect_to("app", "alias").await);
        reader.batch_execute("INSERT INTO item VALUES (51, 'old')").await.unwrap();
        for version in ["1", "2", "3"] {
            for _ in 0..3 {
                reader.simple_query("SELECT name FROM item WHERE user_id = 51").await.unwrap();
            }
            let write = format!("UPDATE item SET name = '{version}' WHERE user_id = 51");
            writer.batch_execute(&write).await.unwrap();
            let row = reader.query_one("SELECT name FROM item WHERE user_id = 51", &[]).await.unwrap();
            assert_eq!(row.get::<_, &str>(0), version);
        }
    }
}
