//! Server connections: how many, how long, how they are kept in order.

use std::time::Duration;

use super::chapter::chapter;
use crate::model::PoolMode;
use crate::pgbouncer::values::CheckQuery;
use crate::units::{hours, minutes, seconds};

chapter! {
/// Server connections: how many, how long, how they are kept in order. Times are in seconds, and may have fractions.
Pooling {
    /// A database made by `*` is forgotten when unused for longer. Default: 3600 s.
    autodb_idle_timeout: Duration = hours(1), AtRunTime;
    /// Servers per (user, database). Default: 20.
    default_pool_size: usize = 20, AtRunTime;
    /// Clients at once. Default: 100.
    max_client_conn: usize = 100, AtRunTime;
    /// Clients per database over all users. Default: 0, no limit.
    max_db_client_connections: usize = 0, AtRunTime;
    /// Servers per database over all users; PgBouncer's database, not the server's. Default: 0, no limit.
    max_db_connections: usize = 0, AtRunTime;
    /// Prepared statements kept per server. Default: 200; 0: none across a pool.
    max_prepared_statements: usize = 200, AtRunTime;
    /// Clients per user over all databases. Default: 0, no limit.
    max_user_client_connections: usize = 0, AtRunTime;
    /// Servers per server user over all databases. Default: 0, no limit.
    max_user_connections: usize = 0, AtRunTime;
    /// Servers kept though idle, where the user is forced or a client is connected. Default: 0.
    min_pool_size: usize = 0, AtRunTime;
    /// A pool without clients and servers is forgotten after this. Default: 0, never.
    pool_idle_timeout: Duration = Duration::ZERO, AtRunTime;
    /// When a client gives its server back. Default: session.
    pool_mode: PoolMode = PoolMode::Session, AtRunTime;
    /// Extra servers per pool for clients that waited long. Default: 0.
    reserve_pool_size: usize = 0, AtRunTime;
    /// How long is long. Default: 5 s; 0: the reserve is not used.
    reserve_pool_timeout: Duration = seconds(5), AtRunTime;
    /// A server unused for longer is checked before use. Default: 30 s; 0: always.
    server_check_delay: Duration = seconds(30), AtRunTime;
    /// How it is checked. Default: by an empty query.
    server_check_query: CheckQuery = CheckQuery::Empty, AtRunTime;
    /// Connect and login of one server. Default: 15 s.
    server_connect_timeout: Duration = seconds(15), AtRunTime;
    /// Whether, in session mode, a server that is to be closed is closed at the end of its transaction, its client
    /// too. Default: no, at the end of the session.
    server_fast_close: bool = false, AtRunTime;
    /// A server idle for longer is closed. Default: 600 s; 0: never.
    server_idle_timeout: Duration = minutes(10), AtRunTime;
    /// A server older than this is closed when idle. Default: 3600 s; 0: each is used once.
    server_lifetime: Duration = hours(1), AtRunTime;
    /// Pause after a failed login; clients are refused meanwhile. Default: 15 s.
    server_login_retry: Duration = seconds(15), AtRunTime;
    /// Run when a client of session mode leaves. Default: `DISCARD ALL`; empty: nothing is.
    server_reset_query: String = "DISCARD ALL".to_owned(), AtRunTime;
    /// Whether it is run in every mode. Default: no.
    server_reset_query_always: bool = false, AtRunTime;
    /// Whether the server that rested longest is used next. Default: no, the one that rested shortest.
    server_round_robin: bool = false, AtRunTime;
}
}
