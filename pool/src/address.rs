//! Where a server is and who logs in there.

use crate::credential::Credential;
use crate::tls::Connector;
use shardway_config::{Endpoint, Secret, TlsMode};
use std::fmt;
use std::sync::Arc;

/// One database on one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host, or the directory of a Unix socket (starts with `/`).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Whether and how TLS is used.
    pub tls: TlsMode,
    /// What its handshake goes by.
    pub connector: Arc<Connector>,
}

impl ServerAddress {
    /// From a configured endpoint; `default_tls` counts where its URL says nothing.
    pub fn new(endpoint: &Endpoint, default_tls: TlsMode, connector: Arc<Connector>) -> Self {
        Self {
            host: endpoint.host.clone(),
            port: endpoint.port,
            dbname: endpoint.dbname.clone(),
            tls: endpoint.sslmode.unwrap_or(default_tls),
            connector,
        }
    }

    /// Whether it is reached through a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.dbname)
    }
}

/// Who logs in to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Role.
    pub user: String,
    /// What proves that; `None` where the server asks for no proof.
    pub credential: Option<Credential>,
}

impl Login {
    /// By a password in clear text, if there is one.
    pub fn by_password(user: &str, password: Option<&Secret>) -> Self {
        Self { user: user.to_owned(), credential: password.cloned().map(Credential::Password) }
    }
}
