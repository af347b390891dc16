//! This proxy's own transactions over several shards: which of them have waited long, and how one is ended.

use super::locks::Backend;
use super::sight::{Held, PoolWait, Tie, TieId, Verdict};
use super::{PATIENCE, host_of, words};
use crate::database::Database;
use crate::handle::{ClientHandle, RequestId};
use crate::proxy::{Proxy, World};
use crate::schema::ShardRef;
use shardway_pool::ServerAddress;
use shardway_pool::cancel::CancelTarget;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the cancel that ends a victim's wait may take to be heard of.
const HEARD: Duration = Duration::from_secs(5);

/// One of them that has waited for long.
pub(super) struct Own {
    pub(super) id: TieId,
    pub(super) tie: Tie,
    /// Where proxies tell each other of it.
    pub(super) database: Option<Arc<Database>>,
    handle: Arc<ClientHandle>,
    request: RequestId,
    targets: Vec<Arc<CancelTarget>>,
}

/// Whether there are any, and those that have waited for long. `look` is the proxy, and how often it has looked.
pub(super) fn find(proxy: &Proxy, world: &World, look: (u64, u64), now: Instant) -> (bool, Vec<Own>) {
    let (mut any, mut own) = (false, Vec::new());
    for handle in proxy.client_handles() {
        let kept = handle.kept().clone();
        let mut targets = handle.targets().clone();
        let keeps = !kept.is_empty();
        targets.extend(kept);
        targets.sort_by_key(Arc::as_ptr);
        targets.dedup_by(|a, b| Arc::ptr_eq(a, b));
        if targets.len() < 2 && !keeps && (targets.is_empty() || handle.wait().is_none()) {
            continue;
        }
        any = true;
        own.extend(long_waiting(world, look, now, handle, targets));
    }
    (any, own)
}

fn long_waiting(
    world: &World,
    (owner, turn): (u64, u64),
    now: Instant,
    handle: Arc<ClientHandle>,
    targets: Vec<Arc<CancelTarget>>,
) -> Option<Own> {
    let (request, asked) = (handle.request(), handle.request_time()?);
    if now.saturating_duration_since(asked) < PATIENCE {
        return None;
    }
    let pool = pool_wait(&handle);
    if targets.len() < 2 && pool.is_none() {
        return None;
    }
    let mut database = None;
    let holds = targets.iter().map(|target| {
        let found = place_of(world, &target.address);
        let place = found.map(|(found, at)| {
            database.get_or_insert_with(|| found.clone());
            found.label(at)
        });
        Held { backend: backend(target), place: place.unwrap_or_else(|| target.address.to_string()) }
    });
    let holds = holds.collect();
    let began = handle.spans_since().unwrap_or(asked);
    let id = TieId { owner, client: Arc::as_ptr(&handle) as usize as u64, request: request.0 };
    let tie = Tie { began: since_1970(now.saturating_duration_since(began)), holds, pool, turn };
    Some(Own { id, tie, database, handle, request, targets })
}

fn pool_wait(handle: &ClientHandle) -> Option<PoolWait> {
    let id = handle.wait()?;
    let needs = handle.awaited()?.lent_out()?;
    Some(PoolWait { id, needs: needs.iter().map(|target| backend(target)).collect() })
}

fn backend(target: &CancelTarget) -> Backend {
    Backend { host: host_of(&target.address), pid: target.key.pid }
}

/// The shard that a server is for. Where databases have it in common, that of the first by name: every proxy's choice.
fn place_of<'a>(world: &'a World, address: &ServerAddress) -> Option<(&'a Arc<Database>, ShardRef)> {
    let of = |database: &'a Arc<Database>| {
        let has =
            |at: &ShardRef| database.shard(*at).servers.iter().any(|server| *server.address == *address);
        let found = database.all_shards().find(has)?;
        Some((database, found))
    };
    world.databases.values().filter_map(of).min_by_key(|(database, _)| &database.name)
}

/// Microseconds since 1970 of what was so long ago.
fn since_1970(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(ago).as_micros()).unwrap_or(u64::MAX)
}

impl Own {
    /// Ends it, unless it waits no more.
    pub(super) fn end(&self, proxy: &Proxy, world: &World, verdict: &Verdict) -> bool {
        let targets = self.handle.targets();
        if self.handle.request() != self.request {
            return false;
        }
        proxy.metrics.deadlocks.inc();
        tracing::warn!("deadlock detected over several shards; one transaction is ended\n{}", verdict.detail);
        if let Some(wait) = verdict.pool {
            drop(targets);
            self.handle.part(wait);
            return true;
        }
        self.handle.condemn(words::error(&verdict.detail), Instant::now() + HEARD);
        // Still under the lock: what works for this client now can't be given to another one before it is announced.
        let waits = |target: &&Arc<CancelTarget>| {
            verdict.waiting.contains(&backend(target)) && targets.iter().any(|now| Arc::ptr_eq(now, target))
        };
        let cancels: Vec<_> = self.targets.iter().filter(waits).map(|target| target.announce()).collect();
        drop(targets);
        let timeout = world.config.pool.cancel_wait_timeout;
        cancels.into_iter().for_each(|cancel| drop(tokio::spawn(cancel.send(timeout))));
        true
    }
}
