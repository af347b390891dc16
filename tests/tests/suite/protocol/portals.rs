//! Portals: a result taken a few rows at a time.

use shardway_tests::Param;

use super::{SHOP, account, code, same, same_on};

const ROWS: &str = "SELECT n FROM generate_series(1, $1::int) n";

#[tokio::test]
async fn a_portal_is_taken_a_few_rows_at_a_time_within_a_transaction() {
    let reply = same(async |raw| {
        raw.query("BEGIN").recv_until_ready().await;
        raw.parse("", ROWS, &[]).bind("p", "", &[Param::Text("5")], &[]).execute("p", 2).sync();
        let mut messages = raw.recv_until_ready().await.0;
        for _ in 0..3 {
            messages.extend(raw.execute("p", 2).sync().recv_until_ready().await.0);
        }
        messages.extend(raw.query("COMMIT").recv_until_ready().await.0);
        shardway_tests::Reply(messages)
    });
    let reply = reply.await;
    assert_eq!(reply.tags(), "12DDsZDDsZDCZCZCZ");
    assert_eq!(reply.commands(), ["SELECT 1", "SELECT 0", "COMMIT"]);
}

#[tokio::test]
async fn a_portal_on_a_shard_goes_on_where_it_stopped() {
    let id = account(1, "portal rows");
    SHOP.shard(1).sql(&format!("INSERT INTO entry SELECT {id}, n FROM generate_series(1, 5) n"));
    let mut raw = SHOP.raw("app").await;
    raw.query("BEGIN").recv_until_ready().await;
    raw.parse("", "SELECT note FROM entry WHERE user_id = $1 ORDER BY note", &[]);
    raw.bind("p", "", &[Param::Text(&id.to_string())], &[]).execute("p", 2).sync();
    assert_eq!(raw.recv_until_ready().await.texts(), [[Some("1")], [Some("2")]]);

    // Another shard is asked in between.
    let other = account(2, "in between");
    let name = format!("SELECT name FROM account WHERE user_id = {other}");
    assert_eq!(raw.query(&name).recv_until_ready().await.texts(), [[Some("in between")]]);

    let more = raw.describe_portal("p").execute("p", 2).sync().recv_until_ready().await;
    assert_eq!((more.tags(), more.texts() == [[Some("3")], [Some("4")]]), ("TDDsZ".into(), true));
    let last = raw.execute("p", 0).close_portal("p").sync().recv_until_ready().await;
    assert_eq!((last.tags(), last.texts() == [[Some("5")]]), ("DC3Z".into(), true));
    let gone = raw.execute("p", 0).sync().recv_until_ready().await;
    assert_eq!((code(&gone), gone.status()), ("34000".into(), 'E'));
}

#[tokio::test]
async fn two_portals_are_open_at_once() {
    let reply = same(async |raw| {
        raw.query("BEGIN").recv_until_ready().await;
        raw.parse("rows", ROWS, &[]);
        raw.bind("a", "rows", &[Param::Text("3")], &[]).bind("b", "rows", &[Param::Text("2")], &[]);
        raw.execute("a", 1).execute("b", 1).execute("a", 1).execute("b", 0).execute("a", 0).sync();
        raw.recv_until_ready().await
    });
    let reply = reply.await;
    assert_eq!(reply.tags(), "122DsDsDsDCDCZ");
    assert_eq!(reply.texts(), [[Some("1")], [Some("1")], [Some("2")], [Some("2")], [Some("3")]]);
}

#[tokio::test]
async fn a_portal_ends_with_its_transaction() {
    for end in ["COMMIT", "ROLLBACK"] {
        let reply = same(async |raw| {
            raw.query("BEGIN").recv_until_ready().await;
            raw.parse("", ROWS, &[]).bind("p", "", &[Param::Text("5")], &[]).execute("p", 2).sync();
            raw.recv_until_ready().await;
            raw.query(end).recv_until_ready().await;
            raw.execute("p", 2).sync().recv_until_ready().await
        });
        assert_eq!(code(&reply.await), "34000");
    }
}

#[tokio::test]
async fn a_portal_outside_a_transaction_ends_with_its_batch() {
    let reply = same(async |raw| {
        raw.parse("", ROWS, &[])
            .bind("p", "", &[Param::Text("5")], &[])
            .execute("p", 2)
            .execute("p", 2)
            .sync();
        let mut messages = raw.recv_until_ready().await.0;
        messages.extend(raw.execute("p", 2).sync().recv_until_ready().await.0);
        shardway_tests::Reply(messages)
    });
    assert_eq!(reply.await.tags(), "12DDsDDsZEZ");
}

#[tokio::test]
async fn a_portal_goes_on_after_a_flush() {
    let id = account(3, "flush portal");
    SHOP.shard(3).sql(&format!("INSERT INTO entry SELECT {id}, n FROM generate_series(1, 3) n"));
    let mut raw = SHOP.raw("app").await;
    raw.parse("", "SELECT note FROM entry WHERE user_id = $1 ORDER BY note", &[]);
    raw.bind("", "", &[Param::Text(&id.to_string())], &[]).execute("", 2).flush();
    assert_eq!(raw.recv_until(b's').await.tags(), "12DDs");
    let rest = raw.execute("", 2).sync().recv_until_ready().await;
    assert_eq!((rest.tags(), rest.texts() == [[Some("3")]]), ("DCZ".into(), true));
    assert_eq!(raw.execute("", 2).sync().recv_until_ready().await.tags(), "EZ");
}

#[tokio::test]
async fn sql_cursors_are_read_in_both_protocols() {
    let id = account(2, "cursor");
    SHOP.shard(2).sql(&format!("INSERT INTO entry SELECT {id}, n FROM generate_series(1, 9) n"));
    let declare =
        format!("DECLARE c SCROLL CURSOR FOR SELECT note FROM entry WHERE user_id = {id} ORDER BY note");
    let reply = same_on(&SHOP, 2, async |raw| {
        let mut messages = raw.query("BEGIN").recv_until_ready().await.0;
        messages.extend(raw.query(&declare).recv_until_ready().await.0);
        messages.extend(raw.query("FETCH 2 FROM c").recv_until_ready().await.0);
        raw.parse("", "FETCH FORWARD 2 FROM c", &[]).describe_statement("").bind("", "", &[], &[]);
        raw.describe_portal("").execute("", 0).sync();
        messages.extend(raw.recv_until_ready().await.0);
        for sql in ["MOVE 3 FROM c", "FETCH ALL FROM c", "CLOSE c", "FETCH 1 FROM c", "ROLLBACK"] {
            messages.extend(raw.query(sql).recv_until_ready().await.0);
        }
        shardway_tests::Reply(messages)
    });
    let reply = reply.await;
    let notes: Vec<_> = reply.texts().0.into_iter().flatten().flatten().collect();
    assert_eq!((notes.join(""), code(&reply)), ("123489".into(), "34000".into()));
}

#[tokio::test]
async fn a_cursor_without_a_transaction_is_not_there() {
    let reply = same(async |raw| raw.query("FETCH 1 FROM c").recv_until_ready().await);
    assert_eq!(code(&reply.await), "34000");
    let reply = same(async |raw| raw.query("CLOSE ALL").recv_until_ready().await);
    assert_eq!(reply.await.commands(), ["CLOSE CURSOR ALL"]);
}
