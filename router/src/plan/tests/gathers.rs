//! What is brought together for a statement that no shard can answer: which columns and rows, and in which words it runs.

use super::support::{assert_refused, plan};
use crate::plan::gather::Gather;
use crate::plan::{Across, Tier};

fn gather(sql: &str) -> Gather {
    let plan = plan(sql);
    assert_eq!(plan.tier, Tier::Gather, "{sql}\n  is planned as {:?}", plan.route);
    assert!(!plan.shareable);
    match plan.across() {
        Some(Across::Gather(gather)) => (**gather).clone(),
        other => panic!("{sql}\n  is planned as {other:?}"),
    }
}

/// What each table's shards are asked.
fn asked(sql: &str) -> Vec<String> {
    gather(sql).tables.iter().map(|table| table.select().0.replace('"', "")).collect()
}

/// The same where it does not matter how often a row is there.
fn asked_once(sql: &str) -> Vec<String> {
    asked(sql).iter().map(|asked| asked.replace("SELECT DISTINCT", "SELECT")).collect()
}

fn renamed(sql: &str) -> String {
    gather(sql).sql().replace("pg_temp.\"shardway gather ", "<").replace('"', "")
}

#[test]
fn only_columns_that_are_named_are_brought() {
    for (sql, columns) in [
        ("SELECT count(DISTINCT age) FROM users", "age"),
        ("SELECT count(DISTINCT u.age) FROM users u WHERE lower(u.name) = 'x'", "name, age"),
        ("SELECT DISTINCT ON (age) * FROM users", "user_id, name, score, age"),
        ("SELECT DISTINCT ON (age) users.* FROM users", "user_id, name, score, age"),
        ("SELECT count(DISTINCT u) FROM users u", "user_id, name, score, age"),
        ("SELECT count(DISTINCT u.*) FROM users u", "user_id, name, score, age"),
        ("SELECT count(*) FROM ref WHERE NOT EXISTS (SELECT * FROM users)", "user_id"),
        ("SELECT count(*) FROM ref WHERE NOT EXISTS (SELECT * FROM users WHERE age = id)", "age"),
        ("SELECT count(*) FROM users NATURAL JOIN ref", "user_id, name, score, age"),
        ("SELECT count(*) FROM users JOIN ref USING (user_id)", ""),
        ("SELECT count(DISTINCT 1) FROM users", "user_id"),
    ] {
        if columns.is_empty() {
            assert_eq!(plan(sql).tier, Tier::Combine, "{sql}");
            continue;
        }
        assert_eq!(asked_once(sql), [format!("SELECT {columns} FROM public.users")], "{sql}");
    }
}

#[test]
fn conditions_on_one_table_are_asked_of_its_shards() {
    for (condition, pushed) in [
        ("age > 3", "(age > 3)"),
        ("u.age > 3 AND 'x' = u.name", "(age > 3) AND ('x' = name)"),
        ("(age > 3 AND name LIKE 'a%')", "(age > 3) AND (name LIKE 'a%')"),
        (
            "age IN (1, -2, 3::int) OR NOT age IS NULL",
            "((age IN (1, - 2, CAST(3 AS INT))) OR (NOT (age IS NULL)))",
        ),
        ("age BETWEEN 1 AND 1 + 1 AND abs(age) = 1", "(age BETWEEN 1 AND 1 + 1)"),
        ("score = age AND name IS NOT NULL", "(score = age) AND (name IS NOT NULL)"),
        ("age = ANY ('{1,2}')", "(age = ANY ('{1,2}'))"),
    ] {
        let sql = format!("SELECT count(DISTINCT u.age) FROM users u WHERE {condition}");
        let [asked] = &asked(&sql)[..] else { panic!("{sql}") };
        assert_eq!(asked.split_once(" WHERE ").map(|(_, filter)| filter), Some(pushed), "{sql}");
    }
    for condition in [
        "abs(age) = 1",
        "age + 1 = 2",
        "age = (SELECT 1)",
        "age > id OR name = 'x'",
        "1 = 1",
        "name = 'now'",
        "age = length('x')",
        "EXISTS (SELECT 1 FROM orders WHERE orders.user_id = 1 AND age = 3)",
    ] {
        let sql = format!("SELECT count(DISTINCT u.age) FROM users u, ref WHERE {condition}");
        let users = asked(&sql).remove(0);
        assert!(!users.contains("WHERE"), "{sql}\n  asks {users}");
    }
}

