//! The session's own temporary tables, where it matters for a plan that they are on one of several shards: there, plans
//! are made with a schema that has them. The same holds for what a transaction has made of the schema, up to its end.

use super::Session;
use super::batch::Item;
use crate::error::ClientError;
use crate::plan::{Plan, Refusal};
use crate::plan_cache::Planning;
use crate::schema::{ShardRef, TemporaryTable};
use crate::sql::command::Command;
use std::sync::Arc;

/// A schema that is the session's own, its plans, and what it was made of: all others' with its temporary tables in it, or
/// what its transaction has made of that.
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
        let Some(own) = &self.own else { return };
        let same = match self.changed_planning() {
            Some(planning) => Arc::ptr_eq(planning, &own.base),
            None => self.database.with_planning(|planning| std::ptr::eq(planning, &*own.base)),
        };
        if !same {
            self.redraw_planning();
        }
    }

    /// What the running transaction has made of the schema, if it has changed it.
    fn changed_planning(&self) -> Option<&Arc<Planning>> {
        Some(&self.transaction.as_ref()?.changed.as_ref()?.planning)
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
                let makes = plan.objects.as_ref().is_some_and(|objects| objects.changes);
                changed |= plan.command == Command::Temporary || makes || has && ends;
                late
            })
    }

    /// The session's tables, or the database's, may have changed.
    pub(super) fn redraw_planning(&mut self) {
        let changed = self.changed_planning().cloned();
        let tables = self.temporary_tables();
        let base = changed.clone().unwrap_or_else(|| self.database.planning());
        if base.schema.is_unsharded() || tables.is_empty() && changed.is_none() {
            self.own = None;
            return;
        }
        if self.own.as_ref().is_some_and(|own| Arc::ptr_eq(&own.base, &base) && own.tables == tables) {
            return;
        }
        if tables.is_empty() {
            self.own = Some(OwnPlanning { planning: base.clone(), base, tables });
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
        "statements behind one that makes or changes tables, in one batch, are not supported across shards";
    ClientError::from(Refusal::unsupported(what)).hint("Send a Sync between them.")
}
