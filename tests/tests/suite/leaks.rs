//! What one client leaves behind on a pooled server, no other client finds; and what must hold together, does.
//! One server connection per shard, so that clients follow each other on it.

use shardway_tests::{RawClient, Reply, SharedWorld, World};

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
CREATE TABLE moved (gone int, user_id int PRIMARY KEY, name text);
CREATE SCHEMA side;
CREATE TABLE side.item (user_id int PRIMARY KEY, name text);
GRANT USAGE ON SCHEMA side TO app, md5user;
GRANT ALL ON side.item TO app;
ALTER TABLE moved OWNER TO app;
";

static WORLD: SharedWorld = SharedWorld::new(|| {
    let config = "[pool]\ndefault_pool_size = 1\n[[databases.tables]]\nname = 'side.item'\nkind = 'sharded'";
    World::builder().shards(2).schema(SCHEMA).config(config).start()
});

static UNSHARDED: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(1).schema(SCHEMA).config("[pool]\ndefault_pool_size = 1").start()
});

/// The tests share one server connection: side by side they would wait for each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn ask(raw: &mut RawClient, sql: &str) -> Reply {
    raw.query(sql).recv_until_ready().await
}

async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        ask(raw, sql).await;
    }
}

async fn value(raw: &mut RawClient, sql: &str) -> String {
    let reply = ask(raw, sql).await;
    reply
        .texts()
        .0
        .first()
        .and_then(|row| row.first().cloned())
        .flatten()
        .unwrap_or_else(|| panic!("{sql}: no value"))
}

fn code(reply: &Reply) -> String {
    reply.error().and_then(|e| e.field('C')).unwrap_or_default()
}

#[tokio::test]
async fn a_rollback_does_not_bring_another_clients_settings_back() {
    let _alone = ALONE.lock().await;
    let (mut b, mut a) = (UNSHARDED.raw("app").await, UNSHARDED.raw("app").await);
    all(&mut b, &["SET search_path TO side", "SET statement_timeout = 5555", "SELECT 1"]).await;
    all(&mut a, &["BEGIN", "SELECT 1", "ROLLBACK"]).await;
    assert_eq!(value(&mut a, "SHOW search_path").await, "\"$user\", public");
    assert_eq!(value(&mut a, "SHOW statement_timeout").await, "0");
    assert_eq!(value(&mut b, "SHOW search_path").await, "side");
}

#[tokio::test]
async fn a_comment_behind_a_setting_swallows_nothing() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (UNSHARDED.raw("app").await, UNSHARDED.raw("app").await);
    all(&mut a, &["SET statement_timeout = 0 -- no limit", "SET lock_timeout = 77 -- a limit"]).await;
    all(&mut b, &["DELETE FROM item WHERE user_id = 1", "SELECT 1"]).await;
    all(&mut a, &["BEGIN -- here", "INSERT INTO item VALUES (1, 'x')", "ROLLBACK"]).await;
    assert_eq!(value(&mut a, "SELECT count(*) FROM item WHERE user_id = 1").await, "0");
    assert_eq!(value(&mut a, "SHOW lock_timeout").await, "77ms");
}

#[tokio::test]
async fn a_clients_role_is_its_own() {
    let _alone = ALONE.lock().await;
    for role in ["guest", "other"] {
        UNSHARDED.shard(0).sql(&format!("CREATE ROLE {role}; GRANT {role} TO app"));
    }
    let (mut a, mut b) = (UNSHARDED.raw("app").await, UNSHARDED.raw("app").await);
    all(&mut a, &["SET ROLE guest", "SET work_mem = '5MB'"]).await;
    assert_eq!(value(&mut b, "SELECT current_user").await, "app");
    all(&mut b, &["SET ROLE other"]).await;
    assert_eq!(value(&mut a, "SELECT current_user").await, "guest");
    all(&mut a, &["RESET ALL"]).await;
    assert_eq!(value(&mut b, "SELECT current_user").await, "other");
    assert_eq!(
        value(&mut a, "SELECT current_user").await,
        "guest",
        "RESET ALL leaves the role, as in Postgres"
    );
}

