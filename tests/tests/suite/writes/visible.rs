//! What a transaction over shards did is there on all of them, or on none, for whoever reads several in one statement.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use shardway_tests::{Cut, RawClient, Reply, SharedWorld, World};
use tokio::{task::JoinSet, time::timeout};

use super::recovery::{STEPS, settled};
use super::{ask, both, code, nothing_prepared, put, seen, two_servers};
use crate::operation::support::{at_rest, keys_on, soon};

static SHOP: SharedWorld = SharedWorld::new(two_servers);

/// One test's turn with the middles: whoever else commits here would be struck, too.
static GATE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How a query is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Simple,
    Extended,
    /// In a transaction.
    Within,
    /// A few rows at a time.
    Portal,
    Cursor,
}

const WAYS: [Way; 5] = [Way::Simple, Way::Extended, Way::Within, Way::Portal, Way::Cursor];

/// Queries of two accounts: what stands in the first column adds up to what they have together.
fn reads([a, b]: [i32; 2]) -> [String; 4] {
    let these = format!("IN ({a}, {b})");
    [
        format!("SELECT sum(balance) FROM account WHERE user_id {these}"),
        format!("SELECT balance, user_id FROM account WHERE user_id {these} ORDER BY user_id"),
        format!("SELECT sum(balance), name FROM account WHERE user_id {these} GROUP BY name"),
        format!("SELECT balance, rank() OVER (ORDER BY user_id) FROM account WHERE user_id {these}"),
    ]
}

/// Asks, and does not wait for the answer.
async fn send(raw: &mut RawClient, sql: &str, way: Way) {
    if matches!(way, Way::Within | Way::Portal | Way::Cursor) {
        assert_eq!(ask(raw, "BEGIN").await.status(), 'T');
    }
    match way {
        Way::Simple => raw.query(sql),
        Way::Extended | Way::Within => {
            raw.parse("", sql, &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0).sync()
        }
        Way::Portal => raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 1).sync(),
        Way::Cursor => raw.query(&format!("DECLARE c CURSOR FOR {sql}")),
    };
    raw.send().await;
}

/// What the accounts have together, by the answer.
async fn total(raw: &mut RawClient, way: Way) -> i64 {
    let mut reply = raw.recv_until_ready().await;
    if way == Way::Portal {
        let rest = raw.execute("", 0).sync().recv_until_ready().await;
        reply.0.extend(rest.0);
    } else if way == Way::Cursor {
        assert_eq!(code(&reply), "", "{reply:?}");
        reply = ask(raw, "FETCH ALL FROM c").await;
    }
    assert_eq!(code(&reply), "", "{reply:?}");
    if reply.status() == 'T' {
        assert_eq!(ask(raw, "COMMIT").await.status(), 'I');
    }
    added_up(&reply)
}

fn added_up(reply: &Reply) -> i64 {
    let amount = |row: &Vec<Option<String>>| {
        let text = row[0].as_deref().unwrap_or_else(|| panic!("{reply:?}"));
        text.parse::<i64>().unwrap_or_else(|_| panic!("{reply:?}"))
    };
    reply.texts().0.iter().map(amount).sum()
}

/// In a transaction, 50 go from the first account to the second.
async fn begin_transfer(world: &World, ids: [i32; 2]) -> RawClient {
    let mut raw = world.raw("app").await;
    for sql in ["BEGIN", &put(ids[0], 50), &put(ids[1], 150)] {
        assert_eq!(code(&ask(&mut raw, sql).await), "", "{sql}");
    }
    raw
}

/// For so long it is told nothing that comes of what it asked.
async fn waits(raw: &mut RawClient, time: Duration) -> bool {
    let told = async { while !matches!(raw.recv().await.tag, b'D' | b'C' | b'E') {} };
    timeout(time, told).await.is_err()
}

