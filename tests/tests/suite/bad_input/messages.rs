//! From clients that have logged in.

use shardway_tests::{Param, RawClient, Reply};

use super::{Scene, is, last_words, raw, words};
use crate::operation::support::key_on;

/// The SQLSTATE of the error in a reply after which the session goes on.
fn error(reply: &Reply) -> String {
    assert_eq!(reply.tags().chars().last(), Some('Z'), "{reply:?}");
    words(reply.error().unwrap_or_else(|| panic!("an error was due: {reply:?}"))).0
}

async fn goes_on(raw: &mut RawClient) {
    assert_eq!(raw.query("SELECT 7").recv_until_ready().await.texts(), [[Some("7")]]);
}

#[tokio::test]
async fn a_message_of_a_wrong_length_ends_the_connection() {
    let scene = Scene::set().await;
    for tag in *b"QPBDECSXdp" {
        for length in [i32::MIN, -1, 0, 3, i32::MAX, 0x4000_0004] {
            let mut raw = raw().await;
            raw.send_raw(&[&[tag], &length.to_be_bytes()[..]].concat()).await;
            let told = words(&last_words(&mut raw).await);
            assert_eq!(told, is("08P01", "invalid message length"), "{} {length}", char::from(tag));
        }
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_unknown_message_type_ends_the_connection() {
    let scene = Scene::set().await;
    for tag in [b'p', b'z', 0, 0xff] {
        let mut raw = raw().await;
        raw.message(tag, b"secret\0").send().await;
        let told = words(&last_words(&mut raw).await);
        assert_eq!(told, is("08P01", &format!("invalid frontend message type {tag}")));
    }
    scene.is_unharmed().await;
}

#[tokio::test]
async fn an_unknown_message_type_in_a_transaction_rolls_it_back() {
    let scene = Scene::set().await;
    let mut raw = raw().await;
    raw.query("BEGIN").recv_until_ready().await;
    let written = raw.query("INSERT INTO t VALUES (9001, 'x')").recv_until_ready().await;
    assert_eq!(written.status(), 'T', "{written:?}");
    raw.message(b'z', b"").send().await;
    assert_eq!(words(&last_words(&mut raw).await).0, "08P01");
    scene.is_unharmed().await;
    let left = scene.bystander.simple_query("SELECT FROM t WHERE user_id = 9001").await.unwrap();
    assert!(!left.iter().any(|m| matches!(m, tokio_postgres::SimpleQueryMessage::Row(_))));
}

#[tokio::test]
async fn a_bind_with_wrong_counts_is_an_error_of_the_batch() {
    let scene = Scene::set().await;
    let mut raw = raw().await;
    raw.parse("s", "SELECT name FROM t WHERE user_id = $1", &[23]).sync().recv_until_ready().await;
    for params in [&[][..], &[Param::Text("1"), Param::Text("2")]] {
        let reply = raw.bind("", "s", params, &[]).execute("", 0).sync().recv_until_ready().await;
        assert_eq!(error(&reply), "08P01", "{} parameters", params.len());
    }
    for body in [
        &b"\0s\0\0\0\0\x01\0\0\0\x09"[..], // a value that ends before its length does
        b"\0s\0\0\0\0\x02\0\0\0\x011",     // fewer values than counted
        b"\0s\0\xff\xff\0\x01\0\0\0\x011\0\0", // a negative count
        b"\0s\0\0\x02\0\0\0\0\0\x01\0\0\0\x011\0\0", // two formats for one value
        b"\0s\0\0\x01\0\x07\0\x01\0\0\0\x011\0\0", // a format that there is not
        b"\0s\0\0\0\0\x01\0\0\0\x011\0\0more",
        b"\0s",
        b"",
    ] {
        let reply = raw.message(b'B', body).execute("", 0).sync().recv_until_ready().await;
        let code = error(&reply);
        assert!(["08P01", "22023", "22P02", "22P03"].contains(&code.as_str()), "{code} for {body:?}");
    }
    goes_on(&mut raw).await;
    drop(raw);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn malformed_parse_describe_execute_and_close_are_errors() {
    let scene = Scene::set().await;
    let mut raw = raw().await;
    for (tag, body) in [
        (b'P', &b""[..]),
        (b'P', b"name"),
        (b'P', b"\0SELECT 1"),
        (b'P', b"\0SELECT 1\0\0\x05"),
        (b'P', b"\0SELECT 1\0\xff\xff"),
        (b'D', b""),
        (b'D', b"S"),
        (b'D', b"Xname\0"),
        (b'E', b""),
        (b'E', b"\0\0"),
        (b'C', b""),
        (b'C', b"Xname\0"),
    ] {
        let reply = raw.message(tag, body).sync().recv_until_ready().await;
        assert_eq!(error(&reply), "08P01", "{} {body:?}", char::from(tag));
    }
    goes_on(&mut raw).await;
    drop(raw);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn text_that_is_no_utf8_is_an_error_as_in_postgres() {
    let scene = Scene::set().await;
    let mut raw = raw().await;
    assert_eq!(error(&raw.message(b'Q', b"SELECT '\xff'\0").recv_until_ready().await), "22021");
    let parsed = raw.message(b'P', b"\0SELECT '\xc3('\0\0\0").sync().recv_until_ready().await;
    assert_eq!(error(&parsed), "22021");
    raw.parse("", "SELECT name FROM t WHERE user_id = $1 AND name = $2", &[23, 25]);
    let key = Param::Text("1");
    let mut bind = b"\0\0\0\0\0\x02\0\0\0\x011\0\0\0\x01\xff\0\0".to_vec();
    let reply = raw.message(b'B', &bind).execute("", 0).sync().recv_until_ready().await;
    assert_eq!(error(&reply), "22021");
    // The key itself.
    bind = b"\0\0\0\0\0\x02\0\0\0\x01\xff\0\0\0\x01x\0\0".to_vec();
    let reply = raw.message(b'B', &bind).execute("", 0).sync().recv_until_ready().await;
    assert!(["22021", "22P02"].contains(&error(&reply).as_str()), "{reply:?}");
    let reply =
        raw.bind("", "", &[key, Param::Text("x")], &[]).execute("", 0).sync().recv_until_ready().await;
    assert_eq!(reply.tags(), "2CZ", "the statement is as good as it was");
    goes_on(&mut raw).await;
    drop(raw);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_nul_in_a_string_is_no_end_of_a_statement() {
    let scene = Scene::set().await;
    let mut first = raw().await;
    // Postgres reads the string up to the NUL and finds the message too long.
    first.message(b'Q', b"SELECT 1\0; DROP TABLE t\0").send().await;
    let reply = first.expect_closed().await;
    assert_eq!(words(reply.error().unwrap()).0, "08P01");
    let mut second = raw().await;
    second.message(b'Q', b"SELECT 1").send().await;
    assert_eq!(words(second.expect_closed().await.error().unwrap()).0, "08P01");
    let mut third = raw().await;
    let bind = b"\0\0\0\0\0\x01\0\0\0\x03a\0b\0\0";
    let reply = third.parse("", "SELECT $1::text", &[]).message(b'B', bind).execute("", 0).sync();
    assert_eq!(error(&reply.recv_until_ready().await), "22021");
    goes_on(&mut third).await;
    drop(third);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_key_of_a_wrong_type_is_refused_in_postgres_own_words() {
    let scene = Scene::set().await;
    let mut raw = raw().await;
    let words_of = |reply: Reply| words(reply.error().unwrap_or_else(|| panic!("{reply:?}")));
    let invalid = is("22P02", "invalid input syntax for type integer: \"abc\"");
    for sql in [
        "SELECT * FROM t WHERE user_id = 'abc'",
        "INSERT INTO t VALUES ('abc', 'x')",
        "UPDATE t SET name = 'x' WHERE user_id = 'abc'",
        "DELETE FROM t WHERE user_id = 'abc'",
    ] {
        assert_eq!(words_of(raw.query(sql).recv_until_ready().await), invalid, "{sql}");
    }
    raw.parse("", "SELECT * FROM t WHERE user_id = $1", &[]).bind("", "", &[Param::Text("abc")], &[]);
    assert_eq!(words_of(raw.execute("", 0).sync().recv_until_ready().await), invalid);
    let range = words_of(raw.query("SELECT * FROM t WHERE user_id = '99999999999'").recv_until_ready().await);
    assert_eq!(range, is("22003", "value \"99999999999\" is out of range for type integer"));
    for (bytes, code) in [(&b"abc"[..], "08P01"), (b"abcde", "22P03")] {
        raw.parse("", "SELECT * FROM t WHERE user_id = $1", &[]).bind("", "", &[Param::Binary(bytes)], &[]);
        assert_eq!(words_of(raw.execute("", 0).sync().recv_until_ready().await).0, code, "as Postgres says");
    }
    goes_on(&mut raw).await;
    drop(raw);
    scene.is_unharmed().await;
}

#[tokio::test]
async fn a_function_call_and_a_query_amid_a_batch_are_answered() {
    let scene = Scene::set().await;
    let mut first = raw().await;
    assert_eq!(error(&first.message(b'F', &[0; 12]).recv_until_ready().await), "0A000");
    let stray = first.copy_data(b"1\tx\n").copy_done().query("SELECT 7").recv_until_ready().await;
    assert_eq!(stray.texts(), [[Some("7")]], "stray COPY messages are ignored as in Postgres");
    first.query(&format!("SELECT name FROM t WHERE user_id = {}", key_on(1, 2)));
    assert_eq!(first.recv_until_ready().await.tags(), "TCZ");
    drop(first);
    scene.is_unharmed().await;
}
