//! Where a statement goes, by one word and its shards: what EXPLAIN says first, and what SHOW ROUTE says.

use crate::plan::copy::CopyPlan;
use crate::plan::locate::Target;
use crate::plan::{Across, Plan};
use crate::schema::GroupId;
use shardway_shardmap::{ShardId, ShardMap};

/// A statement's tier and shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// `single`, `scatter`, `combine`, `gather`, or `spread` for a write on several shards.
    pub tier: &'static str,
    /// Their group.
    pub group: GroupId,
    /// In ascending order; none where any one of them will do.
    pub shards: Vec<ShardId>,
}

/// Where `target` leads with this plan; `None` if it leads nowhere: nothing of this kind runs on every shard.
pub fn placed(plan: &Plan, target: &Target, maps: &[ShardMap]) -> Option<Placed> {
    let all = |group: GroupId| (0..maps[group.0].shard_count()).map(ShardId).collect::<Vec<_>>();
    Some(match target {
        Target::One(place) => Placed { tier: "single", group: place.group, shards: vec![place.shard] },
        Target::Any(group) => Placed { tier: "single", group: *group, shards: Vec::new() },
        Target::Several(group, shards) => {
            let shards = if shards.is_empty() { all(*group) } else { shards.clone() };
            Placed { tier: of_several(plan), group: *group, shards }
        }
        Target::Everywhere(group) if plan.objects.is_some() => {
            Placed { tier: "spread", group: *group, shards: all(*group) }
        }
        Target::Everywhere(group) if maps[group.0].shard_count() == 1 => {
            Placed { tier: "single", group: *group, shards: Vec::new() }
        }
        Target::Everywhere(group) if plan.copy.is_some() => {
            Placed { tier: of_several(plan), group: *group, shards: all(*group) }
        }
        Target::Everywhere(_) => return None,
    })
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
