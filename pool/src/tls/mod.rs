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

use rustls::crypto::{CryptoProvider, ring};
use std::sync::{Arc, OnceLock};

/// The protocol's name in ALPN (PostgreSQL documentation, "SSL Session Encryption").
pub const ALPN: &[u8] = b"postgresql";

/// SSLRequest's code: 1234 << 16 | 5679.
pub const SSL_REQUEST: u32 = 80_877_103;

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}
