//! Column names, order and types: PgBouncer 1.25's (its `src/admin.c`, `src/stats.c`), and those of our own commands.

use crate::admin::answer::Column;
use crate::admin::answer::Type::{Int4, Int8, Numeric, Text};

pub(super) const VERSION: &[Column] = &[("version", Text)];

pub(super) const STATE: &[Column] = &[("key", Text), ("value", Text)];

pub(super) const CONFIG: &[Column] =
    &[("key", Text), ("value", Text), ("default", Text), ("changeable", Text)];

pub(super) const LISTS: &[Column] = &[("list", Text), ("items", Int4)];

pub(super) const MEM: &[Column] =
    &[("name", Text), ("size", Int4), ("used", Int4), ("free", Int4), ("memtotal", Int4)];

pub(super) const DNS_HOSTS: &[Column] = &[("hostname", Text), ("ttl", Int8), ("addrs", Text)];

pub(super) const DNS_ZONES: &[Column] = &[("zonename", Text), ("serial", Int8), ("count", Int4)];

pub(super) const PEERS: &[Column] = &[("peer_id", Int4), ("host", Text), ("port", Int4), ("pool_size", Int4)];

pub(super) const PEER_POOLS: &[Column] = &[
    ("peer_id", Int4),
    ("cl_active_cancel_req", Int4),
    ("cl_waiting_cancel_req", Int4),
    ("sv_active_cancel", Int4),
    ("sv_login", Int4),
];

pub(super) const DATABASES: &[Column] = &[
    ("name", Text),
    ("host", Text),
    ("port", Int4),
    ("database", Text),
    ("force_user", Text),
    ("pool_size", Int4),
    ("min_pool_size", Int4),
    ("reserve_pool_size", Int4),
    ("server_lifetime", Int4),
    ("pool_mode", Text),
    ("load_balance_hosts", Text),
    ("max_connections", Int4),
    ("current_connections", Int4),
    ("max_client_connections", Int4),
    ("current_client_connections", Int4),
    ("paused", Int4),
    ("disabled", Int4),
];

pub(super) const USERS: &[Column] = &[
    ("name", Text),
    ("pool_size", Text),
    ("reserve_pool_size", Text),
    ("pool_mode", Text),
    ("max_user_connections", Int4),
    ("current_connections", Int4),
    ("max_user_client_connections", Int4),
    ("current_client_connections", Int4),
];

pub(super) const POOLS: &[Column] = &[
    ("database", Text),
    ("user", Text),
    ("cl_active", Int4),
    ("cl_waiting", Int4),
    ("cl_active_cancel_req", Int4),
    ("cl_waiting_cancel_req", Int4),
    ("sv_active", Int4),
    ("sv_active_cancel", Int4),
    ("sv_being_canceled", Int4),
    ("sv_idle", Int4),
    ("sv_used", Int4),
    ("sv_tested", Int4),
    ("sv_login", Int4),
    ("maxwait", Int4),
    ("maxwait_us", Int4),
    ("pool_mode", Text),
    ("load_balance_hosts", Text),
];

/// SHOW SOCKETS; SHOW CLIENTS and SHOW SERVERS have the first [`PLAIN_SOCKET`] of them.
pub(super) const SOCKETS: &[Column] = &[
    ("type", Text),
    ("user", Text),
    ("database", Text),
    ("replication", Text),
    ("state", Text),
    ("addr", Text),
    ("port", Int4),
    ("local_addr", Text),
    ("local_port", Int4),
    ("connect_time", Text),
    ("request_time", Text),
    ("wait", Int4),
    ("wait_us", Int4),
    ("close_needed", Int4),
    ("ptr", Text),
    ("link", Text),
    ("remote_pid", Int4),
    ("tls", Text),
    ("application_name", Text),
    ("prepared_statements", Int4),
    ("id", Int4),
    ("recv_pos", Int4),
    ("pkt_pos", Int4),
    ("pkt_remain", Int4),
    ("send_pos", Int4),
    ("send_remain", Int4),
    ("pkt_avail", Int4),
    ("send_avail", Int4),
];

