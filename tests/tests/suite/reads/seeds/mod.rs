//! The schemas of five products, as their documents show them: every table, index, policy and query, put into a form that
//! runs. They are made through the proxy, beside one Postgres, and answer as that does; joins on the key stay on one shard.
//!
//! What a document leaves open is chosen so that shards can keep it: unique keys and foreign keys have the sharding key in
//! them, and vectors are `cube`s or arrays of floats where pgvector is not there.

mod art;
mod catalog;
mod chats;
mod designs;
mod registry;

use shardway_tests::World;

use super::world::Pair;
use crate::operation::support::lines;

/// Shards of each product.
const SHARDS: usize = 3;

/// A product's database behind the proxy, and one like it.
struct Product {
    world: World,
    pair: Pair,
}

impl Product {
    /// With these key columns, and more configuration.
    async fn of(keys: &[&str], config: &str) -> Self {
        let builder = World::builder().shards(SHARDS).keys(keys).setting("max_prepared_transactions", 40);
        let world = builder.config(config).start();
        world
            .server(0)
            .sql("postgres", "CREATE DATABASE oracle OWNER app; ALTER ROLE app CREATEROLE")
            .unwrap();
        let pair = Pair::of(&world).await;
        Self { world, pair }
    }

    /// Runs statements on both sides.
    async fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            self.pair.both(sql).await;
        }
    }

    /// The tier and the shards that SHOW ROUTE tells.
    async fn route(&self, statement: &str) -> (String, String) {
        let admin = self.world.admin().await;
        let rows = lines(&admin, &format!("SHOW ROUTE '{}'", statement.replace('\'', "''"))).await;
        let fields: Vec<&str> = rows[0].split('|').collect();
        (fields[0].to_owned(), fields[2].to_owned())
    }

    /// Answered as by one Postgres, by one shard.
    async fn same_on_one_shard(&mut self, sql: &str) {
        let (tier, shards) = self.route(sql).await;
        assert_eq!((tier.as_str(), shards.contains(',')), ("single", false), "{sql} on {shards}");
        self.pair.same(sql).await;
    }

    /// Answered as by one Postgres, by every shard for itself or one over all their rows.
    async fn same_by(&mut self, tier: &str, sql: &str) {
        assert_eq!(self.route(sql).await.0, tier, "{sql}");
        self.pair.same(sql).await;
    }

    /// How many rows each shard has.
    fn counts(&self, table: &str) -> Vec<String> {
        self.world.everywhere(&format!("SELECT count(*) FROM {table}"))
    }
}
