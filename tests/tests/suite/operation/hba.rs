//! Who gets in by the rules of an hba file.

use std::{fs, net::IpAddr, path::PathBuf, process::Command};

use shardway_tests::{DATABASE, Proxy, SharedWorld, World};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, Error, NoTls};

use super::support::{SCHEMA, admin_of, lines, said, try_reload, value};

static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

const WHO: &str = "SELECT current_user";

/// What lets the tests look at the administration.
const ADMIN: &str = "host shardway admin all scram-sha-256\n";

/// A proxy that goes by rules, and listens in its directory too.
struct Ruled {
    proxy: Proxy,
    dir: TempDir,
}

impl Ruled {
    fn by(rules: &str, maps: &str, more: &str) -> Ruled {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("hba"), format!("{ADMIN}{rules}")).unwrap();
        fs::write(path("ident"), maps).unwrap();
        let proxy = WORLD.another_proxy_with(&format!(
            "[server]\nauth = 'hba'\nhba_file = '{}'\nident_file = '{}'\n{more}",
            path("hba").display(),
            path("ident").display()
        ));
        Ruled { proxy, dir }
    }

    fn hba(&self) -> PathBuf {
        self.dir.path().join("hba")
    }

    fn rewrite(&self, rules: &str) {
        fs::write(self.hba(), format!("{ADMIN}{rules}")).unwrap();
    }

    /// Has it listen on a Unix socket too, which takes a start.
    fn listen_here(&self) {
        let here = format!("unix:{}", self.dir.path().display());
        let tcp = format!("127.0.0.1:{}", self.proxy.port());
        self.proxy.reconfigure(&format!("[server]\nlisten = ['{tcp}', '{here}']"));
        self.proxy.kill();
        self.proxy.start();
    }

    async fn tcp(&self, user: &str) -> Result<Client, (String, String)> {
        join(self.proxy.client_config(user)).await
    }

    async fn local(&self, user: &str) -> Result<Client, (String, String)> {
        let mut config = Config::new();
        config.host_path(self.dir.path()).port(self.proxy.port()).user(user).dbname(DATABASE);
        join(config).await
    }
}

