//! Clients move from worker to worker between their transactions, and notice nothing.

use shardway_tests::{Proxy, SharedWorld, World};

use super::support::{SCHEMA, clients_by_worker, lines, soon, value};

const TWO: &str = "[server]\nworker_threads = 2\nworker_use = 'auto'";
const TWO_IN_USE: &str = "[server]\nworker_threads = 2\nworker_use = 'all'";

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

async fn clients_are(proxy: &Proxy, wanted: &[usize]) {
    let what = format!("{wanted:?} clients by worker");
    soon(&what, async || (clients_by_worker(proxy) == wanted).then_some(())).await;
}

#[tokio::test]
async fn one_worker_serves_all_until_more_are_asked_for() {
    let proxy = WORLD.another_proxy_with(TWO);
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(proxy.connect("app").await);
    }
    clients_are(&proxy, &[4]).await;
    proxy.reconfigure(TWO_IN_USE);
    proxy.sighup();
    clients_are(&proxy, &[2, 2]).await;
    for client in &all {
        assert_eq!(value(client, "SELECT 1").await, "1");
    }
    proxy.reconfigure(TWO);
    proxy.sighup();
    clients_are(&proxy, &[4]).await;
    for client in &all {
        assert_eq!(value(client, "SELECT 1").await, "1");
    }
}

#[tokio::test]
async fn what_belongs_to_a_client_moves_with_it() {
    let proxy = WORLD.another_proxy_with(TWO);
    let (first, second) = (proxy.connect("app").await, proxy.connect("app").await);
    let mut statements = Vec::new();
    for (client, name) in [(&first, "one"), (&second, "two")] {
        lines(client, &format!("SET application_name = '{name}'")).await;
        statements.push(client.prepare("SELECT $1::int + 1").await.unwrap());
    }
    proxy.reconfigure(TWO_IN_USE);
    proxy.sighup();
    clients_are(&proxy, &[1, 1]).await;
    for ((client, name), statement) in [(&first, "one"), (&second, "two")].into_iter().zip(&statements) {
        assert_eq!(value(client, "SHOW application_name").await, name);
        let row = client.query_one(statement, &[&1]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 2);
    }
}

#[tokio::test]
async fn a_client_in_a_transaction_moves_when_that_is_over() {
    let proxy = WORLD.another_proxy_with(TWO);
    let (first, second) = (proxy.connect("app").await, proxy.connect("app").await);
    for client in [&first, &second] {
        lines(client, "BEGIN").await;
        lines(client, "SELECT set_config('app.mark', 'here', true)").await;
    }
    proxy.reconfigure(TWO_IN_USE);
    proxy.sighup();
    proxy.wait_for_log("worker_use");
    // The one that is to move is looked at again with each statement.
    for client in [&first, &second] {
        assert_eq!(value(client, "SELECT current_setting('app.mark')").await, "here");
    }
    assert_eq!(clients_by_worker(&proxy).first(), Some(&2));
    for client in [&first, &second] {
        lines(client, "COMMIT").await;
    }
    clients_are(&proxy, &[1, 1]).await;
}

#[tokio::test]
async fn a_client_that_owes_a_sync_moves_when_it_has_sent_it() {
    let proxy = WORLD.another_proxy_with(TWO);
    let mut all = [proxy.raw("app").await, proxy.raw("app").await];
    for raw in &mut all {
        // What follows the error is ignored up to Sync.
        raw.parse("", "SELECT no_such_column", &[]).flush();
        assert_eq!(raw.recv().await.tag, b'E');
    }
    proxy.reconfigure(TWO_IN_USE);
    proxy.sighup();
    soon("both workers to be in use", async || (clients_by_worker(&proxy).len() == 2).then_some(())).await;
    let other = proxy.connect("app").await;
    assert_eq!(value(&other, "SELECT 1").await, "1");
    for raw in &mut all {
        assert_eq!(raw.sync().recv_until_ready().await.tags(), "Z");
    }
    drop(other);
    clients_are(&proxy, &[1, 1]).await;
}
