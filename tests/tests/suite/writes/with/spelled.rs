//! Statements that the parser has no words for, tables made of queries, and rows that are written where a cursor stands.

use shardway_tests::{Param, World};

use super::{SCHEMA, WORLD, fill, hold_the_same};
use crate::reads::world::{Pair, Way};
use crate::writes::pair::{both, copies_are_the_same, holds_the_same, same};
use crate::writes::{ask, code};

#[tokio::test]
async fn parts_of_columns_are_set() {
    let mut pair = Pair::of(&WORLD).await;
    for sql in [
        "INSERT INTO tags VALUES (1, '{a,b}', '{1,2}'), (2, '{c}', NULL), (3, NULL, '{}'), (4, '{d}', '{4}')",
        "UPDATE tags SET tags[1] = 'x' WHERE user_id = 1 RETURNING tags",
        "UPDATE tags SET tags[2] = upper(tags[1]), sums[1:2] = '{7,8}' RETURNING user_id, tags, sums",
        "INSERT INTO tags (user_id, tags) VALUES (1, '{q}') ON CONFLICT (user_id) DO UPDATE SET tags[1] = 'z', sums = ARRAY[1, 2][1:1]",
    ] {
        same(&mut pair, sql, Way::Simple).await;
        holds_the_same(&mut pair, "tags").await;
    }
    let sql = "UPDATE tags SET tags[$1] = $2 WHERE user_id = $3 RETURNING tags";
    both(&mut pair, sql, &[Param::Text("3"), Param::Text("p"), Param::Text("2")], Way::Text, true).await;
    holds_the_same(&mut pair, "tags").await;
}

#[tokio::test]
async fn table_is_a_query() {
    let mut pair = Pair::of(&WORLD).await;
    pair.both("INSERT INTO line SELECT user_id, id, 'w' || id FROM generate_series(501, 510) user_id, generate_series(1, 4) id").await;
    pair.both("INSERT INTO town VALUES (1, 'a'), (2, 'b')").await;
    for sql in [
        "TABLE town",
        "TABLE town ORDER BY id DESC LIMIT 1",
        "INSERT INTO made_of TABLE line",
        "(TABLE made_of) EXCEPT TABLE line",
        "WITH x AS (TABLE town) SELECT count(*) FROM x",
        "WITH d AS (DELETE FROM made_of WHERE user_id = 501 RETURNING *) INSERT INTO made_of TABLE d",
    ] {
        same(&mut pair, sql, Way::Simple).await;
    }
    for sql in ["TABLE made_of", "TABLE made_of LIMIT 0", "SELECT count(*) FROM (TABLE made_of) x"] {
        same(&mut pair, sql, Way::Text).await;
    }
    for sql in ["COPY (TABLE town) TO STDOUT", "COPY (VALUES (1, 'a'), (2, NULL)) TO STDOUT (FORMAT csv)"] {
        let expected = ask(&mut pair.single, sql).await;
        let got = ask(&mut pair.proxy, sql).await;
        assert_eq!((got.tags(), got.commands()), (expected.tags(), expected.commands()), "{sql}: {got:?}");
    }
    let taken = "COPY (DELETE FROM made_of WHERE user_id IN (502, 503, 504, 505) RETURNING id) TO STDOUT";
    assert_eq!(code(&ask(&mut pair.proxy, taken).await), "0A000");
    let copied = ask(&mut pair.proxy, "COPY (TABLE made_of) TO STDOUT").await;
    assert_eq!(copied.commands(), ["COPY 40"], "{copied:?}");
}

#[tokio::test]
async fn a_row_is_written_where_a_cursor_stands() {
    let mut pair = Pair::of(&WORLD).await;
    fill(&mut pair, 600).await;
    for (end, kept) in [("ROLLBACK", 4), ("COMMIT", 3)] {
        pair.both("BEGIN").await;
        pair.both("DECLARE c CURSOR FOR SELECT * FROM queue WHERE user_id = 603 FOR UPDATE").await;
        pair.both("INSERT INTO tally (user_id) VALUES (690), (691), (692), (693)").await;
        for sql in [
            "FETCH 2 FROM c",
            "UPDATE queue SET what = 'here' WHERE CURRENT OF c RETURNING id, what",
            "FETCH c",
            "DELETE FROM queue WHERE CURRENT OF c RETURNING id",
        ] {
            same(&mut pair, sql, Way::Simple).await;
        }
        let sql = "UPDATE queue SET what = $1 WHERE CURRENT OF c";
        both(&mut pair, "FETCH c", &[], Way::Text, true).await;
        both(&mut pair, sql, &[Param::Text("there")], Way::Text, true).await;
        pair.both(end).await;
        hold_the_same(&mut pair, 600).await;
        let rows = ask(&mut pair.proxy, "SELECT FROM queue WHERE user_id = 603").await;
        assert_eq!(rows.rows().len(), kept, "{end}");
    }
    ask(&mut pair.proxy, "BEGIN").await;
    assert_ne!(code(&ask(&mut pair.proxy, "DELETE FROM queue WHERE CURRENT OF nothing").await), "");
    ask(&mut pair.proxy, "ROLLBACK").await;
}

