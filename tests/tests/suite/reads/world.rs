//! Four shards, and beside them one database that holds the same rows.

use std::fmt::Write;

use shardway_tests::{PASSWORD, Param, RawClient, Reply, SharedWorld, World};

const SCHEMA: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE sale (
    user_id int, id int, a int, s int2, big int8, num numeric, price numeric(12,2), f float8, f4 float4,
    t text COLLATE "en-x-icu", c text COLLATE "C", v varchar(20) COLLATE "C", ch char(5), u uuid, b bool, d date, ts timestamp,
    tz timestamptz, tm time, e mood, y bytea, o oid, iv interval, PRIMARY KEY (user_id, id)
);
CREATE TABLE item (user_id int, sale_id int, qty int, note text);
CREATE TABLE nothing (user_id int, n int, t text, num numeric);
CREATE TABLE random (user_id int, n int, g text, num numeric);
CREATE TABLE hours (user_id int, tz timestamptz);
CREATE TABLE label (id int PRIMARY KEY, label text);
"#;

/// Rows of `sale`.
const SALES: usize = 160;

pub static SALES_WORLD: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start();
    let server = world.server(0);
    let reference = "INSERT INTO label SELECT g, 'label ' || g % 3 FROM generate_series(1, 6) g";
    world.shards().for_each(|shard| drop(shard.sql(reference)));
    server.sql("oracle", reference).unwrap();
    let rows: Vec<String> = (0..SALES).flat_map(row).collect();
    server.sql("oracle", &rows.join(";")).unwrap();
    // Shared worlds are made inside of tests, which have a runtime of their own.
    let filling = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fill(&world, &rows));
    };
    std::thread::scope(|scope| scope.spawn(filling).join().unwrap());
    world
});

async fn fill(world: &World, rows: &[String]) {
    let mut client = world.raw("app").await;
    for row in rows {
        let reply = client.query(row).recv_until_ready().await;
        assert!(reply.error().is_none(), "{row}: {reply:?}");
    }
}

/// Inserts of one sale and its items. Values repeat over users, so that most groups are on several shards.
fn row(i: usize) -> Vec<String> {
    let columns: [&[&str]; 21] = [
        &["1", "2", "3", "NULL", "-5", "2147483647", "-2147483648"],
        &["1", "-1", "NULL", "32767", "-32768", "0"],
        &["9223372036854775807", "-9223372036854775807", "0", "NULL", "10", "5000000000"],
        &[
            "1.10",
            "1.1",
            "-0.5",
            "NULL",
            "12345678901234567890.5",
            "0",
            "0.000000000000000000001",
            "1e20",
            "99999.99995",
        ],
        &["10.00", "0.01", "-99.99", "NULL", "1234567890.12"],
        &["1e300", "-1e-300", "NaN", "Infinity", "NULL", "-0", "0", "20"],
        &["1.5", "16777216", "NaN", "NULL", "-3"],
        &["apple", "Banana", "NULL", "Äpfel", "zebra", ""],
        &["a", "B", "b", "é", "NULL", "", "a b"],
        &["x", "y", "NULL", "X"],
        &["p", "q", "NULL"],
        &["8f14e45f-ceea-467f-a830-8d4c0e6b6a3d", "00000000-0000-0000-0000-000000000000", "NULL"],
        &["true", "false", "NULL", "false"],
        &["1969-07-20", "infinity", "NULL", "-infinity", "0044-03-15 BC", "2024-02-29", "20240-01-01"],
        &["1999-12-31 23:59:59.999999", "infinity", "-infinity", "NULL", "0044-03-15 BC", "2024-02-29"],
        &["1970-01-01 00:00:00+00", "NULL", "1900-01-01 00:00:00.000001+05", "2014-10-26 01:30:00+04"],
        &["00:00", "23:59:59.999999", "NULL", "24:00"],
        &["sad", "happy", "NULL", "ok"],
        &["\\x00ff", "\\x", "NULL", "\\x00"],
        &["1", "4294967295", "NULL", "16384"],
        &["1 month", "30 days", "NULL"],
    ];
    let mut sql = format!("INSERT INTO sale VALUES ({}, {i}", i / 2 + 1);
    for (step, values) in columns.iter().enumerate() {
        let value = values[(i * 7 + i / 5 + step) % values.len()];
        let _ = if value == "NULL" { write!(sql, ", NULL") } else { write!(sql, ", '{value}'") };
    }
    sql.push(')');
    let item =
        |n: usize| format!("INSERT INTO item VALUES ({}, {i}, {}, 'note {}')", i / 2 + 1, n + i % 4, n % 2);
    std::iter::once(sql).chain((0..i % 3).map(item)).collect()
}

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Simple,
    Text,
    Binary,
}

