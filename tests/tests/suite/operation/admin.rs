//! What SHOW says on the admin database is true.

use shardway_tests::{SharedWorld, World};

use super::support::{SCHEMA, Shown, admin_of, at_rest, key_on, lines, pooled, show, soon, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

/// What prometheus-community's and jbub's pgbouncer_exporter send, as they send it.
#[tokio::test]
async fn the_exporters_queries_are_answered_and_give_no_label_twice() {
    let stats = WORLD.proxy().connect_to("stats", "pgbouncer").await;
    let app = WORLD.connect("app").await;
    for key in [key_on(0, 2), key_on(1, 2)] {
        lines(&app, &format!("SELECT * FROM t WHERE user_id = {key}")).await;
    }
    lines(&stats, "SHOW STATS").await;
    assert!(value(&stats, "SHOW VERSION;").await.starts_with("Shardway "));
    for (what, labels) in [
        ("STATS_TOTALS", &["database"][..]),
        ("POOLS", &["database", "user"]),
        ("DATABASES", &["name", "host", "port", "database"]),
        ("LISTS", &["list"]),
        ("CONFIG", &["key"]),
    ] {
        let rows = show(&stats, &format!("{};", what.to_lowercase())).await;
        let mut seen: Vec<_> = rows.iter().map(|row| labels.map_of(row)).collect();
        seen.sort();
        let all = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), all, "SHOW {what}: {rows:?}");
    }
    let config = show(&stats, "CONFIG").await;
    for key in ["max_client_conn", "max_user_connections"] {
        let row = config.iter().find(|row| row["key"] == key).unwrap();
        assert!(row["value"].parse::<f64>().is_ok(), "{row:?}");
    }
}

trait Labels {
    fn map_of(&self, row: &Shown) -> Vec<String>;
}

impl Labels for [&str] {
    fn map_of(&self, row: &Shown) -> Vec<String> {
        self.iter().map(|name| row[*name].clone()).collect()
    }
}

fn the<'a>(rows: &'a [Shown], column: &str, value: &str) -> &'a Shown {
    rows.iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("{column} {value}: {rows:?}"))
}

#[tokio::test]
async fn a_client_in_a_transaction_is_seen_with_its_server() {
    let proxy = WORLD.another_proxy();
    let admin = admin_of(&proxy).await;
    let mut config = proxy.client_config("app");
    let (app, connection) = config
        .application_name("till")
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap_or_else(|e| panic!("{e:?}"));
    tokio::spawn(connection);
    let _idle = proxy.connect("md5user").await;
    lines(&app, "BEGIN").await;
    lines(&app, &format!("SELECT * FROM t WHERE user_id = {}", key_on(0, 2))).await;
    let pid = value(&app, "SELECT pg_backend_pid()").await;

    let clients = show(&admin, "CLIENTS").await;
    let client = the(&clients, "user", "app");
    assert_eq!((client["type"].as_str(), client["database"].as_str()), ("C", "shop"));
    assert_eq!((client["state"].as_str(), client["application_name"].as_str()), ("active", "till"));
    assert_eq!((client["addr"].as_str(), client["wait"].as_str()), ("127.0.0.1", "0"));
    assert_eq!(client["local_port"], proxy.port().to_string());
    assert_eq!(the(&clients, "user", "md5user")["state"], "idle");
    assert_eq!(the(&clients, "user", "admin")["database"], "shardway");

    let servers = show(&admin, "SERVERS").await;
    let server = the(&servers, "state", "active");
    assert_eq!((&server["remote_pid"], &server["link"]), (&pid, &client["ptr"]));
    assert_eq!((&server["ptr"], &server["user"]), (&client["link"], &client["user"]));
    assert_eq!(server["port"], WORLD.server(0).port().to_string());
    assert_eq!(show(&admin, "ACTIVE_SOCKETS").await.len(), 2);

    let pools = show(&admin, "POOLS").await;
    let pool = pools.iter().find(|row| row["database"] == "shop" && row["user"] == "app").unwrap();
    let [cl_active, cl_waiting, sv_active] =
        ["cl_active", "cl_waiting", "sv_active"].map(|c| pool[c].as_str());
    assert_eq!((cl_active, cl_waiting, sv_active), ("1", "0", "1"));
    assert_eq!((pool["pool_mode"].as_str(), pool["maxwait"].as_str()), ("transaction", "0"));

    lines(&app, "COMMIT").await;
    at_rest(&admin).await;
    let servers = show(&admin, "SERVERS").await;
    assert!(servers.iter().all(|row| row["state"] == "idle"), "{servers:?}");
    drop(app);
    soon("it to be gone", async || {
        show(&admin, "CLIENTS").await.iter().all(|row| row["user"] != "app").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_waits_is_counted() {
    let proxy = WORLD.another_proxy_with("[pool]\ndefault_pool_size = 1");
    let admin = admin_of(&proxy).await;
    let (holder, waiting) = (proxy.connect("app").await, proxy.connect("app").await);
    let sql = format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(0, 2));
    lines(&holder, &format!("BEGIN; {sql}")).await;
    let waits = tokio::spawn(async move { value(&waiting, &sql).await });
    soon("it to wait", async || (pooled(&admin, "cl_waiting").await == 1).then_some(())).await;
    let shards = show(&admin, "SHARDS").await;
    assert_eq!((shards[0]["cl_waiting"].as_str(), shards[0]["sv_active"].as_str()), ("1", "1"));
    assert_eq!(shards[1]["cl_waiting"], "0");
    lines(&holder, "COMMIT").await;
    assert_eq!(waits.await.unwrap(), "0");
}

#[tokio::test]
async fn databases_users_and_lists_count_connections() {
    let proxy = WORLD.another_proxy_with("[pool]\nmin_pool_size = 1\nserver_lifetime = '90s'");
    let admin = admin_of(&proxy).await;
    let _apps = [proxy.connect("app").await, proxy.connect("app").await];
    lines(&_apps[0], "SELECT * FROM t").await;
    let databases = show(&admin, "DATABASES").await;
    let shop = the(&databases, "name", "shop");
    let expect = [
        ("host", "127.0.0.1"),
        ("port", &WORLD.server(0).port().to_string()),
        ("database", "shop_0,shop_1"),
        ("force_user", ""),
        ("pool_size", "20"),
        ("min_pool_size", "1"),
        ("server_lifetime", "90"),
        ("current_connections", "2"),
        ("current_client_connections", "2"),
        ("paused", "0"),
        ("disabled", "0"),
    ];
    for (column, value) in expect {
        assert_eq!(shop[column], value, "{column}");
    }
    assert_eq!(the(&databases, "name", "shardway")["current_client_connections"], "1");
    let users = show(&admin, "USERS").await;
    assert_eq!(
        users.iter().map(|user| user["name"].as_str()).collect::<Vec<_>>(),
        ["admin", "app", "md5user", "shardway", "stats"]
    );
    let app = the(&users, "name", "app");
    assert_eq!((app["current_connections"].as_str(), app["current_client_connections"].as_str()), ("2", "2"));
    let lists = show(&admin, "LISTS").await;
    for (list, items) in
        [("databases", "2"), ("users", "5"), ("pools", "2"), ("used_clients", "3"), ("used_servers", "2")]
    {
        assert_eq!(the(&lists, "list", list)["items"], items, "{list}");
    }
}
