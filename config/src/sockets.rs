//! The sockets that clients connect to: how many may wait there, who may share them, when a silent one is given up.

use std::time::Duration;

use crate::section::Section;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 4096;

/// How the sockets are that clients connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Whether other processes of the same user may listen on the same port (`SO_REUSEPORT`).
    pub so_reuseport: bool,
    /// Connections that may wait to be accepted.
    pub listen_backlog: usize,
    /// The port in a Unix socket's name; `None`: the first TCP address's, or 6432.
    pub unix_socket_port: Option<u16>,
    /// Permission bits of a Unix socket.
    pub unix_socket_mode: u32,
    /// The group that a Unix socket belongs to; `None`: the process's own.
    pub unix_socket_group: Option<String>,
    /// What TCP connections are like, those to servers too.
    pub tcp: Tcp,
    /// Whether a TCP connection is accepted once there is data on it.
    pub tcp_defer_accept: bool,
}

/// What TCP connections are like. Zero: as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Whether and how silent ones are probed; `None`: they are not.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged.
    pub user_timeout: Duration,
    /// Bytes of the buffers in the kernel.
    pub socket_buffer: usize,
}

/// How silent connections are probed. Zero: as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes before a connection counts as lost.
    pub count: u32,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            so_reuseport: true,
            listen_backlog: BACKLOG,
            unix_socket_port: None,
            unix_socket_mode: 0o777,
            unix_socket_group: None,
            tcp: Tcp::default(),
            tcp_defer_accept: false,
        }
    }
}

pub(crate) fn read(section: &mut Section<'_>) -> Sockets {
    let default = Sockets::default();
    Sockets {
        so_reuseport: section.flag("so_reuseport", default.so_reuseport),
        listen_backlog: section.count("listen_backlog", default.listen_backlog),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::config;

    #[test]
    fn ports_are_shared_unless_that_is_forbidden() {
        let shared = |text: &str| config(text).server.sockets.so_reuseport;
        assert!(shared(""));
        assert!(!shared("[server]\nso_reuseport = false"));
        assert_eq!(config("[server]\nlisten_backlog = 7").server.sockets.listen_backlog, 7);
    }
}
