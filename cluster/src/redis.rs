//! A redis-server of our own, without persistence.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Afterwards, Daemon, Error, HOST, Port, Result, deadline::poll, files};

const START_WITHIN: Duration = Duration::from_secs(20);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A Redis server. It forgets everything when it ends; dropping it ends it.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    dir: PathBuf,
    port: Port,
    daemon: Mutex<Daemon>,
}

impl Redis {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// [`Error::RedisNotFound`], or it does not come up.
    pub fn run() -> Result<Redis> {
        let program = find_program().ok_or(Error::RedisNotFound)?;
        let port = Port::reserve()?;
        let dir = files::temp_dir("shardway-redis-", None)?;
        let daemon = Daemon::new("redis", dir.path(), Afterwards::Remove, libc::SIGKILL)?;
        let redis = Redis { program, dir: dir.keep(), port, daemon: Mutex::new(daemon) };
        redis.start()?;
        Ok(redis)
    }

    /// Its port, the same through all restarts.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon().pid()
    }

    /// Its directory, which holds its log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its address, as `redis_url` takes it.
    pub fn url(&self) -> String {
        format!("redis://{HOST}:{}/", self.port())
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), empty.
    ///
    /// # Errors
    /// It ends or is not ready in time; both bring the log's end.
    pub fn start(&self) -> Result<()> {
        let mut daemon = self.daemon();
        daemon.try_wait()?;
        if daemon.pid().is_some() {
            return Ok(());
        }
        let log = self.dir.join("redis.log");
        let mut command = Command::new(&self.program);
        command.args([
            "--bind",
            HOST,
            "--port",
            &self.port().to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(&self.dir);
        daemon.spawn(&command, None, &log)?;
        let name = || String::from("redis");
        let ready = poll(START_WITHIN, || match daemon.try_wait()? {
            Some(status) => Err(Error::Exited { name: name(), status, log: files::tail(&log, 0) }),
            None => Ok(self.command("PING").is_ok_and(|answer| answer == "+PONG").then_some(())),
        })?;
        ready.ok_or_else(|| {
            let (what, log) = (String::from("answering PING"), files::tail(&log, 0));
            Error::Late { name: name(), what, within: START_WITHIN, log }
        })
    }

    /// Ends it as a service manager would (SIGTERM).
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn stop(&self) -> Result<()> {
        let mut daemon = self.daemon();
        daemon.signal(libc::SIGTERM)?;
        daemon.resume()?; // a paused one would not notice
        if daemon.wait(STOP_WITHIN)?.is_none() {
            daemon.kill()?;
        }
        Ok(())
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn kill(&self) -> Result<()> {
        self.daemon().kill().map(drop)
    }

    /// Halts it: connections to it hang.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn pause(&self) -> Result<()> {
        self.daemon().pause()
    }

    /// Lets a paused one go on.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or a signal is refused.
    pub fn resume(&self) -> Result<()> {
        self.daemon().resume()
    }

    /// Sends one inline command, such as `FLUSHALL` or `SET key value`, and gives the first line of the
    /// answer as the protocol has it (`+OK`, `:1`, `$3`, `-ERR …`).
    ///
    /// # Errors
    /// No connection, or no answer within two seconds.
    pub fn command(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((HOST, self.port()))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find_program() -> Option<PathBuf> {
    if let Some(program) = env::var_os("SHARDWAY_REDIS_SERVER").filter(|program| !program.is_empty()) {
        return Some(PathBuf::from(program)).filter(|program| program.is_file());
    }
    let path = env::var_os("PATH")?;
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)))
        .find(|program| program.is_file())
}
