//! Commands on objects: they run on every shard or on none, and are answered as one Postgres answers them.

mod locks;
mod refusals;
mod rows;
mod within;

use std::sync::LazyLock;

use shardway_tests::{PASSWORD, RawClient, Reply, SharedWorld, World};
use tokio::sync::Mutex;

use crate::operation::support::key_on;
use crate::protocol::{ask, code, value};

static SHOP: SharedWorld = SharedWorld::new(|| {
    let world =
        World::builder().shards(4).servers(2).setting("max_prepared_transactions", 40).schema(SCHEMA).start();
    world.server(0).sql("postgres", "CREATE DATABASE alone OWNER app").unwrap();
    world.server(0).sql("alone", &format!("SET ROLE app; {SCHEMA}")).unwrap();
    world
});

const SCHEMA: &str = "
CREATE TABLE account (user_id int PRIMARY KEY, name text);
CREATE TABLE country (id int PRIMARY KEY, name text);
";

/// The tests share a schema.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// One Postgres beside the shards.
async fn single() -> RawClient {
    let mut single = RawClient::connect(SHOP.server(0).port()).await;
    single.login("app", "alone", PASSWORD).await;
    single
}

/// What a client hears: notices, tags, an error's code and message.
fn heard(reply: &Reply) -> Vec<String> {
    let notices = reply.of('N').map(|n| format!("notice {}", n.field('M').unwrap_or_default()));
    let error = reply
        .error()
        .map(|e| format!("error {} {}", e.field('C').unwrap_or_default(), e.field('M').unwrap_or_default()));
    notices.chain(reply.commands()).chain(error).collect()
}

async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        let reply = ask(raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
}

async fn refused(raw: &mut RawClient, sql: &str, why: &str) {
    let reply = ask(raw, sql).await;
    assert_eq!(code(&reply), "0A000", "{sql}: {reply:?}");
    let message = reply.error().and_then(|e| e.field('M')).unwrap_or_default();
    assert!(message.contains(why), "{sql}: {message}");
}

/// How many shards have a relation.
fn shards_with(relation: &str) -> usize {
    let sql = format!("SELECT to_regclass('{relation}') IS NOT NULL");
    SHOP.everywhere(&sql).iter().filter(|there| *there == "t").count()
}

