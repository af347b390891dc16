//! Who is connected: one record per client that has logged in, for as long as it stays.
//!
//! A record is made at login and looked at by SHOW; statements pass it by. What only a session knows (when it was
//! last asked something, whether it waits) is in its handle.

use super::console::Console;
use crate::handle::{ClientHandle, Reason};
use crate::proxy::World;
use shardway_pool::stream::Stream;
use shardway_pool::tls::TlsStream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

/// One end of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// IP address; `unix` for a Unix socket, as PgBouncer has it.
    pub host: String,
    /// Port; 0 for a Unix socket.
    pub port: u16,
}

impl Address {
    fn of(address: std::io::Result<std::net::SocketAddr>) -> Self {
        address.map_or_else(|_| Self::default(), |a| Self { host: a.ip().to_string(), port: a.port() })
    }
}

/// Who comes in.
#[derive(Clone, Debug)]
pub struct Entrance {
    /// Role.
    pub user: String,
    /// Database; the admin database's one name for both of them.
    pub database: String,
    /// As the startup message gave it.
    pub application_name: String,
    /// Its process is of the operating system's user that this one is.
    pub is_owner: bool,
}

/// A client that has logged in.
#[derive(Debug)]
pub struct Client {
    /// Never given twice.
    pub id: u64,
    /// Who it is.
    pub who: Entrance,
    /// Its end of the socket.
    pub peer: Address,
    /// Ours.
    pub local: Address,
    /// Its process, where it came through a Unix socket.
    pub pid: u32,
    /// When it logged in.
    pub since: SystemTime,
    /// Its TLS session's version and cipher; empty without one.
    pub tls: String,
    server: OnceLock<Served>,
}

/// What serves a client.
#[derive(Debug)]
enum Served {
    Session(Arc<ClientHandle>),
    Console(Arc<Console>),
}

impl Client {
    /// PgBouncer's `log_connections`.
    pub fn log_entrance(&self, world: &World) {
        if world.config.pgbouncer.as_ref().is_some_and(|ini| ini.settings.logging.log_connections) {
            let tls = if self.tls.is_empty() { "no" } else { &self.tls };
            let (db, user) = (&self.who.database, &self.who.user);
            tracing::info!(
                client = self.id,
                from = self.peer.host,
                port = self.peer.port,
                "login: db={db} user={user} tls={tls}"
            );
        }
    }

    /// PgBouncer's `log_disconnections`.
    pub fn log_departure(&self, world: &World) {
        if world.config.pgbouncer.as_ref().is_some_and(|ini| ini.settings.logging.log_disconnections) {
            let age = self.since.elapsed().unwrap_or_default().as_secs();
            let (db, user) = (&self.who.database, &self.who.user);
            tracing::info!(client = self.id, "closed: db={db} user={user} (age={age}s)");
        }
    }

    /// A session serves it.
    pub fn is_served_by(&self, handle: &Arc<ClientHandle>) {
        // A second one would be a mistake of ours that harms nobody.
        let _ = self.server.set(Served::Session(handle.clone()));
    }

    /// It is a client of the admin database.
    pub(super) fn has_console(&self, console: &Arc<Console>) {
        let _ = self.server.set(Served::Console(console.clone()));
    }

    /// Its session's handle; none for a client of the admin database.
    pub(crate) fn handle(&self) -> Option<&Arc<ClientHandle>> {
        match self.server.get() {
            Some(Served::Session(handle)) => Some(handle),
            _ => None,
        }
    }

    /// Has it closed, whatever it does.
    pub(super) fn kill(&self, reason: Reason) {
        match self.server.get() {
            Some(Served::Session(handle)) => handle.kill(reason),
            Some(Served::Console(console)) => console.kill(),
            // It is just coming in, and has nothing yet.
            None => {}
        }
    }
}

/// Everybody who has logged in, in order of arrival.
#[derive(Debug, Default)]
pub struct Clients(Mutex<(u64, BTreeMap<u64, Arc<Client>>)>);

impl Clients {
    fn list(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Client>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a client that has logged in, until its seat is dropped.
    pub fn enter(self: &Arc<Self>, who: Entrance, stream: &Stream) -> Seat {
        let unix = || Address { host: "unix".to_owned(), port: 0 };
        let (peer, local, pid) = match stream.socket() {
            Stream::Unix(s) => (unix(), unix(), s.peer_cred().ok().and_then(|peer| peer.pid())),
            s => (Address::of(s.peer_addr()), Address::of(s.local_addr()), None),
        };
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        let since = SystemTime::now();
        let tls = stream.tls().map(TlsStream::summary).unwrap_or_default();
        let mut list = self.list();
        list.0 += 1;
        let id = list.0;
        let client = Arc::new(Client { id, who, peer, local, pid, since, tls, server: OnceLock::new() });
        list.1.insert(id, client.clone());
        drop(list);
        Seat { client, clients: self.clone() }
    }

    /// A number that nobody has, client or server.
    pub(super) fn number(&self) -> u64 {
        let mut list = self.list();
        list.0 += 1;
        list.0
    }

    /// The one with this number.
    pub(super) fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.list().1.get(&id).cloned()
    }

    /// Everybody, in order of arrival.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.list().1.values().cloned().collect()
    }
}

/// A client's place on the list.
#[derive(Debug)]
pub struct Seat {
    /// The client.
    pub client: Arc<Client>,
    clients: Arc<Clients>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.clients.list().1.remove(&self.client.id);
    }
}
