//! SELECTs over views that are not read like tables: the views' queries take the places of their names, and what comes of
//! that is planned as any other statement.

use super::Builder;
use crate::plan::pin::{KeySource, Pin, Places, Sources};
use crate::plan::query::Named;
use crate::plan::views::{self, MAX_VIEWS};
use crate::plan::{Across, Plan, Refusal, Route};
use crate::sql::command::Command;
use crate::sql::scan::Scan;
use sqlparser::ast::{Query, Statement};
use std::ops::Range;
use std::sync::Arc;

/// The schema whose names a view's query has without it.
const SYSTEM: &str = "pg_catalog";

impl Builder<'_> {
    /// The plan of a query with a view's own query in the place of one mention of it.
    pub(super) fn inlined(&self, command: Command, query: &Query, view: &Named) -> Result<Plan, Refusal> {
        let name = &view.table.name;
        let refused = |why: &str| Refusal::unsupported(format!("view \"{name}\" over several shards {why}"));
        if self.views == MAX_VIEWS {
            return Err(refused("reads too many views"));
        }
        if self.path.iter().skip(1).any(|schema| schema == SYSTEM) {
            return Err(refused("takes a search_path that does not have pg_catalog behind other schemas"));
        }
        let step = views::with_query(self.schema, self.text, query, view)
            .ok_or_else(|| refused("could not be told apart from other words of the statement"))?;
        let mut scan = Scan::default();
        scan.run(&step.sql).map_err(|_| refused("is not understood"))?;
        let inner = Builder { scan: &scan, text: &step.sql, views: self.views + 1, ..*self };
        let statement = match inner.parse()? {
            Statement::Explain { statement, .. } => *statement,
            Statement::Declare { mut stmts } => match stmts.pop().and_then(|declare| declare.for_query) {
                Some(query) => Statement::Query(query),
                None => return Err(refused("is not understood")),
            },
            statement => statement,
        };
        let plan = inner.statement(command, &statement)?;
        let own =
            self.literals_of_view(view, scan.literals.len()).ok_or_else(|| refused("is not understood"))?;
        let over = |across| match across {
            Across::Gather(gather) => {
                let gather = Arc::unwrap_or_clone(gather).of_view(self.text, &view.table, step.clone());
                Ok(Across::Gather(Arc::new(gather)))
            }
            // The shards would be asked by the rights of who asks, and not by those of the view's owner.
            _ => Err(refused("is read in a way that is not supported")),
        };
        let route = match plan.route {
            Route::Across(across) => Route::Across(over(across)?),
            Route::Keyed { group, pins, otherwise, why } => {
                let otherwise = otherwise.map(over).transpose()?;
                match (pins.into_iter().map(|pin| moved(pin, &own)).collect(), otherwise) {
                    (Some(pins), otherwise) => Route::Keyed { group, pins, otherwise, why },
                    (None, Some(across)) => Route::Across(across),
                    (None, None) => return Err(refused("names a key by itself, which is not supported")),
                }
            }
            // Each shard has the view.
            route => route,
        };
        Ok(Plan { route, shareable: false, cacheable: None, ..plan })
    }

    /// Has a view's rows come in its order, and of one time, where several shards are asked; else that is refused.
    pub(super) fn keep_order(&self, plan: &mut Plan, query: &Query, view: &Named) {
        if plan.across().is_none() {
            return;
        }
        let inlined = match self.inlined(plan.command.clone(), query, view) {
            Ok(inlined) => inlined,
            Err(refusal) => {
                match &mut plan.route {
                    Route::Keyed { otherwise, .. } => *otherwise = None,
                    route => *route = Route::Refuse(refusal),
                }
                return;
            }
        };
        let Some(across) = inlined.across().cloned() else { return };
        match &mut plan.route {
            Route::Keyed { otherwise, .. } => *otherwise = Some(across),
            route => {
                plan.tier = across.tier();
                *route = Route::Across(across);
            }
        }
        plan.shareable = false;
    }

    /// Which literals of the new text are the view's; `all` are in it.
    fn literals_of_view(&self, view: &Named, all: usize) -> Option<Range<usize>> {
        let places = Places::new(self.text, &self.scan.literals);
        let start = view.name.0.first()?.as_ident()?.span.start;
        let at = places.offset(start.line, start.column)?;
        let before = self.scan.literals.iter().take_while(|literal| literal.start < at).count();
        Some(before..before + all.checked_sub(self.scan.literals.len())?)
    }
}

/// A pin by the literals of the client's text, those of a view left out; `None` where it is by one of the view's.
fn moved(mut pin: Pin, of_view: &Range<usize>) -> Option<Pin> {
    let shift = |source: &mut KeySource| match source {
        KeySource::Literal { index, .. } if of_view.contains(index) => None,
        KeySource::Literal { index, .. } => {
            *index -= if *index < of_view.start { 0 } else { of_view.len() };
            Some(())
        }
        KeySource::Param { .. } | KeySource::Null => Some(()),
    };
    match &mut pin.sources {
        Sources::List(list) => list.iter_mut().try_for_each(shift)?,
        Sources::Array(source) => shift(source)?,
    }
    Some(pin)
}
