//! Where Postgres is on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Error, Result};

/// The directory that holds Postgres' programs, and its version.
#[derive(Clone, Debug)]
pub struct Installation {
    bin: PathBuf,
    version: String,
}

/// Without these a directory is no server installation: a client package alone has `psql` too.
const NEEDED: [&str; 5] = ["postgres", "initdb", "psql", "pg_isready", "pg_basebackup"];

impl Installation {
    /// Looks in `SHARDWAY_PG_BIN`, then where `pg_config` points, then in /usr/lib/postgresql (newest
    /// version first), then in PATH. Found once per process.
    ///
    /// # Errors
    /// [`Error::PostgresNotFound`], or [`Error::PostgresIncomplete`] when the variable is wrong.
    pub fn find() -> Result<&'static Installation> {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let bin = Self::find_bin()?;
        let version =
            first_line(Command::new(bin.join("postgres")).arg("--version")).ok_or(Error::PostgresNotFound)?;
        Ok(FOUND.get_or_init(|| Installation { bin, version }))
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// What `postgres --version` says.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A client program, which sees none of the caller's `PG…` variables: they would redirect it.
    pub(crate) fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("PG") {
                command.env_remove(variable);
            }
        }
        command.env("PGCONNECT_TIMEOUT", "10");
        command
    }

    fn find_bin() -> Result<PathBuf> {
        if let Some(dir) = env::var_os("SHARDWAY_PG_BIN").filter(|dir| !dir.is_empty()) {
            let dir = PathBuf::from(dir);
            return match missing(&dir) {
                None => Ok(dir),
                Some(missing) => Err(Error::PostgresIncomplete { dir, missing }),
            };
        }
        let configured = first_line(Command::new("pg_config").arg("--bindir")).map(PathBuf::from);
        let path = env::var_os("PATH").unwrap_or_default();
        configured
            .into_iter()
            .chain(packaged(Path::new("/usr/lib/postgresql")))
            .chain(env::split_paths(&path))
            .find(|dir| missing(dir).is_none())
            .ok_or(Error::PostgresNotFound)
    }
}

/// Debian's layout: one directory per major version; newest first.
fn packaged(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut versions: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.iter().map(|version| root.join(version.to_string()).join("bin")).collect()
}

fn missing(dir: &Path) -> Option<&'static str> {
    NEEDED.into_iter().find(|program| !dir.join(program).is_file())
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_packaged_version_comes_first_by_number_not_by_letters() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "14", "common"] {
            fs::create_dir(root.path().join(version)).unwrap();
        }
        let bins: Vec<_> = ["15", "14", "9"].map(|version| root.path().join(version).join("bin")).into();
        assert_eq!(packaged(root.path()), bins);
    }

    #[test]
    fn the_error_says_what_to_install() {
        let message = Error::PostgresNotFound.to_string();
        assert!(message.contains("apt-get install postgresql") && message.contains("SHARDWAY_PG_BIN"));
    }
}
