//! Failures at every step of a commit over several shards: all of it is there in the end, or nothing, and the client was
//! told which.

use shardway_tests::{Cut, Fault, RawClient, SharedWorld, Spot, World};

use super::{ask, both, code, nothing_prepared, put, seen, two_servers};
use crate::operation::support::{at_rest, show, soon};

static SHOP: SharedWorld = SharedWorld::new(two_servers);

/// One test's turn with the middles: whoever else commits here would be struck, too.
static GATE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A message of the commit, on the server that gets it: the first writer's decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    server: usize,
    asks: &'static str,
    /// The answer's tag, and which of those it is.
    answer: (&'static str, u64),
    /// Whether the transaction is committed when it is lost, before it took effect and after.
    pub(super) commits: [bool; 2],
}

pub(super) const STEPS: [Step; 4] = [
    Step {
        server: 1,
        asks: "PREPARE TRANSACTION",
        answer: ("PREPARE TRANSACTION", 1),
        commits: [false, false],
    },
    Step {
        server: 0,
        asks: "INSERT INTO shardway.decisions",
        answer: ("INSERT 0 1", 1),
        commits: [false, false],
    },
    Step { server: 0, asks: "COMMIT", answer: ("COMMIT", 1), commits: [false, true] },
    Step { server: 1, asks: "COMMIT PREPARED", answer: ("COMMIT PREPARED", 1), commits: [true, true] },
];

impl Step {
    /// Where the server has not heard of it yet, or (`after`) where it has done it and its answer is on the way.
    pub(super) fn spot<'a>(&self, world: &'a World, after: bool) -> Spot<'a> {
        let middle = world.middle(self.server);
        match after {
            false => middle.from_client().message(b'Q').holding(self.asks),
            true => middle.from_server().nth(self.answer.1, b'C').holding(self.answer.0),
        }
    }

    pub(super) fn cut<'a>(&self, world: &'a World, after: bool) -> Fault<'a> {
        self.spot(world, after).cut(Cut::Reset)
    }
}

pub(super) async fn write_on_both(raw: &mut RawClient, ids: [i32; 2], balance: i32) {
    assert_eq!(ask(raw, "BEGIN").await.status(), 'T');
    for id in ids {
        assert_eq!(ask(raw, &put(id, balance)).await.commands(), ["UPDATE 1"]);
    }
}

/// What both accounts have come to, once both can be written again: nothing is left locked.
pub(super) async fn settled(world: &World, ids: [i32; 2]) -> [String; 2] {
    nothing_prepared(world).await;
    for (shard, id) in ids.into_iter().enumerate() {
        let free = format!(
            "SELECT count(*) FROM (SELECT FROM account WHERE user_id = {id} FOR UPDATE SKIP LOCKED) _"
        );
        soon("the row to be free", async || (world.shard(shard).sql(&free) == "1").then_some(())).await;
    }
    seen(world, ids)
}

#[tokio::test]
async fn a_connection_lost_at_any_step_leaves_all_or_nothing() {
    let _turn = GATE.lock().await;
    for step in STEPS {
        for after in [false, true] {
            at_rest(&SHOP.admin().await).await;
            let ids = both(&SHOP);
            let mut raw = SHOP.raw("app").await;
            write_on_both(&mut raw, ids, 7).await;
            let cut = step.cut(&SHOP, after);
            let reply = ask(&mut raw, "COMMIT").await;
            cut.happened().await;
            let place = format!("{step:?}, after: {after}: {reply:?}");
            assert_eq!(reply.status(), 'I', "{place}");
            if step.commits[usize::from(after)] {
                assert_eq!(reply.commands(), ["COMMIT"], "{place}");
                // The client reads what it was told of.
                assert_eq!(seen(&SHOP, ids), ["7", "7"], "{place}");
            } else {
                assert_eq!(code(&reply), "08006", "{place}");
            }
            let expected = if step.commits[usize::from(after)] { ["7", "7"] } else { ["100", "100"] };
            assert_eq!(settled(&SHOP, ids).await, expected, "{place}");
        }
    }
}

