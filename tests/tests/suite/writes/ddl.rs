//! Commands on objects: they run on every shard or on none, and are answered as one Postgres answers them.

use std::sync::LazyLock;

use shardway_tests::{PASSWORD, RawClient, Reply, SharedWorld, World};
use tokio::sync::Mutex;

use crate::operation::support::{key_on, soon};
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
async fn a_transaction_sees_the_schema_that_it_has_made() {
    let _alone = ALONE.lock().await;
    let (mut client, mut other) = (SHOP.raw("app").await, SHOP.raw("app").await);
    let keys: Vec<i32> = (0..4).map(|shard| key_on(shard, 4)).collect();
    all(&mut client, &["BEGIN", "CREATE TABLE t_new (user_id int PRIMARY KEY, n int)"]).await;
    for key in &keys {
        all(&mut client, &[&format!("INSERT INTO t_new VALUES ({key}, 1)")]).await;
    }
    assert_eq!(value(&ask(&mut client, "SELECT sum(n) FROM t_new").await), "4");
    assert_eq!(code(&ask(&mut other, "SELECT * FROM t_new").await), "42P01");
    all(&mut client, &["SAVEPOINT a", "ALTER TABLE t_new ADD COLUMN m int DEFAULT 5"]).await;
    assert_eq!(value(&ask(&mut client, "SELECT sum(m) FROM t_new").await), "20");
    all(&mut client, &["ROLLBACK TO a"]).await;
    assert_eq!(code(&ask(&mut client, "SELECT sum(m) FROM t_new").await), "42703");
    all(&mut client, &["ROLLBACK TO a", "DROP TABLE t_new"]).await;
    assert_eq!(code(&ask(&mut client, "SELECT * FROM t_new").await), "42P01");
    all(&mut client, &["ROLLBACK TO a", "COMMIT"]).await;
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM t_new"), ["1", "1", "1", "1"]);
    assert_eq!(value(&ask(&mut other, "SELECT count(*) FROM t_new").await), "4");
    all(&mut client, &["BEGIN", "DROP TABLE t_new", "ROLLBACK"]).await;
    assert_eq!(value(&ask(&mut client, "SELECT count(*) FROM t_new").await), "4");
    all(&mut client, &["DROP TABLE t_new"]).await;
    assert_eq!(code(&ask(&mut other, "SELECT * FROM t_new").await), "42P01");
}

#[tokio::test]
async fn one_text_makes_a_table_and_uses_it() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    let (a, b) = (key_on(0, 4), key_on(2, 4));
    let text = format!(
        "CREATE TABLE m_new (user_id int, n int); INSERT INTO m_new VALUES ({a}, 1); INSERT INTO m_new VALUES ({b}, 2); \
         SELECT sum(n) FROM m_new"
    );
    let reply = ask(&mut client, &text).await;
    assert_eq!(value(&reply), "3", "{reply:?}");
    assert_eq!(SHOP.everywhere("SELECT n FROM m_new"), ["1", "2"]);
    // All of it, or nothing.
    let reply = ask(&mut client, "CREATE TABLE m_other (user_id int); SELECT 1 / 0").await;
    assert_eq!(code(&reply), "22012", "{reply:?}");
    assert_eq!(shards_with("m_other"), 0);
    all(
        &mut client,
        &["BEGIN; CREATE TABLE m_other (user_id int); COMMIT; DROP TABLE m_other; DROP TABLE m_new"],
    )
    .await;
}

