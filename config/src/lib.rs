//! What the operator wrote, made valid once.
//!
//! A file (TOML), the environment, or both become one [`Config`]; everything that is wrong is reported
//! together, each with its place. The rest of the product sees only valid values, by reference. Nothing here
//! opens a socket or knows how a key is hashed.

mod address;
mod auth;
mod cache;
mod collisions;
mod context;
mod databases;
mod diff;
mod env;
mod environment;
mod expand;
mod fields;
mod function;
mod groups;
pub mod hba;
mod lines;
mod load;
mod model;
mod overrides;
pub mod pgbouncer;
mod placement;
mod pool;
mod problems;
mod routing;
mod section;
mod server;
mod shards;
mod show;
mod sockets;
mod source;
mod suggest;
mod table_name;
mod tables;
pub mod tls;
mod unique;
mod units;
mod url;
mod users;
mod value;
mod words;

#[cfg(test)]
mod testing;

pub use diff::{Change, ChangeKind, diff};
pub use env::{Env, ProcessEnv};
pub use load::load;
pub use model::*;
pub use overrides::{DatabaseLimits, UserLimits};
pub use pgbouncer::{Logging as PgbouncerLogging, Pgbouncer, Settings as PgbouncerSettings, TargetSession};
pub use problems::{Place, Problem, Problems};
pub use sockets::{Keepalive, Sockets, Tcp};
pub use source::Source;
pub use tls::TlsFiles;
