//! Statements over tables of several shard groups, which have their own shards and servers: the rows are brought together, and
//! the answers are those of one Postgres that has all tables.

use shardway_tests::{Param, RawClient, SharedWorld, World};

use super::world::{Pair, Way, asked};

const MAIN: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE customer (user_id int PRIMARY KEY, name text, country int, feels mood, paid numeric(10,2));
CREATE TABLE sale (user_id int, id int, part int, qty int, at timestamptz, PRIMARY KEY (user_id, id));
CREATE TABLE country (id int PRIMARY KEY, name text COLLATE \"C\");
CREATE TABLE audit (id int, what text);
CREATE VIEW spent AS SELECT country, sum(paid) AS paid FROM customer GROUP BY country;
";

const PARTS: &str = "
CREATE COLLATION odd FROM \"C\";
CREATE DOMAIN shelf AS int CHECK (VALUE > 0);
CREATE TYPE grade AS ENUM ('low', 'high');
CREATE TABLE part (part_id int PRIMARY KEY, label varchar(20), price numeric(8,3), tags text[], since date, ch char(4));
CREATE TABLE stock (part_id int, place shelf, n int8, f float8);
CREATE TABLE unit (id int PRIMARY KEY, name text);
CREATE TABLE log (id int, part int);
CREATE TABLE strange (part_id int, name text COLLATE odd, g grade);
CREATE VIEW cheap AS SELECT part_id, label FROM part WHERE price < 5;
CREATE VIEW places AS SELECT place, count(*) AS n, max(part_id) AS last FROM stock GROUP BY place;
";

const CONFIG: &str = "
[[databases.tables]]
name = 'country'
kind = 'reference'
group = 'main'
[[databases.tables]]
name = 'audit'
kind = 'local'
group = 'main'
shard = 1
[[databases.tables]]
name = 'unit'
kind = 'reference'
group = 'parts'
[[databases.tables]]
name = 'log'
kind = 'local'
group = 'parts'
shard = 1
";

const ROWS: [&str; 9] = [
    "INSERT INTO customer SELECT g, 'name ' || g, g % 5, (ARRAY['sad', 'ok', 'happy'])[g % 3 + 1]::mood, g * 1.25 FROM generate_series(1, 30) g",
    "INSERT INTO sale SELECT g % 30 + 1, g, g % 14, g % 4, '2024-01-01 00:00+00'::timestamptz + g * interval '1 hour' FROM generate_series(1, 90) g",
    "INSERT INTO country SELECT g, 'country ' || g FROM generate_series(0, 4) g",
    "INSERT INTO audit SELECT g, 'audit ' || g FROM generate_series(1, 6) g",
    "INSERT INTO part SELECT g, 'part ' || g, g * 0.75, ARRAY['a' || g, NULL], '2020-01-01'::date + g, 'x' || g FROM generate_series(1, 12) g",
    "INSERT INTO stock SELECT g % 12 + 1, g % 5 + 1, g, g / 3.0::float8 FROM generate_series(1, 40) g",
    "INSERT INTO unit SELECT g, 'unit ' || g FROM generate_series(1, 3) g",
    "INSERT INTO log SELECT g, g FROM generate_series(1, 5) g",
    "INSERT INTO strange VALUES (1, 's1', 'low'), (2, 's2', 'high'), (3, 's3', 'low'), (4, 's4', 'high')",
];

fn world() -> World {
    let world = World::builder()
        .shards(3)
        .group("parts", 2, &["part_id"])
        .servers(2)
        .group_schema("main", MAIN)
        .group_schema("parts", PARTS)
        .config(CONFIG)
        .oracle()
        .start();
    let single = format!("SET ROLE app; {PARTS}; {}", ROWS.join("; "));
    world.server(0).sql("oracle", &single).unwrap();
    let filling = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = world.raw("app").await;
            for rows in ROWS {
                let reply = client.query(rows).recv_until_ready().await;
                assert!(reply.error().is_none(), "{rows}: {reply:?}");
            }
        });
    };
    std::thread::scope(|scope| scope.spawn(filling).join().unwrap());
    world
}

