//! What clients may do, and for how long.

use std::time::Duration;

use super::chapter::chapter;
use crate::pgbouncer::values::List;
use crate::units::seconds;

chapter! {
/// What clients may do, and for how long. Times are in seconds, and may have fractions; 0 turns them off.
Serving {
    /// Whether the client's address is put behind its `application_name` at login. Default: no.
    application_name_add_host: bool = false, AtRunTime;
    /// A cancel request that waits longer for a server is dropped. Default: 10 s.
    cancel_wait_timeout: Duration = seconds(10), AtRunTime;
    /// A client idle for longer is closed. Default: 0.
    client_idle_timeout: Duration = Duration::ZERO, AtRunTime;
    /// From accept to a finished login. Default: 60 s.
    client_login_timeout: Duration = seconds(60), AtRunTime;
    /// Whether simple queries are refused. Default: no.
    disable_pqexec: bool = false, AtStart;
    /// A client idle in a transaction for longer is closed. Default: 0.
    idle_transaction_timeout: Duration = Duration::ZERO, AtRunTime;
    /// Startup parameters that are taken and forgotten; others that are not tracked are refused. Default: none.
    ignore_startup_parameters: List = List::default(), AtRunTime;
    /// A notice to each client that has logged in. Default: none.
    login_notify_message: Option<String> = None, AtRunTime;
    /// Largest message from a client or a server, in bytes. Default: 2147483647.
    max_packet_size: u32 = i32::MAX as u32, AtRunTime;
    /// A query that runs longer is cancelled, and its client closed. Default: 0.
    query_timeout: Duration = Duration::ZERO, AtRunTime;
    /// A client that waits for a server this long gets a notice; whole seconds. Default: 5.
    query_wait_notify: usize = 5, AtRunTime;
    /// A client that waits for a server longer is closed. Default: 120 s.
    query_wait_timeout: Duration = seconds(120), AtRunTime;
    /// How long SUSPEND waits for buffers to empty. Default: 10 s.
    suspend_timeout: Duration = seconds(10), AtRunTime;
    /// Parameters that follow a client from server to server beside the usual ones (`client_encoding`, `datestyle`,
    /// `timezone`, `standard_conforming_strings`, `application_name`). Default: IntervalStyle.
    track_extra_parameters: List = List::new("IntervalStyle"), AtStart;
    /// A transaction that lasts longer ends with its client. Default: 0.
    transaction_timeout: Duration = Duration::ZERO, AtRunTime;
}
}
