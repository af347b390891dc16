//! What goes through TLS on both sides: much at once, COPY, cancels, connections that many clients share.

use std::fmt::Write;

use shardway_tests::{Program, SharedWorld, World};

use super::certificates::Authority;
use super::cipher::Cipher;
use super::{Secured, servers};

static WORLD: SharedWorld = SharedWorld::new(|| {
    let schema = "CREATE TABLE t (user_id int PRIMARY KEY, name text); CREATE TABLE c AS TABLE t";
    let world = World::builder().shards(2).schema(schema).without_proxy().start();
    servers::secure(&world, &Authority::new("a CA").sign("a server", &[]));
    world
});

/// TLS to clients and to servers.
fn both(more: &str) -> Secured {
    Secured::before(&WORLD, "require", &format!("{more}\n[pool]\nserver_tls = 'require'\n"))
}

#[test]
fn a_large_answer_arrives_whole() {
    let secured = both("");
    let sql = "SELECT repeat(md5(i::text), 40) FROM generate_series(1, 20000) i";
    let direct = WORLD.server(0).sql("shop_0", sql).unwrap();
    let through = secured.psql("sslmode=require").args(["-c", sql]).run();
    assert!(through.said() == direct, "{} and {} bytes", through.said().len(), direct.len());
    let one = "SELECT repeat('0123456789', 3000000)";
    let through = secured.psql("sslmode=require").args(["-c", one]).run();
    assert_eq!(through.said().len(), 30_000_000);
}

#[test]
fn copy_goes_both_ways() {
    let secured = both("");
    let mut rows = String::new();
    for id in 1..=50_000 {
        let _ = writeln!(rows, "{id}\tname {id} {}", "x".repeat(id % 90));
    }
    let run = |sql: &str, input: &str| {
        secured.psql("sslmode=require").args(["-c", sql]).input(input).run().said().to_owned()
    };
    assert_eq!(run("/* shard: 1 */ COPY c FROM STDIN", &rows), "");
    assert_eq!(run("SELECT count(*) FROM c", ""), "50000");
    let back = run("COPY c TO STDOUT", "");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert!(sorted(&back) == sorted(&rows));
}

#[test]
fn a_cancel_by_tls_or_without_reaches_a_server_by_tls() {
    let secured = both("auth = 'trust'\n[databases]\nuser = 'app'\npassword = 'secret'\n");
    for by_tls in [true, false] {
        let mut client = Cipher::connect(&secured, &[], false).unwrap();
        client.greet().unwrap();
        let (_, key) = client.until('K');
        client.until('Z');
        client.query("SELECT pg_sleep(60)").unwrap();
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'";
        shardway_tests::eventually("a statement at work", || {
            (WORLD.server(0).sql("postgres", running).unwrap() == "1").then_some(())
        });
        let request = [&[0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e][..], &key].concat();
        if by_tls {
            let mut canceller = Cipher::connect(&secured, &["postgresql"], true).unwrap();
            canceller.send(&request).unwrap();
            assert!(canceller.message().is_err(), "it is answered by the end");
        } else {
            std::io::Write::write_all(&mut secured.socket(), &request).unwrap();
        }
        let (tags, body) = client.until('E');
        assert!(String::from_utf8_lossy(&body).contains("57014"), "{tags}");
        client.until('Z');
    }
}

#[test]
fn many_clients_share_few_servers() {
    // Servers are lent from one worker to the other.
    let secured = both("worker_threads = 2\nworker_use = 'all'");
    secured.proxy.reconfigure("[pool]\ndefault_pool_size = 2");
    secured.proxy.sighup();
    secured.proxy.wait_for_log("pool.default_pool_size: 20 -> 2");
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.sql");
    let sql = "\\set id random(1000000, 1010000)\n\
               INSERT INTO t VALUES (:id, 'bench') ON CONFLICT (user_id) DO UPDATE SET name = 'again';\n\
               SELECT name FROM t WHERE user_id = :id;\n";
    std::fs::write(&script, sql).unwrap();
    let bench = |protocol: &str| {
        Program::of_postgres("pgbench")
            .args([
                "-n",
                "-c",
                "12",
                "-j",
                "2",
                "-t",
                "150",
                "-M",
                protocol,
                "-h",
                "127.0.0.1",
                "-U",
                "app",
                "-p",
            ])
            .arg(secured.proxy.port().to_string())
            .arg("-f")
            .arg(&script)
            .arg("shop")
            .env("PGPASSWORD", "secret")
            .env("PGSSLMODE", "require")
            .env("PGCHANNELBINDING", "require")
            .run()
    };
    for protocol in ["simple", "prepared"] {
        let said = bench(protocol);
        assert!(
            said.said().contains("number of transactions actually processed: 1800/1800"),
            "{}",
            said.stdout
        );
    }
}

#[test]
fn the_last_word_is_encrypted_and_followed_by_a_proper_end() {
    let secured = both("auth = 'trust'");
    let mut client = Cipher::connect(&secured, &[], false).unwrap();
    client.greet().unwrap();
    client.until('Z');
    secured.proxy.sigterm();
    let (_, body) = client.until('E');
    assert!(String::from_utf8_lossy(&body).contains("57P01"));
    // Without close_notify rustls would have other words for it.
    assert_eq!(client.message().unwrap_err().to_string(), "failed to fill whole buffer");
}
