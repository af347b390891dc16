//! A directory for what a run needs on the side: scripts, logs, copies of programs. It goes with this process, however
//! that ends: a guardian watches over it, as over the servers' own.

use crate::error::BenchError;
use shardway_cluster::{Afterwards, Daemon};
use std::path::{Path, PathBuf};

/// The directory. It is removed when this is dropped, or when this process dies.
pub struct Workshop {
    dir: PathBuf,
    /// Has no process to guard; what it removes is the directory.
    _guard: Daemon,
}

impl Workshop {
    /// Makes it.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn open() -> Result<Workshop, BenchError> {
        let dir = tempfile::Builder::new().prefix("shardway-bench-").tempdir();
        let dir = dir.map_err(BenchError::io("making a temporary directory"))?;
        let guard = Daemon::new("the workshop", dir.path(), Afterwards::Remove, libc::SIGKILL)?;
        Ok(Workshop { dir: dir.keep(), _guard: guard })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
