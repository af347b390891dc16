//! INSERT … SELECT, run by each shard or through the proxy: rows and answers are those of one Postgres.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_tests::{Param, SharedWorld, World};

use super::moves::all_at_home;
use super::pair::{both, copies_are_the_same, holds_the_same, same};
use super::{ask, code, little_room, seed};
use crate::reads::world::{Pair, Way, asked, comparable};

const SCHEMA: &str = "
CREATE TYPE tone AS ENUM ('low', 'high');
CREATE TABLE src (
    user_id int, id int, t text, n numeric, f float8, d date, b bytea, tone tone, tags text[], big bigint, PRIMARY KEY (user_id, id)
);
CREATE TABLE dst (
    user_id int, id int, t varchar(12), n int DEFAULT 9 CHECK (n < 500), f float4, d timestamptz, b bytea, tone tone, tags text[],
    made timestamptz DEFAULT now(), PRIMARY KEY (user_id, id)
);
CREATE TABLE named (user_id text PRIMARY KEY, n int);
CREATE TABLE small (user_id varchar(4), n int);
CREATE TABLE other (user_id int, id int, t text);
CREATE TABLE made (user_id int, at timestamptz, g int);
CREATE TABLE stamped (user_id int, d timestamptz, made timestamptz DEFAULT now());
CREATE TABLE label (id int PRIMARY KEY, label text);
CREATE TABLE summary (id serial PRIMARY KEY, what text, n bigint, r float8 DEFAULT random());
CREATE TABLE r_src (user_id int, id int, a int, t text);
CREATE TABLE r_dst (user_id int, id int, a int, t text, PRIMARY KEY (user_id, id));
";

static WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start());

async fn fill(pair: &mut Pair) {
    pair.both("DELETE FROM src").await;
    pair.both("DELETE FROM dst").await;
    for user in 1..=12 {
        let rows = format!(
            "INSERT INTO src VALUES ({user}, 1, 'it''s {user}', {user}.5, 0.1, '2024-01-0{}', '\\x00ff', 'low', '{{a,\"b c\",NULL}}', {user}), \
             ({user}, 2, E'b\\\\', 2, 'NaN', NULL, NULL, 'high', NULL, NULL)",
            user % 9 + 1
        );
        pair.both(&rows).await;
    }
}

const DST: &str = "(SELECT user_id, id, t, n, f, d, b, tone, tags FROM dst) x";

#[tokio::test]
async fn rows_go_where_their_keys_say() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    let statements = [
        // Each shard's own.
        "INSERT INTO dst (user_id, id, t, n, made) SELECT user_id, id, t, n, now() FROM src",
        "INSERT INTO dst (user_id, id, made) SELECT user_id, id, now() FROM src WHERE user_id = 3 ORDER BY id DESC LIMIT 1",
        // Through the proxy.
        "INSERT INTO dst (user_id, id, t, n, f, d, b, tone, tags) SELECT user_id + 100, id, t, n, f, d, b, tone, tags FROM src",
        "INSERT INTO dst (user_id, id, n) SELECT id, user_id, n FROM src",
        "INSERT INTO dst (user_id, id, t) SELECT user_id, 7, 'bare' FROM src ORDER BY user_id LIMIT 5",
        "INSERT INTO dst (user_id, id, d, n) SELECT user_id * 2, 8, '2024-02-29', NULL FROM src WHERE id = 1",
        "INSERT INTO dst (id, user_id, n) SELECT count(*), max(user_id), sum(n) FROM src GROUP BY id",
        "INSERT INTO dst (user_id, id) SELECT g, g % 3 FROM generate_series(1, 20) g",
        "INSERT INTO dst (user_id, id, t) SELECT 5, user_id + 10, t FROM src WHERE id = 1",
        "INSERT INTO dst (user_id, id) SELECT user_id + 1, id FROM src UNION SELECT 40, 41",
        "INSERT INTO dst (user_id, id) (SELECT a.user_id + b.id, a.id FROM src a JOIN src b ON a.id = b.user_id)",
        "INSERT INTO dst (user_id, id) WITH x AS (SELECT user_id + 3 AS u, id FROM src) SELECT u, id FROM x",
        "INSERT INTO dst AS d (user_id, id, n) SELECT user_id + 1, id, 3 FROM src ON CONFLICT (user_id, id) DO UPDATE SET n = d.n + 1",
        "INSERT INTO dst (user_id, id) SELECT user_id + 5, id FROM src ON CONFLICT DO NOTHING",
        "INSERT INTO dst (user_id, id, n) SELECT user_id + 60, id, n FROM dst",
        "INSERT INTO dst (user_id, id) SELECT user_id + 60, id FROM src WHERE false",
        // What fails.
        "INSERT INTO dst (user_id, id) SELECT user_id % 3, id FROM src",
        "INSERT INTO dst (user_id, id, t) SELECT user_id + 1, id, 'much too long for it' FROM src",
        "INSERT INTO dst (user_id, id, n) SELECT user_id + 1, id, 700 FROM src",
        "INSERT INTO dst (user_id, id, n) SELECT user_id + 1, id, t FROM src",
        "INSERT INTO dst (user_id, id) SELECT nullif(user_id + 200, 203), id FROM src",
        "INSERT INTO dst (user_id, id, n) SELECT user_id + 1, id FROM src",
        "INSERT INTO dst (user_id, id, n) SELECT user_id + 200, id, 1 / (user_id - 4) FROM src",
        "INSERT INTO dst AS d (user_id, id) SELECT user_id % 2, 1 FROM src ON CONFLICT (user_id, id) DO UPDATE SET n = 1",
    ];
    for (n, sql) in statements.iter().enumerate() {
        fill(&mut pair).await;
        pair.both("INSERT INTO dst (user_id, id, n) VALUES (2, 1, 1), (6, 2, 2), (9, 1, 3)").await;
        let returned = format!("{sql} RETURNING user_id, id, t, n, tone");
        for sql in [*sql, &returned] {
            pair.both("BEGIN").await;
            pair.both("SAVEPOINT s").await;
            let way = [Way::Simple, Way::Binary, Way::Text][n % 3];
            let said = same(&mut pair, sql, way).await;
            let end = if said.0.is_err() { "ROLLBACK TO s" } else { "RELEASE s" };
            pair.both(end).await;
            holds_the_same(&mut pair, DST).await;
            pair.both("ROLLBACK").await;
        }
        same(&mut pair, sql, Way::Text).await;
        holds_the_same(&mut pair, DST).await;
        all_at_home(world, "dst");
    }
    pair.both("DELETE FROM dst").await;
    pair.both("DELETE FROM src").await;
}

