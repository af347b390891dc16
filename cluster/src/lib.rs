//! Real Postgres servers (and a Redis) as child processes, for `shardway demo`, the tests and the benches.
//!
//! A [`Server`] is one data directory with at most one postmaster in it: started in a fraction of a second
//! from a cached `initdb`, stopped, killed, paused, promoted and started again on the same port. Whatever
//! becomes of the process that owns it, nothing stays behind: see [`Daemon`].
//!
//! The interface is synchronous and speaks to servers through the programs that come with Postgres
//! (`psql`, `pg_isready`, `pg_basebackup`), so that it needs neither a runtime nor a client library.
//!
//! ```no_run
//! # fn main() -> Result<(), shardway_cluster::Error> {
//! use shardway_cluster::Server;
//!
//! let primary = Server::builder().setting("max_connections", 50).start()?;
//! let replica = Server::replica_of(&primary).start()?; // returns once it streams
//!
//! primary.sql("postgres", "CREATE TABLE t (id int); INSERT INTO t VALUES (1)")?;
//! replica.wait_caught_up(&primary)?;
//! assert_eq!(replica.sql("postgres", "SELECT count(*) FROM t")?, "1");
//!
//! primary.kill()?;
//! replica.promote()?;
//! # Ok(())
//! # }
//! ```

mod builder;
mod control;
mod daemon;
mod deadline;
mod error;
mod files;
mod installation;
mod os_user;
mod ports;
mod process;
mod psql;
mod readiness;
mod redis;
mod replication;
mod server;
mod settings;
mod template;

pub use builder::ServerBuilder;
pub use daemon::{Afterwards, Daemon};
pub use error::{Error, Result};
pub use installation::Installation;
pub use os_user::OsUser;
pub use ports::Port;
pub use redis::Redis;
pub use server::Server;

/// The address that every server of this crate listens on.
pub const HOST: &str = "127.0.0.1";
