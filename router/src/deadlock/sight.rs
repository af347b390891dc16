//! What is known at one moment of transactions over several shards and of waits for locks; what of it lasts; and who has to
//! give up. Pure.

use super::graph::{Graph, Victim};
use super::locks::{Backend, LockWait};
use crate::handle::WaitId;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What tells one transaction's statement from all others, of all proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TieId {
    /// The proxy.
    pub(super) owner: u64,
    /// Its client.
    pub(super) client: u64,
    /// What that asked for.
    pub(super) request: u64,
}

/// A backend that works for a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) backend: Backend,
    /// The shard, for people.
    pub(super) place: String,
}

/// A wait for a server of a pool: one of these has to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolWait {
    pub(super) id: WaitId,
    pub(super) needs: Vec<Backend>,
}

/// A transaction that ties backends together: what one of them waits for, all do.
#[derive(Clone, Debug)]
pub(super) struct Tie {
    /// Microseconds since 1970. The youngest gives up.
    pub(super) began: u64,
    pub(super) holds: Vec<Held>,
    pub(super) pool: Option<PoolWait>,
    /// Counts up each time that its proxy has looked at it.
    pub(super) turn: u64,
}

/// One moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub(super) ties: BTreeMap<TieId, Tie>,
    pub(super) locks: HashMap<Backend, LockWait>,
}

/// A transaction that has to give up, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) tie: TieId,
    /// Its backends that wait for locks of the circle.
    pub(super) waiting: Vec<Backend>,
    /// Its wait for a pool, if that is what it has to give up.
    pub(super) pool: Option<WaitId>,
    /// A line for each transaction of the circle.
    pub(super) detail: String,
}

impl Tie {
    /// Whether backends of one server are among its own.
    fn is_on_one_host_twice(&self) -> bool {
        let mut hosts = HashSet::new();
        self.holds.iter().any(|held| !hosts.insert(&held.backend.host))
    }
}

impl Sight {
    /// Whether there are enough of them for a circle that no server sees.
    pub(super) fn may_circle(&self) -> bool {
        self.ties.len() > 1 || self.ties.values().any(Tie::is_on_one_host_twice)
    }

    /// What is so now and was so before: the same statements, in the same waits, for the same backends. As whoever waits
    /// gives nothing up, all of it was so at one and the same time in between.
    pub(super) fn lasting(&self, before: &Self) -> Self {
        let ties = self.ties.iter().filter_map(|(id, tie)| {
            let old = before.ties.get(id).filter(|old| old.turn < tie.turn)?;
            let holds = tie.holds.iter().filter(|held| old.holds.contains(held)).cloned().collect();
            let same = |wait: &&PoolWait| old.pool.as_ref().is_some_and(|old| old.id == wait.id);
            Some((*id, Tie { holds, pool: tie.pool.as_ref().filter(same).cloned(), ..tie.clone() }))
        });
        let locks = self.locks.iter().filter_map(|(backend, wait)| {
            let old = before.locks.get(backend).filter(|old| old.identity == wait.identity)?;
            let blockers = wait.blockers.iter().copied().filter(|pid| old.blockers.contains(pid)).collect();
            Some((backend.clone(), LockWait { blockers, ..wait.clone() }))
        });
        Self { ties: ties.collect(), locks: locks.collect() }
    }

    /// Who has to give up so that all go on. Those of `told` are about to.
    pub(super) fn verdicts(&self, told: &HashSet<TieId>) -> Vec<Verdict> {
        let net = Net::of(self);
        // Circles of waits for pools alone are found elsewhere.
        let elsewhere = net.pools.stuck(&vec![true; net.count]);
        let among: Vec<bool> = (0..net.count)
            .map(|node| !elsewhere[node] && !net.tie(node).is_some_and(|tie| told.contains(tie)))
            .collect();
        let rank = |node: usize| net.tie(node).map(|id| (self.ties[id].began, *id));
        net.all.victims(&among, rank).into_iter().filter_map(|victim| self.verdict(&net, &victim)).collect()
    }