#[tokio::test]
async fn migrations_run_as_tools_send_them() {
    let _alone = ALONE.lock().await;
    let client = SHOP.connect("app").await;
    client
        .execute("CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY)", &[])
        .await
        .unwrap();
    // Simple protocol, a text at a time.
    client
        .batch_execute(
            "BEGIN;
             CREATE TABLE g_user (user_id bigint PRIMARY KEY, email text NOT NULL);
             CREATE TABLE g_post (user_id bigint NOT NULL, id bigserial, body text, PRIMARY KEY (user_id, id));
             ALTER TABLE g_post ADD CONSTRAINT g_author FOREIGN KEY (user_id) REFERENCES g_user (user_id);
             CREATE INDEX g_body ON g_post (body);
             INSERT INTO schema_migrations (version) VALUES ('1');
             COMMIT;",
        )
        .await
        .unwrap();
    // Extended protocol, a statement at a time.
    for sql in [
        "BEGIN",
        "ALTER TABLE g_user ADD COLUMN active boolean NOT NULL DEFAULT true",
        "INSERT INTO schema_migrations (version) VALUES ('2')",
        "COMMIT",
    ] {
        client.execute(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    client.execute("INSERT INTO g_user (user_id, email) VALUES ($1, $2)", &[&7i64, &"ada"]).await.unwrap();
    client.execute("INSERT INTO g_post (user_id, body) VALUES (7, 'first')", &[]).await.unwrap();
    let row = client.query_one("SELECT active FROM g_user WHERE user_id = $1", &[&7i64]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(
        SHOP.everywhere("SELECT string_agg(version, ',' ORDER BY version) FROM schema_migrations"),
        ["1,2"; 4]
    );
    client.batch_execute("DROP TABLE g_post, g_user, schema_migrations").await.unwrap();
}

#[tokio::test]
async fn what_shards_cannot_keep_apart_is_refused_with_the_reason() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &[
            "CREATE TABLE c_user (user_id int PRIMARY KEY, email text)",
            "CREATE TABLE c_reference (id int PRIMARY KEY, user_name text)",
            "CREATE TABLE c_child (user_id int REFERENCES c_user, ref int REFERENCES c_reference, n int)",
        ],
    )
    .await;
    for (sql, why) in [
        ("CREATE TABLE c_bad (id int PRIMARY KEY, user_id int)", "must contain the sharding key \"user_id\""),
        ("CREATE TABLE c_bad (user_id int, email text UNIQUE)", "unique constraint \"c_bad_email_key\""),
        ("CREATE UNIQUE INDEX ON c_user (email)", "unique index"),
        ("CREATE UNIQUE INDEX CONCURRENTLY c_i ON c_user (email)", "unique index"),
        ("CREATE UNIQUE INDEX CONCURRENTLY c_i ON c_user (abs(user_id))", "unique index"),
        ("CREATE UNIQUE INDEX ON c_user (email) INCLUDE (user_id)", "unique index"),
        ("ALTER TABLE c_user ADD CONSTRAINT c_k UNIQUE (email)", "unique constraint \"c_k\""),
        ("ALTER TABLE c_child ADD EXCLUDE USING btree (n WITH =)", "exclusion constraint"),
        ("CREATE TABLE c_bad (user_id int, parent int REFERENCES c_user)", "not co-located"),
        ("CREATE TABLE c_bad (id int, parent int REFERENCES c_user)", "a reference table is on every shard"),
        (
            "ALTER TABLE c_child ADD FOREIGN KEY (n) REFERENCES c_user (user_id)",
            "must pair the sharding keys",
        ),
        (
            "ALTER TABLE c_child ADD FOREIGN KEY (user_id) REFERENCES c_user ON DELETE SET NULL",
            "sharding key to NULL",
        ),
        ("ALTER TABLE c_user DROP COLUMN user_id CASCADE", "can't be dropped or renamed"),
        ("ALTER TABLE c_user RENAME user_id TO id", "can't be dropped or renamed"),
        ("DROP TABLE c_child; CREATE TABLE c_child (n int)", "by the same COMMIT"),
        ("ALTER TABLE c_child RENAME TO c_old; CREATE TABLE c_child (n int)", "by the same COMMIT"),
        ("ALTER TABLE c_user ALTER user_id TYPE bigint", "the type of \"user_id\""),
        ("ALTER TABLE c_reference ADD user_id int", "would become a sharded table"),
        ("ALTER TABLE c_reference RENAME user_name TO user_id", "would be"),
        ("CREATE TABLE c_bad (user_id numeric)", "numeric"),
        ("CREATE TABLE c_bad AS EXECUTE c_nothing", "CREATE TABLE AS EXECUTE"),
        ("CREATE TABLE c_heir (more int) INHERITS (c_reference, c_user)", "inherits"),
        ("CREATE TABLE shardway.mine (user_id int)", "kept for Shardway"),
        ("CREATE SCHEMA shardway", "kept for Shardway"),
        ("DROP SCHEMA IF EXISTS shardway CASCADE", "kept for Shardway"),
        ("CREATE DATABASE another", "sharded database"),
        ("ALTER SYSTEM SET work_mem = '1MB'", "sharded database"),
        ("DO $$ BEGIN INSERT INTO c_user VALUES (1); END $$", "changes rows"),
        ("DO $$ BEGIN ALTER TABLE c_user RENAME TO c_other; END $$", "names objects anew"),
        ("CALL c_nothing()", "procedure"),
    ] {
        refused(&mut client, sql, why).await;
        assert_eq!(shards_with("c_bad") + shards_with("c_heir") + shards_with("c_i"), 0, "{sql}");
    }
    all(
        &mut client,
        &[
            "CREATE UNIQUE INDEX CONCURRENTLY c_good ON c_user (email, user_id)",
            "ALTER TABLE c_child ADD UNIQUE (user_id, n)",
            "CREATE UNIQUE INDEX ON c_reference (user_name)",
            "ALTER TABLE c_child RENAME TO c_kid; ALTER TABLE c_kid RENAME TO c_child",
            "CREATE TABLE c_copy AS SELECT * FROM c_user WITH NO DATA",
            "CREATE TABLE c_parts (user_id int, n int) PARTITION BY RANGE (n)",
            "CREATE TABLE c_part PARTITION OF c_parts FOR VALUES FROM (1) TO (9)",
            "DO $$ BEGIN CREATE TYPE c_mood AS ENUM ('ok'); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_type WHERE typname = 'c_mood') THEN \
             CREATE TYPE c_mood AS ENUM ('ok'); END IF; END $$",
            "DO $$ BEGIN ALTER TABLE c_child ADD CONSTRAINT c_fk FOREIGN KEY (user_id) REFERENCES c_user \
             ON DELETE CASCADE ON UPDATE NO ACTION; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        ],
    )
    .await;
    assert_eq!(shards_with("c_good"), 4);
    all(&mut client, &["DROP TABLE c_parts, c_copy, c_child, c_user, c_reference; DROP TYPE c_mood"]).await;
}

#[tokio::test]
async fn triggers_keep_to_the_row_at_hand() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    let function = |name: &str, body: &str| {
        format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$"
        )
    };
    let trigger = |name: &str| {
        format!(
            "CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON r_row FOR EACH ROW EXECUTE FUNCTION {name}()"
        )
    };
    all(
        &mut client,
        &[
            "CREATE TABLE r_row (user_id int PRIMARY KEY, n int, at timestamptz)",
            "CREATE TABLE r_log (user_id int, n int)",
            &function("r_stamp", "NEW.at := now(); IF NEW.n IS NULL THEN NEW.n = 0; END IF;"),
            &function("r_move", "NEW.user_id := NEW.user_id + 1;"),
            &function("r_log", "INSERT INTO r_log VALUES (NEW.n, 1);"),
            &trigger("r_stamp"),
        ],
    )
    .await;
    refused(&mut client, &trigger("r_move"), "may change the sharding key").await;
    refused(&mut client, &trigger("r_log"), "one shard's rows alone").await;
    // The same through the back door.
    let again = function("r_stamp", "NEW.user_id := 3;").replace("CREATE", "CREATE OR REPLACE");
    refused(&mut client, &again, "may change the sharding key").await;
    refused(&mut client, "CREATE RULE r AS ON DELETE TO r_row DO INSTEAD NOTHING", "one shard's rows alone")
        .await;
    let key = key_on(2, 4);
    all(&mut client, &[&format!("INSERT INTO r_row (user_id) VALUES ({key})")]).await;
    assert_eq!(value(&ask(&mut client, &format!("SELECT n FROM r_row WHERE user_id = {key}")).await), "0");
    all(&mut client, &["DROP TABLE r_row, r_log", "DROP FUNCTION r_stamp, r_move, r_log"]).await;
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
async fn reference_tables_get_no_values_that_every_shard_makes_up() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &["CREATE TABLE v_ref (id int)", "ALTER TABLE v_ref ADD made timestamptz DEFAULT now()"],
    )
    .await;
    all(&mut client, &["INSERT INTO v_ref VALUES (1), (2)"]).await;
    for column in ["at timestamptz DEFAULT now()", "code uuid DEFAULT gen_random_uuid()", "n serial"] {
        refused(&mut client, &format!("ALTER TABLE v_ref ADD COLUMN {column}"), "has rows").await;
    }
    all(
        &mut client,
        &["ALTER TABLE v_ref ADD COLUMN n int DEFAULT 7", "ALTER TABLE v_ref ADD CHECK (abs(n) > 0)"],
    )
    .await;
    let copies = SHOP.everywhere("SELECT md5(string_agg(v_ref::text, ';' ORDER BY id)) FROM v_ref");
    assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    all(&mut client, &["DROP TABLE v_ref"]).await;
}

