//! Statements that write: which shard their rows live on.

mod merge;
pub(in crate::plan) mod with;

use super::Refusal;
use super::pin::{KeySource, Pin, Sources};
use super::query::{Analyzer, Lies, direct_queries, item};
use super::scope::{Source, folded, relation_name};
use super::spread;
use crate::schema::effects::events;
use crate::schema::{Kind, Table};
use shardway_pool::catalog::Column;
use shardway_shardmap::Use;
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Insert, ObjectName,
    OnConflictAction, OnInsert, Query, Select, SelectItem, SetExpr, TableFactor, TableObject, TableWithJoins,
    Update, UpdateTableFromKind,
};
use std::sync::Arc;

/// What a write does beyond what the analysis has found.
#[derive(Debug, Default)]
pub struct Written {
    /// The table that is written.
    pub table: Option<Arc<Table>>,
    /// Keys of the rows that are stored, where they can be told before it runs.
    pub stored: Option<Pin>,
    /// Whether it sets the key of rows that are there.
    pub moves: bool,
    /// Whether it is right on one shard only.
    pub on_one: bool,
    /// How many columns an INSERT … SELECT gives, where that is known.
    pub width: Option<usize>,
    /// Of a part of a WITH, whether each shard can do it to its rows.
    pub apart: bool,
    /// Of a WITH, the parts that write.
    pub parts: Vec<Written>,
    /// Of a WITH, where the rows are that it gives.
    pub lies: Lies,
}

pub(in crate::plan) use merge::{done_by, merge};

type Outcome = Result<Written, Refusal>;

/// INSERT.
pub fn insert(analyzer: &mut Analyzer<'_>, insert: &Insert) -> Outcome {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Refusal::unsupported("this form of INSERT is not supported"));
    };
    analyzer.found.relations += 1;
    let table = analyzer.table(name)?;
    let Some(table) = table else { return Ok(Written::default()) };
    check_view(&table, insert.on.is_some(), |_| false)?;
    check_insert(insert, &table)?;
    let scope = analyzer.scopes.open(None);
    let label = insert.table_alias.as_ref().map(|a| folded(&a.alias)).unwrap_or_else(|| table.name.clone());
    analyzer.scopes.mention(scope, label, insert.table_alias.is_some(), Source::Table(table.clone()));
    let mut nested = insert.returning.iter().flat_map(direct_queries).collect::<Vec<_>>();
    nested.extend(insert.on.iter().flat_map(direct_queries));
    let around = analyzer.around();
    analyzer.dml_block(scope, &[], None, nested, &around)?;
    let Kind::Sharded { key, .. } = table.kind else {
        if let Some(source) = &insert.source {
            analyzer.query(source, None, &super::facts::Facts::default(), &around)?;
        }
        return Ok(Written { table: Some(table), ..Written::default() });
    };
    check_conflict(insert, &table, key)?;
    let stored = match insert.source.as_deref() {
        Some(source) if matches!(*source.body, SetExpr::Select(_)) => {
            selected_key(analyzer, insert, source, &table, key)?
        }
        _ => Some(stored_keys(analyzer, insert, &table, key)?),
    };
    let width = match insert.source.as_deref().map(|source| &*source.body) {
        Some(SetExpr::Select(select)) => analyzer.width(select),
        _ => None,
    };
    Ok(Written { table: Some(table), stored, width, ..Written::default() })
}

/// Refuses what is not known to be right when it is done through a view. `sets` says whether it sets a column.
fn check_view(table: &Table, conflicts: bool, sets: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let Some(view) = &table.of_view else { return Ok(()) };
    let refuse = |why: &str| {
        let message = format!("view \"{}\" can't be written over shards: {why}", table.name);
        Err(Refusal { hint: "Write the table itself.", ..Refusal::unsupported(message) })
    };
    if let Some(why) = view.unwritable {
        return refuse(why);
    }
    if conflicts {
        return refuse("ON CONFLICT looks for rows of its table");
    }
    let numbered = |table: &std::sync::Arc<Table>| table.columns.iter().any(|column| column.from_sequence);
    if view.tables.iter().any(numbered) {
        return refuse("its table numbers rows on each shard by itself");
    }
    match table.kind {
        Kind::Sharded { key, .. } if sets(&table.columns[key].name) => {
            refuse("rows would move between shards")
        }
        _ => Ok(()),
    }
}

