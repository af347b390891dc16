//! Reads of all shards, row by row as one database with the same rows gives them: orders, limits, lists.

use super::oracle::{Pair, RECORDS};

#[tokio::test]
async fn without_an_order_the_same_rows_come() {
    let mut pair = Pair::of(&RECORDS).await;
    for sql in [
        "SELECT * FROM record",
        "SELECT user_id, n + 1, upper(t) FROM record WHERE n > 2",
        "SELECT user_id FROM record WHERE user_id IN (3, 5, 7, 11, 1000)",
        "SELECT user_id FROM record WHERE user_id = ANY('{2,4,6}')",
        "SELECT r.user_id, d.note FROM record r JOIN detail d ON d.user_id = r.user_id",
        "SELECT r.user_id, d.note FROM record r LEFT JOIN detail d USING (user_id)",
        "SELECT r.user_id, l.label FROM record r JOIN label l ON l.id = r.n",
        "SELECT record FROM record",
    ] {
        pair.same_rows(sql).await;
    }
}

#[tokio::test]
async fn every_order_is_postgres_own() {
    let mut pair = Pair::of(&RECORDS).await;
    for column in ["n", "num", "f", "c", "u", "b", "ts", "d", "tz", "f4", "big"] {
        for direction in ["", "DESC", "NULLS FIRST", "DESC NULLS LAST"] {
            pair.same_in_order(&format!(
                "SELECT {column}, user_id FROM record ORDER BY {column} {direction}, user_id"
            ))
            .await;
        }
    }
}

#[tokio::test]
async fn orders_by_ordinal_alias_hidden_column_and_several_keys() {
    let mut pair = Pair::of(&RECORDS).await;
    for order in [
        "SELECT user_id, n FROM record ORDER BY 2, 1",
        "SELECT n AS rank, user_id AS n FROM record ORDER BY rank DESC, n",
        "SELECT n AS user_id, user_id AS n FROM record ORDER BY (n)",
        "SELECT t FROM record ORDER BY b, n DESC, user_id",
        "SELECT * FROM record ORDER BY c DESC NULLS LAST, user_id DESC",
        "SELECT r.user_id, d.note FROM record r JOIN detail d USING (user_id) ORDER BY user_id, d.id DESC",
        "SELECT t FROM record WHERE user_id IN (9, 8, 7, 6) ORDER BY user_id -- the end",
    ] {
        pair.same_in_order(order).await;
    }
}

#[tokio::test]
async fn limits_and_offsets_cut_the_whole() {
    let mut pair = Pair::of(&RECORDS).await;
    for cut in [
        "LIMIT 5",
        "LIMIT 0",
        "LIMIT 1000",
        "OFFSET 3",
        "LIMIT 4 OFFSET 9",
        "OFFSET 9 LIMIT 4",
        "OFFSET 1000",
        "LIMIT ALL OFFSET 2",
        "LIMIT NULL",
        "LIMIT '3'",
    ] {
        pair.same_in_order(&format!("SELECT user_id, t FROM record ORDER BY num DESC, user_id {cut}")).await;
    }
    for (limit, offset) in [(Some("3"), Some("2")), (Some("3"), None), (None, Some("50")), (None, None)] {
        pair.same_with("SELECT user_id FROM record ORDER BY f, user_id LIMIT $1 OFFSET $2", &[limit, offset])
            .await;
    }
    assert_eq!(pair.proxy("SELECT user_id FROM record LIMIT 7").await.unwrap().len(), 7);
    assert_eq!(pair.proxy("SELECT user_id FROM record LIMIT 7 OFFSET 50").await.unwrap().len(), 7);
}

#[tokio::test]
async fn an_order_that_only_postgres_knows_is_gathered() {
    let mut pair = Pair::of(&RECORDS).await;
    for order in ["t", "n + 1", "lower(c)", "c COLLATE \"en-x-icu\"", "iv", "n USING >"] {
        pair.same_in_order(&format!("SELECT user_id FROM record ORDER BY {order}, user_id")).await;
    }
    // The name means the text there.
    pair.same_in_order("SELECT user_id::text FROM record ORDER BY user_id").await;
}
