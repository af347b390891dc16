//! Relations by name: which table of the schema one is, and whether statements over it can be routed at all.

use super::forms::{is_only, is_system};
use super::{Analyzer, Block, Ctes, Named, Outcome, Sharded};
use crate::plan::scope::{ScopeId, Source, relation_name};
use crate::plan::{Refusal, views};
use crate::schema::effects::events;
use crate::schema::views::Reads;
use crate::schema::{GroupId, Kind, Table};
use sqlparser::ast::ObjectName;
use std::sync::Arc;

impl Analyzer<'_> {
    pub(super) fn relation(
        &mut self,
        name: &ObjectName,
        label: Option<String>,
        scope: ScopeId,
        block: &mut Block<'_>,
        ctes: &Ctes,
        conditions: &[usize],
    ) -> Outcome {
        self.found.relations += 1;
        let Some((schema, bare)) = relation_name(name) else {
            return Err(Refusal::unsupported(format!("the name {name} is not understood")));
        };
        let aliased = label.is_some();
        let label = label.unwrap_or_else(|| bare.clone());
        if let (None, Some(known)) = (&schema, ctes.get(&bare)) {
            let mention = self.scopes.mention(scope, label, aliased, known.source());
            self.mention_known(mention, known, block);
            return Ok(());
        }
        self.note_view(name, &label, aliased);
        let Some(table) = self.table(name)? else {
            self.scopes.mention(scope, label, aliased, Source::Opaque);
            return Ok(());
        };
        let mention = self.scopes.mention(scope, label.clone(), aliased, Source::Table(table.clone()));
        self.names.insert(mention, (name.clone(), label, aliased));
        block.tables.push((mention, table, conditions.to_vec()));
        Ok(())
    }

    /// A relation under an alias that renames its columns: nothing is known of these.
    pub(super) fn renamed_relation(
        &mut self,
        name: &ObjectName,
        label: String,
        scope: ScopeId,
        ctes: &Ctes,
    ) -> Outcome {
        self.found.relations += 1;
        self.scopes.alias(scope, label.clone(), Source::Opaque);
        if relation_name(name).is_some_and(|(schema, bare)| schema.is_none() && ctes.contains_key(&bare)) {
            self.found.unclear = true;
            return Ok(());
        }
        self.note_view(name, &label, true);
        let Some(table) = self.table(name)? else { return Ok(()) };
        if let Some(type_oid) = table.key_oid() {
            self.found.sharded.push(Sharded {
                pin: None,
                type_oid,
                colocated: false,
                with_target: false,
                at_home: false,
            });
        }
        let (name, aliased) = (name.clone(), true);
        self.found.named.push(Named { name, label, aliased, table, pin: None, pushed: None, whole: false });
        Ok(())
    }

    /// Looks a relation up and notes its group; `None` for system catalogs and unknown names.
    pub fn table(&mut self, name: &ObjectName) -> Outcome<Option<Arc<Table>>> {
        let Some((schema, bare)) = relation_name(name) else {
            return Err(Refusal::unsupported(format!("the name {name} is not understood")));
        };
        if is_only(name) {
            return Err(Refusal::unsupported(
                "ONLY of a table that has others below it, or is one, is not supported across shards yet",
            ));
        }
        let table = self.schema.find(self.path, schema.as_deref(), &bare);
        let Some(table) = table.map(|table| self.schema.as_read(table)).cloned() else {
            if is_system(schema.as_deref(), &bare) {
                self.found.system = true;
            } else {
                self.found.unknown.get_or_insert_with(|| name.to_string());
            }
            return Ok(None);
        };
        if self.schema.view(&table).is_some_and(|view| view.reads == Reads::Catalog) {
            self.found.system = true;
            return Ok(None);
        }
        self.note(&table)?;
        self.found.tables.extend(table.of_view.iter().flat_map(|view| view.tables.iter().cloned()));
        self.found.tables.push(table.clone());
        Ok(Some(table))
    }

    /// Notes a view that is not simply read like a table.
    fn note_view(&mut self, name: &ObjectName, label: &str, aliased: bool) {
        let Some((schema, bare)) = relation_name(name) else { return };
        let Some(table) = self.schema.find(self.path, schema.as_deref(), &bare) else { return };
        let Some(view) = self.schema.view(table) else { return };
        let slot = match &view.reads {
            Reads::Inline => &mut self.found.inlined,
            Reads::Table(read) if read.of_view.as_ref().is_some_and(|view| view.ordered) => {
                &mut self.found.ordered
            }
            _ => return,
        };
        let (name, label, table) = (name.clone(), label.to_owned(), Arc::clone(table));
        slot.get_or_insert(Named { name, label, aliased, table, pin: None, pushed: None, whole: false });
    }

    fn note(&mut self, table: &Table) -> Outcome {
        let name = &table.name;
        match &table.kind {
            Kind::View(_) if !self.schema.is_unsharded() => Err(views::refusal(self.schema, table)),
            Kind::Unlisted if !self.schema.is_unsharded() => Err(Refusal {
                code: "0A000",
                message: format!(
                    "table \"{name}\" has no usable key column and no [[databases.tables]] entry"
                ),
                hint: "Add an entry that says whether it is sharded, reference or local, then RELOAD.",
            }),
            Kind::Ambiguous => Err(Refusal {
                code: "0A000",
                message: format!("table \"{name}\" exists in several shard groups"),
                hint: "Add a [[databases.tables]] entry that says which group it belongs to, then RELOAD.",
            }),
            kind => {
                table.check_effects(events::READ)?;
                if let Kind::Local(place) = kind {
                    self.found.local.push(*place);
                }
                self.found.groups.extend(table.group().map(|GroupId(g)| g));
                Ok(())
            }
        }
    }
}
