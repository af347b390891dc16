//! LISTEN and NOTIFY: clients hear what they would hear at a server of their own, over one connection for all.

use std::sync::LazyLock;

use shardway_tests::{Message, RawClient, Reply, SharedWorld, World};
use tokio::sync::Mutex;

use crate::operation::support::{backends, key_on, keys_on, soon};
use crate::protocol::{ask, code, direct, same_on, value};

const SCHEMA: &str = "
CREATE TABLE t (user_id int PRIMARY KEY, name text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('changed', NEW.name); RETURN NEW; END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tell();
";

const CONFIG: &str = "[pool]\ndefault_pool_size = 2\n[server]\nmax_client_conn = 3000";

/// One server, one database: what is said through Shardway can be compared with what is said past it.
static PLAIN: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).config(CONFIG).start());

/// Four shards on two servers.
static SHOP: SharedWorld =
    SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).config(CONFIG).start());

/// The next notification: who sent it, its channel and its payload. Nothing else may come before it.
async fn heard(raw: &mut RawClient) -> (i32, String, String) {
    let message = raw.recv().await;
    assert_eq!(char::from(message.tag), 'A', "{message:?}");
    notification(&message)
}

fn notification(message: &Message) -> (i32, String, String) {
    let (pid, rest) = message.body.split_first_chunk::<4>().unwrap();
    let mut strings = rest.split(|&byte| byte == 0).map(|s| String::from_utf8_lossy(s).into_owned());
    (i32::from_be_bytes(*pid), strings.next().unwrap(), strings.next().unwrap())
}

/// The payloads of all notifications of an answer.
fn payloads(reply: &Reply) -> Vec<String> {
    reply.of('A').map(|message| notification(message).2).collect()
}

/// The same talk, which gives the same messages but for the process ids.
async fn same(talk: impl AsyncFn(&mut RawClient) -> Reply) -> Reply {
    let anonymous = async |raw: &mut RawClient| {
        let own = raw.cancel_key().0;
        let reply = talk(raw).await;
        let named = |message: Message| {
            if message.tag != b'A' {
                return message;
            }
            let own = u8::from(notification(&message).0 == own);
            Message { body: [&[0, 0, 0, own][..], &message.body[4..]].concat().into(), ..message }
        };
        Reply(reply.0.into_iter().map(named).collect())
    };
    same_on(&PLAIN, 0, anonymous).await
}

/// Asks one after the other; gives all that came.
async fn all(raw: &mut RawClient, texts: &[&str]) -> Reply {
    let mut messages = Vec::new();
    for text in texts {
        messages.extend(ask(raw, text).await.0);
    }
    Reply(messages)
}

/// Whether this process listens on a server.
const LISTENS: &str = "application_name = 'shardway listen'";

#[tokio::test]
async fn a_client_hears_itself_before_it_is_told_that_it_may_go_on() {
    let reply = same(async |raw| {
        all(raw, &["LISTEN self", "NOTIFY self, 'a'", "SELECT pg_notify('self', 'b')", "NOTIFY other"]).await
    });
    // In the place of the process id stands whether it is the client's own.
    let reply = reply.await;
    assert_eq!(reply.tags(), "CZCAZTDCAZCZ");
    assert!(reply.of('A').all(|message| notification(message).0 == 1), "{reply:?}");
}

#[tokio::test]
async fn nobody_takes_anothers_notification_for_its_own() {
    let (mut listener, mut notifier) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
    ask(&mut listener, "LISTEN another").await;
    for n in 0..50 {
        // Both use the same few servers in turn.
        ask(&mut notifier, &format!("NOTIFY another, '{n}'")).await;
        let reply = ask(&mut listener, &format!("NOTIFY another, 'own {n}'")).await;
        let all: Vec<_> = reply.of('A').map(notification).collect();
        assert_eq!(all.len(), 2, "{reply:?}");
        assert_eq!((all[0].2.as_str(), all[1].2.as_str()), (&*n.to_string(), &*format!("own {n}")));
        let own = listener.cancel_key().0;
        assert!(all[0].0 != own && all[1].0 == own, "{all:?}");
    }
}

