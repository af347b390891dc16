//! Postgres refuses to run as root; when we are root, servers run as the OS user `postgres`.

use std::{os::unix::process::CommandExt, process::Command, sync::OnceLock};

use crate::{Error, Result};

/// An OS user that a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsUser {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
}

impl OsUser {
    /// Who Postgres runs as: `None` for ourselves, which is everybody but root.
    ///
    /// # Errors
    /// [`Error::NoPostgresUser`] when we are root and there is no user `postgres`.
    pub fn for_postgres() -> Result<Option<OsUser>> {
        static POSTGRES: OnceLock<Option<OsUser>> = OnceLock::new();
        if effective_uid() != 0 {
            return Ok(None);
        }
        let user = POSTGRES.get_or_init(|| Some(OsUser { uid: id("-u")?, gid: id("-g")? }));
        user.map(Some).ok_or(Error::NoPostgresUser)
    }

    /// Has `command` run as this user, without the supplementary groups of root (which std drops when a
    /// uid is set by root), and from a directory that this user can be in.
    pub(crate) fn applied_to(self, command: &mut Command) -> &mut Command {
        command.uid(self.uid).gid(self.gid).current_dir("/")
    }
}

/// The user that this process acts as.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid(2) takes nothing, touches no memory and can't fail.
    unsafe { libc::geteuid() }
}

/// Asks id(1) rather than /etc/passwd, so that directory services count.
fn id(flag: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, "postgres"]).output().ok()?;
    std::str::from_utf8(&output.stdout).ok()?.trim().parse().ok()
}
