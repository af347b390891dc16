//! PAUSE, RESUME, KILL, SUSPEND and SHUTDOWN under clients that are at work.

use shardway_tests::{PASSWORD, Proxy, RawClient, SharedWorld, World};
use tokio::net::TcpStream;
use tokio_postgres::Client;

use super::support::{
    SCHEMA, Shown, admin_of, at_rest, failure, key_on, lines, pooled, reload, show, soon, try_lines, value,
};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

/// A read of one shard.
fn on(shard: u32) -> String {
    format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(shard, 2))
}

/// A statement that keeps a server of one shard busy.
fn sleep(seconds: f64, shard: u32) -> String {
    format!("/* shard: {shard} */ SELECT 1 FROM pg_sleep({seconds})")
}

async fn console(proxy: &Proxy) -> RawClient {
    let mut raw = RawClient::connect(proxy.port()).await;
    raw.login("admin", "shardway", PASSWORD).await;
    raw
}

async fn state(admin: &Client) -> String {
    let rows = show(admin, "STATE").await;
    rows.iter().filter(|row| row["value"] == "yes").map(|row| row["key"].clone()).collect()
}

async fn is_now(admin: &Client, wanted: &str) {
    soon(wanted, async || (state(admin).await == wanted).then_some(())).await;
}

async fn the(admin: &Client, what: &str, column: &str, value: &str) -> Shown {
    let rows = show(admin, what).await;
    rows.iter()
        .find(|row| row[column] == value)
        .unwrap_or_else(|| panic!("{column} {value}: {rows:?}"))
        .clone()
}

async fn waiting(admin: &Client, clients: usize) {
    soon("them to wait", async || (pooled(admin, "cl_waiting").await == clients).then_some(())).await;
}

async fn servers(admin: &Client) -> usize {
    show(admin, "SERVERS").await.len()
}

/// Adds a second database over the same servers.
async fn with_annex(proxy: &Proxy) {
    proxy.edit(|config| {
        let databases = config["databases"].as_array_mut().expect("databases");
        let mut annex = databases[0].clone();
        annex.as_table_mut().expect("a database").insert("name".to_owned(), "annex".into());
        databases.push(annex);
    });
    reload(proxy).await;
}

/// The FATAL error that a connection ends with.
async fn last_words(raw: &mut RawClient) -> (String, String) {
    let reply = raw.expect_closed().await;
    let error = reply.error().unwrap_or_else(|| panic!("closed without a word: {reply:?}"));
    assert_eq!(error.field('S').as_deref(), Some("FATAL"));
    (error.field('C').unwrap_or_default(), error.field('M').unwrap_or_default())
}

fn removed() -> (String, String) {
    ("57P01".into(), "database removed".into())
}

#[tokio::test]
async fn pause_waits_for_transactions_and_new_statements_wait_for_resume() {
    let proxy = WORLD.another_proxy();
    let (admin, pauser) = (admin_of(&proxy).await, admin_of(&proxy).await);
    let (busy, idle) = (proxy.connect("app").await, proxy.connect("app").await);
    lines(&busy, &format!("BEGIN; {}", on(0))).await;
    lines(&idle, &on(1)).await;
    let paused = tokio::spawn(async move { lines(&pauser, "PAUSE").await });
    is_now(&admin, "paused").await;
    let asks = tokio::spawn(async move { value(&idle, &on(1)).await });
    waiting(&admin, 1).await;
    assert!(!paused.is_finished() && !asks.is_finished());
    // The transaction goes on, to another shard if need be.
    assert_eq!(value(&busy, &on(1)).await, "0");
    lines(&busy, "COMMIT").await;
    paused.await.unwrap();
    assert_eq!(servers(&admin).await, 0, "servers are left");
    assert!(!asks.is_finished());
    lines(&admin, "RESUME").await;
    assert_eq!(asks.await.unwrap(), "0");
    assert_eq!(state(&admin).await, "active");
}

