//! What shards can't answer by themselves where temporary tables may not be made: in READ ONLY transactions, and for users who
//! lack the right. The answers are those of one Postgres.

use shardway_tests::{Param, SharedWorld, World};

use super::world::{Pair, SALES_WORLD, Way, asked, comparable};

/// Every type, joins, aggregates, and what is brought of one table only.
const STATEMENTS: &[&str] = &[
    "SELECT count(DISTINCT a), count(*) FROM sale",
    "SELECT s.*, i.qty, i.note FROM sale s JOIN item i ON i.sale_id = s.id ORDER BY s.id, i.qty",
    "SELECT sale.id, public.item.note FROM sale, public.item WHERE sale.id = item.sale_id AND item.note = 'note 1'",
    "SELECT l.label, count(DISTINCT s.id), max(s.t) FROM sale s RIGHT JOIN label l ON l.id = s.a GROUP BY 1 ORDER BY 1",
    "SELECT t, row_number() OVER (ORDER BY t, id) FROM sale ORDER BY t, id",
    "SELECT e, max(e) OVER (), array_agg(id) OVER (ORDER BY e, id) FROM sale WHERE e > 'sad' ORDER BY e, id",
    "SELECT DISTINCT ch, v, t COLLATE \"C\" FROM sale ORDER BY 3, 2, 1",
    "SELECT x.id FROM sale x WHERE x.num > (SELECT avg(num) FROM sale y WHERE y.a = x.a) ORDER BY 1",
    "SELECT count(*), count(n.n) FROM sale LEFT JOIN nothing n ON n.n = sale.id",
    "SELECT count(DISTINCT n) FROM nothing",
    "SELECT price, f, f4, y, iv, tz, ts, d, tm, u, o FROM sale UNION SELECT price, f, f4, y, iv, tz, ts, d, tm, u, o FROM sale",
    "WITH RECURSIVE up(id) AS (SELECT min(id) FROM sale UNION ALL SELECT id + 40 FROM up WHERE id < 100) \
     SELECT up.id, s.a FROM up JOIN sale s ON s.id = up.id ORDER BY 1",
    "SELECT string_agg(note, ',' ORDER BY qty, sale_id) FROM item WHERE qty = 2",
    "SELECT max(e) FROM sale s JOIN item i ON i.sale_id = s.id WHERE s.user_id = ANY ('{1,2,3}')",
];

#[tokio::test]
async fn read_only_transactions_are_answered_as_by_one_postgres() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for opening in
        ["BEGIN READ ONLY", "BEGIN; SET TRANSACTION READ ONLY", "BEGIN; SET LOCAL transaction_read_only = on"]
    {
        pair.both(opening).await;
        for sql in STATEMENTS {
            pair.same(sql).await;
        }
        pair.both("COMMIT").await;
    }
    pair.both("SET default_transaction_read_only = on").await;
    for opening in ["", "BEGIN"] {
        if !opening.is_empty() {
            pair.both(opening).await;
        }
        for sql in STATEMENTS {
            pair.same(sql).await;
        }
    }
    pair.both("COMMIT").await;
}

#[tokio::test]
async fn parameters_go_beside_what_is_brought() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.both("BEGIN READ ONLY").await;
    let sql = "SELECT $2::text, count(DISTINCT s.t), sum(i.qty * $1) FROM sale s JOIN item i ON i.sale_id = s.id WHERE i.qty >= $3";
    pair.same_with(sql, &[Param::Text("3"), Param::Text("x"), Param::Text("1")]).await;
    pair.same_with(sql, &[Param::Text("3"), Param::Null, Param::Null]).await;
    let limited = "SELECT s.id, s.t FROM sale s WHERE s.a = $1 ORDER BY s.t || s.id LIMIT $2";
    pair.same_with(limited, &[Param::Text("2"), Param::Text("5")]).await;
    for client in [&mut pair.proxy, &mut pair.single] {
        let reply = client.parse("p", sql, &[]).describe_statement("p").sync().recv_until_ready().await;
        assert!(reply.error().is_none(), "{reply:?}");
    }
    for n in ["1", "7"] {
        let mut said = Vec::new();
        for client in [&mut pair.proxy, &mut pair.single] {
            client.bind("", "p", &[Param::Text(n), Param::Text("é"), Param::Text("0")], &[1, 0, 1]);
            said.push(client.execute("", 0).sync().recv_until_ready().await.rows());
        }
        assert_eq!(said[0], said[1]);
    }
}