/// A client of the proxy, and one of the single database.
pub struct Pair {
    pub proxy: RawClient,
    pub single: RawClient,
}

/// What a statement gives: columns with their types, rows and tags; or an error's SQLSTATE and message.
pub type Said = Result<(Vec<(String, u32)>, Vec<String>, Vec<String>), (String, String)>;

impl Pair {
    pub async fn of(world: &World) -> Pair {
        let mut single = RawClient::connect(world.server(0).port()).await;
        single.login("app", "oracle", PASSWORD).await;
        Pair { proxy: world.raw("app").await, single }
    }

    pub async fn both(&mut self, sql: &str) {
        for client in [&mut self.proxy, &mut self.single] {
            let reply = client.query(sql).recv_until_ready().await;
            assert!(reply.error().is_none(), "{sql}: {reply:?}");
        }
    }

    /// Both give the same in every protocol and format. Rows without an order are compared as a multiset.
    pub async fn same(&mut self, sql: &str) {
        for way in [Way::Simple, Way::Text, Way::Binary] {
            let expected = asked(&mut self.single, sql, &[], way).await;
            assert!(expected.is_ok(), "{sql}: {expected:?}");
            let got = asked(&mut self.proxy, sql, &[], way).await;
            let ordered = sql.contains("ORDER BY");
            assert_eq!(comparable(got, ordered), comparable(expected, ordered), "{sql}\n  asked by {way:?}");
        }
    }

    /// The same with parameters.
    pub async fn same_with(&mut self, sql: &str, params: &[Param<'_>]) {
        for way in [Way::Text, Way::Binary] {
            let expected = asked(&mut self.single, sql, params, way).await;
            let got = asked(&mut self.proxy, sql, params, way).await;
            let ordered = sql.contains("ORDER BY");
            let (got, expected) = (comparable(got, ordered), comparable(expected, ordered));
            assert_eq!(got, expected, "{sql} with {params:?}\n  asked by {way:?}");
        }
    }

    /// The proxy says that it is not supported.
    pub async fn refused(&mut self, sql: &str) {
        let said = asked(&mut self.proxy, sql, &[], Way::Simple).await;
        assert_eq!(said.as_ref().map_err(|(code, _)| code.as_str()), Err("0A000"), "{sql}: {said:?}");
    }
}

pub async fn asked(client: &mut RawClient, sql: &str, params: &[Param<'_>], way: Way) -> Said {
    let reply = match way {
        Way::Simple => client.query(sql).recv_until_ready().await,
        way => {
            let formats: &[i16] = if way == Way::Binary { &[1] } else { &[] };
            client.parse("", sql, &[]).bind("", "", params, formats).describe_portal("");
            client.execute("", 0).sync().recv_until_ready().await
        }
    };
    said(&reply)
}

pub fn said(reply: &Reply) -> Said {
    if let Some(error) = reply.error() {
        return Err((error.field('C').unwrap_or_default(), error.field('M').unwrap_or_default()));
    }
    let columns = reply.of('T').next().map(|t| t.columns()).unwrap_or_default();
    // Types that a schema makes have numbers of their own in every database.
    let columns = columns.into_iter().map(|(name, oid)| (name, if oid < 16384 { oid } else { 0 }));
    let text = |value: &Option<bytes::Bytes>| match value {
        Some(bytes) => format!("{:?}", bytes),
        None => "∅".to_owned(),
    };
    let rows = reply.rows().iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect();
    Ok((columns.collect(), rows, reply.commands()))
}

pub fn comparable(said: Said, ordered: bool) -> Said {
    said.map(|(columns, mut rows, tags)| {
        if !ordered {
            rows.sort();
        }
        (columns, rows, tags)
    })
}
