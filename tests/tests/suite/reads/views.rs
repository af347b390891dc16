//! Views over sharded tables: read like their tables where each shard has its part of their rows, else by their queries on
//! the rows of all; written through on one shard.

use shardway_tests::{PASSWORD, Param, RawClient, Reply, SharedWorld, World};

use super::world::{Pair, Way, asked};

const SCHEMA: &str = r#"
CREATE TABLE person (user_id int PRIMARY KEY, name text COLLATE "C", city int, active bool NOT NULL DEFAULT true);
CREATE TABLE buy (user_id int, id int, total numeric, PRIMARY KEY (user_id, id));
CREATE TABLE city (id int PRIMARY KEY, name text COLLATE "C");
CREATE TABLE hidden (user_id int PRIMARY KEY, name text);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON hidden USING (name = current_user);
CREATE SEQUENCE counter;
CREATE VIEW active AS SELECT user_id, name, city FROM person WHERE active;
CREATE VIEW "Renamed" ("Who", called) AS SELECT user_id, name FROM person;
CREATE VIEW spending AS
    SELECT p.user_id, p.name, c.name AS town, count(b.id) AS n, sum(b.total) AS total
    FROM person p LEFT JOIN buy b USING (user_id) JOIN city c ON c.id = p.city GROUP BY p.user_id, p.name, c.name;
CREATE VIEW latest AS SELECT DISTINCT ON (user_id) user_id, id, total FROM buy ORDER BY user_id, id DESC;
CREATE VIEW ranked AS
    SELECT user_id, id, rank() OVER (PARTITION BY user_id ORDER BY total DESC, id) AS place, sum(total) OVER w AS sofar
    FROM buy WINDOW w AS (PARTITION BY user_id ORDER BY id);
CREATE VIEW everyone AS SELECT user_id, name FROM person UNION ALL SELECT user_id, 'buyer' FROM buy;
CREATE VIEW someone AS SELECT name, user_id FROM active UNION SELECT 'x', user_id FROM latest;
CREATE VIEW nested AS SELECT a.user_id, a.name, s.n FROM active a JOIN spending s ON s.user_id = a.user_id;
CREATE VIEW buyers AS
    SELECT p.user_id, (SELECT max(total) FROM buy b WHERE b.user_id = p.user_id) AS most FROM person p
    WHERE EXISTS (SELECT 1 FROM buy b WHERE b.user_id = p.user_id AND b.total > 10);
CREATE VIEW towns AS SELECT id, upper(name) AS name FROM city WHERE id > 1;
CREATE VIEW two AS SELECT 1 AS a, 'b' AS b;
CREATE VIEW totals AS SELECT city, count(*) AS people, min(name) AS first FROM person GROUP BY city;
CREATE VIEW best AS SELECT user_id, id, total FROM buy ORDER BY total DESC, user_id, id LIMIT 5;
CREATE VIEW in_order AS SELECT user_id, name FROM person ORDER BY name DESC, user_id;
CREATE VIEW over_order AS SELECT * FROM in_order;
CREATE VIEW timed AS SELECT user_id, now() AS at FROM person;
CREATE VIEW names AS SELECT name FROM person;
CREATE VIEW of_five AS SELECT count(*) AS n, min(id) AS first FROM buy WHERE user_id = 5;
CREATE VIEW pairs AS SELECT a.user_id AS one, b.user_id AS other FROM person a JOIN person b ON a.city = b.city AND a.user_id < b.user_id;
CREATE VIEW over_totals AS SELECT c.name, t.people FROM totals t JOIN city c ON c.id = t.city;
CREATE VIEW checked AS SELECT user_id, name, city FROM person WHERE city = 1 WITH CHECK OPTION;
CREATE VIEW fenced WITH (security_barrier) AS SELECT user_id, name FROM person WHERE name <> 'n3';
CREATE VIEW asking WITH (security_invoker) AS SELECT city, count(*) AS n FROM person GROUP BY city;
CREATE VIEW of_hidden AS SELECT user_id, name FROM hidden;
CREATE VIEW of_hidden_count AS SELECT count(*) AS n FROM hidden;
CREATE VIEW catalog_view AS SELECT relname::text AS name FROM pg_class WHERE relname IN ('person', 'buy');
CREATE VIEW counting AS SELECT user_id, nextval('counter') AS n FROM person;
CREATE VIEW both_kinds AS SELECT c.relname, p.user_id FROM pg_class c, person p;
CREATE MATERIALIZED VIEW stored AS SELECT user_id, count(*) AS n FROM buy GROUP BY user_id;
CREATE MATERIALIZED VIEW stored_towns AS SELECT id, name FROM city;
CREATE MATERIALIZED VIEW stored_total AS SELECT count(*) AS n FROM buy;
"#;

