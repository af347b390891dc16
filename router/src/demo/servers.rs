//! The demo's Postgres servers, and the databases on them.

use shardway_cluster::{Result, Server};
use std::path::Path;
use std::thread;

const ROLES: &str = include_str!("schema/roles.sql");
const SHOP: &str = include_str!("schema/shop.sql");
const MANUFACTURING: &str = include_str!("schema/manufacturing.sql");

/// One server, who follows it, and the logical shards on it.
pub(super) struct Site {
    /// Follows.
    pub(super) replica: Server,
    /// Takes writes.
    pub(super) primary: Server,
    /// Shards of the group "main".
    pub(super) main: [u32; 2],
    /// The shard of the group "manufacturing".
    pub(super) manufacturing: u32,
}

/// All of them.
pub(super) struct Servers {
    /// A and B.
    pub(super) sites: [Site; 2],
    kept: bool,
}

impl Servers {
    /// Starts two servers and their replicas; in `dir` if they are to be found again. Blocks.
    pub(super) fn start(dir: Option<&Path>) -> Result<Self> {
        let primaries = [primary(dir, "a")?, primary(dir, "b")?];
        // First, so that a replica can be copied from a server that has been used for long.
        Server::start_all(&primaries)?;
        let replicas = [replica(dir, &primaries[0])?, replica(dir, &primaries[1])?];
        Server::start_all(&replicas)?;
        replicas.iter().try_for_each(Server::wait_streaming)?;
        let ([a, b], [follows_a, follows_b]) = (primaries, replicas);
        let sites = [
            Site { primary: a, replica: follows_a, main: [0, 1], manufacturing: 0 },
            Site { primary: b, replica: follows_b, main: [2, 3], manufacturing: 1 },
        ];
        Ok(Self { sites, kept: dir.is_some() })
    }

    /// Makes roles, databases and tables, as an operator's migration would: on each shard, past the proxy.
    /// What an interrupted run left is removed first. Blocks.
    pub(super) fn lay_out(&self) -> Result<()> {
        thread::scope(|scope| {
            let sites: Vec<_> = self.sites.iter().map(|site| scope.spawn(|| site.lay_out())).collect();
            sites
                .into_iter()
                .map(|site| site.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .fold(Ok(()), Result::and)
        })
    }

    /// Waits until the replicas have all that was written so far. Blocks.
    pub(super) fn settle(&self) -> Result<()> {
        self.sites.iter().try_for_each(|site| site.replica.wait_caught_up(&site.primary))
    }

    /// Every server's name and port, primaries first.
    pub(super) fn ports(&self) -> String {
        let servers = self.sites.iter().flat_map(|site| [&site.primary, &site.replica]);
        servers.map(|server| format!("{} :{}", server.name(), server.port())).collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if !self.kept {
            return; // they are killed and removed, which is quicker
        }
        for site in &self.sites {
            // The primary first: it hands over the last of its WAL.
            // What fails here is repaired from the WAL at the next start.
            let _ = site.primary.stop();
            let _ = site.replica.stop();
        }
    }
}

impl Site {
    fn lay_out(&self) -> Result<()> {
        self.primary.sql("postgres", ROLES)?;
        for shard in self.main {
            self.database(&format!("shop_{shard}"), SHOP)?;
        }
        self.database(&format!("mfg_{}", self.manufacturing), MANUFACTURING)
    }

    fn database(&self, name: &str, schema: &str) -> Result<()> {
        let create =
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE);\nCREATE DATABASE {name} OWNER app;");
        self.primary.sql("postgres", &create)?;
        self.primary.sql(name, &format!("SET client_min_messages = warning;\n{schema}"))?;
        Ok(())
    }
}

fn primary(dir: Option<&Path>, name: &str) -> Result<Server> {
    let builder = Server::builder().name(name);
    match dir {
        Some(dir) => builder.data_dir(dir.join(format!("server-{name}"))).prepare(),
        None => builder.prepare(),
    }
}

fn replica(dir: Option<&Path>, primary: &Server) -> Result<Server> {
    let name = format!("{}-replica", primary.name());
    let builder = Server::replica_of(primary).name(&name);
    match dir {
        Some(dir) => builder.data_dir(dir.join(format!("server-{name}"))).prepare(),
        None => builder.prepare(),
    }
}
