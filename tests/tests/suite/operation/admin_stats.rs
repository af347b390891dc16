//! What is counted: SHOW STATS and its kin, and what the SHOWs of single connections know of time and statements.

use std::collections::HashSet;

use shardway_tests::{Proxy, RawClient, SharedWorld, World};
use tokio_postgres::Client;

use super::support::{SCHEMA, Shown, admin_of, at_rest, key_on, lines, pooled, show, soon, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

fn on(shard: u32) -> String {
    format!("SELECT name FROM t WHERE user_id = {}", key_on(shard, 2))
}

fn number(row: &Shown, column: &str) -> u64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {row:?}"))
}

/// What was counted for the database, once so many queries have been: counting comes after the answer.
async fn counted(admin: &Client, queries: u64) -> Shown {
    soon("it to be counted", async || {
        let row = show(admin, "STATS_TOTALS").await.into_iter().find(|row| row["database"] == "shop")?;
        (number(&row, "query_count") >= queries).then_some(row)
    })
    .await
}

async fn says(raw: &mut RawClient, sql: &str) -> usize {
    assert!(raw.query(sql).recv_until_ready().await.error().is_none(), "{sql}");
    // Tag, length, text and its end.
    1 + 4 + sql.len() + 1
}

#[tokio::test]
async fn messages_transactions_assignments_and_bytes_are_counted_as_by_pgbouncer() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut raw = proxy.raw("app").await;
    says(&mut raw, &on(0)).await;
    let before = counted(&admin, 1).await;
    let mut bytes = 0;
    for sql in [&on(0), &on(1), "BEGIN", &on(1), &on(1), "COMMIT", "SELECT count(*) FROM t"] {
        bytes += says(&mut raw, sql).await;
    }
    let after = counted(&admin, 8).await;
    let grown = |column: &str| number(&after, column) - number(&before, column);
    assert_eq!((grown("query_count"), grown("xact_count")), (7, 4));
    // One for each statement by itself, one for the transaction, one for each shard of the last statement.
    assert_eq!(grown("server_assignment_count"), 5);
    assert_eq!(grown("bytes_received"), bytes as u64);
    assert!(grown("bytes_sent") > 7 * 6, "{after:?}");
    assert!(grown("xact_time") >= grown("query_time") && grown("query_time") > 0, "{after:?}");
    let totals = show(&admin, "TOTALS").await;
    assert_eq!(totals.len(), 22);
    let total = |name: &str| totals.iter().find(|row| row["name"] == name).unwrap()["value"].clone();
    // The console's own client is one more.
    assert_eq!((total("total_query_count"), total("total_xact_count")), ("9".into(), "6".into()));
    assert_eq!((&*totals[3]["name"], &*totals[21]["name"]), ("total_client_bytes", "avg_ps_bind_count"));
    let stats = show(&admin, "STATS").await.into_iter().find(|row| row["database"] == "shop").unwrap();
    assert_eq!((number(&stats, "total_query_count"), number(&stats, "total_xact_count")), (8, 5));
}

#[tokio::test]
async fn times_are_those_of_statements_transactions_and_waits() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = admin_of(&proxy).await;
    let (holder, waiting) = (proxy.connect("app").await, proxy.connect("app").await);
    lines(&holder, &format!("BEGIN; {}", on(0))).await;
    let waits = tokio::spawn(async move { lines(&waiting, &on(0)).await });
    soon("it to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    lines(&holder, "SELECT pg_sleep(0.3)").await;
    let clients = show(&admin, "CLIENTS").await;
    let client =
        clients.iter().find(|row| row["state"] == "waiting").unwrap_or_else(|| panic!("{clients:?}"));
    assert!(number(client, "wait") * 1_000_000 + number(client, "wait_us") >= 300_000, "{client:?}");
    let pools = show(&admin, "POOLS").await;
    let pool = pools.iter().find(|row| row["database"] == "shop").unwrap();
    assert!(number(pool, "maxwait") * 1_000_000 + number(pool, "maxwait_us") >= 300_000, "{pool:?}");
    lines(&holder, "COMMIT").await;
    waits.await.unwrap();
    let row = counted(&admin, 4).await;
    assert!(number(&row, "wait_time") >= 300_000, "{row:?}");
    assert!(number(&row, "query_time") >= 600_000, "one slept, the other one waited for it: {row:?}");
    assert!(number(&row, "xact_time") >= number(&row, "query_time"), "{row:?}");
    let pools = show(&admin, "POOLS").await;
    let pool = pools.iter().find(|row| row["database"] == "shop").unwrap();
    assert_eq!((pool["maxwait"].as_str(), pool["maxwait_us"].as_str()), ("0", "0"));
}

