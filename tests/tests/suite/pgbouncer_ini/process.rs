//! `shardway serve --pgbouncer`, with the files that it reads.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
    sync::{Mutex, MutexGuard, PoisonError},
};

use shardway_tests::{
    PASSWORD, RawClient,
    cluster::{Afterwards, Daemon, OsUser, Port},
    eventually, must, shardway_program,
};
use tokio_postgres::{Client, Config, NoTls};

use super::WORLD;

/// A process and its directory, which holds `pgbouncer.ini`. `{dir}` in a file is that directory, `{port}` the port of the
/// world's server.
pub struct Process {
    listen: Port,
    dir: PathBuf,
    /// Where the file is.
    home: PathBuf,
    daemon: Mutex<Daemon>,
    kept: Vec<Process>,
    /// The real PgBouncer, where it is that one.
    pgbouncer: Option<PathBuf>,
}

/// Where PgBouncer is installed: SHARDWAY_PGBOUNCER, else PATH and where packages put it. `None`, with a word about it: it is
/// not.
pub fn pgbouncer() -> Option<PathBuf> {
    let named = env::var_os("SHARDWAY_PGBOUNCER").filter(|program| !program.is_empty()).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = named.or_else(|| dirs.map(|dir| dir.join("pgbouncer")).find(|program| program.is_file()));
    if found.is_none() {
        eprintln!(
            "nothing is compared with PgBouncer: it is not installed (Debian: apt-get install pgbouncer)"
        );
    }
    found
}

impl Process {
    /// The directory with the file, to which `listen_addr`, `listen_port` and `unix_socket_dir` are added.
    #[track_caller]
    pub fn new(ini: &str) -> Process {
        let dir = must("making a directory", tempfile::Builder::new().prefix("shardway-ini-").tempdir());
        let daemon = Daemon::new("shardway", dir.path(), Afterwards::Remove, libc::SIGKILL);
        let daemon = Mutex::new(must("guarding shardway", daemon));
        let (dir, home) = (dir.path().to_owned(), dir.keep());
        let process = Process {
            listen: must("a port", Port::reserve()),
            dir,
            home,
            daemon,
            kept: Vec::new(),
            pgbouncer: None,
        };
        process.rewrite(ini);
        process
    }

    /// The same process, with the directory of one that ended: it goes when this one does.
    pub fn keep_files_of(mut self, other: Process) -> Process {
        self.kept.push(other);
        self
    }

    /// Another process with the same file, not started yet.
    #[track_caller]
    pub fn successor(&self) -> Process {
        let dir = must("making a directory", tempfile::Builder::new().prefix("shardway-ini-").tempdir());
        let daemon = Daemon::new("shardway", dir.path(), Afterwards::Remove, libc::SIGKILL);
        let daemon = Mutex::new(must("guarding shardway", daemon));
        Process {
            listen: Port::chosen(self.port()),
            dir: dir.keep(),
            home: self.home.clone(),
            daemon,
            kept: Vec::new(),
            pgbouncer: None,
        }
    }

