//! What clients are told when something is wrong, in PgBouncer's words: the same files and the same mistakes, with the real
//! PgBouncer beside where it is installed.

use std::{collections::BTreeSet, os::unix::net::UnixStream};

use shardway_tests::{Message, PASSWORD, RawClient, eventually};

use super::{Process, pgbouncer};
use crate::operation::support::soon;

const USERS: &str = "\"app\" \"secret\"\n\"admin\" \"secret\"\n\"stats\" \"secret\"\n\"empty\" \"\"\n";

const HBA: &str = "nonsense that is left out\nhost all app 127.0.0.1/32 reject\nlocal all all peer\n\
                   host all stats 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 md5\n";

/// Shardway with a `pgbouncer.ini`, and PgBouncer with the same.
async fn of_both(settings: &str, case: impl AsyncFn(&Process) -> Vec<Told>) {
    let make = || {
        Process::new(&format!(
            "[databases]\nshop = host=127.0.0.1 port={{port}} dbname=shop_0\nnowhere = host=127.0.0.1 port=1\n\
             [pgbouncer]\nauth_file = {{dir}}/users.txt\nadmin_users = admin\nstats_users = stats\n{settings}\n"
        ))
        .file("users.txt", USERS)
        .file("hba", HBA)
    };
    let ours = case(&make().start()).await;
    assert!(!ours.is_empty());
    let Some(program) = pgbouncer() else { return };
    let theirs = case(&make().of_pgbouncer(program).start()).await;
    assert_eq!(ours, theirs, "left: Shardway, right: PgBouncer");
}

/// What was tried, and severity and message of the error.
type Told = (String, Option<(String, String)>);

fn told(what: &str, message: Option<&Message>) -> Told {
    let field = |message: &Message, code| message.field(code).unwrap_or_default();
    (what.to_owned(), message.map(|message| (field(message, 'S'), field(message, 'M'))))
}

async fn login(process: &Process, user: &str, database: &str, password: &str) -> Told {
    let mut raw = RawClient::connect(process.port()).await;
    let outcome = raw.try_login(&[("user", user), ("database", database)], password).await;
    told(&format!("{user} at {database} by {password:?}"), outcome.err().as_ref())
}

/// Everybody who may not come in, by one way to prove who they are.
async fn logins(process: &Process) -> Vec<Told> {
    let mut all = Vec::new();
    for (user, database, password) in [
        ("app", "shop", PASSWORD),
        ("app", "shop", "wrong"),
        ("app", "shop", ""),
        ("app", "no_such_database", PASSWORD),
        ("app", "no_such_database", "wrong"),
        ("ghost", "shop", PASSWORD),
        ("ghost", "no_such_database", PASSWORD),
        ("empty", "no_such_database", PASSWORD),
        ("app", "pgbouncer", PASSWORD),
        ("ghost", "pgbouncer", PASSWORD),
        ("stats", "pgbouncer", "wrong"),
        ("stats", "shop", PASSWORD),
        ("", "shop", PASSWORD),
    ] {
        all.push(login(process, user, database, password).await);
    }
    all
}

#[tokio::test]
async fn logins_fail_in_the_same_words_whatever_the_proof() {
    for auth_type in ["scram-sha-256", "md5", "plain", "trust", "hba\nauth_hba_file = {dir}/hba"] {
        of_both(&format!("auth_type = {auth_type}"), logins).await;
    }
    of_both("auth_type = any", async |process| {
        let mut all = logins(process).await;
        // PgBouncer misses the user that servers are to be logged in to as, before the database.
        all.retain(|(what, _)| !what.contains("no_such_database"));
        all
    })
    .await;
}

#[tokio::test]
async fn who_comes_by_the_unix_socket_and_is_somebody_else_is_told_so() {
    of_both("auth_type = hba\nauth_hba_file = {dir}/hba", async |process| {
        // PgBouncer opens it behind its port.
        let socket = process.home().join(format!(".s.PGSQL.{}", process.port()));
        eventually("the Unix socket", || UnixStream::connect(&socket).ok());
        let mut config = tokio_postgres::Config::new();
        config.host_path(process.home()).port(process.port()).user("stats").dbname("shop");
        let refused = config.connect(tokio_postgres::NoTls).await.err().unwrap();
        let refused = refused.as_db_error().unwrap();
        vec![("peer".to_owned(), Some((refused.severity().to_owned(), refused.message().to_owned())))]
    })
    .await;
}

