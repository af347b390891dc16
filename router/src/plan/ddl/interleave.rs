//! Sequences that count on several shards at once, and give no value twice: with *n* shards and a step of *k*, the one on
//! shard *s* begins at *s·k* behind the first and goes on by *n·k*.

use crate::schema::{GroupId, Kind, Schema};
use shardway_pool::catalog::{Catalog, Name, Sequence};

/// Sequences that sharded tables of a group count with.
pub fn wanted(schema: &Schema, catalog: &Catalog, group: GroupId) -> Vec<Name> {
    let sharded = |table: &Name| {
        let table = schema.get(&table.0, &table.1);
        table.is_some_and(|t| matches!(t.kind, Kind::Sharded { group: own, .. } if own == group))
    };
    let uses = catalog.sequence_uses.iter().filter(|used| sharded(&used.table));
    let mut names: Vec<Name> = uses.filter_map(|used| used.sequence.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether these, one for each shard, can never give the same value: they go on by one increment, and no two are at the
/// same distance from a multiple of it. One that begins anew at its end is not known to stay so.
pub fn is_interleaved(shards: &[Option<Sequence>]) -> bool {
    let Some(all) = shards.iter().copied().collect::<Option<Vec<_>>>() else { return false };
    let Some(first) = all.first() else { return false };
    if all.len() == 1 {
        return true;
    }
    let mut phases: Vec<i64> =
        all.iter().filter_map(|s| s.last.checked_rem_euclid(first.increment.checked_abs()?)).collect();
    phases.sort_unstable();
    phases.dedup();
    phases.len() == all.len() && all.iter().all(|s| s.increment == first.increment && !s.cycles)
}

/// What makes them so: the options for ALTER SEQUENCE on each shard; `ours`: they counted so before, in the steps that they
/// have. `None`: they are, or nothing here can make them.
pub fn options(shards: &[Option<Sequence>], ours: bool) -> Option<Vec<String>> {
    let stand = is_interleaved(shards);
    let all = shards.iter().copied().collect::<Option<Vec<_>>>()?;
    let (first, count) = (all.first()?, i64::try_from(all.len()).ok()?);
    // START WITH said the same everywhere: a RESTART, or a TRUNCATE, would have them meet there.
    let meet =
        ours && count > 1 && first.increment % count == 0 && all.iter().all(|s| s.start == first.start);
    if stand && !meet {
        return None;
    }
    if all.iter().any(|s| s.increment != first.increment || s.cycles || s.increment == 0) {
        return None;
    }
    let ahead = |a: i64, b: i64| if first.increment > 0 { a.max(b) } else { a.min(b) };
    // Behind all that any of them has given.
    let next = all.iter().map(Sequence::next).collect::<Option<Vec<_>>>()?.into_iter().reduce(ahead)?;
    if meet {
        let option = |shard: i64| {
            let ahead = (first.increment / count).checked_mul(shard)?;
            let start = first.start.checked_add(ahead)?;
            let restart =
                if stand { String::new() } else { format!(" RESTART WITH {}", next.checked_add(ahead)?) };
            Some(format!("START WITH {start}{restart}"))
        };
        return (0..count).map(option).collect();
    }
    if was_ours(&all, count) {
        // Somebody had them restart: each goes on from there at its own distance.
        let restart = |s: &Sequence| {
            let off = s.start.checked_sub(next)?.checked_rem_euclid(first.increment.checked_abs()?)?;
            let behind = if first.increment > 0 || off == 0 { off } else { off + first.increment };
            Some(format!("RESTART WITH {}", next.checked_add(behind)?))
        };
        return all.iter().map(restart).collect();
    }
    let whole = first.increment.checked_mul(count)?;
    let option = |shard: i64| {
        let ahead = first.increment.checked_mul(shard)?;
        let (start, next) = (first.start.checked_add(ahead)?, next.checked_add(ahead)?);
        Some(format!("INCREMENT BY {whole} START WITH {start} RESTART WITH {next}"))
    };
    (0..count).map(option).collect()
}

/// What setval tells each of them (value, and whether it was given), so that together they go on as one sequence does that is
/// set to `value`: with the values behind it (`called`), or from it on. Each keeps its turn, unless `value` is between two
/// steps: then all are moved by as much. One that has nothing left is set to its last. `None`: one has no value at all.
pub fn set(all: &[Sequence], value: i64, called: bool) -> Option<Vec<(i64, bool)>> {
    let (first, count) = (all.first()?, i128::try_from(all.len()).ok()?);
    let whole = i128::from(first.increment);
    let size = whole.abs();
    if size == 0 {
        return None;
    }
    let own = whole / count;
    let apart = |s: &Sequence| (i128::from(s.last) - i128::from(first.last)).rem_euclid(own.abs());
    // Those that somebody else made count so may be at any distances: then they are left there.
    let regular = own != 0 && whole % count == 0 && all.iter().all(|s| apart(s) == 0);
    let step = if regular { own } else { whole.signum() };
    let from = i128::from(value) + if called { step } else { 0 };
    let moved = (from - i128::from(first.last)).rem_euclid(step.abs());
    let turn = |sequence: &Sequence| {
        let own = i128::from(sequence.last) + moved;
        let (min, max) = (i128::from(sequence.min), i128::from(sequence.max));
        let up = whole > 0;
        let next =
            if up { from + (own - from).rem_euclid(size) } else { from - (from - own).rem_euclid(size) };
        let last = if up { max - (max - own).rem_euclid(size) } else { min + (own - min).rem_euclid(size) };
        let fits = |value: i128| (min..=max).contains(&value).then(|| i64::try_from(value).ok()).flatten();
        fits(next).map(|next| (next, false)).or_else(|| fits(last).map(|last| (last, true)))
    };
    all.iter().map(turn).collect()
}

/// Whether they begin at the distances that were given to them here.
fn was_ours(all: &[Sequence], count: i64) -> bool {
    let step = all[0].increment / count;
    all[0].increment % count == 0
        && all.iter().zip(0i64..).all(|(sequence, shard)| {
            all[0].start.checked_add(step.wrapping_mul(shard)) == Some(sequence.start)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(start: i64, increment: i64) -> Sequence {
        Sequence { start, increment, min: i64::MIN, max: i64::MAX, cycles: false, last: start, called: false }
    }

    /// What ALTER SEQUENCE does.
    fn altered(mut sequence: Sequence, options: &str) -> Sequence {
        let words: Vec<&str> = options.split(' ').collect();
        let after = |word: &str| {
            let at = words.iter().position(|w| *w == word)?;
            words[at + 2].parse::<i64>().ok()
        };
        sequence.increment = after("INCREMENT").unwrap_or(sequence.increment);
        sequence.start = after("START").unwrap_or(sequence.start);
        sequence.last = after("RESTART").unwrap_or(sequence.last);
        sequence.called = false;
        sequence
    }

    fn apply(shards: &[Sequence]) -> Vec<Sequence> {
        let options = options(&some(shards), false).unwrap();
        shards.iter().zip(&options).map(|(s, o)| altered(*s, o)).collect()
    }

    fn some(shards: &[Sequence]) -> Vec<Option<Sequence>> {
        shards.iter().copied().map(Some).collect()
    }

    fn firsts(shards: &[Sequence]) -> Vec<i64> {
        shards.iter().filter_map(Sequence::next).collect()
    }

    #[test]
    fn fresh_ones_take_turns_in_the_declared_steps() {
        let three = apply(&[fresh(100, 10); 3]);
        assert_eq!(firsts(&three), [100, 110, 120]);
        assert!(three.iter().all(|s| s.increment == 30));
        assert!(is_interleaved(&some(&three)));
        assert_eq!(options(&some(&three), false), None);
        let down = apply(&[fresh(-1, -1); 4]);
        assert_eq!(firsts(&down), [-1, -2, -3, -4]);
        assert!(is_interleaved(&some(&down)));
    }

    #[test]
    fn one_that_has_counted_on_a_shard_goes_on_behind_it() {
        let mut shards = [fresh(1, 1); 2];
        (shards[0].last, shards[0].called) = (41, true);
        assert_eq!(firsts(&apply(&shards)), [42, 43]);
    }

    #[test]
    fn a_restart_keeps_the_distances() {
        for (start, increment, at, expected) in
            [(1, 1, 1000, [1000, 1001, 1002, 1003]), (-1, -1, -50, [-50, -51, -52, -53])]
        {
            let mut shards = apply(&[fresh(start, increment); 4]);
            shards.iter_mut().for_each(|s| (s.last, s.called) = (at, false));
            assert!(!is_interleaved(&some(&shards)));
            let again = apply(&shards);
            let mut first = firsts(&again);
            first.sort_unstable_by_key(|n| n.abs());
            assert_eq!(first, expected);
            assert!(is_interleaved(&some(&again)));
            assert_eq!(again.iter().map(|s| s.start).collect::<Vec<_>>(), shards.map_starts());
        }
    }

    #[test]
    fn a_start_that_is_the_same_everywhere_is_told_apart_in_the_steps_that_there_are() {
        let mut shards = apply(&[fresh(1, 1); 3]);
        shards.iter_mut().for_each(|s| s.start = 500);
        let told = options(&some(&shards), true).unwrap();
        assert_eq!(told, ["START WITH 500", "START WITH 501", "START WITH 502"]);
        // With RESTART in the same breath.
        shards.iter_mut().for_each(|s| (s.last, s.called) = (500, false));
        let told = options(&some(&shards), true).unwrap();
        assert_eq!(told[2], "START WITH 502 RESTART WITH 502");
        let again: Vec<_> = shards.iter().zip(&told).map(|(s, o)| altered(*s, o)).collect();
        assert!(is_interleaved(&some(&again)) && again.iter().all(|s| s.increment == 3));
        assert_eq!(options(&some(&again), true), None);
    }

    /// What the sequences give together, in order, when they were set.
    fn go_on(shards: &[Sequence], value: i64, called: bool) -> (Vec<Sequence>, Vec<i64>) {
        let told = set(shards, value, called).unwrap();
        let now: Vec<Sequence> =
            shards.iter().zip(&told).map(|(s, &(last, called))| Sequence { last, called, ..*s }).collect();
        let mut next: Vec<i64> =
            firsts(&now).into_iter().filter(|n| (now[0].min..=now[0].max).contains(n)).collect();
        next.sort_unstable();
        (now, next)
    }

    #[test]
    fn set_ones_go_on_behind_the_value_each_in_its_turn() {
        let mut shards = apply(&[fresh(1, 1); 4]);
        for (value, called, expected) in [
            (42, true, [43, 44, 45, 46]),
            (42, false, [42, 43, 44, 45]),
            (1, true, [2, 3, 4, 5]),
            (1, false, [1, 2, 3, 4]),
        ] {
            let turns: Vec<i64> = shards.iter().map(|s| s.last.rem_euclid(4)).collect();
            let (now, next) = go_on(&shards, value, called);
            assert_eq!(next, expected, "{value} {called}");
            assert_eq!(now.iter().map(|s| s.last.rem_euclid(4)).collect::<Vec<_>>(), turns);
            assert!(is_interleaved(&some(&now)));
            shards = now;
        }
        let down = apply(&[fresh(-1, -1); 3]);
        assert_eq!(go_on(&down, -50, true).1, [-53, -52, -51]);
        assert_eq!(go_on(&down, -50, false).1, [-52, -51, -50]);
        // One alone is a sequence as any other.
        assert_eq!(go_on(&[fresh(1, 1)], 7, true).1, [8]);
    }

    #[test]
    fn a_value_between_two_steps_moves_all_alike() {
        let shards = apply(&[fresh(100, 10); 3]);
        let (now, next) = go_on(&shards, 125, true);
        assert_eq!(next, [135, 145, 155]);
        assert!(is_interleaved(&some(&now)));
        assert_eq!(go_on(&now, 200, false).1, [200, 210, 220]);
        // At distances that nobody here gave them they stay.
        let own: Vec<_> = [1, 2].map(|last| Sequence { last, ..fresh(1, 4) }).into();
        let (now, next) = go_on(&own, 20, true);
        assert_eq!(next, [21, 22]);
        assert_eq!(now.iter().map(|s| s.last % 4).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn at_the_end_there_is_nothing_left() {
        let bounded = |s: &Sequence| Sequence { min: 1, max: 10, ..*s };
        let shards: Vec<_> = apply(&[fresh(1, 1); 4]).iter().map(bounded).collect();
        assert_eq!(go_on(&shards, 8, true).1, [9, 10]);
        let (now, next) = go_on(&shards, 10, true);
        assert_eq!(next, [0i64; 0]);
        assert!(is_interleaved(&some(&now)));
        assert_eq!(go_on(&now, 5, true).1, [6, 7, 8, 9]);
        let far =
            [Sequence { last: i64::MAX - 1, ..fresh(1, 2) }, Sequence { last: i64::MAX, ..fresh(1, 2) }];
        assert!(set(&far, i64::MAX, true).unwrap().iter().all(|(_, called)| *called));
        let narrow = [1, 2].map(|last| Sequence { min: 1, max: 1, ..fresh(last, 2) });
        assert_eq!(set(&narrow, 1, true), None);
        assert_eq!(set(&narrow[..1], 1, true), Some(vec![(1, true)]));
    }

    trait Starts {
        fn map_starts(&self) -> Vec<i64>;
    }

    impl Starts for Vec<Sequence> {
        fn map_starts(&self) -> Vec<i64> {
            self.iter().map(|s| s.start).collect()
        }
    }

    #[test]
    fn what_is_not_known_is_not_proven() {
        let mut shards = some(&apply(&[fresh(1, 1); 2]));
        shards[1] = None;
        assert!(!is_interleaved(&shards));
        assert_eq!(options(&shards, false), None);
        let cycling = [Sequence { cycles: true, ..fresh(1, 1) }; 2];
        assert!(!is_interleaved(&some(&cycling)) && options(&some(&cycling), false).is_none());
        assert!(is_interleaved(&some(&cycling[..1])));
    }
}
