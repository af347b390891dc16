//! Programs that people connect with, as they come: what they do with a server they do with Shardway.

mod login;
mod pgbench;
mod psql;
mod psycopg;

use shardway_tests::{Program, Proxy, SharedWorld, World};

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE account (
    user_id int PRIMARY KEY,
    name text UNIQUE,
    balance int NOT NULL DEFAULT 0 CONSTRAINT solvent CHECK (balance >= 0),
    mood mood NOT NULL DEFAULT 'ok'
);
COMMENT ON COLUMN account.balance IS 'in cents';
";

/// The database on one server, in front of which nothing is sharded.
static PLAIN: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// Four shards on two servers.
static SHOP: SharedWorld = SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).start());

/// psql without the user's own start file, which writes rows as lines with `|`.
fn psql(url: &str) -> Program {
    Program::of_postgres("psql").args(["-X", "-q", "-A", "-t", url])
}

/// What psql says to a command through this Shardway.
#[track_caller]
fn say(proxy: &Proxy, command: &str) -> String {
    psql(&proxy.url("app")).args(["-c", command]).run().said().to_owned()
}
