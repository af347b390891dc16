//! The session's own temporary tables, where it matters for a plan that they are on one of several shards: there, plans
//! are made with a schema that has them.

use super::Session;
use super::batch::Item;
use crate::error::ClientError;
use crate::plan::{Plan, Refusal};
use crate::plan_cache::Planning;
use crate::schema::{ShardRef, TemporaryTable};
use crate::sql::command::Command;
use std::sync::Arc;

/// A schema with the session's own tables in it, its plans, and what it was made of.
pub struct OwnPlanning {
    planning: Arc<Planning>,
    base: Arc<Planning>,
    tables: Vec<(ShardRef, TemporaryTable)>,
}

impl Session {
    /// The schema that the session's statements are planned with, and its plans.
    pub(super) fn planning(&self) -> Arc<Planning> {
        match &self.own {
            Some(own) => own.planning.clone(),
            None => self.database.planning(),
        }
    }

    /// The same for a moment, without taking hold of them.
    pub(super) fn with_planning<T>(&self, look: impl FnOnce(&Planning) -> T) -> T {
        match &self.own {
            Some(own) => look(&own.planning),
            None => self.database.with_planning(look),
        }
    }

    /// The database's schema may have been read again.
    pub(super) fn follow_schema(&mut self) {
        if let Some(own) = &self.own
            && !self.database.with_planning(|planning| std::ptr::eq(planning, &*own.base))
        {
            self.redraw_planning();
        }
    }

    /// Whether a statement stands behind one that may make or drop temporary tables: the whole batch was planned before.
    pub(super) fn plans_ahead(&self, items: &[Item]) -> bool {
        let schema = |planning: &Planning| (!planning.schema.is_unsharded(), planning.schema.has_temporary());
        let (sharded, has) = self.with_planning(schema);
        let mut changed = false;
        sharded
            && items.iter().any(|item| {
                let Item::Bind { statement, .. } = item else { return false };
                let plan = &statement.plan;
                let late =
                    changed && matches!(plan.command, Command::Plannable | Command::Execute | Command::Copy);
                let ends = matches!(
                    plan.command,
                    Command::Ddl
                        | Command::Utility
                        | Command::Discard(_)
                        | Command::Commit { .. }
                        | Command::Rollback { .. }
                        | Command::Savepoint
                );
                changed |= plan.command == Command::Temporary || has && ends;
                late
            })
    }

    /// The session's tables, or the database's, may have changed.
    pub(super) fn redraw_planning(&mut self) {
        let base = self.database.planning();
        let tables = self.temporary_tables();
        if tables.is_empty() || base.schema.is_unsharded() {
            self.own = None;
            return;
        }
        if self.own.as_ref().is_some_and(|own| Arc::ptr_eq(&own.base, &base) && own.tables == tables) {
            return;
        }
        let planning = Arc::new(Planning::new(base.schema.with_temporary(&tables)));
        self.own = Some(OwnPlanning { planning, base, tables });
    }

    /// Whether a name that the schema does not have may be that of a temporary table, in a database where it makes no
    /// difference to a plan.
    pub(super) fn may_be_temporary<'a>(&self, plans: impl IntoIterator<Item = &'a Plan>) -> bool {
        let here = || self.holds_anything() || plans.into_iter().any(|plan| plan.leaves);
        here() && self.with_planning(|planning| planning.schema.is_unsharded())
    }
}

/// For the client: see [`Session::plans_ahead`].
pub(super) fn planned_ahead() -> ClientError {
    let what =
        "statements behind one that changes temporary tables, in one batch, are not supported across shards";
    ClientError::from(Refusal::unsupported(what)).hint("Send a Sync between them.")
}
