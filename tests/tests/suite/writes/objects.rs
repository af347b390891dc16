//! Who hears of a new schema, and when.

use shardway_tests::{RawClient, World};

use crate::operation::support::{key_on, soon};
use crate::protocol::{ask, code, value};

const SCHEMA: &str = "CREATE TABLE account (user_id int PRIMARY KEY, name text)";

async fn all(raw: &mut RawClient, statements: &[&str]) {
    for sql in statements {
        let reply = ask(raw, sql).await;
        assert_eq!(code(&reply), "", "{sql}: {reply:?}");
    }
}

/// What SHOW TABLES says of a table's columns.
async fn knows(proxy: &shardway_tests::Proxy, table: &str) -> bool {
    let admin = proxy.connect_to("admin", "shardway").await;
    format!("{:?}", admin.simple_query("SHOW TABLES").await.unwrap()).contains(table)
}

#[tokio::test]
async fn other_proxies_read_the_schema_again_when_redis_tells_them() {
    for cached in ["true", "false"] {
        let config = format!("[cache]\nenabled = {cached}");
        let world = World::builder().shards(2).schema(SCHEMA).redis().config(&config).start();
        let other = world.another_proxy();
        let mut client = world.raw("app").await;
        // Whoever has not joined the channel yet reads everything when it does.
        all(&mut client, &["CREATE TABLE told (user_id int, n int)"]).await;
        soon("the other proxy to know of it", async || knows(&other, "told").await.then_some(())).await;
        all(&mut client, &["DROP TABLE told"]).await;
        soon("the other proxy to forget it", async || (!knows(&other, "told").await).then_some(())).await;
    }
}

#[tokio::test]
async fn without_redis_another_proxy_reads_the_schema_when_it_meets_a_name_that_it_does_not_know() {
    let world = World::builder().shards(2).schema(SCHEMA).start();
    let other = world.another_proxy();
    let (mut here, mut there) = (world.raw("app").await, other.raw("app").await);
    all(&mut here, &["CREATE TABLE later (user_id int PRIMARY KEY, n int)"]).await;
    all(&mut there, &[&format!("INSERT INTO later VALUES ({}, 1)", key_on(1, 2))]).await;
    assert_eq!(world.everywhere("SELECT count(*) FROM later"), ["0", "1"]);
    // A column that is only added is found in the shards' answers; a table that became another one is, after RELOAD.
    all(&mut here, &["ALTER TABLE later ADD COLUMN m int DEFAULT 3"]).await;
    assert_eq!(
        value(&ask(&mut there, &format!("SELECT m FROM later WHERE user_id = {}", key_on(1, 2))).await),
        "3"
    );
    all(&mut here, &["DROP TABLE later", "CREATE TABLE later (id int PRIMARY KEY, n int)"]).await;
    other.connect_to("admin", "shardway").await.simple_query("RELOAD").await.unwrap();
    all(&mut there, &["INSERT INTO later VALUES (1, 1)"]).await;
    assert_eq!(world.everywhere("SELECT count(*) FROM later"), ["1", "1"]);
}

#[tokio::test]
async fn tables_of_several_groups_are_made_where_they_belong() {
    let world = World::builder()
        .shards(2)
        .group("factory", 3, &["job_id"])
        .schema("CREATE TABLE shared (id int)")
        .group_schema("main", SCHEMA)
        .config(
            "[[databases.tables]]\nname = 'shared'\nkind = 'reference'\ngroup = 'main'\n\
             [[databases.tables]]\nname = 'parts'\nkind = 'reference'\ngroup = 'factory'\n\
             [[databases.tables]]\nname = 'notes'\nkind = 'local'\ngroup = 'factory'\nshard = 2",
        )
        .start();
    let mut client = world.raw("app").await;
    all(
        &mut client,
        &[
            "CREATE TABLE invoice (user_id int PRIMARY KEY)",
            "CREATE TABLE job (job_id int PRIMARY KEY, part int)",
            "CREATE TABLE parts (id int PRIMARY KEY)",
            "CREATE TABLE notes (id int PRIMARY KEY, text text)",
            "ALTER TABLE job ADD FOREIGN KEY (part) REFERENCES parts",
            "CREATE INDEX ON notes (text)",
            "CREATE TYPE everywhere AS ENUM ('yes')",
            "INSERT INTO notes VALUES (1, 'only here')",
        ],
    )
    .await;
    let main = |sql: &str| world.everywhere(sql);
    let factory = |sql: &str| (0..3).map(|n| world.group_shard("factory", n).sql(sql)).collect::<Vec<_>>();
    let there = |table: &str| format!("SELECT to_regclass('{table}') IS NOT NULL");
    assert_eq!(
        (main(&there("invoice")), factory(&there("invoice"))),
        (vec!["t".into(); 2], vec!["f".into(); 3])
    );
    assert_eq!((main(&there("job")), factory(&there("job"))), (vec!["f".into(); 2], vec!["t".into(); 3]));
    assert_eq!((main(&there("parts")), factory(&there("parts"))), (vec!["f".into(); 2], vec!["t".into(); 3]));
    assert_eq!(factory(&there("notes")), ["f", "f", "t"]);
    let typed = "SELECT to_regtype('everywhere') IS NOT NULL";
    assert_eq!((main(typed), factory(typed)), (vec!["t".into(); 2], vec!["t".into(); 3]));
    assert_eq!(value(&ask(&mut client, "SELECT text FROM notes").await), "only here");
    let reply = ask(&mut client, "CREATE TABLE whose (id int)").await;
    assert_eq!(code(&reply), "0A000", "{reply:?}");
    assert_eq!(code(&ask(&mut client, "DROP TABLE notes, parts").await), "0A000");
    all(
        &mut client,
        &["DROP TABLE notes", "DROP TABLE job, parts", "DROP TABLE invoice", "DROP TYPE everywhere"],
    )
    .await;
    assert_eq!(factory(&there("job")), ["f"; 3]);
}
