//! SHUTDOWN WAIT_FOR_SERVERS: clients keep the servers that they have for as long as they like, and nobody gets another.

use shardway_tests::{PASSWORD, RawClient};

use super::{Process, usual};
use crate::operation::support::{failure, lines, said, show, soon, try_lines};

/// One server for each user of a database.
fn narrow(mode: &str) -> Process {
    Process::new(&format!(
        "[databases]\nshop = host=127.0.0.1 port={{port}} dbname=shop_0\n[pgbouncer]\nauth_type = scram-sha-256\n\
         auth_file = {{dir}}/users.txt\nadmin_users = admin\npool_mode = {mode}\ndefault_pool_size = 1\n"
    ))
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n"))
    .start()
}

async fn last_words(raw: &mut RawClient) -> (String, String) {
    let end = raw.expect_closed().await;
    let error = end.error().unwrap_or_else(|| panic!("no error: {end:?}"));
    (error.field('C').unwrap_or_default(), error.field('M').unwrap_or_default())
}

fn shutting_down() -> (String, String) {
    ("57P01".to_owned(), "server shutting down".to_owned())
}

async fn one(raw: &mut RawClient, sql: &str) -> Vec<String> {
    raw.query(sql).recv_until_ready().await.commands()
}

async fn a_client_waits(admin: &tokio_postgres::Client) {
    soon("a client to wait", async || {
        let pools = show(admin, "POOLS").await;
        pools.iter().any(|row| row["cl_waiting"] == "1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_keeps_its_server_and_whoever_waits_for_one_is_turned_away() {
    let process = narrow("session");
    let (mut keeper, mut waiter) = (process.raw("app", "shop").await, process.raw("app", "shop").await);
    let admin = process.admin().await;
    assert_eq!(one(&mut keeper, "SELECT 1").await, ["SELECT 1"]);
    waiter.query("SELECT 2").send().await;
    a_client_waits(&admin).await;
    process.signal(libc::SIGINT);
    assert_eq!(last_words(&mut waiter).await, shutting_down());
    for _ in 0..3 {
        assert_eq!(one(&mut keeper, "BEGIN; SELECT 1; COMMIT").await, ["BEGIN", "SELECT 1", "COMMIT"]);
    }
    // The console is there meanwhile.
    assert_eq!(show(&admin, "SERVERS").await.len(), 1);
    assert_eq!(failure(&admin, "RESUME").await.1, "pooler is shutting down");
    assert!(process.is_running());
    keeper.terminate().send().await;
    assert_eq!(process.wait_exit().code(), Some(0), "admins are not waited for");
}

#[tokio::test]
async fn a_transaction_ends_first_and_so_does_one_that_has_not_asked_for_its_server_yet() {
    let process = narrow("transaction");
    let (mut first, mut second) = (process.raw("app", "shop").await, process.raw("app", "shop").await);
    let (mut waiter, mut idle) = (process.raw("app", "shop").await, process.raw("app", "shop").await);
    let admin = process.admin().await;
    assert_eq!(one(&mut first, "BEGIN").await, ["BEGIN"]);
    assert_eq!(one(&mut first, "SELECT 1").await, ["SELECT 1"]);
    assert_eq!(one(&mut second, "BEGIN").await, ["BEGIN"]);
    waiter.parse("", "SELECT 3", &[]).bind("", "", &[], &[]).execute("", 0).sync().send().await;
    a_client_waits(&admin).await;
    lines(&admin, "SHUTDOWN WAIT_FOR_SERVERS").await;
    assert_eq!(last_words(&mut waiter).await, shutting_down());
    assert_eq!(last_words(&mut idle).await, shutting_down());
    second.query("SELECT 2").send().await;
    a_client_waits(&admin).await;
    assert_eq!(one(&mut first, "COMMIT").await, ["COMMIT"]);
    assert_eq!(second.recv_until_ready().await.commands(), ["SELECT 1"]);
    assert!(process.is_running());
    assert_eq!(one(&mut second, "COMMIT").await, ["COMMIT"]);
    assert_eq!(process.wait_exit().code(), Some(0));
}

#[tokio::test]
async fn an_admin_may_lose_patience() {
    let process = usual("").start();
    let mut busy = process.raw("app", "shop").await;
    assert_eq!(one(&mut busy, "BEGIN; SELECT 1").await, ["BEGIN", "SELECT 1"]);
    let admin = process.admin().await;
    lines(&admin, "SHUTDOWN WAIT_FOR_SERVERS").await;
    soon("the door to be shut", async || process.try_connect("app", "shop").await.err()).await;
    assert_eq!(show(&admin, "CLIENTS").await.len(), 2);
    let ended = try_lines(&admin, "SHUTDOWN").await;
    assert!(ended.as_ref().is_ok_and(Vec::is_empty) || ended.is_err_and(|e| said(&e).0 != "42601"));
    assert_eq!(process.wait_exit().code(), Some(0));
}
