//! WITH that writes: parts under names, and a statement at the end, any of which may write a table.
//!
//! One shard runs the whole of it where every sharded table is pinned to that shard, be it by a value or because its key is
//! that of rows which a part before has left there. What several shards can do, each to its own rows, is found out part by
//! part (`spread/with.rs` puts it together).

use super::{Outcome, Refusal, Written, delete, insert, merge, update};
use crate::plan::query::{Analyzer, Ctes, Does, Known};
use crate::plan::scope::folded;
use crate::plan::spread::returning;
use crate::schema::Kind;
use sqlparser::ast::{Query, SetExpr, Statement, With};

/// The statement that a query is, where it is one that writes.
pub(in crate::plan) fn statement_of(query: &Query) -> Option<&Statement> {
    match &*query.body {
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => Some(statement),
        _ => None,
    }
}

/// Whether a query has a part that writes.
pub(in crate::plan) fn writes(query: &Query) -> bool {
    let named = query.with.iter().flat_map(|with| &with.cte_tables);
    statement_of(query).is_some() || named.into_iter().any(|cte| statement_of(&cte.query).is_some())
}

/// WITH, and what stands behind it.
pub(in crate::plan) fn with(analyzer: &mut Analyzer<'_>, query: &Query) -> Outcome {
    analyzer.begin_with();
    let mut whole = Written::default();
    let mut names = Ctes::new();
    if let Some(with) = &query.with {
        if with.recursive {
            // Each sees all of them, those behind it too.
            names.extend(with.cte_tables.iter().map(|cte| (folded(&cte.alias.name), Known::default())));
        }
        for cte in &with.cte_tables {
            let known = match statement_of(&cte.query) {
                Some(statement) => part(analyzer, &cte.query, statement, &names, &mut whole.parts)?,
                None => {
                    analyzer.begin_part(names.clone());
                    analyzer.named_query(&cte.query, &names)?
                }
            };
            names.insert(folded(&cte.alias.name), known.renamed(&cte.alias));
        }
    }
    match statement_of(query) {
        Some(statement) => {
            let last = Query { with: None, ..query.clone() };
            whole.lies = part(analyzer, &last, statement, &names, &mut whole.parts)?.lies;
        }
        None => {
            let last = Query { with: None, ..query.clone() };
            analyzer.begin_part(names.clone());
            whole.lies = analyzer.named_query(&last, &names)?.lies;
        }
    }
    Ok(whole)
}

/// A part that writes. What is known of the rows that it gives.
fn part(
    analyzer: &mut Analyzer<'_>,
    query: &Query,
    statement: &Statement,
    names: &Ctes,
    parts: &mut Vec<Written>,
) -> Result<Known, Refusal> {
    let names = inner_names(analyzer, query.with.as_ref(), names)?;
    analyzer.begin_part(names);
    let first = analyzer.found.sharded.len();
    let mut written = match statement {
        Statement::Insert(statement) => insert(analyzer, statement)?,
        Statement::Update(statement) => update(analyzer, statement)?,
        Statement::Delete(statement) => delete(analyzer, statement)?,
        Statement::Merge(statement) if analyzer.schema().is_unsharded() => merge(analyzer, statement)?,
        _ => return Err(Refusal::unsupported("MERGE behind WITH over several shards is not supported")),
    };
    let own = &analyzer.found.sharded[first..];
    written.apart = analyzer.has_target() && own.iter().all(|sharded| sharded.with_target);
    let key = written.table.as_ref().and_then(|table| match table.kind {
        Kind::Sharded { key, .. } => Some(table.columns[key].name.clone()),
        _ => None,
    });
    let does = match statement {
        Statement::Insert(_) => Does::Insert,
        Statement::Delete(_) => Does::Delete,
        _ if written.moves => Does::Move,
        _ => Does::Update,
    };
    parts.push(written);
    let items = returning(statement).map(Vec::as_slice).unwrap_or_default();
    Ok(analyzer.given(items, does, key.as_deref()))
}

/// The names around a part, and those of its own WITH, which only reads.
fn inner_names(analyzer: &mut Analyzer<'_>, with: Option<&With>, names: &Ctes) -> Result<Ctes, Refusal> {
    let mut names = names.clone();
    let Some(with) = with else { return Ok(names) };
    if with.recursive {
        names.extend(with.cte_tables.iter().map(|cte| (folded(&cte.alias.name), Known::default())));
    }
    for cte in &with.cte_tables {
        analyzer.begin_part(names.clone());
        let known = analyzer.named_query(&cte.query, &names)?;
        names.insert(folded(&cte.alias.name), known.renamed(&cte.alias));
    }
    Ok(names)
}
