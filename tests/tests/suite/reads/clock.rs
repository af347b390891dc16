//! The clock in reads over shards, and in transactions whose shards have begun theirs at different moments: one time for all.

use shardway_tests::{Message, Param, RawClient, Reply, World};

const SCHEMA: &str = "\
CREATE TABLE stamp (user_id int PRIMARY KEY, at timestamptz DEFAULT now(), day date DEFAULT CURRENT_DATE, n int);
CREATE FUNCTION tell(timestamptz) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$;";

/// Shards of the tests' worlds.
const SHARDS: usize = 3;

/// Rows of `stamp`.
const ROWS: usize = 30;

fn world() -> World {
    World::builder().shards(SHARDS).servers(1).schema(SCHEMA).start()
}

async fn ask(client: &mut RawClient, sql: &str) -> Reply {
    let reply = client.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply
}

/// The first column of the rows.
fn column(reply: &Reply) -> Vec<String> {
    let text =
        |row: Vec<Option<bytes::Bytes>>| String::from_utf8_lossy(row[0].as_deref().unwrap()).into_owned();
    reply.rows().into_iter().map(text).collect()
}

async fn value(client: &mut RawClient, sql: &str) -> String {
    column(&ask(client, sql).await).remove(0)
}

/// A client of a world with rows on each shard, and a key of each.
async fn with_rows(world: &World) -> (RawClient, Vec<String>) {
    let mut client = world.raw("app").await;
    ask(&mut client, &format!("INSERT INTO stamp (user_id) SELECT g FROM generate_series(1, {ROWS}) g"))
        .await;
    let mut keys = Vec::new();
    for shard in 0..SHARDS {
        keys.push(value(&mut client, &format!("/* shard: {shard} */ SELECT min(user_id) FROM stamp")).await);
    }
    (client, keys)
}

/// Opens a transaction on the shard of one key, and gives its time: that of any other shard will be another one. It writes
/// there, so that what is brought together is rather brought to others.
async fn begin_at(client: &mut RawClient, key: &str) -> String {
    ask(client, "BEGIN").await;
    let began = value(client, &format!("UPDATE stamp SET n = 1 WHERE user_id = {key} RETURNING now()")).await;
    let moved =
        format!("SELECT clock_timestamp() > now() + interval '20 ms' FROM stamp WHERE user_id = {key}");
    while value(client, &moved).await != "t" {}
    began
}

/// Ways to ask for a moment, and what they have to be for one.
const CALLS: [(&str, &str); 12] = [
    ("now()", "timestamptz"),
    ("pg_catalog.now()", "timestamptz"),
    ("transaction_timestamp()", "timestamptz"),
    ("CURRENT_TIMESTAMP", "timestamptz"),
    ("current_timestamp(2)", "timestamptz(2)"),
    ("CURRENT_DATE", "date"),
    ("LOCALTIMESTAMP", "timestamp"),
    ("LOCALTIMESTAMP(0)", "timestamp(0)"),
    ("CURRENT_TIME", "timetz"),
    ("current_time(3)", "timetz(3)"),
    ("LOCALTIME", "time"),
    ("localtime(1)", "time(1)"),
];