/// Refuses an INSERT that passes over values given to identities, where these are not numbered in turns on sharded tables: by
/// what it says of their values they would come out otherwise.
pub(in crate::plan) fn check_overriding(table: &Table) -> Result<(), Refusal> {
    let is_identity = |column: &Column| column.has_default && column.default.is_none() && !column.generated;
    let refused = |what: &str| Err(Refusal::unsupported(format!("OVERRIDING USER VALUE of {what}")));
    let mut identities = table.columns.iter().enumerate().filter(|(_, column)| is_identity(column));
    match table.kind {
        _ if table.of_view.is_some() => refused("a view"),
        Kind::Sharded { key, .. } => match identities.find(|(at, c)| *at == key || c.from_sequence) {
            Some((at, _)) if at == key => refused("a table whose sharding key is an identity"),
            Some((_, column)) => Err(from_sequence(column, table)),
            None => Ok(()),
        },
        Kind::Local(_) => Ok(()),
        _ if identities.next().is_some() => refused("a reference table"),
        _ => Ok(()),
    }
}

/// Refuses what the table would do by itself beside an INSERT and is not known to be right.
pub(in crate::plan) fn check_insert(insert: &Insert, table: &Table) -> Result<(), Refusal> {
    table.check_effects(of_insert(insert))?;
    let names = column_names(&insert.columns, table);
    let body = insert.source.as_deref().map(|source| &*source.body);
    table.check_defaults(|column| {
        let Some(at) = names.iter().position(|name| name.is_some_and(|name| name == column)) else {
            return true;
        };
        match body {
            Some(SetExpr::Values(values)) => {
                values.rows.iter().any(|row| row.content.get(at).is_none_or(is_default))
            }
            Some(SetExpr::Select(select)) => {
                let whole = is_whole(select);
                insert.columns.is_empty() && !whole && at >= select.projection.len()
            }
            Some(_) => insert.columns.is_empty(),
            None => true,
        }
    })
}

/// Whether a SELECT gives all columns of what it reads.
pub(in crate::plan) fn is_whole(select: &Select) -> bool {
    matches!(&select.projection[..], [SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)])
}

/// What an INSERT does to rows.
pub(in crate::plan) fn of_insert(insert: &Insert) -> u8 {
    let updates = matches!(&insert.on, Some(OnInsert::OnConflict(conflict))
        if matches!(conflict.action, OnConflictAction::DoUpdate(_)));
    events::INSERT | if updates { events::UPDATE } else { 0 }
}

/// ON CONFLICT finds its rows on the new row's shard, and leaves them there.
pub(in crate::plan) fn check_conflict(insert: &Insert, table: &Table, key: usize) -> Result<(), Refusal> {
    // The row that is there has the new one's shard; with the new one's key it stays there.
    let own_key = |a: &Assignment| is_excluded(&a.value, &table.columns[key].name);
    let moved: Vec<_> = conflict_assignments(insert).into_iter().filter(|a| !own_key(a)).collect();
    refuse_key_update(table, key, &moved)?;
    check_arbiter(insert, table, key)
}

/// ON CONFLICT looks for rows on one shard: those that it may mean must have the new row's key.
fn check_arbiter(insert: &Insert, table: &Table, key: usize) -> Result<(), Refusal> {
    let Some(OnInsert::OnConflict(conflict)) = &insert.on else { return Ok(()) };
    let name = &table.columns[key].name;
    if let Some(index) = loose_arbiter(table, conflict.conflict_target.as_ref()) {
        return Err(Refusal {
            code: "0A000",
            message: format!(
                "ON CONFLICT of \"{}\" would look for rows of \"{index}\", which lacks the sharding key \"{name}\", on one \
                 shard alone",
                table.name
            ),
            hint: "Name the columns of a unique index that has the sharding key in it: ON CONFLICT (…).",
        });
    }
    match spread::arbiters(table, conflict.conflict_target.as_ref()) {
        Some(columns) if !columns.contains(name) => Err(Refusal::unsupported(format!(
            "ON CONFLICT of \"{}\" takes a unique index with the sharding key \"{name}\" in it: other rows that conflict may \
             be on other shards",
            table.name
        ))),
        _ => Ok(()),
    }
}

/// An index without the key that ON CONFLICT looks at, and whose values may stand on other shards.
fn loose_arbiter<'a>(table: &'a Table, target: Option<&ConflictTarget>) -> Option<&'a String> {
    let loose = &table.side_effects.loose;
    match target {
        None => loose.first(),
        Some(ConflictTarget::OnConstraint(name)) => {
            let (_, name) = relation_name(name)?;
            loose.iter().find(|index| **index == name)
        }
        Some(ConflictTarget::Columns(_)) => None,
    }
}