async fn join(config: Config) -> Result<Client, (String, String)> {
    let (client, connection) = config.connect(NoTls).await.map_err(|error: Error| said(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

fn unwanted(what: &str, user: &str, database: &str) -> (String, String) {
    let text = format!("{what} host \"127.0.0.1\", user \"{user}\", database \"{database}\", no encryption");
    ("28000".into(), text)
}

#[tokio::test]
async fn each_connection_has_the_method_of_its_first_rule() {
    let ruled = Ruled::by(
        "host shop app 127.0.0.0/8 password\nhost all md5user 127.0.0.1/32 md5\nhost all admin,stats all reject\n",
        "",
        "",
    );
    assert_eq!(value(&ruled.tcp("app").await.unwrap(), WHO).await, "app");
    assert_eq!(value(&ruled.tcp("md5user").await.unwrap(), WHO).await, "md5user");
    let mut wrong = ruled.proxy.client_config("app");
    let refusal = join(wrong.password("wrong").clone()).await.err().unwrap();
    assert_eq!(refusal, ("28P01".into(), "password authentication failed for user \"app\"".into()));
    // The administration is a database like others.
    lines(&admin_of(&ruled.proxy).await, "SHOW VERSION").await;
    let rejected = unwanted("pg_hba.conf rejects connection for", "stats", DATABASE);
    assert_eq!(ruled.tcp("stats").await.err(), Some(rejected));
    let mut elsewhere = ruled.proxy.client_config("app");
    let refusal = join(elsewhere.dbname("elsewhere").clone()).await.err();
    assert_eq!(refusal, Some(unwanted("no pg_hba.conf entry for", "app", "elsewhere")));
    // Who is unknown is told what everybody is.
    let refusal = ruled.tcp("nobody").await.err();
    assert_eq!(refusal, Some(unwanted("no pg_hba.conf entry for", "nobody", DATABASE)));
}

#[tokio::test]
async fn addresses_count_and_trust_asks_for_no_password() {
    let ruled = Ruled::by("host all app 127.0.0.2/32 trust\nhost all app 127.0.0.1/32 reject\n", "", "");
    let rejected = unwanted("pg_hba.conf rejects connection for", "app", DATABASE);
    assert_eq!(ruled.tcp("app").await.err(), Some(rejected));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((IpAddr::from([127, 0, 0, 2]), 0).into()).unwrap();
    let stream = socket.connect((IpAddr::from([127, 0, 0, 1]), ruled.proxy.port()).into()).await.unwrap();
    let mut config = Config::new();
    let connected = config.user("app").dbname(DATABASE).connect_raw(stream, NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    assert_eq!(value(&client, WHO).await, "app");
}

#[tokio::test]
async fn an_md5_rule_uses_scram_for_a_secret_of_scram() {
    let secret =
        WORLD.server(0).sql("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").unwrap();
    let ruled =
        Ruled::by("host all all all md5\n", "", &format!("[[users]]\nname = 'copy'\npassword = '{secret}'"));
    // The servers do not know that name: who is told so has proven the password.
    let (state, message) = ruled.tcp("copy").await.err().unwrap();
    assert!(message.contains("server 127.0.0.1"), "{state} {message}");
    let mut wrong = ruled.proxy.client_config("copy");
    let (_, message) = join(wrong.password("wrong").clone()).await.err().unwrap();
    assert_eq!(message, "password authentication failed for user \"copy\"");
}

#[tokio::test]
async fn on_a_unix_socket_the_operating_system_vouches() {
    let me = Command::new("id").arg("-un").output().unwrap().stdout;
    let me = String::from_utf8(me).unwrap().trim().to_owned();
    let ruled = Ruled::by(
        "local all app peer map=mine\nlocal all all peer\nhost all all all reject\n",
        &format!("mine nobody app\nmine {me} app"),
        "",
    );
    ruled.listen_here();
    assert_eq!(value(&ruled.local("app").await.unwrap(), WHO).await, "app");
    let refusal = ruled.local("md5user").await.err();
    assert_eq!(refusal, Some(("28000".into(), "Peer authentication failed for user \"md5user\"".into())));
    ruled.proxy.wait_for_log("the peer may not be this user");
    let rejected = unwanted("pg_hba.conf rejects connection for", "app", DATABASE);
    assert_eq!(ruled.tcp("app").await.err(), Some(rejected));
}

#[tokio::test]
async fn a_reload_reads_the_rules_again_and_keeps_them_where_they_are_wrong() {
    let ruled = Ruled::by("host all app all reject\n", "", "");
    assert!(ruled.tcp("app").await.is_err());
    ruled.rewrite("host all app all scram-sha-256\n");
    try_reload(&ruled.proxy).await.unwrap();
    ruled.proxy.wait_for_log("server.hba: changed");
    let client = ruled.tcp("app").await.unwrap();
    ruled.rewrite("host all app localhost trust\nhost all app all gss\n");
    let (state, message) = try_reload(&ruled.proxy).await.unwrap_err();
    assert_eq!(state, "F0000");
    for place in ["2:14: expected an address", "3:18: the method gss is not supported"] {
        assert!(message.contains(&format!("{}:{place}", ruled.hba().display())), "{place} in {message}");
    }
    ruled.proxy.sighup();
    ruled.proxy.wait_for_log("the old configuration is kept");
    assert_eq!(value(&client, WHO).await, "app");
    assert_eq!(value(&ruled.tcp("app").await.unwrap(), WHO).await, "app");
    fs::remove_file(ruled.hba()).unwrap();
    assert!(try_reload(&ruled.proxy).await.unwrap_err().1.contains("cannot be read"));
}

#[tokio::test]
async fn a_rule_that_needs_a_certificate_stops_the_start() {
    let ruled = Ruled::by("host all app all scram-sha-256\n", "", "");
    ruled.rewrite("hostssl all all all cert\n");
    let (_, message) = try_reload(&ruled.proxy).await.unwrap_err();
    let problem = "cert needs \"tls\" in [server]: a certificate comes with TLS alone";
    assert!(message.contains(&format!("{}:2:21: {problem}", ruled.hba().display())), "{message}");
}
