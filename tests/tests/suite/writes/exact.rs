//! Values that one shard works out and others are told, strings that are read from the clock, and locks on the way.

use shardway_tests::{Param, RawClient, SharedWorld, World};

use super::pair::copies_are_the_same;
use super::{ask, code};
use crate::operation::support::soon;

const SCHEMA: &str = "
CREATE TABLE ev (user_id int PRIMARY KEY, at timestamptz, f float8);
CREATE TABLE noted (user_id int PRIMARY KEY, note text);
CREATE TABLE late (user_id int PRIMARY KEY, day text DEFAULT ('now'::text)::timestamptz::text);
CREATE TABLE at_ref (id int PRIMARY KEY, at timestamptz, f float8);
CREATE TABLE rn (id int PRIMARY KEY, v text);
CREATE TABLE spans (id int PRIMARY KEY, during tstzrange);
CREATE TABLE tally (id int PRIMARY KEY, n int);
CREATE TABLE turned (user_id int, id int);
";

static EXACT_WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(3).servers(2).schema(SCHEMA).start());

async fn done(raw: &mut RawClient, sql: &str) {
    let reply = ask(raw, sql).await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
}

async fn refused(raw: &mut RawClient, sql: &str) -> String {
    let reply = ask(raw, sql).await;
    assert_eq!(code(&reply), "0A000", "{sql}: {reply:?}");
    reply.error().and_then(|error| error.field('M')).unwrap_or_default()
}

#[tokio::test]
async fn rows_travel_only_in_a_style_of_dates_that_says_all() {
    let world = &*EXACT_WORLD;
    let mut raw = world.raw("app").await;
    done(&mut raw, "INSERT INTO ev VALUES (1, '2026-01-01 12:00+00', 0.1)").await;
    done(&mut raw, "INSERT INTO at_ref VALUES (1, '2026-01-01 12:00+00', 0.1)").await;
    done(&mut raw, "SET timezone = 'Asia/Kolkata'").await;
    done(&mut raw, "SET datestyle = 'SQL, DMY'").await;
    for sql in [
        "UPDATE ev SET user_id = 3 WHERE user_id = 1",
        "UPDATE at_ref SET f = random()",
        "INSERT INTO at_ref SELECT user_id + 100, at, f FROM ev",
        "INSERT INTO ev SELECT id + 100, at, f FROM at_ref",
    ] {
        let message = refused(&mut raw, sql).await;
        assert!(message.ends_with("which takes DateStyle ISO"), "{sql}: {message}");
    }
    done(&mut raw, "SET datestyle = 'ISO, DMY'").await;
    done(&mut raw, "UPDATE ev SET user_id = 3 WHERE user_id = 1").await;
    done(&mut raw, "UPDATE at_ref SET at = at + random() * interval '0'").await;
    done(&mut raw, "SET datestyle = 'SQL, DMY'").await;
    // What each shard does for itself is no matter of styles.
    done(&mut raw, "UPDATE at_ref SET f = 2, at = at").await;
    done(&mut raw, "UPDATE ev SET f = 2").await;
    let right = "SELECT count(*) FROM ev WHERE at = '2026-01-01 12:00+00' AND user_id = 3";
    assert_eq!(world.everywhere(right).iter().filter(|count| *count == "1").count(), 1);
    let right = "SELECT count(*) FROM at_ref WHERE at = '2026-01-01 12:00+00'";
    assert_eq!(world.everywhere(right), ["1"; 3]);
}

#[tokio::test]
async fn digits_that_a_server_leaves_out_are_not_lost_in_silence() {
    let world = World::builder().shards(3).schema(SCHEMA).setting("extra_float_digits", 0).start();
    let mut raw = world.raw("app").await;
    done(&mut raw, "INSERT INTO ev VALUES (1, NULL, 0.1::float8 + 0.2)").await;
    done(&mut raw, "INSERT INTO at_ref VALUES (1, NULL, 0.1::float8 + 0.2)").await;
    let writes = [
        "UPDATE ev SET user_id = user_id + 2",
        "UPDATE at_ref SET f = f + random() * 0",
        "INSERT INTO at_ref SELECT user_id + 100, at, f FROM ev",
    ];
    for sql in writes {
        let message = refused(&mut raw, sql).await;
        assert!(message.ends_with("which takes extra_float_digits of 1 or more"), "{sql}: {message}");
    }
    done(&mut raw, "BEGIN").await;
    done(&mut raw, "SET LOCAL extra_float_digits = 1").await;
    for sql in writes {
        done(&mut raw, sql).await;
    }
    done(&mut raw, "COMMIT").await;
    for (table, most) in [("ev", "0"), ("at_ref", "0")] {
        let rounded = format!("SELECT count(*) FROM {table} WHERE f <> 0.1::float8 + 0.2");
        assert_eq!(world.everywhere(&rounded), [most; 3], "{table}");
    }
    assert_eq!(world.everywhere("SELECT count(*) FROM at_ref"), ["2"; 3]);
}

