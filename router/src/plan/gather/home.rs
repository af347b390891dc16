//! Where a gather's tables are, and where its engine is.

use super::columns::{FIRST_OF_USERS, Needed};
use super::{Context, quoted};
use crate::schema::{GroupId, Kind, ShardRef, Table};
use shardway_shardmap::ShardId;
use sqlparser::ast::Query;
use std::cmp::Reverse;
use std::collections::HashMap;

/// Where a table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// On the shards of their keys.
    Keyed(GroupId),
    /// All of them on every shard of the group.
    Copied(GroupId),
    /// All of them on this shard.
    One(ShardRef),
}

impl Home {
    pub(super) fn of(table: &Table) -> Option<Self> {
        match table.kind {
            Kind::Sharded { group, .. } => Some(Self::Keyed(group)),
            Kind::Reference(group) => Some(Self::Copied(group)),
            Kind::Local(place) => Some(Self::One(place)),
            Kind::View(_) | Kind::Unlisted | Kind::Ambiguous => None,
        }
    }

    /// The group whose shards have it.
    pub fn group(self) -> GroupId {
        match self {
            Self::Keyed(group) | Self::Copied(group) => group,
            Self::One(place) => place.group,
        }
    }

    /// Whether an engine of this group, or just there, has all of its rows.
    pub(super) fn is_whole_at(self, group: GroupId, engine: Option<ShardRef>) -> bool {
        match self {
            Self::Keyed(_) => false,
            Self::Copied(own) => own == group,
            Self::One(place) => Some(place) == engine,
        }
    }

    /// Whether an engine of this group may lack the very table.
    pub(super) fn is_foreign_to(self, group: GroupId) -> bool {
        self.group() != group || matches!(self, Self::One(_))
    }
}

impl Context<'_> {
    /// The engine's group, and its shard where it must be that one, for a query over several groups: where a local table is;
    /// else where types are that users have made, which no other group need have; else where most tables are.
    pub(in crate::plan) fn seat(&self, query: &Query) -> (GroupId, Option<ShardId>) {
        if let Some(place) = self.found.local.iter().min() {
            return (place.group, Some(place.shard));
        }
        let needed = Needed::of(query, self.text);
        let mut groups: HashMap<GroupId, (bool, usize)> = HashMap::new();
        for named in &self.found.named {
            let table = &named.table;
            let Some(group) = table.group() else { continue };
            let mut columns: Vec<(String, bool)> =
                table.columns.iter().map(|column| (quoted(&column.name), false)).collect();
            needed.mark(named, &mut columns, table);
            let mut brought = table.columns.iter().zip(&columns).filter(|(_, (_, brought))| *brought);
            let (own, tables) = groups.entry(group).or_default();
            *own |= brought.any(|(column, _)| column.type_oid >= FIRST_OF_USERS);
            *tables += usize::from(matches!(table.kind, Kind::Sharded { .. }));
        }
        let best = groups.into_iter().max_by_key(|(group, (own, tables))| (*own, *tables, Reverse(*group)));
        (best.map_or(GroupId(0), |(group, _)| group), None)
    }
}
