//! A rolling restart: a new process takes over while clients work all the time.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use shardway_tests::{DATABASE, PASSWORD, Proxy, SharedWorld, World};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

use super::support::{code, soon, value};

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .shards(2)
        .schema("CREATE TABLE counters (user_id int PRIMARY KEY, n bigint NOT NULL)")
        .config("[pool]\ndefault_pool_size = 8")
        .start()
});

/// Clients that work all the time, each on a row of its own.
struct Work {
    stop: Arc<AtomicBool>,
    /// Transactions of which the commit was acknowledged.
    committed: Arc<AtomicU64>,
    clients: JoinSet<Vec<String>>,
}

/// How a client is told to go, between its transactions.
const SHUT_DOWN: &str = "57P01";

impl Work {
    /// `stays` transactions are run on one connection (0: as many as it lasts), then there is another one.
    async fn begin(configs: Vec<Config>, first_key: i32, stays: usize) -> Work {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for (key, config) in (first_key..).zip(configs) {
            let (stop, committed) = (stop.clone(), committed.clone());
            clients.spawn(async move {
                let mut failures = Vec::new();
                // The first failure is enough.
                while !stop.load(Ordering::Acquire) && failures.is_empty() {
                    if let Err(failure) = connection(&config, key, stays, &stop, &committed).await {
                        failures.push(failure);
                    }
                }
                failures
            });
        }
        Work { stop, committed, clients }
    }

