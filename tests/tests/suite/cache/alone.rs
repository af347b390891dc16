//! The cache in front of one server alone, where no key is looked for: lookups are kept by table, and every write that may
//! have changed one is seen.

use shardway_tests::{SharedWorld, World};

use super::run;

const CONFIG: &str = "
[cache]
enabled = true
[[cache.rules]]
table = \"item\"
[[cache.rules]]
table = \"catalog\"
[[cache.rules]]
table = \"heir\"
[[cache.rules]]
table = \"shown\"
";

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
CREATE TABLE catalog (id text PRIMARY KEY, price numeric);
CREATE VIEW shown AS SELECT * FROM item;
CREATE TABLE source (id int PRIMARY KEY, name text);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE heir (extra int) INHERITS (catalog);
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE item SET name = NEW.name WHERE user_id = 1; RETURN NEW; END $$;
CREATE TRIGGER follow AFTER UPDATE ON source FOR EACH ROW EXECUTE FUNCTION follow();
CREATE FUNCTION put(text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN UPDATE item SET name = $1 WHERE user_id = 1; RETURN 1; END $$;
CREATE TABLE putting (id serial, n int DEFAULT put('by default'));
CREATE TABLE plain (id int PRIMARY KEY, n int);
INSERT INTO item VALUES (1, 'a'), (2, 'b');
INSERT INTO catalog VALUES ('a', 1);
INSERT INTO heir VALUES ('h', 1, 1);
INSERT INTO source VALUES (1, 'a');
INSERT INTO plain VALUES (1, 1);
";

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).config(CONFIG).start());

/// Tests that count hits must not run side by side.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Answers from the cache so far.
fn hits() -> u64 {
    super::hits(WORLD.proxy())
}

const READ: &str = "SELECT name FROM item WHERE user_id = 1";

/// A read that is answered from the cache, a write, and what the read must say then.
async fn sees(read: &str, write: &str, expected: &str) {
    let (mut writer, mut reader) = (WORLD.raw("app").await, WORLD.raw("app").await);
    let before = hits();
    for _ in 0..3 {
        run(&mut reader, read).await;
    }
    assert!(hits() > before, "{read} is cached");
    run(&mut writer, write).await;
    assert_eq!(run(&mut reader, read).await.texts(), [[Some(expected)]], "{read} after {write}");
}

#[tokio::test]
async fn lookups_are_answered_from_the_cache_by_any_column_and_in_both_protocols() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut client = WORLD.raw("app").await;
    for sql in [
        READ,
        "SELECT * FROM item WHERE name = 'b'",
        "SELECT price FROM catalog WHERE id = 'a'",
        "SELECT user_id FROM item WHERE user_id = 2 AND name = 'b' ORDER BY user_id",
    ] {
        let first = run(&mut client, sql).await;
        let before = hits();
        assert_eq!(run(&mut client, sql).await, first, "{sql}");
        assert_eq!(hits(), before + 1, "{sql}");
    }
    client.parse("s", "SELECT name FROM item WHERE user_id = $1", &[23]).sync().recv_until_ready().await;
    let mut execute = async || {
        let param = shardway_tests::Param::Text("2");
        client.bind("", "s", &[param], &[]).execute("", 0).sync().recv_until_ready().await
    };
    let first = execute().await;
    let before = hits();
    assert_eq!(execute().await, first);
    assert_eq!(hits(), before + 1);
    let admin = WORLD.admin().await;
    let route = crate::operation::support::show(&admin, &format!("ROUTE '{READ}'")).await;
    assert_eq!(route[0]["cached"], "yes", "{route:?}");
}