async fn clients_row(admin: &Client) -> Shown {
    show(admin, "CLIENTS").await.into_iter().find(|row| row["user"] == "app").unwrap()
}

#[tokio::test]
async fn prepared_statements_are_counted_where_they_are() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = admin_of(&proxy).await;
    let mut raw = proxy.raw("app").await;
    for name in ["a", "b"] {
        raw.parse(name, &on(0), &[]).bind("", name, &[], &[]).execute("", 0).sync();
        raw.recv_until_ready().await;
    }
    raw.bind("", "a", &[], &[]).execute("", 0).sync();
    raw.recv_until_ready().await;
    raw.parse("", &on(0), &[]).bind("", "", &[], &[]).execute("", 0).sync();
    raw.recv_until_ready().await;
    let row = counted(&admin, 4).await;
    assert_eq!((number(&row, "client_parse_count"), number(&row, "bind_count")), (2, 3));
    assert_eq!(number(&row, "server_parse_count"), 1, "one text is prepared once");
    assert_eq!(clients_row(&admin).await["prepared_statements"], "2");
    at_rest(&admin).await;
    let servers = show(&admin, "SERVERS").await;
    assert_eq!(servers.iter().map(|row| number(row, "prepared_statements")).sum::<u64>(), 1);
    says(&mut raw, "BEGIN").await;
    raw.parse("c", &on(1), &[]).bind("", "c", &[], &[]).execute("", 0).sync();
    raw.recv_until_ready().await;
    let at_work = show(&admin, "SERVERS").await.into_iter().find(|row| row["state"] == "active").unwrap();
    assert_eq!(at_work["prepared_statements"], "1");
    says(&mut raw, "COMMIT").await;
    raw.close_statement("c").close_statement("a").sync();
    raw.recv_until_ready().await;
    assert_eq!(clients_row(&admin).await["prepared_statements"], "1");
    says(&mut raw, "DEALLOCATE ALL").await;
    assert_eq!(clients_row(&admin).await["prepared_statements"], "0");
}

#[tokio::test]
async fn servers_say_who_they_are_and_what_they_last_did() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = admin_of(&proxy).await;
    let app = proxy.connect("app").await;
    lines(&app, "SELECT * FROM t").await;
    at_rest(&admin).await;
    let servers = show(&admin, "SERVERS").await;
    assert_eq!(servers.len(), 2, "{servers:?}");
    for row in &servers {
        assert_eq!((row["state"].as_str(), row["local_addr"].as_str()), ("idle", "127.0.0.1"));
        assert!(number(row, "local_port") > 0 && number(row, "remote_pid") > 0, "{row:?}");
        assert!(
            row["connect_time"].ends_with(" UTC") && row["request_time"] >= row["connect_time"],
            "{row:?}"
        );
        assert_eq!((row["tls"].as_str(), row["close_needed"].as_str()), ("", "0"));
    }
    let ids = async || {
        let rows = [show(&admin, "SERVERS").await, show(&admin, "CLIENTS").await].concat();
        rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    let first = ids().await;
    assert_eq!(first, ids().await, "a connection's number is its own");
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 4, "{first:?}");

    lines(&app, "BEGIN").await;
    lines(&app, &on(0)).await;
    lines(&admin, "RECONNECT").await;
    let servers = show(&admin, "SERVERS").await;
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!((servers[0]["state"].as_str(), servers[0]["close_needed"].as_str()), ("active", "1"));
    assert_eq!(servers[0]["request_time"], clients_row(&admin).await["request_time"]);
    lines(&app, "COMMIT").await;
}