#[tokio::test]
async fn set_names_and_set_schema_are_the_parameters_they_mean() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (UNSHARDED.raw("app").await, UNSHARDED.raw("app").await);
    all(&mut a, &["SET NAMES 'UTF8'", "SET SCHEMA 'side'", "SET XML OPTION DOCUMENT"]).await;
    assert_eq!(value(&mut b, "SHOW search_path").await, "\"$user\", public");
    assert_eq!(value(&mut b, "SHOW xmloption").await, "content");
    assert_eq!(value(&mut a, "SHOW search_path").await, "side");
}

#[tokio::test]
async fn no_hint_and_no_explain_leaves_state_on_a_server() {
    let _alone = ALONE.lock().await;
    let mut raw = WORLD.raw("app").await;
    let sql = "/* shard: 0 */ SELECT set_config('search_path', 'si' || 'de', false)";
    assert_eq!(code(&ask(&mut raw, sql).await), "0A000");
    let sql = "/* shard: 0 */ SELECT set_config('search_path', 'side', false)";
    assert_eq!(code(&ask(&mut raw, sql).await), "");
    assert_eq!(value(&mut raw, "SHOW search_path").await, "side");
    let reply = ask(&mut raw, "CREATE TABLE IF NOT EXISTS atomic_x (a int); SET search_path TO side").await;
    assert_eq!(reply.commands(), ["CREATE TABLE", "SET"]);
    let mut other = WORLD.raw("app").await;
    assert_eq!(value(&mut other, "SHOW search_path").await, "\"$user\", public");
    let mut raw = UNSHARDED.raw("app").await;
    let sql = "EXPLAIN ANALYZE SELECT set_config('search_path', 'side', false)";
    assert_eq!(code(&ask(&mut raw, sql).await), "0A000");
    let reply =
        ask(&mut raw, "CREATE TABLE IF NOT EXISTS atomic_y (a int); SET search_path TO side; SELECT 1").await;
    assert_eq!(reply.commands(), ["CREATE TABLE", "SET", "SELECT 1"]);
    let mut other = UNSHARDED.raw("app").await;
    assert_eq!(value(&mut other, "SHOW search_path").await, "\"$user\", public");
}

#[tokio::test]
async fn what_a_hint_or_an_explain_leaves_is_gone_with_its_client() {
    let _alone = ALONE.lock().await;
    for (world, left) in [
        (&WORLD, "/* shard: 0 */ CREATE TEMP TABLE item AS SELECT 1 AS user_id"),
        (&WORLD, "/* shard: 0 */ SELECT pg_advisory_lock(1)"),
        (&WORLD, "/* shard: 0 */ SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
        (&WORLD, "/* shard: 0 */ PREPARE p AS SELECT 1"),
        (&UNSHARDED, "EXPLAIN ANALYZE SELECT pg_advisory_lock(1)"),
        (&UNSHARDED, "EXPLAIN ANALYZE CREATE TEMP TABLE item AS SELECT 1 AS user_id"),
        (&UNSHARDED, "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE"),
    ] {
        let mut raw = world.raw("app").await;
        assert_eq!(code(&ask(&mut raw, left).await), "", "{left}");
        raw.hang_up();
        let mut next = world.raw("app").await;
        let look = "/* shard: 0 */ SELECT current_setting('transaction_read_only') || current_setting('transaction_isolation') \
             || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
             || coalesce(to_regclass('pg_temp.item')::text, ' clean')";
        assert_eq!(value(&mut next, look).await, "offread committed0 clean", "after {left}");
    }
}

#[tokio::test]
async fn a_failed_transaction_stays_failed_whatever_its_servers_say() {
    let _alone = ALONE.lock().await;
    let mut raw = WORLD.raw("app").await;
    all(&mut raw, &["DELETE FROM item WHERE user_id = 1", "DELETE FROM item WHERE user_id = 2"]).await;
    all(&mut raw, &["BEGIN", "INSERT INTO item VALUES (1, 'a')"]).await;
    let reply = ask(&mut raw, "PREPARE TRANSACTION 'own'").await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("0A000", 'E'));
    let reply = raw.parse("", "SELECT 1", &[]).describe_statement("").sync().recv_until_ready().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("25P02", 'E'));
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
    assert_eq!(value(&mut raw, "SELECT count(*) FROM item WHERE user_id = 1").await, "0");
}

