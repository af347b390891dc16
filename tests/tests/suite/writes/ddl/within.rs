//! Commands on objects inside of transactions, texts and batches: what follows them finds what they made.

use super::{ALONE, SHOP, all, heard, refused, shards_with, single};
use crate::operation::support::key_on;
use crate::protocol::{ask, code, value};

#[tokio::test]
async fn a_transaction_sees_the_schema_that_it_has_made() {
    let _alone = ALONE.lock().await;
    let (mut client, mut other) = (SHOP.raw("app").await, SHOP.raw("app").await);
    let keys: Vec<i32> = (0..4).map(|shard| key_on(shard, 4)).collect();
    all(&mut client, &["BEGIN", "CREATE TABLE t_new (user_id int PRIMARY KEY, n int)"]).await;
    for key in &keys {
        all(&mut client, &[&format!("INSERT INTO t_new VALUES ({key}, 1)")]).await;
    }
    assert_eq!(value(&ask(&mut client, "SELECT sum(n) FROM t_new").await), "4");
    assert_eq!(code(&ask(&mut other, "SELECT * FROM t_new").await), "42P01");
    all(&mut client, &["SAVEPOINT a", "ALTER TABLE t_new ADD COLUMN m int DEFAULT 5"]).await;
    assert_eq!(value(&ask(&mut client, "SELECT sum(m) FROM t_new").await), "20");
    all(&mut client, &["ROLLBACK TO a"]).await;
    assert_eq!(code(&ask(&mut client, "SELECT sum(m) FROM t_new").await), "42703");
    all(&mut client, &["ROLLBACK TO a", "DROP TABLE t_new"]).await;
    assert_eq!(code(&ask(&mut client, "SELECT * FROM t_new").await), "42P01");
    all(&mut client, &["ROLLBACK TO a", "COMMIT"]).await;
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM t_new"), ["1", "1", "1", "1"]);
    assert_eq!(value(&ask(&mut other, "SELECT count(*) FROM t_new").await), "4");
    all(&mut client, &["BEGIN", "DROP TABLE t_new", "ROLLBACK"]).await;
    assert_eq!(value(&ask(&mut client, "SELECT count(*) FROM t_new").await), "4");
    all(&mut client, &["DROP TABLE t_new"]).await;
    assert_eq!(code(&ask(&mut other, "SELECT * FROM t_new").await), "42P01");
}

#[tokio::test]
async fn one_text_makes_a_table_and_uses_it() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    let (a, b) = (key_on(0, 4), key_on(2, 4));
    let text = format!(
        "CREATE TABLE m_new (user_id int, n int); INSERT INTO m_new VALUES ({a}, 1); INSERT INTO m_new VALUES ({b}, 2); \
         SELECT sum(n) FROM m_new"
    );
    let reply = ask(&mut client, &text).await;
    assert_eq!(value(&reply), "3", "{reply:?}");
    assert_eq!(SHOP.everywhere("SELECT n FROM m_new"), ["1", "2"]);
    // All of it, or nothing.
    let reply = ask(&mut client, "CREATE TABLE m_other (user_id int); SELECT 1 / 0").await;
    assert_eq!(code(&reply), "22012", "{reply:?}");
    assert_eq!(shards_with("m_other"), 0);
    all(
        &mut client,
        &["BEGIN; CREATE TABLE m_other (user_id int); COMMIT; DROP TABLE m_other; DROP TABLE m_new"],
    )
    .await;
}

