//! Temporary tables and advisory locks in front of several shards: on one of them, and never taken for what the others
//! have.

use std::sync::LazyLock;

use shardway_tests::{RawClient, SharedWorld, World};
use tokio::sync::Mutex;

use crate::operation::support::{at_rest, key_on};
use crate::protocol::{ask, code, value};

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
CREATE TABLE thing (user_id int PRIMARY KEY, name text);
CREATE TABLE label (id int PRIMARY KEY, text text);
INSERT INTO label VALUES (1, 'one'), (2, 'two');
";

static SHOP: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(4).schema(SCHEMA).config("[pool]\ndefault_pool_size = 2").start()
});

/// The tests share tables.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        let reply = ask(raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
}

async fn one(raw: &mut RawClient, sql: &str) -> String {
    value(&ask(raw, sql).await)
}

#[tokio::test]
async fn an_advisory_lock_is_one_lock_for_all_clients() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
    for n in 0..8 {
        all(&mut a, &[&format!("SELECT pg_advisory_lock({n})")]).await;
        assert_eq!(one(&mut b, &format!("SELECT pg_try_advisory_lock({n})")).await, "f");
    }
    assert_eq!(one(&mut a, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").await, "8");
    all(&mut a, &["SELECT pg_advisory_unlock_all()"]).await;
    assert_eq!(one(&mut b, "SELECT pg_try_advisory_lock(3)").await, "t");
    assert_eq!(one(&mut b, "SELECT pg_advisory_unlock(3)").await, "t");
    at_rest(&SHOP.admin().await).await;
}

#[tokio::test]
async fn a_temporary_table_is_its_clients_on_whatever_shard() {
    let _alone = ALONE.lock().await;
    for _ in 0..5 {
        let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
        all(
            &mut a,
            &[
                "CREATE TEMP TABLE mine (id int, note text)",
                "INSERT INTO mine SELECT id, text || '!' FROM label",
                "CREATE INDEX mine_id ON mine (id)",
                "UPDATE mine SET note = note || '?' WHERE id = 2",
                "ALTER TABLE mine ADD more int DEFAULT 5",
                "ANALYZE mine",
            ],
        )
        .await;
        let sql = "SELECT string_agg(note || text || more, ',' ORDER BY id) FROM mine JOIN label USING (id)";
        assert_eq!(one(&mut a, sql).await, "one!one5,two!?two5");
        assert_eq!(code(&ask(&mut b, "SELECT * FROM mine").await), "42P01");
        all(&mut a, &["BEGIN", "TRUNCATE mine", "ROLLBACK", "SELECT * FROM mine", "DROP TABLE mine"]).await;
        assert_eq!(code(&ask(&mut a, "SELECT * FROM mine").await), "42P01");
    }
    at_rest(&SHOP.admin().await).await;
}

#[tokio::test]
async fn a_temporary_table_stands_before_a_sharded_one_of_its_name() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
    let keys: Vec<i32> = (0..4).map(|shard| key_on(shard, 4)).collect();
    all(&mut a, &["CREATE TEMP TABLE item (user_id int, name text)"]).await;
    for key in &keys {
        all(&mut a, &[&format!("INSERT INTO item VALUES ({key}, 'temporary')")]).await;
        all(&mut b, &[&format!("INSERT INTO item VALUES ({key}, 'permanent')")]).await;
    }
    for key in &keys {
        let sql = format!("SELECT name FROM item WHERE user_id = {key}");
        assert_eq!(one(&mut a, &sql).await, "temporary");
        assert_eq!(one(&mut b, &sql).await, "permanent");
        assert_eq!(one(&mut a, &sql.replace("item", "public.item")).await, "permanent");
    }
    assert_eq!(one(&mut a, "SELECT count(*) FROM item").await, "4");
    all(&mut a, &["DELETE FROM item", "DROP TABLE item"]).await;
    assert_eq!(one(&mut b, "SELECT count(*) FROM item").await, "4");
    assert_eq!(one(&mut a, "SELECT count(*) FROM item").await, "4");
    for key in &keys {
        all(&mut b, &[&format!("DELETE FROM item WHERE user_id = {key}")]).await;
    }
}

