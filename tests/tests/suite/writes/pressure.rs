//! A shard that does not take what is sent to it: its client waits, others go on, and the proxy holds a few buffers.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use shardway_tests::{RawClient, Reply, World};
use tokio::task::JoinHandle;

use super::{ask, code};
use crate::operation::support::{key_on, keys_on, soon};

const SCHEMA: &str = "CREATE TABLE line (user_id int, n int, text text, PRIMARY KEY (user_id, n))";

const MIB: usize = 1 << 20;

/// What is copied, if nothing stops it.
const ALL: usize = 128 * MIB;

/// Rows that are sent together, half of them for each shard.
const ROWS: usize = 64;

/// Bytes of a row's text.
const TEXT: usize = 1000;

/// Two shards, and a proxy that nobody else loads, so that its memory tells something.
fn world() -> World {
    World::builder().shards(2).schema(SCHEMA).config("[server]\nauth = 'trust'").start()
}

/// The most memory that the proxy has had, in bytes.
fn peak_memory(world: &World) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", world.proxy().pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

/// Forgets the peak so far; gives where it begins anew.
fn reset_peak(world: &World) -> usize {
    fs::write(format!("/proc/{}/clear_refs", world.proxy().pid()), "5").expect("the peak to be forgotten");
    peak_memory(world)
}

fn pair() -> [i32; 2] {
    [key_on(0, 2), key_on(1, 2)]
}

/// A COPY that is poured in from a task of its own.
struct Pour {
    sent: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    end: JoinHandle<(RawClient, Reply, usize)>,
}

impl Pour {
    /// Makes up rows as they are wanted, until there were [`ALL`] bytes or it is enough.
    fn begin(mut raw: RawClient) -> Pour {
        let (sent, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stop) = (sent.clone(), enough.clone());
        let text = "x".repeat(TEXT);
        let end = tokio::spawn(async move {
            let mut rows = 0;
            while counted.load(Ordering::Relaxed) < ALL && !stop.load(Ordering::Relaxed) {
                let mut data = String::new();
                for row in rows..rows + ROWS {
                    let _ = writeln!(data, "{}\t{}\t{text}", pair()[row % 2], row / 2);
                }
                rows += ROWS;
                raw.copy_data(data.as_bytes()).send_counting(&counted).await;
            }
            let reply = raw.copy_done().recv_until_ready().await;
            (raw, reply, rows)
        });
        Pour { sent, enough, end }
    }

    /// Waits until no more of it is taken, and gives how much was.
    async fn stands_still(&self) -> usize {
        let (mut last, mut still) = (0, 0);
        soon("no more to be taken", async || {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.sent.load(Ordering::Relaxed);
            still = if now == last && now > 0 { still + 1 } else { 0 };
            last = now;
            (still >= 20).then_some(now)
        })
        .await
    }
}

/// A backend waits for a lock on shard 1.
async fn waits(world: &World) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    soon("shard 1 to wait", async || (world.shard(1).sql(sql) != "0").then_some(())).await;
}

async fn others_go_on(world: &World, nth: usize) {
    let mut other = world.raw("app").await;
    for shard in 0..2 {
        let id = keys_on(shard, 2).nth(nth).expect("a key");
        if shard == 0 {
            let made = ask(&mut other, &format!("INSERT INTO line VALUES ({id}, 1, 'other')")).await;
            assert_eq!(made.commands(), ["INSERT 0 1"], "{made:?}");
        }
        let read = ask(&mut other, &format!("SELECT text FROM line WHERE user_id = {id} AND n = 1")).await;
        assert_eq!(code(&read), "", "{read:?}");
    }
}

#[tokio::test]
async fn a_copy_waits_for_a_shard_whose_table_is_locked_and_little_is_held() {
    let world = world();
    let lock = world.shard(1).connect().await;
    lock.batch_execute("BEGIN; LOCK TABLE line IN EXCLUSIVE MODE").await.expect("the lock");
    let mut raw = world.raw("app").await;
    // Its first shard is the other one: so it may begin.
    for sql in ["BEGIN".to_owned(), format!("SELECT text FROM line WHERE user_id = {}", pair()[0])] {
        assert_eq!(ask(&mut raw, &sql).await.status(), 'T');
    }
    let before = reset_peak(&world);
    raw.query("COPY line FROM STDIN").recv_until(b'G').await;
    let pour = Pour::begin(raw);
    waits(&world).await;
    let taken = pour.stands_still().await;
    assert!(taken < ALL / 4, "{taken} bytes were taken for a shard that takes none");
    others_go_on(&world, 1).await;
    let grown = peak_memory(&world).saturating_sub(before);
    assert!(grown < 16 * MIB, "it grew by {grown} bytes");
    lock.batch_execute("COMMIT").await.expect("the lock's end");
    let (mut raw, copied, rows) = pour.end.await.expect("the copy");
    assert_eq!(copied.commands(), [format!("COPY {rows}")], "{:?}", copied.error());
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    let grown = peak_memory(&world).saturating_sub(before);
    assert!(grown < 16 * MIB, "it grew by {grown} bytes");
    let each = (rows / 2).to_string();
    assert_eq!(world.everywhere("SELECT count(*) FROM line WHERE text LIKE 'x%'"), [each.clone(), each]);
}

