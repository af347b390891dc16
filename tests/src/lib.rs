//! The harness: a whole world for a test, with real Postgres servers, their replicas, and a real Shardway in
//! front of them, described in a few words.
//!
//! ```no_run
//! # async fn test() {
//! use shardway_tests::World;
//!
//! let world = World::builder()
//!     .shards(4)
//!     .servers(2)
//!     .replicas(1)
//!     .schema("CREATE TABLE t (user_id int PRIMARY KEY, name text)")
//!     .config("[pool]\ndefault_pool_size = 5")
//!     .start();
//!
//! let client = world.connect("app").await;
//! client.execute("INSERT INTO t VALUES (1, 'ada')", &[]).await.unwrap();
//! assert_eq!(world.everywhere("SELECT name FROM t"), ["ada"]);
//! # }
//! ```
//!
//! Tests that can live with each other share one world, see [`SharedWorld`]. Nothing of a world outlives the
//! test program, however that ends: every process in it is a [`Daemon`](shardway_cluster::Daemon).

mod builder;
mod config;
mod http;
mod middle;
mod program;
mod proxy;
mod raw;
mod setup;
mod shard;
mod wait;
mod world;

pub use builder::WorldBuilder;
pub use http::{http_get, try_http_get};
pub use middle::{Cut, Fault, Kind, Middle, Seen, Shape, Spot};
pub use program::{Program, Ran};
pub use proxy::{Proxy, shardway_program};
pub use raw::{Message, Param, RawClient, Reply, Texts};
pub use shard::Shard;
pub use wait::{PATIENCE, eventually, must};
pub use world::World;

pub use shardway_cluster as cluster;
pub use toml;

/// The password of every user in a world.
pub const PASSWORD: &str = "secret";

/// The database that clients connect to through Shardway.
pub const DATABASE: &str = "shop";

/// One world for many tests of a program: made when the first of them asks, and gone with the program. Its
/// tests keep out of each other's way with keys or tables of their own.
///
/// ```
/// use shardway_tests::{SharedWorld, World};
///
/// static WORLD: SharedWorld = SharedWorld::new(|| World::builder().shards(4).start());
/// ```
pub type SharedWorld = std::sync::LazyLock<World>;
