//! Reads that every shard may answer by itself, and those that it may not.

use super::support::{assert_all, assert_refused, plan, route};
use crate::plan::scatter::{Count, Scatter, SortType};
use crate::plan::{Across, Route};

fn scatter(sql: &str) -> Scatter {
    match plan(sql).route {
        Route::Across(Across::Scatter(scatter)) => (*scatter).clone(),
        other => panic!("{sql}\n  is planned as {other:?}"),
    }
}

#[test]
fn rows_that_are_made_on_one_shard_each_are_put_together() {
    assert_all(
        &[
            "SELECT * FROM users",
            "SELECT lower(name), abs(age) + 1 FROM users WHERE age > 3",
            "SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id",
            "SELECT * FROM users u JOIN orders USING (user_id), ref",
            "SELECT * FROM users u LEFT JOIN orders o ON u.user_id = o.user_id LEFT JOIN ref r ON r.id = o.id",
            "SELECT * FROM users LEFT JOIN orders USING (user_id)",
            "SELECT users FROM users",
            "SELECT name FROM users WHERE name IS DISTINCT FROM 'x' LIMIT 3",
        ],
        "all",
    );
}

#[test]
fn rows_that_are_not_are_gathered() {
    assert_all(
        &[
            "SELECT my_sum(age) FROM users",
            "SELECT coalesce(max(age), 0) FROM users",
            "SELECT (SELECT max(users.age)) FROM users",
            "SELECT unknown_function(age) FROM users",
            "SELECT unnest(ARRAY[age]) FROM users",
            "SELECT rank() OVER (ORDER BY age) FROM users",
            "SELECT DISTINCT ON (age) * FROM users",
            "SELECT 1 FROM users HAVING true",
            "SELECT * FROM users u JOIN orders o ON u.age = o.id",
            "SELECT * FROM users, orders",
            "SELECT * FROM ref r LEFT JOIN users u ON u.user_id = r.id",
            "SELECT * FROM users u NATURAL JOIN orders",
            "SELECT * FROM users TABLESAMPLE SYSTEM (10)",
            "SELECT * FROM users, generate_series(1, 2)",
            "SELECT * FROM users WHERE age = (SELECT max(id) FROM ref)",
            "SELECT * FROM users FETCH FIRST 3 ROWS ONLY",
            "SELECT now() FROM users",
            "SELECT * FROM users ORDER BY age USING <",
        ],
        "gather",
    );
}

#[test]
fn locks_are_taken_by_each_shard_behind_its_limit() {
    for (sql, asked) in [
        ("SELECT age FROM users FOR UPDATE", "SELECT age  FROM users \n\nFOR UPDATE"),
        ("SELECT age FROM users LIMIT 2 FOR SHARE ;", "SELECT age  FROM users \nLIMIT 2\nFOR SHARE"),
        (
            "SELECT age FROM users FOR NO KEY UPDATE LIMIT 2",
            "SELECT age  FROM users \nLIMIT 2\nFOR NO KEY UPDATE",
        ),
        (
            "SELECT age FROM users ORDER BY age FOR UPDATE OF users SKIP LOCKED -- x",
            "SELECT age , (age)::pg_catalog.text AS \"shardway hidden 1\", \
             (\"users\".tableoid::pg_catalog.text || \"users\".ctid::pg_catalog.text) AS \"shardway hidden 2\" \
             FROM users ORDER BY age \n\nFOR UPDATE OF users SKIP LOCKED -- x",
        ),
    ] {
        assert_eq!(scatter(sql).shard_sql(), asked, "{sql}");
    }
    assert!(scatter("SELECT age FROM users LIMIT 2 FOR UPDATE").locks_some());
    assert!(!scatter("SELECT age FROM users FOR UPDATE").locks_some());
    assert_refused(&[
        "SELECT * FROM users u JOIN ref r ON r.id = u.age FOR UPDATE",
        "SELECT count(*) FROM users FOR UPDATE",
    ]);
    scatter("SELECT * FROM users u JOIN ref r ON r.id = u.age FOR UPDATE OF u");
}

