//! Many clients, few servers.

use shardway_tests::{SharedWorld, World};
use tokio::task::JoinSet;

use super::support::{
    SCHEMA, admin_of, at_rest, backends, failure, lines, log_all_in_as, pool_size, pooled, soon, value,
};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// Connections of one proxy's clients, told from other proxies' by the address that they come from: its process.
fn connections() -> usize {
    backends(&WORLD, 0, "datname = 'shop_0'")
}

/// Tests that count connections must not run side by side.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits until no other test's connection is left.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    let alone = ALONE.lock().await;
    soon("a server to itself", async || (connections() == 0).then_some(())).await;
    alone
}

#[tokio::test]
async fn fifty_clients_share_two_servers() {
    let _alone = alone().await;
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 2");
    let admin = admin_of(&proxy).await;
    let mut clients = JoinSet::new();
    for number in 0..50 {
        let client = proxy.connect("app").await;
        clients.spawn(async move {
            let mut servers = Vec::new();
            for _ in 0..4 {
                let answer = value(
                    &client,
                    &format!("SELECT pg_backend_pid() FROM pg_sleep(0.005) WHERE {number} >= 0"),
                )
                .await;
                servers.push(answer);
            }
            servers
        });
    }
    let mut most = 0;
    while !clients.is_empty() {
        most = most.max(connections());
        if let Ok(Some(done)) =
            tokio::time::timeout(std::time::Duration::from_millis(20), clients.join_next()).await
        {
            assert_eq!(done.unwrap().len(), 4);
        }
    }
    assert!((1..=2).contains(&most), "{most} connections");
    assert_eq!(connections(), 2);
    assert_eq!(pool_size(&admin).await, "2");
    at_rest(&admin).await;
}

#[tokio::test]
async fn who_waits_first_is_served_first() {
    let _alone = alone().await;
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = admin_of(&proxy).await;
    let holder = proxy.connect("app").await;
    lines(&holder, "BEGIN; SELECT 1").await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..10 {
        let client = proxy.client_config("app");
        let (client, connection) =
            client.connect(tokio_postgres::NoTls).await.unwrap_or_else(|e| panic!("{e:?}"));
        tokio::spawn(connection);
        let served = served.clone();
        tokio::spawn(async move {
            lines(&client, "SELECT 1").await;
            served.send(number).unwrap();
        });
        soon("it to wait", async || (pooled(&admin, "cl_waiting").await == number + 1).then_some(())).await;
    }
    lines(&holder, "COMMIT").await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(order.recv().await.unwrap());
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
    at_rest(&admin).await;
}

#[tokio::test]
async fn idle_servers_are_closed_after_a_while() {
    let _alone = alone().await;
    let proxy = WORLD.another_proxy_with("[pool]\nserver_idle_timeout = '1s'");
    let client = proxy.connect("app").await;
    lines(&client, "BEGIN; SELECT 1").await;
    assert_eq!(connections(), 1);
    lines(&client, "COMMIT").await;
    soon("it to be closed", async || (connections() == 0).then_some(())).await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn min_pool_size_is_kept_however_idle() {
    let _alone = alone().await;
    let proxy = WORLD.another_proxy_with("[pool]\nserver_idle_timeout = '1s'\nmin_pool_size = 1");
    let (first, second) = (proxy.connect("app").await, proxy.connect("app").await);
    for client in [&first, &second] {
        lines(client, "BEGIN; SELECT 1").await;
    }
    assert_eq!(connections(), 2);
    for client in [&first, &second] {
        lines(client, "COMMIT").await;
    }
    soon("one to be closed", async || (connections() == 1).then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    assert_eq!(connections(), 1, "two more rounds of the sweep, and the last one stays");
}

#[tokio::test]
async fn old_servers_are_replaced() {
    let _alone = alone().await;
    let proxy = WORLD.another_proxy_with("[pool]\nserver_lifetime = '1s'");
    let client = proxy.connect("app").await;
    let first = value(&client, "SELECT pg_backend_pid()").await;
    soon("another server", async || (value(&client, "SELECT pg_backend_pid()").await != first).then_some(()))
        .await;
    lines(&client, "BEGIN").await;
    let held = value(&client, "SELECT pg_backend_pid() FROM pg_sleep(1.2)").await;
    assert_eq!(value(&client, "SELECT pg_backend_pid()").await, held, "not within a transaction");
    lines(&client, "COMMIT").await;
}

#[tokio::test]
async fn a_failed_login_is_not_tried_again_for_every_client() {
    let _alone = alone().await;
    let proxy = WORLD.another_proxy_with("[pool]\nserver_login_retry = '1h'");
    let client = proxy.connect("app").await;
    log_all_in_as(&proxy, "app", "not the password").await;
    let refusals =
        || WORLD.server(0).log().unwrap().matches("password authentication failed for user \"app\"").count();
    // The pool's own server is still good for it.
    let servers = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'app' AND application_name <> 'shardway'";
    WORLD.shard(0).sql(servers);
    assert_eq!(failure(&client, "SELECT 1").await.0, "28P01");
    let of_pool = refusals();
    for _ in 0..20 {
        assert_eq!(failure(&client, "SELECT 1").await.0, "28P01");
    }
    // Only the health check's own may have been added.
    assert!(refusals() - of_pool <= 3, "{} more", refusals() - of_pool);
    log_all_in_as(&proxy, "app", shardway_tests::PASSWORD).await;
    assert_eq!(value(&client, "SELECT 1").await, "1", "a new password is tried at once");
}
