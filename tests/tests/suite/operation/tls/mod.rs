//! TLS towards clients and servers, and what is built on it: certificates as logins, SCRAM bound to the channel.

mod certificates;
mod cipher;
mod clients;
mod direct;
mod logins;
mod reload;
mod servers;
mod traffic;

use std::net::TcpStream;

use shardway_tests::{DATABASE, PASSWORD, Program, Proxy, SharedWorld, World};

use super::support::SCHEMA;
use certificates::{Authority, Folder};

/// Servers without TLS.
static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(2).schema(SCHEMA).start());

const WHO: &str = "SELECT current_user";

/// A proxy that speaks TLS, and what its clients need for that.
struct Secured {
    proxy: Proxy,
    folder: Folder,
    authority: Authority,
}

impl Secured {
    /// With `tls` as given and more of the configuration; `[server]` is open at its beginning.
    fn with(tls: &str, more: &str) -> Secured {
        Secured::before(&WORLD, tls, more)
    }

    /// In front of these servers.
    fn before(world: &World, tls: &str, more: &str) -> Secured {
        let (folder, authority) = (Folder::new(), Authority::new("the proxy's CA"));
        folder.write("ca.crt", authority.pem());
        folder.write_identity("proxy", &authority.sign("127.0.0.1", &["127.0.0.1", "localhost"]));
        let proxy = world.another_proxy_with(&format!(
            "[server]\ntls = '{tls}'\ntls_cert = '{}'\ntls_key = '{}'\n{}",
            folder.path("proxy.crt"),
            folder.path("proxy.key"),
            more.replace("{CA}", &folder.path("ca.crt"))
        ));
        Secured { proxy, folder, authority }
    }

    /// A connection on which nothing has been said.
    fn socket(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.proxy.port())).unwrap()
    }

    /// psql as `app`, with libpq's words for TLS.
    fn psql(&self, words: &str) -> Program {
        self.psql_as("app", words)
    }

    fn psql_as(&self, user: &str, words: &str) -> Program {
        let (port, folder) = (self.proxy.port(), &self.folder);
        let words = words.replace("{CA}", &folder.path("ca.crt")).replace("{DIR}", &folder.path(""));
        // Without one of its own libpq looks for files in the home directory.
        let nothing = folder.path("nothing");
        let files = ["sslrootcert", "sslcert", "sslkey"]
            .map(|name| if words.contains(name) { String::new() } else { format!(" {name}={nothing}") });
        psql(&format!(
            "host=127.0.0.1 port={port} user={user} password={PASSWORD} dbname={DATABASE} {words}{}",
            files.concat()
        ))
    }

    /// What psql says to `SELECT current_user`.
    #[track_caller]
    fn said(&self, words: &str) -> String {
        self.psql(words).args(["-c", WHO]).run().said().to_owned()
    }

    /// What it says where that does not work.
    #[track_caller]
    fn refused(&self, words: &str) -> String {
        self.refused_as("app", words)
    }

    #[track_caller]
    fn refused_as(&self, user: &str, words: &str) -> String {
        let ran = self.psql_as(user, words).args(["-c", WHO]).run();
        assert_eq!(ran.status.code(), Some(2), "{words}: {}{}", ran.stdout, ran.stderr);
        ran.stderr
    }
}

fn psql(connection: &str) -> Program {
    Program::of_postgres("psql").args(["-X", "-q", "-A", "-t", connection])
}

#[track_caller]
fn assert_says(said: &str, wanted: &str) {
    assert!(said.contains(wanted), "{wanted:?} in {said:?}");
}
