//! WITH that writes, tables made of queries, and statements that the parser has no words for: as by one Postgres.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_shardmap::fnv1a64;
use shardway_tests::{Param, SharedWorld, World};

use super::pair::{both, copies_are_the_same, holds_the_same, same};
use super::{ask, code};
use crate::operation::support::soon;
use crate::reads::world::{Pair, Way, asked, comparable};

const SCHEMA: &str = "
CREATE TABLE queue (user_id int, id int, what text, PRIMARY KEY (user_id, id));
CREATE TABLE done (user_id int, id int, what text, PRIMARY KEY (user_id, id));
CREATE TABLE tally (user_id int PRIMARY KEY, n int, at timestamptz);
CREATE TABLE tags (user_id int PRIMARY KEY, tags text[], sums int[]);
CREATE TABLE town (id int PRIMARY KEY, name text);
CREATE TABLE made_of (user_id int, id int, t text);
CREATE TABLE line (user_id int, id int, t text);
CREATE TABLE watched (user_id int, id int, PRIMARY KEY (user_id, id));
CREATE TABLE one (user_id int, id int, x int, t text, PRIMARY KEY (user_id, id));
CREATE TABLE two (user_id int, id int, x int, t text, PRIMARY KEY (user_id, id));
CREATE TABLE three (id int PRIMARY KEY, x int);
";

static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start());

/// Rows of `queue` and `tally` for ten users from `first` on.
async fn fill(pair: &mut Pair, first: i32) {
    let users = || first..first + 10;
    for table in ["queue", "done", "tally"] {
        pair.both(&format!("DELETE FROM {table} WHERE user_id BETWEEN {first} AND {}", first + 9)).await;
    }
    let rows = users().flat_map(|user| (1..=4).map(move |id| format!("({user}, {id}, 'w{id}')")));
    pair.both(&format!("INSERT INTO queue VALUES {}", rows.collect::<Vec<_>>().join(", "))).await;
    let rows: Vec<String> = users().map(|user| format!("({user}, 0)")).collect();
    pair.both(&format!("INSERT INTO tally (user_id, n) VALUES {}", rows.join(", "))).await;
}

async fn hold_the_same(pair: &mut Pair, first: i32) {
    let mine = format!("user_id BETWEEN {first} AND {}", first + 99);
    for table in ["queue", "done", "(SELECT user_id, n FROM tally) x"] {
        holds_the_same(pair, &format!("{table} WHERE {mine}")).await;
    }
}

#[tokio::test]
async fn on_one_shard_it_is_run_as_it_is() {
    let mut pair = Pair::of(&WORLD).await;
    fill(&mut pair, 100).await;
    let statements = [
        "WITH moved AS (DELETE FROM queue WHERE user_id = 101 AND id IN (SELECT id FROM queue WHERE user_id = 101 ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED) RETURNING *) INSERT INTO done SELECT * FROM moved RETURNING id, what",
        "WITH moved AS (DELETE FROM queue WHERE user_id = 101 RETURNING user_id, id) INSERT INTO done (id, user_id, what) SELECT m.id + 10, m.user_id, 'later' FROM moved m",
        "WITH ins AS (INSERT INTO done (user_id, id) VALUES (101, 1) ON CONFLICT DO NOTHING RETURNING id) SELECT id FROM ins UNION ALL SELECT id FROM done WHERE user_id = 101",
        "WITH ins AS (INSERT INTO done (user_id, id) VALUES (101, 50) RETURNING *), up AS (UPDATE tally SET n = n + 1 FROM ins WHERE tally.user_id = ins.user_id RETURNING n) SELECT ins.id, up.n FROM ins, up",
        "WITH up AS (UPDATE tally SET n = n + 5 WHERE user_id = 101 RETURNING *) SELECT n, (SELECT count(*) FROM done d WHERE d.user_id = up.user_id) FROM up",
        "WITH x AS (SELECT user_id, count(*) AS c FROM done WHERE user_id = 101 GROUP BY user_id) UPDATE tally SET n = x.c FROM x WHERE x.user_id = tally.user_id RETURNING tally.n",
        "WITH x AS (SELECT 101 AS u, 99 AS i) INSERT INTO done (user_id, id) SELECT u, i FROM x RETURNING *",
        "WITH x (u, i) AS (VALUES (101, 90), (101, 91)) INSERT INTO done (user_id, id) SELECT u, i FROM x ON CONFLICT (user_id, id) DO UPDATE SET what = 'again'",
        "WITH x AS (SELECT max(id) AS m FROM done WHERE user_id = 101) DELETE FROM done USING x WHERE id = x.m AND user_id = 101 RETURNING id",
        "WITH d AS (DELETE FROM done WHERE user_id = 101) SELECT count(*) FROM queue WHERE user_id = 101",
        "WITH d AS (DELETE FROM queue WHERE user_id = 102 RETURNING id) SELECT count(*), min(id), max(id) FROM d",
        // What fails.
        "WITH ins AS (INSERT INTO tally (user_id, n) VALUES (103, 1) RETURNING *) SELECT * FROM ins",
        "WITH up AS (UPDATE tally SET n = 1 / 0 WHERE user_id = 103 RETURNING *) SELECT * FROM up",
        "WITH d AS (DELETE FROM queue WHERE user_id = 103 RETURNING nothing) SELECT * FROM d",
    ];
    for sql in statements {
        for way in [Way::Simple, Way::Text, Way::Binary] {
            pair.both("BEGIN").await;
            let said = same(&mut pair, sql, way).await;
            if said.0.is_ok() {
                hold_the_same(&mut pair, 100).await;
            }
            pair.both("ROLLBACK").await;
        }
        same(&mut pair, sql, Way::Simple).await;
        hold_the_same(&mut pair, 100).await;
    }
}

