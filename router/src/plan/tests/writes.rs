//! Where rows are written, and which writes are refused.

use super::support::{assert_all, assert_refused, home, homes, plan, route, route_with};
use crate::plan::Across;
use crate::plan::spread::How;

#[test]
fn an_insert_goes_where_its_key_lives() {
    assert_all(
        &[
            "INSERT INTO users VALUES (7, 'a', 1, 2)",
            "INSERT INTO users (name, user_id) VALUES ('a', 7)",
            "INSERT INTO users (name, user_id) VALUES ('a', '007'), ('b', 7)",
            "INSERT INTO users AS u (user_id) VALUES (7) ON CONFLICT (user_id) DO UPDATE SET name = u.name || 'x'",
            "INSERT INTO users (user_id, name) VALUES (7, 'a') ON CONFLICT DO NOTHING RETURNING user_id, (SELECT max(id) FROM ref)",
            "INSERT INTO users (user_id) VALUES (7) ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.user_id, age = 1",
            "INSERT INTO serials (user_id, n) VALUES (7, 1)",
            "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM orders WHERE user_id = 7))",
        ],
        &home("7"),
    );
    assert_eq!(route_with("INSERT INTO users (user_id) VALUES ($1)", &[Some(" 7")]), home("7"));
}

#[test]
fn rows_for_several_shards_are_split() {
    assert_all(
        &[
            "INSERT INTO users (user_id) VALUES (7), (8)",
            "INSERT INTO users (name, user_id) VALUES ('a', 7), (DEFAULT, '8'), (lower('B'), 7) RETURNING *",
            "INSERT INTO users (user_id) VALUES (8), (7) ON CONFLICT (user_id) DO UPDATE SET age = 1",
            "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM ref)), (8, random())",
        ],
        &homes(&["7", "8"]),
    );
    let params = [Some("7"), Some("8")];
    assert_eq!(route_with("INSERT INTO users (user_id) VALUES ($1), ($2)", &params), homes(&["7", "8"]));
    assert_refused(&[
        "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM users)), (8, 1)",
        "INSERT INTO users (user_id, age) VALUES (7, (SELECT id FROM ref LIMIT 1)), (8, 1)",
        "INSERT INTO users (user_id, age) VALUES (7, 1), (8, 1) RETURNING ctid",
        "INSERT INTO users (user_id, age) VALUES (7, 1), (8, 1) ON CONFLICT (age) DO NOTHING",
        "INSERT INTO users (user_id, age) VALUES (7, 1) ON CONFLICT (age) DO NOTHING",
    ]);
}