/// Read only.
static WORLD: SharedWorld = SharedWorld::new(world);

/// Joins of each kind of table of one group with each of the other.
const STATEMENTS: &[&str] = &[
    "SELECT c.name, p.label, p.price * s.qty, s.at FROM sale s JOIN customer c USING (user_id) JOIN part p ON p.part_id = s.part ORDER BY s.id",
    "SELECT count(*) FROM sale, part WHERE part_id = part",
    "SELECT p.*, x.place, x.n, x.f FROM part p JOIN stock x USING (part_id) WHERE p.part_id IN (SELECT part FROM sale WHERE user_id < 9) ORDER BY p.part_id, x.n",
    "SELECT p.label, (SELECT count(*) FROM sale s WHERE s.part = p.part_id) AS sold FROM part p ORDER BY 2 DESC, 1",
    "SELECT c.feels, sum(p.price) FROM customer c JOIN sale s USING (user_id) LEFT JOIN part p ON p.part_id = s.part GROUP BY c.feels ORDER BY c.feels",
    "SELECT name FROM country UNION ALL SELECT name FROM unit ORDER BY 1",
    "SELECT u.name, c.name FROM unit u, country c WHERE u.id = c.id ORDER BY 1",
    "SELECT a.what, p.label, u.name, l.id FROM audit a JOIN log l ON l.id = a.id JOIN part p ON p.part_id = a.id LEFT JOIN unit u ON u.id = a.id ORDER BY 1",
    "SELECT a.what FROM audit a WHERE a.id IN (SELECT part FROM log) ORDER BY 1",
    "SELECT p.label, u.name FROM part p JOIN log l ON l.part = p.part_id LEFT JOIN unit u ON u.id = p.part_id ORDER BY 1",
    "SELECT * FROM customer c JOIN part p ON c.user_id = p.part_id WHERE c.user_id = 7 AND p.part_id = 7",
    "SELECT c.name FROM customer c WHERE EXISTS (SELECT FROM part WHERE part_id = c.user_id AND 'a3' = ANY (tags)) AND c.user_id IN (1, 2, 3, 4)",
    "SELECT place, max(name COLLATE \"C\") FROM stock, country WHERE stock.part_id = country.id GROUP BY place ORDER BY place",
    "SELECT public.part.label, max(customer.name) FROM public.part, public.customer WHERE part.part_id = customer.user_id GROUP BY 1 ORDER BY 1",
    "WITH a AS (SELECT part, sum(qty) AS qty FROM sale GROUP BY part) SELECT a.qty, part.label, rank() OVER (ORDER BY a.qty, label) FROM a JOIN part ON part_id = a.part ORDER BY 3",
    "SELECT p.part_id, p.label, count(s.id) FROM part p LEFT JOIN sale s ON s.part = p.part_id GROUP BY p.part_id ORDER BY 1",
    "SELECT customer.*, count(*) FROM customer JOIN part ON part_id = country GROUP BY customer.user_id ORDER BY 1",
    "SELECT c.label, s.paid FROM cheap c JOIN spent s ON s.country = c.part_id ORDER BY 1",
    "SELECT p.n, c.name FROM places p JOIN customer c ON c.user_id = p.last ORDER BY 1, 2",
    "SELECT count(*) FROM customer WHERE NULL = user_id UNION ALL SELECT count(*) FROM part WHERE part_id = NULL",
    "SELECT row_to_json(part) FROM part JOIN audit ON id = part_id ORDER BY part_id",
];

#[tokio::test]
async fn tables_of_several_groups_are_joined_as_in_one_postgres() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in STATEMENTS {
        pair.same(sql).await;
    }
}

