//! SHOW, by a table: a name, its columns, who may see it, and what fills it.

mod columns;
mod config;
mod databases;
mod lists;
mod pools;
pub(super) mod route;
mod shards;
mod sockets;
mod stats;
mod tables;
mod two_phase;

use super::answer::{Answer, Column, Row, row};
use super::standing::{self, Mode};
use super::{FAKE_SETTINGS, HELP};
use crate::error::ClientError;
use crate::proxy::Proxy;
use columns as c;

pub(super) use columns::ROUTE;

/// One SHOW command.
pub(super) struct Show {
    name: &'static str,
    /// What it answers with; `None`: nothing but a notice.
    pub columns: Option<&'static [Column]>,
    rows: fn(&Proxy) -> Vec<Row>,
}

const fn show(name: &'static str, columns: &'static [Column], rows: fn(&Proxy) -> Vec<Row>) -> Show {
    Show { name, columns: Some(columns), rows }
}

fn none(_: &Proxy) -> Vec<Row> {
    Vec::new()
}

/// Every SHOW. What Shardway has none of (peers, a DNS cache, slabs of memory) is an empty table.
const SHOWS: &[Show] = &[
    Show { name: "help", columns: None, rows: none },
    show("version", c::VERSION, |_| vec![row![concat!("Shardway ", env!("CARGO_PKG_VERSION"))]]),
    show("state", c::STATE, state),
    show("config", c::CONFIG, config::rows),
    show("databases", c::DATABASES, databases::rows),
    show("users", c::USERS, databases::users),
    show("pools", c::POOLS, pools::rows),
    show("clients", c::SOCKETS.split_at(c::PLAIN_SOCKET).0, sockets::clients),
    show("servers", c::SOCKETS.split_at(c::PLAIN_SOCKET).0, sockets::servers),
    show("sockets", c::SOCKETS, sockets::sockets),
    show("active_sockets", c::SOCKETS, sockets::active),
    show("lists", c::LISTS, lists::rows),
    show("stats", c::STATS, stats::stats),
    show("stats_totals", c::STATS_TOTALS, stats::totals),
    show("stats_averages", c::STATS_AVERAGES, stats::averages),
    show("totals", c::TOTALS, stats::all),
    show("mem", c::MEM, none),
    show("dns_hosts", c::DNS_HOSTS, none),
    show("dns_zones", c::DNS_ZONES, none),
    show("peers", c::PEERS, none),
    show("peer_pools", c::PEER_POOLS, none),
    show("shards", c::SHARDS, shards::rows),
    show("replicas", c::REPLICAS, shards::replicas),
    show("tables", c::TABLES, tables::rows),
    show("two_phase", c::TWO_PHASE, two_phase::rows),
];

fn state(proxy: &Proxy) -> Vec<Row> {
    let now = standing::mode(proxy);
    [("active", Mode::Active), ("paused", Mode::Paused), ("suspended", Mode::Suspended)]
        .map(|(key, mode)| row![key, if mode == now { "yes" } else { "no" }])
        .into()
}

impl Show {
    /// By its name in lower case.
    pub fn find(name: &str) -> Option<&'static Self> {
        SHOWS.iter().find(|show| show.name == name)
    }

    /// Looks.
    pub fn answer(&self, proxy: &Proxy) -> Answer {
        let notice = self.columns.is_none().then_some(("Console usage", HELP));
        Answer { notice, ..Answer::rows((self.rows)(proxy)) }
    }
}

/// A parameter that drivers ask for when they connect.
pub(super) fn fake(name: &str) -> Option<(&'static [Column], Answer)> {
    let (_, columns, value) = FAKE_SETTINGS.iter().find(|(known, ..)| *known == name)?;
    Some((columns, Answer::rows(vec![row![*value]])))
}

/// The error for a name that is none of these.
pub(super) fn unknown(name: &str) -> ClientError {
    if name == "fds" {
        let reason = "SHOW FDS hands sockets over to a new process, which Shardway does not do";
        return ClientError::error("0A000", reason).hint("Start the new process beside the old one.");
    }
    ClientError::error("42601", format!("invalid command 'SHOW {name}', use SHOW HELP;"))
}
