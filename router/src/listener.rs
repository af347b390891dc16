//! Accepting clients: each worker listens on the same addresses and keeps what it accepts (SO_REUSEPORT), so that a
//! client's whole life is on one thread.

use crate::client;
use crate::proxy::{Phase, Proxy};
use shardway_config::Listen;
use shardway_pool::stream::Stream;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Binds an address for one of several listeners. Errors: the address is taken by another program, or can't be had.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
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

/// The addresses that a setting means. Errors: the name can't be resolved, or sockets of this kind are not supported.
pub fn resolve(listen: &Listen) -> io::Result<Vec<SocketAddr>> {
    match listen {
        Listen::Tcp { host, port } if host == "*" => {
            Ok(vec![SocketAddr::from(([0, 0, 0, 0], *port)), SocketAddr::from(([0u16; 8], *port))])
        }
        Listen::Tcp { host, port } => Ok((host.as_str(), *port).to_socket_addrs()?.collect()),
        Listen::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "unix sockets are not supported yet")),
    }
}

/// Accepts until the proxy drains. To be run on the worker that is to serve the clients.
pub async fn accept(proxy: Arc<Proxy>, listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut phase = proxy.phase();
    loop {
        if *phase.borrow_and_update() != Phase::Serving {
            return Ok(());
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.changed() => continue,
        };
        match accepted.and_then(|(socket, _)| Stream::tcp(socket)) {
            Ok(stream) => {
                tokio::spawn(client::serve(proxy.clone(), stream));
            }
            Err(e) => {
                // Out of descriptors, most likely: those in use must come back first.
                tracing::warn!("a client could not be accepted: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