#[test]
fn a_plan_says_what_is_to_be_told_of_the_clock() {
    let across = |sql: &str| plan(sql).across().and_then(Across::clock).is_some();
    assert!(across("SELECT title FROM docs WHERE at > now()"));
    assert!(across("SELECT title, count(*) FROM docs WHERE at > CURRENT_TIMESTAMP(0) GROUP BY title"));
    assert!(!across("SELECT title FROM docs WHERE at > '2024-01-01' AND title <> 'now()'"));
    let alone = |sql: &str| plan(sql).clocked;
    let doc = "doc = '8f14e45f-ceea-467f-a830-8d4c0e6b6a3d'";
    for sql in [
        format!("SELECT now() FROM docs WHERE {doc}"),
        format!("UPDATE docs SET at = CURRENT_DATE WHERE {doc}"),
        "SELECT current_time FROM ref".to_owned(),
        "DECLARE c CURSOR FOR SELECT now() FROM ref".to_owned(),
    ] {
        assert!(alone(&sql).is_some_and(|clocked| clocked.text().is_some()), "{sql}");
        assert!(sql.starts_with("DECLARE") || plan(&sql).plain, "{sql}");
    }
    assert!(alone(&format!("SELECT at FROM docs WHERE {doc}")).is_none());
    assert!(alone(&format!("SELECT n FROM docs, now() n WHERE {doc}")).is_none());
}

#[test]
fn cursors_are_planned_as_their_queries() {
    assert_eq!(scatter("DECLARE c SCROLL CURSOR FOR SELECT age FROM users").sql, "SELECT age  FROM users\n");
    assert_eq!(route("DECLARE c CURSOR FOR SELECT count(*) FROM users"), "all");
    assert_eq!(route("DECLARE c CURSOR WITH HOLD FOR SELECT count(DISTINCT age) FROM users"), "gather");
}

#[test]
fn only_orders_that_can_be_reproduced_are_merged() {
    let kinds = |sql: &str| {
        scatter(sql).order.iter().map(|k| (k.sort, k.descending, k.nulls_first)).collect::<Vec<_>>()
    };
    assert_eq!(
        kinds("SELECT * FROM users ORDER BY age DESC, score NULLS FIRST"),
        [(SortType::Number, true, true), (SortType::Number, false, true)]
    );
    assert_eq!(kinds("SELECT age AS a FROM users ORDER BY a"), [(SortType::Number, false, false)]);
    assert_eq!(kinds("SELECT name, age FROM users ORDER BY 2"), [(SortType::Number, false, false)]);
    assert_eq!(
        kinds("SELECT title FROM docs ORDER BY title, doc, at"),
        [(SortType::Bytes, false, false), (SortType::Bytes, false, false), (SortType::Number, false, false)]
    );
    assert_all(
        &[
            "SELECT * FROM users ORDER BY name",
            "SELECT * FROM users ORDER BY age + 1",
            "SELECT * FROM users ORDER BY lower(name)",
            "SELECT *, 1 FROM users ORDER BY 1",
            "SELECT abs(age) AS age FROM users ORDER BY age",
        ],
        "gather",
    );
}

#[test]
fn order_by_means_an_output_before_it_means_an_input() {
    let sorted_by = |sql: &str| {
        scatter(sql)
            .sql
            .split(", (")
            .nth(1)
            .unwrap_or_default()
            .split(')')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(sorted_by("SELECT age AS user_id, user_id AS age FROM users ORDER BY age"), "user_id");
    assert_eq!(sorted_by("SELECT age AS user_id, user_id AS age FROM users ORDER BY (age)"), "user_id");
    assert_eq!(sorted_by("SELECT age AS user_id, user_id AS age FROM users ORDER BY users.age"), "users.age");
    assert_all(
        &[
            // A cast of a column has the column's name: sorted as text.
            "SELECT age::text FROM users ORDER BY age",
            "SELECT CASE WHEN true THEN age ELSE user_id END FROM users ORDER BY age",
            "SELECT abs(age) FROM users ORDER BY abs",
        ],
        "gather",
    );
}

#[test]
fn limits_reach_the_shards_as_one() {
    let both = scatter("SELECT name FROM users ORDER BY age OFFSET 2 LIMIT $1;");
    assert_eq!((both.limit, both.offset), (Some(Count::Param(0)), Some(Count::Fixed(2))));
    assert!(!both.sql.contains("LIMIT") && !both.sql.contains("OFFSET"), "{}", both.sql);
    let all = scatter("SELECT name FROM users LIMIT ALL -- all of them");
    assert_eq!((all.limit, all.offset), (None, None));
    assert_all(
        &["SELECT * FROM users LIMIT 1 + 1", "SELECT * FROM users LIMIT 1.5", "SELECT * FROM users LIMIT -1"],
        "gather",
    );
}
