//! Settings that are carried out as the file has them: each seen from outside.

use shardway_tests::{PASSWORD, RawClient, Reply};

use super::{Process, WORLD, usual};
use crate::operation::support::{said, show, soon, value};

#[tokio::test]
async fn a_rule_that_cannot_be_read_is_left_out_and_named() {
    let process = Process::new(
        "[databases]\nshop = host=127.0.0.1 port={port} dbname=shop_0\n\
         [pgbouncer]\nauth_type = hba\nauth_hba_file = {dir}/hba\nauth_file = {dir}/users.txt\n\
         pool_mode = transaction\nadmin_users = admin\n",
    )
    .file("hba", "hots all all 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 md5\n")
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n"))
    .start();
    process.wait_for_log(
        "hba:1:1: expected one of local, host, hostssl, hostnossl, found \"hots\"; the line is left out",
    );
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
    let admin = process.admin().await;
    process.write("hba", "host all app 127.0.0.1/32 rejecct\nhost all all 127.0.0.1/32 md5\n");
    admin.simple_query("RELOAD").await.unwrap();
    process.wait_for_log("hba:1:27: ");
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
    // Without any rule nobody comes in.
    std::fs::remove_file(process.path("hba")).unwrap();
    admin.simple_query("RELOAD").await.unwrap();
    let refused = process.try_connect("app", "shop").await.err().unwrap();
    assert_eq!(said(&refused).1, "login rejected");
}

fn notices(reply: &Reply) -> Vec<String> {
    reply.of('N').filter_map(|notice| notice.field('M')).collect()
}

const QUEUED: &str = "No server connection available in postgres backend, client being queued";

#[tokio::test]
async fn who_waits_for_a_server_is_told_so_after_a_while() {
    let process = usual("default_pool_size = 1\nquery_wait_notify = 1\n").start();
    let mut busy = process.raw("app", "shop").await;
    let mut simple = process.raw("app", "shop").await;
    let mut extended = process.raw("app", "shop").await;
    busy.query("BEGIN; SELECT 1").recv_until_ready().await;
    simple.query("SELECT 1").send().await;
    extended.parse("", "SELECT 2", &[]).bind("", "", &[], &[]).execute("", 0).sync().send().await;
    for client in [&mut simple, &mut extended] {
        let notice = client.recv_until(b'N').await;
        assert_eq!(notices(&notice), [QUEUED]);
    }
    busy.query("COMMIT").recv_until_ready().await;
    for client in [&mut simple, &mut extended] {
        let reply = client.recv_until_ready().await;
        assert_eq!(reply.commands(), ["SELECT 1"]);
        assert!(reply.error().is_none() && notices(&reply).is_empty());
    }
    // Off, nobody is told; nor is who waits because of a PAUSE.
    let admin = process.admin().await;
    admin.simple_query("PAUSE shop").await.unwrap();
    let mut third = process.raw("app", "shop_1").await;
    third.query("SELECT 1").recv_until_ready().await;
    let mut paused = process.raw("app", "shop_1").await;
    admin.simple_query("PAUSE shop_1").await.unwrap();
    paused.query("SELECT 3").send().await;
    soon("a second of waiting", async || {
        let pools = show(&admin, "POOLS").await;
        let waits = |row: &crate::operation::support::Shown| row["maxwait"].parse().unwrap_or(0) >= 2;
        pools.iter().any(|row| row["database"] == "shop_1" && waits(row)).then_some(())
    })
    .await;
    admin.simple_query("RESUME shop_1").await.unwrap();
    assert_eq!(notices(&paused.recv_until_ready().await), [""; 0]);
}

#[tokio::test]
async fn servers_are_reset_in_every_mode_if_they_are_always_to_be() {
    let process = usual(
        "default_pool_size = 1\nserver_reset_query_always = 1\n\
         server_reset_query = INSERT INTO resets VALUES (pg_backend_pid())\n",
    );
    WORLD.shard(0).sql("CREATE TABLE resets (pid int); GRANT ALL ON resets TO PUBLIC");
    let process = process.start();
    let client = process.connect("app", "shop").await;
    assert_eq!(value(&client, "SELECT set_config('application_name', 'mine', false)").await, "mine");
    assert_eq!(value(&client, "SELECT 1").await, "1");
    client.query_one("SELECT $1::int", &[&7]).await.unwrap();
    let other = process.connect("app", "shop").await;
    let count = value(&other, "SELECT count(*) FROM resets").await.parse::<u32>().unwrap();
    assert!(count >= 3, "{count} resets");
    assert_eq!(value(&client, "SHOW application_name").await, "mine", "what was SET is the client's");
}

