//! A server's URL, `postgres://user:password@host:port/dbname?sslmode=…`, as libpq reads it.
//!
//! Stricter where a slip would go unseen: one host per URL, and only the parameters that are honoured. Errors
//! never repeat a part of the URL that may hold a password.

use std::fmt;

use crate::address::{Written, is_ipv6, is_name, port, split as split_host};
use crate::model::{Endpoint, Secret, TlsMode};
use crate::pgbouncer::TargetSession;
use crate::value::quoted;
use crate::words::{self, Words};

/// Postgres's own port.
const DEFAULT_PORT: u16 = 5432;

/// Why a URL is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("a server's URL begins with postgres:// or postgresql://")]
    Scheme,
    #[error(
        "the URL's {0} has a % that does not begin an encoded UTF-8 character (a literal % is written %25)"
    )]
    Encoding(&'static str),
    #[error(
        "the URL's port must be a number from 1 to 65535 \
         (in a password, : / ? @ are written %3A %2F %3F %40)"
    )]
    Port,
    #[error("the URL has no host (a socket's directory is given as ?host=/directory)")]
    NoHost,
    #[error("the URL's host is not a host name or an address (an IPv6 address stands in brackets)")]
    Host,
    #[error("a URL names one host; further servers of a shard go under \"replicas\", each with its URL")]
    ManyHosts,
    #[error("{{shard}} is the only thing replaced in a URL (a literal {{ is written %7B, a }} %7D)")]
    Brace,
    #[error(
        "the URL has an @ after its host (in a password, : / ? @ are written %3A %2F %3F %40; elsewhere an @ is %40)"
    )]
    LateAt,
    #[error("unknown parameter {0} in the URL; known: sslmode, host")]
    Parameter(String),
    #[error("the URL's parameter {0} is given twice")]
    Twice(String),
    #[error("the URL's sslmode must be one of {0}")]
    Sslmode(String),
    #[error("the URL's host parameter is a socket's directory, which begins with /")]
    Directory,
    #[error("the URL names no database, and no user whose name could stand for it")]
    NoDbname,
}

/// The URL's parts as they were written, encoded.
struct Parts<'a> {
    login: Option<&'a str>,
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

/// What the query may say.
#[derive(Default)]
struct Query {
    sslmode: Option<TlsMode>,
    directory: Option<String>,
}

/// Reads a URL in which `{shard}` is already replaced.
pub(crate) fn parse(text: &str) -> Result<Endpoint, UrlError> {
    let parts = split(text).ok_or(UrlError::Scheme)?;
    if [parts.host, parts.path].iter().any(|part| part.contains(['{', '}'])) {
        return Err(UrlError::Brace);
    }
    // The slash or question mark before it was probably part of a password, and what follows it still is.
    if [parts.path, parts.query.unwrap_or_default()].iter().any(|part| part.contains('@')) {
        return Err(UrlError::LateAt);
    }
    let (host, port) = host_and_port(parts.host)?;
    let (user, password) = login(parts.login)?;
    let query = query(parts.query.unwrap_or_default())?;
    let dbname = Some(decode(parts.path, "database")?).filter(|name| !name.is_empty());
    Ok(Endpoint {
        host: query.directory.or(host).ok_or(UrlError::NoHost)?,
        others: Vec::new(),
        balances: false,
        target: TargetSession::Any,
        port: port.unwrap_or(DEFAULT_PORT),
        dbname: dbname.or_else(|| user.clone()).ok_or(UrlError::NoDbname)?,
        user,
        password: password.map(Secret::new),
        sslmode: query.sslmode,
    })
}

/// The database's name with `{shard}` still in it; `None` when the URL names none.
pub(crate) fn dbname_template(text: &str) -> Option<String> {
    let path = split(text)?.path;
    decode(path, "database").ok().filter(|name| !name.is_empty())
}

fn split(text: &str) -> Option<Parts<'_>> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))?;
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    // A host cannot hold an @ but a password that was not encoded can, so the last one divides them.
    let (login, host) =
        authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    Some(Parts { login, host, path, query })
}

fn login(encoded: Option<&str>) -> Result<(Option<String>, Option<String>), UrlError> {
    let (user, password) = encoded.map_or(("", ""), |login| login.split_once(':').unwrap_or((login, "")));
    let some = |text: String| (!text.is_empty()).then_some(text);
    Ok((some(decode(user, "user")?), some(decode(password, "password")?)))
}

fn host_and_port(encoded: &str) -> Result<(Option<String>, Option<u16>), UrlError> {
    if encoded.contains(',') {
        return Err(UrlError::ManyHosts);
    }
    let (written, number) = split_host(encoded).ok_or(UrlError::Host)?;
    let number = number.filter(|number| !number.is_empty());
    let port =
        number.map(|number| port(number).filter(|port| *port > 0).ok_or(UrlError::Port)).transpose()?;
    Ok((host(written)?, port))
}

/// The host, or the socket's directory in its place (`%2Frun%2Fpostgresql`).
fn host(written: Written<'_>) -> Result<Option<String>, UrlError> {
    match written {
        Written::Plain("") => Ok(None),
        Written::Plain(encoded) => {
            let host = decode(encoded, "host")?;
            if host.starts_with('/') || is_name(&host) { Ok(Some(host)) } else { Err(UrlError::Host) }
        }
        Written::Bracketed(encoded) => {
            let address = decode(encoded, "host")?;
            if is_ipv6(&address) { Ok(Some(address)) } else { Err(UrlError::Host) }
        }
    }
}

