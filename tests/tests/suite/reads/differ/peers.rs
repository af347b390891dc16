//! What a peer answers wrongly without a word, error by error: each is answered as by one Postgres here, over one, two
//! and five shards, by simple and extended protocol, prepared, with parameters and without, in text and in binary. What it does
//! wrongly in INSERT and COPY is in `routing/peers.rs`.

use super::corners::same;

#[tokio::test]
async fn keys_from_anywhere_in_a_select_pin_nothing() {
    same(&[
        "SELECT user_id = «5»::int FROM thing",
        "SELECT id FROM thing WHERE user_id + 1 = «5»",
        "SELECT CASE WHEN user_id = «5» THEN 1 ELSE 0 END FROM thing",
        "SELECT count(*) FILTER (WHERE user_id = «5») FROM thing",
        "SELECT t.id, i.id FROM thing t LEFT JOIN item i ON i.user_id = t.user_id AND t.user_id = «5»",
        "SELECT t.id, i.id FROM thing t LEFT JOIN item i ON i.user_id = «5»",
        "SELECT id FROM thing WHERE user_id = «5» OR a = «3»",
        "SELECT id FROM thing WHERE NOT user_id = «5»",
        "SELECT id FROM thing WHERE (user_id = «5») IS NOT TRUE",
        "SELECT id FROM thing ORDER BY user_id = «5», id",
    ])
    .await;
}

#[tokio::test]
async fn union_and_subqueries_do_not_go_by_the_first_key() {
    same(&[
        "SELECT id FROM thing WHERE user_id = «5» UNION SELECT id FROM thing WHERE user_id = «6»",
        "SELECT id FROM thing WHERE user_id = «5» UNION ALL SELECT id FROM item",
        "SELECT id FROM thing EXCEPT SELECT id FROM thing WHERE user_id = «5»",
        "SELECT id FROM thing WHERE user_id IN (SELECT user_id FROM item WHERE user_id = «5»)",
        "SELECT id FROM thing WHERE user_id = «5» AND EXISTS (SELECT 1 FROM item WHERE user_id = «8»)",
        "SELECT id FROM thing WHERE a = (SELECT max(a) FROM thing WHERE user_id = «5»)",
        "WITH w AS (SELECT * FROM thing WHERE user_id = «5») SELECT item.id FROM item, w",
    ])
    .await;
}

#[tokio::test]
async fn lists_lose_no_member() {
    same(&[
        "SELECT id FROM thing WHERE user_id IN («5», 3 + 3)",
        "SELECT id FROM thing WHERE user_id IN («5», a, abs(-7))",
        "SELECT id FROM thing WHERE user_id IN («5», «6», «NULL»)",
        "SELECT id FROM thing WHERE user_id IN (5, 6.0, «7»)",
        "SELECT id FROM thing WHERE user_id = ANY (ARRAY[«5»::int, 3 + 3])",
        "SELECT id FROM thing WHERE user_id = ANY («'{5,6}'»)",
    ])
    .await;
}

#[tokio::test]
async fn limit_gives_no_more_and_offset_skips_no_more_than_it_says() {
    same(&[
        "SELECT count(*) FROM (SELECT id FROM thing LIMIT «4») x",
        "SELECT 1 FROM thing LIMIT «4»",
        "SELECT 1 FROM thing OFFSET «10»",
        "SELECT 1 FROM thing LIMIT «4» OFFSET «46»",
        "SELECT 1 FROM thing LIMIT «NULL» OFFSET «3»",
        "SELECT id FROM thing ORDER BY id OFFSET «10»",
        "SELECT id FROM thing ORDER BY id LIMIT «5» OFFSET «10»",
    ])
    .await;
}

#[tokio::test]
async fn rows_are_ordered_by_what_is_not_selected_and_in_the_direction_that_is_asked_for() {
    same(&[
        "SELECT a FROM thing ORDER BY id",
        "SELECT id FROM thing ORDER BY a % «3», id",
        "SELECT id FROM thing ORDER BY a NULLS FIRST, id",
        "SELECT id FROM thing ORDER BY a DESC NULLS LAST, id LIMIT «9»",
        "SELECT id FROM thing ORDER BY id USING >",
        "SELECT id FROM thing ORDER BY coalesce(a, «7»), id DESC",
    ])
    .await;
}