#[tokio::test]
async fn a_copy_that_waits_for_a_row_is_cancelled_and_nothing_of_it_stays() {
    let world = world();
    let lock = world.shard(1).connect().await;
    // The same row, not committed: whoever brings it too has to see what becomes of this one.
    let row = format!("BEGIN; INSERT INTO line VALUES ({}, 100, 'first')", pair()[1]);
    lock.batch_execute(&row).await.expect("the row");
    let mut raw = world.raw("app").await;
    ask(&mut raw, "SELECT count(*) FROM line").await;
    let before = reset_peak(&world);
    raw.query("COPY line FROM STDIN").recv_until(b'G').await;
    let key = raw.cancel_key();
    let pour = Pour::begin(raw);
    waits(&world).await;
    let taken = pour.stands_still().await;
    assert!(taken < ALL / 4, "{taken} bytes were taken for a shard that takes none");
    others_go_on(&world, 1).await;
    pour.enough.store(true, Ordering::Relaxed);
    RawClient::cancel(world.proxy().port(), key).await;
    let (mut raw, cancelled, _) = pour.end.await.expect("the copy");
    assert_eq!((code(&cancelled).as_str(), cancelled.status()), ("57014", 'I'), "{cancelled:?}");
    let grown = peak_memory(&world).saturating_sub(before);
    assert!(grown < 16 * MIB, "it grew by {grown} bytes");
    lock.batch_execute("ROLLBACK").await.expect("the row's end");
    assert_eq!(ask(&mut raw, "SELECT count(*) FROM line WHERE n <> 1").await.texts(), [[Some("0")]]);
    others_go_on(&world, 2).await;
}

#[tokio::test]
async fn rows_of_one_insert_that_wait_on_one_shard_hold_up_nobody_else_and_may_be_cancelled() {
    let world = world();
    let [here, there] = pair();
    let lock = world.shard(1).connect().await;
    let row = format!("BEGIN; INSERT INTO line VALUES ({there}, 0, 'first')");
    lock.batch_execute(&row).await.expect("the row");
    let mut raw = world.raw("app").await;
    ask(&mut raw, "SELECT count(*) FROM line").await;
    let text = "y".repeat(TEXT);
    let mut sql = "INSERT INTO line VALUES ".to_owned();
    for n in 0..1000 {
        let _ =
            write!(sql, "{}({here}, {n}, '{text}'), ({there}, {n}, '{text}')", if n > 0 { ", " } else { "" });
    }
    for (n, ends) in ["cancelled", "done"].into_iter().enumerate() {
        let before = reset_peak(&world);
        raw.query(&sql).send().await;
        waits(&world).await;
        others_go_on(&world, 1 + n).await;
        let grown = peak_memory(&world).saturating_sub(before);
        assert!(grown < 40 * sql.len(), "it grew by {grown} bytes for {} of text", sql.len());
        match ends {
            "cancelled" => {
                RawClient::cancel(world.proxy().port(), raw.cancel_key()).await;
                let cancelled = raw.recv_until_ready().await;
                assert_eq!((code(&cancelled).as_str(), cancelled.status()), ("57014", 'I'), "{cancelled:?}");
                assert_eq!(world.everywhere("SELECT count(*) FROM line WHERE text LIKE 'y%'"), ["0", "0"]);
            }
            _ => {
                lock.batch_execute("ROLLBACK").await.expect("the row's end");
                assert_eq!(raw.recv_until_ready().await.commands(), ["INSERT 0 2000"]);
                assert_eq!(
                    world.everywhere("SELECT count(*) FROM line WHERE text LIKE 'y%'"),
                    ["1000", "1000"]
                );
            }
        }
    }
}