#[tokio::test]
async fn its_key_may_be_a_parameter() {
    let mut pair = Pair::of(&WORLD).await;
    fill(&mut pair, 200).await;
    let moved = "WITH moved AS (DELETE FROM queue WHERE user_id = $1 AND id = $2 RETURNING *) INSERT INTO done SELECT * FROM moved RETURNING *";
    let inserted = "WITH ins AS (INSERT INTO done (user_id, id, what) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id) SELECT id FROM ins UNION ALL SELECT id FROM done WHERE user_id = $1 AND id = $2";
    for user in 200..206i32 {
        let bytes = user.to_be_bytes();
        let text = user.to_string();
        let (binary, text) = (Param::Binary(&bytes), Param::Text(&text));
        both(&mut pair, moved, &[text, Param::Text("1")], Way::Text, true).await;
        both(&mut pair, moved, &[binary, Param::Text("2")], Way::Binary, true).await;
        both(&mut pair, inserted, &[text, Param::Text("2"), Param::Text("x")], Way::Text, true).await;
        both(&mut pair, inserted, &[text, Param::Text("9"), Param::Text("x")], Way::Binary, true).await;
        hold_the_same(&mut pair, 200).await;
    }
    for client in [&mut pair.proxy, &mut pair.single] {
        client.parse("m", moved, &[]).describe_statement("m").sync();
        assert_eq!(client.recv_until_ready().await.tags(), "1tTZ");
        for user in ["207", "208"] {
            client.bind("", "m", &[Param::Text(user), Param::Text("3")], &[]).execute("", 0).sync();
            assert_eq!(client.recv_until_ready().await.tags(), "2DCZ");
        }
    }
    for sql in [
        "PREPARE moved AS WITH m AS (DELETE FROM queue WHERE user_id = $1 RETURNING *) INSERT INTO done SELECT * FROM m",
        "EXECUTE moved (209)",
        "DEALLOCATE moved",
    ] {
        same(&mut pair, sql, Way::Simple).await;
    }
    hold_the_same(&mut pair, 200).await;
}

