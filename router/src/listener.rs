//! Where clients come in: the first worker accepts them, and serves them itself or has another one do it. Several processes of one user may share a TCP address: the old and
//! the new one in a rolling restart. A Unix socket belongs to one process.

use crate::client;
use crate::proxy::{Phase, Proxy};
use crate::workers::WorkerId;
use shardway_config::Listen;
use shardway_pool::stream::Stream;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The port in a Unix socket's name where no TCP address gives one.
const DEFAULT_PORT: u16 = 6432;

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

impl Bound {
    /// Binds every address. Errors: one is taken or can't be had; in words.
    pub fn bind(listen: &[Listen]) -> Result<Self, String> {
        let mut bound = Self::default();
        for entry in listen {
            if let Listen::Tcp { host, port } = entry {
                bound.tcp.extend(bind_host(host, *port)?);
            }
        }
        let port = bound.tcp.first().map_or(DEFAULT_PORT, |(address, _)| address.port());
        for entry in listen {
            if let Listen::Unix(directory) = entry {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                let socket =
                    bind_unix(&path).map_err(|e| format!("can't listen on {}: {e}", path.display()))?;
                bound.unix.push((SocketFile(path), socket));
            }
        }
        Ok(bound)
    }

    /// The listeners, the addresses for the log, and the socket files, which go when they are dropped.
    pub fn open(self) -> (Vec<Listener>, Vec<String>, Vec<SocketFile>) {
        let tcp = self.tcp.iter().map(|(address, _)| address.to_string());
        let names = tcp.chain(self.unix.iter().map(|(file, _)| file.0.display().to_string())).collect();
        let (files, unix): (Vec<_>, Vec<_>) = self.unix.into_iter().unzip();
        let tcp = self.tcp.into_iter().map(|(_, socket)| Listener::Tcp(socket));
        (tcp.chain(unix.into_iter().map(Listener::Unix)).collect(), names, files)
    }
}

/// A Unix socket's file, removed when nobody listens any more.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.0) {
            tracing::warn!(file = %self.0.display(), "the socket's file can't be removed: {e}");
        }
    }
}

/// Binds what a host's name means. As in Postgres, an address that this machine does not have is no error while
/// another one of that name is there (a container without IPv6).
fn bind_host(host: &str, port: u16) -> Result<Vec<(SocketAddr, std::net::TcpListener)>, String> {
    let addresses = resolve(host, port).map_err(|e| format!("server.listen: {host}: {e}"))?;
    let mut bound = Vec::new();
    let mut missing = format!("server.listen: {host} has no address");
    for address in addresses {
        match bind(address) {
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

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a Unix socket, in the place of one that a dead process left. Anybody may connect, as with Postgres: who
/// gets in is a matter of authentication.
fn bind_unix(path: &Path) -> io::Result<unix::UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        match unix::UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(e) => return Err(e),
        }
    }
    let socket = unix::UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    Ok(socket)
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

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(socket) => socket.accept().await.and_then(|(client, _)| Stream::tcp(client)),
            Self::Unix(socket) => socket.accept().await.map(|(client, _)| Stream::Unix(client)),
        }
    }
}

/// Has a worker serve a client: most often this one.
fn welcome(proxy: &Arc<Proxy>, stream: Stream) {
    let worker = proxy.workers.place();
    let proxy = proxy.clone();
    if worker == WorkerId(0) {
        tokio::spawn(client::serve(proxy, stream, worker));
        return;
    }
    let runtime = proxy.workers.runtime(worker);
    runtime.spawn(async move {
        match stream.rehome() {
            Ok(stream) => client::serve(proxy, stream, worker).await,
            Err(e) => tracing::warn!("a client could not be moved to its worker: {e}"),
        }
    });
}

/// Accepts until the proxy drains. To be run on the first worker.
pub async fn accept(proxy: Arc<Proxy>, listener: Listener) -> io::Result<()> {
    let listener = Accepting::new(listener)?;
    let mut phase = proxy.phase();
    loop {
        if *phase.borrow_and_update() != Phase::Serving {
            return Ok(());
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.changed() => continue,
        };
        match accepted {
            Ok(stream) => welcome(&proxy, stream),
            Err(e) => {
                // Out of descriptors, most likely: those in use must come back first.
                tracing::warn!("a client could not be accepted: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
