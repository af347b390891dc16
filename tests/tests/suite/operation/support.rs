//! What the suites of operation and of bad input say again and again.

use std::{collections::HashMap, time::Duration};

use shardway_shardmap::{CanonicalKey, Function, ShardMap};
use shardway_tests::{PATIENCE, Proxy, World};
use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// What one shard per key is tested with.
pub const SCHEMA: &str = "CREATE TABLE t (user_id int PRIMARY KEY, name text)";

/// As the harness' `eventually`, for tests that have work going on meanwhile.
pub async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A line for each row of a simple query's answer, columns separated by `|`.
pub async fn try_lines(client: &Client, sql: &str) -> Result<Vec<String>, Error> {
    let messages = client.simple_query(sql).await?;
    let line = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let values: Vec<_> = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect();
            Some(values.join("|"))
        }
        _ => None,
    };
    Ok(messages.iter().filter_map(line).collect())
}

/// As [`try_lines`], for what must not fail.
pub async fn lines(client: &Client, sql: &str) -> Vec<String> {
    try_lines(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

/// The one value that a query gives.
pub async fn value(client: &Client, sql: &str) -> String {
    let lines = lines(client, sql).await;
    assert_eq!(lines.len(), 1, "{sql}: {lines:?}");
    lines.into_iter().next().unwrap_or_default()
}

/// The SQLSTATE of an error that the other side sent; `closed` for a connection that ended.
pub fn code(error: &Error) -> String {
    match error.code() {
        Some(state) => state.code().to_owned(),
        None if error.is_closed() => "closed".to_owned(),
        None => format!("{error:?}"),
    }
}

/// The SQLSTATE and message that a query fails with.
pub async fn failure(client: &Client, sql: &str) -> (String, String) {
    match try_lines(client, sql).await {
        Ok(lines) => panic!("{sql} was to fail, and gave {lines:?}"),
        Err(error) => said(&error),
    }
}

/// The SQLSTATE and message of an error.
pub fn said(error: &Error) -> (String, String) {
    (code(error), error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned()))
}

/// Keys whose rows are on one of `count` shards, smallest first.
pub fn keys_on(shard: u32, count: u32) -> impl Iterator<Item = i32> {
    let map = ShardMap::new(Function::Fnv1a, count).expect("a map of some shards");
    (1..).filter(move |&key| {
        map.locate(&CanonicalKey::Int(key.into())).expect("a shard for any key").0 == shard
    })
}

/// The first of [`keys_on`].
pub fn key_on(shard: u32, count: u32) -> i32 {
    keys_on(shard, count).next().expect("some key is on every shard")
}

/// A row of a SHOW: values by column.
pub type Shown = HashMap<String, String>;

/// What SHOW says on the admin database.
pub async fn show(admin: &Client, what: &str) -> Vec<Shown> {
    let messages = admin.simple_query(&format!("SHOW {what}")).await.expect("SHOW");
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let value = |column: usize| row.get(column).unwrap_or_default().to_owned();
            Some(row.columns().iter().enumerate().map(|(i, c)| (c.name().to_owned(), value(i))).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// What SHOW SHARDS or SHOW REPLICAS says of the server at `address`.
pub async fn server_at(admin: &Client, address: &str) -> Shown {
    let (primaries, replicas) = (show(admin, "SHARDS").await, show(admin, "REPLICAS").await);
    let primary = primaries.into_iter().find(|row| row["primary"] == address);
    primary.or_else(|| replicas.into_iter().find(|row| row["server"] == address)).expect("the server")
}

/// The pool size of the database `shop`.
pub async fn pool_size(admin: &Client) -> String {
    let mut shop = show(admin, "DATABASES").await.into_iter().find(|row| row["name"] == "shop");
    shop.as_mut().and_then(|row| row.remove("pool_size")).expect("a pool size")
}

/// The sum of a column of SHOW POOLS.
pub async fn pooled(admin: &Client, column: &str) -> usize {
    show(admin, "POOLS").await.iter().map(|row| row[column].parse::<usize>().expect("a count")).sum()
}

/// Waits until no server works for anybody, and nobody waits for one.
pub async fn at_rest(admin: &Client) {
    soon("pools at rest", async || {
        let busy = pooled(admin, "sv_active").await + pooled(admin, "cl_waiting").await;
        (busy == 0).then_some(())
    })
    .await;
}

/// An admin's client of any proxy.
pub async fn admin_of(proxy: &Proxy) -> Client {
    proxy.connect_to("admin", "shardway").await
}

/// Connections of clients' users that a server has, by what they are doing.
pub fn backends(world: &World, server: usize, condition: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
         AND usename IN ('app', 'md5user') AND application_name <> 'shardway' AND {condition}"
    );
    world.server(server).sql("postgres", &sql).expect("the server's activity").parse().expect("a count")
}

/// RELOAD; gives what it is refused with.
pub async fn try_reload(proxy: &Proxy) -> Result<(), (String, String)> {
    admin_of(proxy).await.simple_query("RELOAD").await.map(drop).map_err(|error| said(&error))
}

/// RELOAD of a configuration that is valid.
pub async fn reload(proxy: &Proxy) {
    try_reload(proxy).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
}

/// Has everybody be this user on the servers, from now on.
pub async fn log_all_in_as(proxy: &Proxy, user: &str, password: &str) {
    proxy.edit(|config| {
        let database = config["databases"][0].as_table_mut().expect("a database");
        database.insert("user".to_owned(), user.into());
        database.insert("password".to_owned(), password.into());
    });
    reload(proxy).await;
}

/// Clients by worker, as /metrics has them.
pub fn clients_by_worker(proxy: &Proxy) -> Vec<usize> {
    let (_, text) = proxy.http_get("/metrics");
    let counts = text.lines().filter_map(|line| line.strip_prefix("shardway_worker_clients{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
}