#[tokio::test]
async fn every_shard_runs_what_meets_rows_of_one_key_alone() {
    let mut pair = Pair::of(&WORLD).await;
    fill(&mut pair, 300).await;
    let mine = "user_id BETWEEN 300 AND 309";
    let statements = [
        format!("WITH d AS (DELETE FROM queue WHERE {mine} AND id = 1 RETURNING *) INSERT INTO done SELECT * FROM d"),
        format!("WITH d AS (DELETE FROM queue WHERE {mine} AND id = 2 RETURNING *) INSERT INTO done SELECT d.* FROM d RETURNING user_id, what"),
        format!("WITH d AS (DELETE FROM done WHERE {mine} AND id = 1 RETURNING user_id, id) SELECT id, user_id + 1 AS n FROM d"),
        format!("WITH d AS (DELETE FROM done WHERE {mine} RETURNING *) UPDATE tally SET n = n + d.id FROM d WHERE d.user_id = tally.user_id RETURNING tally.user_id, n"),
        format!("WITH d AS (UPDATE queue SET what = 'u' WHERE {mine} AND id = 3 RETURNING id), t AS (UPDATE tally SET n = 3 WHERE {mine} RETURNING n) SELECT id FROM d UNION ALL SELECT n FROM t"),
        format!("WITH x AS (SELECT user_id FROM queue WHERE what = 'u' AND {mine}) DELETE FROM tally WHERE user_id IN (SELECT user_id FROM x)"),
        format!("WITH u AS (UPDATE queue SET what = what WHERE {mine} RETURNING 1) SELECT count(*) FROM u"),
        format!("WITH u AS (UPDATE queue SET what = NULL WHERE {mine} AND id = 4 RETURNING *) SELECT count(what) AS whats, count(*) FROM u WHERE user_id < 305"),
        "WITH d AS (DELETE FROM queue WHERE user_id IN (300, 301, 302, 303, 304) RETURNING *) INSERT INTO done SELECT * FROM d RETURNING id".to_owned(),
        format!("WITH d AS (DELETE FROM queue WHERE {mine} RETURNING *) INSERT INTO done SELECT user_id, id + 100 / (user_id - 305), what FROM d"),
    ];
    for sql in &statements {
        for way in [Way::Simple, Way::Text, Way::Binary] {
            pair.both("BEGIN").await;
            let said = same(&mut pair, sql, way).await;
            if said.0.is_ok() {
                hold_the_same(&mut pair, 300).await;
            }
            pair.both("ROLLBACK").await;
        }
        same(&mut pair, sql, Way::Text).await;
        hold_the_same(&mut pair, 300).await;
    }
}

#[tokio::test]
async fn the_clock_is_one_for_every_part_on_all_shards() {
    let mut pair = Pair::of(&WORLD).await;
    fill(&mut pair, 400).await;
    let raw = &mut pair.proxy;
    let done = ask(
        raw,
        "WITH d AS (DELETE FROM queue WHERE user_id BETWEEN 400 AND 409 RETURNING user_id, now() AS at) UPDATE tally SET at = d.at \
         FROM d WHERE d.user_id = tally.user_id AND d.at = now() RETURNING tally.at",
    )
    .await;
    assert_eq!(done.commands(), ["UPDATE 10"], "{done:?}");
    let mut times: Vec<String> = done.rows().iter().map(|row| format!("{row:?}")).collect();
    times.dedup();
    assert_eq!(times.len(), 1, "{times:?}");
    let unnamed = "WITH d AS (DELETE FROM queue WHERE id = 77 RETURNING now()) SELECT * FROM d";
    assert_eq!(code(&ask(raw, unnamed).await), "0A000");
}

#[tokio::test]
async fn what_takes_more_than_each_shards_rows_is_refused() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "WITH d AS (DELETE FROM queue WHERE id = 77 RETURNING id) SELECT id FROM d ORDER BY id",
        "WITH d AS (DELETE FROM queue WHERE id = 77 RETURNING id) SELECT max(id) FROM d",
        "WITH d AS (DELETE FROM queue WHERE user_id = 1 RETURNING *) INSERT INTO done SELECT user_id + 1, id FROM d",
        "WITH d AS (DELETE FROM queue WHERE user_id = 1 RETURNING *) INSERT INTO town SELECT id, what FROM d",
        "WITH d AS (UPDATE town SET name = 'x' RETURNING *) SELECT * FROM d",
    ] {
        pair.refused(sql).await;
    }
    let reply =
        ask(&mut pair.proxy, "WITH d AS (DELETE FROM queue RETURNING id) SELECT max(id) FROM d").await;
    let error = reply.error().unwrap();
    let message = error.field('M').unwrap_or_default();
    assert!(message.contains("parts that each shard can do to its own rows"), "{message}");
}

