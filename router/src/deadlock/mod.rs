//! Deadlocks that no server sees: transactions over several shards, each of which waits on one of them for a lock that
//! another one holds there. Of each circle the youngest is ended with 40P01, as Postgres does with those on one server.
//!
//! Nothing is looked at as long as no transaction is on several shards, and no server is asked before two of them have
//! waited for [`PATIENCE`], or one that is on two shards of one server. Then the servers say who waits there for whom ([`locks`]); the transactions tie backends of
//! several servers together ([`sight`]). What two looks have in common was so at one time in between, as whoever waits
//! gives nothing up: a circle in it ([`graph`]) is a deadlock. Proxies tell each other of their transactions by a table
//! ([`board`]); all come to the same victim, and each ends its own.
//!
//! A wait for a server of a pool may be a part of a circle; circles of such waits alone are [`crate::crossed`]'s. Circles
//! on one server Postgres finds itself, before these looks do.

mod board;
mod graph;
mod locks;
mod own;
mod sight;
mod words;

use crate::proxy::{Proxy, World};
use locks::{Backend, Host, LockWait};

use shardway_pool::address::ServerAddress;
use shardway_pool::control::Control;
use sight::{Sight, TieId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How long an answer may take before somebody wonders: `deadlock_timeout`, as it is by default.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a server may take to say who waits there.
const ANSWER: Duration = Duration::from_secs(2);

/// How long a victim has to give up before another one is looked for, or it is told again.
const GIVING_UP: Duration = Duration::from_secs(5);

/// Says that there may be a transaction over several shards.
#[derive(Debug, Default)]
pub struct Signal(AtomicBool);

impl Signal {
    /// There is one.
    pub fn stir(&self) {
        self.0.store(true, Relaxed);
    }
}

/// Looks for deadlocks for as long as the process lives.
pub async fn run(proxy: Arc<Proxy>) {
    let mut tick = tokio::time::interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch { owner: rand::random(), ..Watch::default() };
    loop {
        tick.tick().await;
        if watch.is_awake | proxy.deadlocks.0.swap(false, Relaxed) {
            watch.look(&proxy).await;
        }
    }
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Watch {
    /// This proxy, among others.
    owner: u64,
    /// There was something to look at.
    is_awake: bool,
    before: Sight,
    /// Who was told, and when.
    told: HashMap<TieId, Instant>,
    board: board::Board,
    turn: u64,
}

impl Watch {
    async fn look(&mut self, proxy: &Arc<Proxy>) {
        let (now, world) = (Instant::now(), proxy.world());
        self.turn += 1;
        let (any, own) = own::find(proxy, &world, (self.owner, self.turn), now);
        self.is_awake = any;
        let mut sight = Sight::default();
        for one in &own {
            let mut tie = one.tie.clone();
            // Reckoned once: it is what all proxies go by.
            tie.began = self.before.ties.get(&one.id).map_or(tie.began, |before| before.began);
            sight.ties.insert(one.id, tie);
        }
        let others = self.board.exchange(&world, self.owner, &own, &sight).await;
        sight.ties.extend(others);
        if !own.is_empty() && sight.may_circle() {
            sight.locks = ask_servers(&world, &sight).await;
        }
        self.told.retain(|_, at| now.saturating_duration_since(*at) < GIVING_UP);
        let told: HashSet<TieId> = self.told.keys().copied().collect();
        for verdict in sight.lasting(&self.before).verdicts(&told) {
            let victim = own.iter().find(|one| one.id == verdict.tie);
            if victim.is_some_and(|victim| victim.end(proxy, &world, &verdict)) {
                self.told.insert(verdict.tie, now);
            }
        }
        self.before = sight;
    }
}

/// Has all servers say who waits there that a transaction is on. One that does not answer says nothing.
async fn ask_servers(world: &World, sight: &Sight) -> HashMap<Backend, LockWait> {
    let held = sight.ties.values().flat_map(|tie| tie.holds.iter().map(|held| &held.backend));
    let hosts: HashSet<&Host> = held.map(|backend| &backend.host).collect();
    let mut asked = JoinSet::new();
    for host in hosts {
        if let Some(control) = control_to(world, host) {
            let host = host.clone();
            asked.spawn(async move { (host, tokio::time::timeout(ANSWER, locks::ask(&control)).await) });
        }
    }
    let mut waits = HashMap::new();
    for (host, answer) in asked.join_all().await {
        match answer {
            Ok(Ok(rows)) => {
                waits.extend(rows.into_iter().map(|(pid, wait)| (Backend { host: host.clone(), pid }, wait)));
            }
            Ok(Err(error)) => tracing::debug!(server = &*host, "who waits there is not known: {error}"),
            Err(_) => tracing::debug!(server = &*host, "who waits there is not known: no answer in time"),
        }
    }
    waits
}

/// A control connection to any database of a server.
fn control_to(world: &World, host: &Host) -> Option<Control> {
    let mut controls = world.databases.values().flat_map(|database| database.controls());
    let found = controls.find(|(server, _)| host_of(&server.address) == *host && !server.is_paused());
    found.map(|(_, control)| control.clone())
}

fn host_of(address: &ServerAddress) -> Host {
    format!("{}:{}", address.host, address.port).into()
}
