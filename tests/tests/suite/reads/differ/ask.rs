//! Asks the proxy and one Postgres the same, and says where they differ.

use bytes::Bytes;
use shardway_tests::RawClient;

use super::statement::{Order, Statement};
use super::ways::{Answer, Said, Way, asked};

/// A client of the proxy, and one of the single database.
pub struct Pair {
    pub proxy: RawClient,
    pub single: RawClient,
}

/// How the two compare.
pub enum Verdict {
    /// Both gave the same, this many rows.
    Same(usize),
    /// Both gave the same error, under this SQLSTATE.
    Wrong(String),
    /// The proxy did not answer; why.
    Refused(String),
    /// One of them took too long.
    Slow,
    /// They differ; how.
    Differs(String),
}

impl Pair {
    /// Asks both.
    pub async fn ask(&mut self, statement: &Statement, way: Way) -> Verdict {
        let (sql, params) = match way {
            Way::Simple | Way::Bare | Way::Cursor => (statement.sql(), Vec::new()),
            _ => statement.with_params(),
        };
        let binary = matches!(way, Way::Binary | Way::Bare | Way::Portal) && !statement.textual;
        let (got, expected) = tokio::join!(
            asked(&mut self.proxy, &sql, &params, way, binary),
            asked(&mut self.single, &sql, &params, way, binary)
        );
        judged(got, expected, &statement.order)
    }
}

fn judged(got: Said, expected: Said, order: &Order) -> Verdict {
    const TOO_LONG: &str = "57014";
    match (got, expected) {
        (Err(fault), _) | (_, Err(fault)) if fault.code == TOO_LONG => Verdict::Slow,
        (Err(got), Err(expected)) if got.code == expected.code => {
            // Which row fails first is left open, where the statement is wrong is not.
            let placed = got.position == expected.position || got.position.is_none();
            match placed {
                true => Verdict::Wrong(got.code),
                false => Verdict::Differs(format!("errors\nthe proxy: {got:?}\nPostgres: {expected:?}")),
            }
        }
        (Err(fault), _) if fault.code == "0A000" => Verdict::Refused(fault.message),
        (Ok(got), Ok(expected)) => match difference(&got, &expected, order) {
            None => Verdict::Same(got.rows.len()),
            Some(difference) => Verdict::Differs(difference),
        },
        (got, expected) => {
            let short = |said: Said| said.map(|answer| format!("{} rows", answer.rows.len()));
            Verdict::Differs(format!("the proxy: {:?}\nPostgres: {:?}", short(got), short(expected)))
        }
    }
}

fn difference(got: &Answer, expected: &Answer, order: &Order) -> Option<String> {
    if got.columns != expected.columns {
        return Some(format!("columns\nthe proxy: {:?}\nPostgres: {:?}", got.columns, expected.columns));
    }
    if got.tags != expected.tags {
        return Some(format!("tags\nthe proxy: {:?}\nPostgres: {:?}", got.tags, expected.tags));
    }
    let keys = |answer: &Answer, places: &[usize]| -> Vec<Vec<Option<Bytes>>> {
        answer
            .rows
            .iter()
            .map(|row| places.iter().map(|at| row.get(*at).cloned().flatten()).collect())
            .collect()
    };
    let sorted = |answer: &Answer| {
        let mut rows = answer.rows.clone();
        rows.sort();
        rows
    };
    let same = match order {
        Order::Whole => got.rows == expected.rows,
        Order::By(places) => keys(got, places) == keys(expected, places) && sorted(got) == sorted(expected),
        Order::Any => sorted(got) == sorted(expected),
    };
    // Those that the other has not; all where only their order differs.
    let show = |answer: &Answer, other: &Answer| {
        let own = answer.rows.iter().filter(|row| !other.rows.contains(row)).collect::<Vec<_>>();
        let own = if own.is_empty() { answer.rows.iter().collect() } else { own };
        let rows = own.iter().take(6).map(|row| format!("  {row:?}").chars().take(400).collect::<String>());
        format!("{} rows, as\n{}", answer.rows.len(), rows.collect::<Vec<_>>().join("\n"))
    };
    (!same).then(|| format!("rows\nthe proxy: {}\nPostgres: {}", show(got, expected), show(expected, got)))
}
