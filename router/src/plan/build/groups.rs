//! Queries over tables of several shard groups, or over local tables of several shards: no shard has all of these, so they
//! are brought together.

use super::Builder;
use crate::plan::query::Analyzer;
use crate::plan::traits::Traits;
use crate::plan::{Plan, Refusal, Route};
use crate::schema::ShardRef;
use sqlparser::ast::Statement;
use std::collections::HashSet;

impl Builder<'_> {
    /// Plans such a query. Whether it is one.
    pub(super) fn over_groups(
        &self,
        plan: &mut Plan,
        statement: &Statement,
        analyzer: &Analyzer<'_>,
        traits: &Traits,
    ) -> Result<bool, Refusal> {
        let found = &analyzer.found;
        let places: HashSet<ShardRef> = found.local.iter().copied().collect();
        let Statement::Query(query) = statement else { return Ok(false) };
        if found.groups.len() < 2 && places.len() < 2 {
            return Ok(false);
        }
        let (group, at) = self.gathering(found, traits).seat(query);
        let across = self.gather(query, group, at, analyzer, traits)?;
        (plan.shareable, plan.tier, plan.route) = (false, across.tier(), Route::Across(across));
        Ok(true)
    }
}
