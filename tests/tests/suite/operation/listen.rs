//! Where clients come in.

use std::{
    net::TcpListener,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
};

use shardway_tests::{DATABASE, PASSWORD, Proxy, SharedWorld, World, shardway_program};
use tokio_postgres::{Config, NoTls};

use super::support::{SCHEMA, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// Starts one more Shardway with the configuration of `proxy`; gives its exit code and what it said.
fn second(proxy: &Proxy) -> (Option<i32>, String) {
    let mut command = Command::new(shardway_program());
    command.arg("serve").arg("--config").arg(proxy.config_path()).stdout(Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

async fn seven_by(config: &mut Config) -> String {
    config.user("app").password(PASSWORD).dbname(DATABASE);
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    value(&client, "SELECT 7").await
}

#[test]
fn an_address_that_is_taken_is_told_and_ends_the_start() {
    let proxy = WORLD.another_proxy();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    proxy.reconfigure(&format!("[server]\nlisten = ['{address}']\nhttp = ''"));
    let (code, told) = second(&proxy);
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("can't listen on {address}: ")), "{told}");
    proxy.reconfigure(&format!("[server]\nlisten = ['127.0.0.1:0']\nhttp = '{address}'"));
    let (code, told) = second(&proxy);
    assert_eq!(code, Some(1));
    assert!(told.contains(&format!("can't listen on {address}: ")), "{told}");
}

#[tokio::test]
async fn a_unix_socket_lets_clients_in_and_goes_with_the_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = WORLD.another_proxy();
    let port = proxy.port();
    let path = dir.path().join(format!(".s.PGSQL.{port}"));
    // One that a dead process left.
    drop(UnixListener::bind(&path).unwrap());
    listen(&proxy, &[&format!("127.0.0.1:{port}"), &format!("unix:{}", dir.path().display())]);
    assert_eq!(seven_by(Config::new().host_path(dir.path()).port(port)).await, "7");
    assert_eq!(seven_by(Config::new().host("127.0.0.1").port(port)).await, "7");

    let (code, told) = second(&proxy);
    assert_eq!(code, Some(1), "a socket has one owner: {told}");
    assert!(told.contains(path.to_str().unwrap()), "{told}");
    assert_eq!(seven_by(Config::new().host_path(dir.path()).port(port)).await, "7", "the first is unharmed");

    proxy.sigterm();
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(!path.exists());
}

/// Starts the proxy again, listening there.
fn listen(proxy: &Proxy, addresses: &[&str]) {
    proxy.reconfigure(&format!("[server]\nlisten = {addresses:?}"));
    proxy.kill();
    proxy.start();
}

#[tokio::test]
async fn a_unix_socket_alone_is_named_as_pgbouncers() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = WORLD.another_proxy();
    listen(&proxy, &[&format!("unix:{}", dir.path().display())]);
    assert_eq!(seven_by(Config::new().host_path(dir.path()).port(6432)).await, "7");
    let gone = Path::new("/nowhere/at/all");
    proxy.reconfigure(&format!("[server]\nlisten = ['unix:{}']", gone.display()));
    let (code, told) = second(&proxy);
    assert_eq!(code, Some(1));
    assert!(told.contains("/nowhere/at/all"), "{told}");
}

#[tokio::test]
async fn ipv6_and_every_address_are_listened_on() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6: nothing to see");
        return;
    }
    let proxy = WORLD.another_proxy();
    let port = proxy.port();
    listen(&proxy, &[&format!("[::1]:{port}")]);
    assert_eq!(seven_by(Config::new().host("::1").port(port)).await, "7");
    listen(&proxy, &[&format!("*:{port}")]);
    assert_eq!(seven_by(Config::new().host("::1").port(port)).await, "7");
    assert_eq!(seven_by(Config::new().host("127.0.0.1").port(port)).await, "7");
}

#[tokio::test]
async fn port_zero_is_one_port_for_all_workers() {
    let proxy = WORLD.another_proxy();
    proxy.reconfigure("[server]\nworker_threads = 3");
    listen(&proxy, &["127.0.0.1:0"]);
    let line = proxy.log().lines().rfind(|line| line.contains("listening")).unwrap().to_owned();
    let port = line.split("127.0.0.1:").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert_ne!(port, 0);
    // Whichever worker the kernel chooses.
    for _ in 0..12 {
        assert_eq!(seven_by(Config::new().host("127.0.0.1").port(port)).await, "7");
    }
}

#[tokio::test]
async fn two_proxies_of_one_user_share_a_port_for_a_rolling_restart() {
    let old = WORLD.another_proxy();
    let new = WORLD.another_proxy();
    let port = old.port();
    listen(&new, &[&format!("127.0.0.1:{port}")]);
    old.sigterm();
    assert_eq!(old.wait_exit().code(), Some(0));
    assert_eq!(seven_by(Config::new().host("127.0.0.1").port(port)).await, "7");
}