#[tokio::test]
async fn and_within_transactions_that_only_read() {
    let mut pair = Pair::of(&WORLD).await;
    for opening in ["BEGIN", "BEGIN READ ONLY"] {
        pair.both(opening).await;
        for sql in STATEMENTS {
            // What hangs on a key takes a table that has it.
            if opening.contains("READ ONLY") && sql.contains("GROUP BY p.part_id")
                || sql.contains("GROUP BY customer.")
            {
                continue;
            }
            pair.same(sql).await;
        }
        pair.both("COMMIT").await;
    }
}

#[tokio::test]
async fn parameters_and_statements_that_are_described_first() {
    let mut pair = Pair::of(&WORLD).await;
    let sql =
        "SELECT c.name, p.price, $3::text FROM customer c, part p WHERE c.user_id = $1 AND p.part_id = $2";
    for (user, part) in [("1", "1"), ("7", "2"), ("30", "12"), ("1", "99")] {
        pair.same_with(sql, &[Param::Text(user), Param::Text(part), Param::Text("x")]).await;
    }
    pair.same_with(sql, &[Param::Null, Param::Text("2"), Param::Null]).await;
    for opening in ["", "BEGIN", "BEGIN READ ONLY"] {
        if !opening.is_empty() {
            pair.both(opening).await;
        }
        let mut said = Vec::new();
        for client in [&mut pair.proxy, &mut pair.single] {
            client.parse("p", sql, &[]).describe_statement("p").sync();
            let described = client.recv_until_ready().await;
            assert!(described.error().is_none(), "{described:?}");
            let types: Vec<_> = described.of('t').map(|message| message.body.clone()).collect();
            let columns: Vec<_> = described.of('T').map(|message| message.columns()).collect();
            client
                .bind("", "p", &[Param::Text("3"), Param::Text("4"), Param::Text("y")], &[1])
                .describe_portal("");
            let reply = client.execute("", 0).close_statement("p").sync().recv_until_ready().await;
            said.push((described.tags(), types, columns, reply.tags(), reply.rows()));
        }
        assert_eq!(said[0], said[1], "{opening}");
        if !opening.is_empty() {
            pair.both("COMMIT").await;
        }
    }
}

#[tokio::test]
async fn errors_are_those_of_one_postgres_and_point_at_the_clients_text() {
    let mut pair = Pair::of(&WORLD).await;
    for wrong in [
        "SELECT p.nosuch FROM customer c, part p",
        "SELECT 'é', count(*) FROM customer JOIN part ON nosuch = part_id",
        "SELECT c.name, count(*) FROM customer c, part p",
        "SELECT nosuch(c.name) FROM customer c, part p",
        "SELECT 1 / (p.part_id - p.part_id) FROM customer c, part p",
        "SELECT c.name + p.label FROM customer c, part p",
    ] {
        let mut said = Vec::new();
        for client in [&mut pair.proxy, &mut pair.single] {
            let reply = client.query(wrong).recv_until_ready().await;
            let error = reply.error().unwrap_or_else(|| panic!("{wrong}"));
            said.push((error.field('C'), error.field('M'), error.field('P'), reply.status()));
        }
        assert_eq!(said[0], said[1], "{wrong}");
        pair.same(STATEMENTS[1]).await;
    }
}

#[tokio::test]
async fn a_transaction_sees_what_it_wrote_in_both_groups() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    let joined =
        "SELECT c.name, p.label, p.price FROM customer c JOIN part p ON p.part_id = c.user_id ORDER BY 1, 2";
    pair.both("BEGIN").await;
    pair.both("UPDATE customer SET name = 'new' WHERE user_id IN (1, 2, 3)").await;
    pair.same(joined).await;
    pair.both("UPDATE part SET price = 9.5 WHERE part_id < 6").await;
    pair.both("SAVEPOINT a").await;
    pair.both("DELETE FROM part WHERE part_id = 4").await;
    pair.same(joined).await;
    pair.both("ROLLBACK TO a").await;
    pair.same(joined).await;
    pair.both("COMMIT").await;
    pair.same(joined).await;
}

