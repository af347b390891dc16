//! Signals with PgBouncer's meaning.

use tokio::time::timeout;

use super::usual;
use crate::operation::support::{said, show, soon, value};

#[tokio::test]
async fn usr1_pauses_and_usr2_resumes() {
    let process = usual("").start();
    let client = process.connect("app", "shop").await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let admin = process.admin().await;
    let paused = async || {
        let state = show(&admin, "STATE").await;
        state.iter().find(|row| row["key"] == "paused").map(|row| row["value"].clone()).unwrap()
    };
    process.signal(libc::SIGUSR1);
    soon("the pause", async || (paused().await == "yes").then_some(())).await;
    let waiting = tokio::spawn(async move { value(&client, "SELECT 2").await });
    soon("a client that waits", async || {
        let pools = show(&admin, "POOLS").await;
        pools.iter().any(|row| row["database"] == "shop" && row["cl_waiting"] == "1").then_some(())
    })
    .await;
    process.signal(libc::SIGUSR2);
    let answer = timeout(shardway_tests::PATIENCE, waiting).await.expect("it goes on").unwrap();
    assert_eq!(answer, "2");
    assert_eq!(paused().await, "no");
}

#[tokio::test]
async fn term_waits_for_clients_to_leave() {
    let process = usual("").start();
    let mut client = process.raw("app", "shop").await;
    process.signal(libc::SIGTERM);
    process.wait_for_log("draining");
    soon("the door to be shut", async || process.try_connect("app", "shop").await.err()).await;
    // Whoever is in is served for as long as he likes.
    for _ in 0..3 {
        assert_eq!(client.query("BEGIN").recv_until_ready().await.commands(), ["BEGIN"]);
        assert_eq!(client.query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
    }
    assert!(process.is_running());
    client.terminate().send().await;
    assert_eq!(process.wait_exit().code(), Some(0));
}

#[tokio::test]
async fn a_second_term_ends_at_once() {
    let process = usual("").start();
    let mut client = process.raw("app", "shop").await;
    client.query("BEGIN").recv_until_ready().await;
    process.signal(libc::SIGTERM);
    process.wait_for_log("draining");
    process.signal(libc::SIGTERM);
    assert_eq!(process.wait_exit().code(), Some(0));
}

#[tokio::test]
async fn int_waits_for_servers_to_be_released() {
    let process = usual("").start();
    let mut busy = process.raw("app", "shop").await;
    busy.query("BEGIN; INSERT INTO t VALUES (501, 'x')").recv_until_ready().await;
    let mut idle = process.raw("app", "shop").await;
    process.signal(libc::SIGINT);
    let last = idle.expect_closed().await;
    assert_eq!(last.error().and_then(|error| error.field('C')).as_deref(), Some("57P01"));
    assert!(process.is_running());
    assert_eq!(busy.query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(process.wait_exit().code(), Some(0));
    assert_eq!(super::WORLD.shard(0).sql("SELECT name FROM t WHERE id = 501"), "x");
}

#[tokio::test]
async fn quit_ends_at_once() {
    let process = usual("").start();
    let mut client = process.raw("app", "shop").await;
    client.query("BEGIN; INSERT INTO t VALUES (502, 'x')").recv_until_ready().await;
    process.signal(libc::SIGQUIT);
    assert_eq!(process.wait_exit().code(), Some(0));
    soon("it to be rolled back", async || {
        (super::WORLD.shard(0).sql("SELECT count(*) FROM t WHERE id = 502") == "0").then_some(())
    })
    .await;
    assert!(process.try_connect("app", "shop").await.map_err(|e| said(&e)).is_err());
}

#[tokio::test]
async fn a_reboot_takes_the_place_of_the_process_that_runs() {
    let mut old = usual("pidfile = {dir}/pid\n").start();
    let mut before = old.raw("app", "shop").await;
    let socket = old.path(&format!(".s.PGSQL.{}", old.port()));
    for _ in 0..2 {
        let new = old.successor().start_with(&["-R"]);
        let pid = || std::fs::read_to_string(old.path("pid")).unwrap().trim().to_owned();
        assert_eq!(pid(), new.pid().to_string());
        old.wait_for_log("draining");
        // Who comes in comes to the new one, by either way; who was in stays as long as he likes.
        assert_eq!(value(&new.connect("app", "shop").await, "SELECT 1").await, "1");
        let mut by_socket = new.client_config("app", "shop");
        let by_socket = by_socket_of(&mut by_socket, &new);
        assert_eq!(value(&super::process::connect(by_socket).await.unwrap(), "SELECT 2").await, "2");
        assert_eq!(before.query("SELECT 3").recv_until_ready().await.commands(), ["SELECT 1"]);
        before.terminate().send().await;
        assert_eq!(old.wait_exit().code(), Some(0));
        assert!(socket.exists());
        assert_eq!(pid(), new.pid().to_string());
        before = new.raw("app", "shop").await;
        old = new.keep_files_of(old);
    }
}

fn by_socket_of<'a>(
    config: &'a mut tokio_postgres::Config,
    process: &super::Process,
) -> &'a tokio_postgres::Config {
    *config = tokio_postgres::Config::new();
    config.host_path(process.home()).port(process.port()).user("app").dbname("shop");
    config.password(shardway_tests::PASSWORD)
}

#[tokio::test]
async fn a_second_process_is_refused_unless_ports_are_shared() {
    let first = usual("unix_socket_dir =\n").start();
    let second = first.successor();
    let refused = second.output(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains(&format!("can't listen on 127.0.0.1:{}: ", first.port())), "{told}");
    let shared = usual("unix_socket_dir =\nso_reuseport = 1\n").start();
    let beside = shared.successor().start();
    assert!(shared.is_running() && beside.is_running());
}
