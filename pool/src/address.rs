//! Where a server is and who logs in there.

use crate::credential::Credential;
use crate::hosts::Hosts;
use crate::tls::Connector;
use shardway_config::{Endpoint, Secret, TargetSession, Tcp, TlsMode};
use std::fmt;
use std::sync::Arc;

/// One database on one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host, or the directory of a Unix socket (starts with `/`; with `@` in the abstract namespace). The first of
    /// several.
    pub host: String,
    /// All of them, where there are several.
    pub hosts: Option<Arc<Hosts>>,
    /// Which servers will do there.
    pub target: TargetSession,
    /// Port.
    pub port: u16,
    /// Database.
    pub dbname: String,
    /// Whether and how TLS is used.
    pub tls: TlsMode,
    /// What its handshake goes by.
    pub connector: Arc<Connector>,
    /// What its TCP connections are like.
    pub tcp: Tcp,
}

impl ServerAddress {
    /// From a configured endpoint; `default_tls` counts where its URL says nothing.
    pub fn new(endpoint: &Endpoint, default_tls: TlsMode, connector: Arc<Connector>, tcp: Tcp) -> Self {
        let mut address = Self {
            host: endpoint.host.clone(),
            hosts: None,
            target: endpoint.target,
            port: endpoint.port,
            dbname: endpoint.dbname.clone(),
            tls: endpoint.sslmode.unwrap_or(default_tls),
            connector,
            tcp,
        };
        if !endpoint.others.is_empty() {
            let others = endpoint.others.iter().map(|host| Self { host: host.clone(), ..address.clone() });
            let all = std::iter::once(address.clone()).chain(others).map(Arc::new).collect();
            address.hosts = Some(Arc::new(Hosts::new(all, endpoint.balances)));
        }
        address
    }

    /// Whether it is reached through a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with(['/', '@'])
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        let others = self.hosts.iter().flat_map(|hosts| hosts.others());
        others.into_iter().try_for_each(|other| write!(f, ",{}", other.host))?;
        write!(f, ":{}/{}", self.port, self.dbname)
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
    /// Whether it can be used now: see [`Credential::is_ready`].
    pub fn is_ready(&self) -> bool {
        self.credential.as_ref().is_none_or(Credential::is_ready)
    }

    /// By a password in clear text, if there is one.
    pub fn by_password(user: &str, password: Option<&Secret>) -> Self {
        Self { user: user.to_owned(), credential: password.cloned().map(Credential::Password) }
    }
}
