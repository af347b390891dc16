//! SIGHUP and RELOAD: all of the new file, or nothing of it.

use shardway_tests::{SharedWorld, World, eventually};
use tokio_postgres::NoTls;

use super::support::{
    SCHEMA, admin_of, code, failure, key_on, lines, pool_size, reload, said, show, soon, try_reload, value,
};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

#[tokio::test]
async fn sighup_takes_the_file_and_logs_what_changed() {
    let proxy = WORLD.another_proxy();
    proxy.reconfigure("[pool]\ndefault_pool_size = 3\n[[users]]\nname = 'newcomer'\npassword = 'hush-hush'");
    proxy.sighup();
    let line = proxy.wait_for_log("default_pool_size");
    assert!(line.contains("20") && line.contains('3'), "{line}");
    proxy.wait_for_log("newcomer");
    soon("the new user", async || {
        let error = proxy.client_config("newcomer").password("hush-hush").connect(NoTls).await.err()?;
        // Known here; the servers do not know it.
        said(&error).1.contains("refused login").then_some(())
    })
    .await;
    assert!(!proxy.log().contains("hush-hush"), "a secret was logged:\n{}", proxy.log());
    let app = proxy.connect("app").await;
    lines(&app, "SELECT 1").await;
    assert_eq!(pool_size(&admin_of(&proxy).await).await, "3");
    proxy.sighup();
    proxy.wait_for_log("nothing has changed");
}

#[tokio::test]
async fn an_invalid_file_is_refused_whole_and_says_where() {
    let proxy = WORLD.another_proxy();
    let client = proxy.connect("app").await;
    let text =
        "[server]\nadmin_users = ['admin', 'eve']\n[pool]\ndefault_pool_size = 'many'\nquery_timeuot = 1\n";
    proxy.garble(text);
    let (state, message) = try_reload(&proxy).await.unwrap_err();
    assert_eq!(state, "F0000");
    let file = proxy.config_path();
    for (place, word) in [("4:21", "whole number"), ("5:1", "query_timeuot")] {
        let place = format!("{}:{place}: ", file.display());
        assert!(message.contains(&place) && message.contains(word), "{place} in {message}");
    }
    proxy.sighup();
    let kept = proxy.wait_for_log("the old configuration is kept");
    assert!(proxy.log().contains(&format!("{}:4:21: ", file.display())), "{kept}");
    assert_eq!(value(&client, "SELECT 1").await, "1");
    assert_eq!(value(&proxy.connect("app").await, "SELECT 1").await, "1");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(try_reload(&proxy).await.unwrap_err().0, "F0000");
    proxy.garble("[server]\nauth = 'hba'\nhba_file = '/dev/null'\n");
    assert_eq!(try_reload(&proxy).await.unwrap_err().0, "F0000", "what must not be ignored is not");
    assert_eq!(value(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn only_admins_reload_and_only_watchers_look() {
    let proxy = WORLD.another_proxy();
    let watcher = proxy.connect_to("stats", "shardway").await;
    assert_eq!(failure(&watcher, "RELOAD").await, ("42501".into(), "admin access needed".into()));
    assert!(!show(&watcher, "DATABASES").await.is_empty());
    for what in ["HELP", "VERSION", "DATABASES", "POOLS", "SERVERS", "REPLICAS", "SHARDS", "TABLES"] {
        lines(&watcher, &format!("SHOW {what}")).await;
    }
    let stranger = proxy.client_config("app").dbname("shardway").connect(NoTls).await.err().unwrap();
    assert_eq!(code(&stranger), "42501");
    let admin = admin_of(&proxy).await;
    assert_eq!(lines(&admin, "reload;").await, Vec::<String>::new());
    assert_eq!(failure(&admin, "SHOW NONSENSE").await.0, "42601");
    assert_eq!(failure(&admin, "DROP TABLE t").await.0, "42601");
    assert_eq!(value(&admin, "SHOW VERSION").await, format!("Shardway {}", env!("CARGO_PKG_VERSION")));

    // Whoever is made an admin, or is one no more, need not come again.
    proxy.reconfigure("[server]\nadmin_users = ['stats']\nstats_users = []");
    lines(&admin, "RELOAD").await;
    lines(&watcher, "RELOAD").await;
    assert_eq!(failure(&admin, "RELOAD").await.0, "42501");
    assert_eq!(failure(&admin, "SHOW POOLS").await.0, "42501");
}

#[tokio::test]
async fn an_open_transaction_is_not_disturbed() {
    let proxy = WORLD.another_proxy();
    let client = proxy.connect("app").await;
    let key = key_on(0, 2);
    let statement = client.prepare("SELECT name FROM t WHERE user_id = $1").await.unwrap();
    lines(&client, &format!("BEGIN; INSERT INTO t VALUES ({key}, 'x')")).await;
    let server = value(&client, "SELECT pg_backend_pid()").await;
    proxy.reconfigure("[pool]\ndefault_pool_size = 4\nserver_lifetime = '30m'");
    reload(&proxy).await;
    assert_eq!(value(&client, "SELECT pg_backend_pid()").await, server);
    assert_eq!(client.query_one(&statement, &[&key]).await.unwrap().get::<_, String>(0), "x");
    lines(&client, "COMMIT").await;
    assert_eq!(
        client.query_one(&statement, &[&key]).await.unwrap().get::<_, String>(0),
        "x",
        "prepared statements survive"
    );
    assert_eq!(WORLD.shard(0).sql(&format!("SELECT name FROM t WHERE user_id = {key}")), "x");
    lines(&client, &format!("DELETE FROM t WHERE user_id = {key}")).await;
}

#[tokio::test]
async fn many_reloads_at_once_are_taken_one_after_the_other() {
    let proxy = WORLD.another_proxy();
    let client = proxy.connect("app").await;
    let admins = [admin_of(&proxy).await, admin_of(&proxy).await, admin_of(&proxy).await];
    for size in 1..=5 {
        proxy.reconfigure(&format!("[pool]\ndefault_pool_size = {size}"));
        proxy.sighup();
        let [first, second, third] = &admins;
        tokio::join!(
            lines(first, "RELOAD"),
            lines(second, "RELOAD"),
            lines(third, "RELOAD"),
            lines(&client, "SELECT 1")
        );
        assert_eq!(pool_size(first).await, size.to_string());
    }
    eventually("the log to name them all", || {
        (1..=5).all(|n| proxy.log().contains(&format!(" {n}"))).then_some(())
    });
}
