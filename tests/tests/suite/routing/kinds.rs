//! Groups with moduli of their own, the other functions, reference and local tables, and no sharding at all.

use shardway_tests::{SharedWorld, World};

use super::{ask, only_on};

static GROUPS: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .shards(4)
        .group("manufacturing", 3, &["job_id"])
        .group_schema("main", "CREATE TABLE item (user_id int); CREATE TABLE country (id int, name text); CREATE TABLE audit (id int)")
        .group_schema("manufacturing", "CREATE TABLE job (job_id text, note text)")
        .config(
            "[[databases.tables]]\nname = 'audit'\nkind = 'local'\ngroup = 'main'\nshard = 2\n\
             [[databases.tables]]\nname = 'country'\nkind = 'reference'\ngroup = 'main'",
        )
        .start()
});

#[tokio::test]
async fn each_group_has_its_own_modulus() {
    let mut client = GROUPS.raw("app").await;
    for n in 0..12 {
        ask(&mut client, &format!("INSERT INTO job VALUES ('j{n}', 'x')")).await.unwrap();
        ask(&mut client, &format!("INSERT INTO item VALUES ({n})")).await.unwrap();
        let job = format!("SELECT count(*) FROM job WHERE job_id = 'j{n}'");
        let there: Vec<String> = (0..3).map(|s| GROUPS.group_shard("manufacturing", s).sql(&job)).collect();
        assert_eq!(there, only_on(&format!("j{n}"), 3));
        let item = format!("SELECT count(*) FROM item WHERE user_id = {n}");
        assert_eq!(GROUPS.everywhere(&item), only_on(&n.to_string(), 4));
    }
    let across = "SELECT count(*) FROM job, item WHERE job_id = 'j1' AND user_id = 1";
    assert_eq!(ask(&mut client, across).await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_local_table_is_on_its_shard_alone() {
    let mut client = GROUPS.raw("app").await;
    ask(&mut client, "INSERT INTO audit VALUES (1), (2)").await.unwrap();
    assert_eq!(GROUPS.everywhere("SELECT count(*) FROM audit"), ["0", "0", "2", "0"]);
    assert_eq!(ask(&mut client, "SELECT count(*) FROM audit").await.unwrap(), ["2"]);
    // It is nowhere else: so that is where the others are brought to.
    for _ in 0..4 {
        let joined = "SELECT count(*) FROM audit LEFT JOIN item ON user_id = -1";
        assert_eq!(ask(&mut client, joined).await.unwrap(), ["2"]);
    }
}

#[tokio::test]
async fn a_reference_table_is_read_anywhere_and_joined_everywhere() {
    GROUPS.shards().for_each(|s| drop(s.sql("INSERT INTO country VALUES (100, 'x'), (101, 'y')")));
    let mut client = GROUPS.raw("app").await;
    for _ in 0..8 {
        assert_eq!(ask(&mut client, "SELECT count(*) FROM country").await.unwrap(), ["2"]);
    }
    ask(&mut client, "INSERT INTO item VALUES (100)").await.unwrap();
    let joined = "SELECT name FROM item JOIN country ON id = user_id WHERE user_id = 100";
    assert_eq!(ask(&mut client, joined).await.unwrap(), ["x"]);
    let written = ask(&mut client, "INSERT INTO country VALUES (1, 'half')").await;
    let copies = GROUPS.everywhere("SELECT count(*) FROM country WHERE id = 1");
    assert!(copies.iter().all(|n| n == if written.is_ok() { "1" } else { "0" }), "{written:?}: {copies:?}");
    GROUPS.shards().for_each(|s| drop(s.sql("DELETE FROM country WHERE id = 1")));
}

#[tokio::test]
async fn modulo_ranges_and_lists_decide_as_they_say() {
    let worlds = [
        ("modulo", "", "int", [("-1", 2), ("0", 0), ("7", 1)]),
        (
            "range",
            "[[databases.groups.ranges]]\nto = 0\nshard = 1\n[[databases.groups.ranges]]\nfrom = 0\nto = 10\nshard = 2",
            "int",
            [("-5", 1), ("0", 2), ("9", 2)],
        ),
        (
            "list",
            "[[databases.groups.values]]\nvalues = ['eu', 'uk']\nshard = 2\n[[databases.groups.values]]\nvalues = ['us']\nshard = 0",
            "text",
            [("eu", 2), ("uk", 2), ("us", 0)],
        ),
    ];
    for (function, entries, key_type, keys) in worlds {
        let world = World::builder()
            .shards(3)
            .function(function)
            .config(entries)
            .schema(&format!("CREATE TABLE t (user_id {key_type})"))
            .start();
        let mut client = world.raw("app").await;
        for (key, shard) in keys {
            ask(&mut client, &format!("INSERT INTO t VALUES ('{key}')")).await.unwrap();
            let there = world.everywhere(&format!("SELECT count(*) FROM t WHERE user_id = '{key}'"));
            assert_eq!(there.iter().position(|n| n == "1"), Some(shard), "{function} of {key}: {there:?}");
        }
        if function != "modulo" {
            let nowhere = if function == "range" { "10" } else { "jp" };
            assert_eq!(
                ask(&mut client, &format!("INSERT INTO t VALUES ('{nowhere}')")).await,
                Err("23514".into())
            );
            let read = ask(&mut client, &format!("SELECT * FROM t WHERE user_id = '{nowhere}'")).await;
            assert_eq!(read, Ok(vec![]));
        }
    }
}

#[tokio::test]
async fn one_shard_alone_takes_everything() {
    let world = World::builder()
        .schema("CREATE TABLE t (user_id serial PRIMARY KEY, a int); CREATE VIEW v AS SELECT * FROM t")
        .start();
    let mut client = world.raw("app").await;
    for sql in [
        "INSERT INTO t (a) SELECT g FROM generate_series(1, 3) g",
        "WITH x AS (UPDATE t SET a = a + 1 RETURNING a) SELECT sum(a) FROM x",
        "SELECT count(DISTINCT a), array_agg(a ORDER BY a DESC) FROM v",
        "MERGE INTO t USING (SELECT 1 AS u) s ON t.user_id = s.u WHEN MATCHED THEN DELETE",
        "UPDATE t SET user_id = user_id + 10",
        "TABLE t ORDER BY a LIMIT 1",
        "SELECT * FROM ONLY t",
        "CREATE TABLE later (x int); INSERT INTO later VALUES (1)",
    ] {
        assert!(ask(&mut client, sql).await.is_ok(), "{sql}");
    }
    assert_eq!(
        ask(&mut client, "SELECT (SELECT sum(a) FROM t), (SELECT x FROM later)").await.unwrap(),
        ["7|1"]
    );
}
