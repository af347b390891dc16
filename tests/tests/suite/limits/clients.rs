//! How many clients a database and a user may have.

use shardway_tests::Proxy;
use tokio_postgres::{Client, NoTls};

use super::{alone, of_user, proxy};
use crate::operation::support::{admin_of, reload, said, soon};

/// Lets a client in, or gives what it is told.
async fn enter(proxy: &Proxy, user: &str) -> Result<Client, (String, String)> {
    let (client, connection) = proxy.client_config(user).connect(NoTls).await.map_err(|e| said(&e))?;
    tokio::spawn(connection);
    Ok(client)
}

fn too_many(setting: &str) -> Option<(String, String)> {
    Some(("53300".to_owned(), format!("client connections exceeded ({setting})")))
}

#[tokio::test]
async fn a_database_takes_so_many_clients_and_one_more_when_one_leaves() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_db_client_connections = 2");
    let (first, _second) = (enter(&proxy, "app").await.unwrap(), enter(&proxy, "md5user").await.unwrap());
    assert_eq!(enter(&proxy, "app").await.err(), too_many("max_db_client_connections"));
    let _console = admin_of(&proxy).await;
    drop(first);
    soon("room for another", async || enter(&proxy, "app").await.ok()).await;
}

#[tokio::test]
async fn a_databases_own_number_counts_before_the_default() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_db_client_connections = 1\n[databases]\nmax_client_connections = 2");
    let _two = (enter(&proxy, "app").await.unwrap(), enter(&proxy, "app").await.unwrap());
    assert_eq!(enter(&proxy, "app").await.err(), too_many("max_db_client_connections"));
}

#[tokio::test]
async fn a_user_has_so_many_clients_and_its_own_number_counts_before_the_default() {
    let _alone = alone().await;
    let proxy = proxy("[pool]\nmax_user_client_connections = 1");
    of_user(&proxy, "md5user", "max_client_connections", 2);
    reload(&proxy).await;
    let _app = enter(&proxy, "app").await.unwrap();
    assert_eq!(enter(&proxy, "app").await.err(), too_many("max_user_client_connections"));
    let _others = (enter(&proxy, "md5user").await.unwrap(), enter(&proxy, "md5user").await.unwrap());
    assert_eq!(enter(&proxy, "md5user").await.err(), too_many("max_user_client_connections"));
}
