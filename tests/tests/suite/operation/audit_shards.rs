//! The audit log where several shards write together: which they were, and how that ended.

use shardway_tests::{Cut, RawClient, SharedWorld, Spot, World};

use super::audit::{Audited, brief, briefs};
use super::support::{at_rest, keys_on, soon};

const SCHEMA: &str = "
CREATE TABLE account (user_id int PRIMARY KEY, balance int);
CREATE TABLE entry (user_id int, owner int REFERENCES account DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE rate (id int PRIMARY KEY, n int);
";

/// Two shards, each on a server of its own with a middle before it.
static SHOP: SharedWorld = SharedWorld::new(|| {
    let config =
        "[server]\nauth = 'trust'\n[pool]\nserver_login_retry = '20ms'\ncancel_wait_timeout = '500ms'";
    World::builder().shards(2).servers(2).middles().schema(SCHEMA).config(config).start()
});

/// One test's turn with the middles.
static GATE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Accounts that are there, one on each shard.
fn both(nth: usize) -> [i32; 2] {
    [0, 1].map(|shard| {
        let id = keys_on(shard, 2).nth(nth).expect("a key");
        SHOP.shard(shard as usize).sql(&format!("INSERT INTO account VALUES ({id}, 100)"));
        id
    })
}

fn put(id: i32, balance: i32) -> String {
    format!("UPDATE account SET balance = {balance} WHERE user_id = {id}")
}

/// Says it all; gives the last answer's error.
async fn say(raw: &mut RawClient, statements: &[&str]) -> String {
    let mut code = String::new();
    for sql in statements {
        let reply = raw.query(sql).recv_until_ready().await;
        code = reply.error().and_then(|error| error.field('C')).unwrap_or_default();
    }
    code
}

/// The decider's COMMIT on its way, or (`after`) its answer.
fn decision(after: bool) -> Spot<'static> {
    match after {
        false => SHOP.middle(0).from_client().message(b'Q').holding("COMMIT\0"),
        true => SHOP.middle(0).from_server().message(b'C').holding("COMMIT\0"),
    }
}

#[tokio::test]
async fn a_transaction_over_shards_names_them_one_by_one_and_has_one_end() {
    let _turn = GATE.lock().await;
    let audited = Audited::over(&SHOP, "");
    let mut raw = audited.proxy.raw("app").await;
    let [a, b] = both(0);
    assert_eq!(say(&mut raw, &["BEGIN", &put(a, 1), &put(b, 1), "COMMIT"]).await, "");
    let spread = format!("UPDATE account SET balance = 2 WHERE user_id IN ({a}, {b})");
    assert_eq!(say(&mut raw, &["BEGIN", &spread, "INSERT INTO rate VALUES (1, 1)", "ROLLBACK"]).await, "");
    let lines = audited.lines();
    assert_eq!(
        briefs(&lines),
        [
            "UPDATE ok [public.account] [main/0] 1 null",
            "UPDATE ok [public.account] [main/1] 1 null",
            "transaction committed",
            "UPDATE ok [public.account] [main/0,main/1] 2 null",
            "INSERT ok [public.rate] [main/0,main/1] 1 null",
            "transaction rolled back",
        ]
    );
    assert_eq!(lines[0]["transaction"], lines[2]["transaction"]);
    assert_ne!(lines[0]["transaction"], lines[3]["transaction"]);
}

#[tokio::test]
async fn what_fails_when_it_is_prepared_or_committed_is_rolled_back_and_said_to_be() {
    let _turn = GATE.lock().await;
    let audited = Audited::over(&SHOP, "");
    let mut raw = audited.proxy.raw("app").await;
    let [a, b] = both(1);
    let mut seen = 0;
    // The one that prepares, and the one that decides.
    for (wrong, right) in [(b, a), (a, b)] {
        let entries = [
            format!("INSERT INTO entry VALUES ({right}, {right})"),
            format!("INSERT INTO entry VALUES ({wrong}, -1)"),
        ];
        let mut script = vec!["BEGIN"];
        script.extend(if wrong == b { [&*entries[0], &entries[1]] } else { [&*entries[1], &entries[0]] });
        script.push("COMMIT");
        assert_eq!(say(&mut raw, &script).await, "23503");
        let lines = audited.awaited(seen + 3).await.split_off(seen);
        seen += lines.len();
        assert_eq!(brief(&lines[2]), "transaction rolled back", "{lines:?}");
        // One statement over both: nothing of it stands.
        let split = format!("INSERT INTO entry VALUES ({right}, {right}), ({wrong}, -1)");
        assert_eq!(say(&mut raw, &[&split]).await, "23503");
        let lines = audited.awaited(seen + 1).await.split_off(seen);
        seen += lines.len();
        assert_eq!((lines.len(), &lines[0]["committed"]), (1, &false.into()), "{lines:?}");
        assert_eq!(lines[0]["shards"], serde_json::json!(["main/0", "main/1"]), "{lines:?}");
        // A batch of two.
        for id in [right, wrong] {
            let owner = if id == wrong { -1 } else { id };
            raw.parse("", &format!("INSERT INTO entry VALUES ({id}, {owner})"), &[]);
            raw.bind("", "", &[], &[]).execute("", 0);
        }
        let reply = raw.sync().recv_until_ready().await;
        assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("23503"));
        let lines = audited.awaited(seen + 2).await.split_off(seen);
        seen += lines.len();
        let stands = |line: &serde_json::Value| line["event"] == "statement" && line["committed"] == true;
        assert!(!lines.iter().any(stands), "{lines:?}");
    }
    assert_eq!(SHOP.everywhere("SELECT count(*) FROM entry"), ["0", "0"]);
}

