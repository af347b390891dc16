//! The contract file loads as it stands, its values are the defaults, and hostile files are refused without a
//! panic. All through the public API.

use std::collections::HashMap;
use std::time::Duration;

use shardway_config::{
    AuthLookup, AuthMethod, CacheRule, ChangeStream, Config, Listen, LogFormat, PoolMode, Problems,
    ReadYourWrites, Secret, ShardFunction, Source, TableKind, TableName, TlsMode, UnlistedTables, diff, load,
};

const CONTRACT: &str = include_str!("contract.toml");

fn load_text(text: &str) -> Result<Config, Problems> {
    load(&Source::Text { name: "shardway.toml".into(), text: text.into() }, &HashMap::new())
}

fn contract() -> Config {
    load_text(CONTRACT).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_contracts_sections_are_the_defaults() {
    let from = CONTRACT.find("[[users]]").expect("an example user");
    let rule = CONTRACT.find("[[cache.rules]]").expect("an example rule");
    let written = contract();
    let defaults = load_text(&CONTRACT[from..]).expect("valid without its first sections");
    assert!(rule < from);
    let changes: Vec<String> = diff(&defaults, &written).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["cache.rules.CatalogModule: added"]);
}

#[test]
fn the_servers_values_are_the_contracts() {
    let server = contract().server;
    assert_eq!(server.listen, [Listen::Tcp { host: "127.0.0.1".into(), port: 6432 }]);
    assert_eq!(server.http.as_deref(), Some("127.0.0.1:9632"));
    assert_eq!(
        (server.auth, server.tls, server.log_format),
        (AuthMethod::Scram, TlsMode::Disable, LogFormat::Text)
    );
    assert_eq!((server.worker_threads, server.max_client_conn), (0, 10_000));
    assert_eq!(server.client_login_timeout, Duration::from_secs(60));
    assert_eq!(server.shutdown_timeout, Duration::from_secs(60));
    assert_eq!((server.hba_file, server.lookup), (None, AuthLookup::default()));
    assert_eq!((server.tls_cert, server.tls_key, server.tls_client_ca), (None, None, None));
    assert!(server.admin_users.is_empty() && server.stats_users.is_empty() && server.audit_log.is_none());
}

#[test]
fn the_pools_values_are_the_contracts() {
    let pool = contract().pool;
    assert_eq!((pool.mode, pool.server_tls), (PoolMode::Transaction, TlsMode::Prefer));
    assert_eq!((pool.default_pool_size, pool.min_pool_size, pool.reserve_pool_size), (20, 0, 0));
    assert_eq!(
        (pool.max_db_connections, pool.max_user_connections, pool.max_prepared_statements),
        (0, 0, 200)
    );
    assert_eq!(pool.server_reset_query, "DISCARD ALL");
    assert_eq!(pool.server_tls_ca, None);
    let seconds = [
        (pool.reserve_pool_timeout, 5),
        (pool.server_lifetime, 3600),
        (pool.server_idle_timeout, 600),
        (pool.server_connect_timeout, 15),
        (pool.server_login_retry, 15),
        (pool.server_check_delay, 30),
        (pool.query_timeout, 0),
        (pool.query_wait_timeout, 120),
        (pool.cancel_wait_timeout, 10),
        (pool.client_idle_timeout, 0),
        (pool.idle_transaction_timeout, 0),
        (pool.transaction_timeout, 0),
    ];
    for (index, (found, expected)) in seconds.into_iter().enumerate() {
        assert_eq!(found, Duration::from_secs(expected), "duration {index}");
    }
}

#[test]
fn the_routings_and_the_caches_values_are_the_contracts() {
    let Config { routing, cache, .. } = contract();
    assert!(routing.two_phase_commit && routing.replica_reads && !cache.enabled);
    assert_eq!((routing.scatter_parallelism, routing.gather_max_bytes), (0, 256 << 20));
    assert_eq!(routing.replica_max_lag, Duration::from_secs(10));
    assert_eq!(routing.health_check_interval, Duration::from_secs(5));
    assert_eq!(routing.read_your_writes, ReadYourWrites::Lsn);
    assert_eq!(routing.unlisted_tables, UnlistedTables::Reference);
    assert_eq!(
        (cache.l1_max_bytes, cache.l1_max_entries, cache.max_entry_bytes),
        (64 << 20, 10_000, 1 << 20)
    );
    assert_eq!((cache.ttl, cache.time_to_idle), (Duration::from_secs(3600), Duration::from_secs(1800)));
    assert_eq!((cache.redis_url, cache.change_stream), (None, ChangeStream::Off));
    let table = TableName { schema: None, name: "CatalogModule".into() };
    assert_eq!(cache.rules, [CacheRule { table, ttl: Some(Duration::from_secs(24 * 3600)) }]);
}

