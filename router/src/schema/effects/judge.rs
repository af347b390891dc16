//! The judgement: which of a table's own doings are known to come out over shards as on one Postgres.
//!
//! Shown to be right, from the words of a text and of the functions it calls:
//! - a trigger, a rule or a condition that reads reference tables and tables sharded in the same group, and writes the
//!   latter alone, if it names its row's key (or takes the whole row) where it touches sharded ones. That these rows are of
//!   that key is taken on trust;
//! - a policy that reads reference tables, or sharded ones joined to its own table by the key;
//! - a default that writes nothing and reads reference tables alone.
//!
//! A trigger that sets the key, or gives another row, is not: the row's shard was chosen before.

use super::said::{Named, Said};
use super::{SideEffects, events};
use crate::schema::{GroupId, Kind, Schema, Table};
use shardway_pool::catalog::effects::{Body, Effect, Thing};
use shardway_pool::catalog::{Catalog, Name};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Works it out for every table of a schema.
pub fn judge(schema: &Schema, catalogs: &[Catalog]) -> HashMap<Name, SideEffects> {
    let mut all: HashMap<Name, SideEffects> = HashMap::new();
    if schema.is_unsharded() {
        return all;
    }
    let mut by_name: HashMap<&str, Vec<&Table>> = HashMap::new();
    schema.tables().for_each(|table| by_name.entry(&table.name).or_default().push(table));
    by_name.values_mut().for_each(|tables| tables.sort_by(|a, b| a.schema.cmp(&b.schema)));
    let mut reach: BTreeMap<Name, Vec<(u8, Name)>> = BTreeMap::new();
    for (group, catalog) in catalogs.iter().enumerate() {
        let mut bodies: HashMap<&str, Vec<&Body>> = HashMap::new();
        catalog.bodies.iter().for_each(|body| bodies.entry(&body.name).or_default().push(body));
        let judge = Judge { by_name: &by_name, bodies, catalog };
        for effect in &catalog.effects {
            let Some(table) = own(schema, &effect.table, group) else { continue };
            let found = all.entry(effect.table.clone()).or_default();
            judge.effect(effect, table, found, reach.entry(effect.table.clone()).or_default());
            judge.moving(effect, table, &mut found.moving);
        }
        for (name, column) in &catalog.partition_keys {
            if own(schema, name, group).is_some() {
                push(&mut all.entry(name.clone()).or_default().crossing, column.clone());
            }
        }
        for barrier in &catalog.barriers {
            let Some(table) = own(schema, &barrier.table, group) else { continue };
            let Kind::Sharded { key, .. } = table.kind else { continue };
            let keyed = barrier.columns.contains(&table.columns[key].name);
            if !keyed && !barrier.columns.iter().any(|column| is_unique_anyway(catalog, table, column)) {
                all.entry(barrier.table.clone()).or_default().loose.push(barrier.index.clone());
            }
        }
        for relation in &catalog.relations {
            let name = (relation.schema.clone(), relation.name.clone());
            if own(schema, &name, group).is_some() {
                let to = relation.cascades_to.iter().map(|to| (events::UPDATE | events::DELETE, to.clone()));
                reach.entry(name).or_default().extend(to);
            }
        }
    }
    spread_to_families(schema, &mut all);
    follow(&reach, &mut all);
    all.retain(|_, effects| *effects != SideEffects::default());
    all
}

/// The table of a name, if it is this group's.
fn own<'a>(schema: &'a Schema, name: &Name, group: usize) -> Option<&'a Table> {
    schema.get(&name.0, &name.1).map(|table| &**table).filter(|table| table.group() == Some(GroupId(group)))
}

/// A write to a member of a family may reach the others' rows.
fn spread_to_families(schema: &Schema, all: &mut HashMap<Name, SideEffects>) {
    let mut families: HashMap<&str, SideEffects> = HashMap::new();
    let members: Vec<_> = schema
        .tables()
        .filter_map(|t| Some(((t.schema.clone(), t.name.clone()), t.family.as_deref()?)))
        .collect();
    for (name, family) in &members {
        let Some(effects) = all.get(name) else { continue };
        let known = families.entry(family).or_default();
        // The policies that hold are those of the table that is named.
        let acts = effects.unsafe_for.iter().filter(|(events, _)| events & events::READ == 0);
        known.unsafe_for.extend(acts.cloned());
        known.loose.extend(effects.loose.iter().cloned());
        known.crossing.extend(effects.crossing.iter().cloned());
        known.rewrites.extend(effects.rewrites.iter().cloned());
        known.moving.take(&effects.moving);
    }
    for (name, family) in &members {
        let Some(known) = families.get(family) else { continue };
        let effects = all.entry(name.clone()).or_default();
        known.unsafe_for.iter().for_each(|act| push(&mut effects.unsafe_for, act.clone()));
        known.loose.iter().for_each(|index| push(&mut effects.loose, index.clone()));
        known.crossing.iter().for_each(|column| push(&mut effects.crossing, column.clone()));
        if known.rewrites.iter().any(|column| column.is_empty() || known.crossing.contains(column)) {
            push(&mut effects.crossing, String::new());
        }
        effects.moving.take(&known.moving);
    }
}

