//! Portals and cursors whose rows come from several shards. They belong to a transaction, and end with it.
//!
//! Rows that shards put together are fetched from a cursor on each of them, as many at a time as the client asks for
//! (`live.rs`). Other rows are held: for a portal here, for a cursor in a temporary table of one of the shards, where it then
//! is a cursor of that server's own (`stored.rs`). `past.rs` is what a cursor keeps to go back, `fetch.rs` moves it about,
//! `declare.rs` and `bound.rs` make them, `locked.rs` reads a part of the rows that it locks.

mod bound;
mod declare;
mod fetch;
mod live;
mod locked;
mod past;
mod stored;
mod valued;

use super::Session;
use super::servers::refused;
use super::simple::Failure;
use crate::error::ClientError;
use crate::schema::ShardRef;
use crate::sql::cursor::Scroll;
pub(super) use bound::needs_portal;
use live::Live;
pub(super) use locked::Locking;
use past::Past;
use shardway_pool::settings::quote;
use std::collections::VecDeque;

/// Those of a transaction.
#[derive(Debug, Default)]
pub struct Portals {
    /// How many there have been.
    count: u64,
    open: Vec<Portal>,
    /// Cursors in temporary tables, with the numbers of these.
    stored: Vec<(Vec<u8>, u64)>,
}

/// One of them.
#[derive(Debug)]
struct Portal {
    name: Vec<u8>,
    /// Later ones have larger numbers.
    number: u64,
    rows: Rows,
    /// RowDescription's body, in text.
    columns: Vec<u8>,
    /// Result formats that it was bound with: their count, then codes.
    formats: Vec<u8>,
    /// What its tag begins with.
    verb: &'static str,
    scroll: Scroll,
    /// It failed once, and can't be run any more.
    failed: bool,
    /// The number of the row that it is on; 0 in front of the first.
    at: u64,
    /// Whether it is behind the last.
    at_end: bool,
    /// Rows that it has given so far, or passed.
    given: u64,
    past: Past,
    /// The formats that the rows which it keeps are in.
    kept_in: Vec<u8>,
}

/// Where rows come from.
#[derive(Debug)]
enum Rows {
    /// A cursor on each of the shards.
    Live(Live),
    /// All that are left.
    Held(VecDeque<Box<[u8]>>),
}

impl Portals {
    /// Whether there are any.
    pub fn is_any(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many there have been: what a savepoint remembers.
    pub fn mark(&self) -> u64 {
        self.count
    }

    /// Those that were made behind a savepoint are gone with what it undoes.
    pub fn go_back_to(&mut self, mark: u64) {
        self.open.retain(|portal| portal.number <= mark);
        self.stored.retain(|(_, number)| *number <= mark);
    }

    fn find(&self, name: &[u8]) -> Option<&Portal> {
        self.open.iter().find(|portal| portal.name == name)
    }

    fn take(&mut self, name: &[u8]) -> Option<Portal> {
        let at = self.open.iter().position(|portal| portal.name == name)?;
        Some(self.open.swap_remove(at))
    }
}

impl Portal {
    fn new(name: &[u8], number: u64, rows: Rows, columns: Vec<u8>) -> Self {
        Self {
            name: name.to_vec(),
            number,
            rows,
            columns,
            formats: TEXT.to_vec(),
            verb: "SELECT",
            scroll: Scroll::No,
            failed: false,
            at: 0,
            at_end: false,
            given: 0,
            past: Past::default(),
            kept_in: TEXT.to_vec(),
        }
    }
}

/// Result formats: everything in text.
const TEXT: &[u8] = &[0, 0];

/// Everything in binary.
const BINARY: &[u8] = &[0, 1, 0, 1];

impl Session {
    /// Whether a portal or cursor of this name has rows of several shards.
    pub(super) fn has_portal(&self, name: &[u8]) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.across.find(name).is_some())
    }

    /// The number of a new one.
    fn number_portal(&mut self) -> u64 {
        let Some(transaction) = &mut self.transaction else { return 0 };
        transaction.across.count += 1;
        transaction.across.count
    }

    fn put_portal(&mut self, portal: Portal) {
        if let Some(transaction) = &mut self.transaction {
            transaction.across.open.push(portal);
        }
    }

    /// Takes one out of the transaction while it runs. Errors: it is not there, or can't be run.
    fn take_portal(&mut self, name: &[u8], what: &str) -> Result<Portal, ClientError> {
        let portal = self.transaction.as_mut().and_then(|t| t.across.take(name));
        let name = String::from_utf8_lossy(name);
        match portal {
            None => Err(ClientError::error("34000", format!("{what} \"{name}\" does not exist"))),
            Some(portal) if portal.failed => {
                let error = ClientError::error("55000", format!("portal \"{name}\" cannot be run"));
                self.put_portal(portal);
                Err(error)
            }
            Some(portal) => Ok(portal),
        }
    }

    /// Puts it back when it has run.
    fn ran<T>(&mut self, mut portal: Portal, done: Result<T, Failure>) -> Result<T, Failure> {
        portal.failed = done.is_err();
        self.put_portal(portal);
        done
    }

    /// Closes one, if it is there.
    pub(super) async fn close_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        let portal = self.transaction.as_mut().and_then(|t| t.across.take(name));
        match portal.map(|portal| portal.rows) {
            Some(Rows::Live(live)) => self.close_live(live).await,
            Some(Rows::Held(_)) | None => Ok(()),
        }
    }

    /// Refuses the name of a portal or cursor that is there: here, or on a server (`but` that one, which sees for itself).
    pub(super) async fn check_cursor_name(
        &mut self,
        name: &[u8],
        but: Option<ShardRef>,
    ) -> Result<(), ClientError> {
        let exists = || {
            let name = String::from_utf8_lossy(name);
            ClientError::error("42P03", format!("cursor \"{name}\" already exists"))
        };
        if self.has_portal(name) {
            return Err(exists());
        }
        let Some(place) = self.portal_shard(name).filter(|place| Some(*place) != but) else { return Ok(()) };
        let here = |p: &&mut super::servers::Participant| p.shard == place;
        let Some(server) = self.servers.iter_mut().chain(&mut self.kept).find(here) else { return Ok(()) };
        if server.lease.status == b'E' {
            return Ok(());
        }
        let name = quote(&String::from_utf8_lossy(name));
        let sql = format!("SELECT FROM pg_catalog.pg_cursors WHERE name = {name}");
        let rows = server.lease.rows(&sql).await.map_err(|e| refused(&e))?;
        if rows.is_empty() { Ok(()) } else { Err(exists()) }
    }
}
