//! Cancels that get lost, or stuck, on their way to a server.

use std::time::Duration;

use shardway_tests::{Cut, Kind, RawClient, eventually};

use super::{WORLD, ask, code, others_are_served, turn};
use crate::operation::support::{at_rest, pooled, soon};

const SLEEP: &str = "/* shard: 0 */ SELECT pg_sleep(600), 'to be cancelled'";

/// Waits until so many servers run this.
fn running(what: &str, count: usize) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{what}%' AND state = 'active' \
         AND pid <> pg_backend_pid()"
    );
    eventually("a statement to run", || (WORLD.shard(0).sql(&sql) == count.to_string()).then_some(()));
}

/// Stops what runs there, so that its client hears of it.
fn stop(what: &str) {
    let sql = format!(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%{what}%' \
        AND state = 'active' AND pid <> pg_backend_pid()"
    );
    WORLD.shard(0).sql(&sql);
}

#[tokio::test]
async fn a_cancel_that_is_stuck_on_its_way_hits_nobody_when_it_arrives() {
    let _turn = turn().await;
    let mut raw = WORLD.raw("app").await;
    raw.query(SLEEP).send().await;
    running("to be cancelled", 1);
    let stuck = WORLD.middle(0).from_client().on(Kind::Cancel).nth_of_any(1).stall();
    let (port, key) = (WORLD.proxy().port(), raw.cancel_key());
    let cancel = tokio::spawn(RawClient::cancel(port, key));
    stuck.happened().await;
    stop("to be cancelled");
    assert_eq!(code(&raw.recv_until_ready().await), "57014");
    // Shardway stops waiting for it.
    cancel.await.expect("the cancel's connection ends");
    let mut other = WORLD.raw("app").await;
    other.query("/* shard: 0 */ SELECT pg_sleep(3), 'somebody else'").send().await;
    running("somebody else", 1);
    stuck.lift();
    let reply = other.recv_until_ready().await;
    assert_eq!(reply.commands(), ["SELECT 1"], "{reply:?}");
}

#[tokio::test]
async fn a_server_is_lent_while_no_cancel_is_on_its_way_to_it() {
    let _turn = turn().await;
    let mut raw = WORLD.raw("app").await;
    raw.query(SLEEP).send().await;
    running("to be cancelled", 1);
    let stuck = WORLD.middle(0).from_client().on(Kind::Cancel).nth_of_any(1).stall();
    let (port, key) = (WORLD.proxy().port(), raw.cancel_key());
    let cancel = tokio::spawn(RawClient::cancel(port, key));
    stuck.happened().await;
    stop("to be cancelled");
    assert_eq!(code(&raw.recv_until_ready().await), "57014");
    let mut other = WORLD.raw("app").await;
    other.query("/* shard: 0 */ SELECT pg_sleep(0.2), 'the next'").send().await;
    let admin = WORLD.admin().await;
    soon("the next one to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    stuck.lift();
    // It reached a server that nobody had.
    assert_eq!(other.recv_until_ready().await.commands(), ["SELECT 1"]);
    cancel.await.expect("the cancel's connection ends");
    at_rest(&WORLD.admin().await).await;
}

#[tokio::test]
async fn a_cancel_that_is_cut_off_leaves_its_statement_running_and_others_alone() {
    let _turn = turn().await;
    for how in [Cut::Fin, Cut::Reset] {
        let mut raw = WORLD.raw("app").await;
        raw.query(SLEEP).send().await;
        running("to be cancelled", 1);
        let cut = WORLD.middle(0).from_client().on(Kind::Cancel).nth_of_any(1).cut(how);
        RawClient::cancel(WORLD.proxy().port(), raw.cancel_key()).await;
        cut.happened().await;
        // The next one gets through.
        soon("the statement to be cancelled", async || {
            RawClient::cancel(WORLD.proxy().port(), raw.cancel_key()).await;
            let idle = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%to be cancelled%' AND state = 'active' AND pid <> pg_backend_pid()";
            (WORLD.shard(0).sql(idle) == "0").then_some(())
        })
        .await;
        assert_eq!(code(&raw.recv_until_ready().await), "57014");
        assert_eq!(ask(&mut raw, "/* shard: 0 */ SELECT 1").await.tags(), "TDCZ");
        others_are_served().await;
    }
}

#[tokio::test]
async fn a_cancel_that_is_stuck_does_not_keep_others_from_their_servers() {
    let _turn = turn().await;
    let proxy = WORLD.another_proxy_with("[pool]\ncancel_wait_timeout = '1h'");
    let mut raw = proxy.raw("app").await;
    for shard in 0..2 {
        WORLD.shard(shard).sql(&format!("INSERT INTO t VALUES ({}, 'asleep')", -1 - shard as i32));
    }
    raw.query("SELECT name FROM t WHERE user_id < 0 AND pg_sleep(600) IS NOT NULL").send().await;
    running("pg_sleep(600) IS NOT NULL", 2);
    let stuck = WORLD.middle(0).from_client().on(Kind::Cancel).nth_of_any(1).stall();
    let cancel = tokio::spawn(RawClient::cancel(proxy.port(), raw.cancel_key()));
    stuck.happened().await;
    running("pg_sleep(600) IS NOT NULL", 1);
    stuck.lift();
    assert_eq!(code(&raw.recv_until_ready().await), "57014");
    cancel.await.expect("the cancel's connection ends");
    for shard in 0..2 {
        WORLD.shard(shard).sql("DELETE FROM t WHERE user_id < 0");
    }
}

#[tokio::test]
async fn shardways_own_cancel_does_not_hit_what_its_client_asks_next() {
    let _turn = turn().await;
    let proxy = WORLD.another_proxy_with("[pool]\nmode = 'session'\ncancel_wait_timeout = '1h'");
    for shard in 0..2 {
        WORLD.shard(shard).sql(&format!("INSERT INTO t VALUES ({}, '{shard}')", -1 - shard as i32));
    }
    // Shard 0 fails at once, and shard 1 would go on for long.
    let sql = "SELECT name, CASE name WHEN '1' THEN pg_sleep(600)::text ELSE (1 / name::int)::text END \
         FROM t WHERE user_id < 0";
    let mut raw = proxy.raw("app").await;
    let stuck = WORLD.middle(0).from_client().on(Kind::Cancel).nth_of_any(1).stall();
    raw.query(sql).send().await;
    stuck.happened().await;
    stop("pg_sleep(600)");
    let answered = tokio::time::timeout(Duration::from_millis(300), raw.recv()).await;
    assert!(answered.is_err(), "answered while a cancel is on its way: {answered:?}");
    stuck.lift();
    assert_eq!(code(&raw.recv_until_ready().await), "22012");
    assert_eq!(ask(&mut raw, "/* shard: 1 */ SELECT 1 FROM pg_sleep(0.2)").await.commands(), ["SELECT 1"]);
    for shard in 0..2 {
        WORLD.shard(shard).sql("DELETE FROM t WHERE user_id < 0");
    }
}