#[tokio::test]
async fn it_counts_as_a_write() {
    let world = World::builder().shards(2).servers(2).replicas(1).schema(SCHEMA).start();
    let mut raw = world.raw("app").await;
    ask(&mut raw, "INSERT INTO queue VALUES (1, 1, 'a'), (2, 1, 'a'), (3, 1, 'a'), (4, 1, 'a')").await;
    let one = "WITH d AS (DELETE FROM queue WHERE user_id = 1 RETURNING *) INSERT INTO done SELECT * FROM d RETURNING id";
    let all = "WITH d AS (DELETE FROM queue RETURNING *) SELECT id FROM d";
    for sql in [one, all] {
        ask(&mut raw, "BEGIN READ ONLY").await;
        assert_eq!(code(&ask(&mut raw, sql).await), "25006", "{sql}");
        ask(&mut raw, "ROLLBACK").await;
    }
    for sql in [one, all] {
        let plan = ask(&mut raw, &format!("EXPLAIN {sql}")).await;
        assert!(plan.error().is_none() && !plan.rows().is_empty(), "{plan:?}");
    }
    assert_eq!(ask(&mut raw, "SELECT id FROM queue").await.rows().len(), 4);
    assert_eq!(ask(&mut raw, one).await.commands(), ["INSERT 0 1"]);
    // What was written is seen, wherever it is read.
    for _ in 0..8 {
        assert_eq!(ask(&mut raw, "SELECT id FROM done WHERE user_id = 1").await.rows().len(), 1);
    }
    ask(&mut raw, "BEGIN").await;
    assert_eq!(ask(&mut raw, all).await.rows().len(), 3);
    ask(&mut raw, "ROLLBACK").await;
    assert_eq!(ask(&mut raw, "SELECT id FROM queue").await.rows().len(), 3);
    assert_eq!(ask(&mut raw, all).await.rows().len(), 3);
    assert_eq!(ask(&mut raw, "SELECT id FROM queue").await.rows().len(), 0);
}

#[tokio::test]
async fn a_cached_lookup_of_what_a_part_wrote_is_gone() {
    let config = "[server]\nauth = 'trust'\n[cache]\nenabled = true\n[[cache.rules]]\ntable = 'tally'\n[[cache.rules]]\ntable = 'done'";
    let world = World::builder().shards(2).schema(SCHEMA).config(config).start();
    let mut raw = world.raw("app").await;
    ask(&mut raw, "INSERT INTO tally VALUES (1, 0)").await;
    let mut look = async |expected: &str| {
        for _ in 0..3 {
            let seen = ask(&mut raw, "SELECT n FROM tally WHERE user_id = 1").await;
            let seen = seen.rows()[0][0].clone().unwrap();
            assert_eq!(seen, expected.as_bytes());
        }
    };
    look("0").await;
    let mut other = world.raw("app").await;
    for n in 1..4 {
        let sql = format!(
            "WITH u AS (UPDATE tally SET n = {n} WHERE user_id = 1 RETURNING user_id) INSERT INTO done (user_id, id) SELECT user_id, {n} FROM u"
        );
        assert_eq!(ask(&mut other, &sql).await.commands(), ["INSERT 0 1"]);
        look(&n.to_string()).await;
    }
}

#[tokio::test]
async fn numbers_with_a_fraction_are_keys_as_postgres_rounds_them() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "INSERT INTO watched VALUES (1000.5, 1), (-1000.5, 2), (1002.49, 3), (10.03e2, 4) RETURNING user_id, id",
        "INSERT INTO watched VALUES (1001, 1)",
        "SELECT * FROM watched WHERE user_id = 1000.5",
        "SELECT * FROM watched WHERE user_id IN (1000.5, 1001, 1002.0) ORDER BY id",
        "UPDATE watched SET id = 9 WHERE user_id = 1002.5",
        "DELETE FROM watched WHERE user_id = -1001.0 RETURNING id",
        "SELECT user_id, id FROM watched WHERE user_id BETWEEN 1000 AND 1010 ORDER BY id",
    ] {
        for way in [Way::Simple, Way::Text] {
            pair.both("BEGIN").await;
            same(&mut pair, sql, way).await;
            pair.both("ROLLBACK").await;
        }
        same(&mut pair, sql, Way::Simple).await;
        holds_the_same(&mut pair, "watched WHERE user_id BETWEEN -1010 AND 1010").await;
    }
    for client in [&mut pair.proxy, &mut pair.single] {
        client.parse("", "INSERT INTO watched VALUES ($1, 7) RETURNING user_id", &[1700]);
        let given = client.bind("", "", &[Param::Text("1008.5")], &[]).execute("", 0).sync();
        let reply = given.recv_until_ready().await;
        assert_eq!(reply.rows(), [[Some("1009".into())]], "{reply:?}");
    }
    holds_the_same(&mut pair, "watched WHERE user_id = 1009").await;
}

