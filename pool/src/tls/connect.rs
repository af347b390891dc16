//! Our side of servers' handshakes.

use super::identity::certified;
use super::verify::ServerCheck;
use super::{ALPN, TlsStream, provider, versions};
use crate::stream::Stream;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection};
use shardway_config::{Problem, TlsFiles, TlsMode};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What servers' handshakes go by. Two are equal that were made of the same files.
#[derive(Clone, Debug)]
pub struct Connector {
    files: TlsFiles,
    unchecked: Arc<ClientConfig>,
    checked: Option<Checked>,
}

#[derive(Clone, Debug)]
struct Checked {
    chain: Arc<ClientConfig>,
    name: Arc<ClientConfig>,
}

impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Eq for Connector {}

impl Connector {
    /// From what was read. Errors: what is wrong with a file.
    pub fn new(files: &TlsFiles) -> Result<Self, Problem> {
        let unchecked = config(ServerCheck::nothing(), files)?;
        let checked = match &files.ca {
            None => None,
            Some(ca) => Some(Checked {
                chain: config(ServerCheck::chain(ca)?, files)?,
                name: config(ServerCheck::name(ca)?, files)?,
            }),
        };
        Ok(Self { files: files.clone(), unchecked, checked })
    }

    /// The handshake with the server at `host`, whose certificate is checked as `mode` says. Errors: it failed.
    pub(super) async fn connect(&self, socket: Stream, mode: TlsMode, host: &str) -> io::Result<Stream> {
        let config = self.config(mode)?.clone();
        let session = ClientConnection::new(config, server_name(mode, host)?).map_err(io::Error::other)?;
        let tls = TlsStream::handshake(socket, Connection::Client(session), &[], None).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    fn config(&self, mode: TlsMode) -> io::Result<&Arc<ClientConfig>> {
        let no_ca = || io::Error::other(format!("{mode} needs server_tls_ca"));
        match mode {
            TlsMode::VerifyCa => self.checked.as_ref().map(|checked| &checked.chain).ok_or_else(no_ca),
            TlsMode::VerifyFull => self.checked.as_ref().map(|checked| &checked.name).ok_or_else(no_ca),
            TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer | TlsMode::Require => Ok(&self.unchecked),
        }
    }
}

/// The name that the certificate must have, and that the server is told (SNI) unless it is an address.
fn server_name(mode: TlsMode, host: &str) -> io::Result<ServerName<'static>> {
    match ServerName::try_from(host.to_owned()) {
        Ok(name) => Ok(name),
        Err(_) if mode == TlsMode::VerifyFull => {
            Err(io::Error::other(format!("no certificate can be for the host \"{host}\"")))
        }
        // An address with a zone: nobody will look at it.
        Err(_) => Ok(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())),
    }
}

fn config(check: ServerCheck, files: &TlsFiles) -> Result<Arc<ClientConfig>, Problem> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(files))
        .expect("ring has what both versions need")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check));
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(certified(own)?),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