#[tokio::test]
async fn a_statement_for_several_shards_that_has_begun_is_not_stopped_halfway() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let (admin, pauser) = (admin_of(&proxy).await, admin_of(&proxy).await);
    let (holder, all) = (proxy.connect("app").await, proxy.connect("app").await);
    lines(&holder, &format!("BEGIN; {}", on(1))).await;
    let counts = tokio::spawn(async move { value(&all, "SELECT count(*) FROM t").await });
    // It has a server of the one shard, and waits for the other's.
    waiting(&admin, 1).await;
    let paused = tokio::spawn(async move { lines(&pauser, "PAUSE").await });
    is_now(&admin, "paused").await;
    lines(&holder, "COMMIT").await;
    assert_eq!(counts.await.unwrap(), "0");
    paused.await.unwrap();
    lines(&admin, "RESUME").await;
}

#[tokio::test]
async fn who_keeps_a_server_gets_another_ones_while_a_pause_waits() {
    for (mode, begun) in
        [("session", on(0)), ("transaction", "/* shard: 0 */ SELECT pg_advisory_lock(7)".into())]
    {
        let proxy = WORLD.another_proxy_with(&format!("[pool]\nmode = '{mode}'"));
        for first in [on(1), "SELECT count(*) FROM t".into(), format!("BEGIN; {}", on(1))] {
            let (admin, pauser) = (admin_of(&proxy).await, admin_of(&proxy).await);
            let app = proxy.connect("app").await;
            lines(&app, &begun).await;
            let paused = tokio::spawn(async move { lines(&pauser, "PAUSE").await });
            is_now(&admin, "paused").await;
            let answer = tokio::time::timeout(shardway_tests::PATIENCE, value(&app, &first)).await;
            assert_eq!(answer.expect("an answer"), "0", "{mode}: {first}");
            assert!(!paused.is_finished());
            drop(app);
            paused.await.unwrap();
            lines(&admin, "RESUME").await;
        }
    }
}

#[tokio::test]
async fn in_session_mode_pause_waits_until_clients_have_left() {
    let proxy = WORLD.another_proxy_with("[pool]\nmode = 'session'");
    let (admin, pauser) = (admin_of(&proxy).await, admin_of(&proxy).await);
    let app = proxy.connect("app").await;
    lines(&app, &on(0)).await;
    let paused = tokio::spawn(async move { lines(&pauser, "PAUSE").await });
    is_now(&admin, "paused").await;
    assert_eq!(value(&app, &on(0)).await, "0", "it has its server");
    assert!(!paused.is_finished());
    drop(app);
    paused.await.unwrap();
    assert_eq!(servers(&admin).await, 0, "servers are left");
    lines(&admin, "RESUME").await;
}

/// Its servers may be shut down, and the database be dropped or copied.
#[tokio::test]
async fn a_paused_database_has_no_connection_at_all() {
    let world = World::builder().schema(SCHEMA).start();
    let admin = world.admin().await;
    let app = world.connect("app").await;
    lines(&app, "SELECT * FROM t").await;
    let connections =
        || world.server(0).sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop_0'");
    assert_ne!(connections().expect("the server's activity"), "0");
    lines(&admin, "PAUSE shop").await;
    soon("them to be closed", async || (connections().expect("the server's activity") == "0").then_some(()))
        .await;
    world.server(0).sql("postgres", "ALTER DATABASE shop_0 RENAME TO shop_1").expect("nobody is there");
    world.server(0).sql("postgres", "ALTER DATABASE shop_1 RENAME TO shop_0").expect("nobody is there");
    lines(&admin, "RESUME shop").await;
    lines(&app, "SELECT * FROM t").await;
}

