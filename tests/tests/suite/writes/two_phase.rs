//! COMMIT over several shards: how many messages it takes, in which order, and what stays on the servers.

use shardway_tests::{RawClient, SharedWorld, World};

use super::{ask, both, code, nothing_prepared, put, seen, two_servers};
use crate::operation::support::{at_rest, soon};

static SHOP: SharedWorld = SharedWorld::new(two_servers);

/// One test's turn with the middles: whoever else commits here would be counted, and struck, too.
static GATE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn begin_on_both(raw: &mut RawClient, ids: [i32; 2], balance: i32) {
    assert_eq!(ask(raw, "BEGIN").await.status(), 'T');
    for id in ids {
        assert_eq!(ask(raw, &put(id, balance)).await.commands(), ["UPDATE 1"]);
    }
}

#[tokio::test]
async fn what_is_written_on_two_shards_is_committed_on_both_or_rolled_back_on_both() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    begin_on_both(&mut raw, ids, 1).await;
    assert_eq!(seen(&SHOP, ids), ["100", "100"]);
    let committed = ask(&mut raw, "COMMIT").await;
    assert_eq!((committed.commands(), committed.status()), (vec!["COMMIT".to_owned()], 'I'));
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    begin_on_both(&mut raw, ids, 2).await;
    assert_eq!(ask(&mut raw, "ROLLBACK").await.commands(), ["ROLLBACK"]);
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    begin_on_both(&mut raw, ids, 3).await;
    assert_eq!(code(&ask(&mut raw, "SELECT 1/0").await), "22012");
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
    assert_eq!(seen(&SHOP, ids), ["1", "1"]);
    nothing_prepared(&SHOP).await;
}

#[tokio::test]
async fn decisions_that_nobody_needs_any_more_are_taken_away() {
    let _turn = GATE.lock().await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    for balance in 0..20 {
        begin_on_both(&mut raw, ids, balance).await;
        assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    }
    soon("the decisions to be gone", async || {
        (SHOP.everywhere("SELECT count(*) FROM shardway.decisions") == ["0", "0"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn it_takes_two_messages_to_each_server_and_none_more() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    begin_on_both(&mut raw, ids, 7).await;
    // The decision, and COMMIT; PREPARE, and COMMIT PREPARED.
    let second: Vec<_> =
        (0..2).map(|server| SHOP.middle(server).from_client().nth(2, b'Q').edit(|_| ())).collect();
    let third: Vec<_> =
        (0..2).map(|server| SHOP.middle(server).from_client().nth(3, b'Q').edit(|_| ())).collect();
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["COMMIT"]);
    assert!(second.iter().all(|message| message.has_happened()));
    assert!(!third.iter().any(|message| message.has_happened()));
}

#[tokio::test]
async fn every_round_is_sent_to_all_before_anybody_answers() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    begin_on_both(&mut raw, ids, 8).await;
    // The first server's answers wait: the other one has been asked all the same.
    let decision = SHOP.middle(0).from_server().nth_of_any(1).stall();
    raw.query("COMMIT").send().await;
    decision.happened().await;
    soon("the other one's part", async || {
        (SHOP.shard(1).sql("SELECT count(*) FROM pg_prepared_xacts WHERE database = 'shop_1'") == "1")
            .then_some(())
    })
    .await;
    assert_eq!(seen(&SHOP, ids), ["100", "100"], "nothing is decided yet");
    decision.lift();
    assert_eq!(raw.recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(seen(&SHOP, ids), ["8", "8"]);
    nothing_prepared(&SHOP).await;
}

#[tokio::test]
async fn one_writer_beside_readers_costs_what_a_plain_commit_does() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
    assert_eq!(
        ask(&mut raw, &format!("SELECT balance FROM account WHERE user_id = {}", ids[1])).await.status(),
        'T'
    );
    assert_eq!(ask(&mut raw, &put(ids[0], 9)).await.status(), 'T');
    let second: Vec<_> =
        (0..2).map(|server| SHOP.middle(server).from_client().nth(2, b'Q').edit(|_| ())).collect();
    // The writer's answer waits: the reader has been asked all the same.
    let answer = SHOP.middle(0).from_server().nth_of_any(1).stall();
    let asked = SHOP.middle(1).from_client().nth(1, b'Q').holding("COMMIT").edit(|_| ());
    raw.query("COMMIT").send().await;
    answer.happened().await;
    asked.happened().await;
    answer.lift();
    assert_eq!(raw.recv_until_ready().await.commands(), ["COMMIT"]);
    assert!(!second.iter().any(|message| message.has_happened()));
    assert_eq!(seen(&SHOP, ids), ["9", "100"]);
}

#[tokio::test]
async fn locks_are_held_until_what_they_protect_is_committed() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    let ids = both(&SHOP);
    let mut raw = SHOP.raw("app").await;
    assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
    let lock = format!("SELECT balance FROM account WHERE user_id = {} FOR UPDATE", ids[1]);
    assert_eq!(ask(&mut raw, &lock).await.status(), 'T');
    assert_eq!(ask(&mut raw, &put(ids[0], 10)).await.status(), 'T');
    let answer = SHOP.middle(0).from_server().nth_of_any(1).stall();
    raw.query("COMMIT").send().await;
    answer.happened().await;
    let free = format!(
        "SELECT count(*) FROM (SELECT FROM account WHERE user_id = {} FOR UPDATE SKIP LOCKED) _",
        ids[1]
    );
    assert_eq!(SHOP.shard(1).sql(&free), "0", "the lock is held while the writer commits");
    answer.lift();
    assert_eq!(raw.recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(SHOP.shard(1).sql(&free), "1");
}

#[tokio::test]
async fn with_two_phase_commit_off_a_second_writer_is_refused() {
    let world = World::builder()
        .shards(2)
        .schema(super::SCHEMA)
        .config("[routing]\ntwo_phase_commit = false")
        .start();
    let ids = both(&world);
    let mut raw = world.raw("app").await;
    assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
    assert_eq!(ask(&mut raw, &put(ids[0], 1)).await.status(), 'T');
    let refused = ask(&mut raw, &put(ids[1], 1)).await;
    assert_eq!((code(&refused).as_str(), refused.status()), ("0A000", 'E'));
    let hint = refused.error().and_then(|error| error.field('H')).unwrap_or_default();
    assert!(hint.contains("two_phase_commit"), "{hint}");
    assert_eq!(ask(&mut raw, "COMMIT").await.commands(), ["ROLLBACK"]);
    assert_eq!(seen(&world, ids), ["100", "100"]);
}

#[tokio::test]
async fn a_server_that_prepares_nothing_is_named_at_start_and_fails_such_commits_in_its_own_words() {
    let world =
        World::builder().shards(2).schema(super::SCHEMA).setting("max_prepared_transactions", 0).start();
    let line = world.proxy().wait_for_log("max_prepared_transactions is 0");
    assert!(line.contains("ERROR") && line.contains(&world.server(0).port().to_string()), "{line}");
    let ids = both(&world);
    let mut raw = world.raw("app").await;
    begin_on_both(&mut raw, ids, 1).await;
    let refused = ask(&mut raw, "COMMIT").await;
    assert_eq!((code(&refused).as_str(), refused.status()), ("55000", 'I'));
    let hint = refused.error().and_then(|error| error.field('H')).unwrap_or_default();
    assert!(hint.contains("max_prepared_transactions"), "{hint}");
    assert_eq!(seen(&world, ids), ["100", "100"]);
}
