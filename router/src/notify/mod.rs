//! LISTEN for any number of clients over one listening connection per server.
//!
//! A client's server is another one from transaction to transaction, so none of them can listen for it. Instead each
//! primary of a database has one connection that listens to all that its clients listen to ([`Link`]); what it hears
//! is put into the clients' mailboxes ([`Mailbox`]), and their sessions hand it on when Postgres would: at once to an
//! idle client, else before the ReadyForQuery that ends a transaction. A link is opened by the first LISTEN and closed a
//! while after the last client is gone; it logs in as health checks do, and no pool or limit counts it.
//!
//! What is promised, and how:
//! - Nothing that is committed after LISTEN was answered is missed, and nothing that was committed before it was asked
//!   is heard: LISTEN takes a round trip over the link, at whose end the client is entered.
//! - Notifications of one server come in the order in which they were committed. Those of several shards have no
//!   common order.
//! - A link that is lost (or whose server is no primary any more) may have missed something, as a client's own connection
//!   would have: its clients are closed with 57P01, and may connect and LISTEN again.
//! - A client that does not read is owed [`MAX_HELD`] bytes at most; then it is closed with 54000.
//! - A client's own notifications carry the process id that it was given for itself, as libpq expects; others carry
//!   that of the server process that sent them.

mod channel;
mod link;
mod mailbox;
mod notification;
mod roster;
mod task;

pub use channel::Channel;
pub use link::{Joined, Link, LinkError, LinkId};
pub use mailbox::{Ended, ListenerId, MAX_HELD, Mail, Mailbox};
pub use notification::Notification;

use crate::handle::ClientHandle;
use crate::proxy::Proxy;
use shardway_pool::Login;
use shardway_pool::shard::Server;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All links.
#[derive(Debug, Default)]
pub struct Hub {
    links: Mutex<Vec<Arc<Link>>>,
    next_link: AtomicU32,
    next_listener: AtomicU64,
}

impl Hub {
    /// A mailbox for a client.
    pub fn mailbox(&self, client: Arc<ClientHandle>) -> Arc<Mailbox> {
        let id = ListenerId(self.next_listener.fetch_add(1, Ordering::Relaxed));
        Arc::new(Mailbox::new(id, client))
    }

    /// The link to a primary of `database`; a new one, which logs in as `login` says, if there is none.
    pub fn link(&self, proxy: &Arc<Proxy>, database: &str, server: &Arc<Server>, login: Login) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.is_open());
        if let Some(link) = links.iter().find(|link| link.is_to(server)) {
            return link.clone();
        }
        let id = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let link = Arc::new(Link::open(id, proxy, database, server, login));
        links.push(link.clone());
        link
    }
}