#[test]
fn what_an_outer_join_may_fill_with_nulls_is_filtered_by_its_own_condition_alone() {
    let of = |from: &str| asked(&format!("SELECT count(DISTINCT a.age) FROM {from}"));
    let users = "SELECT user_id, name, age FROM public.users";
    for (from, filter) in [
        (
            "ref r LEFT JOIN users a ON a.user_id = r.id AND a.age = 1 WHERE a.name IS NULL",
            " WHERE (age = 1)",
        ),
        ("ref r LEFT JOIN users a ON a.user_id = r.id WHERE a.name = 'x'", ""),
        ("users a RIGHT JOIN ref r ON a.user_id = r.id WHERE a.name = 'x'", ""),
        ("users a FULL JOIN ref r ON a.user_id = r.id AND a.age = 1 WHERE a.name = 'x'", ""),
        (
            "users a LEFT JOIN ref r ON a.user_id = r.id AND a.age = 1 WHERE a.name = 'x'",
            " WHERE (name = 'x')",
        ),
        (
            "users a JOIN ref r ON a.user_id = r.user_id AND a.age = 1 RIGHT JOIN ref q ON a.name = q.label",
            "",
        ),
        (
            "ref r JOIN users a ON a.user_id = r.id AND a.age = 1 LEFT JOIN ref q ON a.name = q.label",
            " WHERE (age = 1)",
        ),
    ] {
        assert_eq!(of(from), [format!("{users}{filter}")], "{from}");
    }
}

#[test]
fn mentions_of_a_table_share_what_is_brought() {
    let two = "SELECT count(DISTINCT a.age) FROM users a, users b WHERE a.age = 1 AND b.name = 'x'";
    assert_eq!(asked(two), ["SELECT name, age FROM public.users WHERE (age = 1) OR (name = 'x')"]);
    let one = "SELECT count(DISTINCT a.age) FROM users a, users b WHERE a.age = 1";
    assert_eq!(asked(one), ["SELECT age FROM public.users"]);
    let keys = "SELECT * FROM users a, users b, orders o WHERE a.user_id = 1 AND b.user_id IN (2, 3)";
    let pins: Vec<usize> = gather(keys).tables.iter().map(|table| table.pins.len()).collect();
    assert_eq!(pins, [2, 0]);
}

#[test]
fn parameters_are_numbered_anew_for_the_shards() {
    let gather =
        gather("SELECT $1, count(DISTINCT age) FROM users WHERE age > $3 AND name = $2 AND score < $3");
    let (sql, params) = gather.tables[0].select();
    assert!(sql.ends_with("WHERE (\"age\" > $1) AND (\"name\" = $2) AND (\"score\" < $1)"), "{sql}");
    assert_eq!(params, [2, 1]);
}

#[test]
fn the_first_rows_of_each_shard_are_enough_where_their_order_is_the_whole_ones() {
    let asked = |sql: &str| {
        let (text, params) = gather(sql).tables[0].select();
        (
            text.replace(['"', '\n'], " ").split_once("users ").map(|(_, t)| t.trim().replace("  ", " ")),
            params,
        )
    };
    for (sql, expected, params) in [
        (
            "SELECT name FROM users ORDER BY name LIMIT 3",
            "AS  users  ORDER BY name LIMIT 3::pg_catalog.int8",
            vec![],
        ),
        (
            "SELECT age FROM users u WHERE age > 3 ORDER BY lower(u.name) DESC NULLS LAST, abs(age) LIMIT 3 OFFSET 4",
            "AS  u  WHERE ( age > 3) ORDER BY lower(u.name) DESC NULLS LAST, abs(age) LIMIT 7::pg_catalog.int8",
            vec![],
        ),
        (
            "SELECT name FROM users WHERE age > $2 ORDER BY abs(age - $3), name LIMIT $1 OFFSET 2",
            "AS  users  WHERE ( age > $1) ORDER BY abs(age - $2), name LIMIT LEAST(($3)::pg_catalog.numeric + 2::pg_catalog.numeric, 9223372036854775807)::pg_catalog.int8",
            vec![1, 2, 0],
        ),
    ] {
        assert_eq!(asked(sql), (Some(expected.replace("  ", " ")), params), "{sql}");
    }
    for sql in [
        "SELECT name FROM users ORDER BY name",
        "SELECT name FROM users WHERE abs(age) = 1 ORDER BY name LIMIT 1",
        "SELECT age::text AS name FROM users ORDER BY name LIMIT 1",
        "SELECT abs(age) AS x FROM users ORDER BY x LIMIT 1",
        "SELECT name FROM users ORDER BY 1 LIMIT 1",
        "SELECT name FROM users, ref ORDER BY name LIMIT 1",
        "SELECT DISTINCT name FROM users ORDER BY name LIMIT 1",
        "SELECT unnest(ARRAY[age]) FROM users ORDER BY name LIMIT 1",
        "SELECT max(name) FROM users ORDER BY max(name) LIMIT 1",
        "SELECT name FROM users ORDER BY name LIMIT (SELECT 1)",
        "SELECT name FROM users ORDER BY name FETCH FIRST 1 ROWS WITH TIES",
        "SELECT name FROM users TABLESAMPLE SYSTEM (10) ORDER BY name LIMIT 1",
        "SELECT name FROM users ORDER BY random() LIMIT 1",
        "SELECT name FROM users WHERE age IN (SELECT id FROM ref) ORDER BY name LIMIT 1",
        "SELECT name, rank() OVER (ORDER BY age) FROM users ORDER BY name LIMIT 1",
    ] {
        let (text, _) = gather(sql).tables[0].select();
        assert!(!text.contains("LIMIT"), "{sql}\n  asks {text}");
    }
}

