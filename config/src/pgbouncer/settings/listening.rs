//! Where clients find the process, and as whom it runs.

use std::path::PathBuf;

use super::chapter::chapter;
use crate::pgbouncer::values::{List, SocketDir, SocketMode};

chapter! {
/// Where clients find the process, and as whom it runs.
Listening {
    /// Path of the main file; another one is read from the next RELOAD on. Default: the file that was read.
    conffile: Option<PathBuf> = None, AtRunTime;
    /// A service's name on Windows (`service_name` is the same). Default: `pgbouncer`.
    job_name: String = "pgbouncer".to_owned(), AtStart;
    /// Names and addresses, commas between; `*`: every address. Default: none, Unix sockets alone.
    listen_addr: List = List::default(), AtStart;
    /// Connections that wait to be accepted, for `listen(2)`. Default: 128.
    listen_backlog: usize = 128, AtStart;
    /// Port, in a Unix socket's name too. Default: 6432.
    listen_port: u16 = 6432, AtStart;
    /// Which of the `[peers]` this process is, 1 to 16383. Default: 0, it has none.
    peer_id: usize = 0, AtRunTime;
    /// A file that holds the process's id while it runs. Default: none.
    pidfile: Option<PathBuf> = None, AtStart;
    /// Whether several processes may listen on one port (`SO_REUSEPORT`). Default: no.
    so_reuseport: bool = false, AtStart;
    /// Where the Unix socket is, and where servers are that have no host. Default: `/tmp`.
    unix_socket_dir: SocketDir = SocketDir::Directory(PathBuf::from("/tmp")), AtStart;
    /// The group that a Unix socket belongs to. Default: the process's own.
    unix_socket_group: Option<String> = None, AtStart;
    /// Permission bits of a Unix socket. Default: 0777.
    unix_socket_mode: SocketMode = SocketMode(0o777), AtStart;
    /// The Unix user that the process turns into once it listens. Default: it stays who it is.
    user: Option<String> = None, AtStart;
}
}

impl Listening {
    /// The names and addresses of `listen_addr`, one by one: commas alone part them.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.listen_addr.as_str().split(',').map(str::trim).filter(|address| !address.is_empty())
    }
}
