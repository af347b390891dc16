//! A file that holds the process's id while it runs: one process at a time, or one that takes another's place.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process;

/// The process's own file, removed at its end unless another process has taken it over.
#[derive(Debug)]
pub struct PidFile(PathBuf);

/// The process that a file names, if it runs.
pub fn running(path: &Path) -> Result<Option<i32>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("could not open pidfile '{}': {e}", path.display())),
    };
    let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
    // SAFETY: signal 0 is none; it asks whether there is such a process.
    let runs = |pid: &i32| unsafe { libc::kill(*pid, 0) } == 0 || last_error() != libc::ESRCH;
    Ok(pid.filter(|pid| *pid != own()).filter(runs))
}

fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn own() -> i32 {
    i32::try_from(process::id()).unwrap_or(i32::MAX)
}

/// Whether a process runs the same program as this one: a number may be another process's by now.
pub fn is_of_our_kind(pid: i32) -> bool {
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    name(pid).is_some_and(|other| Some(other) == name(own()))
}

impl PidFile {
    /// Refuses a file that names a running process. Errors: in PgBouncer's words.
    pub fn check(path: &Path) -> Result<(), String> {
        match running(path)? {
            Some(_) => Err(format!("pidfile '{}' exists, another instance running?", path.display())),
            None => Ok(()),
        }
    }

    /// Writes it, in one step: whoever reads it finds the old process or the new one. Errors: in words.
    pub fn write(path: &Path) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("could not write pidfile '{}': {e}", path.display());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let new = directory.unwrap_or(Path::new(".")).join(format!(".shardway.{}.pid", own()));
        fs::File::create(&new).and_then(|mut file| writeln!(file, "{}", own())).map_err(failed)?;
        fs::rename(&new, path).map_err(failed)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == own().to_string());
        if ours && let Err(e) = fs::remove_file(&self.0) {
            tracing::warn!(file = %self.0.display(), "the pid file can't be removed: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("shardway-pid-{}-{:?}", own(), std::thread::current().id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn it_goes_with_its_process_and_stays_with_another() {
        let path = directory().join("p");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", own()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(running(&path), Ok(Some(1)));
        assert!(PidFile::check(&path).unwrap_err().contains("another instance running?"));
    }

    #[test]
    fn what_names_nobody_is_in_nobodys_way() {
        let path = directory().join("stale");
        assert_eq!(running(&path), Ok(None));
        for text in ["", "x", "-1", "0", "2147483647"] {
            fs::write(&path, text).unwrap();
            assert_eq!(PidFile::check(&path), Ok(()), "{text}");
        }
        assert!(!is_of_our_kind(1));
    }
}
