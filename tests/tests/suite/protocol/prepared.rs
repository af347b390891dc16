//! Named statements: they belong to the client, whatever server runs them.

use shardway_tests::{Param, RawClient, Reply};

use super::{SHOP, account, ask, code, same};

const NAME: &str = "SELECT name FROM account WHERE user_id = $1";

async fn run(raw: &mut RawClient, statement: &str, param: i32) -> Reply {
    raw.bind("", statement, &[Param::Text(&param.to_string())], &[]).execute("", 0).sync();
    raw.recv_until_ready().await
}

async fn parse(raw: &mut RawClient, statement: &str, sql: &str) -> Reply {
    raw.parse(statement, sql, &[]).sync().recv_until_ready().await
}

#[tokio::test]
async fn one_statement_serves_all_shards_in_turn() {
    let ids = [0, 1, 2, 3].map(|shard| account(shard, &format!("turn {shard}")));
    let mut raw = SHOP.raw("app").await;
    parse(&mut raw, "s", NAME).await;
    for _ in 0..3 {
        for (shard, id) in ids.into_iter().enumerate() {
            assert_eq!(run(&mut raw, "s", id).await.texts(), [[Some(format!("turn {shard}").as_str())]]);
        }
    }
}

#[tokio::test]
async fn a_statement_lives_on_across_transactions_and_their_failures() {
    let id = account(1, "lives on");
    let mut raw = SHOP.raw("app").await;
    ask(&mut raw, "BEGIN").await;
    parse(&mut raw, "s", NAME).await;
    assert_eq!(run(&mut raw, "s", id).await.tags(), "2DCZ");
    assert_eq!(ask(&mut raw, "SELECT 1/0").await.status(), 'E');
    assert_eq!(code(&run(&mut raw, "s", id).await), "25P02");
    ask(&mut raw, "ROLLBACK").await;
    assert_eq!(run(&mut raw, "s", id).await.texts(), [[Some("lives on")]]);
}

#[tokio::test]
async fn a_name_is_given_once() {
    let reply = same(async |raw| {
        let mut messages = parse(raw, "s", "SELECT 1").await.0;
        messages.extend(parse(raw, "s", "SELECT 2").await.0);
        messages.extend(raw.close_statement("s").sync().recv_until_ready().await.0);
        messages.extend(parse(raw, "s", "SELECT 3").await.0);
        messages.extend(
            raw.parse("t", "SELECT 4", &[]).parse("t", "SELECT 5", &[]).sync().recv_until_ready().await.0,
        );
        messages.extend(raw.bind("", "t", &[], &[]).execute("", 0).sync().recv_until_ready().await.0);
        Reply(messages)
    });
    let reply = reply.await;
    assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("1ZEZ3Z1Z1EZ2DCZ", "42P05"));
}

#[tokio::test]
async fn a_statement_that_is_not_there_is_said_so() {
    for name in ["none", ""] {
        let reply = same(async |raw| {
            let mut messages = raw.bind("", name, &[], &[]).execute("", 0).sync().recv_until_ready().await.0;
            messages.extend(raw.describe_statement(name).sync().recv_until_ready().await.0);
            Reply(messages)
        });
        let reply = reply.await;
        assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("EZEZ", "26000"));
    }
}

#[tokio::test]
async fn a_closed_statement_is_gone_for_its_client_alone() {
    let id = account(3, "closed");
    let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
    parse(&mut a, "s", NAME).await;
    parse(&mut b, "s", NAME).await;
    assert_eq!(run(&mut b, "s", id).await.tags(), "2DCZ");
    assert_eq!(a.close_statement("s").sync().recv_until_ready().await.tags(), "3Z");
    assert_eq!(code(&run(&mut a, "s", id).await), "26000");
    assert_eq!(run(&mut b, "s", id).await.texts(), [[Some("closed")]]);
}

#[tokio::test]
async fn clients_give_one_name_to_different_statements() {
    let id = account(0, "same name");
    let (mut a, mut b) = (SHOP.raw("app").await, SHOP.raw("app").await);
    parse(&mut a, "s", NAME).await;
    parse(&mut b, "s", "SELECT balance FROM account WHERE user_id = $1").await;
    for _ in 0..3 {
        assert_eq!(run(&mut a, "s", id).await.texts(), [[Some("same name")]]);
        assert_eq!(run(&mut b, "s", id).await.texts(), [[Some("100")]]);
    }
}

