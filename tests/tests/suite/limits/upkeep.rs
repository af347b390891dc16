//! What is done to pools from time to time, and what a new server is told.

use std::time::Duration;

use super::{ONE, alone, connections, holder, proxy, terminate};
use crate::operation::support::{lines, log_all_in_as, reload, soon, value};

#[tokio::test]
async fn min_pool_size_is_kept_up_while_a_client_of_the_user_is_connected() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmin_pool_size = 3");
    let client = proxy.connect("app").await;
    lines(&client, ONE).await;
    soon("three servers", async || (connections() == 3).then_some(())).await;
    terminate();
    soon("three servers again", async || (connections() == 3).then_some(())).await;
    drop(client);
    soon("it to be gone", async || {
        let clients =
            crate::operation::support::show(&proxy.connect_to("admin", "shardway").await, "CLIENTS").await;
        clients.iter().all(|client| client["database"] != "shop").then_some(())
    })
    .await;
    terminate();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(connections(), 0, "two more rounds, and nobody is there whom they would be for");
}

#[tokio::test]
async fn min_pool_size_needs_no_client_where_one_user_logs_in_for_all() {
    let _alone = alone().await;
    let proxy = proxy("[databases]\nuser = 'app'\npassword = 'secret'\nmin_pool_size = 2");
    soon("two servers", async || (connections() == 2).then_some(())).await;
    proxy.reconfigure("[databases]\nmin_pool_size = 3");
    reload(&proxy).await;
    soon("three servers", async || (connections() == 3).then_some(())).await;
}

#[tokio::test]
async fn min_pool_size_stops_at_the_pools_size_and_at_what_pools_share() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmin_pool_size = 9\ndefault_pool_size = 3\nmax_db_connections = 2");
    let _client = holder(&proxy, "app").await;
    soon("two servers", async || (connections() == 2).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(connections(), 2);
}

#[tokio::test]
async fn servers_that_were_opened_together_are_not_closed_together() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 4\nserver_lifetime = '4s'");
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(holder(&proxy, "app").await);
    }
    for client in &clients {
        lines(client, "COMMIT").await;
    }
    let mut left = connections();
    assert_eq!(left, 4);
    soon("all to be closed", async || {
        let now = connections();
        assert!(left - now <= 1, "{} at once", left - now);
        left = now;
        (now == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_databases_server_lifetime_counts_before_the_default() {
    let _alone = alone().await;
    let proxy = proxy("[databases]\nserver_lifetime = '1s'");
    let client = proxy.connect("app").await;
    lines(&client, ONE).await;
    soon("it to be closed", async || (connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn each_server_runs_connect_query_before_a_client_gets_it() {
    let _alone = alone().await;
    let proxy = proxy("[databases]\nconnect_query = \"SELECT set_config('app.greeting', 'hello', false)\"");
    let (first, second) = (holder(&proxy, "app").await, holder(&proxy, "app").await);
    for client in [first, second] {
        assert_eq!(value(&client, "/* shard: 0 */ SELECT current_setting('app.greeting')").await, "hello");
    }
}

#[tokio::test]
async fn what_connect_query_set_is_found_by_the_next_client_too() {
    let _alone = alone().await;
    let proxy =
        proxy("[pool]\ndefault_pool_size = 1\n[databases]\nconnect_query = \"SET statement_timeout = '9s'\"");
    let shown = "/* shard: 0 */ SHOW statement_timeout";
    let (first, second) = (proxy.connect("app").await, proxy.connect("app").await);
    assert_eq!(value(&first, shown).await, "9s");
    lines(&first, "SET statement_timeout = '8s'").await;
    assert_eq!(value(&first, shown).await, "8s");
    assert_eq!(value(&second, shown).await, "9s");
    assert_eq!(value(&first, shown).await, "8s");
    lines(&first, "RESET statement_timeout").await;
    assert_eq!(value(&first, shown).await, "9s");
}

#[tokio::test]
async fn connect_query_runs_again_after_server_reset_query() {
    let _alone = alone().await;
    let proxy = proxy(
        "[pool]\nmode = 'session'\ndefault_pool_size = 1\n[databases]\nconnect_query = \"SET statement_timeout = '9s'\"",
    );
    let shown = "/* shard: 0 */ SHOW statement_timeout";
    for _ in 0..2 {
        assert_eq!(value(&proxy.connect("app").await, shown).await, "9s");
    }
}

#[tokio::test]
async fn a_connect_query_that_fails_is_logged_and_no_more() {
    let _alone = alone().await;
    let proxy = proxy("[databases]\nconnect_query = 'SELECT 1/0'");
    assert_eq!(value(&proxy.connect("app").await, ONE).await, "1");
    proxy.wait_for_log("connect_query failed: 22012: division by zero");
}

#[tokio::test]
async fn a_connect_query_that_leaves_a_transaction_open_lets_nobody_in() {
    let _alone = alone().await;
    let proxy = proxy("");
    let client = proxy.connect("app").await;
    log_all_in_as(&proxy, "app", shardway_tests::PASSWORD).await;
    proxy.reconfigure("[databases]\nconnect_query = 'BEGIN'");
    reload(&proxy).await;
    terminate();
    let (code, message) = crate::operation::support::failure(&client, ONE).await;
    assert_eq!(code, "08001", "{message}");
    assert!(message.contains("connect_query left a transaction open"), "{message}");
}
