//! The harness itself: worlds are what was asked for, and its own parts tell the truth.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::Instant,
};

use shardway_tests::{PASSWORD, Param, RawClient, SharedWorld, World, eventually, http_get};
use tokio::signal::unix::{SignalKind, signal};

static WORLD: SharedWorld = SharedWorld::new(|| {
    let started = Instant::now();
    let world = World::builder()
        .shards(4)
        .servers(2)
        .replicas(1)
        .group("manufacturing", 2, &["manufacturingJobId"])
        .schema("CREATE TABLE t (user_id int PRIMARY KEY, name text)")
        .group_schema("manufacturing", "CREATE TABLE job (\"manufacturingJobId\" int PRIMARY KEY)")
        .without_proxy()
        .start();
    eprintln!("6 databases on 2 servers with a replica each: {:?}", started.elapsed());
    world
});

#[test]
fn shards_are_databases_spread_over_the_servers() {
    let places: Vec<_> =
        WORLD.shards().map(|shard| (shard.sql("SHOW port"), shard.database().to_owned())).collect();
    let ports = [0, 1].map(|server| WORLD.server(server).port().to_string());
    let expected = [(0, "shop_0"), (0, "shop_1"), (1, "shop_2"), (1, "shop_3")];
    assert_eq!(places, expected.map(|(server, database)| (ports[server].clone(), database.to_owned())));
    assert_eq!(WORLD.group_shard("manufacturing", 1).primary().port(), WORLD.server(1).port());
}

#[test]
fn a_schema_is_for_all_groups_or_for_one() {
    let tables = "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    assert_eq!(WORLD.shard(3).sql(tables), "t|app");
    assert_eq!(WORLD.group_shard("manufacturing", 0).sql(tables), "job|app\nt|app");
}

#[tokio::test]
async fn both_users_read_and_write_on_a_shard() {
    for (user, id) in [("app", 101), ("md5user", 102)] {
        let client = WORLD.shard(2).connect_as(user).await;
        let written = client.execute("INSERT INTO t VALUES ($1, $2)", &[&id, &user]).await.unwrap();
        let read = client.query_one("SELECT name FROM t WHERE user_id = $1", &[&id]).await.unwrap();
        assert_eq!((written, read.get(0)), (1, user));
    }
    let superusers = "SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname IN ('app', 'md5user')";
    assert_eq!(WORLD.shard(2).sql(superusers), "0");
}

#[test]
fn a_replica_shows_what_was_written_to_its_shard() {
    WORLD.shard(1).sql("INSERT INTO t VALUES (201, 'seen')");
    WORLD.wait_for_replicas();
    assert_eq!(WORLD.shard(1).replica_sql(0, "SELECT name FROM t WHERE user_id = 201"), "seen");
    assert_eq!(WORLD.everywhere("SELECT name FROM t WHERE user_id = 201"), ["seen"]);
}

#[test]
fn a_killed_server_of_a_world_comes_back() {
    let world = World::builder().schema("CREATE TABLE t (user_id int)").redis().without_proxy().start();
    world.shard(0).sql("INSERT INTO t VALUES (1)");
    world.server(0).kill().unwrap();
    world.server(0).start().unwrap();
    assert_eq!(world.shard(0).sql("SELECT count(*) FROM t"), "1");
    assert_eq!(world.redis().command("PING").unwrap(), "+PONG");
}

#[test]
fn servers_take_the_settings_of_the_world() {
    let world = World::builder().setting("max_prepared_transactions", 0).replicas(1).without_proxy().start();
    assert_eq!(world.shard(0).sql("SHOW max_prepared_transactions"), "0");
    assert_eq!(world.shard(0).replica_sql(0, "SHOW max_prepared_transactions"), "0");
}

async fn raw(user: &str) -> RawClient {
    let shard = WORLD.shard(0);
    let mut raw = RawClient::connect(shard.primary().port()).await;
    raw.login(user, shard.database(), PASSWORD).await;
    raw
}

#[tokio::test]
async fn a_raw_client_logs_in_by_trust_md5_and_scram() {
    for user in ["postgres", "md5user", "app"] {
        let mut raw = raw(user).await;
        assert_eq!(raw.parameter("server_encoding"), Some("UTF8"));
        let reply = raw.query("SELECT current_user, NULL").recv_until_ready().await;
        assert_eq!(reply.tags(), "TDCZ");
        assert_eq!(reply.texts(), [[Some(user), None]]);
    }
}

#[tokio::test]
async fn a_raw_client_sees_why_it_is_refused() {
    let mut raw = RawClient::connect(WORLD.server(0).port()).await;
    let refusal = raw.try_login(&[("user", "app"), ("database", "shop_0")], "wrong").await.unwrap_err();
    assert_eq!(refusal.field('C').as_deref(), Some("28P01"));
    assert!(raw.expect_closed().await.is_empty());
}

