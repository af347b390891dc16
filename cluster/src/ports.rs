//! Ports that are free, and stay ours while a server is down between two starts.
//!
//! Asking the kernel for "any port" and letting go of it again races with everybody who does the same. So a
//! port is picked below the range that the kernel itself hands out, and reserved by a locked file, which
//! every process that uses this crate honours and which no death can leave behind locked.

use std::{
    env, fs,
    fs::{File, TryLockError},
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use crate::{Error, HOST, Result, os_user::effective_uid};

const FROM: u16 = 10_000;

/// A port on 127.0.0.1 that no other holder of a `Port` on this machine gets until this one is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Locked as long as it is open. A port that the caller chose has none.
    _lock: Option<File>,
}

impl Port {
    /// Reserves a port that is free now.
    ///
    /// # Errors
    /// [`Error::NoFreePort`], or the lock directory can't be used.
    pub fn reserve() -> Result<Port> {
        let to = first_ephemeral();
        let dir = lock_dir()?;
        let span = u64::from(to - FROM);
        // Everybody starts somewhere else, so that the first try nearly always succeeds.
        let start = RandomState::new().hash_one(std::process::id()) % span;
        for step in 0..span {
            let number = FROM + u16::try_from((start + step) % span).unwrap_or(0);
            if let Some(port) = Self::try_reserve(&dir, number)? {
                return Ok(port);
            }
        }
        Err(Error::NoFreePort { from: FROM, to })
    }

    /// The port that the caller insists on; whether it is free will be seen at the start.
    pub fn chosen(number: u16) -> Port {
        Port { number, _lock: None }
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn try_reserve(dir: &std::path::Path, number: u16) -> Result<Option<Port>> {
        let path = dir.join(number.to_string());
        let doing = || format!("locking {}", path.display());
        let file = File::create(&path).map_err(Error::io(doing()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::io(doing())(error)),
        }
        // Strangers do not know our locks.
        let free = TcpListener::bind((HOST, number)).is_ok();
        Ok(free.then_some(Port { number, _lock: Some(file) }))
    }
}

/// One directory per user: another user's lock files could not be opened.
fn lock_dir() -> Result<PathBuf> {
    let dir = env::temp_dir().join(format!("shardway-ports-{}", effective_uid()));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(Error::io(format!("making the directory {}", dir.display())))?;
    Ok(dir)
}

/// The first port that the kernel gives to outgoing connections: one of those could be sitting on the port
/// of a server that is being restarted.
fn first_ephemeral() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok());
    first.filter(|&first| first > FROM + 1000).unwrap_or(32_768)
}