static WORLD: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start();
    let filling = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::of(&world).await;
            for sql in [
                "INSERT INTO city VALUES (1, 'Ulm'), (2, 'Gera'), (3, 'Jena')",
                "INSERT INTO person SELECT g, 'n' || g % 7, g % 4, g % 3 <> 0 FROM generate_series(1, 40) g",
                "INSERT INTO buy SELECT g % 25 + 1, g, g * 1.5 FROM generate_series(1, 60) g",
                "INSERT INTO hidden VALUES (1, 'app')",
                "REFRESH MATERIALIZED VIEW stored",
                "REFRESH MATERIALIZED VIEW stored_towns",
            ] {
                pair.both(sql).await;
            }
        });
    };
    std::thread::scope(|scope| scope.spawn(filling).join().unwrap());
    world
});

async fn same(statements: &[&str]) {
    let mut pair = Pair::of(&WORLD).await;
    for sql in statements {
        pair.same(sql).await;
    }
}

/// How a statement is run, and on which shards.
async fn route(sql: &str) -> String {
    let admin = WORLD.proxy().connect_to("stats", "shardway").await;
    let rows = admin.simple_query(&format!("SHOW ROUTE '{}'", sql.replace('\'', "''"))).await.unwrap();
    let row = rows.iter().find_map(|m| match m {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.unwrap();
    format!("{} {}", row.get(0).unwrap_or_default(), row.get(2).unwrap_or_default())
}

/// Rows as lines, with `|` between values.
fn lines(reply: &Reply) -> Vec<String> {
    let text = |value: &Option<bytes::Bytes>| match value {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "NULL".to_owned(),
    };
    reply.rows().iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect()
}

#[tokio::test]
async fn views_of_one_key_are_read_like_tables() {
    same(&[
        "SELECT * FROM active ORDER BY user_id",
        "SELECT * FROM active",
        "SELECT name, count(*) FROM active GROUP BY name",
        "SELECT a.* FROM active a WHERE a.user_id IN (1, 2, 5) ORDER BY 1 DESC",
        r#"SELECT "Who", called FROM "Renamed" r WHERE r."Who" < 9 ORDER BY "Who""#,
        "SELECT * FROM spending ORDER BY user_id LIMIT 7",
        "SELECT town, sum(n), max(total) FROM spending GROUP BY town ORDER BY town",
        "SELECT * FROM spending WHERE user_id = 5",
        "SELECT user_id, total FROM latest WHERE total > 20",
        "SELECT * FROM ranked WHERE place = 1",
        "SELECT count(*), count(DISTINCT name) FROM everyone",
        "SELECT * FROM someone",
        "SELECT * FROM nested WHERE n > 0",
        "SELECT * FROM buyers",
        "SELECT * FROM fenced WHERE user_id < 12",
        "SELECT * FROM checked ORDER BY 1",
        "SELECT n, count(*) FROM stored GROUP BY n",
        "SELECT active.user_id, public.active.name FROM public.active WHERE active.city = 2",
        "SELECT a FROM active a WHERE user_id < 4",
    ])
    .await;
}

#[tokio::test]
async fn views_are_joined_with_tables_and_with_views() {
    same(&[
        "SELECT a.user_id, b.id FROM active a JOIN buy b ON b.user_id = a.user_id WHERE b.total > 30",
        "SELECT a.user_id, s.total, t.name FROM active a JOIN spending s USING (user_id) LEFT JOIN towns t ON t.id = a.city",
        "SELECT p.name, r.place FROM person p LEFT JOIN ranked r ON r.user_id = p.user_id AND r.place < 3",
        "SELECT count(*) FROM active a JOIN active b ON a.city = b.city",
        "SELECT user_id FROM person WHERE user_id IN (SELECT user_id FROM buyers) AND city IN (SELECT id FROM towns)",
        "WITH active AS (SELECT 1 AS user_id) SELECT * FROM active",
        "WITH x AS (SELECT * FROM active) SELECT count(*) FROM x, towns t WHERE t.id = x.city",
        "SELECT user_id FROM active UNION SELECT user_id FROM latest ORDER BY 1",
        "SELECT (SELECT count(*) FROM active), (SELECT max(people) FROM totals)",
    ])
    .await;
}

#[tokio::test]
async fn a_views_key_leads_to_one_shard() {
    for sql in [
        "SELECT * FROM active WHERE user_id = 5",
        "SELECT * FROM spending WHERE user_id = 5",
        "SELECT called FROM \"Renamed\" WHERE \"Who\" = 5",
        "SELECT * FROM latest WHERE user_id = 5",
        "SELECT * FROM ranked WHERE user_id = 5 AND place = 1",
        "SELECT * FROM everyone WHERE user_id = 5",
        "SELECT * FROM nested n JOIN buy b ON b.user_id = n.user_id WHERE b.user_id = 5",
        "SELECT * FROM buyers WHERE user_id = 5",
        "SELECT * FROM in_order WHERE user_id = 5",
        "SELECT * FROM stored WHERE user_id = 5",
        "SELECT * FROM of_hidden WHERE user_id = 5",
        "UPDATE active SET name = 'x' WHERE user_id = 5",
    ] {
        let found = route(sql).await;
        let (tier, shards) = found.split_once(' ').unwrap();
        assert!(tier == "single" && shards.parse::<u32>().is_ok(), "{sql}: {found}");
    }
    assert_eq!(route("SELECT * FROM towns").await, "single any");
    assert_eq!(route("SELECT * FROM two").await, "single any");
    assert_eq!(route("SELECT * FROM stored_towns").await, "single any");
    assert!(route("SELECT * FROM active").await.starts_with("scatter "));
    assert!(route("SELECT count(*) FROM spending").await.starts_with("combine "));
    assert!(route("SELECT * FROM totals").await.starts_with("gather "));
    let mut pair = Pair::of(&WORLD).await;
    for user in ["5", "11", "999"] {
        let five = Param::Text(user);
        pair.same_with("SELECT * FROM spending WHERE user_id = $1", &[five]).await;
        pair.same_with("SELECT * FROM latest l JOIN active a USING (user_id) WHERE user_id = $1", &[five])
            .await;
    }
}

#[tokio::test]
async fn views_of_many_keys_are_read_by_their_queries() {
    same(&[
        "SELECT * FROM totals",
        "SELECT t.city, t.people, t.first FROM totals t WHERE people > 3 ORDER BY 1",
        "SELECT public.totals.people, totals.* FROM totals JOIN city c ON c.id = totals.city ORDER BY c.name",
        "SELECT x.b FROM totals AS x (a, b) WHERE x.a = 2",
        "SELECT * FROM best ORDER BY total DESC, id",
        "SELECT b.total, p.name FROM best b JOIN person p ON p.user_id = b.user_id ORDER BY b.total, p.name",
        "SELECT count(*), min(name) FROM names",
        "SELECT * FROM of_five",
        "SELECT f.*, p.name FROM of_five f, person p WHERE p.user_id = 5",
        "SELECT f.n, b.id FROM buy b JOIN of_five f ON f.first = b.id WHERE b.user_id = 6 OR b.user_id = 5",
        "SELECT count(*) FROM pairs",
        "SELECT one FROM pairs WHERE other = 9 ORDER BY one",
        "SELECT * FROM over_totals ORDER BY name",
        "SELECT a.people, b.people FROM totals a JOIN totals b ON a.city = b.city + 1 ORDER BY 1, 2",
        "SELECT * FROM asking ORDER BY city",
        "SELECT name, 'it''s', 7 FROM names WHERE name = 'n3' OR name LIKE 'n4%'",
        "SELECT e'a\\'', n.name FROM names n WHERE n.name > 'n2' AND EXISTS (SELECT 1 FROM totals t WHERE t.people > 5)",
        "SELECT p.user_id FROM person p JOIN totals t USING (city) WHERE p.user_id = 7 AND t.people > 2",
    ])
    .await;
    let mut pair = Pair::of(&WORLD).await;
    pair.same_with(
        "SELECT one FROM pairs WHERE other = $1 AND one > $2",
        &[Param::Text("9"), Param::Text("2")],
    )
    .await;
    pair.same_with("SELECT people + $2 FROM totals WHERE city = $1", &[Param::Text("2"), Param::Text("3")])
        .await;
}

#[tokio::test]
async fn the_order_that_a_view_asks_for_is_kept() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "SELECT * FROM in_order",
        "SELECT name FROM in_order WHERE user_id > 3",
        "SELECT * FROM best",
        "SELECT name FROM over_order LIMIT 7",
        "SELECT count(DISTINCT at), count(*) FROM timed",
    ] {
        let expected = asked(&mut pair.single, sql, &[], Way::Simple).await;
        assert_eq!(asked(&mut pair.proxy, sql, &[], Way::Simple).await, expected, "{sql}");
    }
    pair.refused("SELECT user_id FROM in_order LIMIT 3 FOR UPDATE").await;
}