#[tokio::test]
async fn commands_are_answered_as_by_one_postgres_and_run_on_every_shard() {
    let _alone = ALONE.lock().await;
    let (mut many, mut one) = (SHOP.raw("app").await, single().await);
    for sql in [
        "CREATE TABLE IF NOT EXISTS o_order (user_id int, id int, note text, PRIMARY KEY (user_id, id))",
        "CREATE TABLE IF NOT EXISTS o_order (user_id int)",
        "CREATE TABLE o_order (user_id int)",
        "CREATE INDEX o_note ON o_order (note)",
        "CREATE INDEX IF NOT EXISTS o_note ON o_order (note)",
        "ALTER TABLE o_order ADD COLUMN at timestamptz, ADD CHECK (id > 0)",
        "ALTER TABLE o_order ADD CHECK (nothing > 0)",
        "CREATE VIEW o_view AS SELECT user_id, note FROM o_order",
        "CREATE OR REPLACE VIEW o_view AS SELECT user_id, note, id FROM o_order",
        "CREATE TYPE o_mood AS ENUM ('sad', 'ok')",
        "ALTER TYPE o_mood ADD VALUE 'happy'",
        "CREATE DOMAIN o_short AS varchar(3) CHECK (VALUE <> 'bad')",
        "CREATE SCHEMA o_schema",
        "CREATE TABLE o_schema.inner (user_id int, mood o_mood, short o_short)",
        "CREATE FUNCTION o_twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'",
        "CREATE OR REPLACE FUNCTION o_twice(int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT $1 * 2; END",
        "CREATE PROCEDURE o_nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END'",
        "CREATE SEQUENCE o_sequence",
        "ALTER SEQUENCE o_sequence RESTART WITH 7",
        "COMMENT ON TABLE o_order IS 'orders; all of them'",
        "COMMENT ON COLUMN o_order.note IS 'a note'",
        "GRANT SELECT ON o_order TO md5user",
        "REVOKE SELECT ON o_order FROM md5user",
        "ALTER TABLE o_order ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY o_policy ON o_order USING (true)",
        "DROP POLICY o_policy ON o_order",
        "ALTER TABLE o_order DISABLE ROW LEVEL SECURITY",
        "TRUNCATE o_order, o_schema.inner",
        "ANALYZE o_order",
        "REINDEX TABLE o_order",
        "VACUUM o_order",
        "VACUUM (ANALYZE) o_order, nothing",
        "LOCK TABLE o_order",
        "ALTER TABLE o_order RENAME COLUMN note TO remark",
        "DROP TABLE IF EXISTS nothing",
        "DROP TABLE nothing",
        "DROP TYPE o_mood",
        "DROP SCHEMA o_schema CASCADE",
        "DROP TABLE o_order CASCADE",
        "DROP TYPE o_mood",
        "DROP DOMAIN o_short",
        "DROP FUNCTION o_twice",
        "DROP PROCEDURE o_nothing",
        "DROP SEQUENCE o_sequence",
        "CREATE TABEL x ()",
        "CREATE TABLE",
        "ALTER TABLE country ADD",
        "COMMENT ON TABLE nothing IS 'x'",
    ] {
        let expected = heard(&ask(&mut one, sql).await);
        let found = heard(&ask(&mut many, sql).await);
        assert_eq!(found, expected, "{sql}");
        if sql.starts_with("CREATE TABLE o_schema") {
            assert_eq!(shards_with("o_schema.inner"), 4);
            assert_eq!(shards_with("o_order"), 4);
        }
    }
    assert_eq!(shards_with("o_order"), 0);
}

#[tokio::test]
async fn what_fails_on_one_shard_is_done_on_none() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    SHOP.shard(3).sql("SET ROLE app; CREATE TABLE f_table (there int)");
    assert_eq!(code(&ask(&mut client, "CREATE TABLE f_table (user_id int)").await), "42P07");
    assert_eq!(shards_with("f_table"), 1);
    SHOP.shard(3).sql("DROP TABLE f_table");
    // In a transaction of the client's all that came before goes too.
    SHOP.shard(2).sql("SET ROLE app; CREATE TABLE f_second (there int)");
    all(&mut client, &["BEGIN", "CREATE TABLE f_first (user_id int)"]).await;
    assert_eq!(code(&ask(&mut client, "CREATE TABLE f_second (user_id int)").await), "42P07");
    assert_eq!(code(&ask(&mut client, "SELECT 1").await), "25P02");
    all(&mut client, &["ROLLBACK"]).await;
    assert_eq!((shards_with("f_first"), shards_with("f_second")), (0, 1));
    SHOP.shard(2).sql("DROP TABLE f_second");
    all(&mut client, &["CREATE TABLE f_table (user_id int)", "DROP TABLE f_table"]).await;
}

#[tokio::test]
async fn a_table_with_the_key_is_sharded_and_one_without_is_a_reference_table() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &["CREATE TABLE k_sharded (user_id int, n int)", "CREATE TABLE k_reference (id int, n int)"],
    )
    .await;
    for shard in 0..4 {
        all(&mut client, &[&format!("INSERT INTO k_sharded VALUES ({}, {shard})", key_on(shard, 4))]).await;
    }
    assert_eq!(SHOP.everywhere("SELECT n FROM k_sharded"), ["0", "1", "2", "3"]);
    assert_eq!(value(&ask(&mut client, "SELECT count(*) FROM k_reference").await), "0");
    let kinds = SHOP.admin().await.simple_query("SHOW TABLES").await.unwrap();
    let kinds = format!("{kinds:?}");
    assert!(kinds.contains("k_sharded") && kinds.contains("k_reference"), "{kinds}");
    all(&mut client, &["DROP TABLE k_sharded, k_reference"]).await;
}