fn push<T: Ord>(all: &mut Vec<T>, new: T) {
    if !all.contains(&new) {
        all.push(new);
        all.sort();
    }
}

/// What a table's changes set off in others is set off by whoever changes it.
fn follow(reach: &BTreeMap<Name, Vec<(u8, Name)>>, all: &mut HashMap<Name, SideEffects>) {
    let is_unsafe = |effects: &SideEffects| {
        effects.unsafe_for.iter().find(|(events, _)| events & events::ROWS != 0).map(|(_, why)| why.clone())
    };
    let mut grew = true;
    while std::mem::take(&mut grew) {
        for (from, targets) in reach {
            for (events, to) in targets.iter().filter(|(_, to)| to != from) {
                let Some(why) = all.get(to).and_then(is_unsafe) else { continue };
                let why = match why.starts_with("it changes ") {
                    true => why,
                    false => format!("it changes \"{}\", whose {why}", to.1),
                };
                let effects = all.entry(from.clone()).or_default();
                // One reason is enough.
                if !effects.unsafe_for.iter().any(|(known, _)| known & events == *events) {
                    effects.unsafe_for.push((*events, why));
                    grew = true;
                }
            }
        }
    }
}

/// Whether a column's values don't repeat on other shards: a sequence counts in turns, or they are made at random.
fn is_unique_anyway(catalog: &Catalog, table: &Table, column: &str) -> bool {
    const RANDOM: [&str; 6] = [
        "gen_random_uuid(",
        "uuid_generate_v1(",
        "uuid_generate_v1mc(",
        "uuid_generate_v4(",
        "uuidv4(",
        "uuidv7(",
    ];
    let uses = || {
        let name = (table.schema.as_str(), table.name.as_str());
        catalog
            .sequence_uses
            .iter()
            .filter(move |u| (u.table.0.as_str(), u.table.1.as_str()) == name && u.column == column)
    };
    let in_turns = uses().next().is_some()
        && uses().all(|used| used.sequence.as_ref().is_some_and(|name| catalog.interleaved.contains(name)));
    let default = table.column(column).and_then(|at| table.columns[at].default.as_deref());
    let bare = |text: &str| text.rsplit_once('.').map_or(text, |(_, name)| name).to_owned();
    in_turns || default.is_some_and(|text| RANDOM.iter().any(|name| bare(text).starts_with(name)))
}

pub(super) struct Judge<'a> {
    by_name: &'a HashMap<&'a str, Vec<&'a Table>>,
    bodies: HashMap<&'a str, Vec<&'a Body>>,
    catalog: &'a Catalog,
}