#[tokio::test]
async fn the_extended_protocol_runs_them_too() {
    let _alone = ALONE.lock().await;
    let (mut many, mut one) = (SHOP.raw("app").await, single().await);
    let mut replies = Vec::new();
    for raw in [&mut one, &mut many] {
        let mut said = Vec::new();
        for sql in [
            "CREATE TABLE e_table (user_id int, n int)",
            "CREATE TABLE IF NOT EXISTS e_table (user_id int)",
            "CREATE INDEX e_index ON e_table (n)",
            "CREATE INDEX e_index ON e_table (n)",
            "VACUUM e_table",
            "DROP TABLE e_table",
        ] {
            raw.parse("", sql, &[]).describe_statement("").bind("", "", &[], &[]).describe_portal("");
            let reply = raw.execute("", 0).sync().recv_until_ready().await;
            said.push((sql, reply.tags().replace('N', ""), heard(&reply)));
        }
        // Named, and in a pipeline of several: one transaction.
        raw.parse("make", "CREATE TABLE e_table (user_id int, n int)", &[]).bind("", "make", &[], &[]);
        raw.execute("", 0).parse("", "CREATE INDEX e_index ON e_table (n)", &[]).bind("", "", &[], &[]);
        raw.execute("", 0).parse("", "CREATE INDEX e_index ON e_table (n)", &[]).bind("", "", &[], &[]);
        let reply = raw.execute("", 0).sync().recv_until_ready().await;
        said.push(("a pipeline", reply.tags().replace('N', ""), heard(&reply)));
        replies.push(said);
    }
    assert_eq!(replies[1], replies[0]);
    assert_eq!(shards_with("e_table"), 0);
}

