//! Where a WITH that writes goes.

use super::{Builder, advisory, function_as_field, one_group, one_place};
use crate::plan::dml::Written;
use crate::plan::pin::Pin;
use crate::plan::query::Analyzer;
use crate::plan::traits::Traits;
use crate::plan::{Across, Plan, Refusal, Route, Tier, spread};
use crate::schema::{Kind, ShardRef, Table};
use shardway_shardmap::ShardId;
use sqlparser::ast::{Query, Statement};
use std::sync::Arc;

impl Builder<'_> {
    /// To one shard where each table that it reads or writes is pinned there, or to each where they can do it by themselves.
    pub(super) fn route_with(
        &self,
        plan: &mut Plan,
        query: &Query,
        analyzer: &Analyzer<'_>,
        traits: &Traits,
        mut written: Written,
    ) -> Result<(), Refusal> {
        let found = &analyzer.found;
        let statement = Statement::Query(query.clone().into());
        if let Some(name) = function_as_field(&statement, &found.named, &self.schema.functions) {
            return Err(Refusal::unsupported(format!("function {name}, called as if it were a column,")));
        }
        self.check_functions(traits, found, false)?;
        let group = one_group(found)?;
        if let Some(table) = tables(&written).find(|table| matches!(table.kind, Kind::Reference(_))) {
            return Err(Refusal {
                hint: "Write it by a statement of its own, in the same transaction.",
                ..Refusal::unsupported(format!(
                    "writing reference table \"{}\" beside others in one statement would have to be done on every shard \
                     alike, which is not supported",
                    table.name
                ))
            });
        }
        if traits.locks {
            plan.locks = self.locked_copies(found);
        }
        let pins = pins(analyzer, &mut written);
        if let Some(place) = one_place(found)? {
            if !pins.is_empty() || !found.sharded.is_empty() {
                return Err(Refusal::unsupported(
                    "joining a local table with sharded tables is not supported yet",
                ));
            }
            plan.route = Route::One(place);
            return Ok(());
        }
        if pins.is_empty() && found.sharded.is_empty() {
            let first = traits.locks || found.system || advisory(traits);
            let at_first = Route::One(ShardRef { group, shard: ShardId(0) });
            plan.route = if first { at_first } else { Route::Any(group) };
            return Ok(());
        }
        let is_pinned = found.sharded.iter().all(|sharded| sharded.pin.is_some() || sharded.at_home);
        let all_pinned = is_pinned && !pins.is_empty();
        let moved = written.parts.iter().find(|part| part.moves);
        if let Some(part) = moved.filter(|part| !all_pinned || part.stored.is_none()) {
            let name = part.table.as_ref().map_or("", |table| &table.name);
            return Err(Refusal::unsupported(format!(
                "setting the sharding key of \"{name}\" inside of WITH may move rows between shards, which is not supported"
            )));
        }
        let context = spread::Context { schema: self.schema, text: self.text, found, traits };
        let spread = context.with(query, &written, group).map(|spread| Across::Spread(Arc::new(spread)));
        plan.route = match (all_pinned, spread) {
            (true, Err(why)) => Route::Keyed { group, pins, otherwise: None, why: Some(Box::new(why)) },
            (true, Ok(across)) => Route::Keyed { group, pins, otherwise: Some(across), why: None },
            (false, spread) => Route::Across(spread?),
        };
        if let Route::Across(_) = &plan.route {
            plan.tier = Tier::Scatter;
        }
        Ok(())
    }
}

/// The tables that it writes.
pub(super) fn tables(written: &Written) -> impl Iterator<Item = &Arc<Table>> {
    written.parts.iter().filter_map(|part| part.table.as_ref())
}

/// Where the tables' keys are, and those of the rows that are stored.
fn pins(analyzer: &Analyzer<'_>, written: &mut Written) -> Vec<Pin> {
    let mut pins: Vec<Pin> = Vec::new();
    for sharded in &analyzer.found.sharded {
        pins.extend(sharded.pin.clone().map(|mut pin| {
            analyzer.settle(&mut pin, sharded.type_oid);
            pin
        }));
    }
    for part in &mut written.parts {
        let oid = part.table.as_ref().and_then(|table| table.key_oid());
        if let (Some(pin), Some(oid)) = (&mut part.stored, oid) {
            analyzer.settle(pin, oid);
            pins.push(pin.clone());
        }
    }
    pins.dedup();
    pins
}
