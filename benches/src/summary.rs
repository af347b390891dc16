//! What the rounds of a case come to: medians, ratios, and whether the goals are met. Pure.

use crate::case::{Case, Goal, Unit};
use crate::figures::{Figures, Metric, Outcome, medians, ratio};
use serde::Serialize;

/// A case, for the table and the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The case's name.
    pub case: String,
    /// What it counts.
    pub unit: Unit,
    /// One for each contestant.
    pub rows: Vec<Row>,
}

/// A contestant in a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub contestant: String,
    /// The medians over the rounds, or why there are none.
    pub result: Outcome,
    /// How it compares.
    pub ratios: Ratios,
    /// The first Shardway's name, of the others.
    pub compared_with: Option<String>,
    /// The goals, of a Shardway.
    pub verdicts: Vec<Verdict>,
    /// Each round.
    pub rounds: Vec<Outcome>,
}

/// Medians of ratios within rounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ratios {
    /// Cost to PgBouncer's.
    pub cost_to_pgbouncer: Option<f64>,
    /// Rate to PgBouncer's.
    pub rate_to_pgbouncer: Option<f64>,
    /// Rate to that of Postgres itself.
    pub rate_to_direct: Option<f64>,
    /// Cost to that of the first Shardway, of the others.
    pub cost_to_shardway: Option<f64>,
    /// Rate to that of the first Shardway, of the others.
    pub rate_to_shardway: Option<f64>,
}

/// Whether a goal is met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The goal, in words.
    pub goal: String,
    /// Whether it is met.
    pub met: bool,
    /// How far, in words.
    pub by: String,
}

/// Where the contestants stand in their order.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Postgres itself.
    pub direct: usize,
    /// PgBouncer.
    pub pgbouncer: usize,
    /// The first Shardway; what follows are other ones.
    pub shardway: usize,
}

/// Sums up a case: `runs` holds each contestant's rounds, in the order of `names`.
pub fn summary(case: &Case, names: &[&str], runs: &[Vec<Outcome>], places: Places) -> Summary {
    let row = |(who, (name, rounds)): (usize, (&&str, &Vec<Outcome>))| {
        let ratios = ratios(who, runs, places);
        let result = result(rounds);
        let verdicts = match who >= places.shardway {
            true => case.goals.iter().map(|&goal| verdict(goal, &result, &ratios)).collect(),
            false => Vec::new(),
        };
        let first = names.get(places.shardway).filter(|_| who > places.shardway);
        let compared_with = first.map(|first| (*first).to_owned());
        Row {
            contestant: (*name).to_owned(),
            result,
            ratios,
            compared_with,
            verdicts,
            rounds: rounds.clone(),
        }
    };
    let rows = names.iter().zip(runs).enumerate().map(row).collect();
    Summary { case: case.name.clone(), unit: case.unit(), rows }
}

/// The medians; but one round that went wrong is what has to be known.
fn result(rounds: &[Outcome]) -> Outcome {
    let wrong = |outcome: &&Outcome| !matches!(outcome, Outcome::Measured { .. });
    let worst = rounds.iter().find(|outcome| matches!(outcome, Outcome::Failed(_)));
    if let Some(trouble) = worst.or_else(|| rounds.iter().find(wrong)) {
        return trouble.clone();
    }
    let estimated = rounds.iter().any(|outcome| matches!(outcome, Outcome::Measured { estimated: true, .. }));
    Outcome::Measured { figures: medians(rounds.iter().filter_map(Outcome::figures)), estimated }
}

fn ratios(who: usize, runs: &[Vec<Outcome>], places: Places) -> Ratios {
    let to = |other: usize, metric| {
        let other = runs.get(other).filter(|_| other < who)?;
        ratio(&runs[who], other, metric)
    };
    Ratios {
        cost_to_pgbouncer: to(places.pgbouncer, Metric::Cost),
        rate_to_pgbouncer: to(places.pgbouncer, Metric::Rate),
        rate_to_direct: to(places.direct, Metric::Rate),
        cost_to_shardway: to(places.shardway, Metric::Cost),
        rate_to_shardway: to(places.shardway, Metric::Rate),
    }
}

