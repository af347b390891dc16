use std::path::PathBuf;

use super::*;
use crate::model::{AuthMethod, Origin, PoolMode, Secret};
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

fn shown(config: &Config) -> Vec<String> {
    config.databases.iter().map(|database| database.groups[0].shards[0].primary.to_string()).collect()
}

#[test]
fn several_hosts_are_equals_that_take_turns_unless_told_otherwise() {
    let config =
        read("[databases]\na = host=x,/run,@y\nb = host=x,y load_balance_hosts=disable\n").to_config();
    assert_eq!(shown(&config), ["x,/run,@y:5432/a", "x,y:5432/b"]);
    let balances = |at: usize| config.databases[at].groups[0].shards[0].primary.balances;
    assert_eq!((balances(0), balances(1)), (true, false));
}

#[test]
fn a_database_whose_server_is_nowhere_is_left_out() {
    assert!(read("unix_socket_dir=\n[databases]\na =\n").to_config().databases.is_empty());
}

#[test]
fn the_fallback_makes_a_database_of_any_name() {
    let config = read("autodb_idle_timeout=7\n[databases]\n* = host=x pool_size=3\n").to_config();
    assert!(config.databases.is_empty());
    let fallback = config.fallback.unwrap();
    assert_eq!(fallback.idle_timeout, Duration::from_secs(7));
    let made = fallback.named("foo");
    assert_eq!((made.name.as_str(), made.origin, made.limits.pool_size), ("foo", Origin::Fallback, Some(3)));
    assert_eq!(made.groups[0].shards[0].primary.to_string(), "x:5432/foo");
    let one = read("[databases]\n* = host=x dbname=real\n").to_config().fallback.unwrap();
    assert_eq!(one.named("foo").groups[0].shards[0].primary.to_string(), "x:5432/real");
}

#[test]
fn what_servers_are_asked_for_is_what_clients_begin_with() {
    let config = read("[databases]\na = host=x timezone=UTC client_encoding=latin1\n").to_config();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(config.databases[0].parameters, [pair("client_encoding", "latin1"), pair("TimeZone", "UTC")]);
}

#[test]
fn sockets_are_as_pgbouncers() {
    let sockets = |text: &str| read(text).to_config().server.sockets;
    let usual = sockets("");
    assert!(!usual.so_reuseport && usual.tcp_defer_accept && usual.tcp.keepalive.is_some());
    assert_eq!((usual.listen_backlog, usual.unix_socket_mode), (128, 0o777));
    let other = sockets(
        "so_reuseport=1\nlisten_backlog=9\nunix_socket_mode=0700\nunix_socket_group=g\ntcp_keepalive=0\n\
         tcp_user_timeout=1500\ntcp_defer_accept=0\n",
    );
    assert!(other.so_reuseport && !other.tcp_defer_accept && other.tcp.keepalive.is_none());
    assert_eq!((other.listen_backlog, other.unix_socket_mode), (9, 0o700));
    assert_eq!(other.tcp.user_timeout, Duration::from_millis(1500));
    assert_eq!(other.unix_socket_group.as_deref(), Some("g"));
}

#[test]
fn a_setting_can_be_changed_as_if_the_file_said_so() {
    let before = read("[databases]\na = host=x\n");
    let files = crate::pgbouncer::testing::files(&[]);
    let after = before.set("default_pool_size", "7", &files).unwrap();
    assert_eq!(after.pool.default_pool_size, 7);
    assert_eq!(after.pgbouncer.unwrap().settings.pooling.default_pool_size, 7);
    assert!(before.set("listen_port", "7", &files).is_err());
    let refused = before.set("auth_type", "hba", &files).unwrap_err();
    assert!(refused.contains("auth_type hba needs auth_hba_file"), "{refused}");
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
    let limits = &b.limits;
    let own = (limits.pool_mode, limits.pool_size, limits.max_connections);
    assert_eq!(own, (Some(PoolMode::Statement), Some(3), Some(4)));
    assert_eq!(users[3].limits.pool_size, Some(5));
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
    assert_eq!((config.server.auth, config.users.len()), (AuthMethod::Any, 0));
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
    let query = |text: &str| read(text).to_config().server.lookup.auth_query;
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
    assert!(config.server.shutdown_timeout.is_zero());
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
