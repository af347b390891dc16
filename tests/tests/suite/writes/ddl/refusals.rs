//! Commands on objects that shards could not carry out as one Postgres does: each is refused with the reason.

use super::{ALONE, SHOP, all, refused, shards_with};
use crate::operation::support::key_on;
use crate::protocol::{ask, value};

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
