//! The protocol, message by message: what a client gets through Shardway is what a server itself would say.

mod batches;
mod cancel;
mod copying;
mod dumps;
mod errors;
mod extended;
mod in_turn;
mod large;
mod pipelines;
mod portals;
mod prepared;
mod savepoints;
mod settings;
mod simple;
mod tight;
mod transactions;

use std::sync::atomic::{AtomicI32, Ordering};

use shardway_shardmap::fnv1a64;
use shardway_tests::{DATABASE, Message, PASSWORD, RawClient, Reply, SharedWorld, World};

const SCHEMA: &str = "
CREATE TABLE account (
    user_id int PRIMARY KEY,
    name text UNIQUE,
    balance int NOT NULL DEFAULT 0 CONSTRAINT solvent CHECK (balance >= 0)
);
CREATE TABLE entry (
    user_id int REFERENCES account DEFERRABLE INITIALLY DEFERRED,
    note text
);
";

/// The database on one server, in front of which nothing is sharded.
static PLAIN: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// Four shards on two servers.
static SHOP: SharedWorld = SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).start());

/// A key that no other test has, owned by this one of the four shards.
fn key(shard: usize) -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(1_000_000);
    loop {
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        if fnv1a64(key.to_string().as_bytes()) % 4 == shard as u64 {
            return key;
        }
    }
}

/// An account that was there before the test, on this one of the four shards.
fn account(shard: usize, name: &str) -> i32 {
    let key = key(shard);
    SHOP.shard(shard).sql(&format!("INSERT INTO account VALUES ({key}, '{name}', 100)"));
    key
}

/// A connection straight to a shard.
pub(crate) async fn direct(world: &World, shard: usize) -> RawClient {
    let shard = world.shard(shard);
    let mut raw = RawClient::connect(shard.primary().port()).await;
    raw.login("app", shard.database(), PASSWORD).await;
    raw
}

/// A connection through the proxy with settings in its startup message.
async fn with_settings(world: &World, settings: &[(&str, &str)]) -> RawClient {
    let mut raw = RawClient::connect(world.proxy().port()).await;
    let startup = [&[("user", "app"), ("database", DATABASE)], settings].concat();
    raw.try_login(&startup, PASSWORD).await.expect("a login");
    raw
}

/// What the conversation gives through Shardway, after having seen that it is, to the byte, what a connection
/// straight to the shard gives, with the first shard's object ids of relations. Only where Postgres' source raised an error
/// that Shardway words itself is left out.
pub(crate) async fn same_on(
    world: &World,
    shard: usize,
    talk: impl AsyncFn(&mut RawClient) -> Reply,
) -> Reply {
    let expected = talk(&mut direct(world, shard).await).await;
    let answer = talk(&mut world.raw("app").await).await;
    let without_source = |(expected, answer): (&Message, &Message)| match (expected.tag, answer.field('R')) {
        (b'E' | b'N', None) => placeless(expected),
        (b'T', _) => as_the_first(world, shard, expected),
        _ => expected.clone(),
    };
    let expected_here: Vec<_> = expected.iter().zip(answer.iter()).map(without_source).collect();
    assert!(
        expected.len() == answer.len() && expected_here == answer.0,
        "straight from the server:\n{}\nthrough Shardway:\n{}",
        lines(&expected),
        lines(&answer)
    );
    answer
}

/// A RowDescription of a shard's with the first shard's object ids of relations: those are what clients see.
fn as_the_first(world: &World, shard: usize, described: &Message) -> Message {
    let mut body = described.body.to_vec();
    let mut at = 2;
    while let Some(end) = body[at..].iter().position(|byte| *byte == 0) {
        let relation = at + end + 1..at + end + 5;
        at = relation.start + 18;
        let oid = u32::from_be_bytes(body[relation.clone()].try_into().unwrap());
        if oid >= 16384 {
            let name = world.shard(shard).sql(&format!("SELECT {oid}::regclass"));
            let first = world.shard(0).sql(&format!("SELECT '{name}'::regclass::oid"));
            body[relation].copy_from_slice(&first.trim().parse::<u32>().unwrap().to_be_bytes());
        }
    }
    Message { tag: described.tag, body: body.into() }
}

/// An error or notice without the place in the source that raised it.
fn placeless(message: &Message) -> Message {
    let fields = message.strings().filter(|field| !field.starts_with(['F', 'L', 'R']));
    let body: Vec<u8> = fields.flat_map(|field| [field.as_bytes(), b"\0"].concat()).chain([0]).collect();
    Message { tag: message.tag, body: body.into() }
}

fn lines(reply: &Reply) -> String {
    reply.iter().map(|message| format!("    {message:?}\n")).collect()
}

/// As [`same_on`], where nothing is sharded.
async fn same(talk: impl AsyncFn(&mut RawClient) -> Reply) -> Reply {
    same_on(&PLAIN, 0, talk).await
}

/// As [`same`], for a Query.
async fn same_query(sql: &str) -> Reply {
    same(async |raw| ask(raw, sql).await).await
}

/// The answer to a Query.
pub(crate) async fn ask(raw: &mut RawClient, sql: &str) -> Reply {
    raw.query(sql).recv_until_ready().await
}

/// The SQLSTATE of an answer's error; empty if there is none.
pub(crate) fn code(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('C')).unwrap_or_default()
}

/// The first value of the first row, as text.
pub(crate) fn value(reply: &Reply) -> String {
    let first = reply.texts().0.into_iter().next().and_then(|row| row.into_iter().next());
    first.unwrap_or_else(|| panic!("no row: {reply:?}")).unwrap_or_else(|| "NULL".to_owned())
}
