//! `host:port`, and what may be a host. Nothing is resolved here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("expected host:port, such as \"127.0.0.1:6432\" or \"[::1]:6432\"")]
    Shape,
    #[error("the part before the port is not a host name or an address")]
    Host,
    #[error("the port must be a number from 0 to 65535")]
    Port,
}

/// A host as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written<'a> {
    /// In brackets.
    Bracketed(&'a str),
    /// Without.
    Plain(&'a str),
}

/// `host:port`. Brackets are taken off an IPv6 address.
pub(crate) fn host_port(text: &str) -> Result<(String, u16), AddressError> {
    let (written, number) = split(text).ok_or(AddressError::Shape)?;
    let number = number.ok_or(AddressError::Shape)?;
    let port = port(number).ok_or(AddressError::Port)?;
    match written {
        Written::Plain("*") => Ok(("*".to_owned(), port)),
        Written::Plain(name) if is_name(name) => Ok((name.to_owned(), port)),
        Written::Bracketed(address) if is_ipv6(address) => Ok((address.to_owned(), port)),
        _ => Err(AddressError::Host),
    }
}

/// The host and what follows its colon. `None` for a colon too many: an IPv6 address needs its brackets.
pub(crate) fn split(text: &str) -> Option<(Written<'_>, Option<&str>)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return Some((Written::Bracketed(address), port));
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((Written::Plain(host), Some(port))),
        None => Some((Written::Plain(text), None)),
    }
}

/// Digits alone; Rust's own parser would take a sign.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Whether this may be a host's name or IPv4 address. What looks like an address has to be one, so that
/// `10.0.0.256` is caught here and not by a resolver much later.
pub(crate) fn is_name(text: &str) -> bool {
    let numeric = text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if numeric {
        text.parse::<Ipv4Addr>().is_ok()
    } else {
        text.len() <= 253 && text.starts_with(char::is_alphanumeric) && text.chars().all(allowed)
    }
}

/// Whether this is an IPv6 address, with or without a zone (`fe80::1%eth0`).
pub(crate) fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "zone"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_the_star_are_hosts() {
        assert_eq!(host_port("127.0.0.1:6432"), Ok(("127.0.0.1".into(), 6432)));
        assert_eq!(host_port("db_1.example-host:0"), Ok(("db_1.example-host".into(), 0)));
        assert_eq!(host_port("[::1]:1"), Ok(("::1".into(), 1)));
        assert_eq!(host_port("*:65535"), Ok(("*".into(), 65535)));
    }

    #[test]
    fn what_is_no_address_says_which_part() {
        for text in ["", "localhost", "::1:6432", "[::1]", "[::1", "[::1]6432"] {
            assert_eq!(host_port(text), Err(AddressError::Shape), "{text}");
        }
        for text in ["h:65536", "h:+1", "h:x", "h:", "h:-1", "h:99999999999999999999"] {
            assert_eq!(host_port(text), Err(AddressError::Port), "{text}");
        }
        for text in [":1", "a b:1", "10.0.0.256:1", "[h]:1", "[::1%]:1", "a/b:1", "-a:1"] {
            assert_eq!(host_port(text), Err(AddressError::Host), "{text}");
        }
    }
}
