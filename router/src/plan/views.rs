//! What a view's query says of its rows: whether those that the shards have of it are together those that one Postgres
//! would have, and which column says where a row is.

use super::Refusal;
use super::build::{MAX_DEPTH, function_as_field};
use super::facts::Facts;
use super::gather;
use super::pin::Places;
use super::query::{Analyzer, Ctes, Found, Named, item};
use super::scope::folded;
use super::traits::{Traits, reads_by_text};
use crate::schema::views::{OfView, Reads};
use crate::schema::{Functions, Kind, Schema, ShardRef, Table};
use crate::sql::scan::Scan;
use gather::Renamed;
use shardway_pool::catalog::Column;
use shardway_pool::catalog::views::View as Definition;
use shardway_shardmap::KeyType;
use sqlparser::ast::{Distinct, Expr, Query, Select, SetExpr, Statement, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a view turned out to be.
pub enum Shape {
    /// It reads the system's catalogs alone.
    Catalog,
    /// Its query has to take its place.
    Inline,
    /// It is read like a table.
    Table {
        /// Of this kind.
        kind: Kind,
        /// And what is behind it.
        of_view: OfView,
        /// The table that is written through it, where there may be one.
        base: Option<Arc<Table>>,
    },
}

/// Views within views that are followed.
pub(in crate::plan) const MAX_VIEWS: usize = 32;

/// Why a view that must be read where all rows are can't be.
fn out_of_reach(why: &str) -> String {
    format!("its rows can't be told apart by a sharding key, and {why}")
}

/// What a view is. Errors: why it can't be read on several shards.
pub fn shape(schema: &Schema, own: &Table, definition: &Definition) -> Result<Shape, String> {
    shape_of(schema, own, definition, &definition.sql, 0)
}

fn shape_of(
    schema: &Schema,
    own: &Table,
    definition: &Definition,
    text: &str,
    depth: usize,
) -> Result<Shape, String> {
    let body = Body::of(schema, text)?;
    let query = body.query()?;
    let places = Places::new(text, &body.scan.literals);
    let mut analyzer = Analyzer::new(schema, &[], &places, &body.traits.param_uses);
    if let Err(refusal) = analyzer.query(query, None, &Facts::default(), &Ctes::new()) {
        return match analyzer.found.inlined.take() {
            Some(named) if depth < MAX_VIEWS => {
                let replaced = with_query(schema, text, query, &named).ok_or(refusal.message)?;
                shape_of(schema, own, definition, &replaced.sql, depth + 1)
            }
            _ => Err(refusal.message),
        };
    }
    let found = &analyzer.found;
    body.check(found)?;
    if found.system {
        return match found.tables.is_empty() {
            true => Ok(Shape::Catalog),
            false => Err("it reads the system's catalogs beside tables".to_owned()),
        };
    }
    body.check_reach(found)?;
    match body.kind(own, found, definition)? {
        Some(kind) => {
            let base = body.written(found, &kind);
            let tables = behind(found);
            let unwritable = match (definition, &base) {
                (Definition { materialized: true, .. }, _) => Some("its rows are stored"),
                (Definition { acts: true, .. }, _) => Some("what its triggers and rules do can't be known"),
                (_, None) => Some("it does not simply pick rows and columns of one sharded or local table"),
                _ => None,
            };
            let timed = body.traits.functions.iter().any(|name| CLOCK.contains(&name.as_str()));
            let ordered = query.order_by.is_some() || found.ordered.is_some() || timed;
            let ordered = ordered && !definition.materialized;
            let base = base.filter(|_| unwritable.is_none());
            Ok(Shape::Table { kind, of_view: OfView { tables, ordered, unwritable }, base })
        }
        None if definition.materialized => {
            Err(out_of_reach("a materialized view has those of each shard that made it"))
        }
        None => {
            let hidden = behind(found).into_iter().find(|table| table.has_row_security);
            match hidden.filter(|_| !definition.invoker || depth > 0) {
                Some(table) => Err(out_of_reach(&format!(
                    "row security of \"{}\" would go by who asks, and not by the view's owner",
                    table.name
                ))),
                None => Ok(Shape::Inline),
            }
        }
    }
}

/// The text with a view's query in the place of its name.
pub(in crate::plan) fn with_query(
    schema: &Schema,
    text: &str,
    query: &Query,
    named: &Named,
) -> Option<Renamed> {
    let view = schema.view(&named.table)?;
    Renamed::of(text, query, &[(named, format!("({}\n)", view.sql))])
}

/// Why a materialized view of this query would not have, on all shards together, the rows that one Postgres would have.
/// The query is as the client wrote it.
pub fn unfit_to_store(schema: &Schema, path: &[String], text: &str) -> Result<(), String> {
    let parsed = parse(text)?;
    let Statement::CreateView(create) = parsed else { return Err("it is not understood".to_owned()) };
    let query = create.query.to_string();
    let body = Body { path, ..Body::of(schema, &query)? };
    let query = body.query()?;
    let places = Places::new(body.text, &body.scan.literals);
    let mut analyzer = Analyzer::new(schema, path, &places, &body.traits.param_uses);
    analyzer.query(query, None, &Facts::default(), &Ctes::new()).map_err(|refusal| refusal.message)?;
    body.check(&analyzer.found)?;
    body.check_reach(&analyzer.found)?;
    let width = match &*query.body {
        SetExpr::Select(select) => {
            select.projection.len().max(analyzer.found.tables.iter().map(|t| t.columns.len()).sum())
        }
        _ => 1,
    };
    match (0..width).find_map(|place| body.key_at(query, place, None)) {
        Some(_) => Ok(()),
        None => Err("its rows can't be told apart by a sharding key".to_owned()),
    }
}

/// The tables behind all that was found.
fn behind(found: &Found) -> Vec<Arc<Table>> {
    let mut tables: Vec<Arc<Table>> = Vec::new();
    for table in found.tables.iter().filter(|table| table.of_view.is_none()) {
        if !tables.iter().any(|known| Arc::ptr_eq(known, table)) {
            tables.push(Arc::clone(table));
        }
    }
    tables
}

fn parse(text: &str) -> Result<Statement, String> {
    let parsed = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_statements());
    match parsed {
        Ok(mut statements) if statements.len() == 1 => Ok(statements.remove(0)),
        Ok(_) => Err("its query is not understood".to_owned()),
        // As Postgres writes them: t.*::t
        Err(_) if text.contains(".*::") => Err("it has whole rows of a table in its columns".to_owned()),
        Err(e) => Err(format!("its query is not understood: {e}")),
    }
}