fn conflict_assignments(insert: &Insert) -> Vec<Assignment> {
    match &insert.on {
        Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
            OnConflictAction::DoUpdate(update) => update.assignments.clone(),
            OnConflictAction::DoNothing => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// INSERT … SELECT: the one key of all rows, or `None` where each has that of a row of its own shard.
fn selected_key(
    analyzer: &mut Analyzer<'_>,
    insert: &Insert,
    source: &Query,
    table: &Table,
    key: usize,
) -> Result<Option<Pin>, Refusal> {
    let Kind::Sharded { key_type, .. } = table.kind else { unreachable!("asked for sharded tables only") };
    let names = column_names(&insert.columns, table);
    let name = &table.columns[key].name;
    let place = names.iter().position(|n| *n == Some(name)).ok_or_else(|| missing_key(table, key))?;
    let SetExpr::Select(select) = &*source.body else { return Err(unknown_shards(table, key)) };
    let given = |name: &String| names.contains(&Some(name));
    let width = if insert.columns.is_empty() { select.projection.len() } else { names.len() };
    let whole = is_whole(select);
    let left_out =
        |at: usize| !given(&table.columns[at].name) || !whole && at >= width && insert.columns.is_empty();
    if let Some(at) = (0..table.columns.len()).find(|&at| table.columns[at].from_sequence && left_out(at)) {
        return Err(from_sequence(&table.columns[at], table));
    }
    let facts = super::facts::Facts::default();
    let around = analyzer.around();
    if let Some(value) = item(select, place)
        && let Some(source_of_key) = analyzer.key_source(value)
    {
        analyzer.note_use(value, table.columns[key].type_oid);
        analyzer.query(source, None, &facts, &around)?;
        let column = (table.name.clone(), name.clone());
        let sources = Sources::List(vec![source_of_key]);
        return Ok(Some(Pin { key_type, how: Use::Store, sources, column }));
    }
    if source.with.is_some() {
        return Err(unknown_shards(table, key));
    }
    analyzer.stores(place, table.columns[key].type_oid);
    analyzer.query(source, None, &facts, &around)?;
    if whole && insert.columns.is_empty() {
        check_width(analyzer, select, table)?;
    }
    if let Some(sources) = analyzer.take_stored_values() {
        let column = (table.name.clone(), name.clone());
        return Ok(Some(Pin { key_type, how: Use::Store, sources, column }));
    }
    if analyzer.is_in_with() {
        return if analyzer.has_target() { Ok(None) } else { Err(unknown_shards(table, key)) };
    }
    let sharded = &analyzer.found.sharded;
    if sharded.is_empty() || sharded.iter().any(|read| !read.with_target) {
        return Err(unknown_shards(table, key));
    }
    Ok(None)
}

/// Refuses `SELECT *` that leaves out columns whose defaults are not known to be right.
fn check_width(analyzer: &Analyzer<'_>, select: &Select, table: &Table) -> Result<(), Refusal> {
    let unknown = if analyzer.is_in_with() { 0 } else { table.columns.len() };
    let width = analyzer.width(select).unwrap_or(unknown);
    let left_out = table.columns.get(width..).unwrap_or_default();
    if let Some(column) = left_out.iter().find(|column| column.from_sequence) {
        return Err(from_sequence(column, table));
    }
    table.check_defaults(|name| left_out.iter().any(|column| column.name == name))
}

fn unknown_shards(table: &Table, key: usize) -> Refusal {
    Refusal::unsupported(format!(
        "INSERT … SELECT into sharded table \"{}\" takes a select list that hands the key of the sharded table it reads on as \
         \"{}\", and others joined by the key",
        table.name, table.columns[key].name
    ))
}

/// The key of every row of VALUES.
fn stored_keys(
    analyzer: &mut Analyzer<'_>,
    insert: &Insert,
    table: &Table,
    key: usize,
) -> Result<Pin, Refusal> {
    let Kind::Sharded { key_type, .. } = table.kind else { unreachable!("asked for sharded tables only") };
    let names = column_names(&insert.columns, table);
    let position = names
        .iter()
        .position(|n| *n == Some(&table.columns[key].name))
        .ok_or_else(|| missing_key(table, key))?;
    let rows = match insert.source.as_deref() {
        Some(Query { body, with: None, .. }) => match &**body {
            SetExpr::Values(values) => &values.rows,
            _ => {
                return Err(Refusal::unsupported(
                    "INSERT … SELECT into a sharded table is not supported yet",
                ));
            }
        },
        Some(_) => {
            return Err(Refusal::unsupported("INSERT … WITH into a sharded table is not supported yet"));
        }
        None => return Err(missing_key(table, key)),
    };
    for row in rows {
        refuse_sequences(table, &names, &row.content)?;
    }
    let mut sources = Vec::with_capacity(rows.len());
    for row in rows {
        for nested in direct_queries(&row.content) {
            let around = analyzer.around();
            analyzer.query(&nested, None, &super::facts::Facts::default(), &around)?;
        }
        let value = row.content.get(position).ok_or_else(|| missing_key(table, key))?;
        sources.push(stored_source(analyzer, value, table, key)?);
    }
    let column = (table.name.clone(), table.columns[key].name.clone());
    Ok(Pin { key_type, how: Use::Store, sources: Sources::List(sources), column })
}

fn stored_source(
    analyzer: &Analyzer<'_>,
    value: &Expr,
    table: &Table,
    key: usize,
) -> Result<KeySource, Refusal> {
    if is_default(value) {
        return Err(missing_key(table, key));
    }
    analyzer.note_use(value, table.columns[key].type_oid);
    analyzer.key_source(value).ok_or_else(|| Refusal {
        code: "0A000",
        message: format!(
            "the key \"{}\" of \"{}\" must be a constant or a parameter, so that the row's shard is known",
            table.columns[key].name, table.name
        ),
        hint: "Compute the key first and pass it as a value.",
    })
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
}

pub(in crate::plan) fn is_excluded(value: &Expr, column: &str) -> bool {
    matches!(value, Expr::CompoundIdentifier(parts)
        if matches!(&parts[..], [table, name] if folded(table) == "excluded" && folded(name) == column))
}

/// The column that each value of a row is for; `None` for a part of one (`address.street`).
pub(in crate::plan) fn column_names<'a>(listed: &[ObjectName], table: &'a Table) -> Vec<Option<&'a String>> {
    let own = |name: String| table.column(&name).map(|i| &table.columns[i].name);
    if listed.is_empty() {
        return table.columns.iter().map(|c| Some(&c.name)).collect();
    }
    let plain = |name| match relation_name(name) {
        Some((None, name)) => own(name),
        _ => None,
    };
    listed.iter().map(plain).collect()
}

