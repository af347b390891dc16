//! Who logs in to Shardway, and as whom Shardway logs in to servers.

use shardway_tests::{DATABASE, PASSWORD, Proxy, SharedWorld, World};
use tokio_postgres::{Client, Error, NoTls};

use super::support::{SCHEMA, code, key_on, log_all_in_as, reload, said, value};

/// The server `postgres` role is trusted, `app` needs SCRAM and `md5user` md5.
static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

const WHO: &str = "SELECT current_user";

async fn connect(proxy: &Proxy, user: &str, password: &str) -> Result<Client, Error> {
    let mut config = proxy.client_config(user);
    let (client, connection) = config.password(password).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn let_in(proxy: &Proxy, user: &str) {
    assert_eq!(value(&connect(proxy, user, PASSWORD).await.unwrap(), WHO).await, user);
}

async fn turned_away(proxy: &Proxy, user: &str, password: &str) {
    let error = connect(proxy, user, password).await.err().unwrap_or_else(|| panic!("{user} was let in"));
    assert_eq!(said(&error), ("28P01".into(), format!("password authentication failed for user \"{user}\"")));
}

#[tokio::test]
async fn clients_prove_themselves_by_each_method_and_servers_get_what_they_want() {
    for method in ["password", "md5", "scram-sha-256"] {
        let proxy = WORLD.another_proxy_with(&format!("[server]\nauth = '{method}'"));
        // The server wants SCRAM of one and md5 of the other.
        let_in(&proxy, "app").await;
        let_in(&proxy, "md5user").await;
        turned_away(&proxy, "app", "wrong").await;
        turned_away(&proxy, "nobody", PASSWORD).await;
    }
}

#[tokio::test]
async fn under_trust_names_that_are_configured_get_in_unasked() {
    let proxy = WORLD.another_proxy_with("[server]\nauth = 'trust'");
    assert_eq!(value(&connect(&proxy, "app", "whatever").await.unwrap(), WHO).await, "app");
    let error = connect(&proxy, "nobody", PASSWORD).await.err().unwrap();
    assert_eq!(said(&error), ("28000".into(), "role \"nobody\" does not exist".into()));
}

/// Nobody is configured; the servers are logged in to as `app`.
fn nobody_configured(auth: &str) -> Proxy {
    WORLD.another_proxy_with(&format!(
        "users = []\n[server]\nauth = '{auth}'\n[databases]\nuser = 'app'\npassword = '{PASSWORD}'"
    ))
}

#[tokio::test]
async fn under_trust_without_users_the_databases_own_login_gets_in_and_nobody_else() {
    let proxy = nobody_configured("trust");
    assert_eq!(value(&connect(&proxy, "app", "").await.unwrap(), WHO).await, "app");
    for name in ["postgres", "admin", "md5user"] {
        let error = connect(&proxy, name, PASSWORD).await.err().unwrap();
        assert_eq!(said(&error), ("28000".into(), format!("role \"{name}\" does not exist")));
    }
}

#[tokio::test]
async fn under_any_every_name_gets_in_as_the_databases_login_and_may_look_at_the_console() {
    let proxy = nobody_configured("any");
    for name in ["postgres", "whoever"] {
        assert_eq!(value(&connect(&proxy, name, "").await.unwrap(), WHO).await, "app");
        let admin = proxy.connect_to(name, "shardway").await;
        admin.simple_query("SHOW VERSION").await.unwrap();
        let refused = admin.simple_query("RELOAD").await.unwrap_err();
        assert_eq!(refused.as_db_error().map(|error| error.message()), Some("admin access needed"));
    }
}

/// The server's password for everybody, so that a stored hash need not open servers.
async fn stored(method: &str, secret: &str) -> Proxy {
    let proxy = WORLD.another_proxy_with(&format!(
        "[server]\nauth = '{method}'\n[[users]]\nname = 'stored'\npassword = '{secret}'"
    ));
    log_all_in_as(&proxy, "app", PASSWORD).await;
    proxy
}

fn rolpassword(user: &str) -> String {
    WORLD
        .server(0)
        .sql("postgres", &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'"))
        .unwrap()
}

#[tokio::test]
async fn stored_secrets_let_in_where_the_method_can_use_them() {
    let scram = rolpassword("app");
    assert!(scram.starts_with("SCRAM-SHA-256$"));
    // md5 of password and name.
    let md5 = WORLD.server(0).sql("postgres", &format!("SELECT 'md5' || md5('{PASSWORD}stored')")).unwrap();
    for (method, secret) in
        [("password", &scram), ("md5", &scram), ("scram-sha-256", &scram), ("password", &md5), ("md5", &md5)]
    {
        let proxy = stored(method, secret).await;
        let client =
            connect(&proxy, "stored", PASSWORD).await.unwrap_or_else(|e| panic!("{method} {secret}: {e:?}"));
        assert_eq!(value(&client, WHO).await, "app", "{method}");
        turned_away(&proxy, "stored", "wrong").await;
    }
    turned_away(&stored("scram-sha-256", &md5).await, "stored", PASSWORD).await;
}

#[tokio::test]
async fn a_databases_own_login_is_everybodys_on_the_servers() {
    let proxy = WORLD.another_proxy();
    log_all_in_as(&proxy, "md5user", PASSWORD).await;
    let client = connect(&proxy, "app", PASSWORD).await.unwrap();
    assert_eq!(value(&client, WHO).await, "md5user");
    let count = format!("SELECT count(*) FROM t WHERE user_id = {}", key_on(1, 2));
    assert_eq!(value(&client, &count).await, "0");
}

#[tokio::test]
async fn a_login_in_the_endpoints_url_is_used_there() {
    let proxy = WORLD.another_proxy();
    proxy.edit(|config| {
        let shards = config["databases"][0]["groups"][0]["shards"].as_array_mut().unwrap();
        let url =
            format!("postgres://md5user:{PASSWORD}@127.0.0.1:{}/shop_{{shard}}", WORLD.server(0).port());
        shards[0]["primary"] = url.into();
    });
    reload(&proxy).await;
    let client = connect(&proxy, "app", PASSWORD).await.unwrap();
    assert_eq!(value(&client, WHO).await, "md5user");
}

#[tokio::test]
async fn a_wrong_server_password_is_told_to_the_client_and_known_as_that() {
    let proxy = WORLD.another_proxy();
    log_all_in_as(&proxy, "app", "not the password").await;
    let error = connect(&proxy, "app", PASSWORD).await.err().unwrap();
    let (state, message) = said(&error);
    assert_eq!(state, "28P01");
    assert!(message.contains("refused login: password authentication failed for user \"app\""), "{message}");
    let error =
        proxy.client_config("app").dbname(DATABASE).password("wrong").connect(NoTls).await.err().unwrap();
    assert_eq!(code(&error), "28P01");
    // Mended, it works at once: not only after server_login_retry.
    log_all_in_as(&proxy, "app", PASSWORD).await;
    assert_eq!(value(&connect(&proxy, "app", PASSWORD).await.unwrap(), WHO).await, "app");
}

#[tokio::test]
async fn a_user_that_the_servers_do_not_know_is_told_so_at_its_login() {
    let proxy = WORLD.another_proxy_with("[[users]]\nname = 'stranger'\npassword = 'secret'");
    let error = connect(&proxy, "stranger", PASSWORD).await.err().unwrap();
    assert_eq!(code(&error), "28P01");
}
