//! A socket to a client or a server, whatever kind it is.

use crate::tls::TlsStream;
use shardway_config::Tcp;
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Makes a TCP socket what connections are to be like. Errors: the system refuses one of the options.
pub fn tune(socket: &impl AsFd, tcp: &Tcp) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if let Some(keepalive) = tcp.keepalive {
        let mut options = TcpKeepalive::new();
        if !keepalive.idle.is_zero() {
            options = options.with_time(keepalive.idle);
        }
        if !keepalive.interval.is_zero() {
            options = options.with_interval(keepalive.interval);
        }
        if keepalive.count > 0 {
            options = options.with_retries(keepalive.count);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&options)?;
    }
    if !tcp.user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(tcp.user_timeout))?;
    }
    if tcp.socket_buffer > 0 {
        socket.set_send_buffer_size(tcp.socket_buffer)?;
        socket.set_recv_buffer_size(tcp.socket_buffer)?;
    }
    Ok(())
}

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP, with Nagle off.
    Tcp(TcpStream),
    /// Unix domain.
    Unix(UnixStream),
    /// TLS over one of them. Boxed: who speaks plainly does not pay for it.
    Tls(Box<TlsStream>),
    /// None: it went into a handshake that has not succeeded. Reads as ended.
    Closed,
}

impl Stream {
    /// Wraps a TCP socket. Every message is a whole answer or question, so none waits for company.
    pub fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(Self::Tcp(socket))
    }

    /// Takes the socket out; [`Stream::Closed`] stays.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Closed)
    }

    /// Moves the socket to the runtime that the caller runs on.
    pub fn rehome(self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => Ok(Self::Tcp(TcpStream::from_std(socket.into_std()?)?)),
            Self::Unix(socket) => Ok(Self::Unix(UnixStream::from_std(socket.into_std()?)?)),
            Self::Tls(mut tls) => {
                tls.rehome()?;
                Ok(Self::Tls(tls))
            }
            Self::Closed => Ok(Self::Closed),
        }
    }

    /// What goes over it encrypted, if it is.
    pub fn tls(&self) -> Option<&TlsStream> {
        if let Self::Tls(tls) = self { Some(tls) } else { None }
    }

    /// The socket itself, below TLS.
    pub fn socket(&self) -> &Self {
        self.tls().map_or(self, TlsStream::socket)
    }

    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> bool {
        matches!(self.socket(), Self::Unix(_))
    }

    /// The other end's address. Errors: it has none, or is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        if let Self::Tcp(socket) = self.socket() { socket.peer_addr() } else { Err(closed()) }
    }

    /// Our end's address. Errors: as with the other end's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        if let Self::Tcp(socket) = self.socket() { socket.local_addr() } else { Err(closed()) }
    }

    /// Asks the kernel to report the socket as readable only when that many bytes are there, or its end (`SO_RCVLOWAT`,
    /// socket(7)). Errors: it is no plain TCP socket, or the system's.
    pub fn set_low_water(&self, bytes: usize) -> io::Result<()> {
        let Self::Tcp(socket) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the descriptor is open while `socket` lives, and `value` is read within the call only.
        let failed = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                std::ptr::from_ref(&value).cast(),
                len,
            )
        };
        if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Looks after the other end without taking hold of the socket, which has to stay open meanwhile.
    pub fn watch(&self) -> Watch {
        Watch(match self.socket() {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
            // poll(2) passes over negative ones.
            Self::Tls(_) | Self::Closed => -1,
        })
    }

    /// Reads without waiting. Costs no system call while the poller has not seen anything to read.
    pub fn try_read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_read(space),
            Self::Unix(socket) => socket.try_read(space),
            Self::Tls(tls) => tls.try_read(space),
            Self::Closed => Ok(0),
        }
    }

    /// Writes some of `bytes` without waiting. Who is told to wait has to come again with the same bytes.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write(bytes),
            Self::Unix(socket) => socket.try_write(bytes),
            Self::Tls(tls) => tls.try_write(bytes),
            Self::Closed => Err(closed()),
        }
    }

    /// Reads into `space`; the length read, 0 at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(space);
        let done = match self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, &mut buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, &mut buf),
            Self::Tls(tls) => return tls.poll_read(cx, space),
            Self::Closed => Poll::Ready(Ok(())),
        };
        done.map_ok(|()| buf.filled().len())
    }

    /// Writes some of `bytes`. Who is told to wait has to come again with the same bytes, and may have more behind
    /// them: TLS has encrypted them by then.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(tls) => tls.poll_write(cx, bytes),
            Self::Closed => Poll::Ready(Err(closed())),
        }
    }

    /// Writes some of several pieces: a socket's own, below TLS.
    pub(crate) fn poll_write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(_) | Self::Closed => Poll::Ready(Err(closed())),
        }
    }

    /// The same without waiting.
    pub(crate) fn try_write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_write_vectored(pieces),
            Self::Unix(socket) => socket.try_write_vectored(pieces),
            Self::Tls(_) | Self::Closed => Err(closed()),
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// For who speaks the protocol without our buffers.
/// Whether the other end of a socket has hung up, whatever of what it said has not been read.
#[derive(Clone, Copy, Debug)]
pub struct Watch(RawFd);

impl Watch {
    /// Asks the kernel (`POLLRDHUP`, poll(2)).
    pub fn has_hung_up(self) -> bool {
        let mut asked = libc::pollfd { fd: self.0, events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: one descriptor is asked about, in a place of our own, without waiting.
        let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
        answered > 0 && asked.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(Stream::poll_read(self.get_mut(), cx, buf.initialize_unfilled()))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self.get_mut(), cx, bytes)
    }

    /// Nothing waits in here that was said to be written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_shutdown(self.get_mut(), cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_plainly_does_not_pay_for_tls() {
        assert_eq!(
            size_of::<Stream>(),
            size_of::<TcpStream>().max(size_of::<UnixStream>()) + size_of::<usize>()
        );
    }
}
