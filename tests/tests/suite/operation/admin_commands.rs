//! Commands that change something, who may say them, and what is not a command.

use shardway_tests::{PASSWORD, Program, Proxy, RawClient, SharedWorld, World};
use tokio_postgres::NoTls;

use super::support::{SCHEMA, admin_of, code, failure, key_on, lines, said, show, soon, try_lines, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

async fn console(proxy: &Proxy, user: &str) -> RawClient {
    let mut raw = RawClient::connect(proxy.port()).await;
    raw.login(user, "shardway", PASSWORD).await;
    raw
}

/// What psql, as an operator uses it, says to a command: its output and its standard error.
fn psql(proxy: &Proxy, user: &str, command: &str) -> (String, String) {
    let url = proxy.url(user).replace("/shop", "/pgbouncer");
    let ran = Program::of_postgres("psql").args(["-X", "-A", "-t", &url, "-c", command]).run();
    (ran.stdout.trim_end().to_owned(), ran.stderr.trim_end().to_owned())
}

#[test]
fn help_is_a_notice() {
    let (said, notice) = psql(WORLD.proxy(), "stats", "SHOW HELP");
    assert_eq!(said, "SHOW");
    assert!(notice.starts_with("NOTICE:  Console usage\nDETAIL:  \n\tSHOW HELP|CONFIG|"), "{notice}");
    assert!(notice.contains("\tSHOW ROUTE '<statement>'\n"), "{notice}");
}

#[test]
fn tags_are_pgbouncers() {
    let proxy = WORLD.another_proxy();
    for (command, tag) in [
        ("RELOAD;", "RELOAD"),
        ("set query_timeout = 30", "SET query_timeout=30"),
        ("SET query_timeout TO '250ms';", "SET query_timeout=250ms"),
        ("RECONNECT", "RECONNECT"),
        ("reconnect \"shop\"", "RECONNECT"),
        ("WAIT_CLOSE shop", "WAIT_CLOSE"),
        ("DISABLE shop", "DISABLE"),
        ("ENABLE shop", "ENABLE"),
        ("PAUSE shop", "PAUSE"),
        ("RESUME shop", "RESUME"),
        ("pause;", "PAUSE"),
        ("RESUME", "RESUME"),
        ("KILL shop", "KILL"),
        ("RESUME shop", "RESUME"),
        ("SET client_encoding = 'UTF8'", "SET"),
    ] {
        let (said, error) = psql(&proxy, "admin", command);
        assert_eq!(said, tag, "{command}: {error}");
    }
}

#[tokio::test]
async fn watchers_only_look() {
    let proxy = WORLD.another_proxy();
    let stats = proxy.connect_to("stats", "shardway").await;
    for command in [
        "RELOAD",
        "SET query_timeout = 1",
        "PAUSE",
        "RESUME",
        "RECONNECT shop",
        "DISABLE shop",
        "ENABLE shop",
        "KILL shop",
        "KILL_CLIENT 1",
        "WAIT_CLOSE",
        "SUSPEND",
        "SHUTDOWN",
        "SHUTDOWN WAIT_FOR_CLIENTS",
    ] {
        let refused = failure(&stats, command).await;
        assert_eq!(refused, ("42501".into(), "admin access needed".into()), "{command}");
    }
    for command in
        ["SHOW CONFIG", "SHOW USERS", "SHOW ROUTE 'SELECT 1'", "SHOW timezone", "SET timezone = 'UTC'"]
    {
        lines(&stats, command).await;
    }
    assert_eq!(value(&proxy.connect("app").await, "SELECT 1").await, "1", "nothing was shut down");
    for name in ["shardway", "pgbouncer"] {
        let stranger = proxy.client_config("app").dbname(name).connect(NoTls).await.err().unwrap();
        assert_eq!(code(&stranger), "42501", "{name}");
    }
}

#[tokio::test]
async fn what_is_no_command_is_said_so_and_the_connection_goes_on() {
    let admin = WORLD.admin().await;
    for (command, state, message) in [
        ("SHOW NONSENSE", "42601", "invalid command 'SHOW NONSENSE', use SHOW HELP;"),
        ("SELECT 1 + 1", "42601", "invalid command 'SELECT 1 + 1', use SHOW HELP;"),
        ("SHOW", "42601", "invalid command 'SHOW', use SHOW HELP;"),
        ("BEGIN", "42601", "invalid command 'BEGIN', use SHOW HELP;"),
        ("DISABLE", "42601", "a database is required"),
        ("DISABLE nowhere", "3D000", "no such database: nowhere"),
        ("RECONNECT pgbouncer", "42809", "cannot reconnect admin db: pgbouncer"),
        ("RESUME", "55000", "pooler is not paused/suspended"),
        ("RESUME shop", "55000", "database shop is not paused"),
        ("KILL_CLIENT me", "22023", "invalid client pointer supplied"),
        ("SET nonsense = 1", "42704", "unrecognized configuration parameter \"nonsense\""),
        ("SET listen_port = 1", "55P02", "\"listen_port\" cannot be changed by SET"),
        ("SHOW FDS", "0A000", "SHOW FDS hands sockets over to a new process, which Shardway does not do"),
    ] {
        assert_eq!(failure(&admin, command).await, (state.into(), message.into()), "{command}");
    }
    let (state, message) = failure(&admin, "SET query_timeout = soon").await;
    assert_eq!(state, "22023");
    assert!(message.starts_with("SET failed: expected a duration"), "{message}");
    assert_eq!(value(&admin, "SELECT version;").await, value(&admin, "show VERSION").await);
}

#[tokio::test]
async fn set_holds_until_the_next_reload() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let app = proxy.connect("app").await;
    let slow = "SELECT pg_sleep(3)";
    lines(&admin, "SET query_timeout = '100ms'").await;
    let config = async |column: &str| {
        let rows = show(&admin, "CONFIG").await;
        rows.into_iter().find(|row| row["key"] == "query_timeout").unwrap().remove(column).unwrap()
    };
    assert_eq!((config("value").await, config("default").await), ("0.1".into(), "0".into()));
    assert!(try_lines(&app, slow).await.is_err(), "it was to be ended");
    proxy.wait_for_log("query_timeout: 0s -> 100ms");
    lines(&admin, "RELOAD").await;
    assert_eq!(config("value").await, "0");
    lines(&admin, "SET default_pool_size = 3").await;
    assert_eq!(super::support::pool_size(&admin).await, "3");
}

