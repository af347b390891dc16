//! Differences that were found and are no more, one by one.

use super::corners::same;

#[tokio::test]
async fn select_all_keeps_rows_that_are_the_same() {
    same(&[
        "SELECT ALL t FROM thing ORDER BY t NULLS FIRST",
        "SELECT ALL e FROM thing WHERE a < «40»",
        "SELECT ALL b, lower(t) FROM thing",
        "SELECT ALL d FROM thing ORDER BY d + 1",
        "SELECT count(*) FROM (SELECT ALL e FROM thing) q",
    ])
    .await;
}

#[tokio::test]
async fn limit_and_offset_may_be_as_large_as_a_bigint_is() {
    same(&[
        "SELECT id FROM thing ORDER BY id LIMIT «9223372036854775807» OFFSET «5»",
        "SELECT t FROM thing ORDER BY t, id LIMIT «9223372036854775807» OFFSET «9223372036854775807»",
        "SELECT t FROM thing ORDER BY t, id LIMIT «9223372036854775806» OFFSET «7»",
        "SELECT id FROM thing ORDER BY id LIMIT «NULL» OFFSET «9223372036854775807»",
        "SELECT t FROM thing ORDER BY t, id LIMIT «NULL» OFFSET «40»",
        "SELECT t FROM thing ORDER BY t, id LIMIT «3» OFFSET «NULL»",
        "SELECT id FROM thing ORDER BY id LIMIT 9223372036854775808 OFFSET 1",
        "SELECT id FROM thing ORDER BY id LIMIT 18446744073709551615",
        "SELECT t FROM thing ORDER BY t, id LIMIT 9223372036854775808 OFFSET 2",
    ])
    .await;
}

#[tokio::test]
async fn an_error_is_where_it_is_in_the_whole_command() {
    same(&[
        "SELECT a FROM thing GROUP BY 5",
        "SELECT nosuch FROM thing ORDER BY t",
        "SELECT a FROM thing WHERE nosuch > 1 ORDER BY a, id",
        "SELECT sum(count(*)) FROM thing",
        "SELECT count(*), nosuch FROM thing",
        "SELECT 'ä', nosuch FROM per_qty",
        "SELECT id FROM thing x JOIN item y ON x.id = y.thing_id",
        "SELECT lag(a, 'x') OVER (ORDER BY id) FROM thing",
    ])
    .await;
}

#[tokio::test]
async fn rare_spellings_are_understood() {
    same(&[
        "SELECT id FROM thing WHERE id IN ((SELECT max(id) FROM thing), 3, (SELECT 4)) ORDER BY id",
        "SELECT id FROM thing WHERE user_id IN ((SELECT min(user_id) FROM item), «7») ORDER BY id",
        "SELECT id FROM thing WHERE user_id NOT IN ((SELECT «3»::int), 7) AND id < 9",
        "SELECT a, b, count(*), grouping(a, b) FROM thing GROUP BY DISTINCT ROLLUP (a, b), CUBE (a)",
        "SELECT a, count(*) FROM thing GROUP BY DISTINCT a",
        "SELECT xm IS DOCUMENT, xm IS NOT DOCUMENT, id FROM kind ORDER BY id",
    ])
    .await;
}
