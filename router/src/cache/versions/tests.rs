//! Every order of steps, and what each order must not show.

use super::*;

const ON: Stripe = Stripe(5000);

fn reads() -> ReadSet {
    ReadSet { stripes: [Stripe(1), Stripe(300), ON] }
}

/// A row, and how often it was changed.
struct World {
    versions: Versions,
    row: u64,
    fills: [Fill; 2],
    /// What the cache holds: the row as it was, and the version it was read at.
    entry: Option<(u64, u64)>,
}

/// How far a fill has come.
#[derive(Default)]
struct Fill {
    version: u64,
    refused: bool,
    row: u64,
}

type Move = fn(&mut World);

const WRITER: &[Move] = &[
    |w| w.versions.mark(ON),
    |w| w.versions.bump(ON),
    |w| w.row += 1,
    |w| w.versions.bump(ON),
    |w| w.versions.unmark(ON),
];

/// Dropped, and then it commits all the same.
const LOST_WRITER: &[Move] = &[
    |w| w.versions.mark(ON),
    |w| w.versions.bump(ON),
    |w| w.versions.quarantine(ON, Duration::from_secs(600)),
    |w| w.versions.bump(ON),
    |w| w.versions.unmark(ON),
    |w| w.row += 1,
];

const FILLER: &[Move] = &[read_version::<0>, read_dirty::<0>, query::<0>, insert::<0>];
const OTHER_FILLER: &[Move] = &[read_version::<1>, read_dirty::<1>, query::<1>, insert::<1>];

/// What must not be done: the query first, the versions after.
const LATE_FILLER: &[Move] = &[query::<0>, read_version::<0>, read_dirty::<0>, insert::<0>];

fn read_version<const N: usize>(world: &mut World) {
    world.fills[N].version = world.versions.version(ON);
}

fn read_dirty<const N: usize>(world: &mut World) {
    world.fills[N].refused = !world.versions.is_clean(ON);
}

fn query<const N: usize>(world: &mut World) {
    world.fills[N].row = world.row;
}

fn insert<const N: usize>(world: &mut World) {
    let fill = &world.fills[N];
    if !fill.refused {
        world.entry = Some((fill.row, fill.version));
    }
}

/// Runs every interleaving; after every step, whatever the cache serves must be what the row is. Counts (orders,
/// hits, stale hits).
fn run(players: &[&[Move]]) -> (u64, u64, u64) {
    let mut counts = (0, 0, 0);
    let mut world = World { versions: Versions::new(), row: 0, fills: Default::default(), entry: None };
    let mut order = Vec::new();
    orders(players, &mut vec![0; players.len()], &mut order, &mut |order| {
        world.entry = None;
        let mut at = vec![0; players.len()];
        counts.0 += 1;
        for player in order {
            players[*player][at[*player]](&mut world);
            at[*player] += 1;
            let hit = world.entry.filter(|(_, version)| world.versions.version(ON) == *version);
            if let Some((row, _)) = hit.filter(|_| world.versions.is_clean(ON)) {
                counts.1 += 1;
                counts.2 += u64::from(row != world.row);
            }
        }
        // The quarantine is over before the next order is tried.
        world.versions.clock.ahead.fetch_add(601, AcqRel);
    });
    counts
}

fn orders(players: &[&[Move]], at: &mut Vec<usize>, order: &mut Vec<usize>, run: &mut impl FnMut(&[usize])) {
    let mut over = true;
    for player in 0..players.len() {
        if at[player] < players[player].len() {
            over = false;
            at[player] += 1;
            order.push(player);
            orders(players, at, order, run);
            order.pop();
            at[player] -= 1;
        }
    }
    if over {
        run(order);
    }
}

#[test]
fn no_order_of_one_write_and_one_fill_serves_what_the_row_is_not() {
    let (orders, hits, stale) = run(&[WRITER, FILLER]);
    assert_eq!((orders, stale), (126, 0));
    assert!(hits > 0, "the model must serve something");
}

#[test]
fn no_order_of_two_writes_and_one_fill_serves_what_the_row_is_not() {
    let (orders, hits, stale) = run(&[WRITER, WRITER, FILLER]);
    assert_eq!((orders, stale), (252_252, 0));
    assert!(hits > 0, "the model must serve something");
}

#[test]
fn no_order_of_one_write_and_two_fills_serves_what_the_row_is_not() {
    let (orders, hits, stale) = run(&[WRITER, FILLER, OTHER_FILLER]);
    assert_eq!((orders, stale), (90_090, 0));
    assert!(hits > 0, "the model must serve something");
}

#[test]
fn a_write_that_was_given_up_and_commits_late_is_never_missed() {
    let (orders, _, stale) = run(&[LOST_WRITER, FILLER]);
    assert_eq!((orders, stale), (210, 0));
}

#[test]
fn the_model_catches_a_ticket_that_is_taken_after_the_query() {
    let (_, _, stale) = run(&[WRITER, LATE_FILLER]);
    assert!(stale > 0);
}

#[test]
fn a_snapshot_holds_until_any_of_its_stripes_is_written() {
    for stripe in reads().stripes {
        let versions = Versions::new();
        let snapshot = versions.snapshot(&reads()).expect("clean");
        assert!(versions.holds(&snapshot));
        versions.begin(stripe);
        assert!(!versions.holds(&snapshot));
        assert_eq!(versions.snapshot(&reads()), None);
        versions.bump(stripe);
        versions.unmark(stripe);
        assert!(!versions.holds(&snapshot));
        assert!(versions.snapshot(&reads()).is_some());
    }
}

#[test]
fn a_stripe_is_dirty_until_the_last_of_its_writes_is_over() {
    let versions = Versions::new();
    versions.begin(ON);
    versions.begin(ON);
    versions.bump(ON);
    versions.unmark(ON);
    assert_eq!(versions.snapshot(&reads()), None);
    versions.bump(ON);
    versions.unmark(ON);
    assert!(versions.snapshot(&reads()).is_some());
}

#[test]
fn a_lost_write_is_dirty_until_its_quarantine_is_over_and_not_longer() {
    let versions = Versions::new();
    versions.begin(ON);
    versions.lose(ON, Duration::from_secs(600));
    assert_eq!(versions.snapshot(&reads()), None);
    assert_eq!(versions.quarantined(), [ON]);
    versions.clock.ahead.fetch_add(600, AcqRel);
    assert_eq!(versions.snapshot(&reads()), None);
    versions.clock.ahead.fetch_add(1, AcqRel);
    assert!(versions.snapshot(&reads()).is_some());
    assert!(versions.quarantined().is_empty());
}

#[test]
fn while_suspended_nothing_holds_and_afterwards_nothing_from_before() {
    let versions = Versions::new();
    let before = versions.snapshot(&reads()).expect("serving");
    versions.suspend();
    versions.suspend();
    assert!(!versions.holds(&before));
    assert_eq!(versions.snapshot(&reads()), None);
    versions.bump_all();
    assert_eq!(versions.snapshot(&reads()), None);
    versions.resume();
    versions.resume();
    assert!(!versions.holds(&before));
    let after = versions.snapshot(&reads()).expect("serving");
    versions.bump_all();
    assert!(!versions.holds(&after));
}
