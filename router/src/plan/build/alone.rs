//! Where there is one shard in all: Postgres knows what a statement means, the cache has to know what it touches.

use super::Builder;
use crate::plan::query::Analyzer;
use crate::plan::spread::functions_of;
use crate::plan::traits::{Traits, reads_by_text};
use crate::plan::{Access, Plan, cacheable};
use crate::schema::{Kind, Table};
use sqlparser::ast::Statement;

impl Builder<'_> {
    /// Whether a lookup may be cached, and whether a write changes no more than the tables that it names.
    pub(super) fn note_what_it_touches(
        &self,
        plan: &mut Plan,
        statement: &Statement,
        analyzer: &Analyzer<'_>,
        traits: &Traits,
    ) {
        let reaches_out = |name: &String| self.schema.functions.reads_tables(name) || reads_by_text(name);
        let is_clear = traits.relations == analyzer.found.relations
            && analyzer.found.unknown.is_none()
            && !traits.functions.iter().any(reaches_out);
        if plan.access == Access::Write {
            plan.reaches_out = !is_clear || plan.writes.iter().any(|table| self.does_more(table));
        } else if is_clear {
            plan.cacheable = cacheable::cacheable(statement, &analyzer.found);
        }
    }

    /// Whether a row that is written may change another table by what stands in the schema, but for triggers, rules and
    /// foreign keys, which tables are noted for.
    fn does_more(&self, table: &Table) -> bool {
        let functions = &self.schema.functions;
        let calls = |text: &String| {
            functions_of(text).is_none_or(|names| names.iter().any(|name| functions.reads_tables(name)))
        };
        matches!(table.kind, Kind::View(_))
            || table.of_view.is_some()
            || table.columns.iter().filter_map(|column| column.default.as_ref()).any(calls)
    }
}
