//! Replicas that can't be reached, or are lost in the middle of an answer.

use shardway_tests::{Cut, Kind, RawClient, SharedWorld, World};
use tokio::sync::Mutex;

use super::{ask, code};
use crate::operation::support::soon;

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .replicas(1)
        .middles()
        .schema("CREATE TABLE t (user_id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'ada')")
        .config("[server]\nauth = 'trust'\n[pool]\nserver_login_retry = '20ms'\n[routing]\nhealth_check_interval = '100ms'")
        .start()
});

static GATE: Mutex<()> = Mutex::const_new(());

const READ: &str = "SELECT inet_server_port() FROM (SELECT name FROM t WHERE user_id = 1) t";

/// The port of the server that answered; none where it is an error.
async fn server(raw: &mut RawClient) -> Option<u16> {
    ask(raw, READ).await.texts().0.first()?.first()?.as_deref()?.parse().ok()
}

/// Reads are served by the replica.
async fn replica_serves(raw: &mut RawClient) {
    let replica = WORLD.replica(0, 0).port();
    soon("the replica to serve", async || (server(raw).await == Some(replica)).then_some(())).await;
}

#[tokio::test]
async fn a_replica_that_refuses_is_passed_over() {
    let _turn = GATE.lock().await;
    let mut raw = WORLD.raw("app").await;
    replica_serves(&mut raw).await;
    let refusal = WORLD.replica_middle(0, 0).refuse();
    WORLD.replica_middle(0, 0).cut_all(Cut::Fin);
    for _ in 0..20 {
        let reply = ask(&mut raw, READ).await;
        // What was idle there may have been asked before its end was seen.
        assert!(reply.error().is_none() || code(&reply) == "08006", "{reply:?}");
    }
    assert_eq!(server(&mut raw).await, Some(WORLD.server(0).port()));
    refusal.lift();
    replica_serves(&mut raw).await;
}

#[tokio::test]
async fn a_replica_that_is_lost_in_the_middle_of_an_answer_is_an_error_of_that_statement() {
    let _turn = GATE.lock().await;
    let mut raw = WORLD.raw("app").await;
    for byte in [0, 30, 70] {
        replica_serves(&mut raw).await;
        let cut = WORLD.replica_middle(0, 0).from_server().byte(byte).cut(Cut::Reset);
        let reply = ask(&mut raw, READ).await;
        if cut.has_happened() {
            assert_eq!((code(&reply).as_str(), reply.status()), ("08006", 'I'), "{reply:?}");
        }
        drop(cut);
        assert_eq!(ask(&mut raw, READ).await.rows().len(), 1);
    }
}

#[tokio::test]
async fn a_replica_whose_health_is_not_heard_of_serves_no_more() {
    let _turn = GATE.lock().await;
    let mut raw = WORLD.raw("app").await;
    replica_serves(&mut raw).await;
    let stall = WORLD.replica_middle(0, 0).from_server().on(Kind::Control).nth_of_any(1).stall();
    stall.happened().await;
    let primary = WORLD.server(0).port();
    soon("the primary to serve", async || (server(&mut raw).await == Some(primary)).then_some(())).await;
    stall.lift();
    replica_serves(&mut raw).await;
}