#[tokio::test]
async fn what_stands_behind_one_in_a_batch_finds_what_it_made() {
    let _alone = ALONE.lock().await;
    let (mut many, mut one) = (SHOP.raw("app").await, single().await);
    let rows = format!("INSERT INTO b_table VALUES ({}, 1), ({}, 2)", key_on(1, 4), key_on(3, 4));
    let read = "SELECT n, later FROM b_table ORDER BY n";
    let mut replies = Vec::new();
    for raw in [&mut one, &mut many] {
        let mut said = Vec::new();
        for batch in [
            &["CREATE TABLE b_table (user_id int, n int)", &rows, "SELECT 1/0"][..],
            &["CREATE TABLE b_table (user_id int, n int)", &rows, "SELECT n FROM b_table ORDER BY n"],
            &["ALTER TABLE b_table ADD later int DEFAULT 7", read, &rows, "ALTER TABLE b_table DROP n"],
            &["BEGIN", "ALTER TABLE b_table ADD n int DEFAULT 8", read],
            &["ROLLBACK", "SELECT later FROM b_table ORDER BY later"],
            &["DROP TABLE b_table", read],
            &["DROP TABLE b_table", "SELECT 1"],
        ] {
            for sql in batch {
                raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
            }
            let reply = raw.sync().recv_until_ready().await;
            said.push((batch.to_vec(), reply.tags(), reply.texts().0, code(&reply)));
        }
        replies.push(said);
    }
    for (many, one) in replies[1].iter().zip(&replies[0]) {
        assert_eq!(many, one);
    }
    assert_eq!(shards_with("b_table"), 0);
}

