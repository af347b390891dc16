//! nextval and setval by themselves: a sequence counts on the first shard, one counter for all clients. Those of sharded
//! tables count on every shard, and are set on all of them.

use super::Builder;
use crate::plan::Access;
use crate::plan::query::Found;
use crate::plan::setval::{self, Meant, SetVal};
use crate::plan::traits::{Traits, reads_by_text};
use crate::plan::{Plan, Refusal, Route};
use crate::schema::{GroupId, Kind, ShardRef, Table};
use crate::sql::literal::string_value;
use crate::sql::scan::{all_tokens, identifier};
use shardway_pool::catalog::Name;
use shardway_shardmap::ShardId;
use sqlparser::ast::Statement;
use std::sync::Arc;

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
        if is(&["setval"])
            && let Some(setval) = self.sets_everywhere(statement)?
        {
            plan.access = Access::Write;
            plan.route = Route::Everywhere(setval.group);
            plan.setval = Some(Arc::new(setval));
            plan.shareable = false;
            return Ok(true);
        }
        let others = |name: &String| {
            !COUNTING.contains(&name.as_str())
                && (reads_by_text(name) || self.schema.functions.reads_tables(name))
        };
        // The first shard has a copy of what every shard has.
        let elsewhere = |table: &Arc<Table>| !matches!(table.kind, Kind::Reference(_));
        let reads = found.tables.iter().any(elsewhere) || traits.functions.iter().any(others);
        if !is(&COUNTING) || reads || !matches!(statement, Statement::Query(_)) {
            return Ok(false);
        }
        let sequences = self.named_sequences();
        if is(&["setval"]) {
            let meant = match setval::only_call(statement) {
                Some((Meant::Sequence(name), _)) => Some(name),
                _ => None,
            };
            if let (Some(name), None) = (&meant, meant.as_deref().and_then(|name| self.sequence(name))) {
                plan.unknown.get_or_insert_with(|| name.clone());
            } else {
                let meant = meant.and_then(|name| self.sequence(&name)).map(|(_, name)| name);
                self.check_set(&sequences, meant.as_ref())?;
            }
        }
        let group = sequences.first().map(|(group, _)| *group);
        let group = match group {
            Some(group) if sequences.iter().all(|(other, _)| *other == group) => group,
            None if self.schema.shard_counts.len() == 1 => GroupId(0),
            _ => return Err(Refusal::unsupported("which shard group's sequence is meant is not known")),
        };
        if found.tables.iter().any(|table| table.group() != Some(group)) {
            return Err(Refusal::unsupported("a sequence of one shard group beside tables of another"));
        }
        plan.access = Access::Write;
        plan.route = Route::One(ShardRef { group, shard: ShardId(0) });
        plan.shareable = self.scan.literals.is_empty();
        Ok(true)
    }

    /// setval of the sequence of a sharded table; `None` if it is of another one.
    fn sets_everywhere(&self, statement: &Statement) -> Result<Option<SetVal>, Refusal> {
        let Some((meant, label)) = setval::only_call(statement) else { return Ok(None) };
        let group = match &meant {
            Meant::Sequence(name) => self
                .sequence(name)
                .filter(|(_, name)| self.schema.placing.counts_everywhere(name))
                .map(|(g, _)| g),
            Meant::OfTable(name) => self.sharded_table(name),
        };
        let Some(group) = group else { return Ok(None) };
        let setval::Cut { sequence, arguments, partly, inferred } =
            setval::cut(self.text).ok_or_else(|| Refusal::unsupported("this form of setval"))?;
        Ok(Some(SetVal { group, sequence, arguments, partly, inferred, label }))
    }

    /// The group of a sharded table that a string names.
    fn sharded_table(&self, spelled: &str) -> Option<GroupId> {
        let is_sharded = |table: &&Arc<Table>| matches!(table.kind, Kind::Sharded { .. });
        let found =
            names_of(self.path, spelled)?.into_iter().find_map(|(s, name)| self.schema.get(&s, &name));
        found.filter(is_sharded)?.group()
    }

    /// What setval may not be told in another form: on each shard the sequence of a sharded table has a place of its own.
    /// `meant` is its one argument that says which: Postgres knows what to say if that is none.
    fn check_set(&self, sequences: &[(GroupId, Name)], meant: Option<&Name>) -> Result<(), Refusal> {
        if sequences.is_empty() {
            return Err(Refusal::unsupported(
                "setval of a sequence that is not named in a string of its own",
            ));
        }
        let is_sharded = |(schema, name): &Name| {
            self.schema.get(schema, name).is_some_and(|table| matches!(table.kind, Kind::Sharded { .. }))
        };
        let counts = |name: &Name| {
            self.schema.placing.counts_everywhere(name) || is_sharded(name) && Some(name) != meant
        };
        match sequences.iter().find(|(_, name)| counts(name)) {
            None => Ok(()),
            Some((_, (_, name))) => Err(Refusal {
                code: "0A000",
                message: format!(
                    "setval of a sharded table's sequence, which \"{name}\" is or has, takes a SELECT of its own"
                ),
                hint: "SELECT setval('sequence', value, is_called) and nothing else; the value may be a subquery.",
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
        let home = |name: Name| Some((self.schema.placing.homes(&name).first()?.group(), name));
        names_of(self.path, spelled)?.into_iter().find_map(home)
    }
}

/// What a string may mean that spells a relation's name.
fn names_of(path: &[String], spelled: &str) -> Option<Vec<Name>> {
    let parts: Vec<&str> = all_tokens(spelled)?.into_iter().map(|range| &spelled[range]).collect();
    match &parts[..] {
        [name] => Some(path.iter().map(|schema| (schema.clone(), identifier(name))).collect()),
        [schema, ".", name] => Some(vec![(identifier(schema), identifier(name))]),
        _ => None,
    }
}
