//! Joins, subqueries, set operations and what stands beside sharded tables.

use super::support::{assert_all, assert_refused, home, plan_with, route, route_of, route_with};

#[test]
fn inner_joins_carry_the_key_over() {
    assert_all(
        &[
            "SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id WHERE u.user_id = 7",
            "SELECT * FROM users JOIN orders USING (user_id) WHERE user_id = 7",
            "SELECT * FROM users u, orders o WHERE o.user_id = u.user_id AND 7 = o.user_id",
            "SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id AND o.user_id = 7",
            "SELECT * FROM users u CROSS JOIN orders o WHERE u.user_id = 7 AND o.user_id = 7",
            "SELECT * FROM users u NATURAL JOIN ref r WHERE u.user_id = 7",
            "SELECT * FROM users u JOIN ref r ON r.id = u.age WHERE u.user_id = 7",
            "SELECT * FROM users u JOIN (orders o JOIN ref r ON r.id = o.id) ON o.user_id = u.user_id WHERE u.user_id = 7",
            "SELECT * FROM users u JOIN orders o JOIN ref r ON r.id = o.id ON o.user_id = u.user_id WHERE u.user_id = 7",
            "SELECT * FROM ref r JOIN users u ON u.user_id = r.id JOIN orders o ON o.user_id = r.id WHERE r.id = 7",
        ],
        &home("7"),
    );
}

#[test]
fn outer_joins_pin_their_nullable_side_by_the_kept_one() {
    assert_all(
        &[
            "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id WHERE u.user_id = 7",
            "SELECT * FROM users LEFT JOIN orders USING (user_id) WHERE user_id = 7",
            "SELECT * FROM orders RIGHT JOIN users USING (user_id) WHERE users.user_id = 7",
            "SELECT * FROM orders o RIGHT JOIN users u ON o.user_id = u.user_id WHERE u.user_id = 7",
            "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = 7 WHERE u.user_id = 7",
            "SELECT * FROM users u LEFT JOIN ref r ON r.user_id = u.user_id WHERE u.user_id = 7",
            "SELECT * FROM users a LEFT JOIN users b ON b.user_id = a.user_id LEFT JOIN orders c ON c.user_id = b.user_id \
             WHERE a.user_id = 7",
            "SELECT * FROM users a LEFT JOIN users b ON b.user_id = a.user_id RIGHT JOIN orders c ON c.user_id = b.user_id \
             WHERE c.user_id = 7",
            "SELECT * FROM users u FULL JOIN orders o ON false WHERE u.user_id = 7 AND o.user_id = 7",
        ],
        &home("7"),
    );
}

#[test]
fn outer_joins_do_not_pin_their_kept_side() {
    assert_all(
        &[
            "SELECT * FROM orders o LEFT JOIN users u ON o.id = u.age AND u.user_id = 7",
            "SELECT * FROM users u RIGHT JOIN orders o ON u.user_id = 7",
            "SELECT * FROM users u RIGHT JOIN orders o ON o.user_id = u.user_id AND u.user_id = 7",
            "SELECT * FROM users u FULL JOIN orders o ON u.user_id = o.user_id AND u.user_id = 7",
            "SELECT * FROM ref r LEFT JOIN users u ON r.id = 7",
        ],
        "gather",
    );
    let left = "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.user_id AND u.user_id = 7";
    assert_eq!(route(left), "all", "every user is in the answer");
}

#[test]
fn derived_tables_are_seen_through_where_they_only_pick() {
    assert_all(
        &[
            "SELECT * FROM (SELECT * FROM users) s WHERE s.user_id = 7",
            "SELECT * FROM (SELECT user_id AS k, name FROM users WHERE age = 1) s WHERE k = 7",
            "SELECT count(*) FROM (SELECT user_id FROM users WHERE user_id = 7) s",
            "SELECT * FROM (SELECT * FROM users WHERE user_id = 7 ORDER BY age LIMIT 3) s",
            "SELECT * FROM (SELECT user_id FROM users) a JOIN (SELECT user_id FROM orders) b USING (user_id) WHERE user_id = 7",
            "SELECT * FROM (SELECT age, count(*) FROM users WHERE user_id = 7 GROUP BY age) s",
        ],
        &home("7"),
    );
    assert_all(
        &[
            "SELECT * FROM (SELECT * FROM users LIMIT 5) s WHERE s.user_id = 7",
            "SELECT * FROM (SELECT user_id, count(*) FROM users GROUP BY user_id) s WHERE s.user_id = 7",
            "SELECT * FROM (SELECT DISTINCT ON (age) * FROM users) s WHERE user_id = 7",
            "SELECT * FROM (SELECT user_id, rank() OVER () FROM users) s WHERE user_id = 7",
            "SELECT * FROM (SELECT user_id + 1 AS user_id FROM users) s WHERE user_id = 7",
            "SELECT * FROM (SELECT user_id, unnest(ARRAY[1,2]) FROM users) s WHERE user_id = 7",
            "SELECT * FROM (SELECT age AS user_id FROM users) s WHERE user_id = 7",
            "SELECT * FROM (SELECT name, age FROM users) s (user_id, b) WHERE user_id = 7",
        ],
        "gather",
    );
}

