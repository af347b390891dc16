//! SHOW ROUTE, SHARDS, REPLICAS and TABLES: what is where, and where a statement would go.

use shardway_tests::{SharedWorld, World};

use super::support::{key_on, lines, show, soon};

const SCHEMA: &str = "
CREATE TABLE t (user_id int PRIMARY KEY, name text);
CREATE TABLE country (code text PRIMARY KEY, name text);
CREATE TABLE audit (id int, what text);
";

const CONFIG: &str = "
[cache]
enabled = true
[[cache.rules]]
table = 't'
[[databases.tables]]
name = 'audit'
kind = 'local'
group = 'main'
shard = 1
";

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .shards(2)
        .replicas(1)
        .group("manufacturing", 2, &["job_id"])
        .group_schema("main", SCHEMA)
        .group_schema("manufacturing", "CREATE TABLE job (job_id int PRIMARY KEY, state text)")
        .config(CONFIG)
        .start()
});

/// The one line that SHOW ROUTE gives, without its reason.
async fn route(statement: &str) -> String {
    let admin = WORLD.proxy().connect_to("stats", "shardway").await;
    let rows = lines(&admin, &format!("SHOW ROUTE '{}'", statement.replace('\'', "''"))).await;
    let [row] = &rows[..] else { panic!("{statement}: {rows:?}") };
    row.rsplit_once('|').map(|(row, _)| row.to_owned()).unwrap()
}

#[tokio::test]
async fn statements_are_routed_without_being_run() {
    let (zero, one) = (key_on(0, 2), key_on(1, 2));
    for (statement, expected) in [
        (format!("SELECT * FROM t WHERE user_id = {one}"), "single|main|1|primary|yes|NULL"),
        (format!("SELECT count(*) FROM t WHERE user_id = {one}"), "single|main|1|replica|no|NULL"),
        ("SELECT * FROM t ORDER BY user_id LIMIT 3".to_owned(), "scatter|main|0,1|replica|no|NULL"),
        (format!("SELECT * FROM t WHERE user_id IN ({zero}, {one})"), "scatter|main|0,1|replica|no|NULL"),
        ("SELECT * FROM country".to_owned(), "single|main|any|replica|no|NULL"),
        ("SELECT * FROM audit".to_owned(), "single|main|1|replica|no|NULL"),
        (format!("INSERT INTO t VALUES ({zero}, 'it''s; new')"), "single|main|0|primary|no|NULL"),
        (format!("DELETE FROM t WHERE user_id = {one}"), "single|main|1|primary|no|NULL"),
        ("SELECT * FROM job WHERE job_id = 1 FOR UPDATE".to_owned(), "single|manufacturing|"),
        ("/* shard: 1 */ DELETE FROM t".to_owned(), "single|main|1|primary|no|NULL"),
        ("BEGIN".to_owned(), "local|NULL|NULL|NULL|no|NULL"),
        ("COPY t TO STDOUT".to_owned(), "scatter|main|0,1|primary|no|NULL"),
        ("COPY t FROM STDIN".to_owned(), "spread|main|0,1|primary|no|NULL"),
        ("COPY (SELECT count(*) FROM t) TO STDOUT".to_owned(), "combine|main|0,1|"),
        ("EXPLAIN SELECT count(*) FROM t".to_owned(), "combine|main|0,1|primary|no|NULL"),
        ("UPDATE country SET name = 'x'".to_owned(), "spread|main|0,1|primary|no|NULL"),
        ("DELETE FROM t".to_owned(), "spread|main|0,1|primary|no|NULL"),
        ("CREATE INDEX ON t (name)".to_owned(), "spread|main|0,1|primary|no|NULL"),
        ("SELECT 1".to_owned(), "single|main|any|replica|no|NULL"),
    ] {
        let found = route(&statement).await;
        assert!(found.starts_with(expected), "{statement}: {found}");
    }
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM t WHERE name LIKE '%new'"), ["0", "0"]);
}

