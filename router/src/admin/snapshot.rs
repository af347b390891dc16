//! What SHOW reads: plain rows, gathered when somebody asks.
//!
//! A field that is `None` is not known to this process yet, and is shown as NULL: nothing is guessed.

use super::clients::{Address, Client};
use super::tally::COUNTS;
use shardway_pool::pool::PoolStats;
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
    pub state: Option<ClientState>,
    /// Its servers.
    pub links: Vec<Link>,
    /// Its last question.
    pub request_time: Option<SystemTime>,
    /// How long it has waited for a server; zero if it does not wait.
    pub wait: Option<Duration>,
    /// Named statements that it holds.
    pub prepared: Option<u64>,
}

/// A server connection that works for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub address: Address,
    /// Its backend's process.
    pub pid: u32,
    /// What tells it from others in this process.
    pub ptr: usize,
}

/// What a server connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Works for a client.
    Active,
    /// Waits for one.
    Idle,
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
    /// Its process; known of those that work for somebody.
    pub pid: Option<u32>,
    /// What tells it from others; as `pid`.
    pub ptr: Option<usize>,
    /// Whom it works for.
    pub client: Option<Arc<Client>>,
    /// When it logged in.
    pub connect_time: Option<SystemTime>,
    /// When it was asked last.
    pub request_time: Option<SystemTime>,
    /// Named statements that it holds.
    pub prepared: Option<u64>,
}

/// All servers of one login for one database, on every shard.
#[derive(Clone, Debug, Default)]
pub struct PoolRow {
    /// Clients of it, waiting or not.
    pub clients: usize,
    /// Its servers, and the places of those who wait for one.
    pub stats: PoolStats,
    /// How long the first one has waited; zero if nobody does.
    pub max_wait: Option<Duration>,
}

/// What was counted for a database, and its averages.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatsRow {
    /// Since the process began.
    pub totals: [Option<u64>; COUNTS],
    /// Over the last period.
    pub averages: [Option<u64>; COUNTS],
}
