//! The extended protocol, one batch at a time.

use shardway_tests::Param;

use super::{PLAIN, SHOP, account, code, key, same, same_on};

const BY_KEY: &str = "SELECT name FROM account WHERE user_id = $1";

#[tokio::test]
async fn an_unnamed_statement_is_run() {
    let reply = same(async |raw| {
        raw.parse("", "SELECT $1::int + 1 AS next", &[]).bind("", "", &[Param::Text("41")], &[]);
        raw.describe_portal("").execute("", 0).sync().recv_until_ready().await
    });
    let reply = reply.await;
    assert_eq!((reply.tags().as_str(), reply.texts() == [[Some("42")]]), ("12TDCZ", true));
}

#[tokio::test]
async fn nothing_is_a_statement_too() {
    let reply = same(async |raw| {
        raw.parse("", " -- nothing", &[]).describe_statement("").bind("", "", &[], &[]);
        raw.describe_portal("").execute("", 0).sync().recv_until_ready().await
    });
    assert_eq!(reply.await.tags(), "1tn2nIZ");
}

#[tokio::test]
async fn a_parse_alone_is_answered() {
    let mut raw = SHOP.raw("app").await;
    assert_eq!(raw.parse("", BY_KEY, &[]).sync().recv_until_ready().await.tags(), "1Z");
    assert_eq!(raw.parse("named", BY_KEY, &[]).sync().recv_until_ready().await.tags(), "1Z");
    assert_eq!(raw.parse("flushed", BY_KEY, &[]).flush().recv_until(b'1').await.tags(), "1");
    assert_eq!(raw.sync().recv_until_ready().await.tags(), "Z");
}

#[tokio::test]
async fn a_statement_is_described_before_any_key_is_known() {
    let (a, b) = (account(0, "described a"), account(3, "described b"));
    let mut raw = SHOP.raw("app").await;
    let described = raw.parse("s", BY_KEY, &[]).describe_statement("s").sync().recv_until_ready().await;
    assert_eq!(described.tags(), "1tTZ");
    assert_eq!(described.of('t').next().unwrap().body[..], [0, 1, 0, 0, 0, 23]);
    assert_eq!(described.of('T').next().unwrap().columns(), [("name".into(), 25)]);
    for (id, name) in [(a, "described a"), (b, "described b"), (a, "described a")] {
        raw.bind("", "s", &[Param::Binary(&id.to_be_bytes())], &[]).execute("", 0).sync();
        assert_eq!(raw.recv_until_ready().await.texts(), [[Some(name)]]);
    }
}

#[tokio::test]
async fn a_statement_without_a_key_is_described_by_any_shard() {
    let mut raw = SHOP.raw("app").await;
    let sql = "SELECT user_id, name FROM account ORDER BY user_id LIMIT $1";
    let reply = raw.parse("", sql, &[]).describe_statement("").sync().recv_until_ready().await;
    assert_eq!(reply.tags(), "1tTZ");
    assert_eq!(reply.of('T').next().unwrap().columns(), [("user_id".into(), 23), ("name".into(), 25)]);
}

#[tokio::test]
async fn a_portal_is_described() {
    let id = account(1, "portal");
    let described = same_on(&SHOP, 1, async |raw| {
        raw.parse("", "UPDATE account SET balance = 5 WHERE user_id = $1 RETURNING balance, name", &[]);
        raw.bind("p", "", &[Param::Text(&id.to_string())], &[1, 0]).describe_portal("p");
        raw.execute("p", 0).close_portal("p").sync().recv_until_ready().await
    });
    assert_eq!(described.await.tags(), "12TDC3Z");
    let nothing = same_on(&SHOP, 1, async |raw| {
        raw.parse("", "UPDATE account SET balance = 6 WHERE user_id = $1", &[]).describe_statement("");
        raw.bind("p", "", &[Param::Text(&id.to_string())], &[]).describe_portal("p").execute("p", 0);
        raw.sync().recv_until_ready().await
    });
    assert_eq!(nothing.await.tags(), "1tn2nCZ");
}

#[tokio::test]
async fn parameters_and_results_may_be_binary() {
    let values =
        "SELECT $1::int8, $2::text, $3::bool, $4::bytea, $5::float8, $6::uuid, $7::timestamptz, $8::int4[]";
    let uuid = [7; 16];
    let array = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9];
    let sent: [&[u8]; 8] = [
        &77i64.to_be_bytes(),
        "ä\n".as_bytes(),
        &[1],
        &[0, 255, 0],
        &2.5f64.to_be_bytes(),
        &uuid,
        &123_456_789i64.to_be_bytes(),
        &array,
    ];
    let reply = same(async |raw| {
        raw.parse("", values, &[]).bind("", "", &sent.map(Param::Binary), &[1]).execute("", 0).sync();
        raw.recv_until_ready().await
    });
    let received = reply.await.rows().remove(0);
    assert_eq!(received.iter().map(|value| &value.as_ref().unwrap()[..]).collect::<Vec<_>>(), sent);
}

