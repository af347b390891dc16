//! WITH that writes: to one shard, to each by itself, or refused.

use super::support::{assert_all, assert_refused, home, homes, plan, route, route_with};
use crate::plan::Access;

#[test]
fn parts_that_are_pinned_to_one_shard_go_there() {
    assert_all(
        &[
            "WITH m AS (DELETE FROM orders WHERE user_id = 7 RETURNING *) INSERT INTO orders SELECT * FROM m",
            "WITH m AS (DELETE FROM orders WHERE user_id = 7 AND id IN (SELECT id FROM orders WHERE user_id = 7 ORDER BY id LIMIT 10 FOR UPDATE SKIP LOCKED) RETURNING *) INSERT INTO orders SELECT * FROM m",
            "WITH m AS (DELETE FROM orders WHERE user_id = 7 RETURNING user_id, id) INSERT INTO users (age, user_id) SELECT m.id, m.user_id FROM m RETURNING age",
            "WITH m AS (DELETE FROM orders o WHERE o.user_id = 7 RETURNING o.*) INSERT INTO orders SELECT m.* FROM m",
            "WITH m (a, b) AS (DELETE FROM orders WHERE user_id = 7 RETURNING id, user_id) INSERT INTO users (user_id, age) SELECT b, a FROM m",
            "WITH i AS (INSERT INTO users (user_id) VALUES (7) ON CONFLICT DO NOTHING RETURNING age) SELECT age FROM i UNION ALL SELECT age FROM users WHERE user_id = 7",
            "WITH i AS (INSERT INTO users (user_id) VALUES (7) RETURNING *) UPDATE orders SET id = i.age FROM i WHERE orders.user_id = i.user_id",
            "WITH i AS (INSERT INTO users (user_id) VALUES (7) RETURNING user_id AS k) INSERT INTO orders (user_id, id) SELECT k, 3 FROM i",
            "WITH u AS (UPDATE users SET age = 1 WHERE user_id = 7 RETURNING *) SELECT count(*), max(age) FROM u",
            "WITH u AS (UPDATE users SET age = 1 WHERE user_id = 7 RETURNING *) SELECT * FROM u JOIN orders o ON o.user_id = u.user_id ORDER BY 1 LIMIT 3",
            "WITH x AS (SELECT user_id, id FROM orders WHERE user_id = 7 ORDER BY id LIMIT 1) UPDATE users SET age = x.id FROM x WHERE users.user_id = x.user_id",
            "WITH x AS (SELECT 7 AS k) INSERT INTO users (user_id) SELECT k FROM x",
            "WITH x AS (SELECT 7 AS k, 'a' AS n) DELETE FROM users USING x WHERE users.user_id = x.k",
            "WITH x (k, n) AS (VALUES (7, 1), (7, 2)) INSERT INTO users (user_id, age) SELECT k, n FROM x",
            "WITH x AS (SELECT max(id) AS m FROM ref) UPDATE users SET age = (SELECT m FROM x) WHERE user_id = 7",
            "WITH d AS (DELETE FROM users WHERE user_id = 7) SELECT 1",
            "WITH users AS (SELECT 8 AS user_id) DELETE FROM users WHERE user_id = 7",
            "WITH d AS (WITH x AS (SELECT 7 AS k) DELETE FROM users USING x WHERE user_id = x.k RETURNING *) SELECT * FROM d",
            "WITH RECURSIVE d AS (DELETE FROM users WHERE user_id = 7 RETURNING *) SELECT * FROM d",
            "WITH d AS (UPDATE users SET user_id = 7 WHERE user_id = 7 RETURNING *) SELECT * FROM d",
            "WITH i AS (INSERT INTO users (user_id) SELECT user_id FROM orders WHERE user_id = 7 RETURNING *) SELECT * FROM i",
        ],
        &home("7"),
    );
    let with = plan(
        "WITH d AS (DELETE FROM users WHERE user_id = 7 RETURNING *) INSERT INTO orders (user_id) SELECT user_id FROM d",
    );
    assert_eq!(with.access, Access::Write);
    let names: Vec<&str> = with.writes.iter().map(|table| &*table.name).collect();
    assert_eq!(names, ["users", "orders"]);
    assert!(with.cacheable.is_none());
    let both = "WITH d AS (DELETE FROM orders WHERE user_id = $1 RETURNING *) INSERT INTO orders SELECT * FROM d WHERE user_id = $1";
    assert_eq!(route_with(both, &[Some("7")]), home("7"));
    assert_eq!(route("WITH d AS (DELETE FROM log RETURNING *) INSERT INTO log SELECT * FROM d"), "shard 3");
}

