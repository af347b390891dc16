//! Transactions that wait for each other's locks on several shards: one of them is ended, and the others go on.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use shardway_shardmap::fnv1a64;
use shardway_tests::{Param, Proxy, RawClient, Reply, SharedWorld, World};
use tokio::time::sleep;

use super::{ask, code};
use crate::operation::support::{admin_of, pooled, soon};

const SCHEMA: &str = "
CREATE TABLE account (user_id int PRIMARY KEY, balance int NOT NULL DEFAULT 100);
CREATE TABLE rate (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
";

static SHOP: SharedWorld = SharedWorld::new(|| {
    let config = "[server]\nauth = 'trust'";
    World::builder().shards(3).servers(3).schema(SCHEMA).config(config).start()
});

/// New accounts, one on each shard.
fn accounts(world: &World) -> [i32; 3] {
    static NEXT: AtomicI32 = AtomicI32::new(5_000_000);
    [0, 1, 2].map(|shard| {
        let id = loop {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            if fnv1a64(id.to_string().as_bytes()) % 3 == shard {
                break id;
            }
        };
        world.shard(shard as usize).sql(&format!("INSERT INTO account (user_id) VALUES ({id})"));
        id
    })
}

fn add(id: i32, amount: i32) -> String {
    format!("UPDATE account SET balance = balance + {amount} WHERE user_id = {id}")
}

fn lock(id: i32) -> String {
    format!("SELECT balance FROM account WHERE user_id = {id} FOR UPDATE")
}

fn balances(world: &World, ids: [i32; 3]) -> [String; 3] {
    let balance = |(shard, id): (usize, i32)| {
        world.shard(shard).sql(&format!("SELECT balance FROM account WHERE user_id = {id}"))
    };
    [balance((0, ids[0])), balance((1, ids[1])), balance((2, ids[2]))]
}

/// A client in a transaction in which this was done.
async fn having(proxy: &Proxy, done: &str) -> RawClient {
    let mut raw = proxy.raw("app").await;
    assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
    let reply = ask(&mut raw, done).await;
    assert_eq!(reply.status(), 'T', "{done}: {reply:?}");
    raw
}

/// Waits until so many wait on a shard with a text like this.
async fn waiting(world: &World, shard: usize, text: &str, count: usize) {
    let text = text.replace('\'', "''");
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() \
         AND query LIKE '%{text}%'"
    );
    soon(&format!("{text} to wait on shard {shard}"), async || {
        (world.shard(shard).sql(&sql) == count.to_string()).then_some(())
    })
    .await;
}

/// Asks for something that has to wait there.
async fn ask_and_wait(world: &World, raw: &mut RawClient, sql: &str, shard: usize, mark: &str) {
    raw.query(sql).send().await;
    waiting(world, shard, mark, 1).await;
}

fn detail(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('D')).unwrap_or_default()
}

fn count(proxy: &Proxy) -> u64 {
    proxy.metric("shardway_deadlocks_total")
}

#[tokio::test]
async fn of_two_that_lock_rows_of_two_shards_in_opposite_order_the_younger_is_ended_and_the_other_goes_on() {
    let before = count(SHOP.proxy());
    let ids = accounts(&SHOP);
    let mut first = having(SHOP.proxy(), &add(ids[0], 1)).await;
    let mut second = having(SHOP.proxy(), &add(ids[1], 10)).await;
    // The younger one is not the one that closes the circle.
    ask_and_wait(&SHOP, &mut second, &add(ids[0], 10), 0, &ids[0].to_string()).await;
    ask_and_wait(&SHOP, &mut first, &add(ids[1], 1), 1, &ids[1].to_string()).await;
    let told = second.recv_until_ready().await;
    let error = told.error().expect("it is ended");
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(error.field('M').as_deref(), Some("deadlock detected"));
    assert!(error.field('H').is_some_and(|hint| hint.contains("try the transaction again")), "{told:?}");
    let detail = detail(&told);
    let lines: Vec<&str> = detail.lines().collect();
    let [mine, its] = &lines[..] else { panic!("{detail}") };
    assert!(
        mine.starts_with("Process ") && mine.contains("/0 waits for ShareLock on transaction "),
        "{detail}"
    );
    assert!(
        its.starts_with("Process ") && its.contains("/1 waits for ShareLock on transaction "),
        "{detail}"
    );
    assert!(mine.contains("; blocked by process ") && its.contains("; blocked by process "), "{detail}");
    // The other one goes on before the client of the ended one says anything.
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(code(&ask(&mut second, &add(ids[2], 1)).await), "25P02");
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(ask(&mut second, "COMMIT").await.commands(), ["ROLLBACK"]);
    assert_eq!(balances(&SHOP, ids), ["101", "101", "100"]);
    assert_eq!(ask(&mut second, &add(ids[0], 5)).await.commands(), ["UPDATE 1"]);
    assert!(count(SHOP.proxy()) > before);
}