#[tokio::test]
async fn parts_of_columns_are_set() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "INSERT INTO tags VALUES (1, '{a,b}', '{1,2}'), (2, '{c}', NULL), (3, NULL, '{}'), (4, '{d}', '{4}')",
        "UPDATE tags SET tags[1] = 'x' WHERE user_id = 1 RETURNING tags",
        "UPDATE tags SET tags[2] = upper(tags[1]), sums[1:2] = '{7,8}' RETURNING user_id, tags, sums",
        "INSERT INTO tags (user_id, tags) VALUES (1, '{q}') ON CONFLICT (user_id) DO UPDATE SET tags[1] = 'z', sums = ARRAY[1, 2][1:1]",
    ] {
        same(&mut pair, sql, Way::Simple).await;
        holds_the_same(&mut pair, "tags").await;
    }
    let sql = "UPDATE tags SET tags[$1] = $2 WHERE user_id = $3 RETURNING tags";
    both(&mut pair, sql, &[Param::Text("3"), Param::Text("p"), Param::Text("2")], Way::Text, true).await;
    holds_the_same(&mut pair, "tags").await;
}

#[tokio::test]
async fn table_is_a_query() {
    let mut pair = Pair::of(&WORLD).await;
    pair.both("INSERT INTO line SELECT user_id, id, 'w' || id FROM generate_series(501, 510) user_id, generate_series(1, 4) id").await;
    pair.both("INSERT INTO town VALUES (1, 'a'), (2, 'b')").await;
    for sql in [
        "TABLE town",
        "TABLE town ORDER BY id DESC LIMIT 1",
        "INSERT INTO made_of TABLE line",
        "(TABLE made_of) EXCEPT TABLE line",
        "WITH x AS (TABLE town) SELECT count(*) FROM x",
        "WITH d AS (DELETE FROM made_of WHERE user_id = 501 RETURNING *) INSERT INTO made_of TABLE d",
    ] {
        same(&mut pair, sql, Way::Simple).await;
    }
    for sql in ["TABLE made_of", "TABLE made_of LIMIT 0", "SELECT count(*) FROM (TABLE made_of) x"] {
        same(&mut pair, sql, Way::Text).await;
    }
    for sql in ["COPY (TABLE town) TO STDOUT", "COPY (VALUES (1, 'a'), (2, NULL)) TO STDOUT (FORMAT csv)"] {
        let expected = ask(&mut pair.single, sql).await;
        let got = ask(&mut pair.proxy, sql).await;
        assert_eq!((got.tags(), got.commands()), (expected.tags(), expected.commands()), "{sql}: {got:?}");
    }
    let taken = "COPY (DELETE FROM made_of WHERE user_id IN (502, 503, 504, 505) RETURNING id) TO STDOUT";
    assert_eq!(code(&ask(&mut pair.proxy, taken).await), "0A000");
    let copied = ask(&mut pair.proxy, "COPY (TABLE made_of) TO STDOUT").await;
    assert_eq!(copied.commands(), ["COPY 40"], "{copied:?}");
}

#[tokio::test]
async fn a_row_is_written_where_a_cursor_stands() {
    let mut pair = Pair::of(&WORLD).await;
    fill(&mut pair, 600).await;
    for (end, kept) in [("ROLLBACK", 4), ("COMMIT", 3)] {
        pair.both("BEGIN").await;
        pair.both("DECLARE c CURSOR FOR SELECT * FROM queue WHERE user_id = 603 FOR UPDATE").await;
        pair.both("INSERT INTO tally (user_id) VALUES (690), (691), (692), (693)").await;
        for sql in [
            "FETCH 2 FROM c",
            "UPDATE queue SET what = 'here' WHERE CURRENT OF c RETURNING id, what",
            "FETCH c",
            "DELETE FROM queue WHERE CURRENT OF c RETURNING id",
        ] {
            same(&mut pair, sql, Way::Simple).await;
        }
        let sql = "UPDATE queue SET what = $1 WHERE CURRENT OF c";
        both(&mut pair, "FETCH c", &[], Way::Text, true).await;
        both(&mut pair, sql, &[Param::Text("there")], Way::Text, true).await;
        pair.both(end).await;
        hold_the_same(&mut pair, 600).await;
        let rows = ask(&mut pair.proxy, "SELECT FROM queue WHERE user_id = 603").await;
        assert_eq!(rows.rows().len(), kept, "{end}");
    }
    ask(&mut pair.proxy, "BEGIN").await;
    assert_ne!(code(&ask(&mut pair.proxy, "DELETE FROM queue WHERE CURRENT OF nothing").await), "");
    ask(&mut pair.proxy, "ROLLBACK").await;
}