impl Judge<'_> {
    fn effect(&self, effect: &Effect, table: &Table, found: &mut SideEffects, reach: &mut Vec<(u8, Name)>) {
        // Those of reference tables that act have their own refusal.
        let of_reference = matches!(table.kind, Kind::Reference(_));
        if of_reference && table.triggers_act && matches!(effect.thing, Thing::Trigger | Thing::Rule) {
            return;
        }
        let what = match effect.thing {
            Thing::Trigger => "trigger",
            Thing::Rule => "rule",
            Thing::Policy => "policy",
            Thing::Default => "default",
            Thing::Check => "constraint",
        };
        let Some(text) = &effect.text else {
            let why = format!("{what} \"{}\" is in a language that can't be looked into", effect.name);
            return found.unsafe_for.push((effect.events, why));
        };
        // What CREATE RULE says of itself is nothing that the rule does.
        let mut own = Said::of(text.strip_prefix("CREATE RULE").unwrap_or(text));
        if matches!(effect.thing, Thing::Default | Thing::Check) {
            // There are no queries in them: EXTRACT (… FROM …) has the word as well.
            own.reads.clear();
            own.writes.clear();
        }
        let rewrites = effect.thing == Thing::Trigger && effect.per_row && effect.before;
        if rewrites && effect.events & events::UPDATE != 0 {
            found.rewrites.extend(own.sets.iter().map(|column| column.clone().unwrap_or_default()));
            found.rewrites.extend(own.gives_another.then(String::new));
        }
        let whole = self.with_calls(own.clone());
        for name in &whole.writes {
            let tables = self.tables(name).into_iter();
            reach.extend(tables.map(|t| (effect.events & !events::READ, (t.schema.clone(), t.name.clone()))));
        }
        let why = match effect.thing {
            Thing::Default => self.why_default(&own, &whole, table),
            Thing::Policy => self.why_policy(&own, &whole, table),
            _ => self.why_act(effect, &own, &whole, table),
        };
        match why {
            Some(why) if effect.thing == Thing::Default => {
                found.defaults.push((effect.name.clone(), format!("it {why}")))
            }
            Some(why) => found.unsafe_for.push((effect.events, format!("{what} \"{}\" {why}", effect.name))),
            None if effect.thing == Thing::Trigger
                && !effect.per_row
                && !matches!(table.kind, Kind::Local(_))
                && self.does_anything(&whole) =>
            {
                let why = format!(
                    "trigger \"{}\", of each statement, would fire once on each of them",
                    effect.name
                );
                found.per_statement.push((effect.events, why));
            }
            None if effect.thing == Thing::Rule && whole.tells => {
                let why = format!("rule \"{}\" would notify once from each of them", effect.name);
                found.per_statement.push((effect.events, why));
            }
            None => {}
        }
    }

    /// Whether anybody else could see that it ran.
    fn does_anything(&self, whole: &Said) -> bool {
        let everywhere = |table: &&Table| matches!(table.kind, Kind::Reference(_));
        let reads = whole.reads.iter().any(|name| !self.tables(name).iter().all(everywhere));
        let writes = whole.writes.iter().any(|name| !self.tables(name).is_empty());
        reads || writes || whole.tells || whole.locks_by_number || !whole.counts.is_empty()
    }

    /// The text, and all that it calls.
    pub(super) fn with_calls(&self, own: Said) -> Said {
        let mut whole = own;
        let mut seen: BTreeSet<String> = BTreeSet::new();
        while let Some(next) = whole.calls.iter().find(|name| !seen.contains(*name)).cloned() {
            for body in self.bodies.get(&*next).into_iter().flatten() {
                match &body.text {
                    Some(text) => whole.take(Said::of(text)),
                    None => whole.hides = Some("calls a function in a language that can't be looked into"),
                }
            }
            seen.insert(next);
        }
        whole
    }

    /// Relations that a name may mean.
    pub(super) fn tables(&self, (schema, name): &Named) -> Vec<&Table> {
        let all = self.by_name.get(&**name).into_iter().flatten().copied();
        all.filter(|table| schema.as_ref().is_none_or(|schema| *schema == table.schema)).collect()
    }

    /// Why a trigger, a rule or a condition is not known to be right.
    fn why_act(&self, effect: &Effect, own: &Said, whole: &Said, table: &Table) -> Option<String> {
        if let Kind::Sharded { key, .. } = table.kind
            && effect.thing == Thing::Trigger
            && effect.per_row
            && effect.before
            && effect.events & (events::INSERT | events::UPDATE) != 0
        {
            let key = &table.columns[key].name;
            if own.sets.contains(&None) || own.sets.contains(&Some(key.clone())) {
                return Some(format!("may set \"{key}\", the sharding key, of a row whose shard is chosen"));
            }
            if own.gives_another {
                return Some(format!("may give another row than NEW, with another \"{key}\""));
            }
        }
        self.why_anything(own, whole, table)
            .or_else(|| whole.writes.iter().find_map(|name| self.why_write(name, table)))
            .or_else(|| whole.reads.iter().find_map(|name| self.why_read(name, whole, table)))
            .or_else(|| self.why_unkeyed(effect, own, whole, table))
    }

    /// What is right for nobody.
    fn why_anything(&self, own: &Said, whole: &Said, table: &Table) -> Option<String> {
        if let Some(hides) = own.hides.or(whole.hides) {
            return Some(hides.to_owned());
        }
        let in_turns = |name: &Option<String>| {
            name.as_ref().is_some_and(|name| self.catalog.interleaved.iter().any(|known| known.1 == *name))
        };
        let counts = whole.counts.iter().any(|name| !in_turns(name));
        (counts && matches!(table.kind, Kind::Sharded { .. }))
            .then(|| "counts with a sequence, which would repeat on every shard".to_owned())
    }

    fn why_write(&self, name: &Named, own: &Table) -> Option<String> {
        let wrong = |table: &&Table| match (&own.kind, &table.kind) {
            (Kind::Sharded { group, .. }, Kind::Sharded { group: other, .. }) => group != other,
            (Kind::Local(place), Kind::Local(other)) => place != other,
            _ => true,
        };
        let table = self.tables(name).into_iter().find(wrong)?;
        Some(match table.kind {
            Kind::Reference(_) => {
                format!(
                    "writes to \"{}\", a reference table, of which one shard's copy alone would change",
                    table.name
                )
            }
            _ => format!("writes to \"{}\", which is not sharded as \"{}\" is", table.name, own.name),
        })
    }

    fn why_read(&self, name: &Named, whole: &Said, own: &Table) -> Option<String> {
        let wrong = |table: &&Table| match (&own.kind, &table.kind) {
            (_, Kind::Reference(group)) => whole.locks || own.group() != Some(*group),
            (Kind::Sharded { group, .. }, Kind::Sharded { group: other, .. }) => group != other,
            (Kind::Local(place), Kind::Local(other)) => place != other,
            _ => true,
        };
        let table = self.tables(name).into_iter().find(wrong)?;
        Some(match table.kind {
            Kind::View(_) => {
                format!("reads \"{}\", a view (or a sequence), of which it would see one shard's", table.name)
            }
            Kind::Reference(_) => format!("locks rows of \"{}\" on one shard alone", table.name),
            _ => format!("reads \"{}\", of which it would see one shard's rows alone", table.name),
        })
    }

    /// Rows of sharded tables that it touches without a word of the key can't be meant to be of that key.
    fn why_unkeyed(&self, effect: &Effect, own: &Said, whole: &Said, table: &Table) -> Option<String> {
        let Kind::Sharded { key, .. } = table.kind else { return None };
        let key = &table.columns[key].name;
        let names_key = own.of_row.contains(key)
            || own.of_row.contains("*")
            || effect.thing == Thing::Check && own.words.contains(key)
            || effect.thing == Thing::Trigger && !effect.per_row;
        let sharded =
            |name: &&Named| self.tables(name).iter().any(|table| matches!(table.kind, Kind::Sharded { .. }));
        let touched = whole.writes.iter().chain(&whole.reads).find(sharded);
        match touched {
            _ if names_key => None,
            Some((_, name)) => Some(format!(
                "reads or writes \"{name}\" and does not name \"{key}\", the sharding key, of the row at hand"
            )),
            None if whole.locks_by_number => {
                Some("takes advisory locks, which other shards do not see".to_owned())
            }
            None => None,
        }
    }

    /// Why a policy is not known to be right: rows of other tables that it looks for are to be those of the same key.
    fn why_policy(&self, own: &Said, whole: &Said, table: &Table) -> Option<String> {
        let writes = || whole.writes.iter().find_map(|name| self.why_write(name, table));
        let reads = || whole.reads.iter().find_map(|name| self.why_read(name, whole, table));
        if let Some(why) = self.why_anything(own, whole, table).or_else(writes).or_else(reads) {
            return Some(why);
        }
        let Kind::Sharded { key, .. } = table.kind else { return None };
        let key = &table.columns[key].name;
        let sharded = |names: &BTreeSet<Named>| {
            let is = |name: &&Named| {
                self.tables(name).iter().any(|table| matches!(table.kind, Kind::Sharded { .. }))
            };
            names.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        let (direct, all) = (sharded(&own.reads), sharded(&whole.reads));
        // A function is told of the key, or it can't look for rows of it.
        let told = all.len() == direct.len() || own.words.contains(key);
        let is_own = |label: &str| label.is_empty() || label == table.name;
        let joined = own.joins.iter().filter(|(one, other)| one.1 == *key && other.1 == *key);
        let joined: BTreeSet<&String> = joined
            .filter_map(|(one, other)| match (is_own(&one.0), is_own(&other.0)) {
                (true, false) => Some(&other.0),
                (false, true) => Some(&one.0),
                _ => None,
            })
            .collect();
        let (_, name) = all.first()?;
        (!told || joined.len() < direct.len() || !direct.is_empty() && own.may_not_hold).then(|| {
            format!("reads \"{name}\", of which it would see one shard's rows alone, and does not join it by \"{key}\" plainly")
        })
    }

    fn why_default(&self, own: &Said, whole: &Said, table: &Table) -> Option<String> {
        if let Some(hides) = own.hides.or(whole.hides) {
            return Some(hides.to_owned());
        }
        // Where the default itself counts is known elsewhere; and reference tables count on the first shard.
        let counts = whole.counts.iter().any(|name| !own.counts.contains(name));
        if counts && matches!(table.kind, Kind::Sharded { .. }) {
            return Some("calls what counts with a sequence, which would repeat on every shard".to_owned());
        }
        let is_local = matches!(table.kind, Kind::Local(_));
        let mut writes = whole.writes.iter().flat_map(|name| self.tables(name));
        let alike = |other: &Table| is_local && other.kind == table.kind;
        if let Some(other) = writes.find(|other| !alike(other)) {
            return Some(format!("writes to \"{}\", on one shard alone", other.name));
        }
        let mut reads = whole.reads.iter().flat_map(|name| self.tables(name));
        let same = |other: &Table| matches!(other.kind, Kind::Reference(_)) && !whole.locks || alike(other);
        reads
            .find(|other| !same(other))
            .map(|other| format!("reads \"{}\", of which it would see one shard's rows alone", other.name))
    }
}