    fn verdict(&self, net: &Net, victim: &Victim) -> Option<Verdict> {
        let tie = *net.tie(victim.who)?;
        let circle = &victim.circle;
        let steps = circle.iter().zip(circle.iter().cycle().skip(1));
        let detail: Vec<String> = steps.map(|(from, to)| self.step(net, *from, *to)).collect();
        let waits = |backend: &&Backend| net.nodes.get(*backend) == Some(&victim.who);
        let mut waiting: Vec<Backend> = self.locks.keys().filter(waits).cloned().collect();
        waiting.sort();
        let pool = self.ties[&tie].pool.as_ref().map(|wait| wait.id);
        Some(Verdict { tie, waiting, pool, detail: detail.join("\n") })
    }

    /// Whom `from` waits for, and for what, in Postgres' manner.
    fn step(&self, net: &Net, from: usize, to: usize) -> String {
        let of = |backend: &Backend, node: usize| net.nodes.get(backend) == Some(&node);
        let mut waits: Vec<_> = self.locks.iter().filter(|(backend, _)| of(backend, from)).collect();
        waits.sort_by_key(|(backend, _)| *backend);
        for (backend, wait) in waits {
            let blocker = |pid: &u32| of(&Backend { host: backend.host.clone(), pid: *pid }, to);
            if let Some(blocker) = wait.blockers.iter().copied().find(blocker) {
                let (pid, place, lock) = (backend.pid, self.place(backend), &wait.lock);
                return format!("Process {pid} on {place} waits for {lock}; blocked by process {blocker}.");
            }
        }
        let pool = net.tie(from).and_then(|tie| self.ties[tie].pool.as_ref());
        let held = pool.and_then(|wait| wait.needs.iter().find(|backend| of(backend, to)));
        held.map_or_else(String::new, |backend| {
            let (pid, place) = (backend.pid, self.place(backend));
            format!("A transaction waits for a server connection on {place}; process {pid} has one.")
        })
    }

    fn place(&self, backend: &Backend) -> String {
        let held = self.ties.values().flat_map(|tie| &tie.holds).find(|held| held.backend == *backend);
        held.map_or_else(|| format!("server {}", backend.host), |held| format!("shard {}", held.place))
    }
}

/// A moment as a graph: a node for each transaction that ties backends together, and for each other backend.
struct Net {
    nodes: HashMap<Backend, usize>,
    ties: Vec<TieId>,
    count: usize,
    all: Graph,
    /// Waits for pools alone.
    pools: Graph,
}

impl Net {
    fn of(sight: &Sight) -> Self {
        let mut net = Self {
            nodes: HashMap::new(),
            ties: sight.ties.keys().copied().collect(),
            count: 0,
            all: Graph::default(),
            pools: Graph::default(),
        };
        for tie in sight.ties.values() {
            let node = net.add();
            net.nodes.extend(tie.holds.iter().map(|held| (held.backend.clone(), node)));
        }
        for (backend, wait) in &sight.locks {
            let from = net.node(backend);
            for pid in &wait.blockers {
                let to = net.node(&Backend { host: backend.host.clone(), pid: *pid });
                net.all.wait(from, vec![to]);
            }
        }
        for (from, tie) in sight.ties.values().enumerate() {
            let Some(wait) = &tie.pool else { continue };
            let needs: Vec<usize> = wait.needs.iter().map(|backend| net.node(backend)).collect();
            net.pools.wait(from, needs.clone());
            net.all.wait(from, needs);
        }
        net
    }

    fn add(&mut self) -> usize {
        self.pools.add();
        self.count += 1;
        self.all.add()
    }

    fn node(&mut self, backend: &Backend) -> usize {
        if let Some(node) = self.nodes.get(backend) {
            return *node;
        }
        let node = self.add();
        self.nodes.insert(backend.clone(), node);
        node
    }

