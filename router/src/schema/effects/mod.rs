//! What tables do by themselves, and where that would not come out over several shards as on one Postgres.
//!
//! Triggers, rules, policies, defaults and conditions run on the shard of the row at hand and see its rows alone. That is
//! right as long as they keep to rows of the same key and to what every shard has. Whatever can't be shown to do so from
//! its text is refused where a statement would set it off; see [`judge`] for what counts as shown.

mod judge;
mod moving;
mod said;
#[cfg(test)]
mod tests;

use super::Table;
use crate::plan::Refusal;
pub(super) use judge::judge;
pub use moving::Moving;
pub use shardway_pool::catalog::effects::events;

/// What is wrong with a table's own doings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideEffects {
    /// Statements that set off what is not known to be right, and why.
    pub unsafe_for: Vec<(u8, String)>,
    /// What acts once for each shard that is asked, where one Postgres would have it act once.
    pub per_statement: Vec<(u8, String)>,
    /// Columns whose defaults do more than to give a value, and what.
    pub defaults: Vec<(String, String)>,
    /// Unique indexes and exclusion constraints without the sharding key, whose values may repeat on other shards.
    pub loose: Vec<String>,
    /// Columns whose UPDATE may bring a row to another partition, which is a DELETE and an INSERT there; an empty one: any
    /// UPDATE may.
    pub crossing: Vec<String>,
    /// Columns that triggers set before a row is updated; an empty one: the whole row.
    pub rewrites: Vec<String>,
    /// What its triggers mean for rows that move between shards.
    pub moving: Moving,
}

/// What a client can do.
const HINT: &str = "Let it touch nothing but the row at hand, rows of the same key and, to read, reference tables. If it is \
     right on each shard by itself, send the statement with /* shard: n */ in front.";

fn refuse(message: String) -> Refusal {
    Refusal { code: "0A000", message, hint: HINT }
}

fn among(acts: &[(u8, String)], wanted: u8) -> Option<&String> {
    acts.iter().find(|(events, _)| events & wanted != 0).map(|(_, why)| why)
}

impl Table {
    /// Refuses a statement that does `wanted` (of [`events`]) if the table then does what is not known to be right.
    pub fn check_effects(&self, wanted: u8) -> Result<(), Refusal> {
        match among(&self.side_effects.unsafe_for, wanted) {
            Some(why) => {
                let what = if wanted == events::READ { "reading" } else { "writing" };
                Err(refuse(format!("{what} \"{}\" over shards is not safe: {why}", self.name)))
            }
            None => Ok(()),
        }
    }

    /// The same for an UPDATE of the columns that `sets` says.
    pub fn check_update_effects(&self, sets: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let crosses = |column: &String| self.of_view.is_some() || column.is_empty() || sets(column);
        let crosses = self.side_effects.crossing.iter().any(crosses);
        self.check_effects(if crosses { events::ROWS } else { events::UPDATE })
    }

    /// Refuses to have several shards do `wanted` if the table does something once for each statement.
    pub fn check_per_statement(&self, wanted: u8) -> Result<(), Refusal> {
        match among(&self.side_effects.per_statement, wanted) {
            Some(why) => {
                Err(refuse(format!("writing \"{}\" on several shards at once is not safe: {why}", self.name)))
            }
            None => Ok(()),
        }
    }

    /// Refuses to leave a column to its default where that does more than to give a value.
    pub fn check_defaults(&self, is_left_out: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        match self.side_effects.defaults.iter().find(|(column, _)| is_left_out(column)) {
            Some((column, why)) => Err(Refusal {
                code: "0A000",
                message: format!(
                    "the default of \"{column}\" of \"{}\" is not safe over shards: {why}",
                    self.name
                ),
                hint: "Give the column a value.",
            }),
            None => Ok(()),
        }
    }

    /// What is wrong with its own doings, in words for the log.
    pub(super) fn complaints(&self) -> Vec<String> {
        let of = |what: &str| format!("table {}.{}: {what}", self.schema, self.name);
        let effects = &self.side_effects;
        let acts = effects.unsafe_for.iter().map(|(events, why)| {
            let what = if events & events::READ != 0 { "reads and writes" } else { "writes" };
            of(&format!("{what} are refused where they set it off: {why}"))
        });
        let once = effects.per_statement.iter();
        let once = once.map(|(_, why)| of(&format!("writes of several shards at once are refused: {why}")));
        let defaults = effects.defaults.iter().map(|(column, why)| {
            of(&format!("rows without a value for \"{column}\" are refused: its default {why}"))
        });
        acts.chain(once).chain(defaults).collect()
    }

    /// What its unique indexes don't keep apart, in words for the log.
    pub(super) fn loose_ends(&self) -> Vec<String> {
        let say = |name: &String| {
            format!(
                "table {}.{}: \"{name}\" lacks the sharding key, and keeps rows apart on each shard alone: what it forbids \
                 can stand on two shards; add the key to it, or take its values from a sequence that counts in turns or \
                 from gen_random_uuid()",
                self.schema, self.name
            )
        };
        self.side_effects.loose.iter().map(say).collect()
    }
}
