//! Our modes against servers that have TLS, demand it, or do not know it.

use std::{fs, os::unix::fs::MetadataExt, os::unix::fs::PermissionsExt};

use shardway_tests::{Proxy, SharedWorld, World, eventually, toml::Table};

use super::certificates::{Authority, Folder, Identity, self_signed};
use super::{WHO, assert_says};
use crate::operation::support::{SCHEMA, lines, said, soon, try_lines, value};

/// Servers that want TLS of `app`, none of `plain`, and a certificate of `shown`.
static SECURE: SharedWorld = SharedWorld::new(|| {
    let world = World::builder().shards(2).schema(SCHEMA).without_proxy().start();
    secure(&world, &AUTHORITY.sign("a server", &["127.0.0.1"]));
    world
});

static AUTHORITY: std::sync::LazyLock<Authority> = std::sync::LazyLock::new(|| Authority::new("servers' CA"));

const RULES: &str = "hostssl all clear all password\nhostssl all app all scram-sha-256\nhostnossl all plain all scram-sha-256\n\
                     hostssl all shown all cert\nhost all app,plain,shown all reject\n";

/// Teaches the server TLS.
pub fn secure(world: &World, identity: &Identity) {
    let server = world.server(0);
    let dir = server.dir();
    let owner = fs::metadata(dir).unwrap();
    let write = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(dir.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
    };
    write("server.crt", &identity.certificate);
    write("server.key", &identity.key);
    write("root.crt", &AUTHORITY.pem());
    let rules = fs::read_to_string(dir.join("pg_hba.conf")).unwrap();
    write("pg_hba.conf", &format!("{RULES}{rules}"));
    let sql = "SET password_encryption = 'scram-sha-256';
        CREATE ROLE plain LOGIN PASSWORD 'secret'; GRANT app TO plain;
        CREATE ROLE shown LOGIN; GRANT app TO shown;
        CREATE ROLE clear LOGIN PASSWORD 'secret'; GRANT app TO clear;
        ALTER SYSTEM SET ssl = on; ALTER SYSTEM SET ssl_ca_file = 'root.crt'; SELECT pg_reload_conf();";
    server.sql("postgres", sql).unwrap();
    eventually("a server with TLS", || (server.sql("postgres", "SHOW ssl").unwrap() == "on").then_some(()));
}

/// A proxy in front of these servers, and a directory with their CA's certificate.
fn proxy(world: &World, server_tls: &str, more: &str) -> (Proxy, Folder) {
    let folder = Folder::new();
    folder.write("ca.crt", AUTHORITY.pem());
    folder.write_identity("shown", &AUTHORITY.sign("shown", &[]));
    let more = more.replace("{DIR}", &folder.path(""));
    (world.another_proxy_with(&format!("[pool]\nserver_tls = '{server_tls}'\n{more}")), folder)
}

const CA: &str = "server_tls_ca = '{DIR}/ca.crt'\n";

/// Everybody is this user on the servers.
fn logging_in_as(user: &str) -> String {
    format!("[databases]\nuser = '{user}'\npassword = 'secret'\n")
}

/// Whether the servers' connections of this user, by clients and for health checks, are by TLS.
fn encrypted(user: &str) -> String {
    let sql = format!(
        "SELECT DISTINCT ssl, application_name = 'shardway' FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE usename = '{user}' ORDER BY 1, 2"
    );
    SECURE.server(0).sql("postgres", &sql).unwrap().replace('\n', " ")
}

#[tokio::test]
async fn every_mode_but_disable_reaches_a_server_that_demands_tls() {
    for (mode, more) in
        [("allow", ""), ("prefer", ""), ("require", ""), ("verify-ca", CA), ("verify-full", CA)]
    {
        let (proxy, _folder) = proxy(&SECURE, mode, more);
        let client = proxy.connect("app").await;
        assert_eq!(value(&client, WHO).await, "app", "{mode}");
        assert_eq!(encrypted("app"), "t|f t|t", "{mode}");
    }
}

