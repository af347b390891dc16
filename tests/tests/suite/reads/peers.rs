//! What a peer answers wrongly in silence, as far as groups and aggregates go.

use super::world::{Pair, SALES_WORLD, Way, asked};

async fn right_or_refused(statements: &[&str]) {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for sql in statements {
        match asked(&mut pair.proxy, sql, &[], Way::Simple).await {
            Err((code, message)) => assert_eq!(code, "0A000", "{sql}: {message}"),
            Ok(_) => pair.same(sql).await,
        }
    }
}

#[tokio::test]
async fn the_average_of_2_and_3_is_two_and_a_half() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    let sql = "SELECT avg(user_id) FROM item WHERE user_id IN (2, 3)";
    pair.same("SELECT avg(user_id), sum(user_id) FROM sale WHERE user_id IN (2, 3)").await;
    let (_, rows, _) =
        asked(&mut pair.proxy, "SELECT avg(user_id) FROM sale WHERE user_id IN (2, 3)", &[], Way::Simple)
            .await
            .unwrap();
    assert_eq!(rows, ["b\"2.5000000000000000\""]);
    pair.same(sql).await;
}

#[tokio::test]
async fn distinct_holds_over_shards() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.same("SELECT DISTINCT b FROM sale").await;
    pair.same("SELECT DISTINCT e, b FROM sale ORDER BY b LIMIT 0").await;
    pair.same("SELECT b FROM sale GROUP BY b").await;
}

#[tokio::test]
async fn grouping_by_an_expression_collapses_nothing() {
    right_or_refused(&[
        "SELECT a % 2, count(*) FROM sale GROUP BY a % 2",
        "SELECT a % 2 AS r, sum(a) FROM sale GROUP BY r",
        "SELECT lower(t), count(*) FROM sale GROUP BY lower(t)",
        "SELECT lower(t), count(*) FROM sale GROUP BY 1",
        "SELECT count(*) FROM sale GROUP BY a % 2",
        "SELECT date_trunc('day', ts), count(*) FROM sale GROUP BY 1",
    ])
    .await;
}

#[tokio::test]
async fn having_is_not_filtered_shard_by_shard() {
    right_or_refused(&[
        "SELECT b, count(*) FROM sale GROUP BY b HAVING count(*) > 30",
        "SELECT count(*) FROM sale HAVING count(*) > 100",
        "SELECT user_id FROM sale GROUP BY user_id HAVING sum(a) > 3",
    ])
    .await;
}

#[tokio::test]
async fn an_expression_over_an_aggregate_does_not_give_a_row_per_shard() {
    right_or_refused(&[
        "SELECT coalesce(sum(a), 0) FROM sale",
        "SELECT count(*) + 1 FROM sale",
        "SELECT -sum(a) FROM sale",
        "SELECT sum(a)::text FROM sale",
        "SELECT round(avg(a), 2) FROM sale",
        "SELECT sum(a) / count(*) FROM sale",
        "SELECT CASE WHEN count(*) > 0 THEN 1 END FROM sale",
    ])
    .await;
}

#[tokio::test]
async fn the_largest_groups_are_those_of_the_whole() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    pair.same("SELECT a, count(*) FROM sale GROUP BY a ORDER BY count(*) DESC, a LIMIT 2").await;
    pair.same("SELECT t, count(*) FROM sale GROUP BY t ORDER BY count(*) DESC, sum(id) LIMIT 2").await;
}

#[tokio::test]
async fn values_that_are_equal_and_written_differently_are_one_group() {
    right_or_refused(&[
        "SELECT num + 0.000, count(*) FROM sale GROUP BY num",
        "SELECT DISTINCT num FROM sale WHERE num < 1",
        "SELECT abs(f), count(*) FROM sale WHERE f = 0 GROUP BY f",
        "SELECT count(*), iv = '1 month' FROM sale GROUP BY iv",
        "SELECT ch, count(*) FROM sale GROUP BY ch",
    ])
    .await;
}

#[tokio::test]
async fn times_that_are_written_alike_are_two_groups() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    // In this style an hour that comes twice in autumn is written the same both times.
    pair.both("SET datestyle = 'Postgres, DMY'").await;
    pair.both("SET timezone = 'Europe/Moscow'").await;
    for (user, tz) in
        [(501, "2014-10-25 21:30:00+00"), (502, "2014-10-25 22:30:00+00"), (503, "2014-10-25 21:30:00+00")]
    {
        pair.both(&format!("INSERT INTO hours VALUES ({user}, '{tz}')")).await;
        pair.same("SELECT tz, count(*) FROM hours GROUP BY tz").await;
        pair.same("SELECT DISTINCT tz FROM hours ORDER BY tz").await;
    }
}
