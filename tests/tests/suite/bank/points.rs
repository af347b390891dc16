//! The steps of a two-phase commit, each as a place where a connection can be cut or the proxy die.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use shardway_tests::{Cut, Middle, Spot};
use tokio::task::block_in_place;

use super::{
    ACCOUNTS, BALANCE, Bank, Fate, SERVERS, books,
    steps::{Step, Transfer},
    teller,
};
use crate::operation::support::keys_on;

/// A message of a commit.
pub(super) struct Point {
    pub(super) name: &'static str,
    holding: &'static str,
    tag: u8,
    from_server: bool,
    /// Which of such messages, from 1.
    nth: u64,
    /// Whether it is the decider's, which is written on first.
    decides: bool,
}

/// Where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// It does not arrive.
    Before,
    /// It arrives, and nothing more.
    After,
}

const fn asked(name: &'static str, holding: &'static str) -> Point {
    Point { name, holding, tag: b'Q', from_server: false, nth: 1, decides: false }
}

const fn answered(name: &'static str, holding: &'static str) -> Point {
    Point { tag: b'C', from_server: true, ..asked(name, holding) }
}

const fn decides(point: Point) -> Point {
    Point { decides: true, ..point }
}

pub(super) const POINTS: [Point; 8] = [
    decides(asked("the decision's row", "shardway.decisions")),
    // The first is the receipt's.
    Point { nth: 2, ..decides(answered("the decision's row's answer", "INSERT 0 1")) },
    asked("PREPARE", "PREPARE TRANSACTION"),
    answered("PREPARE's answer", "PREPARE TRANSACTION"),
    decides(asked("COMMIT", "COMMIT\0")),
    decides(answered("COMMIT's answer", "COMMIT\0")),
    asked("COMMIT PREPARED", "COMMIT PREPARED"),
    answered("COMMIT PREPARED's answer", "COMMIT PREPARED"),
];

impl Point {
    pub(super) fn spot<'a>(&self, middle: &'a Middle, side: Side) -> Spot<'a> {
        let spot = if self.from_server { middle.from_server() } else { middle.from_client() };
        let spot = spot.nth(self.nth, self.tag).holding(self.holding);
        if side == Side::After { spot.after() } else { spot }
    }
}

/// A transfer between the servers, whichever is the first to be written on.
async fn transfer(bank: &Bank, name: String, first: usize) -> Fate {
    let account = |shard| keys_on(shard, super::SHARDS as u32).next().expect("an account");
    let accounts = [account(0), account(super::SHARDS as u32 - 1)];
    let steps = Transfer::between(name.clone(), [accounts[first], accounts[1 - first]]);
    let Some(mut raw) = teller::connect(bank).await else { panic!("no proxy; {}", bank.log()) };
    let (fate, _) = teller::carry_out(bank, &mut raw, &steps).await;
    bank.record(name, fate);
    fate
}

impl Transfer {
    /// Step by step, in a transaction.
    fn between(name: String, accounts: [i32; 2]) -> Vec<Step> {
        let transfer = Transfer::of(name, vec![(accounts[0], -1), (accounts[1], 1)]);
        transfer.step_by_step()
    }
}

/// As a literal takes it.
fn name_of(point: &Point, side: Side, first: usize) -> String {
    format!("{}/{side:?}/{first}", point.name.replace('\'', ""))
}

/// Reads what all have together until all is over: it is always the same. How often.
async fn audit(bank: &'static Bank, over: Arc<AtomicBool>) -> u32 {
    let mut raw = teller::connect(bank).await.expect("a proxy");
    let mut count = 0;
    while !over.load(Relaxed) {
        let reply = raw.query("SELECT sum(balance) FROM account").recv_until_ready().await;
        // It may come to a connection that is cut.
        if reply.error().is_none() {
            let total = (i64::from(ACCOUNTS) * BALANCE).to_string();
            assert_eq!(reply.texts(), [[Some(&*total)]], "a total that never was; {}", bank.log());
            count += 1;
        }
    }
    count
}

/// For every step, before and behind it: `first` is the server that is written on first, then the one where it strikes.
async fn at_every_point(bank: &'static Bank, mut strike: impl AsyncFnMut(&Point, Side, usize, usize)) {
    for point in &POINTS {
        for side in [Side::Before, Side::After] {
            for first in 0..SERVERS {
                let server = if point.decides { first } else { 1 - first };
                strike(point, side, first, server).await;
            }
        }
    }
    eprintln!("{:?}", bank.tally.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_at_any_step_of_a_commit_leaves_all_or_nothing() {
    let bank = Bank::open().await;
    let over = Arc::new(AtomicBool::new(false));
    let audited = tokio::spawn(audit(bank, over.clone()));
    at_every_point(bank, async |point, side, first, server| {
        let fault = point.spot(bank.world.middle(server), side).cut(Cut::Reset);
        transfer(bank, name_of(point, side, first), first).await;
        assert!(fault.has_happened(), "{side:?} {}, on server {server}", point.name);
        drop(fault);
        books::check(bank).await;
    })
    .await;
    over.store(true, Relaxed);
    let totals = audited.await.expect("the totals");
    assert!(totals > 0, "no total was read");
    bank.world.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_killed_at_any_step_of_a_commit_leaves_all_or_nothing() {
    let bank = Bank::open().await;
    at_every_point(bank, async |point, side, first, server| {
        // Each costs the time that another proxy leaves a dead one's transactions alone.
        if first > 0 {
            return;
        }
        let fault = point.spot(bank.world.middle(server), side).stall();
        let moved = tokio::spawn(transfer(bank, name_of(point, side, first), first));
        fault.happened().await;
        block_in_place(|| bank.world.proxy().kill());
        drop(fault);
        moved.await.expect("the transfer's end");
        block_in_place(|| bank.world.proxy().start());
        books::check(bank).await;
    })
    .await;
    bank.world.stop();
}
