//! Where clients come in: the first worker accepts them, and serves them itself or has another one do it.
//!
//! Several processes of one user may share a TCP address: the old and the new one in a rolling restart. A Unix socket belongs to
//! one process, and one that takes over puts its own in the other's place.

use crate::client::{self, Door};
use crate::proxy::{Phase, Proxy};
use crate::workers::WorkerId;
use crate::{handover, identity};
use shardway_config::{Listen, Sockets};
use shardway_pool::stream::{Stream, tune};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// The port in a Unix socket's name where no TCP address gives one.
const DEFAULT_PORT: u16 = 6432;

/// How long it takes to hear of those who have connected already.
const AT_ONCE: Duration = Duration::from_millis(10);

/// A bound socket, not yet at home in a runtime.
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix domain.
    Unix(unix::UnixListener),
}

/// All addresses of a configuration, bound.
#[derive(Default)]
pub struct Bound {
    tcp: Vec<(SocketAddr, std::net::TcpListener)>,
    unix: Vec<(SocketFile, unix::UnixListener)>,
}

/// How addresses are bound.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// What the sockets are to be.
    pub sockets: &'a Sockets,
    /// Whether this process is to take another one's place.
    pub takeover: bool,
}

impl Bound {
    /// Binds every address. Errors: one is taken or can't be had; in words.
    pub fn bind(listen: &[Listen], how: Binding<'_>) -> Result<Self, String> {
        let mut bound = Self::default();
        for entry in listen {
            if let Listen::Tcp { host, port } = entry {
                bound.tcp.extend(bind_host(host, *port, how)?);
            }
        }
        let first = bound.tcp.first().map_or(DEFAULT_PORT, |(address, _)| address.port());
        let port = how.sockets.unix_socket_port.unwrap_or(first);
        for entry in listen {
            if let Listen::Unix(directory) = entry {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                let socket =
                    bind_unix(&path, how).map_err(|e| format!("can't listen on {}: {e}", path.display()))?;
                bound.unix.push((SocketFile::of(path), socket));
            }
        }
        Ok(bound)
    }

    /// The listeners, the addresses for the log, and the socket files, which go when they are dropped.
    pub fn open(self) -> (Vec<Listener>, Vec<String>, Vec<SocketFile>) {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let names = tcp.chain(self.unix.iter().map(|(file, _)| file.path.display().to_string())).collect();
        let (files, unix): (Vec<_>, Vec<_>) = self.unix.into_iter().unzip();
        let tcp = self.tcp.into_iter().map(|(_, socket)| Listener::Tcp(socket));
        (tcp.chain(unix.into_iter().map(Listener::Unix)).collect(), names, files)
    }
}

/// A Unix socket's file, removed when nobody listens any more, unless it is another process's by then.
pub struct SocketFile {
    path: PathBuf,
    /// Which file it is; `None`: there is none, as in the abstract namespace.
    id: Option<(u64, u64)>,
}

impl SocketFile {
    fn of(path: PathBuf) -> Self {
        let id = file_id(&path);
        Self { path, id }
    }
}

fn file_id(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.id.is_none() || file_id(&self.path) != self.id {
            return;
        }
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), "the socket's file can't be removed: {e}");
        }
    }
}

/// Binds what a host's name means. As in Postgres, an address that this machine does not have is no error while
/// another one of that name is there (a container without IPv6).
fn bind_host(
    host: &str,
    port: u16,
    how: Binding<'_>,
) -> Result<Vec<(SocketAddr, std::net::TcpListener)>, String> {
    let addresses = resolve(host, port).map_err(|e| format!("server.listen: {host}: {e}"))?;
    let mut bound = Vec::new();
    let mut missing = format!("server.listen: {host} has no address");
    for address in addresses {
        match bind(address, how) {
            Ok(socket) => bound.push((socket.local_addr().unwrap_or(address), socket)),
            Err(e) if is_missing(&e) => missing = format!("can't listen on {address}: {e}"),
            Err(e) => return Err(format!("can't listen on {address}: {e}")),
        }
    }
    if bound.is_empty() { Err(missing) } else { Ok(bound) }
}

/// Whether this machine has no such address, or no such family of addresses.
fn is_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host == "*" {
        return Ok(vec![SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0u16; 8], port))]);
    }
    let mut addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    addresses.dedup();
    Ok(addresses)
}

