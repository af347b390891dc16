//! Making a server: its directory, its configuration, its port.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    Afterwards, Daemon, Error, HOST, Installation, OsUser, Port, Result, Server, files,
    settings::Settings,
    template::{run_as, template},
};

/// A port was free when it was picked; somebody who knows nothing of our locks may have it since.
const PORTS_TRIED: u32 = 3;

/// What a server is to be; see [`Server::builder`] and [`Server::replica_of`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before start()"]
pub struct ServerBuilder {
    origin: Origin,
    name: Option<String>,
    settings: Settings,
    data_dir: Option<PathBuf>,
    port: Option<u16>,
}

/// Where the data comes from.
#[derive(Clone, Debug)]
enum Origin {
    Fresh,
    Replica { primary_dir: PathBuf, primary_port: u16 },
}

impl ServerBuilder {
    pub(crate) fn primary() -> ServerBuilder {
        ServerBuilder {
            origin: Origin::Fresh,
            name: None,
            settings: Settings::default(),
            data_dir: None,
            port: None,
        }
    }

    pub(crate) fn replica_of(primary: &Server) -> ServerBuilder {
        ServerBuilder {
            origin: Origin::Replica { primary_dir: primary.dir.clone(), primary_port: primary.port() },
            settings: primary.settings.clone(),
            ..ServerBuilder::primary()
        }
    }

