//! UPDATE of the sharding key: rows move to other shards, and the client sees what one Postgres shows.

use rand::{Rng, SeedableRng, rngs::StdRng};
use shardway_shardmap::fnv1a64;
use shardway_tests::{Param, SharedWorld, World};

use super::pair::{both, holds_the_same, same};
use super::{ask, code, little_room, seed};
use crate::reads::world::{Pair, Way, asked, comparable};

const SCHEMA: &str = "
CREATE TYPE tone AS ENUM ('low', 'high');
CREATE TABLE spot (
    user_id int, id int, note varchar(8), n int DEFAULT 7 CHECK (n < 1000), twice int GENERATED ALWAYS AS (n * 2) STORED,
    made timestamptz DEFAULT now(), tags text[], f float8, b bytea, tone tone, num numeric(8,2), PRIMARY KEY (user_id, id)
);
CREATE TABLE line (user_id int, spot_id int, qty int);
CREATE TABLE named (user_id text PRIMARY KEY, n int);
CREATE TABLE owner (user_id int PRIMARY KEY, name text);
CREATE TABLE thing (user_id int REFERENCES owner, id int, PRIMARY KEY (user_id, id));
CREATE TABLE loose (user_id int REFERENCES owner DEFERRABLE INITIALLY DEFERRED, id int);
CREATE TABLE chief (user_id int PRIMARY KEY);
CREATE TABLE follower (user_id int REFERENCES chief ON UPDATE CASCADE);
CREATE TABLE ident (user_id int, id int GENERATED ALWAYS AS IDENTITY, t text);
CREATE TABLE touched (user_id int, id int, t text, rev int DEFAULT 0, PRIMARY KEY (user_id, id));
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.rev = OLD.rev + 1; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON touched FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE watched (user_id int, id int);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TABLE cut (user_id int, part int, t text, PRIMARY KEY (user_id, part)) PARTITION BY LIST (part);
CREATE TABLE cut_1 PARTITION OF cut FOR VALUES IN (1);
CREATE TABLE cut_2 PARTITION OF cut FOR VALUES IN (2);
CREATE TABLE nullable (user_id int, id int);
CREATE TABLE cell (user_id int, id int, a int, t text);
";

static MOVES_WORLD: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start());

const SPOTS: &str = "(SELECT user_id, id, note, n, twice, tags, f, b, tone, num FROM spot) x";

/// Every row is on the shard of its key.
pub(super) fn all_at_home(world: &World, table: &str) {
    for shard in 0..4 {
        let keys = world
            .shard(shard)
            .sql(&format!("SELECT coalesce(string_agg(user_id::text, ','), '') FROM {table}"));
        let home = |key: &str| fnv1a64(key.as_bytes()) % 4;
        let strays: Vec<&str> =
            keys.split(',').filter(|key| !key.is_empty() && home(key) != shard as u64).collect();
        assert!(strays.is_empty(), "{table} on shard {shard}: {strays:?}");
    }
}

async fn fill(pair: &mut Pair, first: i32) {
    for user in first..first + 8 {
        let rows = format!(
            "INSERT INTO spot (user_id, id, note, n, tags, f, b, tone, num) VALUES \
             ({user}, 1, 'it''s', 1, '{{a,\"b c\",NULL}}', 0.1, '\\x00ff', 'low', 1.25), ({user}, 2, E'b\\\\\\\\', 2, NULL, 'NaN', NULL, 'high', NULL)"
        );
        pair.both(&rows).await;
    }
}

