//! Locks of transactions that are at their COMMIT: prepared on one shard while another one has yet to decide, or waiting
//! there themselves. Whoever waits for them is told no more than is so.

use std::time::Duration;

use shardway_tests::{RawClient, Reply, SharedWorld, World};

use super::recovery::{STEPS, settled, write_on_both};
use super::{ask, both, code, nothing_prepared, put, seen, two_servers};
use crate::operation::support::{at_rest, soon};

static SHOP: SharedWorld = SharedWorld::new(two_servers);

/// One test's turn with the middles: whoever else commits here would be struck, too.
static GATE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits until so many wait for locks on a shard.
async fn waiting(world: &World, shard: usize, count: usize) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    soon(&format!("{count} to wait on shard {shard}"), async || {
        (world.shard(shard).sql(sql) == count.to_string()).then_some(())
    })
    .await;
}

/// A client in a transaction in which this was done.
async fn having(done: &[&str]) -> RawClient {
    let mut raw = SHOP.raw("app").await;
    assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
    for sql in done {
        let reply = ask(&mut raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
    raw
}

fn message(reply: &Reply) -> String {
    reply.error().and_then(|error| error.field('M')).unwrap_or_default()
}

#[tokio::test]
async fn who_waits_for_what_is_prepared_is_not_taken_for_a_part_of_a_circle() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    let (ids, [other, _]) = (both(&SHOP), both(&SHOP));
    let mut first = SHOP.raw("app").await;
    write_on_both(&mut first, ids, 7).await;
    // It is prepared on shard 1; on shard 0 nobody has heard of its COMMIT.
    let stalled = STEPS[2].spot(&SHOP, false).stall();
    first.query("COMMIT").send().await;
    stalled.happened().await;
    // One that waits for the prepared part while it holds what another one waits for, which holds something there too.
    let (mut second, mut third) = (having(&[&put(other, 1)]).await, SHOP.raw("app").await);
    second.query(&put(ids[1], 8)).send().await;
    waiting(&SHOP, 1, 1).await;
    third.query(&put(other, 2)).send().await;
    waiting(&SHOP, 0, 1).await;
    // And one with little patience, which hears what Postgres says.
    let mut hasty = having(&["SET LOCAL lock_timeout = '300ms'"]).await;
    let told = ask(&mut hasty, &put(ids[1], 9)).await;
    assert_eq!((code(&told).as_str(), told.status()), ("55P03", 'E'), "{told:?}");
    assert_eq!(message(&told), "canceling statement due to lock timeout");
    assert_eq!(ask(&mut hasty, "ROLLBACK").await.status(), 'I');
    // Longer than circles take to be found: nothing may happen.
    tokio::time::sleep(Duration::from_secs(4)).await;
    waiting(&SHOP, 1, 1).await;
    waiting(&SHOP, 0, 1).await;
    // A cancel works.
    let mut fourth = SHOP.raw("app").await;
    fourth.query(&put(ids[1], 10)).send().await;
    waiting(&SHOP, 1, 2).await;
    RawClient::cancel(SHOP.proxy().port(), fourth.cancel_key()).await;
    assert_eq!(code(&fourth.recv_until_ready().await), "57014");
    stalled.lift();
    assert_eq!(first.recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(second.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut second, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(third.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(settled(&SHOP, ids).await, ["7", "8"]);
    assert_eq!(SHOP.shard(0).sql(&format!("SELECT balance FROM account WHERE user_id = {other}")), "2");
}

#[tokio::test]
async fn what_is_left_prepared_for_good_holds_up_those_alone_who_want_its_rows() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    let (ids, others) = (both(&SHOP), both(&SHOP));
    // Somebody else's, which nobody here may end.
    let direct = SHOP.shard(1).connect().await;
    let script = format!("BEGIN; {}; PREPARE TRANSACTION 'not ours'", put(ids[1], 5));
    direct.batch_execute(&script).await.expect("to be prepared");
    let mut waits = having(&[&put(ids[0], 6)]).await;
    waits.query(&put(ids[1], 6)).send().await;
    waiting(&SHOP, 1, 1).await;
    // A real circle beside it is found, and the one that waits is not in it.
    let mut older = having(&[&put(others[0], 1)]).await;
    let mut younger = having(&[&put(others[1], 2)]).await;
    older.query(&put(others[1], 1)).send().await;
    waiting(&SHOP, 1, 2).await;
    younger.query(&put(others[0], 2)).send().await;
    let told = younger.recv_until_ready().await;
    assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
    assert_eq!(older.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut older, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(ask(&mut younger, "ROLLBACK").await.status(), 'I');
    waiting(&SHOP, 1, 1).await;
    SHOP.shard(1).sql("ROLLBACK PREPARED 'not ours'");
    assert_eq!(waits.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut waits, "COMMIT").await.commands(), ["COMMIT"]);
    assert_eq!(
        (seen(&SHOP, ids), seen(&SHOP, others)),
        (["6", "6"].map(Into::into), ["1", "1"].map(Into::into))
    );
}

#[tokio::test]
async fn a_commit_whose_constraint_waits_may_be_in_a_circle_and_the_younger_is_ended() {
    let _turn = GATE.lock().await;
    at_rest(&SHOP.admin().await).await;
    for committer_is_older in [true, false] {
        let (ids, owners) = (both(&SHOP), both(&SHOP));
        // Its entry's owner is looked at when it is prepared on shard 1.
        let entry = format!("INSERT INTO entry VALUES ({}, {})", ids[1], owners[1]);
        let lock = format!("SELECT balance FROM account WHERE user_id = {} FOR UPDATE", owners[1]);
        let first = put(ids[0], 1);
        let (mut commits, mut waits) = match committer_is_older {
            true => {
                let commits = having(&[&first, &entry]).await;
                (commits, having(&[&lock]).await)
            }
            false => {
                let waits = having(&[&lock]).await;
                (having(&[&first, &entry]).await, waits)
            }
        };
        waits.query(&put(ids[0], 2)).send().await;
        waiting(&SHOP, 0, 1).await;
        commits.query("COMMIT").send().await;
        let entries = format!("SELECT count(*) FROM entry WHERE user_id = {}", ids[1]);
        if committer_is_older {
            let told = waits.recv_until_ready().await;
            assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'E'), "{told:?}");
            assert_eq!(commits.recv_until_ready().await.commands(), ["COMMIT"]);
            assert_eq!(ask(&mut waits, "ROLLBACK").await.status(), 'I');
            assert_eq!((SHOP.shard(1).sql(&entries), &seen(&SHOP, ids)[0][..]), ("1".to_owned(), "1"));
        } else {
            let told = commits.recv_until_ready().await;
            assert_eq!((code(&told).as_str(), told.status()), ("40P01", 'I'), "{told:?}");
            assert_eq!(waits.recv_until_ready().await.commands(), ["UPDATE 1"]);
            assert_eq!(ask(&mut waits, "COMMIT").await.commands(), ["COMMIT"]);
            assert_eq!((SHOP.shard(1).sql(&entries), &seen(&SHOP, ids)[0][..]), ("0".to_owned(), "2"));
        }
        nothing_prepared(&SHOP).await;
    }
}
