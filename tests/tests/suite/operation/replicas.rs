//! Reads on replicas, and never an old answer to who has written.

use shardway_tests::{SharedWorld, World};
use tokio_postgres::Client;

use super::support::{SCHEMA, key_on, keys_on, lines, server_at, soon, value};

const CONFIG: &str = "[routing]\nhealth_check_interval = '200ms'\nreplica_max_lag = '1h'";

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(2).servers(2).replicas(1).schema(SCHEMA).config(CONFIG).start()
});

/// Tests that pause, kill or count on the replica of server 0 do not run side by side.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn primary() -> String {
    WORLD.server(0).port().to_string()
}

fn replica() -> String {
    WORLD.replica(0, 0).port().to_string()
}

/// The port of the server that answers a read on shard 0.
async fn port(client: &Client) -> String {
    let sql =
        format!("SELECT inet_server_port() FROM (SELECT count(*) FROM t WHERE user_id = {}) c", key_on(0, 2));
    value(client, &sql).await
}

/// Waits until a read on shard 0 is answered there.
async fn reads_go_to(client: &Client, expected: &str) {
    soon(&format!("reads to go to {expected}"), async || (port(client).await == expected).then_some(()))
        .await;
}

#[tokio::test]
async fn plain_reads_go_to_the_replica_and_all_else_to_the_primary() {
    let _alone = ALONE.lock().await;
    let client = WORLD.connect("app").await;
    reads_go_to(&client, &replica()).await;
    let key = keys_on(0, 2).nth(10).unwrap();
    let of = format!("FROM t WHERE user_id = {}", key_on(0, 2));
    lines(&client, "BEGIN").await;
    assert_eq!(port(&client).await, primary(), "in a transaction");
    lines(&client, "COMMIT").await;
    let written = format!("INSERT INTO t VALUES ({key}, 'x') RETURNING inet_server_port()");
    assert_eq!(value(&client, &written).await, primary());
    let locked = format!("SELECT inet_server_port() FROM t WHERE user_id = {key} FOR UPDATE");
    assert_eq!(value(&client, &locked).await, primary());
    // Another session, which has written nothing.
    let other = WORLD.connect("app").await;
    assert_eq!(port(&other).await, replica());
    for volatile in ["random() >= 0", "clock_timestamp() > '2000-01-01'", "txid_current() > 0"] {
        let sql = format!("SELECT inet_server_port() FROM (SELECT count(*) {of}) c WHERE {volatile}");
        assert_eq!(value(&other, &sql).await, primary(), "{volatile}");
    }
}

#[tokio::test]
async fn who_wrote_reads_it_though_the_replica_lags() {
    let _alone = ALONE.lock().await;
    let (writer, other) = (WORLD.connect("app").await, WORLD.connect("app").await);
    let key = keys_on(0, 2).nth(20).unwrap();
    let read = format!("SELECT name FROM t WHERE user_id = {key}");
    lines(&writer, &format!("INSERT INTO t VALUES ({key}, 'old')")).await;
    WORLD.wait_for_replicas();
    reads_go_to(&writer, &replica()).await;
    WORLD.replica(0, 0).pause_replay().unwrap();
    for round in 0..20 {
        lines(&writer, &format!("UPDATE t SET name = 'new {round}' WHERE user_id = {key}")).await;
        assert_eq!(value(&writer, &read).await, format!("new {round}"), "its own write");
    }
    assert_eq!(value(&other, &read).await, "old", "others may be served by the replica");
    // Polls go by; the writer's barrier becomes exact, and still holds.
    let before = lsn_of_primary().await;
    WORLD.shard(0).sql("SELECT pg_logical_emit_message(false, 'x', 'y'); SELECT pg_switch_wal()");
    soon("a poll", async || (lsn_of_primary().await != before).then_some(())).await;
    assert_eq!(value(&writer, &read).await, "new 19");
    assert_eq!(port(&writer).await, primary());

    // A reload does not make it forget what it wrote.
    WORLD.proxy().reconfigure("[pool]\nserver_idle_timeout = '9m'");
    super::support::reload(WORLD.proxy()).await;
    for _ in 0..10 {
        assert_eq!(value(&writer, &read).await, "new 19");
    }
    WORLD.replica(0, 0).resume_replay().unwrap();
    reads_go_to(&writer, &replica()).await;
    assert_eq!(value(&writer, &read).await, "new 19");
}

async fn lsn_of_primary() -> String {
    let at = format!("127.0.0.1:{}/shop_0", primary());
    server_at(&WORLD.admin().await, &at).await.remove("lsn").unwrap()
}

#[tokio::test]
async fn every_commit_is_read_back_by_who_made_it() {
    let client = WORLD.connect("app").await;
    let key = keys_on(1, 2).nth(30).unwrap();
    lines(&client, &format!("INSERT INTO t VALUES ({key}, '-1')")).await;
    for round in 0..200 {
        match round % 3 {
            0 => lines(&client, &format!("UPDATE t SET name = '{round}' WHERE user_id = {key}")).await,
            1 => {
                lines(&client, &format!("BEGIN; UPDATE t SET name = '{round}' WHERE user_id = {key}; COMMIT"))
                    .await
            }
            _ => {
                lines(&client, "BEGIN").await;
                lines(&client, &format!("UPDATE t SET name = '{round}' WHERE user_id = {key}")).await;
                lines(&client, "COMMIT").await
            }
        };
        let read = client.query_one("SELECT name FROM t WHERE user_id = $1", &[&key]).await.unwrap();
        assert_eq!(read.get::<_, String>(0), round.to_string());
    }
}

#[tokio::test]
async fn a_replica_that_lags_too_far_is_not_used() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy_with("[routing]\nreplica_max_lag = '400ms'");
    let client = proxy.connect("app").await;
    reads_go_to(&client, &replica()).await;
    WORLD.replica(0, 0).pause_replay().unwrap();
    WORLD.shard(0).sql(&format!("INSERT INTO t VALUES ({}, 'x')", keys_on(0, 2).nth(40).unwrap()));
    reads_go_to(&client, &primary()).await;
    WORLD.replica(0, 0).resume_replay().unwrap();
    reads_go_to(&client, &replica()).await;
}

#[tokio::test]
async fn a_dead_replica_is_passed_over_without_an_error_and_comes_back() {
    let _alone = ALONE.lock().await;
    // Health checks come too late to help.
    let proxy = WORLD.another_proxy_with("[routing]\nhealth_check_interval = '1s'");
    let client = proxy.connect("app").await;
    reads_go_to(&client, &replica()).await;
    WORLD.replica(0, 0).kill().unwrap();
    for _ in 0..20 {
        assert_eq!(port(&client).await, primary());
    }
    WORLD.replica(0, 0).start().unwrap();
    reads_go_to(&client, &replica()).await;
}