#[tokio::test]
async fn types_are_cast_as_an_insert_casts_them() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    for user in 1..=8 {
        pair.both(&format!("INSERT INTO other VALUES ({user}, {user}, 'x{user}')")).await;
    }
    for sql in [
        "INSERT INTO named SELECT user_id, id FROM other",
        "INSERT INTO named SELECT t || 'y', id FROM other RETURNING *",
        "INSERT INTO named SELECT 'k' || user_id, user_id * 1.5 FROM other RETURNING n",
        "INSERT INTO named SELECT user_id::text || '!', '7' FROM other",
        "INSERT INTO named (n, user_id) SELECT t, user_id FROM other",
        "INSERT INTO small SELECT t, id FROM other",
    ] {
        same(&mut pair, sql, Way::Simple).await;
        holds_the_same(&mut pair, "named").await;
        holds_the_same(&mut pair, "small").await;
    }
    all_at_home(world, "named");
    all_at_home(world, "small");
    pair.refused("INSERT INTO small SELECT t || 'abcde', id FROM other").await;
    // The key is the value that is stored.
    same(&mut pair, "INSERT INTO other (user_id, id) SELECT id * 1.5, id FROM other", Way::Simple).await;
    holds_the_same(&mut pair, "other").await;
    all_at_home(world, "other");
    for table in ["named", "small", "other"] {
        pair.both(&format!("DELETE FROM {table}")).await;
    }
}

#[tokio::test]
async fn parameters_and_prepared_statements() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    let sql = "INSERT INTO made (user_id, g, at) SELECT g, g + $1, $3 FROM generate_series(1, $2) g RETURNING user_id, g";
    let (at, four) = (Param::Text("2024-05-05 10:00+00"), 4i32.to_be_bytes());
    for way in [Way::Text, Way::Binary] {
        both(&mut pair, sql, &[Param::Text("3"), Param::Binary(&four), at], way, true).await;
    }
    let sql = "INSERT INTO made SELECT user_id + $1, at, g FROM made WHERE g > $2 ORDER BY user_id, g";
    both(&mut pair, sql, &[Param::Binary(&four), Param::Text("4")], Way::Text, false).await;
    for client in [&mut pair.proxy, &mut pair.single] {
        let sql =
            "INSERT INTO made (user_id, g) SELECT user_id + $1, g FROM made WHERE user_id = $2 RETURNING g";
        client.parse("i", sql, &[]).describe_statement("i").sync();
        assert_eq!(client.recv_until_ready().await.tags(), "1tTZ");
        client
            .bind("", "i", &[Param::Text("1000"), Param::Text("1")], &[])
            .describe_portal("")
            .execute("", 0)
            .sync();
        assert_eq!(client.recv_until_ready().await.tags(), "2TDDCZ");
        client
            .bind("", "i", &[Param::Text("1000"), Param::Text("-1")], &[])
            .describe_portal("")
            .execute("", 0)
            .sync();
        assert_eq!(client.recv_until_ready().await.tags(), "2TCZ");
    }
    holds_the_same(&mut pair, "made").await;
    all_at_home(world, "made");
    pair.both("DELETE FROM made").await;
}

