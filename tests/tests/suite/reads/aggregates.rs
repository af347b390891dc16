//! Grouping, DISTINCT and aggregates: the answer of one Postgres, or a refusal.

use shardway_tests::Param;

use super::world::{Pair, SALES_WORLD};

async fn same(statements: &[&str]) {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in statements {
        pair.same(sql).await;
    }
}

async fn refused(statements: &[&str]) {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in statements {
        pair.refused(sql).await;
    }
}

#[tokio::test]
async fn an_aggregate_without_groups_gives_one_row() {
    same(&[
        "SELECT count(*) FROM sale",
        "SELECT count(*) AS n, count(a), count(t), count(a + 1::int8) FROM sale",
        "SELECT COUNT(*) \"All\" FROM sale WHERE false",
        "SELECT count(*), sum(n), avg(n), min(n), max(n), sum(num), avg(num), bool_or(n > 1) FROM nothing",
        "SELECT count(*), sum(a), avg(a), min(a), max(a) FROM sale WHERE a IS NULL",
        "SELECT sum(a), sum(s), sum(num), sum(price) FROM sale",
        "SELECT sum(big) FROM sale",
        "SELECT sum(a::int8 + s), avg(price * 2), sum(a * $$2$$::int8), sum(num / 3) FROM sale",
        "SELECT avg(a), avg(s), avg(big), avg(num), avg(price) FROM sale",
        "SELECT min(a), max(a), min(s), max(s), min(big), max(big), min(o), max(o) FROM sale",
        "SELECT max(price), min(price), max(c), min(c), max(v), min(v) FROM sale",
        "SELECT min(d), max(d), min(ts), max(ts), min(tz), max(tz), min(tm), max(tm) FROM sale",
        "SELECT min(f), max(f), min(f4), max(f4) FROM sale WHERE f <> 0",
        "SELECT bool_and(b), bool_or(b), every(b), bool_and(a > 0), bool_or(a > 5) FROM sale",
        "SELECT bit_and(a), bit_or(a), bit_xor(a), bit_and(s), bit_or(s), bit_xor(s), bit_xor(big) FROM sale",
        "SELECT pg_catalog.count(*) FROM sale",
        "SELECT count(*) FROM sale LIMIT 0",
        "SELECT count(*) FROM sale OFFSET 1",
        "SELECT count(*) FROM sale;",
        "SELECT count(*) FROM sale -- all of them",
        "SELECT sum(a), sum(a), count(*), count(*) FROM sale",
        "SELECT 'all' AS what, count(*), NULL, 1.50, true FROM sale",
        "SELECT b, b, 'x', count(*) FROM sale GROUP BY b ORDER BY b",
        "SELECT 'none', count(*), 2 FROM nothing",
    ])
    .await;
}

#[tokio::test]
async fn filters_apply_to_their_own_aggregate() {
    same(&[
        "SELECT count(*) FILTER (WHERE a > 1), count(*) FROM sale",
        "SELECT avg(a) FILTER (WHERE b), avg(a) FILTER (WHERE NOT b), avg(a) FROM sale",
        "SELECT sum(num) FILTER (WHERE t = 'a, (b' OR s < 0), max(d) FILTER (WHERE b) FROM sale",
        "SELECT b, avg(price) FILTER (WHERE a IS DISTINCT FROM 3) AS from_it FROM sale GROUP BY b",
        "SELECT b, min(ts) FILTER (WHERE false) FROM sale GROUP BY b",
    ])
    .await;
}

#[tokio::test]
async fn groups_of_every_type_meet() {
    for column in ["user_id", "a", "s", "big", "t", "c", "v", "u", "b", "d", "ts", "tz", "tm", "e", "y", "o"]
    {
        same(&[
            &format!("SELECT {column}, count(*), sum(price) FROM sale GROUP BY {column}"),
            &format!("SELECT count(*), avg(a) FROM sale GROUP BY {column}"),
            &format!("SELECT DISTINCT {column} FROM sale"),
            &format!("SELECT {column} FROM sale GROUP BY 1"),
        ])
        .await;
    }
}