/// A view's query while it is looked at.
struct Body<'a> {
    schema: &'a Schema,
    path: &'a [String],
    text: &'a str,
    scan: Scan,
    statement: Statement,
    traits: Traits,
}

impl<'a> Body<'a> {
    fn of(schema: &'a Schema, text: &'a str) -> Result<Self, String> {
        let statement = parse(text)?;
        let mut scan = Scan::default();
        scan.run(text).map_err(|_| "its query is not closed".to_owned())?;
        let traits = Traits::of(&statement);
        Ok(Self { schema, path: &[], text, scan, statement, traits })
    }

    fn query(&self) -> Result<&Query, String> {
        match &self.statement {
            Statement::Query(query) => Ok(query),
            _ => Err("its query is not understood".to_owned()),
        }
    }

    /// Refuses what can't be known, and functions whose answer is not that of rows.
    fn check(&self, found: &Found) -> Result<(), String> {
        if let Some(name) = &found.unknown {
            return Err(format!("it reads {name}, which is not known"));
        }
        if self.traits.relations != found.relations {
            return Err("it mentions tables in a way that is not understood".to_owned());
        }
        let functions = &self.schema.functions;
        let by_field = function_as_field(&self.statement, &found.named, functions);
        let counts = |name: &str| matches!(name, "nextval" | "setval" | "currval" | "lastval" | "set_config");
        let acts = |name: &&String| {
            functions.reads_tables(name) || reads_by_text(name) || counts(name) || name.contains("advisory")
        };
        match by_field.as_ref().or_else(|| self.traits.functions.iter().find(acts)) {
            Some(name) => Err(format!("what function {name} does can't be known")),
            None => Ok(()),
        }
    }

