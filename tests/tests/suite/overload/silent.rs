//! Clients that do not read what they asked for, or ask without end: their servers and their sockets wait, and the
//! proxy's memory does not grow.

use std::{fs, time::Duration};

use shardway_tests::{RawClient, SharedWorld, World};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Mutex, time::timeout};

use super::crowd;
use crate::operation::support::soon;

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .shards(2)
        .schema("CREATE TABLE wide (user_id int, text text); INSERT INTO wide SELECT n, repeat('w', 1000) FROM generate_series(1, 30000) n")
        .config("[server]\nauth = 'trust'")
        .start()
});

/// Tests that look at the memory must not run side by side.
static ALONE: Mutex<()> = Mutex::const_new(());

const MIB: usize = 1 << 20;

/// What the proxy holds in memory now, in bytes.
fn memory() -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", WORLD.proxy().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Servers that wait for their client to read.
fn blocked() -> usize {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND usename = 'app'";
    WORLD.server(0).sql("postgres", sql).unwrap().parse().unwrap()
}

async fn others_go_on(raw: &mut RawClient) {
    for n in 0..20 {
        let reply = raw.query(&format!("/* shard: {} */ SELECT {n}", n % 2)).recv_until_ready().await;
        assert_eq!(reply.texts(), [[Some(n.to_string().as_str())]]);
    }
}

async fn do_not_read(sql: &str, servers: usize) {
    let _alone = ALONE.lock().await;
    let mut other = WORLD.raw("app").await;
    others_go_on(&mut other).await;
    let mut silent = crowd(WORLD.proxy(), 10).await;
    let before = memory();
    for raw in &mut silent {
        raw.query(sql).send().await;
    }
    soon("the servers to wait", async || (blocked() == servers).then_some(())).await;
    others_go_on(&mut other).await;
    let grown = memory().saturating_sub(before);
    // A few buffers each, of 64 KiB.
    assert!(grown < 16 * MIB, "it grew by {grown} bytes");
    drop(silent);
    soon("the servers to be let go", async || (blocked() == 0).then_some(())).await;
    others_go_on(&mut other).await;
}

#[tokio::test]
async fn clients_that_do_not_read_one_shards_rows_stop_only_themselves() {
    do_not_read("/* shard: 0 */ SELECT a.text FROM wide a, generate_series(1, 9)", 10).await;
}

#[tokio::test]
async fn clients_that_do_not_read_what_is_merged_stop_only_themselves() {
    do_not_read("SELECT user_id, text FROM wide ORDER BY user_id", 20).await;
}

#[tokio::test]
async fn clients_that_do_not_read_a_copy_stop_only_themselves() {
    do_not_read("/* shard: 1 */ COPY wide TO STDOUT", 10).await;
}

#[tokio::test]
async fn a_client_that_asks_without_end_and_does_not_read_is_not_listened_to() {
    let _alone = ALONE.lock().await;
    let mut other = WORLD.raw("app").await;
    others_go_on(&mut other).await;
    let before = memory();
    let mut floods = Vec::new();
    for simple in [true, false] {
        let mut raw = WORLD.raw("app").await;
        match simple {
            true => raw.query("SELECT repeat('f', 100000)"),
            false => raw.parse("", "SELECT 1", &[]).describe_statement("").sync(),
        };
        let text = raw.unsent().repeat(1000);
        floods.push((raw, text));
    }
    let mut written = 0;
    for (raw, text) in &mut floods {
        // Until it takes no more.
        while timeout(Duration::from_millis(500), raw.send_raw(text)).await.is_ok() {
            written += text.len();
            assert!(written < 400 * MIB, "it listens on");
        }
    }
    others_go_on(&mut other).await;
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 * MIB, "it grew by {grown} bytes");
    drop(floods);
    others_go_on(&mut other).await;
}

/// Says half a message, and then nothing.
#[tokio::test]
async fn a_message_that_is_announced_costs_nothing_before_it_comes() {
    let _alone = ALONE.lock().await;
    let mut other = WORLD.raw("app").await;
    others_go_on(&mut other).await;
    let before = memory();
    let mut announced = crowd(WORLD.proxy(), 20).await;
    for raw in &mut announced {
        // A Query, a Bind and a CopyData of a gigabyte less a little.
        raw.send_raw(b"Q\x3f\xff\xff\xf0SELECT 1").await;
    }
    // And one that has not even logged in.
    let mut stranger = TcpStream::connect(("127.0.0.1", WORLD.proxy().port())).await.unwrap();
    stranger.write_all(b"\0\0\x27\x10\0\x03\0\0user\0").await.unwrap();
    others_go_on(&mut other).await;
    let grown = memory().saturating_sub(before);
    assert!(grown < 8 * MIB, "it grew by {grown} bytes");
}
