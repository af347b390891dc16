//! Certificates made by openssl, and sessions between our two sides.

mod certificates;
mod opening;
mod sessions;

use super::{Acceptor, Connector};
use crate::stream::Stream;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shardway_config::tls::{Identity, Pem, Versions};
use shardway_config::{Place, TargetSession, Tcp, TlsFiles, TlsMode};
use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;

fn pem<T>(content: T) -> Pem<T> {
    let place = Place::File { file: "test".to_owned() };
    Pem { path: "test.pem".into(), place, content: Arc::new(content) }
}

/// What a PEM text with one certificate, and one with its key, are as an identity; with others as the CA.
fn files(certificate: &str, key: &str, ca: Option<&str>) -> TlsFiles {
    let read = |text: &str| pem(vec![CertificateDer::from_pem_slice(text.as_bytes()).unwrap()]);
    let key = pem(PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap());
    TlsFiles {
        identity: Some(Identity { chain: read(certificate), key }),
        ca: ca.map(read),
        versions: Versions::default(),
    }
}

/// A certificate for `host` that signed itself, with its key.
fn self_signed(host: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a server");
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Both ends of a connection over `sockets`, by what the two sides go by.
async fn shake_hands(
    (ours, theirs): (Stream, Stream),
    server: (TlsMode, &TlsFiles),
    client: (TlsMode, &TlsFiles),
) -> (io::Result<Stream>, io::Result<Stream>) {
    let acceptor = Acceptor::new(server.0, server.1).unwrap().unwrap();
    let connector = Connector::new(client.1).unwrap();
    tokio::join!(acceptor.accept(ours, &[]), connector.connect(theirs, client.0, "localhost"))
}

fn sockets() -> (Stream, Stream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Stream::Unix(ours), Stream::Unix(theirs))
}
