//! What a server says of those that wait for locks there.

use shardway_pool::control::{Control, ControlError};
use std::sync::Arc;

/// A physical server: pids are unique on it, whatever its databases.
pub(super) type Host = Arc<str>;

/// One backend of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Backend {
    pub(super) host: Host,
    pub(super) pid: u32,
}

/// A wait for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LockWait {
    /// What tells it from all other waits of its backend.
    pub(super) identity: String,
    /// The lock, in Postgres' words.
    pub(super) lock: String,
    /// Who holds it, or is before it in the queue. Prepared transactions are not among them: they wait for nobody.
    pub(super) blockers: Vec<u32>,
}

/// Waits that have lasted for longer than `deadlock_timeout`, by when the server has found the circles that are its own.
/// Locks are described as Postgres' DescribeLockTag does.
const WAITS: &str = "SELECT pid, locks::pg_catalog.text, \
     mode || ' on ' || CASE locktype \
       WHEN 'relation' THEN pg_catalog.format('relation %s of database %s', relation, database) \
       WHEN 'extend' THEN pg_catalog.format('extension of relation %s of database %s', relation, database) \
       WHEN 'page' THEN pg_catalog.format('page %s of relation %s of database %s', page, relation, database) \
       WHEN 'tuple' THEN pg_catalog.format('tuple (%s,%s) of relation %s of database %s', page, tuple, relation, database) \
       WHEN 'transactionid' THEN pg_catalog.format('transaction %s', transactionid) \
       WHEN 'virtualxid' THEN pg_catalog.format('virtual transaction %s', virtualxid) \
       WHEN 'object' THEN pg_catalog.format('object %s of class %s of database %s', objid, classid, database) \
       WHEN 'advisory' THEN pg_catalog.format('advisory lock [%s,%s,%s,%s]', database, classid, objid, objsubid) \
       ELSE locktype END, \
     pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(pid), ',') \
     FROM pg_catalog.pg_locks locks WHERE NOT granted AND pid IS NOT NULL AND \
       CASE WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 140000 THEN true \
       ELSE pg_catalog.clock_timestamp() - (pg_catalog.to_jsonb(locks) ->> 'waitstart')::pg_catalog.timestamptz \
         > pg_catalog.current_setting('deadlock_timeout')::pg_catalog.interval END";

/// Asks a server. Errors: the server's.
pub(super) async fn ask(control: &Control) -> Result<Vec<(u32, LockWait)>, ControlError> {
    Ok(control.ask(WAITS).await?.into_iter().filter_map(read).collect())
}

fn read(row: Vec<Option<String>>) -> Option<(u32, LockWait)> {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let (pid, identity, lock, blockers) = (next()?.parse().ok()?, next()?, next()?, next()?);
    let blockers = blockers.split(',').filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect();
    Some((pid, LockWait { identity, lock, blockers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: [&str; 4]) -> Vec<Option<String>> {
        fields.iter().map(|field| Some((*field).to_owned())).collect()
    }

    #[test]
    fn a_prepared_transaction_is_nobody_that_waits() {
        let (pid, wait) = read(row(["7", "(x)", "ShareLock on transaction 3", "0,9,12"])).unwrap();
        assert_eq!((pid, wait.blockers), (7, vec![9, 12]));
    }

    #[test]
    fn what_can_not_be_read_is_no_wait() {
        assert_eq!(read(row(["seven", "", "", ""])), None);
        assert_eq!(read(vec![None; 4]), None);
        assert_eq!(read(Vec::new()), None);
    }
}
