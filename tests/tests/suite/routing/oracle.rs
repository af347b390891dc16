//! Three shards, and beside them one database that holds the same rows: what it says is right.

use std::fmt::Write;

use shardway_tests::{PASSWORD, Param, RawClient, SharedWorld, World};

use super::{ask, said};

const SCHEMA: &str = r#"
CREATE TABLE record (
    user_id int PRIMARY KEY, n int, num numeric, f float8, f4 float4, big int8, t text COLLATE "en-x-icu", c text COLLATE "C",
    u uuid, b bool, ts timestamp, d date, tz timestamptz, iv interval
);
CREATE TABLE detail (id int, user_id int, note text, PRIMARY KEY (user_id, id));
CREATE TABLE written (id int, user_id int, note text, PRIMARY KEY (user_id, id));
CREATE TABLE label (id int PRIMARY KEY, label text);
"#;

pub static RECORDS: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(3).servers(2).schema(SCHEMA).oracle().start();
    let server = world.server(0);
    let reference = "INSERT INTO label SELECT g, 'label ' || g FROM generate_series(1, 6) g";
    world.shards().for_each(|shard| drop(shard.sql(reference)));
    server.sql("oracle", reference).unwrap();
    let rows: Vec<String> = (1..=60).flat_map(row).collect();
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
        assert_eq!(ask(&mut client, row).await, Ok(vec![]), "{row}");
    }
}

/// Inserts of one record and its details, with every odd value of every type among sixty of them.
fn row(i: usize) -> Vec<String> {
    fn of<'a>(i: usize, step: usize, values: &[&'a str]) -> &'a str {
        values[i / step % values.len()]
    }
    let mut sql = format!("INSERT INTO record VALUES ({i}");
    let quoted = [
        of(i, 1, &["1", "2", "3", "NULL", "-5", "4", "6"]),
        of(
            i,
            2,
            &["1.10", "1.1", "NaN", "-0.5", "NULL", "12345678901234567890.5", "0", "Infinity", "-Infinity"],
        ),
        of(i, 1, &["1e300", "-1e-300", "NaN", "Infinity", "-Infinity", "NULL", "0.1", "-0", "100", "20"]),
        of(i, 3, &["1.5", "16777216", "NaN", "1e-20", "NULL", "-3"]),
        of(i, 1, &["9223372036854775807", "-9223372036854775808", "0", "NULL", "10", "9"]),
        of(i, 1, &["apple", "Banana", "cherry", "Äpfel", "NULL", "zebra", "_x"]),
        of(i, 2, &["a", "B", "b", "Z", "é", "NULL", "", "a b"]),
        of(
            i,
            1,
            &[
                "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d",
                "00000000-0000-0000-0000-000000000000",
                "NULL",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ],
        ),
        of(i, 1, &["true", "false", "NULL"]),
        of(
            i,
            1,
            &["1999-12-31 23:59:59.999999", "infinity", "-infinity", "NULL", "0044-03-15 BC", "2024-02-29"],
        ),
        of(i, 2, &["1969-07-20", "infinity", "NULL", "-infinity", "0001-01-01", "2024-02-29"]),
        of(
            i,
            3,
            &["1970-01-01 00:00:00+00", "NULL", "infinity", "1900-01-01 00:00:00.000001+05", "-infinity"],
        ),
        of(i, 1, &["1 month", "30 days", "NULL"]),
    ];
    for value in quoted {
        let _ = if value == "NULL" { write!(sql, ", NULL") } else { write!(sql, ", '{value}'") };
    }
    sql.push(')');
    let details = (0..i % 3).map(|id| format!("INSERT INTO detail VALUES ({id}, {i}, 'note {id}')"));
    std::iter::once(sql).chain(details).collect()
}

/// A client of the proxy, and one of the single database.
pub struct Pair {
    proxy: RawClient,
    single: RawClient,
}

impl Pair {
    pub async fn of(world: &World) -> Pair {
        let mut single = RawClient::connect(world.server(0).port()).await;
        single.login("app", "oracle", PASSWORD).await;
        Pair { proxy: world.raw("app").await, single }
    }

    pub async fn proxy(&mut self, sql: &str) -> Result<Vec<String>, String> {
        ask(&mut self.proxy, sql).await
    }

    /// Both give the same rows in the same order.
    pub async fn same_in_order(&mut self, sql: &str) {
        let expected = ask(&mut self.single, sql).await;
        assert!(expected.is_ok(), "{sql}: {expected:?}");
        assert_eq!(ask(&mut self.proxy, sql).await, expected, "{sql}");
    }

    /// Both give the same rows, whatever the order.
    pub async fn same_rows(&mut self, sql: &str) {
        let (mut expected, mut got) =
            (ask(&mut self.single, sql).await.unwrap(), ask(&mut self.proxy, sql).await.unwrap());
        expected.sort();
        got.sort();
        assert_eq!(got, expected, "{sql}");
    }

    /// As [`same_in_order`](Self::same_in_order), by extended protocol with parameters in text.
    pub async fn same_with(&mut self, sql: &str, params: &[Option<&str>]) {
        let mut answers = Vec::new();
        for client in [&mut self.single, &mut self.proxy] {
            let params: Vec<Param<'_>> = params.iter().map(|p| p.map_or(Param::Null, Param::Text)).collect();
            client.parse("", sql, &[]).bind("", "", &params, &[]).execute("", 0).sync();
            answers.push(said(client.recv_until_ready().await));
        }
        assert!(answers[0].is_ok(), "{sql}: {:?}", answers[0]);
        assert_eq!(answers[1], answers[0], "{sql} with {params:?}");
    }

    /// The proxy gives what the single database gives, or says that it is not supported.
    pub async fn right_or_refused(&mut self, sql: &str) {
        let mut expected = ask(&mut self.single, sql).await.unwrap_or_else(|code| panic!("{sql}: {code}"));
        match ask(&mut self.proxy, sql).await {
            Err(code) => assert_eq!(code, "0A000", "{sql}"),
            Ok(mut got) => {
                if !sql.contains("ORDER BY") {
                    expected.sort();
                    got.sort();
                }
                assert_eq!(got, expected, "{sql}");
            }
        }
    }
}