#[test]
fn a_select_that_hands_the_key_on_is_stored_where_its_rows_are() {
    assert_all(
        &[
            "INSERT INTO users (user_id, age) SELECT user_id, id FROM orders",
            "INSERT INTO orders SELECT user_id, age, lower(name) FROM users WHERE score > 3 RETURNING id",
            "INSERT INTO orders SELECT * FROM orders ON CONFLICT DO NOTHING",
            "INSERT INTO users (age, user_id) SELECT o.id, u.user_id FROM users u JOIN orders o ON o.user_id = u.user_id",
            "INSERT INTO users (age, user_id) SELECT r.id, o.user_id FROM orders o LEFT JOIN ref r ON r.id = o.id",
            "INSERT INTO users (user_id, age) SELECT o.user_id, 1 FROM (SELECT * FROM orders WHERE id > 3) o",
            "INSERT INTO users (user_id, age) SELECT user_id, count(*) FROM orders GROUP BY user_id HAVING count(*) > 2",
            "INSERT INTO users (user_id, age) SELECT user_id, max(id) FROM orders GROUP BY 1",
            "INSERT INTO users (user_id) SELECT DISTINCT user_id FROM orders",
            "INSERT INTO users (user_id, age) SELECT user_id, random() FROM orders o WHERE EXISTS (SELECT FROM users u WHERE \
             u.user_id = o.user_id)",
        ],
        "all",
    );
    assert_all(
        &[
            "INSERT INTO users (user_id, age) SELECT user_id, id FROM orders WHERE user_id = 7",
            "INSERT INTO users (user_id, age) SELECT 7, id FROM ref",
            "INSERT INTO users (user_id, age) SELECT 7, id FROM orders WHERE user_id = 7 ORDER BY id LIMIT 1",
            "INSERT INTO users SELECT * FROM users WHERE user_id = 7",
        ],
        &home("7"),
    );
    let several = "INSERT INTO users (user_id) SELECT user_id FROM orders WHERE user_id IN (7, 8)";
    assert_eq!(route(several), homes(&["7", "8"]));
    for sql in [
        "INSERT INTO users (user_id) SELECT id FROM orders",
        "INSERT INTO users (user_id) SELECT id FROM orders WHERE user_id = 7",
        "INSERT INTO users (user_id) SELECT user_id + 1 FROM orders",
        "INSERT INTO users (user_id) SELECT id FROM ref",
        "INSERT INTO users (user_id) SELECT 8 FROM orders WHERE user_id = 7",
        "INSERT INTO users (user_id) SELECT 8 FROM orders",
        "INSERT INTO users (user_id) SELECT user_id FROM orders LIMIT 3",
        "INSERT INTO users (user_id) SELECT u.user_id FROM users u JOIN orders o ON o.id = u.age",
        "INSERT INTO users (user_id) SELECT o.user_id FROM ref r LEFT JOIN orders o ON o.id = r.id",
        "INSERT INTO users (user_id) SELECT r.user_id FROM ref r LEFT JOIN orders o ON o.user_id = r.user_id",
        "INSERT INTO users (user_id) SELECT o.user_id FROM orders o FULL JOIN ref r ON r.id = o.id",
        "INSERT INTO users (user_id) SELECT max(user_id) FROM orders",
        "INSERT INTO users (user_id, age) SELECT max(user_id), id FROM orders GROUP BY id",
        "INSERT INTO users (user_id, age) SELECT user_id, rank() OVER (ORDER BY id) FROM orders",
        "INSERT INTO users (user_id) SELECT DISTINCT ON (id) user_id FROM orders",
        "INSERT INTO users (user_id) SELECT user_id FROM orders UNION SELECT user_id FROM users",
        "INSERT INTO users (user_id) SELECT user_id FROM orders ORDER BY id RETURNING age",
        "INSERT INTO users (user_id, age) SELECT user_id, (SELECT count(*) FROM users) FROM orders",
        "INSERT INTO users WITH x AS (SELECT 7 AS k) SELECT k FROM x",
    ] {
        assert!(is_fed(sql), "{sql}");
        assert_eq!(route(sql), "all", "{sql}");
    }
    assert_refused(&[
        "INSERT INTO users (user_id) SELECT id FROM orders RETURNING (SELECT max(id) FROM ref)",
        "INSERT INTO users (user_id) SELECT id FROM orders ON CONFLICT (user_id) DO UPDATE SET user_id = 8",
        "INSERT INTO users (user_id) SELECT id FROM orders RETURNING ctid",
        "INSERT INTO users (user_id) SELECT id FROM orders ON CONFLICT (age) DO NOTHING",
        "INSERT INTO users (user_id, age) SELECT id, user_id FROM orders ON CONFLICT (user_id) DO UPDATE SET age = $1",
        "INSERT INTO users (user_id) SELECT id FROM orders FOR UPDATE",
        "INSERT INTO users (user_id) SELECT id FROM log",
        "INSERT INTO serials (user_id) SELECT user_id FROM orders",
    ]);
}

#[test]
fn rows_whose_shard_is_not_known_are_refused() {
    assert_refused(&[
        "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM orders WHERE user_id = 8))",
        "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM orders))",
        "INSERT INTO users (user_id) VALUES (7) RETURNING (SELECT count(*) FROM orders)",
    ]);
}

#[test]
fn a_row_without_a_key_is_refused_as_postgres_refuses_null() {
    for sql in [
        "INSERT INTO users (user_id) VALUES (NULL)",
        "INSERT INTO users (name) VALUES ('a')",
        "INSERT INTO users (user_id) VALUES (DEFAULT)",
        "INSERT INTO users DEFAULT VALUES",
        "INSERT INTO users (user_id) VALUES (7), (NULL)",
    ] {
        let expected =
            "23502: null value in column \"user_id\" of relation \"users\" violates not-null constraint";
        assert_eq!(route(sql), expected, "{sql}");
    }
    assert!(route_with("INSERT INTO users (user_id) VALUES ($1)", &[None]).starts_with("23502"));
}

