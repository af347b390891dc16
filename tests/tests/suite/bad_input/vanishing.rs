//! Clients that are gone without a word: what they held is given back, what they had begun is undone.

use shardway_tests::{RawClient, eventually};

use super::{Scene, WORLD, raw};
use crate::operation::support::{backends, key_on, lines, pooled, soon, value};

/// Waits until a statement like this runs on a shard.
fn runs(shard: usize, like: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{like}' AND state <> 'idle' AND pid <> pg_backend_pid()"
    );
    eventually("the statement to run", || (WORLD.shard(shard).sql(&sql) != "0").then_some(()));
}

#[tokio::test]
async fn in_a_transaction_it_is_rolled_back_and_its_locks_are_free() {
    let scene = Scene::set().await;
    let key = key_on(0, 2);
    WORLD.shard(0).sql(&format!("INSERT INTO t VALUES ({key}, 'before')"));
    let mut client = raw().await;
    client.query("BEGIN").recv_until_ready().await;
    let reply =
        client.query(&format!("UPDATE t SET name = 'after' WHERE user_id = {key}")).recv_until_ready().await;
    assert_eq!(reply.commands(), ["UPDATE 1"]);
    assert_eq!(backends(&WORLD, 0, "state = 'idle in transaction'"), 1);
    client.hang_up();
    lines(&scene.bystander, &format!("UPDATE t SET name = name || '!' WHERE user_id = {key}")).await;
    assert_eq!(
        value(&scene.bystander, &format!("SELECT name FROM t WHERE user_id = {key}")).await,
        "before!"
    );
    scene.is_unharmed().await;
    assert_eq!(
        WORLD.shard(0).sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND pid <> pg_backend_pid()"
        ),
        "0"
    );
    WORLD.shard(0).sql(&format!("DELETE FROM t WHERE user_id = {key}"));
}

#[tokio::test]
async fn in_the_middle_of_a_result_the_server_stops_working() {
    let scene = Scene::set().await;
    let mut client = raw().await;
    client.query("SELECT repeat('x', 1000), generate_series(1, 100000000)").send().await;
    client.recv_until(b'D').await;
    client.hang_up();
    scene.is_unharmed().await;
}

#[tokio::test]
async fn while_its_statement_runs_the_statement_is_cancelled() {
    let scene = Scene::set().await;
    let mut client = raw().await;
    client.query("/* shard: 1 */ SELECT pg_sleep(600)").send().await;
    runs(1, "%pg_sleep(600)");
    client.hang_up();
    scene.is_unharmed().await;
}

#[tokio::test]
async fn in_the_middle_of_a_copy_nothing_is_copied() {
    let scene = Scene::set().await;
    let mut client = raw().await;
    client.query("/* shard: 0 */ COPY t FROM STDIN").recv_until(b'G').await;
    client.copy_data(b"9100\tx\n9101\ty\n").send().await;
    runs(0, "%COPY t FROM STDIN");
    client.hang_up();
    scene.is_unharmed().await;
    assert_eq!(WORLD.shard(0).sql("SELECT count(*) FROM t WHERE user_id IN (9100, 9101)"), "0");

    let mut client = raw().await;
    client.query("/* shard: 0 */ COPY (SELECT repeat('x', 1000), generate_series(1, 100000000)) TO STDOUT");
    client.recv_until(b'd').await;
    client.hang_up();
    scene.is_unharmed().await;
}

#[tokio::test]
async fn in_the_middle_of_a_message_the_message_is_forgotten() {
    let scene = Scene::set().await;
    let mut client = raw().await;
    client.send_raw(b"Q\0\0\0\x40INSERT INTO t VALUES (9200, 'x'").await;
    client.hang_up();
    let mut client = raw().await;
    client
        .parse("", "INSERT INTO t VALUES (9200, 'x')", &[])
        .bind("", "", &[], &[])
        .execute("", 0)
        .send()
        .await;
    client.hang_up();
    scene.is_unharmed().await;
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM t WHERE user_id = 9200"), ["0", "0"]);
}

#[tokio::test]
async fn while_it_waits_for_a_server_it_gives_up_its_place() {
    let scene = Scene::set().await;
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = proxy.connect_to("admin", "shardway").await;
    let mut holder = proxy.raw("app").await;
    let mut waiting: Vec<RawClient> = vec![proxy.raw("app").await, proxy.raw("app").await];
    holder.query("BEGIN").query("/* shard: 0 */ SELECT 1").recv_until_ready().await;
    holder.recv_until_ready().await;
    for client in &mut waiting {
        client.query("/* shard: 0 */ INSERT INTO t VALUES (9300, 'ghost')").send().await;
    }
    soon("two clients to wait", async || (pooled(&admin, "cl_waiting").await == 2).then_some(())).await;
    waiting.into_iter().for_each(RawClient::hang_up);
    soon("nobody to wait", async || (pooled(&admin, "cl_waiting").await == 0).then_some(())).await;
    holder.query("COMMIT").recv_until_ready().await;
    let reply =
        holder.query("/* shard: 0 */ SELECT count(*) FROM t WHERE user_id = 9300").recv_until_ready().await;
    assert_eq!(reply.texts(), [[Some("0")]]);
    scene.is_unharmed().await;
}
