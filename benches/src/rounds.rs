//! Who runs when: in each round every case is run by every contestant, one right after the other, and each round
//! another one is first. A machine that is slow for a while is slow for all.

use crate::case::Case;
use crate::contestant::Contestant;
use crate::figures::Outcome;
use crate::measure::Bench;

/// What became of everybody in one case.
pub struct CaseRuns {
    /// Which case.
    pub case: Case,
    /// For each contestant, in their order, what became of it in each round.
    pub runs: Vec<Vec<Outcome>>,
}

/// Runs everything; `tell` hears of each run as it ends: round, case, contestant, outcome.
pub fn run(
    bench: &Bench<'_>,
    cases: Vec<Case>,
    contestants: &[Contestant],
    rounds: usize,
    mut tell: impl FnMut(usize, &Case, &Contestant, &Outcome),
) -> Vec<CaseRuns> {
    let empty = |case| CaseRuns { case, runs: vec![Vec::new(); contestants.len()] };
    let mut all: Vec<CaseRuns> = cases.into_iter().map(empty).collect();
    for round in 0..rounds {
        for CaseRuns { case, runs } in &mut all {
            for who in order(round, contestants.len()) {
                let outcome = bench.run(&contestants[who], case);
                tell(round, case, &contestants[who], &outcome);
                runs[who].push(outcome);
            }
        }
    }
    all
}

/// Each round begins with the next one.
fn order(round: usize, contestants: usize) -> impl Iterator<Item = usize> {
    (0..contestants).map(move |place| (round + place) % contestants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_begins_with_another_contestant() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