#[test]
fn a_key_that_is_computed_is_not_guessed() {
    assert_eq!(route("INSERT INTO users (user_id) VALUES (7.5)"), home("8"));
    assert_eq!(route("INSERT INTO users (user_id) VALUES (-7.5)"), home("-8"));
    assert_eq!(route("SELECT * FROM users WHERE user_id = 7.5"), "any");
    assert_eq!(route("DELETE FROM users WHERE user_id IN (7.5, 7)"), home("7"));
    assert_refused(&[
        "INSERT INTO users (user_id) VALUES (7 + 1)",
        "INSERT INTO users (user_id) VALUES (abs(7))",
        "INSERT INTO defaulted (x) VALUES ('a')",
        "INSERT INTO defaulted VALUES (DEFAULT, 'a')",
        "INSERT INTO defaulted DEFAULT VALUES",
    ]);
    assert!(route("INSERT INTO defaulted (x) VALUES ('a')").contains("default of \"user_id\""));
}

#[test]
fn a_part_of_a_column_does_not_shift_the_key() {
    assert_eq!(route("INSERT INTO users (name.user_id, user_id) VALUES (8, 7)"), home("7"));
}

#[test]
fn sequences_that_would_repeat_on_every_shard_are_refused() {
    assert_refused(&[
        "INSERT INTO serials (user_id) VALUES (7)",
        "INSERT INTO serials (user_id, n) VALUES (7, DEFAULT)",
        "INSERT INTO serials VALUES (7)",
        "INSERT INTO serials (user_id, n) VALUES (7, 1), (7, DEFAULT)",
    ]);
}

#[test]
fn updates_and_deletes_go_where_their_rows_are() {
    assert_all(
        &[
            "UPDATE users SET age = 1 WHERE user_id = 7",
            "UPDATE users u SET age = o.id FROM orders o WHERE o.user_id = u.user_id AND u.user_id = 7",
            "UPDATE users SET age = (SELECT count(*) FROM orders o WHERE o.user_id = users.user_id) WHERE user_id = 7",
            "UPDATE users SET (age, name) = (1, 'a') WHERE user_id IN (7, '7') RETURNING *",
            "DELETE FROM users WHERE user_id = 7",
            "DELETE FROM users u USING orders o WHERE o.user_id = 7 AND u.user_id = o.user_id",
        ],
        &home("7"),
    );
    assert_all(
        &[
            "UPDATE users SET age = 1",
            "UPDATE users SET age = 1 WHERE score > 3 RETURNING name",
            "UPDATE users u SET age = o.id FROM orders o WHERE o.user_id = u.user_id AND o.note = 'x'",
            "UPDATE users u SET age = r.id FROM ref r WHERE r.label = u.name",
            "UPDATE users SET age = (SELECT max(id) FROM orders o WHERE o.user_id = users.user_id)",
            "UPDATE users SET age = random() WHERE EXISTS (SELECT FROM orders o WHERE o.user_id = users.user_id)",
            "DELETE FROM users",
            "DELETE FROM users WHERE user_id = 7 OR age = 1",
            "DELETE FROM users u USING orders o WHERE o.user_id = u.user_id",
            "DELETE FROM users WHERE user_id IN (SELECT user_id FROM orders WHERE note = 'x')",
            "DELETE FROM users WHERE user_id NOT IN (SELECT user_id FROM orders)",
            "DELETE FROM orders WHERE (id, user_id) IN (SELECT age, user_id FROM users)",
            "DELETE FROM users WHERE user_id IN (SELECT user_id FROM users WHERE age = 1)",
            "DELETE FROM users WHERE age IN (SELECT id FROM ref) AND name = now()::text",
        ],
        "all",
    );
    assert_all(
        &[
            "UPDATE users SET age = 1 WHERE user_id IN (7, 8)",
            "DELETE FROM users u USING orders o WHERE o.user_id = u.user_id AND u.user_id IN (8, 7)",
        ],
        &homes(&["7", "8"]),
    );
    assert_refused(&[
        "UPDATE users SET age = (SELECT count(*) FROM orders)",
        "UPDATE users SET age = o.id FROM orders o WHERE o.id = users.age",
        "DELETE FROM users WHERE age IN (SELECT id FROM orders)",
        "DELETE FROM users WHERE user_id IN (SELECT id FROM orders)",
        "DELETE FROM users WHERE user_id IN (SELECT user_id FROM orders ORDER BY id LIMIT 3)",
        "DELETE FROM users WHERE user_id IN (SELECT max(user_id) FROM orders)",
        "UPDATE users SET age = (SELECT id FROM ref LIMIT 1)",
        "UPDATE users SET age = (SELECT random())",
        "UPDATE users SET age = spent()",
        "UPDATE users SET age = 1 WHERE ctid = '(0,1)'",
        "UPDATE users SET name = age(at)::text FROM ref",
        "UPDATE users SET age = 1 RETURNING now()",
        "UPDATE users SET age = 1 FROM orders o WHERE o.user_id = 7",
        "UPDATE users SET age = (SELECT count(*) FROM orders) WHERE user_id = 7",
        "DELETE FROM users USING orders o WHERE o.user_id = 7",
    ]);
}