#[tokio::test]
async fn a_table_of_this_transaction_may_still_become_a_sharded_one() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &[
            "BEGIN",
            "CREATE TABLE n_new (id int)",
            "ALTER TABLE n_new ADD COLUMN user_id int NOT NULL",
            "COMMIT",
        ],
    )
    .await;
    all(&mut client, &[&format!("INSERT INTO n_new VALUES (1, {})", key_on(1, 4))]).await;
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM n_new"), ["0", "1", "0", "0"]);
    all(&mut client, &["DROP TABLE n_new"]).await;
    let text = "CREATE TABLE n_new (id int); INSERT INTO n_new VALUES (1); ALTER TABLE n_new ADD user_id int";
    refused(&mut client, text, "has rows").await;
    assert_eq!(shards_with("n_new"), 0);
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
async fn a_lock_holds_on_every_shard_to_the_end_of_its_transaction() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
    all(&mut a, &["BEGIN", "LOCK TABLE account IN ACCESS EXCLUSIVE MODE"]).await;
    let waits =
        "SELECT count(*) FROM pg_locks WHERE relation = 'account'::regclass AND mode = 'AccessExclusiveLock'";
    assert_eq!(SHOP.everywhere(waits), ["1"; 4]);
    all(&mut b, &["SET lock_timeout = 50"]).await;
    let read = format!("SELECT * FROM account WHERE user_id = {}", key_on(3, 4));
    assert_eq!(code(&ask(&mut b, &read).await), "55P03");
    all(&mut a, &["COMMIT"]).await;
    all(&mut b, &[&read]).await;
}

#[tokio::test]
async fn a_command_that_waits_can_be_cancelled_and_ends_with_its_client() {
    let _alone = ALONE.lock().await;
    let mut holder = SHOP.raw("app").await;
    all(&mut holder, &["CREATE TABLE x_table (user_id int)"]).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'ALTER TABLE x_%' \
                   AND state = 'active'";
    let waits = async |shard: usize, count: &str| {
        soon("the command to wait, or to be gone", async || {
            (SHOP.shard(shard).sql(waiting) == count).then_some(())
        })
        .await;
    };
    // On the first shard, and on one of the others.
    for shard in [0, 3] {
        let mut direct = RawClient::connect(SHOP.shard(shard).primary().port()).await;
        direct.login("app", SHOP.shard(shard).database(), PASSWORD).await;
        all(&mut direct, &["BEGIN", "LOCK TABLE x_table"]).await;
        let mut client = SHOP.raw("app").await;
        client.query("ALTER TABLE x_table ADD COLUMN n int").send().await;
        waits(shard, "1").await;
        RawClient::cancel(SHOP.proxy().port(), client.cancel_key()).await;
        assert_eq!(code(&client.recv_until_ready().await), "57014");
        client.query("ALTER TABLE x_table ADD COLUMN n int").send().await;
        waits(shard, "1").await;
        drop(client);
        waits(shard, "0").await;
        all(&mut direct, &["COMMIT"]).await;
    }
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'x_table'::regclass AND attnum > 0";
    assert_eq!(SHOP.everywhere(columns), ["1"; 4]);
    all(&mut holder, &["DROP TABLE x_table"]).await;
}

#[tokio::test]
async fn two_that_are_in_each_others_way_wait_and_do_not_deadlock() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(&mut client, &["CREATE TABLE w_table (user_id int)"]).await;
    let add = async |n: usize| {
        let mut client = SHOP.raw("app").await;
        all(&mut client, &[&format!("ALTER TABLE w_table ADD COLUMN c{n} int")]).await;
    };
    tokio::join!(add(0), add(1), add(2), add(3), add(4), add(5));
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'w_table'::regclass AND attnum > 0";
    assert_eq!(SHOP.everywhere(columns), ["7"; 4]);
    all(&mut client, &["DROP TABLE w_table"]).await;
}

