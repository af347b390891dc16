//! Where rows are written, and which writes are refused.

use super::support::{assert_all, assert_refused, home, route, route_with};

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
fn rows_for_several_shards_are_refused() {
    assert_refused(&[
        "INSERT INTO users (user_id) VALUES (7), (8)",
        "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM orders WHERE user_id = 8))",
        "INSERT INTO users (user_id, age) VALUES (7, (SELECT count(*) FROM orders))",
        "INSERT INTO users SELECT * FROM users WHERE user_id = 7",
        "INSERT INTO users WITH x AS (SELECT 7) SELECT * FROM x",
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
    assert_refused(&[
        "INSERT INTO users (user_id) VALUES (7 + 1)",
        "INSERT INTO users (user_id) VALUES (abs(7))",
        "INSERT INTO users (user_id) VALUES (7.5)",
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
fn updates_and_deletes_need_their_key() {
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
    assert_refused(&[
        "UPDATE users SET age = 1",
        "UPDATE users SET age = 1 WHERE user_id IN (7, 8)",
        "UPDATE users SET age = 1 FROM orders o WHERE o.user_id = 7",
        "UPDATE users SET age = (SELECT count(*) FROM orders) WHERE user_id = 7",
        "UPDATE ONLY users SET age = 1 WHERE user_id = 7",
        "DELETE FROM users",
        "DELETE FROM users USING orders o WHERE o.user_id = 7",
        "DELETE FROM users WHERE user_id = 7 OR age = 1",
        "DELETE FROM ONLY users WHERE user_id = 7",
    ]);
}

#[test]
fn a_key_is_not_updated() {
    assert_refused(&[
        "UPDATE users SET user_id = 8 WHERE user_id = 7",
        "UPDATE users SET (age, user_id) = (1, 8) WHERE user_id = 7",
        "UPDATE users SET \"user_id\" = 8 WHERE user_id = 7",
        "INSERT INTO users (user_id) VALUES (7) ON CONFLICT (user_id) DO UPDATE SET user_id = 8",
        "INSERT INTO users (user_id, age) VALUES (7, 8) ON CONFLICT (user_id) DO UPDATE SET user_id = EXCLUDED.age",
    ]);
}

#[test]
fn reference_tables_are_written_everywhere_and_local_ones_where_they_are() {
    assert_all(
        &[
            "INSERT INTO ref VALUES (1)",
            "UPDATE ref SET label = 'a'",
            "DELETE FROM ref WHERE user_id = 7",
            "CREATE TABLE x ()",
        ],
        "everywhere",
    );
    assert_eq!(route("INSERT INTO log VALUES (1)"), "shard 3");
    assert_refused(&["INSERT INTO log SELECT user_id FROM users WHERE user_id = 7"]);
}
