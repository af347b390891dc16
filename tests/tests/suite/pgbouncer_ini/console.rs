//! SHOW CONFIG and SET with PgBouncer's names and units.

use super::usual;
use crate::operation::support::{failure, show, value};

async fn setting(admin: &tokio_postgres::Client, name: &str) -> (String, String, String) {
    let rows = show(admin, "CONFIG").await;
    let row = rows.into_iter().find(|row| row["key"] == name).unwrap_or_else(|| panic!("{name}"));
    (row["value"].clone(), row["default"].clone(), row["changeable"].clone())
}

fn three(value: &str, default: &str, changeable: &str) -> (String, String, String) {
    (value.to_owned(), default.to_owned(), changeable.to_owned())
}

#[tokio::test]
async fn config_is_shown_as_pgbouncer_shows_it() {
    let process = usual("query_wait_timeout = 7\nserver_lifetime = 1200.5\nserver_check_delay = 0\n").start();
    let admin = process.admin().await;
    assert_eq!(setting(&admin, "query_wait_timeout").await, three("7", "120", "yes"));
    assert_eq!(setting(&admin, "server_lifetime").await, three("1200.5", "3600", "yes"));
    assert_eq!(setting(&admin, "server_check_delay").await, three("0", "30", "yes"));
    assert_eq!(setting(&admin, "pool_mode").await, three("transaction", "session", "yes"));
    assert_eq!(setting(&admin, "listen_backlog").await, three("128", "128", "no"));
    assert_eq!(setting(&admin, "max_client_conn").await, three("100", "100", "yes"));
}

#[tokio::test]
async fn set_counts_until_the_next_reload() {
    let process = usual("default_pool_size = 3\n").start();
    let admin = process.admin().await;
    admin.simple_query("SET default_pool_size = 7").await.unwrap();
    admin.simple_query("SET query_wait_notify = 9").await.unwrap();
    assert_eq!(setting(&admin, "default_pool_size").await.0, "7");
    assert_eq!(setting(&admin, "query_wait_notify").await.0, "9");
    let pool_size = async || {
        let databases = show(&admin, "DATABASES").await;
        databases.iter().find(|row| row["name"] == "shop").map(|row| row["pool_size"].clone()).unwrap()
    };
    assert_eq!(pool_size().await, "7");
    // Clients go on.
    let client = process.connect("app", "shop").await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    admin.simple_query("SET max_client_conn = 1").await.unwrap();
    let told = failure(&client, "SELECT no_such_column").await;
    assert_eq!(told.0, "42703");
    admin.simple_query("RELOAD").await.unwrap();
    assert_eq!(setting(&admin, "default_pool_size").await.0, "3");
    assert_eq!(setting(&admin, "max_client_conn").await.0, "100");
}

#[tokio::test]
async fn what_cannot_be_set_is_told_and_changes_nothing() {
    let process = usual("").start();
    let admin = process.admin().await;
    for (text, why) in [
        ("SET nonsense = 1", "unknown setting \"nonsense\""),
        ("SET default_pool_size = many", "expected a whole number"),
        ("SET listen_port = 1", "counts from the next start on"),
        ("SET auth_type = hba", "auth_type hba needs auth_hba_file"),
    ] {
        let error = admin.simple_query(text).await.err().unwrap();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.message(), "SET failed");
        assert!(error.hint().is_some_and(|hint| hint.contains(why)), "{text}: {error:?}");
    }
    assert_eq!(setting(&admin, "auth_type").await.0, "scram-sha-256");
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
}