#[tokio::test]
async fn a_proxy_killed_at_any_step_leaves_all_or_nothing_to_the_next_one() {
    let world = two_servers();
    for step in STEPS {
        for after in [false, true] {
            let ids = both(&world);
            let mut raw = world.raw("app").await;
            write_on_both(&mut raw, ids, 7).await;
            let stalled = step.spot(&world, after).stall();
            raw.query("COMMIT").send().await;
            stalled.happened().await;
            world.proxy().kill();
            stalled.lift();
            world.proxy().start();
            let expected = if step.commits[usize::from(after)] { ["7", "7"] } else { ["100", "100"] };
            let found = settled(&world, ids).await;
            assert_eq!(found[0], found[1], "{step:?}, after: {after}");
            // What a server had heard before the connection broke it may still have done.
            if after || step.commits[0] {
                assert_eq!(found, expected, "{step:?}, after: {after}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_that_is_killed_at_any_step_leaves_all_or_nothing() {
    let _turn = GATE.lock().await;
    for step in STEPS {
        for after in [false, true] {
            at_rest(&SHOP.admin().await).await;
            let ids = both(&SHOP);
            let mut raw = SHOP.raw("app").await;
            write_on_both(&mut raw, ids, 7).await;
            let stalled = step.spot(&SHOP, after).stall();
            raw.query("COMMIT").send().await;
            stalled.happened().await;
            let admin = SHOP.admin().await;
            admin.simple_query("KILL shop").await.expect("KILL");
            raw.rest().await;
            stalled.lift();
            admin.simple_query("RESUME shop").await.expect("RESUME");
            let found = settled(&SHOP, ids).await;
            assert_eq!(found[0], found[1], "{step:?}, after: {after}");
            if after {
                let expected = if step.commits[1] { "7" } else { "100" };
                assert_eq!(found[0], expected, "{step:?}, after: {after}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_vanishes_at_any_step_leaves_all_or_nothing() {
    let _turn = GATE.lock().await;
    for step in STEPS {
        at_rest(&SHOP.admin().await).await;
        let ids = both(&SHOP);
        let mut raw = SHOP.raw("app").await;
        write_on_both(&mut raw, ids, 7).await;
        let stalled = step.spot(&SHOP, false).stall();
        raw.query("COMMIT").send().await;
        stalled.happened().await;
        drop(raw);
        stalled.lift();
        // As on one Postgres: it goes on to the end.
        soon("the commit", async || (seen(&SHOP, ids) == ["7", "7"]).then_some(())).await;
        nothing_prepared(&SHOP).await;
    }
}

#[tokio::test]
async fn a_deferred_constraint_that_fails_on_either_shard_rolls_both_back_in_postgres_words() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    for wrong in 0..2 {
        assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
        for (shard, id) in ids.into_iter().enumerate() {
            let owner = if shard == wrong { "99" } else { &id.to_string() };
            let insert = format!("INSERT INTO entry VALUES ({id}, {owner})");
            assert_eq!(ask(&mut raw, &insert).await.commands(), ["INSERT 0 1"]);
        }
        let refused = ask(&mut raw, "COMMIT").await;
        assert_eq!((code(&refused).as_str(), refused.status()), ("23503", 'I'));
        let message = refused.error().and_then(|error| error.field('M')).unwrap_or_default();
        assert!(message.contains("entry_owner_fkey"), "{message}");
        assert_eq!(SHOP.everywhere("SELECT count(*) FROM entry"), ["0", "0"]);
        nothing_prepared(&SHOP).await;
    }
}

#[tokio::test]
async fn what_is_not_ours_is_never_touched() {
    let world = two_servers();
    let server = world.shard(1);
    let name = "0000000000000abc-1";
    let others = [
        "other".to_owned(),
        format!("shardway:other:{name}:main.0:main.1"),
        format!("shardway:shop:{name}:main.0"),
        "shardway:shop:not ours".to_owned(),
    ];
    let ours = format!("shardway:shop:{name}:main.0:main.1");
    let app = server.connect().await;
    for gid in others.iter().chain([&ours]) {
        let insert = format!("INSERT INTO account VALUES (DEFAULT, '{gid}')");
        app.batch_execute(&format!("BEGIN; {insert}; PREPARE TRANSACTION '{gid}'"))
            .await
            .expect("to be prepared");
    }
    soon("ours to be rolled back", async || {
        (server.sql(&format!("SELECT count(*) FROM pg_prepared_xacts WHERE gid = '{ours}'")) == "0")
            .then_some(())
    })
    .await;
    let left = server.sql("SELECT gid FROM pg_prepared_xacts ORDER BY gid");
    let mut expected = others.to_vec();
    expected.sort();
    let mut left: Vec<_> = left.lines().map(str::to_owned).collect();
    left.sort();
    assert_eq!(left, expected);
    for gid in &others {
        server.sql(&format!("ROLLBACK PREPARED '{gid}'"));
    }
}

/// Has a user prepare a part of a transaction of a proxy that is no more, on shard 1.
async fn orphan(world: &World, user: &str, number: u32, id: i32, balance: i32) -> String {
    let gid = format!("shardway:shop:00000000000000ff-{number:x}:main.0:main.1");
    let direct = world.shard(1).connect_as(user).await;
    let script = format!("BEGIN; {}; PREPARE TRANSACTION '{gid}'", put(id, balance));
    direct.batch_execute(&script).await.expect("to be prepared");
    gid
}

#[tokio::test]
async fn what_another_process_left_is_ended_by_what_was_decided() {
    let _turn = GATE.lock().await;
    let ids = [both(&SHOP)[1], both(&SHOP)[1], both(&SHOP)[1]];
    SHOP.shard(0).sql(
        "INSERT INTO shardway.decisions VALUES ('00000000000000ff-1', true), ('00000000000000ff-2', false)",
    );
    for (number, id) in (1..).zip(ids) {
        orphan(&SHOP, "app", number, id, 5).await;
    }
    nothing_prepared(&SHOP).await;
    let now = ids.map(|id| SHOP.shard(1).sql(&format!("SELECT balance FROM account WHERE user_id = {id}")));
    assert_eq!(now, ["5", "100", "100"]);
    // It can't be committed any more.
    let fence = "SELECT committed FROM shardway.decisions WHERE name = '00000000000000ff-3'";
    assert_eq!(SHOP.shard(0).sql(fence), "f");
}

#[tokio::test]
async fn several_proxies_end_it_together() {
    let world = two_servers();
    let others = [world.another_proxy(), world.another_proxy()];
    let committed = "SELECT count(*) FROM account WHERE balance = 5";
    for number in 1..=20 {
        let id = both(&world)[1];
        if number % 2 == 0 {
            world
                .shard(0)
                .sql(&format!("INSERT INTO shardway.decisions VALUES ('00000000000000ff-{number:x}', true)"));
        }
        orphan(&world, "app", number, id, 5).await;
    }
    nothing_prepared(&world).await;
    assert_eq!(world.shard(1).sql(committed), "10");
    drop(others);
}

#[tokio::test]
async fn what_can_not_be_ended_yet_is_shown_and_counted_and_ended_later() {
    let world = two_servers();
    let id = both(&world)[1];
    let refused = world.middle(0).refuse();
    world.middle(0).cut_all(Cut::Reset);
    let gid = orphan(&world, "app", 7, id, 5).await;
    let admin = world.admin().await;
    let shown = soon("it to be shown", async || {
        show(&admin, "TWO_PHASE")
            .await
            .into_iter()
            .find(|row| row["gid"] == gid && row["state"] == "orphaned")
    })
    .await;
    assert_eq!((&*shown["database"], &*shown["group"], &*shown["shard"]), ("shop", "main", "1"));
    assert_eq!(shown["owner"], "app");
    assert!(shown["age"].parse::<f64>().expect("an age") >= 3.0, "{shown:?}");
    let gauge = || world.proxy().http_get("/metrics").1;
    assert!(gauge().contains("shardway_two_phase_prepared{database=\"shop\"} 1"));
    refused.lift();
    nothing_prepared(&world).await;
    soon("the gauge to fall", async || {
        gauge().contains("shardway_two_phase_prepared{database=\"shop\"} 0").then_some(())
    })
    .await;
    assert_eq!(show(&admin, "TWO_PHASE").await.len(), 0);
}

#[tokio::test]
async fn a_transaction_that_was_given_up_by_another_proxy_does_not_commit() {
    let world = two_servers();
    let other = world.another_proxy();
    let ids = both(&world);
    let mut raw = world.raw("app").await;
    write_on_both(&mut raw, ids, 7).await;
    // The decision does not come through while the other part is prepared: the other proxy gives it up.
    let stalled = STEPS[1].spot(&world, false).stall();
    raw.query("COMMIT").send().await;
    stalled.happened().await;
    soon("the other proxy to give it up", async || {
        (world.shard(0).sql("SELECT count(*) FROM shardway.decisions WHERE NOT committed") == "1")
            .then_some(())
    })
    .await;
    nothing_prepared(&world).await;
    stalled.lift();
    let reply = raw.recv_until_ready().await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("40001", 'I'));
    assert_eq!(settled(&world, ids).await, ["100", "100"]);
    drop(other);
}

#[tokio::test]
async fn a_decider_that_stays_away_leaves_the_client_with_an_honest_error() {
    let world = two_servers();
    let ids = both(&world);
    let client = world.connect("app").await;
    let script = format!("BEGIN; {}; {}", put(ids[0], 7), put(ids[1], 7));
    client.batch_execute(&script).await.expect("a transaction");
    let stalled = STEPS[2].spot(&world, true).stall();
    let committing = tokio::spawn(async move { client.batch_execute("COMMIT").await });
    stalled.happened().await;
    let refused = world.middle(0).refuse();
    world.middle(0).cut_all(Cut::Reset);
    let error = committing.await.expect("the client").expect_err("nobody knows what became of it");
    assert_eq!(crate::operation::support::code(&error), "08007");
    refused.lift();
    assert_eq!(settled(&world, ids).await, ["7", "7"]);
}