#[tokio::test]
async fn views_are_read_by_prepared_statements_copies_and_transactions_that_wrote() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "PREPARE p AS SELECT people FROM totals WHERE city = $1",
        "EXECUTE p (2)",
        "EXECUTE p (3)",
        "COPY (SELECT city, people, first FROM totals ORDER BY city) TO STDOUT",
        "COPY (SELECT user_id, n FROM spending WHERE user_id = 5) TO STDOUT",
        "BEGIN",
        "UPDATE person SET city = 3 WHERE user_id < 9",
        "SELECT people FROM totals WHERE city = 3",
        "SELECT town FROM spending WHERE user_id = 5",
        "ROLLBACK",
    ] {
        let mut said = Vec::new();
        for client in [&mut pair.single, &mut pair.proxy] {
            let reply = client.query(sql).recv_until_ready().await;
            assert!(reply.error().is_none(), "{sql}: {reply:?}");
            let copied: Vec<_> = reply.of('d').map(|data| data.body.clone()).collect();
            said.push((lines(&reply), reply.commands(), copied.concat()));
        }
        assert_eq!(said[0], said[1], "{sql}");
    }
}

#[tokio::test]
async fn mistakes_in_statements_over_views_are_said_as_by_one_database() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "SELECT nothing FROM totals",
        "SELECT people FROM totals t WHERE totals.city = 1",
        "SELECT  1 / (people - people) FROM totals",
        "SELECT name FROM names ORDER BY nme",
        "SELECT missing FROM active WHERE user_id = 5",
    ] {
        let mut errors = Vec::new();
        for client in [&mut pair.single, &mut pair.proxy] {
            let reply = client.query(sql).recv_until_ready().await;
            let error = reply.error().unwrap();
            errors.push(['C', 'M', 'P'].map(|field| error.field(field)));
        }
        assert_eq!(errors[0], errors[1], "{sql}");
    }
}