#[tokio::test]
async fn a_key_keeps_its_values_where_rows_lie_by_them() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &[
            "CREATE TABLE y_row (user_id int, n int)",
            "CREATE TABLE y_parts (user_id int, n int) PARTITION BY RANGE (n)",
            "CREATE TABLE y_part PARTITION OF y_parts FOR VALUES FROM (0) TO (9)",
            // Without rows it is as good as a new one.
            "ALTER TABLE y_row ALTER user_id TYPE int USING user_id + 100",
            "ALTER TABLE y_row DROP COLUMN user_id, ADD COLUMN user_id int DEFAULT 5",
            "ALTER TABLE y_row ALTER user_id DROP DEFAULT",
        ],
    )
    .await;
    for shard in 0..4 {
        let key = key_on(shard, 4);
        all(
            &mut client,
            &[
                &format!("INSERT INTO y_row (user_id, n) VALUES ({key}, 1)"),
                &format!("INSERT INTO y_parts VALUES ({key}, 1)"),
            ],
        )
        .await;
    }
    let rows = "SELECT string_agg(y_row::text, ' ') || (SELECT string_agg(y_parts::text, ' ') FROM y_parts) FROM y_row";
    let held = SHOP.everywhere(rows);
    for sql in [
        "ALTER TABLE y_row ALTER user_id TYPE int USING user_id + 100",
        "ALTER TABLE y_row ALTER COLUMN \"user_id\" SET DATA TYPE int USING 7",
        "ALTER TABLE y_row DROP COLUMN user_id, ADD COLUMN user_id int DEFAULT 5",
        "ALTER TABLE y_parts ALTER user_id TYPE int USING user_id + 100",
        "DO $$ BEGIN ALTER TABLE y_row ALTER user_id TYPE int USING user_id + 100; END $$",
        "DO $$ BEGIN ALTER TABLE y_parts ALTER user_id TYPE int USING user_id + 100; END $$",
        "DO $$ BEGIN ALTER TABLE y_row DROP user_id; ALTER TABLE y_row ADD user_id int DEFAULT 5; END $$",
    ] {
        refused(&mut client, sql, "has rows").await;
        assert_eq!(SHOP.everywhere(rows), held, "{sql}");
    }
    all(
        &mut client,
        &[
            "ALTER TABLE y_row ALTER n TYPE bigint",
            "ALTER TABLE y_row ADD x int DEFAULT 5",
            "DROP TABLE y_row, y_parts",
        ],
    )
    .await;
}

#[tokio::test]
async fn labels_that_rows_are_placed_by_stay() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &[
            "CREATE TYPE z_key AS ENUM ('a', 'b')",
            "CREATE TYPE z_other AS ENUM ('a', 'b')",
            "CREATE TABLE z_row (user_id z_key, other z_other)",
        ],
    )
    .await;
    refused(&mut client, "ALTER TYPE z_key RENAME VALUE 'a' TO 'c'", "are placed by").await;
    refused(&mut client, "ALTER TYPE public.\"z_key\" RENAME VALUE 'a' TO 'c'", "are placed by").await;
    all(
        &mut client,
        &[
            "ALTER TYPE z_key ADD VALUE 'c'",
            "ALTER TYPE z_other RENAME VALUE 'a' TO 'c'",
            "DROP TABLE z_row",
            "DROP TYPE z_key, z_other",
        ],
    )
    .await;
}

#[tokio::test]
async fn materialized_views_and_event_triggers_are_no_matter_of_several_shards() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(&mut client, &["CREATE TABLE h_row (user_id int, n int)", "CREATE TABLE h_ref (id int)"]).await;
    all(&mut client, &["CREATE VIEW h_view AS SELECT n FROM h_row", "INSERT INTO h_ref VALUES (1)"]).await;
    for sql in [
        "CREATE MATERIALIZED VIEW h_m AS SELECT count(*) FROM h_row",
        "CREATE MATERIALIZED VIEW IF NOT EXISTS h_m AS TABLE public.\"h_row\" WITH DATA",
        "CREATE MATERIALIZED VIEW h_m AS SELECT n FROM h_view",
        "DO $$ BEGIN CREATE TABLE h_m AS TABLE h_row; END $$",
        "DO $$ BEGIN CREATE TABLE h_m AS (SELECT 1); END $$",
    ] {
        let why = if sql.starts_with("DO") { "takes rows" } else { "each shard's own rows" };
        refused(&mut client, sql, why).await;
        assert_eq!(shards_with("h_m"), 0);
    }
    all(
        &mut client,
        &[
            "CREATE MATERIALIZED VIEW h_m AS SELECT n FROM h_row WITH NO DATA",
            "CREATE MATERIALIZED VIEW h_copy AS SELECT id FROM h_ref",
        ],
    )
    .await;
    refused(&mut client, "REFRESH MATERIALIZED VIEW CONCURRENTLY h_m", "CONCURRENTLY").await;
    let sql = "CREATE EVENT TRIGGER h_event ON ddl_command_end EXECUTE FUNCTION h_nothing()";
    refused(&mut client, sql, "once on each shard").await;
    refused(&mut client, &format!("DO $$ BEGIN {sql}; END $$"), "event trigger").await;
    all(&mut client, &["DROP MATERIALIZED VIEW h_m, h_copy", "DROP VIEW h_view", "DROP TABLE h_row, h_ref"])
        .await;
}

