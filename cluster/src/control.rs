//! Starting and ending a server, gently and not.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    Daemon, Error, Result, Server,
    deadline::poll,
    files, process,
    readiness::{self, START_WITHIN},
};

/// A fast shutdown writes a checkpoint and hands the replicas what they lack, which a hung replica does not
/// take: after this the server is told to drop everything.
const FAST_WITHIN: Duration = Duration::from_secs(20);

/// An immediate shutdown gives the children five seconds.
const IMMEDIATE_WITHIN: Duration = Duration::from_secs(10);

/// How long to try again while somebody else sits on the port.
const PORT_WITHIN: Duration = Duration::from_secs(5);

impl Server {
    /// Starts the server and waits until it takes connections. One that runs already is left as it is.
    ///
    /// # Errors
    /// It ends ([`Error::Exited`]) or is not ready in time ([`Error::Late`]); both bring the log's end.
    pub fn start(&self) -> Result<()> {
        let mut daemon = self.daemon();
        daemon.try_wait()?;
        if daemon.pid().is_some() {
            return Ok(());
        }
        let started = poll(PORT_WITHIN, || match self.start_once(&mut daemon) {
            Err(error) if error.is_address_in_use() => Ok(None),
            other => other.map(Some),
        });
        started?.ok_or_else(|| self.late(format!("port {} becoming free", self.port()), PORT_WITHIN))
    }

    /// Stops the server as `pg_ctl stop -m fast` does: sessions are ended, data is written.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn stop(&self) -> Result<()> {
        self.end(&mut self.daemon(), libc::SIGINT, FAST_WITHIN)
    }

    /// Stops the server as `pg_ctl stop -m immediate` does: the next start recovers from the WAL.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn stop_immediate(&self) -> Result<()> {
        self.end(&mut self.daemon(), libc::SIGQUIT, IMMEDIATE_WITHIN)
    }

    /// Kills every process of the server, as a machine's death would, and waits until they are gone.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn kill(&self) -> Result<()> {
        self.daemon().kill()?;
        self.forget_locks()
    }

    /// [`stop`](Self::stop), then [`start`](Self::start), on the same port.
    ///
    /// # Errors
    /// Those of either.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Halts every process of the server: it takes no input and gives no output, but its connections stay.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn pause(&self) -> Result<()> {
        self.daemon().pause()
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn resume(&self) -> Result<()> {
        self.daemon().resume()
    }

    fn start_once(&self, daemon: &mut Daemon) -> Result<()> {
        let log = self.log_path();
        let log_start = files::length(&log);
        let mut command = Command::new(self.installation.program("postgres"));
        command.arg("-D").arg(&self.dir);
        daemon.spawn(&command, self.user, &log)?;
        let ready = poll(START_WITHIN, || {
            if let Some(status) = daemon.try_wait()? {
                let log = files::tail(&log, log_start);
                return Err(Error::Exited { name: self.name.clone(), status, log });
            }
            Ok(readiness::is_ready(self, daemon.pid()).then_some(()))
        })?;
        if ready.is_none() {
            let late = self.late("taking connections", START_WITHIN);
            daemon.kill()?;
            return Err(late);
        }
        Ok(())
    }

    fn end(&self, daemon: &mut Daemon, signal: i32, within: Duration) -> Result<()> {
        daemon.signal(signal)?;
        daemon.resume()?; // a paused server would not notice
        if daemon.wait(within)?.is_none() {
            daemon.signal(libc::SIGQUIT)?;
            if daemon.wait(IMMEDIATE_WITHIN)?.is_none() {
                daemon.kill()?;
            }
        }
        self.forget_locks()
    }

    /// A killed postmaster leaves a shared memory segment, and lock files that hold its process id. All its
    /// processes are known to be gone here, but the number may come back on another process, and would keep
    /// the server from starting.
    fn forget_locks(&self) -> Result<()> {
        let pid_file = fs::read_to_string(self.dir.join("postmaster.pid")).unwrap_or_default();
        if let Some(segment) = shared_memory_id(&pid_file) {
            process::remove_shared_memory(segment);
        }
        let socket_lock = format!(".s.PGSQL.{}.lock", self.port());
        [Path::new("postmaster.pid"), Path::new(&socket_lock)]
            .into_iter()
            .try_for_each(|lock| files::remove(&self.dir.join(lock)))
    }
}

/// postmaster.pid, miscadmin.h: line 7 is the segment's key and its id.
fn shared_memory_id(pid_file: &str) -> Option<i32> {
    pid_file.lines().nth(6)?.split_whitespace().nth(1)?.parse().ok()
}