/// Whether rows go through the proxy.
fn is_fed(sql: &str) -> bool {
    matches!(plan(sql).across(), Some(Across::Spread(spread)) if matches!(spread.how, How::Fed(_)))
}

#[test]
fn rows_whose_key_is_set_may_move() {
    let moves = |sql: &str| {
        let how =
            |across: &Across| matches!(across, Across::Spread(spread) if matches!(spread.how, How::Moved(_)));
        assert!(plan(sql).across().is_some_and(how), "{sql}");
        assert_eq!(route(sql), "all", "{sql}");
    };
    moves("UPDATE users SET user_id = 8 WHERE user_id = 7");
    moves("UPDATE users SET (age, user_id) = (1, 8) WHERE user_id = 7");
    moves("UPDATE users SET \"user_id\" = 8 WHERE user_id = 7");
    moves("UPDATE users SET user_id = user_id + 1 WHERE user_id = 7 RETURNING *");
    moves("UPDATE users u SET user_id = o.id FROM orders o WHERE o.user_id = u.user_id");
    assert_all(
        &[
            "UPDATE users SET user_id = 7 WHERE user_id = 7",
            "UPDATE users u SET age = 1, user_id = u.user_id WHERE user_id = 7",
        ],
        &home("7"),
    );
    assert_refused(&[
        "UPDATE users SET user_id = 8 RETURNING (SELECT count(*) FROM orders o WHERE o.user_id = users.user_id)",
        "UPDATE users SET user_id = (SELECT max(user_id) FROM orders)",
        "INSERT INTO users (user_id) VALUES (7) ON CONFLICT (user_id) DO UPDATE SET user_id = 8",
        "INSERT INTO users (user_id, age) VALUES (7, 8) ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.age",
    ]);
}

#[test]
fn a_merge_by_the_key_is_each_shards_own() {
    let on = "MERGE INTO users u USING orders o ON u.user_id = o.user_id";
    for actions in [
        "WHEN MATCHED THEN UPDATE SET age = o.id",
        "WHEN MATCHED AND o.id > 3 THEN DELETE WHEN NOT MATCHED THEN INSERT (age, user_id) VALUES (1, o.user_id)",
    ] {
        assert_eq!(route(&format!("{on} {actions}")), "all", "{actions}");
    }
    let one = "MERGE INTO users u USING (SELECT 7 AS k) s ON u.user_id = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.k)";
    assert_eq!(route(one), home("7"));
    let null = one.replace('7', "NULL");
    assert!(route(&null).starts_with("23502"), "{}", route(&null));
    assert_refused(&[
        &format!("{on} WHEN NOT MATCHED THEN INSERT (user_id) VALUES (7)"),
        &format!("{on} WHEN MATCHED THEN UPDATE SET user_id = 8"),
        &format!("{on} WHEN MATCHED AND (SELECT true FROM orders) THEN DELETE"),
        "MERGE INTO users u USING orders o ON u.user_id = o.id WHEN MATCHED THEN DELETE",
        "MERGE INTO users u USING ref r ON u.user_id = r.id WHEN NOT MATCHED THEN INSERT (user_id) VALUES (r.id)",
        "MERGE INTO users u USING (SELECT random() AS k) s ON u.user_id = s.k WHEN NOT MATCHED THEN INSERT VALUES (s.k)",
        "MERGE INTO users u USING generate_series(1, 3) g ON u.age = g WHEN MATCHED THEN DELETE",
        "MERGE INTO users u USING (SELECT random() AS r FROM ref) s ON u.age = s.r WHEN MATCHED THEN DELETE",
        "MERGE INTO ref r USING users u ON r.id = u.user_id WHEN MATCHED THEN DELETE",
    ]);
}

#[test]
fn reference_tables_are_written_everywhere_and_local_ones_where_they_are() {
    assert_all(
        &[
            "INSERT INTO ref VALUES (1)",
            "UPDATE ref SET label = 'a'",
            "DELETE FROM ref WHERE user_id = 7",
            "INSERT INTO ref SELECT id FROM ref",
        ],
        "all",
    );
    assert!(is_fed("INSERT INTO ref SELECT user_id FROM users"));
    assert_refused(&[
        "UPDATE ref SET label = 'a' FROM log",
        "DELETE FROM ref WHERE id IN (SELECT user_id FROM users WHERE user_id = 7)",
    ]);
    assert_eq!(route("INSERT INTO log VALUES (1)"), "shard 3");
    assert_refused(&["INSERT INTO log SELECT user_id FROM users WHERE user_id = 7"]);
}