#[tokio::test]
async fn rows_that_are_there_get_no_values_that_every_shard_makes_up() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &[
            "CREATE TABLE b_row (user_id int, n int, t text)",
            "CREATE TABLE b_ref (id int, n int)",
            "CREATE SEQUENCE b_q",
            "CREATE FUNCTION b_next() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('b_q') $$",
            "CREATE FUNCTION b_twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'",
            "CREATE DOMAIN b_made AS uuid DEFAULT gen_random_uuid()",
            "CREATE DOMAIN b_at AS timestamptz DEFAULT now()",
            "CREATE DOMAIN b_plain AS int CHECK (VALUE > 0)",
            // Nobody is there to get one.
            "ALTER TABLE b_row ADD COLUMN at timestamptz DEFAULT now(), ADD COLUMN u uuid DEFAULT gen_random_uuid()",
        ],
    )
    .await;
    for shard in 0..4 {
        all(&mut client, &[&format!("INSERT INTO b_row VALUES ({}, 1, '7')", key_on(shard, 4))]).await;
    }
    all(&mut client, &["INSERT INTO b_ref VALUES (1, 1)"]).await;
    let before = SHOP.everywhere("SELECT count(*) FROM pg_attribute WHERE attrelid = 'b_row'::regclass");
    for table in ["b_row", "b_ref"] {
        for change in [
            "ADD COLUMN ts timestamptz DEFAULT now()",
            "ADD COLUMN ts timestamptz DEFAULT CURRENT_TIMESTAMP",
            "ALTER n TYPE int USING nextval('b_q')",
            "ADD COLUMN ts b_made",
            "ADD COLUMN ts b_at",
            "ADD COLUMN ts bigint DEFAULT b_next()",
            "ADD COLUMN ts float8 DEFAULT random()",
            "ADD COLUMN ts text DEFAULT current_catalog",
        ] {
            let sql = format!("ALTER TABLE {table} {change}");
            // Of this default more is known.
            let why = if change.contains("b_next") { "" } else { "has rows" };
            refused(&mut client, &sql, why).await;
            // In a block some of it is seen in its words.
            let reply = ask(&mut client, &format!("DO $$ BEGIN {sql}; END $$")).await;
            assert_eq!(code(&reply), "0A000", "{sql}: {reply:?}");
        }
        for literal in ["'now'", "timestamptz ' now '"] {
            for sql in [
                format!("ALTER TABLE {table} ADD COLUMN ts timestamptz DEFAULT {literal}"),
                format!("CREATE TABLE b_new (LIKE {table}, ts timestamptz DEFAULT {literal})"),
            ] {
                let reply = ask(&mut client, &sql).await;
                assert_eq!(code(&reply), "0A000", "{sql}: {reply:?}");
            }
        }
        // The same for every row, wherever it is.
        for change in [
            "ADD COLUMN x int DEFAULT 7",
            "ALTER n TYPE bigint",
            "ALTER n TYPE int USING b_twice(n::int)",
            "ALTER n TYPE timestamptz USING to_timestamp(n)",
            "ADD COLUMN p b_plain DEFAULT 3",
            "ADD COLUMN word text DEFAULT 'now', ADD COLUMN day timestamptz DEFAULT 'epoch'",
        ] {
            // Of copies no function at all is trusted, nor such a word.
            if table == "b_row" || !change.contains("USING") && !change.contains("'now'") {
                all(&mut client, &[&format!("ALTER TABLE {table} {change}")]).await;
            }
        }
    }
    let reply = ask(&mut client, "CREATE TABLE b_new (id int, t timestamptz DEFAULT 'now')").await;
    assert_eq!(code(&reply), "0A000", "{reply:?}");
    assert!(reply.error().and_then(|e| e.field('H')).unwrap_or_default().contains("Use now()"), "{reply:?}");
    let after = SHOP.everywhere("SELECT count(*) - 4 FROM pg_attribute WHERE attrelid = 'b_row'::regclass");
    assert_eq!(after, before);
    let sql = "DROP TABLE b_row, b_ref; DROP FUNCTION b_next, b_twice; DROP DOMAIN b_made, b_at, b_plain; DROP SEQUENCE b_q";
    all(&mut client, &[sql]).await;
}

