//! Everything that talks to servers: wire frames, server login, pooling, replicas, health and cancel.
//!
//! The data plane never decodes what it only forwards: [`wire::Wire`] is one read buffer and one write buffer
//! over a socket, and [`frame`] looks at five header bytes. The control plane (catalogs, health, lag) is
//! ordinary tokio-postgres behind deadpool, in [`control`]. Nothing here knows clients or SQL.

pub mod address;
pub mod buffer;
pub mod cancel;
pub mod catalog;
pub mod control;
pub mod credential;
mod dial;
pub mod error;
pub mod frame;
pub mod health;
pub mod lease;
mod login;
pub mod pool;
pub mod prepared;
mod scram;
pub mod server;
pub mod settings;
pub mod shard;
pub mod stream;
pub mod tls;
pub mod wire;

pub use address::{Login, ServerAddress};
pub use credential::{Credential, ScramKeys};
pub use error::PoolError;
pub use lease::Lease;
pub use pool::{Asked, Pool, PoolLimits, Turn};
pub use server::ServerConn;
pub use settings::Settings;