#[tokio::test]
async fn migrations_run_as_tools_send_them() {
    let _alone = ALONE.lock().await;
    let client = SHOP.connect("app").await;
    client
        .execute("CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY)", &[])
        .await
        .unwrap();
    // Simple protocol, a text at a time.
    client
        .batch_execute(
            "BEGIN;
             CREATE TABLE g_user (user_id bigint PRIMARY KEY, email text NOT NULL);
             CREATE TABLE g_post (user_id bigint NOT NULL, id bigserial, body text, PRIMARY KEY (user_id, id));
             ALTER TABLE g_post ADD CONSTRAINT g_author FOREIGN KEY (user_id) REFERENCES g_user (user_id);
             CREATE INDEX g_body ON g_post (body);
             INSERT INTO schema_migrations (version) VALUES ('1');
             COMMIT;",
        )
        .await
        .unwrap();
    // Extended protocol, a statement at a time.
    for sql in [
        "BEGIN",
        "ALTER TABLE g_user ADD COLUMN active boolean NOT NULL DEFAULT true",
        "INSERT INTO schema_migrations (version) VALUES ('2')",
        "COMMIT",
    ] {
        client.execute(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
    client.execute("INSERT INTO g_user (user_id, email) VALUES ($1, $2)", &[&7i64, &"ada"]).await.unwrap();
    client.execute("INSERT INTO g_post (user_id, body) VALUES (7, 'first')", &[]).await.unwrap();
    let row = client.query_one("SELECT active FROM g_user WHERE user_id = $1", &[&7i64]).await.unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(
        SHOP.everywhere("SELECT string_agg(version, ',' ORDER BY version) FROM schema_migrations"),
        ["1,2"; 4]
    );
    client.batch_execute("DROP TABLE g_post, g_user, schema_migrations").await.unwrap();
}

#[tokio::test]
async fn the_extended_protocol_runs_them_too() {
    let _alone = ALONE.lock().await;
    let (mut many, mut one) = (SHOP.raw("app").await, single().await);
    let mut replies = Vec::new();
    for raw in [&mut one, &mut many] {
        let mut said = Vec::new();
        for sql in [
            "CREATE TABLE e_table (user_id int, n int)",
            "CREATE TABLE IF NOT EXISTS e_table (user_id int)",
            "CREATE INDEX e_index ON e_table (n)",
            "CREATE INDEX e_index ON e_table (n)",
            "VACUUM e_table",
            "DROP TABLE e_table",
        ] {
            raw.parse("", sql, &[]).describe_statement("").bind("", "", &[], &[]).describe_portal("");
            let reply = raw.execute("", 0).sync().recv_until_ready().await;
            said.push((sql, reply.tags().replace('N', ""), heard(&reply)));
        }
        // Named, and in a pipeline of several: one transaction.
        raw.parse("make", "CREATE TABLE e_table (user_id int, n int)", &[]).bind("", "make", &[], &[]);
        raw.execute("", 0).parse("", "CREATE INDEX e_index ON e_table (n)", &[]).bind("", "", &[], &[]);
        raw.execute("", 0).parse("", "CREATE INDEX e_index ON e_table (n)", &[]).bind("", "", &[], &[]);
        let reply = raw.execute("", 0).sync().recv_until_ready().await;
        said.push(("a pipeline", reply.tags().replace('N', ""), heard(&reply)));
        replies.push(said);
    }
    assert_eq!(replies[1], replies[0]);
    assert_eq!(shards_with("e_table"), 0);
}

#[tokio::test]
async fn what_stands_behind_one_in_a_batch_finds_what_it_made() {
    let _alone = ALONE.lock().await;
    let (mut many, mut one) = (SHOP.raw("app").await, single().await);
    let rows = format!("INSERT INTO b_table VALUES ({}, 1), ({}, 2)", key_on(1, 4), key_on(3, 4));
    let read = "SELECT n, later FROM b_table ORDER BY n";
    let mut replies = Vec::new();
    for raw in [&mut one, &mut many] {
        let mut said = Vec::new();
        for batch in [
            &["CREATE TABLE b_table (user_id int, n int)", &rows, "SELECT 1/0"][..],
            &["CREATE TABLE b_table (user_id int, n int)", &rows, "SELECT n FROM b_table ORDER BY n"],
            &["ALTER TABLE b_table ADD later int DEFAULT 7", read, &rows, "ALTER TABLE b_table DROP n"],
            &["BEGIN", "ALTER TABLE b_table ADD n int DEFAULT 8", read],
            &["ROLLBACK", "SELECT later FROM b_table ORDER BY later"],
            &["DROP TABLE b_table", read],
            &["DROP TABLE b_table", "SELECT 1"],
        ] {
            for sql in batch {
                raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
            }
            let reply = raw.sync().recv_until_ready().await;
            said.push((batch.to_vec(), reply.tags(), reply.texts().0, code(&reply)));
        }
        replies.push(said);
    }
    for (many, one) in replies[1].iter().zip(&replies[0]) {
        assert_eq!(many, one);
    }
    assert_eq!(shards_with("b_table"), 0);
}

#[tokio::test]
async fn a_table_of_this_transaction_may_still_become_a_sharded_one() {
    let _alone = ALONE.lock().await;
    let mut client = SHOP.raw("app").await;
    all(
        &mut client,
        &[
            "BEGIN",
            "CREATE TABLE n_new (id int)",
            "ALTER TABLE n_new ADD COLUMN user_id int NOT NULL",
            "COMMIT",
        ],
    )
    .await;
    all(&mut client, &[&format!("INSERT INTO n_new VALUES (1, {})", key_on(1, 4))]).await;
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM n_new"), ["0", "1", "0", "0"]);
    all(&mut client, &["DROP TABLE n_new"]).await;
    let text = "CREATE TABLE n_new (id int); INSERT INTO n_new VALUES (1); ALTER TABLE n_new ADD user_id int";
    refused(&mut client, text, "has rows").await;
    assert_eq!(shards_with("n_new"), 0);
}