#[tokio::test]
async fn what_a_view_does_that_is_not_right_over_shards_is_refused() {
    for (sql, why) in [
        ("SELECT * FROM of_hidden_count", "row security"),
        ("SELECT * FROM counting", "nextval"),
        ("SELECT * FROM both_kinds", "catalogs"),
        ("SELECT * FROM stored_total", "materialized"),
        ("SELECT * FROM counter", "a view or a sequence"),
        ("SELECT * FROM totals FOR UPDATE", "FOR UPDATE"),
        ("UPDATE person SET city = 1 FROM totals t WHERE t.city = person.city", "several shards"),
        ("COPY active TO STDOUT", "COPY (SELECT"),
    ] {
        let mut client = WORLD.raw("app").await;
        match asked(&mut client, sql, &[], Way::Simple).await {
            Err((code, message)) => {
                let said = message.contains(why) || why.starts_with("COPY") && message.contains("is a view");
                assert!(code == "0A000" && said, "{sql}: {code} {message}");
            }
            Ok(said) => panic!("{sql} was answered: {said:?}"),
        }
    }
    let mut client = WORLD.raw("app").await;
    let said =
        asked(&mut client, "SELECT name FROM catalog_view ORDER BY 1", &[], Way::Simple).await.unwrap();
    assert_eq!(said.1, ["b\"buy\"", "b\"person\""]);
}

