//! COPY through one server: both ways, ended well and badly. Over several shards: see the suite `copy`.

use shardway_tests::{RawClient, Reply};

use super::{PLAIN, SHOP, account, ask, code, same, same_on, value};

/// Everything sent at once behind the server's go-ahead.
async fn copy_in(raw: &mut RawClient, sql: &str, send: impl FnOnce(&mut RawClient)) -> Reply {
    let mut messages = raw.query(sql).recv_until(b'G').await.0;
    send(raw);
    messages.extend(raw.recv_until_ready().await.0);
    Reply(messages)
}

#[tokio::test]
async fn a_table_is_copied_in_and_out() {
    let reply = same(async |raw| {
        ask(raw, "BEGIN; TRUNCATE entry").await;
        let data = |raw: &mut RawClient| {
            raw.copy_data(b"\\N\tone\n\\N\tt")
                .copy_data(b"wo\n")
                .copy_data(b"")
                .copy_data(b"\\N\t\\N\n")
                .copy_done();
        };
        let mut messages = copy_in(raw, "COPY entry FROM STDIN", data).await.0;
        for sql in [
            "COPY entry TO STDOUT",
            "COPY (SELECT note FROM entry ORDER BY note) TO STDOUT (FORMAT csv, HEADER)",
        ] {
            messages.extend(ask(raw, sql).await.0);
        }
        messages.extend(ask(raw, "COPY entry TO STDOUT (FORMAT binary)").await.0);
        messages.extend(ask(raw, "ROLLBACK").await.0);
        Reply(messages)
    });
    assert_eq!(reply.await.tags(), "GCZHdddcCZHddddcCZHddddcCZCZ");
}