#[tokio::test]
async fn pause_of_one_database_leaves_the_others_at_work() {
    let proxy = WORLD.another_proxy();
    with_annex(&proxy).await;
    let admin = admin_of(&proxy).await;
    let (shop, annex) = (proxy.connect("app").await, proxy.connect_to("app", "annex").await);
    lines(&admin, "PAUSE shop").await;
    let columns = async || {
        let row = the(&admin, "DATABASES", "name", "shop").await;
        (row["paused"].clone(), row["current_connections"].clone())
    };
    assert_eq!(columns().await, ("1".into(), "0".into()));
    assert_eq!(the(&admin, "DATABASES", "name", "annex").await["paused"], "0");
    assert_eq!(state(&admin).await, "active");
    assert_eq!(value(&annex, &on(0)).await, "0");
    let asks = tokio::spawn(async move { value(&shop, &on(0)).await });
    waiting(&admin, 1).await;
    // What is paused stays so in another configuration, whoever asks.
    lines(&admin, "SET default_pool_size = 7").await;
    let other = proxy.client_config("md5user");
    let comes = tokio::spawn(async move { other.connect(tokio_postgres::NoTls).await.map(drop) });
    waiting(&admin, 2).await;
    assert_eq!(columns().await, ("1".into(), "0".into()));
    assert_eq!(
        failure(&admin, "RESUME").await,
        ("55000".into(), "pooler is not paused/suspended".into()),
        "one that is paused by itself is resumed by itself"
    );
    lines(&admin, "RESUME shop").await;
    assert_eq!(asks.await.unwrap(), "0");
    comes.await.unwrap().unwrap();
    assert_eq!(columns().await.0, "0");
}

#[tokio::test]
async fn who_waits_for_a_paused_database_waits_no_longer_than_query_wait_timeout() {
    let proxy = WORLD.another_proxy_with("[pool]\nquery_wait_timeout = '2s'");
    let admin = admin_of(&proxy).await;
    let mut app = proxy.raw("app").await;
    lines(&admin, "PAUSE").await;
    app.query(&on(0)).send().await;
    assert_eq!(last_words(&mut app).await, ("57P03".into(), "query_wait_timeout".into()));
    lines(&admin, "RESUME").await;
}

#[tokio::test]
async fn a_pause_outlives_its_admin_and_ends_with_its_cancel_request() {
    let proxy = WORLD.another_proxy();
    let (admin, busy) = (admin_of(&proxy).await, proxy.connect("app").await);
    lines(&busy, &format!("BEGIN; {}", on(0))).await;
    let mut gone = console(&proxy).await;
    gone.query("PAUSE").send().await;
    is_now(&admin, "paused").await;
    gone.hang_up();
    lines(&busy, "COMMIT").await;
    soon("the servers to be closed", async || (servers(&admin).await == 0).then_some(())).await;
    assert_eq!(state(&admin).await, "paused");
    lines(&admin, "RESUME").await;

    lines(&busy, &format!("BEGIN; {}", on(0))).await;
    let mut cancelled = console(&proxy).await;
    let key = cancelled.cancel_key();
    cancelled.query("PAUSE").send().await;
    is_now(&admin, "paused").await;
    RawClient::cancel(proxy.port(), key).await;
    let reply = cancelled.recv_until_ready().await;
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("57014"));
    assert_eq!(state(&admin).await, "active");
    lines(&busy, "COMMIT").await;
    assert_eq!(value(&busy, &on(1)).await, "0");
}

#[tokio::test]
async fn who_may_only_look_does_not_end_a_pause() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut looks = RawClient::connect(proxy.port()).await;
    looks.login("stats", "shardway", PASSWORD).await;
    lines(&admin, "PAUSE").await;
    // It is done once the connection is closed.
    RawClient::cancel(proxy.port(), looks.cancel_key()).await;
    assert_eq!(state(&admin).await, "paused");
    let reply = looks.query("RESUME").recv_until_ready().await;
    assert_eq!(reply.error().and_then(|error| error.field('C')).as_deref(), Some("42501"));
    lines(&admin, "RESUME").await;
}

