//! Where a hint in a statement's comment sends it.

use super::{Plan, Route};
use crate::error::ClientError;
use crate::schema::{GroupId, ShardRef};
use crate::sql::hint::{self, Hint};
use shardway_shardmap::{CanonicalKey, ShardId, ShardMap};

/// The place that a hint in `text` names; `maps` are the groups'. Errors: the hint is not understood, or there is no such
/// shard.
pub fn place(maps: &[ShardMap], plan: &Plan, text: &str) -> Result<Option<ShardRef>, ClientError> {
    if plan.forbidden {
        return Ok(None);
    }
    let bad = |what: String| ClientError::error("22023", what);
    let hint = hint::find(text).map_err(|e| bad(format!("the hint \"{}\" is not understood", e.0)))?;
    let group = group(plan);
    let map = &maps[group.0];
    let shard = match hint {
        None => return Ok(None),
        Some(Hint::Shard(n)) if n < map.shard_count() => ShardId(n),
        Some(Hint::Shard(n)) => {
            let last = map.shard_count() - 1;
            return Err(bad(format!("there is no shard {n}: the group has shards 0 to {last}")));
        }
        Some(Hint::Key(key)) => {
            let key = match key.parse::<i64>() {
                Ok(n) if n.to_string() == key => CanonicalKey::Int(n),
                _ => CanonicalKey::Text(key.into()),
            };
            map.locate(&key).map_err(|e| bad(e.to_string()))?
        }
    };
    Ok(Some(ShardRef { group, shard }))
}

/// The group that a hint's shard number belongs to: that of the tables the statement names.
pub fn group(plan: &Plan) -> GroupId {
    match &plan.route {
        Route::Any(group) | Route::Everywhere(group) | Route::Keyed { group, .. } => *group,
        Route::One(place) => place.group,
        Route::Across(across) => across.group(),
        Route::Refuse(_) => plan.writes.first().and_then(|table| table.group()).unwrap_or(GroupId(0)),
    }
}
