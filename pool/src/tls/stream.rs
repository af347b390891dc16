//! A TLS session over a socket, for poll-style callers with buffers of their own.
//!
//! What is read is decrypted by rustls and copied from its buffer into the caller's. Written bytes count as written
//! once all of their ciphertext is with the socket: there is nothing to flush, and a caller that has to wait comes
//! again with the same bytes.

use super::certificate;
use crate::stream::Stream;
use rustls::Connection;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, mem};

/// Ciphertext read at once; rustls alone would read a quarter of a record at a time.
const READ: usize = 64 * 1024;

thread_local! {
    static CIPHER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// An encrypted connection.
pub struct TlsStream {
    socket: Stream,
    session: Connection,
    /// Ciphertext that was read and is still to be decrypted.
    behind: Vec<u8>,
    /// Bytes of the caller's that are encrypted and not yet acknowledged.
    accepted: usize,
    /// RFC 5929's `tls-server-end-point`, if the server's certificate has one.
    end_point: Option<Arc<[u8]>>,
}

impl TlsStream {
    /// Goes through the handshake; `early` was read from the socket already. Errors: the socket's, or rustls' own.
    pub(super) async fn handshake(
        socket: Stream,
        session: Connection,
        early: &[u8],
        end_point: Option<Arc<[u8]>>,
    ) -> io::Result<Self> {
        let mut tls = Self { socket, session, behind: early.to_vec(), accepted: 0, end_point };
        poll_fn(|cx| tls.poll_handshake(cx)).await?;
        if let Connection::Client(client) = &tls.session {
            let server = client.peer_certificates().and_then(|chain| chain.first());
            tls.end_point = server.and_then(|der| certificate::end_point(der)).map(Arc::from);
        }
        Ok(tls)
    }

    /// What it goes over.
    pub fn socket(&self) -> &Stream {
        &self.socket
    }

    /// What SCRAM binds to: a hash of the server's certificate (RFC 5929, section 4.1); `None` where its signature has
    /// no hash.
    pub fn end_point(&self) -> Option<&Arc<[u8]>> {
        self.end_point.as_ref()
    }

    /// The certificate that the other side has shown, in DER; it was checked.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.session.peer_certificates()?.first().map(|certificate| certificate.as_ref())
    }

    /// Version and cipher suite, as PgBouncer words them: `TLSv1.3/TLS_AES_256_GCM_SHA384`.
    pub fn summary(&self) -> String {
        let version = self.session.protocol_version().and_then(|version| version.as_str());
        let suite = self
            .session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str().map(str::to_owned));
        let version = version.unwrap_or("TLS").replace('_', ".");
        let suite = suite.map(|suite| suite.replace("TLS13_", "TLS_")).unwrap_or_default();
        format!("{version}/{suite}")
    }

    /// Whether ALPN has agreed on PostgreSQL's protocol.
    pub fn is_postgresql(&self) -> bool {
        self.session.alpn_protocol() == Some(super::ALPN)
    }

    pub(crate) fn rehome(&mut self) -> io::Result<()> {
        self.socket = self.socket.take().rehome()?;
        Ok(())
    }

    pub(crate) fn try_read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = self.read_by(space, |socket, cipher| match socket.try_read(cipher) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            read => Poll::Ready(read),
        });
        if let Poll::Ready(read) = read { read } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        self.read_by(space, |socket, cipher| socket.poll_read(cx, cipher))
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.accept(bytes)?;
        self.push_now()?;
        Ok(mem::take(&mut self.accepted))
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.accept(bytes)?;
        ready!(self.poll_push(cx))?;
        Poll::Ready(Ok(mem::take(&mut self.accepted)))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_push(cx))?;
        self.socket.poll_shutdown(cx)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_push(cx))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.behind.is_empty() && ready!(self.poll_fetch(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let behind = mem::take(&mut self.behind);
            let mut cipher = &behind[..];
            while !cipher.is_empty() && self.session.is_handshaking() {
                self.take_in(&mut cipher)?;
            }
            self.behind.extend_from_slice(cipher);
        }
    }

    /// Reads ciphertext to be decrypted later.
    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        CIPHER.with_borrow_mut(|cipher| {
            let n = ready!(self.socket.poll_read(cx, cipher))?;
            self.behind.extend_from_slice(&cipher[..n]);
            Poll::Ready(Ok(n))
        })
    }

    /// Decrypts into `space`: what is there already, else what `fetch` reads.
    fn read_by(
        &mut self,
        space: &mut [u8],
        mut fetch: impl FnMut(&mut Stream, &mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(n) = self.plaintext(space)? {
                return Poll::Ready(Ok(n));
            }
            let behind = mem::take(&mut self.behind);
            let filled = if behind.is_empty() {
                let filled = CIPHER.with_borrow_mut(|cipher| {
                    let n = ready!(fetch(&mut self.socket, cipher))?;
                    let filled = (n > 0).then(|| self.decrypt(&cipher[..n], space));
                    Poll::Ready(filled.transpose())
                });
                match ready!(filled)? {
                    Some(filled) => filled,
                    // Messages have lengths, so an end that is not announced cuts nothing off unseen.
                    None => return Poll::Ready(Ok(0)),
                }
            } else {
                self.decrypt(&behind, space)?
            };
            if filled > 0 {
                return Poll::Ready(Ok(filled));
            }
        }
    }

    /// Decrypts ciphertext into `space`, as far as that goes; the rest stays behind.
    fn decrypt(&mut self, mut cipher: &[u8], space: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while !cipher.is_empty() && filled < space.len() {
            self.take_in(&mut cipher)?;
            filled += self.plaintext(&mut space[filled..])?.unwrap_or(0);
        }
        self.behind.extend_from_slice(cipher);
        Ok(filled)
    }

    /// What is decrypted: `None` for nothing yet, `Some(0)` for the end.
    fn plaintext(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(space) {
            Ok(n) => Ok(Some(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Gives ciphertext to rustls, a part at a time; what follows the other side's last word is dropped.
    fn take_in(&mut self, cipher: &mut &[u8]) -> io::Result<()> {
        if self.session.read_tls(cipher)? == 0 {
            *cipher = &[];
        }
        let outcome = self.session.process_new_packets();
        if outcome.is_err() || !self.session.is_handshaking() {
            // An alert, or the answer to a change of keys. What can't be sent now goes with what is written next.
            let _ = self.push_now();
        }
        outcome.map(drop).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// Encrypts a part of `bytes`, unless one is under way already.
    fn accept(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.accepted == 0 {
            self.accepted = self.session.writer().write(bytes)?;
        }
        debug_assert!(self.accepted <= bytes.len(), "who had to wait came again with something else");
        Ok(())
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.push(Some(cx)) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    }

    fn push_now(&mut self) -> io::Result<()> {
        self.push(None)
    }

    /// Writes ciphertext until none is left.
    fn push(&mut self, mut cx: Option<&mut Context<'_>>) -> io::Result<()> {
        while self.session.wants_write() {
            let mut outlet = Outlet { socket: &mut self.socket, cx: cx.as_deref_mut() };
            if self.session.write_tls(&mut outlet)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

/// Says goodbye as far as that goes without waiting: who is still there would take a mere end for an attack.
impl Drop for TlsStream {
    fn drop(&mut self) {
        if !self.session.is_handshaking() {
            self.session.send_close_notify();
            let _ = self.push_now();
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The socket as rustls writes to it. With a context its task is woken once there is room.
struct Outlet<'a, 'b> {
    socket: &'a mut Stream,
    cx: Option<&'a mut Context<'b>>,
}

impl Write for Outlet<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(cx) = &mut self.cx else { return self.socket.try_write_pieces(pieces) };
        match self.socket.poll_write_pieces(cx, pieces) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
