//! What is large passes through in pieces: Shardway's own memory stays small.

use std::fs;

use shardway_tests::{Param, RawClient, SharedWorld, World};

use super::{ask, value};

/// A proxy that nobody else loads, so that its memory tells something.
static WIDE: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(2).schema("CREATE TABLE line (user_id int, text text)").start()
});

/// Tests that look at the memory must not run side by side.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const MIB: usize = 1 << 20;

/// The most memory that the proxy has had, in bytes.
fn peak_memory() -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", WIDE.proxy().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Forgets the peak so far.
fn reset_peak() {
    fs::write(format!("/proc/{}/clear_refs", WIDE.proxy().pid()), "5").unwrap();
}

/// Reads to ReadyForQuery; gives how many messages with the tag there were, and their bytes.
async fn count(raw: &mut RawClient, tag: u8) -> (usize, usize) {
    let (mut messages, mut bytes) = (0, 0);
    loop {
        let message = raw.recv().await;
        match message.tag {
            b'Z' => return (messages, bytes),
            b'E' => panic!("{message:?}"),
            seen if seen == tag => {
                messages += 1;
                bytes += message.body.len();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_large_copy_goes_both_ways_through_little_memory() {
    let _alone = ALONE.lock().await;
    let mut raw = WIDE.raw("app").await;
    let rows = format!("1\t{}\n", "x".repeat(1020)).repeat(64);
    ask(&mut raw, "/* shard: 0 */ SELECT 1").await;
    reset_peak();
    let before = peak_memory();
    raw.query("/* shard: 0 */ COPY line FROM STDIN").recv_until(b'G').await;
    for _ in 0..50 * MIB / rows.len() {
        raw.copy_data(rows.as_bytes()).send().await;
    }
    let copied = raw.copy_done().recv_until_ready().await;
    assert_eq!(copied.commands(), [format!("COPY {}", 64 * (50 * MIB / rows.len()))]);

    raw.query("/* shard: 0 */ COPY line TO STDOUT");
    let (lines, bytes) = count(&mut raw, b'd').await;
    assert_eq!((lines, bytes / MIB), (64 * (50 * MIB / rows.len()), 49));
    let grown = peak_memory() - before;
    assert!(grown < 8 * MIB, "it grew by {grown} bytes");
    WIDE.shard(0).sql("TRUNCATE line");
}

#[tokio::test]
async fn a_large_result_passes_through_little_memory() {
    let _alone = ALONE.lock().await;
    let mut raw = WIDE.raw("app").await;
    ask(&mut raw, "SELECT 1").await;
    reset_peak();
    let before = peak_memory();
    raw.query("SELECT n, repeat('x', 200) FROM generate_series(1, 200000) n");
    assert_eq!(count(&mut raw, b'D').await.0, 200_000);
    let grown = peak_memory() - before;
    assert!(grown < 4 * MIB, "it grew by {grown} bytes");
}

#[tokio::test]
async fn a_large_value_goes_there_and_back() {
    let _alone = ALONE.lock().await;
    let mut raw = WIDE.raw("app").await;
    let large = vec![b'v'; 20 * MIB];
    raw.parse("", "SELECT length($1), $1", &[25])
        .bind("", "", &[Param::Binary(&large)], &[])
        .execute("", 0)
        .sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.tags(), "12DCZ");
    let row = reply.rows().remove(0);
    assert_eq!(row[0].as_deref(), Some(large.len().to_string().as_bytes()));
    assert!(row[1].as_deref() == Some(&large[..]), "the value came back changed");

    let literal = format!("SELECT length('{}')", "w".repeat(20 * MIB));
    assert_eq!(value(&ask(&mut raw, &literal).await), large.len().to_string());
}

#[tokio::test]
async fn a_large_value_comes_through_little_memory() {
    let _alone = ALONE.lock().await;
    let mut raw = WIDE.raw("app").await;
    ask(&mut raw, "SELECT 1").await;
    reset_peak();
    let before = peak_memory();
    assert_eq!(value(&ask(&mut raw, "SELECT repeat('y', 20 * 1024 * 1024)").await).len(), 20 * MIB);
    let grown = peak_memory() - before;
    assert!(grown < 4 * MIB, "it grew by {grown} bytes");
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory_and_holds_up_nobody() {
    let _alone = ALONE.lock().await;
    let (mut idle, mut busy) = (WIDE.raw("app").await, WIDE.raw("app").await);
    ask(&mut busy, "SELECT 1").await;
    reset_peak();
    let before = peak_memory();
    idle.query("SELECT repeat('z', 1000) FROM generate_series(1, 100000)").send().await;
    let sent = "SELECT coalesce(max(wait_event), '') FROM pg_stat_activity WHERE query LIKE '%repeat(''z''%' AND state = 'active' AND pid <> pg_backend_pid()";
    let blocked = async {
        while !WIDE.everywhere(sent).iter().any(|event| event == "ClientWrite") {
            assert_eq!(ask(&mut busy, "SELECT 'alive'").await.texts(), [[Some("alive")]]);
        }
    };
    tokio::time::timeout(shardway_tests::PATIENCE, blocked).await.expect("the server waits for the client");
    let grown = peak_memory() - before;
    assert!(grown < 4 * MIB, "it grew by {grown} bytes");
    assert_eq!(count(&mut idle, b'D').await.0, 100_000);
}
