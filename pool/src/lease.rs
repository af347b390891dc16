//! A server connection in somebody's hands.

use crate::error::PoolError;
use crate::pool::Pool;
use crate::server::ServerConn;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A leased server. Dropped, it goes back if it is clean and is closed if it is not: a client that vanishes in
/// the middle of something leaves nothing half-done behind.
#[derive(Debug)]
pub struct Lease {
    conn: Option<Box<ServerConn>>,
    pool: Arc<Pool>,
}

impl Lease {
    pub(crate) fn new(conn: Box<ServerConn>, pool: Arc<Pool>) -> Self {
        Self { conn: Some(conn), pool }
    }

    /// The pool it belongs to.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Takes the server out, for the pool's own use.
    pub(crate) fn into_conn(mut self) -> Box<ServerConn> {
        self.conn.take().expect("a lease holds its server until it is dropped")
    }

    /// Moves the server to the caller's runtime; one that can't be moved is closed.
    pub fn rehome(mut self) -> Result<Self, PoolError> {
        let conn = self.conn.take().expect("a lease holds its server until it is dropped");
        let target = conn.cancel_target().clone();
        match conn.rehome() {
            Ok(conn) => {
                self.conn = Some(conn);
                Ok(self)
            }
            Err(cause) => {
                self.pool.forget(&target);
                Err(PoolError::Lost { server: target.address.to_string(), cause: cause.to_string().into() })
            }
        }
    }

    /// Closes it, whatever its state.
    pub fn close(mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.discard(conn);
        }
    }
}

impl Deref for Lease {
    type Target = ServerConn;

    fn deref(&self) -> &ServerConn {
        self.conn.as_deref().expect("a lease holds its server until it is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut ServerConn {
        self.conn.as_deref_mut().expect("a lease holds its server until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.pool.give_back(conn);
        }
    }
}