#[tokio::test]
async fn tables_are_made_of_queries() {
    let world = World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start();
    let mut pair = Pair::of(&world).await;
    fill(&mut pair, 700).await;
    pair.both("INSERT INTO town VALUES (1, 'a'), (2, 'b')").await;
    let statements = [
        ("CREATE TABLE new_1 AS SELECT * FROM queue", "new_1"),
        ("CREATE TABLE new_2 (user_id, n) AS SELECT user_id, count(*) FROM queue GROUP BY user_id", "new_2"),
        (
            "CREATE TABLE new_3 AS SELECT user_id + 1 AS user_id, id, what FROM queue WHERE id > 1 WITH DATA",
            "new_3",
        ),
        (
            "CREATE TABLE new_4 AS SELECT id AS number, count(*) AS c, sum(user_id) AS s FROM queue GROUP BY id",
            "new_4",
        ),
        ("CREATE TABLE IF NOT EXISTS new_5 AS (SELECT * FROM town)", "new_5"),
        ("CREATE TABLE IF NOT EXISTS new_5 AS SELECT * FROM town", "new_5"),
        ("CREATE UNLOGGED TABLE new_6 AS VALUES (1, 'a'), (2, 'b')", "new_6"),
        ("CREATE TABLE new_7 AS TABLE queue", "new_7"),
        (
            "CREATE TABLE new_8 AS WITH x AS (SELECT user_id, id FROM queue WHERE id = 2) SELECT * FROM x",
            "new_8",
        ),
        ("SELECT user_id, id * 2 AS twice INTO new_9 FROM queue WHERE id < 3", "new_9"),
        ("SELECT name, 'x' AS x INTO TABLE new_10 FROM town -- all of it", "new_10"),
        ("CREATE TABLE new_11 AS SELECT * FROM queue WITH NO DATA", "new_11"),
        ("CREATE TABLE new_12 AS SELECT q.user_id, t.name FROM queue q JOIN town t ON t.id = q.id", "new_12"),
    ];
    for (n, (sql, table)) in statements.into_iter().enumerate() {
        same(&mut pair, sql, [Way::Simple, Way::Text][n % 2]).await;
        holds_the_same(&mut pair, table).await;
    }
    for table in ["new_4", "new_5", "new_6", "new_10"] {
        copies_are_the_same(&world, table);
    }
    let of_one = world.shard(0).sql("SELECT count(*) FROM new_1").parse::<i32>().unwrap();
    assert!(of_one < 40, "rows are dealt out by their keys");
    // What fails leaves nothing, and what is undone neither.
    for sql in [
        "CREATE TABLE new_1 AS SELECT 1 AS a",
        "CREATE TABLE bad_1 AS SELECT user_id, 1 / (user_id - 705) AS n FROM queue",
        "CREATE TABLE bad_2 AS SELECT nothing FROM queue",
        "SELECT 1 AS a INTO new_1",
    ] {
        same(&mut pair, sql, Way::Simple).await;
    }
    pair.both("BEGIN").await;
    same(&mut pair, "CREATE TABLE bad_1 AS SELECT * FROM queue", Way::Simple).await;
    same(&mut pair, "UPDATE bad_1 SET what = 'x' WHERE id = 1", Way::Simple).await;
    holds_the_same(&mut pair, "bad_1").await;
    pair.both("ROLLBACK").await;
    for sql in ["SELECT * FROM bad_1", "SELECT * FROM bad_2"] {
        same(&mut pair, sql, Way::Simple).await;
    }
    let without_key = "CREATE TABLE bad_3 AS SELECT nullif(user_id, 701) AS user_id FROM queue";
    assert_eq!(code(&ask(&mut pair.proxy, without_key).await), "23502");
    assert_eq!(code(&ask(&mut pair.proxy, "SELECT * FROM bad_3").await), "42P01");
}

