//! The server behind everybody, and what is in its databases.
//!
//! `bench` has all tables. `shard_0` to `shard_3` have the rows of `account` and `ledger` whose keys are theirs; all
//! are on one server, so that shards have the memory and the cores that the one database has.

use crate::error::BenchError;
use crate::pgbench::Pgbench;
use crate::scripts::{KEYS, SCALE};
use crate::wire::Endpoint;
use shardway_cluster::Server;
use shardway_shardmap::{CanonicalKey, Function, ShardMap};

/// The one database.
pub const DATABASE: &str = "bench";
/// The superuser, as whom everybody comes in.
pub const USER: &str = "postgres";
/// Whose pool is narrow, and the name of the database that goes with it.
pub const NARROW: &str = "narrow";
/// How many shards there are.
pub const SHARDS: u32 = 4;
/// How many of `account`'s keys are in `ledger`: what is scanned for a result must not hide what merging costs.
const LEDGER_KEYS: i64 = 80;

const TABLES: &str = "
CREATE TABLE account (user_id bigint PRIMARY KEY, kind text NOT NULL, amount bigint NOT NULL, note text) WITH (fillfactor = 50);
CREATE TABLE ledger (LIKE account INCLUDING ALL);
";

const DOCUMENTS: &str = "
CREATE TABLE document (id int PRIMARY KEY, body text);
INSERT INTO document SELECT n, repeat(chr(97 + n % 26), 1000) FROM generate_series(1, 5000) n;
CREATE TABLE accounts_in (LIKE pgbench_accounts);
";

/// A statement that any proxy in front of shards can answer once it knows the tables.
pub const KNOWN_KEY: &str = "SELECT amount FROM account WHERE user_id = 1";

/// Starts the server and fills it.
///
/// # Errors
/// There is no Postgres, or it does not do what it is told.
pub fn server(pgbench: &Pgbench) -> Result<Server, BenchError> {
    let server = Server::builder()
        .name("postgres")
        .setting("max_connections", 1000)
        .setting("shared_buffers", "512MB")
        // Nothing that comes and goes by itself, in the middle of somebody's run.
        .setting("autovacuum", "off")
        .setting("checkpoint_timeout", "1h")
        .setting("max_wal_size", "16GB")
        .hba("host all all 127.0.0.1/32 trust")
        .start()?;
    server.sql(USER, &format!("CREATE DATABASE {DATABASE}; CREATE ROLE {NARROW} SUPERUSER LOGIN"))?;
    let to = Endpoint { port: server.port(), database: DATABASE.into(), user: USER.into() };
    pgbench.initialise(&to, SCALE)?;
    server.sql(DATABASE, &format!("{TABLES}{}{DOCUMENTS}", rows(|_| true)))?;
    server.sql(DATABASE, "VACUUM (FREEZE, ANALYZE)")?;
    Ok(server)
}

/// Makes and fills the shards.
///
/// # Errors
/// The server refuses.
pub fn shards(server: &Server) -> Result<(), BenchError> {
    for shard in 0..SHARDS {
        let database = shard_database(shard);
        server.sql(USER, &format!("CREATE DATABASE {database}"))?;
        server.sql(&database, &format!("{TABLES}{}", rows(|key| owner(key) == Some(shard))))?;
        server.sql(&database, "VACUUM (FREEZE, ANALYZE)")?;
    }
    Ok(())
}

/// The database of a shard.
pub fn shard_database(shard: u32) -> String {
    format!("shard_{shard}")
}

fn owner(key: i64) -> Option<u32> {
    let map = ShardMap::new(Function::Fnv1a, SHARDS).ok()?;
    Some(map.locate(&CanonicalKey::Int(key)).ok()?.0)
}

/// INSERTs of the rows whose keys are `ours`.
fn rows(ours: impl Fn(i64) -> bool) -> String {
    let row = |key: i64| format!("({key}, 'kind {}', {}, 'note {key}')", key % 4, key * 7919 % 1000);
    let insert = |table: &str, keys: i64| {
        let rows: Vec<String> = (1..=keys).filter(|&key| ours(key)).map(row).collect();
        format!("INSERT INTO {table} VALUES {};\n", rows.join(", "))
    };
    insert("account", KEYS) + &insert("ledger", LEDGER_KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_owner_and_every_shard_some_rows() {
        let mut counts = [0; SHARDS as usize];
        for key in 1..=LEDGER_KEYS {
            counts[owner(key).expect("an integer has an owner") as usize] += 1;
        }
        assert_eq!(counts.iter().sum::<i64>(), LEDGER_KEYS);
        assert!(counts.iter().all(|&count| count > LEDGER_KEYS / 10), "{counts:?}");
    }

    #[test]
    fn rows_are_inserted_where_they_belong() {
        let sql = rows(|key| key == 3);
        assert_eq!(
            sql,
            "INSERT INTO account VALUES (3, 'kind 3', 757, 'note 3');\n\
             INSERT INTO ledger VALUES (3, 'kind 3', 757, 'note 3');\n"
        );
    }
}
