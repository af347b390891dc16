//! A shard as seen past Shardway: the database itself.

use shardway_cluster::{HOST, Server};
use tokio_postgres::{Client, Config};

use crate::{
    PASSWORD, World, must,
    proxy::connect,
    wait::PATIENCE,
    world::{Group, Machine},
};

/// One logical shard: a database on a server, and on that server's replicas.
#[derive(Clone)]
pub struct Shard<'a> {
    machine: &'a Machine,
    database: String,
}

impl<'a> Shard<'a> {
    #[track_caller]
    pub(crate) fn new(world: &'a World, group: &Group, number: usize) -> Shard<'a> {
        assert!(
            number < group.shards,
            "group {:?} has {} shards, so no shard {number}",
            group.name,
            group.shards
        );
        let servers = world.machines.len();
        let holds = |server: &usize| group.shards_on(*server, servers).contains(&number);
        let server = (0..servers).find(holds).expect("each shard is on a server");
        Shard { machine: &world.machines[server], database: group.database(number) }
    }

    /// The database's name on its server.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The primary that the shard lives on.
    pub fn primary(&self) -> &'a Server {
        &self.machine.primary
    }

    /// One of that server's replicas.
    pub fn replica(&self, number: usize) -> &'a Server {
        &self.machine.replicas[number]
    }

    /// What the primary says, as the superuser: a line per row, columns separated by `|`.
    ///
    /// # Panics
    /// The SQL fails.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        must("on a shard", self.primary().sql(&self.database, sql))
    }

    /// As [`sql`](Self::sql), from a replica as far as it has come.
    ///
    /// # Panics
    /// The SQL fails.
    #[track_caller]
    pub fn replica_sql(&self, number: usize, sql: &str) -> String {
        must("on a replica", self.replica(number).sql(&self.database, sql))
    }

    /// A client straight to the primary, as `app`.
    pub async fn connect(&self) -> Client {
        self.connect_as("app").await
    }

    /// A client straight to the primary.
    pub async fn connect_as(&self, user: &str) -> Client {
        let mut config = Config::new();
        config.host(HOST).port(self.primary().port()).dbname(&self.database);
        config.user(user).password(PASSWORD).connect_timeout(PATIENCE);
        let connected = connect(&config).await;
        must(&format!("connecting to {} as {user}", self.database), connected)
    }
}
