//! A template's plan serves every statement of the template only where each would have been planned so by itself.

use super::support::{SCHEMA, plan, route, route_of, scan};
use crate::plan::{SettingCall, SettingValue};
use crate::plan_cache::{Planning, SearchPath};
use proptest::prelude::*;

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        (-3i64..40).prop_map(|n| n.to_string()),
        (0i64..40).prop_map(|n| format!("'{n}'")),
        (0i64..40).prop_map(|n| format!("{n}.0")),
        (0i64..40).prop_map(|n| format!("$${n}$$")),
        (0i64..40).prop_map(|n| format!("E'{n}'")),
        Just("'x''y'".to_owned()),
        Just("NULL".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let column = prop_oneof![Just("user_id"), Just("u.user_id"), Just("age"), Just("name")];
    let leaf = prop_oneof![
        (column.clone(), literal()).prop_map(|(c, l)| format!("{c} = {l}")),
        (literal(), column.clone()).prop_map(|(l, c)| format!("{l} = {c}")),
        (column.clone(), prop::collection::vec(literal(), 1..4))
            .prop_map(|(c, l)| format!("{c} IN ({})", l.join(", "))),
        (column.clone(), 0..9, 0..9).prop_map(|(c, a, b)| format!("{c} = ANY('{{{a},{b}}}')")),
        (column, literal()).prop_map(|(c, l)| format!("{c} < {l}")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} AND {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    prop_oneof![
        condition().prop_map(|c| format!("SELECT * FROM users u WHERE {c}")),
        (condition(), 1..6)
            .prop_map(|(c, n)| format!("SELECT name, age FROM users u WHERE {c} ORDER BY {n}")),
        (condition(), literal()).prop_map(|(c, n)| format!("SELECT * FROM users u WHERE {c} LIMIT {n}")),
        condition().prop_map(|c| format!("DELETE FROM users u WHERE {c}")),
        (literal(), condition()).prop_map(|(l, c)| format!("UPDATE users u SET name = {l} WHERE {c}")),
        (literal(), literal())
            .prop_map(|(a, b)| format!("INSERT INTO users (user_id, name) VALUES ({a}, {b})")),
        (literal(), literal()).prop_map(|(a, b)| format!("INSERT INTO users (user_id) VALUES ({a}), ({b})")),
        literal().prop_map(|l| format!("SELECT set_config({l}, {l}, true)")),
        Just("SELECT set_config('search_path', 'x', true)".to_owned()),
    ]
}

/// The statement with its literals' values changed, kinds kept.
fn revalued(sql: &str, seed: u64) -> String {
    let scanned = scan(sql);
    let mut out = String::new();
    let mut at = 0;
    for (i, literal) in scanned.literals.iter().enumerate() {
        out.push_str(&sql[at..literal.start]);
        let token = &sql[literal.start..literal.end];
        let digit =
            |c: char| if c.is_ascii_digit() { char::from(b'0' + ((seed + i as u64) % 10) as u8) } else { c };
        out.extend(token.chars().map(digit));
        at = literal.end;
    }
    out.push_str(&sql[at..]);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_shared_plan_is_each_statements_own(first in statement(), seed in any::<u64>()) {
        let second = revalued(&first, seed);
        let mut scanned = (scan(&first), scan(&second));
        prop_assert_eq!(&scanned.0.template, &scanned.1.template);
        let planning = Planning::new((*SCHEMA).clone());
        let path = SearchPath::parse("public", "app");
        planning.plan(&first, &mut scanned.0, &path);
        let shared = planning.plan(&second, &mut scanned.1, &path);
        prop_assert_eq!(route_of(&second, &shared, &[]), route(&second), "{} after {}", second, first);
        let own = plan(&second);
        prop_assert_eq!((shared.access, shared.tier, &shared.setting), (own.access, own.tier, &own.setting));
    }
}

#[test]
fn a_parameter_name_in_set_config_is_looked_at_each_time() {
    let planning = Planning::new((*SCHEMA).clone());
    let path = SearchPath::parse("public", "app");
    let path = |sql: &str| {
        let plan = planning.plan(sql, &mut scan(sql), &path);
        plan.setting.as_ref().and_then(SettingCall::search_path).cloned()
    };
    let text = |value: &str| Some(SettingValue::Text(value.to_owned()));
    assert_eq!(path("SELECT set_config('app.user', '1', true)"), None);
    assert_eq!(path("SELECT set_config('search_path', 'x', true)"), text("x"));
    assert_eq!(path("SELECT set_config('search_path', 'y', true)"), text("y"));
    assert_eq!(path("SELECT set_config('app.user', '2', true)"), None);
}

#[test]
fn a_statement_that_is_not_understood_spoils_no_other() {
    let planning = Planning::new((*SCHEMA).clone());
    let path = SearchPath::parse("public", "app");
    let route = |sql: &str| route_of(sql, &planning.plan(sql, &mut scan(sql), &path), &[]);
    assert!(route(r"SELECT E'\uXYZW' FROM users WHERE user_id = 7").starts_with("0A000"));
    assert_eq!(route("SELECT E'abc' FROM users WHERE user_id = 7"), super::support::home("7"));
}

#[test]
fn hints_and_search_paths_are_part_of_a_template() {
    assert_ne!(scan("SELECT 1 /* shard: 1 */").template, scan("SELECT 1 /* shard: 2 */").template);
    let planning = Planning::new((*SCHEMA).clone());
    let plan = |path: &str| {
        let sql = "SELECT * FROM docs";
        planning.plan(sql, &mut scan(sql), &SearchPath::parse(path, "app")).unknown.is_some()
    };
    assert_eq!([plan("public"), plan("other"), plan("public")], [false, true, false]);
}
