//! Shardway as a contestant: one binary, behind which there may be two processes, with the cache and without.

use crate::error::BenchError;
use crate::fill::{DATABASE, KNOWN_KEY, NARROW, SHARDS, USER};
use crate::proxy::{Launch, Proxy};
use shardway_cluster::{HOST, Port};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the database that is sharded.
pub const SHARDED: &str = "sharded";

/// What the environment would put in the configuration's place.
const OVERRIDES: [&str; 4] = ["SHARDWAY_CONFIG", "DATABASE_URL", "DATABASE_SHARD_COUNT", "REDIS_URL"];

/// A binary to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The contestant's name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its worker threads; `None` leaves them to it.
    pub workers: Option<usize>,
}

impl Binary {
    /// Copies the program `to` another place: a build in the middle of the run must not change what is measured.
    ///
    /// # Errors
    /// The program is not there, or there is no room.
    pub fn copied(self, to: PathBuf) -> Result<Binary, BenchError> {
        if !self.program.is_file() {
            return Err(BenchError::NoBinary(self.program));
        }
        let copied = std::fs::copy(&self.program, &to);
        copied.map_err(BenchError::io(format!("copying {}", self.program.display())))?;
        Ok(Binary { program: to, ..self })
    }

    /// Starts it in front of the server at port `server`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&self, server: u16, cache: bool) -> Result<Proxy, BenchError> {
        let port = Port::reserve()?;
        let config = configuration(server, port.number(), self.workers, cache);
        let files = |_: &Path| vec![("shardway.toml", config.clone())];
        let launch = Launch {
            name: &self.name,
            user: None,
            files: &files,
            ready: &[(DATABASE, USER, KNOWN_KEY), (NARROW, NARROW, KNOWN_KEY), (SHARDED, USER, KNOWN_KEY)],
        };
        Proxy::start(port, &launch, |dir| {
            let mut command = Command::new(&self.program);
            command.args(["serve", "--config"]).arg(dir.join("shardway.toml"));
            for name in OVERRIDES {
                command.env_remove(name);
            }
            // As quiet as PgBouncer is told to be.
            command.env("RUST_LOG", "warn");
            command
        })
    }
}

fn configuration(server: u16, listen: u16, workers: Option<usize>, cache: bool) -> String {
    let workers = workers.map(|workers| format!("worker_threads = {workers}\n")).unwrap_or_default();
    let cache = if cache { "[cache]\nenabled = true\n[[cache.rules]]\ntable = \"account\"\n" } else { "" };
    let databases = [
        database(DATABASE, 1, "", server, DATABASE),
        database(NARROW, 1, "", server, DATABASE),
        database(SHARDED, SHARDS, "\"user_id\"", server, "shard_{shard}"),
    ]
    .concat();
    format!(
        "[server]
listen = [\"{HOST}:{listen}\"]
http = \"\"
auth = \"trust\"
max_client_conn = 3000
{workers}
[pool]
mode = \"transaction\"
default_pool_size = 20

{cache}
[[users]]
name = \"{USER}\"

[[users]]
name = \"{NARROW}\"
pool_size = 5
{databases}"
    )
}

/// `keys` and `behind`, the name on the server, are as the file has them.
fn database(name: &str, shards: u32, keys: &str, server: u16, behind: &str) -> String {
    let ids: Vec<u32> = (0..shards).collect();
    format!(
        "
[[databases]]
name = \"{name}\"
[[databases.groups]]
name = \"main\"
shard_count = {shards}
keys = [{keys}]
[[databases.groups.shards]]
ids = {ids:?}
primary = \"postgres://{HOST}:{server}/{behind}\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_and_the_number_of_workers_are_only_set_where_they_are_asked_for() {
        let plain = configuration(5432, 6432, None, false);
        assert!(!plain.contains("[cache]") && !plain.contains("worker_threads"));
        let asked = configuration(5432, 6432, Some(2), true);
        assert!(asked.contains("worker_threads = 2\n") && asked.contains("[cache]\nenabled = true\n"));
    }

    #[test]
    fn shards_are_databases_of_one_server() {
        let text = database("d", 4, "\"k\"", 5432, "shard_{shard}");
        assert!(text.contains("shard_count = 4\nkeys = [\"k\"]\n"));
        assert!(text.contains("ids = [0, 1, 2, 3]\nprimary = \"postgres://127.0.0.1:5432/shard_{shard}\"\n"));
    }
}