#[tokio::test]
async fn who_reads_several_shards_waits_while_one_shows_a_transaction_that_another_does_not() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    for reads_of in 0..4 {
        let ids = both(&SHOP);
        let mut writer = begin_transfer(&SHOP, ids).await;
        let stalled = STEPS[3].spot(&SHOP, false).stall();
        writer.query("COMMIT").send().await;
        stalled.happened().await;
        let sql = &reads(ids)[reads_of];
        let mut readers = Vec::new();
        for way in WAYS {
            let mut raw = SHOP.raw("app").await;
            send(&mut raw, sql, way).await;
            readers.push((way, raw));
        }
        // Who reads one shard sees what that has, as always.
        let mut one = SHOP.raw("app").await;
        let seen_there = format!("SELECT balance FROM account WHERE user_id = {}", ids[0]);
        assert_eq!(ask(&mut one, &seen_there).await.texts(), [[Some("50")]]);
        for (n, (way, raw)) in readers.iter_mut().enumerate() {
            let time = Duration::from_millis(if n == 0 { 400 } else { 5 });
            assert!(waits(raw, time).await, "{sql} by {way:?} saw a half");
        }
        stalled.lift();
        assert_eq!(writer.recv_until_ready().await.commands(), ["COMMIT"]);
        for (way, mut raw) in readers {
            assert_eq!(total(&mut raw, way).await, 200, "{sql} by {way:?}");
        }
    }
    nothing_prepared(&SHOP).await;
}

#[tokio::test]
async fn a_read_that_one_shard_began_before_a_transaction_and_another_behind_it_is_asked_again() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    for way in WAYS {
        for reads_of in 0..4 {
            let ids = both(&SHOP);
            let sql = &reads(ids)[reads_of];
            let mut writer = begin_transfer(&SHOP, ids).await;
            let mut reader = SHOP.raw("app").await;
            let stalled = SHOP.middle(1).from_client().message(b'P').holding("account").stall();
            send(&mut reader, sql, way).await;
            stalled.happened().await;
            // Nobody has to wait for it for long.
            assert_eq!(ask(&mut writer, "COMMIT").await.commands(), ["COMMIT"]);
            stalled.lift();
            assert_eq!(total(&mut reader, way).await, 200, "{sql} by {way:?}");
        }
    }
    nothing_prepared(&SHOP).await;
}

/// As [`two_servers`], with little patience.
fn hasty() -> World {
    let config = "[server]\nauth = 'trust'\n[pool]\nserver_login_retry = '20ms'\nquery_wait_timeout = '3s'";
    let schema =
        "CREATE TABLE account (user_id serial PRIMARY KEY, name text, balance int NOT NULL DEFAULT 100)";
    World::builder().shards(2).servers(2).middles().schema(schema).config(config).start()
}

#[tokio::test]
async fn a_read_that_waits_for_the_rest_of_a_transaction_can_be_cancelled_and_gives_up_in_the_end() {
    let world = hasty();
    let ids = both(&world);
    let sql = &reads(ids)[0];
    let mut writer = begin_transfer(&world, ids).await;
    let stalled = STEPS[3].spot(&world, false).stall();
    writer.query("COMMIT").send().await;
    stalled.happened().await;
    for way in [Way::Simple, Way::Within] {
        let mut reader = world.raw("app").await;
        send(&mut reader, sql, way).await;
        let told = reader.recv_until_ready().await;
        assert_eq!(code(&told), "55P03", "{told:?}");
        assert_eq!(told.status(), if way == Way::Within { 'E' } else { 'I' });
        assert_eq!(ask(&mut reader, "ROLLBACK").await.status(), 'I');
        send(&mut reader, sql, way).await;
        assert!(waits(&mut reader, Duration::from_millis(100)).await);
        RawClient::cancel(world.proxy().port(), reader.cancel_key()).await;
        let told = reader.recv_until_ready().await;
        assert_eq!(code(&told), "57014", "{told:?}");
    }
    // One that vanishes leaves nothing behind.
    let mut gone = world.raw("app").await;
    send(&mut gone, sql, Way::Simple).await;
    assert!(waits(&mut gone, Duration::from_millis(100)).await);
    drop(gone);
    stalled.lift();
    assert_eq!(writer.recv_until_ready().await.commands(), ["COMMIT"]);
    let mut reader = world.raw("app").await;
    send(&mut reader, sql, Way::Simple).await;
    assert_eq!(total(&mut reader, Way::Simple).await, 200);
    assert_eq!(settled(&world, ids).await, ["50", "150"]);
}

