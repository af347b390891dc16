//! A BEGIN of Shardway's own that fails on the server, as one does that a cancel arrives in: what goes out with it must not
//! run by itself.

use shardway_tests::{Fault, Param, RawClient, Reply};

use super::{WORLD, ask, code, others_are_served, turn};

const INSERT: &str = "/* shard: 0 */ INSERT INTO t (user_id, name) VALUES (82000, 'stays')";

/// A batch that the fast lane does not take.
const CLOSE_FIRST: &str = "a batch with a Close in front";

/// How a client may send its first statement.
type Way = fn(&mut RawClient);

const WAYS: &[(&str, Way)] = &[
    ("a query", |raw| _ = raw.query(INSERT)),
    ("a batch", |raw| _ = run(raw.parse("", INSERT, &[]), "")),
    ("a batch of the usual form", |raw| {
        _ = raw.parse("", INSERT, &[]).bind("", "", &[], &[]).execute("", 0).sync()
    }),
    (CLOSE_FIRST, |raw| _ = run(raw.close_statement("new").parse("new", INSERT, &[]), "new")),
    ("a prepared statement", |raw| _ = run(raw, "old")),
    ("two in one batch", |raw| _ = run(run_on(raw, "old").parse("", "/* shard: 0 */ SELECT 1", &[]), "")),
];

fn run_on<'a>(raw: &'a mut RawClient, statement: &str) -> &'a mut RawClient {
    raw.bind("", statement, &[] as &[Param<'_>], &[]).describe_portal("").execute("", 0)
}

fn run<'a>(raw: &'a mut RawClient, statement: &str) -> &'a mut RawClient {
    run_on(raw, statement).sync()
}

/// Has the server not understand the next BEGIN that it is told.
fn spoiled() -> Fault<'static> {
    WORLD.middle(0).from_client().nth_of_any(1).holding("BEGIN").edit(|message| {
        let at = message.windows(5).position(|word| word == b"BEGIN").expect("a BEGIN");
        message[at + 4] = b'X';
    })
}

/// Whether what a client wrote is there.
fn stays() -> bool {
    WORLD.shard(0).sql("SELECT count(*) FROM t WHERE user_id = 82000") != "0"
}

/// A client with a statement that a server has too.
async fn client() -> RawClient {
    let mut raw = WORLD.raw("app").await;
    raw.parse("old", INSERT, &[]).sync();
    assert_eq!(raw.recv_until_ready().await.tags(), "1Z");
    ask(&mut raw, "BEGIN").await;
    assert_eq!(run_on(&mut raw, "old").sync().recv_until_ready().await.tags(), "2nCZ");
    assert_eq!(ask(&mut raw, "ROLLBACK").await.status(), 'I');
    raw
}

/// The server process that serves a client.
async fn backend(raw: &mut RawClient) -> Reply {
    ask(raw, "/* shard: 0 */ SELECT pg_backend_pid()").await
}

#[tokio::test]
async fn what_goes_out_with_a_begin_that_fails_is_not_run() {
    let _turn = turn().await;
    let mut raw = client().await;
    for (way, send) in WAYS {
        let before = backend(&mut raw).await;
        assert_eq!(ask(&mut raw, "BEGIN").await.status(), 'T');
        let spoiled = spoiled();
        send(&mut raw);
        let reply = raw.recv_until_ready().await;
        spoiled.happened().await;
        assert_eq!((code(&reply).as_str(), reply.status()), ("42601", 'E'), "{way}: {reply:?}");
        assert!(!stays(), "{way}");
        send(&mut raw);
        let reply = raw.recv_until_ready().await;
        assert_eq!((code(&reply).as_str(), reply.status()), ("25P02", 'E'), "{way}: {reply:?}");
        let reply = ask(&mut raw, "COMMIT").await;
        assert_eq!((&reply.commands()[..], reply.status()), (&["ROLLBACK".to_owned()][..], 'I'), "{way}");
        assert!(!stays(), "{way}");
        // The next one begins, and ends.
        ask(&mut raw, "BEGIN").await;
        send(&mut raw);
        let again = raw.recv_until_ready().await;
        assert_eq!((again.error(), again.status()), (None, 'T'), "{way}: {again:?}");
        let again = ask(&mut raw, "ROLLBACK").await;
        assert_eq!((again.error(), again.status()), (None, 'I'), "{way}: {again:?}");
        // Where BEGIN goes ahead alone, the server that refused it is closed.
        assert_eq!(backend(&mut raw).await == before, *way != CLOSE_FIRST, "{way}");
    }
    others_are_served().await;
}

#[tokio::test]
async fn a_whole_transaction_sent_at_once_is_undone_where_its_begin_fails() {
    let _turn = turn().await;
    let mut raw = client().await;
    let spoiled = spoiled();
    raw.query("BEGIN").query(INSERT).query("COMMIT").query("/* shard: 0 */ SELECT count(*) FROM t");
    let said = [
        raw.recv_until_ready().await,
        raw.recv_until_ready().await,
        raw.recv_until_ready().await,
        raw.recv_until_ready().await,
    ];
    spoiled.happened().await;
    assert_eq!(said.each_ref().map(Reply::status), ['T', 'E', 'I', 'I'], "{said:?}");
    assert_eq!(said.each_ref().map(code), ["", "42601", "", ""]);
    assert_eq!(said[2].commands(), ["ROLLBACK"]);
    assert!(!stays());
}

#[tokio::test]
async fn a_begin_with_options_that_fails_is_an_error_of_the_first_statement() {
    let _turn = turn().await;
    for begin in ["BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN READ WRITE", "/* with a comment */ BEGIN"] {
        for (way, send) in WAYS {
            let mut raw = client().await;
            assert_eq!(ask(&mut raw, begin).await.status(), 'T');
            let spoiled = spoiled();
            send(&mut raw);
            let reply = raw.recv_until_ready().await;
            spoiled.happened().await;
            assert_eq!((code(&reply).as_str(), reply.status()), ("42601", 'E'), "{begin}, {way}: {reply:?}");
            let reply = ask(&mut raw, "COMMIT").await;
            assert_eq!(reply.commands(), ["ROLLBACK"], "{begin}, {way}");
            assert!(!stays(), "{begin}, {way}");
        }
    }
    others_are_served().await;
}

#[tokio::test]
async fn a_setting_that_a_server_does_not_take_keeps_the_statement_from_running() {
    let _turn = turn().await;
    let mut other = WORLD.raw("app").await;
    for (way, send) in WAYS {
        let mut raw = client().await;
        ask(&mut raw, "SET search_path = 'elsewhere', 'public'").await;
        // The one server has another client's settings in place.
        ask(&mut other, "/* shard: 0 */ SELECT 1").await;
        let spoiled = WORLD.middle(0).from_client().nth_of_any(1).holding("elsewhere").edit(|message| {
            message[5] = b'X';
        });
        send(&mut raw);
        let reply = raw.recv_until_ready().await;
        spoiled.happened().await;
        assert_eq!((code(&reply).as_str(), reply.status()), ("42601", 'I'), "{way}: {reply:?}");
        assert!(!stays(), "{way}");
    }
    others_are_served().await;
}
