//! What stays with a session: statements that may leave something on a server, and temporary tables on one of several
//! shards.

use super::support::{SCHEMA, home, plan, route, route_of, scan};
use crate::plan::{Plan, build};
use crate::schema::{GroupId, Schema, ShardRef, TemporaryTable};
use shardway_shardmap::ShardId;
use std::sync::LazyLock;

/// With temporary tables: `mine` on shard 5, `users` on shard 5 too, and `far` on shard 6.
static OWN: LazyLock<Schema> = LazyLock::new(|| {
    let table = |name: &str, shard| {
        let place = ShardRef { group: GroupId(0), shard: ShardId(shard) };
        (place, TemporaryTable { name: name.into(), columns: vec![("user_id".into(), 23)] })
    };
    SCHEMA.with_temporary(&[table("mine", 5), table("users", 5), table("far", 6)])
});

fn own(sql: &str) -> Plan {
    build::plan(&OWN, &["public".into()], sql, &scan(sql))
}

fn own_route(sql: &str) -> String {
    route_of(sql, &own(sql), &[])
}

#[test]
fn statements_that_may_leave_something_are_known() {
    for sql in [
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1) FROM ref",
        "SELECT pg_advisory_unlock_all()",
        "CREATE TEMP TABLE t (a int)",
        "CREATE TEMPORARY VIEW w AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT 1 AS a INTO TEMP t",
        "DO 'BEGIN END'",
        "CALL p()",
    ] {
        assert!(plan(sql).leaves, "{sql}");
    }
    for sql in [
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT * FROM users WHERE user_id = 7",
        "DECLARE c CURSOR FOR SELECT 1",
        "CREATE TABLE t (a int)",
        "VACUUM",
    ] {
        assert!(!plan(sql).leaves, "{sql}");
    }
    assert_eq!(route("SELECT pg_advisory_lock(1)"), "shard 0", "one lock for all");
    assert!(!plan("SELECT pg_advisory_lock(1)").plain);
}

#[test]
fn a_temporary_table_is_where_it_is() {
    assert_eq!(own_route("SELECT * FROM mine"), "shard 5");
    assert_eq!(own_route("INSERT INTO mine VALUES (1)"), "shard 5");
    assert_eq!(own_route("DELETE FROM pg_temp.mine"), "shard 5");
    assert_eq!(own_route("SELECT * FROM mine JOIN ref USING (user_id)"), "shard 5");
    assert_eq!(own_route("INSERT INTO mine SELECT user_id FROM ref"), "shard 5");
    assert_eq!(own_route("COPY mine FROM STDIN"), "shard 5");
    assert_eq!(own_route("DECLARE c CURSOR FOR SELECT * FROM mine"), "shard 5");
    assert_eq!(own_route("SELECT * FROM mine, far"), "gather");
    assert!(own_route("INSERT INTO orders SELECT user_id, 1, '' FROM mine").starts_with("0A000"));
}

#[test]
fn it_stands_before_a_permanent_table_of_its_name() {
    assert_eq!(own_route("SELECT * FROM users WHERE user_id = 7"), "shard 5");
    assert_eq!(own_route("SELECT * FROM public.users WHERE user_id = 7"), home("7"));
    assert_eq!(own_route("UPDATE users SET user_id = 8"), "shard 5");
}

#[test]
fn commands_on_it_go_where_it_is_and_those_on_others_too_are_refused() {
    for sql in [
        "DROP TABLE mine",
        "DROP TABLE users, mine",
        "ALTER TABLE users ADD a int",
        "CREATE INDEX ON mine (user_id)",
        "TRUNCATE mine, users",
        "ANALYZE mine",
        "CREATE TEMP TABLE mine (a int)",
    ] {
        assert_eq!(own_route(sql), "shard 5", "{sql}");
    }
    for sql in
        ["DROP TABLE mine, orders", "DROP TABLE mine, far", "GRANT ALL ON users TO public", "LOCK users"]
    {
        assert!(own_route(sql).starts_with("0A000"), "{sql}: {}", own_route(sql));
    }
    assert_eq!(own_route("DROP TABLE orders"), route("DROP TABLE orders"));
}

#[test]
fn one_is_made_on_any_shard_or_where_its_rows_are() {
    assert_eq!(route("CREATE TEMP TABLE t (a int)"), "any");
    assert_eq!(route("CREATE TEMP TABLE t AS SELECT * FROM ref"), "any");
    assert_eq!(route("CREATE TEMP TABLE t AS SELECT * FROM users WHERE user_id = 7"), home("7"));
    for sql in [
        "CREATE TEMP TABLE t AS SELECT * FROM users",
        "CREATE TEMP VIEW t AS SELECT * FROM users",
        "CREATE TEMP TABLE t () INHERITS (users)",
    ] {
        assert!(route(sql).starts_with("0A000"), "{sql}: {}", route(sql));
    }
}