#[tokio::test]
async fn what_was_said_before_listening_is_not_heard_and_what_is_said_after_it_is() {
    let _link = {
        let mut raw = PLAIN.raw("app").await;
        ask(&mut raw, "LISTEN instant").await;
        raw
    };
    for n in 0..50 {
        let (mut raw, mut other) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
        ask(&mut other, &format!("NOTIFY instant, 'before {n}'")).await;
        assert_eq!(ask(&mut raw, "LISTEN instant").await.tags(), "CZ");
        ask(&mut other, &format!("NOTIFY instant, 'after {n}'")).await;
        assert_eq!(heard(&mut raw).await.2, format!("after {n}"));
    }
}

#[tokio::test]
async fn listening_takes_effect_with_its_transaction() {
    let reply = same(async |raw| {
        let texts = [
            "BEGIN",
            "LISTEN a",
            "NOTIFY a, '1'",
            "COMMIT",
            "NOTIFY a, '2'",
            "BEGIN",
            "LISTEN b",
            "ROLLBACK",
            "NOTIFY b, 'never'",
            "BEGIN",
            "UNLISTEN a",
            "SELECT 1",
            "ROLLBACK",
            "NOTIFY a, '3'",
            "BEGIN",
            "SAVEPOINT s",
            "LISTEN c",
            "ROLLBACK TO s",
            "LISTEN d",
            "COMMIT",
            "NOTIFY c, 'never'",
            "NOTIFY d, '4'",
            "BEGIN",
            "LISTEN e",
            "SELECT 1/0",
            "COMMIT",
            "NOTIFY e, 'never'",
            "LISTEN f; SELECT 1/0",
            "NOTIFY f, 'never'",
            "LISTEN f; SELECT 1",
            "NOTIFY f, '5'",
            "UNLISTEN a; NOTIFY a, 'never'; NOTIFY d, '6'",
            "UNLISTEN *",
            "NOTIFY d, 'never'",
        ];
        all(raw, &texts).await
    });
    assert_eq!(payloads(&reply.await), ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_transaction_is_not_disturbed() {
    let (mut listener, mut notifier) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
    all(&mut listener, &["LISTEN quiet", "BEGIN", "SELECT 1"]).await;
    for n in 0..3 {
        ask(&mut notifier, &format!("NOTIFY quiet, '{n}'")).await;
        assert_eq!(ask(&mut listener, "SELECT 1").await.tags(), "TDCZ");
    }
    let reply = soon("all of them", async || {
        let reply = ask(&mut listener, "COMMIT; BEGIN").await;
        (!payloads(&reply).is_empty()).then_some(reply)
    });
    // The text has left a transaction open: they wait for its end.
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), reply).await;
    assert!(early.is_err(), "{early:?}");
}

#[tokio::test]
async fn what_came_in_a_transaction_is_heard_at_its_end() {
    let (mut listener, mut notifier) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
    all(&mut listener, &["LISTEN later", "BEGIN", "SELECT 1"]).await;
    for n in 0..3 {
        ask(&mut notifier, &format!("NOTIFY later, '{n}'")).await;
    }
    let mut all = payloads(&ask(&mut listener, "COMMIT").await);
    while all.len() < 3 {
        all.push(heard(&mut listener).await.2);
    }
    assert_eq!(all, ["0", "1", "2"]);
}

#[tokio::test]
async fn notifications_come_in_the_order_of_their_commits() {
    let (mut listener, mut past) = (PLAIN.raw("app").await, direct(&PLAIN, 0).await);
    ask(&mut listener, "LISTEN ordered").await;
    ask(&mut past, "LISTEN ordered").await;
    let notifiers: Vec<_> = (0..4)
        .map(|who| {
            tokio::spawn(async move {
                let mut raw = PLAIN.raw("app").await;
                for n in 0..50 {
                    ask(&mut raw, &format!("NOTIFY ordered, '{who} {n}'")).await;
                }
            })
        })
        .collect();
    for notifier in notifiers {
        notifier.await.unwrap();
    }
    for _ in 0..200 {
        // Process ids too: these are the servers'.
        assert_eq!(heard(&mut listener).await, heard(&mut past).await);
    }
}

