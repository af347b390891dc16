//! What is known of tables follows what the shards have.

use shardway_tests::{World, eventually};

use super::{ask, only_on};

#[tokio::test]
async fn a_table_made_after_the_start_is_found() {
    let world = World::builder().shards(3).start();
    let mut client = world.raw("app").await;
    assert_eq!(ask(&mut client, "SELECT * FROM fresh").await, Err("42P01".into()));
    let create = "SET ROLE app; CREATE TABLE fresh (user_id int)";
    world.shards().for_each(|shard| drop(shard.sql(create)));
    // The schema is read again at most twice a second.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    for n in 1..5 {
        assert_eq!(ask(&mut client, &format!("INSERT INTO fresh VALUES ({n})")).await, Ok(vec![]));
        let there = world.everywhere(&format!("SELECT count(*) FROM fresh WHERE user_id = {n}"));
        assert_eq!(there, only_on(&n.to_string(), 3));
    }
    assert_eq!(ask(&mut client, "SELECT user_id FROM fresh ORDER BY 1").await.unwrap(), ["1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_changed_key_column_is_taken_over_by_reload() {
    let world = World::builder().shards(3).schema("CREATE TABLE t (user_id int, other int)").start();
    let mut client = world.raw("app").await;
    ask(&mut client, "INSERT INTO t VALUES (7, 1)").await.unwrap();
    world.shards().for_each(|shard| drop(shard.sql("ALTER TABLE t ALTER user_id TYPE text")));
    world.admin().await.simple_query("RELOAD").await.unwrap();
    // '007' is no longer 7.
    ask(&mut client, "INSERT INTO t VALUES ('007', 2)").await.unwrap();
    assert_eq!(world.everywhere("SELECT count(*) FROM t WHERE user_id = '007'"), only_on("007", 3));
    world.shards().for_each(|shard| drop(shard.sql("ALTER TABLE t DROP user_id")));
    let dropped = ask(&mut client, "SELECT other FROM t WHERE user_id = '007'").await;
    assert_eq!(dropped, Err("42703".into()), "Postgres says so itself");
}

#[tokio::test]
async fn a_shard_whose_table_differs_is_named_in_the_log() {
    let world = World::builder().shards(3).schema("CREATE TABLE t (user_id int)").start();
    world.shard(2).sql("ALTER TABLE t ADD note text");
    world.admin().await.simple_query("RELOAD").await.unwrap();
    let line = world.proxy().wait_for_log("not as on shard");
    assert!(line.contains("public.t") && line.contains("shard=2"), "{line}");
}

#[tokio::test]
async fn aggregates_and_functions_of_users_are_known() {
    let schema = "
        CREATE TABLE t (user_id int PRIMARY KEY, n int);
        CREATE AGGREGATE my_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
        CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
        CREATE FUNCTION total() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM t';
        CREATE FUNCTION couple(int) RETURNS SETOF int IMMUTABLE LANGUAGE sql AS 'SELECT generate_series(1, 2)';";
    let world = World::builder().shards(3).schema(schema).start();
    let mut client = world.raw("app").await;
    for n in 1..=6 {
        ask(&mut client, &format!("INSERT INTO t VALUES ({n}, {n})")).await.unwrap();
    }
    for (call, code) in [("total()", "0A000"), ("nosuch(n)", "42883")] {
        let sql = format!("SELECT {call} FROM t");
        assert_eq!(ask(&mut client, &sql).await, Err(code.into()), "{sql}");
    }
    assert_eq!(ask(&mut client, "SELECT my_sum(n) FROM t").await.unwrap(), ["21"]);
    assert_eq!(ask(&mut client, "SELECT couple(n) FROM t").await.unwrap().len(), 12);
    assert_eq!(ask(&mut client, "SELECT total() FROM t WHERE user_id = 1").await, Err("0A000".into()));
    assert_eq!(
        ask(&mut client, "SELECT twice(n), date_trunc('day', 'epoch'::timestamp) FROM t")
            .await
            .unwrap()
            .len(),
        6
    );
    assert_eq!(ask(&mut client, "SELECT my_sum(n) FROM t WHERE user_id = 4").await.unwrap(), ["4"]);
}

#[tokio::test]
async fn partitions_are_what_their_table_is() {
    let schema = "
        CREATE TABLE event (user_id int, day date) PARTITION BY RANGE (day);
        CREATE TABLE event_2024 PARTITION OF event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE base (id int);
        CREATE TABLE derived (user_id int) INHERITS (base);";
    let world = World::builder().shards(3).schema(schema).start();
    let mut client = world.raw("app").await;
    ask(&mut client, "INSERT INTO event VALUES (7, '2024-05-01')").await.unwrap();
    assert_eq!(world.everywhere("SELECT count(*) FROM event_2024"), only_on("7", 3));
    assert_eq!(ask(&mut client, "SELECT count(*) FROM event_2024 WHERE user_id = 7").await.unwrap(), ["1"]);
    for sql in ["SELECT * FROM base", "SELECT * FROM derived WHERE user_id = 1"] {
        assert_eq!(
            ask(&mut client, sql).await,
            Err("0A000".into()),
            "a full copy with sharded children: {sql}"
        );
    }
    let said = eventually("the reason in the log", || {
        world.proxy().log().lines().find(|line| line.contains("inherits from")).map(str::to_owned)
    });
    assert!(said.contains("derived"), "{said}");
}
