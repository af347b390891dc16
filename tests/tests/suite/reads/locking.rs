//! FOR UPDATE and its kin over several shards: the rows that one Postgres would give, and locks on no others.

use std::collections::BTreeMap;

use shardway_tests::{RawClient, Reply, World};

use super::world::{Pair, SALES_WORLD, said};

const SCHEMA: &str = "\
CREATE TABLE job (user_id int PRIMARY KEY, n int, state text COLLATE \"C\");
CREATE TABLE kind (id int PRIMARY KEY, label text);";

fn world() -> World {
    World::builder().shards(3).servers(1).schema(SCHEMA).start()
}

async fn query(client: &mut RawClient, sql: &str) -> Reply {
    let reply = client.query(sql).recv_until_ready().await;
    assert!(reply.error().is_none(), "{sql}: {reply:?}");
    reply
}

async fn with_jobs(world: &World) -> RawClient {
    let mut client = world.raw("app").await;
    query(&mut client, "INSERT INTO job SELECT g, g, 'new' FROM generate_series(1, 40) g").await;
    client
}

/// The jobs that nobody has locked.
async fn free(client: &mut RawClient) -> usize {
    query(client, "SELECT user_id FROM job FOR UPDATE SKIP LOCKED").await.rows().len()
}

#[tokio::test]
async fn every_form_gives_what_one_postgres_gives() {
    let mut pair = Pair::of(&SALES_WORLD).await;
    for lock in [
        "FOR UPDATE",
        "FOR SHARE",
        "FOR NO KEY UPDATE",
        "FOR KEY SHARE",
        "FOR UPDATE NOWAIT",
        "FOR UPDATE OF sale SKIP LOCKED",
    ] {
        pair.same(&format!("SELECT id, c FROM sale WHERE a > 1 {lock}")).await;
        pair.same(&format!("SELECT id, c FROM sale ORDER BY c NULLS FIRST, id {lock}")).await;
        pair.same(&format!("SELECT id, c FROM sale ORDER BY id LIMIT 9 OFFSET 4 {lock}")).await;
        pair.same(&format!("SELECT id, c FROM sale ORDER BY id DESC {lock} LIMIT 5")).await;
        pair.same(&format!("SELECT id FROM sale ORDER BY id LIMIT 0 {lock}")).await;
        pair.same(&format!("SELECT id FROM sale WHERE user_id = 3 ORDER BY id {lock}")).await;
    }
    pair.same("SELECT s.id, i.qty FROM sale s JOIN item i ON i.user_id = s.user_id AND i.sale_id = s.id ORDER BY 1, 2 FOR UPDATE OF s, i").await;
    pair.same("SELECT s.id, l.label FROM sale s JOIN label l ON l.id = s.a ORDER BY 1 FOR UPDATE OF s").await;
    for refused in [
        "SELECT s.id, l.label FROM sale s JOIN label l ON l.id = s.a FOR UPDATE",
        "SELECT s.id FROM sale s JOIN item i ON i.sale_id = s.id FOR UPDATE",
    ] {
        pair.refused(refused).await;
    }
    // What Postgres refuses it refuses in its own words.
    for sql in [
        "SELECT count(*) FROM sale FOR UPDATE",
        "SELECT DISTINCT a FROM sale FOR UPDATE",
        "SELECT a FROM sale GROUP BY a FOR SHARE",
        "SELECT id FROM sale UNION SELECT id FROM sale FOR UPDATE",
    ] {
        let single = said(&pair.single.query(sql).recv_until_ready().await).unwrap_err();
        let proxy = said(&pair.proxy.query(sql).recv_until_ready().await).unwrap_err();
        assert_eq!(proxy, single, "{sql}");
    }
}

#[tokio::test]
async fn rows_are_locked_to_the_end_of_the_transaction_on_every_shard() {
    let world = world();
    let (mut client, mut other) = (with_jobs(&world).await, world.raw("app").await);
    query(&mut client, "BEGIN").await;
    assert_eq!(query(&mut client, "SELECT * FROM job WHERE n <= 30 FOR UPDATE").await.rows().len(), 30);
    assert_eq!(free(&mut other).await, 10);
    let nowait = other.query("SELECT * FROM job FOR UPDATE NOWAIT").recv_until_ready().await;
    assert_eq!(said(&nowait).unwrap_err().0, "55P03");
    query(&mut client, "ROLLBACK").await;
    assert_eq!(free(&mut other).await, 40);
    query(&mut client, "SELECT * FROM job ORDER BY n LIMIT 7 FOR UPDATE").await;
    assert_eq!(free(&mut other).await, 40);
}

#[tokio::test]
async fn no_more_rows_are_locked_than_are_given() {
    let world = world();
    let (mut client, mut other) = (with_jobs(&world).await, world.raw("app").await);
    for (sql, locked) in [
        ("SELECT * FROM job LIMIT 5 FOR UPDATE", 5),
        ("SELECT * FROM job ORDER BY n LIMIT 5 FOR UPDATE", 5),
        ("SELECT * FROM job ORDER BY n DESC LIMIT 12 OFFSET 3 FOR UPDATE SKIP LOCKED", 15),
        ("SELECT * FROM job ORDER BY n LIMIT 100 FOR UPDATE", 40),
        ("SELECT * FROM job LIMIT 0 FOR UPDATE", 0),
    ] {
        query(&mut client, "BEGIN").await;
        query(&mut client, sql).await;
        assert_eq!(free(&mut other).await, 40 - locked, "{sql}");
        // The next in line are others.
        query(&mut client, "SELECT 1").await;
        query(&mut client, "SAVEPOINT s").await;
        query(&mut client, "ROLLBACK TO s").await;
        assert_eq!(free(&mut other).await, 40 - locked, "{sql}");
        query(&mut client, "ROLLBACK").await;
        client.query("BEGIN").recv_until_ready().await;
        client.parse("", sql, &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0).sync();
        let reply = client.recv_until_ready().await;
        assert!(reply.error().is_none(), "{reply:?}");
        assert_eq!(free(&mut other).await, 40 - locked, "{sql}");
        query(&mut client, "COMMIT").await;
    }
    query(&mut client, "BEGIN").await;
    query(&mut client, "DECLARE c CURSOR FOR SELECT * FROM job FOR UPDATE").await;
    assert_eq!(free(&mut other).await, 40);
    assert_eq!(query(&mut client, "FETCH 6 c").await.rows().len(), 6);
    assert_eq!(free(&mut other).await, 34);
    query(&mut client, "COMMIT").await;
}