#[tokio::test]
async fn a_disabled_database_keeps_its_clients_and_lets_nobody_in() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let inside = proxy.connect("app").await;
    lines(&admin, "DISABLE shop").await;
    let refused = proxy.client_config("app").connect(NoTls).await.err().unwrap();
    assert_eq!(said(&refused), ("55000".into(), "database \"shop\" is disabled".into()));
    assert_eq!(value(&inside, "SELECT 1").await, "1");
    let databases = show(&admin, "DATABASES").await;
    assert_eq!(databases.iter().find(|row| row["name"] == "shop").unwrap()["disabled"], "1");
    lines(&admin, "ENABLE shop").await;
    assert_eq!(value(&proxy.connect("app").await, "SELECT 1").await, "1");
}

#[tokio::test]
async fn reconnect_renews_idle_servers_at_once_and_busy_ones_when_they_are_free() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let (idle, busy) = (proxy.connect("app").await, proxy.connect("app").await);
    let there = format!("/* shard: 1 */ SELECT pg_backend_pid() FROM (SELECT {}) k", key_on(1, 2));
    lines(&busy, "BEGIN").await;
    let held = value(&busy, &there).await;
    let before = value(&idle, &there).await;
    lines(&admin, "RECONNECT shop").await;
    let after = value(&idle, &there).await;
    assert!(after != before && after != held);
    assert_eq!(value(&busy, &there).await, held, "not within a transaction");
    let waits = tokio::spawn(async move { lines(&admin, "WAIT_CLOSE shop").await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!waits.is_finished(), "a server of before is still in use");
    lines(&busy, "COMMIT").await;
    waits.await.unwrap();
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({held}, {before})");
    soon("them to be gone", async || (WORLD.shard(1).sql(&left) == "0").then_some(())).await;
}

#[tokio::test]
async fn shutdown_ends_the_process_at_once_or_after_running_transactions() {
    let proxy = WORLD.another_proxy();
    let mut admin = console(&proxy, "admin").await;
    let _app = proxy.connect("app").await;
    admin.query("SHUTDOWN").send().await;
    assert_eq!(proxy.wait_exit().code(), Some(0));

    let proxy = WORLD.another_proxy();
    let mut busy = proxy.raw("app").await;
    busy.query("BEGIN").recv_until_ready().await;
    busy.query(&format!("SELECT * FROM t WHERE user_id = {}", key_on(0, 2))).recv_until_ready().await;
    let mut admin = console(&proxy, "admin").await;
    let reply = admin.query("SHUTDOWN WAIT_FOR_SERVERS").recv_until_ready().await;
    assert_eq!(reply.commands(), ["SHUTDOWN"]);
    assert_eq!(busy.query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(proxy.wait_exit().code(), Some(0));
}
