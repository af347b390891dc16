//! What the admin database keeps between commands: who is connected, what was counted, what is disabled, and which
//! pools RECONNECT has given up.

use super::clients::Clients;
use super::tally::Tallies;
use crate::error::ClientError;
use crate::proxy::{Proxy, World};
use shardway_pool::Pool;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// PgBouncer's `stats_period`.
const STATS_PERIOD: Duration = Duration::from_secs(60);

/// How often WAIT_CLOSE looks.
const LOOK: Duration = Duration::from_millis(10);

/// The admin database's own state; part of the process's.
#[derive(Debug, Default)]
pub struct Desk {
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// What was counted.
    pub tallies: Tallies,
    disabled: Mutex<HashSet<String>>,
    /// Pools that RECONNECT retired, by database, until their last server is closed.
    closing: Mutex<Vec<(String, Arc<Pool>)>>,
}

impl Desk {
    fn disabled(&self) -> MutexGuard<'_, HashSet<String>> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing(&self) -> MutexGuard<'_, Vec<(String, Arc<Pool>)>> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// DISABLE: nobody new is let in to a database.
    pub(super) fn disable(&self, database: &str) {
        self.disabled().insert(database.to_owned());
    }

    /// ENABLE takes that back.
    pub(super) fn enable(&self, database: &str) {
        self.disabled().remove(database);
    }

    /// Whether a database is disabled.
    pub(super) fn is_disabled(&self, database: &str) -> bool {
        self.disabled().contains(database)
    }

    /// Lets a client of a database in. Errors: the database is disabled.
    pub(crate) fn admit(&self, database: &str) -> Result<(), ClientError> {
        if !self.is_disabled(database) {
            return Ok(());
        }
        // PgBouncer's words; the SQLSTATE is Postgres's for a database with allow_connections = false.
        Err(ClientError::fatal("55000", format!("database does not allow connections: {database}")))
    }

    /// Gives up the pools of one database or of all: idle servers are closed now, lent ones as soon as they are given
    /// back. Sessions that remember such a pool go on with it until they see a new world.
    pub(super) fn give_up(&self, world: &World, database: Option<&str>) {
        let mut closing = self.closing();
        closing.retain(|(_, pool)| servers(pool) > 0);
        for found in world.databases.values().filter(|found| database.is_none_or(|name| name == found.name)) {
            for server in found.servers() {
                closing.extend(server.pools().into_iter().map(|(_, pool)| (found.name.clone(), pool)));
                server.keep_pools(|_| false);
            }
        }
    }

    /// Servers of a database that RECONNECT gave up and that still work for a client.
    pub(super) fn close_needed(&self, database: Option<&str>) -> usize {
        let meant = |name: &str| database.is_none_or(|wanted| wanted == name);
        self.closing().iter().filter(|(name, _)| meant(name)).map(|(_, pool)| servers(pool)).sum()
    }

    /// WAIT_CLOSE: waits until there is none.
    pub(super) async fn wait_close(&self, database: Option<&str>) {
        while self.close_needed(database) > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Servers of a pool that are there.
fn servers(pool: &Pool) -> usize {
    let stats = pool.stats();
    stats.idle + stats.active + stats.connecting
}

/// Remembers the counts of each period, for averages. For a background task.
pub async fn keep_stats(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(STATS_PERIOD).await;
        proxy.admin.tallies.turn(Instant::now());
    }
}