#[tokio::test]
async fn a_queue_gives_every_job_to_one_worker() {
    const WORKERS: usize = 4;
    let world = world();
    with_jobs(&world).await;
    for order in ["ORDER BY n LIMIT 2", "LIMIT 3"] {
        let mut setting = world.raw("app").await;
        query(&mut setting, "UPDATE job SET state = 'new'").await;
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            workers.push((world.raw("app").await, Vec::<String>::new()));
        }
        // All of them hold what they took while the others look.
        loop {
            let mut took = 0;
            for (client, jobs) in &mut workers {
                query(client, "BEGIN").await;
                let sql =
                    format!("SELECT user_id FROM job WHERE state = 'new' {order} FOR UPDATE SKIP LOCKED");
                let reply = query(client, &sql).await;
                for row in reply.texts().0 {
                    let id = row[0].clone().unwrap_or_default();
                    query(client, &format!("UPDATE job SET state = 'done' WHERE user_id = {id}")).await;
                    jobs.push(id);
                    took += 1;
                }
            }
            for (client, _) in &mut workers {
                query(client, "COMMIT").await;
            }
            if took == 0 {
                break;
            }
        }
        let mut taken = BTreeMap::<String, usize>::new();
        workers.iter().flat_map(|(_, jobs)| jobs).for_each(|job| *taken.entry(job.clone()).or_default() += 1);
        assert_eq!(taken.len(), 40, "{order}");
        assert!(taken.values().all(|times| *times == 1), "{order}: {taken:?}");
    }
}

#[tokio::test]
async fn workers_that_run_at_once_take_no_job_twice_and_lose_none() {
    let world = world();
    let mut setting = with_jobs(&world).await;
    let worker = async || {
        let mut client = world.raw("app").await;
        let mut jobs = 0;
        loop {
            query(&mut client, "BEGIN").await;
            let sql = "SELECT user_id FROM job WHERE state = 'new' ORDER BY n LIMIT 1 FOR UPDATE SKIP LOCKED";
            let reply = query(&mut client, sql).await;
            let Some(id) = reply.texts().0.into_iter().next().and_then(|mut row| row.remove(0)) else {
                query(&mut client, "COMMIT").await;
                // Another may still hold the last one for a moment, and give it back.
                let left = query(&mut client, "SELECT count(*) FROM job WHERE state = 'new'").await;
                if left.texts() == [[Some("0")]] {
                    return jobs;
                }
                continue;
            };
            let sql =
                format!("UPDATE job SET n = n + 1000, state = 'done' WHERE user_id = {id} AND state = 'new'");
            assert_eq!(query(&mut client, &sql).await.commands(), ["UPDATE 1"]);
            query(&mut client, "COMMIT").await;
            jobs += 1;
        }
    };
    let (a, b, c) = tokio::join!(worker(), worker(), worker());
    assert_eq!(a + b + c, 40);
    let sum = query(&mut setting, "SELECT sum(n) FROM job").await;
    assert_eq!(sum.texts(), [[Some("40820")]]);
}

#[tokio::test]
async fn every_way_to_say_it_locks_the_same_rows() {
    let world = world();
    let (mut client, mut other) = (with_jobs(&world).await, world.raw("app").await);
    query(&mut client, "PREPARE next AS SELECT user_id FROM job ORDER BY n LIMIT $1 FOR UPDATE SKIP LOCKED")
        .await;
    assert_eq!(query(&mut client, "EXECUTE next (4)").await.rows().len(), 4);
    query(&mut client, "BEGIN").await;
    let reply = query(&mut client, "EXECUTE next (4)").await;
    assert_eq!(reply.texts(), [[Some("1")], [Some("2")], [Some("3")], [Some("4")]]);
    assert_eq!(query(&mut client, "EXECUTE next (2)").await.rows().len(), 2);
    assert_eq!(free(&mut other).await, 36);
    let copied = client.query("COPY (SELECT user_id FROM job ORDER BY n LIMIT 6 FOR UPDATE) TO STDOUT");
    let copied = copied.recv_until_ready().await;
    assert_eq!(copied.commands(), ["COPY 6"], "{copied:?}");
    assert_eq!(free(&mut other).await, 34);
    // Several at a time, by a portal: what waits for its turn is locked too, one row of each shard.
    client.parse("", "SELECT user_id FROM job ORDER BY n FOR UPDATE SKIP LOCKED", &[]);
    client.bind("p", "", &[], &[]).execute("p", 5).sync();
    assert_eq!(client.recv_until_ready().await.rows().len(), 5);
    assert!((31..=34).contains(&free(&mut other).await));
    query(&mut client, "ROLLBACK").await;
    assert_eq!(free(&mut other).await, 40);
}
