//! Settings, questions, and a Redis of one's own.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shardway_config::{Cache as Settings, ChangeStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::super::*;

/// Far more than anything here takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn settings(redis: Option<&Redis>) -> Settings {
    Settings {
        enabled: true,
        l1_max_bytes: 1 << 20,
        l1_max_entries: 1000,
        ttl: Duration::from_secs(3600),
        time_to_idle: Duration::from_secs(1800),
        redis_url: redis.map(Redis::url),
        max_entry_bytes: 1000,
        change_stream: ChangeStream::Off,
        rules: Vec::new(),
    }
}

/// A cache that is in process alone.
pub(super) fn alone() -> Arc<Cache> {
    Cache::start(&settings(None)).expect("settings are good")
}

/// A cache over this Redis, up.
pub(super) async fn proxy(redis: &Redis) -> Arc<Cache> {
    let cache = Cache::start(&settings(Some(redis))).expect("settings are good");
    cache.redis_becomes(true).await;
    cache
}

/// The key of "which rows has `key`?".
pub(super) fn key(key: &str) -> CacheKey {
    let question =
        Question { database: "shop", role: "app", statement: "select * from t where k = $1", frames: 0 };
    let mut cache_key = CacheKey::new(&question);
    cache_key.parameter(25, 0, Some(key.as_bytes()));
    cache_key
}

pub(super) fn reads(key: &str) -> ReadSet {
    ReadSet::new("shop", "t", key)
}

pub(super) fn writes(key: &str) -> WriteSet {
    let mut writes = WriteSet::new("shop");
    writes.add_key("t", key);
    writes
}

impl Cache {
    pub(super) async fn ticket(&self, on: &str) -> FillTicket {
        match self.begin_fill(&key(on), &reads(on)).await {
            Fill::Ticket(ticket) => ticket,
            other => panic!("a ticket was due, not {other:?}"),
        }
    }

    pub(super) async fn fill(&self, on: &str, answer: &'static str) {
        let ticket = self.ticket(on).await;
        self.finish_fill(ticket, answer.as_bytes(), None);
    }

    pub(super) fn get(&self, on: &str) -> Option<Bytes> {
        self.lookup(&key(on))
    }

    /// Whether a fill is refused now.
    pub(super) async fn refuses(&self, on: &str) -> bool {
        matches!(self.begin_fill(&key(on), &reads(on)).await, Fill::Bypass)
    }

    /// What L2 has.
    pub(super) async fn in_l2(&self, on: &str) -> Option<Bytes> {
        match self.begin_fill(&key(on), &reads(on)).await {
            Fill::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    pub(super) async fn write(self: &Arc<Self>, on: &str) {
        let guard = self.begin_write(&writes(on)).await;
        self.release(guard).await;
    }

    pub(super) async fn redis_becomes(&self, up: bool) {
        let l2 = self.l2.load_full().expect("a Redis is configured");
        let mut state = l2.watch();
        timeout(PATIENCE, state.wait_for(|state| *state == up)).await.expect("in time").expect("alive");
    }

    /// Returns when all news that was published before has been heard.
    pub(super) async fn hear_all(&self) {
        self.l2.load_full().expect("a Redis is configured").hear_all().await;
    }

    /// Returns when all entries are in Redis.
    pub(super) async fn store_all(&self) {
        let l2 = self.l2.load_full().expect("a Redis is configured");
        timeout(PATIENCE, l2.store_all()).await.expect("in time");
    }
}

/// A Redis server on loopback, gone with the test.
pub(super) struct Redis {
    port: u16,
    server: Child,
}

impl Redis {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        Self::start_on(port).await
    }

    async fn start_on(port: u16) -> Self {
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port.to_string(),
        ]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let redis = Self { port, server: server.expect("redis-server is installed") };
        let up = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, up).await.expect("redis-server comes up");
        redis
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it at once.
    pub(super) fn kill(&mut self) {
        self.server.kill().expect("it runs");
        self.server.wait().expect("it ends");
    }

    /// Another one on the same port, which knows nothing.
    pub(super) async fn restart(&mut self) {
        let port = self.port;
        *self = Self::start_on(port).await;
    }

    /// Lets it hang (`STOP`) or go on (`CONT`).
    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.server.id().to_string()).status();
        assert!(status.expect("kill is there").success());
    }

    /// One command, by hand.
    pub(super) async fn command(&self, words: &[&str]) -> ::redis::Value {
        let client = ::redis::Client::open(self.url()).expect("the URL is good");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it is up");
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await.expect("the command is good")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
