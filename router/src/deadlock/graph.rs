//! Who waits for whom, and who has to give up for the others to go on. Pure: numbers in, numbers out.

use std::collections::VecDeque;

/// Who waits for whom. Whoever is in it waits until each of its waits is over, and a wait is over when one of those that
/// can end it goes on: a lock's with its one holder, a pool's with whoever gives a server back first.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    waits: Vec<Vec<Vec<usize>>>,
}

impl Graph {
    /// One more, who waits for nobody yet. Gives its number.
    pub(super) fn add(&mut self) -> usize {
        self.waits.push(Vec::new());
        self.waits.len() - 1
    }

    /// `who` waits until one of these goes on. A wait that nobody is known to end may end by itself.
    pub(super) fn wait(&mut self, who: usize, for_one_of: Vec<usize>) {
        if !for_one_of.is_empty() {
            self.waits[who].push(for_one_of);
        }
    }

    /// Those of `among` that can't go on unless one of themselves gives up.
    pub(super) fn stuck(&self, among: &[bool]) -> Vec<bool> {
        let mut stuck = among.to_vec();
        let mut waiters = vec![Vec::new(); self.waits.len()];
        for (who, waits) in self.waits.iter().enumerate() {
            waits.iter().flatten().for_each(|for_whom| waiters[*for_whom].push(who));
        }
        let is_helped = |who: usize, stuck: &[bool]| {
            let lasts = |wait: &Vec<usize>| wait.iter().all(|for_whom| stuck[*for_whom]);
            stuck[who] && !self.waits[who].iter().any(lasts)
        };
        let mut open: Vec<usize> = (0..self.waits.len()).collect();
        while let Some(who) = open.pop() {
            if is_helped(who, &stuck) {
                stuck[who] = false;
                open.extend(waiters[who].iter().filter(|waiter| stuck[**waiter]));
            }
        }
        stuck
    }

    /// Whom of `among` to end so that all others go on: of each circle the last by rank. Who has none is never ended.
    pub(super) fn victims<R: Ord>(&self, among: &[bool], rank: impl Fn(usize) -> Option<R>) -> Vec<Victim> {
        let mut victims = Vec::new();
        let mut stuck = self.stuck(among);
        loop {
            let ranked = (0..stuck.len()).filter(|who| stuck[*who]).filter_map(|who| Some((rank(who)?, who)));
            let circling = ranked.filter_map(|(rank, who)| Some((rank, who, self.circle(who, &stuck)?)));
            let Some((_, who, circle)) = circling.max_by(|a, b| a.0.cmp(&b.0)) else { return victims };
            stuck[who] = false;
            stuck = self.stuck(&stuck);
            victims.push(Victim { who, circle });
        }
    }

    /// The shortest way from one of `among` to itself: first itself, then whom it waits for, and so on.
    fn circle(&self, start: usize, among: &[bool]) -> Option<Vec<usize>> {
        let mut from = vec![None; self.waits.len()];
        let mut open = VecDeque::from([start]);
        while let Some(at) = open.pop_front() {
            for &next in self.waits[at].iter().flatten().filter(|next| among[**next]) {
                if next == start {
                    let before = |at: &usize| from[*at].filter(|_| *at != start);
                    let mut circle: Vec<usize> = std::iter::successors(Some(at), before).collect();
                    circle.reverse();
                    return Some(circle);
                }
                if from[next].is_none() {
                    from[next] = Some(at);
                    open.push_back(next);
                }
            }
        }
        None
    }
}

