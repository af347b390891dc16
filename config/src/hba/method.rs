//! How a rule's connections prove who they are, and the options behind that.

use super::ident::{Maps, UserMap};
use super::record::Kind;
use super::words::Word;
use crate::context::{Checked, Context};
use crate::suggest::nearest;
use crate::value::quoted;

/// How a connection proves who it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// It can't: it is turned away.
    Reject,
    /// By MD5 challenge, or by SCRAM where that is how the user's password is stored.
    Md5,
    /// By the password in clear.
    Password,
    /// By SCRAM-SHA-256.
    Scram,
    /// By the operating system's user at the other end of the Unix socket.
    Peer(UserMap),
    /// By the CN of the TLS certificate it shows.
    Cert(UserMap),
}

/// What else a connection by TLS has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCert {
    /// A certificate that a trusted CA signed.
    VerifyCa,
    /// As [`ClientCert::VerifyCa`], with a CN that is, or is mapped to, the user.
    VerifyFull,
}

/// The words for methods that work.
const METHODS: [&str; 7] = ["trust", "reject", "md5", "password", "scram-sha-256", "peer", "cert"];

/// The words for methods that PostgreSQL has too.
const ELSEWHERE: [&str; 8] = ["ident", "gss", "sspi", "pam", "ldap", "radius", "bsd", "oauth"];

/// What stands behind the addresses.
pub(super) struct Proof {
    pub(super) method: Method,
    pub(super) client_cert: Option<ClientCert>,
}

/// Reads a method and its options.
pub(super) fn read(
    context: &Context<'_>,
    kind: Kind,
    method: &Word,
    options: &[Word],
    maps: Option<&Maps>,
) -> Checked<Proof> {
    let named = named(context, kind, method)?;
    let options = Options::read(context, options)?;
    let (method, client_cert) = (options.apply(context, named, maps), options.client_cert(context, kind));
    Ok(Proof { method: method?, client_cert: client_cert? })
}

fn named(context: &Context<'_>, kind: Kind, word: &Word) -> Checked<Method> {
    let refuse = |message: String| Err(context.report(word.at, message));
    match word.text.as_str() {
        "trust" => Ok(Method::Trust),
        "reject" => Ok(Method::Reject),
        "md5" => Ok(Method::Md5),
        "password" => Ok(Method::Password),
        "scram-sha-256" => Ok(Method::Scram),
        "peer" if kind == Kind::Local => Ok(Method::Peer(UserMap::Same)),
        "peer" => refuse("peer is for local records: only a Unix socket knows its peer".to_owned()),
        "cert" if matches!(kind, Kind::Host | Kind::HostSsl) => Ok(Method::Cert(UserMap::Same)),
        "cert" => refuse(format!("cert is not for {kind} records: a certificate comes with TLS alone")),
        "ident" => refuse("the method ident is not supported; for Unix sockets there is peer".to_owned()),
        other if ELSEWHERE.contains(&other) => refuse(format!("the method {other} is not supported")),
        other => {
            let near = nearest(other, &METHODS).map(|near| format!("; did you mean {near}?"));
            let (methods, near) = (METHODS.join(", "), near.unwrap_or_default());
            refuse(format!("expected one of {methods}, found {}{near}", quoted(other)))
        }
    }
}

/// Options by name, each at most once.
struct Options<'a> {
    map: Option<(&'a Word, &'a str)>,
    client_cert: Option<(&'a Word, &'a str)>,
}

impl<'a> Options<'a> {
    fn read(context: &Context<'_>, words: &'a [Word]) -> Checked<Self> {
        let mut options = Self { map: None, client_cert: None };
        for word in words {
            let refuse = |message: String| Err(context.report(word.at, message));
            let (name, place) = match word.text.split_once('=') {
                Some(("map", value)) => (value, &mut options.map),
                Some(("clientcert", value)) => (value, &mut options.client_cert),
                Some((other, _)) => {
                    let other = quoted(other);
                    return refuse(format!("unknown option {other}; there are map and clientcert"));
                }
                None => return refuse(format!("expected name=value, found {}", quoted(&word.text))),
            };
            if place.replace((word, name)).is_some() {
                return refuse("this option is given twice".to_owned());
            }
        }
        Ok(options)
    }

    /// The method with its map.
    fn apply(&self, context: &Context<'_>, method: Method, maps: Option<&Maps>) -> Checked<Method> {
        let Some((word, name)) = self.map else { return Ok(method) };
        let map = || match maps.map(|maps| maps.get(name)) {
            Some(Some(map)) => Ok(UserMap::Map(map)),
            Some(None) => {
                Err(context.report(word.at, format!("there is no map {} in ident_file", quoted(name))))
            }
            None => Err(context.report(word.at, "map= needs \"ident_file\" in [server]")),
        };
        match method {
            Method::Peer(_) => map().map(Method::Peer),
            Method::Cert(_) => map().map(Method::Cert),
            _ => {
                Err(context
                    .report(word.at, "map= is for peer and cert: other methods give no name of their own"))
            }
        }
    }

    fn client_cert(&self, context: &Context<'_>, kind: Kind) -> Checked<Option<ClientCert>> {
        let Some((word, value)) = self.client_cert else { return Ok(None) };
        if kind != Kind::HostSsl {
            return Err(context.report(word.at, "clientcert= is for hostssl records alone"));
        }
        match value {
            "verify-ca" => Ok(Some(ClientCert::VerifyCa)),
            "verify-full" => Ok(Some(ClientCert::VerifyFull)),
            _ => {
                let message =
                    format!("expected clientcert=verify-ca or verify-full, found {}", quoted(value));
                Err(context.report(word.at, message))
            }
        }
    }
}
