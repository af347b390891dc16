//! Errors and notices arrive whole: every field, to the byte.

use shardway_tests::{Param, RawClient};

use super::{SHOP, account, ask, code, same, same_on, same_query};

#[tokio::test]
async fn a_syntax_error_names_its_position() {
    let reply = same_query("SELECT 1 FROM account WHERE ORDER BY 1").await;
    let error = reply.error().unwrap();
    assert_eq!(
        (error.field('C').as_deref(), error.field('P').as_deref(), error.field('V').as_deref()),
        (Some("42601"), Some("29"), Some("ERROR"))
    );
}

#[tokio::test]
async fn a_unique_violation_brings_detail_table_and_constraint() {
    let sql = "INSERT INTO account VALUES (1, 'twice'), (2, 'twice')";
    let reply = same_query(sql).await;
    let error = reply.error().unwrap();
    let fields = ['C', 'D', 's', 't', 'n'].map(|field| error.field(field).unwrap_or_default());
    let detail = "Key (name)=(twice) already exists.";
    assert_eq!(fields, ["23505", detail, "public", "account", "account_name_key"]);
}

#[tokio::test]
async fn a_not_null_violation_names_the_column() {
    let reply = same_query("INSERT INTO account VALUES (3, 'no balance', NULL)").await;
    let error = reply.error().unwrap();
    assert_eq!([error.field('C'), error.field('c')], [Some("23502".into()), Some("balance".into())]);
}

#[tokio::test]
async fn a_check_violation_on_a_shard_is_the_shards_own() {
    let id = account(2, "check");
    let sql = format!("UPDATE account SET balance = -1 WHERE user_id = {id}");
    let reply = same_on(&SHOP, 2, async |raw| ask(raw, &sql).await).await;
    let error = reply.error().unwrap();
    assert_eq!([error.field('C'), error.field('n')], [Some("23514".into()), Some("solvent".into())]);
}

#[tokio::test]
async fn a_syntax_error_in_a_sharded_database_is_postgres_own() {
    for sql in
        ["SELEC 1", "SELECT * FROM account WHERE user_id = 1 ORDER", "UPDATE account SET", "SELECT 'open"]
    {
        let reply = same_on(&SHOP, 0, async |raw| ask(raw, sql).await).await;
        assert_eq!(code(&reply), "42601", "{sql}");
    }
}

#[tokio::test]
async fn a_syntax_error_of_a_statement_to_prepare_is_postgres_own() {
    let parse = async |raw: &mut RawClient| {
        raw.parse("wrong", "SELECT * FROM account WHERE user_id = $1 ORDER", &[])
            .sync()
            .recv_until_ready()
            .await
    };
    let reply = same_on(&SHOP, 0, parse).await;
    assert_eq!((reply.tags(), code(&reply)), ("EZ".into(), "42601".into()));
}

#[tokio::test]
async fn a_hint_and_a_wrong_parameter_arrive_as_the_server_says_them() {
    let reply = same_query("SELECT nam FROM account").await;
    assert!(reply.error().unwrap().field('H').unwrap().contains("account.name"));

    let bound = same(async |raw| {
        raw.parse("", "SELECT $1::int", &[]).bind("", "", &[Param::Text("x")], &[]).execute("", 0).sync();
        raw.recv_until_ready().await
    });
    let error = bound.await;
    assert_eq!((error.tags().as_str(), code(&error)), ("1EZ", "22P02".into()));
    assert!(error.error().unwrap().field('W').unwrap().contains("unnamed portal parameter $1"));
}

#[tokio::test]
async fn an_error_at_commit_keeps_its_fields() {
    let orphan = "BEGIN; INSERT INTO entry VALUES (-1, 'nobody'); COMMIT";
    let reply = same_query(orphan).await;
    assert_eq!(reply.error().unwrap().field('n').as_deref(), Some("entry_user_id_fkey"));

    let reply = same(async |raw| {
        ask(raw, "BEGIN").await;
        ask(raw, "INSERT INTO entry VALUES (-1, 'nobody')").await;
        ask(raw, "COMMIT").await
    });
    let reply = reply.await;
    assert_eq!((code(&reply), reply.status()), ("23503".into(), 'I'));
}

#[tokio::test]
async fn an_error_of_a_setting_keeps_its_fields() {
    for sql in
        ["SET no_such_parameter = 1", "SET work_mem = 'much'", "RESET no_such_parameter", "SHOW nothing"]
    {
        let reply = same_query(sql).await;
        assert_eq!(reply.tags(), "EZ", "{sql}");
    }
}

#[tokio::test]
async fn an_error_with_all_fields_that_a_function_may_give() {
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'the %', 'message' USING ERRCODE = 'P0123', DETAIL = 'the detail', \
                 HINT = 'the hint', COLUMN = 'the column', CONSTRAINT = 'the constraint', DATATYPE = 'the type', \
                 TABLE = 'the table', SCHEMA = 'the schema'; END $$";
    let reply = same_query(raise).await;
    let fields =
        ['C', 'M', 'D', 'H', 'c', 'n', 'd', 't', 's'].map(|field| reply.error().unwrap().field(field));
    let expected = [
        "P0123",
        "the message",
        "the detail",
        "the hint",
        "the column",
        "the constraint",
        "the type",
        "the table",
        "the schema",
    ];
    assert_eq!(fields, expected.map(|field| Some(field.to_owned())));
}

#[tokio::test]
async fn notices_come_where_they_were_raised() {
    let raise = |level: &str| format!("DO $$ BEGIN RAISE {level} 'hear me' USING HINT = 'a hint'; END $$");
    for level in ["NOTICE", "WARNING", "INFO"] {
        let reply = same_query(&raise(level)).await;
        let notice = reply.of('N').next().unwrap();
        assert_eq!([notice.field('S'), notice.field('H')], [Some(level.into()), Some("a hint".into())]);
    }
    let on_a_shard = format!("/* shard: 3 */ {}", raise("NOTICE"));
    let reply = same_on(&SHOP, 3, async |raw| ask(raw, &on_a_shard).await).await;
    assert_eq!(reply.of('N').count(), 1);
}