#[tokio::test]
async fn rows_of_a_reference_table_beside_sharded_ones_are_locked_for_all() {
    let world = World::builder().shards(2).servers(2).schema(SCHEMA).start();
    let users =
        [0, 1].map(|shard| (1..).find(|id: &i32| fnv1a64(id.to_string().as_bytes()) % 2 == shard).unwrap());
    let (mut first, mut second) = (world.raw("app").await, world.raw("app").await);
    for user in users {
        ask(&mut first, &format!("INSERT INTO queue VALUES ({user}, 1, 'a')")).await;
    }
    ask(&mut first, "INSERT INTO town VALUES (1, 'a')").await;
    let lock = |user: i32, of: &str| {
        format!(
            "SELECT t.name FROM queue q JOIN town t ON t.id = q.id WHERE q.user_id = {user} FOR UPDATE{of}"
        )
    };
    for client in [&mut first, &mut second] {
        ask(client, "BEGIN").await;
    }
    // Of the sharded table alone: each has rows of its own.
    assert_eq!(ask(&mut first, &lock(users[0], " OF q")).await.rows().len(), 1);
    assert_eq!(ask(&mut second, &lock(users[1], " OF q")).await.rows().len(), 1);
    // Both want the town.
    assert_eq!(ask(&mut first, &lock(users[0], "")).await.rows().len(), 1);
    second.query(&lock(users[1], "")).send().await;
    soon("the second to wait", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        (world.shard(0).sql(waiting) == "1").then_some(())
    })
    .await;
    ask(&mut first, "COMMIT").await;
    assert_eq!(second.recv_until_ready().await.rows().len(), 1);
    ask(&mut second, "COMMIT").await;
}

/// A statement of up to two names and an end, all made up.
fn made_up(rng: &mut StdRng) -> String {
    let mut pick = |from: &[&str]| (*from.choose(rng).unwrap()).to_owned();
    let mut parts = Vec::new();
    for name in ["c", "d"] {
        let table = pick(&["one", "two"]);
        let source = if name == "d" { "c" } else { "one" };
        let rows = pick(&[
            "*",
            "user_id, id, x, t",
            "id, user_id, x, t",
            "user_id + 1 AS user_id, id, x, t",
            "x AS user_id, id, x, t",
        ]);
        let which = pick(&[
            "user_id = 7",
            "user_id = 7",
            "user_id IN (2, 3, 4)",
            "x > 3",
            "user_id = 7 AND id = 1",
            "id = 2",
            "x = id",
        ]);
        let part = match pick(&["delete", "update", "insert", "feed", "read", "three", "constant", "join"])
            .as_str()
        {
            "delete" => format!("DELETE FROM {table} WHERE {which} RETURNING {rows}"),
            "update" => format!(
                "UPDATE {table} SET {} WHERE {which} RETURNING {rows}",
                pick(&["x = x + 1", "t = 'u'", "x = user_id"])
            ),
            "insert" => format!(
                "INSERT INTO {table} (user_id, id, x) VALUES {} ON CONFLICT DO NOTHING RETURNING {rows}",
                pick(&["(7, 90, 1)", "(7, 1, 1), (7, 91, 2)", "(7, 92, 1), (8, 93, 1)"])
            ),
            "feed" => format!(
                "INSERT INTO {table} SELECT user_id, id + 200, x, t FROM {source} WHERE {which} RETURNING {rows}"
            ),
            "read" => format!("SELECT {rows} FROM {table} WHERE {which}"),
            "three" => "SELECT id AS user_id, id, x, 'r' AS t FROM three".to_owned(),
            "join" => format!(
                "SELECT a.user_id, a.id, b.x, b.t FROM {table} a JOIN {source} b ON b.user_id = a.user_id AND b.id = a.id WHERE a.x > 2"
            ),
            _ => "SELECT 7 AS user_id, 50 AS id, 1 AS x, 'k' AS t".to_owned(),
        };
        parts.push(format!("{name} AS ({part})"));
        if pick(&["more", "enough", "enough"]) == "enough" {
            break;
        }
    }
    let last = if parts.len() == 2 { "d" } else { "c" };
    let other = pick(&["one", "two", "c"]);
    let written = pick(&["one", "two"]);
    let end = match pick(&[
        "all", "some", "rows", "count", "pick", "join", "left", "right", "update", "in", "using", "union",
        "nested",
    ])
    .as_str()
    {
        "all" => format!("INSERT INTO {written} SELECT * FROM {last}"),
        "some" => format!(
            "INSERT INTO {written} (user_id, id, x) SELECT user_id, id + 100, x FROM {last} RETURNING id"
        ),
        "rows" => format!("SELECT * FROM {last}"),
        "count" => format!("SELECT count(*), count(t) FROM {last} WHERE x < 9"),
        "pick" => format!("SELECT id, x * 2 AS y FROM {last} WHERE x > 2"),
        "join" => format!("SELECT {last}.id, o.x FROM {last} JOIN {other} o ON o.user_id = {last}.user_id"),
        "left" => format!(
            "SELECT l.id, o.x FROM {last} l LEFT JOIN {other} o ON o.user_id = l.user_id AND o.id = l.id"
        ),
        "right" => format!(
            "SELECT l.id, o.x FROM {last} l RIGHT JOIN {other} o ON o.user_id = l.user_id AND o.id = l.id"
        ),
        "update" => format!(
            "UPDATE {written} w SET x = 5, t = 'z' FROM {last} l WHERE w.user_id = l.user_id AND w.id = l.id RETURNING w.id"
        ),
        "in" => format!("DELETE FROM {written} WHERE (user_id, id) IN (SELECT user_id, id FROM {last})"),
        "using" => format!(
            "DELETE FROM {written} w USING {last} l WHERE w.id = l.id AND w.user_id = l.user_id RETURNING w.t"
        ),
        "union" => format!("SELECT id FROM {last} UNION ALL SELECT id FROM {written} WHERE user_id = 7"),
        _ => format!(
            "SELECT id, (SELECT count(*) FROM {written} w WHERE w.user_id = l.user_id) AS n FROM {last} l"
        ),
    };
    format!("WITH {} {end}", parts.join(", "))
}