#[tokio::test]
async fn rows_of_another_group_are_inserted() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    for sql in [
        "INSERT INTO sale SELECT part_id, part_id + 1000, part_id, 1, NULL FROM part WHERE price > 2",
        "INSERT INTO stock (part_id, place, n) SELECT s.part + 1, 3, count(*) FROM sale s JOIN country c ON c.id = s.part GROUP BY s.part",
        "INSERT INTO customer SELECT 100 + p.part_id, p.label, c.id, 'ok', p.price FROM part p JOIN country c ON c.id = p.part_id",
        "INSERT INTO country SELECT 10 + id, name FROM unit",
    ] {
        pair.both(sql).await;
    }
    for sql in [
        "SELECT user_id, id, part FROM sale WHERE id > 1000 ORDER BY 2",
        "SELECT part_id, place, n FROM stock ORDER BY 1, 2, 3",
        "SELECT user_id, name, country, paid FROM customer WHERE user_id > 100 ORDER BY 1",
        "SELECT * FROM country ORDER BY id",
    ] {
        pair.same(sql).await;
    }
    let mut client = world.raw("app").await;
    for refused in [
        "UPDATE customer SET name = label FROM part WHERE part_id = user_id",
        "DELETE FROM part USING customer WHERE user_id = part_id",
        "WITH d AS (DELETE FROM part WHERE part_id = 1 RETURNING *) SELECT * FROM d, customer",
        "SELECT * FROM part p, customer c WHERE user_id = part_id FOR UPDATE",
    ] {
        let said = asked(&mut client, refused, &[], Way::Simple).await;
        assert_eq!(said.as_ref().map_err(|(code, _)| code.as_str()), Err("0A000"), "{refused}: {said:?}");
    }
    let sql = "INSERT INTO sale SELECT part_id, $1, 1, 1, NULL FROM part";
    client.parse("", sql, &[23]).bind("", "", &[Param::Text("5000")], &[]).execute("", 0).sync();
    let reply = client.recv_until_ready().await;
    assert_eq!(reply.error().unwrap().field('C').as_deref(), Some("0A000"), "{reply:?}");
}

#[tokio::test]
async fn cursors_portals_and_copies_have_rows_of_both() {
    let mut pair = Pair::of(&WORLD).await;
    let query = "SELECT c.name, p.label, p.tags, p.price FROM customer c JOIN part p ON p.part_id = c.user_id ORDER BY c.user_id";
    pair.both("BEGIN").await;
    pair.both(&format!("DECLARE c SCROLL CURSOR FOR {query}")).await;
    for fetch in ["FETCH 3 FROM c", "FETCH LAST FROM c", "FETCH BACKWARD 2 FROM c", "FETCH ALL FROM c"] {
        pair.same(fetch).await;
    }
    let mut said = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        client.parse("", query, &[]).bind("p", "", &[], &[]).execute("p", 5).execute("p", 0).sync();
        let reply = client.recv_until_ready().await;
        said.push((reply.tags(), reply.rows()));
    }
    assert_eq!(said[0], said[1]);
    pair.both("COMMIT").await;
    let mut said = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        let reply = client.query(&format!("COPY ({query}) TO STDOUT CSV HEADER")).recv_until_ready().await;
        said.push(reply.of('d').flat_map(|message| message.body.to_vec()).collect::<Vec<u8>>());
    }
    assert_eq!(String::from_utf8_lossy(&said[0]), String::from_utf8_lossy(&said[1]));
}