#[tokio::test]
async fn a_thousand_clients_listen_over_one_connection() {
    const CLIENTS: usize = 1000;
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS / 50 {
        let logins: Vec<_> = (0..50).map(|_| tokio::spawn(PLAIN.raw("app"))).collect();
        for login in logins {
            clients.push(login.await.unwrap());
        }
    }
    for (n, raw) in clients.iter_mut().enumerate() {
        raw.query(&format!("LISTEN everybody; LISTEN own_{n}")).send().await;
    }
    for raw in &mut clients {
        assert_eq!(raw.recv_until_ready().await.tags(), "CCZ");
    }
    assert_eq!(backends(&PLAIN, 0, &format!("{LISTENS} AND datname = 'shop_0'")), 1);
    let at_all = backends(&PLAIN, 0, "datname = 'shop_0' AND backend_type = 'client backend'");
    // The pool's, and some of the other tests' own.
    assert!(at_all < 50, "{at_all} connections");
    let mut notifier = PLAIN.raw("app").await;
    for text in ["NOTIFY everybody, 'a'", "NOTIFY own_7, 'for one'", "NOTIFY everybody, 'b'"] {
        ask(&mut notifier, text).await;
    }
    for (n, raw) in clients.iter_mut().enumerate() {
        assert_eq!(heard(raw).await.2, "a");
        if n == 7 {
            assert_eq!(heard(raw).await.2, "for one");
        }
        assert_eq!(heard(raw).await.2, "b");
    }
    // They can do their work meanwhile.
    assert_eq!(ask(&mut clients[3], "SELECT 1").await.tags(), "TDCZ");
}

#[tokio::test]
async fn who_unlistens_or_discards_all_hears_no_more() {
    let reply = same(async |raw| {
        let texts = [
            "LISTEN a",
            "LISTEN b",
            "LISTEN \"A\"",
            "NOTIFY a, '1'",
            "UNLISTEN a",
            "NOTIFY a, 'never'",
            "NOTIFY \"A\", '2'",
            "UNLISTEN nothing",
            "DISCARD ALL",
            "NOTIFY b, 'never'",
            "LISTEN b",
            "NOTIFY b, '3'",
        ];
        all(raw, &texts).await
    });
    assert_eq!(payloads(&reply.await), ["1", "2", "3"]);
}

#[tokio::test]
async fn the_extended_protocol_listens_too() {
    let reply = same(async |raw| {
        let mut messages = Vec::new();
        raw.parse("", "LISTEN x", &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0).sync();
        messages.extend(raw.recv_until_ready().await.0);
        raw.parse("n", "NOTIFY x, 'a'", &[]).bind("", "n", &[], &[]).execute("", 0).sync();
        messages.extend(raw.recv_until_ready().await.0);
        // One batch is one transaction.
        raw.parse("", "LISTEN y", &[]).bind("", "", &[], &[]).execute("", 0);
        raw.parse("", "SELECT 1/0", &[]).bind("", "", &[], &[]).execute("", 0).sync();
        messages.extend(raw.recv_until_ready().await.0);
        raw.parse("", "NOTIFY y, 'never'", &[]).bind("", "", &[], &[]).execute("", 0).sync();
        messages.extend(raw.recv_until_ready().await.0);
        raw.parse("", "UNLISTEN x", &[]).bind("", "", &[], &[]).execute("", 0).sync();
        messages.extend(raw.recv_until_ready().await.0);
        Reply(messages)
    });
    assert_eq!(payloads(&reply.await), ["a"]);
}

