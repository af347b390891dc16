//! The schema as a transaction has made it: read over the servers that it runs on, and planned with up to its end.

use super::{Changed, Session};
use crate::error::ClientError;
use crate::plan::Access;
use crate::plan::ddl::checks::Read;
use crate::plan::ddl::interleave;
use crate::plan_cache::Planning;
use crate::schema::ShardRef;
use crate::schema::placing::Home;
use crate::session::servers::refused;
use shardway_pool::catalog::{self, Catalog, Name};
use shardway_pool::server::ServerConn;
use std::sync::Arc;

impl Session {
    /// What the transaction has made of the schema, else what was read for all.
    pub(super) fn last_read(&self) -> Arc<Read> {
        let changed = self.transaction.as_ref().and_then(|transaction| transaction.changed.as_ref());
        changed.map_or_else(|| self.database.last_read(), |changed| changed.read.clone())
    }

    /// From here on, and to the end of the transaction, this is the schema.
    pub(super) fn take_up(&mut self, read: Read) {
        let Some(transaction) = &mut self.transaction else { return };
        transaction.ddl = true;
        // Before it commits: what waits until then is on its way to the shards of what its names stood for.
        self.database.note_names(&read.schema);
        let planning = Arc::new(Planning::new(read.schema.clone()));
        let types = transaction.changed.take().and_then(|changed| changed.types);
        transaction.changed = Some(Changed { planning, read: Arc::new(read), types });
        self.redraw_planning();
    }

    /// The transaction's schema is read again: a savepoint took back what was made behind it, or there is something new.
    pub(in crate::session) async fn reread_within(&mut self) -> Result<(), ClientError> {
        let base = self.database.last_read();
        let placing = &base.schema.placing;
        let (mut firsts, mut locals) = (Vec::new(), Vec::new());
        for participant in &self.servers {
            let shard = participant.shard;
            if shard.shard.0 == 0 {
                firsts.push(shard);
            } else if placing.local_shards(shard.group.0).contains(&shard.shard) {
                locals.push(shard);
            }
        }
        let homes: Vec<Home> = firsts.iter().map(|first| Home::Group(first.group)).collect();
        let read = self.read_within(&base, &homes, &firsts).await?;
        let mut read = self.read_within(&read, &[], &locals).await?;
        for first in firsts {
            // What was done to sequences may have been taken back, too.
            let group = first.group;
            let names = interleave::wanted(&read.schema, &read.catalogs[group.0], group);
            let stand = self.sequences_on(group, &names).await?;
            let proven = |name: &Name| {
                let shards: Vec<_> = stand.iter().map(|shard| shard.get(name).copied()).collect();
                interleave::is_interleaved(&shards)
            };
            read.catalogs[group.0].interleaved = names.into_iter().filter(proven).collect();
        }
        let read = self.database.lower(read.catalogs);
        self.take_up(read);
        self.reread_types().await
    }

    /// Reads the catalogs of the groups that a command was about, over the connections that it ran on.
    pub(super) async fn read_within(
        &mut self,
        before: &Read,
        homes: &[Home],
        firsts: &[ShardRef],
    ) -> Result<Read, ClientError> {
        let mut catalogs = before.catalogs.clone();
        for &shard in firsts {
            let group = shard.group.0;
            let found = self.catalog_on(shard).await?;
            let Some(known) = catalogs.get_mut(group) else { continue };
            let placing = &before.schema.placing;
            if homes.contains(&Home::Group(shard.group)) {
                // What other shards have for themselves was not touched.
                let elsewhere = |name: &Name| placing.local(group, name).is_some_and(|at| at != shard);
                let mut new = Catalog { interleaved: known.interleaved.clone(), ..found };
                new.adopt(std::mem::take(known), elsewhere);
                *known = new;
            } else {
                known.adopt(found, |name| placing.local(group, name) == Some(shard));
            }
        }
        Ok(self.database.lower(catalogs))
    }

    /// A shard's catalog as its transaction sees it.
    pub(super) async fn catalog_on(&mut self, shard: ShardRef) -> Result<Catalog, ClientError> {
        // Names are looked for in the system's catalogs alone, whatever the client's search path is.
        const BEFORE: &str = "SAVEPOINT shardway_catalog; SET LOCAL search_path = pg_catalog";
        const AFTER: &str = "ROLLBACK TO SAVEPOINT shardway_catalog; RELEASE SAVEPOINT shardway_catalog";
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        let lease = &mut self.servers[index].lease;
        lease.run(BEFORE).await.map_err(|e| refused(&e))?;
        let server: &mut ServerConn = lease;
        let unread = |e| ClientError::error("58000", format!("the schema could not be read: {e}"));
        let found = catalog::read_from(server).await.map_err(unread)?;
        lease.run(AFTER).await.map_err(|e| refused(&e))?;
        self.tell(index);
        Ok(found)
    }
}