#[tokio::test]
async fn a_transaction_has_one_time_on_all_of_its_shards() {
    let world = world();
    let (mut client, keys) = with_rows(&world).await;
    for key in &keys {
        let began = begin_at(&mut client, key).await;
        for (call, of) in CALLS {
            let is = format!("{call} IS NOT DISTINCT FROM '{began}'::timestamptz::{of}");
            // Rows that are put together, groups, and what one shard works out.
            let rows =
                ask(&mut client, &format!("SELECT user_id FROM stamp WHERE {is} ORDER BY user_id")).await;
            assert_eq!(rows.rows().len(), ROWS, "{is}");
            let count = value(&mut client, &format!("SELECT count(*) FROM stamp WHERE {is}")).await;
            assert_eq!(count, ROWS.to_string(), "{is}");
            for _ in 0..SHARDS {
                let all = ask(&mut client, &format!("SELECT DISTINCT {is}, {call} FROM stamp")).await;
                assert_eq!(column(&all), ["t"], "{is}");
            }
            // And each shard by itself.
            for key in &keys {
                let sql = format!("SELECT {is} FROM stamp WHERE user_id = {key}");
                assert_eq!(value(&mut client, &sql).await, "t", "{sql}");
            }
        }
        ask(&mut client, &format!("DECLARE c CURSOR FOR SELECT user_id FROM stamp WHERE now() = '{began}'"))
            .await;
        assert_eq!(ask(&mut client, "FETCH ALL FROM c").await.rows().len(), ROWS);
        let locked =
            format!("SELECT user_id FROM stamp WHERE now() = '{began}' ORDER BY user_id LIMIT 7 FOR UPDATE");
        assert_eq!(ask(&mut client, &locked).await.rows().len(), 7);
        ask(&mut client, "ROLLBACK").await;
    }
}

#[tokio::test]
async fn what_a_transaction_wrote_since_it_began_is_found_on_every_shard() {
    let world = world();
    let (mut client, keys) = with_rows(&world).await;
    let shard_of =
        |n: i32| format!("/* shard: {n} */ SELECT user_id FROM stamp WHERE user_id > {ROWS} ORDER BY 1");
    ask(&mut client, "INSERT INTO stamp (user_id) SELECT g FROM generate_series(100, 160) g").await;
    let (there, here) =
        (column(&ask(&mut client, &shard_of(0)).await), column(&ask(&mut client, &shard_of(2)).await));
    ask(&mut client, "DELETE FROM stamp WHERE user_id >= 100").await;
    let began = begin_at(&mut client, &keys[2]).await;
    let mut written = 0;
    // By its text, by parameters, and prepared before.
    for (n, key) in there[..4].iter().chain(&here[..4]).enumerate() {
        let reply = match n % 4 {
            0 => ask(&mut client, &format!("INSERT INTO stamp (user_id) VALUES ({key}) RETURNING at")).await,
            1 => {
                ask(&mut client, &format!("INSERT INTO stamp VALUES ({key}, now()) RETURNING at, day, now()"))
                    .await
            }
            2 => {
                let sql = "INSERT INTO stamp (n, user_id) VALUES ($2, $1) RETURNING at";
                client.parse("", sql, &[]).bind("", "", &[Param::Text(key), Param::Text("7")], &[]);
                client.describe_portal("").execute("", 0).sync().recv_until_ready().await
            }
            _ => {
                let sql = "INSERT INTO stamp (user_id, at) VALUES ($1, CURRENT_TIMESTAMP) RETURNING at";
                client.parse(&format!("s{n}"), sql, &[]).sync().recv_until_ready().await;
                client.bind("", &format!("s{n}"), &[Param::Text(key)], &[]);
                client.execute("", 0).sync().recv_until_ready().await
            }
        };
        assert_eq!(column(&reply), [began.as_str()], "{n}: {reply:?}");
        written += 1;
        let since = ask(&mut client, "SELECT user_id FROM stamp WHERE at >= now() AND user_id >= 100").await;
        assert_eq!(since.rows().len(), written, "{n}: {since:?}");
    }
    let update = format!("UPDATE stamp SET at = now() WHERE user_id = {} RETURNING at", keys[0]);
    assert_eq!(column(&ask(&mut client, &update).await), [began.as_str()]);
    let several = format!("INSERT INTO stamp (user_id) VALUES ({}), ({}) RETURNING at", there[5], here[5]);
    assert_eq!(column(&ask(&mut client, &several).await), [began.as_str(), began.as_str()]);
    assert_eq!(ask(&mut client, "COMMIT").await.commands(), ["COMMIT"]);
    let at = value(&mut client, "SELECT count(*) FROM stamp WHERE at = (SELECT max(at) FROM stamp)").await;
    assert_eq!(at, (written + 3).to_string());
}