#[test]
fn parts_that_meet_rows_of_one_key_alone_are_run_by_every_shard() {
    assert_all(
        &[
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING *) INSERT INTO orders SELECT * FROM d",
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING *) INSERT INTO orders SELECT * FROM d RETURNING id",
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING *) SELECT * FROM d",
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING id) SELECT d.id + 1 AS n FROM d WHERE id > 2",
            "WITH d AS (DELETE FROM orders RETURNING id), u AS (UPDATE users SET age = 1 RETURNING age) SELECT id FROM d UNION ALL SELECT age FROM u",
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING *) UPDATE users SET age = d.id FROM d WHERE d.user_id = users.user_id",
            "WITH x AS (SELECT user_id, id FROM orders WHERE id > 3) DELETE FROM users USING x WHERE x.user_id = users.user_id",
            "WITH x AS (SELECT user_id FROM orders WHERE id > 3) DELETE FROM users WHERE user_id IN (SELECT user_id FROM x)",
            "WITH r AS (SELECT id, label FROM ref) UPDATE users SET name = r.label FROM r WHERE r.id = users.age",
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING id) SELECT count(*) FROM d",
            "WITH d AS (DELETE FROM orders WHERE id < 5 RETURNING *) SELECT count(id), count(*) AS n FROM d WHERE id > 2",
            "WITH x AS (SELECT '7' AS k) DELETE FROM users USING x WHERE users.user_id = x.k",
        ],
        "all",
    );
    let both = "WITH d AS (DELETE FROM orders WHERE user_id IN (7, 8) RETURNING *) DELETE FROM users USING d WHERE users.user_id = d.user_id";
    assert_eq!(route(both), homes(&["7", "8"]));
}

#[test]
fn what_takes_rows_of_several_shards_is_refused() {
    assert_refused(&[
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT id FROM d ORDER BY id",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT id FROM d LIMIT 3",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT DISTINCT id FROM d",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT max(id) FROM d",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT count(DISTINCT id) FROM d",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT count(*) + 1 FROM d",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM d GROUP BY id",
        "WITH d AS (DELETE FROM orders RETURNING *), c AS (SELECT count(*) AS n FROM d) UPDATE users SET age = c.n FROM c",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT 1",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT r.id FROM ref r LEFT JOIN d ON d.id = r.id",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT id FROM d WHERE id = (SELECT max(id) FROM d)",
        "WITH d AS (DELETE FROM orders RETURNING *) INSERT INTO orders SELECT id, id FROM d",
        "WITH d AS (DELETE FROM orders RETURNING *) INSERT INTO orders SELECT user_id + 1, id FROM d",
        "WITH d AS (DELETE FROM orders RETURNING id, user_id) UPDATE users SET age = 1 FROM d WHERE d.id = users.age",
        "WITH d AS (DELETE FROM orders RETURNING *) INSERT INTO users (user_id) VALUES (7)",
        "WITH d AS (DELETE FROM orders WHERE user_id = 7 RETURNING *) DELETE FROM users WHERE user_id = 8 AND age IN (SELECT id FROM d)",
        "WITH d AS (UPDATE users SET user_id = age RETURNING *) SELECT * FROM d",
        "WITH d AS (UPDATE users SET user_id = 8 WHERE user_id = 7 RETURNING *) SELECT * FROM d",
        "WITH d AS (UPDATE ref SET id = 2 RETURNING *) SELECT * FROM d",
        "WITH d AS (DELETE FROM users WHERE user_id = 7 RETURNING *) INSERT INTO ref SELECT age FROM d",
        "WITH x AS (SELECT random() AS r) UPDATE users SET score = r FROM x",
        "WITH x AS (SELECT max(id) AS m FROM orders) UPDATE users SET age = m FROM x",
        "WITH x AS (SELECT user_id, id FROM orders ORDER BY id LIMIT 3) DELETE FROM users USING x WHERE x.user_id = users.user_id",
        "WITH d AS (DELETE FROM jobs WHERE job_id = 1 RETURNING *) DELETE FROM users WHERE user_id = 7",
        "WITH d AS (DELETE FROM log RETURNING *) DELETE FROM users WHERE user_id = 7",
        "SELECT * FROM (WITH d AS (DELETE FROM users WHERE user_id = 7 RETURNING *) SELECT * FROM d) x",
        "WITH x AS (SELECT 7 AS k) MERGE INTO users u USING x ON u.user_id = x.k WHEN MATCHED THEN DELETE",
        "WITH x (k) AS (VALUES (7), (8)) INSERT INTO users (user_id) SELECT k FROM x",
        "WITH x (k) AS (VALUES (7), ('8')) INSERT INTO users (user_id) SELECT k FROM x",
        "WITH i AS (INSERT INTO users (user_id) VALUES (7), (8) RETURNING *) SELECT * FROM i",
        "WITH i AS (INSERT INTO serials (user_id) VALUES (7) RETURNING *) SELECT * FROM i",
        "WITH i AS (INSERT INTO serials SELECT user_id FROM users WHERE user_id = 7 RETURNING *) SELECT * FROM i",
    ]);
}

#[test]
fn keys_are_not_taken_from_where_they_need_not_hold() {
    assert_refused(&[
        // NULLs of an outer join.
        "WITH x AS (SELECT 7 AS k) INSERT INTO users (user_id) SELECT x.k FROM ref LEFT JOIN x ON x.k = ref.id",
        "WITH d AS (DELETE FROM orders WHERE user_id = 7 RETURNING *) INSERT INTO users (user_id) SELECT d.user_id FROM ref LEFT JOIN d ON d.id = ref.id",
        // A column that is set, or that two columns are called.
        "WITH u AS (UPDATE users SET age = 8 WHERE user_id = 7 AND age = 7 RETURNING *) DELETE FROM orders USING u WHERE orders.user_id = u.age",
        "WITH d (a, a) AS (DELETE FROM orders WHERE user_id = 7 RETURNING user_id, id) DELETE FROM users USING d WHERE users.user_id = d.a",
        "WITH d AS (DELETE FROM users WHERE user_id = 7 RETURNING user_id) SELECT * FROM d AS d (k) JOIN orders ON orders.user_id = d.k",
    ]);
}
