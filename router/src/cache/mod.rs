//! A read-through cache of complete answers to point lookups.
//!
//! An answer is kept as the frames that Postgres sent, in process (L1) and, where a Redis is configured, in Redis
//! (L2), which proxies share. This module knows nothing of SQL and little of the protocol: it is told what an answer
//! depends on ([`ReadSet`]) and what a write touches ([`WriteSet`]), and keeps the promise that follows from that.
//!
//! # The promise
//!
//! Through one proxy no read ever returns a value older than a write that this proxy has acknowledged; the argument
//! stands in `versions`. Across proxies the window is one pub/sub delivery. The time to live bounds the rest.
//!
//! # What callers owe
//!
//! - **Every** write takes a [`WriteGuard`] before it is forwarded, holds it until its outcome is known (the whole
//!   transaction, prepared ones included) and [releases](Cache::release) it before its end is told to the client.
//! - A fill comes from a primary, or from a replica that has replayed all that was committed when the fill began,
//!   and from outside of any transaction that has written or that reads from an older snapshot.
//! - The [`CacheKey`] holds everything that can change the answer.
//! - One Redis database number serves one set of proxies in front of one set of databases.
//!
//! # With Redis
//!
//! L1 is served only while the channel over which proxies tell each other of writes is heard. When it is lost, L1
//! is emptied and stays closed, statements go to Postgres, and writes do not wait for Redis. When it is back, what
//! Redis holds is voided, because writes went by unannounced, before anything is served again: see `l2`.
//!
//! # Residual risk
//!
//! Each is bounded by the time to live:
//! - A network that falls silent without closing the connection is noticed by the heartbeat, within two seconds;
//!   in that time another proxy's writes are not heard.
//! - A proxy cut off from Redis cannot tell the others of its writes until it is back.
//! - A write whose end nobody saw keeps what it touched out of the cache for ten minutes. If it commits later
//!   still (it waited for a lock all that time) or after the proxy itself has died and been started anew, fills from
//!   before its commit are not thrown away.
//! - Two Redis servers that both believe to be the primary split the proxies into two groups.

mod deps;
mod fill;
mod key;
mod l1;
mod l2;
mod local;
mod stats;
mod versions;
mod write;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use shardway_config::Cache as Settings;

pub use deps::{ReadSet, WriteSet};
pub use fill::{Fill, FillTicket};
pub use key::{CacheKey, Question};
pub use stats::CacheStats;
pub use write::WriteGuard;

use l1::L1;
use l2::L2;
use local::Local;

/// How long what a write touched stays out of the cache when nobody saw the write's end.
const LOST_WRITE: Duration = Duration::from_secs(600);

/// The settings cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL names no Redis that this build can talk to. The URL itself is not repeated: it may hold a password.
    #[error("[cache] redis_url is of no use: {0}")]
    RedisUrl(redis::RedisError),
}

/// The cache of a process, shared by all its sessions.
///
/// Keep one even while it is switched off: its versions see every write, so that it can be switched on at any time.
pub struct Cache {
    local: Arc<Local>,
    l2: ArcSwapOption<L2>,
    settings: Mutex<Option<Settings>>,
}

impl Cache {
    /// A cache by these settings.
    ///
    /// With a `redis_url` it connects from a task on the current tokio runtime, and is closed until it has.
    ///
    /// # Errors
    /// When the URL can never work; a Redis that cannot be reached now is no error.
    ///
    /// # Panics
    /// Outside of a tokio runtime when there is a `redis_url`.
    pub fn start(settings: &Settings) -> Result<Arc<Self>, SettingsError> {
        let local = Arc::new(Local::new());
        let cache = Self { local, l2: ArcSwapOption::empty(), settings: Mutex::new(None) };
        cache.reconfigure(settings)?;
        Ok(Arc::new(cache))
    }

    /// Goes on by other settings, in place: writes under way keep their guards and stay known. L1 begins empty
    /// unless nothing changed; L2 stays connected unless its URL changed.
    ///
    /// # Errors
    /// As [`start`](Self::start); the cache goes on by the old settings.
    pub fn reconfigure(&self, settings: &Settings) -> Result<(), SettingsError> {
        let mut current = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref() == Some(settings) {
            return Ok(());
        }
        let (old, new) = (current.as_ref().and_then(redis_url), redis_url(settings));
        if old != new {
            self.change_redis(new)?;
        }
        self.local.l1.store(settings.enabled.then(|| Arc::new(L1::new(settings))));
        *current = Some(settings.clone());
        Ok(())
    }

    /// Nothing is served between two Redis servers: the epoch is suspended by then, and who resumes it starts empty.
    fn change_redis(&self, url: Option<&str>) -> Result<(), SettingsError> {
        let client = url.map(l2::client).transpose().map_err(SettingsError::RedisUrl)?;
        if let Some(old) = self.l2.load().as_ref() {
            old.retire();
        }
        self.local.suspend();
        let serves_alone = client.is_none();
        self.l2.store(client.map(|client| L2::start(client, self.local.clone())));
        if serves_alone {
            self.local.resume();
        }
        Ok(())
    }

    /// The kept answer, if it is still what Postgres would say. Asks L1 alone: neither waits nor allocates.
    ///
    /// After a miss, [`begin_fill`](Self::begin_fill).
    pub fn lookup(&self, key: &CacheKey) -> Option<Bytes> {
        let answer = self.local.lookup(key.as_bytes());
        let counters = &self.local.counters;
        if answer.is_some() { &counters.l1_hits } else { &counters.l1_misses }.add_one();
        answer
    }

    /// A look at the cache.
    pub fn stats(&self) -> CacheStats {
        let l1 = self.local.l1.load();
        CacheStats {
            l1_entries: l1.as_ref().map_or(0, |l1| l1.entries()),
            l1_bytes: l1.as_ref().map_or(0, |l1| l1.bytes()),
            redis_up: self.l2.load().as_ref().is_some_and(|l2| l2.is_up()),
            ..self.local.counters.read()
        }
    }
}

/// A client for the Redis at this URL, in the protocol that news are pushed in. Errors: the URL is of no use.
pub fn redis_client(url: &str) -> Result<redis::Client, redis::RedisError> {
    l2::client(url)
}

/// Who switched the cache off has no use for Redis.
fn redis_url(settings: &Settings) -> Option<&str> {
    settings.redis_url.as_deref().filter(|_| settings.enabled)
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cache").field(&self.stats()).finish()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(l2) = self.l2.load().as_ref() {
            l2.retire();
        }
    }
}

#[cfg(test)]
mod tests;
