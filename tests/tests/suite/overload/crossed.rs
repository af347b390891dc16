//! Clients that hold what another one waits for.

use std::time::Duration;

use shardway_tests::{Proxy, RawClient, Reply, SharedWorld, World};
use tokio::time::{sleep, timeout};

use crate::operation::support::{admin_of, pooled, soon};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(3).start());

const NARROW: &str = "[pool]\ndefault_pool_size = 1";

fn on(shard: usize) -> String {
    format!("/* shard: {shard} */ SELECT {shard}")
}

fn code(reply: &Reply) -> Option<String> {
    reply.error().and_then(|error| error.field('C'))
}

/// Clients in a transaction with the server of one shard each.
async fn holders(proxy: &Proxy, count: usize) -> Vec<RawClient> {
    let mut holders = Vec::new();
    for shard in 0..count {
        let mut raw = proxy.raw("app").await;
        raw.query("BEGIN").recv_until_ready().await;
        assert_eq!(raw.query(&on(shard)).recv_until_ready().await.commands(), ["SELECT 1"]);
        holders.push(raw);
    }
    holders
}

/// Has each of them ask for the next one's server, one after the other.
async fn go_round(proxy: &Proxy, clients: &mut [RawClient]) {
    let (admin, count) = (admin_of(proxy).await, clients.len());
    for (at, raw) in clients.iter_mut().enumerate() {
        raw.query(&on((at + 1) % count)).send().await;
        soon("it to wait", async || (pooled(&admin, "cl_waiting").await == at + 1).then_some(())).await;
    }
}

async fn soon_said(raw: &mut RawClient) -> Reply {
    timeout(shardway_tests::PATIENCE, raw.recv_until_ready()).await.expect("it waits for ever")
}

#[tokio::test]
async fn of_transactions_that_wait_for_each_others_servers_the_last_one_is_told_and_the_others_go_on() {
    for count in [2, 3] {
        let proxy = WORLD.another_proxy_with(NARROW);
        let mut clients = holders(&proxy, count).await;
        go_round(&proxy, &mut clients).await;
        let mut victim = clients.pop().unwrap();
        let told = soon_said(&mut victim).await;
        assert_eq!((code(&told).as_deref(), told.status()), (Some("40P01"), 'E'), "{told:?}");
        assert_eq!(victim.query("ROLLBACK").recv_until_ready().await.commands(), ["ROLLBACK"]);
        // Whoever waited for it has its server; the others follow as those end.
        while let Some(mut next) = clients.pop() {
            assert_eq!(soon_said(&mut next).await.commands(), ["SELECT 1"]);
            assert_eq!(next.query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
        }
        assert_eq!(victim.query(&on(0)).recv_until_ready().await.commands(), ["SELECT 1"]);
    }
}

#[tokio::test]
async fn the_extended_protocol_is_told_too() {
    let proxy = WORLD.another_proxy_with(NARROW);
    let mut clients = holders(&proxy, 2).await;
    let admin = admin_of(&proxy).await;
    for (at, raw) in clients.iter_mut().enumerate() {
        raw.parse("", &on(1 - at), &[]).bind("", "", &[], &[]).execute("", 0).sync().send().await;
        soon("it to wait", async || (pooled(&admin, "cl_waiting").await == at + 1).then_some(())).await;
    }
    let told = soon_said(&mut clients[1]).await;
    assert_eq!((code(&told).as_deref(), told.status()), (Some("40P01"), 'E'), "{told:?}");
}

#[tokio::test]
async fn sessions_that_keep_their_servers_are_told_too() {
    let proxy = WORLD.another_proxy_with("[pool]\nmode = 'session'\ndefault_pool_size = 1");
    let mut clients = Vec::new();
    for shard in 0..2 {
        let mut raw = proxy.raw("app").await;
        assert_eq!(raw.query(&on(shard)).recv_until_ready().await.commands(), ["SELECT 1"]);
        clients.push(raw);
    }
    go_round(&proxy, &mut clients).await;
    let mut victim = clients.pop().unwrap();
    let told = soon_said(&mut victim).await;
    assert_eq!((code(&told).as_deref(), told.status()), (Some("40P01"), 'I'), "{told:?}");
    victim.terminate().send().await;
    assert_eq!(soon_said(&mut clients[0]).await.commands(), ["SELECT 1"]);
}

#[tokio::test]
async fn users_that_share_max_db_connections_are_told_too() {
    let proxy = WORLD.another_proxy_with("[pool]\nmax_db_connections = 1");
    // First, since a login may wait for a server too.
    let mut clients = vec![proxy.raw("app").await, proxy.raw("md5user").await];
    for (shard, raw) in clients.iter_mut().enumerate() {
        raw.query("BEGIN").recv_until_ready().await;
        assert_eq!(raw.query(&on(shard)).recv_until_ready().await.commands(), ["SELECT 1"]);
    }
    go_round(&proxy, &mut clients).await;
    let told = soon_said(&mut clients[1]).await;
    assert_eq!(code(&told).as_deref(), Some("40P01"), "{told:?}");
}

#[tokio::test]
async fn who_waits_for_somebody_that_waits_for_nobody_goes_on_waiting() {
    let proxy = WORLD.another_proxy_with(NARROW);
    let mut clients = holders(&proxy, 2).await;
    clients[1].query(&on(0)).send().await;
    // Longer than is taken for a circle.
    sleep(Duration::from_millis(2500)).await;
    assert!(timeout(Duration::from_millis(10), clients[1].recv()).await.is_err());
    assert_eq!(clients[0].query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(soon_said(&mut clients[1]).await.commands(), ["SELECT 1"]);
}
