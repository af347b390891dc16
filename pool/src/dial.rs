//! How the control plane's tokio-postgres gets its connections: opened and logged in by us, so that TLS and proofs go by
//! the same rules as on the data plane, and handed over as if the login were still to come.
//!
//! tokio-postgres begins each connection with a startup message. It is not passed on; what the server said to ours is
//! the answer to it.

use crate::address::{Login, ServerAddress};
use crate::error::PoolError;
use crate::login;
use crate::server::{RunError, ServerConn};
use crate::stream::Stream;
use bytes::{Buf, Bytes, BytesMut};
use deadpool_postgres::Connect;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};

type Connected = Result<(Client, JoinHandle<()>), Error>;

/// How long a login may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a control connection calls itself.
const INTRODUCTION: &str = "SET application_name = 'shardway'";

/// AuthenticationOk, and ReadyForQuery outside of a transaction.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// Who may log in, the best choice first. Of those whose password is not known some get ready only when a client has
/// logged in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logins(Arc<[Login]>);

impl FromIterator<Login> for Logins {
    fn from_iter<T: IntoIterator<Item = Login>>(logins: T) -> Self {
        Self(logins.into_iter().collect())
    }
}

impl From<Login> for Logins {
    fn from(login: Login) -> Self {
        Self::from_iter([login])
    }
}

impl Logins {
    /// Whether there is nobody, now or later.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The best choice of those that can log in now.
    pub fn ready(&self) -> Option<&Login> {
        self.0.iter().find(|login| login.is_ready())
    }
}

/// Connects to one server.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Arc<ServerAddress>,
    logins: Logins,
}

impl Dialer {
    pub(crate) fn new(address: Arc<ServerAddress>, logins: Logins) -> Self {
        Self { address, logins }
    }

    async fn log_in(&self) -> Result<ServerConn, PoolError> {
        let unproven = || PoolError::Unproven { server: self.address.to_string() };
        let login = self.logins.ready().ok_or_else(unproven)?;
        let mut server = login::connect(&self.address, login, PATIENCE).await?;
        match server.run(INTRODUCTION).await {
            Err(RunError::Lost(error)) => Err(error),
            Ok(()) | Err(RunError::Refused(_)) => Ok(server),
        }
    }
}

impl Connect for Dialer {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        let mut config = config.clone();
        // Whether there is TLS has been seen to.
        config.ssl_mode(SslMode::Disable);
        Box::pin(async move {
            let opened =
                self.log_in().await.map_or_else(Opened::Failed, |server| Opened::Server(server.into()));
            let (client, connection) = config.connect_raw(opened, NoTls).await?;
            let task = tokio::spawn(async move {
                if let Err(e) = connection.await {
                    tracing::debug!("a control connection ended: {e}");
                }
            });
            Ok((client, task))
        })
    }
}

/// A connection, or why there is none: an error of tokio-postgres' can't be made but by letting it fail.
enum Opened {
    Server(Handover),
    Failed(PoolError),
}

/// A connection that is logged in, for who wants to log in itself.
struct Handover {
    stream: Stream,
    /// What it is still to be told.
    greeting: Bytes,
    startup: Startup,
}

/// How much of the startup message has come.
enum Startup {
    Length(Vec<u8>),
    Rest(usize),
}

impl From<ServerConn> for Handover {
    fn from(server: ServerConn) -> Self {
        let mut greeting = BytesMut::from(&WELCOME[..9]);
        for (name, value) in server.parameters.iter() {
            let body = [name, "\0", value, "\0"].concat();
            greeting.extend_from_slice(b"S");
            // A parameter came in a message of this length.
            greeting.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            greeting.extend_from_slice(body.as_bytes());
        }
        greeting.extend_from_slice(&WELCOME[9..]);
        greeting.extend_from_slice(server.wire.input.filled());
        let startup = Startup::Length(Vec::with_capacity(4));
        Self { stream: server.wire.stream, greeting: greeting.freeze(), startup }
    }
}

impl Handover {
    /// Takes bytes of the startup message; how many of these are.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        match &mut self.startup {
            Startup::Length(length) => {
                let taken = bytes.len().min(4 - length.len());
                length.extend_from_slice(&bytes[..taken]);
                if let Ok(length) = <[u8; 4]>::try_from(&length[..]) {
                    self.startup = Startup::Rest((u32::from_be_bytes(length) as usize).saturating_sub(4));
                }
                taken
            }
            Startup::Rest(rest) => {
                let taken = bytes.len().min(*rest);
                *rest -= taken;
                taken
            }
        }
    }
}

impl Opened {
    fn server(self: Pin<&mut Self>) -> io::Result<&mut Handover> {
        match self.get_mut() {
            Self::Server(server) => Ok(server),
            Self::Failed(error) => Err(io::Error::other(error.clone())),
        }
    }
}

impl AsyncRead for Opened {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let server = self.server()?;
        if !server.greeting.is_empty() {
            let n = server.greeting.len().min(buf.remaining());
            buf.put_slice(&server.greeting[..n]);
            server.greeting.advance(n);
            return Poll::Ready(Ok(()));
        }
        AsyncRead::poll_read(Pin::new(&mut server.stream), cx, buf)
    }
}

impl AsyncWrite for Opened {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let server = self.server()?;
        match server.swallow(bytes) {
            0 => AsyncWrite::poll_write(Pin::new(&mut server.stream), cx, bytes),
            swallowed => Poll::Ready(Ok(swallowed)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.server()?.stream), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.server()?.stream), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{Credential, ScramKeys};

    #[tokio::test]
    async fn the_startup_message_is_swallowed_however_it_is_cut_and_no_more() {
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        let startup = Startup::Length(Vec::new());
        let mut server = Handover { stream: Stream::Unix(ours), greeting: Bytes::new(), startup };
        let message = [&10u32.to_be_bytes()[..], b"abcdef", b"Q"].concat();
        let mut at = 0;
        for piece in [1, 2, 4, 1, 100] {
            at += server.swallow(&message[at..message.len().min(at + piece)]);
        }
        assert_eq!(
            (at, server.swallow(&message[at..])),
            (10, 0),
            "all of it, and nothing of what is behind it"
        );
    }

    #[test]
    fn who_can_log_in_now_is_chosen_in_order() {
        let keys = Arc::new(ScramKeys::new(1, vec![], [0; 32], [0; 32]));
        let login = |user: &str, credential| Login { user: user.to_owned(), credential };
        let logins: Logins = [login("hashed", Some(Credential::Scram(keys.clone()))), login("plain", None)]
            .into_iter()
            .collect();
        let ready = |logins: &Logins| logins.ready().map(|login| login.user.clone());
        assert_eq!(ready(&logins).as_deref(), Some("plain"));
        keys.learn(&[0; 32]);
        assert_eq!(ready(&logins).as_deref(), Some("hashed"));
        assert_eq!(ready(&Logins::default()), None);
    }
}
