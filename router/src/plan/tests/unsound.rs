//! Statements that once went, or might go, to too few shards. Each would have been answered wrongly in silence.

use super::support::{assert_all, home, route};

#[test]
fn columns_of_one_name_in_a_derived_table_are_not_equal() {
    assert_all(
        &["SELECT count(*) FROM (SELECT u.user_id, o.user_id FROM users u, orders o WHERE u.user_id = 7) s"],
        "gather",
    );
}

#[test]
fn what_an_on_says_does_not_hold_for_rows_that_a_later_outer_join_keeps() {
    assert_all(
        &[
            // For a row of r without a match nothing says that o.id is 7.
            "SELECT * FROM ref o WHERE EXISTS (SELECT 1 FROM users a JOIN orders b ON a.user_id = b.user_id AND a.user_id = 7 \
         AND o.id = 7 RIGHT JOIN orders c ON true WHERE c.user_id = o.id)",
            "SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id AND u.user_id = 7 FULL JOIN orders x \
         ON x.user_id = u.user_id",
        ],
        "gather",
    );
    let still = "SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id AND u.user_id = 7 RIGHT JOIN ref r ON r.id = u.age";
    assert_eq!(route(still), home("7"), "rows of u and o that matter are those that ON lets through");
}

#[test]
fn a_merged_column_of_a_right_join_is_not_the_first_tables() {
    assert_all(
        &[
            "SELECT * FROM (SELECT user_id FROM users WHERE user_id = 7) s JOIN ref x USING (user_id) RIGHT JOIN ref c \
         USING (user_id) WHERE EXISTS (SELECT 1 FROM orders d WHERE d.user_id = user_id)",
            "SELECT * FROM (SELECT user_id FROM users WHERE user_id = 7) s RIGHT JOIN ref a USING (user_id) \
         JOIN orders c USING (user_id)",
        ],
        "gather",
    );
}

#[test]
fn an_on_sees_its_own_join_and_then_what_is_around_the_query() {
    // The inner u stands beside the join, not in it: u.user_id in ON is the outer one's, which is not known.
    assert_all(
        &[
            "SELECT * FROM ref u WHERE EXISTS (SELECT 1 FROM users u, ref r JOIN orders o ON o.user_id = u.user_id \
         WHERE u.user_id = 7)",
        ],
        "gather",
    );
}

#[test]
fn lateral_sees_what_stands_before_it_alone() {
    assert_all(
        &[
            "SELECT * FROM ref u WHERE EXISTS (SELECT 1 FROM ref r, LATERAL (SELECT 1 FROM orders o WHERE o.user_id = u.id) l, \
         users u WHERE u.user_id = 7)",
        ],
        "gather",
    );
}

#[test]
fn an_aggregate_gives_a_row_where_its_condition_lets_none_through() {
    assert_all(
        &[
            "SELECT (SELECT count(*) + (SELECT count(*) FROM orders b WHERE b.user_id = o.id) FROM users a \
         WHERE a.user_id = 7 AND o.id = 7) FROM ref o",
            "SELECT (SELECT count(*) FROM users a WHERE a.user_id = 7 AND o.id = 7 \
         HAVING (SELECT count(*) FROM orders b WHERE b.user_id = o.id) > 0) FROM ref o",
            "SELECT (SELECT (SELECT max(a.age)) + (SELECT count(*) FROM orders b WHERE b.user_id = o.id) FROM users a \
         WHERE a.user_id = 7 AND o.id = 7) FROM ref o",
            "SELECT (SELECT my_sum(a.age) + (SELECT 1 FROM orders b WHERE b.user_id = o.id) FROM users a \
         WHERE a.user_id = 7 AND o.id = 7) FROM ref o",
        ],
        "gather",
    );
}

#[test]
fn values_that_a_collation_holds_equal_are_not_one_key() {
    assert_all(
        &[
            "SELECT * FROM \"Config\" c JOIN ref r ON c.\"configurationId\" = r.ci WHERE r.ci = 'a' AND EXISTS \
         (SELECT 1 FROM orders WHERE user_id = 7)",
            "SELECT * FROM \"Config\" c, \"Config\" d, ref r WHERE c.\"configurationId\" = r.ci AND r.ci = d.\"configurationId\" \
         AND d.\"configurationId\" = 'a'",
        ],
        "gather",
    );
    let text = "SELECT * FROM \"Config\" c JOIN ref r ON c.\"configurationId\" = r.label WHERE r.label = 'a'";
    assert_eq!(route(text), home("a"));
}

#[test]
fn a_schema_in_front_says_which_table_a_column_is_of() {
    // other.users is the outer one: its column says nothing of the inner users. Nor can the rows of both be gathered: under
    // other names the schema is gone, and the inner table would be meant.
    let outer = "SELECT * FROM other.users WHERE user_id = 7 AND EXISTS \
                 (SELECT 1 FROM public.users WHERE other.users.user_id = 7)";
    assert_eq!(route(outer), "0A000: the statement's tables could not be told apart in its text");
    let own = "SELECT * FROM other.users WHERE user_id = 7 AND EXISTS \
               (SELECT 1 FROM public.users WHERE public.users.user_id = other.users.user_id)";
    assert_eq!(route(own), home("7"));
}

#[test]
fn an_unnamed_column_may_be_the_one_that_is_meant() {
    // The derived table's only column is named user_id too, so `user_id` inside is not the outer u's.
    assert_all(
        &[
            "SELECT * FROM users u WHERE user_id = 7 AND EXISTS (SELECT 1 FROM (SELECT r.user_id::text FROM ref r) s, orders o \
         WHERE o.id = 1 AND o.user_id = s.user_id)",
        ],
        "gather",
    );
}

#[test]
fn a_name_that_an_opaque_source_may_own_is_not_the_tables() {
    assert_all(
        &[
            "SELECT * FROM users u WHERE u.user_id = 7 AND EXISTS \
         (WITH c AS (SELECT 8 AS user_id) SELECT 1 FROM c, orders o WHERE o.user_id = user_id)",
            "SELECT * FROM users, generate_series(1, 9) user_id WHERE user_id = 7",
        ],
        "gather",
    );
}

#[test]
fn columns_of_other_types_do_not_carry_a_key() {
    assert_all(
        &[
            "SELECT * FROM users u JOIN docs d ON d.title = u.name WHERE u.user_id = 7",
            "SELECT * FROM users u JOIN \"Config\" c ON c.\"configurationId\" = u.user_id WHERE u.user_id = 7",
            "SELECT * FROM users u JOIN orders o ON o.user_id = u.score WHERE u.score = 7 AND u.user_id = 7",
            "SELECT * FROM users u JOIN orders o ON o.user_id::int = u.user_id WHERE u.user_id = 7",
        ],
        "gather",
    );
}
