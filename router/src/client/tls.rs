//! TLS with a client, before anything else is said: asked for by SSLRequest, or begun at once (direct TLS, as clients
//! since PostgreSQL 17 can).
//!
//! Source: PostgreSQL documentation, "SSL Session Encryption"; src/backend/tcop/backend_startup.c. Bounded in time as
//! all of a login is, and in space by rustls: a message of a handshake has 64 KiB at most.

use super::Rejected;
use crate::error::ClientError;
use crate::proxy::Proxy;
use shardway_config::TlsMode;
use shardway_pool::tls::{Acceptor, TlsStream};
use shardway_pool::wire::Wire;

/// The first byte of a TLS handshake record. A startup packet that began with it would be far too long.
const HANDSHAKE: u8 = 0x16;

/// Answers an SSLRequest, and goes through the handshake if there is TLS here. Nobody listens in on a Unix socket.
pub(super) async fn on_request(proxy: &Proxy, wire: &mut Wire) -> Result<(), Rejected> {
    let world = proxy.world();
    let acceptor = world.acceptor.as_ref().filter(|_| !wire.stream.is_unix());
    let Some(acceptor) = acceptor else { return refuse(wire).await };
    answer(wire, b'S').await?;
    encrypt(proxy, acceptor, wire).await
}

/// Answers a request for encryption that we do not have.
pub(super) async fn refuse(wire: &mut Wire) -> Result<(), Rejected> {
    answer(wire, b'N').await
}

/// Goes through the handshake with a client that begins with it.
pub(super) async fn if_direct(proxy: &Proxy, wire: &mut Wire) -> Result<(), Rejected> {
    if wire.input.is_empty() {
        wire.fill().await?;
    }
    if wire.input.filled().first() != Some(&HANDSHAKE) {
        return Ok(());
    }
    let world = proxy.world();
    let Some(acceptor) = world.acceptor.as_ref().filter(|_| !wire.stream.is_unix()) else {
        // As a startup packet it is too long, and that is what the client is told.
        return Ok(());
    };
    encrypt(proxy, acceptor, wire).await?;
    if !wire.stream.tls().is_some_and(TlsStream::is_postgresql) {
        // It may have meant to speak with somebody else (ALPACA).
        let message = "received direct SSL connection request without ALPN protocol negotiation extension";
        return Err(ClientError::protocol(message).into());
    }
    Ok(())
}

/// Whether a client that wants to log in has to have TLS, and has none.
pub(super) fn is_missing(proxy: &Proxy, wire: &Wire) -> bool {
    let demanded = match proxy.world().config.server.tls {
        TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer => false,
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => true,
    };
    demanded && wire.stream.tls().is_none() && !wire.stream.is_unix()
}

async fn answer(wire: &mut Wire, byte: u8) -> Result<(), Rejected> {
    // What was sent behind the request came before any encryption: nobody may slip that in (CVE-2021-23214).
    if !wire.input.is_empty() {
        let message = "received unencrypted data after SSL or GSSAPI request";
        return Err(ClientError::protocol(message).into());
    }
    wire.output.push(byte);
    Ok(wire.flush().await?)
}

/// The handshake. Where it fails rustls has told the client why, and there is no other way to.
async fn encrypt(proxy: &Proxy, acceptor: &Acceptor, wire: &mut Wire) -> Result<(), Rejected> {
    let early = wire.input.filled().to_vec();
    wire.input.clear();
    match acceptor.accept(wire.stream.take(), &early).await {
        Ok(stream) => {
            wire.stream = stream;
            Ok(())
        }
        Err(error) => {
            proxy.metrics.login_failures.inc();
            tracing::info!("client not let in: no TLS: {error}");
            Err(Rejected::Gone)
        }
    }
}
