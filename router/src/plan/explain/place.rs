//! Where a statement goes, by one word and its shards: what EXPLAIN says first, and what SHOW ROUTE says.

use crate::plan::copy::CopyPlan;
use crate::plan::gather::Home;
use crate::plan::locate::Target;
use crate::plan::{Across, Plan};
use crate::schema::GroupId;
use shardway_shardmap::{ShardId, ShardMap};
use std::collections::{BTreeMap, BTreeSet};

/// A statement's tier and shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// `single`, `scatter`, `combine`, `gather`, or `spread` for a write on several shards.
    pub tier: &'static str,
    /// Their group.
    pub group: GroupId,
    /// In ascending order; none where any one of them will do.
    pub shards: Vec<ShardId>,
    /// Those of other groups that take part, in the same way.
    pub others: Vec<(GroupId, Vec<ShardId>)>,
}

impl Placed {
    fn new(tier: &'static str, group: GroupId, shards: Vec<ShardId>) -> Self {
        Self { tier, group, shards, others: Vec::new() }
    }
}

/// Where `target` leads with this plan; `None` if it leads nowhere: nothing of this kind runs on every shard.
pub fn placed(plan: &Plan, target: &Target, maps: &[ShardMap]) -> Option<Placed> {
    let all = |group: GroupId| (0..maps[group.0].shard_count()).map(ShardId).collect::<Vec<_>>();
    Some(match target {
        Target::One(place) => Placed::new("single", place.group, vec![place.shard]),
        Target::Any(group) => Placed::new("single", *group, Vec::new()),
        Target::Several(group, shards) => {
            let shards = if shards.is_empty() { all(*group) } else { shards.clone() };
            let others = plan.across().map(|across| others(across, all)).unwrap_or_default();
            Placed { others, ..Placed::new(of_several(plan), *group, shards) }
        }
        Target::Everywhere(group) if plan.objects.is_some() => Placed::new("spread", *group, all(*group)),
        Target::Everywhere(group) if maps[group.0].shard_count() == 1 => {
            Placed::new("single", *group, Vec::new())
        }
        Target::Everywhere(group) if plan.copy.is_some() => {
            Placed::new(of_several(plan), *group, all(*group))
        }
        Target::Everywhere(_) => return None,
    })
}

/// Shards of other groups that bring rows to a gather.
fn others(across: &Across, all: impl Fn(GroupId) -> Vec<ShardId>) -> Vec<(GroupId, Vec<ShardId>)> {
    let Across::Gather(gather) = across else { return Vec::new() };
    let mut groups: BTreeMap<GroupId, BTreeSet<ShardId>> = BTreeMap::new();
    for table in gather.tables.iter().filter(|table| table.home.group() != gather.group) {
        let shards = match table.home {
            Home::Keyed(group) => all(group),
            Home::Copied(_) => Vec::new(),
            Home::One(place) => vec![place.shard],
        };
        groups.entry(table.home.group()).or_default().extend(shards);
    }
    groups.into_iter().map(|(group, shards)| (group, shards.into_iter().collect())).collect()
}

fn of_several(plan: &Plan) -> &'static str {
    match (&plan.copy, plan.across()) {
        (Some(copy), _) if copy.writes() => "spread",
        (Some(CopyPlan::Rows { across, .. }), _) | (None, Some(across)) => of(across),
        _ => "scatter",
    }
}

fn of(across: &Across) -> &'static str {
    match across {
        Across::Scatter(_) => "scatter",
        Across::Combine(_) => "combine",
        Across::Gather(_) => "gather",
        Across::Spread(_) => "spread",
        Across::Explained(explained) => explained.plan.as_deref().map_or("single", of_several),
    }
}
