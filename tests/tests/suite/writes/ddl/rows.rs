//! Commands on tables that have rows: these stay where their keys say, and get no values that every shard makes up.

use super::{ALONE, SHOP, all, refused, shards_with};
use crate::operation::support::key_on;
use crate::protocol::{ask, code};

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
