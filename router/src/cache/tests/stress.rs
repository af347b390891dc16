//! Many tasks read and write an in-memory database through the cache. Whatever a proxy has acknowledged, a later
//! read through the same proxy must see.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use tokio::task::{JoinSet, yield_now};

use super::super::*;
use super::support::*;

const KEYS: usize = 4;
const TASKS: u64 = 8;

/// Rows whose value only grows, so that "older" is "less".
#[derive(Default)]
struct Database {
    rows: [AtomicU64; KEYS],
    next: AtomicU64,
}

/// A proxy, and the newest value of each row that it has acknowledged.
struct Proxy {
    cache: Arc<Cache>,
    acknowledged: [AtomicU64; KEYS],
}

impl Proxy {
    fn new(cache: Arc<Cache>) -> Arc<Self> {
        Arc::new(Self { cache, acknowledged: Default::default() })
    }

    async fn write(&self, database: &Database, row: usize) {
        let guard = self.cache.begin_write(&writes(&row.to_string())).await;
        yield_now().await;
        let value = database.next.fetch_add(1, SeqCst) + 1;
        database.rows[row].fetch_max(value, SeqCst);
        yield_now().await;
        self.cache.release(guard).await;
        self.acknowledged[row].fetch_max(value, SeqCst);
    }

    async fn read(&self, database: &Database, row: usize) {
        let least = self.acknowledged[row].load(SeqCst);
        let value = self.value(database, row).await;
        assert!(value >= least, "row {row}: read {value} after {least} was acknowledged");
    }

    async fn value(&self, database: &Database, row: usize) -> u64 {
        let on = row.to_string();
        if let Some(answer) = self.cache.get(&on) {
            return number(&answer);
        }
        let fill = self.cache.begin_fill(&key(&on), &reads(&on)).await;
        if let Fill::Answer(answer) = fill {
            return number(&answer);
        }
        yield_now().await;
        let value = database.rows[row].load(SeqCst);
        yield_now().await;
        if let Fill::Ticket(ticket) = fill {
            self.cache.finish_fill(ticket, &value.to_le_bytes(), None);
        }
        value
    }
}

fn number(answer: &[u8]) -> u64 {
    u64::from_le_bytes(answer.try_into().expect("eight bytes were kept"))
}

/// One in eight is a write; which is which and on what row is any old mixture, the same in every run.
async fn work(proxy: Arc<Proxy>, database: Arc<Database>, seed: u64, rounds: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let row = (random >> 8) as usize % KEYS;
        if random.is_multiple_of(8) {
            proxy.write(&database, row).await
        } else {
            proxy.read(&database, row).await
        }
    }
}

async fn run(proxies: &[Arc<Proxy>], rounds: u64) {
    let database = Arc::new(Database::default());
    let mut tasks = JoinSet::new();
    for (n, proxy) in proxies.iter().enumerate() {
        for task in 0..TASKS {
            tasks.spawn(work(proxy.clone(), database.clone(), n as u64 * TASKS + task + 1, rounds));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no read is old");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_no_acknowledged_write_is_missed() {
    let proxy = Proxy::new(alone());
    run(std::slice::from_ref(&proxy), 20_000).await;
    let stats = proxy.cache.stats();
    assert!(stats.l1_hits > 1000 && stats.fills > 1000 && stats.invalidations > 1000, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_over_one_redis_no_proxy_misses_a_write_it_acknowledged() {
    let redis = Redis::start().await;
    let proxies = [Proxy::new(proxy(&redis).await), Proxy::new(proxy(&redis).await)];
    run(&proxies, 500).await;
    for proxy in &proxies {
        let stats = proxy.cache.stats();
        assert!(stats.l1_hits > 10 && stats.fills > 10, "{stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_while_links_are_cut_no_proxy_misses_a_write_it_acknowledged() {
    let redis = Redis::start().await;
    let proxies = [Proxy::new(proxy(&redis).await), Proxy::new(proxy(&redis).await)];
    let cut = tokio::spawn({
        let caches = proxies.clone().map(|proxy| proxy.cache.clone());
        async move {
            for cache in caches.iter().cycle() {
                cache.redis_becomes(true).await;
                cache.fill("another row", "x").await;
                cache.l2.load_full().expect("configured").cut();
            }
        }
    });
    run(&proxies, 1500).await;
    cut.abort();
}