#[tokio::test]
async fn strings_that_are_read_from_the_clock_are_found_wherever_they_are_cast() {
    let world = &*EXACT_WORLD;
    let mut raw = world.raw("app").await;
    for sql in [
        "INSERT INTO rn VALUES (1, 'now'::timestamptz::text), (2, timestamp 'now'::text)",
        "INSERT INTO rn VALUES (3, CAST('12:00 today' AS timestamp)::text)",
        "INSERT INTO rn VALUES (3, E'n\\x6fw'::timestamptz::text)",
        "INSERT INTO rn VALUES (3, ('now'::text)::date::text)",
        "INSERT INTO rn VALUES (3, date_trunc('day', 'tomorrow')::text)",
        "INSERT INTO rn VALUES (3, (now() - 'yesterday')::text)",
        "UPDATE rn SET v = 'now'::timestamptz::text WHERE id = 1",
        "INSERT INTO noted (user_id, note) VALUES (1, 'now'::timestamptz::text), (2, 'now'::timestamptz::text), (3, 'x')",
        "UPDATE noted SET note = ('{now}'::timestamptz[])::text",
        "INSERT INTO spans VALUES (1, '[2024-01-01,now)')",
        "INSERT INTO late (user_id) VALUES (1), (2), (3)",
    ] {
        refused(&mut raw, sql).await;
    }
    // Text is text.
    done(&mut raw, "INSERT INTO rn VALUES (1, 'now'), (2, 'today')").await;
    done(&mut raw, "INSERT INTO rn VALUES (3, '2024-01-01'::date::text)").await;
    done(&mut raw, "INSERT INTO noted (user_id, note) VALUES (1, 'now'), (2, 'tomorrow'), (3, 'x')").await;
    done(&mut raw, "INSERT INTO spans VALUES (2, '[2024-01-01,2024-02-01)')").await;
    // What a row holds, or what is put together, the first shard reads for all.
    done(&mut raw, "UPDATE rn SET v = v::timestamptz::text").await;
    done(&mut raw, "INSERT INTO rn VALUES (4, ('no' || 'w')::timestamptz::text)").await;
    copies_are_the_same(world, "rn");
    let cast = "UPDATE rn SET v = $1::timestamptz::text WHERE id = 1";
    for (sql, types, value, expected) in [
        (cast, &[][..], "now", "0A000"),
        (cast, &[], "2024-01-01", ""),
        ("UPDATE rn SET v = $1::text WHERE id = 1", &[1184], "now", "0A000"),
        ("UPDATE rn SET v = $1 WHERE id = 1", &[], "now", ""),
        ("UPDATE rn SET v = $1::text::timestamptz::text WHERE id = 1", &[25], "now", "0A000"),
    ] {
        for param in [Param::Text(value), Param::Binary(value.as_bytes())] {
            if matches!(param, Param::Binary(_)) && types != [25] {
                continue;
            }
            raw.parse("", sql, types).bind("", "", &[param], &[]).execute("", 0).sync();
            let reply = raw.recv_until_ready().await;
            assert_eq!(code(&reply), expected, "{sql} with {value}: {reply:?}");
        }
    }
    copies_are_the_same(world, "rn");
}

#[tokio::test]
async fn who_has_locked_a_row_of_a_reference_table_may_write_it_though_another_waits_for_it() {
    let world = &*EXACT_WORLD;
    let mut first = world.raw("app").await;
    let mut second = world.raw("app").await;
    done(&mut first, "INSERT INTO tally VALUES (1, 0)").await;
    let lock = "SELECT n FROM tally WHERE id = 1 FOR UPDATE";
    for extended in [false, true] {
        done(&mut first, "BEGIN").await;
        if extended {
            first.parse("", lock, &[]).bind("", "", &[], &[]).execute("", 0).sync();
            let reply = first.recv_until_ready().await;
            assert_eq!(reply.of('D').count(), 1, "{reply:?}");
        } else {
            done(&mut first, lock).await;
        }
        second.query("UPDATE tally SET n = n + 10 WHERE id = 1").send().await;
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() \
                     AND (query LIKE '%advisory%' OR query LIKE '%tally%')";
        soon("the other one to wait", async || (world.shard(0).sql(waits) == "1").then_some(())).await;
        done(&mut first, "UPDATE tally SET n = n + 1 WHERE id = 1").await;
        done(&mut first, "COMMIT").await;
        assert_eq!(second.recv_until_ready().await.commands(), ["UPDATE 1"]);
    }
    assert_eq!(world.everywhere("SELECT n FROM tally WHERE id = 1"), ["22"; 3]);
}

#[tokio::test]
async fn a_trigger_that_changes_the_key_of_a_row_is_found_out() {
    let world = &*EXACT_WORLD;
    let mut raw = world.raw("app").await;
    // The proxy has not heard of it.
    let trigger = "CREATE FUNCTION turn() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN IF NEW.id = 9 THEN NEW.user_id = NEW.user_id + 1000; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER turn BEFORE INSERT ON turned FOR EACH ROW EXECUTE FUNCTION turn()";
    world.shards().for_each(|shard| drop(shard.sql(trigger)));
    let insert = |id: i32| {
        format!(
            "INSERT INTO turned VALUES (1, 1), (2, {id}), (3, 1) ON CONFLICT DO NOTHING RETURNING user_id"
        )
    };
    let message = refused(&mut raw, &insert(9)).await;
    assert!(message.contains("another sharding key"), "{message}");
    assert_eq!(world.everywhere("SELECT count(*) FROM turned"), ["0"; 3]);
    assert_eq!(ask(&mut raw, &insert(2)).await.texts(), [[Some("1")], [Some("2")], [Some("3")]]);
}
