//! node-postgres and asyncpg, which `make test-clients` fetches: their suites, through the real Shardway.
//! Left out of `make test`, which is to need neither npm nor more of PyPI.

use std::{env, ffi::OsString, path::Path};

use shardway_tests::{Program, SharedWorld, World};

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE spot AS (x int, name text);
CREATE TABLE account (
    user_id int PRIMARY KEY,
    name text UNIQUE,
    balance int NOT NULL DEFAULT 0 CONSTRAINT solvent CHECK (balance >= 0),
    mood mood NOT NULL DEFAULT 'ok'
);
";

/// The database on one server, in front of which nothing is sharded.
static PLAIN: SharedWorld = SharedWorld::new(|| World::builder().schema(SCHEMA).start());

/// Four shards on two servers.
static SHOP: SharedWorld = SharedWorld::new(|| World::builder().shards(4).servers(2).schema(SCHEMA).start());

/// What the Makefile says about where a client is.
#[track_caller]
fn place(variable: &str) -> OsString {
    let place = env::var_os(variable).filter(|place| !place.is_empty());
    place.unwrap_or_else(|| {
        panic!("{variable} is not set: run `make test-clients`, which installs the clients")
    })
}

/// Runs a suite of `tests/clients`, whose last line says how many checks passed.
#[track_caller]
fn passes(program: Program, suite: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(suite);
    let program = program.arg(path).env("PYTHONDONTWRITEBYTECODE", "1");
    let ran =
        program.env("PLAIN_URL", PLAIN.proxy().url("app")).env("SHOP_URL", SHOP.proxy().url("app")).run();
    assert!(ran.said().contains(" checks passed"), "{suite} did not reach its end: {ran:?}");
}

#[test]
#[ignore = "needs asyncpg: run `make test-clients`"]
fn asyncpg_finds_what_it_finds_at_a_server() {
    passes(Program::new(place("SHARDWAY_PYTHON")), "asyncpg_suite.py");
}

#[test]
#[ignore = "needs node-postgres: run `make test-clients`"]
fn node_postgres_finds_what_it_finds_at_a_server() {
    let packages = Path::new(&place("SHARDWAY_NODE_CLIENTS")).join("node_modules/pg");
    assert!(packages.is_dir(), "node-postgres is not in {}: run `make test-clients`", packages.display());
    passes(Program::new("node"), "node/suite.js");
}