#[test]
fn the_contracts_examples_are_read() {
    let Config { users, databases, .. } = contract();
    assert_eq!((users.len(), users[0].name.as_str()), (1, "app"));
    assert_eq!((&users[0].password, users[0].limits.pool_mode), (&Some(Secret::new("secret")), None));
    let shop = &databases[0];
    assert_eq!((shop.name.as_str(), &shop.user, &shop.password), ("shop", &None, &None));
    let counts: Vec<(&str, usize)> =
        shop.groups.iter().map(|group| (group.name.as_str(), group.shards.len())).collect();
    assert_eq!(counts, [("main", 4), ("manufacturing", 2)]);
    assert_eq!(shop.groups[0].function, ShardFunction::Fnv1a);
    assert_eq!(shop.groups[0].keys, ["configurationId", "user_id"]);
    assert_eq!(shop.groups[0].shards[1].primary.to_string(), "10.0.0.1:5432/shop_1");
    assert_eq!(shop.groups[0].shards[1].replicas[0].to_string(), "10.0.0.2:5432/shop_1");
    assert_eq!(shop.groups[1].shards[1].primary.to_string(), "10.0.0.5:5432/mfg_1");
    let kinds: Vec<&TableKind> = shop.tables.iter().map(|table| &table.kind).collect();
    assert_eq!(
        kinds,
        [
            &TableKind::Reference { group: 0 },
            &TableKind::Local { group: 0, shard: 0 },
            &TableKind::Sharded { group: 0, key: Some("o_orderkey".into()) },
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_and_in_order() {
    let text = CONTRACT
        .replace("mode = \"transaction\"", "mode = \"transactoin\"")
        .replace("ids = [2, 3]", "ids = [2, 4]")
        .replace("max_client_conn = 10000", "max_clients_conn = 10000")
        .replace("ttl = \"24h\"", "ttl = \"${TTL}\"");
    let problems = load_text(&text).unwrap_err().to_string();
    let expected = [
        "unknown key \"max_clients_conn\" in [server]; did you mean \"max_client_conn\"?",
        "expected one of session, transaction, statement, found \"transactoin\"",
        "the environment variable TTL is not set",
        "shard 3 of group \"main\" is in no [[databases.groups.shards]]",
        "shard 4 is out of range: shard_count is 4, so the last is 3",
    ];
    let found: Vec<&str> = problems.lines().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_syntax_error_is_one_problem_with_its_place() {
    let problems = load_text("[pool]\nmode = \"session\"\nmin_pool_size = = 3\n[pool]\n").unwrap_err();
    assert_eq!(problems.as_slice().len(), 1);
    assert!(problems.to_string().starts_with("shardway.toml:3:17: "), "{problems}");
    let twice = load_text("[pool]\nmode = \"session\"\nmode = \"session\"\n").unwrap_err().to_string();
    assert_eq!(twice, "shardway.toml:3:1: duplicate key");
}

#[test]
fn hostile_files_are_refused_without_a_panic() {
    let deep = 100_000;
    let files = [
        format!("x = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("x = {}", "[".repeat(deep)),
        format!("x = {}", "{a=".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
        format!("pool.min_pool_size = {}", "9".repeat(deep)),
        format!("pool.query_timeout = \"{}s\"", "9".repeat(deep)),
        format!("\"{}\" = 1", "k".repeat(deep)),
        "[[databases]]\ngroups = [{ shard_count = 9223372036854775807, shards = [{ ids = [-9223372036854775808] }] }]".into(),
        "databases = [[[[]]]]\nusers = [[], 1, {}]\ncache.rules = [{ table = [] }]".into(),
        "\0".into(),
        "[pool]\nmode = \"\\u0000\"".into(),
        "pool = 1979-05-27\nserver = inf\nrouting = nan\ncache = -0".into(),
    ];
    for file in files {
        let shown = load_text(&file).unwrap_err().to_string();
        assert!(shown.starts_with("shardway.toml:"), "{}", &shown[..shown.len().min(200)]);
    }
}

#[test]
fn any_prefix_of_the_contract_is_valid_or_refused() {
    for end in (0..CONTRACT.len()).step_by(7).filter(|end| CONTRACT.is_char_boundary(*end)) {
        if let Err(problems) = load_text(&CONTRACT[..end]) {
            assert!(!problems.as_slice().is_empty());
        }
    }
}

/// Slips of all kinds, the same ones each time: characters that TOML gives a meaning put anywhere.
#[test]
fn any_slip_in_the_contract_is_read_or_refused() {
    let slips = ["[", "]", "\"", "=", ".", "{", "}", "${", "-", "9", ",", "\n", "#", "ü", ""];
    let mut state: u64 = 42;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..3000 {
        let (at, slip) = (next(CONTRACT.len()), slips[next(slips.len())]);
        if CONTRACT.is_char_boundary(at) && CONTRACT.is_char_boundary(at + 1) {
            let text = format!("{}{slip}{}", &CONTRACT[..at], &CONTRACT[at + 1..]);
            let places = load_text(&text).map_or_else(|problems| problems.to_string(), |_| String::new());
            assert!(places.lines().all(|line| line.starts_with("shardway.toml:")), "{places}");
        }
    }
}

#[test]
fn a_file_on_disk_is_named_by_its_path() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "[pol]\n").expect("written");
    let problems = load(&Source::File(file.path().into()), &HashMap::new()).unwrap_err().to_string();
    assert!(problems.contains(&format!("{}:1:2: unknown key \"pol\"", file.path().display())), "{problems}");
}

#[test]
fn strings_may_use_the_environment() {
    let env = HashMap::from([("PGPASS".to_owned(), "p@ss".to_owned())]);
    let text = CONTRACT.replace("password = \"secret\"", "password = \"${PGPASS}$${x}\"");
    let config = load(&Source::Text { name: "t".into(), text }, &env).expect("valid");
    assert_eq!(config.users[0].password.as_ref().map(Secret::expose), Some("p@ss${x}"));
}