#[tokio::test]
async fn a_late_shard_is_told_the_time_in_every_protocol() {
    let world = world();
    let (mut client, keys) = with_rows(&world).await;
    let sql = "SELECT now(), CURRENT_TIMESTAMP(0), CURRENT_DATE, $2::text FROM stamp WHERE user_id = $1";
    client.parse("named", sql, &[]).describe_statement("named").sync().recv_until_ready().await;
    let columns = |reply: &Reply| reply.of('T').next().map(|t| t.columns());
    let began = begin_at(&mut client, &keys[1]).await;
    let mut described = Vec::new();
    for key in [&keys[1], &keys[0], &keys[2], &keys[0]] {
        for (name, formats) in [("", &[][..]), ("named", &[][..]), ("named", &[0, 0, 0, 1][..])] {
            if name.is_empty() {
                client.parse("", sql, &[]);
            }
            client.bind("", name, &[Param::Text(key), Param::Text("x")], formats).describe_portal("");
            let reply = client.execute("", 0).sync().recv_until_ready().await;
            assert_eq!(column(&reply), [began.as_str()], "{reply:?}");
            described.push((columns(&reply), reply.tags().replace('1', "")));
        }
        client.bind("", "named", &[Param::Text(key), Param::Text("x")], &[]);
        let undescribed = client.execute("", 0).sync().recv_until_ready().await;
        assert_eq!(column(&undescribed), [began.as_str()], "{undescribed:?}");
    }
    described.dedup();
    assert_eq!(described.len(), 1, "{described:?}");
    // Several statements of a text or batch, a portal that is read in pieces, SQL's PREPARE.
    let two = format!(
        "SELECT now() FROM stamp WHERE user_id = {0}; SELECT now() FROM stamp WHERE user_id = {0}",
        keys[0]
    );
    assert_eq!(column(&ask(&mut client, &two).await), [began.as_str(), began.as_str()]);
    client.parse("", "SELECT now(), user_id FROM stamp WHERE user_id IN ($1, $1)", &[]);
    client.bind("p", "", &[Param::Text(&keys[2])], &[]).execute("p", 1).execute("p", 1).sync();
    assert_eq!(column(&client.recv_until_ready().await), [began.as_str()]);
    ask(&mut client, "PREPARE q AS SELECT now() FROM stamp WHERE user_id = $1").await;
    assert_eq!(value(&mut client, &format!("EXECUTE q({})", keys[2])).await, began);
    ask(&mut client, &format!("DECLARE c CURSOR FOR SELECT now() FROM stamp WHERE user_id = {}", keys[0]))
        .await;
    assert_eq!(value(&mut client, "FETCH c").await, began);
    // The next transaction has its own.
    ask(&mut client, "COMMIT").await;
    client.bind("", "named", &[Param::Text(&keys[0]), Param::Text("x")], &[]);
    let next = client.execute("", 0).sync().recv_until_ready().await;
    assert_ne!(column(&next), [began.as_str()]);
}

/// The type modifiers that a RowDescription tells.
fn modifiers(described: &Message) -> Vec<i32> {
    let mut rest = &described.body[2..];
    let mut modifiers = Vec::new();
    for (name, _) in described.columns() {
        let field = &rest[name.len() + 1..];
        modifiers.push(i32::from_be_bytes(field[12..16].try_into().unwrap()));
        rest = &field[18..];
    }
    modifiers
}