    /// The name for errors and, of a replica, for `pg_stat_replication`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A line for postgresql.conf, such as `("max_prepared_transactions", 0)`; it wins over the defaults.
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.chosen.insert(name.into(), value.to_string());
        self
    }

    /// A line for pg_hba.conf, such as `host all md5user 127.0.0.1/32 md5`; it comes before the defaults.
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.settings.hba.push(line.into());
        self
    }

    /// Uses this directory and leaves it there; a server that was in it before comes back with its data.
    /// Implies [`durable(true)`](Self::durable).
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self.durable(true)
    }

    /// Whether commits must survive the death of the machine (fsync).
    pub fn durable(mut self, durable: bool) -> Self {
        self.settings.durable = durable;
        self
    }

    /// Insists on a port; otherwise it is any that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Makes the server and starts it; a replica is streaming when this returns.
    ///
    /// # Errors
    /// No Postgres on the machine, no room, or the server does not come up: the error says which.
    pub fn start(self) -> Result<Server> {
        let mut tries = 1;
        let server = loop {
            let server = self.prepare()?;
            match server.start() {
                Err(Error::Late { .. }) if server.log_says_port_taken() && self.may_try_again(tries) => {
                    tries += 1;
                }
                started => break started.map(|()| server)?,
            }
        };
        if let Origin::Replica { .. } = self.origin {
            server.wait_streaming()?;
        }
        Ok(server)
    }

    /// Makes the server's directory and reserves its port, and leaves the start to the caller: servers that
    /// belong together are prepared one by one and started side by side ([`Server::start_all`]).
    ///
    /// # Errors
    /// No Postgres on the machine, or no room.
    pub fn prepare(&self) -> Result<Server> {
        let installation = Installation::find()?;
        let user = OsUser::for_postgres()?;
        let port = self.port.map_or_else(Port::reserve, |port| Ok(Port::chosen(port)))?;
        let name = self.name.clone().unwrap_or_else(|| self.default_name(port.number()));
        let (dir, daemon) = self.guarded_dir(&name, user)?;
        let daemon = Mutex::new(daemon);
        let settings = self.settings.clone();
        let server = Server { name, dir, port, installation, user, settings, daemon };
        self.fill(&server)?;
        self.configure(&server)?;
        Ok(server)
    }

    fn may_try_again(&self, tries: u32) -> bool {
        self.port.is_none() && self.data_dir.is_none() && tries < PORTS_TRIED
    }

    fn default_name(&self, port: u16) -> String {
        match self.origin {
            Origin::Fresh => format!("postgres_{port}"),
            Origin::Replica { primary_port, .. } => format!("replica_{port}_of_{primary_port}"),
        }
    }

    /// The guardian is there before anything is in the directory.
    fn guarded_dir(&self, name: &str, user: Option<OsUser>) -> Result<(PathBuf, Daemon)> {
        if let Some(dir) = &self.data_dir {
            if !is_filled(dir) && !files::is_empty(dir) {
                return Err(Error::NotADataDirectory { dir: dir.clone() });
            }
            files::private_dir(dir, user)?;
            let dir = dir.canonicalize().map_err(Error::io(format!("finding {}", dir.display())))?;
            let daemon = Daemon::new(name, &dir, Afterwards::Keep, libc::SIGQUIT)?;
            return Ok((dir, daemon));
        }
        let dir = files::temp_dir("shardway-pg-", user)?;
        let daemon = Daemon::new(name, dir.path(), Afterwards::Remove, libc::SIGQUIT)?;
        Ok((dir.keep(), daemon))
    }

    fn fill(&self, server: &Server) -> Result<()> {
        let is_filled = is_filled(&server.dir);
        match &self.origin {
            Origin::Replica { .. } if is_filled && !server.dir.join("standby.signal").exists() => {
                Err(Error::NotAReplica { dir: server.dir.clone() })
            }
            _ if is_filled => Ok(()),
            Origin::Fresh => self.fill_from_template(server),
            Origin::Replica { primary_dir, .. } if has_all_its_wal(primary_dir) => {
                self.fill_from_template(server)
            }
            Origin::Replica { primary_port, .. } => base_backup(server, *primary_port),
        }
    }

    fn fill_from_template(&self, server: &Server) -> Result<()> {
        let template = template(server.installation, server.user)?;
        files::copy_dir(&template, &server.dir, server.user)?;
        if !self.settings.durable {
            return Ok(());
        }
        let mut sync = std::process::Command::new(server.installation.program("initdb"));
        run_as(sync.arg("--sync-only").arg("-D").arg(&server.dir), server.user)
    }

    fn configure(&self, server: &Server) -> Result<()> {
        let primary = match self.origin {
            Origin::Fresh => None,
            Origin::Replica { primary_port, .. } => {
                files::write(&server.dir.join("standby.signal"), "", server.user)?;
                let name = &server.name;
                Some(format!("host={HOST} port={primary_port} user=postgres application_name='{name}'"))
            }
        };
        if !server.log_path().exists() {
            // Made here so that it is the server's own, and a base backup may read it.
            files::write(&server.log_path(), "", server.user)?;
        }
        let conf = server.settings.postgresql_conf(&server.dir, server.port(), primary.as_deref());
        files::write(&server.dir.join("postgresql.conf"), &conf, server.user)?;
        files::write(&server.dir.join("pg_hba.conf"), &server.settings.pg_hba_conf(), server.user)
    }
}

impl Server {
    fn log_says_port_taken(&self) -> bool {
        files::tail(&self.log_path(), 0).contains("Address already in use")
    }
}

fn is_filled(data_dir: &Path) -> bool {
    data_dir.join("PG_VERSION").exists()
}

/// The template is a base backup of every server that was made from it, as long as that server still has
/// all of its WAL; and taking it needs no running primary.
fn has_all_its_wal(primary_dir: &Path) -> bool {
    primary_dir.join("pg_wal/000000010000000000000001").exists()
}

fn base_backup(server: &Server, primary_port: u16) -> Result<()> {
    let mut command = server.installation.client("pg_basebackup");
    command.args(["-h", HOST, "-U", "postgres", "-X", "stream", "-c", "fast"]);
    command.arg("-p").arg(primary_port.to_string()).arg("-D").arg(&server.dir);
    if !server.settings.durable {
        command.arg("--no-sync");
    }
    run_as(&mut command, server.user)?;
    // The backup brings the primary's log along, which is not this server's story.
    files::remove(&server.log_path())
}