#[tokio::test]
async fn what_does_not_go_together_is_refused_in_pgbouncers_words() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let refused = async |command: &str| failure(&admin, command).await;
    let is = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    let already = is("55000", "already suspended/paused");
    lines(&admin, "PAUSE").await;
    for command in ["PAUSE", "PAUSE shop", "KILL", "KILL shop", "SUSPEND"] {
        assert_eq!(refused(command).await, already, "{command}");
    }
    assert_eq!(refused("RESUME shop").await, is("55000", "database shop is not paused"));
    lines(&admin, "RESUME").await;
    lines(&admin, "PAUSE shop").await;
    assert_eq!(refused("SUSPEND").await, is("55000", "cannot suspend with paused databases"));
    lines(&admin, "PAUSE shop").await;
    lines(&admin, "RESUME shop").await;
    lines(&admin, "SUSPEND").await;
    for command in ["PAUSE", "KILL", "SUSPEND"] {
        assert_eq!(refused(command).await, already, "{command}");
    }
    lines(&admin, "RESUME").await;
    for (command, refusal) in [
        ("PAUSE nowhere", is("3D000", "no such database: nowhere")),
        ("RESUME nowhere", is("3D000", "no such database: nowhere")),
        ("KILL nowhere", is("3D000", "no such database: nowhere")),
        ("PAUSE pgbouncer", is("42809", "cannot pause admin db: pgbouncer")),
        ("KILL shardway", is("42809", "cannot kill admin db: shardway")),
        ("RESUME shardway", is("55000", "database shardway is not paused")),
        ("KILL_CLIENT 987654321", is("22023", "client not found")),
    ] {
        assert_eq!(refused(command).await, refusal, "{command}");
    }
}

#[tokio::test]
async fn kill_closes_everybody_at_once_and_leaves_the_database_paused() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 2");
    with_annex(&proxy).await;
    let admin = admin_of(&proxy).await;
    let mut others = [proxy.raw("app").await, proxy.raw("app").await, proxy.raw("app").await];
    let mut annex = RawClient::connect(proxy.port()).await;
    annex.login("app", "annex", PASSWORD).await;
    let [idle, open, runs] = &mut others;
    idle.query(&on(0)).recv_until_ready().await;
    open.query("BEGIN").recv_until_ready().await;
    open.query("INSERT INTO t VALUES (-1, 'killed')").recv_until_ready().await;
    runs.query(&sleep(60.0, 0)).send().await;
    // Shard 0 has two servers: one sleeps, the other one is held.
    let mut holds = proxy.raw("app").await;
    holds.query("BEGIN").recv_until_ready().await;
    holds.query(&on(0)).recv_until_ready().await;
    let mut waits = proxy.raw("app").await;
    waits.query(&on(0)).send().await;
    waiting(&admin, 1).await;
    let pids: Vec<_> =
        show(&admin, "SERVERS").await.into_iter().filter(|row| row["database"] == "shop").collect();
    let pids: Vec<_> = pids.iter().map(|row| row["remote_pid"].clone()).collect();

    lines(&admin, "KILL shop").await;
    assert!(show(&admin, "CLIENTS").await.iter().all(|row| row["database"] != "shop"));
    let left = show(&admin, "SERVERS").await;
    assert!(left.iter().all(|row| row["database"] != "shop"), "{left:?}");
    for raw in others.iter_mut().chain([&mut holds, &mut waits]) {
        assert_eq!(last_words(raw).await, removed());
    }
    assert_eq!(annex.query(&on(0)).recv_until_ready().await.commands(), ["SELECT 1"]);
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid IN ({})", pids.join(","));
    soon("the backends to be gone", async || (WORLD.shard(0).sql(&left) == "0").then_some(())).await;
    assert_eq!(WORLD.everywhere("SELECT count(*) FROM t WHERE user_id = -1"), ["0", "0"]);

    assert_eq!(the(&admin, "DATABASES", "name", "shop").await["paused"], "1");
    let config = proxy.client_config("app");
    let comes = tokio::spawn(async move {
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("a login");
        tokio::spawn(connection);
        value(&client, &on(0)).await
    });
    waiting(&admin, 1).await;
    lines(&admin, "RESUME shop").await;
    assert_eq!(comes.await.unwrap(), "0");
}

