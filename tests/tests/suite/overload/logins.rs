//! Storms of clients on pools that are empty, and servers that come and go meanwhile.

use shardway_tests::{Cut, DATABASE, PASSWORD, Proxy, RawClient, Reply, World, must};
use tokio::{sync::Mutex, task::JoinSet};

use super::crowd;
use crate::operation::support::{admin_of, pooled, soon};

static WORLD: std::sync::LazyLock<World> = std::sync::LazyLock::new(|| {
    World::builder()
        .middles()
        .config("[server]\nauth = 'trust'\n[pool]\ndefault_pool_size = 5\nserver_login_retry = '50ms'\n[routing]\nhealth_check_interval = '1h'")
        .start()
});

static ALONE: Mutex<()> = Mutex::const_new(());

fn code(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('C')).unwrap_or_default()
}

/// Clients of a proxy that has no server left.
async fn clients_of_an_empty_pool(proxy: &Proxy, count: usize) -> Vec<RawClient> {
    let clients = crowd(proxy, count).await;
    let admin = admin_of(proxy).await;
    // They were greeted with what a server said; a login that is cut would count as one that failed.
    soon("logins to be over", async || (pooled(&admin, "sv_login").await == 0).then_some(())).await;
    WORLD.middle(0).cut_all(Cut::Fin);
    let servers = async || pooled(&admin, "sv_idle").await + pooled(&admin, "sv_active").await;
    soon("the servers' end to be seen", async || (servers().await == 0).then_some(())).await;
    clients
}

#[tokio::test]
async fn clients_that_wait_on_an_empty_pool_get_servers_side_by_side() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let mut clients = clients_of_an_empty_pool(&proxy, 8).await;
    // No login ends before all of them have begun.
    let stalls: Vec<_> = (0..5).map(|_| WORLD.middle(0).from_server().message(b'R').stall()).collect();
    for (n, raw) in clients.iter_mut().enumerate() {
        raw.query(&format!("SELECT {n}")).send().await;
    }
    for stall in &stalls {
        stall.happened().await;
    }
    drop(stalls);
    for (n, raw) in clients.iter_mut().enumerate() {
        assert_eq!(raw.recv_until_ready().await.texts(), [[Some(n.to_string().as_str())]]);
    }
}

#[tokio::test]
async fn one_login_that_hangs_does_not_keep_the_others() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let mut clients = clients_of_an_empty_pool(&proxy, 8).await;
    let stall = WORLD.middle(0).from_server().message(b'R').stall();
    for raw in &mut clients {
        raw.query("SELECT 1").send().await;
    }
    for raw in &mut clients {
        assert_eq!(raw.recv_until_ready().await.tags(), "TDCZ");
    }
    assert!(stall.has_happened());
}

#[tokio::test]
async fn a_storm_of_clients_opens_no_more_servers_than_the_pool_has() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let before = WORLD.middle(0).seen().made;
    let mut storm = JoinSet::new();
    let port = proxy.port();
    for n in 0..300 {
        storm.spawn(async move {
            let mut raw = RawClient::connect(port).await;
            raw.login("app", DATABASE, PASSWORD).await;
            let reply = raw.query(&format!("SELECT {n}")).recv_until_ready().await;
            assert_eq!(reply.texts(), [[Some(n.to_string().as_str())]]);
        });
    }
    storm.join_all().await;
    let made = WORLD.middle(0).seen().made - before;
    assert!((1..=5).contains(&made), "{made} connections for a pool of five");
}

#[tokio::test]
async fn a_storm_on_a_server_that_refuses_is_told_at_once_and_tries_it_no_more_than_it_may() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy_with("[pool]\nserver_login_retry = '1h'");
    let mut clients = clients_of_an_empty_pool(&proxy, 50).await;
    let refusal = WORLD.middle(0).refuse();
    let before = WORLD.middle(0).seen().made;
    for _ in 0..3 {
        for raw in &mut clients {
            raw.query("SELECT 1").send().await;
        }
        for raw in &mut clients {
            let reply = raw.recv_until_ready().await;
            assert_eq!((code(&reply).get(..2), reply.status()), (Some("08"), 'I'), "{reply:?}");
        }
    }
    let made = WORLD.middle(0).seen().made - before;
    // A server for each place in the pool, by TLS and without.
    assert!((1..=10).contains(&made), "{made} attempts");
    drop(refusal);
}

#[tokio::test]
async fn clients_outlive_a_server_that_comes_and_goes() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy();
    let clients = crowd(&proxy, 60).await;
    let (over, mut work) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), JoinSet::new());
    for (n, mut raw) in clients.into_iter().enumerate() {
        let over = over.clone();
        work.spawn(async move {
            let mut answered = 0;
            // One more when it is over: everybody is served in the end.
            loop {
                let last = over.load(std::sync::atomic::Ordering::Relaxed);
                let reply = raw.query(&format!("SELECT {n}, pg_sleep(0.001)")).recv_until_ready().await;
                match reply.error() {
                    None => assert_eq!(reply.texts(), [[Some(n.to_string().as_str()), Some("")]]),
                    Some(_) => assert!(["08", "57"].contains(&&code(&reply)[..2]), "{reply:?}"),
                }
                assert_eq!(reply.status(), 'I');
                answered += usize::from(reply.error().is_none());
                if last && reply.error().is_none() {
                    return answered;
                }
            }
        });
    }
    for round in 0..3 {
        must("stopping the server", WORLD.server(0).kill());
        WORLD.middle(0).cut_all(if round == 1 { Cut::Fin } else { Cut::Reset });
        must("starting the server", WORLD.server(0).start());
        let mut fresh = crowd(&proxy, 1).await;
        soon("the server to serve again", async || {
            fresh[0].query("SELECT 1").recv_until_ready().await.error().is_none().then_some(())
        })
        .await;
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(work.join_all().await.into_iter().all(|answered| answered > 0));
    let admin = admin_of(&proxy).await;
    soon("nobody to wait", async || (pooled(&admin, "cl_waiting").await == 0).then_some(())).await;
}

#[tokio::test]
async fn a_login_that_waits_for_a_server_is_ended_by_client_login_timeout() {
    let _alone = ALONE.lock().await;
    let proxy = WORLD.another_proxy_with("[server]\nclient_login_timeout = '3s'");
    // Whichever connection is opened next, no server says anything.
    let stalls: Vec<_> = (0..3).map(|_| WORLD.middle(0).from_server().message(b'R').stall()).collect();
    let mut raw = RawClient::connect(proxy.port()).await;
    raw.startup(&[("user", "app"), ("database", DATABASE)]);
    raw.send().await;
    let end = raw.expect_closed().await;
    let error = end.error().unwrap_or_else(|| panic!("no error: {end:?}"));
    assert_eq!(error.field('C').as_deref(), Some("08P01"));
    assert_eq!(error.field('M').as_deref(), Some("client_login_timeout (server down)"));
    drop(stalls);
    let mut raw = RawClient::connect(proxy.port()).await;
    raw.login("app", DATABASE, PASSWORD).await;
    assert_eq!(raw.query("SELECT 1").recv_until_ready().await.tags(), "TDCZ");
}
