//! How many servers a pool has.

use std::time::{Duration, Instant};

use super::{ONE, alone, ask, clients, connections, connections_of, holder, of_user, proxy, together};
use crate::operation::support::{admin_of, at_rest, lines, pooled, reload, soon, value};

#[tokio::test]
async fn a_users_pool_size_counts_before_the_databases_and_that_before_the_default() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 5\n[databases]\npool_size = 2");
    of_user(&proxy, "md5user", "pool_size", 1);
    reload(&proxy).await;
    let admin = admin_of(&proxy).await;
    let (_first, _second) = (holder(&proxy, "app").await, holder(&proxy, "app").await);
    let _third = holder(&proxy, "md5user").await;
    for user in ["app", "md5user"] {
        ask(proxy.connect(user).await, ONE);
    }
    soon("both to wait", async || (pooled(&admin, "cl_waiting").await == 2).then_some(())).await;
    assert_eq!((connections_of("app"), connections_of("md5user")), (2, 1));
}

#[tokio::test]
async fn clients_that_find_the_pool_empty_get_servers_at_the_same_time() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 30\nserver_idle_timeout = '1s'");
    let clients = clients(&proxy, "app", 30).await;
    soon("an empty pool", async || (connections() == 0).then_some(())).await;
    // Nobody gives a server back before all have one.
    let began = Instant::now();
    let _held = together(clients, "BEGIN; /* shard: 0 */ SELECT 1").await;
    assert_eq!(connections(), 30);
    // One for each look at the pools would take ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_reserve_is_for_those_who_have_waited_for_reserve_pool_timeout() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = '500ms'");
    let admin = admin_of(&proxy).await;
    let first = holder(&proxy, "app").await;
    let second = proxy.connect("app").await;
    let began = Instant::now();
    lines(&second, &format!("BEGIN; {ONE}")).await;
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(connections(), 2);
    proxy.wait_for_log("taking connection from reserve_pool");

    let third = ask(proxy.connect("app").await, ONE);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!((connections(), pooled(&admin, "cl_waiting").await), (2, 1), "that was all of the reserve");
    lines(&first, "COMMIT").await;
    assert_eq!(third.await.unwrap().unwrap(), ["1"]);
    lines(&second, "COMMIT").await;
    at_rest(&admin).await;
    assert_eq!(connections(), 2, "the reserve's servers go when they have been idle for long, as all do");
}

#[tokio::test]
async fn a_users_reserve_counts_before_the_default() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\ndefault_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = '200ms'");
    of_user(&proxy, "app", "reserve_pool_size", 0);
    reload(&proxy).await;
    let first = holder(&proxy, "app").await;
    let waiting = ask(proxy.connect("app").await, ONE);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((connections(), waiting.is_finished()), (1, false));
    lines(&first, "COMMIT").await;
    assert_eq!(waiting.await.unwrap().unwrap(), ["1"]);
    let _held = holder(&proxy, "md5user").await;
    assert_eq!(value(&proxy.connect("md5user").await, ONE).await, "1");
}
