//! Logs and statistics.

use std::path::PathBuf;

use super::chapter::chapter;

chapter! {
/// Logs and statistics.
Logging {
    /// Whether logins are logged. Default: yes.
    log_connections: bool = true, AtRunTime;
    /// Whether disconnections are logged, with their reason. Default: yes.
    log_disconnections: bool = true, AtRunTime;
    /// Whether errors are logged that clients get from the pooler itself. Default: yes.
    log_pooler_errors: bool = true, AtRunTime;
    /// Whether statistics are logged, every `stats_period`. Default: yes.
    log_stats: bool = true, AtRunTime;
    /// A file that the log goes to, beside standard error; opened again by RELOAD. Default: none.
    logfile: Option<PathBuf> = None, AtRunTime;
    /// How often averages are taken, in whole seconds. Default: 60.
    stats_period: usize = 60, AtRunTime;
    /// Whether the log goes to syslog too. Default: no.
    syslog: bool = false, AtRunTime;
    /// To which part of syslog: auth, authpriv, daemon, user, local0 to local7. Default: daemon.
    syslog_facility: String = "daemon".to_owned(), AtRunTime;
    /// Under which name. Default: pgbouncer.
    syslog_ident: String = "pgbouncer".to_owned(), AtRunTime;
    /// How much is logged: 0 to 3. Default: 0.
    verbose: usize = 0, AtRunTime;
}
}
