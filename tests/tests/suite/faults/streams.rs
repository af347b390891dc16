//! Streams that arrive in other pieces than they were sent in, or not at all for a while.

use std::time::Duration;

use shardway_tests::{Cut, DATABASE, Middle, PASSWORD, Param, RawClient, Shape};

use super::{WORLD, ask, code, others_are_served, struck, turn};
use crate::operation::support::{pooled, soon};

/// A conversation with a bit of everything; gives all that was said.
async fn talk(raw: &mut RawClient) -> Vec<String> {
    let mut said = Vec::new();
    for sql in
        ["SELECT 'one'; SELECT 'two'", "/* shard: 0 */ SELECT nothing", "SET app.x = 'set'", "SHOW app.x"]
    {
        said.push(format!("{:?}", ask(raw, sql).await));
    }
    raw.parse("s", "SELECT $1::int, repeat('x', 300)", &[]).describe_statement("s").sync();
    for n in ["1", "2"] {
        raw.bind("", "s", &[Param::Text(n)], &[]).describe_portal("").execute("", 0).sync();
    }
    raw.close_statement("s").sync();
    for _ in 0..4 {
        said.push(format!("{:?}", raw.recv_until_ready().await));
    }
    raw.query("/* shard: 0 */ COPY t FROM STDIN");
    for n in 0..20 {
        raw.copy_data(format!("{}\tcopied\n", 80_000 + n).as_bytes());
    }
    said.push(format!("{:?}", raw.copy_done().recv_until_ready().await));
    said.push(format!("{:?}", ask(raw, "/* shard: 0 */ DELETE FROM t WHERE user_id >= 80000").await));
    said
}

#[tokio::test]
async fn the_pieces_that_a_stream_arrives_in_do_not_matter() {
    let _turn = turn().await;
    let expected = talk(&mut WORLD.raw("app").await).await;
    let clients = Middle::before(WORLD.proxy().port());
    for shape in [Shape::Split(1), Shape::Split(3), Shape::Merge(Duration::from_millis(3))] {
        let _faults = [
            WORLD.middle(0).from_server().on_any().shape(shape),
            WORLD.middle(0).from_client().on_any().shape(shape),
            clients.from_client().on_any().shape(shape),
            clients.from_server().on_any().shape(shape),
        ];
        // Logins too.
        WORLD.middle(0).cut_all(Cut::Fin);
        let mut raw = RawClient::connect(clients.port()).await;
        raw.login("app", DATABASE, PASSWORD).await;
        assert_eq!(talk(&mut raw).await, expected, "{shape:?}");
    }
    others_are_served().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_more_is_its_clients_trouble_alone() {
    let _turn = turn().await;
    let mut raw = WORLD.raw("app").await;
    let stall = WORLD.middle(0).from_server().message(b'D').inside(3).stall();
    raw.query("/* shard: 0 */ SELECT 'late'").send().await;
    stall.happened().await;
    let mut other = WORLD.raw("app").await;
    assert_eq!(ask(&mut other, "/* shard: 1 */ SELECT 'other'").await.texts(), [[Some("other")]]);
    stall.lift();
    assert_eq!(raw.recv_until_ready().await.texts(), [[Some("late")]]);
}

#[tokio::test]
async fn a_client_that_leaves_a_stalled_server_gives_its_place_up() {
    let _turn = turn().await;
    let mut raw = WORLD.raw("app").await;
    let stall = WORLD.middle(0).from_server().message(b'D').stall();
    raw.query("/* shard: 0 */ SELECT 'never'").send().await;
    stall.happened().await;
    raw.hang_up();
    // The server's one place is free for a new connection, though the old one never said its last word.
    others_are_served().await;
    assert!(struck(&stall).await);
}

#[tokio::test]
async fn a_client_that_leaves_several_stalled_servers_gives_their_places_up() {
    let _turn = turn().await;
    for (sql, last) in [
        ("SELECT name FROM t ORDER BY name", b'C'),
        ("SELECT count(*), name FROM t GROUP BY name", b'C'),
        ("SELECT count(DISTINCT name) FROM t", b'C'),
        ("UPDATE t SET name = 'never' WHERE name = 'nobody'", b'C'),
        ("SET TimeZone = 'Asia/Tokyo'", b'Z'),
    ] {
        let mut raw = WORLD.raw("app").await;
        let stall = WORLD.middle(0).from_server().message(last).stall();
        raw.query(sql).send().await;
        stall.happened().await;
        raw.hang_up();
        others_are_served().await;
        assert!(struck(&stall).await, "{sql}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_a_transaction_on_a_stalled_server_gives_its_place_up() {
    let _turn = turn().await;
    let mut raw = WORLD.raw("app").await;
    ask(&mut raw, "BEGIN").await;
    ask(&mut raw, "/* shard: 0 */ INSERT INTO t VALUES (81000, 'never')").await;
    // What says that the transaction is rolled back does not come.
    let _stall = WORLD.middle(0).from_server().nth_of_any(1).stall();
    raw.hang_up();
    others_are_served().await;
    let mut other = WORLD.raw("app").await;
    let reply = ask(&mut other, "/* shard: 0 */ SELECT count(*) FROM t WHERE user_id = 81000").await;
    assert_eq!(reply.texts(), [[Some("0")]]);
}

#[tokio::test]
async fn a_statement_that_waits_for_a_lost_login_is_told() {
    let _turn = turn().await;
    WORLD.middle(0).cut_all(Cut::Reset);
    let admin = WORLD.admin().await;
    let servers = async || pooled(&admin, "sv_idle").await;
    soon("the idle servers' end to be seen", async || (servers().await == 0).then_some(())).await;
    for message in 1..=4 {
        let cut = WORLD.middle(0).from_server().on_any().nth(message, b'R').cut(Cut::Reset);
        let mut raw = WORLD.raw("app").await;
        let reply = ask(&mut raw, "/* shard: 0 */ SELECT 1").await;
        if cut.has_happened() && reply.error().is_some() {
            assert_eq!((code(&reply).get(..2), reply.status()), (Some("08"), 'I'), "{reply:?}");
        }
        drop(cut);
        others_are_served().await;
        WORLD.middle(0).cut_all(Cut::Reset);
    }
    others_are_served().await;
}