#[tokio::test]
async fn rows_move_to_the_shards_of_their_new_keys() {
    let world = &*MOVES_WORLD;
    let mut pair = Pair::of(world).await;
    fill(&mut pair, 100).await;
    let statements = [
        "UPDATE spot SET user_id = 150 WHERE user_id = 100 AND id = 1",
        "UPDATE spot SET user_id = 151, note = 'moved', n = n + 5 WHERE user_id = 101 RETURNING user_id, id, note, twice, tags, f, b, tone, num, n * 2 AS more",
        "UPDATE spot SET user_id = user_id + 60 WHERE user_id BETWEEN 102 AND 107 RETURNING user_id, id, twice, tags, f, b, tone",
        "UPDATE spot AS s SET user_id = s.user_id * 2, id = id + 10 WHERE s.user_id > 160 RETURNING s.user_id, s.id",
        "UPDATE spot SET (user_id, n) = (user_id + 1000, 3) WHERE id = 2 RETURNING user_id, n",
        "UPDATE spot SET user_id = user_id WHERE user_id IN (150, 1100)",
        "UPDATE spot SET user_id = '200' WHERE user_id = 150 RETURNING user_id",
        "UPDATE spot SET user_id = 100.4 WHERE user_id = 200 RETURNING user_id",
        "UPDATE spot SET user_id = 1 WHERE user_id = NULL",
        "UPDATE spot SET user_id = 1 WHERE user_id = -5",
        "UPDATE spot SET user_id = 'x' WHERE user_id = 100",
        "UPDATE spot SET user_id = 7, note = 'much too long' WHERE user_id = 100",
        "UPDATE spot SET user_id = 7, n = 5000 WHERE user_id = 100",
        "UPDATE spot SET user_id = 7, twice = 3 WHERE user_id = 100",
        "UPDATE spot SET user_id = (SELECT 12) WHERE user_id = 100 RETURNING user_id",
        "UPDATE spot SET user_id = user_id + 1, tone = NULL, tags = tags || 'z'::text WHERE user_id < 200 RETURNING tone, tags",
    ];
    for (n, sql) in statements.iter().enumerate() {
        same(&mut pair, sql, [Way::Simple, Way::Binary, Way::Text][n % 3]).await;
        holds_the_same(&mut pair, SPOTS).await;
        all_at_home(world, "spot");
    }
    pair.both("DELETE FROM spot").await;
}

#[tokio::test]
async fn parameters_formats_and_prepared_statements() {
    let world = &*MOVES_WORLD;
    let mut pair = Pair::of(world).await;
    for user in 1..=6 {
        pair.both(&format!("INSERT INTO line VALUES ({user}, 1, {user}), ({user}, 2, 5)")).await;
    }
    let sql = "UPDATE line SET user_id = $1 WHERE user_id = $2 AND spot_id = 1 RETURNING user_id, qty";
    for way in [Way::Text, Way::Binary] {
        both(&mut pair, sql, &[Param::Text("300"), Param::Text("1")], way, false).await;
        both(
            &mut pair,
            sql,
            &[Param::Binary(&301i32.to_be_bytes()), Param::Binary(&2i32.to_be_bytes())],
            way,
            false,
        )
        .await;
    }
    let sql =
        "UPDATE line SET user_id = user_id + $1, qty = qty + $1 WHERE spot_id = $2 RETURNING user_id, qty";
    both(&mut pair, sql, &[Param::Binary(&7i32.to_be_bytes()), Param::Text("2")], Way::Binary, false).await;
    for client in [&mut pair.proxy, &mut pair.single] {
        client
            .parse("m", "UPDATE line SET user_id = user_id + $1 RETURNING qty", &[])
            .describe_statement("m")
            .sync();
        assert_eq!(client.recv_until_ready().await.tags(), "1tTZ");
        for _ in 0..2 {
            client.bind("", "m", &[Param::Text("1")], &[]).execute("", 0).close_portal("").sync();
            assert_eq!(client.recv_until_ready().await.tags(), "2DDDDDDDDDDDDC3Z");
        }
        ask(client, "PREPARE pm AS UPDATE line SET user_id = user_id + $1").await;
        assert_eq!(ask(client, "EXECUTE pm (3)").await.commands(), ["UPDATE 12"]);
    }
    holds_the_same(&mut pair, "line").await;
    all_at_home(world, "line");
    pair.both("DELETE FROM line").await;
}

