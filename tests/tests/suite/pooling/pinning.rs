//! What can't be carried from server to server stays where it is: the client keeps that server until it is gone, and
//! nobody else ever finds it.

use std::sync::LazyLock;

use shardway_tests::{RawClient, SharedWorld, World};
use tokio::sync::Mutex;

use crate::operation::support::{at_rest, pooled, soon};
use crate::protocol::{ask, code, value};

const SCHEMA: &str = "
CREATE TABLE item (user_id int PRIMARY KEY, name text);
INSERT INTO item VALUES (1, 'permanent');
CREATE FUNCTION makes_one() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TEMP TABLE hidden (a int); END $$;
CREATE PROCEDURE takes_lock() LANGUAGE sql AS $$ SELECT pg_advisory_lock(99) $$;
";

/// One server connection: whoever is pinned has it, and the others wait.
static ONE: SharedWorld =
    SharedWorld::new(|| World::builder().schema(SCHEMA).config("[pool]\ndefault_pool_size = 1").start());

/// Room for two.
static TWO: SharedWorld =
    SharedWorld::new(|| World::builder().schema(SCHEMA).config("[pool]\ndefault_pool_size = 2").start());

/// The tests share server connections: side by side they would wait for each other.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        let reply = ask(raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
}

async fn one(raw: &mut RawClient, sql: &str) -> String {
    value(&ask(raw, sql).await)
}

/// A server's process that is nobody's, or the client's own.
async fn pid(raw: &mut RawClient) -> String {
    one(raw, "SELECT pg_backend_pid()").await
}

/// Waits until nobody has a server.
async fn is_released(world: &World) {
    at_rest(&world.admin().await).await;
}

/// Whether somebody has a server, now that all is quiet.
async fn is_held(world: &World) -> bool {
    let admin = world.admin().await;
    soon("quiet", async || (pooled(&admin, "cl_waiting").await == 0).then_some(())).await;
    pooled(&admin, "sv_active").await > 0
}

#[tokio::test]
async fn a_temporary_table_is_there_statement_after_statement_and_others_wait_for_its_server() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (ONE.raw("app").await, ONE.raw("app").await);
    all(&mut a, &["CREATE TEMP TABLE mine (a int)", "INSERT INTO mine VALUES (1), (2)"]).await;
    assert_eq!(one(&mut a, "SELECT count(*) FROM mine").await, "2");
    b.query("SELECT to_regclass('pg_temp.mine')").send().await;
    let admin = ONE.admin().await;
    soon("the other to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    let here = pid(&mut a).await;
    all(&mut a, &["BEGIN", "DELETE FROM mine WHERE a = 1", "COMMIT"]).await;
    assert_eq!(one(&mut a, "SELECT a FROM mine").await, "2");
    all(&mut a, &["DROP TABLE mine"]).await;
    assert_eq!(value(&b.recv_until_ready().await), "NULL");
    assert_eq!(pid(&mut b).await, here, "it was given back, not closed");
}