#[tokio::test]
async fn a_decider_that_is_lost_and_asked_again_leaves_a_line_of_what_it_did() {
    let _turn = GATE.lock().await;
    for (after, code, end) in [(true, "", "committed"), (false, "08006", "rolled back")] {
        let audited = Audited::over(&SHOP, "");
        at_rest(&super::support::admin_of(&audited.proxy).await).await;
        let mut raw = audited.proxy.raw("app").await;
        let [a, b] = both(if after { 2 } else { 3 });
        assert_eq!(say(&mut raw, &["BEGIN", &put(a, 1), &put(b, 1)]).await, "");
        let cut = decision(after).cut(Cut::Reset);
        assert_eq!(say(&mut raw, &["COMMIT"]).await, code);
        cut.happened().await;
        let lines = audited.awaited(3).await;
        assert_eq!(brief(&lines[2]), format!("transaction {end}"), "{lines:?}");
        let balance = format!("SELECT balance FROM account WHERE user_id = {a}");
        assert_eq!(SHOP.shard(0).sql(&balance), if after { "1" } else { "100" });
    }
}

#[tokio::test]
async fn who_is_killed_while_it_commits_leaves_a_line_of_unknown_outcome() {
    let _turn = GATE.lock().await;
    let audited = Audited::over(&SHOP, "");
    let admin = super::support::admin_of(&audited.proxy).await;
    at_rest(&admin).await;
    let [a, b] = both(4);
    for explicit in [true, false] {
        let before = audited.lines().len();
        let mut raw = audited.proxy.raw("app").await;
        let spread = format!("UPDATE account SET balance = 9 WHERE user_id IN ({a}, {b})");
        if explicit {
            assert_eq!(say(&mut raw, &["BEGIN", &put(a, 1), &put(b, 1)]).await, "");
        }
        let stalled = decision(true).stall();
        raw.query(if explicit { "COMMIT" } else { &spread }).send().await;
        stalled.happened().await;
        admin.simple_query("KILL shop").await.expect("KILL");
        raw.rest().await;
        stalled.lift();
        admin.simple_query("RESUME shop").await.expect("RESUME");
        let line = soon("the line", async || {
            let lines = audited.lines();
            lines.last().filter(|_| lines.len() > before + if explicit { 2 } else { 0 }).cloned()
        })
        .await;
        match explicit {
            true => assert_eq!(brief(&line), "transaction unknown"),
            false => assert_eq!(
                (&line["outcome"], &line["committed"]),
                (&"unknown".into(), &serde_json::Value::Null)
            ),
        }
        // It is brought to its end all the same.
        let balance = |shard: usize, id: i32| {
            SHOP.shard(shard).sql(&format!("SELECT balance FROM account WHERE user_id = {id}"))
        };
        let expected = if explicit { "1" } else { "9" };
        soon("both to have it", async || {
            ([balance(0, a), balance(1, b)] == [expected, expected]).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_decider_that_stays_away_leaves_a_line_of_unknown_outcome() {
    let world = World::builder()
        .shards(2)
        .servers(2)
        .middles()
        .schema(SCHEMA)
        .config("[server]\nauth = 'trust'")
        .start();
    let audited = Audited::over(&world, "");
    let mut raw = audited.proxy.connect("app").await;
    let [a, b] = [0, 1].map(|shard| keys_on(shard, 2).next().expect("a key"));
    let insert = format!("INSERT INTO account VALUES ({a}, 1), ({b}, 1)");
    let stalled = world.middle(0).from_server().message(b'C').holding("COMMIT\0").stall();
    let client = std::mem::replace(&mut raw, audited.proxy.connect("app").await);
    let text = insert.clone();
    let told = tokio::spawn(async move { client.simple_query(&text).await.map(drop) });
    stalled.happened().await;
    let refused = world.middle(0).refuse();
    world.middle(0).cut_all(Cut::Reset);
    let error = told.await.expect("the client").expect_err("nobody knows what became of it");
    assert_eq!(super::support::code(&error), "08007");
    let lines = audited.awaited(1).await;
    assert_eq!(briefs(&lines), ["INSERT unknown [public.account] [main/0,main/1] null null"]);
    refused.lift();
    soon("both to have it", async || {
        (world.everywhere("SELECT count(*) FROM account") == ["1", "1"]).then_some(())
    })
    .await;
}
