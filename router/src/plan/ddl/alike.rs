//! What a command has done on each shard, and whether it is the same on all of them.
//!
//! Only what it changed somewhere is looked at: what was different before is none of its doing.

use super::refuse;
use crate::plan::Refusal;
use crate::schema::{Kind, Schema};
use shardway_pool::catalog::Name;
use shardway_pool::catalog::items::{Item, kinds};
use std::collections::{BTreeSet, HashSet};

/// What one shard's relations consist of, before a command and after it.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    /// Before.
    pub before: HashSet<Item>,
    /// After.
    pub after: HashSet<Item>,
}

/// What is to be looked at further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Tables whose rows were written anew.
    pub rewritten: BTreeSet<Name>,
    /// Tables whose rows have other values on each shard, or keys that they were not placed by.
    pub misplaced: BTreeSet<Name>,
}

/// A relation that is not the same on these shards, by their places among those that were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The relation.
    pub table: Name,
    /// The shards that are not as the first one is.
    pub shards: Vec<usize>,
}

/// Compares the shards of a group. What is on one shard alone, by the configuration, is left out.
pub fn compare(shards: &[Sides], schema: &Schema) -> Result<Done, Differs> {
    let is_local =
        |name: &Name| schema.get(&name.0, &name.1).is_some_and(|table| matches!(table.kind, Kind::Local(_)));
    let mut done = Done::default();
    for sides in shards {
        for item in sides.after.difference(&sides.before).filter(|item| !is_local(&item.table)) {
            match item.kind {
                kinds::FILE => {
                    let is_same = |old: &&Item| old.kind == kinds::FILE && old.table == item.table;
                    done.rewritten.extend(sides.before.iter().find(is_same).map(|_| item.table.clone()));
                }
                kinds::NUMBER if is_moved_key(sides, item, schema) => {
                    done.misplaced.insert(item.table.clone());
                }
                kinds::NUMBER => {}
                kinds::FILLED if shards.iter().any(|other| !other.after.contains(item)) => {
                    done.misplaced.insert(item.table.clone());
                }
                _ if shards.iter().any(|other| !other.after.contains(item)) => {
                    return Err(differs(shards, item));
                }
                _ => {}
            }
        }
        let gone = sides.before.difference(&sides.after).filter(|item| !is_local(&item.table));
        let compared = |kind| !matches!(kind, kinds::FILE | kinds::NUMBER | kinds::FILLED);
        let left = |item: &&Item| shards.iter().any(|other| other.after.contains(*item));
        if let Some(item) = gone.filter(|item| compared(item.kind)).find(left) {
            return Err(differs(shards, item));
        }
    }
    Ok(done)
}

fn differs(shards: &[Sides], item: &Item) -> Differs {
    let has = |sides: &Sides| sides.after.contains(item);
    let first = shards.first().is_some_and(has);
    let others = shards.iter().enumerate().filter(|(_, sides)| has(sides) != first);
    Differs { table: item.table.clone(), shards: others.map(|(at, _)| at).collect() }
}

/// Whether a table's key is another column now, of the same name.
fn is_moved_key(sides: &Sides, item: &Item, schema: &Schema) -> bool {
    let Some(table) = schema.get(&item.table.0, &item.table.1) else { return false };
    let Kind::Sharded { key, .. } = table.kind else { return false };
    let name = |item: &Item| item.text.split_once(' ').map(|(_, name)| name.to_owned());
    let key = &table.columns[key].name;
    let was = |old: &Item| old.kind == kinds::NUMBER && old.table == item.table;
    name(item).is_some_and(|name| name == *key) && sides.before.iter().any(was)
}

/// The refusal of a command after which shards are not alike.
pub fn refusal(differs: &Differs, shards: &str, says_now: bool) -> Refusal {
    let hint = if says_now {
        "'now' is worked out on each shard when the command runs. Use now()."
    } else {
        "Compare the shards, and put right with /* shard: n */ in front what differs."
    };
    let (one, name) = (if differs.shards.len() == 1 { "shard" } else { "shards" }, &differs.table.1);
    refuse(format!("\"{name}\" would not be the same on all shards: it would differ on {one} {shards}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(of: &[(char, &str)]) -> HashSet<Item> {
        let item = |(kind, text): &(char, &str)| Item {
            table: ("public".into(), "t".into()),
            kind: *kind,
            text: (*text).to_owned(),
        };
        of.iter().map(item).collect()
    }

    fn sides(before: &[(char, &str)], after: &[(char, &str)]) -> Sides {
        Sides { before: items(before), after: items(after) }
    }

    #[test]
    fn what_was_made_on_one_shard_alone_is_found_and_what_differed_before_is_not() {
        let made = sides(&[('r', "r")], &[('r', "r"), ('c', "1 n int")]);
        let not = sides(&[('r', "r")], &[('r', "r")]);
        let schema = Schema::default();
        let found = compare(&[made.clone(), not.clone(), made.clone()], &schema).unwrap_err();
        assert_eq!(found.shards, [1]);
        // There already, and so it is the same now.
        let there = sides(&[('r', "r"), ('c', "1 n int")], &[('r', "r"), ('c', "1 n int")]);
        assert_eq!(compare(&[made.clone(), there], &schema), Ok(Done::default()));
        let odd = sides(&[('i', "by hand")], &[('i', "by hand"), ('r', "r"), ('c', "1 n int")]);
        assert_eq!(compare(&[made, odd], &schema), Ok(Done::default()));
        let dropped = sides(&[('k', "x")], &[]);
        let kept = sides(&[('k', "x")], &[('k', "x")]);
        assert_eq!(compare(&[dropped, kept], &schema).unwrap_err().shards, [1]);
    }

    #[test]
    fn rows_that_were_written_anew_on_any_shard_are_found() {
        let same = sides(&[('f', "1")], &[('f', "1")]);
        let anew = sides(&[('f', "1")], &[('f', "2")]);
        let new = sides(&[], &[('f', "3")]);
        let schema = Schema::default();
        let done = compare(&[same.clone(), anew], &schema).unwrap();
        assert_eq!(done.rewritten.len(), 1);
        assert_eq!(compare(&[new, same], &schema), Ok(Done::default()));
        let filled = |text| sides(&[], &[('m', text)]);
        assert_eq!(compare(&[filled("1"), filled("1")], &schema), Ok(Done::default()));
        assert_eq!(compare(&[filled("1"), filled("2")], &schema).unwrap().misplaced.len(), 1);
    }
}