#[test]
fn subqueries_are_pinned_by_themselves_or_by_what_is_around_them() {
    assert_all(
        &[
            "SELECT * FROM users u WHERE user_id = 7 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id)",
            "SELECT * FROM users u WHERE user_id = 7 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.user_id)",
            "SELECT (SELECT count(*) FROM orders o WHERE o.user_id = u.user_id) FROM users u WHERE user_id = 7",
            "SELECT * FROM users WHERE user_id = 7 AND age IN (SELECT id FROM orders WHERE user_id = 7)",
            "SELECT * FROM users WHERE user_id = 7 AND age = ANY (SELECT id FROM ref)",
            "SELECT * FROM ref WHERE id IN (SELECT age FROM users WHERE user_id = 7)",
            "SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.user_id LIMIT 1) s WHERE u.user_id = 7",
            "SELECT * FROM users u LEFT JOIN LATERAL (SELECT * FROM orders o WHERE o.user_id = u.user_id LIMIT 1) s ON true \
             WHERE u.user_id = 7",
            "SELECT user_id, (SELECT count(*) FROM orders o WHERE o.user_id = u.user_id) FROM users u WHERE user_id = 7 \
             GROUP BY user_id",
        ],
        &home("7"),
    );
    assert_all(
        &[
            "SELECT * FROM users WHERE user_id = 7 AND age IN (SELECT id FROM orders)",
            "SELECT * FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE user_id = 7)",
            "SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = 7)",
            "SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE u.user_id = 7 AND o.user_id = u.user_id)",
            "SELECT (SELECT max(id) FROM orders) FROM users WHERE user_id = 7",
        ],
        "gather",
    );
}

#[test]
fn set_operations_need_every_branch_on_one_shard() {
    assert_eq!(
        route("SELECT name FROM users WHERE user_id = 7 UNION SELECT note FROM orders WHERE user_id = 7"),
        home("7")
    );
    assert_eq!(route("SELECT label FROM ref EXCEPT SELECT name FROM users WHERE user_id = 7"), home("7"));
    assert_all(
        &[
            "SELECT name FROM users WHERE user_id = 7 UNION ALL SELECT note FROM orders WHERE user_id = 8",
            "SELECT name FROM users WHERE user_id = 7 UNION ALL SELECT note FROM orders",
            "SELECT name FROM users UNION ALL SELECT note FROM orders",
            "SELECT name FROM users WHERE user_id IN (7, 8) UNION ALL SELECT note FROM orders WHERE user_id IN (7, 8)",
        ],
        "gather",
    );
    assert_all(&["TABLE users", "TABLE users LIMIT 3"], "all");
    assert_all(&["SELECT name FROM users UNION ALL TABLE ref"], "gather");
}

#[test]
fn a_cte_hides_the_table_of_its_name() {
    assert_all(
        &[
            "WITH users AS (SELECT 1 AS user_id) SELECT * FROM users WHERE user_id = 7",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT * FROM r",
            "WITH RECURSIVE a AS (SELECT * FROM orders), orders AS (SELECT 1 AS user_id) SELECT * FROM a",
        ],
        "any",
    );
    assert_all(
        &[
            "WITH u AS (SELECT * FROM users WHERE user_id = 7) SELECT * FROM u",
            "WITH users AS (SELECT * FROM users WHERE user_id = 7) SELECT count(*) FROM users",
            "WITH x AS (SELECT 7 AS user_id) SELECT * FROM public.users WHERE user_id = 7",
        ],
        &home("7"),
    );
    assert_all(
        &[
            "WITH u AS (SELECT * FROM users) SELECT * FROM u WHERE user_id = 7",
            "WITH users AS (SELECT 1) SELECT * FROM public.users, users",
        ],
        "gather",
    );
    assert_refused(&[
        "WITH u AS (DELETE FROM users RETURNING *) SELECT 1",
        "SELECT (WITH u AS (DELETE FROM users WHERE user_id = 7 RETURNING *) SELECT count(*) FROM u)",
    ]);
}

