//! `[databases]`: names, hosts, forced users, the fallback.

use std::net::TcpListener;

use shardway_tests::{PASSWORD, eventually};

use super::{Process, WORLD, process::connect, usual};
use crate::operation::support::{lines, said, show, soon, value};

#[tokio::test]
async fn every_entry_is_a_database() {
    let process = usual("").start();
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT current_database()").await, "shop_0");
    assert_eq!(value(&process.connect("app", "shop_1").await, "SELECT current_database()").await, "shop_1");
    let refused = process.try_connect("app", "other").await.err().unwrap();
    assert_eq!(said(&refused), ("3D000".to_owned(), "no such database: other".to_owned()));
    assert!(!process.log().contains("WARN"), "{}", process.log());
}

#[tokio::test]
async fn the_servers_hear_of_nothing_but_clients() {
    let process = usual("").start();
    let client = process.connect("app", "shop_1").await;
    let own =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop_1' AND application_name = 'shardway'";
    assert_eq!(value(&client, own).await, "0");
    // Tables need not be known, nor the statements that they are in.
    assert_eq!(value(&client, "SELECT count(*) FROM t WHERE id = 1 OR name LIKE 'x%'").await, "0");
    assert_eq!(lines(&client, "SELECT 1; SELECT 2").await, ["1", "2"]);
}

#[tokio::test]
async fn a_forced_user_is_who_everybody_is_on_the_server() {
    let process = Process::new(&format!(
        "[databases]\na = host=127.0.0.1 port={{port}} dbname=shop_0 user=md5user password={PASSWORD}\n\
         b = host=127.0.0.1 port={{port}} dbname=shop_0 user=md5user\n\
         [pgbouncer]\nauth_type = md5\nauth_file = {{dir}}/users.txt\npool_mode = transaction\n"
    ))
    // md5 of the password and the name: it opens servers that ask for md5.
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"md5user\" \"{}\"\n", md5("md5user")))
    .start();
    for database in ["a", "b"] {
        let client = process.connect("app", database).await;
        assert_eq!(value(&client, "SELECT current_user").await, "md5user", "{database}");
    }
}

/// The stored form of [`PASSWORD`].
fn md5(user: &str) -> String {
    let sql = format!("SELECT 'md5' || md5('{PASSWORD}' || '{user}')");
    WORLD.server(0).sql("postgres", &sql).unwrap()
}

fn with_fallback(settings: &str) -> Process {
    Process::new(&format!(
        "[databases]\nshop = host=127.0.0.1 port={{port}} dbname=shop_0\n* = host=127.0.0.1 port={{port}} pool_size=3\n\
         [pgbouncer]\nauth_type = md5\nauth_file = {{dir}}/users.txt\nadmin_users = admin\npool_mode = transaction\n{settings}"
    ))
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n"))
    .start()
}

#[tokio::test]
async fn the_fallback_makes_databases_of_names_that_clients_ask_for() {
    let process = with_fallback("");
    let first = process.connect("app", "shop_1").await;
    assert_eq!(value(&first, "SELECT current_database()").await, "shop_1");
    let second = process.connect("app", "shop_1").await;
    assert_eq!(value(&second, "SELECT current_database()").await, "shop_1");
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT current_database()").await, "shop_0");
    let admin = process.admin().await;
    let databases = show(&admin, "DATABASES").await;
    let made = databases.iter().find(|row| row["name"] == "shop_1").expect("it is listed");
    assert_eq!((made["database"].as_str(), made["pool_size"].as_str()), ("shop_1", "3"));
    // The server has the last word.
    let refused = process.try_connect("app", "nowhere").await.err().unwrap();
    assert!(said(&refused).1.ends_with("database \"nowhere\" does not exist"), "{refused:?}");
}

#[tokio::test]
async fn a_stranger_makes_no_database() {
    let process = with_fallback("");
    let wrong = process.client_config("app", "shop_1").password("wrong").to_owned();
    assert!(connect(&wrong).await.is_err());
    let names: Vec<_> = show(&process.admin().await, "DATABASES").await;
    assert!(names.iter().all(|row| row["name"] != "shop_1"));
}

#[tokio::test]
async fn a_database_that_nobody_uses_is_forgotten() {
    let process = with_fallback("autodb_idle_timeout = 1\nserver_idle_timeout = 1\n");
    let client = process.connect("app", "shop_1").await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    let admin = process.admin().await;
    let is_listed = async || show(&admin, "DATABASES").await.iter().any(|row| row["name"] == "shop_1");
    assert!(is_listed().await);
    drop(client);
    soon("it to be forgotten", async || (!is_listed().await).then_some(())).await;
    assert_eq!(value(&process.connect("app", "shop_1").await, "SELECT 2").await, "2");
}