#[tokio::test]
async fn a_copy_is_given_up_by_its_client() {
    let reply = same(async |raw| {
        let fail = |raw: &mut RawClient| {
            raw.copy_data(b"\\N\tgiven up\n").copy_fail("no more");
        };
        let mut messages = copy_in(raw, "COPY entry FROM STDIN", fail).await.0;
        messages.extend(ask(raw, "SELECT count(*) FROM entry WHERE note = 'given up'").await.0);
        Reply(messages)
    });
    let reply = reply.await;
    assert_eq!(
        (reply.tags().as_str(), code(&reply).as_str(), value(&reply).as_str()),
        ("GEZTDCZ", "57014", "0")
    );
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_copy_ends_it() {
    // In pieces that the server can't take at once, so that the error comes while the client still sends.
    let rows = "\\N\tfine\n".repeat(2_000);
    let mut raw = PLAIN.raw("app").await;
    let reply = copy_in(&mut raw, "COPY entry FROM STDIN", |raw| {
        raw.copy_data(rows.as_bytes()).copy_data(b"\\N\tfine\nwrong\tfine\n");
        for _ in 0..2_000 {
            raw.copy_data(rows.as_bytes());
        }
        raw.copy_done();
    });
    let reply = reply.await;
    assert_eq!((reply.tags().as_str(), code(&reply).as_str(), reply.status()), ("GEZ", "22P02", 'I'));
    let where_ = reply.error().unwrap().field('W').unwrap();
    assert!(where_.starts_with("COPY entry, line 2002, column user_id: \"wrong\""), "{where_}");
    assert_eq!(value(&ask(&mut raw, "SELECT count(*) FROM entry WHERE note = 'fine'").await), "0");
}

#[tokio::test]
async fn a_copy_in_the_extended_protocol_is_ended_by_its_sync() {
    for end in ["done", "fail", "wrong"] {
        let reply = same(async |raw| {
            ask(raw, "BEGIN").await;
            raw.parse("", "COPY entry FROM STDIN", &[]).bind("", "", &[], &[]).execute("", 0).sync();
            let mut messages = raw.recv_until(b'G').await.0;
            raw.copy_data(b"\\N\textended\n");
            match end {
                "done" => raw.copy_done(),
                "fail" => raw.copy_fail("enough"),
                _ => raw.copy_data(b"wrong\n").copy_data(b"ignored\n").copy_done(),
            };
            messages.extend(raw.sync().recv_until_ready().await.0);
            messages.extend(ask(raw, "SELECT count(*) FROM entry WHERE note = 'extended'").await.0);
            messages.extend(ask(raw, "ROLLBACK").await.0);
            Reply(messages)
        });
        assert_eq!(reply.await.tags(), if end == "done" { "12GCZTDCZCZ" } else { "12GEZEZCZ" });
    }
}

#[tokio::test]
async fn a_copy_out_in_the_extended_protocol_is_one_answer() {
    let reply = same(async |raw| {
        raw.parse("", "COPY (SELECT n FROM generate_series(1, 3) n) TO STDOUT", &[]).describe_statement("");
        raw.bind("", "", &[], &[]).describe_portal("").execute("", 0).sync().recv_until_ready().await
    });
    assert_eq!(reply.await.tags(), "1tn2nHdddcCZ");
}

#[tokio::test]
async fn a_hint_sends_a_copy_to_its_shard() {
    let id = account(2, "copied to");
    let reply = same_on(&SHOP, 2, async |raw| {
        ask(raw, "BEGIN").await;
        let data = |raw: &mut RawClient| {
            raw.copy_data(format!("{id}\thinted\n").as_bytes()).copy_done();
        };
        let mut messages = copy_in(raw, "/* shard: 2 */ COPY entry FROM STDIN", data).await.0;
        messages.extend(
            ask(raw, &format!("/* shard: 2 */ COPY (SELECT * FROM entry WHERE user_id = {id}) TO STDOUT"))
                .await
                .0,
        );
        messages.extend(ask(raw, "ROLLBACK").await.0);
        Reply(messages)
    });
    let reply = reply.await;
    assert_eq!(reply.commands(), ["COPY 1", "COPY 1", "ROLLBACK"]);
    assert_eq!(reply.of('d').next().unwrap().body, format!("{id}\thinted\n"));
}

#[tokio::test]
async fn a_copy_that_can_not_be_says_so_at_once() {
    for sql in
        ["COPY nothing FROM STDIN", "COPY entry FROM STDIN (FORMAT odd)", "COPY entry FROM '/etc/passwd'"]
    {
        let reply = same(async |raw| ask(raw, sql).await);
        assert_eq!(reply.await.tags(), "EZ", "{sql}");
    }
}

#[tokio::test]
async fn copies_may_stand_between_other_statements() {
    let reply =
        same(async |raw| raw.query("SELECT 1; COPY (SELECT 2) TO STDOUT; SELECT 3").recv_until_ready().await);
    assert_eq!(reply.await.tags(), "TDCHdcCTDCZ");
    let reply = same(async |raw| {
        let data = |raw: &mut RawClient| {
            raw.copy_data(b"\\N\tbetween\n").copy_done();
        };
        copy_in(
            raw,
            "BEGIN; COPY entry FROM STDIN; SELECT count(*) FROM entry WHERE note = 'between'; ROLLBACK",
            data,
        )
        .await
    });
    let reply = reply.await;
    assert_eq!((reply.tags().as_str(), value(&reply).as_str()), ("CGCTDCCZ", "1"));
}

#[tokio::test]
async fn a_client_that_hangs_up_in_a_copy_leaves_no_rows() {
    let mut raw = PLAIN.raw("app").await;
    raw.query("COPY entry FROM STDIN").recv_until(b'G').await;
    raw.copy_data(b"\\N\thung up\n").send().await;
    raw.hang_up();
    let mut other = PLAIN.raw("app").await;
    ask(&mut other, "LOCK TABLE entry; SELECT 1").await; // waits for the COPY's end
    assert_eq!(value(&ask(&mut other, "SELECT count(*) FROM entry WHERE note = 'hung up'").await), "0");
}
