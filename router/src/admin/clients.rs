//! Who is connected: one record per client that has logged in, for as long as it stays.
//!
//! A record is made at login and looked at by SHOW; statements pass it by. What only a session knows (when it was
//! last asked something, whether it waits) goes into the record's [`Notes`], which one task writes and others read:
//! plain stores, no shared counter.

use crate::proxy::ClientHandle;
use shardway_pool::stream::Stream;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
}

/// What a client's session notes about itself. Times are microseconds since 1970; 0 is "never" or "not now".
#[derive(Debug, Default)]
pub struct Notes {
    request: AtomicU64,
    waiting_since: AtomicU64,
    prepared: AtomicU64,
}

impl Notes {
    /// The client asked for something.
    pub fn requested(&self, at: SystemTime) {
        self.request.store(micros(at), Relaxed);
    }

    /// It waits for a server from here on.
    pub fn waits(&self, since: SystemTime) {
        self.waiting_since.store(micros(since), Relaxed);
    }

    /// It has its server, or gave up.
    pub fn waits_no_more(&self) {
        self.waiting_since.store(0, Relaxed);
    }

    /// Named statements that it holds now.
    pub fn holds_prepared(&self, count: usize) {
        self.prepared.store(count as u64, Relaxed);
    }

    pub(super) fn request_time(&self) -> Option<SystemTime> {
        time(self.request.load(Relaxed))
    }

    pub(super) fn waiting_since(&self) -> Option<SystemTime> {
        time(self.waiting_since.load(Relaxed))
    }

    pub(super) fn prepared(&self) -> u64 {
        self.prepared.load(Relaxed)
    }
}

fn micros(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn time(micros: u64) -> Option<SystemTime> {
    (micros > 0).then(|| UNIX_EPOCH + Duration::from_micros(micros))
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
    /// What its session says of itself.
    pub notes: Notes,
    handle: OnceLock<Arc<ClientHandle>>,
}

impl Client {
    /// Says where its servers are found.
    pub fn is_served_by(&self, handle: &Arc<ClientHandle>) {
        // A second one would be a mistake of ours that harms nobody.
        let _ = self.handle.set(handle.clone());
    }

    /// Its servers; none for a client of the admin database.
    pub(super) fn handle(&self) -> Option<&Arc<ClientHandle>> {
        self.handle.get()
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
        let (since, notes) = (SystemTime::now(), Notes::default());
        let mut list = self.list();
        list.0 += 1;
        let id = list.0;
        let client = Arc::new(Client { id, who, peer, local, pid, since, notes, handle: OnceLock::new() });
        list.1.insert(id, client.clone());
        drop(list);
        Seat { client, clients: self.clone() }
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