#[tokio::test]
async fn of_three_around_three_shards_one_is_ended() {
    let ids = accounts(&SHOP);
    let mut clients = Vec::new();
    for id in ids {
        clients.push(having(SHOP.proxy(), &lock(id)).await);
    }
    for (at, raw) in clients.iter_mut().enumerate() {
        let next = (at + 1) % 3;
        ask_and_wait(&SHOP, raw, &lock(ids[next]), next, &ids[next].to_string()).await;
    }
    let mut victim = clients.pop().unwrap();
    let told = victim.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(detail(&told).lines().count(), 3, "{told:?}");
    while let Some(mut next) = clients.pop() {
        assert_eq!(next.recv_until_ready().await.commands(), ["SELECT 1"]);
        assert_eq!(ask(&mut next, "COMMIT").await.commands(), ["COMMIT"]);
    }
    assert_eq!(ask(&mut victim, "ROLLBACK").await.status(), 'I');
}

#[tokio::test]
async fn a_statement_that_several_shards_run_may_wait_and_be_ended() {
    let ids = accounts(&SHOP);
    let all = |amount: i32| {
        let [a, b, c] = ids;
        format!("UPDATE account SET balance = balance + {amount} WHERE user_id IN ({a}, {b}, {c})")
    };
    let mut first = having(SHOP.proxy(), &add(ids[0], 1)).await;
    let mut second = having(SHOP.proxy(), &add(ids[2], 10)).await;
    ask_and_wait(&SHOP, &mut first, &all(1), 2, &ids[2].to_string()).await;
    // It waits on the first shard for the one before, and on the second too.
    ask_and_wait(&SHOP, &mut second, &all(10), 0, &ids[0].to_string()).await;
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 3"]);
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(balances(&SHOP, ids), ["102", "101", "101"]);
    assert_eq!(ask(&mut second, "ROLLBACK").await.status(), 'I');
}

#[tokio::test]
async fn a_statement_that_is_a_transaction_of_its_own_is_ended_with_all_that_it_did() {
    let ids = accounts(&SHOP);
    let [a, b, _] = ids;
    let mut first = having(SHOP.proxy(), &add(b, 1)).await;
    let mut second = SHOP.raw("app").await;
    let both = format!("UPDATE account SET balance = balance + 10 WHERE user_id IN ({a}, {b})");
    ask_and_wait(&SHOP, &mut second, &both, 1, &b.to_string()).await;
    // What it wrote on the first shard holds up the older one.
    first.query(&add(a, 1)).send().await;
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'I'), "{told:?}");
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(balances(&SHOP, ids), ["101", "101", "100"]);
}

#[tokio::test]
async fn writes_of_a_reference_table_may_be_in_the_circle() {
    let ids = accounts(&SHOP);
    let rate = ids[0];
    let mut setup = SHOP.raw("app").await;
    assert_eq!(
        ask(&mut setup, &format!("INSERT INTO rate VALUES ({rate})")).await.commands(),
        ["INSERT 0 1"]
    );
    let put = |n: i32| format!("UPDATE rate SET n = {n} WHERE id = {rate}");
    let mut first = having(SHOP.proxy(), &put(1)).await;
    let mut second = having(SHOP.proxy(), &add(ids[2], 10)).await;
    // What waits is the lock before it.
    second.query(&put(2)).send().await;
    first.query(&add(ids[2], 1)).send().await;
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(SHOP.everywhere(&format!("SELECT n FROM rate WHERE id = {rate}")), ["1", "1", "1"]);
    assert_eq!(ask(&mut second, "ROLLBACK").await.status(), 'I');
}

#[tokio::test]
async fn advisory_locks_may_be_in_the_circle() {
    let [number, ..] = accounts(&SHOP);
    let lock = |shard: usize| format!("/* shard: {shard} */ SELECT pg_advisory_xact_lock({number})");
    let mut first = having(SHOP.proxy(), &lock(0)).await;
    let mut second = having(SHOP.proxy(), &lock(1)).await;
    ask_and_wait(&SHOP, &mut first, &lock(1), 1, &number.to_string()).await;
    ask_and_wait(&SHOP, &mut second, &lock(0), 0, &number.to_string()).await;
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert!(detail(&told).contains("waits for ExclusiveLock on advisory lock ["), "{told:?}");
    assert_eq!(first.recv_until_ready().await.commands(), ["SELECT 1"]);
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(ask(&mut second, "ROLLBACK").await.status(), 'I');
}