fn query(encoded: &str) -> Result<Query, UrlError> {
    let mut query = Query::default();
    for pair in encoded.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let given_before = match name {
            "sslmode" => query.sslmode.replace(sslmode(value)?).is_some(),
            "host" => query.directory.replace(directory(value)?).is_some(),
            _ => return Err(UrlError::Parameter(quoted(name))),
        };
        if given_before {
            return Err(UrlError::Twice(name.to_owned()));
        }
    }
    Ok(query)
}

fn sslmode(value: &str) -> Result<TlsMode, UrlError> {
    words::choice(value, TlsMode::WORDS).ok_or_else(|| UrlError::Sslmode(words::list(TlsMode::WORDS)))
}

fn directory(value: &str) -> Result<String, UrlError> {
    let directory = decode(value, "host")?;
    if directory.starts_with('/') { Ok(directory) } else { Err(UrlError::Directory) }
}

/// Percent-decoding. A plus is a plus.
fn decode(encoded: &str, part: &'static str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let decoded = if byte == b'%' {
            hex(rest.next()).zip(hex(rest.next())).map(|(h, l)| h << 4 | l)
        } else {
            Some(byte)
        };
        bytes.push(decoded.filter(|byte| *byte != 0).ok_or(UrlError::Encoding(part))?);
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Encoding(part))
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

/// `host:port/dbname`: which database it is, without the login.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { host, others, port, dbname, .. } = self;
        if host.contains(':') {
            write!(f, "[{host}]")?;
        } else {
            f.write_str(host)?;
        }
        others.iter().try_for_each(|other| write!(f, ",{other}"))?;
        write!(f, ":{port}/{dbname}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_url_is_taken_apart_and_decoded() {
        let endpoint =
            parse("postgresql://a%40b:p%3Aw%C3%BC@db.example:6000/my%20db?sslmode=verify-full").unwrap();
        assert_eq!(endpoint.user.as_deref(), Some("a@b"));
        assert_eq!(endpoint.password.as_ref().map(Secret::expose), Some("p:wü"));
        assert_eq!(endpoint.sslmode, Some(TlsMode::VerifyFull));
        assert_eq!(endpoint.to_string(), "db.example:6000/my db");
    }

    #[test]
    fn what_is_left_out_is_as_in_libpq() {
        let endpoint = parse("postgres://app@10.0.0.1").unwrap();
        assert_eq!(endpoint.to_string(), "10.0.0.1:5432/app");
        assert_eq!((endpoint.password, endpoint.sslmode), (None, None));
        assert_eq!(parse("postgres://10.0.0.1/"), Err(UrlError::NoDbname));
        assert_eq!(parse("postgres://:pw@h:/d").unwrap().to_string(), "h:5432/d");
    }

    #[test]
    fn ipv6_hosts_stand_in_brackets() {
        let endpoint = parse("postgres://[fe80::1%25eth0]:5433/d").unwrap();
        assert_eq!(endpoint.host, "fe80::1%eth0");
        assert_eq!(endpoint.to_string(), "[fe80::1%eth0]:5433/d");
        assert_eq!(parse("postgres://::1/d"), Err(UrlError::Host));
        assert_eq!(parse("postgres://[h]/d"), Err(UrlError::Host));
    }

    #[test]
    fn a_socket_directory_is_a_host() {
        assert_eq!(parse("postgres:///d?host=/run/pg").unwrap().host, "/run/pg");
        assert_eq!(parse("postgres://u@localhost:5433/d?host=%2Frun").unwrap().to_string(), "/run:5433/d");
        assert_eq!(parse("postgres://%2Frun%2Fpg/d").unwrap().host, "/run/pg");
        assert_eq!(parse("postgres:///d?host=name"), Err(UrlError::Directory));
        assert_eq!(parse("postgres:///d"), Err(UrlError::NoHost));
    }

    #[test]
    fn other_parameters_are_named() {
        let error = parse("postgres://h/d?sslmode=require&connect_timeout=3").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown parameter \"connect_timeout\" in the URL; known: sslmode, host"
        );
        assert_eq!(
            parse("postgres://h/d?sslmode=no").unwrap_err().to_string(),
            "the URL's sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full"
        );
        assert_eq!(parse("postgres://h/d?host=/a&host=/b"), Err(UrlError::Twice("host".into())));
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(parse("mysql://h/d"), Err(UrlError::Scheme));
        assert_eq!(parse("h:5432/d"), Err(UrlError::Scheme));
        assert_eq!(parse("postgres://h:0/d"), Err(UrlError::Port));
        assert_eq!(parse("postgres://h:65536/d"), Err(UrlError::Port));
        assert_eq!(parse("postgres://h,i/d"), Err(UrlError::ManyHosts));
        assert_eq!(parse("postgres://h h/d"), Err(UrlError::Host));
        assert_eq!(parse("postgres://h/d_{Shard}"), Err(UrlError::Brace));
        for text in
            ["postgres://h/%", "postgres://h/%4", "postgres://h/%zz", "postgres://h/%FF", "postgres://h/%00"]
        {
            assert_eq!(parse(text), Err(UrlError::Encoding("database")), "{text}");
        }
    }

    #[test]
    fn no_error_repeats_a_password() {
        let passwords = [
            "hunter/2",
            "hun?ter2",
            "12?hunter",
            "hunter%",
            "hunter:2/x",
            "12/hunter?34",
            "{hunter}/",
            "5?hunter=3",
            "5/hunter",
        ];
        for password in passwords {
            let error = parse(&format!("postgres://app:{password}@h/d")).unwrap_err().to_string();
            assert!(!error.contains("hun"), "{password}: {error}");
        }
    }

    #[test]
    fn an_at_sign_in_a_password_is_forgiven() {
        let endpoint = parse("postgres://app:p@ss@h/d").unwrap();
        assert_eq!(endpoint.password.unwrap().expose(), "p@ss");
        assert_eq!(endpoint.host, "h");
    }
}