#[test]
fn groups_and_kinds_of_tables_do_not_mix() {
    assert!(route("SELECT * FROM jobs WHERE job_id = 7").ends_with("of group 1"));
    assert_all(&["SELECT * FROM log, users WHERE user_id = 7"], "gather");
    assert_all(&["SELECT * FROM jobs j JOIN users u ON u.user_id = j.job_id WHERE j.job_id = 7"], "gather");
    assert_refused(&[
        "UPDATE jobs SET job_id = 7 FROM users WHERE user_id = job_id",
        "SELECT * FROM v WHERE user_id = 7",
    ]);
    assert_eq!(route("SELECT * FROM log"), "shard 3");
    assert_eq!(route("SELECT * FROM ref r JOIN log l ON l.id = r.id"), "shard 3");
    assert_all(
        &["SELECT * FROM ref", "SELECT * FROM ref WHERE user_id = 7", "SELECT 1", "VALUES (1), (2)"],
        "any",
    );
    assert_eq!(route("SELECT * FROM ref WHERE id = 1 FOR UPDATE"), "shard 0", "a lock that all see");
    assert_eq!(route("SELECT relname FROM pg_class"), "shard 0");
    assert_eq!(route("SELECT * FROM pg_orders WHERE user_id = 7"), home("7"), "not a system catalog");
    assert_eq!(route("DELETE FROM pg_orders"), "all");
}

#[test]
fn a_search_path_says_which_table_is_meant() {
    let sql = "SELECT * FROM users WHERE user_id = 7";
    let both = |path: &[&str]| route_of(sql, &plan_with(sql, path), &[]);
    assert_eq!(both(&["other", "public"]), home("7"));
    assert_eq!(both(&["nowhere"]), "unknown users");
    // other.users has no age, so `age` is of what is around it.
    let nested = "SELECT * FROM ref r WHERE id = 7 AND EXISTS (SELECT 1 FROM other.users WHERE other.users.user_id = 7)";
    assert_eq!(route(nested), home("7"));
}

#[test]
fn functions_that_may_read_tables_are_refused() {
    assert_refused(&[
        "SELECT spent(7)",
        "SELECT spent(user_id) FROM users WHERE user_id = 7",
        "SELECT * FROM spent(7)",
        "SELECT * FROM users, LATERAL spent(user_id) s WHERE user_id = 7",
        "SELECT nextval('s')",
        "SELECT pg_advisory_xact_lock(1), * FROM users WHERE user_id = 7",
        "SELECT pg_advisory_lock(1), * FROM users WHERE user_id = 7",
        "SELECT set_config('search_path', 'x' || 'y', true)",
        "SELECT set_config('a.b', 'x', false), set_config('a.c', 'x', true)",
        "SELECT set_config('a.b', 'x', false) FROM users WHERE user_id = 7",
        "SELECT set_config($1, 'x', true)",
    ]);
    assert_eq!(route("SELECT pg_advisory_xact_lock(1)"), "shard 0");
    assert_eq!(route("SELECT set_config('a.b', 'x', true)"), "any");
    assert_eq!(route("SELECT pg_catalog.set_config('search_path', '', false)"), "any");
    assert_eq!(route("SELECT current_setting('a.b'), set_config('a.b', $1, false)"), "any");
    assert_eq!(route("SELECT * FROM users u, generate_series(1, u.age) g WHERE u.user_id = 7"), home("7"));
    assert_eq!(
        route("SELECT * FROM users u, LATERAL generate_series(1, u.age) g WHERE u.user_id = 7"),
        home("7")
    );
    assert_eq!(
        route("SELECT * FROM users u, unnest(ARRAY[1]) WITH ORDINALITY x WHERE u.user_id = 7"),
        home("7")
    );
}

#[test]
fn keys_on_different_shards_are_gathered_where_one_answer_needs_both() {
    assert_all(
        &[
            "SELECT * FROM users u, orders o WHERE u.user_id = 7 AND o.user_id = 8",
            "SELECT * FROM users WHERE user_id = 7 AND age > (SELECT count(*) FROM orders WHERE user_id = 8)",
        ],
        "gather",
    );
    let pair = "SELECT * FROM users u, orders o WHERE u.user_id = $1 AND o.user_id = $2";
    assert_eq!(route_with(pair, &[Some("7"), Some("7")]), home("7"));
    assert_eq!(route_with(pair, &[Some("7"), Some("8")]), "gather");
}

#[test]
fn locks_samples_and_odd_forms_keep_their_table() {
    assert_eq!(route("SELECT * FROM users WHERE user_id = 7 FOR UPDATE OF users SKIP LOCKED"), home("7"));
    assert_eq!(route("SELECT * FROM users TABLESAMPLE SYSTEM (50) WHERE user_id = 7"), home("7"));
    assert_eq!(route("SELECT users FROM users WHERE user_id = 7"), home("7"));
    assert_eq!(route("SELECT (users).name FROM users WHERE users.user_id = 7"), home("7"));
    for sql in [
        "SELECT * FROM ONLY users WHERE user_id = 7",
        "UPDATE ONLY users SET age = 1 WHERE user_id = 7",
        "DELETE FROM ONLY public.users WHERE user_id = 7",
    ] {
        assert_eq!(route(sql), home("7"), "{sql}");
    }
    assert_refused(&[
        "SELECT * FROM ONLY (users) WHERE user_id = 7",
        "SELECT * FROM users * WHERE user_id = 7",
        "SELECT * INTO x FROM users WHERE user_id = 7",
    ]);
}
