//! The numbers of one run, and what several runs have in common. Pure.

use serde::Serialize;
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Units in a second: transactions, or megabytes.
    Rate,
    /// The median of the latency, in milliseconds.
    P50,
    /// What one in a hundred transactions takes longer than, in milliseconds.
    P99,
    /// What a unit costs the proxy: µs of CPU for a transaction or for 100 MB, KiB for an idle client.
    Cost,
}

/// The numbers of one run. What does not exist (a proxy's cost, where there is no proxy) is not in it.
pub type Figures = BTreeMap<Metric, f64>;

/// What became of one contestant in one round of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran.
    Measured {
        /// With these numbers.
        figures: Figures,
        /// They are taken from another mode's run, since this version can't do what the case asks for.
        estimated: bool,
    },
    /// The proxy says that it does not support the statement (SQLSTATE 0A000); its words.
    Refused(String),
    /// Something is wrong; what.
    Failed(String),
    /// The case means nothing for this contestant.
    Without,
}

impl Outcome {
    /// The numbers, if it ran.
    pub fn figures(&self) -> Option<&Figures> {
        match self {
            Outcome::Measured { figures, .. } => Some(figures),
            _ => None,
        }
    }
}

/// The middle of `values`, the mean of the two middle ones where their number is even; nothing of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(lower.midpoint(upper))
}

/// The value of sorted `values` that the share `q` of them does not exceed (nearest rank); nothing of nothing.
pub fn percentile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The median of each number that every run has.
pub fn medians<'a>(runs: impl IntoIterator<Item = &'a Figures>) -> Figures {
    let mut all: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
    for (&metric, &value) in runs.into_iter().flatten() {
        all.entry(metric).or_default().push(value);
    }
    all.into_iter().filter_map(|(metric, values)| Some((metric, median(values)?))).collect()
}

/// The median over the rounds of one's number divided by the other's in the same round: what slows the machine down
/// for a while slows both.
pub fn ratio(of: &[Outcome], to: &[Outcome], metric: Metric) -> Option<f64> {
    let value = |outcome: &Outcome| outcome.figures()?.get(&metric).copied();
    let pairs = of.iter().zip(to).filter_map(|(of, to)| Some((value(of)?, value(to)?)));
    median(pairs.filter(|(_, to)| *to > 0.0).map(|(of, to)| of / to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(rate: f64) -> Outcome {
        Outcome::Measured { figures: Figures::from([(Metric::Rate, rate)]), estimated: false }
    }

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(100.0));
        assert_eq!(percentile(&values, 0.99), Some(198.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_number_that_not_all_have_is_the_median_of_those_that_do() {
        let runs =
            [Figures::from([(Metric::Rate, 1.0), (Metric::Cost, 8.0)]), Figures::from([(Metric::Rate, 3.0)])];
        assert_eq!(medians(&runs), Figures::from([(Metric::Rate, 2.0), (Metric::Cost, 8.0)]));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was half as fast in the second round: the ratio does not notice.
        let (of, to) = ([ran(90.0), ran(45.0), ran(90.0)], [ran(100.0), ran(50.0), ran(100.0)]);
        assert_eq!(ratio(&of, &to, Metric::Rate), Some(0.9));
    }

    #[test]
    fn a_round_in_which_one_failed_has_no_ratio() {
        let (of, to) = ([Outcome::Failed("gone".into()), ran(50.0)], [ran(1.0), ran(100.0)]);
        assert_eq!(ratio(&of, &to, Metric::Rate), Some(0.5));
        assert_eq!(ratio(&of[..1], &to[..1], Metric::Rate), None);
        assert_eq!(ratio(&of, &to, Metric::Cost), None);
    }
}