#[tokio::test]
async fn one_text_may_have_two_names() {
    let id = account(2, "two names");
    let mut raw = SHOP.raw("app").await;
    parse(&mut raw, "a", NAME).await;
    // The second one's Parse is skipped, behind an error; the first one stays.
    raw.parse("", "SELECT 1/0", &[]).bind("", "", &[], &[]).execute("", 0).parse("b", NAME, &[]).sync();
    assert_eq!(code(&raw.recv_until_ready().await), "22012");
    assert_eq!(run(&mut raw, "a", id).await.texts(), [[Some("two names")]]);
    assert_eq!(code(&run(&mut raw, "b", id).await), "26000");
    assert_eq!(parse(&mut raw, "b", NAME).await.tags(), "1Z");
    assert_eq!(raw.close_statement("a").sync().recv_until_ready().await.tags(), "3Z");
    assert_eq!(run(&mut raw, "b", id).await.texts(), [[Some("two names")]]);
}

#[tokio::test]
async fn a_known_statement_whose_bind_fails_is_prepared_all_the_same() {
    let first = SHOP.raw("app").await;
    for mut raw in [first, SHOP.raw("app").await] {
        // The second client's Parse is answered without a server, which has it already.
        raw.parse("s", "SELECT $1::int", &[]).bind("", "s", &[Param::Text("x")], &[]).execute("", 0).sync();
        let reply = raw.recv_until_ready().await;
        assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("1EZ", "22P02"));
        assert_eq!(run(&mut raw, "s", 7).await.texts(), [[Some("7")]]);
    }
}

#[tokio::test]
async fn a_known_statement_is_parsed_before_it_is_described() {
    let sql = "SELECT $1::int AS known_before_described";
    for _ in 0..2 {
        let mut raw = SHOP.raw("app").await;
        // The second client's Parse is answered without a server, which has it already.
        raw.parse("s", sql, &[]).describe_statement("s").sync();
        assert_eq!(raw.recv_until_ready().await.tags(), "1tTZ");
    }
}

#[tokio::test]
async fn deallocate_forgets_one_or_all() {
    let reply = same(async |raw| {
        let mut messages =
            raw.parse("A b", "SELECT 1", &[]).parse("c", "SELECT 2", &[]).sync().recv_until_ready().await.0;
        for sql in ["DEALLOCATE \"A b\"", "DEALLOCATE PREPARE none", "DEALLOCATE ALL"] {
            messages.extend(ask(raw, sql).await.0);
            for name in ["A b", "c"] {
                messages.extend(raw.describe_statement(name).sync().recv_until_ready().await.0);
            }
        }
        Reply(messages)
    });
    assert_eq!(reply.await.tags(), "11ZCZEZtTZEZEZtTZCZEZEZ");
}

#[tokio::test]
async fn an_unnamed_statement_outlives_a_begin_that_is_a_named_one() {
    let id = account(0, "outlives");
    let mut raw = SHOP.raw("app").await;
    parse(&mut raw, "begin", "BEGIN").await;
    parse(&mut raw, "", NAME).await;
    assert_eq!(run(&mut raw, "", id).await.texts(), [[Some("outlives")]]);
    let begun = raw.bind("", "begin", &[], &[]).execute("", 0).sync().recv_until_ready().await;
    assert_eq!(begun.status(), 'T');
    assert_eq!(run(&mut raw, "", id).await.texts(), [[Some("outlives")]]);
}

#[tokio::test]
async fn an_unnamed_statement_lasts_until_the_next() {
    let (a, b) = (account(0, "unnamed a"), account(1, "unnamed b"));
    let mut raw = SHOP.raw("app").await;
    parse(&mut raw, "", NAME).await;
    assert_eq!(run(&mut raw, "", a).await.texts(), [[Some("unnamed a")]]);
    assert_eq!(run(&mut raw, "", b).await.texts(), [[Some("unnamed b")]]);
    assert_eq!(run(&mut raw, "", a).await.texts(), [[Some("unnamed a")]]);
    parse(&mut raw, "", "SELECT balance FROM account WHERE user_id = $1").await;
    assert_eq!(run(&mut raw, "", b).await.texts(), [[Some("100")]]);
}