    /// Refuses what no several shards can answer.
    fn check_reach(&self, found: &Found) -> Result<(), String> {
        let Self { schema, text, scan, traits, .. } = self;
        let context = gather::Context { schema, text, scan, found, traits };
        context.check(self.query()?).map_err(|refusal: Refusal| refusal.message)
    }

    /// What kind of table the view is like; `None`: of none.
    fn kind(&self, own: &Table, found: &Found, definition: &Definition) -> Result<Option<Kind>, String> {
        let group = match (found.groups.len(), found.groups.iter().next()) {
            (0, _) => own.group(),
            (1, Some(&group)) => Some(crate::schema::GroupId(group)),
            _ => return Ok(None),
        };
        let group = group.ok_or("it is of no shard group")?;
        let places: HashSet<ShardRef> = found.local.iter().copied().collect();
        let mut places = places.into_iter();
        match (places.next(), places.next(), found.sharded.is_empty()) {
            (Some(place), None, true) => return Ok(Some(Kind::Local(place))),
            (Some(_), None, false) => return Ok(None),
            (Some(_), Some(_), _) => return Ok(None),
            (None, _, true) if definition.materialized && !self.is_same_everywhere() => {
                return Err("each shard may have made other rows of it".to_owned());
            }
            (None, _, true) => return Ok(Some(Kind::Reference(group))),
            (None, _, false) => {}
        }
        let query = self.query()?;
        let mut columns = own.columns.iter().enumerate();
        Ok(columns.find_map(|(key, column)| {
            let key_type = self.key_at(query, key, Some(column))?;
            Some(Kind::Sharded { group, key, key_type })
        }))
    }

    /// The type of the key that a query's column at a place is, if every row of the query is made of rows with just that
    /// key, and of reference tables.
    fn key_at(&self, query: &Query, place: usize, column: Option<&Column>) -> Option<KeyType> {
        let bare = query.with.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty();
        if !bare {
            return None;
        }
        match &*query.body {
            SetExpr::Select(_) => self.key_of_select(query, place, column),
            SetExpr::Query(query) => self.key_at(query, place, column),
            // Rows that are the same have the same key.
            SetExpr::SetOperation { left, right, .. } => {
                let part = |body: &SetExpr| {
                    let part = Query { body: Box::new(body.clone()), order_by: None, ..query.clone() };
                    self.key_at(&part, place, column)
                };
                let key = part(left)?;
                (part(right)? == key).then_some(key)
            }
            _ => None,
        }
    }

    fn key_of_select(&self, query: &Query, place: usize, column: Option<&Column>) -> Option<KeyType> {
        let places = Places::new(self.text, &self.scan.literals);
        let mut analyzer = Analyzer::new(self.schema, self.path, &places, &self.traits.param_uses);
        analyzer.stores_like(place);
        analyzer.query(query, None, &Facts::default(), &Ctes::new()).ok()?;
        let sharded = &analyzer.found.sharded;
        if sharded.is_empty() || sharded.iter().any(|read| !read.with_target) {
            return None;
        }
        let table = analyzer.target_table()?;
        let Kind::Sharded { key, key_type, .. } = table.kind else { return None };
        let own = &table.columns[key];
        let same = column.is_none_or(|column| column.type_oid == own.type_oid && column.typmod == own.typmod);
        same.then_some(key_type)
    }