/// Who is to be ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) who: usize,
    /// It, whom it waits for, and so on up to who waits for it.
    pub(super) circle: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Waits = Vec<Vec<Vec<usize>>>;

    fn graph(waits: &Waits) -> Graph {
        let mut graph = Graph::default();
        waits.iter().for_each(|_| _ = graph.add());
        for (who, all) in waits.iter().enumerate() {
            all.iter().for_each(|wait| graph.wait(who, wait.clone()));
        }
        graph
    }

    /// Who is told, of transactions that each wait for these, in the order in which they came.
    fn told(waits: &Waits) -> Vec<usize> {
        let victims = graph(waits).victims(&vec![true; waits.len()], Some);
        victims.into_iter().map(|victim| victim.who).collect()
    }

    fn locks(waits: &[&[usize]]) -> Waits {
        waits.iter().map(|all| all.iter().map(|one| vec![*one]).collect()).collect()
    }

    #[test]
    fn of_those_that_wait_for_each_other_the_youngest_is_ended() {
        assert_eq!(told(&locks(&[&[1], &[0]])), [1]);
        assert_eq!(told(&locks(&[&[1], &[2], &[0]])), [2]);
        assert_eq!(told(&locks(&[&[1], &[0], &[3], &[2]])), [3, 1]);
    }

    #[test]
    fn a_queue_is_no_circle_and_who_waits_behind_one_is_not_in_it() {
        assert_eq!(told(&locks(&[&[1], &[2], &[]])), [0; 0]);
        assert_eq!(told(&locks(&[&[1], &[0], &[0], &[2]])), [1]);
    }

    #[test]
    fn one_end_is_enough_for_circles_that_share_a_transaction() {
        assert_eq!(told(&locks(&[&[2], &[2], &[0, 1]])), [2]);
    }

    #[test]
    fn who_needs_one_of_several_waits_only_while_none_of_them_goes_on() {
        assert_eq!(told(&vec![vec![vec![1, 2]], vec![vec![0]], vec![]]), [0; 0]);
        assert_eq!(told(&vec![vec![vec![1, 2]], vec![vec![0]], vec![vec![0]]]), [2]);
    }

    #[test]
    fn who_has_no_rank_is_not_ended() {
        let victims = graph(&locks(&[&[1], &[0]])).victims(&[true, true], |who| (who == 0).then_some(who));
        assert_eq!(victims, [Victim { who: 0, circle: vec![0, 1] }]);
        assert_eq!(graph(&locks(&[&[1], &[0]])).victims(&[true, true], |_| None::<usize>), []);
    }

    fn any_waits() -> impl Strategy<Value = Waits> {
        (1..9usize).prop_flat_map(|count| {
            let wait = proptest::collection::vec(0..count, 1..3);
            proptest::collection::vec(proptest::collection::vec(wait, 0..3), count)
        })
    }

    fn any_locks() -> impl Strategy<Value = Waits> {
        any_waits().prop_map(|waits| {
            let alone = |wait: Vec<usize>| wait.into_iter().map(|one| vec![one]);
            waits.into_iter().map(|all| all.into_iter().flat_map(alone).collect()).collect()
        })
    }

    /// Who is left when all go on that can, those that were ended first: what really happens.
    fn left(waits: &Waits, ended: &[usize]) -> Vec<usize> {
        let mut gone: Vec<bool> = (0..waits.len()).map(|who| ended.contains(&who)).collect();
        loop {
            let over = |wait: &Vec<usize>| wait.iter().any(|one| gone[*one]);
            let goes = (0..waits.len()).find(|who| !gone[*who] && waits[*who].iter().all(over));
            match goes {
                Some(who) => gone[who] = true,
                None => return (0..waits.len()).filter(|who| !gone[*who]).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn who_is_stuck_is_who_can_never_go_on(waits in any_waits()) {
            let stuck = graph(&waits).stuck(&vec![true; waits.len()]);
            let stuck: Vec<usize> = (0..waits.len()).filter(|who| stuck[*who]).collect();
            prop_assert_eq!(stuck, left(&waits, &[]));
        }

        #[test]
        fn when_the_victims_have_ended_all_others_go_on(waits in any_waits()) {
            prop_assert_eq!(left(&waits, &told(&waits)), Vec::<usize>::new());
        }

        #[test]
        fn nobody_is_ended_where_all_can_go_on(waits in any_waits()) {
            if left(&waits, &[]).is_empty() {
                prop_assert_eq!(told(&waits), Vec::<usize>::new());
            }
        }

        #[test]
        fn a_circle_is_one(waits in any_locks()) {
            let whole = graph(&waits);
            for Victim { who, circle } in whole.victims(&vec![true; waits.len()], Some) {
                prop_assert_eq!(circle[0], who);
                for (at, one) in circle.iter().enumerate() {
                    let next = circle[(at + 1) % circle.len()];
                    prop_assert!(waits[*one].contains(&vec![next]), "{:?} in {:?}", circle, waits);
                }
                prop_assert!(circle.iter().all(|other| *other <= who));
            }
        }
    }
}
