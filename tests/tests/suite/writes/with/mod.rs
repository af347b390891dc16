//! WITH that writes, as by one Postgres.

mod made_up;
mod spelled;

use shardway_shardmap::fnv1a64;
use shardway_tests::{Param, SharedWorld, World};

use super::pair::{both, holds_the_same, same};
use super::{ask, code};
use crate::operation::support::soon;
use crate::reads::world::{Pair, Way};

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