#[tokio::test]
async fn many_parameters_are_bound() {
    const MANY: usize = 30_000;
    let sum = (1..=MANY).map(|n| format!("${n}::int")).collect::<Vec<_>>().join(",");
    let sql = format!("SELECT sum(v) FROM unnest(ARRAY[{sum}]) v");
    let reply = same(async |raw| {
        raw.parse("", &sql, &[]).bind("", "", &vec![Param::Text("2"); MANY], &[]).execute("", 0).sync();
        raw.recv_until_ready().await
    });
    assert_eq!(reply.await.texts(), [[Some("60000")]]);
}

#[tokio::test]
async fn parameters_may_be_null_and_their_types_declared() {
    let reply = same(async |raw| {
        raw.parse("", "SELECT $1, $2", &[1043, 20]).describe_statement("");
        raw.bind("", "", &[Param::Null, Param::Text("5")], &[0, 1])
            .execute("", 0)
            .sync()
            .recv_until_ready()
            .await
    });
    assert_eq!(reply.await.rows(), [[None, Some(5i64.to_be_bytes().to_vec().into())]]);
}

#[tokio::test]
async fn writes_by_key_reach_their_shard() {
    let mut raw = SHOP.raw("app").await;
    raw.parse("put", "INSERT INTO account VALUES ($1, $2, 1) RETURNING balance", &[]);
    for shard in 0..4 {
        let id = key(shard);
        raw.bind("", "put", &[Param::Binary(&id.to_be_bytes()), Param::Null], &[]).execute("", 0).sync();
        let reply = raw.recv_until_ready().await;
        assert_eq!((reply.error(), reply.texts() == [[Some("1")]]), (None, true));
        assert_eq!(SHOP.shard(shard).sql(&format!("SELECT balance FROM account WHERE user_id = {id}")), "1");
    }
}

#[tokio::test]
async fn a_read_of_all_shards_is_bound_like_any_other() {
    let ids = [0, 1, 2, 3].map(|shard| account(shard, &format!("all {shard}")));
    let mut raw = SHOP.raw("app").await;
    let sql = "SELECT user_id, name FROM account WHERE user_id >= $1 AND name LIKE 'all _' ORDER BY user_id LIMIT $2";
    raw.parse("all", sql, &[]).describe_statement("all");
    raw.bind("", "all", &[Param::Binary(&ids[1].to_be_bytes()), Param::Text("2")], &[1, 0]);
    let reply = raw.describe_portal("").execute("", 0).sync().recv_until_ready().await;
    assert_eq!(reply.tags(), "1tT2TDDCZ");
    let expected = [1, 2].map(|shard| {
        vec![Some(ids[shard].to_be_bytes().to_vec().into()), Some(format!("all {shard}").into())]
    });
    assert_eq!(reply.rows(), expected);
    assert_eq!(reply.commands(), ["SELECT 2"]);
}

#[tokio::test]
async fn closing_what_is_not_there_is_fine() {
    let reply =
        same(async |raw| raw.close_statement("none").close_portal("none").sync().recv_until_ready().await);
    assert_eq!(reply.await.tags(), "33Z");
    let mut raw = SHOP.raw("app").await;
    assert_eq!(
        raw.close_portal("none").close_statement("none").sync().recv_until_ready().await.tags(),
        "33Z"
    );
}

#[tokio::test]
async fn messages_that_make_no_sense_are_an_error_of_their_batch() {
    let wrong: [(&str, &[u8], &str); 4] = [
        ("Bind of nothing", b"\0none\0\0\0\0\0\0\0", "26000"),
        ("Bind cut short", b"\0none\0\0\x01", "08P01"),
        ("Bind without an end", b"\0none", "08P01"),
        ("Bind with too few formats", b"\0\0\0\x09\0\0\0\0\0\0", "08P01"),
    ];
    for world in [&PLAIN, &SHOP] {
        let mut raw = world.raw("app").await;
        for (what, body, expected) in wrong {
            let reply = raw.message(b'B', body).execute("", 0).sync().recv_until_ready().await;
            assert_eq!((reply.tags().as_str(), code(&reply).as_str()), ("EZ", expected), "{what}");
        }
        assert_eq!(raw.query("SELECT 1").recv_until_ready().await.tags(), "TDCZ");
    }
}

#[tokio::test]
async fn the_function_call_protocol_is_refused() {
    let mut raw = PLAIN.raw("app").await;
    let reply = raw.message(b'F', b"\0\0\0\x01\0\0\0\0\0\0").recv_until_ready().await;
    assert_eq!((reply.tags(), code(&reply)), ("EZ".into(), "0A000".into()));
}
