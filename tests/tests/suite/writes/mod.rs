//! Writes over several shards: statements, transactions, and what becomes of them when servers or proxies die.

mod copy;
mod ddl;
mod deadlock;
mod exact;
mod forms;
mod in_doubt;
mod insert;
mod insert_select;
mod limits;
mod made_up;
mod merge;
mod moves;
mod moves_references;
mod moves_triggers;
mod objects;
mod pair;
mod pressure;
mod recovery;
mod reference;
mod sequences;
mod shutdown;
mod side_effects;
mod transactions;
mod two_phase;
mod update;
mod visible;
mod waiting;
mod with;

use std::sync::atomic::{AtomicI32, Ordering};

use shardway_shardmap::fnv1a64;
use shardway_tests::{RawClient, Reply, World};

use crate::operation::support::soon;

/// What transactions over shards are tested with.
const SCHEMA: &str = "
CREATE TABLE account (user_id serial PRIMARY KEY, name text, balance int NOT NULL DEFAULT 100);
CREATE TABLE entry (
    user_id int, owner int REFERENCES account DEFERRABLE INITIALLY DEFERRED
);
";

/// Two shards, each on a server of its own with a middle before it.
fn two_servers() -> World {
    let config =
        "[server]\nauth = 'trust'\n[pool]\nserver_login_retry = '20ms'\ncancel_wait_timeout = '500ms'";
    World::builder().shards(2).servers(2).middles().schema(SCHEMA).config(config).start()
}

/// New accounts, one on each of two shards.
fn both(world: &World) -> [i32; 2] {
    static NEXT: AtomicI32 = AtomicI32::new(1_000_000);
    [0, 1].map(|shard| {
        let id = loop {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            if fnv1a64(id.to_string().as_bytes()) % 2 == shard {
                break id;
            }
        };
        world.shard(shard as usize).sql(&format!("INSERT INTO account (user_id) VALUES ({id})"));
        id
    })
}

/// Two shards with 40 rows of 5 kB, where a statement may hold 64 KiB.
async fn little_room() -> World {
    let config = "[server]\nauth = 'trust'\n[routing]\ngather_max_bytes = '64KiB'";
    let world =
        World::builder().shards(2).schema("CREATE TABLE big (user_id int, t text)").config(config).start();
    let mut raw = world.raw("app").await;
    for user in 0..40 {
        ask(&mut raw, &format!("INSERT INTO big VALUES ({user}, repeat('x', 5000))")).await;
    }
    world
}

/// What random choices begin with, which is told: `SHARDWAY_SEED`, or the test's own number.
fn seed(own: u64) -> u64 {
    let seed = std::env::var("SHARDWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(own);
    eprintln!("seed {seed}");
    seed
}

fn put(id: i32, balance: i32) -> String {
    format!("UPDATE account SET balance = {balance} WHERE user_id = {id}")
}

/// What is committed of two accounts.
fn seen(world: &World, ids: [i32; 2]) -> [String; 2] {
    let balance = |(shard, id): (usize, i32)| {
        world.shard(shard).sql(&format!("SELECT balance FROM account WHERE user_id = {id}"))
    };
    [balance((0, ids[0])), balance((1, ids[1]))]
}

/// Waits until nothing is prepared any more.
async fn nothing_prepared(world: &World) {
    soon("prepared transactions to be ended", async || {
        let left = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        world.everywhere(left).iter().all(|count| count == "0").then_some(())
    })
    .await;
}

/// The answer to a Query.
async fn ask(raw: &mut RawClient, sql: &str) -> Reply {
    raw.query(sql).recv_until_ready().await
}

/// The SQLSTATE of an answer's error; empty if there is none.
fn code(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('C')).unwrap_or_default()
}
