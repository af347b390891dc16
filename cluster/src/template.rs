//! One `initdb` per machine: its result is kept in the temporary directory, and every server starts from a
//! copy, which takes a tenth of the time.
//!
//! Several processes may want it at the same moment. Each builds under a name of its own and renames, which
//! the file system does atomically: whoever comes second finds the place taken and uses what is there.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Installation, OsUser, Result, files, os_user::effective_uid};

const OPTIONS: [&str; 7] = ["--no-sync", "-E", "UTF8", "-U", "postgres", "-A", "trust"];

/// Best first: a machine without C.UTF-8 has C.
const LOCALES: [&str; 2] = ["--locale=C.UTF-8", "--locale=C"];

/// The directory of a fresh, cleanly shut down database cluster, made now if there is none yet.
pub(crate) fn template(installation: &Installation, user: Option<OsUser>) -> Result<PathBuf> {
    let uid = user.map_or_else(effective_uid, |user| user.uid);
    let place = env::temp_dir().join(format!("shardway-initdb-{uid}-{:016x}", fingerprint(installation)));
    if is_usable(&place, uid) {
        return Ok(place);
    }
    let built = files::temp_dir("shardway-initdb-building-", user)?;
    initdb(installation, built.path(), user)?;
    // What is unusable is what a cleaner of temporary files left of an old one.
    if place.exists() && !is_usable(&place, uid) {
        fs::remove_dir_all(&place).map_err(Error::io(format!("removing {}", place.display())))?;
    }
    match fs::rename(built.path(), &place) {
        Ok(()) => {
            let _ = built.keep(); // it has moved: nothing is left to remove
            Ok(place)
        }
        Err(_) if is_usable(&place, uid) => Ok(place),
        Err(error) => Err(Error::io(format!("renaming a directory to {}", place.display()))(error)),
    }
}

/// What it was made of: another version or other options make another template.
fn fingerprint(installation: &Installation) -> u64 {
    let mut hasher = DefaultHasher::new();
    (installation.version(), OPTIONS, LOCALES).hash(&mut hasher);
    hasher.finish()
}

/// Whole, and ours: the name can be foreseen, so somebody else could have put a directory there.
fn is_usable(place: &Path, uid: u32) -> bool {
    let ours = fs::symlink_metadata(place).is_ok_and(|data| data.is_dir() && data.uid() == uid);
    ours && place.join("PG_VERSION").exists() && place.join("global/pg_control").exists()
}

fn initdb(installation: &Installation, dir: &Path, user: Option<OsUser>) -> Result<()> {
    let [best, fallback] = LOCALES;
    run_initdb(installation, dir, user, best).or_else(|_| run_initdb(installation, dir, user, fallback))
}

fn run_initdb(installation: &Installation, dir: &Path, user: Option<OsUser>, locale: &str) -> Result<()> {
    let mut command = Command::new(installation.program("initdb"));
    command.args(OPTIONS).arg(locale).arg("-D").arg(dir);
    run_as(&mut command, user)
}

/// Runs a program to its end.
pub(crate) fn run_as(command: &mut Command, user: Option<OsUser>) -> Result<()> {
    if let Some(user) = user {
        user.applied_to(command);
    }
    let program = Path::new(command.get_program()).display().to_string();
    let output: io::Result<_> = command.output();
    let output = output.map_err(Error::io(format!("running {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let output_text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Program { program, status: output.status, output: output_text })
}
