//! Transactions over shards that hold what another one waits for.

use std::time::Duration;

use shardway_tests::World;
use tokio::time::timeout;

#[tokio::test]
#[ignore = "they wait for each other until query_wait_timeout"]
async fn two_transactions_that_wait_for_each_others_servers_are_not_stuck() {
    let world = World::builder().shards(2).config("[pool]\ndefault_pool_size = 1").start();
    let (mut a, mut b) = (world.raw("app").await, world.raw("app").await);
    for (raw, shard) in [(&mut a, 0), (&mut b, 1)] {
        raw.query("BEGIN").recv_until_ready().await;
        raw.query(&format!("/* shard: {shard} */ SELECT 1")).recv_until_ready().await;
    }
    a.query("/* shard: 1 */ SELECT 2").send().await;
    b.query("/* shard: 0 */ SELECT 2").send().await;
    // One of them goes on, or is told that it can't: a single server would have let both.
    let answered = async {
        tokio::select! {
            reply = a.recv_until_ready() => reply,
            reply = b.recv_until_ready() => reply,
        }
    };
    let reply = timeout(Duration::from_secs(5), answered).await.expect("neither of them goes on");
    assert!(reply.error().is_none_or(|error| error.field('C').as_deref() == Some("40P01")), "{reply:?}");
}
