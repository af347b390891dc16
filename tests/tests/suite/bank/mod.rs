//! Money is neither made nor lost: clients move it between random accounts on random shards while the proxy is killed,
//! servers are killed and connections cut, at random and at each step of a two-phase commit. After each round a fresh
//! proxy recovers what the dead one left; then the total is exact, no prepared transaction is left, every transfer that
//! a client was told is committed is there, and none that it was told had failed.
//!
//! A run is made from a seed, which it prints with what happened. `SHARDWAY_SOAK_SEED` asks for the same again (what
//! depends on timing may still differ), `SHARDWAY_SOAK_SECONDS` for a longer one: `make soak`.

mod books;
mod nemesis;
mod points;
mod steps;
mod teller;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use shardway_tests::World;
use tokio::{task::JoinSet, time::Instant};

const SHARDS: usize = 4;
const SERVERS: usize = 2;
const CLIENTS: u32 = 16;
const ACCOUNTS: i32 = 40;
/// What each account begins with.
const BALANCE: i64 = 1000;

/// A transfer leaves a receipt with each account that it touches.
const SCHEMA: &str = "
CREATE TABLE account (user_id int PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE receipt (user_id int, transfer text, amount bigint NOT NULL, PRIMARY KEY (user_id, transfer));
";

/// Transfers wait for each other's locks on several shards: one that waits too long gives up.
const CONFIG: &str = "[server]\nauth = 'trust'\n[routing]\nhealth_check_interval = '200ms'\n\
    [pool]\ndefault_pool_size = 20\nserver_login_retry = '20ms'\nquery_wait_timeout = '5s'";

/// How a transfer ended, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Failed,
    Unknown,
}

/// What happened, by name.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn add(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.into()).or_default() += 1;
    }

    /// How often it happened, whatever else its name says.
    fn starting_with(&self, what: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|(name, _)| name.starts_with(what)).map(|(_, count)| count).sum()
    }
}

/// A bank, and all that happened in it.
struct Bank {
    world: World,
    deadline: Mutex<Instant>,
    tally: Tally,
    /// How each transfer ended.
    fates: Mutex<Vec<(String, Fate)>>,
}

impl Bank {
    /// Lives as long as the program, as a shared world does: tasks may borrow it.
    async fn open() -> &'static Bank {
        let world = World::builder().shards(SHARDS).servers(SERVERS).middles().schema(SCHEMA).config(CONFIG);
        let world = world.start();
        let (tally, fates) = (Tally::default(), Mutex::default());
        let bank = Bank { world, deadline: Mutex::new(Instant::now()), tally, fates };
        let client = bank.world.connect("app").await;
        for account in 1..=ACCOUNTS {
            let opened = client.execute("INSERT INTO account VALUES ($1, $2)", &[&account, &BALANCE]).await;
            opened.expect("an account");
        }
        Box::leak(Box::new(bank))
    }

    fn is_closing(&self) -> bool {
        Instant::now() >= *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, transfer: String, fate: Fate) {
        self.tally.add(format!("{fate:?}"));
        self.fates.lock().unwrap_or_else(PoisonError::into_inner).push((transfer, fate));
    }

    /// Clients at work and a nemesis among them for so long; then a fresh proxy, and the books are checked.
    async fn round(&'static self, number: u64, seed: u64, length: Duration) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + length;
        let random = |salt: u64| StdRng::seed_from_u64(seed.wrapping_add(number << 32).wrapping_add(salt));
        let mut work = JoinSet::new();
        for client in 0..CLIENTS {
            let name = format!("r{number}c{client}");
            work.spawn(teller::of(self, name, random(client.into())));
        }
        work.spawn(nemesis::destroys(self, random(1000)));
        for points in 0..2 {
            work.spawn(nemesis::cuts(self, random(2000 + points)));
        }
        // The first failure ends the test.
        while let Some(done) = work.join_next().await {
            if let Err(error) = done {
                panic!("{error}; seed {seed}; shardway's log:\n{}", self.log());
            }
        }
        self.renew_proxy();
        books::check(self).await;
        eprintln!("round {number}: {:?}", self.tally.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The proxy dies, and another one takes its place.
    fn renew_proxy(&self) {
        tokio::task::block_in_place(|| {
            self.world.proxy().kill();
            self.world.proxy().start();
        });
    }

    /// The last lines of the proxy's log.
    fn log(&self) -> String {
        let log = self.world.proxy().log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Rounds of `length` until `whole` is over. Gives the bank.
async fn run(whole: Duration, length: Duration) -> &'static Bank {
    let seed = given("SHARDWAY_SOAK_SEED").unwrap_or_else(rand::random);
    eprintln!("SHARDWAY_SOAK_SEED={seed}");
    let bank = Bank::open().await;
    let end = Instant::now() + whole;
    for number in 1.. {
        bank.round(number, seed, length).await;
        if Instant::now() >= end {
            break;
        }
    }
    bank.world.stop();
    bank
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_money_is_made_or_lost_while_proxy_and_servers_die() {
    let bank = run(Duration::ZERO, Duration::from_secs(6)).await;
    assert!(bank.tally.starting_with("Committed") > u64::from(CLIENTS), "too little was done");
    assert!(bank.tally.starting_with("fault") > 3, "too little went wrong");
}

/// For `make soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is told to"]
async fn for_long() {
    let seconds = given("SHARDWAY_SOAK_SECONDS").unwrap_or(600);
    let bank = run(Duration::from_secs(seconds), Duration::from_secs(10)).await;
    assert!(bank.tally.starting_with("fault") > seconds / 2, "too little went wrong");
}
