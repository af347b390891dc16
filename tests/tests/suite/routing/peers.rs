//! What a peer answers wrongly in silence. Here each is answered rightly, or refused.

use shardway_tests::{Param, SharedWorld};

use super::{
    counts,
    oracle::{Pair, RECORDS},
};

static WORLD: &SharedWorld = &RECORDS;

async fn right_or_refused(statements: &[&str]) {
    let mut pair = Pair::of(WORLD).await;
    for sql in statements {
        pair.right_or_refused(sql).await;
    }
}

#[tokio::test]
async fn keys_are_not_taken_from_anywhere_in_a_select() {
    right_or_refused(&[
        "SELECT user_id = 5 FROM record",
        "SELECT user_id FROM record WHERE user_id + 1 = 5",
        "SELECT CASE WHEN user_id = 5 THEN 1 ELSE 0 END FROM record",
        "SELECT r.user_id, d.id FROM record r LEFT JOIN detail d ON d.user_id = r.user_id AND r.user_id = 5",
        "SELECT r.user_id, d.id FROM record r LEFT JOIN detail d ON d.user_id = 5",
        "SELECT user_id FROM record WHERE user_id = 5 OR n = 3",
        "SELECT user_id FROM record WHERE NOT user_id = 5",
    ])
    .await;
}

#[tokio::test]
async fn set_operations_and_subqueries_do_not_go_by_the_first_key() {
    right_or_refused(&[
        "SELECT user_id FROM record WHERE user_id = 5 UNION SELECT user_id FROM record WHERE user_id = 6",
        "SELECT user_id FROM record WHERE user_id = 5 UNION ALL SELECT user_id FROM record",
        "SELECT user_id FROM record EXCEPT SELECT user_id FROM record WHERE user_id = 5",
        "SELECT user_id FROM record WHERE user_id IN (SELECT user_id FROM detail WHERE user_id = 5)",
        "SELECT user_id FROM record WHERE user_id = 5 AND EXISTS (SELECT 1 FROM detail WHERE user_id = 8)",
        "SELECT user_id FROM record WHERE n = (SELECT max(n) FROM record WHERE user_id = 5)",
    ])
    .await;
}

#[tokio::test]
async fn lists_with_more_than_literals_lose_no_member() {
    right_or_refused(&[
        "SELECT user_id FROM record WHERE user_id IN (5, 3 + 3)",
        "SELECT user_id FROM record WHERE user_id IN (5, n, abs(-7))",
        "SELECT user_id FROM record WHERE user_id IN ('5.0', 6.0)",
        "SELECT user_id FROM record WHERE user_id = ANY(ARRAY[5, 3 + 3])",
    ])
    .await;
}

#[tokio::test]
async fn a_multi_row_insert_does_not_duplicate_rows() {
    let mut pair = Pair::of(WORLD).await;
    let sql = "INSERT INTO written VALUES (90, 201, 'a'), (90, 202, 'b'), (90, 203, 'c'), (90, 204, 'd')";
    assert_eq!(pair.proxy(sql).await, Ok(vec![]));
    let total: u32 = counts(WORLD, "written", "id = 90").iter().map(|n| n.parse::<u32>().unwrap()).sum();
    assert_eq!(total, 4);
}

#[tokio::test]
async fn a_prepared_multi_row_insert_does_not_duplicate_rows() {
    let mut client = WORLD.raw("app").await;
    let sql = "INSERT INTO written VALUES ($1, $2, 'a'), ($1, $3, 'b'), ($1, $4, 'c')";
    client.parse("insert", sql, &[]).sync();
    assert!(client.recv_until_ready().await.error().is_none());
    for id in ["92", "93"] {
        let params = [id, "301", "302", "303"].map(Param::Text);
        let reply = client.bind("", "insert", &params, &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(reply.commands(), ["INSERT 0 3"], "{reply:?}");
        let counted = counts(WORLD, "written", &format!("id = {id}"));
        assert_eq!(counted.iter().map(|n| n.parse::<u32>().unwrap()).sum::<u32>(), 3);
    }
    let params = [Param::Text("94"), Param::Null, Param::Text("302"), Param::Text("303")];
    let reply = client.bind("", "insert", &params, &[]).execute("", 0).sync().recv_until_ready().await;
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("23502"), "{reply:?}");
    assert_eq!(counts(WORLD, "written", "id = 94"), ["0", "0", "0"]);
}

#[tokio::test]
async fn a_null_key_is_written_nowhere() {
    let mut pair = Pair::of(WORLD).await;
    for sql in ["INSERT INTO written VALUES (91, NULL, 'x')", "INSERT INTO written (id) VALUES (91)"] {
        assert_eq!(pair.proxy(sql).await, Err("23502".into()), "{sql}");
    }
    assert_eq!(counts(WORLD, "written", "id = 91"), ["0", "0", "0"]);
}

