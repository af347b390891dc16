//! RELOAD and SIGHUP read the file again, with what it includes; what is wrong with it, and what is not carried out.

use std::process::Command;

use shardway_tests::{PASSWORD, shardway_program};

use super::{Process, usual};
use crate::operation::support::{show, soon, value};

#[tokio::test]
async fn a_reload_takes_databases_users_and_settings_on() {
    let process = usual("").start();
    let admin = process.admin().await;
    let client = process.connect("app", "shop").await;
    process.edit("shop_1 = host", "second = dbname=shop_1 host");
    process.edit("pool_mode = transaction", "pool_mode = transaction\ndefault_pool_size = 5");
    process.write(
        "users.txt",
        &format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n\"md5user\" \"{PASSWORD}\"\n"),
    );
    process.signal(libc::SIGHUP);
    process.wait_for_log("default_pool_size: 20 -> 5");
    assert_eq!(
        value(&process.connect("md5user", "second").await, "SELECT current_database()").await,
        "shop_1"
    );
    assert!(process.try_connect("app", "shop_1").await.is_err());
    assert_eq!(value(&client, "SELECT current_database()").await, "shop_0", "who was in goes on");
    assert!(
        show(&admin, "DATABASES").await.iter().any(|row| row["name"] == "second" && row["pool_size"] == "5")
    );
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing() {
    let process = usual("").start();
    let admin = process.admin().await;
    process.edit("pool_mode = transaction", "pool_mode = transactional");
    let error = admin.simple_query("RELOAD").await.err().unwrap();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "RELOAD failed, see logs for additional details");
    let hint = error.hint().unwrap();
    assert!(hint.contains("pgbouncer.ini:") && hint.contains("transactional"), "{hint}");
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn what_is_included_is_read_and_read_again() {
    let process = Process::new(&format!("%include {{dir}}/databases.ini\n[pgbouncer]\n{}", super::USUAL))
        .file("databases.ini", "[databases]\nfirst = host=127.0.0.1 port={port} dbname=shop_0\n")
        .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n"))
        .start();
    assert_eq!(value(&process.connect("app", "first").await, "SELECT 1").await, "1");
    process.write("databases.ini", "[databases]\nsecond = host=127.0.0.1 port={port} dbname=shop_1\n");
    process.admin().await.simple_query("RELOAD").await.unwrap();
    soon("the other database", async || process.try_connect("app", "second").await.ok()).await;
    assert!(process.try_connect("app", "first").await.is_err());
}

#[test]
fn what_is_not_carried_out_is_named_in_one_warning() {
    let process = usual("peer_id = 1\npkt_buf = 8192\ndns_max_ttl = 3\n[peers]\n1 = host=/tmp\n").start();
    let line = process.wait_for_log("WARN");
    for what in ["peer_id", "pkt_buf", "dns_max_ttl", "[peers]"] {
        assert!(line.contains(what), "{what} in {line}");
    }
    assert_eq!(process.log().matches("WARN").count(), 1, "{}", process.log());
}

#[test]
fn a_file_is_checked_without_being_served() {
    let check = |process: &Process| {
        let mut command = Command::new(shardway_program());
        let output = command.args(["check", "--pgbouncer"]).arg(process.ini()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let process = usual("");
    assert_eq!(check(&process), (Some(0), "the configuration is valid\n".to_owned()));
    process.edit("auth_type = scram-sha-256", "auth_typ = scram-sha-256");
    let (code, told) = check(&process);
    assert_eq!(code, Some(1));
    assert!(told.contains("did you mean \"auth_type\"?"), "{told}");
    let (code, served) = (process.output(&[]).status.code(), process.output(&[]).stderr);
    assert_eq!((code, String::from_utf8(served).unwrap()), (Some(1), told));
}
