use super::name;
use crate::model::{AuthMethod, Config, Secret, ShardFunction};
use crate::testing::{config_in, env, problems_in};
use crate::{Problems, Source, load};

fn environment(variables: &[(&str, &str)]) -> Result<Config, Problems> {
    load(&Source::Environment, &env(variables))
}

fn problems(variables: &[(&str, &str)]) -> String {
    environment(variables).unwrap_err().to_string()
}

#[test]
fn the_shards_number_leaves_the_name_with_its_separators() {
    for (template, expected) in [
        ("shop_{shard}", "shop"),
        ("{shard}-shop", "shop"),
        ("shop.{shard}", "shop"),
        ("shop", "shop"),
        ("my_shop{shard}", "my_shop"),
        ("a_{shard}_b", "ab"),
        ("_{shard}_", "shardway"),
        ("{shard}{shard}", "shardway"),
    ] {
        assert_eq!(name(template), expected, "{template}");
    }
}

#[test]
fn a_url_a_count_and_redis_are_a_whole_configuration() {
    let config = environment(&[
        ("DATABASE_URL", "postgres://app:s3cret@db:6000/shop_{shard}"),
        ("DATABASE_SHARD_COUNT", "3"),
        ("REDIS_URL", "redis://cache:6379"),
    ])
    .unwrap();
    let database = &config.databases[0];
    assert_eq!((database.name.as_str(), &database.user, &database.password), ("shop", &None, &None));
    let group = &database.groups[0];
    assert_eq!((group.name.as_str(), &group.function), ("main", &ShardFunction::Fnv1a));
    assert_eq!(group.keys, ["configurationId", "user_id"]);
    let primaries: Vec<String> = group.shards.iter().map(|shard| shard.primary.to_string()).collect();
    assert_eq!(primaries, ["db:6000/shop_0", "db:6000/shop_1", "db:6000/shop_2"]);
    assert_eq!(group.shards[2].primary.user.as_deref(), Some("app"));
    assert_eq!(config.users.len(), 1);
    assert_eq!(config.users[0].name, "app");
    assert_eq!(config.users[0].password, Some(Secret::new("s3cret")));
    assert_eq!(config.server.auth, AuthMethod::Scram);
    assert_eq!(
        (config.cache.enabled, config.cache.redis_url.as_deref()),
        (false, Some("redis://cache:6379"))
    );
}

#[test]
fn a_url_without_a_password_is_trusted() {
    let config = environment(&[("DATABASE_URL", "postgres://app@db/shop")]).unwrap();
    assert_eq!(config.server.auth, AuthMethod::Trust);
    assert_eq!(config.users[0].password, None);
    assert_eq!(config.databases[0].groups[0].shards.len(), 1);
    let nobody = environment(&[("DATABASE_URL", "postgres://db/shop")]).unwrap();
    assert_eq!((nobody.server.auth, nobody.users.len()), (AuthMethod::Any, 0));
}

#[test]
fn the_name_falls_back_to_the_users() {
    let config = environment(&[("DATABASE_URL", "postgres://app@db")]).unwrap();
    assert_eq!(config.databases[0].name, "app");
}

#[test]
fn what_the_environment_lacks_is_named_by_variable() {
    assert_eq!(
        problems(&[]),
        "environment:DATABASE_URL: is not set: it holds the servers' URL, such as \
         postgres://app:password@host:5432/shop_{shard}"
    );
    assert_eq!(
        problems(&[("DATABASE_URL", "postgres://db/shop_{shard}")]),
        "environment:DATABASE_URL: DATABASE_SHARD_COUNT must be set: the URL has {shard}"
    );
    assert_eq!(
        problems(&[("DATABASE_URL", "postgres://db/shop"), ("DATABASE_SHARD_COUNT", "2")]),
        "environment:DATABASE_URL: shards 0 and 1 would live in one database: the URL has no {shard}"
    );
    assert_eq!(
        problems(&[("DATABASE_URL", "http://db/shop"), ("REDIS_URL", "db")]),
        "environment:DATABASE_URL: a server's URL begins with postgres:// or postgresql://\n\
         environment:REDIS_URL: a Redis URL begins with redis:// or rediss://"
    );
}

#[test]
fn a_password_without_a_user_lets_nobody_in() {
    assert_eq!(
        problems(&[("DATABASE_URL", "postgres://:pw@db/shop")]),
        "environment:DATABASE_URL: nobody could log in: auth = \"scram-sha-256\" needs [[users]] or an \"auth_query\" \
         (or set auth to trust, cert or hba)"
    );
}

#[test]
fn a_file_without_databases_takes_the_environments() {
    let url = ("DATABASE_URL", "postgres://app:pw@db/shop_{shard}");
    let file = "[pool]\nmode = \"session\"\n[[users]]\nname = \"other\"\npassword = \"x\"\n";
    let config = config_in(&[url, ("DATABASE_SHARD_COUNT", "2")], file);
    assert_eq!(config.databases[0].name, "shop");
    let users: Vec<&str> = config.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, ["other", "app"]);
}

#[test]
fn a_files_own_user_is_not_replaced() {
    let file = "[[users]]\nname = \"app\"\npassword = \"of the file\"\n";
    let config = config_in(&[("DATABASE_URL", "postgres://app:pw@db/shop")], file);
    assert_eq!(config.users.len(), 1);
    assert_eq!(config.users[0].password, Some(Secret::new("of the file")));
}

#[test]
fn a_files_authentication_stands() {
    let url = [("DATABASE_URL", "postgres://db/shop")];
    assert_eq!(
        problems_in(&url, "[server]\nauth = \"md5\"\n"),
        "t.toml:2:8: nobody could log in: auth = \"md5\" needs [[users]] or an \"auth_query\" (or set auth to trust, \
         cert or hba)"
    );
    assert_eq!(
        problems_in(&url, "[server]\nauth = \"trust\"\n"),
        "t.toml:2:8: nobody could log in: auth = \"trust\" needs [[users]] or an \"auth_query\" (or set auth to any, \
         which lets every name in)"
    );
    let with_user = [("DATABASE_URL", "postgres://app@db/shop")];
    assert_eq!(config_in(&with_user, "").server.auth, AuthMethod::Scram);
}

#[test]
fn no_database_anywhere_is_a_problem() {
    assert_eq!(
        problems_in(&[], "server.auth = \"trust\"\n"),
        "t.toml:1:1: there is no [[databases]] (and no DATABASE_URL in the environment)"
    );
    assert_eq!(
        problems_in(&[], "server.auth = \"trust\"\n\ndatabases = []\n"),
        "t.toml:3:13: there is no [[databases]] (and no DATABASE_URL in the environment)"
    );
}
