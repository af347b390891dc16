//! Nobody sees anything of another client's: its rows, settings, errors, notices, statements. Many clients on few
//! servers, each with marks in all that it says, do everything that the protocol has while connections are cut,
//! stalled and split at random points on both sides; every byte that a client receives must carry its own mark or be
//! neutral, and in the end what was committed is there, what was not is gone, and the servers are as new.
//!
//! A run is made from a seed, which it prints. `SHARDWAY_SOAK_SEED` asks for the same again (what depends on timing may
//! still differ), `SHARDWAY_SOAK_SECONDS` for a longer one: `make soak`.

mod acts;
mod chaos;
mod judge;
mod laws;
mod life;
mod settings;
mod writes;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use shardway_tests::World;
use tokio::{task::JoinSet, time::Instant};

use crate::operation::support::lines;
use judge::Mark;

/// A row is one half of a pair: a transaction writes both or none.
const SCHEMA: &str = "
CREATE TABLE item (user_id int NOT NULL, mk text NOT NULL, pair text NOT NULL, PRIMARY KEY (user_id, mk));
CREATE FUNCTION say(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN $1; END';
";

const CONFIG: &str = "[server]\nauth = 'trust'\nworker_threads = 2\nworker_use = 'all'\n\
    [routing]\nhealth_check_interval = '200ms'\n[pool]\nmax_prepared_statements = 5\nserver_login_retry = '20ms'\ncancel_wait_timeout = '2s'";

/// Clients that come back again and again.
const CLIENTS: u32 = 30;

/// Those that make things go wrong.
const RULERS: u64 = 3;

/// How much longer a run may take.
const GRACE: Duration = Duration::from_secs(60);

/// What all clients of a run have in common.
struct Run {
    world: World,
    scene: Scene,
    deadline: Instant,
    tally: Tally,
    /// What became of each pair of rows.
    pairs: Mutex<Vec<(Mark, Fate)>>,
}

/// How a transaction ended, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    RolledBack,
    Unknown,
}

/// What happened, by name.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn add(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.into()).or_default() += 1;
    }

    fn get(&self, what: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(what).copied().unwrap_or_default()
    }
}

impl Run {
    /// Who waits for what, for failures: what the console says of clients and servers, and what servers do.
    async fn standing(&self) -> String {
        let admin = self.world.admin().await;
        let mut told = String::new();
        for show in ["SHOW CLIENTS", "SHOW SERVERS", "SHOW POOLS"] {
            told += &format!("{show}\n{}\n", lines(&admin, show).await.join("\n"));
        }
        let sql = "SELECT datname, pid, state, wait_event, left(query, 80) FROM pg_stat_activity WHERE usename = 'app'";
        told + &self.world.server(0).sql("postgres", sql).unwrap_or_default()
    }

    /// Its time is up, and enough was done for it to mean something; a slow machine gets more time, to some end.
    fn is_over(&self) -> bool {
        let now = Instant::now();
        now >= self.deadline && (self.has_done_enough() || now >= self.deadline + GRACE)
    }

    fn has_done_enough(&self) -> bool {
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |fate: Fate| pairs.iter().filter(|pair| pair.1 == fate).count();
        let clients = u64::from(CLIENTS);
        of(Fate::Committed) > CLIENTS as usize
            && of(Fate::RolledBack) > 0
            && self.tally.get("answers") > 20 * clients
            && self.tally.get("lives") > clients
    }

    fn record(&self, pair: Mark, fate: Fate) {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).push((pair, fate));
    }
}

/// A number from the environment.
fn given(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// What a run has its clients work with.
#[derive(Clone, Copy)]
struct Scene {
    shards: u32,
    replicas: usize,
    /// Servers to each shard, at least.
    servers: usize,
    mode: &'static str,
}

const PLAIN: Scene = Scene { shards: 1, replicas: 0, servers: 2, mode: "transaction" };
const SHARDED: Scene = Scene { shards: 2, ..PLAIN };
const REPLICATED: Scene = Scene { replicas: 1, ..SHARDED };
/// A client's server is the next one's when it leaves.
const SESSIONS: Scene = Scene { servers: 20, mode: "session", ..PLAIN };

async fn soak(scene: Scene, seconds: u64) {
    let seed = given("SHARDWAY_SOAK_SEED").unwrap_or_else(rand::random);
    eprintln!("SHARDWAY_SOAK_SEED={seed}");
    let Scene { shards, replicas, servers, mode } = scene;
    let world = World::builder().shards(shards as usize).replicas(replicas).middles().schema(SCHEMA);
    let pool = format!("[pool]\nmode = '{mode}'\ndefault_pool_size = {}", servers + 1);
    let world = world.config(CONFIG).config(&pool).start();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let run = Run { world, scene, deadline, tally: Tally::default(), pairs: Mutex::default() };
    // Lives as long as the program, as a shared world does: tasks may borrow it.
    let run: &'static Run = Box::leak(Box::new(run));
    let mut work = JoinSet::new();
    for client in 1..=CLIENTS {
        let random = StdRng::seed_from_u64(seed.wrapping_add(client.into()));
        work.spawn(life::of(run, client, random));
    }
    for number in 0..RULERS {
        work.spawn(chaos::rule(run, StdRng::seed_from_u64(seed.wrapping_sub(number))));
    }
    // The first failure ends the test.
    while let Some(done) = work.join_next().await {
        if let Err(error) = done {
            panic!("{error}; seed {seed}; shardway's log:\n{}", tail(&run.world.proxy().log()));
        }
    }
    laws::hold(run).await;
    eprintln!("{:?}", run.tally.0.lock().unwrap_or_else(PoisonError::into_inner));
    run.world.stop();
}

/// The log's last lines.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[tokio::test]
async fn nothing_of_one_client_reaches_another() {
    soak(PLAIN, 4).await;
}

#[tokio::test]
async fn nothing_of_one_client_reaches_another_over_shards() {
    soak(SHARDED, 4).await;
}

#[tokio::test]
async fn nothing_of_one_client_reaches_the_next_one_of_its_server() {
    soak(SESSIONS, 4).await;
}

/// For `make soak`.
#[tokio::test]
#[ignore = "takes as long as it is told to"]
async fn for_long() {
    let seconds = given("SHARDWAY_SOAK_SECONDS").unwrap_or(600);
    // Sessions keep the servers that they have: with fewer than there are clients, two may wait for each other's.
    let sessions = Scene { servers: CLIENTS as usize, mode: "session", ..REPLICATED };
    let mut scenes = vec![PLAIN, SHARDED, REPLICATED, SESSIONS, sessions];
    if let Some(one) = given("SHARDWAY_SOAK_SCENE") {
        scenes = vec![scenes.swap_remove(one as usize)];
    }
    let count = scenes.len() as u64;
    for scene in scenes {
        soak(scene, seconds.div_ceil(count)).await;
    }
}