/// A user that may read what it was given, and nothing else.
async fn guest(name: &str, rights: &str) -> RawClient {
    for server in 0..2 {
        let role = format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'");
        WORLD.server(server).sql("postgres", &role).unwrap();
    }
    WORLD.shards().for_each(|shard| drop(shard.sql(&rights.replace("guest", name))));
    let config = format!("[[users]]\nname = '{name}'\npassword = '{PASSWORD}'");
    let proxy = Box::leak(Box::new(WORLD.another_proxy_with(&config)));
    proxy.raw(name).await
}

#[tokio::test]
async fn a_view_is_read_by_its_owners_rights_and_by_its_query_only_with_ones_own() {
    let mut client = guest(
        "reader",
        "GRANT SELECT ON active, spending, totals, names TO guest; GRANT SELECT ON person TO guest",
    )
    .await;
    // The owner may read what is behind these.
    let said = asked(&mut client, "SELECT count(*) FROM spending", &[], Way::Simple).await;
    assert_eq!(said.unwrap().1, ["b\"30\""]);
    assert!(asked(&mut client, "SELECT * FROM spending WHERE user_id = 5", &[], Way::Simple).await.is_ok());
    let said = asked(&mut client, "SELECT sum(people) FROM totals", &[], Way::Simple).await;
    assert_eq!(said.unwrap().1, ["b\"40\""]);
    // What it may not read itself is not read for it, nor what it may not read as a view.
    for (sql, name) in [("SELECT count(*) FROM pairs", "pairs"), ("SELECT * FROM latest", "latest")] {
        let said = asked(&mut client, sql, &[], Way::Simple).await;
        let expected = ("42501".to_owned(), format!("permission denied for view {name}"));
        assert_eq!(said, Err(expected), "{sql}");
    }
    let mut client = guest("stranger_to_person", "GRANT SELECT ON names TO guest").await;
    let said = asked(&mut client, "SELECT count(*) FROM names", &[], Way::Simple).await;
    assert_eq!(said, Err(("42501".to_owned(), "permission denied for table person".to_owned())));
}