#[tokio::test]
async fn text_enums_addresses_intervals_and_old_dates_are_not_compared_as_bytes() {
    same(&[
        "SELECT t, id FROM thing ORDER BY t, id LIMIT «5»",
        "SELECT de, id FROM thing ORDER BY de DESC, id LIMIT «5»",
        "SELECT e, id FROM thing ORDER BY e, id LIMIT «5»",
        "SELECT ip, id FROM thing ORDER BY ip, id LIMIT «5»",
        "SELECT iv, id FROM thing ORDER BY iv, id LIMIT «5»",
        "SELECT d, id FROM thing ORDER BY d, id LIMIT «9»",
        "SELECT ts, id FROM thing ORDER BY ts DESC, id LIMIT «9»",
        "SELECT num, id FROM thing ORDER BY num, id LIMIT «9»",
        "SELECT max(t), min(e), max(ip), min(iv), min(d), max(ts) FROM thing WHERE id > «3»",
    ])
    .await;
}

#[tokio::test]
async fn having_looks_at_the_whole_group() {
    same(&[
        "SELECT qty, count(*) FROM item GROUP BY qty HAVING count(*) > «8» ORDER BY qty",
        "SELECT a FROM thing GROUP BY a HAVING sum(s) > «3»",
        "SELECT count(*) FROM thing HAVING count(*) > «40»",
    ])
    .await;
}

#[tokio::test]
async fn groups_by_an_expression_are_not_collapsed() {
    same(&[
        "SELECT a % 2, count(*) FROM thing GROUP BY a % 2",
        "SELECT lower(t), count(*) FROM thing GROUP BY 1",
        "SELECT count(*) FROM thing WHERE id > «3» GROUP BY a % 2",
        "SELECT date_trunc('year', ts) AS y, sum(s) FROM thing GROUP BY y ORDER BY y",
    ])
    .await;
}

#[tokio::test]
async fn distinct_and_groups_without_aggregates_have_each_row_once() {
    same(&[
        "SELECT DISTINCT b FROM thing",
        "SELECT DISTINCT e, b FROM thing WHERE id > «3»",
        "SELECT b FROM thing GROUP BY b",
        "SELECT a FROM thing GROUP BY a ORDER BY a LIMIT «3»",
        "SELECT DISTINCT ON (b) b, id FROM thing ORDER BY b, id",
    ])
    .await;
}

#[tokio::test]
async fn expressions_over_aggregates_give_one_row() {
    same(&[
        "SELECT coalesce(sum(a), «0») FROM thing",
        "SELECT coalesce(sum(n), «0») FROM nothing",
        "SELECT count(*) + 1 FROM thing WHERE id > «3»",
        "SELECT sum(a)::text, -max(s), round(avg(s), 2) FROM thing",
    ])
    .await;
}

#[tokio::test]
async fn windows_run_over_all_rows() {
    same(&[
        "SELECT id, row_number() OVER (ORDER BY id) FROM thing",
        "SELECT id, count(*) OVER () FROM thing WHERE id > «3»",
        "SELECT id, sum(s) OVER w FROM thing WINDOW w AS (PARTITION BY b ORDER BY id) ORDER BY id LIMIT «9»",
    ])
    .await;
}

#[tokio::test]
async fn the_average_of_2_and_3_is_not_3() {
    same(&[
        "SELECT avg(user_id) FROM ledger WHERE user_id IN («2», «3»)",
        "SELECT avg(qty) FROM item WHERE qty IN (2, 3)",
        "SELECT user_id % 2, avg(id) FROM thing GROUP BY 1",
    ])
    .await;
}

#[tokio::test]
async fn distinct_values_are_counted_and_numbers_of_any_size_added() {
    same(&[
        "SELECT count(DISTINCT a) FROM thing WHERE id > «3»",
        "SELECT b, count(DISTINCT e), sum(DISTINCT s) FROM thing GROUP BY b",
        "SELECT sum(num * 1e30), avg(num * 1e-30) FROM thing WHERE num < 1e21 AND num > -1e21",
        "SELECT sum(big) * 10 ^ 30, max(num * 1e30) FROM thing WHERE num < 'Infinity'",
        "SELECT sum(123456789012345678901234567890123456789.5 + id) FROM thing",
    ])
    .await;
}