#[tokio::test]
async fn a_transaction_on_one_shard_may_be_in_the_middle() {
    let ids = accounts(&SHOP);
    let other = accounts(&SHOP)[0];
    let mut first = having(SHOP.proxy(), &add(ids[1], 1)).await;
    let mut middle = having(SHOP.proxy(), &add(ids[0], 1)).await;
    let mut second = having(SHOP.proxy(), &add(other, 1)).await;
    // The first waits for the one in the middle, which waits for the second, which waits for the first.
    ask_and_wait(&SHOP, &mut first, &add(ids[0], 1), 0, &ids[0].to_string()).await;
    ask_and_wait(&SHOP, &mut middle, &add(other, 1), 0, &other.to_string()).await;
    ask_and_wait(&SHOP, &mut second, &add(ids[1], 1), 1, &ids[1].to_string()).await;
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(detail(&told).lines().count(), 3, "{told:?}");
    for raw in [&mut middle, &mut first] {
        assert_eq!(raw.recv_until_ready().await.commands(), ["UPDATE 1"]);
        assert_eq!(ask(raw, "COMMIT").await.commands(), ["COMMIT"]);
    }
    assert_eq!(ask(&mut second, "ROLLBACK").await.status(), 'I');
}

#[tokio::test]
async fn a_long_wait_that_is_no_circle_is_left_alone() {
    let ids = accounts(&SHOP);
    let [a, b, c] = ids;
    let mut first = having(SHOP.proxy(), &add(a, 1)).await;
    assert_eq!(ask(&mut first, &add(b, 1)).await.commands(), ["UPDATE 1"]);
    let mut second = having(SHOP.proxy(), &add(c, 10)).await;
    let mut third = SHOP.raw("app").await;
    ask_and_wait(&SHOP, &mut second, &add(a, 10), 0, &a.to_string()).await;
    let both = format!("UPDATE account SET balance = balance + 100 WHERE user_id IN ({b}, {c})");
    third.query(&both).send().await;
    waiting(&SHOP, 1, &b.to_string(), 1).await;
    waiting(&SHOP, 2, &c.to_string(), 1).await;
    sleep(Duration::from_secs(4)).await;
    waiting(&SHOP, 0, &a.to_string(), 1).await;
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(second.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut second, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(third.recv_until_ready().await.commands(), ["UPDATE 2"]);
    assert_eq!(balances(&SHOP, ids), ["111", "201", "210"]);
}

/// Puts a pipeline of writes together, up to Sync.
fn pipeline(raw: &mut RawClient, ids: &[i32]) {
    let sql = "UPDATE account SET balance = balance + 10 WHERE user_id = $1";
    for id in ids {
        let id = id.to_string();
        raw.parse("", sql, &[23]).bind("", "", &[Param::Text(&id)], &[]).execute("", 0);
    }
    raw.sync();
}

#[tokio::test]
async fn a_pipeline_is_ended_up_to_its_sync() {
    for explicit in [true, false] {
        let ids = accounts(&SHOP);
        let [a, b, c] = ids;
        let mut first = having(SHOP.proxy(), &add(b, 1)).await;
        let mut second = SHOP.raw("app").await;
        if explicit {
            assert_eq!(ask(&mut second, "BEGIN").await.status(), 'T');
        }
        pipeline(&mut second, &[a, b, c]);
        second.send().await;
        waiting(&SHOP, 1, "$1", 1).await;
        first.query(&add(a, 1)).send().await;
        let told = second.recv_until_ready().await;
        let status = if explicit { 'E' } else { 'I' };
        assert_eq!((told.tags().as_str(), told.status()), ("12C12EZ", status), "{told:?}");
        assert_eq!(code(&told), "40P01");
        assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
        assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
        if explicit {
            assert_eq!(ask(&mut second, "ROLLBACK").await.status(), 'I');
        }
        assert_eq!(balances(&SHOP, ids), ["101", "101", "100"], "explicit: {explicit}");
    }
}

#[tokio::test]
async fn a_text_of_several_statements_is_ended_as_a_whole() {
    let ids = accounts(&SHOP);
    let [a, b, c] = ids;
    let mut first = having(SHOP.proxy(), &add(b, 1)).await;
    let mut second = SHOP.raw("app").await;
    let text = format!("{}; {}; {}", add(a, 10), add(b, 10), add(c, 10));
    ask_and_wait(&SHOP, &mut second, &text, 1, &b.to_string()).await;
    first.query(&add(a, 1)).send().await;
    let told = second.recv_until_ready().await;
    assert_eq!((told.tags().as_str(), told.status()), ("CEZ", 'I'), "{told:?}");
    assert_eq!(code(&told), "40P01");
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(balances(&SHOP, ids), ["101", "101", "100"]);
}

#[tokio::test]
async fn a_savepoint_keeps_what_was_before_it() {
    let ids = accounts(&SHOP);
    let [a, b, c] = ids;
    let mut first = having(SHOP.proxy(), &add(a, 1)).await;
    let mut second = having(SHOP.proxy(), &add(c, 10)).await;
    assert_eq!(ask(&mut second, "SAVEPOINT here").await.status(), 'T');
    assert_eq!(ask(&mut second, &add(b, 10)).await.status(), 'T');
    ask_and_wait(&SHOP, &mut second, &add(a, 10), 0, &a.to_string()).await;
    ask_and_wait(&SHOP, &mut first, &add(b, 1), 1, &b.to_string()).await;
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut second, "ROLLBACK TO here").await.status(), 'T');
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(ask(&mut second, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(balances(&SHOP, ids), ["101", "101", "110"]);
}

#[tokio::test]
async fn what_fails_on_one_shard_gives_up_its_locks_on_all_at_once() {
    let ids = accounts(&SHOP);
    let mut first = having(SHOP.proxy(), &add(ids[0], 1)).await;
    assert_eq!(ask(&mut first, &add(ids[1], 1)).await.status(), 'T');
    let failed =
        ask(&mut first, &format!("SELECT balance / 0 FROM account WHERE user_id = {}", ids[0])).await;
    assert_eq!((code(&failed).as_str(), failed.status()), ("22012", 'E'));
    // As with one Postgres, nobody has to wait for its client.
    let mut second = SHOP.raw("app").await;
    for id in ids {
        assert_eq!(ask(&mut second, &add(id, 10)).await.commands(), ["UPDATE 1"]);
    }
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["ROLLBACK"]);
    assert_eq!(balances(&SHOP, ids), ["110", "110", "110"]);
}