#[tokio::test]
async fn who_reads_what_a_transaction_has_locked_does_not_keep_it_from_its_commit() {
    let world = hasty();
    let ids = both(&world);
    let mut writer = begin_transfer(&world, ids).await;
    for sql in ["ALTER TABLE account ADD COLUMN note text"] {
        assert_eq!(code(&ask(&mut writer, sql).await), "", "{sql}");
    }
    let mut readers = Vec::new();
    for way in [Way::Simple, Way::Extended, Way::Within] {
        let mut raw = world.raw("app").await;
        send(&mut raw, &reads(ids)[0], way).await;
        readers.push((way, raw));
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    soon("the readers to wait", async || {
        world.everywhere(waiting).iter().all(|count| count == "3").then_some(())
    })
    .await;
    assert_eq!(ask(&mut writer, "COMMIT").await.commands(), ["COMMIT"]);
    for (way, mut raw) in readers {
        assert_eq!(total(&mut raw, way).await, 200, "by {way:?}");
    }
}

const SHARDS: usize = 4;
const ACCOUNTS: i64 = 40;

/// A bank whose accounts have 100 each.
async fn bank() -> World {
    let config = "[server]\nauth = 'trust'\n[pool]\nserver_login_retry = '20ms'";
    let schema = "CREATE TABLE account (user_id int PRIMARY KEY, kind int NOT NULL, balance bigint NOT NULL)";
    let world = World::builder().shards(SHARDS).servers(2).middles().schema(schema).config(config).start();
    let mut raw = world.raw("app").await;
    let all = format!("INSERT INTO account SELECT n, n % 3, 100 FROM generate_series(1, {ACCOUNTS}) n");
    assert_eq!(ask(&mut raw, &all).await.commands(), [format!("INSERT 0 {ACCOUNTS}")]);
    world
}

/// All accounts, read in one statement: their balances stand in the first column.
const ALL: [(&str, Way); 9] = [
    ("SELECT sum(balance) FROM account", Way::Simple),
    ("SELECT sum(balance) FROM account", Way::Extended),
    ("SELECT sum(balance) FROM account", Way::Within),
    ("SELECT balance, * FROM account", Way::Simple),
    ("SELECT balance FROM account ORDER BY user_id", Way::Extended),
    ("SELECT sum(balance), kind FROM account GROUP BY kind", Way::Simple),
    ("SELECT balance, rank() OVER (ORDER BY user_id) FROM account", Way::Simple),
    ("SELECT balance, rank() OVER (ORDER BY user_id) FROM account", Way::Within),
    ("SELECT balance FROM account ORDER BY balance", Way::Cursor),
];

/// Reads until all is done. How often.
async fn audit(world: &'static World, sql: &str, way: Way, over: Arc<AtomicBool>) -> u32 {
    let mut raw = world.raw("app").await;
    let mut count = 0;
    while !over.load(Relaxed) || count == 0 {
        send(&mut raw, sql, way).await;
        let total = total(&mut raw, way).await;
        assert_eq!(total, ACCOUNTS * 100, "{sql} by {way:?}, at the {count}th time");
        count += 1;
    }
    count
}

/// The table as COPY gives it.
async fn audit_copies(world: &'static World, over: Arc<AtomicBool>) -> u32 {
    let mut raw = world.raw("app").await;
    let mut count = 0;
    while !over.load(Relaxed) || count == 0 {
        let reply = ask(&mut raw, "COPY account (balance) TO STDOUT").await;
        let line = |data: &shardway_tests::Message| {
            std::str::from_utf8(&data.body).expect("a line").trim_end().parse::<i64>().expect("a balance")
        };
        assert_eq!(reply.of('d').map(line).sum::<i64>(), ACCOUNTS * 100, "{reply:?}");
        count += 1;
    }
    count
}

/// Moves money between accounts of two shards, so many times. An error may be that of a connection which was cut.
async fn transfer(world: &'static World, client: u32, times: u32, done: Arc<AtomicU32>) {
    let mut raw = world.raw("app").await;
    for n in 0..times {
        let from = (client + n) as usize % SHARDS;
        let account = |shard: usize| {
            let of_bank = keys_on(shard as u32, SHARDS as u32).take_while(|key| i64::from(*key) <= ACCOUNTS);
            let all: Vec<i32> = of_bank.collect();
            all[(client * 7 + n * 3) as usize % all.len()]
        };
        let (from, to) = (account(from), account((from + 1 + n as usize % 3) % SHARDS));
        let step =
            |id, amount| format!("UPDATE account SET balance = balance + {amount} WHERE user_id = {id}");
        for sql in [
            "BEGIN",
            &step(from.min(to), 1 - 2 * i32::from(from < to)),
            &step(from.max(to), 1 - 2 * i32::from(from >= to)),
            "COMMIT",
        ] {
            if ask(&mut raw, sql).await.status() == 'E' {
                ask(&mut raw, "ROLLBACK").await;
                break;
            }
        }
        done.fetch_add(1, Relaxed);
    }
}

/// Clients move money while others read it all, and `meanwhile` goes on. How often it was read.
async fn busy(world: &'static World, times: u32, meanwhile: impl AsyncFnOnce(&AtomicU32)) -> Vec<u32> {
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut readers = JoinSet::new();
    for (sql, way) in ALL {
        readers.spawn(audit(world, sql, way, over.clone()));
    }
    readers.spawn(audit_copies(world, over.clone()));
    let mut writers = JoinSet::new();
    for client in 0..8 {
        writers.spawn(transfer(world, client, times, done.clone()));
    }
    meanwhile(&done).await;
    while let Some(writer) = writers.join_next().await {
        writer.expect("a writer");
    }
    over.store(true, Relaxed);
    let mut counts = Vec::new();
    while let Some(reader) = readers.join_next().await {
        counts.push(reader.expect("a reader"));
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_all_of_a_bank_finds_all_of_its_money_while_it_moves() {
    let world: &'static World = Box::leak(Box::new(bank().await));
    let counts = busy(world, 40, async |_| {}).await;
    eprintln!("read {counts:?} times");
    nothing_prepared(world).await;
    world.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_where_connections_are_lost_between_the_decision_and_the_last_shard() {
    let world: &'static World = Box::leak(Box::new(bank().await));
    let counts = busy(world, 40, async |done| {
        for turn in 0..12 {
            let middle = world.middle(turn % 2);
            let fault = match turn % 3 {
                0 => middle.from_client().message(b'Q').holding("COMMIT PREPARED").cut(Cut::Reset),
                1 => middle.from_server().message(b'C').holding("COMMIT PREPARED").cut(Cut::Reset),
                _ => middle.from_client().message(b'Q').holding("COMMIT PREPARED").after().cut(Cut::Fin),
            };
            let struck = async || (fault.has_happened() || done.load(Relaxed) == 8 * 40).then_some(());
            soon("a commit to be cut", struck).await;
        }
    });
    let counts = counts.await;
    eprintln!("read {counts:?} times");
    nothing_prepared(world).await;
    world.stop();
}

#[tokio::test]
async fn what_a_killed_session_left_half_shown_is_not_read_as_a_half() {
    let world = hasty();
    for after in [false, true] {
        let ids = both(&world);
        let mut writer = begin_transfer(&world, ids).await;
        let stalled = STEPS[3].spot(&world, after).stall();
        writer.query("COMMIT").send().await;
        stalled.happened().await;
        let admin = world.admin().await;
        admin.simple_query("KILL shop").await.expect("KILL");
        admin.simple_query("RESUME shop").await.expect("RESUME");
        let mut reader = world.raw("app").await;
        send(&mut reader, &reads(ids)[0], Way::Simple).await;
        assert_eq!(total(&mut reader, Way::Simple).await, 200);
        stalled.lift();
        assert_eq!(settled(&world, ids).await, ["50", "150"]);
        assert_eq!(seen(&world, ids), ["50", "150"]);
    }
}
