//! The program as operators start it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use shardway_tests::{SharedWorld, World, shardway_program};

use super::support::{code, key_on, value};

fn shardway(arguments: &[&str]) -> Command {
    let mut command = Command::new(shardway_program());
    command.args(arguments);
    for name in ["SHARDWAY_CONFIG", "DATABASE_URL", "DATABASE_SHARD_COUNT", "REDIS_URL", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    shardway(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A configuration file in a directory of its own.
struct File {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> File {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shardway.toml");
        fs::write(&path, text).unwrap();
        File { path, _dir: dir }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

const VALID: &str = "
[[users]]
name = 'app'
password = 'secret'
[[databases]]
name = 'shop'
[[databases.groups]]
name = 'main'
shard_count = 1
keys = ['user_id']
[[databases.groups.shards]]
ids = [0]
primary = 'postgres://127.0.0.1:1/shop_{shard}'
";

const INVALID: &str = "
[server]
listen = ['127.0.0.1']
auht = 'trust'
[pool]
default_pool_size = 'many'
query_timeout = '3 fortnights'
";

#[test]
fn a_valid_file_passes_the_check() {
    let file = File::new(VALID);
    let checked = run(&["check", "--config", file.name()]);
    assert_eq!((checked.status.code(), out(&checked).as_str()), (Some(0), "the configuration is valid\n"));
    let named = shardway(&["check"]).env("SHARDWAY_CONFIG", file.name()).output().unwrap();
    assert_eq!(named.status.code(), Some(0), "{}", out(&named));
}

#[test]
fn the_contract_itself_passes_the_check() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/contract.toml");
    let checked = run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", out(&checked), err(&checked));
}

#[test]
fn what_is_not_carried_out_yet_is_a_warning_to_check() {
    let hba = File::new("hostssl all all all trust");
    let server =
        format!("[server]\nauth = 'hba'\nhba_file = '{}'\n[routing]\nscatter_parallelism = 5\n", hba.name());
    let file = File::new(&(server + VALID));
    let checked = run(&["check", "--config", file.name()]);
    assert_eq!(checked.status.code(), Some(0));
    let expected = "warning: routing.scatter_parallelism is set, and has no effect in this version\n\
                    warning: hba_file: hostssl records are for nobody while tls is \"disable\"\n\
                    the configuration is valid\n";
    assert_eq!(out(&checked), expected);
}

#[test]
fn every_problem_is_told_with_its_place() {
    let file = File::new(INVALID);
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", file.name()]);
        assert_eq!(output.status.code(), Some(1));
        let told = if command == "check" { out(&output) } else { err(&output) };
        for (place, word) in
            [("3:11", "127.0.0.1"), ("4:1", "auht"), ("6:21", "whole number"), ("7:17", "fortnights")]
        {
            let start = format!("{}:{place}: ", file.name());
            let line = told.lines().find(|line| line.starts_with(&start));
            assert!(line.is_some_and(|line| line.contains(word)), "{command}: {place} {word} in\n{told}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_or_is_no_toml_is_told_so() {
    let missing = run(&["check", "--config", "/nowhere/shardway.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(out(&missing).contains("/nowhere/shardway.toml"), "{}", out(&missing));
    let file = File::new("[server\n");
    let broken = run(&["check", "--config", file.name()]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(out(&broken).starts_with(&format!("{}:1:", file.name())), "{}", out(&broken));
    let nothing = run(&["serve"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(err(&nothing).contains("DATABASE_URL"), "{}", err(&nothing));
}

#[test]
fn shard_of_says_which_shard_owns_a_key() {
    for (key, count) in [(key_on(0, 4), "4"), (key_on(3, 4), "4"), (key_on(1, 2), "2")] {
        let told = run(&["shard-of", &key.to_string(), "--count", count]);
        let expected = if key == key_on(0, 4) {
            "0\n"
        } else if key == key_on(3, 4) {
            "3\n"
        } else {
            "1\n"
        };
        assert_eq!((told.status.code(), out(&told).as_str()), (Some(0), expected), "{key} of {count}");
    }
    let none = run(&["shard-of", "x", "--count", "0"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).starts_with("shardway: "), "{}", err(&none));
}

#[test]
fn wrong_arguments_are_explained() {
    for arguments in [
        &["frobnicate"][..],
        &["serve", "--conifg", "x"],
        &["shard-of", "x"],
        &["shard-of", "x", "--count", "-1"],
        &[],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains("Usage: shardway"), "{arguments:?}: {}", err(&output));
    }
    assert!(out(&run(&["--version"])).starts_with("shardway "));
    assert!(out(&run(&["--help"])).contains("shard-of"));
}

static WORLD: SharedWorld = SharedWorld::new(|| {
    World::builder().shards(2).schema("CREATE TABLE t (user_id int PRIMARY KEY, name text)").start()
});

#[tokio::test]
async fn the_environment_alone_is_a_configuration() {
    let url = format!("postgres://app:secret@127.0.0.1:{}/shop_{{shard}}", WORLD.server(0).port());
    let environment = |command: &mut Command| {
        command
            .env("DATABASE_URL", &url)
            .env("DATABASE_SHARD_COUNT", "2")
            .env("REDIS_URL", "redis://127.0.0.1:1");
    };
    let mut check = shardway(&["check"]);
    environment(&mut check);
    let checked = check.output().unwrap();
    assert_eq!((checked.status.code(), out(&checked).as_str()), (Some(0), "the configuration is valid\n"));
    let mut check = shardway(&["check"]);
    environment(&mut check);
    let wrong = check.env("DATABASE_SHARD_COUNT", "two").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(out(&wrong).contains("DATABASE_SHARD_COUNT"), "{}", out(&wrong));

    // Without a file the ports are fixed ones, which somebody else may have: here they alone come from a file.
    let mut proxy = WORLD.another_proxy();
    proxy.edit(|config| config.retain(|key, _| key == "server"));
    proxy.restart_with(&[("DATABASE_URL", &url), ("DATABASE_SHARD_COUNT", "2")]);
    let client = proxy.connect("app").await;
    let key = key_on(1, 2);
    assert_eq!(value(&client, &format!("SELECT count(*) FROM t WHERE user_id = {key}")).await, "0");
    let wrong =
        proxy.client_config("app").password("wrong").connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(code(&wrong), "28P01");
}