#[tokio::test]
async fn one_text_that_makes_and_uses_a_temporary_table_means_that_one() {
    let _alone = ALONE.lock().await;
    let mut a = SHOP.raw("app").await;
    let reply = ask(
        &mut a,
        "CREATE TEMP TABLE item (user_id int); INSERT INTO item VALUES (1), (2); SELECT count(*) FROM item",
    )
    .await;
    assert_eq!(value(&reply), "2", "{reply:?}");
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM item"), ["0", "0", "0", "0"]);
    all(&mut a, &["DISCARD TEMP"]).await;
    all(
        &mut a,
        &["BEGIN", "CREATE TEMP TABLE item (user_id int) ON COMMIT DROP", "INSERT INTO item VALUES (1), (2)"],
    )
    .await;
    assert_eq!(one(&mut a, "SELECT count(*) FROM item").await, "2");
    all(&mut a, &["COMMIT"]).await;
    assert_eq!(one(&mut a, "SELECT count(*) FROM item").await, "0");
}

#[tokio::test]
async fn a_temporary_table_may_be_filled_from_one_shard() {
    let _alone = ALONE.lock().await;
    let mut a = SHOP.raw("app").await;
    for shard in 0..4 {
        let key = key_on(shard, 4);
        all(
            &mut a,
            &[
                &format!("INSERT INTO item VALUES ({key}, 'from {shard}')"),
                &format!("CREATE TEMP TABLE copy AS SELECT * FROM item WHERE user_id = {key}"),
            ],
        )
        .await;
        assert_eq!(one(&mut a, "SELECT name FROM copy").await, format!("from {shard}"));
        all(&mut a, &["DROP TABLE copy", &format!("DELETE FROM item WHERE user_id = {key}")]).await;
    }
    for sql in ["CREATE TEMP TABLE copy AS SELECT * FROM item", "CREATE TEMP VIEW copy AS SELECT * FROM item"]
    {
        assert_eq!(code(&ask(&mut a, sql).await), "0A000", "{sql}");
    }
    at_rest(&SHOP.admin().await).await;
}

#[tokio::test]
async fn a_temporary_table_meets_sharded_ones_as_on_one_server_or_not_at_all() {
    let _alone = ALONE.lock().await;
    let mut a = SHOP.raw("app").await;
    let keys: Vec<i32> = (0..4).map(|shard| key_on(shard, 4)).collect();
    all(&mut a, &["CREATE TEMP TABLE wanted (user_id int)"]).await;
    for key in &keys {
        all(
            &mut a,
            &[
                &format!("INSERT INTO item VALUES ({key}, 'x')"),
                &format!("INSERT INTO wanted VALUES ({key})"),
            ],
        )
        .await;
    }
    for _ in 0..3 {
        let reply = ask(&mut a, "SELECT count(*) FROM wanted JOIN item USING (user_id)").await;
        match reply.error() {
            None => assert_eq!(value(&reply), "4"),
            Some(_) => assert_eq!(code(&reply), "0A000", "{reply:?}"),
        }
    }
    assert_eq!(one(&mut a, "SELECT count(*) FROM wanted").await, "4");
    for key in &keys {
        all(&mut a, &[&format!("DELETE FROM item WHERE user_id = {key}")]).await;
    }
}

#[tokio::test]
async fn a_command_for_every_shard_does_not_take_a_temporary_table_for_a_permanent_one() {
    let _alone = ALONE.lock().await;
    let mut a = SHOP.raw("app").await;
    all(&mut a, &["CREATE TEMP TABLE label (id int)", "CREATE TEMP TABLE other (id int)"]).await;
    for sql in ["DROP TABLE label, item", "GRANT SELECT ON label TO public", "TRUNCATE other, item"] {
        assert_eq!(code(&ask(&mut a, sql).await), "0A000", "{sql}");
    }
    all(&mut a, &["TRUNCATE label, other", "DROP TABLE label, other"]).await;
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM label"), ["2", "2", "2", "2"]);
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM item"), ["0", "0", "0", "0"]);
}

