//! Who may log in: `auth_file`, `auth_hba_file`, `[users]`.

use shardway_tests::{PASSWORD, Program};

use super::{Process, WORLD, usual};
use crate::operation::support::{code, said, soon, value};

fn secret(user: &str) -> String {
    let sql = format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'");
    WORLD.server(0).sql("postgres", &sql).unwrap()
}

const DATABASES: &str = "[databases]\nshop = host=127.0.0.1 port={port} dbname=shop_0\n";

#[tokio::test]
async fn an_auth_file_holds_passwords_md5_hashes_and_scram_secrets() {
    let users = format!(
        "\"app\" \"{}\"\n\"md5user\" \"{}\" \"ignored\"\n; a comment\n\"plain\" \"{PASSWORD}\"\n",
        secret("app"),
        secret("md5user")
    );
    // The secrets that the servers have open the servers.
    let process = Process::new(&format!(
        "{DATABASES}[pgbouncer]\nauth_type = md5\nauth_file = {{dir}}/users.txt\npool_mode = transaction\n"
    ))
    .file("users.txt", &users)
    .start();
    for user in ["app", "md5user"] {
        let client = process.connect(user, "shop").await;
        assert_eq!(value(&client, "SELECT current_user").await, user);
        let mut wrong = process.client_config(user, "shop");
        let refused = super::process::connect(wrong.password("wrong")).await.err().unwrap();
        assert_eq!(code(&refused), "28P01", "{user}");
    }
    let unknown = process.try_connect("nobody", "shop").await.err().unwrap();
    assert_eq!(code(&unknown), "28P01");
}

#[tokio::test]
async fn psql_comes_in_by_tcp_and_by_the_unix_socket() {
    let process = usual("unix_socket_mode = 0700\n").start();
    let (port, dir) = (process.port().to_string(), process.home().display().to_string());
    for host in ["127.0.0.1", &dir] {
        let psql = Program::of_postgres("psql").env("PGPASSWORD", PASSWORD);
        let ran = psql.args(["-X", "-h", host, "-p", &port, "-U", "app", "shop", "-Atc", "SELECT 6*7"]).run();
        assert_eq!(ran.said(), "42", "{host}");
    }
    let socket = process.path(&format!(".s.PGSQL.{port}"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn rules_of_an_hba_file_decide() {
    let process = Process::new(&format!(
        "{DATABASES}[pgbouncer]\nauth_type = hba\nauth_hba_file = {{dir}}/hba\nauth_file = {{dir}}/users.txt\n\
         pool_mode = transaction\n"
    ))
    .file("hba", "host shop app 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 reject\n")
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"md5user\" \"{PASSWORD}\"\n"))
    .start();
    assert_eq!(value(&process.connect("app", "shop").await, "SELECT 1").await, "1");
    assert!(process.try_connect("md5user", "shop").await.is_err());
}

#[tokio::test]
async fn users_have_limits_of_their_own() {
    let process = usual("[users]\napp = max_user_client_connections=1 query_timeout=1\n").start();
    let only = process.connect("app", "shop").await;
    let refused = process.try_connect("app", "shop").await.err().unwrap();
    assert!(said(&refused).1.contains("max_user_client_connections"), "{refused:?}");
    let late = only.simple_query("SELECT pg_sleep(5)").await.err().unwrap();
    assert!(late.is_closed() || said(&late).1.contains("query timeout"), "{late:?}");
}

#[tokio::test]
async fn max_client_conn_is_told_in_pgbouncers_words() {
    let process = usual("max_client_conn = 1\n").start();
    let only = process.connect("app", "shop").await;
    assert_eq!(value(&only, "SELECT 1").await, "1");
    let refused = process.try_connect("app", "shop").await.err().unwrap();
    assert_eq!(said(&refused).1, "no more connections allowed (max_client_conn)");
    drop(only);
    soon("room for another", async || process.try_connect("app", "shop").await.ok()).await;
}

#[tokio::test]
async fn the_query_for_users_is_asked_where_the_file_knows_nobody() {
    let process = Process::new(
        "[databases]\nshop = host=127.0.0.1 port={port} dbname=shop_0 auth_user=asker\n\
         [pgbouncer]\nauth_type = scram-sha-256\nauth_file = {dir}/users.txt\npool_mode = transaction\n\
         auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1\n",
    )
    .file("users.txt", "\"asker\" \"asks\"\n")
    .start();
    WORLD.server(0).sql("postgres", "CREATE ROLE asker LOGIN SUPERUSER PASSWORD 'asks'").unwrap();
    let client = process.connect("app", "shop").await;
    assert_eq!(value(&client, "SELECT current_user").await, "app");
}

#[tokio::test]
async fn simple_queries_may_be_refused() {
    let process = usual("disable_pqexec = 1\n").start();
    let client = process.connect("app", "shop").await;
    assert_eq!(client.query_one("SELECT 7", &[]).await.unwrap().get::<_, i32>(0), 7);
    let refused = client.simple_query("SELECT 7").await.err().unwrap();
    assert_eq!(said(&refused).1, "PQexec disallowed");
}

#[tokio::test]
async fn who_comes_and_goes_is_logged() {
    let process = usual("").start();
    drop(process.connect("app", "shop").await);
    process.wait_for_log("login: db=shop user=app tls=no");
    soon("the end", async || process.log().contains("closed: db=shop user=app").then_some(())).await;
    let silent = usual("log_connections = 0\nlog_disconnections = 0\n").start();
    let client = silent.connect("app", "shop").await;
    assert_eq!(value(&client, "SELECT 1").await, "1");
    drop(client);
    assert!(!silent.log().contains("db=shop"), "{}", silent.log());
}
