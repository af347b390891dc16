//! Users that no configuration names: a query of the operator's finds what the server has stored of their passwords.

use shardway_tests::{DATABASE, PASSWORD, Proxy, RawClient, SharedWorld, World};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::support::{SCHEMA, reload, said, soon, value};

/// Of the server's roles, `postgres` is trusted, those that are `md5…` are asked for MD5, the others for SCRAM.
static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

const WHO: &str = "SELECT current_user";

const QUERY: &str = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1";

fn on_server(sql: &str) -> String {
    WORLD.server(0).sql("postgres", sql).unwrap()
}

fn role(name: &str) {
    on_server(&format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"));
}

fn proxy(more: &str) -> Proxy {
    WORLD.another_proxy_with(&format!("[server]\nauth_query = '{QUERY}'\nauth_user = 'postgres'\n{more}"))
}

async fn connect_to(
    proxy: &Proxy,
    database: &str,
    user: &str,
    password: &str,
) -> Result<Client, (String, String)> {
    let mut config = proxy.client_config(user);
    let connected = config.dbname(database).password(password).connect(NoTls).await;
    let (client, connection) = connected.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect(proxy: &Proxy, user: &str, password: &str) -> Result<Client, (String, String)> {
    connect_to(proxy, DATABASE, user, password).await
}

fn wrong(user: &str) -> (String, String) {
    ("28P01".into(), format!("password authentication failed for user \"{user}\""))
}

#[tokio::test]
async fn who_is_not_configured_is_looked_up_and_is_itself_on_every_server() {
    role("found");
    on_server("GRANT pg_read_all_data TO found");
    for method in ["scram-sha-256", "md5", "password"] {
        let proxy = proxy(&format!("auth = '{method}'"));
        assert_eq!(connect(&proxy, "found", "wrong").await.err(), Some(wrong("found")), "{method}");
        assert_eq!(connect(&proxy, "nobody", PASSWORD).await.err(), Some(wrong("nobody")), "{method}");
        let client = connect(&proxy, "found", PASSWORD).await.unwrap_or_else(|e| panic!("{method}: {e:?}"));
        assert_eq!(value(&client, WHO).await, "found", "{method}");
        assert_eq!(value(&client, "SELECT count(*) FROM t").await, "0", "both shards know it: {method}");
        assert!(!proxy.log().contains("SCRAM-SHA-256$"), "{}", proxy.log());
    }
}

#[tokio::test]
async fn an_md5_hash_that_was_looked_up_logs_in_by_md5() {
    let proxy = proxy("auth = 'md5'");
    proxy.edit(|config| {
        let users = config["users"].as_array_mut().unwrap();
        users.retain(|user| user["name"].as_str() != Some("md5user"));
    });
    reload(&proxy).await;
    assert_eq!(connect(&proxy, "md5user", "wrong").await.err(), Some(wrong("md5user")));
    let client = connect(&proxy, "md5user", PASSWORD).await.unwrap();
    assert_eq!(value(&client, WHO).await, "md5user");
}

/// What the server asks for first.
async fn asked(proxy: &Proxy, user: &str) -> Vec<u8> {
    let mut raw = RawClient::connect(proxy.port()).await;
    raw.startup(&[("user", user), ("database", DATABASE)]);
    raw.recv().await.body[..4].to_vec()
}

#[tokio::test]
async fn under_md5_who_does_not_exist_is_asked_as_those_who_do() {
    role("existing");
    let proxy = proxy("auth = 'md5'");
    assert_eq!(asked(&proxy, "existing").await, asked(&proxy, "missing").await);
}

#[tokio::test]
async fn who_has_no_password_is_refused_as_if_it_did_not_exist() {
    on_server("CREATE ROLE without LOGIN");
    let proxy = proxy("");
    assert_eq!(connect(&proxy, "without", PASSWORD).await.err(), Some(wrong("without")));
}

#[tokio::test]
async fn a_password_that_changed_counts_at_the_next_login_for_clients_and_servers() {
    role("changing");
    let proxy = proxy("");
    let before = connect(&proxy, "changing", PASSWORD).await.unwrap();
    assert_eq!(value(&before, WHO).await, "changing");
    on_server("ALTER ROLE changing PASSWORD 'another'");
    assert_eq!(connect(&proxy, "changing", PASSWORD).await.err(), Some(wrong("changing")));
    let after = connect(&proxy, "changing", "another").await.unwrap();
    on_server("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'changing'");
    // The servers that are gone are replaced, by what was proven last.
    assert_eq!(value(&after, WHO).await, "changing");
    assert_eq!(value(&before, WHO).await, "changing");
    on_server("ALTER ROLE changing NOLOGIN");
    assert_eq!(connect(&proxy, "changing", "another").await.err(), Some(wrong("changing")));
}

#[tokio::test]
async fn a_configured_password_counts_and_nobody_is_asked() {
    let proxy = WORLD.another_proxy_with(
        "[server]\nauth_query = \"SELECT $1, 'PASSWORD'\"\nauth_user = 'postgres'\n\
         [[users]]\nname = 'named'",
    );
    assert_eq!(value(&connect(&proxy, "app", PASSWORD).await.unwrap(), WHO).await, "app");
    assert_eq!(connect(&proxy, "app", "PASSWORD").await.err(), Some(wrong("app")));
    // An entry without a password is for limits: the query says what lets its user in.
    let (_, message) = connect(&proxy, "named", "PASSWORD").await.err().unwrap();
    assert!(message.contains("refused login"), "it got as far as the server: {message}");
}

#[tokio::test]
async fn under_trust_who_is_found_is_let_in_unasked() {
    role("trusted");
    let proxy = proxy("auth = 'trust'");
    let (state, message) = connect(&proxy, "nobody", "").await.err().unwrap();
    assert_eq!((state.as_str(), message.as_str()), ("28000", "role \"nobody\" does not exist"));
    // Unasked, but the server asks: its secret alone opens nothing.
    let (_, message) = connect(&proxy, "trusted", "").await.err().unwrap();
    assert!(message.ends_with("nobody has logged in with its password yet"), "{message}");
}

#[tokio::test]
async fn a_database_may_have_a_query_and_a_user_of_its_own_and_ask_another_database() {
    role("asker");
    role("asked_for");
    let function = "CREATE FUNCTION lookup(wanted text, OUT name, OUT text) LANGUAGE sql SECURITY DEFINER AS \
                    'SELECT usename, passwd FROM pg_shadow WHERE usename = wanted'; \
                    REVOKE EXECUTE ON FUNCTION lookup FROM public; GRANT EXECUTE ON FUNCTION lookup TO asker";
    // On shop_1 alone.
    WORLD.server(0).sql("shop_1", function).unwrap();
    let port = WORLD.server(0).port();
    let proxy = WORLD.another_proxy_with(&format!(
        "[[users]]\nname = 'asker'\npassword = '{PASSWORD}'\n\
         [[databases]]\nname = 'second'\nauth_user = 'asker'\nauth_query = 'SELECT * FROM lookup($1)'\n\
         [[databases.groups]]\nshard_count = 1\n\
         [[databases.groups.shards]]\nids = [0]\nprimary = 'postgres://127.0.0.1:{port}/shop_1'\n\
         [[databases]]\nname = 'third'\nauth_user = 'asker'\nauth_query = 'SELECT * FROM lookup($1)'\nauth_dbname = 'second'\n\
         [[databases.groups]]\nshard_count = 1\n\
         [[databases.groups.shards]]\nids = [0]\nprimary = 'postgres://127.0.0.1:{port}/shop_0'\n",
    ));
    for database in ["second", "third"] {
        let client = connect_to(&proxy, database, "asked_for", PASSWORD)
            .await
            .unwrap_or_else(|e| panic!("{database}: {e:?}\n{}", proxy.log()));
        assert_eq!(value(&client, WHO).await, "asked_for");
    }
    assert_eq!(
        connect(&proxy, "asked_for", PASSWORD).await.err(),
        Some(wrong("asked_for")),
        "the first has none"
    );
}

#[tokio::test]
async fn who_was_found_stays_over_a_reload_and_goes_with_the_query() {
    role("staying");
    let proxy = proxy("");
    let client = connect(&proxy, "staying", PASSWORD).await.unwrap();
    proxy.reconfigure("[pool]\nserver_lifetime = '30m'");
    reload(&proxy).await;
    on_server("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'staying'");
    assert_eq!(value(&client, WHO).await, "staying", "with servers that were logged in to since");
    proxy.reconfigure("[server]\nauth_query = ''");
    reload(&proxy).await;
    soon("the client to be sent away", async || client.is_closed().then_some(())).await;
    assert_eq!(connect(&proxy, "staying", PASSWORD).await.err(), Some(wrong("staying")));
}

#[tokio::test]
async fn a_query_that_fails_or_answers_for_somebody_else_lets_nobody_in_and_is_logged() {
    role("unlucky");
    for (query, why) in [
        ("SELECT usename, passwd FROM pg_shadow WHERE usename = 'postgres' OR $1 = ''", "gives \"postgres\""),
        ("SELECT passwd FROM pg_shadow WHERE usename = $1", "gives 1 columns"),
        ("SELECT nothing, nothing FROM nowhere WHERE x = $1", "relation \"nowhere\" does not exist"),
    ] {
        let proxy =
            WORLD.another_proxy_with(&format!("[server]\nauth_query = \"{query}\"\nauth_user = 'postgres'"));
        let (code, message) = connect(&proxy, "unlucky", PASSWORD).await.err().unwrap();
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("57P03", "user \"unlucky\" cannot be looked up right now")
        );
        proxy.wait_for_log(why);
    }
}

#[tokio::test]
async fn a_connection_that_was_lost_is_replaced_unseen() {
    // The others ask by connections that look the same.
    let world = World::builder().schema(SCHEMA).start();
    let on_server = |sql: &str| world.server(0).sql("postgres", sql).unwrap();
    on_server(&format!("CREATE ROLE again LOGIN PASSWORD '{PASSWORD}'"));
    let proxy =
        world.another_proxy_with(&format!("[server]\nauth_query = '{QUERY}'\nauth_user = 'postgres'"));
    for _ in 0..3 {
        drop(connect(&proxy, "again", PASSWORD).await.unwrap());
        let gone = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'postgres' \
                    AND application_name = 'shardway'";
        on_server(gone);
    }
    drop(connect(&proxy, "again", PASSWORD).await.unwrap());
}

#[tokio::test]
async fn a_query_that_hangs_holds_up_nobody_but_those_who_ask() {
    role("hanging");
    let proxy = WORLD.another_proxy_with(
        "[server]\nauth_user = 'postgres'\n\
         auth_query = \"SELECT usename, passwd FROM pg_shadow, pg_sleep(60) WHERE usename=$1\"",
    );
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        let config = proxy.client_config("hanging");
        asking.spawn(async move { config.connect(NoTls).await.err().map(|error| said(&error).0) });
    }
    let asks = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60) WHERE%' AND state = 'active' \
                AND usename = 'postgres'";
    soon("the query", async || (on_server(asks) == "t").then_some(())).await;
    assert_eq!(value(&connect(&proxy, "app", PASSWORD).await.unwrap(), WHO).await, "app");
    while let Some(told) = asking.join_next().await {
        assert_eq!(told.unwrap().as_deref(), Some("57P03"));
    }
}

#[tokio::test]
async fn a_storm_of_logins_shares_two_connections() {
    for number in 0..4 {
        role(&format!("stormy{number}"));
    }
    let proxy = WORLD.another_proxy_with(&format!(
        "[server]\nauth_query = '{QUERY} AND 7 = 7'\nauth_user = 'postgres'\n[pool]\ndefault_pool_size = 2"
    ));
    let mut clients = JoinSet::new();
    for number in 0..200 {
        let user = format!("stormy{}", number % 4);
        let mut config = proxy.client_config(&user);
        clients.spawn(async move {
            let (client, connection) = config.password(PASSWORD).connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            assert_eq!(value(&client, WHO).await, user);
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let askers = "SELECT count(*) <= 2 FROM pg_stat_activity WHERE usename = 'postgres' \
                  AND application_name = 'shardway' AND query LIKE '%pg_shadow WHERE usename=$1 AND 7 = 7%'";
    assert_eq!(on_server(askers), "t");
}
