//! The log of the system, as a destination of ours: PgBouncer's `syslog`, `syslog_ident` and `syslog_facility`.
//!
//! Source: RFC 3164, in the form in which libraries write to `/dev/log`.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the system's log listens.
pub const SOCKET: &str = "/dev/log";

/// Facilities by PgBouncer's words.
const FACILITIES: [(&str, u8); 12] = [
    ("auth", 4),
    ("authpriv", 10),
    ("daemon", 3),
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// A connection to it.
#[derive(Debug)]
pub struct Syslog {
    socket: UnixDatagram,
    facility: u8,
    ident: String,
}

impl Syslog {
    /// Connects to the socket at `path`. A facility that is unknown is `daemon`, as with PgBouncer. Errors: nobody listens.
    pub fn connect(path: &Path, facility: &str, ident: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // What the log can't take right now is lost: nobody is to wait for it.
        socket.set_nonblocking(true)?;
        let known = FACILITIES.iter().find(|(name, _)| facility.eq_ignore_ascii_case(name));
        Ok(Self { socket, facility: known.map_or(3, |(_, number)| *number), ident: ident.to_owned() })
    }

    /// Sends one line.
    pub fn write(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let priority = u16::from(self.facility) * 8 + severity(&text);
        let (time, pid) = (time(), std::process::id());
        let message = format!("<{priority}>{time}{}[{pid}]: {}", self.ident, text.trim_end());
        // There is nowhere to tell.
        let _ = self.socket.send(message.as_bytes());
    }
}

/// The severity of a line by the level in it.
fn severity(line: &str) -> u16 {
    let levels = [("ERROR", 3), ("WARN", 4), ("DEBUG", 7), ("TRACE", 7)];
    let head = line.get(..60).unwrap_or(line);
    levels.iter().find(|(level, _)| head.contains(level)).map_or(6, |(_, severity)| *severity)
}

/// The local time as in `Oct  3 10:15:32 `; empty, for whoever reads to fill in, if there is none.
fn time() -> String {
    let mut parts = MaybeUninit::<libc::tm>::uninit();
    let mut text = [0u8; 32];
    // SAFETY: each pointer is good for what is written to it; `parts` is read only if it was filled in.
    let written = unsafe {
        let now = libc::time(std::ptr::null_mut());
        if libc::localtime_r(&now, parts.as_mut_ptr()).is_null() {
            return String::new();
        }
        libc::strftime(text.as_mut_ptr().cast(), text.len(), c"%b %e %T ".as_ptr(), parts.as_ptr())
    };
    let text = text.get(..=written).and_then(|text| CStr::from_bytes_until_nul(text).ok());
    text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_out_with_facility_severity_name_and_number() {
        let path = std::env::temp_dir().join(format!("shardway-syslog-{}", std::process::id()));
        let log = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::connect(&path, "Local1", "pool").unwrap();
        syslog.write(b"2026-01-01T00:00:00Z  WARN all is not well\n");
        let mut bytes = [0; 200];
        let length = log.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        std::fs::remove_file(&path).unwrap();
        let (head, tail) = text.split_at("<140>Oct  3 10:15:32 ".len());
        assert!(head.starts_with("<140>") && head.ends_with(' '), "{text}");
        let line = format!("pool[{}]: 2026-01-01T00:00:00Z  WARN all is not well", std::process::id());
        assert_eq!(tail, line);
        assert!(Syslog::connect(Path::new("/nowhere/at/all"), "daemon", "x").is_err());
    }

    #[test]
    fn severities_are_those_of_the_levels() {
        for (line, number) in [("x ERROR y", 3), ("x  WARN y", 4), ("x  INFO y", 6), ("x DEBUG y", 7)] {
            assert_eq!(severity(line), number, "{line}");
        }
    }
}
