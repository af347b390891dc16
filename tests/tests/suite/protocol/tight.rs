//! One server connection to each shard, which may hold two statements: clients share what there is.

use std::time::Duration;

use shardway_tests::{Param, RawClient, Reply, SharedWorld, World};
use tokio::time::timeout;

use super::{ask, code, value, with_settings};

static TIGHT: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .shards(1)
        .schema(
            "CREATE TABLE account (user_id int PRIMARY KEY, balance int); INSERT INTO account VALUES (1, 0)",
        )
        .config("[pool]\ndefault_pool_size = 1\nmax_prepared_statements = 2")
        .start()
});

/// Tests that look at the one connection must not run side by side.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn execute(raw: &mut RawClient, statement: &str) -> Reply {
    raw.bind("", statement, &[], &[]).execute("", 0).sync().recv_until_ready().await
}

#[tokio::test]
async fn transactions_of_two_clients_take_turns() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (TIGHT.raw("app").await, TIGHT.raw("app").await);
    ask(&mut a, "UPDATE account SET balance = 0").await;
    for raw in [&mut a, &mut b] {
        assert_eq!(ask(raw, "BEGIN").await.status(), 'T');
    }
    assert_eq!(ask(&mut a, "UPDATE account SET balance = balance + 1").await.commands(), ["UPDATE 1"]);
    b.query("UPDATE account SET balance = balance + 10").send().await;
    // The server is the first one's until it commits.
    assert!(timeout(Duration::from_millis(100), b.recv()).await.is_err());
    assert_eq!(value(&ask(&mut a, "SELECT balance FROM account").await), "1");
    assert_eq!(ask(&mut a, "COMMIT").await.status(), 'I');
    assert_eq!(b.recv_until_ready().await.commands(), ["UPDATE 1"]);
    assert_eq!(ask(&mut b, "COMMIT").await.status(), 'I');
    assert_eq!(value(&ask(&mut a, "SELECT balance FROM account").await), "11");
}

#[tokio::test]
async fn a_client_logs_in_while_every_server_is_busy() {
    let _alone = ALONE.lock().await;
    let mut busy = TIGHT.raw("app").await;
    ask(&mut busy, "BEGIN; SELECT 1").await;
    let mut other = TIGHT.raw("app").await;
    assert_eq!(other.parameter("server_version"), busy.parameter("server_version"));
    other.query("SELECT 2").send().await;
    ask(&mut busy, "ROLLBACK").await;
    assert_eq!(value(&other.recv_until_ready().await), "2");
}

#[tokio::test]
async fn statements_that_the_server_has_no_room_for_come_back() {
    let _alone = ALONE.lock().await;
    let mut raw = TIGHT.raw("app").await;
    for n in 1..=5 {
        raw.parse(&format!("s{n}"), &format!("SELECT {n}, user_id FROM account"), &[]);
    }
    assert_eq!(raw.sync().recv_until_ready().await.tags(), "11111Z");
    for n in [1, 2, 3, 4, 5, 4, 3, 2, 1, 1, 5] {
        let reply = execute(&mut raw, &format!("s{n}")).await;
        assert_eq!((reply.tags().as_str(), value(&reply)), ("2DCZ", n.to_string()));
    }
    for n in 1..=5 {
        raw.bind("", &format!("s{n}"), &[], &[]).execute("", 0);
    }
    assert_eq!(raw.sync().recv_until_ready().await.tags(), format!("{}Z", "2DC".repeat(5)));
    let held = "SELECT count(*) FROM pg_prepared_statements";
    assert_eq!(value(&ask(&mut raw, held).await), "2");
}

#[tokio::test]
async fn an_error_where_a_statement_was_to_make_room_leaves_both_sides_agreed() {
    let _alone = ALONE.lock().await;
    let mut raw = TIGHT.raw("app").await;
    for n in 1..=3 {
        raw.parse(&format!("e{n}"), &format!("SELECT {n} / $1::int",), &[]);
    }
    raw.sync().recv_until_ready().await;
    for round in 0..6 {
        let (a, b, c) = (round % 3 + 1, (round + 1) % 3 + 1, (round + 2) % 3 + 1);
        raw.bind("", &format!("e{a}"), &[Param::Text("0")], &[]).execute("", 0);
        raw.bind("", &format!("e{b}"), &[Param::Text("1")], &[]).execute("", 0);
        raw.bind("", &format!("e{c}"), &[Param::Text("1")], &[]).execute("", 0).sync();
        assert_eq!(code(&raw.recv_until_ready().await), "22012");
        for n in [a, b, c] {
            raw.bind("", &format!("e{n}"), &[Param::Text("1")], &[]).execute("", 0).sync();
            assert_eq!(value(&raw.recv_until_ready().await), n.to_string());
        }
    }
}

#[tokio::test]
async fn settings_follow_their_client_and_no_other() {
    let _alone = ALONE.lock().await;
    let named =
        |name: &'static str| [("application_name", name), ("options", "-c work_mem=9MB -c app.tenant=t1")];
    let mut a = with_settings(&TIGHT, &named("the a")).await;
    let mut b = TIGHT.raw("app").await;
    let show = "SELECT current_setting('application_name'), current_setting('work_mem'), \
                current_setting('timezone'), coalesce(current_setting('app.tenant', true), '')";
    let defaults = ask(&mut b, show).await.texts();
    ask(&mut a, "SET TimeZone = 'Asia/Tokyo'").await;
    ask(&mut b, "SET app.tenant = 't2'").await;
    for _ in 0..2 {
        assert_eq!(
            ask(&mut a, show).await.texts(),
            [[Some("the a"), Some("9MB"), Some("Asia/Tokyo"), Some("t1")]]
        );
        let mut expected = defaults.clone();
        expected.0[0][3] = Some("t2".into());
        assert_eq!(ask(&mut b, show).await.texts(), expected);
    }
    ask(&mut a, "RESET ALL").await;
    let zone = defaults.0[0][2].as_deref();
    assert_eq!(ask(&mut a, show).await.texts(), [[Some("the a"), Some("9MB"), zone, Some("t1")]]);
    assert_eq!(ask(&mut TIGHT.raw("app").await, show).await.texts(), defaults);
}

#[tokio::test]
async fn a_client_is_not_greeted_with_the_settings_of_another() {
    let _alone = ALONE.lock().await;
    let mut a = TIGHT.raw("app").await;
    let zone = a.parameter("TimeZone").map(str::to_owned);
    ask(&mut a, "SET TimeZone = 'Asia/Tokyo'; SET application_name = 'the a'").await;
    let b = TIGHT.raw("app").await;
    assert_eq!((b.parameter("TimeZone"), b.parameter("application_name")), (zone.as_deref(), None));
}

#[tokio::test]
async fn a_client_that_vanishes_in_a_transaction_leaves_nothing() {
    let _alone = ALONE.lock().await;
    let mut a = TIGHT.raw("app").await;
    ask(&mut a, "BEGIN; UPDATE account SET balance = 666").await;
    a.hang_up();
    let mut b = TIGHT.raw("app").await;
    assert_eq!(value(&ask(&mut b, "SELECT count(*) FROM account WHERE balance = 666").await), "0");
}