#[tokio::test]
async fn what_would_be_refused_says_why() {
    let admin = WORLD.admin().await;
    for (statement, state, reason) in [
        ("SELECT * FRO t", "0A000", "the statement is not understood"),
        (
            "UPDATE t SET name = (SELECT max(name) FROM t)",
            "0A000",
            "joined to it by the key; this one reads others",
        ),
        ("CREATE MATERIALIZED VIEW more AS SELECT count(*) FROM t", "0A000", "own rows"),
        ("INSERT INTO t VALUES (NULL, ''x'')", "23502", "user_id"),
        ("SELECT * FROM nowhere", "42P01", "relation \"nowhere\" does not exist"),
        ("/* shard: 9 */ SELECT 1", "22023", "there is no shard 9: the group has shards 0 to 1"),
        ("SELECT ''open", "42601", "unterminated quoted string or comment"),
        ("INSERT INTO t VALUES ($1, $2)", "0A000", "write its value in the place of the parameter"),
    ] {
        let rows = show(&admin, &format!("ROUTE '{statement}'")).await;
        let [row] = &rows[..] else { panic!("{statement}: {rows:?}") };
        assert_eq!(
            (row["tier"].as_str(), row["sqlstate"].as_str()),
            ("refused", state),
            "{statement}: {row:?}"
        );
        assert!(row["reason"].contains(reason), "{statement}: {row:?}");
    }
}

#[tokio::test]
async fn several_statements_have_a_line_each() {
    let admin = WORLD.admin().await;
    let rows = show(&admin, "ROUTE 'BEGIN; SELECT * FROM t; COMMIT;'").await;
    assert_eq!(
        rows.iter().map(|row| row["tier"].as_str()).collect::<Vec<_>>(),
        ["local", "scatter", "local"]
    );
}

#[tokio::test]
async fn shards_and_replicas_are_listed_with_their_health() {
    let admin = WORLD.admin().await;
    let (primary, replica) = (WORLD.server(0).port(), WORLD.replica(0, 0).port());
    let shards = soon("health to be known", async || {
        let shards = show(&admin, "SHARDS").await;
        shards.iter().all(|shard| shard["state"] == "up").then_some(shards)
    })
    .await;
    let places: Vec<_> =
        shards.iter().map(|s| format!("{}/{} {}", s["group"], s["shard"], s["primary"])).collect();
    let at = |group: &str, n: u32, name: &str| format!("{group}/{n} 127.0.0.1:{primary}/{name}_{n}");
    assert_eq!(
        places,
        [
            at("main", 0, "shop"),
            at("main", 1, "shop"),
            at("manufacturing", 0, "manufacturing"),
            at("manufacturing", 1, "manufacturing")
        ]
    );
    assert!(
        shards.iter().all(|s| s["role"] == "primary" && s["replicas"] == "1" && s["function"] == "fnv1a")
    );
    let replicas = soon("replicas to serve", async || {
        let replicas = show(&admin, "REPLICAS").await;
        replicas.iter().all(|replica| replica["reads"] == "yes").then_some(replicas)
    })
    .await;
    assert_eq!(replicas.len(), 4);
    assert_eq!(replicas[1]["server"], format!("127.0.0.1:{replica}/shop_1"));
    assert!(
        replicas.iter().all(|r| r["role"] == "replica" && r["lsn"].contains('/') && r["error"].is_empty())
    );
}

#[tokio::test]
async fn tables_are_listed_with_what_they_are() {
    let admin = WORLD.admin().await;
    let tables = soon("the schema", async || {
        let tables = lines(&admin, "SHOW TABLES").await;
        (!tables.is_empty()).then_some(tables)
    })
    .await;
    assert_eq!(
        tables,
        [
            "public.audit|local|main|NULL",
            "public.country|reference|main|NULL",
            "public.job|sharded|manufacturing|job_id",
            "public.t|sharded|main|user_id",
        ]
    );
}