    /// One more file.
    #[track_caller]
    pub fn file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        let text = text.replace("{dir}", &self.home.display().to_string());
        let text = text.replace("{port}", &WORLD.server(0).port().to_string());
        must("writing a file", fs::write(self.home.join(name), text));
    }

    /// Another `pgbouncer.ini`.
    #[track_caller]
    pub fn rewrite(&self, ini: &str) {
        let own =
            format!("listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir = {{dir}}\n", self.port());
        let (before, after) = ini.split_once("[pgbouncer]\n").expect("a [pgbouncer]");
        self.write("pgbouncer.ini", &format!("{before}[pgbouncer]\n{own}{after}"));
    }

    /// Replaces a part of the `pgbouncer.ini`.
    #[track_caller]
    pub fn edit(&self, old: &str, new: &str) {
        let path = self.ini();
        let text = must("reading the file", fs::read_to_string(&path));
        assert!(text.contains(old), "{old} in\n{text}");
        must("writing the file", fs::write(path, text.replace(old, new)));
    }

    pub fn ini(&self) -> PathBuf {
        self.path("pgbouncer.ini")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn port(&self) -> u16 {
        self.listen.number()
    }

    /// The real PgBouncer with these files, in the place of Shardway.
    #[track_caller]
    pub fn of_pgbouncer(self, program: PathBuf) -> Self {
        // It does not run as root, and puts its socket there.
        let everybodys = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        must("opening the directory", fs::set_permissions(&self.home, everybodys));
        Self { pgbouncer: Some(program), ..self }
    }

    /// Starts it, and waits until it listens.
    #[track_caller]
    pub fn start(self) -> Self {
        self.start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments.
    #[track_caller]
    pub fn start_with(self, arguments: &[&str]) -> Self {
        self.spawn(arguments);
        eventually(&format!("it to listen; its log:\n{}", self.log()), || {
            let ended = must("waiting for shardway", self.daemon().try_wait());
            assert!(ended.is_none(), "it ended at its start ({ended:?}):\n{}", self.log());
            let listens =
                ["listening address=", "listening on "].map(|how| format!("{how}127.0.0.1:{}", self.port()));
            listens.iter().any(|line| self.log().contains(line)).then_some(())
        });
        self
    }

    /// Starts it, and waits for nothing.
    #[track_caller]
    pub fn spawn(&self, arguments: &[&str]) {
        let command = self.command(arguments);
        let user = self.pgbouncer.as_ref().and_then(|_| must("an unprivileged user", OsUser::for_postgres()));
        must("starting it", self.daemon().spawn(&command, user, &self.log_path()));
    }

    /// `shardway serve` with the file.
    pub fn command(&self, arguments: &[&str]) -> Command {
        if let Some(program) = &self.pgbouncer {
            let mut command = Command::new(program);
            command.args(arguments).arg(self.ini());
            return command;
        }
        let mut command = Command::new(shardway_program());
        command.args(["serve", "--pgbouncer"]).arg(self.ini()).args(arguments);
        command.env_remove("SHARDWAY_CONFIG").env_remove("RUST_LOG");
        command
    }

    /// What it says that ends by itself.
    pub fn output(&self, arguments: &[&str]) -> Output {
        must("running shardway", self.command(arguments).output())
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds `text`, and gives the first line that does.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        let line = || self.log().lines().find(|line| line.contains(text)).map(str::to_owned);
        eventually(&format!("{text:?} in {}", self.log()), line)
    }

    #[track_caller]
    pub fn signal(&self, signal: i32) {
        must("signalling shardway", self.daemon().signal(signal));
    }

    #[track_caller]
    pub fn wait_exit(&self) -> ExitStatus {
        let ended = must("waiting for shardway", self.daemon().wait(shardway_tests::PATIENCE));
        ended.unwrap_or_else(|| panic!("shardway did not end; its log:\n{}", self.log()))
    }

    pub fn is_running(&self) -> bool {
        must("waiting for shardway", self.daemon().try_wait()).is_none()
    }

    pub fn pid(&self) -> u32 {
        self.daemon().pid().expect("it runs")
    }

    pub fn client_config(&self, user: &str, database: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port()).user(user).password(PASSWORD).dbname(database);
        config
    }

    pub async fn try_connect(&self, user: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
        connect(&self.client_config(user, database)).await
    }

    #[track_caller]
    pub fn connect(&self, user: &str, database: &str) -> impl Future<Output = Client> {
        let config = self.client_config(user, database);
        async move {
            connect(&config)
                .await
                .unwrap_or_else(|error| panic!("{user} at {database}: {error:?}\n{}", self.log()))
        }
    }

    pub async fn admin(&self) -> Client {
        self.connect("admin", "pgbouncer").await
    }

    pub async fn raw(&self, user: &str, database: &str) -> RawClient {
        let mut raw = RawClient::connect(self.port()).await;
        raw.login(user, database, PASSWORD).await;
        raw
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("stderr.log")
    }

    fn daemon(&self) -> MutexGuard<'_, Daemon> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