#[tokio::test]
async fn limit_and_offset_are_applied_once() {
    let mut pair = Pair::of(WORLD).await;
    assert_eq!(pair.proxy("SELECT user_id FROM record LIMIT 4").await.unwrap().len(), 4);
    assert_eq!(pair.proxy("SELECT user_id FROM record OFFSET 10").await.unwrap().len(), 50);
    pair.same_in_order("SELECT user_id FROM record ORDER BY user_id OFFSET 10").await;
}

#[tokio::test]
async fn orders_by_what_is_not_selected_hold() {
    right_or_refused(&[
        "SELECT t FROM record ORDER BY user_id",
        "SELECT user_id FROM record ORDER BY n % 3, user_id",
        "SELECT user_id FROM record ORDER BY n NULLS FIRST, user_id",
        "SELECT user_id FROM record ORDER BY n DESC NULLS LAST, user_id",
        "SELECT user_id FROM record ORDER BY user_id USING >",
    ])
    .await;
}

#[tokio::test]
async fn values_are_not_compared_as_bytes_where_postgres_does_not() {
    right_or_refused(&[
        "SELECT t, user_id FROM record ORDER BY t, user_id LIMIT 5",
        "SELECT iv, user_id FROM record ORDER BY iv, user_id LIMIT 5",
        "SELECT d, user_id FROM record ORDER BY d, user_id",
        "SELECT ts, user_id FROM record ORDER BY ts DESC, user_id LIMIT 30",
        "SELECT num, user_id FROM record ORDER BY num, user_id",
    ])
    .await;
}

#[tokio::test]
async fn grouping_having_and_distinct_are_of_the_whole() {
    right_or_refused(&[
        "SELECT n, count(*) FROM record GROUP BY n HAVING count(*) > 5 ORDER BY n",
        "SELECT n % 2, sum(user_id) FROM record GROUP BY n % 2 ORDER BY 1",
        "SELECT n FROM record GROUP BY n",
        "SELECT DISTINCT b FROM record",
        "SELECT DISTINCT ON (b) b, user_id FROM record ORDER BY b, user_id",
    ])
    .await;
}

#[tokio::test]
async fn aggregates_are_of_the_whole() {
    right_or_refused(&[
        "SELECT count(*) FROM record",
        "SELECT coalesce(sum(user_id), 0) FROM record WHERE n = 3",
        "SELECT count(*) + 1 FROM record",
        "SELECT avg(x) FROM (SELECT user_id AS x FROM record WHERE user_id IN (2, 3)) s",
        "SELECT count(DISTINCT n) FROM record",
        "SELECT array_agg(user_id ORDER BY user_id) FROM record",
        "SELECT sum(num) FROM record WHERE num NOT IN ('NaN', 'Infinity', '-Infinity')",
        "SELECT (SELECT max(record.n)) FROM record",
    ])
    .await;
}

#[tokio::test]
async fn windows_are_of_the_whole() {
    right_or_refused(&[
        "SELECT user_id, row_number() OVER (ORDER BY user_id) FROM record",
        "SELECT user_id, count(*) OVER () FROM record",
        "SELECT user_id, sum(n) OVER w FROM record WINDOW w AS (ORDER BY user_id)",
    ])
    .await;
}

#[tokio::test]
async fn copy_out_is_one_stream() {
    let mut client = WORLD.raw("app").await;
    for options in ["", " WITH (FORMAT csv, HEADER)", " WITH (FORMAT binary)"] {
        let reply = client.query(&format!("COPY detail TO STDOUT{options}")).recv_until_ready().await;
        match reply.error() {
            Some(error) => assert_eq!(error.field('C').as_deref(), Some("0A000"), "{options}"),
            None => {
                let data: Vec<u8> = reply.of('d').flat_map(|d| d.body.to_vec()).collect();
                let rows = match options.contains("binary") {
                    true => binary_rows(&data),
                    false => data.iter().filter(|byte| **byte == b'\n').count(),
                };
                let headers = usize::from(options.contains("HEADER"));
                assert_eq!(rows, 60 + headers, "{options}");
            }
        }
    }
}

/// Rows of one stream in binary format: one signature, one trailer.
fn binary_rows(data: &[u8]) -> usize {
    assert!(data.starts_with(b"PGCOPY\n\xff\r\n\0"), "{data:?}");
    let number = |at: usize, bytes: usize| {
        data[at..at + bytes]
            .iter()
            .skip(bytes - 2)
            .fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (mut at, mut rows) = (19, 0);
    while number(at, 2) != 0xffff {
        let fields = number(at, 2);
        at += 2;
        for _ in 0..fields {
            let null = data[at..].starts_with(&[0xff; 4]);
            at += 4 + if null { 0 } else { number(at, 4) };
        }
        rows += 1;
    }
    assert_eq!(at + 2, data.len(), "what stands behind the trailer");
    rows
}
