//! nextval and setval by themselves: a sequence counts on the first shard, one counter for all clients.

use super::Builder;
use crate::plan::Access;
use crate::plan::query::Found;
use crate::plan::traits::{Traits, reads_by_text};
use crate::plan::{Plan, Refusal, Route};
use crate::schema::{GroupId, ShardRef};
use crate::sql::literal::string_value;
use crate::sql::scan::{all_tokens, identifier};
use shardway_pool::catalog::Name;
use shardway_shardmap::ShardId;
use sqlparser::ast::Statement;

/// Functions that count.
const COUNTING: [&str; 2] = ["nextval", "setval"];

impl Builder<'_> {
    /// Routes a query that counts and reads no table. False if it is another one.
    pub(super) fn counts(
        &self,
        plan: &mut Plan,
        statement: &Statement,
        traits: &Traits,
        found: &Found,
    ) -> Result<bool, Refusal> {
        let is = |what: &[&str]| traits.functions.iter().any(|name| what.contains(&name.as_str()));
        if is(&["currval", "lastval"]) {
            return Err(Refusal {
                code: "0A000",
                message: "currval and lastval are of one server's session, and rows are inserted on several"
                    .to_owned(),
                hint: "Use INSERT … RETURNING, or keep what nextval gave.",
            });
        }
        let others = |name: &String| {
            !COUNTING.contains(&name.as_str())
                && (reads_by_text(name) || self.schema.functions.reads_tables(name))
        };
        let reads = !found.tables.is_empty() || traits.functions.iter().any(others);
        if !is(&COUNTING) || reads || !matches!(statement, Statement::Query(_)) {
            return Ok(false);
        }
        let sequences = self.named_sequences();
        if is(&["setval"]) {
            self.check_set(&sequences)?;
        }
        let group = sequences.first().map(|(group, _)| *group);
        let group = match group {
            Some(group) if sequences.iter().all(|(other, _)| *other == group) => group,
            None if self.schema.shard_counts.len() == 1 => GroupId(0),
            _ => return Err(Refusal::unsupported("which shard group's sequence is meant is not known")),
        };
        plan.access = Access::Write;
        plan.route = Route::One(ShardRef { group, shard: ShardId(0) });
        plan.shareable = self.scan.literals.is_empty();
        Ok(true)
    }

    /// What setval may not be told: on each shard the sequence of a sharded table has a place of its own.
    fn check_set(&self, sequences: &[(GroupId, Name)]) -> Result<(), Refusal> {
        if sequences.is_empty() {
            return Err(Refusal::unsupported(
                "setval of a sequence that is not named in a string of its own",
            ));
        }
        match sequences.iter().find(|(_, name)| self.schema.placing.counts_everywhere(name)) {
            None => Ok(()),
            Some((_, (_, name))) => Err(Refusal {
                code: "0A000",
                message: format!(
                    "sequence \"{name}\" is of a sharded table: it counts on every shard, in turns"
                ),
                hint: "Use ALTER SEQUENCE … RESTART WITH the next value.",
            }),
        }
    }

    /// Sequences that the statement's strings name.
    fn named_sequences(&self) -> Vec<(GroupId, Name)> {
        let text = |range: std::ops::Range<usize>| &self.text[range];
        let values = self.scan.literals.iter().filter_map(|l| string_value(l.kind, text(l.start..l.end)));
        values.filter_map(|value| self.sequence(&value)).collect()
    }

    fn sequence(&self, spelled: &str) -> Option<(GroupId, Name)> {
        let parts: Vec<&str> = all_tokens(spelled)?.into_iter().map(|range| &spelled[range]).collect();
        let names: Vec<Name> = match &parts[..] {
            [name] => self.path.iter().map(|schema| (schema.clone(), identifier(name))).collect(),
            [schema, ".", name] => vec![(identifier(schema), identifier(name))],
            _ => return None,
        };
        let home = |name: Name| Some((self.schema.placing.homes(&name).first()?.group(), name));
        names.into_iter().find_map(home)
    }
}
