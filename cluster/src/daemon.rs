//! A child process that does not outlive its owner, whatever becomes of the owner.
//!
//! A destructor does not run when a process is killed, and the kernel's parent-death signal follows the
//! *thread* that forked, which for a test is gone long before the process. So every daemon has a guardian:
//! a shell that blocks reading a pipe. Its write end is ours alone (close-on-exec keeps it out of every
//! other child), the kernel closes it when we die, and the guardian then ends the process and removes the
//! directory. The process' own launcher writes its id into that pipe before it becomes the process, so
//! there is no moment at which a running process is unknown to the guardian.

use std::{
    io::{self, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::{Error, OsUser, Result, deadline::poll, process};

const GUARDIAN: &str = include_str!("guardian.sh");

/// Tells the guardian who it is, then becomes the program, with all output going to the log.
const LAUNCHER: &str = r#"echo $$ && exec "$@" >&2"#;

/// How long a process may take to end at the signal it was given, when it is dropped.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// What becomes of a daemon's directory once its owner has dropped it, or has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The directory goes with the daemon.
    Remove,
    /// The directory stays.
    Keep,
}

/// A directory and at most one process at a time that works in it; both are guarded. Dropping it ends the
/// process.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    last_signal: i32,
    guardian: Child,
    leash: Option<ChildStdin>,
    process: Option<Child>,
}

impl Daemon {
    /// Puts a guardian over `dir`. `last_signal` is what ends the process when this is dropped or its
    /// owner dies; `name` is for errors.
    ///
    /// # Errors
    /// The guardian can't be started.
    pub fn new(
        name: impl Into<String>,
        dir: &Path,
        afterwards: Afterwards,
        last_signal: i32,
    ) -> Result<Daemon> {
        let name = name.into();
        let keep = if afterwards == Afterwards::Keep { "keep" } else { "remove" };
        let mut guardian = Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "shardway-guardian", &last_signal.to_string(), keep])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0) // a Ctrl-C in the terminal is for the owner
            .spawn()
            .map_err(Error::io(format!("starting the guardian of {name}")))?;
        let leash = guardian.stdin.take();
        Ok(Daemon { name, last_signal, guardian, leash, process: None })
    }

    /// Starts `command` (its program, arguments, variables and directory count), as `user` if there is one;
    /// what it writes goes to the end of the file `log`.
    ///
    /// # Errors
    /// It runs already, or can't be started. A program that is missing shows as an exit with status 127.
    pub fn spawn(&mut self, command: &Command, user: Option<OsUser>, log: &Path) -> Result<()> {
        let failed = format!("starting {}", self.name);
        if self.try_wait()?.is_none() && self.process.is_some() {
            return Err(Error::io(failed)(io::Error::other("it is running already")));
        }
        let mut launcher = launcher_of(command);
        if let Some(user) = user {
            user.applied_to(&mut launcher);
        }
        let mut spawn = || -> io::Result<Child> {
            let leash = self.leash.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
            let log = std::fs::File::options().create(true).append(true).open(log)?;
            let to_guardian = Stdio::from(leash.as_fd().try_clone_to_owned()?);
            launcher.stdin(Stdio::null()).stdout(to_guardian).stderr(log).process_group(0).spawn()
        };
        self.process = Some(spawn().map_err(Error::io(failed))?);
        Ok(())
    }

    /// The process' id while it runs; it may have ended unnoticed.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// How the process ended, if it has since it was started; told once.
    ///
    /// # Errors
    /// The system refuses to tell.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let Some(process) = self.process.as_mut() else { return Ok(None) };
        let status = process.try_wait().map_err(Error::io(format!("waiting for {}", self.name)))?;
        if status.is_some() {
            self.process = None;
            self.tell_guardian_it_ended();
        }
        Ok(status)
    }

    /// Waits for the process to end by itself; `None` when it still runs after `within`.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or the system refuses to tell.
    pub fn wait(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        self.running()?;
        poll(within, || self.try_wait())
    }

    /// Sends `signal` to the process alone.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or the signal is refused.
    pub fn signal(&self, signal: i32) -> Result<()> {
        process::signal(self.running()?, signal)
            .map_err(Error::io(format!("sending signal {signal} to {}", self.name)))
    }

    /// Kills the process and its children with SIGKILL, and waits until all are gone. One that has ended
    /// already is no error.
    ///
    /// # Errors
    /// A signal is refused, or a process does not go.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        let pid = self.running()?;
        let killed = process::freeze(pid).and_then(|()| {
            let children = process::children(pid);
            for &doomed in [pid].iter().chain(&children) {
                process::signal(doomed, libc::SIGKILL)?;
            }
            process::wait_gone(&children)
        });
        killed.map_err(Error::io(format!("killing {}", self.name)))?;
        self.wait(LAST_WAIT)?.ok_or_else(|| self.late("its end after SIGKILL"))
    }

    /// Stops the process and its children in their tracks (SIGSTOP): connections to it hang.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn pause(&self) -> Result<()> {
        let pid = self.running()?;
        let frozen = process::freeze(pid)
            .and_then(|()| process::children(pid).into_iter().try_for_each(process::freeze));
        frozen.map_err(Error::io(format!("pausing {}", self.name)))
    }

    /// Lets a paused process and its children go on (SIGCONT).
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn resume(&self) -> Result<()> {
        let pid = self.running()?;
        let mut all = process::children(pid);
        all.push(pid);
        all.into_iter()
            .try_for_each(|pid| process::signal(pid, libc::SIGCONT))
            .map_err(Error::io(format!("resuming {}", self.name)))
    }

    fn running(&self) -> Result<u32> {
        self.pid().ok_or_else(|| Error::NotRunning { name: self.name.clone() })
    }

    fn late(&self, what: &str) -> Error {
        Error::Late { name: self.name.clone(), what: what.into(), within: LAST_WAIT, log: String::new() }
    }

    /// The process' number may now be given to somebody else's process.
    fn tell_guardian_it_ended(&mut self) {
        if let Some(leash) = &mut self.leash {
            // A guardian that is gone has nobody left to guard.
            let _ = leash.write_all(b"\n");
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.process.is_none() {
            return Ok(());
        }
        self.signal(self.last_signal)?;
        self.resume()?;
        if self.wait(LAST_WAIT)?.is_none() {
            self.kill()?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What fails here is left to the guardian, whose turn is next.
        let _ = self.end();
        self.leash = None;
        let _ = self.guardian.wait();
    }
}

fn launcher_of(command: &Command) -> Command {
    let mut launcher = Command::new("/bin/sh");
    launcher.args(["-c", LAUNCHER, "shardway-launcher"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => launcher.env(name, value),
            None => launcher.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        launcher.current_dir(dir);
    }
    launcher
}