/// Whether every copy of a reference table does it for itself.
fn is_same(sql: &str) -> bool {
    match plan(sql).across() {
        Some(Across::Spread(spread)) => matches!(spread.how, How::Same(_)),
        other => panic!("{sql} goes by {other:?}"),
    }
}

#[test]
fn what_is_settled_every_copy_does_for_itself() {
    for sql in [
        "INSERT INTO ref VALUES (1, 2, 'a'), (2, 3, lower('B'))",
        "INSERT INTO ref (id, label) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET label = EXCLUDED.label RETURNING *",
        "INSERT INTO ref (id, label) VALUES (1, now()::text)",
        "UPDATE ref SET label = lower(label) WHERE id IN (SELECT max(id) FROM ref)",
        "DELETE FROM ref WHERE id = abs($1)",
        "INSERT INTO ref (id, label) VALUES (1, ('2024-01-01'::text)::timestamptz::text)",
    ] {
        assert!(is_same(sql), "{sql}");
    }
    for sql in [
        "INSERT INTO ref (id) VALUES (random())",
        "INSERT INTO ref (id) VALUES (nextval('s'))",
        "INSERT INTO ref SELECT id FROM ref",
        "INSERT INTO ref DEFAULT VALUES",
        "INSERT INTO ref (id, label) VALUES (1, current_database())",
        "INSERT INTO ref (id, label) VALUES (1, unheard_of())",
        "INSERT INTO ref (id) VALUES ((SELECT id FROM ref LIMIT 1))",
        "INSERT INTO ref (id, label) VALUES (1, ('n' || 'ow')::timestamptz::text)",
    ] {
        assert!(!is_same(sql), "{sql}");
    }
    // Without a primary key, a row can't be told of.
    assert_refused(&[
        "UPDATE ref SET id = random()",
        "DELETE FROM ref WHERE id IN (SELECT id FROM ref LIMIT 1)",
        "UPDATE ref SET label = r.label FROM ref r WHERE r.id = ref.user_id",
    ]);
}

#[test]
fn an_insert_that_leaves_its_columns_unsaid_is_sent_with_them() {
    let sent = |sql: &str| plan(sql).listed.and_then(|listed| listed.put_into(sql)).map(|(sql, _)| sql);
    for (sql, expected) in [
        ("INSERT INTO users VALUES (7, 'a')", "INSERT INTO users (\"user_id\", \"name\") VALUES (7, 'a')"),
        (
            "INSERT INTO orders AS o VALUES (7, 1, 'x', 2), (7, 1, 'x', 2)",
            "INSERT INTO orders AS o (\"user_id\", \"id\", \"note\") VALUES (7, 1, 'x', 2), (7, 1, 'x', 2)",
        ),
        (
            "INSERT INTO orders SELECT user_id, age FROM users WHERE user_id = 7",
            "INSERT INTO orders (\"user_id\", \"id\") SELECT user_id, age FROM users WHERE user_id = 7",
        ),
        (
            "INSERT INTO \"Config\" VALUES ($1, $2)",
            "INSERT INTO \"Config\" (\"configurationId\", \"userId\") VALUES ($1, $2)",
        ),
        (
            "WITH a AS (INSERT INTO users VALUES (7) RETURNING user_id) INSERT INTO orders (user_id) SELECT user_id FROM a",
            "WITH a AS (INSERT INTO users (\"user_id\") VALUES (7) RETURNING user_id) INSERT INTO orders (user_id) SELECT user_id FROM a",
        ),
    ] {
        assert_eq!(sent(sql).as_deref(), Some(expected));
        assert!(!plan(sql).plain);
    }
    for sql in [
        "INSERT INTO users (user_id) VALUES (7)",
        "INSERT INTO orders SELECT * FROM orders WHERE user_id = 7",
        "INSERT INTO ref VALUES (1)",
        "INSERT INTO log VALUES (1)",
        "UPDATE users SET age = 1 WHERE user_id = 7",
    ] {
        assert_eq!(sent(sql), None, "{sql}");
    }
    assert!(plan("INSERT INTO users (user_id) VALUES (7)").plain);
}