#[tokio::test]
async fn kill_without_a_name_spares_the_admin_database_alone() {
    let proxy = WORLD.another_proxy();
    with_annex(&proxy).await;
    let admin = admin_of(&proxy).await;
    let mut shop = proxy.raw("app").await;
    let mut annex = RawClient::connect(proxy.port()).await;
    annex.login("app", "annex", PASSWORD).await;
    lines(&admin, "KILL").await;
    for raw in [&mut shop, &mut annex] {
        assert_eq!(last_words(raw).await, removed());
    }
    for name in ["shop", "annex"] {
        assert_eq!(the(&admin, "DATABASES", "name", name).await["paused"], "1");
        lines(&admin, &format!("RESUME {name}")).await;
    }
}

#[tokio::test]
async fn kill_client_closes_one_client_and_its_servers() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let (other, mut victim) = (proxy.connect("md5user").await, proxy.raw("app").await);
    victim.query(&sleep(60.0, 1)).send().await;
    let row = soon("it to run", async || {
        let rows = show(&admin, "CLIENTS").await;
        rows.into_iter().find(|row| row["user"] == "app" && row["state"] == "active")
    })
    .await;
    let server = the(&admin, "SERVERS", "link", &row["ptr"]).await;
    lines(&admin, &format!("KILL_CLIENT {}", row["id"])).await;
    assert_eq!(last_words(&mut victim).await, ("57P01".into(), "admin forced disconnect".into()));
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", server["remote_pid"]);
    soon("its backend to be gone", async || (WORLD.shard(1).sql(&gone) == "0").then_some(())).await;
    assert_eq!(value(&other, &on(1)).await, "0");
    at_rest(&admin).await;

    let mut console = console(&proxy).await;
    let mut consoles = show(&admin, "CLIENTS").await.into_iter().filter(|row| row["database"] == "shardway");
    let id = consoles.next_back().unwrap()["id"].clone();
    lines(&admin, &format!("KILL_CLIENT {id}")).await;
    assert_eq!(last_words(&mut console).await, ("57P01".into(), "admin forced disconnect".into()));
}

/// An error message in the middle of a row would be taken for a part of it.
#[tokio::test]
async fn a_client_that_is_killed_within_a_row_hears_no_more() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut victim = proxy.raw("app").await;
    victim.query("/* shard: 0 */ SELECT repeat('x', 60000000)").send().await;
    let row = soon("it to run", async || {
        let rows = show(&admin, "CLIENTS").await;
        rows.into_iter().find(|row| row["user"] == "app" && row["state"] == "active")
    })
    .await;
    soon("the row to be on its way", async || victim.has_more(1_000_000).await.then_some(())).await;
    lines(&admin, &format!("KILL_CLIENT {}", row["id"])).await;
    let reply = victim.rest().await;
    assert_eq!(reply.tags(), "T");
    // A DataRow's head is its tag and length, the number of columns, and the length of the first.
    assert!(victim.unread().len() > 1_000_000 && victim.unread().iter().skip(11).all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn suspend_stops_everything_where_it_is_and_resume_has_it_go_on() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut open = proxy.raw("app").await;
    open.query("BEGIN").recv_until_ready().await;
    open.query(&on(0)).recv_until_ready().await;
    let (idle, runs) = (proxy.connect("app").await, proxy.connect("md5user").await);
    let lock = WORLD.shard(1).connect().await;
    value(&lock, "SELECT pg_advisory_lock(8)").await;
    let waits = "/* shard: 1 */ SELECT 1 FROM pg_advisory_xact_lock(8)";
    let sleeps = tokio::spawn(async move { value(&runs, waits).await });
    soon("it to run", async || {
        let rows = show(&admin, "CLIENTS").await;
        rows.into_iter().any(|row| row["user"] == "md5user" && row["state"] == "active").then_some(())
    })
    .await;
    lines(&admin, "SUSPEND").await;
    assert_eq!(state(&admin).await, "suspended");
    // The server goes on, and nobody hears of it.
    value(&lock, "SELECT pg_advisory_unlock(8)").await;
    let asks = tokio::spawn(async move { value(&idle, &on(0)).await });
    open.query(&on(1)).send().await;
    let config = proxy.client_config("app");
    let comes = tokio::spawn(async move { config.connect(tokio_postgres::NoTls).await.map(drop) });
    // Nothing to wait for: nothing may happen.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(!sleeps.is_finished() && !asks.is_finished() && !comes.is_finished());
    assert_eq!(pooled(&admin, "cl_waiting").await, 0);
    lines(&admin, "RESUME").await;
    assert_eq!((sleeps.await.unwrap(), asks.await.unwrap()), ("1".into(), "0".into()));
    comes.await.unwrap().unwrap();
    assert_eq!(open.recv_until_ready().await.status(), 'T');
    assert_eq!(open.query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(state(&admin).await, "active");
}

#[tokio::test]
async fn a_suspension_ends_when_the_last_admin_has_left() {
    let proxy = WORLD.another_proxy();
    let app = proxy.connect("app").await;
    let (first, last) = (admin_of(&proxy).await, console(&proxy).await);
    lines(&first, "SUSPEND").await;
    let asks = tokio::spawn(async move { value(&app, &on(0)).await });
    drop(first);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!asks.is_finished(), "there is an admin still");
    last.hang_up();
    assert_eq!(asks.await.unwrap(), "0");
    proxy.wait_for_log("admin disappeared when suspended, doing RESUME");
}