#[tokio::test]
async fn a_client_can_ask_what_it_listens_to() {
    const ASK: &str = "SELECT pg_listening_channels()";
    let reply = same(async |raw| {
        let texts = [
            ASK,
            "LISTEN b",
            "LISTEN a",
            "LISTEN \"A b\"",
            "LISTEN b",
            ASK,
            "BEGIN",
            "UNLISTEN b",
            ASK,
            "COMMIT",
            "SELECT * FROM pg_listening_channels();",
        ];
        let mut messages = all(raw, &texts).await.0;
        // Object ids and sizes apart, it is what Postgres says.
        messages.retain(|message| message.tag != b'T');
        Reply(messages)
    });
    let last: Vec<_> = reply.await.texts().0.into_iter().rev().take(2).flatten().flatten().collect();
    assert_eq!(last, ["A b", "a"]);
    let mut raw = PLAIN.raw("app").await;
    ask(&mut raw, "LISTEN x").await;
    raw.parse("", ASK, &[])
        .describe_statement("")
        .bind("", "", &[], &[])
        .describe_portal("")
        .execute("", 0)
        .sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), value(&reply).as_str()), ("1tT2TDCZ", "x"));
    // Where it can't be answered, it is not answered with what a server listens to.
    assert_eq!(code(&ask(&mut raw, "SELECT count(*) FROM pg_listening_channels()").await), "0A000");
}

#[tokio::test]
async fn what_can_be_no_channel_is_refused_in_postgres_words() {
    for text in
        ["LISTEN", "LISTEN user", "LISTEN 'a'", "LISTEN a b", "LISTEN \"\"", "UNLISTEN", "NOTIFY a, 1"]
    {
        let reply = same(async |raw| all(raw, &[text]).await).await;
        assert_eq!(code(&reply), "42601", "{text}");
    }
}

#[tokio::test]
async fn listeners_hear_of_all_shards() {
    let mut listener = SHOP.raw("app").await;
    ask(&mut listener, "LISTEN changed").await;
    let mut writer = SHOP.raw("app").await;
    for shard in 0..4 {
        let key = keys_on(shard, 4).nth(1).unwrap();
        ask(&mut writer, &format!("INSERT INTO t VALUES ({key}, 'on {shard}')")).await;
        assert_eq!(heard(&mut listener).await.2, format!("on {shard}"));
        let own = ask(&mut listener, &format!("UPDATE t SET name = 'own' WHERE user_id = {key}")).await;
        assert_eq!(own.tags(), "CAZ");
        assert_eq!(notification(own.of('A').next().unwrap()).0, listener.cancel_key().0);
    }
    ask(&mut writer, "NOTIFY changed, 'said'").await;
    assert_eq!(heard(&mut listener).await.2, "said");
}

/// Tests that end the link of a world must not meet.
static LINKS: LazyLock<Mutex<World>> = LazyLock::new(|| {
    Mutex::new(
        World::builder()
            .schema(SCHEMA)
            .config(CONFIG)
            .config("[routing]\nhealth_check_interval = '200ms'")
            .replicas(1)
            .start(),
    )
});

