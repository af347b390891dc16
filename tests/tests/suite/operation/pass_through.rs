//! Users whose password Shardway does not know: what is stored of it lets clients in, and opens servers too.

use std::net::IpAddr;

use shardway_tests::{DATABASE, PASSWORD, Proxy, SharedWorld, World};
use tokio::net::TcpSocket;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::support::{SCHEMA, reload, said, soon, value};

/// Of the server's roles, those that are `md5…` are asked for MD5, the others for SCRAM.
static WORLD: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

const WHO: &str = "SELECT current_user";

/// A role on the server, and what is stored of its password there.
fn role(name: &str, encryption: &str) -> String {
    let sql = format!(
        "SET password_encryption = '{encryption}'; CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; RESET ALL;
         SELECT rolpassword FROM pg_authid WHERE rolname = '{name}'"
    );
    let secret = WORLD.server(0).sql("postgres", &sql).unwrap();
    secret.lines().last().unwrap().to_owned()
}

/// A proxy that knows a user by what is stored of its password.
fn proxy(method: &str, user: &str, secret: &str) -> Proxy {
    WORLD.another_proxy_with(&format!(
        "[server]\nauth = '{method}'\n[pool]\nserver_login_retry = '0s'\n\
         [[users]]\nname = '{user}'\npassword = '{secret}'"
    ))
}

async fn connect(proxy: &Proxy, user: &str, password: &str) -> Result<Client, (String, String)> {
    let connected = proxy.client_config(user).password(password).connect(NoTls).await;
    let (client, connection) = connected.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn a_scram_secret_and_a_clients_proof_log_in_to_a_server_that_demands_scram() {
    let secret = role("by_scram", "scram-sha-256");
    assert!(secret.starts_with("SCRAM-SHA-256$"));
    for method in ["scram-sha-256", "md5", "password"] {
        let proxy = proxy(method, "by_scram", &secret);
        let refusal = connect(&proxy, "by_scram", "wrong").await.err().unwrap();
        assert_eq!(refusal.1, "password authentication failed for user \"by_scram\"", "{method}");
        let client =
            connect(&proxy, "by_scram", PASSWORD).await.unwrap_or_else(|e| panic!("{method}: {e:?}"));
        assert_eq!(value(&client, WHO).await, "by_scram", "{method}");
        assert!(!proxy.log().contains(PASSWORD) && !proxy.log().contains(&secret), "{}", proxy.log());
    }
}

#[tokio::test]
async fn an_md5_hash_logs_in_to_a_server_that_demands_md5() {
    // The harness lets no other role log in by MD5.
    let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'md5user'";
    let hash = WORLD.server(0).sql("postgres", sql).unwrap();
    assert!(hash.starts_with("md5") && hash.len() == 35);
    for method in ["md5", "password"] {
        let proxy = WORLD.another_proxy_with(&format!("[server]\nauth = '{method}'"));
        proxy.edit(|config| {
            let users = config["users"].as_array_mut().unwrap();
            let user = users.iter_mut().find(|user| user["name"].as_str() == Some("md5user")).unwrap();
            user["password"] = hash.clone().into();
        });
        reload(&proxy).await;
        assert!(connect(&proxy, "md5user", "wrong").await.is_err());
        let client = connect(&proxy, "md5user", PASSWORD).await.unwrap_or_else(|e| panic!("{method}: {e:?}"));
        assert_eq!(value(&client, WHO).await, "md5user", "{method}");
    }
}

#[tokio::test]
async fn another_secret_of_the_same_password_opens_nothing_and_is_named() {
    let (other, _) = (role("other_salt", "scram-sha-256"), role("one_salt", "scram-sha-256"));
    let proxy = proxy("scram-sha-256", "one_salt", &other);
    let (state, message) = connect(&proxy, "one_salt", PASSWORD).await.err().unwrap();
    assert_eq!(state, "08001");
    assert!(
        message.ends_with("SCRAM secret for this user is not the one that is configured here"),
        "{message}"
    );
}

#[tokio::test]
async fn an_md5_hash_does_not_answer_a_server_that_demands_scram() {
    role("by_md5", "scram-sha-256");
    let hash = WORLD.server(0).sql("postgres", &format!("SELECT 'md5' || md5('{PASSWORD}by_md5')")).unwrap();
    let proxy = proxy("md5", "by_md5", &hash);
    let (_, message) = connect(&proxy, "by_md5", PASSWORD).await.err().unwrap();
    assert!(message.ends_with("asks for SCRAM, and only an MD5 hash of the password is known"), "{message}");
}

/// A client from another address, which the rules trust.
async fn trusted(proxy: &Proxy, user: &str) -> Result<Client, (String, String)> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from([127, 0, 0, 2]), 0).into()).unwrap();
    let stream = socket.connect((IpAddr::from([127, 0, 0, 1]), proxy.port()).into()).await.unwrap();
    let connected = Config::new().user(user).dbname(DATABASE).connect_raw(stream, NoTls).await;
    let (client, connection) = connected.map_err(|error: Error| said(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::test]
async fn what_one_client_proved_serves_the_user_from_there_on_over_reloads() {
    let secret = role("kept", "scram-sha-256");
    let rules = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(rules.path(), "host all all 127.0.0.2/32 trust\nhost all all all scram-sha-256\n")
        .unwrap();
    let proxy = proxy(&format!("hba'\nhba_file = '{}", rules.path().display()), "kept", &secret);
    let (_, message) = trusted(&proxy, "kept").await.err().unwrap();
    assert!(message.ends_with("nobody has logged in with its password yet"), "{message}");
    drop(connect(&proxy, "kept", PASSWORD).await.unwrap());
    proxy.reconfigure("[pool]\nserver_lifetime = '30m'");
    reload(&proxy).await;
    let gone = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'kept'";
    assert_eq!(WORLD.server(0).sql("postgres", gone).unwrap(), "1");
    assert_eq!(value(&trusted(&proxy, "kept").await.unwrap(), WHO).await, "kept");
}

#[tokio::test]
async fn where_nothing_but_secrets_is_known_the_first_login_opens_the_catalogs_too() {
    let secret = role("alone", "scram-sha-256");
    let proxy = WORLD.another_proxy_with("[routing]\nhealth_check_interval = '1h'");
    proxy.edit(|config| {
        let users = config["users"].as_array_mut().unwrap();
        users.clear();
        users.push(toml::Value::Table(format!("name = 'alone'\npassword = '{secret}'").parse().unwrap()));
    });
    proxy.kill();
    // It is ready: clients have to come for it to get any further.
    proxy.start();
    let controls =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'alone' AND application_name = 'shardway'";
    assert_eq!(WORLD.server(0).sql("postgres", controls).unwrap(), "0");
    let client = connect(&proxy, "alone", PASSWORD).await.unwrap();
    assert_eq!(value(&client, WHO).await, "alone");
    soon("the schema", async || proxy.log().contains("schema read").then_some(())).await;
    soon("health checks", async || proxy.log().contains("server is up").then_some(())).await;
    assert_ne!(WORLD.server(0).sql("postgres", controls).unwrap(), "0");
    assert!(!proxy.log().contains(&secret), "{}", proxy.log());
}
