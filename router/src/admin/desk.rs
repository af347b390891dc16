//! What the admin database keeps between commands: who is connected, what was counted, what is disabled or stands
//! still, and which pools RECONNECT or RELOAD has given up.

use super::clients::Clients;
use super::console::Console;
use super::standing::Standing;
use super::tally::{Count, Tallies};
use crate::error::ClientError;
use crate::proxy::{Proxy, World};
use shardway_pool::Pool;
use shardway_pool::cancel::{BackendKey, CancelTarget};
use shardway_pool::shard::Server;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// PgBouncer's `stats_period`.
pub(super) const STATS_PERIOD: Duration = Duration::from_secs(60);

/// How often commands look that wait for something.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// A pool that RECONNECT or RELOAD has given up, with its database and its user.
type GivenUp = (String, String, Arc<Pool>);

/// The admin database's own state; part of the process's.
#[derive(Debug, Default)]
pub struct Desk {
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// What was counted.
    pub tallies: Tallies,
    disabled: Mutex<HashSet<String>>,
    standing: Mutex<Standing>,
    /// Admins by their cancel keys.
    consoles: Mutex<HashMap<(u32, u32), Arc<Console>>>,
    /// Pools that RECONNECT or RELOAD retired, by database, until their last server is closed.
    closing: Mutex<Vec<GivenUp>>,
    /// Numbers of servers that somebody has looked at.
    numbers: Mutex<HashMap<usize, (u64, Weak<CancelTarget>)>>,
}

impl Desk {
    fn disabled(&self) -> MutexGuard<'_, HashSet<String>> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands still.
    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consoles(&self) -> MutexGuard<'_, HashMap<(u32, u32), Arc<Console>>> {
        self.consoles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An admin has come, or (`None`) has left.
    pub(super) fn list_console(&self, key: BackendKey, console: Option<Arc<Console>>) {
        match console {
            Some(console) => self.consoles().insert((key.pid, key.secret), console),
            None => self.consoles().remove(&(key.pid, key.secret)),
        };
    }

    /// The admin with this key.
    pub(super) fn console(&self, key: BackendKey) -> Option<Arc<Console>> {
        self.consoles().get(&(key.pid, key.secret)).cloned()
    }

    /// Admins that are connected.
    pub(crate) fn consoles_open(&self) -> usize {
        self.consoles().len()
    }

    fn closing(&self) -> MutexGuard<'_, Vec<GivenUp>> {
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
        Err(ClientError::fatal("55000", format!("database \"{database}\" is disabled")))
    }

    /// Gives up the pools of one database or of all: idle servers are closed now, lent ones as soon as they are given
    /// back. Sessions that remember such a pool go on with it until they see a new world.
    pub(super) fn give_up(&self, world: &World, database: Option<&str>) {
        for found in world.databases.values().filter(|found| database.is_none_or(|name| name == found.name)) {
            found.servers().for_each(|server| self.give_up_pools(&found.name, server, |_| false));
        }
    }

    /// The same of one server's pools, but for those of users that stay.
    pub(crate) fn give_up_pools(&self, database: &str, server: &Server, stays: impl Fn(&str) -> bool) {
        let mut closing = self.closing();
        closing.retain(|(_, _, pool)| servers(pool) > 0);
        let gone = server.pools().into_iter().filter(|(user, _)| !stays(user));
        closing.extend(gone.map(|(user, pool)| (database.to_owned(), user, pool)));
        server.keep_pools(stays);
    }

    /// Servers of a database that were given up and that still work for a client.
    pub(super) fn close_needed(&self, database: Option<&str>) -> usize {
        let meant = |name: &str| database.is_none_or(|wanted| wanted == name);
        self.closing().iter().filter(|(name, ..)| meant(name)).map(|(.., pool)| servers(pool)).sum()
    }

    /// Pools that were given up and that clients still use.
    pub(super) fn given_up(&self) -> Vec<GivenUp> {
        self.closing().iter().filter(|(.., pool)| servers(pool) > 0).cloned().collect()
    }

    /// A server's number: the same whenever somebody looks, and nobody else's.
    pub(super) fn number(&self, server: &Arc<CancelTarget>) -> u64 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, _)) = numbers.get(&(Arc::as_ptr(server) as usize)) {
            return *number;
        }
        // One that is remembered keeps its place in memory, so that no other one is taken for it.
        numbers.retain(|_, (_, server)| server.strong_count() > 0);
        let number = self.clients.number();
        numbers.insert(Arc::as_ptr(server) as usize, (number, Arc::downgrade(server)));
        number
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
        let logging = proxy.world().config.pgbouncer.as_ref().map(|ini| ini.settings.logging.clone());
        let period =
            logging.as_ref().map_or(STATS_PERIOD, |logging| Duration::from_secs(logging.stats_period as u64));
        tokio::time::sleep(period.max(Duration::from_secs(1))).await;
        if logging.is_some_and(|logging| logging.log_stats) {
            log_stats(&proxy);
        }
        proxy.admin.tallies.turn(Instant::now());
    }
}

/// PgBouncer's `log_stats`: the averages of the period that ends.
fn log_stats(proxy: &Proxy) {
    let averages = super::gather::all_stats(proxy).averages;
    let of = |count| averages.get(count);
    tracing::info!(
        "stats: {} xacts/s, {} queries/s, in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
        of(Count::Transactions),
        of(Count::Queries),
        of(Count::Received),
        of(Count::Sent),
        of(Count::TransactionTime),
        of(Count::QueryTime),
        of(Count::WaitTime)
    );
}