#[tokio::test]
async fn a_raw_client_pipelines_the_extended_protocol() {
    let mut raw = raw("app").await;
    raw.parse("sum", "SELECT $1::int + $2::int AS sum, $3::text", &[23, 23, 25]);
    raw.describe_statement("sum");
    raw.bind("", "sum", &[Param::Text("40"), Param::Binary(&[0, 0, 0, 2]), Param::Null], &[1, 0]);
    raw.execute("", 0).close_statement("sum").sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.tags(), "1tT2DC3Z");
    assert_eq!(reply.of('T').next().unwrap().columns(), [("sum".into(), 23), ("text".into(), 25)]);
    assert_eq!(reply.rows(), [[Some(vec![0, 0, 0, 42].into()), None]]);
}

#[tokio::test]
async fn a_raw_client_takes_rows_a_few_at_a_time_and_errors_as_they_are() {
    let mut raw = raw("app").await;
    raw.parse("", "SELECT generate_series(1, 3)", &[]).bind("p", "", &[], &[]).execute("p", 2).flush();
    assert_eq!(raw.recv_until(b's').await.texts(), [[Some("1")], [Some("2")]]);
    let rest = raw.execute("p", 2).sync().recv_until_ready().await;
    assert_eq!((rest.tags(), rest.commands()), ("DCZ".into(), vec!["SELECT 1".into()]));

    let failed = raw.query("BEGIN; SELECT 1/0").recv_until_ready().await;
    assert_eq!(failed.error().unwrap().field('C').as_deref(), Some("22012"));
    assert_eq!(failed.status(), 'E');
}

#[tokio::test]
async fn a_raw_client_copies_both_ways() {
    let mut raw = raw("app").await;
    raw.query("COPY t FROM STDIN").recv_until(b'G').await;
    let copied = raw.copy_data(b"301\tin\n302\t").copy_data(b"too\n").copy_done().recv_until_ready().await;
    assert_eq!(copied.commands(), ["COPY 2"]);
    let out = raw.query("COPY (SELECT name FROM t WHERE user_id IN (301, 302)) TO STDOUT");
    let out = out.recv_until_ready().await;
    assert_eq!(
        out.of('d').map(|data| data.body.to_vec()).collect::<Vec<_>>(),
        [b"in\n", b"too\n".as_slice()]
    );
}

#[tokio::test]
async fn a_raw_client_cancels() {
    let mut raw = raw("app").await;
    raw.query("SELECT pg_sleep(600)").send().await;
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
    eventually("the query to run", || (WORLD.shard(0).sql(running) == "1").then_some(()));
    RawClient::cancel(WORLD.server(0).port(), raw.cancel_key()).await;
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.error().unwrap().field('C').as_deref(), Some("57014"));
}

#[tokio::test]
async fn a_raw_client_notices_that_it_is_cut_off() {
    let mut raw = RawClient::connect(WORLD.server(0).port()).await;
    raw.ssl_request();
    assert_eq!(raw.recv_byte().await, b'N');
    raw.send_raw(&[0xff; 8]).await; // a startup message of 4 GB
    raw.expect_closed().await;
}

#[test]
fn a_missing_program_is_said_so() {
    let world = || World::builder().binary("/nowhere/shardway").start();
    let panic = std::panic::catch_unwind(world).err().expect("there is no such program");
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("/nowhere/shardway") && message.contains("127"), "{message}");
}

#[test]
fn a_proxy_is_started_told_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::builder().binary(stand_in(dir.path().join("shardway"))).env("COLOUR", "blue").start();
    let proxy = world.proxy();
    assert!(proxy.wait_for_log("listening").ends_with("in blue"));
    assert_eq!(http_get(proxy.http_port(), "/x"), (200, "you asked for /x".into()));

    proxy.reconfigure("[pool]\ndefault_pool_size = 7");
    proxy.sighup();
    proxy.wait_for_log("default_pool_size = 7");
    proxy.sigterm();
    assert_eq!(proxy.wait_exit().code(), Some(3));
    proxy.start();
    proxy.kill();
    assert!(!proxy.is_ready());

    let other = world.another_proxy();
    assert!(other.is_ready() && other.port() != proxy.port());
}

/// A program that is started as Shardway is, and does what follows.
fn stand_in(path: PathBuf) -> PathBuf {
    let program = env::current_exe().unwrap();
    let run = "--ignored --exact harness::stand_in_for_shardway --nocapture";
    let script = format!("#!/bin/sh\nCONFIG=\"$3\" exec '{}' {run}\n", program.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
#[ignore = "not a test: a program for a_proxy_is_started_told_and_ended"]
async fn stand_in_for_shardway() {
    let read = || fs::read_to_string(env::var("CONFIG").unwrap()).unwrap();
    let config: toml::Table = read().parse().unwrap();
    let listener = TcpListener::bind(config["server"]["http"].as_str().unwrap()).unwrap();
    let mut hangup = signal(SignalKind::hangup()).unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    eprintln!("listening in {}", env::var("COLOUR").unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    loop {
        tokio::select! {
            _ = hangup.recv() => eprintln!("{}", read()),
            _ = terminate.recv() => std::process::exit(3),
        }
    }
}

fn answer(mut stream: std::net::TcpStream) {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap();
    write!(stream, "HTTP/1.0 200 OK\r\n\r\nyou asked for {path}").unwrap();
}