#[tokio::test]
async fn roles_are_made_once_on_each_server() {
    let _alone = ALONE.lock().await;
    for server in 0..2 {
        SHOP.server(server).sql("postgres", "ALTER ROLE app CREATEROLE").unwrap();
    }
    let mut client = SHOP.raw("app").await;
    all(&mut client, &["CREATE ROLE p_role", "CREATE TABLE p_table (user_id int)"]).await;
    all(&mut client, &["GRANT SELECT ON p_table TO p_role", "GRANT p_role TO md5user"]).await;
    assert_eq!(SHOP.everywhere("SELECT has_table_privilege('p_role', 'p_table', 'SELECT')"), ["t"; 4]);
    assert_eq!(SHOP.everywhere("SELECT pg_has_role('md5user', 'p_role', 'MEMBER')"), ["t"; 4]);
    all(&mut client, &["DROP TABLE p_table", "DROP ROLE p_role"]).await;
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM pg_roles WHERE rolname = 'p_role'"), ["0"; 4]);
}

#[tokio::test]
async fn what_runs_outside_of_transactions_tells_where_it_was_done() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(&mut client, &["CREATE TABLE a_table (user_id int, n int)"]).await;
    SHOP.shard(2).sql("SET ROLE app; CREATE TABLE a_index (there int)");
    let reply = ask(&mut client, "CREATE INDEX CONCURRENTLY a_index ON a_table (n)").await;
    assert_eq!(code(&reply), "42P07", "{reply:?}");
    let detail = reply.error().and_then(|e| e.field('D')).unwrap_or_default();
    assert!(detail.contains("Done on shards: 0, 1, 3. Not done on shards: 2."), "{detail}");
    SHOP.shard(2).sql("DROP TABLE a_index");
    all(&mut client, &["/* shard: 2 */ CREATE INDEX CONCURRENTLY a_index ON a_table (n)"]).await;
    assert_eq!(shards_with("a_index"), 4);
    for sql in ["DROP INDEX CONCURRENTLY a_index", "VACUUM a_table", "REINDEX TABLE CONCURRENTLY a_table"] {
        all(&mut client, &["BEGIN"]).await;
        assert_eq!(code(&ask(&mut client, sql).await), "25001", "{sql}");
        all(&mut client, &["ROLLBACK", sql]).await;
    }
    assert_eq!(shards_with("a_index"), 0);
    all(&mut client, &["DROP TABLE a_table"]).await;
}

#[tokio::test]
async fn the_rows_of_a_materialized_view_are_counted_on_all_shards() {
    let _alone = ALONE.lock().await;
    let (mut many, mut one) = (SHOP.raw("app").await, single().await);
    for sql in [
        "CREATE TABLE m_row (user_id int, n int)",
        "CREATE TABLE m_ref (id int)",
        "INSERT INTO m_row VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)",
        "INSERT INTO m_ref VALUES (1), (2)",
        "CREATE MATERIALIZED VIEW m_view AS SELECT user_id, n FROM m_row WHERE n < 7",
        "CREATE MATERIALIZED VIEW m_copy AS SELECT id FROM m_ref",
        "CREATE MATERIALIZED VIEW m_empty AS SELECT user_id FROM m_row WITH NO DATA",
        "CREATE TABLE m_table AS SELECT user_id, n FROM m_row",
        "REFRESH MATERIALIZED VIEW m_view",
        "DROP MATERIALIZED VIEW m_view, m_copy, m_empty",
        "DROP TABLE m_row, m_ref, m_table",
    ] {
        let (got, expected) = (ask(&mut many, sql).await, ask(&mut one, sql).await);
        assert_eq!(heard(&got), heard(&expected), "{sql}");
    }
}