    fn count(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Waits until so many more transactions are done.
    async fn goes_on(&self, more: u64) {
        let before = self.count();
        soon("more transactions", async || (self.count() >= before + more).then_some(())).await;
    }

    /// What has failed, and how many transactions were committed.
    async fn end(mut self) -> (Vec<String>, u64) {
        self.stop.store(true, Ordering::Release);
        let mut failures = Vec::new();
        while let Some(client) = self.clients.join_next().await {
            failures.extend(client.unwrap());
        }
        (failures, self.committed.load(Ordering::Acquire))
    }
}

/// One connection's life. Errors: what must not have happened.
async fn connection(
    config: &Config,
    key: i32,
    stays: usize,
    stop: &AtomicBool,
    committed: &AtomicU64,
) -> Result<(), String> {
    let (client, connection) = config.connect(NoTls).await.map_err(|e| format!("connecting: {e:?}"))?;
    let connection = tokio::spawn(connection);
    let mut done = 0;
    while !stop.load(Ordering::Acquire) && (stays == 0 || done < stays) {
        match transaction(&client, key, done == 0).await {
            Ok(()) => {
                committed.fetch_add(1, Ordering::AcqRel);
                done += 1;
            }
            Err(None) => break,
            Err(Some(failure)) => return Err(failure),
        }
    }
    drop(client);
    let _ = connection.await;
    Ok(())
}

/// Errors: `None` if the client was told to go before it had begun, else what went wrong. Whoever has just come in is not told
/// to go.
async fn transaction(client: &Client, key: i32, is_first: bool) -> Result<(), Option<String>> {
    if let Err(error) = client.simple_query("BEGIN").await {
        let is_clean = matches!(code(&error).as_str(), SHUT_DOWN | "closed");
        return Err((!is_clean || is_first).then(|| format!("BEGIN: {error:?}")));
    }
    let failed = |what: &str, error: tokio_postgres::Error| Some(format!("{what}: {error:?}"));
    let update = format!("UPDATE counters SET n = n + 1 WHERE user_id = {key}");
    client.simple_query(&update).await.map_err(|e| failed("UPDATE", e))?;
    client.simple_query("COMMIT").await.map_err(|e| failed("COMMIT", e))?;
    Ok(())
}

/// A process in the place of `old`, at its address.
fn successor(old: &Proxy, arguments: &[&str]) -> Proxy {
    let new = WORLD.another_proxy();
    new.kill();
    let listen = must_have(old, "listen");
    new.edit(|config| {
        config["server"].as_table_mut().unwrap().insert("listen".to_owned(), listen);
    });
    new.start_with(arguments);
    new
}

fn must_have(proxy: &Proxy, key: &str) -> shardway_tests::toml::Value {
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    let config: shardway_tests::toml::Table = text.parse().unwrap();
    config["server"][key].clone()
}

fn config(port: u16, directory: Option<&PathBuf>) -> Config {
    let mut config = Config::new();
    match directory {
        Some(directory) => config.host_path(directory),
        None => config.host("127.0.0.1"),
    };
    config.port(port).user("app").password(PASSWORD).dbname(DATABASE);
    config.connect_timeout(shardway_tests::PATIENCE);
    config
}

/// Makes the rows of `count` clients.
fn rows(first: i32, count: i32) {
    for shard in WORLD.shards() {
        let sql = format!(
            "INSERT INTO counters SELECT k, 0 FROM generate_series({first}, {}) k",
            first + count - 1
        );
        shard.sql(&sql);
    }
}

/// What the rows have counted.
fn counted(first: i32, count: i32) -> u64 {
    let sql = format!(
        "SELECT coalesce(sum(n), 0) FROM counters WHERE user_id BETWEEN {first} AND {}",
        first + count - 1
    );
    WORLD.everywhere(&sql).iter().map(|sum| sum.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_transaction_is_lost_when_processes_take_turns() {
    rows(1, 16);
    let mut proxy = WORLD.another_proxy();
    let port = proxy.port();
    // Some connect anew all the time, some stay for as long as they may.
    let come_and_go = Work::begin((0..8).map(|_| config(port, None)).collect(), 1, 3).await;
    let stay = Work::begin((0..8).map(|_| config(port, None)).collect(), 9, 0).await;
    come_and_go.goes_on(50).await;
    for _ in 0..3 {
        let next = successor(&proxy, &[]);
        next.wait_for_log("another process listens there too");
        come_and_go.goes_on(20).await;
        proxy.sigterm();
        assert_eq!(proxy.wait_exit().code(), Some(0));
        come_and_go.goes_on(50).await;
        stay.goes_on(50).await;
        proxy = next;
    }
    let (failures, first) = come_and_go.end().await;
    let (more, second) = stay.end().await;
    assert!(failures.is_empty() && more.is_empty(), "{failures:#?}\n{more:#?}");
    assert_eq!(counted(1, 16), first + second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_goes_over_to_the_process_that_takes_over() {
    rows(101, 8);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let mut proxy = WORLD.another_proxy();
    let port = proxy.port();
    proxy.kill();
    let addresses = [format!("127.0.0.1:{port}"), format!("unix:{}", path.display())];
    let pid_file = directory.path().join("pid");
    proxy.reconfigure(&format!("[server]\nlisten = {addresses:?}\npid_file = '{}'", pid_file.display()));
    proxy.start();
    let file = path.join(format!(".s.PGSQL.{port}"));
    let work = Work::begin((0..8).map(|_| config(port, Some(&path))).collect(), 101, 3).await;
    work.goes_on(50).await;
    for _ in 0..3 {
        let next = WORLD.another_proxy();
        next.kill();
        next.reconfigure(&format!("[server]\nlisten = {addresses:?}\npid_file = '{}'", pid_file.display()));
        next.start_with(&["--takeover"]);
        // The new process has the old one finish, and what belongs to the new one stays.
        assert_eq!(proxy.wait_exit().code(), Some(0));
        assert!(file.exists());
        assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), next.pid().to_string());
        work.goes_on(50).await;
        let (client, connection) = config(port, None).connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        assert_eq!(value(&client, "SELECT 7").await, "7");
        proxy = next;
    }
    let (failures, committed) = work.end().await;
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(counted(101, 8), committed);
    proxy.sigterm();
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(!file.exists() && !pid_file.exists());
}

#[tokio::test]
async fn a_port_may_be_kept_from_a_second_process() {
    let proxy = WORLD.another_proxy_with("[server]\nso_reuseport = false");
    let port = proxy.port();
    let second = WORLD.another_proxy();
    second.kill();
    second.reconfigure(&format!("[server]\nlisten = ['127.0.0.1:{port}']\nso_reuseport = false"));
    let mut command = std::process::Command::new(shardway_tests::shardway_program());
    let output = command.arg("serve").arg("--config").arg(second.config_path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("can't listen on 127.0.0.1:{port}: ")), "{told}");
    // One that takes over may have it all the same.
    second.start_with(&["--takeover"]);
    proxy.sigterm();
    assert_eq!(proxy.wait_exit().code(), Some(0));
    let (client, connection) = config(port, None).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(value(&client, "SELECT 7").await, "7");
}

#[tokio::test]
async fn http_is_answered_by_the_process_that_stays() {
    let proxy = WORLD.another_proxy();
    let next = WORLD.another_proxy();
    next.kill();
    let (listen, http) = (must_have(&proxy, "listen"), must_have(&proxy, "http"));
    next.edit(|config| {
        let server = config["server"].as_table_mut().unwrap();
        server.insert("listen".to_owned(), listen);
        server.insert("http".to_owned(), http);
    });
    let old = proxy.raw("app").await;
    next.spawn(&[]);
    next.wait_for_log("another process listens there too");
    let mut busy = old;
    busy.query("BEGIN; SELECT 1").recv_until_ready().await;
    proxy.sigterm();
    proxy.wait_for_log("draining");
    soon("the new process to answer alone", async || {
        let answers: Vec<_> =
            (0..20).map(|_| shardway_tests::try_http_get(proxy.http_port(), "/health/ready")).collect();
        answers.into_iter().all(|answer| answer.is_ok_and(|(status, _)| status == 200)).then_some(())
    })
    .await;
    busy.query("COMMIT").recv_until_ready().await;
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert_eq!(proxy.http_get("/health/ready").0, 200);
}