/// Keys on every shard, in the table that clients shadow.
async fn fill(raw: &mut RawClient) {
    for shard in 0..4 {
        let insert = format!("INSERT INTO thing VALUES ({}, 'kept')", key_on(shard, 4));
        all(raw, &[&format!("/* shard: {shard} */ DELETE FROM thing"), &insert]).await;
    }
}

#[tokio::test]
async fn going_back_to_a_savepoint_takes_temporary_tables_along_or_brings_them_back() {
    let _alone = ALONE.lock().await;
    let mut raw = SHOP.raw("app").await;
    fill(&mut raw).await;
    all(&mut raw, &["BEGIN", "SAVEPOINT s", "CREATE TEMP TABLE thing (user_id int)", "ROLLBACK TO s"]).await;
    assert_eq!(one(&mut raw, "SELECT count(*) FROM thing").await, "4");
    all(&mut raw, &["ROLLBACK", "CREATE TEMP TABLE thing (user_id int)"]).await;
    all(&mut raw, &["BEGIN", "SAVEPOINT s", "DROP TABLE thing", "ROLLBACK TO s"]).await;
    assert_eq!(one(&mut raw, "SELECT count(*) FROM thing").await, "0");
    all(&mut raw, &["ROLLBACK", "DROP TABLE thing"]).await;
    assert_eq!(one(&mut raw, "SELECT count(*) FROM thing").await, "4");
    at_rest(&SHOP.admin().await).await;
}

#[tokio::test]
async fn what_stands_behind_a_drop_in_the_same_text_means_the_permanent_table() {
    let _alone = ALONE.lock().await;
    let mut raw = SHOP.raw("app").await;
    fill(&mut raw).await;
    for drop in ["DROP TABLE thing", "ALTER TABLE thing RENAME TO other"] {
        all(&mut raw, &["CREATE TEMP TABLE thing (user_id int)"]).await;
        let reply = ask(&mut raw, &format!("{drop}; SELECT count(*) FROM thing")).await;
        assert_eq!(reply.texts(), [[Some("4")]], "{drop}");
    }
    all(&mut raw, &["DROP TABLE other"]).await;
    at_rest(&SHOP.admin().await).await;
}

#[tokio::test]
async fn a_batch_that_changes_temporary_tables_does_not_read_behind_that() {
    let _alone = ALONE.lock().await;
    let mut raw = SHOP.raw("app").await;
    fill(&mut raw).await;
    for change in ["CREATE TEMP TABLE thing (user_id int)", "DROP TABLE thing"] {
        for sql in [change, "SELECT count(*) FROM thing"] {
            raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
        }
        assert_eq!(code(&raw.sync().recv_until_ready().await), "0A000", "{change}");
        all(&mut raw, &["DISCARD TEMP", "CREATE TEMP TABLE thing (user_id int)"]).await;
    }
    all(&mut raw, &["DROP TABLE thing"]).await;
    at_rest(&SHOP.admin().await).await;
}

#[tokio::test]
async fn a_temporary_view_is_not_replaced_by_one_that_reads_other_shards() {
    let _alone = ALONE.lock().await;
    let mut raw = SHOP.raw("app").await;
    fill(&mut raw).await;
    let key = key_on(1, 4);
    all(&mut raw, &[&format!("CREATE TEMP VIEW v AS SELECT * FROM thing WHERE user_id = {key}")]).await;
    assert_eq!(code(&ask(&mut raw, "CREATE OR REPLACE TEMP VIEW v AS SELECT * FROM thing").await), "0A000");
    all(&mut raw, &["DROP VIEW v"]).await;
    at_rest(&SHOP.admin().await).await;
}
