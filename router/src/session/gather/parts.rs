//! Who takes part in a gather: the shards that have rows, and the one that is the engine.

use crate::error::ClientError;
use crate::plan::Access;
use crate::plan::gather::{Brought, Gather, Home};
use crate::plan::locate::{Values, shards_of};
use crate::schema::ShardRef;
use crate::session::Session;
use crate::session::servers::Participant;

/// Indexes of servers in hand.
pub(super) struct Parts {
    pub(super) engine: usize,
    /// For each table, where its rows come from; the engine's own are not among them.
    pub(super) sources: Vec<Vec<usize>>,
    /// For each table, whether the engine has rows of it.
    pub(super) own: Vec<bool>,
    /// For each view, who has it.
    pub(super) views: Vec<usize>,
    /// All of them.
    pub(super) all: Vec<usize>,
}

impl Session {
    /// For each table, the shards that rows of it may be on; at least one where the engine has to be told of its columns.
    pub(super) fn shards_with_rows(&mut self, gather: &Gather, values: &Values<'_>) -> Vec<Vec<ShardRef>> {
        let keyed = |table: &Brought| match table.home {
            Home::One(place) => vec![place],
            Home::Copied(_) => Vec::new(),
            Home::Keyed(group) => match shards_of(&self.database.maps[group.0], &table.pins, values) {
                Some(shards) => shards.into_iter().map(|shard| ShardRef { group, shard }).collect(),
                None => self.database.shards_of(group).collect(),
            },
        };
        let mut from: Vec<Vec<ShardRef>> = gather.tables.iter().map(keyed).collect();
        // One copy of a reference table is enough, and rather one of a shard that takes part anyway.
        for (n, table) in gather.tables.iter().enumerate() {
            if from[n].is_empty() && table.is_foreign {
                let group = table.home.group();
                let here = from.iter().flatten().find(|shard| shard.group == group).copied();
                from[n].push(here.unwrap_or_else(|| self.any_shard(group)));
            }
        }
        from
    }

    /// Servers for all of these shards, for the engine, and for views of other groups.
    pub(super) async fn parts(
        &mut self,
        gather: &Gather,
        access: Access,
        from: &[Vec<ShardRef>],
    ) -> Result<Parts, ClientError> {
        let engine = self.engine(gather, from);
        let mut all: Vec<ShardRef> = from.iter().flatten().copied().chain([engine]).collect();
        let mut views = Vec::with_capacity(gather.views.len());
        for (group, _) in &gather.views {
            let here = all.iter().find(|shard| shard.group == *group).copied();
            let place = if *group == engine.group { Some(engine) } else { here };
            let place = place.unwrap_or_else(|| self.any_shard(*group));
            views.push(place);
            all.push(place);
        }
        // In order, as every other statement takes them: nobody waits for who waits for it.
        all.sort_unstable();
        all.dedup();
        let mut servers = Vec::with_capacity(all.len());
        for &shard in &all {
            // A replica has no temporary tables.
            let access = if shard == engine { Access::ReadPrimary } else { access };
            servers.push(self.acquire(shard, access).await?);
        }
        let index = |shard: &ShardRef| all.binary_search(shard).map_or(0, |at| servers[at]);
        let others = |from: &Vec<ShardRef>| from.iter().filter(|s| **s != engine).map(index).collect();
        Ok(Parts {
            engine: index(&engine),
            sources: from.iter().map(others).collect(),
            own: from.iter().map(|from| from.contains(&engine)).collect(),
            views: views.iter().map(index).collect(),
            all: servers.clone(),
        })
    }

    /// The shard that runs the statement: one that has rows of it. In a transaction, one that wrote nothing there if there
    /// is one: a server that has seen temporary tables can't prepare its transaction.
    pub(super) fn engine(&mut self, gather: &Gather, from: &[Vec<ShardRef>]) -> ShardRef {
        if let Some(shard) = gather.at {
            return ShardRef { group: gather.group, shard };
        }
        let of_group = |shard: &ShardRef| shard.group == gather.group;
        let mut able: Vec<ShardRef> = from.iter().flatten().copied().filter(of_group).collect();
        if able.is_empty() {
            able = self.database.shards_of(gather.group).collect();
        }
        able.sort_unstable();
        able.dedup();
        let held = |fits: fn(&Participant) -> bool| {
            self.servers.iter().find(|p| fits(p) && able.contains(&p.shard)).map(|p| p.shard)
        };
        // One that has seen some can't prepare any more.
        if let Some(shard) = held(|p| p.unpreparable).or_else(|| held(|p| !p.wrote)) {
            return shard;
        }
        self.next_shard = self.next_shard.wrapping_add(1);
        let wrote = |shard: &ShardRef| self.servers.iter().any(|p| p.wrote && p.shard == *shard);
        let free: Vec<ShardRef> = able.iter().copied().filter(|shard| !wrote(shard)).collect();
        let among = if free.is_empty() { &able } else { &free };
        among[self.next_shard as usize % among.len()]
    }
}