#[tokio::test]
async fn who_may_have_missed_something_is_closed_and_may_listen_again() {
    let world = LINKS.lock().await;
    let (mut listener, mut other) = (world.raw("app").await, world.raw("app").await);
    let mut busy = world.raw("app").await;
    ask(&mut listener, "LISTEN lost").await;
    all(&mut busy, &["LISTEN lost", "BEGIN", "SELECT 1"]).await;
    let ended = world
        .shard(0)
        .sql(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {LISTENS}"));
    assert_eq!(ended, "1");
    let last = listener.expect_closed().await;
    assert_eq!((code(&last).as_str(), last.tags().as_str()), ("57P01", "E"));
    // Who is in a transaction may end it first, and who listens to nothing has missed nothing.
    assert_eq!(ask(&mut busy, "COMMIT").await.tags(), "CZ");
    assert_eq!(code(&busy.expect_closed().await), "57P01");
    assert_eq!(ask(&mut other, "LISTEN lost").await.tags(), "CZ");
    ask(&mut other, "NOTIFY lost, 'found'").await;
}

#[tokio::test]
async fn listeners_follow_a_failover() {
    let world = World::builder()
        .replicas(1)
        .schema(SCHEMA)
        .config("[pool]\nserver_login_retry = '200ms'\n[routing]\nhealth_check_interval = '200ms'")
        .start();
    let mut listener = world.raw("app").await;
    ask(&mut listener, "LISTEN changed").await;
    world.wait_for_replicas();
    world.server(0).kill().unwrap();
    assert_eq!(code(&listener.expect_closed().await), "57P01");
    // Without a primary there is nothing to listen to.
    let mut listener = soon("a client to be let in", async || {
        let mut raw = RawClient::connect(world.proxy().port()).await;
        let startup = [("user", "app"), ("database", shardway_tests::DATABASE)];
        raw.try_login(&startup, shardway_tests::PASSWORD).await.ok().map(|_| raw)
    })
    .await;
    let refused = ask(&mut listener, "LISTEN changed").await;
    assert!(code(&refused).starts_with("08") || code(&refused) == "57P03", "{refused:?}");
    world.replica(0, 0).promote().unwrap();
    soon("listening", async || (ask(&mut listener, "LISTEN changed").await.tags() == "CZ").then_some(()))
        .await;
    let key = key_on(0, 1);
    let mut writer = world.raw("app").await;
    ask(&mut writer, &format!("INSERT INTO t VALUES ({key}, 'promoted')")).await;
    assert_eq!(heard(&mut listener).await.2, "promoted");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_stops_nobody() {
    let (mut deaf, mut listener) = (SHOP.raw("app").await, SHOP.raw("app").await);
    ask(&mut deaf, "LISTEN flood").await;
    ask(&mut listener, "LISTEN flood").await;
    let mut notifier = SHOP.raw("app").await;
    // 4 MB are held for it, and some more by the two ends of its connection.
    for n in 0..4000 {
        let payload = format!("{n} {}", "x".repeat(7900));
        ask(&mut notifier, &format!("NOTIFY flood, '{payload}'")).await;
        assert_eq!(heard(&mut listener).await.2, payload);
    }
    // In the middle of a message that it did not take, nothing more can be said to it.
    let last = deaf.rest().await;
    assert!(deaf.unread().len() > 5 || code(&last) == "54000", "{:?}", last.last());
    let got: Vec<usize> =
        payloads(&last).iter().map(|payload| payload.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(got.iter().copied().eq(0..got.len()) && got.len() < 4000, "{} notifications", got.len());
}

#[tokio::test]
async fn a_client_that_stays_in_a_transaction_is_owed_so_much_and_no_more() {
    let (mut busy, mut notifier) = (SHOP.raw("app").await, SHOP.raw("app").await);
    let mut witness = SHOP.raw("app").await;
    ask(&mut witness, "LISTEN pile").await;
    all(&mut busy, &["LISTEN pile", "BEGIN", "SELECT 1"]).await;
    for n in 0..600 {
        ask(&mut notifier, &format!("NOTIFY pile, '{n} {}'", "x".repeat(7900))).await;
        heard(&mut witness).await;
    }
    assert_eq!(ask(&mut busy, "SELECT 1").await.tags(), "TDCZ");
    assert_eq!(ask(&mut busy, "COMMIT").await.tags(), "CZ");
    let last = busy.expect_closed().await;
    assert_eq!((code(&last).as_str(), last.tags().as_str()), ("54000", "E"));
}

#[tokio::test]
async fn a_notification_that_an_encoding_can_not_express_ends_its_client() {
    let (mut listener, mut notifier) = (PLAIN.raw("app").await, PLAIN.raw("app").await);
    all(&mut listener, &["SET client_encoding TO 'LATIN1'", "LISTEN encoded"]).await;
    ask(&mut notifier, "NOTIFY encoded, 'plain'").await;
    assert_eq!(heard(&mut listener).await.2, "plain");
    ask(&mut notifier, "NOTIFY encoded, 'grüße'").await;
    assert_eq!(code(&listener.expect_closed().await), "22P05");
}
