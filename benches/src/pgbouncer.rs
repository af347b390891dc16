//! PgBouncer: finding it, its version, its configuration.

use crate::error::BenchError;
use crate::fill::{DATABASE, NARROW, USER};
use crate::proxy::{Launch, Proxy};
use shardway_cluster::{HOST, OsUser, Port};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a prepared statement costs PgBouncer for each simple one, in CPU: 15.2 µs and 11.4 µs with PgBouncer 1.25,
/// for `pgbench -S` of 32 clients.
pub const PREPARED_PER_SIMPLE: f64 = 15.2 / 11.4;

/// The first version that carries prepared statements over a transaction pool.
const FIRST_WITH_PREPARED: Version = Version(1, 21);

/// Debian has it in /usr/sbin, which is not in everybody's PATH.
const MORE_DIRS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// Major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// The program.
#[derive(Clone, Debug)]
pub struct Installed {
    program: PathBuf,
    /// Its version.
    pub version: Version,
}

impl Installed {
    /// Looks in `SHARDWAY_PGBOUNCER`, then in PATH and where packages put it.
    ///
    /// # Errors
    /// It is not there.
    pub fn find() -> Result<Installed, BenchError> {
        let advice = "install it (Debian and Ubuntu: `apt-get install pgbouncer`), or set SHARDWAY_PGBOUNCER";
        let missing = || BenchError::Missing { program: "pgbouncer", advice };
        let program = find_program().ok_or_else(missing)?;
        let output = Command::new(&program).arg("--version").output().map_err(|_| missing())?;
        let version = version_in(&String::from_utf8_lossy(&output.stdout)).ok_or_else(missing)?;
        Ok(Installed { program, version })
    }

    /// Whether a client's prepared statements work over its transaction pool.
    pub fn carries_prepared(&self) -> bool {
        self.version >= FIRST_WITH_PREPARED
    }

    /// Starts it in front of the server at port `server`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&self, server: u16) -> Result<Proxy, BenchError> {
        let port = Port::reserve()?;
        let listen = port.number();
        let files = |dir: &Path| {
            let users = format!("\"{USER}\" \"\"\n\"{NARROW}\" \"\"\n");
            let ini = configuration(dir, server, listen, self.carries_prepared());
            vec![("pgbouncer.ini", ini), ("users.txt", users)]
        };
        let launch = Launch {
            name: "pgbouncer",
            // Like Postgres, it refuses to run as root.
            user: OsUser::for_postgres()?,
            files: &files,
            ready: &[(DATABASE, USER, "SELECT 1"), (NARROW, NARROW, "SELECT 1")],
        };
        Proxy::start(port, &launch, |dir| {
            let mut command = Command::new(&self.program);
            command.arg(dir.join("pgbouncer.ini"));
            command
        })
    }
}

fn configuration(dir: &Path, server: u16, listen: u16, carries_prepared: bool) -> String {
    let users = dir.join("users.txt");
    let users = users.display();
    let prepared = if carries_prepared { "max_prepared_statements = 200\n" } else { "" };
    format!(
        "[databases]
{DATABASE} = host={HOST} port={server} dbname={DATABASE}
{NARROW} = host={HOST} port={server} dbname={DATABASE} pool_size=5

[pgbouncer]
listen_addr = {HOST}
listen_port = {listen}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 3000
log_connections = 0
log_disconnections = 0
log_stats = 0
{prepared}"
    )
}

fn find_program() -> Option<PathBuf> {
    if let Some(program) = env::var_os("SHARDWAY_PGBOUNCER").filter(|program| !program.is_empty()) {
        return Some(PathBuf::from(program)).filter(|program| program.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(MORE_DIRS.iter().map(|dir| Path::new(dir).to_owned()));
    dirs.map(|dir| dir.join("pgbouncer")).find(|program| program.is_file())
}

/// `PgBouncer 1.18.0`, and more lines.
fn version_in(text: &str) -> Option<Version> {
    let number = text.lines().next()?.split_whitespace().nth(1)?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some(Version(parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text| version_in(text).unwrap();
        assert!(version("PgBouncer 1.18.0\nlibevent 2.1.12") < FIRST_WITH_PREPARED);
        assert!(version("PgBouncer 1.9.0") < version("PgBouncer 1.21.0"));
        assert!(version("PgBouncer 1.25.0dev") > FIRST_WITH_PREPARED);
        assert_eq!(version_in("pgbouncer: not found"), None);
    }

    #[test]
    fn a_setting_that_an_old_version_does_not_know_is_left_out() {
        assert!(!configuration(Path::new("/d"), 1, 2, false).contains("max_prepared_statements"));
        assert!(configuration(Path::new("/d"), 1, 2, true).contains("max_prepared_statements = 200"));
    }
}
