//! Statement mode: every statement commits by itself, and a transaction block ends the connection.

use shardway_tests::{Reply, SharedWorld, World};

use crate::operation::support::at_rest;
use crate::protocol::{ask, code, value};

const SCHEMA: &str = "CREATE TABLE item (user_id int PRIMARY KEY, name text)";

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder().schema(SCHEMA).config("[pool]\nmode = 'statement'\ndefault_pool_size = 2").start()
});

fn is_refusal(reply: &Reply) -> bool {
    let field = |code| reply.error().and_then(|error| error.field(code)).unwrap_or_default();
    let message = "transaction blocks not allowed in statement pooling mode";
    (field('S').as_str(), field('C').as_str(), field('M').as_str()) == ("FATAL", "08P01", message)
}

#[tokio::test]
async fn a_transaction_block_ends_the_connection() {
    for sql in ["BEGIN", "begin isolation level serializable", "START TRANSACTION", "BEGIN; SELECT 1"] {
        let mut raw = WORLD.raw("app").await;
        let reply = raw.query(sql).expect_closed().await;
        assert!(is_refusal(&reply), "{sql}: {reply:?}");
    }
    let mut raw = WORLD.raw("app").await;
    raw.parse("", "BEGIN", &[]).bind("", "", &[], &[]).execute("", 0);
    let reply = raw.sync().expect_closed().await;
    assert!(is_refusal(&reply), "{reply:?}");
}

#[tokio::test]
async fn a_block_within_one_text_is_over_with_it() {
    let mut raw = WORLD.raw("app").await;
    let sql = "BEGIN; INSERT INTO item VALUES (1, 'a'); INSERT INTO item VALUES (2, 'b'); COMMIT";
    assert_eq!(ask(&mut raw, sql).await.commands(), ["BEGIN", "INSERT 0 1", "INSERT 0 1", "COMMIT"]);
    let reply = ask(&mut raw, "INSERT INTO item VALUES (3, 'c'); INSERT INTO item VALUES (1, 'd')").await;
    assert_eq!(code(&reply), "23505");
    assert_eq!(value(&ask(&mut raw, "SELECT count(*) FROM item").await), "2", "a text is one transaction");
}

#[tokio::test]
async fn statements_settings_and_what_is_prepared_work_as_ever() {
    let mut raw = WORLD.raw("app").await;
    for sql in ["SET work_mem = '5MB'", "PREPARE p AS SELECT 5", "CREATE TEMP TABLE x AS SELECT 6 AS a"] {
        assert_eq!(code(&ask(&mut raw, sql).await), "", "{sql}");
    }
    assert_eq!(value(&ask(&mut raw, "SHOW work_mem").await), "5MB");
    assert_eq!(value(&ask(&mut raw, "EXECUTE p").await), "5");
    assert_eq!(value(&ask(&mut raw, "SELECT a FROM x").await), "6");
    assert_eq!(code(&ask(&mut raw, "COMMIT").await), "");
    assert_eq!(code(&ask(&mut raw, "DROP TABLE x").await), "");
    at_rest(&WORLD.admin().await).await;
}
