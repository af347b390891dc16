//! An existing `pgbouncer.ini`, run as it is.

mod console;
mod daemon;
mod databases;
mod login;
mod owner;
mod process;
mod reload;
mod settings;
mod shutdown;
mod signals;
mod texts;

use process::{Process, pgbouncer};
use shardway_tests::{PASSWORD, SharedWorld, World};

/// Databases `shop_0` and `shop_1`, and the roles that every world has.
static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder()
        .shards(2)
        .schema("CREATE TABLE t (id int PRIMARY KEY, name text)")
        .without_proxy()
        .start()
});

/// What `[pgbouncer]` says in most tests; users `app` and `admin` are in `users.txt`.
const USUAL: &str =
    "auth_type = scram-sha-256\nauth_file = {dir}/users.txt\nadmin_users = admin\npool_mode = transaction\n";

/// The files that most tests have: two databases, one of them under another name.
fn usual(settings: &str) -> Process {
    Process::new(&format!(
        "[databases]\nshop = host=127.0.0.1 port={{port}} dbname=shop_0\nshop_1 = host=127.0.0.1 port={{port}}\n\
         [pgbouncer]\n{USUAL}{settings}\n"
    ))
    .file("users.txt", &format!("\"app\" \"{PASSWORD}\"\n\"admin\" \"{PASSWORD}\"\n"))
}
