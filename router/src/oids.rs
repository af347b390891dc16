//! Which object ids clients see for types that users made: those of the shard that answers questions about catalogs, the
//! first of the first group. See [`shardway_pool::oids`].

use crate::database::Database;
use crate::schema::ShardRef;
use shardway_pool::catalog;
use shardway_pool::catalog::types::{self, Objects};
use shardway_pool::control::Control;
use shardway_pool::oids::{Oids, maps};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a shard has to say what it has, where statements may wait for that.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// What each shard has, as far as it was read.
pub type ByShard = HashMap<ShardRef, Arc<Objects>>;

/// Each shard's ids beside those of clients.
#[derive(Debug, Default)]
pub struct TypeMaps {
    of: HashMap<ShardRef, Option<Arc<Oids>>>,
    /// Whether some shard had others than clients, now or before.
    had_own: bool,
}

/// What is known of a shard's ids.
#[derive(Clone, Copy, Debug)]
pub enum Terms<'a> {
    /// Nothing.
    Unread,
    /// They are those of clients.
    Same,
    /// They are others.
    Own(&'a Arc<Oids>),
}

impl TypeMaps {
    /// Of what was read. Maps that say the same as those `before` are the same ones.
    pub fn of(read: &ByShard, before: &Self) -> Self {
        let mut shards: Vec<ShardRef> = read.keys().copied().collect();
        shards.sort_unstable();
        let objects: Vec<Option<&Objects>> =
            shards.iter().map(|shard| read.get(shard).map(|own| &**own)).collect();
        let same = |shard: &ShardRef, own: Arc<Oids>| match before.of.get(shard) {
            Some(Some(known)) if *known == own => known.clone(),
            _ => own,
        };
        let all = shards.iter().zip(maps(&objects));
        let of: HashMap<_, _> = all.map(|(shard, own)| (*shard, own.map(|own| same(shard, own)))).collect();
        let had_own = before.had_own || of.values().any(Option::is_some);
        Self { of, had_own }
    }

    /// What is known of a shard's.
    pub fn at(&self, shard: ShardRef) -> Terms<'_> {
        match self.of.get(&shard) {
            None => Terms::Unread,
            Some(None) => Terms::Same,
            Some(Some(own)) => Terms::Own(own),
        }
    }

    /// Whether these shards are known, and all have the ids of clients.
    pub fn are_one(&self, mut shards: impl Iterator<Item = ShardRef>) -> bool {
        shards.all(|shard| matches!(self.at(shard), Terms::Same))
    }
}

impl Database {
    /// A shard's types, as it has them now.
    pub fn learn_types(&self, shard: ShardRef, objects: Objects) {
        self.learn_all([(shard, objects)]);
    }

    /// Asks every shard for its types; one that does not answer is taken to have what it had.
    pub(crate) async fn read_types(&self) {
        if !self.is_sharded() {
            return;
        }
        let mut asked = JoinSet::new();
        for at in self.all_shards() {
            let server = self.shard(at).primary().clone();
            let logins = self.logins_to(&server);
            asked.spawn(async move {
                let read = async {
                    let mut source = catalog::source(&Control::by(&server.address, logins)?).await?;
                    types::read(&mut source).await
                };
                (at, tokio::time::timeout(READ_TIMEOUT, read).await.ok().and_then(Result::ok))
            });
        }
        let found = asked.join_all().await;
        self.learn_all(found.into_iter().filter_map(|(at, found)| found.map(|found| (at, found))));
    }

    fn learn_all(&self, found: impl IntoIterator<Item = (ShardRef, Objects)>) {
        let mut known = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, objects) in found {
            if known.get(&at).is_none_or(|before| **before != objects) {
                known.insert(at, Arc::new(objects));
            }
        }
        let before = self.type_maps();
        let now = TypeMaps::of(&known, &before);
        // Where there were others once, servers may be set to them still.
        let translates = now.had_own || !now.are_one(self.all_shards());
        self.type_maps.store(Arc::new(now));
        self.translates.store(translates, Relaxed);
    }

    /// What was read of types, with what a transaction has found since.
    pub fn types_with(&self, found: impl IntoIterator<Item = (ShardRef, Objects)>) -> ByShard {
        let mut all = self.types.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(found.into_iter().map(|(at, objects)| (at, Arc::new(objects))));
        all
    }
}

impl Database {
    /// Takes over what is known of shards that are where they were.
    pub(crate) fn carry_types(&self, old: &Self) {
        let mut known = old.types.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let primary = |database: &Self, at: ShardRef| {
            let shard = database.groups.get(at.group.0)?.shards.get(at.shard.0 as usize)?;
            Some(shard.primary().clone())
        };
        known.retain(|at, _| match (primary(self, *at), primary(old, *at)) {
            (Some(here), Some(before)) => Arc::ptr_eq(&here, &before),
            _ => false,
        });
        let maps = TypeMaps::of(&known, &old.type_maps());
        *self.types.lock().unwrap_or_else(PoisonError::into_inner) = known;
        self.type_maps.store(Arc::new(maps));
    }

    /// Has a shard's types read, if they never were. It may not answer.
    pub async fn ensure_types(&self, shard: ShardRef) {
        let _one_at_a_time = self.refreshing.lock().await;
        if matches!(self.type_maps().at(shard), Terms::Unread) {
            self.read_types().await;
        }
    }

    /// Whether some shard may have ids of its own: if not, nothing needs to be looked at.
    pub fn translates(&self) -> bool {
        self.translates.load(Relaxed)
    }

    /// Each shard's ids beside those of clients.
    pub fn type_maps(&self) -> Arc<TypeMaps> {
        self.type_maps.load_full()
    }
}
