//! The admin database `shardway`, also called `pgbouncer`: PgBouncer's commands with the columns that its version
//! 1.25 has, so that its exporters and dashboards go on working, and a few of our own.
//!
//! `command` reads a text, `show` is the table of what can be shown, `run` carries out the rest, `console` and
//! `extended` speak the protocol. [`desk`] keeps what lies between commands; `gather` fills [`snapshot`]'s rows.
//!
//! Where a column of PgBouncer's means nothing here, it has what PgBouncer prints for "none":
//!
//! | columns | value | because |
//! |---|---|---|
//! | `replication` | `none` | replication connections are refused |
//! | a user's `pool_size`, `reserve_pool_size` | empty | without a size of its own |
//! | `port` of a database | NULL | if its shards have several; `host` and `database` list them |
//! | `cl_*_cancel_req`, `sv_*cancel*` | 0 | cancels are sent beside the pools, at once |
//! | `sv_tested` | 0 | a server is asked when it is lent, and counts as active then |
//! | `recv_pos` … `send_avail` | 0 | buffers are lent while there is work |
//! | `free_clients`, `free_servers`, `dns_*`, `peers` | 0 | nothing of the kind is kept |
//! | SHOW MEM, DNS_HOSTS, DNS_ZONES, PEERS, PEER_POOLS | no rows | the same |
//! | the admin database's sizes and limits | those of any, `pool_size` 2 | it has no servers |
//!
//! A database spread over shards counts as one: its pools are all those of all its shards.

mod answer;
pub mod clients;
mod clock;
mod command;
mod console;
pub mod desk;
mod extended;
mod gather;
mod run;
mod settings;
mod show;
pub mod snapshot;
pub mod standing;
pub mod tally;
mod tokens;

use answer::{Column, Type};
pub(crate) use clock::timestamp;
pub(crate) use console::serve;
pub use desk::{Desk, keep_stats};

/// Session parameters that drivers ask for or set when they connect; here they mean nothing.
const FAKE_SETTINGS: &[(&str, &[Column], &str)] = &[
    ("application_name", &[("application_name", Type::Text)], ""),
    ("client_encoding", &[("client_encoding", Type::Text)], "UTF-8"),
    ("client_min_messages", &[("client_min_messages", Type::Text)], "notice"),
    ("datestyle", &[("datestyle", Type::Text)], "ISO"),
    ("default_transaction_isolation", &[("default_transaction_isolation", Type::Text)], "read committed"),
    ("extra_float_digits", &[("extra_float_digits", Type::Text)], "2"),
    ("standard_conforming_strings", &[("standard_conforming_strings", Type::Text)], "on"),
    ("statement_timeout", &[("statement_timeout", Type::Text)], "0"),
    ("timezone", &[("timezone", Type::Text)], "GMT"),
];

/// What SHOW HELP says.
const HELP: &str = "
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
\tSHOW PEERS|PEER_POOLS
\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
\tSHOW SHARDS|REPLICAS|TABLES|TWO_PHASE
\tSHOW ROUTE '<statement>'
\tSET key = arg
\tRELOAD
\tPAUSE [<db>]
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <client_id>
\tSUSPEND
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
\tWAIT_CLOSE [<db>]";
