//! Our side of clients' handshakes.

use super::identity::certified;
use super::verify::ClientCheck;
use super::{ALPN, TlsStream, certificate, provider, versions};
use crate::stream::Stream;
use rustls::server::NoServerSessionStorage;
use rustls::{Connection, ServerConfig, ServerConnection};
use shardway_config::tls::Identity;
use shardway_config::{Problem, TlsFiles, TlsMode};
use std::io;
use std::sync::Arc;

/// What clients' handshakes go by.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    end_point: Option<Arc<[u8]>>,
}

impl Acceptor {
    /// From what was read. With a CA clients are asked for a certificate and a wrong one is refused; to have one they
    /// are obliged by [`TlsMode::VerifyCa`] on, or by what their login demands. `None` without an identity. Errors:
    /// what is wrong with a file.
    pub fn new(mode: TlsMode, files: &TlsFiles) -> Result<Option<Self>, Problem> {
        let Some(identity) = files.identity.as_ref().filter(|_| mode != TlsMode::Disable) else {
            return Ok(None);
        };
        let mut config = config(mode, identity, files)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let end_point = identity.chain.content.first().and_then(|own| certificate::end_point(own));
        Ok(Some(Self { config: Arc::new(config), end_point: end_point.map(Arc::from) }))
    }

    /// The handshake with a client; `early` is what it has sent of it already. Errors: it failed, and the client was
    /// told so by an alert, or is gone.
    pub async fn accept(&self, socket: Stream, early: &[u8]) -> io::Result<Stream> {
        let session = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let session = Connection::Server(session);
        let tls = TlsStream::handshake(socket, session, early, self.end_point.clone()).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }
}

fn config(mode: TlsMode, identity: &Identity, files: &TlsFiles) -> Result<ServerConfig, Problem> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(files))
        .expect("ring has what both versions need");
    let builder = match &files.ca {
        Some(ca) => {
            let mandatory = matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
            builder.with_client_cert_verifier(Arc::new(ClientCheck::new(ca, mandatory)?))
        }
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_cert_resolver(certified(identity)?))
}
