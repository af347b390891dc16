//! Routing, through the real proxy: where rows land, and that what comes back is what one Postgres would say.

mod catalog;
mod kinds;
mod landing;
mod meeting;
mod oracle;
mod peers;
mod sorted;
mod vectors;

use shardway_shardmap::fnv1a64;
use shardway_tests::{RawClient, Reply, World};

/// The shard that FNV-1a says, of so many.
fn shard_of(canonical: &str, count: u64) -> usize {
    usize::try_from(fnv1a64(canonical.as_bytes()) % count).unwrap()
}

/// Counts of a table's matching rows, shard by shard.
fn counts(world: &World, table: &str, condition: &str) -> Vec<String> {
    world.everywhere(&format!("SELECT count(*) FROM {table} WHERE {condition}"))
}

/// `1` for the shard that owns the key, `0` for the others.
fn only_on(canonical: &str, count: u64) -> Vec<String> {
    (0..count).map(|shard| u8::from(shard as usize == shard_of(canonical, count)).to_string()).collect()
}

/// What a text says in simple protocol: rows as lines with `|`, or the error's SQLSTATE.
async fn ask(client: &mut RawClient, sql: &str) -> Result<Vec<String>, String> {
    said(client.query(sql).recv_until_ready().await)
}

fn said(reply: Reply) -> Result<Vec<String>, String> {
    match reply.error() {
        Some(error) => Err(error.field('C').unwrap_or_default()),
        None => {
            let text = |value: &Option<bytes::Bytes>| match value {
                Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                None => "∅".to_owned(),
            };
            Ok(reply.rows().iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect())
        }
    }
}