#[tokio::test]
async fn settings_that_change_how_values_look_change_no_value() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.both("SET extra_float_digits = 0; SET DateStyle = 'SQL, DMY'; SET bytea_output = 'escape'; SET IntervalStyle = iso_8601")
        .await;
    pair.both("BEGIN READ ONLY").await;
    for sql in STATEMENTS {
        pair.same(sql).await;
    }
}

#[tokio::test]
async fn errors_in_them_are_those_of_one_postgres_and_a_savepoint_brings_them_back() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.both("BEGIN READ ONLY; SAVEPOINT a").await;
    for wrong in [
        "SELECT count(DISTINCT s.a) / (count(*) - count(*)) FROM sale s, item",
        "SELECT count(DISTINCT nosuch) FROM sale",
        "SELECT count(DISTINCT c.nosuch) FROM sale c",
    ] {
        let [got, expected] = [&mut pair.proxy, &mut pair.single].map(|client| client.query(wrong));
        let (got, expected) = (got.recv_until_ready().await, expected.recv_until_ready().await);
        let error = |reply: &shardway_tests::Reply| {
            let error = reply.error().unwrap();
            (error.field('C'), error.field('M'), error.field('P'))
        };
        assert_eq!((error(&got), got.status()), (error(&expected), 'E'), "{wrong}");
        pair.both("ROLLBACK TO a").await;
        pair.same(STATEMENTS[0]).await;
    }
}

/// A world whose tables are written to.
fn world() -> World {
    let schema = "CREATE TABLE t (user_id int, n int, v text); CREATE TABLE big (user_id int, v text);
                  CREATE TABLE tagged (user_id int, tags text[], n int);
                  CREATE VIEW busy AS SELECT n, count(*) AS times FROM t GROUP BY n";
    World::builder().shards(3).oracle().schema(schema).start()
}

#[tokio::test]
async fn a_transaction_that_wrote_before_it_became_read_only_sees_that() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    pair.both("INSERT INTO t SELECT g, g, 'v' || g FROM generate_series(1, 20) g").await;
    pair.both(
        "BEGIN; INSERT INTO t VALUES (1, 100, 'new'), (2, 200, 'new'); UPDATE t SET v = 'other' WHERE n < 5",
    )
    .await;
    pair.both("SET TRANSACTION READ ONLY").await;
    for sql in [
        "SELECT v, count(DISTINCT n) FROM t GROUP BY v ORDER BY 1",
        "SELECT max(a.n) FROM t a JOIN t b ON a.n = b.n * 2",
        "SELECT b.times, t.v FROM busy b JOIN t USING (n) ORDER BY t.v, t.n",
    ] {
        pair.same(sql).await;
    }
    for client in [&mut pair.proxy, &mut pair.single] {
        let reply = client.query("INSERT INTO t VALUES (3, 3, 'x')").recv_until_ready().await;
        assert_eq!(reply.error().unwrap().field('C').as_deref(), Some("25006"));
    }
    pair.both("ROLLBACK").await;
    pair.same("SELECT count(DISTINCT n), max(n) FROM t").await;
}

#[tokio::test]
async fn arrays_and_whole_rows_are_brought_or_refused() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    pair.both("INSERT INTO tagged SELECT g, ARRAY['a', NULL, 'x,\"' || g], g FROM generate_series(1, 9) g")
        .await;
    pair.both("INSERT INTO tagged VALUES (20, '{}', NULL), (21, NULL, 3)").await;
    pair.both("BEGIN READ ONLY").await;
    pair.same("SELECT a.tags, b.tags[2:3] FROM tagged a JOIN tagged b ON a.n = b.n + 1 ORDER BY a.n, a.tags, b.tags").await;
    pair.same("SELECT row_to_json(tagged) FROM tagged WHERE n IN (SELECT max(n) FROM tagged)").await;
    pair.refused("SELECT tagged FROM tagged WHERE n IN (SELECT max(n) FROM tagged)").await;
}