#[tokio::test]
async fn columns_keep_their_names_and_types_and_errors_their_places() {
    let world = world();
    let (mut client, keys) = with_rows(&world).await;
    let calls: Vec<&str> = CALLS.iter().map(|(call, _)| *call).collect();
    let statements = [
        format!("SELECT {}, max(user_id) FROM stamp", calls.join(", ")),
        "SELECT now()::date, (now()), CASE WHEN n = 1 THEN at ELSE now() END FROM stamp ORDER BY 2, n + 1 LIMIT 1".to_owned(),
        "SELECT x.* FROM (SELECT CURRENT_DATE, now() AS \"now\", user_id FROM stamp) x ORDER BY user_id + 1".to_owned(),
        "SELECT now(), count(*) FROM stamp GROUP BY now() HAVING max(at) < now() + '1 day' ORDER BY now()".to_owned(),
    ];
    let shape = |reply: &Reply| {
        let described = reply.of('T').next().unwrap();
        (described.columns(), modifiers(described), reply.rows().len())
    };
    for sql in &statements {
        let alone = shape(&ask(&mut client, sql).await);
        begin_at(&mut client, &keys[0]).await;
        for _ in 0..=SHARDS {
            assert_eq!(shape(&ask(&mut client, sql).await), alone, "{sql}");
        }
        ask(&mut client, "ROLLBACK").await;
    }
    for sql in [
        "SELECT user_id FROM stamp WHERE at >= now() AND 'é' <> '' AND nosuch = 1",
        "SELECT count(*) FROM stamp WHERE at >= now() AND CURRENT_DATE = nosuch",
        "SELECT now(), rank() OVER (ORDER BY nosuch) FROM stamp",
        &format!("SELECT now() FROM stamp WHERE nosuch = 1 AND user_id = {}", keys[1]),
    ] {
        begin_at(&mut client, &keys[0]).await;
        let reply = client.query(sql).recv_until_ready().await;
        let error = reply.error().unwrap();
        let place = sql[..sql.find("nosuch").unwrap()].chars().count() + 1;
        assert_eq!(
            (error.field('C'), error.field('P')),
            (Some("42703".into()), Some(place.to_string())),
            "{sql}"
        );
        ask(&mut client, "ROLLBACK").await;
    }
    // And behind another statement of the text.
    for sql in [
        "SELECT 'é'; \n SELECT user_id FROM stamp WHERE at >= now() AND nosuch = 1 ORDER BY user_id",
        "SELECT 1;SELECT user_id, user_id - nosuch FROM stamp ORDER BY user_id LIMIT 3",
        "SELECT 1; SELECT max(n) FROM stamp WHERE nosuch = 1",
    ] {
        let reply = client.query(sql).recv_until_ready().await;
        let place = sql[..sql.find("nosuch").unwrap()].chars().count() + 1;
        assert_eq!(reply.error().unwrap().field('P'), Some(place.to_string()), "{sql}: {reply:?}");
    }
}

#[tokio::test]
async fn a_statement_alone_has_one_time_on_all_shards() {
    let world = world();
    let (mut client, _) = with_rows(&world).await;
    let told = |reply: &Reply| {
        let mut told: Vec<_> = reply.of('N').filter_map(|notice| notice.field('M')).collect();
        told.dedup();
        told
    };
    for sql in [
        "SELECT user_id FROM stamp WHERE tell(now())",
        "SELECT user_id FROM stamp WHERE tell(statement_timestamp()) ORDER BY user_id",
        "SELECT count(*), max(n) FROM stamp WHERE tell(now())",
    ] {
        assert_eq!(told(&ask(&mut client, sql).await).len(), 1, "{sql}");
        client.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0).sync();
        let reply = client.recv_until_ready().await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
        assert_eq!(told(&reply).len(), 1, "{sql}: {reply:?}");
    }
    let copied =
        client.query("COPY (SELECT user_id FROM stamp WHERE tell(now())) TO STDOUT").recv_until_ready().await;
    assert_eq!(told(&copied).len(), 1, "{copied:?}");
}

#[tokio::test]
async fn what_has_no_place_for_a_time_is_refused_where_it_would_be_another_one() {
    let world = world();
    let (mut client, keys) = with_rows(&world).await;
    let sql = "SELECT count(*) FROM stamp, now() moment WHERE at <= moment";
    assert_eq!(value(&mut client, sql).await, ROWS.to_string());
    begin_at(&mut client, &keys[0]).await;
    let reply = client.query(sql).recv_until_ready().await;
    assert_eq!(reply.error().and_then(|error| error.field('C')), Some("0A000".to_owned()), "{reply:?}");
    ask(&mut client, "ROLLBACK").await;
}