#[tokio::test]
async fn shutdown_wait_for_clients_disturbs_nobody_and_lets_nobody_in() {
    let proxy = WORLD.another_proxy();
    let (app, mut open) = (proxy.connect("app").await, proxy.raw("app").await);
    open.query("BEGIN").recv_until_ready().await;
    open.query(&on(0)).recv_until_ready().await;
    let admin = admin_of(&proxy).await;
    lines(&admin, "SHUTDOWN WAIT_FOR_CLIENTS").await;
    soon("the door to be shut", async || TcpStream::connect(("127.0.0.1", proxy.port())).await.err()).await;
    assert_eq!(failure(&admin, "RESUME").await, ("55000".into(), "pooler is shutting down".into()));
    assert_eq!(proxy.http_get("/health/ready").0, 503);
    for _ in 0..3 {
        assert_eq!(value(&app, &on(1)).await, "0");
    }
    assert_eq!(open.query("COMMIT").recv_until_ready().await.commands(), ["COMMIT"]);
    assert_eq!(open.query(&on(1)).recv_until_ready().await.commands(), ["SELECT 1"]);
    drop((app, admin));
    assert_eq!(value_of(&mut open).await, "SELECT 1");
    open.hang_up();
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

async fn value_of(raw: &mut RawClient) -> String {
    raw.query(&on(0)).recv_until_ready().await.commands().concat()
}

#[tokio::test]
async fn shutdown_wait_for_servers_does_not_wait_for_who_waits_in_vain() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut app = proxy.raw("app").await;
    lines(&admin, "PAUSE").await;
    app.query(&on(0)).send().await;
    waiting(&admin, 1).await;
    lines(&admin, "SHUTDOWN WAIT_FOR_SERVERS").await;
    assert_eq!(last_words(&mut app).await, ("57P01".into(), "server shutting down".into()));
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[tokio::test]
async fn a_shutdown_ends_a_suspension() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut app = proxy.raw("app").await;
    lines(&admin, "SUSPEND").await;
    assert!(try_lines(&admin, "SHUTDOWN WAIT_FOR_SERVERS").await.is_ok());
    assert_eq!(last_words(&mut app).await.0, "57P01");
    assert_eq!(proxy.wait_exit().code(), Some(0));
}
