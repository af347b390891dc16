//! Servers that go away: idle, at work, in a transaction; and come back.

use std::sync::LazyLock;

use shardway_tests::{RawClient, World, eventually};
use tokio::sync::{Mutex, MutexGuard};

use super::words;
use crate::operation::support::{SCHEMA, at_rest, failure, key_on, lines, soon, try_lines, value};

const CONFIG: &str = "[pool]\nserver_login_retry = '1h'\n[routing]\nhealth_check_interval = '200ms'";

/// Two shards on two servers; the second one is killed again and again.
static WORLD: LazyLock<Mutex<World>> =
    LazyLock::new(|| Mutex::new(World::builder().shards(2).servers(2).schema(SCHEMA).config(CONFIG).start()));

/// A test's turn, with both servers up whatever became of the test before.
async fn world() -> MutexGuard<'static, World> {
    let world = WORLD.lock().await;
    comes_back(&world).await;
    world
}

fn on(shard: u32) -> String {
    format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(shard, 2))
}

/// The killed server is back, and so is its shard.
async fn comes_back(world: &World) {
    world.server(1).start().unwrap();
    let client = world.connect("app").await;
    soon("the shard to be back", async || try_lines(&client, &on(1)).await.ok()).await;
    at_rest(&world.admin().await).await;
}

async fn ready(world: &World) -> RawClient {
    let mut raw = world.raw("app").await;
    assert_eq!(raw.query(&on(1)).recv_until_ready().await.tags(), "TDCZ");
    raw
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error_of_its_shard_alone() {
    let world = world().await;
    let client = world.connect("app").await;
    assert_eq!(value(&client, &on(1)).await, "0");
    world.server(1).kill().unwrap();
    for _ in 0..3 {
        let (code, message) = failure(&client, &on(1)).await;
        assert!(["08001", "08006"].contains(&code.as_str()), "{code}: {message}");
        assert!(message.contains(&world.server(1).port().to_string()), "{message}");
        assert_eq!(value(&client, &on(0)).await, "0", "the other shard goes on");
    }
    assert_eq!(failure(&client, "SELECT name FROM t").await.0.get(..2), Some("08"), "no half of an answer");
    // In a transaction, the error fails it as any other does.
    lines(&client, "BEGIN").await;
    assert_eq!(failure(&client, &on(1)).await.0.get(..2), Some("08"));
    assert_eq!(failure(&client, &on(0)).await.0, "25P02");
    lines(&client, "ROLLBACK").await;
    assert_eq!(value(&world.connect("app").await, &on(0)).await, "0", "new clients are let in");
    comes_back(&world).await;
    assert_eq!(value(&client, &on(1)).await, "0", "the same client is served again");
}

#[tokio::test]
async fn a_server_killed_while_idle_is_noticed_before_it_is_used() {
    let world = world().await;
    let client = world.connect("app").await;
    assert_eq!(value(&client, &on(1)).await, "0");
    let terminated = world.shard(1).sql(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle' AND application_name <> 'shardway'",
    );
    assert_ne!(terminated, "0");
    assert_eq!(value(&client, &on(1)).await, "0");
    at_rest(&world.admin().await).await;
}

#[tokio::test]
async fn a_server_killed_in_a_transaction_fails_it() {
    let world = world().await;
    let mut raw = ready(&world).await;
    let key = key_on(1, 2);
    raw.query("BEGIN").recv_until_ready().await;
    raw.query(&format!("INSERT INTO t VALUES ({key}, 'lost')")).recv_until_ready().await;
    world.server(1).kill().unwrap();
    let reply = raw.query(&on(1)).recv_until_ready().await;
    assert_eq!(words(reply.error().unwrap()).0, "08006", "{reply:?}");
    assert_eq!(reply.status(), 'E');
    let commit = raw.query("COMMIT").recv_until_ready().await;
    assert_eq!((commit.commands(), commit.status()), (vec!["ROLLBACK".to_owned()], 'I'));
    assert_eq!(raw.query(&on(0)).recv_until_ready().await.tags(), "TDCZ");
    comes_back(&world).await;
    assert_eq!(value(&world.connect("app").await, &on(1)).await, "0");
}

#[tokio::test]
async fn a_server_killed_while_it_works_is_an_error_and_the_session_goes_on() {
    let world = world().await;
    let mut raw = ready(&world).await;
    raw.query("/* shard: 1 */ SELECT pg_sleep(603)").send().await;
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(603)' AND state = 'active'";
    eventually("it to sleep", || (world.shard(1).sql(asleep) == "1").then_some(()));
    world.server(1).kill().unwrap();
    let reply = raw.recv_until_ready().await;
    assert_eq!((words(reply.error().unwrap()).0.as_str(), reply.status()), ("08006", 'I'));
    assert_eq!(raw.query(&on(0)).recv_until_ready().await.tags(), "TDCZ");
    comes_back(&world).await;
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_result_never_makes_it_look_whole() {
    let world = world().await;
    let mut raw = ready(&world).await;
    raw.query("/* shard: 1 */ SELECT repeat('x', 1000), generate_series(1, 100000000)").send().await;
    raw.recv_until(b'D').await;
    world.server(1).kill().unwrap();
    let rest = raw.rest().await;
    assert!(!rest.tags().contains('C'), "no CommandComplete");
    if let Some(error) = rest.error() {
        assert_eq!(words(error).0, "08006");
    }
    comes_back(&world).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_go_ends_the_transaction_and_not_the_client() {
    let world = world().await;
    let mut raw = ready(&world).await;
    raw.query("BEGIN").recv_until_ready().await;
    raw.query(&on(1)).recv_until_ready().await;
    world.shard(1).sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle in transaction'",
    );
    let reply = raw.query(&on(1)).recv_until_ready().await;
    // A FATAL would tell the client that its own connection is over.
    assert_eq!((reply.tags().as_str(), reply.status()), ("EZ", 'E'), "{reply:?}");
    let error = reply.error().unwrap();
    assert_eq!((error.field('S').as_deref(), words(error).0.as_str()), (Some("ERROR"), "08006"));
    raw.query("ROLLBACK").recv_until_ready().await;
    assert_eq!(raw.query(&on(1)).recv_until_ready().await.tags(), "TDCZ");
    drop(raw);
    at_rest(&world.admin().await).await;
}

#[tokio::test]
async fn a_statement_whose_server_is_told_to_go_hears_why() {
    let world = world().await;
    let mut raw = ready(&world).await;
    raw.query("/* shard: 1 */ SELECT pg_sleep(605)").send().await;
    let terminated = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE '%sleep(605)' AND state = 'active'";
    eventually("it to be terminated", || (world.shard(1).sql(terminated) == "t").then_some(()));
    let reply = raw.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), reply.status()), ("TEZ", 'I'), "{reply:?}");
    let (code, message) = words(reply.error().unwrap());
    assert_eq!(code, "08006");
    assert!(message.ends_with("terminating connection due to administrator command"), "{message}");
    assert_eq!(raw.query(&on(1)).recv_until_ready().await.tags(), "TDCZ");
}
