//! Views: what each of them is to statements that read it, judged once, when a schema is read.
//!
//! Every shard has every view of its group. Where the rows that the shards' views have are together the rows that one
//! Postgres would have, a view is read like a table. Where they are not, its query takes its place in the statement, and
//! the tables that it reads are brought together. Proven by the same analysis as statements are.

use super::{GroupId, Kind, Schema, Table};
use crate::plan::views::{Shape, shape};
use shardway_pool::catalog::Catalog;
use shardway_pool::catalog::views::View as Definition;
use std::sync::Arc;

/// What a view is to statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its query. Names of what is not Postgres's own have their schemas.
    pub sql: Arc<str>,
    /// How it is read.
    pub reads: Reads,
}

/// How a view is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// As this table.
    Table(Arc<Table>),
    /// As the system's catalogs, which are all that it reads.
    Catalog,
    /// By its query in its place.
    Inline,
    /// Not at all, for this reason.
    Refused(String),
}

/// What a table is that stands for a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfView {
    /// The tables that it reads, through other views too.
    pub tables: Vec<Arc<Table>>,
    /// Whether its query says in which order its rows come, or what time it is, which several shards do not keep to.
    pub ordered: bool,
    /// Why it is not written through; `None`: where Postgres can, it may be, on one shard.
    pub unwritable: Option<&'static str>,
}

/// Views of views are judged when those are.
const MAX_GENERATIONS: usize = 32;

impl Schema {
    /// Judges every view.
    pub(super) fn judge_views(&mut self, catalogs: &[Catalog]) {
        let mut due: Vec<(GroupId, &Definition)> = Vec::new();
        for (group, catalog) in catalogs.iter().enumerate() {
            due.extend(catalog.views.iter().map(|view| (GroupId(group), view)));
        }
        due.retain(|(group, view)| {
            let table = self.get(&view.name.0, &view.name.1);
            table.is_some_and(|table| table.kind == Kind::View(*group))
        });
        for _ in 0..MAX_GENERATIONS {
            let before = due.len();
            due.retain(|(group, definition)| match self.judge(*group, definition) {
                Ok(view) => {
                    self.views.insert(definition.name.clone(), Arc::new(view));
                    false
                }
                Err(_) => true,
            });
            if due.is_empty() || due.len() == before {
                break;
            }
        }
        for (group, definition) in due {
            let why = self.judge(group, definition).err().unwrap_or_default();
            let sql = definition.sql.as_str().into();
            self.views.insert(definition.name.clone(), Arc::new(View { sql, reads: Reads::Refused(why) }));
        }
    }

    /// Errors: why it can't be read, which may be for the sake of a view that is not judged yet.
    fn judge(&self, group: GroupId, definition: &Definition) -> Result<View, String> {
        let name = &definition.name;
        let own = self.get(&name.0, &name.1).ok_or("it is not there")?;
        let shaped = shape(self, own, definition)?;
        let reads = match shaped {
            Shape::Catalog => Reads::Catalog,
            Shape::Inline => Reads::Inline,
            Shape::Table { kind, of_view, base } => {
                let mut table = Table { kind, of_view: Some(Arc::new(of_view)), ..(**own).clone() };
                if table.group() != Some(group) {
                    return Err("the tables that it reads are of another shard group".to_owned());
                }
                table.has_row_security =
                    table.of_view.iter().flat_map(|v| &v.tables).any(|t| t.has_row_security);
                if let Some(base) = base {
                    table.has_triggers = base.has_triggers;
                    table.cascades = base.cascades;
                    table.triggers_act = base.triggers_act;
                    table.side_effects = base.side_effects.clone();
                }
                Reads::Table(Arc::new(table))
            }
        };
        Ok(View { sql: definition.sql.as_str().into(), reads })
    }

    /// What is known of a view.
    pub fn view(&self, table: &Table) -> Option<&Arc<View>> {
        match table.kind {
            // Allocating is fine here: it happens once per statement template.
            Kind::View(_) => self.views.get(&(table.schema.clone(), table.name.clone())),
            _ => None,
        }
    }

    /// What a relation is to those who read it: a table itself, a view the table that it is read as.
    pub fn as_read<'a>(&'a self, table: &'a Arc<Table>) -> &'a Arc<Table> {
        match self.view(table).map(|view| &view.reads) {
            Some(Reads::Table(table)) => table,
            _ => table,
        }
    }
}

impl Table {
    /// The tables whose rows it has: those that a view reads, else itself.
    pub fn sources(self: &Arc<Self>) -> &[Arc<Self>] {
        match &self.of_view {
            Some(view) => &view.tables,
            None => std::slice::from_ref(self),
        }
    }
}
