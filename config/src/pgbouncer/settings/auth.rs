//! Who may log in, and how.

use std::path::PathBuf;

use super::chapter::chapter;
use crate::pgbouncer::values::{AuthType, List};

/// PgBouncer's own query: a password that is no longer valid counts as none.
const AUTH_QUERY: &str = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END \
                          FROM pg_authid WHERE rolname=$1 AND rolcanlogin";

chapter! {
/// Who may log in, and how.
Auth {
    /// Users that may do everything on the console. Default: none.
    admin_users: List = List::default(), AtRunTime;
    /// The entry of `[databases]` that `auth_query` is run on. Default: the one that the client asked for.
    auth_dbname: Option<String> = None, AtRunTime;
    /// File of names and secrets. Default: none.
    auth_file: Option<PathBuf> = None, AtRunTime;
    /// Rules in the form of `pg_hba.conf`, for `auth_type = hba`. Default: none.
    auth_hba_file: Option<PathBuf> = None, AtRunTime;
    /// Maps for the `map=` of those rules, in the form of `pg_ident.conf`. Default: none.
    auth_ident_file: Option<PathBuf> = None, AtRunTime;
    /// Options for `auth_type = ldap`. May hold a password. Default: none.
    auth_ldap_options: Option<String> = None, AtRunTime;
    /// Gives (name, secret) for `$1` where `auth_file` does not know a user; run as `auth_user`. Default: PgBouncer's
    /// own query of `pg_authid`.
    auth_query: String = AUTH_QUERY.to_owned(), AtRunTime;
    /// How clients prove who they are. Default: md5.
    auth_type: AuthType = AuthType::Md5, AtRunTime;
    /// Server user that runs `auth_query`. Default: none, and the query is not run.
    auth_user: Option<String> = None, AtRunTime;
    /// Rounds for a SCRAM secret that is made from a plain password. Default: 4096.
    scram_iterations: usize = 4096, AtRunTime;
    /// Users that may SHOW on the console. Default: none.
    stats_users: List = List::default(), AtRunTime;
}
}
