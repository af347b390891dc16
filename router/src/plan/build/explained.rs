//! EXPLAIN over shards: the statement in it is planned as it would be alone.

use super::Builder;
use crate::plan::explain::{Explained, read};
use crate::plan::hinted;
use crate::plan::{Access, Across, Plan, Refusal, Route, Tier};
use crate::schema::GroupId;
use crate::sql::command::Command;
use crate::sql::scan::Scan;
use std::sync::Arc;

impl Builder<'_> {
    /// EXPLAIN. Errors: those of its statement, which no hint may change.
    pub(super) fn explained(&self, command: Command) -> Result<Plan, Refusal> {
        let not_understood = || Refusal::unsupported("this form of EXPLAIN is not supported");
        let (asked, at) = read(self.text).ok_or_else(not_understood)?;
        let text = &self.text[at..];
        let mut scan = Scan::default();
        scan.run(text).map_err(|_| not_understood())?;
        let inner = match Command::of(&scan, text) {
            Command::Plannable => Some(super::plan(self.schema, self.path, text, &scan)),
            // The session knows what it names.
            Command::Execute => None,
            _ => return Err(Refusal::unsupported("EXPLAIN of this command is not supported across shards")),
        };
        if let Some(inner) = &inner {
            self.check_explained(inner)?;
        }
        let access = match &inner {
            _ if !asked.analyzes => Access::ReadPrimary,
            None => Access::Write,
            Some(inner) if inner.access == Access::Read => Access::ReadPrimary,
            Some(inner) => inner.access,
        };
        let group = inner.as_ref().map_or(GroupId(0), hinted::group);
        let unknown = inner.as_ref().and_then(|inner| inner.unknown.clone());
        let tier = inner.as_ref().map_or(Tier::Single, |inner| inner.tier);
        let runs = inner.as_ref().filter(|_| asked.analyzes);
        let writes = runs.map(|inner| inner.writes.clone()).unwrap_or_default();
        let leaves = runs.is_some_and(|inner| inner.leaves);
        let explained = Explained {
            // Positions are counted from the first word on.
            lead: self.text[..at].trim_start().to_owned(),
            asked,
            text: text.to_owned(),
            literals: scan.literals,
            plan: inner.map(Arc::new),
            group,
        };
        let route = Route::Across(Across::Explained(Arc::new(explained)));
        Ok(Plan { unknown, tier, writes, leaves, shareable: false, ..self.simple(command, access, route) })
    }

    fn check_explained(&self, inner: &Plan) -> Result<(), Refusal> {
        match &inner.route {
            // A hint may send it as told.
            Route::Refuse(_) if self.scan.has_block_comment && !inner.forbidden => Ok(()),
            Route::Refuse(refusal) => Err(refusal.clone()),
            _ if inner.setting.is_some() => {
                Err(Refusal::unsupported("set_config in a statement that is explained is not supported"))
            }
            // The session sees to these.
            _ if inner.setval.is_some() || inner.current_of.is_some() => {
                let what = "EXPLAIN of setval or WHERE CURRENT OF is not supported across shards";
                Err(Refusal::unsupported(what))
            }
            _ => Ok(()),
        }
    }
}
