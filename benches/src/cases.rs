//! The cases, and the goals that Shardway has in each.

use crate::case::{Case, Direction, Goal, Load, Mode, Place, Script, Workload};
use crate::error::BenchError;
use crate::scripts::{
    CONNECT, GROUP_BY, HOT_SELECT, LONG_ROWS, POINT_SELECT, POINT_UPDATE, ROWS_20000, SELECT_ONLY, TOP_10,
    TPC_B,
};

const MODES: [Mode; 3] = [Mode::Simple, Mode::Extended, Mode::Prepared];

/// 60 µs where PgBouncer's simple SELECT costs 11.
const GROUP_BY_GOAL: f64 = 60.0 / 11.0;

/// All of them, in the order in which they run.
pub fn all() -> Vec<Case> {
    let mut cases = one_database();
    cases.extend(large_results());
    cases.extend(four_shards());
    cases.push(idle());
    cases
}

/// Those that `--scale` runs: every core has a pgbench thread of its own.
pub fn scaling(cores: usize) -> Vec<Case> {
    let case = |mode: Mode| {
        let load = Load { threads: cores, ..load(&SELECT_ONLY, mode, 32 * cores) };
        everywhere(format!("scale/{}", mode.word()), load, vec![])
    };
    vec![case(Mode::Simple), case(Mode::Prepared)]
}

/// Those whose names have one of `filters` in them; all, where there is none.
///
/// # Errors
/// One of `filters` is in no name.
pub fn named(cases: Vec<Case>, filters: &[String]) -> Result<Vec<Case>, BenchError> {
    let unknown = filters.iter().find(|&filter| !cases.iter().any(|case| case.name.contains(filter)));
    if let Some(unknown) = unknown {
        return Err(BenchError::NoSuchCase(unknown.clone()));
    }
    let wanted = |case: &Case| filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter));
    Ok(cases.into_iter().filter(wanted).collect())
}

fn one_database() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in MODES {
        let cpu = if mode == Mode::Prepared { 0.85 } else { 1.0 };
        for clients in [1, 32, 500] {
            let name = format!("select/{}/{clients}", mode.word());
            cases.push(everywhere(name, load(&SELECT_ONLY, mode, clients), goals(cpu)));
        }
    }
    for mode in MODES {
        let narrow = Load { place: Place::Narrow, ..load(&SELECT_ONLY, mode, 40) };
        let case = everywhere(format!("select/{}/40-over-5", mode.word()), narrow, goals(0.7));
        cases.push(Case { direct: None, ..case });
    }
    cases.push(everywhere("tpc-b/simple/32", load(&TPC_B, Mode::Simple, 32), goals(1.0)));
    let connect = Load { reconnect: true, ..load(&CONNECT, Mode::Simple, 8) };
    cases.push(everywhere("connect/8", connect, goals(1.0)));
    cases
}

fn large_results() -> Vec<Case> {
    let copy = |name: &str, direction| same(name, Workload::Copy(direction), goals(0.5));
    vec![
        everywhere("rows/20000/4", load(&ROWS_20000, Mode::Simple, 4), goals(0.5)),
        everywhere("rows/100x1000/8", load(&LONG_ROWS, Mode::Simple, 8), goals(0.5)),
        copy("copy/out", Direction::Out),
        copy("copy/in", Direction::In),
    ]
}

fn four_shards() -> Vec<Case> {
    let select = |mode| load(&SELECT_ONLY, mode, 32);
    let mut cases = Vec::new();
    for mode in MODES {
        let name = format!("shards/select/{}", mode.word());
        cases.push(beside(name, select(mode), sharded(&POINT_SELECT, mode), vec![Goal::Cpu(1.15)]));
    }
    for mode in [Mode::Simple, Mode::Prepared] {
        let (name, one) = (format!("shards/update/{}", mode.word()), load(&POINT_UPDATE, mode, 32));
        cases.push(beside(name, one, sharded(&POINT_UPDATE, mode), vec![Goal::Cpu(1.15)]));
    }
    let simple = select(Mode::Simple);
    let group_by = sharded(&GROUP_BY, Mode::Simple);
    cases.push(beside("shards/group-by", simple, group_by, vec![Goal::Cpu(GROUP_BY_GOAL)]));
    cases.push(beside("shards/top-10", simple, sharded(&TOP_10, Mode::Simple), vec![]));
    let cached = Load { place: Place::Cached, ..load(&HOT_SELECT, Mode::Prepared, 32) };
    cases.push(beside("cache/select/prepared", select(Mode::Prepared), cached, vec![]));
    cases
}

fn idle() -> Case {
    let idle = Workload::Idle { clients: 2000 };
    Case { direct: None, ..same("idle/2000", idle, vec![Goal::KibPerClient(4.0)]) }
}

/// Large results and single databases must not be slower either.
fn goals(cpu: f64) -> Vec<Goal> {
    vec![Goal::Cpu(cpu), Goal::Rate(1.0)]
}

fn load(script: &'static Script, mode: Mode, clients: usize) -> Load {
    Load { script, mode, clients, threads: 1, reconnect: false, place: Place::Main }
}

fn sharded(script: &'static Script, mode: Mode) -> Load {
    Load { place: Place::Sharded, ..load(script, mode, 32) }
}

fn same(name: impl Into<String>, work: Workload, goals: Vec<Goal>) -> Case {
    Case { name: name.into(), direct: Some(work), pgbouncer: work, shardway: work, goals }
}

fn everywhere(name: impl Into<String>, load: Load, goals: Vec<Goal>) -> Case {
    same(name, Workload::Pgbench(load), goals)
}

/// Shardway's work on shards beside `one`, the nearest that one database has.
fn beside(name: impl Into<String>, one: Load, shards: Load, goals: Vec<Goal>) -> Case {
    let [one, shards] = [one, shards].map(Workload::Pgbench);
    Case { name: name.into(), direct: Some(one), pgbouncer: one, shardway: shards, goals }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: Vec<String> = all().into_iter().map(|case| case.name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn filters_are_parts_of_names_and_a_wrong_one_is_named() {
        let count = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
            named(all(), &filters).map(|cases| cases.len())
        };
        assert_eq!(count(&[]).unwrap(), all().len());
        assert_eq!(count(&["40-over-5"]).unwrap(), 3);
        assert_eq!(count(&["copy/out", "idle"]).unwrap(), 2);
        assert!(count(&["idle", "nothing"]).unwrap_err().to_string().contains("\"nothing\""));
    }
}