    /// The table that is written through the view: the one that it reads, if it hands its key on as it is.
    fn written(&self, found: &Found, kind: &Kind) -> Option<Arc<Table>> {
        let [named] = &found.named[..] else { return None };
        let SetExpr::Select(select) = &*self.query().ok()?.body else { return None };
        let table = &named.table;
        if found.relations != 1 || !hands_on(select, kind, table) {
            return None;
        }
        match &table.of_view {
            Some(view) if view.unwritable.is_some() => None,
            Some(view) => view.tables.first().cloned(),
            None => Some(Arc::clone(table)),
        }
    }

    /// Whether every copy of its tables gives the same rows at whatever time.
    fn is_same_everywhere(&self) -> bool {
        let functions = &self.schema.functions;
        let steady = |name: &String| {
            !functions.is_volatile(name) && !TIMELY.contains(&name.as_str()) && is_unordered(name, functions)
        };
        !self.traits.volatile
            && self.traits.functions.iter().all(steady)
            && self.statement.visit(&mut FirstRows).is_continue()
    }
}

/// Whether a view's key is its table's.
fn hands_on(select: &Select, kind: &Kind, table: &Table) -> bool {
    match (kind, &table.kind) {
        (Kind::Sharded { key: place, .. }, Kind::Sharded { key, .. }) => match item(select, *place) {
            Some(Expr::Identifier(name)) => folded(name) == table.columns[*key].name,
            Some(Expr::CompoundIdentifier(parts)) => {
                parts.last().is_some_and(|name| folded(name) == table.columns[*key].name)
            }
            _ => false,
        },
        (Kind::Local(place), Kind::Local(own)) => place == own,
        _ => false,
    }
}

/// What each shard tells by its own clock.
const CLOCK: [&str; 9] = [
    "now",
    "age",
    "transaction_timestamp",
    "statement_timestamp",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
];

/// What gives the time, or who asks.
const TIMELY: [&str; 14] = [
    "now",
    "age",
    "transaction_timestamp",
    "statement_timestamp",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "current_user",
    "session_user",
    "current_setting",
    "version",
    "inet_server_port",
];

/// Whether a function's answer does not depend on the order of rows.
fn is_unordered(name: &str, functions: &Functions) -> bool {
    functions.is_scalar(name)
        || ["count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every"].contains(&name)
}

/// Breaks off at what takes some rows of many.
struct FirstRows;

impl Visitor for FirstRows {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        match query.limit_clause.is_none() && query.fetch.is_none() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        match select.distinct {
            Some(Distinct::On(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call) if call.over.is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What is wrong with a view where a statement needs it as a table.
pub(in crate::plan) fn refusal(schema: &Schema, table: &Table) -> Refusal {
    let name = &table.name;
    match schema.view(table).map(|view| &view.reads) {
        Some(Reads::Refused(why)) => {
            Refusal::unsupported(format!("view \"{name}\" can't be read over shards: {why}"))
        }
        Some(_) => Refusal::unsupported(format!(
            "view \"{name}\" needs rows of several shards at once, which only a SELECT may read"
        )),
        None => {
            Refusal::unsupported(format!("\"{name}\" is a view or a sequence of which nothing more is known"))
        }
    }
}

/// Refuses locks through a view of sharded tables on rows that every shard has.
pub(in crate::plan) fn check_locks(found: &Found) -> Result<(), Refusal> {
    let is_reference = |table: &Arc<Table>| matches!(table.kind, Kind::Reference(_));
    let mixed = |table: &&Arc<Table>| {
        matches!(table.kind, Kind::Sharded { .. })
            && table.of_view.as_ref().is_some_and(|view| view.tables.iter().any(is_reference))
    };
    match found.tables.iter().find(mixed) {
        Some(view) => Err(Refusal::unsupported(format!(
            "locking rows of a reference table through view \"{}\", which reads sharded ones,",
            view.name
        ))),
        None => Ok(()),
    }
}
