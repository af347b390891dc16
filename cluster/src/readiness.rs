//! Whether a server takes connections. The postmaster says so in its pid file, which costs nothing to read
//! every few milliseconds; the proof is then one real connection.

use std::{fs, process::Stdio, time::Duration};

use crate::{HOST, Server};

/// How long a start may take, which may include a recovery, on a busy machine.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(60);

/// Whether the postmaster `pid` is ready for clients.
pub(crate) fn is_ready(server: &Server, pid: Option<u32>) -> bool {
    let file = fs::read_to_string(server.dir.join("postmaster.pid")).unwrap_or_default();
    pid.is_some_and(|pid| says_ready(&file, pid)) && accepts_connections(server)
}

/// postmaster.pid, miscadmin.h: line 1 is the process id (a killed server's file may still lie there),
/// line 8 the status.
fn says_ready(file: &str, pid: u32) -> bool {
    let mut lines = file.lines();
    let same_process = lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid);
    same_process && lines.nth(6).map(str::trim) == Some("ready")
}

fn accepts_connections(server: &Server) -> bool {
    let mut command = server.installation.client("pg_isready");
    command.args(["-q", "-t", "2", "-h", HOST, "-p", &server.port().to_string()]);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::says_ready;

    const FILE: &str = "4711\n/data\n1700000000\n5433\n/data\n127.0.0.1\n  1 2\nready   \n";

    #[test]
    fn the_eighth_line_says_ready() {
        assert!(says_ready(FILE, 4711));
        assert!(!says_ready(&FILE.replace("ready", "starting"), 4711));
    }

    #[test]
    fn a_file_left_by_another_postmaster_says_nothing() {
        assert!(!says_ready(FILE, 4712));
        assert!(!says_ready("", 4711));
    }
}
