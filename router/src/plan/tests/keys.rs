//! How a key may be written, and which spellings mean which shard.

use super::support::{assert_all, home, homes, route, route_with};

#[test]
fn an_equality_pins_however_it_is_written() {
    let spellings = [
        "SELECT * FROM users WHERE user_id = 7",
        "select name from Users where User_ID=7;",
        "SELECT * FROM users WHERE 7 = user_id",
        "SELECT * FROM users WHERE ((user_id)) = (7)",
        "SELECT * FROM users WHERE users.user_id = 7 AND name LIKE 'a%'",
        "SELECT * FROM public.users WHERE public.users.user_id = 7",
        "SELECT * FROM users AS u WHERE u.user_id = 7",
        "SELECT * FROM users orders WHERE orders.user_id = 7",
        "SELECT * FROM users WHERE user_id = '7'",
        "SELECT * FROM users WHERE user_id = '007'",
        "SELECT * FROM users WHERE user_id = ' 7 '",
        "SELECT * FROM users WHERE user_id = $$7$$",
        "SELECT * FROM users WHERE user_id = E'7'",
        "SELECT * FROM users WHERE user_id = '7'::int",
        "SELECT * FROM users WHERE user_id = CAST('7' AS bigint)",
        "SELECT * FROM users WHERE user_id = int '7'",
        "SELECT * FROM users WHERE user_id = 7::smallint",
        "SELECT * FROM users WHERE user_id = 7.0",
        "SELECT * FROM users WHERE user_id IN (7)",
        "SELECT * FROM users WHERE user_id IN (7, '7', NULL)",
        "SELECT * FROM users WHERE user_id = ANY(ARRAY[7, 7])",
        "SELECT * FROM users WHERE user_id = ANY('{7}')",
        "SELECT * FROM users WHERE user_id = ANY('{7, null}'::int[])",
        "SELECT * FROM users WHERE (user_id, name) = (7, 'x')",
        "SELECT /* a /* nested */ comment */ * FROM users -- WHERE user_id = 8\n WHERE user_id = 7",
        "SELECT 'user_id = 8', $x$user_id = 9$x$ FROM users WHERE user_id = 7",
        "SELECT * FROM users WHERE user_id = 7 AND user_id IN (7, 8)",
        "SELECT * FROM users WHERE user_id = 7 AND (age = 1 OR age = 2)",
    ];
    assert_all(&spellings, &home("7"));
    assert_eq!(route("SELECT * FROM users WHERE user_id = -7"), home("-7"));
    assert_eq!(route("SELECT * FROM users WHERE user_id = - 7"), home("-7"));
}

#[test]
fn names_are_folded_unless_quoted() {
    assert_eq!(route("SELECT * FROM \"Config\" WHERE \"configurationId\" = 'a'"), home("a"));
    assert_eq!(route("SELECT * FROM \"Config\" c WHERE C.\"configurationId\" = 'a'"), home("a"));
    assert_eq!(route("SELECT * FROM Config WHERE configurationId = 'a'"), "unknown Config");
    // Postgres says that there is no such column, on whichever shards.
    assert_eq!(route("SELECT * FROM \"Config\" WHERE configurationId = 'a'"), "all");
}

#[test]
fn uuids_in_any_of_their_spellings_are_one_key() {
    let key = "8f14e45f-ceea-467f-a830-8d4c0e6b6a3d";
    for spelling in [
        "'8f14e45f-ceea-467f-a830-8d4c0e6b6a3d'",
        "'8F14E45FCEEA467FA8308D4C0E6B6A3D'",
        "uuid '{8f14e45f-ceea-467f-a830-8d4c0e6b6a3d}'",
        "CAST('8f14e45f-ceea-467f-a830-8d4c0e6b6a3d' AS uuid)",
    ] {
        assert_eq!(route(&format!("SELECT * FROM docs WHERE doc = {spelling}")), home(key), "{spelling}");
    }
    assert_eq!(route_with("SELECT * FROM docs WHERE doc = $1::uuid", &[Some(key)]), home(key));
}

