//! What pg_dump says comes back through Shardway, by psql: what is sharded goes to its shards.

use shardway_tests::{Param, Program, Reply, World};

use super::ask;

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE owner (user_id int PRIMARY KEY, name text, balance numeric(12,2) DEFAULT 0, mood mood);
CREATE TABLE entry (id bigserial, user_id int REFERENCES owner, note text, made timestamptz DEFAULT now(), PRIMARY KEY (user_id, id));
CREATE TABLE ident (user_id int, id int GENERATED ALWAYS AS IDENTITY, t text, PRIMARY KEY (user_id, id));
CREATE TABLE kind (id serial PRIMARY KEY, name text UNIQUE);
CREATE INDEX made ON entry (made);
CREATE VIEW rich AS SELECT user_id, name FROM owner WHERE balance > 100;
COMMENT ON TABLE entry IS 'what happened';
INSERT INTO owner SELECT g, E'n\\t' || g, g * 10, 'high' FROM generate_series(1, 40) g;
INSERT INTO entry (user_id, note) SELECT user_id, 'x' FROM owner;
INSERT INTO ident (user_id, t) SELECT user_id, 'y' FROM owner;
INSERT INTO kind (name) VALUES ('a'), ('b');
";

#[tokio::test]
async fn a_dump_of_one_postgres_is_restored_on_shards() {
    let world = World::builder().shards(3).setting("max_prepared_transactions", 20).start();
    let server = world.server(0);
    server.sql("postgres", "CREATE DATABASE before OWNER app").unwrap();
    server.sql("before", &format!("SET ROLE app; {SCHEMA}")).unwrap();
    let from = world.proxy().url("app").replace("/shop", "/before");
    let from = from.replace(&format!(":{}/", world.proxy().port()), &format!(":{}/", server.port()));
    let dump = Program::of_postgres("pg_dump").arg(from).run();
    let dump = dump.said().to_owned();
    let psql = ["-X", "-q", "-v", "ON_ERROR_STOP=1", &world.proxy().url("app")];
    Program::of_postgres("psql").args(psql).input(dump).run().said();
    let mut client = world.raw("app").await;
    for (sql, expected) in [
        ("SELECT count(*) || ' ' || sum(balance) || ' ' || min(name) FROM owner", "40 8200.00 n\t1"),
        ("SELECT count(*) || ' ' || count(DISTINCT id) FROM entry", "40 40"),
        ("SELECT count(*)::text FROM rich", "30"),
        ("INSERT INTO kind (name) VALUES ('c') RETURNING id::text", "3"),
        ("SELECT max(id)::text FROM ident", "40"),
        ("SHOW search_path", "\"$user\", public"),
    ] {
        assert_eq!(ask(&mut client, sql).await.texts(), [[Some(expected)]], "{sql}");
    }
    // No number is given twice.
    for user in 1..=9 {
        for table in ["entry (user_id, note)", "ident (user_id, t)"] {
            let reply = ask(&mut client, &format!("INSERT INTO {table} VALUES ({user}, 'new')")).await;
            assert_eq!(reply.commands(), ["INSERT 0 1"], "{reply:?}");
        }
    }
    for table in ["entry", "ident"] {
        let reply = ask(&mut client, &format!("SELECT count(DISTINCT id), count(*) FROM {table}")).await;
        assert_eq!(reply.texts(), [[Some("49"), Some("49")]]);
    }
    assert!(world.everywhere("SELECT count(*) > 0 FROM entry").iter().all(|some| some == "t"));
}

/// Names of the last columns that were described.
fn names(reply: &Reply) -> Vec<String> {
    let described = reply.of('T').last().expect("no rows were described");
    described.columns().into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_search_path_by_set_config_is_the_sessions() {
    let schema = "CREATE SCHEMA side; CREATE TABLE side.t (user_id int, n int); CREATE TABLE t (user_id int)";
    let world = World::builder().shards(3).schema(schema).start();
    let (mut client, mut other) = (world.raw("app").await, world.raw("app").await);
    for (sql, path) in [
        ("SELECT set_config('search_path', 'side', false)", "side"),
        ("BEGIN", "side"),
        ("SELECT pg_catalog.set_config('search_path', 'public', true)", "public"),
        ("COMMIT", "side"),
        ("BEGIN; SELECT set_config('search_path', 'public', false)", "public"),
        ("ROLLBACK", "side"),
        ("BEGIN; SAVEPOINT a; SELECT set_config('search_path', '', true)", "\"\""),
        ("ROLLBACK TO a", "side"),
        ("COMMIT; SELECT set_config('search_path', 'public', false)", "public"),
    ] {
        let reply = ask(&mut client, sql).await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
        let columns = ask(&mut client, "SELECT * FROM t").await;
        match path {
            "side" => assert_eq!(names(&columns), ["user_id", "n"], "{sql}"),
            "public" => assert_eq!(names(&columns), ["user_id"], "{sql}"),
            // It fails the savepoint.
            _ => assert_eq!(columns.error().unwrap().field('C').as_deref(), Some("42P01"), "{sql}"),
        }
        if path != "\"\"" {
            assert_eq!(ask(&mut client, "SHOW search_path").await.texts(), [[Some(path)]], "{sql}");
        }
        assert_eq!(ask(&mut other, "SHOW search_path").await.texts(), [[Some("\"$user\", public")]], "{sql}");
    }
    // Prepared, by a parameter, and in front of what it changes.
    client.parse("", "SELECT set_config('search_path', $1, false)", &[]);
    client.bind("", "", &[Param::Text("side")], &[]).execute("", 0);
    client.parse("", "SELECT * FROM t", &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0).sync();
    assert_eq!(names(&client.recv_until_ready().await), ["user_id", "n"]);
}