#[tokio::test]
async fn a_client_that_leaves_leaves_a_clean_server() {
    let _alone = ALONE.lock().await;
    let mut a = ONE.raw("app").await;
    let here = pid(&mut a).await;
    all(
        &mut a,
        &[
            "CREATE TEMP TABLE item (a int)",
            "SET work_mem = '7MB'",
            "SELECT pg_advisory_lock(5)",
            "BEGIN",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "COMMIT",
        ],
    )
    .await;
    a.hang_up();
    let mut b = ONE.raw("app").await;
    assert_eq!(one(&mut b, "SELECT name FROM item").await, "permanent");
    assert_eq!(one(&mut b, "SHOW work_mem").await, "4MB");
    assert_eq!(one(&mut b, "SELECT count(*) FROM pg_cursors").await, "0");
    assert_eq!(one(&mut b, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").await, "0");
    assert_eq!(pid(&mut b).await, here, "it was cleaned, not closed");
}

#[tokio::test]
async fn a_client_that_leaves_in_a_transaction_with_a_temporary_table_leaves_a_clean_server() {
    let _alone = ALONE.lock().await;
    let mut a = ONE.raw("app").await;
    all(&mut a, &["CREATE TEMP TABLE item (a int)", "BEGIN", "CREATE TEMP TABLE other (a int)"]).await;
    a.hang_up();
    let mut b = ONE.raw("app").await;
    assert_eq!(one(&mut b, "SELECT name FROM item").await, "permanent");
    assert_eq!(one(&mut b, "SELECT to_regclass('pg_temp.other')").await, "NULL");
}

#[tokio::test]
async fn a_server_is_given_back_as_soon_as_nothing_is_left_on_it() {
    let _alone = ALONE.lock().await;
    let mut a = TWO.raw("app").await;
    let held: &[(&[&str], &[&str])] = &[
        (&["CREATE TEMP TABLE x (a int)", "CREATE TEMP TABLE y (a int)", "DROP TABLE x"], &["DROP TABLE y"]),
        (&["CREATE TEMP VIEW v AS SELECT 1"], &["DROP VIEW v"]),
        (&["CREATE TEMP SEQUENCE s"], &["DISCARD TEMP"]),
        (&["SELECT 1 AS a INTO TEMP x"], &["DISCARD ALL"]),
        (&["CREATE TABLE pg_temp.x (a int)"], &["DROP TABLE pg_temp.x"]),
        (
            &["CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
            &["DROP FUNCTION pg_temp.f()"],
        ),
        (&["BEGIN", "CREATE TEMP TABLE x (a int)", "COMMIT"], &["BEGIN", "DROP TABLE x", "COMMIT"]),
        (&["CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1); SELECT * FROM x"], &["DROP TABLE x"]),
        (&["DO 'BEGIN CREATE TEMP TABLE x (a int); END'"], &["DO 'BEGIN DROP TABLE x; END'"]),
        (&["SELECT pg_advisory_lock(1)", "SELECT pg_advisory_lock(2)"], &["SELECT pg_advisory_unlock_all()"]),
        (&["SELECT pg_advisory_lock_shared(1)"], &["SELECT pg_advisory_unlock_shared(1)"]),
        (&["SELECT pg_try_advisory_lock(1, 2)"], &["SELECT pg_advisory_unlock(1, 2)"]),
        (&["BEGIN", "SELECT pg_advisory_lock(3)", "ROLLBACK"], &["SELECT pg_advisory_unlock(3)"]),
        (&["SELECT makes_one()", "SELECT * FROM hidden"], &["DROP TABLE hidden"]),
        (&["CALL takes_lock()"], &["SELECT pg_advisory_unlock(99)"]),
        (&["DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 3)", "FETCH c"], &["CLOSE c"]),
        (&["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "COMMIT"], &["CLOSE ALL"]),
    ];
    for (take, give) in held {
        all(&mut a, take).await;
        assert!(is_held(&TWO).await, "after {take:?}");
        all(&mut a, give).await;
        is_released(&TWO).await;
    }
}

#[tokio::test]
async fn what_a_transaction_takes_with_it_pins_nobody() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (ONE.raw("app").await, ONE.raw("app").await);
    let talks: &[&[&str]] = &[
        &["BEGIN", "CREATE TEMP TABLE x (a int) ON COMMIT DROP", "INSERT INTO x VALUES (1)", "COMMIT"],
        &["BEGIN", "CREATE TEMP TABLE x (a int)", "ROLLBACK"],
        &["BEGIN", "SAVEPOINT s", "CREATE TEMP TABLE x (a int)", "ROLLBACK TO s", "COMMIT"],
        &["BEGIN", "SELECT pg_advisory_xact_lock(1)", "COMMIT"],
        &["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "ROLLBACK"],
        &["BEGIN; CREATE TEMP TABLE x (a int) ON COMMIT DROP; SELECT * FROM x; COMMIT"],
        &["SELECT pg_advisory_unlock_all()"],
        &["DO 'BEGIN NULL; END'"],
    ];
    for talk in talks {
        all(&mut a, talk).await;
        assert_eq!(one(&mut b, "SELECT name FROM item").await, "permanent", "after {talk:?}");
    }
    let reply = ask(&mut a, "CREATE TEMP TABLE x (a no_such_type)").await;
    assert_eq!(code(&reply), "42704");
    assert_eq!(one(&mut b, "SELECT name FROM item").await, "permanent");
}

#[tokio::test]
async fn an_advisory_lock_keeps_others_out_until_it_is_given_back() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (TWO.raw("app").await, TWO.raw("app").await);
    all(&mut a, &["SELECT pg_advisory_lock(7)"]).await;
    for _ in 0..3 {
        assert_eq!(one(&mut b, "SELECT pg_try_advisory_lock(7)").await, "f");
        assert_eq!(one(&mut a, "SELECT pg_try_advisory_lock(7)").await, "t", "it is its own");
    }
    for left in ["t", "t", "t", "t", "f"] {
        assert_eq!(one(&mut a, "SELECT pg_advisory_unlock(7)").await, left);
    }
    assert_eq!(one(&mut b, "SELECT pg_try_advisory_lock(7)").await, "t");
    b.hang_up();
    is_released(&TWO).await;
    assert_eq!(one(&mut a, "SELECT pg_try_advisory_lock(7)").await, "t");
    all(&mut a, &["SELECT pg_advisory_unlock(7)"]).await;
}

#[tokio::test]
async fn a_held_cursor_is_read_from_after_its_transaction() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (TWO.raw("app").await, TWO.raw("app").await);
    all(&mut a, &["BEGIN", "DECLARE \"My C\" CURSOR WITH HOLD FOR SELECT generate_series(1, 5)", "COMMIT"])
        .await;
    all(&mut b, &["SELECT 1"]).await;
    assert_eq!(one(&mut a, "FETCH \"My C\"").await, "1");
    assert_eq!(one(&mut a, "FETCH RELATIVE 2 FROM \"My C\"").await, "3");
    assert_eq!(code(&ask(&mut b, "FETCH \"My C\"").await), "34000");
    all(&mut a, &["BEGIN"]).await;
    assert_eq!(one(&mut a, "FETCH \"My C\"").await, "4");
    all(&mut a, &["COMMIT", "CLOSE \"My C\""]).await;
    assert_eq!(code(&ask(&mut a, "FETCH \"My C\"").await), "34000");
    is_released(&TWO).await;
}

#[tokio::test]
async fn a_prepared_statement_means_the_temporary_table_for_its_owner_alone() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (TWO.raw("app").await, TWO.raw("app").await);
    const SQL: &str = "SELECT name FROM item WHERE user_id = $1";
    for raw in [&mut a, &mut b] {
        raw.parse("s", SQL, &[23]).sync().recv_until_ready().await;
    }
    let run = async |raw: &mut RawClient| {
        let reply = raw
            .bind("", "s", &[shardway_tests::Param::Text("1")], &[])
            .execute("", 0)
            .sync()
            .recv_until_ready()
            .await;
        value(&reply)
    };
    assert_eq!(run(&mut a).await, "permanent");
    assert_eq!(run(&mut b).await, "permanent");
    all(
        &mut a,
        &["CREATE TEMP TABLE item (user_id int, name text)", "INSERT INTO item VALUES (1, 'temporary')"],
    )
    .await;
    for _ in 0..3 {
        assert_eq!(run(&mut a).await, "temporary");
        assert_eq!(run(&mut b).await, "permanent");
    }
    all(&mut a, &["DROP TABLE item"]).await;
    assert_eq!(run(&mut a).await, "permanent");
    all(
        &mut a,
        &["BEGIN", "CREATE TEMP TABLE item ON COMMIT DROP AS SELECT 1 AS user_id, 'briefly' AS name"],
    )
    .await;
    let reply = ask(&mut a, "SELECT name FROM item").await;
    assert_eq!(value(&reply), "briefly");
    all(&mut a, &["COMMIT"]).await;
    assert_eq!(run(&mut a).await, "permanent");
    is_released(&TWO).await;
}

#[tokio::test]
async fn state_is_kept_in_extended_protocol_too() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (TWO.raw("app").await, TWO.raw("app").await);
    a.parse("", "CREATE TEMP TABLE x AS SELECT 7 AS a", &[]).bind("", "", &[], &[]).execute("", 0);
    a.parse("", "SELECT a FROM x", &[]).bind("", "", &[], &[]).execute("", 0);
    assert_eq!(value(&a.sync().recv_until_ready().await), "7");
    assert!(is_held(&TWO).await);
    assert_eq!(code(&ask(&mut b, "SELECT a FROM x").await), "42P01");
    a.parse("", "SELECT a FROM x", &[]).bind("", "", &[], &[]).execute("", 0);
    assert_eq!(value(&a.sync().recv_until_ready().await), "7");
    a.parse("", "DROP TABLE x", &[]).bind("", "", &[], &[]).execute("", 0).sync().recv_until_ready().await;
    is_released(&TWO).await;
}

#[tokio::test]
async fn a_client_whose_pinned_server_is_lost_is_told_so_and_closed() {
    let _alone = ALONE.lock().await;
    let mut a = TWO.raw("app").await;
    all(&mut a, &["CREATE TEMP TABLE x (a int)"]).await;
    let here = pid(&mut a).await;
    TWO.shard(0).sql(&format!("SELECT pg_terminate_backend({here})"));
    let reply = a.query("SELECT count(*) FROM x").expect_closed().await;
    assert_eq!(reply.error().and_then(|e| e.field('S')).as_deref(), Some("FATAL"), "{reply:?}");
    is_released(&TWO).await;
}

#[tokio::test]
async fn a_pinned_client_sets_its_parameters_as_any_other() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (TWO.raw("app").await, TWO.raw("app").await);
    all(&mut a, &["CREATE TEMP TABLE x (a int)", "SET work_mem = '9MB'", "SET search_path = pg_catalog"])
        .await;
    assert_eq!(one(&mut a, "SHOW work_mem").await, "9MB");
    assert_eq!(one(&mut a, "SELECT count(*) FROM x").await, "0");
    assert_eq!(one(&mut b, "SHOW work_mem").await, "4MB");
    all(&mut a, &["DROP TABLE x"]).await;
    is_released(&TWO).await;
    for _ in 0..3 {
        assert_eq!(one(&mut b, "SHOW work_mem").await, "4MB");
        assert_eq!(one(&mut a, "SHOW work_mem").await, "9MB");
    }
}

#[tokio::test]
async fn a_server_with_a_library_of_its_clients_is_closed_in_the_end() {
    let _alone = ALONE.lock().await;
    let mut a = ONE.raw("app").await;
    let here = pid(&mut a).await;
    // Whether there is such a library or not: nobody else gets the server.
    ask(&mut a, "LOAD '$libdir/plugins/nothing'").await;
    assert_eq!(pid(&mut a).await, here);
    a.hang_up();
    let mut b = ONE.raw("app").await;
    assert_ne!(pid(&mut b).await, here);
}