/// Binds an address that is still to be had, or that another process shares.
pub fn bind(address: SocketAddr, how: Binding<'_>) -> io::Result<std::net::TcpListener> {
    let socket = match bound(address, false) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && (how.takeover || how.sockets.so_reuseport) => {
            let socket = bound(address, true)?;
            if !how.takeover {
                tracing::warn!(%address, "another process listens there too: both are given clients until one of them ends");
            }
            socket
        }
        outcome => outcome?,
    };
    // From here on the next process may share it.
    socket.set_reuse_port(true)?;
    tune(&socket, &how.sockets.tcp)?;
    if how.sockets.tcp_defer_accept {
        defer_accept(&socket)?;
    }
    socket.set_nonblocking(true)?;
    socket.listen(i32::try_from(how.sockets.listen_backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Connections without a word on them are not to be accepted, for as long as PgBouncer has it (45 s).
fn defer_accept(socket: &Socket) -> io::Result<()> {
    const SECONDS: libc::c_int = 45;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let value: *const libc::c_int = &SECONDS;
    // SAFETY: the option's value is an int that outlives the call, and its size is an int's.
    let failed = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value.cast(), size)
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds a Unix socket, in the place of one that a dead process left, or that this one takes over. Anybody may connect, as
/// with Postgres, unless its mode says otherwise: who gets in is a matter of authentication.
fn bind_unix(path: &Path, how: Binding<'_>) -> io::Result<unix::UnixListener> {
    let socket = match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => unix::UnixListener::bind_addr(&unix::SocketAddr::from_abstract_name(name)?)?,
        None => bind_file(path, how)?,
    };
    socket.set_nonblocking(true)?;
    // Of a socket that listens already only the length of its queue changes.
    SockRef::from(&socket).listen(i32::try_from(how.sockets.listen_backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

fn bind_file(path: &Path, how: Binding<'_>) -> io::Result<unix::UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        match unix::UnixStream::connect(path) {
            Ok(_) if how.takeover => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(e) => return Err(e),
        }
    }
    // Under another name first, so that at each moment there is one that works.
    let new = path.with_file_name(format!(".s.PGSQL.{}.new", std::process::id()));
    let _ = fs::remove_file(&new);
    let socket = unix::UnixListener::bind(&new)?;
    let placed = own(&new, how.sockets).and_then(|()| fs::rename(&new, path));
    placed.inspect_err(|_| drop(fs::remove_file(&new)))?;
    Ok(socket)
}

/// Gives a socket's file its mode and its group.
fn own(path: &Path, sockets: &Sockets) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(sockets.unix_socket_mode))?;
    match &sockets.unix_socket_group {
        Some(group) => std::os::unix::fs::chown(path, None, Some(identity::group(group)?)),
        None => Ok(()),
    }
}

/// A listener at home in the caller's runtime.
enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Listener::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    /// Has new connections go to the process that shares the address, if there is one; gives whether there is.
    fn hand_over(&self) -> bool {
        let Self::Tcp(socket) = self else { return false };
        if !socket.local_addr().is_ok_and(handover::is_shared) {
            return false;
        }
        let refused = handover::refuse_requests(socket);
        refused.inspect_err(|e| tracing::warn!("new clients may be reset: {e}")).is_ok()
    }

    fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(socket) => socket.accept().await.and_then(|(client, _)| Stream::tcp(client)),
            Self::Unix(socket) => socket.accept().await.map(|(client, _)| Stream::Unix(client)),
        }
    }
}

/// Has a worker serve a client: most often this one.
fn welcome(proxy: &Arc<Proxy>, stream: Stream, door: Door) {
    let worker = proxy.workers.place();
    let proxy = proxy.clone();
    if worker == WorkerId(0) {
        tokio::spawn(client::serve(proxy, stream, worker, door));
        return;
    }
    let runtime = proxy.workers.runtime(worker);
    runtime.spawn(async move {
        match stream.rehome() {
            Ok(stream) => client::serve(proxy, stream, worker, door).await,
            Err(e) => tracing::warn!("a client could not be moved to its worker: {e}"),
        }
    });
}

/// Accepts until the proxy is to end. To be run on the first worker.
pub async fn accept(proxy: Arc<Proxy>, listener: Listener) -> io::Result<()> {
    let listener = Accepting::new(listener)?;
    let mut phase = proxy.phase();
    loop {
        let now = *phase.borrow_and_update();
        if now.is_ending() {
            accept_rest(&proxy, &listener).await;
            if listener.is_unix() {
                accept_admins(&proxy, &listener).await;
            }
            return Ok(());
        }
        if now == Phase::Suspended {
            let _ = phase.changed().await;
            continue;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.changed() => continue,
        };
        match accepted {
            Ok(stream) => welcome(&proxy, stream, Door::Open),
            Err(e) => {
                // Out of descriptors, most likely: those in use must come back first.
                tracing::warn!("a client could not be accepted: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Accepts those who have connected already: closing the listener would reset them.
async fn accept_rest(proxy: &Arc<Proxy>, listener: &Accepting) {
    let grace = if listener.hand_over() { handover::GRACE } else { AT_ONCE };
    let rest = async {
        while let Ok(stream) = listener.accept().await {
            welcome(proxy, stream, Door::Open);
        }
    };
    let _ = tokio::time::timeout(grace, rest).await;
}

/// Accepts for as long as admins are let in while the process waits for others to leave.
async fn accept_admins(proxy: &Arc<Proxy>, listener: &Accepting) {
    let mut phase = proxy.phase();
    let over = phase.wait_for(|phase| !phase.lets_admins_in());
    let admins = async {
        while let Ok(stream) = listener.accept().await {
            welcome(proxy, stream, Door::ToAdmins);
        }
    };
    tokio::select! {
        _ = over => {}
        () = admins => {}
    }
}
