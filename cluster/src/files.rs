//! Files as Postgres wants them: owned by the user it runs as, and private to that user.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::Path,
};

use crate::{Error, OsUser, Result};

/// How much of a log goes into an error.
const TAIL_BYTES: u64 = 4096;

/// Makes the directory, with its parents, and makes it private (0700) to `user`.
pub(crate) fn private_dir(path: &Path, user: Option<OsUser>) -> Result<()> {
    let made = fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .and_then(|()| give(path, user));
    made.map_err(Error::io(format!("making the directory {}", path.display())))
}

/// Whether nothing is in the directory, or it does not exist.
pub(crate) fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

/// A new temporary directory with `prefix` in its name, owned by `user`.
pub(crate) fn temp_dir(prefix: &str, user: Option<OsUser>) -> Result<tempfile::TempDir> {
    let failed = || format!("making a directory in {}", std::env::temp_dir().display());
    let private = fs::Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().prefix(prefix).permissions(private).tempdir();
    let dir = dir.map_err(Error::io(failed()))?;
    give(dir.path(), user).map_err(Error::io(failed()))?;
    Ok(dir)
}

/// Copies what is in the directory `from` into the directory `to`, which exists, for `user`. The system
/// shares the blocks where the file system can.
pub(crate) fn copy_dir(from: &Path, to: &Path, user: Option<OsUser>) -> Result<()> {
    copy_entries(from, to, user).map_err(Error::io(format!("copying {} to {}", from.display(), to.display())))
}

fn copy_entries(from: &Path, to: &Path, user: Option<OsUser>) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::DirBuilder::new().mode(0o700).create(&target)?;
            copy_entries(&entry.path(), &target, user)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
        give(&target, user)?;
    }
    Ok(())
}

/// Writes a file that `user` may read and change.
pub(crate) fn write(path: &Path, text: &str, user: Option<OsUser>) -> Result<()> {
    fs::write(path, text)
        .and_then(|()| give(path, user))
        .map_err(Error::io(format!("writing {}", path.display())))
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Io { action: format!("removing {}", path.display()), source: error })
        }
        _ => Ok(()),
    }
}

/// The end of a log, from byte `start` on at most; empty when there is none.
pub(crate) fn tail(path: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// The length of a file in bytes; 0 when there is none.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn give(path: &Path, user: Option<OsUser>) -> io::Result<()> {
    match user {
        Some(user) => chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}
