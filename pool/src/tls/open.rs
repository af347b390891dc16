//! Opening a connection to a server: the socket, and TLS where its mode wants it. Not a word of the session yet.
//!
//! Sources: PostgreSQL documentation, "SSL Session Encryption" (SSLRequest) and libpq's `sslmode`. The certificates'
//! side of a mode is the [`Connector`](super::Connector)'s.

use super::SSL_REQUEST;
use crate::address::ServerAddress;
use crate::error::PoolError;
use crate::stream::{Stream, tune};
use crate::wire::Wire;
use shardway_config::TlsMode;
use std::io;
use tokio::net::{TcpStream, UnixStream};

/// What one connection is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Without TLS.
    Plain,
    /// With TLS if that works.
    Preferred,
    /// With TLS, or not at all.
    Tls,
}

impl Channel {
    /// What is tried first, and what after a refusal for the want of TLS. Nobody listens in on a Unix socket.
    pub(crate) fn of(address: &ServerAddress) -> (Self, Option<Self>) {
        match address.tls {
            _ if address.is_unix() => (Self::Plain, None),
            TlsMode::Disable => (Self::Plain, None),
            TlsMode::Allow => (Self::Plain, Some(Self::Tls)),
            TlsMode::Prefer => (Self::Preferred, None),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => (Self::Tls, None),
        }
    }
}

/// Whether a server that refused a login with this SQLSTATE may think better of it over TLS: its pg_hba.conf has
/// turned the connection away.
pub(crate) fn may_want_tls(code: &str) -> bool {
    code == "28000"
}

/// Opens a connection to a server.
pub(crate) async fn open(address: &ServerAddress, channel: Channel) -> Result<Stream, PoolError> {
    let plain = connect(address).await?;
    if channel == Channel::Plain {
        return Ok(plain);
    }
    match encrypt(address, plain).await {
        Ok(stream) => Ok(stream),
        Err(Refused::No(plain)) if channel == Channel::Preferred => Ok(plain),
        Err(Refused::Failed(e)) if channel == Channel::Preferred => {
            tracing::warn!(server = %address, "TLS did not work, and is not demanded: {e}");
            connect(address).await
        }
        Err(Refused::No(_)) => {
            Err(no_tls(address, "the server does not support TLS, which server_tls demands"))
        }
        // The server is gone, or it and we do not get on.
        Err(Refused::Failed(e)) => match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::Other => Err(no_tls(address, &e.to_string())),
            _ => Err(not_reached(address, &e)),
        },
    }
}

/// Why there is no TLS.
enum Refused {
    /// The server has none; the connection is good without.
    No(Stream),
    /// It did not work.
    Failed(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn encrypt(address: &ServerAddress, plain: Stream) -> Result<Stream, Refused> {
    let mut wire = Wire::new(plain);
    for word in [8, SSL_REQUEST] {
        wire.output.extend(&word.to_be_bytes());
    }
    wire.flush().await?;
    wire.fill().await?;
    match wire.input.filled() {
        b"S" => Ok(address.connector.connect(wire.stream, address.tls, &address.host).await?),
        b"N" => Err(Refused::No(wire.stream)),
        // What comes behind the answer was not encrypted, and would count as if it were (CVE-2021-23222).
        [b'S', ..] => Err(io::Error::other("received unencrypted data after SSL response").into()),
        _ => Err(io::Error::other("received invalid response to SSL negotiation").into()),
    }
}

async fn connect(address: &ServerAddress) -> Result<Stream, PoolError> {
    let failed = |e: io::Error| not_reached(address, &e);
    if address.is_unix() {
        let path = format!("{}/.s.PGSQL.{}", address.host, address.port);
        // A name in the abstract namespace begins with a zero.
        let path = path.strip_prefix('@').map_or_else(|| path.clone(), |name| format!("\0{name}"));
        return Ok(Stream::Unix(UnixStream::connect(path).await.map_err(failed)?));
    }
    let socket = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
    tune(&socket, &address.tcp).map_err(failed)?;
    Stream::tcp(socket).map_err(failed)
}

fn not_reached(address: &ServerAddress, cause: &io::Error) -> PoolError {
    PoolError::Connect { server: address.to_string(), cause: cause.to_string().into() }
}

fn no_tls(address: &ServerAddress, cause: &str) -> PoolError {
    PoolError::Tls { server: address.to_string(), cause: cause.into() }
}
