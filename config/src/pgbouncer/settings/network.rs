//! Sockets and names.

use std::path::PathBuf;
use std::time::Duration;

use super::chapter::chapter;
use crate::units::seconds;

chapter! {
/// Sockets and names. A 0 leaves a socket option as the system has it.
Network {
    /// How long a resolved name is remembered, in seconds. Default: 15 s.
    dns_max_ttl: Duration = seconds(15), AtRunTime;
    /// How long it is remembered that a name cannot be resolved, in seconds. Default: 15 s.
    dns_nxdomain_ttl: Duration = seconds(15), AtRunTime;
    /// How often a zone's serial number is looked at, in seconds. Default: 0, never.
    dns_zone_check_period: Duration = Duration::ZERO, AtRunTime;
    /// Size of a buffer, in bytes. Default: 4096.
    pkt_buf: usize = 4096, AtStart;
    /// A `resolv.conf` in the place of the system's. Default: none.
    resolv_conf: Option<PathBuf> = None, AtStart;
    /// Buffers that one connection may fill before it is another's turn. Default: 5; 0: no limit.
    sbuf_loopcnt: usize = 5, AtRunTime;
    /// Whether a connection is accepted once there is data on it (`TCP_DEFER_ACCEPT`); any but 0. Default: 1.
    tcp_defer_accept: usize = 1, AtRunTime;
    /// Whether idle connections are probed (`SO_KEEPALIVE`). Default: yes.
    tcp_keepalive: bool = true, AtRunTime;
    /// Probes before a connection counts as lost (`TCP_KEEPCNT`). Default: 0.
    tcp_keepcnt: usize = 0, AtRunTime;
    /// Idle time before the first probe (`TCP_KEEPIDLE`), in whole seconds. Default: 0.
    tcp_keepidle: usize = 0, AtRunTime;
    /// Time between probes (`TCP_KEEPINTVL`), in whole seconds. Default: 0.
    tcp_keepintvl: usize = 0, AtRunTime;
    /// Size of a socket's buffers in the kernel (`SO_SNDBUF`, `SO_RCVBUF`), in bytes. Default: 0.
    tcp_socket_buffer: usize = 0, AtRunTime;
    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`), in milliseconds. Default: 0.
    tcp_user_timeout: usize = 0, AtRunTime;
}
}