#[tokio::test]
async fn no_more_is_held_than_may_be() {
    let world = World::builder()
        .shards(2)
        .schema("CREATE TABLE t (user_id int, n int, v text)")
        .config("[routing]\ngather_max_bytes = '256KiB'")
        .start();
    for shard in world.shards() {
        shard.sql("INSERT INTO t SELECT 5, g, repeat('x', 100) FROM generate_series(1, 4000) g");
    }
    let mut client = world.raw("app").await;
    client.query("BEGIN READ ONLY").recv_until_ready().await;
    let reply = client.query("SELECT count(DISTINCT n) FROM t").recv_until_ready().await;
    assert_eq!(reply.texts(), [[Some("4000")]]);
    let reply = client.query("SELECT count(DISTINCT v || n) FROM t").recv_until_ready().await;
    assert_eq!((reply.error().unwrap().field('C').as_deref(), reply.status()), (Some("54000"), 'E'));
    client.query("ROLLBACK").recv_until_ready().await;
    let reply = client.query("SELECT count(DISTINCT n) FROM t").recv_until_ready().await;
    assert_eq!(reply.texts(), [[Some("4000")]]);
}

#[tokio::test]
async fn a_user_who_may_not_make_temporary_tables_is_answered() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    pair.both("INSERT INTO t SELECT g, g % 7, 'v' || g FROM generate_series(1, 40) g").await;
    for shard in world.shards() {
        shard.sql(&format!("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC, app", shard.database()));
        shard.sql(&format!("ALTER DATABASE {} OWNER TO postgres", shard.database()));
    }
    pair.proxy = world.raw("app").await;
    let statements = [
        "SELECT count(DISTINCT n) FROM t",
        "SELECT a.v, b.v FROM t a JOIN t b ON a.n = b.n + 1 ORDER BY 1, 2",
    ];
    for sql in statements {
        pair.same(sql).await;
    }
    pair.both("BEGIN; INSERT INTO t VALUES (3, 1000, 'new')").await;
    for sql in statements {
        pair.same(sql).await;
    }
    pair.both("DECLARE c SCROLL CURSOR FOR SELECT n, count(*) FROM t GROUP BY n ORDER BY n + 0").await;
    pair.same("FETCH 3 FROM c").await;
    pair.same("FETCH BACKWARD 1 FROM c").await;
    pair.both("COMMIT").await;
    pair.same(statements[0]).await;
    // What it may not read, it may not read so either.
    world
        .shards()
        .for_each(|shard| drop(shard.sql("REVOKE SELECT ON t FROM app; ALTER TABLE t OWNER TO postgres")));
    let reply = pair.proxy.query(statements[0]).recv_until_ready().await;
    assert_eq!(reply.error().unwrap().field('C').as_deref(), Some("42501"), "{reply:?}");
}

static CURSORS: SharedWorld = SharedWorld::new(|| {
    let world = world();
    let rows = "INSERT INTO t SELECT g, g * 3 % 11, 'v' || g FROM generate_series(1, 30) g";
    world.server(0).sql("oracle", rows).unwrap();
    // Wherever its key belongs.
    for (n, shard) in world.shards().enumerate() {
        shard.sql(&format!("{rows} WHERE g % 3 = {n}"));
    }
    world
});

