//! What a statement changes for those behind it in its text or batch, and what of it is undone when they fail.

use shardway_shardmap::fnv1a64;
use shardway_tests::{RawClient, Reply};

use super::{PLAIN, SHOP, account, ask, code, direct, same, same_on};

/// Statements in one batch.
async fn piped(raw: &mut RawClient, statements: &[&str]) -> Reply {
    for sql in statements {
        raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
    }
    raw.sync().recv_until_ready().await
}

/// What a client sees of two parameters.
async fn set(raw: &mut RawClient) -> Vec<Vec<Option<String>>> {
    ask(raw, "SELECT current_setting('timezone'), current_setting('work_mem')").await.texts().0
}

#[tokio::test]
async fn what_is_set_is_undone_with_the_statements_behind_it() {
    for statements in [
        &["SET timezone = 'Asia/Tokyo'", "SELECT 1/0"][..],
        &["SET timezone = 'Asia/Tokyo'", "SET work_mem = 'much'"],
        &["SET timezone = 'Asia/Tokyo'", "SELECT FROM"],
        &["SELECT set_config('timezone', 'Asia/Tokyo', false)", "SELECT 1/0"],
        &["RESET timezone", "SELECT 1/0"],
        &["RESET ALL", "SET work_mem = '5MB'", "SELECT 1/0"],
        &["SET timezone = 'Asia/Tokyo'", "SELECT 1"],
        &["SET timezone = 'Asia/Tokyo'", "SET work_mem = '5MB'"],
        &["RESET timezone", "SET work_mem = '5MB'", "SELECT 1"],
        &["SET timezone = 'Asia/Tokyo'", "COMMIT", "SELECT 1/0"],
    ] {
        for batch in [false, true] {
            let mut expected = None;
            for world in [None, Some(&PLAIN), Some(&SHOP)] {
                let mut raw = match world {
                    None => direct(&PLAIN, 0).await,
                    Some(world) => world.raw("app").await,
                };
                ask(&mut raw, "SET timezone = 'Europe/Rome'").await;
                let reply = if batch {
                    piped(&mut raw, statements).await
                } else {
                    ask(&mut raw, &statements.join(";")).await
                };
                let seen = (code(&reply), reply.status(), set(&mut raw).await);
                let expected = expected.get_or_insert_with(|| seen.clone());
                assert_eq!(seen, *expected, "{statements:?}, in a batch: {batch}");
            }
        }
    }
}

#[tokio::test]
async fn a_path_is_undone_with_what_stands_behind_it() {
    let id = account(1, "on the path");
    let name = format!("SELECT name FROM account WHERE user_id = {id}");
    let wrong = format!("UPDATE account SET balance = -1 WHERE user_id = {id}");
    for set in ["SET search_path = pg_catalog", "SET SCHEMA 'pg_catalog'"] {
        let mut raw = SHOP.raw("app").await;
        assert_eq!(code(&ask(&mut raw, &format!("{set}; SELECT 1/0")).await), "22012");
        assert_eq!(ask(&mut raw, &name).await.texts(), [[Some("on the path")]], "{set}");
        assert_eq!(
            code(&piped(&mut raw, &[set, &wrong.replace("account", "public.account")]).await),
            "23514"
        );
        assert_eq!(ask(&mut raw, &name).await.texts(), [[Some("on the path")]], "{set}");
        // It counts for what stands behind it in its batch; and no longer behind a RESET, or a ROLLBACK.
        assert_eq!(code(&piped(&mut raw, &[set, &name]).await), "42P01", "{set}");
        let reply = piped(&mut raw, &[set, "RESET search_path", &name]).await;
        assert_eq!(reply.texts(), [[Some("on the path")]], "{set}: {reply:?}");
        let reply = ask(&mut raw, &format!("{set}; RESET search_path; {name}")).await;
        assert_eq!(reply.texts(), [[Some("on the path")]], "{set}: {reply:?}");
        piped(&mut raw, &["BEGIN", set]).await;
        let reply = piped(&mut raw, &["ROLLBACK", &name]).await;
        assert_eq!(reply.texts(), [[Some("on the path")]], "{set}: {reply:?}");
    }
}

#[tokio::test]
async fn a_local_setting_holds_to_the_end_of_its_text() {
    let sql = "SET LOCAL timezone = 'Asia/Tokyo'; SHOW timezone";
    let expected = ask(&mut direct(&PLAIN, 0).await, sql).await;
    for world in [&PLAIN, &SHOP] {
        let mut raw = world.raw("app").await;
        let before = set(&mut raw).await;
        let reply = ask(&mut raw, sql).await;
        assert_eq!((reply.texts(), reply.of('N').count()), (expected.texts(), 0), "{reply:?}");
        assert_eq!(set(&mut raw).await, before);
    }
}