#[tokio::test]
async fn the_clock_is_one_for_all_rows() {
    let world = &*WORLD;
    let mut raw = world.raw("app").await;
    let done =
        ask(&mut raw, "INSERT INTO stamped (user_id, d) SELECT g, now() FROM generate_series(1, 40) g").await;
    assert_eq!(done.commands(), ["INSERT 0 40"], "{done:?}");
    let seen = ask(&mut raw, "SELECT DISTINCT made, d FROM stamped").await;
    assert_eq!(seen.rows().len(), 1);
}

#[tokio::test]
async fn rows_of_all_shards_come_to_every_copy_of_a_reference_table() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    for user in 1..=8 {
        pair.both(&format!("INSERT INTO r_src VALUES ({user}, 1, {user}, 'a'), ({user}, 2, {user}, 'b')"))
            .await;
    }
    for sql in [
        "INSERT INTO label SELECT user_id, t FROM r_src WHERE id = 1 RETURNING *",
        "INSERT INTO label SELECT user_id + 5, 'n' FROM r_src WHERE id = 1 ON CONFLICT (id) DO UPDATE SET label = EXCLUDED.label",
        "INSERT INTO label SELECT sum(a)::int, max(t) FROM r_src",
        "INSERT INTO label SELECT user_id, t FROM r_src",
        "INSERT INTO summary (what, n) SELECT t, count(*) FROM r_src GROUP BY t ORDER BY t RETURNING id, what, n",
    ] {
        same(&mut pair, sql, Way::Text).await;
        holds_the_same(&mut pair, "label").await;
        copies_are_the_same(world, "label");
        copies_are_the_same(world, "summary");
    }
    pair.both("DELETE FROM r_src").await;
}

#[tokio::test]
async fn what_is_held_is_bounded() {
    let world = little_room().await;
    let mut raw = world.raw("app").await;
    let failed = ask(&mut raw, "INSERT INTO big SELECT user_id + 1000, t FROM big").await;
    assert_eq!(code(&failed), "54000", "{failed:?}");
    assert_eq!(ask(&mut raw, "SELECT user_id FROM big").await.rows().len(), 40);
}

#[tokio::test]
async fn inserts_made_up_at_random_are_those_of_one_postgres() {
    let world = &*WORLD;
    let mut pair = Pair::of(world).await;
    let seed = seed(5);
    let mut rng = StdRng::seed_from_u64(seed);
    for user in 1..=12 {
        pair.both(&format!("INSERT INTO r_dst VALUES ({user}, 1, {user}, 'a'), ({user}, 2, NULL, 'b')"))
            .await;
    }
    let (mut done, mut refused) = (0, Vec::new());
    for n in 0..150 {
        let step = rng.random_range(0..30);
        let mut pick = |from: &[&str]| (*from.choose(&mut rng).unwrap()).to_owned();
        let key = pick(&["user_id", "user_id + 1", "id", "coalesce(a, 3)", "13", "user_id % 5"]);
        let other = pick(&["id", "id + 2", "user_id", "99"]);
        let rest = pick(&["a, t", "NULL, 'x'", "a + 1, upper(t)", "user_id, t || 'z'"]);
        let from = pick(&[
            "r_dst",
            "r_dst WHERE a > 3",
            "r_dst WHERE user_id IN (2, 5, 9)",
            "r_dst WHERE user_id = 4",
        ]);
        let end = pick(&["", "", " ORDER BY user_id, id LIMIT 4", " ORDER BY id DESC, user_id"]);
        let conflict = pick(&[
            " ON CONFLICT DO NOTHING",
            " ON CONFLICT (user_id, id) DO NOTHING",
            " ON CONFLICT (user_id, id) DO UPDATE SET a = EXCLUDED.a",
            "",
        ]);
        let returning = pick(&["", " RETURNING user_id, id"]);
        let key = if key == "id" { format!("id + {step}") } else { key };
        let sql = format!(
            "INSERT INTO r_dst SELECT {key}, {other} + {step}, {rest} FROM {from}{end}{conflict}{returning}"
        );
        // Which of several rows of one key stays depends on the order of rows.
        if conflict.contains("NOTHING") && end.is_empty() && !key.starts_with("user_id") {
            continue;
        }
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        let got = asked(&mut pair.proxy, &sql, &[], way).await;
        if matches!(&got, Err((code, _)) if code == "0A000") {
            refused.push((sql, got));
            continue;
        }
        let expected = asked(&mut pair.single, &sql, &[], way).await;
        match (&got, &expected) {
            (Err((code, _)), Err((other, _))) => assert_eq!(code, other, "{n} of seed {seed}: {sql}"),
            _ => assert_eq!(
                comparable(got.clone(), false),
                comparable(expected, false),
                "{n} of seed {seed}: {sql}"
            ),
        }
        done += usize::from(got.is_ok());
        if n % 10 == 9 {
            holds_the_same(&mut pair, "(SELECT user_id, id FROM r_dst) x").await;
            all_at_home(world, "r_dst");
            pair.both("DELETE FROM r_dst WHERE user_id > 12 OR id > 2").await;
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
    assert!(done > 40, "{done}");
}
