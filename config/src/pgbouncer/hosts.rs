//! `host`: where servers are.

use std::fmt;
use std::path::PathBuf;

use crate::address::{is_ipv6, is_name};
use crate::value::quoted;

/// One host of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Name or address; an IPv6 address is without brackets.
    Name(String),
    /// Directory of a Unix socket, from `/`.
    Directory(PathBuf),
    /// A Unix socket in the abstract namespace, by the name behind the `@`.
    Abstract(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Directory(path) => path.display().fmt(f),
            Host::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

/// A list of hosts with commas between. Errors: which of them is none.
pub(super) fn hosts(text: &str) -> Result<Vec<Host>, String> {
    text.split(',').map(host).collect()
}

fn host(text: &str) -> Result<Host, String> {
    if let Some(name) = text.strip_prefix('@') {
        return Ok(Host::Abstract(name.to_owned()));
    }
    if text.starts_with('/') {
        return Ok(Host::Directory(PathBuf::from(text)));
    }
    // DNS has names that begin with an underscore, though not for hosts.
    if is_ipv6(text) || is_name(text.trim_start_matches('_')) {
        return Ok(Host::Name(text.to_owned()));
    }
    Err(format!("expected a host name, an address or the directory of a socket, found {}", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_addresses_and_sockets() {
        let text = "db.example,10.0.0.1,2001:db8::1,/run/postgresql,@pg,_x";
        let shown: Vec<String> = hosts(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown.join(","), text);
        assert_eq!(hosts("/run").unwrap(), [Host::Directory("/run".into())]);
    }

    #[test]
    fn what_is_no_host_is_named() {
        for text in ["", "a,", "a, b", "port=7", "x\tport=7", "10.0.0.256", "h:5432", "[::1]", "_"] {
            assert!(hosts(text).is_err(), "{text}");
        }
        assert_eq!(
            hosts("a,b c").unwrap_err(),
            "expected a host name, an address or the directory of a socket, found \"b c\""
        );
    }
}
