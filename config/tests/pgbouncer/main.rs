//! A `pgbouncer.ini` as an operator has it, read from the disk; and files of any kind at all, none of which may make
//! the reader panic. All through the public API.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use shardway_config::pgbouncer::{self, AuthType, CheckQuery, Disk, Host, Pgbouncer, SocketDir, SocketMode};
use shardway_config::{AuthMethod, Config, Listen, PoolMode, Problem, Problems, Secret, TlsMode};

/// Tests run in the package's directory, which is what its relative paths start from.
fn operators() -> Pgbouncer {
    pgbouncer::read(Path::new("tests/pgbouncer/pgbouncer.ini"), &Disk)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn database(name: &str) -> pgbouncer::Database {
    let found = operators().databases.into_iter().find(|database| database.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn shown(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n").replace("tests/pgbouncer/", "")
}

#[test]
fn every_database_is_there_with_those_of_included_files() {
    let found = operators();
    let names: Vec<&str> = found.databases.iter().map(|database| database.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "shop",
            "reports",
            "accounts",
            "auth",
            "legacy",
            "local",
            "shop (staging)",
            "tenant_0001",
            "tenant_0002",
            "tenant_0003"
        ]
    );
    assert_eq!(found.fallback.and_then(|fallback| fallback.pool_size), Some(3));
}

#[test]
fn databases_say_what_they_say() {
    let shop = database("shop");
    assert_eq!((shop.hosts, shop.port), (vec![Host::Name("10.20.0.11".into())], 5432));
    assert_eq!(shop.password.as_ref().map(Secret::expose), Some("p w'1"));
    assert_eq!((shop.pool_size, shop.min_pool_size, shop.reserve_pool_size), (Some(40), Some(5), Some(10)));
    assert_eq!(shop.pool_mode, Some(PoolMode::Transaction));
    let reports = database("reports");
    assert_eq!((reports.hosts.len(), reports.server_lifetime), (2, Some(Duration::from_secs(1200))));
    assert_eq!(reports.connect_query.as_deref(), Some("SET statement_timeout = '10min'"));
    assert_eq!(database("accounts").auth_dbname.as_deref(), Some("auth"));
    let legacy = database("legacy");
    assert_eq!(legacy.hosts, [Host::Directory("/var/run/postgresql".into())]);
    assert_eq!((legacy.datestyle.as_deref(), legacy.dbname), (Some("ISO, DMY"), None));
}

#[test]
fn settings_say_what_they_say() {
    let settings = operators().settings;
    let listening = &settings.listening;
    assert_eq!(listening.addresses().collect::<Vec<_>>(), ["10.20.0.5", "::1"]);
    assert_eq!((listening.listen_port, listening.unix_socket_mode), (6543, SocketMode(0o770)));
    assert_eq!(listening.unix_socket_dir, SocketDir::Directory("/var/run/pgbouncer-1".into()));
    assert_eq!(settings.auth.auth_type, AuthType::Hba);
    assert_eq!(settings.pooling.server_idle_timeout, Duration::from_millis(300_500));
    assert_eq!(settings.pooling.server_check_query, CheckQuery::Sql("select 1".into()));
    assert!(settings.pooling.server_round_robin && settings.serving.application_name_add_host);
    assert_eq!(settings.serving.ignore_startup_parameters.iter().count(), 2);
    assert_eq!(settings.tls.client_tls_sslmode, TlsMode::Prefer);
    assert!(settings.tls.client_tls_protocols.tls12 && !settings.tls.client_tls_protocols.old);
    assert_eq!((settings.network.tcp_user_timeout, settings.network.tcp_keepidle), (30_000, 60));
}

#[test]
fn only_what_can_have_no_effect_is_warned_of() {
    assert_eq!(
        shown(&operators().warnings),
        "pgbouncer.ini:92:22: client_tls_ciphers has no effect: the TLS library has no weak ciphers or curves to \
         choose from\n\
         pgbouncer.ini:107:11: pkt_buf has no effect: buffers are lent as they are needed\n\
         pgbouncer.ini:115:15: dns_max_ttl has no effect: names are resolved as the system does it, for each \
         connection anew\n\
         pgbouncer.ini:116:20: dns_nxdomain_ttl has no effect: names are resolved as the system does it, for each \
         connection anew"
    );
}

#[test]
fn the_configuration_holds_what_it_can() {
    let config: Config = operators().to_config();
    assert_eq!(config.server.listen.len(), 3);
    assert_eq!(config.server.listen[1], Listen::Tcp { host: "::1".into(), port: 6543 });
    assert_eq!(
        (config.server.auth, config.server.hba.map(|hba| hba.rules().len())),
        (AuthMethod::Hba, Some(3))
    );
    assert_eq!(config.server.admin_users, ["postgres", "shop_admin"]);
    assert_eq!(config.pool.default_pool_size, 25);
    assert_eq!((config.pool.mode, config.pool.server_tls), (PoolMode::Transaction, TlsMode::VerifyCa));
    let databases: Vec<String> = config
        .databases
        .iter()
        .map(|database| format!("{}={}", database.name, database.groups[0].shards[0].primary))
        .collect();
    assert_eq!(databases.len(), 10);
    assert_eq!(databases[1], "reports=10.20.0.12,10.20.0.13:5432/shop");
    assert_eq!(databases[5], "local=/var/run/pgbouncer-1:5432/local");
    let other = config.fallback.expect("there is a fallback").named("other");
    assert_eq!(other.groups[0].shards[0].primary.to_string(), "old.internal:5432/other");
    let users: Vec<&str> = config.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, ["shop_admin", "telegraf", "lookup", "batch", "postgres"]);
    assert_eq!(config.users[2].password.as_ref().map(Secret::expose), Some("look \"up\""));
    assert_eq!(
        (config.users[0].limits.pool_mode, config.users[0].limits.max_connections),
        (Some(PoolMode::Session), Some(5))
    );
}

#[test]
fn what_it_cannot_hold_is_named() {
    let beyond = shown(&operators().beyond_config());
    let lines: Vec<&str> = beyond.lines().collect();
    assert_eq!(
        &lines[..2],
        ["pgbouncer.ini:25:1: [peers]: the whole entry", "pgbouncer.ini:39:11: [pgbouncer]: peer_id",]
    );
    assert!(!beyond.contains("tcp_user_timeout") && !beyond.contains("database "), "{beyond}");
}

#[test]
fn what_is_shown_reads_back_as_the_same_settings() {
    let settings = operators().settings;
    let row = |row: pgbouncer::Row| row.value.map(|value| format!("{} = {value}\n", row.key));
    let text: String = settings.rows().into_iter().filter_map(row).collect();
    let files = ["tests/pgbouncer/hba.conf", "tests/pgbouncer/userlist.txt"];
    let mut files: HashMap<PathBuf, Vec<u8>> =
        files.iter().map(|path| (PathBuf::from(path), std::fs::read(path).expect("a fixture"))).collect();
    files.insert("p.ini".into(), format!("[pgbouncer]\n{text}").into_bytes());
    let again = pgbouncer::read(Path::new("p.ini"), &files).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(again.settings, settings);
}

/// Reads bytes as the main file, as an included one, as `auth_file` and as the rules.
fn read_everywhere(bytes: &[u8]) -> Vec<Result<Pgbouncer, Problems>> {
    let mains: [&[u8]; 3] = [
        bytes,
        b"[pgbouncer]\nauth_type=any\n[databases]\n%include x\n",
        b"[pgbouncer]\nauth_type=hba\nauth_file=x\nauth_hba_file=x\nauth_ident_file=x\n",
    ];
    let read = |main: &&[u8]| {
        let files = HashMap::from([(PathBuf::from("x"), bytes.to_vec()), ("p.ini".into(), main.to_vec())]);
        pgbouncer::read(Path::new("p.ini"), &files)
    };
    mains.iter().map(read).collect()
}

/// Uses everything that a file may have led to.
fn use_up(read: Vec<Result<Pgbouncer, Problems>>) {
    for result in read {
        match result {
            Ok(found) => {
                found.to_config();
                found.beyond_config();
                found.settings.rows();
            }
            Err(problems) => assert!(!problems.as_slice().is_empty()),
        }
    }
}

/// What files are made of, so that random ones go far.
fn lines() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "[pgbouncer]",
        "[databases]",
        "[users]",
        "[peers]",
        "%include x",
        "%include p.ini",
        "a",
        "*",
        "\"q",
        "\"q\"\"r\"",
        "host",
        "port",
        "pool_size",
        "pool_mode",
        "auth_type",
        "query_timeout",
        "listen_addr",
        "unix_socket_dir",
        "user",
        "=",
        " = ",
        "'",
        "''",
        "\"",
        " ",
        "\t",
        ",",
        ";",
        "#",
        "@",
        "/",
        "0",
        "-1",
        "0x",
        "1e9",
        "99999999999999999999",
        "any",
        "session",
        "ß",
        "\u{2028}",
        "\0",
        "\u{fffd}",
        "\r",
        "\n",
        "\n",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        use_up(read_everywhere(&bytes));
    }

    #[test]
    fn no_lines_make_it_panic(text in lines()) {
        use_up(read_everywhere(text.as_bytes()));
        use_up(read_everywhere(format!("[pgbouncer]\nauth_type=any\n[databases]\na={text}").as_bytes()));
    }

    #[test]
    fn no_value_makes_set_panic_and_what_is_set_stays_valid(at in 0..200_usize, value in "\\PC{0,20}|[-+0-9.eEx]{0,12}") {
        let mut settings = pgbouncer::Settings::default();
        let rows = settings.rows();
        let key = rows[at % rows.len()].key;
        let before = settings.clone();
        match settings.set(key, &value) {
            Err(_) => prop_assert_eq!(&settings, &before),
            Ok(()) => {
                let shown = settings.row(key).and_then(|row| row.value).unwrap_or_default();
                settings.set(key, &shown).expect("what is shown can be set");
            }
        }
    }
}
