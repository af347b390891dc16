//! Grouping and aggregates: what is combined, what each shard is asked for it, and what is refused.

use super::support::{assert_all, assert_refused, homes, plan, plan_with, route, route_with};
use crate::combine::{By, Compared, Fold, Shape};
use crate::plan::combine::Combine;
use crate::plan::scatter::Count;
use crate::plan::{Across, Route, Tier};

fn combine(sql: &str) -> Combine {
    let plan = plan(sql);
    assert_eq!(plan.tier, Tier::Combine, "{sql}\n  is planned as {:?}", plan.route);
    match plan.route {
        Route::Across(Across::Combine(combine)) => (*combine).clone(),
        other => panic!("{sql}\n  is planned as {other:?}"),
    }
}

fn shape(sql: &str) -> Shape {
    combine(sql).shape
}

/// What each shard is asked, between the select list and FROM, and behind it.
fn asked(sql: &str) -> (String, String) {
    let text = combine(sql).text().to_vec();
    let text = String::from_utf8(text).unwrap().trim_end_matches('\0').replace('\n', " ");
    let (before, after) = text.split_once("FROM").unwrap();
    let hidden = before.split_once(" AS \"shardway hidden 1\"");
    let first = hidden.map_or("", |(first, _)| first.rsplit_once(", ").map_or("", |(_, column)| column));
    (first.to_owned(), after.trim().to_owned())
}

#[test]
fn groups_and_aggregates_are_combined() {
    assert_all(
        &[
            "SELECT count(*) FROM users",
            "SELECT age, count(*) FROM users GROUP BY age",
            "SELECT COUNT(*), sum(age) AS total, avg(score), min(age), max(score) FROM users",
            "SELECT name FROM users GROUP BY name",
            "SELECT DISTINCT name, age FROM users",
            "SELECT count(*) FILTER (WHERE age > 3) FROM users GROUP BY name, age",
            "SELECT u.age, sum(o.id) FROM users u JOIN orders o ON u.user_id = o.user_id GROUP BY u.age",
            "SELECT label, count(*) FROM users, ref WHERE id = age GROUP BY 1",
            "SELECT count(lower(name)), avg(age * 2), sum(abs(age)), bool_or(age > 3) FROM users",
            "SELECT max(title), min(at) FROM docs",
            "SELECT 'all' AS what, count(*), NULL, $1 FROM users",
            "SELECT age, age FROM users GROUP BY age ORDER BY age",
        ],
        "all",
    );
}

#[test]
fn what_has_no_exact_parts_is_gathered() {
    assert_all(
        &[
            "SELECT count(DISTINCT age) FROM users",
            "SELECT sum(DISTINCT age) FROM users",
            "SELECT count(*) OVER () FROM users",
            "SELECT my_sum(age) FROM users",
            "SELECT public.sum(age) FROM users",
            "SELECT max(name) FROM users",
            "SELECT max(age + 1) FROM users",
            "SELECT max(doc) FROM docs",
            "SELECT sum(random() * age) FROM users",
            "SELECT count(unnest(ARRAY[age])) FROM users",
            "SELECT sum(count(*)) FROM users",
            "SELECT coalesce(max(age), 0) FROM users",
            "SELECT count(*) + 1 FROM users",
            "SELECT count(*)::text FROM users",
            "SELECT count(*) FILTER (WHERE at > now()) FROM docs",
            "SELECT count(*), (SELECT 1) FROM users",
            "SELECT (SELECT max(users.age)) FROM users",
            "SELECT count(*) FROM users HAVING count(*) > 1",
            "SELECT count(*) FROM users FETCH FIRST 3 ROWS ONLY",
            "WITH x AS (SELECT 1) SELECT count(*) FROM users",
            "SELECT count(*) FROM users UNION ALL SELECT 1",
            "SELECT count(*) FROM users, orders",
            "SELECT count(*) FROM users WHERE age = (SELECT max(id) FROM ref)",
        ],
        "gather",
    );
    assert_refused(&["SELECT count(*) FROM users FOR UPDATE"]);
}

#[test]
fn groups_that_may_be_written_differently_are_gathered() {
    assert_all(
        &[
            "SELECT score FROM users GROUP BY score",
            "SELECT DISTINCT score FROM users",
            "SELECT ci, count(*) FROM ref, users GROUP BY ci",
            "SELECT age + 1 FROM users GROUP BY age + 1",
            "SELECT age + 1 AS x FROM users GROUP BY x",
            "SELECT lower(name) FROM users GROUP BY 1",
            "SELECT age FROM users GROUP BY 2",
            "SELECT age FROM users GROUP BY 0",
            "SELECT age, name FROM users GROUP BY age",
            "SELECT * FROM users GROUP BY user_id",
            "SELECT DISTINCT * FROM users",
            "SELECT DISTINCT users FROM users",
            "SELECT DISTINCT ON (age) age FROM users",
            "SELECT DISTINCT age FROM users GROUP BY age, name",
            "SELECT age, count(*) FROM users GROUP BY ROLLUP (age)",
            "SELECT age, count(*) FROM users GROUP BY CUBE (age)",
            "SELECT age, count(*) FROM users GROUP BY GROUPING SETS ((age), ())",
            "SELECT age, count(*) FROM users GROUP BY ()",
        ],
        "gather",
    );
    assert_refused(&["SELECT age AS ctid, count(*) FROM users GROUP BY ctid, age"]);
}

