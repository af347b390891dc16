//! The man in the middle does what it is told.

use std::time::Duration;

use shardway_tests::{Cut, Kind, Message, Middle, PASSWORD, RawClient, Shape};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{WORLD, ask, turn};

/// A client of a shard through a middle of the test's own.
async fn through(middle: &Middle) -> RawClient {
    let mut raw = RawClient::connect(middle.port()).await;
    raw.login("app", "shop_0", PASSWORD).await;
    raw
}

fn middle() -> Middle {
    Middle::before(WORLD.server(0).port())
}

#[tokio::test]
async fn it_passes_everything_and_counts_connections() {
    let middle = middle();
    let mut raw = through(&middle).await;
    let reply = ask(&mut raw, "SELECT generate_series(1, 10000)").await;
    assert_eq!(reply.rows().len(), 10_000);
    assert_eq!((middle.seen().made, middle.seen().open), (1, 1));
    raw.hang_up();
    middle.wait_until("the connection to end", |seen| seen.open == 0).await;
}

#[tokio::test]
async fn it_cuts_at_the_byte_it_is_told() {
    let middle = middle();
    for how in [Cut::Fin, Cut::Reset] {
        let mut raw = through(&middle).await;
        let cut = middle.from_server().nth(3, b'D').inside(9).cut(how);
        raw.query("SELECT generate_series(11, 19)").send().await;
        let reply = raw.rest().await;
        cut.happened().await;
        // A reset may overtake what was sent before it.
        if how == Cut::Fin {
            assert_eq!((reply.tags().as_str(), raw.unread().len()), ("TDD", 9));
        }
        assert!(reply.tags().len() <= 3 && raw.unread().len() <= 9, "{reply:?}");
    }
}

#[tokio::test]
async fn it_cuts_before_and_after_a_message_and_after_so_many_bytes() {
    let middle = middle();
    let mut raw = through(&middle).await;
    let _cut = middle.from_server().message(b'C').cut(Cut::Fin);
    assert_eq!(raw.query("SELECT 1").rest().await.tags(), "TD");
    let mut raw = through(&middle).await;
    let _cut = middle.from_server().message(b'C').after().cut(Cut::Fin);
    assert_eq!(raw.query("SELECT 1").rest().await.tags(), "TDC");
    let mut raw = through(&middle).await;
    let _cut = middle.from_server().byte(17).cut(Cut::Fin);
    assert_eq!(raw.query("SELECT 1").rest().await.tags(), "");
    assert_eq!(raw.unread().len(), 17);
}

#[tokio::test]
async fn it_stalls_one_direction_until_it_is_let_go() {
    let middle = middle();
    let mut raw = through(&middle).await;
    let stall = middle.from_server().message(b'C').stall();
    raw.query("SELECT 1").send().await;
    stall.happened().await;
    assert_eq!(raw.recv_until(b'D').await.tags(), "TD");
    stall.lift();
    assert_eq!(raw.recv_until_ready().await.tags(), "CZ");
}

#[tokio::test]
async fn it_changes_a_message() {
    let middle = middle();
    let mut raw = through(&middle).await;
    let edit = middle.from_server().nth(2, b'D').edit(|message| {
        let last = message.len() - 1;
        message[last] = b'x';
    });
    let reply = ask(&mut raw, "SELECT generate_series(11, 13)").await;
    assert_eq!(reply.texts(), [[Some("11")], [Some("1x")], [Some("13")]]);
    edit.happened().await;
}

#[tokio::test]
async fn it_splits_merges_and_delays() {
    let middle = middle();
    for shape in
        [Shape::Split(1), Shape::Merge(Duration::from_millis(5)), Shape::Delay(Duration::from_millis(2))]
    {
        let _up = middle.from_client().shape(shape);
        let _down = middle.from_server().shape(shape);
        let mut raw = through(&middle).await;
        let reply = ask(&mut raw, "SELECT generate_series(1, 300)").await;
        assert_eq!(reply.rows().len(), 300, "{shape:?}");
    }
}

#[tokio::test]
async fn it_refuses_connections_and_cuts_all_of_them() {
    let middle = middle();
    let mut raw = through(&middle).await;
    let refusal = middle.refuse();
    let refused = TcpStream::connect(("127.0.0.1", middle.port())).await;
    // The reset may come before or after it knows that it is connected.
    let said = match refused {
        Ok(mut refused) => refused.read(&mut [0; 9]).await.unwrap_or(0),
        Err(_) => 0,
    };
    assert_eq!(said, 0);
    assert_eq!(ask(&mut raw, "SELECT 1").await.tags(), "TDCZ");
    refusal.lift();
    let mut other = through(&middle).await;
    middle.cut_all(Cut::Fin);
    for raw in [&mut raw, &mut other] {
        assert_eq!(raw.expect_closed().await.0, Vec::<Message>::new());
    }
}

#[tokio::test]
async fn it_knows_what_a_connection_is_for() {
    let _turn = turn().await;
    let middle = WORLD.middle(0);
    let proxy = WORLD.another_proxy_with("[routing]\nhealth_check_interval = '100ms'");
    let control = middle.from_server().on(Kind::Control).message(b'Z').edit(|_| {});
    let cancel = middle.from_client().on(Kind::Cancel).nth_of_any(1).edit(|_| {});
    control.happened().await;
    let mut raw = proxy.raw("app").await;
    raw.query("/* shard: 0 */ SELECT pg_sleep(600)").send().await;
    let asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'";
    shardway_tests::eventually("it to sleep", || (WORLD.shard(0).sql(asleep) == "1").then_some(()));
    RawClient::cancel(proxy.port(), raw.cancel_key()).await;
    cancel.happened().await;
    assert_eq!(super::code(&raw.recv_until_ready().await), "57014");
}
