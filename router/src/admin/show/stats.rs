//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS.

use crate::admin::answer::{Row, row};
use crate::admin::gather;
use crate::admin::snapshot::StatsRow;
use crate::admin::tally::{Counts, NAMES};
use crate::proxy::Proxy;

fn by_database(proxy: &Proxy, values: impl Fn(&StatsRow) -> Vec<Counts>) -> Vec<Row> {
    let stats = gather::stats(proxy);
    let line = |(name, stats): (&String, &StatsRow)| {
        let mut cells = row![name];
        cells.extend(
            values(stats).into_iter().flat_map(|counts| counts.0).map(|value| Some(value.to_string())),
        );
        cells
    };
    stats.iter().map(line).collect()
}

pub(super) fn stats(proxy: &Proxy) -> Vec<Row> {
    by_database(proxy, |row| vec![row.totals, row.averages])
}

pub(super) fn totals(proxy: &Proxy) -> Vec<Row> {
    by_database(proxy, |row| vec![row.totals])
}

pub(super) fn averages(proxy: &Proxy) -> Vec<Row> {
    by_database(proxy, |row| vec![row.averages])
}

/// One row for each sum and each average over all databases.
pub(super) fn all(proxy: &Proxy) -> Vec<Row> {
    let stats = gather::all_stats(proxy);
    let lines = |prefix: &'static str, values: Counts| {
        NAMES.into_iter().zip(values.0).map(move |(name, value)| row![format!("{prefix}_{name}"), value])
    };
    lines("total", stats.totals).chain(lines("avg", stats.averages)).collect()
}