#[tokio::test]
async fn a_write_by_whatever_way_is_seen_by_the_next_read() {
    let _alone = ONE_AT_A_TIME.lock().await;
    for (n, write) in [
        "UPDATE item SET name = 'w0' WHERE user_id = 1",
        "UPDATE item SET name = 'w1'",
        "INSERT INTO item VALUES (1, 'x') ON CONFLICT (user_id) DO UPDATE SET name = 'w2'",
        "DELETE FROM item WHERE user_id = 1; INSERT INTO item VALUES (1, 'w3')",
        "BEGIN; UPDATE item SET name = 'no' WHERE user_id = 1; UPDATE item SET name = 'w4' WHERE user_id = 1; COMMIT",
        "WITH x AS (UPDATE item SET name = 'w5' WHERE user_id = 1 RETURNING *) SELECT * FROM x",
        "WITH x AS (UPDATE item SET name = 'w6' WHERE user_id = 1 RETURNING *) UPDATE plain SET n = 1 FROM x",
        "WITH x AS (UPDATE item SET name = 'w7' WHERE user_id = 1 RETURNING *) INSERT INTO plain SELECT 70, 1 FROM x",
        "MERGE INTO item USING (SELECT 1 AS k) s ON user_id = k WHEN MATCHED THEN UPDATE SET name = 'w8'",
        "UPDATE shown SET name = 'w9' WHERE user_id = 1",
        "UPDATE source SET name = 'w10'",
        "SELECT put('w11')",
        "INSERT INTO plain VALUES (200, put('w12'))",
        "UPDATE plain SET n = put('w13') WHERE id = 1",
        "SELECT n FROM plain WHERE put('w14') = 1 AND id = 1",
        "DO $$ BEGIN UPDATE item SET name = 'w15' WHERE user_id = 1; END $$",
        "PREPARE p AS UPDATE item SET name = 'w16' WHERE user_id = 1; EXECUTE p; DEALLOCATE p",
        "EXPLAIN ANALYZE UPDATE item SET name = 'w17' WHERE user_id = 1",
        "BEGIN; DECLARE c CURSOR FOR SELECT put('w18'); FETCH c; COMMIT",
        "CREATE TABLE made AS SELECT put('w19'); DROP TABLE made",
        "UPDATE ONLY item SET name = 'w20' WHERE user_id = 1",
        "TRUNCATE item; INSERT INTO item VALUES (1, 'w21'), (2, 'b')",
    ]
    .into_iter()
    .enumerate()
    {
        sees(READ, write, &format!("w{n}")).await;
    }
    sees(READ, "INSERT INTO putting (id) VALUES (1)", "by default").await;
    // Of a family, by another member.
    sees("SELECT price FROM catalog WHERE id = 'h'", "UPDATE heir SET price = 5 WHERE id = 'h'", "5").await;
    sees(
        "SELECT price FROM heir WHERE id = 'h'",
        "SELECT 1; UPDATE catalog SET price = 6 WHERE id = 'h'",
        "6",
    )
    .await
}

#[tokio::test]
async fn a_copy_is_seen_and_so_is_a_trigger_that_is_new() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (mut writer, mut reader) = (WORLD.raw("app").await, WORLD.raw("app").await);
    let read = "SELECT name FROM item WHERE user_id = 300";
    for _ in 0..3 {
        assert_eq!(run(&mut reader, read).await.rows().len(), 0);
    }
    writer.query("COPY item FROM STDIN").recv_until(b'G').await;
    writer.copy_data(b"300\tcopied\n").copy_done().recv_until_ready().await;
    assert_eq!(run(&mut reader, read).await.texts(), [[Some("copied")]]);
    run(
        &mut writer,
        "CREATE FUNCTION anew() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN UPDATE item SET name = 'by trigger' WHERE user_id = 300; RETURN NEW; END $$;
         CREATE TRIGGER anew AFTER UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION anew();
         INSERT INTO parent VALUES (1)",
    )
    .await;
    for _ in 0..3 {
        run(&mut reader, read).await;
    }
    run(&mut writer, "UPDATE parent SET id = 2").await;
    assert_eq!(run(&mut reader, read).await.texts(), [[Some("by trigger")]]);
}

#[tokio::test]
async fn what_is_not_a_plain_lookup_of_a_table_is_asked_each_time() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let mut client = WORLD.raw("app").await;
    for sql in [
        "SELECT name FROM shown WHERE user_id = 2",
        "SELECT n FROM plain WHERE id = 1",
        "SELECT name FROM item WHERE user_id = 2 FOR UPDATE",
        "SELECT count(*) FROM item WHERE user_id = 2",
        "SELECT name FROM item WHERE user_id = 2 AND random() < 2",
        "SELECT name FROM item i WHERE user_id = (SELECT 2)",
    ] {
        let before = hits();
        for _ in 0..3 {
            run(&mut client, sql).await;
        }
        assert_eq!(hits(), before, "{sql}");
    }
    run(&mut client, "CREATE TEMP TABLE item (user_id int, name text)").await;
    let before = hits();
    for _ in 0..3 {
        assert_eq!(run(&mut client, "SELECT name FROM item WHERE user_id = 2").await.rows().len(), 0);
    }
    assert_eq!(hits(), before, "it is another table");
}
