use super::{Change, diff};
use crate::Config;
use crate::testing::{config, trusting};

const SHOP: &str = "[[databases]]\nname = \"shop\"\npassword = \"old secret\"\n\
    groups = [\n\
    { name = \"main\", shard_count = 2, shards = [{ ids = [0, 1], primary = \"postgres://u:old@a/s{shard}\", replicas = [\"postgres://r/s{shard}\"] }] },\n\
    { name = \"mfg\", shard_count = 1, function = \"range\", ranges = [{ to = 5, shard = 0 }], shards = [{ ids = [0], primary = \"postgres://b/m\" }] }]\n\
    tables = [{ name = \"t\", kind = \"local\", shard = 1 }, { name = \"public.c\", kind = \"reference\" }]\n";

fn changes(old: &Config, new: &Config) -> Vec<String> {
    diff(old, new).iter().map(Change::to_string).collect()
}

/// The changes between two texts with the same database.
fn between(old: &str, new: &str) -> Vec<String> {
    changes(&config(old), &config(new))
}

/// The changes that replacing something in the shop's text makes.
fn replacing(what: &str, with: &str) -> Vec<String> {
    assert!(SHOP.contains(what), "{what}");
    changes(&config(&trusting(SHOP)), &config(&trusting(&SHOP.replace(what, with))))
}

#[test]
fn what_is_the_same_is_no_change() {
    assert!(between("[pool]\nserver_lifetime = \"1h\"", "").is_empty());
    assert!(replacing("name", "name").is_empty());
}

#[test]
fn values_are_shown_as_an_operator_writes_them() {
    assert_eq!(
        between(
            "[server]\nadmin_users = [\"a\"]",
            "[server]\nhttp = \"\"\nauth_query = \"q\"\n[pool]\ndefault_pool_size = 40\nquery_timeout = \"250ms\"\nmode = \"session\"\n\
             [routing]\ngather_max_bytes = \"1GiB\"\nreplica_reads = false\n[cache]\nl1_max_entries = 1024"
        ),
        [
            "server.http: 127.0.0.1:9632 -> none",
            "server.admin_users: [a] -> []",
            "server.auth_query: none -> q",
            "pool.mode: transaction -> session",
            "pool.default_pool_size: 20 -> 40",
            "pool.query_timeout: 0s -> 250ms",
            "routing.replica_reads: true -> false",
            "routing.gather_max_bytes: 256MiB -> 1GiB",
            "cache.l1_max_entries: 10000 -> 1024",
        ]
    );
}

#[test]
fn sockets_and_workers_need_a_restart_and_nothing_else_does() {
    let new = "[server]\nlisten = [\"[::1]:1\", \"unix:/run\"]\nhttp = \"h:1\"\nworker_threads = 2\nmax_client_conn = 1";
    let found = diff(&config(""), &config(new));
    let restarts: Vec<(String, bool)> =
        found.iter().map(|change| (change.to_string(), change.needs_restart())).collect();
    assert_eq!(
        restarts,
        [
            ("server.listen: [127.0.0.1:6432] -> [[::1]:1, unix:/run]".to_owned(), true),
            ("server.http: 127.0.0.1:9632 -> h:1".to_owned(), true),
            ("server.worker_threads: 0 -> 2".to_owned(), true),
            ("server.max_client_conn: 10000 -> 1".to_owned(), false),
        ]
    );
}

#[test]
fn users_are_matched_by_name_and_their_passwords_stay_hidden() {
    let old = "[[users]]\nname = \"a\"\npassword = \"one\"\n[[users]]\nname = \"b\"\n";
    let new = "[[users]]\nname = \"c\"\n[[users]]\nname = \"a\"\npassword = \"two\"\npool_size = 3\n";
    assert_eq!(
        between(old, new),
        ["users.a.password: changed", "users.a.pool_size: none -> 3", "users.b: removed", "users.c: added"]
    );
}

#[test]
fn secrets_in_urls_stay_hidden() {
    assert_eq!(
        between("[cache]\nredis_url = \"redis://:one@h\"", "[cache]\nredis_url = \"redis://:two@h\""),
        ["cache.redis_url: changed"]
    );
    assert_eq!(replacing("old secret", "new secret"), ["databases.shop.password: changed"]);
    assert_eq!(
        replacing("u:old@", "u:new@"),
        [
            "users.u.password: changed",
            "databases.shop.groups.main.shards.0.primary.password: changed",
            "databases.shop.groups.main.shards.1.primary.password: changed",
        ]
    );
    assert_eq!(
        replacing("//r/", "//u:pw@r/")[0],
        "databases.shop.groups.main.shards.0.replicas: [r:5432/s0] -> [u@r:5432/s0]"
    );
}

#[test]
fn servers_that_move_are_named_by_shard() {
    assert_eq!(
        replacing("postgres://b/m", "postgres://b:6000/m?sslmode=require"),
        ["databases.shop.groups.mfg.shards.0.primary: b:5432/m -> b:6000/m?sslmode=require"]
    );
}

#[test]
fn groups_and_tables_are_matched_by_name() {
    assert_eq!(
        replacing("{ to = 5, shard = 0 }", "{ from = 1, shard = 0 }"),
        ["databases.shop.groups.mfg.function: range [..5: 0] -> range [1..: 0]"]
    );
    assert_eq!(
        replacing(
            "{ name = \"t\", kind = \"local\", shard = 1 }",
            "{ name = \"t\", kind = \"sharded\", group = \"mfg\", key = \"k\" }"
        ),
        ["databases.shop.tables.t.kind: local on shard 1 of main -> sharded by k in mfg"]
    );
    assert_eq!(
        replacing("public.c", "c"),
        ["databases.shop.tables.public.c: removed", "databases.shop.tables.c: added"]
    );
    assert_eq!(
        replacing("\"mfg\"", "\"factory\""),
        ["databases.shop.groups.mfg: removed", "databases.shop.groups.factory: added"]
    );
}

#[test]
fn groups_that_change_places_are_a_change() {
    let mut new = config(&trusting(SHOP));
    new.databases[0].groups.reverse();
    let found = changes(&config(&trusting(SHOP)), &new);
    assert_eq!(found[0], "databases.shop.groups: [main, mfg] -> [mfg, main]");
}

#[test]
fn databases_come_and_go() {
    assert_eq!(
        changes(&config(&trusting(SHOP)), &config(&trusting(&SHOP.replace("\"shop\"", "\"store\"")))),
        ["databases.shop: removed", "databases.store: added"]
    );
}
