//! What a new configuration may change while clients are at work, and what becomes of those whom it does without.

use shardway_tests::{Proxy, SharedWorld, World};
use tokio_postgres::NoTls;
use toml::Table;

use super::support::{
    SCHEMA, admin_of, at_rest, backends, code, failure, key_on, lines, reload, server_at, show, soon,
    try_lines, value,
};
use shardway_tests::toml;

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(2).servers(2).replicas(1).schema(SCHEMA).config(CONFIG).start()
});

const CONFIG: &str = "[routing]\nhealth_check_interval = '200ms'";

/// Tests that count connections must not run side by side.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A second database of the same servers.
fn with_annex(proxy: &Proxy) {
    proxy.edit(|config| {
        let databases = config["databases"].as_array_mut().unwrap();
        let mut annex = databases[0].clone();
        annex["name"] = "annex".into();
        databases.push(annex);
    });
}

fn without_annex(proxy: &Proxy) {
    proxy.edit(|config| drop(config["databases"].as_array_mut().unwrap().pop()));
}

#[tokio::test]
async fn a_new_database_is_there_and_a_removed_one_is_gone() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let missing = proxy.client_config("app").dbname("annex").connect(NoTls).await.err().unwrap();
    assert_eq!(code(&missing), "3D000");
    with_annex(&proxy);
    reload(&proxy).await;
    let (idle, busy) = (proxy.connect_to("app", "annex").await, proxy.connect_to("app", "annex").await);
    let key = key_on(1, 2);
    lines(&busy, &format!("BEGIN; INSERT INTO t VALUES ({key}, 'annex')")).await;
    lines(&idle, "SELECT name FROM t").await;

    without_annex(&proxy);
    reload(&proxy).await;
    // An idle client is told at once, a busy one after its transaction.
    soon("the idle client to be closed", async || idle.is_closed().then_some(())).await;
    lines(&busy, &format!("UPDATE t SET name = 'kept' WHERE user_id = {key}")).await;
    assert_eq!(
        value(&busy, &format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(0, 2))).await,
        "0",
        "another shard of it"
    );
    lines(&busy, "COMMIT").await;
    soon("the busy client to be closed", async || busy.is_closed().then_some(())).await;
    assert_eq!(WORLD.shard(1).sql(&format!("DELETE FROM t WHERE user_id = {key} RETURNING name")), "kept");
    let gone = proxy.client_config("app").dbname("annex").connect(NoTls).await.err().unwrap();
    assert_eq!(code(&gone), "3D000");
    assert!(show(&admin_of(&proxy).await, "POOLS").await.iter().all(|pool| pool["database"] != "annex"));
}

#[tokio::test]
async fn nothing_is_left_connected_to_servers_that_are_gone() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let count = |condition: &str| -> usize {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop_1' AND {condition}");
        WORLD.shard(1).sql(&sql).parse().unwrap()
    };
    let is_gone = |pid: &str| count(&format!("pid = {pid}")) == 0;
    let checks = || count("application_name = 'shardway'");
    const THERE: &str = "/* shard: 1 */ SELECT pg_backend_pid()";

    let (client, leaver, holder) =
        (proxy.connect("app").await, proxy.connect("app").await, proxy.connect("app").await);
    let server = value(&client, THERE).await;
    // Transactions that are open elsewhere keep the old configuration to their end.
    for client in [&leaver, &holder] {
        lines(client, &format!("BEGIN; SELECT * FROM t WHERE user_id = {}", key_on(0, 2))).await;
    }
    let checks_before = checks();
    proxy.edit(|config| {
        let group = &mut config["databases"][0]["groups"][0];
        group["shard_count"] = 1.into();
        group["shards"].as_array_mut().unwrap().pop();
    });
    reload(&proxy).await;
    soon("the idle server to be closed", async || is_gone(&server).then_some(())).await;
    soon("the health checks to end", async || (checks() < checks_before).then_some(())).await;
    let on_the_one = format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(1, 2));
    assert_eq!(value(&client, &on_the_one).await, "0", "the one shard that is left has every key");

    // Who is in a transaction still gets there, and leaves nothing behind.
    let server = value(&leaver, THERE).await;
    assert!(!is_gone(&server));
    lines(&leaver, "COMMIT").await;
    soon("that server to be closed as well", async || is_gone(&server).then_some(())).await;
    lines(&holder, "COMMIT").await;
}

#[tokio::test]
async fn a_removed_user_finishes_and_is_let_in_no_more() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let busy = proxy.connect("md5user").await;
    lines(&busy, &format!("BEGIN; SELECT * FROM t WHERE user_id = {}", key_on(0, 2))).await;
    remove_user(&proxy, "md5user");
    reload(&proxy).await;
    lines(&busy, "SELECT 1; COMMIT").await;
    let error = soon("an end", async || try_lines(&busy, "SELECT 1").await.err()).await;
    assert!(["57P01", "closed"].contains(&code(&error).as_str()), "{error:?}");
    let refused = proxy.client_config("md5user").connect(NoTls).await.err().unwrap();
    assert_eq!(code(&refused), "28P01");
    soon("its pools to be gone", async || {
        let pools = show(&admin_of(&proxy).await, "POOLS").await;
        let left = pools.iter().any(|pool| pool["user"] == "md5user");
        let connected = backends(&WORLD, 0, "usename = 'md5user'");
        (!left && connected == 0).then_some(())
    })
    .await;
}

