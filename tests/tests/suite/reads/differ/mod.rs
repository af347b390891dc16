//! The proof by comparison: statements of every form, over every type, kind of table and view, made up from a seed, asked of a
//! sharded database and of one Postgres with the same rows: by simple and extended protocol, in text and in binary, prepared by
//! either, some rows after the others, and by cursors. Rows, their order where there is one, names and types of columns with
//! their modifiers, tags, SQLSTATEs and the places of errors are the same, or the statement is refused under `0A000`, which is
//! counted.
//!
//! Nothing is exempt but what takes too long. Not made are lone `max()` and `min()` with FETCH … WITH TIES, which one Postgres
//! answers or not as its indexes are. So that one Postgres leaves nothing open, statements are made with whole orders
//! where they are cut off, sums of floats are exact, and values that are equal are written alike.
//!
//! `SHARDWAY_SEED` and `SHARDWAY_STATEMENTS` ask for others; `make soak` goes on with ever new seeds.

mod aggregates;
mod ask;
mod clauses;
mod conditions;
mod corners;
mod exprs;
mod forms;
mod found;
mod groups;
mod joins;
mod kinds;
mod maker;
mod peers;
mod queries;
mod rare;
mod relations;
mod schema;
mod selects;
mod statement;
mod types;
mod ways;
mod windows;
mod world;
mod wrong;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use shardway_tests::Proxy;
use tokio::task::JoinSet;

use ask::{Pair, Verdict};
use maker::Maker;
use statement::Statement;
use ways::{WAYS, Way};
use world::{SHARDS, WORLD, pair};

/// Statements of a run of `make test`, over all numbers of shards.
const STATEMENTS: u64 = 10_000;

/// Differences after which a piece of a run is left alone.
const ENOUGH: usize = 5;

/// Statements of a piece.
const PIECE: u64 = 250;

/// Clients who ask at the same time. Each has another one at its side, who asks the single database.
const CLIENTS: usize = 5;

/// What came of a run.
#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    right: u64,
    /// Of these, answers without a row.
    empty: u64,
    slow: u64,
    /// Errors by their SQLSTATEs.
    wrong: BTreeMap<String, u64>,
    /// By reason: how many, and one of them.
    refused: BTreeMap<String, (u64, String)>,
    /// What is not as it must be.
    different: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.asked += other.asked;
        self.right += other.right;
        self.empty += other.empty;
        self.slow += other.slow;
        self.different.extend(other.different);
        for (code, count) in other.wrong {
            *self.wrong.entry(code).or_default() += count;
        }
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
        let Tally { asked, right, empty, slow, .. } = self;
        let wrong: u64 = self.wrong.values().sum();
        eprintln!(
            "{asked} statements: {right} answered alike ({empty} of them by no row), {wrong} errors alike, \
             {slow} too slow, {refused} refused:"
        );
        eprintln!("errors: {:?}", self.wrong);
        for (reason, (count, one)) in &self.refused {
            eprintln!("{count:6}  {reason}\n        as in {one}");
        }
        let different = &self.different;
        assert!(different.is_empty(), "{} answers differ:\n{}", different.len(), different.join("\n\n"));
        assert!(refused * 50 < *asked, "{refused} of {asked} statements were refused");
        assert!(right * 4 > asked * 3, "{right} of {asked} statements were answered");
        assert!(slow * 100 < *asked, "{slow} of {asked} statements took too long");
    }
}

fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// A piece of a run: statements for one number of shards.
#[derive(Clone, Copy)]
struct Piece {
    seed: u64,
    number: u64,
    shards: usize,
    count: u64,
}

/// Asks a piece's statements, or as many as there is time for.
async fn compare(proxy: u16, piece: Piece, deadline: Option<Instant>) -> Tally {
    let Piece { seed, number, shards, count } = piece;
    let mut pair = pair(proxy, shards).await;
    let mut maker = Maker::new(seed.wrapping_mul(0x9e37_79b9) ^ (number * 8 + shards as u64));
    let mut tally = Tally::default();
    for n in 0..count {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            break;
        }
        let statement = maker.statement();
        let way = WAYS[maker.below(WAYS.len())];
        tally.asked += 1;
        match pair.ask(&statement, way).await {
            Verdict::Same(rows) => {
                tally.right += 1;
                tally.empty += u64::from(rows == 0);
            }
            Verdict::Wrong(code) => *tally.wrong.entry(code).or_default() += 1,
            Verdict::Slow => tally.slow += 1,
            Verdict::Refused(why) => tally.refuse(&why, &statement),
            Verdict::Differs(how) => {
                let (small, how) = shrunk(&mut pair, &statement, way, how).await;
                tally.different.push(format!(
                    "statement {n} of piece {number} of SHARDWAY_SEED={seed} over {shards} shards, asked by {way:?}, differs:\n{}\n\
                     made smaller:\n{}\n{how}",
                    statement.sql(),
                    small.sql()
                ));
                if tally.different.len() == ENOUGH {
                    break;
                }
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

/// All numbers of shards at the same time, by some clients who take piece after piece.
async fn compare_all(proxy: u16, seed: u64, count: u64, deadline: Option<Instant>) -> Tally {
    let kinds = SHARDS.count() as u64;
    let each = count.div_ceil(kinds).min(PIECE);
    let pieces = count.div_ceil(each * kinds) * kinds;
    let next = Arc::new(AtomicU64::new(0));
    let mut work = JoinSet::new();
    for _ in 0..CLIENTS {
        let next = Arc::clone(&next);
        work.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= pieces {
                    return tally;
                }
                let shards = SHARDS
                    .clone()
                    .nth(usize::try_from(number % kinds).unwrap_or_default())
                    .expect("a number of shards");
                let piece = Piece { seed, number, shards, count: each };
                tally.add(compare(proxy, piece, deadline).await);
            }
        });
    }
    let mut tally = Tally::default();
    while let Some(done) = work.join_next().await {
        match done {
            Ok(one) => tally.add(one),
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
    while tally.asked < MILLION && tally.different.is_empty() && Instant::now() < deadline {
        eprintln!("SHARDWAY_SOAK_SEED={seed}: {} statements so far", tally.asked);
        tally.add(compare_all(PROXY.port(), seed, STATEMENTS, Some(deadline)).await);
        seed = seed.wrapping_add(1);
    }
    tally.check();
}