#[tokio::test]
async fn what_would_differ_from_shard_to_shard_is_done_on_none() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(&mut client, &["CREATE TABLE d_row (user_id int, n int)", "CREATE TABLE d_other (id int)"]).await;
    SHOP.shard(2).sql("SET ROLE app; CREATE TABLE d_new (there int)");
    refused(&mut client, "CREATE TABLE IF NOT EXISTS d_new (user_id int)", "differ on shard 2").await;
    assert_eq!(shards_with("d_new"), 1);
    SHOP.shard(2).sql("DROP TABLE d_new; SET ROLE app; CREATE INDEX d_index ON d_row (abs(n))");
    refused(&mut client, "CREATE INDEX IF NOT EXISTS d_index ON d_row (n)", "differ on shard 2").await;
    assert_eq!(shards_with("d_index"), 1);
    // What differs already is in nobody's way, and can be made the same.
    all(
        &mut client,
        &["ALTER TABLE d_row ADD COLUMN m int", "CREATE INDEX IF NOT EXISTS d_index ON d_row (abs(n))"],
    )
    .await;
    assert_eq!(shards_with("d_index"), 4);
    SHOP.shard(1).sql("SET ROLE app; ALTER TABLE d_other ADD COLUMN more int");
    let view = "CREATE OR REPLACE VIEW d_view AS SELECT * FROM d_other";
    refused(&mut client, view, "differ on shard 1").await;
    assert_eq!(shards_with("d_view"), 0);
    SHOP.shard(1).sql("ALTER TABLE d_other DROP COLUMN more");
    // Blocks that ask rows what to do; the others do the same everywhere.
    all(&mut client, &[&format!("INSERT INTO d_row VALUES ({}, 1)", key_on(3, 4))]).await;
    for sql in [
        "DO $$ BEGIN IF d_rows() > 0 THEN ALTER TABLE d_other ADD COLUMN more int; END IF; END $$",
        "DO $$ BEGIN IF d_rows() > 0 THEN CREATE TABLE d_new (user_id int); END IF; END $$",
        "DO $$ BEGIN IF d_rows() > 0 THEN CREATE TYPE d_type AS ENUM ('a'); END IF; END $$",
        "DO $$ BEGIN IF d_rows() > 0 THEN DROP INDEX d_index; END IF; END $$",
    ] {
        // A function that says it is immutable, and is not.
        let rows = "CREATE OR REPLACE FUNCTION d_rows() RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS \
                    $$ BEGIN RETURN (SELECT count(*) FROM d_row); END $$";
        all(&mut client, &[rows]).await;
        refused(&mut client, sql, "differ on shard").await;
        assert_eq!((shards_with("d_new"), shards_with("d_index")), (0, 4), "{sql}");
    }
    refused(
        &mut client,
        "DO $$ BEGIN IF EXISTS (TABLE d_row) THEN CREATE TABLE d_new (user_id int); END IF; END $$",
        "takes rows",
    )
    .await;
    let everywhere = "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'd_new') THEN \
                      CREATE TABLE d_new (user_id int); END IF; END $$";
    all(&mut client, &[everywhere, everywhere]).await;
    assert_eq!(shards_with("d_new"), 4);
    all(&mut client, &["DROP TABLE d_row, d_other, d_new", "DROP FUNCTION d_rows"]).await;
}

#[tokio::test]
async fn shards_of_one_server_are_analyzed_without_being_in_each_others_way() {
    let world = World::builder().shards(4).schema("CREATE TABLE t (user_id int)").start();
    // Who may analyze the catalogs that all databases of a server share.
    world.server(0).sql("postgres", "ALTER ROLE app SUPERUSER").unwrap();
    let mut client = world.raw("app").await;
    for sql in ["ANALYZE", "ANALYZE t", "BEGIN; ANALYZE t", "COMMIT"] {
        let reply = ask(&mut client, sql).await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
    }
    let analyzed = "SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 't'";
    soon("statistics to say so", async || world.everywhere(analyzed).iter().all(|n| n == "3").then_some(()))
        .await;
}
