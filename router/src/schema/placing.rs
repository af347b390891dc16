//! Where objects are and would be: the configuration's rules, and which groups have what. For commands that make, change
//! and drop them.

use super::{GroupId, ShardRef};
use shardway_config::{Database, Table as Entry, TableKind, TableName};
use shardway_pool::catalog::{Catalog, Name};
use shardway_shardmap::ShardId;
use std::collections::{HashMap, HashSet};

/// Where something lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// On every shard of a group.
    Group(GroupId),
    /// On one shard.
    Shard(ShardRef),
}

impl Home {
    /// Its group.
    pub fn group(&self) -> GroupId {
        match self {
            Self::Group(group) => *group,
            Self::Shard(place) => place.group,
        }
    }
}

/// What is known of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placing {
    /// Key columns of each group.
    keys: Vec<Vec<String>>,
    entries: Vec<Entry>,
    homes: HashMap<Name, Vec<Home>>,
    /// Unique indexes and their tables.
    indexes: HashMap<Name, Name>,
    /// Sequences that sharded tables count with.
    counters: HashSet<Name>,
}

impl Placing {
    /// Of a database, with the catalogs of its groups.
    pub fn of(config: &Database, catalogs: &[Catalog]) -> Self {
        let mut placing = Self {
            keys: config.groups.iter().map(|group| group.keys.clone()).collect(),
            entries: config.tables.clone(),
            ..Self::default()
        };
        for (group, catalog) in catalogs.iter().enumerate() {
            for relation in &catalog.relations {
                let name = (relation.schema.clone(), relation.name.clone());
                let local = placing.local(group, &name).map(Home::Shard);
                let home = local.unwrap_or(Home::Group(GroupId(group)));
                placing.homes.entry(name).or_default().push(home);
            }
            for barrier in &catalog.barriers {
                let index = (barrier.table.0.clone(), barrier.index.clone());
                placing.indexes.insert(index, barrier.table.clone());
            }
        }
        placing
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.keys.len()
    }

    /// What the configuration says of a table: of an entry that names the schema, else of one that does not.
    pub fn entry(&self, name: &Name) -> Option<&TableKind> {
        let named = |entry: &&Entry| {
            let TableName { schema, name: table } = &entry.name;
            *table == name.1 && schema.as_ref().is_none_or(|schema| *schema == name.0)
        };
        let mut found: Vec<_> = self.entries.iter().filter(named).collect();
        found.sort_by_key(|entry| entry.name.schema.is_none());
        found.first().map(|entry| &entry.kind)
    }

    /// The one shard of a group that has a table, if the configuration says so.
    pub fn local(&self, group: usize, name: &Name) -> Option<ShardRef> {
        match self.entry(name) {
            Some(TableKind::Local { group: own, shard }) if *own == group => {
                Some(ShardRef { group: GroupId(group), shard: ShardId(*shard) })
            }
            _ => None,
        }
    }

    /// Shards of a group, other than its first, that have tables of their own.
    pub fn local_shards(&self, group: usize) -> Vec<ShardId> {
        let shard = |entry: &Entry| match entry.kind {
            TableKind::Local { group: own, shard } if own == group && shard > 0 => Some(ShardId(shard)),
            _ => None,
        };
        let mut shards: Vec<_> = self.entries.iter().filter_map(shard).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Where a relation is that exists.
    pub fn homes(&self, name: &Name) -> &[Home] {
        self.homes.get(name).map_or(&[], Vec::as_slice)
    }

    /// Relations of this name, in whatever schema.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Name> {
        self.homes.keys().filter(move |known| known.1 == name)
    }

    /// The table of a unique index.
    pub fn table_of_index(&self, index: &Name) -> Option<&Name> {
        self.indexes.get(index)
    }

    /// Whether sharded tables count with this sequence, so that it counts on every shard.
    pub fn counts_everywhere(&self, sequence: &Name) -> bool {
        self.counters.contains(sequence)
    }

    /// Notes that they do.
    pub(super) fn count_everywhere(&mut self, sequences: impl IntoIterator<Item = Name>) {
        self.counters.extend(sequences);
    }

    /// The group that a new table of these columns belongs to; `None`: several might be meant.
    pub fn group_of_columns(&self, columns: &[String]) -> Option<GroupId> {
        let has_key = |keys: &Vec<String>| keys.iter().any(|key| columns.contains(key));
        let by_key = self.keys.iter().position(has_key);
        by_key.or((self.keys.len() == 1).then_some(0)).map(GroupId)
    }
}