/// Refuses what would number rows on each shard by itself.
fn refuse_sequences(table: &Table, names: &[Option<&String>], row: &[Expr]) -> Result<(), Refusal> {
    let given = |name: &String| {
        let value = names.iter().position(|n| *n == Some(name)).and_then(|at| row.get(at));
        value.is_some_and(|value| !is_default(value))
    };
    match table.columns.iter().find(|c| c.from_sequence && !given(&c.name)) {
        None => Ok(()),
        Some(column) => Err(from_sequence(column, table)),
    }
}

/// A default that would number rows on each shard by itself.
pub fn from_sequence(column: &Column, table: &Table) -> Refusal {
    Refusal {
        code: "0A000",
        message: format!(
            "\"{}\" of sharded table \"{}\" takes its default from a sequence, which would repeat on every shard",
            column.name, table.name
        ),
        hint: "Have it count in turns: send ALTER SEQUENCE … NO CYCLE through Shardway. Or give the column a value.",
    }
}

/// A row without a key has no shard: what Postgres says of a missing NOT NULL column, if there is no default either.
pub fn missing_key(table: &Table, key: usize) -> Refusal {
    if table.columns[key].has_default {
        return Refusal {
            code: "0A000",
            message: format!(
                "the default of \"{}\", the sharding key of \"{}\", can't be known before a shard is chosen",
                table.columns[key].name, table.name
            ),
            hint: "Give the column a value.",
        };
    }
    null_key(&table.name, &table.columns[key].name)
}

/// A NULL key has no shard.
pub fn null_key(table: &str, column: &str) -> Refusal {
    Refusal {
        code: "23502",
        message: format!(
            "null value in column \"{column}\" of relation \"{table}\" violates not-null constraint"
        ),
        hint: "The column is the table's sharding key: every row must have one.",
    }
}

