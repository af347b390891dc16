//! First come, first served.

use shardway_tests::{RawClient, SharedWorld, World};
use tokio::task::JoinSet;

use super::{crowd, room};
use crate::operation::support::{admin_of, pooled, soon};

const SERVERS: usize = 20;

static WORLD: SharedWorld = SharedWorld::new(|| {
    room();
    World::builder().config("[server]\nauth = 'trust'\n[pool]\ndefault_pool_size = 20").start()
});

/// Clients that come between two looks at the queue.
const WAVE: usize = 500;

/// Places by which two clients of different waves may overtake each other: as many as there are servers, and those that
/// the queue looks at to spare a server's move.
const SLACK: usize = SERVERS + 64;

/// Microseconds, by the server's clock: a sequence would have the servers compete for its lock.
const WHEN: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

async fn served_at(raw: &mut RawClient) -> u64 {
    let reply = raw.recv_until_ready().await;
    assert!(reply.error().is_none(), "{reply:?}");
    reply.texts().0[0][0].as_deref().and_then(|time| time.parse().ok()).expect("a time")
}

#[tokio::test]
async fn five_thousand_clients_on_twenty_servers_are_served_in_the_order_in_which_they_came() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut holders = crowd(&proxy, SERVERS).await;
    for raw in &mut holders {
        raw.query("BEGIN; SELECT 1").recv_until_ready().await;
    }
    let mut crowd = crowd(&proxy, 5000).await;
    let mut waiting = 0;
    for wave in crowd.chunks_mut(WAVE) {
        for raw in &mut *wave {
            raw.query(WHEN).send().await;
        }
        waiting += wave.len();
        soon("a wave to wait", async || (pooled(&admin, "cl_waiting").await == waiting).then_some(())).await;
    }
    for raw in &mut holders {
        raw.query("COMMIT").send().await;
    }
    let mut served = Vec::new();
    for (place, raw) in crowd.iter_mut().enumerate() {
        served.push((served_at(raw).await, place / WAVE));
    }
    served.sort_unstable();
    let out_of_order = served.iter().enumerate().filter(|(turn, (_, wave))| {
        let turns = (wave * WAVE).saturating_sub(SLACK)..(wave + 1) * WAVE + SLACK;
        !turns.contains(turn)
    });
    // A few: the system may have a server wait for the processor while others go on.
    let (few, strays) = (served.len() / 50, out_of_order.count());
    assert!(strays <= few, "{strays} of {} were out of order", served.len());
}

#[tokio::test]
async fn no_client_is_served_twice_as_often_as_another() {
    let proxy = WORLD.another_proxy();
    let crowd = crowd(&proxy, 1000).await;
    let clients = crowd.len();
    let (served, counter) = (5 * clients, std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let mut work = JoinSet::new();
    for mut raw in crowd {
        let counter = counter.clone();
        work.spawn(async move {
            let mut own = 0;
            while counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < served {
                let reply = raw.query("SELECT 1").recv_until_ready().await;
                assert!(reply.error().is_none(), "{reply:?}");
                own += 1;
            }
            own
        });
    }
    let counts = work.join_all().await;
    let (least, most) =
        (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    assert!(least > 0 && most <= 2 * least, "one was served {least} times, another {most} times");
}