#[tokio::test]
async fn rows_are_written_through_a_view_on_their_shard() {
    let world = World::builder().shards(3).schema(SCHEMA).start();
    let mut client = world.raw("app").await;
    for (sql, tag) in [
        ("INSERT INTO active (user_id, name, city) VALUES (1, 'one', 1)", "INSERT 0 1"),
        ("INSERT INTO checked VALUES (2, 'two', 1)", "INSERT 0 1"),
        ("INSERT INTO \"Renamed\" VALUES (3, 'three')", "INSERT 0 1"),
        ("INSERT INTO person VALUES (4, 'four', 2)", "INSERT 0 1"),
        ("UPDATE checked SET name = 'deux' WHERE user_id = 2", "UPDATE 1"),
        ("UPDATE active SET name = 'vier' WHERE user_id = 4 RETURNING name", "UPDATE 1"),
        ("DELETE FROM \"Renamed\" WHERE \"Who\" = 3", "DELETE 1"),
    ] {
        let reply = client.query(sql).recv_until_ready().await;
        assert_eq!(reply.commands(), [tag], "{sql}: {reply:?}");
    }
    let reply = client.query("SELECT user_id, name FROM person ORDER BY 1").recv_until_ready().await;
    assert_eq!(lines(&reply), ["1|one", "2|deux", "4|vier"]);
    for (sql, code) in [
        ("INSERT INTO checked VALUES (5, 'five', 2)", "44000"),
        ("UPDATE checked SET city = 3 WHERE user_id = 2", "44000"),
        ("INSERT INTO active (user_id, name) VALUES (6, 'a'), (7, 'b'), (8, 'c'), (9, 'd')", "0A000"),
        ("UPDATE active SET name = 'all'", "0A000"),
        ("UPDATE active SET user_id = 9 WHERE user_id = 1", "0A000"),
        ("INSERT INTO active (user_id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING", "0A000"),
        ("INSERT INTO spending (user_id) VALUES (1)", "0A000"),
        ("DELETE FROM everyone WHERE user_id = 1", "0A000"),
        ("INSERT INTO active SELECT user_id + 1, name, city FROM person", "0A000"),
        ("INSERT INTO towns VALUES (9, 'x')", "0A000"),
    ] {
        let reply = client.query(sql).recv_until_ready().await;
        let error = reply.error().unwrap_or_else(|| panic!("{sql}: {reply:?}"));
        assert_eq!(error.field('C').as_deref(), Some(code), "{sql}: {error:?}");
    }
    let reply = client.query("INSERT INTO buy SELECT user_id, 1, 2 FROM active").recv_until_ready().await;
    assert_eq!(reply.commands(), ["INSERT 0 3"], "{reply:?}");
}

#[tokio::test]
async fn views_are_made_and_used_through_the_proxy() {
    let world = World::builder().shards(3).schema(SCHEMA).start();
    let mut client = world.raw("app").await;
    for (sql, expected) in [
        ("INSERT INTO person SELECT g, 'n', g % 2 FROM generate_series(1, 9) g", &[][..]),
        ("INSERT INTO buy SELECT g, g, g FROM generate_series(1, 9) g", &[]),
        ("BEGIN", &[]),
        ("CREATE VIEW young AS SELECT user_id, city FROM person WHERE user_id > 5", &[]),
        ("SELECT count(*) FROM young", &["4"]),
        ("CREATE VIEW young_cities AS SELECT city, count(*) AS n FROM young GROUP BY city", &[]),
        ("SELECT * FROM young_cities ORDER BY 1", &["0|2", "1|2"]),
        ("COMMIT", &[]),
        ("SELECT n FROM young_cities WHERE city = 1", &["2"]),
        (
            "CREATE MATERIALIZED VIEW kept AS SELECT user_id, sum(total) AS total FROM buy GROUP BY user_id",
            &[],
        ),
        ("SELECT sum(total) FROM kept", &["45"]),
        ("UPDATE buy SET total = 100 WHERE user_id = 9", &[]),
        ("SELECT total FROM kept WHERE user_id = 9", &["9"]),
        ("REFRESH MATERIALIZED VIEW kept", &[]),
        ("SELECT total FROM kept WHERE user_id = 9", &["100"]),
        ("CREATE OR REPLACE VIEW young AS SELECT user_id, city FROM person WHERE user_id > 7", &[]),
        ("SELECT count(*) FROM young", &["2"]),
        ("DROP VIEW young_cities", &[]),
    ] {
        let reply = client.query(sql).recv_until_ready().await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
        assert_eq!(lines(&reply), expected, "{sql}");
    }
    let reply = client.query("SELECT * FROM young_cities").recv_until_ready().await;
    assert_eq!(reply.error().unwrap().field('C').as_deref(), Some("42P01"));
    for sql in [
        "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM buy",
        "CREATE MATERIALIZED VIEW m AS SELECT user_id, total FROM buy ORDER BY total LIMIT 3",
        "CREATE MATERIALIZED VIEW m AS SELECT a.user_id FROM person a JOIN person b ON a.city = b.city",
    ] {
        let reply = client.query(sql).recv_until_ready().await;
        let error = reply.error().unwrap();
        assert!(error.field('M').unwrap().contains("each shard's own rows"), "{sql}: {error:?}");
    }
}
