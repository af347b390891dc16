//! Clients that wait for each other's servers. Each of them holds one server and wants another that only the others can
//! give back: on a single Postgres all would go on, here none would before `query_wait_timeout`. Whoever has waited for
//! the shortest time is told 40P01, as by Postgres when transactions wait for each other's locks.
//!
//! It is certain before anybody is told: a client that waits keeps what it holds, so what was seen of those that have waited
//! all the while held at one and the same time. Nothing is looked at before somebody has waited for [`PATIENCE`] with
//! a server in its hands.

use crate::handle::{ClientHandle, WaitId};
use crate::proxy::Proxy;
use shardway_pool::cancel::CancelTarget;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long waiting is nothing unusual.
const PATIENCE: Duration = Duration::from_secs(1);

/// What tells one server from another while both are there.
type ServerMark = usize;

/// One client that waits, and that nobody but others' giving back can help.
#[derive(Clone, Debug)]
struct Wait {
    since: Instant,
    /// Servers that it holds.
    holds: Vec<ServerMark>,
    /// Servers one of which it needs.
    needs: Vec<ServerMark>,
}

/// Looks for such clients, and has one of each circle told. For a background task.
pub fn part(proxy: &Proxy, now: Instant) {
    let world = proxy.world();
    let mut pools = world.databases.values().flat_map(|d| d.servers()).flat_map(|server| server.pools());
    if !pools.any(|(_, pool)| pool.holds_up(now, PATIENCE)) {
        return;
    }
    let handles = proxy.client_handles();
    let seen: Vec<_> = handles.iter().filter_map(|handle| Some((handle, look(handle)?))).collect();
    let waits: Vec<&Wait> = seen.iter().map(|(_, (_, wait))| wait).collect();
    let stuck = stuck(&waits, &vec![true; waits.len()]);
    // Whoever waits still has held what it was seen with.
    let lasting = |at: usize| seen[at].0.wait() == Some(seen[at].1.0);
    if !(0..waits.len()).filter(|&at| stuck[at]).all(lasting) {
        return;
    }
    for at in victims(&waits, stuck) {
        let (handle, (wait, _)) = &seen[at];
        tracing::warn!("clients wait for each other's servers: one of them is told so");
        handle.part(*wait);
    }
}

/// What a client waits for, if it does and holds something.
fn look(handle: &ClientHandle) -> Option<(WaitId, Wait)> {
    let (wait, since) = (handle.wait()?, handle.waiting_since()?);
    let mark = |target: &Arc<CancelTarget>| Arc::as_ptr(target) as ServerMark;
    let mut holds: Vec<_> = handle.targets().iter().map(mark).collect();
    holds.extend(handle.kept().iter().map(mark));
    if holds.is_empty() {
        return None;
    }
    let needs = handle.awaited()?.lent_out()?;
    Some((wait, Wait { since, holds, needs: needs.iter().map(mark).collect() }))
}

/// Those of `among` that can't go on unless one of themselves gives up: all that they need is held by such clients.
fn stuck(waits: &[&Wait], among: &[bool]) -> Vec<bool> {
    let mut stuck = among.to_vec();
    loop {
        let holders = holders(waits, &stuck);
        let helped = |at: &usize| stuck[*at] && !waits[*at].needs.iter().all(|s| holders.contains_key(s));
        let helped: Vec<usize> = (0..waits.len()).filter(helped).collect();
        if helped.is_empty() {
            return stuck;
        }
        helped.into_iter().for_each(|at| stuck[at] = false);
    }
}

/// Who holds what.
fn holders(waits: &[&Wait], among: &[bool]) -> HashMap<ServerMark, usize> {
    let those = (0..waits.len()).filter(|&at| among[at]);
    those.flat_map(|at| waits[at].holds.iter().map(move |server| (*server, at))).collect()
}

/// Whom to tell so that all others go on: of each circle whoever came last.
fn victims(waits: &[&Wait], mut stuck: Vec<bool>) -> Vec<usize> {
    let mut victims = Vec::new();
    loop {
        let holders = holders(waits, &stuck);
        let circling = (0..waits.len()).filter(|&at| stuck[at] && meets_itself(waits, &holders, at));
        let Some(last) = circling.max_by_key(|&at| waits[at].since) else { return victims };
        victims.push(last);
        stuck[last] = false;
        stuck = self::stuck(waits, &stuck);
    }
}

/// Whether a client waits, in the end, for itself.
fn meets_itself(waits: &[&Wait], holders: &HashMap<ServerMark, usize>, start: usize) -> bool {
    let mut seen = vec![false; waits.len()];
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        for next in waits[at].needs.iter().filter_map(|server| holders.get(server)) {
            if *next == start {
                return true;
            }
            if !std::mem::replace(&mut seen[*next], true) {
                open.push(*next);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients by what they hold and need, in the order in which they came.
    fn told(clients: &[(&[usize], &[usize])]) -> Vec<usize> {
        let start = Instant::now();
        let wait = |(at, (holds, needs)): (usize, &(&[usize], &[usize]))| Wait {
            since: start + Duration::from_secs(at as u64),
            holds: holds.to_vec(),
            needs: needs.to_vec(),
        };
        let waits: Vec<_> = clients.iter().enumerate().map(wait).collect();
        let waits: Vec<&Wait> = waits.iter().collect();
        let mut victims = victims(&waits, stuck(&waits, &vec![true; waits.len()]));
        victims.sort_unstable();
        victims
    }

    #[test]
    fn of_two_that_wait_for_each_other_the_later_one_is_told() {
        assert_eq!(told(&[(&[1], &[2]), (&[2], &[1])]), [1]);
        assert_eq!(told(&[(&[1], &[2]), (&[2], &[3]), (&[3], &[1])]), [2]);
    }

    #[test]
    fn a_server_in_other_hands_helps_in_the_end() {
        assert_eq!(told(&[(&[1], &[2, 9]), (&[2], &[1])]), [0; 0]);
        assert_eq!(told(&[(&[1], &[2]), (&[2], &[3])]), [0; 0]);
        assert_eq!(told(&[]), [0; 0]);
    }

    #[test]
    fn who_only_waits_for_a_circle_is_not_told() {
        // The last one came last, and its end would help nobody.
        assert_eq!(told(&[(&[1], &[2]), (&[2], &[1]), (&[3], &[1])]), [1]);
    }

    #[test]
    fn one_of_each_circle_is_told() {
        assert_eq!(told(&[(&[1], &[2]), (&[2], &[1]), (&[3], &[4]), (&[4], &[3])]), [1, 3]);
        // Each of two servers is in a circle: one end frees one of them, and that is enough.
        assert_eq!(told(&[(&[1], &[2, 3]), (&[2], &[1]), (&[3], &[1])]), [2]);
    }

    #[test]
    fn who_needs_what_it_holds_itself_is_told() {
        assert_eq!(told(&[(&[1], &[1])]), [0]);
    }
}