#[tokio::test]
async fn what_the_fallback_made_stays_over_a_reload_and_becomes_what_the_file_says() {
    let process = with_fallback("");
    let client = process.connect("app", "shop_1").await;
    assert_eq!(value(&client, "SELECT current_database()").await, "shop_1");
    let admin = process.admin().await;
    process.edit("pool_size=3", "pool_size=4");
    admin.simple_query("RELOAD").await.unwrap();
    let size = async || {
        let databases = show(&admin, "DATABASES").await;
        databases.iter().find(|row| row["name"] == "shop_1").map(|row| row["pool_size"].clone())
    };
    assert_eq!(size().await.as_deref(), Some("4"));
    assert_eq!(value(&client, "SELECT current_database()").await, "shop_1");
    // Without the fallback there is no such database any more.
    process.edit("* = host=127.0.0.1", "other = host=127.0.0.1");
    admin.simple_query("RELOAD").await.unwrap();
    assert_eq!(size().await, None);
    soon("the client to be closed", async || client.simple_query("SELECT 1").await.err()).await;
}

#[tokio::test]
async fn of_several_hosts_the_next_one_is_tried_where_one_is_down() {
    let dead = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = WORLD.server(0).port();
    drop(dead);
    // Nobody listens on the server's port at this address.
    let process = Process::new(&format!(
        "[databases]\na = host=127.0.0.2,127.0.0.1 port={port} dbname=shop_0 pool_size=4\n\
         b = host=127.0.0.2,127.0.0.1 port={port} dbname=shop_1 load_balance_hosts=disable\n\
         [pgbouncer]\nauth_type = trust\nauth_file = {{dir}}/users.txt\npool_mode = transaction\n"
    ))
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n"))
    .start();
    for database in ["a", "b"] {
        for _ in 0..3 {
            let client = process.connect("app", database).await;
            assert_eq!(value(&client, "SELECT 1").await, "1");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_none_of_those_that_will_do_is_passed_over() {
    let process = Process::new(
        "[databases]\nw = host=127.0.0.2,127.0.0.1 port={port} dbname=shop_0 target_session_attrs=read-write\n\
         p = host=127.0.0.1 port={port} dbname=shop_0 target_session_attrs=primary\n\
         s = host=127.0.0.1 port={port} dbname=shop_0 target_session_attrs=standby\n\
         [pgbouncer]\nauth_type = trust\nauth_file = {dir}/users.txt\npool_mode = transaction\n",
    )
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n"))
    .start();
    for database in ["w", "p"] {
        assert_eq!(value(&process.connect("app", database).await, "SELECT 1").await, "1");
    }
    let refused = process.try_connect("app", "s").await.err().unwrap();
    assert!(said(&refused).1.ends_with("it is not what target_session_attrs asks for"), "{refused:?}");
}

#[tokio::test]
async fn servers_without_a_host_are_at_the_unix_socket() {
    let server = WORLD.server(0);
    let socket = eventually("the server's socket", || {
        let directory = server.sql("postgres", "SHOW unix_socket_directories").unwrap();
        (!directory.is_empty()).then_some(directory)
    });
    let process = Process::new(&format!(
        "[databases]\na = host={socket} port={{port}} dbname=shop_0\n\
         [pgbouncer]\nauth_type = trust\nauth_file = {{dir}}/users.txt\npool_mode = transaction\n"
    ))
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n"))
    .start();
    let client = process.connect("app", "a").await;
    assert_eq!(value(&client, "SELECT inet_server_addr() IS NULL").await, "t");
}

#[tokio::test]
async fn a_database_says_what_clients_begin_with() {
    let process = Process::new(&format!(
        "[databases]\na = host=127.0.0.1 port={{port}} dbname=shop_0 timezone=Asia/Tokyo application_name=own \
         datestyle=German connect_query='SET work_mem=1234'\n\
         [pgbouncer]\n{}ignore_startup_parameters = extra_float_digits\nlogin_notify_message = hello\n",
        super::USUAL
    ))
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n"))
    .start();
    let client = process.connect("app", "a").await;
    assert_eq!(value(&client, "SHOW timezone").await, "Asia/Tokyo");
    assert_eq!(value(&client, "SHOW application_name").await, "own");
    assert_eq!(value(&client, "SELECT '2020-02-03'::date").await, "03.02.2020");
    let mut other = process.client_config("app", "a");
    other.application_name("mine").options("-c extra_float_digits=3");
    let client = connect(&other).await.unwrap();
    assert_eq!(value(&client, "SHOW application_name").await, "mine");
    assert_eq!(value(&client, "SHOW extra_float_digits").await, "1");
}