#[test]
fn lists_pin_a_set_of_shards() {
    assert_eq!(route("SELECT * FROM users WHERE user_id IN (1, 2, NULL)"), homes(&["1", "2"]));
    assert_eq!(route("SELECT * FROM users WHERE user_id = ANY('{1,2}')"), homes(&["1", "2"]));
    let array = "SELECT * FROM users WHERE user_id = ANY($1)";
    assert_eq!(route_with(array, &[Some("{1,2}")]), homes(&["1", "2"]));
    assert_eq!(route_with(array, &[Some("{1}")]), home("1"));
    assert_eq!(route_with(array, &[Some("{}")]), "any");
    assert_eq!(route_with(array, &[None]), "any");
    let text = "SELECT * FROM \"Config\" WHERE \"configurationId\" = ANY($1)";
    assert_eq!(route_with(text, &[Some(r#"{"a,b","c\"d"}"#)]), homes(&["a,b", "c\"d"]));
    assert_eq!(route_with(text, &[Some(r"{a\ }")]), "all", "escaped space is not trimmed by Postgres");
}

#[test]
fn a_list_with_an_expression_pins_nothing() {
    for list in ["(1, 1 + 1)", "(1, age)", "(1, abs(2))", "(SELECT 1)"] {
        let route = route(&format!("SELECT * FROM users WHERE user_id IN {list}"));
        assert!(route == "all" || route.starts_with("0A000"), "{list}: {route}");
    }
}

#[test]
fn numerics_make_a_whole_list_numeric() {
    // '7.0' is no integer, but Postgres reads it as the numeric 7 here.
    assert_eq!(route("SELECT * FROM users WHERE user_id IN ('7.0', 8.0)"), "all");
    assert_eq!(route("SELECT * FROM users WHERE user_id = ANY(ARRAY['7.0', 8.0])"), "all");
    assert_eq!(route("SELECT * FROM users WHERE user_id IN (7.0, 7)"), home("7"));
    assert_eq!(route("DELETE FROM users WHERE user_id IN ('7.0', 8.0)"), "all");
}

#[test]
fn null_matches_no_row_and_any_shard_says_so() {
    assert_all(
        &["SELECT * FROM users WHERE user_id = NULL", "UPDATE users SET age = 1 WHERE user_id IN (NULL)"],
        "any",
    );
    assert_eq!(route_with("SELECT * FROM users WHERE user_id = $1", &[None]), "any");
    assert_eq!(route("SELECT * FROM users WHERE user_id = 'seven'"), "any", "Postgres words the error");
}

#[test]
fn what_is_no_equality_with_a_constant_pins_nothing() {
    let conditions = [
        "user_id = 7 OR age = 1",
        "NOT user_id = 7",
        "NOT (user_id = 7)",
        "user_id <> 7",
        "user_id >= 7",
        "user_id + 1 = 7",
        "user_id = 7 + 1",
        "user_id = abs(7)",
        "user_id = age",
        "user_id IS NOT DISTINCT FROM 7",
        "user_id BETWEEN 7 AND 7",
        "user_id::text LIKE '7'",
        "user_id OPERATOR(pg_catalog.=) 7",
        "(user_id = 7) IS NULL",
        "user_id = 7 IS NOT TRUE",
        "user_id = 7 = (age = 1)",
        "age BETWEEN 1 AND user_id = 7",
        "user_id NOT IN (7)",
        "user_id <> ALL(ARRAY[7])",
        "user_id = ALL(ARRAY[7])",
        "CASE WHEN user_id = 7 THEN true END",
        "coalesce(user_id = 7, true)",
        "user_id = U&'7'",
        "user_id = E'\\x37'",
        "user_id = '7'\n'8'",
        "user_id = B'111'",
        "user_id = -'7'",
        "user_id = 99999999999999999999",
    ];
    for condition in conditions {
        let route = route(&format!("SELECT name FROM users WHERE {condition}"));
        assert!(route == "all" || route.starts_with("0A000"), "{condition}: {route}");
        let write = super::support::route(&format!("DELETE FROM users WHERE {condition}"));
        assert!(write == "all" || write.starts_with("0A000"), "{condition}: {write}");
    }
}

#[test]
fn keys_elsewhere_than_in_the_condition_pin_nothing() {
    assert_all(
        &[
            "SELECT user_id = 7 FROM users",
            "SELECT CASE WHEN user_id = 7 THEN 1 END FROM users",
            "SELECT * FROM users ORDER BY user_id",
            "SELECT (user_id, 7) FROM users",
            "SELECT count(*) FILTER (WHERE user_id = 7) FROM users",
        ],
        "all",
    );
    assert_all(
        &[
            "SELECT count(*) FROM users HAVING max(user_id) = 7",
            "SELECT age FROM users GROUP BY age, user_id HAVING user_id = 7",
            "SELECT * FROM users ORDER BY user_id = 7",
        ],
        "gather",
    );
}

#[test]
fn a_parameter_that_has_another_type_elsewhere_is_doubted() {
    let both = "SELECT * FROM users WHERE score = $1 AND user_id = $1";
    assert_eq!(route_with(both, &[Some("7")]), home("7"));
    assert_eq!(route_with(both, &[Some("7.0")]), "all", "a numeric by its first use");
    assert_eq!(route_with(both, &[Some("16777217")]), "all", "a float4 would have rounded it");
    let alike = "SELECT * FROM users u JOIN orders o ON u.user_id = o.user_id WHERE u.user_id = $1 AND o.user_id = $1";
    assert_eq!(route_with(alike, &[Some("16777217")]), home("16777217"));
    let delete = "DELETE FROM \"Config\" WHERE \"configurationId\" = $1 AND $1 <> ''";
    let long = "x".repeat(64);
    assert!(route_with(delete, &[Some(&long)]).starts_with("0A000"), "a name would have cut it");
}
