//! Session parameters: the client's own, on every server it meets.

use shardway_tests::{RawClient, Reply, World};

use super::{PLAIN, SHOP, account, ask, code, same, value, with_settings};

/// What each statement brings, put together.
async fn all(raw: &mut RawClient, statements: &[&str]) -> Reply {
    let mut messages = Vec::new();
    for sql in statements {
        messages.extend(ask(raw, sql).await.0);
    }
    Reply(messages)
}

#[tokio::test]
async fn settings_come_and_go_as_on_a_server() {
    for script in [
        ["SET work_mem = '5MB'", "SHOW work_mem", "RESET work_mem", "SHOW work_mem"],
        ["SET app.tenant = 'it''s'", "SHOW app.tenant", "RESET app.tenant", "SHOW app.tenant"],
        ["BEGIN", "SET LOCAL work_mem = '6MB'", "COMMIT", "SHOW work_mem"],
        ["BEGIN", "SET work_mem = '6MB'", "ROLLBACK", "SHOW work_mem"],
        ["BEGIN", "SET work_mem = '6MB'", "COMMIT", "SHOW work_mem"],
        ["SET work_mem = '7MB'", "BEGIN; RESET work_mem; SHOW work_mem", "ROLLBACK", "SHOW work_mem"],
        ["SET LOCAL work_mem = '6MB'", "SHOW work_mem", "SET SESSION work_mem TO '6MB'", "SHOW work_mem"],
        ["SET search_path = pg_catalog, public", "SHOW search_path", "RESET ALL", "SHOW search_path"],
        ["SET statement_timeout = 5000", "SHOW statement_timeout", "DISCARD ALL", "SHOW statement_timeout"],
        ["SET work_mem = '5MB'", "SET work_mem = 'x'", "SHOW work_mem", "SET work_mem TO DEFAULT"],
    ] {
        same(async |raw| all(raw, &script).await).await;
    }
}

/// The statements, and what the server said of this parameter meanwhile.
async fn reported(raw: &mut RawClient, statements: &[&str], parameter: &str) -> String {
    all(raw, statements).await;
    raw.parameter(parameter).unwrap_or("nothing").to_owned()
}

#[tokio::test]
async fn a_client_is_told_of_the_parameters_that_it_changes() {
    let zone = "SET TIME ZONE 'Asia/Tokyo'";
    for (script, expected) in [
        (vec![zone], "Asia/Tokyo"),
        (vec!["BEGIN", zone], "Asia/Tokyo"),
        (vec!["BEGIN", zone, "ROLLBACK"], ""),
        (vec!["BEGIN", zone, "COMMIT"], "Asia/Tokyo"),
        (vec!["BEGIN", "SET LOCAL TimeZone = 'Asia/Tokyo'", "SELECT 1", "COMMIT"], ""),
        (vec!["BEGIN", "SAVEPOINT a", zone, "ROLLBACK TO a"], ""),
        (vec![zone, "RESET TimeZone"], ""),
        (vec![zone, "RESET ALL"], ""),
        (vec![zone, "DISCARD ALL"], ""),
        (vec![zone, "SET application_name = 'x'", "SET TimeZone TO DEFAULT"], ""),
        (vec!["SET TimeZone = 'Asia/Tokyo'; SELECT 1; RESET TimeZone"], ""),
    ] {
        for world in [&PLAIN, &SHOP] {
            let mut raw = world.raw("app").await;
            let greeted = raw.parameter("TimeZone").unwrap().to_owned();
            let expected = if expected.is_empty() { &greeted } else { expected };
            assert_eq!(&reported(&mut raw, &script, "TimeZone").await, expected, "{script:?}");
        }
    }
}

#[tokio::test]
async fn settings_hold_on_every_shard() {
    let ids = [0, 1, 2, 3].map(|shard| account(shard, &format!("set {shard}")));
    let mut raw = SHOP.raw("app").await;
    let read = |id: i32| {
        format!(
            "SELECT current_setting('work_mem'), current_setting('app.who') FROM account WHERE user_id = {id}"
        )
    };
    for mem in ["5MB", "6MB"] {
        all(&mut raw, &[&format!("SET work_mem = '{mem}'"), &format!("SET app.who = 'for {mem}'")]).await;
        for id in ids {
            let expected = format!("for {mem}");
            assert_eq!(ask(&mut raw, &read(id)).await.texts(), [[Some(mem), Some(expected.as_str())]]);
        }
    }
}

