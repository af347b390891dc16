//! `[peers]`: the other processes of a group, which cancel requests are passed on to.

use crate::problems::Place;
use crate::value::quoted;

use super::hosts::{Host, hosts};
use super::options::options;
use super::report::{Piece, Report};
use super::values::whole;

/// Largest `peer_id`.
pub(super) const LARGEST_ID: usize = 16_383;

/// One line of `[peers]`. The process's own entry may be among them, and counts for nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its `peer_id`, 1 to 16383.
    pub id: u16,
    /// Where the entry stands.
    pub place: Place,
    /// Where it is.
    pub host: Host,
    /// Its port. Default: 6432.
    pub port: u16,
    /// Cancel requests to it at once; `None`: `default_pool_size`.
    pub pool_size: Option<usize>,
}

/// Reads an entry; `None`: it was reported what is wrong.
pub(super) fn read(name: &Piece, value: &Piece, report: &Report) -> Option<Peer> {
    let (mut host, mut port, mut pool_size) = (Vec::new(), 6432, None);
    let id = id(name, report);
    let mut named = false;
    for option in options(value, report) {
        match option.key().as_str() {
            "host" => {
                named = true;
                host = option.parsed(one_host).unwrap_or_default();
            }
            "port" => port = option.port().unwrap_or(port),
            "pool_size" => pool_size = option.size(),
            _ => option.unknown("peers", &["host", "port", "pool_size"]),
        }
    }
    if !named {
        report.problem(&name.place, "a peer needs \"host\"");
    }
    Some(Peer { id: id?, place: name.place.clone(), host: host.pop()?, port, pool_size })
}

fn id(name: &Piece, report: &Report) -> Option<u16> {
    let number = whole(&name.text).ok().filter(|id| (1..=LARGEST_ID as i64).contains(id));
    let id = number.and_then(|id| u16::try_from(id).ok());
    if id.is_none() {
        let found = quoted(&name.text);
        report
            .problem(&name.place, format!("a peer's name is a number from 1 to {LARGEST_ID}, found {found}"));
    }
    id
}

fn one_host(text: &str) -> Result<Vec<Host>, String> {
    match hosts(text)? {
        hosts if hosts.len() == 1 => Ok(hosts),
        _ => Err("a peer has one host".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgbouncer::testing::{problems, read};

    #[test]
    fn peers_are_found_by_number() {
        let peers = read("[peers]\n1 = host=/tmp/a\n2 = host=b port=5555 pool_size=7\n").peers;
        assert_eq!(
            (peers[0].id, &peers[0].host, peers[0].port),
            (1, &Host::Directory("/tmp/a".into()), 6432)
        );
        assert_eq!((peers[1].id, &peers[1].host, peers[1].port), (2, &Host::Name("b".into()), 5555));
        assert_eq!((peers[0].pool_size, peers[1].pool_size), (None, Some(7)));
    }

    #[test]
    fn a_peer_has_a_number_and_one_host() {
        assert_eq!(
            problems(
                "[peers]\n0 = host=a\nx = host=a\n16384 = host=a\n1 = port=0\n2 = host=a,b\n3 = user=x host=a\n"
            ),
            "p.ini:6:1: a peer's name is a number from 1 to 16383, found \"0\"\n\
             p.ini:7:1: a peer's name is a number from 1 to 16383, found \"x\"\n\
             p.ini:8:1: a peer's name is a number from 1 to 16383, found \"16384\"\n\
             p.ini:9:1: a peer needs \"host\"\n\
             p.ini:9:10: the port must be a number from 1 to 65535, found \"0\"\n\
             p.ini:10:10: a peer has one host\n\
             p.ini:11:5: unknown option \"user\" in [peers]"
        );
    }
}