#[test]
fn rows_are_brought_once_where_it_does_not_matter_how_often_they_are_there() {
    for sql in [
        "SELECT count(DISTINCT age) FROM users",
        "SELECT name, count(DISTINCT age), max(age + 1) FROM users WHERE age > 3 GROUP BY name",
        "SELECT DISTINCT lower(name) FROM users LIMIT 3",
        "SELECT DISTINCT ON (age) age, name FROM users ORDER BY age, name",
        "SELECT age % 2 FROM users GROUP BY 1 HAVING bool_or(name = 'x')",
    ] {
        assert!(asked(sql)[0].starts_with("SELECT DISTINCT "), "{sql}\n  asks {}", asked(sql)[0]);
    }
    for sql in [
        "SELECT count(DISTINCT age), count(*) FROM users",
        "SELECT count(DISTINCT score) FROM users",
        "SELECT count(DISTINCT age) FROM users WHERE abs(age) = 1",
        "SELECT count(DISTINCT a.age) FROM users a, users b",
        "SELECT DISTINCT age, rank() OVER (ORDER BY age) FROM users",
        "SELECT DISTINCT unnest(ARRAY[age]) FROM users",
        "SELECT DISTINCT age, random() FROM users",
        "SELECT count(DISTINCT age), my_sum(age) FROM users",
        "SELECT name FROM users ORDER BY name LIMIT 1",
        "SELECT ALL name FROM users ORDER BY name",
        "SELECT count(DISTINCT age) FROM users TABLESAMPLE SYSTEM (10)",
    ] {
        assert!(!asked(sql)[0].starts_with("SELECT DISTINCT "), "{sql}\n  asks {}", asked(sql)[0]);
    }
}

#[test]
fn an_alias_that_renames_columns_takes_them_all() {
    let sql = "SELECT count(DISTINCT x.b) FROM users AS x (a, b) WHERE a = 7";
    assert_eq!(asked(sql), ["SELECT user_id, name, score, age FROM public.users"]);
    assert_eq!(renamed(sql), "SELECT count(DISTINCT x.b) FROM <1 AS x (a, b) WHERE a = 7");
}

#[test]
fn every_mention_is_renamed_and_nothing_else() {
    for (sql, expected) in [
        (
            "SELECT count(DISTINCT age) FROM users -- users",
            "SELECT count(DISTINCT age) FROM <1 AS users -- users",
        ),
        (
            "SELECT count(DISTINCT public.users.age), 'users' FROM public.users",
            "SELECT count(DISTINCT users.age), 'users' FROM <1 AS users",
        ),
        (
            "SELECT 1 FROM users u JOIN other.users AS x ON u.age = x.user_id, ref",
            "SELECT 1 FROM <1 u JOIN <2 AS x ON u.age = x.user_id, ref",
        ),
        (
            "WITH orders AS (SELECT 1 AS id) SELECT DISTINCT o.id, (SELECT max(note) FROM public.orders) FROM orders o",
            "WITH orders AS (SELECT 1 AS id) SELECT DISTINCT o.id, (SELECT max(note) FROM <1 AS orders) FROM orders o",
        ),
        (
            "SELECT count(DISTINCT \"userId\") FROM \"Config\" WHERE é = 'é'",
            "SELECT count(DISTINCT userId) FROM <1 AS Config WHERE é = 'é'",
        ),
    ] {
        assert_eq!(renamed(sql).replace(" 1", "1"), expected.replace(" 1", "1"), "{sql}");
    }
}