#[tokio::test]
async fn without_tls_such_a_server_refuses() {
    let (proxy, _folder) = proxy(&SECURE, "require", "");
    proxy.reconfigure("[pool]\nserver_tls = 'disable'");
    proxy.sighup();
    proxy.wait_for_log("pool.server_tls: require -> disable");
    let refusal = refused(&proxy).await;
    assert_eq!(refusal.0, "28000");
    assert_says(&refusal.1, "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"app\"");
    assert_says(&refusal.1, "no encryption");
}

#[tokio::test]
async fn allow_and_disable_are_plain_where_the_server_lets_them() {
    for mode in ["allow", "disable"] {
        let (proxy, _folder) = proxy(&SECURE, mode, &logging_in_as("plain"));
        assert_eq!(value(&proxy.connect("app").await, WHO).await, "plain", "{mode}");
        assert_eq!(encrypted("plain"), "f|f f|t", "{mode}");
    }
}

#[tokio::test]
async fn a_server_without_tls_will_do_unless_it_is_demanded() {
    for mode in ["allow", "prefer"] {
        let (proxy, _folder) = proxy(&super::WORLD, mode, "");
        assert_eq!(value(&proxy.connect("app").await, WHO).await, "app", "{mode}");
    }
    let (proxy, _folder) = proxy(&super::WORLD, "prefer", "");
    proxy.reconfigure("[pool]\nserver_tls = 'require'");
    proxy.sighup();
    proxy.wait_for_log("pool.server_tls: prefer -> require");
    let refusal = refused(&proxy).await;
    assert_eq!(refusal.0, "08001");
    assert_says(&refusal.1, "the server does not support TLS, which server_tls demands");
}

/// What a client is told where servers can't be had.
async fn refused(proxy: &Proxy) -> (String, String) {
    soon("a refusal", async || {
        let (client, connection) = match proxy.client_config("app").connect(tokio_postgres::NoTls).await {
            Ok(connected) => connected,
            Err(error) => return Some(said(&error)),
        };
        tokio::spawn(connection);
        try_lines(&client, WHO).await.err().map(|error| said(&error))
    })
    .await
}

#[tokio::test]
async fn a_url_may_ask_for_more_or_less_than_the_setting() {
    let folder = Folder::new();
    folder.write("ca.crt", AUTHORITY.pem());
    let (proxy, _folder) = proxy(&SECURE, "require", CA);
    for (server_tls, sslmode) in [("disable", "verify-full"), ("verify-full", "require")] {
        proxy.edit(|config| {
            config["pool"].as_table_mut().unwrap().insert("server_tls".into(), server_tls.into());
            let shards = config["databases"][0]["groups"][0]["shards"].as_array_mut().unwrap();
            for shard in shards.iter_mut().filter_map(|shard| shard.as_table_mut()) {
                in_url(shard, sslmode);
            }
        });
        proxy.kill();
        proxy.start();
        assert_eq!(value(&proxy.connect("app").await, WHO).await, "app");
    }
}

fn in_url(shard: &mut Table, sslmode: &str) {
    let url = shard["primary"].as_str().unwrap();
    let bare = url.split('?').next().unwrap();
    let url = format!("{bare}?sslmode={sslmode}");
    shard.insert("primary".into(), url.into());
}

#[tokio::test]
async fn we_show_a_certificate_where_the_server_wants_one() {
    let own = "server_tls_cert = '{DIR}/shown.crt'\nserver_tls_key = '{DIR}/shown.key'\n";
    let more = format!("{CA}{own}{}", logging_in_as("shown"));
    let (proxy, folder) = proxy(&SECURE, "verify-full", &more);
    assert_eq!(value(&proxy.connect("app").await, WHO).await, "shown");
    assert_eq!(encrypted("shown"), "t|f t|t");
    folder.write_identity("shown", &AUTHORITY.sign("another", &[]));
    proxy.sighup();
    proxy.wait_for_log("pool.server_tls_files: changed");
    let refusal = refused(&proxy).await;
    assert_says(&refusal.1, "certificate authentication failed for user \"shown\"");
}

