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
//! | `tls` | empty | not told |
//! | `load_balance_hosts`; a database's `pool_mode` | NULL | neither is set by database |
//! | `max_client_connections`, `max_user_client_connections` | 0 | there are no such limits |
//! | a user's `pool_size`, `reserve_pool_size` | empty | without a size of its own |
//! | `port` of a database | NULL | if its shards have several; `host` and `database` list them |
//! | `cl_*_cancel_req`, `sv_*cancel*` | 0 | cancels are sent beside the pools, at once |
//! | `sv_used`, `sv_tested` | 0 | a server is asked when it is lent; until then it is idle |
//! | `close_needed` | 0 | RECONNECT takes such servers out of SHOW at once; WAIT_CLOSE waits for them |
//! | `recv_pos` … `send_avail` | 0 | buffers are lent while there is work |
//! | `free_clients`, `free_servers`, `dns_*`, `peers` | 0 | nothing of the kind is kept |
//! | SHOW MEM, DNS_HOSTS, DNS_ZONES, PEERS, PEER_POOLS | no rows | the same |
//! | `paused` | 0 | nothing can be paused yet |
//! | the admin database's sizes and limits | 0 | it has no servers |
//!
//! What Shardway does not count yet is NULL; `gather` says what that is.

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
pub mod tally;
mod tokens;

use answer::{Column, Type};
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
\tSHOW SHARDS|REPLICAS|TABLES
\tSHOW ROUTE '<statement>'
\tSET key = arg
\tRELOAD
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tWAIT_CLOSE [<db>]
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS";
