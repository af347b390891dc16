//! A primary is lost, and a replica takes its place.

use shardway_tests::{Proxy, World, eventually};

use super::support::{SCHEMA, admin_of, code, failure, key_on, lines, server_at, soon, try_lines, value};

const CONFIG: &str = "[pool]\nserver_login_retry = '200ms'\n[routing]\nhealth_check_interval = '200ms'";

async fn role_of(proxy: &Proxy, port: u16) -> String {
    let at = format!("127.0.0.1:{port}/shop_0");
    server_at(&admin_of(proxy).await, &at).await.remove("role").unwrap()
}

#[tokio::test]
async fn writes_follow_the_promoted_replica_and_stay_there() {
    let world = World::builder().replicas(1).schema(SCHEMA).config(CONFIG).start();
    let client = world.connect("app").await;
    let key = key_on(0, 1);
    lines(&client, &format!("INSERT INTO t VALUES ({key}, 'before')")).await;
    world.wait_for_replicas();
    world.server(0).kill().unwrap();

    // Nobody takes writes: they fail, and none reaches the server in recovery.
    let update = format!("UPDATE t SET name = 'after' WHERE user_id = {key} RETURNING inet_server_port()");
    for _ in 0..5 {
        let (state, message) = failure(&client, &update).await;
        assert!(["08001", "08006", "57P03"].contains(&state.as_str()), "{state}: {message}");
    }
    let in_recovery = world.replica(0, 0).log().unwrap().contains("in a read-only transaction");
    assert!(!in_recovery, "a write was sent to a server in recovery");
    // Reads go on.
    let read = format!("SELECT name FROM t WHERE user_id = {key}");
    assert_eq!(value(&world.connect("app").await, &read).await, "before");

    world.replica(0, 0).promote().unwrap();
    let promoted = world.replica(0, 0).port();
    let written = soon("writes to be taken again", async || try_lines(&client, &update).await.ok()).await;
    assert_eq!(written, [promoted.to_string()]);
    assert_eq!(value(&client, &read).await, "after");

    // A reload, and a new proxy, know it as well.
    let proxy = world.proxy();
    proxy.reconfigure("[pool]\ndefault_pool_size = 7");
    super::support::reload(proxy).await;
    for _ in 0..10 {
        assert_eq!(value(&client, &update).await, promoted.to_string());
    }

    // The old one comes back and thinks that it is a primary still: it is passed by.
    world.server(0).start().unwrap();
    let old = world.server(0).port();
    soon("the old one to be seen", async || (role_of(proxy, old).await == "primary").then_some(())).await;
    eventually("the proxy to have looked once more", || {
        proxy.http_get("/health/storage").1.contains("\"healthy\":true").then_some(())
    });
    for _ in 0..10 {
        assert_eq!(value(&client, &update).await, promoted.to_string());
        assert_eq!(
            value(&client, &format!("SELECT inet_server_port() FROM t WHERE user_id = {key}")).await,
            promoted.to_string()
        );
    }
}

#[tokio::test]
async fn a_configured_primary_that_is_in_recovery_gets_no_write() {
    let world = World::builder().replicas(1).schema(SCHEMA).config(CONFIG).start();
    let proxy = world.another_proxy();
    // The two have changed places, and the file does not say so.
    let swap = |one: u16, other: u16| {
        proxy.edit(|config| {
            let shard = &mut config["databases"][0]["groups"][0]["shards"][0];
            shard["primary"] = format!("postgres://127.0.0.1:{one}/shop_{{shard}}").into();
            shard["replicas"] = vec![format!("postgres://127.0.0.1:{other}/shop_{{shard}}")].into();
        });
    };
    let (primary, standby) = (world.server(0).port(), world.replica(0, 0).port());
    swap(standby, primary);
    proxy.kill();
    proxy.start();
    let client = proxy.connect("app").await;
    let key = key_on(0, 1);
    let insert = format!(
        "INSERT INTO t VALUES ({key}, 'x') ON CONFLICT (user_id) DO UPDATE SET name = 'y' RETURNING inet_server_port()"
    );
    assert_eq!(
        soon("the write", async || try_lines(&client, &insert).await.ok()).await,
        [primary.to_string()]
    );

    // Without a primary among them, a write is refused before it is sent.
    proxy.edit(|config| {
        let shard = &mut config["databases"][0]["groups"][0]["shards"][0];
        shard["replicas"] = Vec::<String>::new().into();
    });
    super::support::reload(&proxy).await;
    let client = proxy.connect("app").await;
    let error = soon("a refusal", async || try_lines(&client, &insert).await.err()).await;
    assert_eq!(code(&error), "57P03");
    assert!(!world.replica(0, 0).log().unwrap().contains("in a read-only transaction"));
}