#[tokio::test]
async fn secrets_of_plain_passwords_have_as_many_rounds_as_is_said_also_those_of_nobody() {
    let process = usual("scram_iterations = 5000\n").start();
    let rounds = async |user: &str| {
        let mut raw = RawClient::connect(process.port()).await;
        raw.startup(&[("user", user), ("database", "shop")]).recv().await;
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        let first = b"n,,n=,r=abcdefghijklmnopqrstuvwx";
        body.extend((first.len() as u32).to_be_bytes());
        body.extend(first);
        let answer = raw.message(b'p', &body).recv().await;
        let text = String::from_utf8_lossy(&answer.body[4..]).into_owned();
        text.rsplit_once("i=").map(|(_, rounds)| rounds.to_owned()).unwrap_or(text)
    };
    assert_eq!((rounds("app").await, rounds("ghost").await), ("5000".to_owned(), "5000".to_owned()));
    let admin = process.admin().await;
    admin.simple_query("SET scram_iterations = 4500").await.unwrap();
    assert_eq!((rounds("app").await, rounds("ghost").await), ("4500".to_owned(), "4500".to_owned()));
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn messages_may_be_no_longer_than_is_said() {
    let process = usual("max_packet_size = 1000\n").start();
    let mut raw = process.raw("app", "shop").await;
    // One row of many bytes is no less than that.
    let reply = raw.query("SELECT repeat('x', 2000)").recv_until_ready().await;
    assert!(reply.error().is_some() && reply.rows().is_empty(), "{reply:?}");
    assert_eq!(raw.query("SELECT repeat('x', 900)").recv_until_ready().await.commands(), ["SELECT 1"]);
    let long = format!("SELECT '{}'", "x".repeat(2000));
    raw.parse("", "SELECT 1", &[]).parse("", &long, &[]).sync().send().await;
    let ended = raw.expect_closed().await;
    let message = ended.error().and_then(|error| error.field('M')).unwrap();
    assert!(message.starts_with("bad packet header: '50"), "{message}");
}

#[tokio::test]
async fn servers_that_are_to_be_closed_stay_to_the_sessions_end_unless_they_are_closed_fast() {
    let process = usual("").start();
    process.edit("pool_mode = transaction", "pool_mode = session");
    let admin = process.admin().await;
    admin.simple_query("RELOAD").await.unwrap();
    let client = process.connect("app", "shop").await;
    let pid = value(&client, "SELECT pg_backend_pid()").await;
    admin.simple_query("RECONNECT shop").await.unwrap();
    assert_eq!(value(&client, "SELECT pg_backend_pid()").await, pid);
    process.edit("dbname=shop_0", "dbname=shop_1");
    admin.simple_query("RELOAD").await.unwrap();
    assert_eq!(
        value(&client, "SELECT pg_backend_pid()").await,
        pid,
        "also where they are configured no more"
    );
    let other = process.connect("app", "shop").await;
    assert_eq!(value(&other, "SELECT current_database()").await, "shop_1");
    drop(other);
    admin.simple_query("SET server_fast_close = 1").await.unwrap();
    soon("its end", async || client.is_closed().then_some(())).await;
}

#[tokio::test]
async fn a_pool_that_nobody_needs_is_forgotten() {
    let process = usual("pool_idle_timeout = 0.5\nserver_idle_timeout = 0.2\n").start();
    let admin = process.admin().await;
    let client = process.connect("app", "shop").await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let pools = async || show(&admin, "POOLS").await.iter().filter(|row| row["database"] == "shop").count();
    assert_eq!(pools().await, 1);
    drop(client);
    soon("it to be forgotten", async || (pools().await == 0).then_some(())).await;
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
}
