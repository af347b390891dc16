//! A server that breaks the protocol where it hurts most; [`malice`](super::malice) tries everywhere.

use shardway_tests::{Cut, DATABASE, PASSWORD, RawClient};

use super::{WORLD, ask, code, others_are_served, turn};

#[tokio::test]
async fn a_row_is_whole_before_its_server_is_said_to_break_the_protocol() {
    let _turn = turn().await;
    let mut raw = WORLD.raw("app").await;
    ask(&mut raw, "/* shard: 0 */ SELECT 1").await;
    let edit = WORLD.middle(0).from_server().message(b'D').edit(|message| message.extend(b"C\0\0\0\x03"));
    let reply = raw.query("/* shard: 0 */ SELECT repeat('x', 200000)").recv_until_ready().await;
    edit.happened().await;
    assert_eq!(reply.tags(), "TDEZ");
    assert_eq!(reply.rows()[0][0].as_ref().map(|value| value.len()), Some(200_000));
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("08006"));
}

#[tokio::test]
async fn a_transaction_status_that_does_not_exist_is_an_error() {
    let _turn = turn().await;
    for status in [0, b'i', b'X', 0xff] {
        // What a server is told before its first statement for a client has an answer of its own.
        let mut raw = WORLD.raw("app").await;
        ask(&mut raw, "/* shard: 0 */ SELECT 1").await;
        let edit = WORLD.middle(0).from_server().message(b'Z').edit(move |message| message[5] = status);
        let reply = raw.query("/* shard: 0 */ SELECT 1").recv_until_ready().await;
        edit.happened().await;
        assert_eq!((reply.tags().as_str(), reply.status()), ("TDCEZ", 'I'), "{status}: {reply:?}");
    }
}

#[tokio::test]
async fn a_reset_whose_server_is_lost_tells_nothing_of_that_servers_own_settings() {
    let _turn = turn().await;
    let mut lost = 0;
    // At each step of it: one of them is when it is reset, and what the client came with is not in place yet.
    for step in 1..=4 {
        let mut raw = RawClient::connect(WORLD.proxy().port()).await;
        let startup = [("user", "app"), ("database", DATABASE), ("TimeZone", "Asia/Tokyo")];
        raw.try_login(&startup, PASSWORD).await.expect("a login");
        ask(&mut raw, "SET TimeZone = 'Europe/Berlin'").await;
        let cut = WORLD.middle(0).from_client().nth(step, b'Q').cut(Cut::Fin);
        let reply = ask(&mut raw, "RESET TimeZone").await;
        if reply.error().is_some() {
            assert_eq!(code(&reply), "08006");
            assert_eq!(raw.parameter("TimeZone"), Some("Europe/Berlin"), "step {step}: {reply:?}");
            lost += 1;
        }
        drop(cut);
        others_are_served().await;
        let shown = ask(&mut raw, "SHOW TimeZone").await.texts().0[0][0].clone();
        assert_eq!(raw.parameter("TimeZone"), shown.as_deref(), "step {step}");
    }
    assert!(lost > 0);
}
