//! What the tests of this module share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{Hba, Method, Origin, Peer};
use crate::problems::Problems;

/// Files by path; `hba` and `ident` are read.
pub(super) fn read_all(files: &[(&str, &str)]) -> Result<Hba, Problems> {
    let files: HashMap<PathBuf, Vec<u8>> =
        files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
    let ident = Path::new("ident");
    Hba::read(Path::new("hba"), files.contains_key(ident).then_some(ident), &files)
}

pub(super) fn read(text: &str) -> Hba {
    read_all(&[("hba", text)]).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(super) fn problems(text: &str) -> String {
    problems_of(&[("hba", text)])
}

pub(super) fn problems_of(files: &[(&str, &str)]) -> String {
    read_all(files).unwrap_err().to_string()
}

/// A connection: `local`, or an address with `+tls` behind it or not.
pub(super) fn peer<'a>(from: &str, database: &'a str, user: &'a str) -> Peer<'a> {
    let (address, tls) = from.strip_suffix("+tls").map_or((from, false), |address| (address, true));
    let origin = match address {
        "local" => Origin::Local,
        ip => Origin::Tcp(ip.parse::<IpAddr>().unwrap()),
    };
    Peer { origin, tls, database, user }
}

/// The method for a connection; `none` where no rule matches.
pub(super) fn method(hba: &Hba, from: &str, database: &str, user: &str) -> &'static str {
    match hba.decide(&peer(from, database, user)).map(|rule| &rule.method) {
        None => "none",
        Some(Method::Trust) => "trust",
        Some(Method::Reject) => "reject",
        Some(Method::Md5) => "md5",
        Some(Method::Password) => "password",
        Some(Method::Scram) => "scram-sha-256",
        Some(Method::Peer(_)) => "peer",
        Some(Method::Cert(_)) => "cert",
    }
}
