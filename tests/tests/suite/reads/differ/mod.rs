//! The proof by comparison: statements of every form, over every type and kind of table, made up from a seed, asked of a
//! sharded database and of one Postgres with the same rows. Rows, their order where there is one, names and types of
//! columns with their modifiers, tags and SQLSTATEs are the same, or the statement is refused under `0A000`, which is counted.
//!
//! Nothing is exempt but what takes too long. Not made are lone `max()` and `min()` with FETCH … WITH TIES, which one Postgres
//! answers or not as its indexes are. So that one Postgres leaves nothing open, statements are made with whole orders
//! where they are cut off, sums of floats are exact, and values that are equal are written alike.
//!
//! `SHARDWAY_SEED` and `SHARDWAY_STATEMENTS` ask for others; `make soak` goes on with ever new seeds.

mod aggregates;
mod ask;
mod conditions;
mod corners;
mod exprs;
mod maker;
mod peers;
mod queries;
mod schema;
mod selects;
mod statement;
mod types;
mod world;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use shardway_tests::Proxy;
use tokio::task::JoinSet;

use ask::{Pair, Verdict, WAYS, Way};
use maker::Maker;
use statement::Statement;
use world::{SHARDS, WORLD, pair};

/// Statements of a run of `make test`, over all numbers of shards.
const STATEMENTS: u64 = 10_000;

/// What came of a run.
#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    right: u64,
    wrong: u64,
    slow: u64,
    /// By reason: how many, and one of them.
    refused: BTreeMap<String, (u64, String)>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.asked += other.asked;
        self.right += other.right;
        self.wrong += other.wrong;
        self.slow += other.slow;
        for (reason, (count, one)) in other.refused {
            self.refused.entry(reason).or_insert((0, one)).0 += count;
        }
    }

    fn refuse(&mut self, message: &str, statement: &Statement) {
        self.refused.entry(reason(message)).or_insert_with(|| (0, statement.sql())).0 += 1;
    }

    /// Prints it, and holds it to what is promised.
    fn check(&self) {
        let refused: u64 = self.refused.values().map(|(count, _)| count).sum();
        let Tally { asked, right, wrong, slow, .. } = self;
        eprintln!(
            "{asked} statements: {right} answered alike, {wrong} errors alike, {slow} too slow, {refused} refused:"
        );
        for (reason, (count, one)) in &self.refused {
            eprintln!("{count:6}  {reason}\n        as in {one}");
        }
        assert!(refused * 50 < *asked, "{refused} of {asked} statements were refused");
        assert!(right * 4 > asked * 3, "{right} of {asked} statements were answered");
        assert!(slow * 100 < *asked, "{slow} of {asked} statements took too long");
    }
}

fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Statements for one number of shards, as many as wanted or until the time is up.
async fn compare(proxy: u16, shards: usize, seed: u64, count: u64, deadline: Option<Instant>) -> Tally {
    let mut pair = pair(proxy, shards).await;
    let mut maker = Maker::new(seed.wrapping_mul(8).wrapping_add(shards as u64));
    let mut tally = Tally::default();
    for n in 0..count {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            break;
        }
        let statement = maker.statement();
        let way = WAYS[maker.below(WAYS.len())];
        tally.asked += 1;
        match pair.ask(&statement, way).await {
            Verdict::Same => tally.right += 1,
            Verdict::Wrong => tally.wrong += 1,
            Verdict::Slow => tally.slow += 1,
            Verdict::Refused(why) => tally.refuse(&why, &statement),
            Verdict::Differs(how) => {
                let (small, how) = shrunk(&mut pair, &statement, way, how).await;
                panic!(
                    "statement {n} of SHARDWAY_SEED={seed} over {shards} shards, asked by {way:?}, differs:\n{}\n\
                     made smaller:\n{}\n{how}",
                    statement.sql(),
                    small.sql()
                );
            }
        }
    }
    tally
}

/// The statement with pieces left out as long as it differs, and how.
async fn shrunk(pair: &mut Pair, statement: &Statement, way: Way, mut how: String) -> (Statement, String) {
    let mut small = statement.clone();
    'smaller: for _ in 0..40 {
        for less in small.smaller() {
            if let Verdict::Differs(still) = pair.ask(&less, way).await {
                (small, how) = (less, still);
                continue 'smaller;
            }
        }
        break;
    }
    (small, how)
}

/// A refusal without what it says of the one statement.
fn reason(message: &str) -> String {
    let plain: String = message.chars().filter(|c| !c.is_ascii_digit()).collect();
    plain.chars().take(90).collect()
}

/// All numbers of shards at the same time.
async fn compare_all(proxy: u16, seed: u64, count: u64, deadline: Option<Instant>) -> Tally {
    let mut work = JoinSet::new();
    for shards in SHARDS {
        let each = count.div_ceil(SHARDS.count() as u64);
        work.spawn(compare(proxy, shards, seed, each, deadline));
    }
    let mut tally = Tally::default();
    while let Some(done) = work.join_next().await {
        match done {
            Ok(one) => tally.add(one),
            // The first difference ends the test.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    tally
}

/// One for all tests here.
static PROXY: LazyLock<Proxy> = LazyLock::new(|| WORLD.another_proxy());

#[tokio::test]
async fn what_is_made_up_is_answered_as_by_one_postgres() {
    let seed = given("SHARDWAY_SEED").unwrap_or(1);
    eprintln!("SHARDWAY_SEED={seed}");
    compare_all(PROXY.port(), seed, given("SHARDWAY_STATEMENTS").unwrap_or(STATEMENTS), None).await.check();
}

/// For `make soak`: ever new seeds, until a million statements are asked or the time is up.
#[tokio::test]
#[ignore = "takes as long as it is told to"]
async fn for_long() {
    const MILLION: u64 = 1_000_000;
    let mut seed = given("SHARDWAY_SOAK_SEED").unwrap_or_else(rand::random);
    let deadline = Instant::now() + Duration::from_secs(given("SHARDWAY_SOAK_SECONDS").unwrap_or(600));
    let mut tally = Tally::default();
    while tally.asked < MILLION && Instant::now() < deadline {
        eprintln!("SHARDWAY_SOAK_SEED={seed}: {} statements so far", tally.asked);
        tally.add(compare_all(PROXY.port(), seed, STATEMENTS, Some(deadline)).await);
        seed = seed.wrapping_add(1);
    }
    tally.check();
}