#[tokio::test]
async fn what_fails_moves_nothing_and_blocks_can_be_undone() {
    let world = &*MOVES_WORLD;
    let mut pair = Pair::of(world).await;
    for user in 1..=6 {
        pair.both(&format!("INSERT INTO named VALUES ('k{user}', {user})")).await;
    }
    // Taken on the shard that it goes to.
    let said = same(&mut pair, "UPDATE named SET user_id = 'k2' WHERE user_id = 'k1'", Way::Simple).await;
    assert_eq!(said.0.unwrap_err().0, "23505");
    let said = same(&mut pair, "UPDATE named SET user_id = 'same' RETURNING n", Way::Text).await;
    assert_eq!(said.0.unwrap_err().0, "23505");
    let said = same(&mut pair, "UPDATE named SET user_id = NULL WHERE n = 3", Way::Simple).await;
    assert_eq!(said.0.unwrap_err().0, "23502");
    let said =
        same(&mut pair, "UPDATE named SET user_id = repeat('x', n), n = 1 / (n - 4)", Way::Simple).await;
    assert_eq!(said.0.unwrap_err().0, "22012");
    holds_the_same(&mut pair, "named").await;
    for client in [&mut pair.proxy, &mut pair.single] {
        ask(client, "BEGIN").await;
        assert_eq!(ask(client, "UPDATE named SET user_id = user_id || 'x'").await.commands(), ["UPDATE 6"]);
        ask(client, "SAVEPOINT s").await;
        assert_eq!(
            ask(client, "UPDATE named SET user_id = user_id || 'y' WHERE n < 4").await.commands(),
            ["UPDATE 3"]
        );
        assert_eq!(ask(client, "SELECT n FROM named WHERE user_id = 'k2xy'").await.texts().0.len(), 1);
        let failed = ask(client, "UPDATE named SET user_id = 'k5x' WHERE user_id = 'k2xy'").await;
        assert_eq!((code(&failed).as_str(), failed.status()), ("23505", 'E'));
        ask(client, "ROLLBACK TO s").await;
        assert_eq!(
            ask(client, "UPDATE named SET user_id = 'z' || n WHERE n > 4").await.commands(),
            ["UPDATE 2"]
        );
        ask(client, "COMMIT").await;
        ask(client, "BEGIN").await;
        assert_eq!(ask(client, "UPDATE named SET user_id = user_id || '!'").await.commands(), ["UPDATE 6"]);
        ask(client, "ROLLBACK").await;
    }
    holds_the_same(&mut pair, "named").await;
    all_at_home(world, "named");
    pair.both("DELETE FROM named").await;
}

#[tokio::test]
async fn a_null_key_has_no_shard() {
    let world = &*MOVES_WORLD;
    let mut raw = world.raw("app").await;
    ask(&mut raw, "INSERT INTO nullable VALUES (1, 1), (2, 2)").await;
    for sql in ["UPDATE nullable SET user_id = NULL", "UPDATE nullable SET user_id = nullif(user_id, 2)"] {
        assert_eq!(code(&ask(&mut raw, sql).await), "23502", "{sql}");
    }
    assert_eq!(ask(&mut raw, "SELECT id FROM nullable WHERE user_id > 0").await.rows().len(), 2);
}