/// UPDATE.
pub fn update(analyzer: &mut Analyzer<'_>, update: &Update) -> Outcome {
    let mut tables = vec![update.table.clone()];
    match &update.from {
        Some(UpdateTableFromKind::BeforeSet(from) | UpdateTableFromKind::AfterSet(from)) => {
            tables.extend(from.iter().cloned());
        }
        None => {}
    }
    let mut nested = direct_queries(&update.assignments);
    nested.extend(update.returning.iter().flat_map(direct_queries));
    let table = target(analyzer, &update.table)?;
    if let Some(table) = &table {
        check_view(table, false, |key| update.assignments.iter().any(|set| sets_column(set, key)))?;
        table.check_update_effects(|column| update.assignments.iter().any(|set| sets_column(set, column)))?;
        let resets = update.assignments.iter().filter(|set| spread::has_default_word(&set.value));
        let resets: Vec<_> = resets.collect();
        table.check_defaults(|column| resets.iter().any(|set| sets_column(set, column)))?;
    }
    let scope = analyzer.scopes.open(None);
    let around = analyzer.around();
    analyzer.dml_block(scope, &tables, update.selection.as_ref(), nested, &around)?;
    let (mut stored, mut moves) = (None, false);
    if let Some(table) = &table
        && let Kind::Sharded { key, .. } = table.kind
    {
        let label = label_of(&update.table);
        let sets = update.assignments.iter().find(|a| sets_column(a, &table.columns[key].name));
        if let Some(set) = sets.filter(|set| !is_itself(set, &table.columns[key].name, label.as_deref())) {
            if table.family.is_some() {
                // A row may change its partition as well: there it is deleted and inserted.
                table.check_effects(events::ROWS)?;
            }
            moves = true;
            stored = new_key(analyzer, set, table, key);
        }
    }
    Ok(Written { table, stored, moves, ..Written::default() })
}

/// What the rows' key becomes, where that is one value for all of them.
fn new_key(analyzer: &Analyzer<'_>, set: &Assignment, table: &Table, key: usize) -> Option<Pin> {
    let (Kind::Sharded { key_type, .. }, AssignmentTarget::ColumnName(_)) = (&table.kind, &set.target) else {
        return None;
    };
    if is_default(&set.value) {
        return None;
    }
    analyzer.note_use(&set.value, table.columns[key].type_oid);
    let sources = Sources::List(vec![analyzer.key_source(&set.value)?]);
    let column = (table.name.clone(), table.columns[key].name.clone());
    Some(Pin { key_type: *key_type, how: Use::Store, sources, column })
}

/// What columns of the table that is written are called by.
fn label_of(table: &TableWithJoins) -> Option<String> {
    match &table.relation {
        TableFactor::Table { alias: Some(alias), .. } => Some(folded(&alias.name)),
        TableFactor::Table { name, .. } => relation_name(name).map(|(_, name)| name),
        _ => None,
    }
}

/// Whether a column is set to what it is.
fn is_itself(set: &Assignment, column: &str, label: Option<&str>) -> bool {
    let plain = matches!(set.target, AssignmentTarget::ColumnName(_));
    plain
        && match &set.value {
            Expr::Identifier(name) => folded(name) == column,
            Expr::CompoundIdentifier(parts) => matches!(&parts[..], [table, name]
                if Some(folded(table).as_str()) == label && folded(name) == column),
            _ => false,
        }
}

/// DELETE.
pub fn delete(analyzer: &mut Analyzer<'_>, delete: &Delete) -> Outcome {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [first] = &from[..] else {
        return Err(Refusal::unsupported("this form of DELETE is not supported"));
    };
    let mut tables = from.clone();
    tables.extend(delete.using.iter().flatten().cloned());
    let nested = delete.returning.iter().flat_map(direct_queries).collect();
    let table = target(analyzer, first)?;
    if let Some(table) = &table {
        check_view(table, false, |_| false)?;
        table.check_effects(events::DELETE)?;
    }
    let scope = analyzer.scopes.open(None);
    let around = analyzer.around();
    analyzer.dml_block(scope, &tables, delete.selection.as_ref(), nested, &around)?;
    Ok(Written { table, ..Written::default() })
}

fn target(analyzer: &mut Analyzer<'_>, table: &TableWithJoins) -> Result<Option<Arc<Table>>, Refusal> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => analyzer.table(name),
        _ => Err(Refusal::unsupported("this form of UPDATE or DELETE is not supported")),
    }
}

fn refuse_key_update(table: &Table, key: usize, assignments: &[Assignment]) -> Result<(), Refusal> {
    let key = &table.columns[key].name;
    if assignments.iter().any(|assignment| sets_column(assignment, key)) {
        return Err(Refusal::unsupported(format!(
            "ON CONFLICT that sets \"{key}\", the sharding key of \"{}\", would move rows between shards, which is not \
             supported; use UPDATE",
            table.name
        )));
    }
    Ok(())
}

/// Whether an assignment may set a column.
fn sets_column(assignment: &Assignment, column: &str) -> bool {
    let sets =
        |name| relation_name(name).is_none_or(|(first, n)| n == *column || first.as_deref() == Some(column));
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => sets(name),
        AssignmentTarget::Tuple(names) => names.iter().any(sets),
    }
}