fn verdict(goal: Goal, result: &Outcome, ratios: &Ratios) -> Verdict {
    let figures = result.figures();
    let cost = |figures: &Figures| figures.get(&Metric::Cost).copied();
    let (words, asked, got) = match goal {
        Goal::Cpu(most) => (format!("cpu <= {most:.2}"), Bound::Most(most), ratios.cost_to_pgbouncer),
        Goal::Rate(least) => (format!("rate >= {least:.2}"), Bound::Least(least), ratios.rate_to_pgbouncer),
        Goal::KibPerClient(most) => (format!("<= {most} KiB"), Bound::Most(most), figures.and_then(cost)),
    };
    let (met, by) = match (figures, got) {
        (Some(_), Some(got)) => asked.judge(got),
        _ => (false, "not measured".into()),
    };
    Verdict { goal: words, met, by }
}

enum Bound {
    Most(f64),
    Least(f64),
}

impl Bound {
    /// Whether `got` is within, and by how much of the bound it is not.
    fn judge(&self, got: f64) -> (bool, String) {
        let (met, off) = match *self {
            Bound::Most(most) => (got <= most, got / most - 1.0),
            Bound::Least(least) => (got >= least, 1.0 - got / least),
        };
        if met { (true, "met".into()) } else { (false, format!("missed by {:.1} %", off * 100.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;

    const PLACES: Places = Places { direct: 0, pgbouncer: 1, shardway: 2 };

    fn ran(rate: f64, cost: Option<f64>) -> Outcome {
        let mut figures = Figures::from([(Metric::Rate, rate)]);
        figures.extend(cost.map(|cost| (Metric::Cost, cost)));
        Outcome::Measured { figures, estimated: false }
    }

    fn case() -> Case {
        cases::named(cases::all(), &["select/simple/32".into()]).unwrap().remove(0)
    }

    fn summed(runs: [Outcome; 4]) -> Summary {
        let names = ["direct", "pgbouncer", "shardway", "before"];
        summary(&case(), &names, &runs.map(|outcome| vec![outcome]), PLACES)
    }

    #[test]
    fn goals_are_judged_against_pgbouncer_and_other_builds_against_the_first() {
        let summary =
            summed([ran(400.0, None), ran(200.0, Some(10.0)), ran(220.0, Some(9.0)), ran(190.0, Some(12.0))]);
        let [direct, _, shardway, before] = &summary.rows[..] else { panic!("four rows") };
        assert_eq!(direct.ratios, Ratios::default());
        assert!(shardway.verdicts.iter().all(|verdict| verdict.met));
        assert_eq!(shardway.ratios.rate_to_direct, Some(0.55));
        assert_eq!(shardway.ratios.cost_to_shardway, None);
        assert_eq!(before.ratios.cost_to_shardway, Some(12.0 / 9.0));
        assert_eq!((&shardway.compared_with, before.compared_with.as_deref()), (&None, Some("shardway")));
        let said: Vec<_> = before.verdicts.iter().map(|v| format!("{} {}", v.goal, v.by)).collect();
        assert_eq!(said, ["cpu <= 1.00 missed by 20.0 %", "rate >= 1.00 missed by 5.0 %"]);
    }

    #[test]
    fn a_refusal_is_a_result_and_no_goal_is_met_by_it() {
        let refused = Outcome::Refused("0A000 not yet".into());
        let summary =
            summed([ran(4.0, None), ran(2.0, Some(1.0)), refused.clone(), Outcome::Failed("x".into())]);
        let row = &summary.rows[2];
        assert_eq!(row.result, refused);
        assert!(row.verdicts.iter().all(|verdict| !verdict.met && verdict.by == "not measured"));
    }

    #[test]
    fn one_failed_round_is_the_result() {
        let rounds = [ran(1.0, None), Outcome::Refused("r".into()), Outcome::Failed("f".into())];
        assert_eq!(result(&rounds), Outcome::Failed("f".into()));
        assert_eq!(result(&rounds[..2]), Outcome::Refused("r".into()));
        assert_eq!(result(&rounds[..1]), ran(1.0, None));
    }
}