#[tokio::test]
async fn triggers_partitions_identities_and_foreign_keys() {
    let world = &*MOVES_WORLD;
    let mut pair = Pair::of(world).await;
    for user in 1..=6 {
        pair.both(&format!("INSERT INTO touched VALUES ({user}, 1, 'a'), ({user}, 2, 'b')")).await;
        pair.both(&format!("INSERT INTO cut VALUES ({user}, 1, 'a'), ({user}, 2, 'b')")).await;
        pair.both(&format!("INSERT INTO owner VALUES ({user}, 'o')")).await;
        pair.both(&format!("INSERT INTO loose VALUES ({user}, 1)")).await;
        pair.both(&format!("INSERT INTO watched VALUES ({user}, 1)")).await;
        pair.both(&format!(
            "INSERT INTO ident (user_id, id, t) OVERRIDING SYSTEM VALUE VALUES ({user}, {user}, 'i')"
        ))
        .await;
    }
    for sql in [
        "UPDATE touched SET user_id = user_id + 10, t = 'moved' RETURNING *",
        "UPDATE touched SET user_id = 3 WHERE user_id = 13 RETURNING rev",
        "UPDATE cut SET user_id = user_id + 7 RETURNING *",
        "UPDATE cut SET user_id = user_id + 7, part = 3 - part WHERE user_id > 8",
        "UPDATE cut_1 SET user_id = user_id + 30",
        "UPDATE ident SET user_id = user_id * 10 RETURNING id",
        "UPDATE loose SET user_id = 7 - user_id RETURNING user_id",
        "UPDATE loose SET user_id = 99 WHERE user_id = 3",
        "UPDATE watched SET user_id = user_id + 1",
        "UPDATE thing SET user_id = user_id + 1",
        "UPDATE owner SET name = name || 'x', user_id = user_id + 100 WHERE user_id = 2",
    ] {
        same(&mut pair, sql, Way::Simple).await;
        for table in ["touched", "cut", "cut_1", "ident", "loose", "owner", "watched"] {
            holds_the_same(&mut pair, table).await;
            all_at_home(world, table);
        }
    }
    for sql in [
        "UPDATE chief SET user_id = user_id + 1",
        "UPDATE line SET user_id = user_id + 1 RETURNING (SELECT max(qty) FROM line l WHERE l.user_id = line.user_id)",
        "UPDATE line SET user_id = (SELECT max(user_id) FROM spot)",
    ] {
        pair.refused(sql).await;
    }
}

#[tokio::test]
async fn what_moves_is_bounded() {
    let world = little_room().await;
    let mut raw = world.raw("app").await;
    let failed = ask(&mut raw, "UPDATE big SET user_id = user_id + 1").await;
    assert_eq!(code(&failed), "54000", "{failed:?}");
    assert_eq!(
        ask(&mut raw, "UPDATE big SET user_id = user_id + 100 WHERE user_id < 8").await.commands(),
        ["UPDATE 8"]
    );
}

#[tokio::test]
async fn moves_made_up_at_random_are_those_of_one_postgres() {
    let world = &*MOVES_WORLD;
    let mut pair = Pair::of(world).await;
    let seed = seed(11);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done = 0;
    for n in 0..150 {
        let user = rng.random_range(1..20);
        pair.both(&format!("INSERT INTO cell VALUES ({user}, {n}, {}, 'x')", n % 4)).await;
        let key = match rng.random_range(0..6) {
            0 => format!("{}", rng.random_range(1..20)),
            1 => format!("c.user_id + {}", rng.random_range(-3..4)),
            2 => "c.id % 7".to_owned(),
            3 => "coalesce(a, 3) * 2".to_owned(),
            4 => "CASE WHEN c.id % 2 = 0 THEN c.user_id ELSE c.user_id + 1 END".to_owned(),
            _ => "20 - c.user_id".to_owned(),
        };
        let rest = ["", ", a = a + 1", ", t = t || c.user_id", ", a = NULL"][rng.random_range(0..4)];
        let condition = match rng.random_range(0..5) {
            0 => format!("c.user_id = {user}"),
            1 => format!("c.user_id IN ({user}, {})", user + 1),
            2 => format!("c.a = {}", n % 3),
            3 => "true".to_owned(),
            _ => "EXISTS (SELECT FROM cell d WHERE d.user_id = c.user_id AND d.id > c.id)".to_owned(),
        };
        let returning = ["", " RETURNING *", " RETURNING c.user_id, c.a + 1 AS b"][rng.random_range(0..3)];
        let sql = format!("UPDATE cell c SET user_id = {key}{rest} WHERE {condition}{returning}");
        let way = [Way::Simple, Way::Text, Way::Binary][n % 3];
        let (got, expected) =
            (asked(&mut pair.proxy, &sql, &[], way).await, asked(&mut pair.single, &sql, &[], way).await);
        assert_eq!(comparable(got.clone(), false), comparable(expected, false), "{n} of seed {seed}: {sql}");
        done += usize::from(got.is_ok());
        if n % 10 == 9 {
            holds_the_same(&mut pair, "cell").await;
            all_at_home(world, "cell");
        }
    }
    assert!(done > 140, "{done}");
}