/// The shard that owns an integer key.
fn owner_of(key: i64) -> u32 {
    use shardway_shardmap::{CanonicalKey, Function, ShardMap};
    ShardMap::new(Function::Fnv1a, 2).unwrap().locate(&CanonicalKey::Int(key)).unwrap().0
}

#[tokio::test]
async fn ddl_in_a_transaction_is_known_once_it_has_committed() {
    let _alone = ALONE.lock().await;
    let mut raw = WORLD.raw("app").await;
    for shard in 0..2 {
        all(
            &mut raw,
            &["BEGIN", &format!("/* shard: {shard} */ ALTER TABLE moved DROP COLUMN gone"), "COMMIT"],
        )
        .await;
    }
    let reply = ask(&mut raw, "INSERT INTO moved VALUES (42, 'x')").await;
    assert_eq!(reply.commands(), ["INSERT 0 1"]);
    let owner = WORLD.shard(owner_of(42) as usize);
    assert_eq!(owner.sql("SELECT name FROM moved WHERE user_id = 42"), "x");
}

#[tokio::test]
async fn a_prepared_statement_follows_the_search_path() {
    let _alone = ALONE.lock().await;
    let mut raw = WORLD.raw("app").await;
    all(&mut raw, &["INSERT INTO item VALUES (7, 'public') ON CONFLICT DO NOTHING"]).await;
    all(&mut raw, &["INSERT INTO side.item VALUES (7, 'side') ON CONFLICT DO NOTHING"]).await;
    raw.parse("s", "SELECT name FROM item WHERE user_id = 7", &[]).sync().recv_until_ready().await;
    for (path, name) in [("public", "public"), ("side", "side"), ("public", "public")] {
        ask(&mut raw, &format!("SET search_path TO {path}")).await;
        let reply = raw.bind("", "s", &[], &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(reply.texts(), [[Some(name)]]);
    }
}

#[tokio::test]
async fn options_of_a_begin_within_a_text_count() {
    let _alone = ALONE.lock().await;
    let mut raw = WORLD.raw("app").await;
    let reply = ask(&mut raw, "BEGIN READ ONLY; INSERT INTO item VALUES (9, 'x'); COMMIT").await;
    assert_eq!(code(&reply), "25006");
    ask(&mut raw, "ROLLBACK").await;
    let sql = "BEGIN ISOLATION LEVEL SERIALIZABLE; SHOW transaction_isolation; COMMIT";
    assert_eq!(ask(&mut raw, sql).await.texts(), [[Some("serializable")]]);
}

#[tokio::test]
async fn a_batch_with_a_command_of_the_sessions_own_is_still_one_transaction() {
    let _alone = ALONE.lock().await;
    let mut raw = WORLD.raw("app").await;
    ask(&mut raw, "DELETE FROM item WHERE user_id = 11").await;
    raw.parse("", "INSERT INTO item VALUES (11, 'x')", &[]).bind("", "", &[], &[]).execute("", 0);
    raw.parse("", "SET lock_timeout = 5", &[]).bind("", "", &[], &[]).execute("", 0);
    raw.parse("", "INSERT INTO item VALUES (11, 'again')", &[]).bind("", "", &[], &[]).execute("", 0);
    let reply = raw.sync().recv_until_ready().await;
    assert_eq!(code(&reply), "23505");
    assert_eq!(value(&mut raw, "SELECT count(*) FROM item WHERE user_id = 11").await, "0");
}