#[tokio::test]
async fn a_server_may_ask_for_the_password_in_clear() {
    let (proxy, _folder) = proxy(&SECURE, "require", &logging_in_as("clear"));
    assert_eq!(value(&proxy.connect("app").await, WHO).await, "clear");
}

/// A server that has TLS and offers to bind SCRAM to it takes nothing less from who could.
#[tokio::test]
async fn a_key_that_a_client_proved_logs_in_bound_to_the_channel() {
    let role = "SET password_encryption = 'scram-sha-256'; CREATE ROLE keyed LOGIN PASSWORD 'secret';
                SELECT rolpassword FROM pg_authid WHERE rolname = 'keyed'";
    let secret = SECURE.server(0).sql("postgres", role).unwrap();
    let user = format!("[[users]]\nname = 'keyed'\npassword = '{}'\n", secret.lines().last().unwrap());
    let (proxy, _folder) = proxy(&SECURE, "require", &user);
    let mut config = proxy.client_config("keyed");
    let (client, connection) = config.password("secret").connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(value(&client, WHO).await, "keyed");
    assert_eq!(encrypted("keyed"), "t|f");
}

/// A world of one server that shows this certificate.
fn showing(identity: &Identity) -> World {
    let world = World::builder().schema(SCHEMA).without_proxy().start();
    secure(&world, identity);
    world
}

/// What comes of a mode that checks against a CA.
async fn outcome(world: &World, mode: &str, ca: &str) -> Result<(), String> {
    let (proxy, folder) = proxy(world, "require", CA);
    folder.write("ca.crt", ca);
    proxy.reconfigure(&format!("[pool]\nserver_tls = '{mode}'"));
    proxy.sighup();
    proxy.wait_for_log(&format!("pool.server_tls: require -> {mode}"));
    match tokio_postgres::connect(&proxy.url("app"), tokio_postgres::NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            try_lines(&client, WHO).await.map(drop).map_err(|error| said(&error).1)
        }
        Err(error) => Err(said(&error).1),
    }
}

#[tokio::test]
async fn a_certificate_must_be_of_the_right_ca_and_for_the_right_name() {
    let world = showing(&AUTHORITY.sign("127.0.0.1", &["elsewhere.example"]));
    let (ours, other) = (AUTHORITY.pem(), Authority::new("another").pem());
    assert_eq!(outcome(&world, "verify-ca", &ours).await, Ok(()));
    // The CN does not count where there is another name.
    assert_says(&outcome(&world, "verify-full", &ours).await.unwrap_err(), "not valid for name");
    for mode in ["verify-ca", "verify-full"] {
        assert_says(&outcome(&world, mode, &other).await.unwrap_err(), "UnknownIssuer");
    }
}

#[tokio::test]
async fn the_name_may_be_in_the_common_name_alone() {
    let world = showing(&AUTHORITY.sign("127.0.0.1", &[]));
    assert_eq!(outcome(&world, "verify-full", &AUTHORITY.pem()).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_that_signed_itself_may_be_trusted_as_it_is() {
    let own = self_signed("127.0.0.1");
    let world = showing(&own);
    assert_eq!(outcome(&world, "verify-full", &own.certificate).await, Ok(()));
    assert!(outcome(&world, "verify-ca", &AUTHORITY.pem()).await.is_err());
}

#[tokio::test]
async fn a_servers_new_connections_go_by_a_new_ca() {
    let (proxy, folder) = proxy(&SECURE, "verify-full", CA);
    let client = proxy.connect("app").await;
    folder.write("ca.crt", Authority::new("another").pem());
    proxy.sighup();
    proxy.wait_for_log("pool.server_tls_files: changed");
    assert_says(&refused(&proxy).await.1, "UnknownIssuer");
    folder.write("ca.crt", AUTHORITY.pem());
    proxy.sighup();
    soon("a client", async || {
        let (client, connection) = proxy.client_config("app").connect(tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        try_lines(&client, WHO).await.ok()
    })
    .await;
    drop(lines(&client, WHO).await);
}
