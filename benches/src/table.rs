//! The table, as text. Pure.

use crate::case::Unit;
use crate::figures::{Metric, Outcome};
use crate::summary::{Row, Summary};

/// One line's cells.
type Line = Vec<String>;

const HEAD: [&str; 10] = [
    "case",
    "contestant",
    "rate",
    "p50 ms",
    "p99 ms",
    "cost",
    "cost/pgb",
    "rate/pgb",
    "rate/direct",
    "goals",
];

/// How many of the columns are words; the others are numbers, but for the last.
const WORDS: usize = 2;

/// The whole table, with what its marks mean below it.
pub fn table(summaries: &[Summary]) -> String {
    let mut lines: Vec<Line> = vec![HEAD.map(String::from).into()];
    for summary in summaries {
        let rows = summary.rows.iter().enumerate();
        lines.extend(rows.map(|(n, row)| line(summary, row, n == 0)));
    }
    let mut text = aligned(&lines);
    for note in notes(summaries) {
        text.push_str(note);
        text.push('\n');
    }
    text
}

/// A run's numbers in one line, for who watches.
pub fn brief(unit: Unit, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Measured { .. } => {
            let cells = numbers(unit, outcome);
            let [rate, _, _, cost] = &cells;
            format!("{rate}  {cost}").trim().to_owned()
        }
        other => trouble(other),
    }
}

fn line(summary: &Summary, row: &Row, first: bool) -> Line {
    let case = if first { summary.case.clone() } else { String::new() };
    let mut cells = vec![case, row.contestant.clone()];
    cells.extend(numbers(summary.unit, &row.result));
    let ratio = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let ratios = &row.ratios;
    cells.extend([ratios.cost_to_pgbouncer, ratios.rate_to_pgbouncer, ratios.rate_to_direct].map(ratio));
    cells.push(remarks(row));
    cells
}

/// Rate, p50, p99, cost.
fn numbers(unit: Unit, outcome: &Outcome) -> [String; 4] {
    let Outcome::Measured { figures, estimated } = outcome else {
        return [String::from("-"), String::new(), String::new(), String::new()];
    };
    let mark = if *estimated { "*" } else { "" };
    let cell = |metric: Metric, word: &dyn Fn(f64) -> String| {
        figures.get(&metric).map(|&value| format!("{}{mark}", word(value))).unwrap_or_default()
    };
    [
        cell(Metric::Rate, &|value| rate(unit, value)),
        cell(Metric::P50, &milliseconds),
        cell(Metric::P99, &milliseconds),
        cell(Metric::Cost, &|value| cost(unit, value)),
    ]
}

fn rate(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Megabyte => format!("{value:.0} MB/s"),
        _ => format!("{} tps", thousands(value)),
    }
}

fn cost(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Transaction => format!("{value:.1} µs"),
        Unit::Megabyte => format!("{:.1} ms", value / 1000.0),
        Unit::Client => format!("{value:.1} KiB"),
    }
}

fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

/// `12,345`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn remarks(row: &Row) -> String {
    let mut remarks: Vec<String> = Vec::new();
    let trouble = trouble(&row.result);
    if !trouble.is_empty() {
        remarks.push(trouble);
    }
    remarks.extend(comparison(row));
    remarks.extend(row.verdicts.iter().map(|verdict| format!("{} {}", verdict.goal, verdict.by)));
    remarks.join("; ")
}

/// Another build beside the first: the third digit counts here.
fn comparison(row: &Row) -> Option<String> {
    let first = row.compared_with.as_ref()?;
    let ratio = |what: &str, ratio: Option<f64>| Some(format!("{what} x{:.3}", ratio?));
    let [cost, rate] = [("cost", row.ratios.cost_to_shardway), ("rate", row.ratios.rate_to_shardway)];
    let ratios: Vec<String> = [cost, rate].into_iter().filter_map(|(what, r)| ratio(what, r)).collect();
    (!ratios.is_empty()).then(|| format!("{} of {first}'s", ratios.join(", ")))
}

fn trouble(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused(why) => format!("refused: {why}"),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::Measured { .. } | Outcome::Without => String::new(),
    }
}

fn notes(summaries: &[Summary]) -> Vec<&'static str> {
    let mut rows = summaries.iter().flat_map(|summary| &summary.rows);
    let estimated = rows.any(|row| matches!(row.result, Outcome::Measured { estimated: true, .. }));
    let note = "* This PgBouncer carries no prepared statements over a transaction pool (1.21 does): its simple \
                run, with the CPU times 15.2/11.4, which is what they cost 1.25.";
    if estimated { vec![note] } else { Vec::new() }
}

fn aligned(lines: &[Line]) -> String {
    let last = HEAD.len() - 1;
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..last).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let padded = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < WORDS { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let cells: Vec<String> = padded.chain([line[last].clone()]).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::summary::{Ratios, Verdict};

    fn row(contestant: &str, result: Outcome) -> Row {
        let (ratios, verdicts, rounds) = (Ratios::default(), vec![], vec![]);
        Row { contestant: contestant.into(), result, ratios, compared_with: None, verdicts, rounds }
    }

    fn ran(estimated: bool) -> Outcome {
        let figures =
            [(Metric::Rate, 12345.6), (Metric::P50, 0.5), (Metric::P99, 12.34), (Metric::Cost, 11.42)];
        Outcome::Measured { figures: Figures::from(figures), estimated }
    }

    #[test]
    fn a_table_is_aligned_and_says_what_its_marks_mean() {
        let mut shardway = row("shardway", Outcome::Refused("0A000 no".into()));
        shardway.ratios.cost_to_pgbouncer = Some(0.5);
        shardway.verdicts = vec![Verdict { goal: "cpu <= 1.00".into(), met: true, by: "met".into() }];
        let rows = vec![row("direct", Outcome::Without), row("pgbouncer", ran(true)), shardway];
        let text = table(&[Summary { case: "c".into(), unit: Unit::Transaction, rows }]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "case  contestant         rate  p50 ms  p99 ms      cost  cost/pgb  rate/pgb  rate/direct  goals",
                "c     direct                -",
                "      pgbouncer   12,346 tps*  0.500*   12.3*  11.4 µs*",
                "      shardway              -                                0.50                         refused: 0A000 no; cpu <= 1.00 met",
            ]
        );
        assert!(lines[4].starts_with("* This PgBouncer"));
    }

    #[test]
    fn another_build_is_compared_with_the_first() {
        let mut before = row("before", ran(false));
        before.compared_with = Some("shardway".into());
        before.ratios.cost_to_shardway = Some(1.0625);
        before.ratios.rate_to_shardway = Some(0.97);
        assert_eq!(remarks(&before), "cost x1.062, rate x0.970 of shardway's");
    }

    #[test]
    fn costs_and_rates_have_the_units_of_their_case() {
        assert_eq!(brief(Unit::Transaction, &ran(false)), "12,346 tps  11.4 µs");
        let copied = Figures::from([(Metric::Rate, 250.4), (Metric::Cost, 81_000.0)]);
        let copied = Outcome::Measured { figures: copied, estimated: false };
        assert_eq!(brief(Unit::Megabyte, &copied), "250 MB/s  81.0 ms");
        let idle = Outcome::Measured { figures: Figures::from([(Metric::Cost, 3.97)]), estimated: false };
        assert_eq!(brief(Unit::Client, &idle), "4.0 KiB");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_000_000.0), "1,000,000");
    }
}
