//! One rule, and the connections that it is for.

use std::net::IpAddr;

use super::address::Addresses;
use super::lists::{Database, User};
use super::method::{ClientCert, Method};
use crate::problems::Place;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Unix socket.
    Local,
    /// TCP, from this address.
    Tcp(IpAddr),
}

/// A connection that wants in. Replication connections have no place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it is by TLS.
    pub tls: bool,
    /// What it wants to connect to.
    pub database: &'a str,
    /// Whom it claims to be.
    pub user: &'a str,
}

/// Which connections a record's first field and address stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origins {
    Local,
    Tcp {
        /// `None`: with TLS and without.
        tls: Option<bool>,
        addresses: Addresses,
    },
}

impl Origins {
    fn contain(self, peer: &Peer<'_>) -> bool {
        match (self, peer.origin) {
            (Self::Local, Origin::Local) => true,
            (Self::Tcp { tls, addresses }, Origin::Tcp(ip)) => {
                tls.is_none_or(|tls| tls == peer.tls) && addresses.contain(ip)
            }
            _ => false,
        }
    }
}

/// One record of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(super) origins: Origins,
    pub(super) databases: Vec<Database>,
    pub(super) users: Vec<User>,
    /// How its connections prove who they are.
    pub method: Method,
    /// What else they have to show.
    pub client_cert: Option<ClientCert>,
    /// Where its method stands.
    pub place: Place,
}

impl Rule {
    /// Whether it is for this connection.
    pub fn matches(&self, peer: &Peer<'_>) -> bool {
        self.origins.contain(peer)
            && self.databases.iter().any(|database| database.matches(peer.database, peer.user))
            && self.users.iter().any(|user| user.matches(peer.user))
    }

    /// Whether it is for connections by TLS alone.
    pub fn needs_tls(&self) -> bool {
        matches!(self.origins, Origins::Tcp { tls: Some(true), .. })
    }
}
