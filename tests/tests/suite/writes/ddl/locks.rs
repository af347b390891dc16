//! Commands on objects that wait, and that others wait for.

use shardway_tests::{PASSWORD, RawClient, World};

use super::{ALONE, SHOP, all};
use crate::operation::support::{key_on, soon};
use crate::protocol::{ask, code};

#[tokio::test]
async fn a_lock_holds_on_every_shard_to_the_end_of_its_transaction() {
    let _alone = ALONE.lock().await;
    let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
    all(&mut a, &["BEGIN", "LOCK TABLE account IN ACCESS EXCLUSIVE MODE"]).await;
    let waits =
        "SELECT count(*) FROM pg_locks WHERE relation = 'account'::regclass AND mode = 'AccessExclusiveLock'";
    assert_eq!(SHOP.everywhere(waits), ["1"; 4]);
    all(&mut b, &["SET lock_timeout = 50"]).await;
    let read = format!("SELECT * FROM account WHERE user_id = {}", key_on(3, 4));
    assert_eq!(code(&ask(&mut b, &read).await), "55P03");
    all(&mut a, &["COMMIT"]).await;
    all(&mut b, &[&read]).await;
}

#[tokio::test]
async fn a_command_that_waits_can_be_cancelled_and_ends_with_its_client() {
    let _alone = ALONE.lock().await;
    let mut holder = SHOP.raw("app").await;
    all(&mut holder, &["CREATE TABLE x_table (user_id int)"]).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'ALTER TABLE x_%' \
                   AND state = 'active'";
    let waits = async |shard: usize, count: &str| {
        soon("the command to wait, or to be gone", async || {
            (SHOP.shard(shard).sql(waiting) == count).then_some(())
        })
        .await;
    };
    // On the first shard, and on one of the others.
    for shard in [0, 3] {
        let mut direct = RawClient::connect(SHOP.shard(shard).primary().port()).await;
        direct.login("app", SHOP.shard(shard).database(), PASSWORD).await;
        all(&mut direct, &["BEGIN", "LOCK TABLE x_table"]).await;
        let mut client = SHOP.raw("app").await;
        client.query("ALTER TABLE x_table ADD COLUMN n int").send().await;
        waits(shard, "1").await;
        RawClient::cancel(SHOP.proxy().port(), client.cancel_key()).await;
        assert_eq!(code(&client.recv_until_ready().await), "57014");
        client.query("ALTER TABLE x_table ADD COLUMN n int").send().await;
        waits(shard, "1").await;
        drop(client);
        waits(shard, "0").await;
        all(&mut direct, &["COMMIT"]).await;
    }
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'x_table'::regclass AND attnum > 0";
    assert_eq!(SHOP.everywhere(columns), ["1"; 4]);
    all(&mut holder, &["DROP TABLE x_table"]).await;
}

#[tokio::test]
async fn two_that_are_in_each_others_way_wait_and_do_not_deadlock() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(&mut client, &["CREATE TABLE w_table (user_id int)"]).await;
    let add = async |n: usize| {
        let mut client = SHOP.raw("app").await;
        all(&mut client, &[&format!("ALTER TABLE w_table ADD COLUMN c{n} int")]).await;
    };
    tokio::join!(add(0), add(1), add(2), add(3), add(4), add(5));
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'w_table'::regclass AND attnum > 0";
    assert_eq!(SHOP.everywhere(columns), ["7"; 4]);
    all(&mut client, &["DROP TABLE w_table"]).await;
}

#[tokio::test]
async fn shards_of_one_server_are_analyzed_without_being_in_each_others_way() {
    let world = World::builder().shards(4).schema("CREATE TABLE t (user_id int)").start();
    // Who may analyze the catalogs that all databases of a server share.
    world.server(0).sql("postgres", "ALTER ROLE app SUPERUSER").unwrap();
    let mut client = world.raw("app").await;
    for sql in ["ANALYZE", "ANALYZE t", "BEGIN; ANALYZE t", "COMMIT"] {
        let reply = ask(&mut client, sql).await;
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
    }
    let analyzed = "SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 't'";
    soon("statistics to say so", async || world.everywhere(analyzed).iter().all(|n| n == "3").then_some(()))
        .await;
}