fn remove_user(proxy: &Proxy, name: &str) {
    proxy.edit(|config: &mut Table| {
        config["users"].as_array_mut().unwrap().retain(|user| user["name"].as_str() != Some(name));
    });
}

#[tokio::test]
async fn a_larger_pool_serves_who_waits_and_a_smaller_one_gives_up_servers() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = admin_of(&proxy).await;
    let (holder, waiting) = (proxy.connect("app").await, proxy.connect("app").await);
    let sql = format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(0, 2));
    lines(&holder, &format!("BEGIN; {sql}")).await;
    let waits = tokio::spawn(async move { lines(&waiting, &format!("BEGIN; {}; COMMIT", sql)).await });
    soon("it to wait", async || (super::support::pooled(&admin, "cl_waiting").await == 1).then_some(()))
        .await;
    proxy.reconfigure("[pool]\ndefault_pool_size = 2");
    reload(&proxy).await;
    assert_eq!(waits.await.unwrap(), ["0"]);
    lines(&holder, "COMMIT").await;
    at_rest(&admin).await;
    let idle = async || {
        let at = format!("127.0.0.1:{}/shop_0", WORLD.server(0).port());
        server_at(&admin, &at).await["sv_idle"].parse::<usize>().unwrap()
    };
    assert_eq!(idle().await, 2);
    proxy.reconfigure("[pool]\ndefault_pool_size = 1");
    reload(&proxy).await;
    soon("the surplus to be closed", async || (idle().await == 1).then_some(())).await;
}

#[tokio::test]
async fn a_changed_replica_list_is_taken() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let client = proxy.connect("app").await;
    let port = async || {
        let sql = format!(
            "SELECT inet_server_port() FROM (SELECT count(*) FROM t WHERE user_id = {}) c",
            key_on(0, 2)
        );
        value(&client, &sql).await
    };
    let (primary, replica) = (WORLD.server(0).port().to_string(), WORLD.replica(0, 0).port().to_string());
    soon("reads on the replica", async || (port().await == replica).then_some(())).await;
    let set = |replicas: Vec<String>| {
        proxy.edit(|config| config["databases"][0]["groups"][0]["shards"][0]["replicas"] = replicas.into());
    };
    set(Vec::new());
    reload(&proxy).await;
    for _ in 0..5 {
        assert_eq!(port().await, primary);
    }
    set(vec![format!("postgres://127.0.0.1:{replica}/shop_{{shard}}")]);
    reload(&proxy).await;
    soon("reads on the replica again", async || (port().await == replica).then_some(())).await;
}

#[tokio::test]
async fn cache_rules_are_taken_and_given_up() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let client = proxy.connect("app").await;
    let hits = || proxy.metric("shardway_queries_total{tier=\"cached\"}");
    let read = format!("SELECT * FROM t WHERE user_id = {}", key_on(0, 2));
    let read_twice = async || {
        let before = hits();
        lines(&client, &read).await;
        lines(&client, &read).await;
        hits() - before
    };
    assert_eq!(read_twice().await, 0);
    proxy.reconfigure("[cache]\nenabled = true\n[[cache.rules]]\ntable = 't'");
    reload(&proxy).await;
    soon("a hit", async || (read_twice().await > 0).then_some(())).await;
    proxy.reconfigure("[cache]\nenabled = false");
    reload(&proxy).await;
    assert_eq!(read_twice().await, 0);
}

#[tokio::test]
async fn a_changed_password_counts_from_the_next_login() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy_with("[[users]]\nname = 'eve'\npassword = 'one'");
    super::support::log_all_in_as(&proxy, "app", shardway_tests::PASSWORD).await;
    let enter =
        async |password: &str| proxy.client_config("eve").password(password).connect(NoTls).await.map(drop);
    enter("one").await.unwrap();
    remove_user(&proxy, "eve");
    proxy.reconfigure("[[users]]\nname = 'eve'\npassword = 'two'");
    reload(&proxy).await;
    assert_eq!(code(&enter("one").await.unwrap_err()), "28P01");
    enter("two").await.unwrap();
    let client = proxy.connect("app").await;
    assert_eq!(failure(&client, "SELECT nonsense").await.0, "42703");
}

#[tokio::test]
async fn wait_close_waits_for_the_servers_that_a_reload_gave_up() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let busy = proxy.connect("app").await;
    lines(&busy, "BEGIN").await;
    assert_eq!(value(&busy, "/* shard: 0 */ SELECT 1").await, "1");
    assert!(lines(&admin, "WAIT_CLOSE").await.is_empty(), "nothing is to be closed yet");
    super::support::log_all_in_as(&proxy, "md5user", shardway_tests::PASSWORD).await;
    let waits = tokio::spawn(async move { lines(&admin, "WAIT_CLOSE shop").await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waits.is_finished(), "a server of before is still in use");
    lines(&busy, "COMMIT").await;
    waits.await.unwrap();
}
