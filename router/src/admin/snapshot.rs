//! What SHOW reads: plain rows, gathered when somebody asks.
//!
//! A field that is `None` is not known, and is shown as NULL: nothing is guessed.

use super::clients::{Address, Client};
use super::tally::Counts;
use shardway_pool::PoolStats;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// A server works for it, or its transaction holds one.
    Active,
    /// It has asked for nothing.
    Idle,
    /// It waits for a server.
    Waiting,
}

/// A client.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// The client.
    pub client: Arc<Client>,
    /// What it does.
    pub state: ClientState,
    /// What tells its servers from others in this process.
    pub links: Vec<usize>,
    /// Its last question.
    pub request_time: Option<SystemTime>,
    /// How long it has waited for a server; zero if it does not wait.
    pub wait: Duration,
    /// Named statements that it holds.
    pub prepared: usize,
    /// What it calls itself.
    pub application_name: String,
}

/// What a server connection does, in PgBouncer's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Works for a client.
    Active,
    /// Waits for one.
    Idle,
    /// Has waited for so long that it is asked before it is lent.
    Used,
    /// Logs in.
    Login,
}

/// A server connection.
#[derive(Clone, Debug)]
pub struct ServerRow {
    /// Client's database.
    pub database: String,
    /// Who it is logged in as.
    pub user: String,
    /// What it does.
    pub state: ServerState,
    /// Where it is.
    pub address: Address,
    /// Our end of the socket.
    pub local: Option<Address>,
    /// Whom it works for.
    pub client: Option<Arc<Client>>,
    /// What that one calls itself.
    pub application_name: String,
    /// When it was asked last.
    pub request_time: Option<SystemTime>,
    /// What is known of it once it has logged in.
    pub login: Option<LoginRow>,
}

/// What is known of a server connection that has logged in.
#[derive(Clone, Debug)]
pub struct LoginRow {
    /// Never given twice, not to a client either.
    pub id: u64,
    /// Its process.
    pub pid: u32,
    /// What tells it from others in this process.
    pub ptr: usize,
    /// When it logged in.
    pub connect_time: SystemTime,
    /// Named statements that it holds.
    pub prepared: usize,
    /// Its TLS session's version and cipher suite.
    pub tls: String,
    /// Whether it is closed as soon as it is given back.
    pub close_needed: bool,
}

/// All servers of one login for one database, on every shard.
#[derive(Clone, Debug, Default)]
pub struct PoolRow {
    /// Clients of it, waiting or not.
    pub clients: usize,
    /// Its servers, and the places of those who wait for one.
    pub stats: PoolStats,
    /// Idle servers that are asked before they are lent.
    pub used: usize,
    /// How long the first one has waited; zero if nobody does.
    pub max_wait: Duration,
}

/// What was counted for a database, and its averages.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatsRow {
    /// Since the process began.
    pub totals: Counts,
    /// Over the last period.
    pub averages: Counts,
}
