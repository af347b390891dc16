//! Several hosts that are as good as each other, as PgBouncer's `host = a,b` has them: which one a new connection goes
//! to (`load_balance_hosts`).

use crate::address::ServerAddress;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The addresses of one database on each of them.
#[derive(Debug)]
pub struct Hosts {
    all: Vec<Arc<ServerAddress>>,
    /// Whether connections take turns; if not, the one that was reached last is next.
    balances: bool,
    next: AtomicUsize,
}

impl Hosts {
    /// Of the addresses; at least one.
    pub fn new(all: Vec<Arc<ServerAddress>>, balances: bool) -> Self {
        Self { all, balances, next: AtomicUsize::new(0) }
    }

    /// All but the first.
    pub fn others(&self) -> &[Arc<ServerAddress>] {
        self.all.get(1..).unwrap_or_default()
    }

    /// All of them, in the order in which a new connection tries them.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = (usize, &Arc<ServerAddress>)> {
        let next = if self.balances {
            self.next.fetch_add(1, Ordering::Relaxed)
        } else {
            self.next.load(Ordering::Relaxed)
        };
        let count = self.all.len();
        (0..count).map(move |step| next.wrapping_add(step) % count).map(|at| (at, &self.all[at]))
    }

    /// The host of this number was reached.
    pub(crate) fn reached(&self, number: usize) {
        if !self.balances {
            self.next.store(number, Ordering::Relaxed);
        }
    }
}

/// Whose turn it is does not count.
impl PartialEq for Hosts {
    fn eq(&self, other: &Self) -> bool {
        self.balances == other.balances && self.all == other.all
    }
}

impl Eq for Hosts {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Connector;
    use shardway_config::{TargetSession, Tcp, TlsFiles, TlsMode};

    fn hosts(balances: bool) -> Hosts {
        let connector = Arc::new(Connector::new(&TlsFiles::default()).unwrap());
        let at = |host: &str| {
            Arc::new(ServerAddress {
                host: host.into(),
                hosts: None,
                target: TargetSession::Any,
                port: 1,
                dbname: "d".into(),
                tls: TlsMode::Disable,
                connector: connector.clone(),
                tcp: Tcp::default(),
            })
        };
        Hosts::new(["a", "b", "c"].map(at).into(), balances)
    }

    fn order(hosts: &Hosts) -> String {
        hosts.in_turn().map(|(_, address)| address.host.as_str()).collect()
    }

    #[test]
    fn connections_take_turns() {
        let hosts = hosts(true);
        assert_eq!(
            [order(&hosts), order(&hosts), order(&hosts), order(&hosts)],
            ["abc", "bca", "cab", "abc"]
        );
        hosts.reached(2);
        assert_eq!(order(&hosts), "bca");
    }

    #[test]
    fn without_turns_the_host_that_was_reached_is_next() {
        let hosts = hosts(false);
        assert_eq!([order(&hosts), order(&hosts)], ["abc", "abc"]);
        hosts.reached(1);
        assert_eq!(order(&hosts), "bca");
    }
}
