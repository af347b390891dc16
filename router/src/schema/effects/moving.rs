//! What triggers of UPDATE mean for rows whose key is set, and which so move to another shard.
//!
//! Such a row is updated on the shard of its old key. A trigger that touches rows of the old key finds them there; one
//! that touches rows of the new key would not. Rows that it only adds can be brought to their shard afterwards. Triggers
//! of INSERT and DELETE don't fire for a move, but where an UPDATE brings a row to another partition they do.

use super::events;
use super::judge::Judge;
use super::said::{Named, Said};
use crate::schema::{Kind, Table};
use shardway_pool::catalog::Name;
use shardway_pool::catalog::effects::{Effect, Thing};

/// What a table's triggers mean for its rows that move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moving {
    /// Why they can't.
    pub never: Option<String>,
    /// Tables to which triggers add rows that have the new key.
    pub strays: Vec<Name>,
    /// Whether a trigger of UPDATE looks at the key.
    pub sees_key: bool,
    /// Columns that triggers of UPDATE set.
    pub sets: Vec<String>,
}

impl Moving {
    /// Takes in what is so for another table of the family.
    pub(super) fn take(&mut self, other: &Self) {
        if self.never.is_none() {
            self.never.clone_from(&other.never);
        }
        self.strays.extend(other.strays.iter().cloned());
        self.sets.extend(other.sets.iter().cloned());
        self.sees_key |= other.sees_key;
        self.settle();
    }

    fn settle(&mut self) {
        self.strays.sort();
        self.strays.dedup();
        self.sets.sort();
        self.sets.dedup();
    }
}

impl Judge<'_> {
    /// Adds what one thing means that a table does by itself.
    pub(super) fn moving(&self, effect: &Effect, table: &Table, found: &mut Moving) {
        let Kind::Sharded { key, .. } = table.kind else { return };
        if effect.thing == Thing::Rule {
            // What brings a row to its shard would be rewritten.
            found.never = Some(format!("with rule \"{}\"", effect.name));
        }
        // A row that changes its partition sets off all of them.
        let fires = if table.family.is_some() { events::ROWS } else { events::UPDATE };
        let of_update = effect.thing == Thing::Trigger && effect.per_row && effect.events & fires != 0;
        let Some(text) = effect.text.as_ref().filter(|_| of_update) else { return };
        let key = &table.columns[key].name;
        let own = Said::of(text);
        let whole = self.with_calls(own.clone());
        found.sees_key |= own.takes_row || own.of_row.contains(key) || own.sets.contains(&None);
        found.sets.extend(own.sets.iter().flatten().cloned());
        let takes_new = own.of_new.contains(key) || own.of_new.contains("*");
        let touches = whole.reads.iter().chain(&whole.writes).any(|name| self.has_shards(name));
        if touches && takes_new {
            match self.adds_to(effect, &whole, table) {
                Some(strays) => found.strays.extend(strays),
                None => {
                    found.never = Some(format!(
                        "with trigger \"{}\", which may look for rows of the new key on the shard of the old one",
                        effect.name
                    ));
                }
            }
        }
        found.settle();
    }

    fn has_shards(&self, name: &Named) -> bool {
        self.tables(name).iter().any(|table| matches!(table.kind, Kind::Sharded { .. } | Kind::View(_)))
    }

    /// The tables that it adds rows to, if it does no more to sharded tables. A trigger that fires before may do so for a row
    /// that is then left as it is.
    fn adds_to(&self, effect: &Effect, whole: &Said, table: &Table) -> Option<Vec<Name>> {
        if effect.before || whole.alters || whole.reads.iter().any(|name| self.has_shards(name)) {
            return None;
        }
        let written: Vec<&Table> = whole.writes.iter().flat_map(|name| self.tables(name)).collect();
        let plain = |to: &&Table| {
            let itself = (&to.schema, &to.name) == (&table.schema, &table.name);
            !itself && !to.has_triggers && to.family.is_none() && matches!(to.kind, Kind::Sharded { .. })
        };
        let name = |to: &&Table| (to.schema.clone(), to.name.clone());
        written.iter().all(plain).then(|| written.iter().map(name).collect())
    }
}
