//! The demo's shardway.toml, written as an operator would write it.

use super::servers::{Servers, Site};
use shardway_cluster::Port;
use std::fmt::Write;

/// Where the proxy is to listen.
pub(super) struct Ports {
    /// Clients.
    pub(super) listen: Port,
    /// /metrics and /health.
    pub(super) http: Port,
}

/// The text of the configuration.
pub(super) fn text(servers: &Servers, ports: &Ports, redis: Option<&str>) -> String {
    let (listen, http) = (ports.listen.number(), ports.http.number());
    let redis_url = redis.map(|url| format!("redis_url = \"{url}\"\n")).unwrap_or_default();
    let main = placements(servers, "shop", |site| site.main.to_vec());
    let manufacturing = placements(servers, "mfg", |site| vec![site.manufacturing]);
    format!(
        r#"# Written by `shardway demo` at every start.

[server]
listen = ["127.0.0.1:{listen}"]
http = "127.0.0.1:{http}"
admin_users = ["admin"]
shutdown_timeout = "5s"

[cache]
enabled = true
{redis_url}
[[cache.rules]]
table = "CatalogModule"
ttl = "24h"

[[cache.rules]]
table = "CatalogFinish"

[[users]]
name = "app"
password = "secret"

[[users]]
name = "admin"
password = "secret"

[[databases]]
name = "shop"
user = "app"
password = "secret"

[[databases.groups]]
name = "main"
shard_count = 4
keys = ["configurationId", "user_id"]
{main}
[[databases.groups]]
name = "manufacturing"
shard_count = 2
keys = ["manufacturingJobId"]
{manufacturing}
[[databases.tables]]
name = "CatalogModule"
kind = "reference"
group = "main"

[[databases.tables]]
name = "CatalogFinish"
kind = "reference"
group = "main"

[[databases.tables]]
name = "ModuleSprite"
kind = "reference"
group = "main"
"#
    )
}

fn placements(servers: &Servers, prefix: &str, ids: impl Fn(&Site) -> Vec<u32>) -> String {
    let mut text = String::new();
    for site in &servers.sites {
        let (primary, replica) = (site.primary.port(), site.replica.port());
        // Writing to a String can't fail.
        let _ = write!(
            text,
            r#"
  [[databases.groups.shards]]
  ids = {ids:?}
  primary = "postgres://127.0.0.1:{primary}/{prefix}_{{shard}}"
  replicas = ["postgres://127.0.0.1:{replica}/{prefix}_{{shard}}"]
"#,
            ids = ids(site),
        );
    }
    text
}