#[tokio::test]
async fn tables_are_made_of_queries() {
    let world = World::builder().shards(4).servers(2).schema(SCHEMA).oracle().start();
    let mut pair = Pair::of(&world).await;
    fill(&mut pair, 700).await;
    pair.both("INSERT INTO town VALUES (1, 'a'), (2, 'b')").await;
    let statements = [
        ("CREATE TABLE new_1 AS SELECT * FROM queue", "new_1"),
        ("CREATE TABLE new_2 (user_id, n) AS SELECT user_id, count(*) FROM queue GROUP BY user_id", "new_2"),
        (
            "CREATE TABLE new_3 AS SELECT user_id + 1 AS user_id, id, what FROM queue WHERE id > 1 WITH DATA",
            "new_3",
        ),
        (
            "CREATE TABLE new_4 AS SELECT id AS number, count(*) AS c, sum(user_id) AS s FROM queue GROUP BY id",
            "new_4",
        ),
        ("CREATE TABLE IF NOT EXISTS new_5 AS (SELECT * FROM town)", "new_5"),
        ("CREATE TABLE IF NOT EXISTS new_5 AS SELECT * FROM town", "new_5"),
        ("CREATE UNLOGGED TABLE new_6 AS VALUES (1, 'a'), (2, 'b')", "new_6"),
        ("CREATE TABLE new_7 AS TABLE queue", "new_7"),
        (
            "CREATE TABLE new_8 AS WITH x AS (SELECT user_id, id FROM queue WHERE id = 2) SELECT * FROM x",
            "new_8",
        ),
        ("SELECT user_id, id * 2 AS twice INTO new_9 FROM queue WHERE id < 3", "new_9"),
        ("SELECT name, 'x' AS x INTO TABLE new_10 FROM town -- all of it", "new_10"),
        ("CREATE TABLE new_11 AS SELECT * FROM queue WITH NO DATA", "new_11"),
        ("CREATE TABLE new_12 AS SELECT q.user_id, t.name FROM queue q JOIN town t ON t.id = q.id", "new_12"),
    ];
    for (n, (sql, table)) in statements.into_iter().enumerate() {
        same(&mut pair, sql, [Way::Simple, Way::Text][n % 2]).await;
        holds_the_same(&mut pair, table).await;
    }
    for table in ["new_4", "new_5", "new_6", "new_10"] {
        copies_are_the_same(&world, table);
    }
    let of_one = world.shard(0).sql("SELECT count(*) FROM new_1").parse::<i32>().unwrap();
    assert!(of_one < 40, "rows are dealt out by their keys");
    // What fails leaves nothing, and what is undone neither.
    for sql in [
        "CREATE TABLE new_1 AS SELECT 1 AS a",
        "CREATE TABLE bad_1 AS SELECT user_id, 1 / (user_id - 705) AS n FROM queue",
        "CREATE TABLE bad_2 AS SELECT nothing FROM queue",
        "SELECT 1 AS a INTO new_1",
    ] {
        same(&mut pair, sql, Way::Simple).await;
    }
    pair.both("BEGIN").await;
    same(&mut pair, "CREATE TABLE bad_1 AS SELECT * FROM queue", Way::Simple).await;
    same(&mut pair, "UPDATE bad_1 SET what = 'x' WHERE id = 1", Way::Simple).await;
    holds_the_same(&mut pair, "bad_1").await;
    pair.both("ROLLBACK").await;
    for sql in ["SELECT * FROM bad_1", "SELECT * FROM bad_2"] {
        same(&mut pair, sql, Way::Simple).await;
    }
    let without_key = "CREATE TABLE bad_3 AS SELECT nullif(user_id, 701) AS user_id FROM queue";
    assert_eq!(code(&ask(&mut pair.proxy, without_key).await), "23502");
    assert_eq!(code(&ask(&mut pair.proxy, "SELECT * FROM bad_3").await), "42P01");
}