#[tokio::test]
async fn a_server_that_stays_with_its_client_is_linked_to_it() {
    let proxy = WORLD.another_proxy_with("[pool]\nmode = 'session'");
    let admin = admin_of(&proxy).await;
    let app = proxy.connect("app").await;
    let pid = value(&app, "/* shard: 1 */ SELECT pg_backend_pid()").await;
    let client = clients_row(&admin).await;
    assert_eq!(client["state"], "active");
    let servers = show(&admin, "SERVERS").await;
    let server = servers.iter().find(|row| row["remote_pid"] == pid).unwrap();
    assert_eq!((&server["state"][..], &server["link"]), ("active", &client["ptr"]));
    drop(app);
    soon("it to be idle", async || {
        let servers = show(&admin, "SERVERS").await;
        servers.iter().any(|row| row["remote_pid"] == pid && row["state"] == "idle").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_is_called_what_it_calls_itself() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let app = proxy.connect("app").await;
    lines(&app, "SET application_name = 'till 7'").await;
    assert_eq!(clients_row(&admin).await["application_name"], "till 7");
    assert!(clients_row(&admin).await["request_time"] >= clients_row(&admin).await["connect_time"]);
    lines(&app, "BEGIN").await;
    let pid = value(&app, "SELECT pg_backend_pid()").await;
    let servers = show(&admin, "SERVERS").await;
    let server = servers.iter().find(|row| row["remote_pid"] == pid).unwrap();
    assert_eq!(server["application_name"], "till 7");
}

#[tokio::test]
async fn nothing_is_lost_when_clients_are_spread_over_workers() {
    let proxy = WORLD.another_proxy_with("[server]\nworker_threads = 2\nworker_use = 'all'");
    let admin = admin_of(&proxy).await;
    let work = async |proxy: &Proxy| {
        let client = proxy.connect("app").await;
        for _ in 0..25 {
            lines(&client, &on(0)).await;
        }
    };
    tokio::join!(work(&proxy), work(&proxy), work(&proxy), work(&proxy));
    let row = counted(&admin, 100).await;
    assert_eq!((number(&row, "query_count"), number(&row, "xact_count")), (100, 100));
    let (_, metrics) = proxy.http_get("/metrics");
    assert!(metrics.contains("shardway_database_queries_total{database=\"shop\"} 100\n"), "{metrics}");
    assert!(metrics.contains("shardway_database_transactions_total{database=\"shop\"} 100\n"), "{metrics}");
}

#[tokio::test]
async fn config_lists_the_files_of_both_sides_of_tls_and_no_secret() {
    let admin = WORLD.admin().await;
    let config = show(&admin, "CONFIG").await;
    let keys: HashSet<_> = config.iter().map(|row| row["key"].as_str()).collect();
    for key in [
        "client_tls_ca_file",
        "client_tls_cert_file",
        "client_tls_key_file",
        "server_tls_ca_file",
        "server_tls_cert_file",
        "server_tls_key_file",
        "max_db_client_connections",
        "max_user_client_connections",
        "tcp_keepalive",
        "listen_backlog",
        "suspend_timeout",
    ] {
        assert!(keys.contains(key), "{key}");
    }
    assert!(config.iter().all(|row| !row["value"].contains(shardway_tests::PASSWORD)), "{config:?}");
}

#[tokio::test]
async fn metrics_tell_what_the_pools_may_have_and_how_long_somebody_waits() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 3");
    lines(&proxy.connect("app").await, "SELECT * FROM t").await;
    let (_, metrics) = proxy.http_get("/metrics");
    let sizes: Vec<_> = metrics.lines().filter(|line| line.starts_with("shardway_pool_size{")).collect();
    assert_eq!(sizes.len(), 2, "{metrics}");
    assert!(sizes.iter().all(|line| line.contains("user=\"app\"") && line.ends_with(" 3")), "{sizes:?}");
    assert!(metrics.contains("shardway_pool_max_wait_seconds{"), "{metrics}");
}
