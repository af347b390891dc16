//! A world: the servers, the databases on them, and Shardway in front.

use std::ops::Range;

use shardway_cluster::{Port, Redis, Server};
use tokio_postgres::Client;

use crate::{
    Middle, Proxy, RawClient, Shard, WorldBuilder,
    builder::Launch,
    config::{Base, Node},
    must,
};

/// A running world. Dropping it ends everything in it.
pub struct World {
    // Dropped in this order: Shardway first, so that it does not log the servers' end.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) redis: Option<Redis>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) groups: Vec<Group>,
    pub(crate) launch: Launch,
}

/// A primary and its replicas.
pub(crate) struct Machine {
    /// In front of the primary and of its replicas, if there are any.
    pub(crate) middles: Vec<Middle>,
    pub(crate) replicas: Vec<Server>,
    pub(crate) primary: Server,
}

/// A shard group, and the databases that it is made of.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) shards: usize,
    pub(crate) keys: Vec<String>,
    pub(crate) function: String,
}

impl Group {
    pub(crate) fn new(name: &str, prefix: &str, shards: usize, keys: &[&str]) -> Group {
        let keys = keys.iter().map(|&key| key.into()).collect();
        Group { name: name.into(), prefix: prefix.into(), shards, keys, function: "fnv1a".into() }
    }

    /// Which shards live on the server `number` of `servers`: equal runs, the first ones longer by one where
    /// it does not work out.
    pub(crate) fn shards_on(&self, number: usize, servers: usize) -> Vec<usize> {
        let start = |number: usize| (number * self.shards).div_ceil(servers);
        (Range { start: start(number), end: start(number + 1) }).collect()
    }

    pub(crate) fn database(&self, shard: usize) -> String {
        format!("{}_{shard}", self.prefix)
    }
}

impl World {
    /// One server with one shard and no replica, unless told otherwise.
    pub fn builder() -> WorldBuilder {
        WorldBuilder::new()
    }

    /// The running Shardway.
    ///
    /// # Panics
    /// The world was made without one.
    #[track_caller]
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("this world was made without a proxy")
    }

    /// Starts another Shardway over the same servers, with ports of its own.
    #[track_caller]
    pub fn another_proxy(&self) -> Proxy {
        self.another_proxy_with("")
    }

    /// As [`another_proxy`](Self::another_proxy), with TOML on top of its configuration.
    #[track_caller]
    pub fn another_proxy_with(&self, toml: &str) -> Proxy {
        let piece = must("the configuration given by the test", toml.parse());
        let listen = must("reserving a port", Port::reserve());
        let http = must("reserving a port", Port::reserve());
        let nodes: Vec<Node> = self.machines.iter().map(Machine::node).collect();
        let redis_url = self.redis.as_ref().map(Redis::url);
        let base = Base {
            listen: listen.number(),
            http: http.number(),
            groups: &self.groups,
            nodes: &nodes,
            redis_url: redis_url.as_deref(),
        };
        let mut config = base.table();
        for edit in &self.launch.edits {
            edit(&mut config);
        }
        crate::config::merge(&mut config, piece);
        Proxy::launch(&self.launch, config, listen, http)
    }

    /// A client of Shardway. Its connection works in the background of the test's runtime.
    pub async fn connect(&self, user: &str) -> Client {
        self.proxy().connect(user).await
    }

    /// A client of the administration database.
    pub async fn admin(&self) -> Client {
        self.proxy().connect_to("admin", "shardway").await
    }

    /// A client that speaks the protocol by hand, logged in through Shardway.
    pub async fn raw(&self, user: &str) -> RawClient {
        self.proxy().raw(user).await
    }

    /// A shard of the main group.
    #[track_caller]
    pub fn shard(&self, number: usize) -> Shard<'_> {
        Shard::new(self, &self.groups[0], number)
    }

    /// A shard of another group.
    #[track_caller]
    pub fn group_shard(&self, group: &str, number: usize) -> Shard<'_> {
        let found = self.groups.iter().find(|candidate| candidate.name == group);
        Shard::new(self, found.unwrap_or_else(|| panic!("no group is named {group:?}")), number)
    }

    /// All shards of the main group.
    pub fn shards(&self) -> impl Iterator<Item = Shard<'_>> {
        (0..self.groups[0].shards).map(|number| self.shard(number))
    }

    /// What every shard of the main group says to the query, in the shards' order, a line per row.
    #[track_caller]
    pub fn everywhere(&self, sql: &str) -> Vec<String> {
        let answers = self.shards().map(|shard| shard.sql(sql));
        answers.flat_map(|answer| answer.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// A client straight to a shard of the main group.
    pub async fn shard_direct(&self, number: usize) -> Client {
        self.shard(number).connect().await
    }

    /// A primary.
    pub fn server(&self, number: usize) -> &Server {
        &self.machines[number].primary
    }

    /// A replica of the primary `server`.
    pub fn replica(&self, server: usize, number: usize) -> &Server {
        &self.machines[server].replicas[number]
    }

    /// The man in the middle between Shardway and the primary `server`.
    ///
    /// # Panics
    /// The world was made without [`middles`](WorldBuilder::middles).
    #[track_caller]
    pub fn middle(&self, server: usize) -> &Middle {
        self.machines[server].middles.first().expect("this world was made without middles()")
    }

    /// As [`middle`](Self::middle), in front of a replica of the primary `server`.
    ///
    /// # Panics
    /// The world was made without [`middles`](WorldBuilder::middles).
    #[track_caller]
    pub fn replica_middle(&self, server: usize, number: usize) -> &Middle {
        self.machines[server].middles.get(number + 1).expect("this world was made without middles()")
    }

    /// The Redis.
    ///
    /// # Panics
    /// The world was made without one.
    #[track_caller]
    pub fn redis(&self) -> &Redis {
        self.redis.as_ref().expect("this world was made without redis()")
    }

    /// Ends everything in it, for a world that is never dropped.
    pub fn stop(&self) {
        self.proxy.iter().for_each(Proxy::kill);
        for machine in &self.machines {
            for server in machine.replicas.iter().chain([&machine.primary]) {
                must("killing a server", server.kill());
            }
        }
    }

    /// Waits until every replica shows all that its primary has committed so far.
    #[track_caller]
    pub fn wait_for_replicas(&self) {
        for machine in &self.machines {
            for replica in &machine.replicas {
                must("waiting for a replica", replica.wait_caught_up(&machine.primary));
            }
        }
    }
}

impl Machine {
    pub(crate) fn place_middles(&mut self) {
        let servers = [&self.primary].into_iter().chain(&self.replicas);
        self.middles = servers.map(|server| Middle::before(server.port())).collect();
    }

    fn node(&self) -> Node {
        let port = |at: usize, server: &Server| self.middles.get(at).map_or(server.port(), Middle::port);
        let replicas = self.replicas.iter().enumerate().map(|(at, server)| port(at + 1, server)).collect();
        Node { primary: port(0, &self.primary), replicas }
    }
}

#[cfg(test)]
mod tests {
    use super::Group;

    #[test]
    fn every_shard_is_on_exactly_one_server() {
        for (shards, servers) in [(4, 2), (5, 2), (1, 3), (7, 3), (16, 4)] {
            let group = Group::new("main", "shop", shards, &[]);
            let all: Vec<usize> = (0..servers).flat_map(|server| group.shards_on(server, servers)).collect();
            assert_eq!(all, (0..shards).collect::<Vec<_>>(), "{shards} shards on {servers} servers");
        }
    }
}