#[test]
fn another_schemas_aggregates_may_be_meant_where_the_path_says_so() {
    let tier = |path: &[&str]| plan_with("SELECT count(*) FROM users", path).tier;
    assert_eq!(tier(&["public"]), Tier::Combine);
    assert_eq!(tier(&["pg_catalog", "public"]), Tier::Combine);
    let behind = plan_with("SELECT count(*) FROM users", &["public", "pg_catalog"]);
    assert_eq!(behind.tier, Tier::Gather);
}

#[test]
fn groups_are_told_apart_by_what_the_client_sees_or_by_hidden_columns() {
    assert_eq!(shape("SELECT count(*), age FROM users GROUP BY age").keys, [1]);
    assert_eq!(asked("SELECT count(*), age FROM users GROUP BY age").0, "");
    assert_eq!(shape("SELECT count(*) FROM users GROUP BY users.age").keys, [1]);
    assert_eq!(asked("SELECT count(*) FROM users GROUP BY users.age").0, "(users.age)::pg_catalog.text");
    // Text of a time follows settings, and may mean two values.
    let Combine { shape, .. } = combine("SELECT at FROM docs GROUP BY at");
    assert_eq!((shape.keys, shape.hidden), (vec![1], 1));
    let text = String::from_utf8(combine("SELECT at FROM docs GROUP BY at").text().to_vec()).unwrap();
    assert!(text.contains("pg_catalog.encode(pg_catalog.timestamptz_send(at), 'hex')"), "{text}");
}

#[test]
fn a_name_in_group_by_means_an_input_before_it_means_an_output() {
    let keys = |sql: &str| shape(sql).keys;
    assert_eq!(keys("SELECT user_id AS age, age AS user_id FROM users GROUP BY age, user_id"), [1, 0]);
    assert_eq!(keys("SELECT age AS years FROM users GROUP BY years"), [0]);
    assert_all(&["SELECT user_id AS age FROM users GROUP BY age"], "gather");
}

#[test]
fn averages_travel_as_sums_and_counts() {
    let sql = "SELECT avg(age) FILTER (WHERE name = ')') FROM users";
    let Shape { hidden, aggregates, .. } = shape(sql);
    assert_eq!(hidden, 2);
    assert_eq!(aggregates[0].fold, Fold::Average { sum: 1, count: 2 });
    let text = String::from_utf8(combine(sql).text().to_vec()).unwrap();
    for part in ["sum", "count"] {
        let hidden = format!("(pg_catalog.{part}(age) FILTER (WHERE name = ')'))::pg_catalog.text");
        assert!(text.contains(&hidden), "{text}");
    }
    assert_eq!(shape("SELECT avg(age), avg(age), avg(age) FROM users").hidden, 2);
}

#[test]
fn orders_and_limits_are_left_to_the_proxy() {
    let sql = "SELECT age, count(*) AS n FROM users GROUP BY age ORDER BY n DESC, age OFFSET 2 LIMIT $1;";
    let Combine { shape, limit, offset, .. } = combine(sql);
    assert_eq!((limit, offset), (Some(Count::Param(0)), Some(Count::Fixed(2))));
    let by: Vec<_> = shape.order.iter().map(|s| (s.by, s.descending, s.nulls_first)).collect();
    assert_eq!(by, [(By::Aggregate(0), true, true), (By::Column(0, Compared::Integer), false, false)]);
    // The parameter that the client binds must still be there.
    assert_eq!(asked(sql).1, "users GROUP BY age  LIMIT NULL::pg_catalog.int8 + ($1)::pg_catalog.int8");
    assert_eq!(asked("SELECT count(*) FROM users LIMIT 3 -- three").1, "users");
}

#[test]
fn groups_are_ordered_by_aggregates_that_are_not_shown() {
    let sql = "SELECT age FROM users GROUP BY age ORDER BY count(*) DESC, max(score)";
    let Shape { aggregates, order, hidden, .. } = shape(sql);
    assert_eq!(hidden, 2);
    assert_eq!(aggregates.iter().map(|a| a.column).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(order.iter().map(|s| s.by).collect::<Vec<_>>(), [By::Aggregate(0), By::Aggregate(1)]);
    assert_all(
        &[
            "SELECT age FROM users GROUP BY age ORDER BY sum(age + 1)",
            "SELECT age FROM users GROUP BY age ORDER BY name",
            "SELECT age FROM users GROUP BY age ORDER BY age + 1",
            "SELECT name FROM users GROUP BY name ORDER BY name",
            "SELECT DISTINCT age FROM users ORDER BY count(*)",
            "SELECT DISTINCT age FROM users ORDER BY user_id",
            "SELECT age AS x, user_id AS x FROM users GROUP BY 1, 2 ORDER BY x",
            "SELECT age FROM users GROUP BY age ORDER BY age USING <",
        ],
        "gather",
    );
}

#[test]
fn lists_of_keys_are_combined_over_their_shards() {
    let sql = "SELECT age, count(*) FROM users WHERE user_id IN (1, 2, 3) GROUP BY age";
    assert_eq!(route(sql), homes(&["1", "2", "3"]));
    let any = "SELECT count(*) FROM users WHERE user_id = ANY($1)";
    assert_eq!(route_with(any, &[Some("{1,2}")]), homes(&["1", "2"]));
    assert!(route_with(any, &[Some("{1}")]).starts_with("shard "));
    // One shard has all the rows: Postgres does it all.
    assert!(route("SELECT DISTINCT score FROM users WHERE user_id = 7").starts_with("shard "));
    assert_all(&["SELECT DISTINCT score FROM users WHERE user_id IN (1, 2, 3)"], "gather");
}
