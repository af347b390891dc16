//! psycopg 3, from PyPI, in the environment that `make test` makes.

use std::{env, path::Path};

use shardway_tests::Program;

use super::{PLAIN, SHOP};

#[test]
fn psycopg_finds_what_it_finds_at_a_server() {
    let Some(python) = env::var_os("SHARDWAY_PYTHON") else {
        panic!(
            "SHARDWAY_PYTHON names no Python that has psycopg: run `make test`, which installs one and says where"
        );
    };
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/psycopg_suite.py");
    let ran = Program::new(python)
        .arg(suite)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PLAIN_URL", PLAIN.proxy().url("app"))
        .env("SHOP_URL", SHOP.proxy().url("app"))
        .run();
    assert!(ran.said().contains(" checks passed"), "the suite did not reach its end: {ran:?}");
}