#[tokio::test]
async fn what_is_made_up_is_as_by_one_postgres() {
    let mut pair = Pair::of(&WORLD).await;
    let seed = std::env::var("SHARDWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut rng = StdRng::seed_from_u64(seed);
    eprintln!("seed {seed}");
    for table in ["one", "two"] {
        let rows = (1..=9)
            .flat_map(|user| (1..=3).map(move |id| format!("({user}, {id}, {}, 't{id}')", (user * id) % 7)));
        pair.both(&format!("INSERT INTO {table} VALUES {}", rows.collect::<Vec<_>>().join(", "))).await;
    }
    pair.both("INSERT INTO three VALUES (1, 1), (2, 5), (7, 3)").await;
    let runs = std::env::var("SHARDWAY_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(120);
    let (mut done, mut failed, mut refused) = (0, 0, 0);
    for _ in 0..runs {
        let sql = made_up(&mut rng);
        let way = [Way::Simple, Way::Text, Way::Binary][rng.random_range(0..3)];
        pair.both("BEGIN").await;
        let expected = asked(&mut pair.single, &sql, &[], way).await;
        let got = asked(&mut pair.proxy, &sql, &[], way).await;
        match (&got, &expected) {
            (Err((code, _)), _) if code == "0A000" => refused += 1,
            (Err(_), Err(_)) => failed += 1,
            _ => {
                assert_eq!(comparable(got, false), comparable(expected, false), "{sql}\n  asked by {way:?}");
                holds_the_same(&mut pair, "one").await;
                holds_the_same(&mut pair, "two").await;
                done += 1;
            }
        }
        pair.both("ROLLBACK").await;
    }
    eprintln!("{done} done, {failed} failed, {refused} refused");
    assert!(done * 4 > runs, "too few were done: {done} of {runs}");
}

#[tokio::test]
async fn the_audit_log_names_every_table_that_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.json");
    let config = format!("[server]\nauth = 'trust'\naudit_log = '{}'", path.display());
    let world = World::builder().shards(2).schema(SCHEMA).config(&config).start();
    let mut raw = world.raw("app").await;
    for sql in [
        "WITH d AS (DELETE FROM queue WHERE user_id = 1 RETURNING *) INSERT INTO done SELECT * FROM d",
        "WITH d AS (DELETE FROM queue RETURNING *) SELECT count(*) FROM d",
    ] {
        assert!(ask(&mut raw, sql).await.error().is_none(), "{sql}");
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tables = |line: &serde_json::Value| {
        let names = line["tables"].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().rsplit('.').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        lines.iter().map(tables).collect::<Vec<_>>(),
        [vec!["queue", "done"], vec!["queue"]],
        "{text}"
    );
    assert!(lines.iter().all(|line| line["command"] == "WITH" && line["outcome"] == "ok"), "{text}");
}
