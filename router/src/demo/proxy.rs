//! The proxy as a child process: this same program's `serve`.

use super::error::DemoError;
use shardway_cluster::{Afterwards, Daemon};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How much of the log an error shows, in lines.
const TAIL: usize = 15;

/// What the environment would put in the configuration's place.
const OVERRIDES: [&str; 4] = ["SHARDWAY_CONFIG", "DATABASE_URL", "DATABASE_SHARD_COUNT", "REDIS_URL"];

/// A running proxy, ended by SIGTERM when dropped. It does not outlive the demo, however that ends.
pub(super) struct Proxy {
    daemon: Daemon,
    dir: PathBuf,
}

impl Proxy {
    /// Starts it with the configuration `text`, and waits until it says that it is ready at the port `http`.
    /// Configuration and log are in `kept`, or in a directory that goes with the proxy.
    pub(super) async fn start(kept: Option<&Path>, text: &str, http: u16) -> Result<Self, DemoError> {
        let (dir, afterwards) = match kept {
            Some(dir) => (dir.to_owned(), Afterwards::Keep),
            None => (temporary_dir()?, Afterwards::Remove),
        };
        let daemon = Daemon::new("the proxy", &dir, afterwards, libc::SIGTERM)?;
        let mut proxy = Self { daemon, dir };
        let file = proxy.config_file();
        fs::write(&file, text).map_err(DemoError::io(format!("writing {}", file.display())))?;
        proxy.daemon.spawn(&serve(&file)?, None, &proxy.log_file())?;
        proxy.wait_ready(http).await?;
        Ok(proxy)
    }

    /// Its configuration.
    pub(super) fn config_file(&self) -> PathBuf {
        self.dir.join("shardway.toml")
    }

    /// Where it logs.
    pub(super) fn log_file(&self) -> PathBuf {
        self.dir.join("proxy.log")
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        match self.daemon.try_wait()? {
            None => Ok(()),
            Some(status) => Err(DemoError::ProxyEnded { status, tail: self.log_tail() }),
        }
    }

    async fn wait_ready(&mut self, http: u16) -> Result<(), DemoError> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            self.check()?;
            let answer = tokio::time::timeout(ANSWER_WITHIN, status(http, "/health/ready")).await;
            if matches!(answer, Ok(Ok(200))) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(DemoError::ProxyLate { within: READY_WITHIN, tail: self.log_tail() })
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

fn serve(config: &Path) -> Result<Command, DemoError> {
    let program = std::env::current_exe().map_err(DemoError::io("finding this program"))?;
    let mut command = Command::new(program);
    command.args(["serve", "--config"]).arg(config);
    for name in OVERRIDES {
        command.env_remove(name);
    }
    Ok(command)
}

/// Private, since the configuration holds passwords.
fn temporary_dir() -> Result<PathBuf, DemoError> {
    let base = std::env::temp_dir();
    for attempt in 0.. {
        let dir = base.join(format!("shardway-demo-{}-{attempt}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DemoError::io(format!("making {}", dir.display()))(error)),
        }
    }
    unreachable!("attempts do not run out")
}

/// The status of an HTTP answer; one line of the protocol is no reason for a client library.
async fn status(port: u16, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
