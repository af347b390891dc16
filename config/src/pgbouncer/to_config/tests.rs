use std::path::PathBuf;

use super::*;
use crate::model::{AuthMethod, PoolMode, Secret};
use crate::pgbouncer::testing::{read, read_in};

#[test]
fn an_entry_is_a_database_of_one_shard() {
    let config =
        read("[databases]\nshop = host=10.0.0.1 port=6000 dbname=real user=u password=p\n").to_config();
    let database = &config.databases[0];
    assert_eq!((database.name.as_str(), database.user.as_deref()), ("shop", Some("u")));
    assert_eq!(database.password.as_ref().map(Secret::expose), Some("p"));
    assert_eq!((database.groups.len(), database.groups[0].keys.len()), (1, 0));
    let shards = &database.groups[0].shards;
    assert_eq!((shards.len(), shards[0].primary.to_string()), (1, "10.0.0.1:6000/real".to_owned()));
    assert!(shards[0].replicas.is_empty());
}

#[test]
fn a_server_without_a_host_is_at_the_unix_socket_and_has_the_clients_name() {
    let config = read("[databases]\nfoo =\nbar = host=/other\n").to_config();
    let shown: Vec<String> =
        config.databases.iter().map(|database| database.groups[0].shards[0].primary.to_string()).collect();
    assert_eq!(shown, ["/run:5432/foo", "/other:5432/bar"]);
}

#[test]
fn what_one_endpoint_cannot_hold_is_left_out_as_a_whole() {
    assert!(read("[databases]\na = host=x,y\nb = host=@x\n* = host=x\n").to_config().databases.is_empty());
    assert!(read("unix_socket_dir=\n[databases]\na =\n").to_config().databases.is_empty());
}

fn with_users(text: &str) -> Config {
    let users = "\"a\" \"plain\"\n\"b\" \"md5d41d8cd98f00b204e9800998ecf8427e\"\n\"c\" \"\"\n";
    read_in(&[("p.ini", &format!("[pgbouncer]\nauth_file = u\n{text}")), ("u", users)]).unwrap().to_config()
}

#[test]
fn users_come_from_both_files() {
    let users =
        with_users("[users]\nb = pool_size=3 pool_mode=statement max_user_connections=4\nd = pool_size=5\n")
            .users;
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let known: Vec<bool> = users.iter().map(|user| user.password.is_some()).collect();
    assert_eq!(known, [true, true, false, false]);
    let b = &users[1];
    assert_eq!((b.pool_mode, b.pool_size, b.max_connections), (Some(PoolMode::Statement), 3, 4));
    assert_eq!(users[3].pool_size, 5);
}

#[test]
fn a_forced_users_password_is_looked_up_where_it_is_plain() {
    let databases = with_users("[databases]\nx = user=a\ny = user=b\nz = user=a password=own\n").databases;
    let passwords: Vec<Option<&str>> =
        databases.iter().map(|database| database.password.as_ref().map(Secret::expose)).collect();
    assert_eq!(passwords, [Some("plain"), None, Some("own")]);
}

#[test]
fn under_any_no_name_is_known_so_that_each_will_do() {
    let config = read("[users]\na = pool_size=1\n").to_config();
    assert_eq!((config.server.auth, config.users.len()), (AuthMethod::Trust, 0));
}

#[test]
fn it_listens_where_pgbouncer_would() {
    let listen = |text: &str| read(text).to_config().server.listen;
    let tcp = |host: &str, port| Listen::Tcp { host: host.into(), port };
    assert_eq!(
        listen("listen_addr = a, ::1 ,*\nlisten_port = 7\n"),
        [tcp("a", 7), tcp("::1", 7), tcp("*", 7), Listen::Unix("/run".into())]
    );
    assert_eq!(listen("unix_socket_dir =\n"), [tcp("*", 6432)]);
    assert_eq!(listen("listen_addr =\n"), [Listen::Unix(PathBuf::from("/run"))]);
    assert_eq!(read("").to_config().server.http, None);
}

#[test]
fn the_query_for_secrets_is_there_with_its_user_alone() {
    let query = |text: &str| read(text).to_config().server.auth_query;
    assert_eq!(query("auth_query = select 1\n"), None);
    assert_eq!(query("auth_query = select 1\nauth_user = u\n").as_deref(), Some("select 1"));
}

#[test]
fn a_zero_that_means_always_does_not_turn_into_never() {
    let pool =
        read("server_lifetime = 0\nserver_check_delay = 0\nserver_idle_timeout = 0\n").to_config().pool;
    assert_eq!(pool.server_lifetime, Duration::from_micros(1));
    assert_eq!(pool.server_check_delay, Duration::from_micros(1));
    assert_eq!(pool.server_idle_timeout, Duration::ZERO);
}

#[test]
fn what_pgbouncer_has_no_word_for_is_as_in_a_file_that_says_nothing() {
    let config = read("").to_config();
    let plain = crate::testing::config("");
    assert_eq!((config.routing, config.cache), (plain.routing, plain.cache));
    assert_eq!(config.server.shutdown_timeout, plain.server.shutdown_timeout);
}

#[test]
fn prefer_is_allow_towards_clients() {
    let server =
        read("client_tls_sslmode=prefer\nclient_tls_cert_file=c\nclient_tls_key_file=k\n").to_config().server;
    assert_eq!(
        (server.tls, server.tls_cert, server.tls_key),
        (TlsMode::Allow, Some("c".into()), Some("k".into()))
    );
}
