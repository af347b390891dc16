//! Each limit on servers and clients, as PgBouncer has it: how many, how long, and who gives way to whom.

mod budgets;
mod clients;
mod login_retry;
mod sizes;
mod timeouts;
mod upkeep;

use shardway_tests::{Proxy, SharedWorld, World};
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

use crate::operation::support::{SCHEMA, backends, lines, soon, try_lines, value};

/// Two shards on one server.
static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

static GATE: Mutex<()> = Mutex::const_new(());

/// What runs on one shard.
const ONE: &str = "/* shard: 0 */ SELECT 1";

/// Sees to it that no other test's connection is left: those that are counted are this test's own.
async fn alone() -> MutexGuard<'static, ()> {
    let alone = GATE.lock().await;
    // A server that sleeps does not see that its proxy is gone.
    terminate();
    soon("a server to itself", async || (backends(&WORLD, 0, "true") == 0).then_some(())).await;
    alone
}

/// A proxy of the test's own.
fn proxy(toml: &str) -> Proxy {
    WORLD.another_proxy_with(toml)
}

/// Ends all connections of clients' users.
fn terminate() {
    WORLD.shard(0).sql(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
         WHERE usename IN ('app', 'md5user') AND application_name <> 'shardway'",
    );
}

/// Connections to shard 0.
fn connections() -> usize {
    backends(&WORLD, 0, "datname = 'shop_0'")
}

/// Those of one user.
fn connections_of(user: &str) -> usize {
    backends(&WORLD, 0, &format!("datname = 'shop_0' AND usename = '{user}'"))
}

/// A client that holds a server of shard 0 in a transaction.
async fn holder(proxy: &Proxy, user: &str) -> Client {
    let client = proxy.connect(user).await;
    lines(&client, &format!("BEGIN; {ONE}")).await;
    client
}

/// A statement that is under way in the background.
fn ask(client: Client, sql: &str) -> tokio::task::JoinHandle<Result<Vec<String>, tokio_postgres::Error>> {
    let sql = sql.to_owned();
    tokio::spawn(async move { try_lines(&client, &sql).await })
}

/// So many clients.
async fn clients(proxy: &Proxy, user: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(proxy.connect(user).await);
    }
    clients
}

/// All of them say this at the same time; gives them back with the one value that each got.
async fn together(clients: Vec<Client>, sql: &'static str) -> Vec<(Client, String)> {
    let ask = |client: Client| {
        tokio::spawn(async move {
            let answer = value(&client, sql).await;
            (client, answer)
        })
    };
    let asked: Vec<_> = clients.into_iter().map(ask).collect();
    let mut answered = Vec::new();
    for task in asked {
        answered.push(task.await.expect("an answer"));
    }
    answered
}

/// One user's settings on top of what the configuration says.
fn of_user(proxy: &Proxy, user: &str, setting: &str, value: impl Into<shardway_tests::toml::Value>) {
    let value = value.into();
    proxy.edit(|config| {
        let users = config["users"].as_array_mut().expect("users");
        let found = users.iter_mut().find(|found| found["name"].as_str() == Some(user));
        found.and_then(|found| found.as_table_mut()).expect("the user").insert(setting.to_owned(), value);
    });
}
