//! Everything that talks to servers: wire frames, server login, pooling, replicas, health and cancel.
//!
//! The data plane never decodes what it only forwards: [`wire::Wire`] is one read buffer and one write buffer
//! over a socket, and [`frame`] looks at five header bytes. The control plane (catalogs, health, lag) is
//! ordinary tokio-postgres behind deadpool, in [`control`]. Nothing here knows clients or SQL.

pub mod address;
mod budget;
pub mod buffer;
pub mod cancel;
pub mod catalog;
pub mod control;
pub mod credential;
pub mod dial;
pub mod error;
pub mod frame;
pub mod health;
pub mod hosts;
mod launch;
pub mod lease;
mod lent;
mod limits;
pub mod login;
pub mod lookup;
pub mod oids;
mod pause;
pub mod pool;
pub mod prepared;
mod queue;
mod scram;
pub mod server;
pub mod settings;
pub mod shard;
mod snapshot;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod tls;
mod upkeep;
pub mod wire;

pub use address::{Login, ServerAddress};
pub use budget::{Budget, Budgets};
pub use credential::{Credential, ScramKeys};
pub use dial::Logins;
pub use error::PoolError;
pub use lease::Lease;
pub use limits::PoolLimits;
pub use login::connect;
pub use lookup::Lookup;
pub use pool::{Asked, Pool};
pub use queue::Turn;
pub use server::ServerConn;
pub use settings::Settings;
pub use snapshot::{PoolStats, ServerSnapshot, ServerState};