#[tokio::test]
async fn startup_messages_that_are_none_fail_in_the_same_words() {
    of_both("auth_type = trust", async |process| {
        let mut all = Vec::new();
        for (what, parameters) in [("no user", [("database", "shop")].as_slice())] {
            let mut raw = RawClient::connect(process.port()).await;
            all.push(told(what, raw.try_login(parameters, PASSWORD).await.err().as_ref()));
        }
        for (what, bytes) in [
            ("no packet", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            ("version 2", [&[0, 0, 0, 8, 0, 2, 0, 0][..]].concat()),
            ("an early password", b"p\0\0\0\x05\0".to_vec()),
        ] {
            let mut raw = RawClient::connect(process.port()).await;
            raw.send_raw(&bytes).await;
            all.push(told(what, raw.rest().await.error()));
        }
        all
    })
    .await;
}

/// Commands of the console that fail, and what they say.
async fn console(process: &Process, user: &str, commands: &[&str]) -> Vec<Told> {
    let mut raw = RawClient::connect(process.port()).await;
    raw.login(user, "pgbouncer", PASSWORD).await;
    let mut all = Vec::new();
    for command in commands {
        all.push(told(command, raw.query(command).recv_until_ready().await.error()));
    }
    all
}

#[tokio::test]
async fn the_console_refuses_in_the_same_words() {
    of_both("auth_type = md5", async |process| {
        let commands = [
            "nonsense",
            "SHOW nonsense",
            "SHOW",
            "SELECT 1",
            "SET default_pool_size = many",
            "SET nonsense = 1",
            "SET auth_type = nonsense",
            "SET auth_type = trust",
            "SET auth_type = md5",
            "SET a",
            "RESUME",
            "RESUME shop",
            "RESUME no_such_database",
            "PAUSE no_such_database",
            "PAUSE pgbouncer",
            "DISABLE",
            "DISABLE no_such_database",
            "DISABLE pgbouncer",
            "ENABLE no_such_database",
            "RECONNECT no_such_database",
            "WAIT_CLOSE no_such_database",
            "RELOAD now",
            "KILL no_such_database",
            "KILL pgbouncer",
            "PAUSE",
            "PAUSE",
            "PAUSE shop",
            "SUSPEND",
            "RESUME",
        ];
        let mut all = console(process, "admin", &commands).await;
        all.extend(console(process, "stats", &["RELOAD", "PAUSE", "SET verbose = 1", "KILL shop"]).await);
        all
    })
    .await;
}

#[tokio::test]
async fn a_disabled_database_is_refused_in_the_same_words() {
    of_both("auth_type = md5", async |process| {
        console(process, "admin", &["DISABLE shop"]).await;
        vec![login(process, "app", "shop", PASSWORD).await]
    })
    .await;
}

/// Logs in, has something done, and gives the error that came last.
async fn last_words(process: &Process, act: impl AsyncFnOnce(&mut RawClient)) -> Told {
    let mut raw = RawClient::connect(process.port()).await;
    raw.login("app", "shop", PASSWORD).await;
    act(&mut raw).await;
    told("last words", raw.rest().await.error())
}

#[tokio::test]
async fn sessions_end_in_the_same_words() {
    for (settings, sql) in [
        ("pool_mode = statement", "BEGIN"),
        ("pool_mode = transaction\nquery_timeout = 1", "SELECT pg_sleep(9)"),
        ("pool_mode = transaction\nidle_transaction_timeout = 1", "BEGIN; SELECT 1"),
        ("pool_mode = transaction\nclient_idle_timeout = 1", "SELECT 1"),
        ("pool_mode = transaction\ndisable_pqexec = 1", "SELECT 1"),
        ("pool_mode = transaction\nmax_packet_size = 1000", &format!("SELECT '{}'", "x".repeat(2000))),
    ] {
        of_both(&format!("auth_type = md5\n{settings}"), async |process| {
            vec![last_words(process, async |raw| raw.query(sql).send().await).await]
        })
        .await;
    }
    of_both("auth_type = md5\npool_mode = transaction", async |process| {
        vec![last_words(process, async |raw| raw.send_raw(b"!\0\0\0\x04").await).await]
    })
    .await;
}

#[tokio::test]
async fn who_is_one_too_many_is_told_so_in_the_same_words() {
    of_both("auth_type = md5\nmax_client_conn = 1", async |process| {
        let mut only = RawClient::connect(process.port()).await;
        only.login("app", "shop", PASSWORD).await;
        vec![login(process, "app", "shop", PASSWORD).await]
    })
    .await;
    let waits = "auth_type = md5\npool_mode = transaction\ndefault_pool_size = 1\nquery_wait_timeout = 1";
    of_both(waits, async |process| {
        let mut busy = RawClient::connect(process.port()).await;
        busy.login("app", "shop", PASSWORD).await;
        busy.query("BEGIN; SELECT 1").recv_until_ready().await;
        vec![last_words(process, async |raw| raw.query("SELECT 1").send().await).await]
    })
    .await;
}

#[tokio::test]
async fn sessions_that_an_admin_ends_are_told_so_in_the_same_words() {
    of_both("auth_type = md5\npool_mode = session\nserver_fast_close = 1", async |process| {
        let mut all = Vec::new();
        for command in ["RECONNECT", "KILL shop"] {
            let ended = last_words(process, async |raw| {
                raw.query("SELECT 1").recv_until_ready().await;
                console(process, "admin", &[command]).await;
            });
            all.push(ended.await);
        }
        all
    })
    .await;
    of_both("auth_type = md5\npool_mode = session", async |process| {
        let mut raw = RawClient::connect(process.port()).await;
        raw.login("app", "shop", PASSWORD).await;
        raw.query("SELECT 1").recv_until_ready().await;
        process.edit("shop = host", "other = host");
        console(process, "admin", &["RELOAD"]).await;
        vec![told("its database is gone", raw.rest().await.error())]
    })
    .await;
}

async fn first_column(process: &Process, command: &str) -> BTreeSet<String> {
    let mut raw = RawClient::connect(process.port()).await;
    raw.login("admin", "pgbouncer", PASSWORD).await;
    let reply = raw.query(command).recv_until_ready().await;
    let text = |row: Vec<Option<bytes::Bytes>>| {
        String::from_utf8(row.into_iter().next().flatten().unwrap_or_default().to_vec()).unwrap()
    };
    reply.rows().into_iter().map(text).collect()
}

#[tokio::test]
async fn the_console_names_itself_and_its_settings_as_pgbouncer_does() {
    of_both("auth_type = md5", async |process| {
        let mut all = Vec::new();
        for command in ["SHOW DATABASES", "SHOW USERS", "SHOW STATS", "SHOW STATS_TOTALS", "SHOW POOLS"] {
            for name in first_column(process, command).await {
                // PgBouncer counts for databases that were in use alone.
                if name == "pgbouncer" || ["SHOW DATABASES", "SHOW USERS"].contains(&command) {
                    all.push((format!("{command}: {name}"), None));
                }
            }
        }
        // What came with later versions than the one that is installed is not compared.
        let config = first_column(process, "SHOW CONFIG").await;
        let since_1_18 = [
            "auth_dbname",
            "auth_ident_file",
            "auth_ldap_options",
            "cancel_wait_timeout",
            "client_tls13_ciphers",
            "login_notify_message",
            "max_db_client_connections",
            "max_prepared_statements",
            "max_user_client_connections",
            "peer_id",
            "pool_idle_timeout",
            "query_wait_notify",
            "scram_iterations",
            "server_tls13_ciphers",
            "track_extra_parameters",
            "transaction_timeout",
        ];
        all.extend(config.into_iter().filter(|key| !since_1_18.contains(&&**key)).map(|key| (key, None)));
        all
    })
    .await;
}

#[tokio::test]
async fn options_that_are_none_are_refused_in_pgbouncers_words() {
    // Since PgBouncer 1.20; before, it knew no options at all.
    let process = super::usual("").start();
    let mut raw = RawClient::connect(process.port()).await;
    let refused = raw.try_login(&[("user", "app"), ("options", "-x")], PASSWORD).await.err().unwrap();
    assert_eq!(
        refused.field('M').as_deref(),
        Some("unsupported options startup parameter: only '-c config=val' is allowed")
    );
}

#[tokio::test]
async fn a_reload_that_fails_says_so_and_leaves_everything_as_it_was() {
    // Since PgBouncer 1.22; before, it said that all was well.
    let process = super::usual("").start();
    process.edit("pool_mode = transaction", "pool_mode = transactional");
    let told = console(&process, "admin", &["RELOAD"]).await;
    let expected = ("ERROR".to_owned(), "RELOAD failed, see logs for additional details".to_owned());
    assert_eq!(told, [("RELOAD".to_owned(), Some(expected))]);
    process.wait_for_log("transactional");
    soon("a client", async || process.try_connect("app", "shop").await.ok()).await;
}
