//! The configuration file of a world's Shardway: what the harness knows, with what the test wants on top.

use std::fmt::Write;

use toml::{Table, Value};

use crate::{DATABASE, PASSWORD, wait::must, world::Group};

/// The addresses of one Postgres primary and of its replicas, as Shardway is to reach them.
pub(crate) struct Node {
    pub(crate) primary: u16,
    pub(crate) replicas: Vec<u16>,
}

/// What the harness itself puts into the file.
pub(crate) struct Base<'a> {
    pub(crate) listen: u16,
    pub(crate) http: u16,
    pub(crate) groups: &'a [Group],
    pub(crate) nodes: &'a [Node],
    pub(crate) redis_url: Option<&'a str>,
}

impl Base<'_> {
    /// The file's content before the test's own wishes.
    pub(crate) fn table(&self) -> Table {
        must("the harness' own configuration", self.text().parse())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "[server]\nlisten = ['127.0.0.1:{}']\nhttp = '127.0.0.1:{}'\n\
             admin_users = ['admin']\nstats_users = ['stats']\n",
            self.listen, self.http
        );
        if let Some(url) = self.redis_url {
            let _ = writeln!(text, "[cache]\nredis_url = '{url}'");
        }
        for user in ["app", "md5user", "admin", "stats"] {
            let _ = writeln!(text, "[[users]]\nname = '{user}'\npassword = '{PASSWORD}'");
        }
        let _ = writeln!(text, "[[databases]]\nname = '{DATABASE}'");
        for group in self.groups {
            self.write_group(&mut text, group);
        }
        text
    }

    fn write_group(&self, text: &mut String, group: &Group) {
        let Group { name, shards, keys, function, .. } = group;
        let _ = writeln!(
            text,
            "[[databases.groups]]\nname = '{name}'\nshard_count = {shards}\nfunction = '{function}'\n\
             keys = {keys:?}"
        );
        for (number, node) in self.nodes.iter().enumerate() {
            let ids = group.shards_on(number, self.nodes.len());
            if ids.is_empty() {
                continue;
            }
            let url = |port: &u16| format!("postgres://127.0.0.1:{port}/{}_{{shard}}", group.prefix);
            let replicas: Vec<String> = node.replicas.iter().map(url).collect();
            let primary = url(&node.primary);
            let _ = writeln!(
                text,
                "[[databases.groups.shards]]\nids = {ids:?}\nprimary = '{primary}'\nreplicas = {replicas:?}"
            );
        }
    }
}

/// Puts a piece of configuration on top of another. A key takes the place of its namesake, `[[entries]]`
/// join those that are there, and as in TOML itself a table under `[[databases]]` means the last database.
pub(crate) fn merge(into: &mut Table, piece: Table) {
    for (key, value) in piece {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (Some(Value::Array(old)), new) if is_entries(old) => merge_entries(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn merge_entries(old: &mut Vec<Value>, new: Value) {
    match (old.last_mut(), new) {
        (Some(Value::Table(last)), Value::Table(piece)) => merge(last, piece),
        (_, Value::Array(more)) if more.is_empty() => old.clear(),
        (_, Value::Array(more)) => old.extend(more),
        (_, other) => old.push(other),
    }
}

fn is_entries(array: &[Value]) -> bool {
    array.first().is_some_and(Value::is_table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, prefix: &str, shards: usize) -> Group {
        Group {
            name: name.into(),
            prefix: prefix.into(),
            shards,
            keys: vec!["user_id".into()],
            function: "fnv1a".into(),
        }
    }

    fn base() -> Table {
        let groups = [group("main", "shop", 3), group("manufacturing", "manufacturing", 1)];
        let nodes =
            [Node { primary: 5001, replicas: vec![5101] }, Node { primary: 5002, replicas: vec![5102] }];
        Base { listen: 6432, http: 9632, groups: &groups, nodes: &nodes, redis_url: None }.table()
    }

    fn merged(piece: &str) -> Table {
        let mut table = base();
        merge(&mut table, piece.parse().unwrap());
        table
    }

    #[test]
    fn shards_are_spread_over_the_servers_in_order() {
        let groups = base()["databases"][0]["groups"].clone();
        let expected: Table = r#"
            [[groups]]
            name = "main"
            shard_count = 3
            function = "fnv1a"
            keys = ["user_id"]
            [[groups.shards]]
            ids = [0, 1]
            primary = "postgres://127.0.0.1:5001/shop_{shard}"
            replicas = ["postgres://127.0.0.1:5101/shop_{shard}"]
            [[groups.shards]]
            ids = [2]
            primary = "postgres://127.0.0.1:5002/shop_{shard}"
            replicas = ["postgres://127.0.0.1:5102/shop_{shard}"]
            [[groups]]
            name = "manufacturing"
            shard_count = 1
            function = "fnv1a"
            keys = ["user_id"]
            [[groups.shards]]
            ids = [0]
            primary = "postgres://127.0.0.1:5001/manufacturing_{shard}"
            replicas = ["postgres://127.0.0.1:5101/manufacturing_{shard}"]
        "#
        .parse()
        .unwrap();
        assert_eq!(groups, expected["groups"]);
    }

    #[test]
    fn a_key_takes_the_place_of_its_namesake_and_leaves_its_neighbours() {
        let table = merged("[server]\nadmin_users = ['root']\n[pool]\ndefault_pool_size = 5");
        assert_eq!(table["server"]["admin_users"].as_array().unwrap().len(), 1);
        assert_eq!(table["server"]["stats_users"][0].as_str(), Some("stats"));
        assert_eq!(table["pool"]["default_pool_size"].as_integer(), Some(5));
    }

    #[test]
    fn entries_join_those_that_are_there() {
        let table = merged("[[users]]\nname = 'eve'\npassword = 'x'");
        let users = table["users"].as_array().unwrap();
        assert_eq!(users.len(), 5);
        assert_eq!(users[4]["name"].as_str(), Some("eve"));
        assert!(merged("users = []")["users"].as_array().unwrap().is_empty());
    }

    #[test]
    fn a_table_under_entries_means_the_last_of_them() {
        let table = merged(
            "[[databases.tables]]\nname = 'log'\nkind = 'local'\n\
             [[databases.groups.ranges]]\nfrom = 0\nto = 9\nshard = 0",
        );
        let database = &table["databases"][0];
        assert_eq!(database["tables"][0]["name"].as_str(), Some("log"));
        assert_eq!(database["groups"][1]["ranges"][0]["to"].as_integer(), Some(9));
        assert!(database["groups"][0].get("ranges").is_none());
    }
}
