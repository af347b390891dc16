//! The console, for the operating system's user that runs the process, and as PgBouncer describes it.

use tokio_postgres::{Client, Config, Error};

use super::{Process, usual};
use crate::operation::support::{Shown, failure, lines, show};

/// Without a password, by the Unix socket.
async fn by_socket(process: &Process, user: &str, database: &str) -> Result<Client, Error> {
    let mut config = Config::new();
    config.host_path(process.home()).port(process.port()).user(user).dbname(database);
    super::process::connect(&config).await
}

async fn row(admin: &Client, what: &str, column: &str, value: &str) -> Shown {
    let rows = show(admin, what).await;
    rows.into_iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("{value} in SHOW {what}"))
}

#[tokio::test]
async fn our_own_user_comes_to_the_console_by_the_unix_socket_without_a_password() {
    let process = usual("").start();
    let owner = by_socket(&process, "pgbouncer", "pgbouncer").await.expect("the process's own user");
    assert_eq!(row(&owner, "CLIENTS", "user", "pgbouncer").await["database"], "pgbouncer");
    assert_eq!(lines(&owner, "RELOAD").await, Vec::<String>::new());
    lines(&owner, "PAUSE").await;
    lines(&owner, "RESUME").await;
    for (user, database) in [("admin", "pgbouncer"), ("pgbouncer", "shop")] {
        let refused = by_socket(&process, user, database).await.err();
        assert!(refused.is_some(), "{user} came in to {database}");
    }
    let mut by_tcp = process.client_config("pgbouncer", "pgbouncer");
    let refused = super::process::connect(by_tcp.password("")).await.err();
    assert!(refused.is_some(), "anybody may come by TCP");
}

#[tokio::test]
async fn where_any_name_will_do_only_admins_change_anything() {
    let process = Process::new(
        "[databases]\nshop = host=127.0.0.1 port={port} dbname=shop_0 user=app password=secret\n\
         [pgbouncer]\nauth_type = any\nadmin_users = admin\npool_mode = transaction\n",
    )
    .start();
    let guest = process.connect("guest", "pgbouncer").await;
    assert_eq!(row(&guest, "DATABASES", "name", "shop").await["force_user"], "app");
    assert_eq!(failure(&guest, "PAUSE").await.1, "admin access needed");
    let admin = process.admin().await;
    lines(&admin, "PAUSE").await;
    lines(&admin, "RESUME").await;
}

#[tokio::test]
async fn the_console_has_the_rows_that_pgbouncer_gives_it() {
    let process = usual("default_pool_size = 7\nreserve_pool_size = 3\nserver_lifetime = 99\n").start();
    let admin = process.admin().await;
    let database = row(&admin, "DATABASES", "name", "pgbouncer").await;
    let said = ["database", "force_user", "pool_size", "reserve_pool_size", "server_lifetime", "pool_mode"]
        .map(|column| database[column].clone());
    assert_eq!(said, ["pgbouncer", "pgbouncer", "2", "3", "99", "statement"]);
    assert_eq!(database["port"], process.port().to_string());
    let pool = row(&admin, "POOLS", "database", "pgbouncer").await;
    assert_eq!(
        ["user", "cl_active", "pool_mode"].map(|column| pool[column].clone()),
        ["pgbouncer", "1", "statement"]
    );
    let user = row(&admin, "USERS", "name", "pgbouncer").await;
    let said =
        ["pool_size", "reserve_pool_size", "pool_mode", "current_connections", "current_client_connections"];
    assert_eq!(said.map(|column| user[column].clone()), ["", "", "", "0", "0"]);
    // Two of the file, and that one.
    assert_eq!(row(&admin, "LISTS", "list", "users").await["items"], "3");
    assert_eq!(row(&admin, "CLIENTS", "database", "pgbouncer").await["state"], "idle");
    assert_eq!(row(&admin, "SOCKETS", "database", "pgbouncer").await["state"], "cl_active");
    let counts = async || {
        let row = row(&admin, "STATS", "database", "pgbouncer").await;
        ["total_xact_count", "total_query_count", "total_server_assignment_count"].map(|c| row[c].clone())
    };
    // One for each client that has asked for anything.
    assert_eq!(counts().await, ["1", "1", "0"]);
    let other = process.admin().await;
    show(&other, "VERSION").await;
    assert_eq!(counts().await, ["2", "2", "0"]);
}
