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

async fn by_socket(
    process: &Process,
    user: &str,
    database: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(process.home()).port(process.port()).user(user).password(PASSWORD).dbname(database);
    super::process::connect(&config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_others_leave_admins_come_in_by_the_unix_socket() {
    for how in ["SHUTDOWN WAIT_FOR_CLIENTS", "SIGTERM", "SHUTDOWN WAIT_FOR_SERVERS"] {
        let process = usual("").start();
        let mut busy = process.raw("app", "shop").await;
        assert_eq!(one(&mut busy, "BEGIN; SELECT 1").await, ["BEGIN", "SELECT 1"]);
        match how {
            "SIGTERM" => process.signal(libc::SIGTERM),
            command => drop(lines(&process.admin().await, command).await),
        }
        soon("the door to be shut", async || process.try_connect("admin", "pgbouncer").await.err()).await;
        let socket = process.path(&format!(".s.PGSQL.{}", process.port()));
        assert!(socket.exists(), "{how}");
        let admin =
            by_socket(&process, "admin", "pgbouncer").await.unwrap_or_else(|e| panic!("{how}: {e:?}"));
        let owner =
            by_socket(&process, "pgbouncer", "pgbouncer").await.unwrap_or_else(|e| panic!("{how}: {e:?}"));
        assert_eq!(show(&owner, "SERVERS").await.len(), 1, "{how}");
        assert_eq!(failure(&admin, "RESUME").await.1, "pooler is shutting down", "{how}");
        // Nobody else, by that way either.
        let refused = by_socket(&process, "app", "shop").await.err().unwrap_or_else(|| panic!("{how}"));
        assert_eq!(said(&refused).0, "57P03", "{how}");
        assert_eq!(one(&mut busy, "COMMIT").await, ["COMMIT"]);
        // Once servers are released, admins are not waited for.
        if how != "SHUTDOWN WAIT_FOR_SERVERS" {
            assert_eq!(
                show(&admin, "CLIENTS").await.iter().filter(|row| row["database"] == "shop").count(),
                1,
                "{how}"
            );
        }
        drop((busy, admin, owner));
        assert_eq!(process.wait_exit().code(), Some(0), "{how}");
        assert!(!socket.exists(), "{how}");
    }
}

#[tokio::test]
async fn who_does_not_take_what_is_sent_to_it_is_closed_when_a_suspension_has_waited_for_long_enough() {
    let process = usual("suspend_timeout = 1\n").start();
    let (mut deaf, mut idle) = (process.raw("app", "shop").await, process.raw("app", "shop").await);
    assert_eq!(one(&mut idle, "SELECT 1").await, ["SELECT 1"]);
    deaf.query("SELECT repeat('x', 50000000)").send().await;
    let stuck =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND query LIKE '%50000000%'";
    soon("the row to be stuck", async || {
        (super::WORLD.server(0).sql("postgres", stuck).unwrap() == "1").then_some(())
    })
    .await;
    let admin = process.admin().await;
    lines(&admin, "SUSPEND").await;
    let state = show(&admin, "STATE").await;
    assert!(state.iter().any(|row| row["key"] == "suspended" && row["value"] == "yes"), "{state:?}");
    // Within a row it can't be told why.
    let rest = deaf.rest().await;
    assert!(!rest.tags().contains('C'), "{:?}", rest.tags());
    lines(&admin, "RESUME").await;
    assert_eq!(one(&mut idle, "SELECT 2").await, ["SELECT 1"]);
}