#[tokio::test]
async fn groups_by_several_columns_ordinals_and_aliases_meet() {
    same(&[
        "SELECT b, e, count(*) FROM sale GROUP BY b, e",
        "SELECT count(*), t AS name, b FROM sale GROUP BY 2, b",
        "SELECT t AS name, sum(a) FROM sale GROUP BY name",
        // The input's column comes before the output's name.
        "SELECT b AS t, count(*) FROM sale GROUP BY sale.b, t",
        "SELECT e, b FROM sale GROUP BY b, e, t",
        "SELECT s.b, count(*) FROM sale s GROUP BY s.b",
        "SELECT b, b AS again, (b), count(*) FROM sale GROUP BY (b), b",
        "SELECT DISTINCT b, e FROM sale",
        "SELECT DISTINCT e AS x, e AS y FROM sale WHERE a > 0",
    ])
    .await;
}

#[tokio::test]
async fn joins_on_the_key_are_grouped() {
    same(&[
        "SELECT s.b, sum(i.qty), count(*) FROM sale s JOIN item i ON i.user_id = s.user_id GROUP BY s.b",
        "SELECT s.e, count(i.qty), count(*) FROM sale s LEFT JOIN item i USING (user_id) GROUP BY s.e",
        "SELECT l.label, count(*), avg(s.price) FROM sale s JOIN label l ON l.id = s.a GROUP BY l.label",
        "SELECT i.note, count(*) FROM sale s JOIN item i USING (user_id) WHERE s.a > 0 GROUP BY i.note ORDER BY count(*), sum(qty)",
        "SELECT user_id, count(*) FROM sale JOIN item USING (user_id) GROUP BY user_id ORDER BY user_id",
        "SELECT l.label, count(*) FROM label l, sale s WHERE l.id = s.s GROUP BY label",
    ])
    .await;
}

#[tokio::test]
async fn lists_of_keys_ask_the_shards_that_have_them() {
    same(&[
        "SELECT count(*) FROM sale WHERE user_id IN (1, 2, 3, 5, 8)",
        "SELECT b, sum(a) FROM sale WHERE user_id IN (1, 2, 3, 5, 8) GROUP BY b",
        "SELECT count(*), max(a) FROM sale WHERE user_id = ANY('{4,6,7,1000}')",
        "SELECT count(*) FROM sale WHERE user_id = 7",
        "SELECT DISTINCT c FROM sale WHERE user_id IN (10, 11, 12, 13)",
    ])
    .await;
    let mut pair = Pair::of(&SALES_WORLD).await;
    for ids in ["{1,2,3}", "{9}", "{}", "{1,1,60,61,62,63}"] {
        pair.same_with(
            "SELECT b, count(*) FROM sale WHERE user_id = ANY($1) GROUP BY b",
            &[Param::Text(ids)],
        )
        .await;
    }
}

#[tokio::test]
async fn parameters_reach_the_shards() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for n in ["0", "2", "-5"] {
        let bound = [Param::Text(n)];
        pair.same_with("SELECT b, count(*), avg(a) FROM sale WHERE a > $1 GROUP BY b", &bound).await;
        pair.same_with("SELECT count(*) FILTER (WHERE a > $1), avg(a + $1::int) FROM sale", &bound).await;
        pair.same_with("SELECT sum(a * $1::numeric) FROM sale", &bound).await;
    }
    let four = 4i32.to_be_bytes();
    pair.same_with("SELECT count(*) FROM sale WHERE id > $1::int", &[Param::Binary(&four)]).await;
    pair.same_with("SELECT $1, b, count(*) FROM sale GROUP BY b", &[Param::Text("x")]).await;
    pair.same_with("SELECT count(*) FROM sale WHERE t = $1", &[Param::Null]).await;
    pair.same_with("SELECT count(*) FROM sale WHERE a = $1", &[Param::Text("no number")]).await;
}

#[tokio::test]
async fn what_is_not_proven_is_refused() {
    refused(&[
        "SELECT a AS xmin, count(*) FROM sale GROUP BY xmin, a",
        "SELECT count(*) FROM sale FOR UPDATE",
        "SELECT id FROM sale ORDER BY t FOR SHARE",
        "SELECT count(DISTINCT ctid) FROM sale",
        "SELECT count(DISTINCT tableoid::regclass) FROM sale",
        "SELECT count(DISTINCT a), pg_relation_size('sale') FROM sale",
        "SELECT count(DISTINCT s.a) FROM sale s, pg_class c",
        "SELECT count(DISTINCT a), pg_notify('x', 'y') FROM sale",
        "SELECT pg_notify('x', c) FROM sale",
        "SELECT lo_create(0) FROM sale ORDER BY id",
        "SELECT count(DISTINCT a), query_to_xml('SELECT 1', true, true, '') FROM sale",
        "SELECT count(*) FROM sale, pg_cursors",
    ])
    .await;
}
