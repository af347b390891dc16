//! The admin database by the extended protocol, which drivers use for everything.

use shardway_tests::{PASSWORD, Param, RawClient, SharedWorld, World};

use super::support::SCHEMA;

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

async fn raw() -> RawClient {
    let mut raw = RawClient::connect(WORLD.proxy().port()).await;
    raw.login("stats", "shardway", PASSWORD).await;
    raw
}

#[tokio::test]
async fn a_driver_prepares_and_runs_with_binary_results() {
    let stats = WORLD.proxy().connect_to("stats", "shardway").await;
    let statement = stats.prepare("SHOW POOLS").await.unwrap();
    assert_eq!(statement.params(), []);
    for _ in 0..2 {
        let rows = stats.query(&statement, &[]).await.unwrap();
        let console = rows.iter().find(|row| row.get::<_, &str>("database") == "shardway").unwrap();
        assert!(console.get::<_, i32>("cl_active") >= 1);
        assert_eq!(console.get::<_, Option<&str>>("load_balance_hosts"), None);
    }
    let version: String = stats.query_one("SHOW VERSION", &[]).await.unwrap().get(0);
    assert!(version.starts_with("Shardway "));
}

#[tokio::test]
async fn a_pipeline_is_answered_message_by_message() {
    let mut raw = raw().await;
    raw.parse("s", "SHOW STATE;", &[]).describe_statement("s").bind("", "s", &[], &[]);
    raw.describe_portal("").execute("", 2).execute("", 0).close_statement("s").sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.tags(), "1tT2TDDsDC3Z");
    assert_eq!(
        reply.texts(),
        [[Some("active"), Some("yes")], [Some("paused"), Some("no")], [Some("suspended"), Some("no")]]
    );
    assert_eq!(reply.commands(), ["SHOW"]);
}

#[tokio::test]
async fn numbers_come_in_binary_where_that_is_asked_for() {
    let mut raw = raw().await;
    raw.parse("", "SHOW LISTS", &[]).bind("", "", &[], &[0, 1]).describe_portal("").execute("", 1).sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.rows(), [[Some("databases".into()), Some(vec![0, 0, 0, 2].into())]]);
    raw.parse("", "SHOW TOTALS", &[]).bind("", "", &[], &[1]).execute("", 3).sync();
    let reply = raw.recv_until_ready().await;
    let count = reply.rows()[2][1].clone().expect("queries are counted");
    assert!(count.len() >= 8, "a numeric has a head of eight bytes: {count:?}");
}

#[tokio::test]
async fn what_has_no_rows_is_described_so() {
    let mut raw = raw().await;
    raw.parse("", "SET timezone = 'UTC'", &[])
        .bind("", "", &[], &[])
        .describe_portal("")
        .execute("", 0)
        .sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), reply.commands()), ("12nCZ", vec!["SET".to_owned()]));
    raw.parse("", "SHOW HELP", &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0).sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!(reply.of('N').next().unwrap().field('M').as_deref(), Some("Console usage"));
    assert_eq!(reply.tags(), "12nCZ");
    raw.parse("", " ; ", &[]).bind("", "", &[], &[]).describe_portal("").execute("", 0).sync();
    assert_eq!(raw.recv_until_ready().await.tags(), "12nIZ");
    assert_eq!(raw.query("").recv_until_ready().await.tags(), "IZ");
}

#[tokio::test]
async fn after_an_error_everything_waits_for_sync() {
    let mut raw = raw().await;
    raw.parse("", "SHOW NONSENSE", &[]).bind("", "", &[], &[]).execute("", 0).sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!((reply.tags().as_str(), reply.error().unwrap().field('C').as_deref()), ("EZ", Some("42601")));
    raw.parse("", "RELOAD", &[]).bind("", "", &[], &[]).execute("", 0).sync();
    let reply = raw.recv_until_ready().await;
    assert_eq!(
        (reply.tags().as_str(), reply.error().unwrap().field('C').as_deref()),
        ("12EZ", Some("42501"))
    );
    let state = async |raw: &mut RawClient| {
        raw.sync().recv_until_ready().await.error().and_then(|error| error.field('C')).unwrap_or_default()
    };
    assert_eq!(state(raw.bind("", "gone", &[], &[])).await, "26000");
    assert_eq!(state(raw.parse("", "SHOW STATE", &[]).bind("", "", &[Param::Text("1")], &[])).await, "08P01");
    assert_eq!(state(raw.execute("gone", 0)).await, "34000");
    let twice = raw.parse("twice", "SHOW STATE", &[]).parse("twice", "SHOW STATE", &[]);
    assert_eq!(state(twice).await, "42P05");
    assert_eq!(raw.query("SHOW STATE").recv_until_ready().await.tags(), "TDDDCZ");
}

#[tokio::test]
async fn an_unfinished_batch_is_answered_up_to_its_flush() {
    let mut raw = raw().await;
    raw.parse("", "SHOW VERSION", &[]).bind("p", "", &[], &[]).execute("p", 0).flush();
    assert_eq!(raw.recv_until(b'C').await.tags(), "12DC");
    let reply = raw.execute("p", 0).sync().recv_until_ready().await;
    assert_eq!(reply.tags(), "CZ", "a portal that is through gives no more rows");
    assert_eq!(raw.execute("p", 0).sync().recv_until_ready().await.tags(), "EZ", "Sync ends portals");
}