#[tokio::test]
async fn the_startup_message_sets_parameters() {
    let settings = [
        ("application_name", "it's me"),
        ("options", r"-c work_mem=9MB --search-path=pg_catalog,\ public -capp.x=1"),
        ("TimeZone", "Asia/Tokyo"),
        ("DateStyle", "German"),
        ("extra_float_digits", "0"),
        ("client_encoding", "UTF-8"),
    ];
    let mut raw = with_settings(&SHOP, &settings).await;
    let reported =
        ["application_name", "TimeZone", "DateStyle", "client_encoding"].map(|name| raw.parameter(name));
    assert_eq!(reported, [Some("it's me"), Some("Asia/Tokyo"), Some("German, DMY"), Some("UTF8")]);
    for (name, expected) in [
        ("work_mem", "9MB"),
        ("search_path", "pg_catalog, public"),
        ("app.x", "1"),
        ("application_name", "it's me"),
        ("extra_float_digits", "0"),
    ] {
        assert_eq!(value(&ask(&mut raw, &format!("SHOW {name}")).await), expected);
    }
    // RESET goes back to what the client came with.
    all(&mut raw, &["SET work_mem = '1MB'", "RESET work_mem"]).await;
    assert_eq!(value(&ask(&mut raw, "SHOW work_mem").await), "9MB");
    all(&mut raw, &["SET work_mem = '1MB'", "BEGIN; RESET work_mem; COMMIT"]).await;
    assert_eq!(value(&ask(&mut raw, "SHOW work_mem").await), "9MB");
    all(&mut raw, &["SET work_mem = '1MB'", "SET work_mem TO DEFAULT"]).await;
    assert_eq!(value(&ask(&mut raw, "SHOW work_mem").await), "9MB");
}

async fn refusal(world: &World, setting: (&str, &str)) -> shardway_tests::Message {
    let mut raw = RawClient::connect(world.proxy().port()).await;
    let startup = [("user", "app"), ("database", shardway_tests::DATABASE), setting];
    raw.try_login(&startup, shardway_tests::PASSWORD).await.expect_err("a refusal")
}

#[tokio::test]
async fn a_startup_parameter_that_can_not_be_is_refused_at_once() {
    for (setting, expected) in [
        (("no_such_parameter", "1"), "42704"),
        (("work_mem", "much"), "22023"),
        (("options", "-c TimeZone=Nowhere/Land"), "22023"),
    ] {
        let error = refusal(&SHOP, setting).await;
        assert_eq!(
            (error.field('S'), error.field('C')),
            (Some("FATAL".into()), Some(expected.into())),
            "{setting:?}"
        );
    }
}

#[tokio::test]
async fn what_would_make_keys_unreadable_is_refused() {
    let mut raw = SHOP.raw("app").await;
    for sql in ["SET client_encoding = 'LATIN1'", "SET standard_conforming_strings = off"] {
        assert_eq!(code(&ask(&mut raw, sql).await), "0A000");
    }
    let reply = ask(&mut raw, "SET client_encoding = 'utf-8'").await;
    assert_eq!((reply.error(), reply.commands()), (None, vec!["SET".to_owned()]));
}

#[tokio::test]
async fn each_value_of_a_setting_counts() {
    let mut raw = SHOP.raw("app").await;
    let id = account(1, "search path");
    let read = format!("SELECT name FROM account WHERE user_id = {id}");
    for (path, seen) in
        [("'pg_catalog'", "42P01"), ("'public'", ""), ("'pg_catalog'", "42P01"), ("public, x", "")]
    {
        for set in ["SET search_path = ", "BEGIN; SET LOCAL search_path TO "] {
            ask(&mut raw, &format!("{set}{path}")).await;
            assert_eq!(code(&ask(&mut raw, &read).await), seen, "{set}{path}");
            ask(&mut raw, "ROLLBACK").await;
        }
    }
}

#[tokio::test]
async fn discard_all_forgets_settings_and_statements() {
    let reply = same(async |raw| {
        raw.parse("s", "SELECT 1", &[]).sync().recv_until_ready().await;
        let mut messages = all(raw, &["SET work_mem = '5MB'", "DISCARD ALL", "SHOW work_mem"]).await.0;
        messages.extend(raw.bind("", "s", &[], &[]).execute("", 0).sync().recv_until_ready().await.0);
        messages.extend(all(raw, &["BEGIN", "DISCARD ALL", "ROLLBACK"]).await.0);
        Reply(messages)
    });
    let reply = reply.await;
    let codes: Vec<_> = reply.of('E').map(|error| error.field('C').unwrap()).collect();
    assert_eq!(codes, ["26000", "25001"]);
}

#[tokio::test]
async fn a_search_path_counts_for_what_follows_it_in_one_text() {
    let schema = "CREATE TABLE u (user_id int PRIMARY KEY); CREATE SCHEMA side; CREATE TABLE side.u (a int);
                  INSERT INTO side.u VALUES (1), (2)";
    let world = shardway_tests::World::builder().shards(2).schema(schema).start();
    let mut raw = world.raw("app").await;
    // public.u is sharded, and counted shard by shard; side.u is the same on every shard.
    let text = "SET search_path = side; SELECT count(*) FROM u";
    assert_eq!(raw.query(text).recv_until_ready().await.texts(), [[Some("2")]]);
}