#[tokio::test]
async fn what_the_engines_group_lacks_is_refused() {
    let mut client = WORLD.raw("app").await;
    for (sql, says) in [
        // An enum of each group is needed.
        (
            "SELECT c.feels, s.g FROM customer c JOIN strange s ON s.part_id = c.user_id",
            "type that users have made",
        ),
        // A collation that the other group does not have.
        ("SELECT c.feels, s.name FROM customer c JOIN strange s ON s.part_id = c.user_id", "public.odd"),
    ] {
        let (code, message) = asked(&mut client, sql, &[], Way::Simple).await.unwrap_err();
        assert_eq!(code, "0A000", "{sql}: {message}");
        assert!(message.contains(says), "{sql}: {message}");
    }
    // The enum of one alone has the engine there.
    let mut pair = Pair::of(&WORLD).await;
    pair.same("SELECT s.g, max(c.name) FROM customer c JOIN strange s ON s.part_id = c.user_id GROUP BY s.g")
        .await;
}

#[tokio::test]
async fn a_temporary_table_is_joined_with_another_groups() {
    let mut pair = Pair::of(&WORLD).await;
    pair.both("CREATE TEMPORARY TABLE mine (id int, note text)").await;
    pair.both("INSERT INTO mine VALUES (1, 'a'), (7, 'b'), (99, 'c')").await;
    for opening in ["", "BEGIN", "BEGIN READ ONLY"] {
        if !opening.is_empty() {
            pair.both(opening).await;
        }
        pair.same("SELECT m.note, p.label, c.name FROM mine m LEFT JOIN part p ON p.part_id = m.id LEFT JOIN country c ON c.id = m.id ORDER BY 1").await;
        if !opening.is_empty() {
            pair.both("COMMIT").await;
        }
    }
    pair.both("DROP TABLE mine").await;
}

async fn explain(client: &mut RawClient, sql: &str) -> Vec<String> {
    let reply = client.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply.texts().0.into_iter().map(|row| row.into_iter().next().flatten().unwrap()).collect()
}

#[tokio::test]
async fn explain_and_show_route_name_groups_and_shards() {
    let mut client = WORLD.raw("app").await;
    let sql = "SELECT count(*) FROM sale s JOIN part p ON p.part_id = s.part JOIN unit u ON u.id = s.qty";
    let lines = explain(&mut client, &format!("EXPLAIN (COSTS off) {sql}")).await;
    assert_eq!(lines[0], "Shardway: gather");
    let has = |text: &str| assert!(lines.iter().any(|line| line.contains(text)), "{text}: {lines:#?}");
    has("Shards: 0, 1, 2 (of 3, group main)");
    has("Other groups: shards 0, 1 of group parts");
    has("(main, 127.0.0.1:");
    has("(parts, 127.0.0.1:");
    for way in ["EXPLAIN (ANALYZE, COSTS off, TIMING off)", "EXPLAIN (FORMAT json)"] {
        assert!(explain(&mut client, &format!("{way} {sql}")).await[0].contains(if way.contains("json") {
            "["
        } else {
            "gather"
        }));
    }
    let described = client
        .parse("e", &format!("EXPLAIN {sql}"), &[])
        .describe_statement("e")
        .sync()
        .recv_until_ready()
        .await;
    assert_eq!(described.tags(), "1tTZ", "{described:?}");
    let mut admin = RawClient::connect(WORLD.proxy().port()).await;
    admin.login("admin", "shardway", shardway_tests::PASSWORD).await;
    let route = admin.query(&format!("SHOW ROUTE '{sql}'")).recv_until_ready().await;
    let row = &route.texts().0[0];
    let at = |n: usize| row[n].clone().unwrap_or_default();
    assert_eq!(
        (at(0), at(1), at(2)),
        ("gather".into(), "main; parts".into(), "0,1,2; 0,1".into()),
        "{row:?}"
    );
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    for opening in ["", "BEGIN"] {
        if !opening.is_empty() {
            pair.both(opening).await;
        }
        for sql in &STATEMENTS[..4] {
            pair.same(sql).await;
        }
    }
    pair.both("COMMIT").await;
    let left = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'";
    for shard in (0..3).map(|n| world.shard(n)).chain((0..2).map(|n| world.group_shard("parts", n))) {
        assert_eq!(shard.sql(left), "0");
    }
}