#[tokio::test]
async fn cursors_and_portals_go_through_rows_that_are_held() {
    let mut pair = Pair::of(&CURSORS).await;
    pair.both("BEGIN READ ONLY").await;
    let query = "SELECT n, count(*) AS \"how Many\", min(v)::varchar(9) AS v, NULL::numeric(5,2) AS none FROM t GROUP BY n HAVING count(*) > 1 ORDER BY n + 0";
    for (name, declare) in [("a", "SCROLL CURSOR"), ("b", "BINARY NO SCROLL CURSOR"), ("c", "CURSOR")] {
        pair.both(&format!("DECLARE {name} {declare} FOR {query}")).await;
        for fetch in ["FETCH 2 FROM", "FETCH FROM", "MOVE 1 FROM", "FETCH ALL FROM", "FETCH FROM"] {
            pair.same(&format!("{fetch} {name}")).await;
        }
    }
    for fetch in [
        "FETCH BACKWARD 3 FROM a",
        "FETCH ABSOLUTE 2 FROM a",
        "FETCH LAST FROM a",
        "FETCH RELATIVE -2 FROM a",
    ] {
        pair.same(fetch).await;
    }
    pair.both("DECLARE empty CURSOR FOR SELECT DISTINCT n + 0 AS n FROM t WHERE n > 1000 ORDER BY 1").await;
    pair.same("FETCH 5 FROM empty").await;
    pair.both("CLOSE a").await;
    for client in [&mut pair.proxy, &mut pair.single] {
        client.parse("", query, &[]).bind("p", "", &[], &[]).execute("p", 2).execute("p", 3).execute("p", 0);
        let reply = client.sync().recv_until_ready().await;
        assert!(reply.error().is_none(), "{reply:?}");
    }
    let limited = async |client: &mut shardway_tests::RawClient| {
        client.parse("", query, &[]).bind("q", "", &[], &[]).execute("q", 2).execute("q", 3).execute("q", 0);
        let reply = client.sync().recv_until_ready().await;
        (reply.tags(), reply.rows())
    };
    assert_eq!(limited(&mut pair.proxy).await, limited(&mut pair.single).await);
    pair.both("COMMIT").await;
    // It outlives its transaction.
    pair.both("BEGIN READ ONLY").await;
    pair.both(&format!("DECLARE held SCROLL CURSOR WITH HOLD FOR {query}")).await;
    pair.both("COMMIT").await;
    for fetch in ["FETCH 2 FROM held", "FETCH LAST FROM held", "FETCH PRIOR FROM held"] {
        pair.same(fetch).await;
    }
    pair.both("CLOSE held").await;
}

#[tokio::test]
async fn a_cursor_whose_columns_have_no_way_is_refused_clearly() {
    let mut client = CURSORS.raw("app").await;
    client.query("BEGIN READ ONLY").recv_until_ready().await;
    let said = asked(
        &mut client,
        "DECLARE c CURSOR FOR SELECT array_agg(DISTINCT n) AS all FROM t",
        &[],
        Way::Simple,
    )
    .await;
    let (code, message) = comparable(said, false).unwrap_err();
    assert_eq!(code, "0A000");
    assert!(message.contains("\"all\"") && message.contains("temporary table"), "{message}");
}

#[tokio::test]
async fn an_insert_that_returns_rows_gives_them_a_few_at_a_time() {
    let world = world();
    let mut pair = Pair::of(&world).await;
    pair.both("INSERT INTO t SELECT g, g, 'v' || g FROM generate_series(1, 20) g").await;
    let sql = "INSERT INTO big SELECT n * 2, v FROM t ORDER BY n RETURNING user_id, v";
    pair.both("BEGIN").await;
    let mut said = Vec::new();
    for client in [&mut pair.proxy, &mut pair.single] {
        client.parse("", sql, &[]).bind("p", "", &[], &[]).describe_portal("p").execute("p", 3).sync();
        let mut replies = vec![client.recv_until_ready().await];
        for limit in [5, 0] {
            replies.push(client.execute("p", limit).sync().recv_until_ready().await);
        }
        let tags: Vec<String> = replies.iter().map(|reply| reply.tags()).collect();
        let mut rows: Vec<_> = replies.iter().flat_map(|reply| reply.rows()).collect();
        rows.sort();
        said.push((tags, rows, replies[2].commands()));
    }
    assert_eq!(said[0], said[1]);
    pair.both("COMMIT").await;
    pair.same("SELECT count(*), sum(user_id) FROM big").await;
}
