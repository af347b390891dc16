//! TLS towards clients and servers, by rustls with ring.
//!
//! [`Acceptor`] is our side of clients' handshakes and [`Connector`] that of servers'; both are made of what the
//! configuration read, once, and a reload makes others. A handshake ends in a [`TlsStream`], which
//! [`crate::stream::Stream`] is one kind of. [`certificate`] knows what a certificate says. How TLS is agreed upon
//! before the handshake (SSLRequest, direct TLS) is a matter of the protocol: towards servers in `open`.
//!
//! Versions 1.2 and 1.3; no session is resumed, as with PostgreSQL.

mod accept;
pub mod certificate;
mod connect;
mod identity;
pub(crate) mod open;
mod stream;
mod trust;
mod verify;

#[cfg(test)]
mod tests;

pub use accept::Acceptor;
pub use connect::Connector;
pub use stream::TlsStream;

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};
use shardway_config::TlsFiles;
use shardway_config::tls::Versions;
use std::sync::{Arc, OnceLock};

/// The protocol's name in ALPN (PostgreSQL documentation, "SSL Session Encryption").
pub const ALPN: &[u8] = b"postgresql";

/// SSLRequest's code: 1234 << 16 | 5679.
pub const SSL_REQUEST: u32 = 80_877_103;

/// The versions that are spoken, as the library names them.
fn versions(files: &TlsFiles) -> &'static [&'static SupportedProtocolVersion] {
    static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
    static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match files.versions {
        Versions::Both => rustls::ALL_VERSIONS,
        Versions::Tls12 => &TLS12,
        Versions::Tls13 => &TLS13,
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}