pub(super) const PLAIN_SOCKET: usize = 21;

pub(super) const STATS: &[Column] = &[
    ("database", Text),
    ("total_server_assignment_count", Numeric),
    ("total_xact_count", Numeric),
    ("total_query_count", Numeric),
    ("total_received", Numeric),
    ("total_sent", Numeric),
    ("total_xact_time", Numeric),
    ("total_query_time", Numeric),
    ("total_wait_time", Numeric),
    ("total_client_parse_count", Numeric),
    ("total_server_parse_count", Numeric),
    ("total_bind_count", Numeric),
    ("avg_server_assignment_count", Numeric),
    ("avg_xact_count", Numeric),
    ("avg_query_count", Numeric),
    ("avg_recv", Numeric),
    ("avg_sent", Numeric),
    ("avg_xact_time", Numeric),
    ("avg_query_time", Numeric),
    ("avg_wait_time", Numeric),
    ("avg_client_parse_count", Numeric),
    ("avg_server_parse_count", Numeric),
    ("avg_bind_count", Numeric),
];

pub(super) const STATS_TOTALS: &[Column] = &[
    ("database", Text),
    ("server_assignment_count", Numeric),
    ("xact_count", Numeric),
    ("query_count", Numeric),
    ("bytes_received", Numeric),
    ("bytes_sent", Numeric),
    ("xact_time", Numeric),
    ("query_time", Numeric),
    ("wait_time", Numeric),
    ("client_parse_count", Numeric),
    ("server_parse_count", Numeric),
    ("bind_count", Numeric),
];

pub(super) const STATS_AVERAGES: &[Column] = &[
    ("database", Text),
    ("server_assignment_count", Numeric),
    ("xact_count", Numeric),
    ("query_count", Numeric),
    ("bytes_received", Numeric),
    ("bytes_sent", Numeric),
    ("xact_time", Numeric),
    ("query_time", Numeric),
    ("wait_time", Numeric),
    ("avg_client_parse_count", Numeric),
    ("avg_server_parse_count", Numeric),
    ("avg_bind_count", Numeric),
];

pub(super) const TOTALS: &[Column] = &[("name", Text), ("value", Numeric)];

pub(super) const SHARDS: &[Column] = &[
    ("database", Text),
    ("group", Text),
    ("shard", Int4),
    ("function", Text),
    ("primary", Text),
    ("state", Text),
    ("role", Text),
    ("lsn", Text),
    ("replicas", Int4),
    ("sv_active", Int4),
    ("sv_idle", Int4),
    ("cl_waiting", Int4),
    ("error", Text),
];

pub(super) const REPLICAS: &[Column] = &[
    ("database", Text),
    ("group", Text),
    ("shard", Int4),
    ("server", Text),
    ("state", Text),
    ("role", Text),
    ("lsn", Text),
    ("lag_ms", Int8),
    ("reads", Text),
    ("sv_active", Int4),
    ("sv_idle", Int4),
    ("cl_waiting", Int4),
    ("error", Text),
];

pub(super) const TABLES: &[Column] = &[("name", Text), ("kind", Text), ("group", Text), ("key", Text)];

pub(super) const TWO_PHASE: &[Column] = &[
    ("database", Text),
    ("group", Text),
    ("shard", Int4),
    ("gid", Text),
    ("owner", Text),
    ("prepared", Text),
    ("age", Text),
    ("state", Text),
];

/// SHOW ROUTE '…'.
pub(crate) const ROUTE: &[Column] = &[
    ("tier", Text),
    ("group", Text),
    ("shards", Text),
    ("server_role", Text),
    ("cached", Text),
    ("sqlstate", Text),
    ("reason", Text),
];
