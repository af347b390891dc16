//! What a statement takes of the clock where one shard runs it by itself.

use super::Builder;
use crate::plan::as_of::Naming;
use crate::plan::spread::How;
use crate::plan::spread::clock::Clocked as Default;
use crate::plan::{Across, Clocked, Plan, Refusal, Route};
use crate::schema::{Kind, Table};
use sqlparser::ast::Statement;

impl Builder<'_> {
    /// Of a statement that has its route; `spread` is how several shards would write it.
    pub(super) fn clocked(
        &self,
        plan: &Plan,
        statement: &Statement,
        spread: impl FnOnce() -> Result<Across, Refusal>,
    ) -> Option<Clocked> {
        if !matches!(plan.route, Route::Any(_) | Route::One(_) | Route::Keyed { .. }) {
            return None;
        }
        let told = Naming::of(statement, self.text).told();
        let is_insert = matches!((statement, &plan.route), (Statement::Insert(_), Route::Keyed { .. }));
        let table = plan.writes.first().filter(|table| is_insert && is_sharded(table));
        if table.is_some_and(|table| told.is_some() || fills_from_clock(table))
            && let Ok(Across::Spread(spread)) = spread()
            && spread.clock.is_some()
            && matches!(spread.how, How::Split(_))
        {
            return Some(Clocked::Write(spread, told));
        }
        told.map(Clocked::Text)
    }
}

fn is_sharded(table: &Table) -> bool {
    matches!(table.kind, Kind::Sharded { .. }) && table.of_view.is_none()
}

fn fills_from_clock(table: &Table) -> bool {
    table.columns.iter().any(|column| column.default.as_deref().and_then(Default::of).is_some())
}