#[test]
fn positions_are_those_of_the_clients_text() {
    let sql = "SELECT 'é', u.age FROM users u JOIN orders ON u.age = orders.id, ref WHERE x";
    let gather = gather(sql);
    for word in ["SELECT", "u.age", "JOIN", "ON u", "WHERE", "x"] {
        let at = |text: &str| text[..text.rfind(word).unwrap()].chars().count() + 1;
        assert_eq!(gather.position(at(gather.sql())), at(sql), "{word}");
    }
}

#[test]
fn what_looks_at_where_rows_lie_or_does_something_is_refused() {
    assert_refused(&[
        "SELECT count(DISTINCT ctid) FROM users",
        "SELECT count(DISTINCT users.xmin) FROM users",
        "SELECT count(DISTINCT age), 'users'::regclass FROM users",
        "SELECT count(DISTINCT age), regclass 'users' FROM users",
        "SELECT count(DISTINCT age), regclass('users') FROM users",
        "SELECT count(DISTINCT age), pg_catalog.regclass 'users' FROM users",
        "SELECT count(DISTINCT age), CAST('users' AS \"regclass\") FROM users",
        "SELECT count(DISTINCT age), '{users}'::regclass[] FROM users",
        "SELECT count(DISTINCT age), regrole 'app' FROM users",
        "SELECT count(DISTINCT age) FROM users, pg_class",
        "SELECT count(DISTINCT age), pg_table_size('users') FROM users",
        "SELECT count(DISTINCT age), query_to_xml('SELECT 1', true, true, '') FROM users",
        "SELECT count(DISTINCT age) FROM users, v",
        "SELECT count(DISTINCT age), nextval('x') FROM users",
        "SELECT count(DISTINCT age), spent() FROM users",
        "SELECT age FROM users ORDER BY name FOR UPDATE",
        "SELECT count(DISTINCT age) FROM ONLY (users)",
        "SELECT count(DISTINCT age) FROM users, jobs FOR UPDATE",
        "DECLARE c CURSOR FOR INSERT INTO users VALUES (7)",
        "SELECT name FROM pg_cursors",
    ]);
}

#[test]
fn tables_of_another_group_are_brought_whatever_they_are() {
    let of = |sql: &str| {
        let gather = gather(sql);
        let tables = gather.tables.iter().map(|table| table.of.replace('"', "")).collect::<Vec<_>>();
        (gather.group.0, gather.at.map(|shard| shard.0), tables.join(" "), gather.is_foreign())
    };
    let brought = "public.jobs public.users".to_owned();
    assert_eq!(of("SELECT 1 FROM jobs, users WHERE job_id = user_id"), (0, None, brought, true));
    // The engine is where most of the tables are, and where a local one is.
    let brought = "public.ref public.jobs".to_owned();
    assert_eq!(of("SELECT 1 FROM ref, jobs a JOIN jobs b USING (job_id)"), (1, None, brought, true));
    let brought = "public.jobs".to_owned();
    assert_eq!(of("SELECT 1 FROM log, jobs WHERE id = job_id"), (0, Some(3), brought, true));
    let alone = "public.users".to_owned();
    assert_eq!(of("SELECT count(DISTINCT age) FROM users"), (0, None, alone, false));
}

#[test]
fn other_words_stand_where_the_tables_stood_and_places_stay_the_clients() {
    let sql = "SELECT 'é', users.age, b.x FROM users JOIN users b ON users.age = b.age WHERE nosuch";
    let other = gather(sql).with(|n| format!("(SELECT {n})"));
    assert_eq!(
        other.sql().replace('"', ""),
        "SELECT 'é', users.age, b.x FROM (SELECT 0) AS users JOIN (SELECT 0) b ON users.age = b.age WHERE nosuch"
    );
    let at = |text: &str, word: &str| {
        text.char_indices().position(|(at, _)| text[at..].starts_with(word)).unwrap() + 1
    };
    for word in ["b.x", "nosuch", "b.age"] {
        assert_eq!(other.position(at(other.sql(), word)), at(sql, word), "{word}");
    }
}