#[tokio::test]
async fn what_stands_behind_the_end_of_a_failed_transaction_runs() {
    let id = account(2, "goes on");
    let insert = format!("INSERT INTO entry VALUES ({id}, 'behind')");
    for end in ["ROLLBACK TO a", "ROLLBACK", "COMMIT", "ROLLBACK AND CHAIN"] {
        for rest in [&[&insert[..], "COMMIT"][..], &[&insert], &["SAVEPOINT b", &insert, "ROLLBACK"]] {
            let statements = [&[end], rest].concat();
            let talk = async |raw: &mut RawClient| {
                let failing = ["BEGIN", "SAVEPOINT a", &insert, "SELECT 1/0"];
                let mut messages = piped(raw, &failing).await.0;
                messages.extend(piped(raw, &statements).await.0);
                messages.extend(ask(raw, "ROLLBACK").await.0);
                Reply(messages)
            };
            let on_shard = same_on(&SHOP, 2, talk).await;
            let plain = piped_plainly(&statements, &insert, id).await;
            assert_eq!(on_shard.tags(), plain.tags(), "{statements:?}");
            assert!(!on_shard.iter().any(|m| m.field('C').as_deref() == Some("25P02")), "{statements:?}");
        }
    }
    // What is not behind the end stays refused.
    let mut raw = SHOP.raw("app").await;
    piped(&mut raw, &["BEGIN", &insert, "SELECT 1/0"]).await;
    let reply = piped(&mut raw, &[&insert, "ROLLBACK", &insert]).await;
    assert_eq!((code(&reply).as_str(), reply.status()), ("25P02", 'E'));
}

/// The same where nothing is sharded; there, the account is not.
async fn piped_plainly(statements: &[&str], insert: &str, id: i32) -> Reply {
    let free = insert.replace(&id.to_string(), "NULL");
    let statements: Vec<String> = statements.iter().map(|sql| sql.replace(insert, &free)).collect();
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    same(async |raw| {
        let mut messages = piped(raw, &["BEGIN", "SAVEPOINT a", &free, "SELECT 1/0"]).await.0;
        messages.extend(piped(raw, &statements).await.0);
        messages.extend(ask(raw, "ROLLBACK").await.0);
        Reply(messages)
    })
    .await
}

#[tokio::test]
async fn a_copy_takes_its_data_out_of_its_batch() {
    for (data, flush, behind) in [
        (&b"\\N\tin its batch\n"[..], false, None),
        (b"\\N\tin its batch\n", true, None),
        (b"\\N\tin its batch\n", false, Some("SELECT count(*) FROM entry WHERE note = 'in its batch'")),
        (b"\\N\tin its batch\n", false, Some("SELECT 1/0")),
        (b"wrong\tin its batch\n", false, Some("SELECT 1")),
        (b"", true, Some("SELECT 1")),
    ] {
        let reply = same(async |raw| {
            let mut messages = ask(raw, "BEGIN").await.0;
            raw.parse("", "/* all */ COPY entry FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0);
            if flush {
                raw.flush();
            }
            raw.copy_data(data).copy_data(b"\\N\tone more\n").copy_done();
            if let Some(sql) = behind {
                raw.parse("", sql, &[]).bind("", "", &[], &[]).execute("", 0);
            }
            messages.extend(raw.sync().recv_until_ready().await.0);
            messages.extend(ask(raw, "ROLLBACK").await.0);
            messages.extend(ask(raw, "SELECT 'still there'").await.0);
            Reply(messages)
        });
        assert!(reply.await.tags().starts_with("CZ12G"), "{behind:?}");
    }
}

#[tokio::test]
async fn a_copy_that_nothing_follows_asks_for_its_data() {
    for end in ["done", "fail", "leave"] {
        let reply = same(async |raw| {
            ask(raw, "BEGIN").await;
            // The statement and its portal are of earlier batches.
            raw.parse("copies", "COPY entry FROM STDIN", &[]).flush().recv_until(b'1').await;
            raw.bind("", "copies", &[], &[]).flush().recv_until(b'2').await;
            let mut messages = raw.execute("", 0).recv_until(b'G').await.0;
            match end {
                "done" => raw.copy_data(b"\\N\tasked for\n").copy_done(),
                "fail" => raw.copy_data(b"\\N\tasked for\n").copy_fail("enough"),
                _ => raw.copy_done(),
            };
            messages.extend(raw.sync().recv_until_ready().await.0);
            messages.extend(ask(raw, "ROLLBACK").await.0);
            Reply(messages)
        });
        assert_eq!(reply.await.tags(), if end == "fail" { "GEZCZ" } else { "GCZCZ" });
    }
    // One that fails before it begins says so when it is asked to, and its data is nothing.
    let reply = same(async |raw| {
        raw.parse("", "COPY entry FROM STDIN", &[]).bind("", "", &[], &[]).bind("p", "", &[], &[]);
        raw.execute("nothing", 0).copy_data(b"x\n").copy_done().sync().recv_until_ready().await
    });
    assert_eq!(reply.await.tags(), "122EZ");
}

#[tokio::test]
async fn a_key_is_found_by_the_path_of_its_turn() {
    // The plan of what stands behind a path is another one where the names mean another table.
    let shard = |id: i32| (fnv1a64(id.to_string().as_bytes()) % 4) as usize;
    let id = account(3, "by its turn");
    assert_eq!(shard(id), 3);
    let mut raw = SHOP.raw("app").await;
    let name = format!("SELECT name FROM account WHERE user_id = {id}");
    ask(&mut raw, "SET search_path = pg_catalog").await;
    let reply = piped(&mut raw, &["SET search_path = public", &name]).await;
    assert_eq!(reply.texts(), [[Some("by its turn")]], "{reply:?}");
}
