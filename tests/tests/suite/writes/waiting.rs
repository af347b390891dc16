//! Statements that wait while somebody else changes the tables that they were planned with.

use shardway_tests::{RawClient, SharedWorld, World};

use super::ask;
use crate::operation::support::soon;

const SCHEMA: &str = "
CREATE TABLE turned (a int, user_id int);
CREATE TABLE poured (a int, user_id int);
";

static WAITING_WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(3).schema(SCHEMA).start());

/// The rows as they are found by their key.
async fn found(raw: &mut RawClient, table: &str, keys: [i32; 3]) -> Vec<String> {
    let mut rows = Vec::new();
    for key in keys {
        let sql = format!("SELECT user_id, a FROM {table} WHERE user_id = {key}");
        let reply = ask(raw, &sql).await;
        assert!(reply.error().is_none(), "{reply:?}");
        rows.extend(reply.texts().0.iter().map(|row| format!("{row:?}")));
    }
    rows
}

/// Has the first column of a table take the last place while `other` has a write under way.
async fn turn(table: &str, other: &mut RawClient) {
    let world = &*WAITING_WORLD;
    let mut raw = world.raw("app").await;
    for sql in [
        "BEGIN".to_owned(),
        format!("ALTER TABLE {table} DROP COLUMN a"),
        format!("ALTER TABLE {table} ADD COLUMN a int"),
    ] {
        let reply = ask(&mut raw, &sql).await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
    }
    other.send().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    soon("the write to wait", async || {
        let counted = world.server(0).sql("postgres", waiting).expect("the activity");
        (counted != "0").then_some(())
    })
    .await;
    let reply = ask(&mut raw, "COMMIT").await;
    assert!(reply.error().is_none(), "{reply:?}");
}

const RIGHT: [&str; 3] =
    [r#"[Some("1"), Some("3")]"#, r#"[Some("3"), Some("1")]"#, r#"[Some("7"), Some("5")]"#];

#[tokio::test]
async fn rows_that_waited_for_another_order_of_columns_are_where_their_keys_say() {
    let mut writer = WAITING_WORLD.raw("app").await;
    writer.query("INSERT INTO turned VALUES (3, 1), (1, 3), (5, 7)");
    turn("turned", &mut writer).await;
    let reply = writer.recv_until_ready().await;
    assert_eq!(reply.commands(), ["INSERT 0 3"], "{reply:?}");
    assert_eq!(found(&mut writer, "turned", [1, 3, 7]).await, RIGHT);

    writer.query("COPY poured FROM STDIN");
    turn("poured", &mut writer).await;
    writer.recv_until(b'G').await;
    let reply = writer.copy_data(b"3\t1\n1\t3\n5\t7\n").copy_done().recv_until_ready().await;
    assert_eq!(reply.commands(), ["COPY 3"], "{reply:?}");
    assert_eq!(found(&mut writer, "poured", [1, 3, 7]).await, RIGHT);
}
