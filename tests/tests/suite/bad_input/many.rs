//! A crowd at the door.

use shardway_tests::{DATABASE, PASSWORD, RawClient};
use tokio::task::JoinSet;

use super::{Scene, WORLD};
use crate::operation::support::{admin_of, at_rest, pooled};

#[tokio::test]
async fn five_hundred_clients_that_come_at_once_are_all_served() {
    let scene = Scene::set().await;
    // Their arithmetic for SCRAM would be the test's, not the proxy's.
    let proxy = WORLD.another_proxy_with("[server]\nauth = 'trust'\n[pool]\ndefault_pool_size = 5");
    let port = proxy.port();
    let mut crowd = JoinSet::new();
    for number in 0..500 {
        crowd.spawn(async move {
            let mut raw = RawClient::connect(port).await;
            raw.login("app", DATABASE, PASSWORD).await;
            let reply = raw.query(&format!("SELECT {number}")).recv_until_ready().await;
            assert_eq!(reply.texts(), [[Some(number.to_string().as_str())]]);
            raw
        });
    }
    let served = crowd.join_all().await;
    assert_eq!(served.len(), 500);
    let admin = admin_of(&proxy).await;
    let servers = pooled(&admin, "sv_active").await + pooled(&admin, "sv_idle").await;
    assert!((1..=10).contains(&servers), "{servers} connections for two pools of five");
    drop(served);
    at_rest(&admin).await;
    scene.is_unharmed().await;
}
