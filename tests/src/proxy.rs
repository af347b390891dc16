//! Shardway itself, as a child process.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use shardway_cluster::{Afterwards, Daemon, HOST, Port};
use tokio_postgres::{Client, Config, NoTls};
use toml::Table;

use crate::{
    DATABASE, PASSWORD, RawClient, builder::Launch, config::merge, eventually, http_get, must, try_http_get,
    wait::PATIENCE,
};

/// A Shardway process, with the configuration file it was given. Dropping it kills it.
pub struct Proxy {
    binary: PathBuf,
    env: Vec<(String, String)>,
    listen: Port,
    http: Port,
    dir: PathBuf,
    config: Mutex<Table>,
    daemon: Mutex<Daemon>,
}

impl Proxy {
    #[track_caller]
    pub(crate) fn launch(launch: &Launch, config: Table, listen: Port, http: Port) -> Proxy {
        let binary = launch.binary.clone().unwrap_or_else(shardway_program);
        let dir = must("making a directory", tempfile::Builder::new().prefix("shardway-proxy-").tempdir());
        let daemon = Daemon::new("shardway", dir.path(), Afterwards::Remove, libc::SIGKILL);
        let daemon = Mutex::new(must("guarding shardway", daemon));
        let (env, config) = (launch.env.clone(), Mutex::new(config));
        let proxy = Proxy { binary, env, listen, http, dir: dir.keep(), config, daemon };
        proxy.write_config();
        proxy.start();
        proxy
    }

    /// Starts it again after it has ended, on the same ports, and waits until it is ready.
    ///
    /// # Panics
    /// It ends or is not ready in time; the message brings its log.
    #[track_caller]
    pub fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts it with more arguments, and waits for nothing.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(self.config_path()).args(arguments);
        // What the caller's own environment says would fill in the configuration.
        command.env_remove("DATABASE_SHARD_COUNT").env_remove("REDIS_URL");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        must("starting shardway", self.daemon().spawn(&command, None, &self.log_path()));
    }

    /// As [`start`](Self::start), with more arguments.
    #[track_caller]
    pub fn start_with(&self, arguments: &[&str]) {
        self.spawn(arguments);
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready() {
            let ended = must("waiting for shardway", self.daemon().try_wait());
            if let Some(status) = ended {
                panic!("shardway ended at its start ({status}); its log:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "shardway is not ready; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it and starts it again with these variables on top of its environment.
    #[track_caller]
    pub fn restart_with(&mut self, env: &[(&str, &str)]) {
        self.kill();
        self.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.start();
    }

    /// Whether its health check says that it serves.
    pub fn is_ready(&self) -> bool {
        try_http_get(self.http_port(), "/health/ready").is_ok_and(|(status, _)| status == 200)
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.listen.number()
    }

    /// The port of its metrics and health checks.
    pub fn http_port(&self) -> u16 {
        self.http.number()
    }

    /// The address of the database for `user`.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}:{PASSWORD}@{HOST}:{}/{DATABASE}", self.port())
    }

    /// The process id.
    ///
    /// # Panics
    /// It has ended.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.daemon().pid().expect("shardway has ended")
    }

    /// The status and body of one of its pages.
    #[track_caller]
    pub fn http_get(&self, path: &str) -> (u16, String) {
        http_get(self.http_port(), path)
    }

    /// What one of its metrics stands at, by name and labels as they are written; panics when it is not there.
    #[track_caller]
    pub fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.http_get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
    }

    /// How to connect to it as `user`, for tests that want to change something about that.
    pub fn client_config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config.host(HOST).port(self.port()).dbname(DATABASE);
        config.user(user).password(PASSWORD).connect_timeout(PATIENCE);
        config
    }

    /// A client. Its connection works in the background of the test's runtime.
    pub async fn connect(&self, user: &str) -> Client {
        self.connect_to(user, DATABASE).await
    }

    /// A client of another database, such as `shardway`, the administration's.
    pub async fn connect_to(&self, user: &str, database: &str) -> Client {
        let connected = connect(self.client_config(user).dbname(database)).await;
        connected.unwrap_or_else(|error| {
            panic!("connecting to {database} as {user}: {error:?}; shardway's log:\n{}", self.log())
        })
    }

    /// A client that speaks the protocol by hand, logged in.
    pub async fn raw(&self, user: &str) -> RawClient {
        let mut raw = RawClient::connect(self.port()).await;
        raw.login(user, DATABASE, PASSWORD).await;
        raw
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("shardway.toml")
    }

    /// Puts TOML on top of the configuration file, as [`WorldBuilder::config`](crate::WorldBuilder::config)
    /// does; it counts from the next [`sighup`](Self::sighup), `RELOAD` or start on.
    #[track_caller]
    pub fn reconfigure(&self, toml: &str) {
        let piece: Table = must("the configuration given by the test", toml.parse());
        merge(&mut self.config.lock().unwrap_or_else(PoisonError::into_inner), piece);
        self.write_config();
    }

    /// Any change to the configuration file that [`reconfigure`](Self::reconfigure) can't express.
    #[track_caller]
    pub fn edit(&self, edit: impl FnOnce(&mut Table)) {
        edit(&mut self.config.lock().unwrap_or_else(PoisonError::into_inner));
        self.write_config();
    }

    /// Puts any text in the configuration file's place, until it is changed or the program started again.
    #[track_caller]
    pub fn garble(&self, text: &str) {
        must("writing the configuration", fs::write(self.config_path(), text));
    }

    /// Asks it to read its configuration again.
    #[track_caller]
    pub fn sighup(&self) {
        self.signal(libc::SIGHUP);
    }

    /// Asks it to finish.
    #[track_caller]
    pub fn sigterm(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Sends it any signal.
    #[track_caller]
    pub fn signal(&self, signal: i32) {
        must("signalling shardway", self.daemon().signal(signal));
    }

    /// Kills it, and waits until it is gone.
    #[track_caller]
    pub fn kill(&self) {
        must("killing shardway", self.daemon().kill());
    }

    /// How it ended; waits for that.
    ///
    /// # Panics
    /// It still runs after ten seconds, or its end has been told before.
    #[track_caller]
    pub fn wait_exit(&self) -> ExitStatus {
        let ended = must("waiting for shardway", self.daemon().wait(PATIENCE));
        ended.unwrap_or_else(|| panic!("shardway did not end within {PATIENCE:?}; its log:\n{}", self.log()))
    }

    /// All that it has written to its standard output and error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds `text`, and gives the first line that does.
    ///
    /// # Panics
    /// It does not within ten seconds.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        let line = || self.log().lines().find(|line| line.contains(text)).map(str::to_owned);
        eventually(&format!("{text:?} in {}", self.log_path().display()), line)
    }

    #[track_caller]
    fn write_config(&self) {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        must("writing the configuration", fs::write(self.config_path(), config.to_string()));
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("shardway.log")
    }

    fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects, and has the connection work in the background.
pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // How it ends is seen by the client's next call.
    tokio::spawn(connection);
    Ok(client)
}

/// The Shardway program: `SHARDWAY_BIN`, or next to the test program's own directory, where cargo puts both.
///
/// # Panics
/// There is none.
pub fn shardway_program() -> PathBuf {
    if let Some(binary) = env::var_os("SHARDWAY_BIN").filter(|binary| !binary.is_empty()) {
        return binary.into();
    }
    let program = must("finding the test program", env::current_exe());
    let found =
        program.ancestors().skip(1).take(2).map(|dir| dir.join("shardway")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "there is no shardway program near {}: run `make test`, or `cargo build` first, or set SHARDWAY_BIN",
            program.display()
        )
    })
}
