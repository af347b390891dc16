//! How the control plane's tokio-postgres gets its connections: opened by us, so that TLS goes by the same rules as on
//! the data plane, and handed over with the handshake done.

use crate::address::ServerAddress;
use crate::error::PoolError;
use crate::stream::Stream;
use crate::tls::open::{Channel, may_want_tls, open};
use deadpool_postgres::Connect;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Error};

type Connected = Result<(Client, JoinHandle<()>), Error>;

/// Connects to one server.
#[derive(Debug)]
pub(crate) struct Dialer(Arc<ServerAddress>);

impl Dialer {
    pub(crate) fn new(address: Arc<ServerAddress>) -> Self {
        Self(address)
    }
}

impl Connect for Dialer {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let mut config = config.clone();
        // Both together: no SSLRequest, and what we have is taken for the handshake's outcome.
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        Box::pin(async move {
            let (first, second) = Channel::of(&self.0);
            let outcome = dial(&self.0, &config, first).await;
            let refused =
                outcome.as_ref().err().and_then(Error::code).is_some_and(|e| may_want_tls(e.code()));
            match second {
                Some(second) if refused => dial(&self.0, &config, second).await.or(outcome),
                _ => outcome,
            }
        })
    }
}

async fn dial(address: &ServerAddress, config: &Config, channel: Channel) -> Connected {
    let opened = open(address, channel).await.map_or_else(Opened::Failed, Opened::Stream);
    let (client, connection) = config.connect_raw(opened, Handover).await?;
    let task = tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!("a control connection ended: {e}");
        }
    });
    Ok((client, task))
}

/// A connection, or why there is none: an error of tokio-postgres' can't be made but by letting it fail.
enum Opened {
    Stream(Stream),
    Failed(PoolError),
}

impl Opened {
    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut Stream>> {
        match self.get_mut() {
            Self::Stream(stream) => Ok(Pin::new(stream)),
            Self::Failed(error) => Err(io::Error::other(error.clone())),
        }
    }
}

impl AsyncRead for Opened {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(self.stream()?, cx, buf)
    }
}

impl AsyncWrite for Opened {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self.stream()?, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self.stream()?, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self.stream()?, cx)
    }
}

/// Tells SCRAM what to bind to, where there is TLS.
impl TlsStream for Opened {
    fn channel_binding(&self) -> ChannelBinding {
        let Self::Stream(stream) = self else { return ChannelBinding::none() };
        let hash = stream.tls().and_then(|tls| tls.end_point());
        hash.map_or_else(ChannelBinding::none, |hash| ChannelBinding::tls_server_end_point(hash.to_vec()))
    }
}

/// A handshake that is over.
struct Handover;

impl TlsConnect<Opened> for Handover {
    type Stream = Opened;
    type Error = io::Error;
    type Future = Ready<io::Result<Opened>>;

    fn connect(self, stream: Opened) -> Self::Future {
        ready(Ok(stream))
    }
}