    fn tie(&self, node: usize) -> Option<&TieId> {
        self.ties.get(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(host: &str, pid: u32) -> Backend {
        Backend { host: host.into(), pid }
    }

    fn id(client: u64) -> TieId {
        TieId { owner: 1, client, request: 1 }
    }

    /// Transactions by their backends, oldest first, and waits: a backend for another one of its server.
    fn sight(ties: &[&[(&str, u32)]], waits: &[(&str, u32, u32)]) -> Sight {
        let tie = |(at, holds): (usize, &&[(&str, u32)])| {
            let held = |(host, pid): &(&str, u32)| Held {
                backend: backend(host, *pid),
                place: format!("shop/{host}"),
            };
            let holds = holds.iter().map(held).collect();
            (id(at as u64), Tie { began: at as u64, holds, pool: None, turn: 1 })
        };
        let mut locks = HashMap::<Backend, LockWait>::new();
        for (host, pid, blocker) in waits {
            let lock = format!("ShareLock on transaction {blocker}0");
            let wait = LockWait { identity: format!("{blocker}"), lock, blockers: Vec::new() };
            locks.entry(backend(host, *pid)).or_insert(wait).blockers.push(*blocker);
        }
        Sight { ties: ties.iter().enumerate().map(tie).collect(), locks }
    }

    fn told(sight: &Sight) -> Vec<u64> {
        sight.verdicts(&HashSet::new()).into_iter().map(|verdict| verdict.tie.client).collect()
    }

    #[test]
    fn a_circle_over_two_servers_is_told_in_the_manner_of_postgres() {
        let ties: &[&[(&str, u32)]] = &[&[("a", 1), ("b", 1)], &[("a", 2), ("b", 2)]];
        let sight = sight(ties, &[("a", 2, 1), ("b", 1, 2)]);
        let verdicts = sight.verdicts(&HashSet::new());
        let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
        assert_eq!((verdict.tie, &verdict.waiting), (id(1), &vec![backend("a", 2)]));
        assert_eq!(
            verdict.detail,
            "Process 2 on shard shop/a waits for ShareLock on transaction 10; blocked by process 1.\n\
             Process 1 on shard shop/b waits for ShareLock on transaction 20; blocked by process 2."
        );
    }

    #[test]
    fn backends_that_nobody_ties_together_may_be_on_the_way() {
        let ties: &[&[(&str, u32)]] = &[&[("a", 1), ("b", 1)], &[("a", 2), ("b", 2)]];
        let through = sight(ties, &[("a", 1, 9), ("a", 9, 2), ("b", 2, 1)]);
        assert_eq!(told(&through), [1]);
        let past = sight(ties, &[("a", 1, 9), ("a", 8, 2), ("b", 2, 1)]);
        assert_eq!(told(&past), [0; 0]);
    }

    #[test]
    fn the_same_pid_on_another_server_is_somebody_else() {
        let ties: &[&[(&str, u32)]] = &[&[("a", 1), ("b", 2)], &[("a", 3), ("b", 4)]];
        assert_eq!(told(&sight(ties, &[("a", 1, 3), ("b", 3, 2)])), [0; 0]);
    }

    #[test]
    fn one_transaction_is_enough_where_it_is_on_two_shards_of_one_server() {
        let ties: &[&[(&str, u32)]] = &[&[("a", 1), ("a", 2)]];
        let twice = sight(ties, &[("a", 1, 9), ("a", 9, 2)]);
        assert!(twice.may_circle());
        assert_eq!(told(&twice), [0]);
        assert!(!sight(&[&[("a", 1), ("b", 2)]], &[]).may_circle());
    }

    #[test]
    fn who_was_told_is_not_told_again_nor_anybody_else_of_the_circle() {
        let ties: &[&[(&str, u32)]] = &[&[("a", 1), ("b", 1)], &[("a", 2), ("b", 2)]];
        let sight = sight(ties, &[("a", 2, 1), ("b", 1, 2)]);
        assert_eq!(sight.verdicts(&HashSet::from([id(1)])), []);
    }

    #[test]
    fn only_what_was_so_before_lasts() {
        let ties: &[&[(&str, u32)]] = &[&[("a", 1), ("b", 1)], &[("a", 2), ("b", 2)]];
        let before = sight(ties, &[("a", 2, 1), ("b", 1, 2)]);
        let mut now = before.clone();
        assert_eq!(told(&now.lasting(&before)), [0; 0], "nobody has looked since");
        now.ties.values_mut().for_each(|tie| tie.turn = 2);
        assert_eq!(told(&now.lasting(&before)), [1]);
        assert_eq!(told(&now.lasting(&Sight::default())), [0; 0]);
        let mut other = now.clone();
        other.locks.values_mut().for_each(|wait| wait.identity.push('!'));
        assert_eq!(told(&other.lasting(&before)), [0; 0], "these are other waits");
        let mut fewer = before.clone();
        fewer.locks.values_mut().for_each(|wait| wait.blockers.clear());
        assert_eq!(told(&now.lasting(&fewer)), [0; 0], "they were for somebody else");
        let mut apart = before;
        apart.ties.values_mut().for_each(|tie| tie.holds.truncate(1));
        assert_eq!(told(&now.lasting(&apart)), [0; 0], "they were not tied together");
    }
}