#[tokio::test]
async fn a_circle_through_two_proxies_is_found_and_the_youngest_ended_by_its_own() {
    let another = SHOP.another_proxy();
    for (older, younger) in [(SHOP.proxy(), &another), (&another, SHOP.proxy())] {
        let ids = accounts(&SHOP);
        let mut first = having(older, &add(ids[0], 1)).await;
        let mut second = having(younger, &add(ids[1], 10)).await;
        ask_and_wait(&SHOP, &mut second, &add(ids[0], 10), 0, &ids[0].to_string()).await;
        ask_and_wait(&SHOP, &mut first, &add(ids[1], 1), 1, &ids[1].to_string()).await;
        let told = second.recv_until_ready().await;
        assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
        assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
        assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
        assert_eq!(ask(&mut second, "ROLLBACK").await.status(), 'I');
        assert_eq!(balances(&SHOP, ids), ["101", "101", "100"]);
    }
    drop(another);
}

#[tokio::test]
async fn a_wait_for_a_server_may_be_in_the_circle() {
    let proxy = SHOP.another_proxy_with("[pool]\ndefault_pool_size = 2");
    let ids = accounts(&SHOP);
    let mut first = having(&proxy, &add(ids[0], 1)).await;
    let mut second = having(&proxy, &add(ids[1], 10)).await;
    let mut third = having(&proxy, &lock(accounts(&SHOP)[1])).await;
    // The second waits for the first's row with the last server of its shard; the first and the third for servers.
    ask_and_wait(&SHOP, &mut second, &add(ids[0], 10), 0, &ids[0].to_string()).await;
    first.query(&add(ids[1], 1)).send().await;
    // Of those who wait for servers it is the last one that is told.
    let admin = admin_of(&proxy).await;
    soon("the first to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    third.query(&add(ids[0], 100)).send().await;
    let told = third.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(ask(&mut third, "ROLLBACK").await.status(), 'I');
    // The first has a server now, and waits for the second's row: that is a circle too.
    let told = second.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(first.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut first, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(balances(&SHOP, ids), ["101", "101", "100"]);
}

/// Moves one from an account to another, in as many attempts as it takes.
async fn transfer(raw: &mut RawClient, from: i32, to: i32) {
    loop {
        assert_eq!(ask(raw, "BEGIN").await.status(), 'T');
        let mut reply = ask(raw, &add(from, -1)).await;
        if reply.error().is_none() {
            reply = ask(raw, &add(to, 1)).await;
        }
        if reply.error().is_none() {
            assert_eq!(ask(raw, "COMMIT").await.commands(), ["COMMIT"]);
            return;
        }
        assert_eq!(code(&reply), "40P01", "{reply:?}");
        assert_eq!(ask(raw, "ROLLBACK").await.status(), 'I');
    }
}

#[tokio::test]
async fn clients_that_move_money_around_the_shards_all_get_there() {
    let ids = accounts(&SHOP);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..3 {
        let mut raw = SHOP.raw("app").await;
        clients.spawn(async move {
            for turn in 0..4 {
                let (from, to) = (client + turn, client + turn + 1 + client % 2);
                transfer(&mut raw, ids[from % 3], ids[to % 3]).await;
            }
        });
    }
    clients.join_all().await;
    let total: i32 = balances(&SHOP, ids).iter().map(|balance| balance.parse::<i32>().unwrap()).sum();
    assert_eq!(total, 300);
}
