//! What every relation is to Shardway: the shards' catalogs, lowered by the configuration's rules.

use shardway_config::{Database, Group, TableKind as Entry, TableName, UnlistedTables};
use shardway_pool::catalog::{Catalog, Column, Relation};
use shardway_shardmap::{KeyType, ShardId, ShardMap, UnsupportedKeyType};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A shard group's index in its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub usize);

/// One shard of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardRef {
    /// The group.
    pub group: GroupId,
    /// The shard.
    pub shard: ShardId,
}

/// What a table is (Citus's words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows live by their key.
    Sharded {
        /// Its group.
        group: GroupId,
        /// The key's index among the columns.
        key: usize,
        /// How the key is read.
        key_type: KeyType,
    },
    /// A full copy on every shard of the group.
    Reference(GroupId),
    /// On one shard.
    Local(ShardRef),
    /// A view: what it reads is not known to the planner.
    View(GroupId),
    /// No key column, no entry, and `unlisted_tables = "error"`.
    Unlisted,
    /// In several groups, and no entry says which is meant.
    Ambiguous,
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Whether it has triggers.
    pub has_triggers: bool,
    /// Whether rows are filtered by policies.
    pub has_row_security: bool,
}

impl Table {
    /// Index of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Its group, where it has one.
    pub fn group(&self) -> Option<GroupId> {
        match self.kind {
            Kind::Sharded { group, .. } | Kind::Reference(group) | Kind::View(group) => Some(group),
            Kind::Local(place) => Some(place.group),
            Kind::Unlisted | Kind::Ambiguous => None,
        }
    }
}

/// All relations of a database.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    tables: HashMap<(String, String), Arc<Table>>,
    /// Functions that may read or write tables.
    pub table_functions: HashSet<String>,
    /// Shards per group; one of 1 alone is the unsharded case.
    pub shard_counts: Vec<u32>,
}

/// What is wrong with a database's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem(pub String);

impl Schema {
    /// Lowers one catalog per group. Problems name tables whose key can't be one; those tables are left out of
    /// nothing: they stay unusable rather than become something else.
    pub fn lower(
        config: &Database,
        unlisted: UnlistedTables,
        maps: &[ShardMap],
        catalogs: &[Catalog],
    ) -> (Self, Vec<SchemaProblem>) {
        let mut schema = Self::unread(maps);
        let mut problems = Vec::new();
        for (index, (group, catalog)) in config.groups.iter().zip(catalogs).enumerate() {
            schema.table_functions.extend(catalog.table_functions.iter().cloned());
            for relation in &catalog.relations {
                let lowering = Lowering { config, group, id: GroupId(index), map: &maps[index], unlisted };
                match lowering.kind(relation) {
                    Ok(kind) => schema.add(relation, kind),
                    Err(e) => {
                        problems.push(SchemaProblem(format!("table {}.{}: {e}", relation.schema, relation.name)));
                        schema.add(relation, Kind::Unlisted);
                    }
                }
            }
        }
        (schema, problems)
    }

    fn add(&mut self, relation: &Relation, kind: Kind) {
        let key = (relation.schema.clone(), relation.name.clone());
        let kind = match self.tables.get(&key) {
            Some(other) => resolve(&other.kind, kind),
            None => kind,
        };
        let table = Table {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            kind,
            columns: relation.columns.clone(),
            has_triggers: relation.has_triggers,
            has_row_security: relation.has_row_security,
        };
        self.tables.insert(key, Arc::new(table));
    }

    /// Before anything was read.
    pub fn unread(maps: &[ShardMap]) -> Self {
        Self { shard_counts: maps.iter().map(ShardMap::shard_count).collect(), ..Self::default() }
    }

    /// A table by schema and name.
    pub fn get(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        // Allocating for a lookup is fine here: it happens once per statement template.
        self.tables.get(&(schema.to_owned(), name.to_owned()))
    }

    /// Every table, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// Whether there is just one shard in all: then every statement is as on one Postgres.
    pub fn is_unsharded(&self) -> bool {
        self.shard_counts == [1]
    }
}

/// Which of two kinds holds for a name that two groups have: the one that an entry named, else neither.
fn resolve(first: &Kind, second: Kind) -> Kind {
    match (first, &second) {
        (Kind::Unlisted, _) => second,
        (_, Kind::Unlisted) => first.clone(),
        (Kind::Sharded { .. } | Kind::Local(_), Kind::Reference(_)) => first.clone(),
        (Kind::Reference(_), Kind::Sharded { .. } | Kind::Local(_)) => second,
        _ => Kind::Ambiguous,
    }
}

struct Lowering<'a> {
    config: &'a Database,
    group: &'a Group,
    id: GroupId,
    map: &'a ShardMap,
    unlisted: UnlistedTables,
}

impl Lowering<'_> {
    fn kind(&self, relation: &Relation) -> Result<Kind, UnsupportedKeyType> {
        if matches!(relation.kind, 'v' | 'm') {
            return Ok(Kind::View(self.id));
        }
        match self.entry(relation) {
            Some(Entry::Reference { group }) if *group == self.id.0 => Ok(Kind::Reference(self.id)),
            Some(Entry::Local { group, shard }) if *group == self.id.0 => {
                Ok(Kind::Local(ShardRef { group: self.id, shard: ShardId(*shard) }))
            }
            Some(Entry::Sharded { group, key }) if *group == self.id.0 => match key {
                Some(key) => self.sharded(relation, key),
                None => self.by_columns(relation),
            },
            Some(_) => Ok(Kind::Unlisted),
            None => self.by_columns(relation),
        }
    }

    fn entry(&self, relation: &Relation) -> Option<&shardway_config::TableKind> {
        let names = |name: &TableName| {
            name.name == relation.name && name.schema.as_ref().is_none_or(|s| *s == relation.schema)
        };
        let mut found: Vec<_> = self.config.tables.iter().filter(|t| names(&t.name)).collect();
        // An entry that names the schema is meant more exactly than one that does not.
        found.sort_by_key(|t| t.name.schema.is_none());
        found.first().map(|t| &t.kind)
    }

    fn by_columns(&self, relation: &Relation) -> Result<Kind, UnsupportedKeyType> {
        let key = self.group.keys.iter().find(|key| relation.columns.iter().any(|c| c.name == **key));
        match (key, self.unlisted) {
            (Some(key), _) => self.sharded(relation, key),
            (None, UnlistedTables::Reference) => Ok(Kind::Reference(self.id)),
            (None, UnlistedTables::Error) => Ok(Kind::Unlisted),
        }
    }

    fn sharded(&self, relation: &Relation, key: &str) -> Result<Kind, UnsupportedKeyType> {
        let Some(index) = relation.columns.iter().position(|c| c.name == key) else {
            return Ok(Kind::Unlisted);
        };
        let column = &relation.columns[index];
        let key_type = if column.type_kind == 'e' {
            KeyType::Enum
        } else {
            KeyType::from_catalog(&column.type_name, column.typmod)?
        };
        if column.nondeterministic {
            return Err(UnsupportedKeyType::nondeterministic(&column.type_name));
        }
        self.map.supports(key_type)?;
        Ok(Kind::Sharded { group: self.id, key: index, key_type })
    }
}
