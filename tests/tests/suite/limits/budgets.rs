//! `max_db_connections` and `max_user_connections`: what pools share.

use std::time::Duration;

use super::{ONE, WORLD, alone, ask, clients, connections, connections_of, holder, of_user, proxy, together};
use crate::operation::support::{admin_of, at_rest, backends, lines, pooled, reload, soon, value};

#[tokio::test]
async fn max_db_connections_holds_over_all_users_and_idle_servers_give_way() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_db_connections = 1");
    let (app, other) = (proxy.connect("app").await, proxy.connect("md5user").await);
    for _ in 0..5 {
        assert_eq!(value(&app, ONE).await, "1");
        assert_eq!((connections_of("app"), connections()), (1, 1));
        assert_eq!(value(&other, ONE).await, "1");
        soon("the other's to be gone", async || (connections() == 1).then_some(())).await;
        assert_eq!(connections_of("md5user"), 1);
    }
    at_rest(&admin_of(&proxy).await).await;
}

#[tokio::test]
async fn the_server_that_has_been_idle_longest_gives_way_first() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_db_connections = 3");
    let (first, second) = (holder(&proxy, "app").await, holder(&proxy, "app").await);
    let pid = "/* shard: 0 */ SELECT pg_backend_pid()";
    let (oldest, younger) = (value(&first, pid).await, value(&second, pid).await);
    lines(&first, "COMMIT").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    lines(&second, "COMMIT").await;
    let (_third, _fourth) = (holder(&proxy, "md5user").await, holder(&proxy, "md5user").await);
    soon("one to be closed", async || (connections() == 3).then_some(())).await;
    let left = value(&proxy.connect("app").await, pid).await;
    assert_eq!((left != oldest, left), (true, younger));
}

#[tokio::test]
async fn a_pool_that_has_to_wait_for_another_is_served_when_that_one_has_nothing_to_do() {
    let _alone = alone().await;
    let proxy = proxy("[databases]\nmax_connections = 1");
    let admin = admin_of(&proxy).await;
    let other = proxy.connect("md5user").await;
    let app = holder(&proxy, "app").await;
    let waiting = ask(other, ONE);
    soon("it to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    assert_eq!((connections_of("app"), connections_of("md5user")), (1, 0));
    lines(&app, "COMMIT").await;
    assert_eq!(waiting.await.unwrap().unwrap(), ["1"]);
    at_rest(&admin).await;
}

#[tokio::test]
async fn a_pool_without_any_server_does_not_starve_beside_one_that_is_never_idle() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_db_connections = 2");
    let busy: Vec<_> = clients(&proxy, "app", 8)
        .await
        .into_iter()
        .map(|client| {
            tokio::spawn(async move {
                loop {
                    lines(&client, "/* shard: 0 */ SELECT pg_sleep(0.002)").await;
                }
            })
        })
        .collect();
    soon("both servers to be theirs", async || (connections_of("app") == 2).then_some(())).await;
    let other = proxy.connect("md5user").await;
    for _ in 0..3 {
        let served = tokio::time::timeout(Duration::from_secs(30), value(&other, ONE)).await;
        assert_eq!(served.expect("in time"), "1");
        assert!(connections() <= 2);
    }
    busy.iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn max_user_connections_holds_over_all_databases() {
    let _alone = alone().await;
    let proxy = proxy("");
    of_user(&proxy, "app", "max_connections", 1);
    proxy.edit(|config| {
        let databases = config["databases"].as_array_mut().unwrap();
        let mut other = databases[0].clone();
        other.as_table_mut().unwrap().insert("name".to_owned(), "other".into());
        databases.push(other);
    });
    reload(&proxy).await;
    let of_app = || backends(&WORLD, 0, "usename = 'app'");
    let (shop, other) = (proxy.connect("app").await, proxy.connect_to("app", "other").await);
    for _ in 0..3 {
        assert_eq!(value(&shop, ONE).await, "1");
        assert_eq!(value(&other, ONE).await, "1");
        soon("one to be closed", async || (of_app() == 1).then_some(())).await;
    }
    let _held = holder(&proxy, "app").await;
    let waiting = ask(other, ONE);
    let _not_bound = holder(&proxy, "md5user").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((of_app(), waiting.is_finished()), (1, false));
}

#[tokio::test]
async fn a_statement_on_several_shards_is_served_even_beyond_max_user_connections() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_user_connections = 1\nquery_wait_timeout = '5s'");
    let all = together(clients(&proxy, "app", 4).await, "SELECT count(*) FROM t").await;
    assert!(all.iter().all(|(_, count)| count == "0"));
    at_rest(&admin_of(&proxy).await).await;
    soon("what was too many to be closed", async || {
        (backends(&WORLD, 0, "usename = 'app'") <= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn limits_that_pools_share_change_with_a_reload() {
    let _alone = alone().await;
    let proxy = proxy("");
    let (first, second) = (holder(&proxy, "app").await, holder(&proxy, "md5user").await);
    proxy.reconfigure("[pool]\nmax_db_connections = 1");
    reload(&proxy).await;
    lines(&first, "COMMIT").await;
    soon("one to be closed", async || (connections() == 1).then_some(())).await;
    assert_eq!(connections_of("md5user"), 1);
    lines(&second, "COMMIT").await;
    assert_eq!(value(&first, ONE).await, "1");
    soon("the other one to be closed", async || (connections_of("md5user") == 0).then_some(())).await;
}
