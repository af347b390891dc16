//! What a shard's catalog says: relations, their columns and keys, and functions that may look at tables.
//!
//! Rows as Postgres gives them, in plain structs; what a table *is* to Shardway is decided by the router. They are read as
//! text, so that a server in the middle of a transaction can be asked as well as a connection of the control plane.

pub mod effects;
pub mod items;
mod queries;
mod sequences;
pub mod types;
pub mod views;

use crate::control::{Control, explain};
use crate::server::{RunError, ServerConn, TextRow};
use queries::{FOREIGN_KEYS, FUNCTIONS, LINKS, PARTITION_KEYS, RELATIONS, REWRITTEN, UNIQUE};
pub use sequences::{Sequence, SequenceUse, read_sequences};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// `pg_class.relkind`: r table, p partitioned, v view, m materialized view, f foreign, S sequence.
    pub kind: char,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Whether it has triggers or rules that users made; those of foreign keys do not count.
    pub has_triggers: bool,
    /// Relations (schema and name) that a change here changes too, by a foreign key's ON DELETE or ON UPDATE.
    pub cascades_to: Vec<(String, String)>,
    /// Relations that it inherits from, or is a partition of.
    pub parents: Vec<(String, String)>,
    /// Whether rows are filtered by policies.
    pub has_row_security: bool,
    /// Whether what users made of triggers and rules may do more than change the row at hand, as far as their text tells.
    pub triggers_act: bool,
    /// Its unique indexes.
    pub uniques: Vec<Unique>,
}

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Its name, and that of its constraint.
    pub name: String,
    /// Its columns, in order; empty names are expressions.
    pub columns: Vec<String>,
    /// Whether it is the primary key.
    pub primary: bool,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// `pg_type.typname` of the type, or of a domain's base type.
    pub type_name: String,
    /// The type's OID, or the domain's base type's.
    pub type_oid: u32,
    /// `pg_type.typtype` of that: b base, e enum, c composite, …
    pub type_kind: char,
    /// `pg_attribute.atttypmod`, or the domain's.
    pub typmod: i32,
    /// Whether its collation orders text as bytes (`C`, `POSIX`, `C.UTF-8`, `ucs_basic`), or it has none.
    pub byte_order: bool,
    /// Whether equal text may differ in bytes (a nondeterministic collation).
    pub nondeterministic: bool,
    /// Whether it has a default, or is an identity.
    pub has_default: bool,
    /// Its default, or its domain's, as SQL; none for an identity and for what is generated.
    pub default: Option<String>,
    /// Whether its default takes from a sequence (serial, identity, nextval).
    pub from_sequence: bool,
    /// Whether it is GENERATED ALWAYS AS (…) STORED, so that INSERT without a column list skips nothing but can't set it.
    pub generated: bool,
}

/// All that was read from one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Every relation outside the system schemas.
    pub relations: Vec<Relation>,
    /// Every function, by name.
    pub functions: Vec<Function>,
    /// What keeps rows apart.
    pub barriers: Vec<Barrier>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
    /// Columns that triggers may give other values before a row is stored; an empty name stands for the whole row.
    pub rewritten: Vec<(Name, String)>,
    /// Columns that say which partition a row is in, of each table that has partitions; an empty name stands for any.
    pub partition_keys: Vec<(Name, String)>,
    /// Columns whose values come from sequences.
    pub sequence_uses: Vec<SequenceUse>,
    /// Sequences that are known to give no value on more than one shard; filled in by who has asked all of them.
    pub interleaved: HashSet<Name>,
    /// What tables do by themselves.
    pub effects: Vec<effects::Effect>,
    /// What functions say that may be called by it; none where nothing acts.
    pub bodies: Vec<effects::Body>,
    /// What views say.
    pub views: Vec<views::View>,
}

/// A schema, and a name in it.
pub type Name = (String, String);

/// A unique index, or an exclusion constraint's: rows that it keeps apart must be on one shard to be in each other's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Its table.
    pub table: Name,
    /// The index.
    pub index: String,
    /// What it belongs to: `primary key`, `unique constraint`, `exclusion constraint` or `unique index`.
    pub what: String,
    /// Columns that rows must share to be in each other's way; expressions are left out.
    pub columns: Vec<String>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The table that refers.
    pub table: Name,
    /// The constraint.
    pub name: String,
    /// The table that is referred to.
    pub to: Name,
    /// Columns there and here, in pairs: the referring one first.
    pub columns: Vec<(String, String)>,
    /// Referring columns that the end of a row there sets to NULL or to their default.
    pub emptied: Vec<String>,
}

impl Catalog {
    /// A relation by its name.
    pub fn relation(&self, name: &Name) -> Option<&Relation> {
        self.relations.iter().find(|r| r.schema == name.0 && r.name == name.1)
    }

    /// Takes over from another shard's catalog the relations that `wanted` names, in place of its own of those names.
    pub fn adopt(&mut self, other: Catalog, wanted: impl Fn(&Name) -> bool) {
        let is = |r: &Relation| wanted(&(r.schema.clone(), r.name.clone()));
        self.relations.retain(|r| !is(r));
        self.relations.extend(other.relations.into_iter().filter(is));
        self.barriers.retain(|b| !wanted(&b.table));
        self.barriers.extend(other.barriers.into_iter().filter(|b| wanted(&b.table)));
        self.rewritten.retain(|(table, _)| !wanted(table));
        self.rewritten.extend(other.rewritten.into_iter().filter(|(table, _)| wanted(table)));
        self.partition_keys.retain(|(table, _)| !wanted(table));
        self.partition_keys.extend(other.partition_keys.into_iter().filter(|(table, _)| wanted(table)));
        self.foreign_keys.retain(|k| !wanted(&k.table));
        self.foreign_keys.extend(other.foreign_keys.into_iter().filter(|k| wanted(&k.table)));
        self.sequence_uses.retain(|u| !wanted(&u.table));
        self.sequence_uses.extend(other.sequence_uses.into_iter().filter(|u| wanted(&u.table)));
        self.effects.retain(|e| !wanted(&e.table));
        self.effects.extend(other.effects.into_iter().filter(|e| wanted(&e.table)));
        self.views.retain(|v| !wanted(&v.name));
        self.views.extend(other.views.into_iter().filter(|v| wanted(&v.name)));
        if self.bodies.is_empty() {
            self.bodies = other.bodies;
        }
    }

    /// Names of the relations that only one of two catalogs has, or whose columns differ in name, type or order; and of
    /// views that say other things.
    pub fn differences(&self, other: &Catalog) -> Vec<String> {
        let shapes = |catalog: &Catalog| -> BTreeMap<String, Vec<(String, String, i32)>> {
            let shape = |r: &Relation| {
                r.columns.iter().map(|c| (c.name.clone(), c.type_name.clone(), c.typmod)).collect()
            };
            catalog.relations.iter().map(|r| (format!("{}.{}", r.schema, r.name), shape(r))).collect()
        };
        let (here, there) = (shapes(self), shapes(other));
        let views = |catalog: &Catalog| -> BTreeMap<String, String> {
            let view = |v: &views::View| (format!("{}.{}", v.name.0, v.name.1), v.sql.clone());
            catalog.views.iter().map(view).collect()
        };
        let (says, said) = (views(self), views(other));
        let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differs =
            |name: &&String| here.get(*name) != there.get(*name) || says.get(*name) != said.get(*name);
        names.into_iter().filter(differs).cloned().collect()
    }
}

/// All functions of one name, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Whether each of them gives one value for one row: no aggregate, window or set-returning function.
    pub scalar: bool,
    /// Whether one of them is volatile.
    pub volatile: bool,
    /// Whether one of them may read or write tables: a user's own, not immutable, not from an extension.
    pub reads_tables: bool,
    /// Whether one of them is not Postgres's own.
    pub overloaded: bool,
    /// Whether the text of one of them, a user's own, speaks of what stays with a session: temporary tables, session
    /// locks, held cursors.
    pub leaves_state: bool,
}

/// Who answers questions about a catalog.
pub trait Source: Send {
    /// The rows of a query, as text. Errors: in words.
    fn rows(&mut self, sql: &str) -> impl Future<Output = Result<Vec<TextRow>, String>> + Send;
}

impl Source for ServerConn {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, String> {
        ServerConn::rows(self, sql).await.map_err(|error| match error {
            RunError::Lost(error) => error.to_string(),
            RunError::Refused(body) => {
                let message = crate::frame::error_field(&body, b'M').unwrap_or_default();
                String::from_utf8_lossy(message).into_owned()
            }
        })
    }
}

/// A connection of the control plane.
struct Controlled(deadpool_postgres::Object);

impl Source for Controlled {
    async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>, String> {
        let messages = self.0.simple_query(sql).await.map_err(|e| explain(&e))?;
        let text = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()
        };
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(text(row)),
                _ => None,
            })
            .collect())
    }
}

/// A connection of the control plane to ask over. Errors: in words.
pub async fn source(control: &Control) -> Result<impl Source + use<>, String> {
    control.get().await.map(Controlled)
}

/// Reads a database's catalog. Errors: in words.
pub async fn read(control: &Control) -> Result<Catalog, String> {
    read_from(&mut source(control).await?).await
}

/// The same by whoever is asked. Errors: in words.
pub async fn read_from(source: &mut impl Source) -> Result<Catalog, String> {
    let mut catalog = Catalog::default();
    for mut row in source.rows(RELATIONS).await? {
        add_column(&mut catalog.relations, &mut row);
    }
    catalog.functions = source.rows(FUNCTIONS).await?.iter_mut().map(function).collect();
    let links = source.rows(LINKS).await?;
    let at: HashMap<Name, usize> =
        catalog.relations.iter().enumerate().map(|(i, r)| ((r.schema.clone(), r.name.clone()), i)).collect();
    for mut row in links {
        let kind = text(&mut row, 0);
        let from = name(&mut row, 1);
        if let Some(&from) = at.get(&from) {
            link(&mut catalog.relations[from], &kind, name(&mut row, 3));
        }
    }
    for mut row in source.rows(UNIQUE).await? {
        let mut own = Vec::new();
        let relation = at.get(&(row_text(&row, 0), row_text(&row, 1)));
        let uniques = relation.map_or(&mut own, |&at| &mut catalog.relations[at].uniques);
        add_unique(&mut catalog.barriers, uniques, &mut row);
    }
    for mut row in source.rows(FOREIGN_KEYS).await? {
        add_foreign_key(&mut catalog.foreign_keys, &mut row);
    }
    for mut row in source.rows(REWRITTEN).await? {
        catalog.rewritten.push((name(&mut row, 0), text(&mut row, 2)));
    }
    for mut row in source.rows(PARTITION_KEYS).await? {
        catalog.partition_keys.push((name(&mut row, 0), text(&mut row, 2)));
    }
    catalog.sequence_uses = sequences::read_uses(source).await?;
    (catalog.effects, catalog.bodies) = effects::read(source).await?;
    catalog.views = views::read(source).await?;
    Ok(catalog)
}

/// A row's text; empty for NULL, and where there is none.
fn text(row: &mut TextRow, at: usize) -> String {
    row.get_mut(at).and_then(Option::take).unwrap_or_default()
}

fn truth(row: &mut TextRow, at: usize) -> bool {
    text(row, at) == "t"
}

fn number<T: std::str::FromStr + Default>(row: &mut TextRow, at: usize) -> T {
    text(row, at).parse().unwrap_or_default()
}

fn name(row: &mut TextRow, at: usize) -> Name {
    (text(row, at), text(row, at + 1))
}

fn function(row: &mut TextRow) -> Function {
    Function {
        name: text(row, 0),
        scalar: truth(row, 1),
        volatile: truth(row, 2),
        reads_tables: truth(row, 3),
        overloaded: truth(row, 4),
        leaves_state: truth(row, 5),
    }
}

fn add_column(relations: &mut Vec<Relation>, row: &mut TextRow) {
    let (schema, name) = name(row, 0);
    if relations.last().is_none_or(|r| r.schema != schema || r.name != name) {
        relations.push(Relation {
            schema,
            name,
            kind: first_char(&text(row, 2)),
            columns: Vec::new(),
            has_triggers: truth(row, 3),
            has_row_security: truth(row, 4),
            cascades_to: Vec::new(),
            parents: Vec::new(),
            triggers_act: truth(row, 16),
            uniques: Vec::new(),
        });
    }
    if let (Some(column), Some(relation)) = (column(row), relations.last_mut()) {
        relation.columns.push(column);
    }
}

/// A row's text, left where it is.
fn row_text(row: &TextRow, at: usize) -> String {
    row.get(at).cloned().flatten().unwrap_or_default()
}

fn add_unique(barriers: &mut Vec<Barrier>, uniques: &mut Vec<Unique>, row: &mut TextRow) {
    let (table, index) = (name(row, 0), text(row, 2));
    let (column, equal, primary) = (text(row, 4), text(row, 5), truth(row, 6));
    let whole = truth(row, 7);
    if barriers.last().is_none_or(|last| last.table != table || last.index != index) {
        if whole {
            uniques.push(Unique { name: index.clone(), columns: Vec::new(), primary });
        }
        barriers.push(Barrier { table, index, what: text(row, 3), columns: Vec::new() });
    }
    if let (Some(unique), true) = (uniques.last_mut(), whole) {
        unique.columns.push(column);
    }
    if let (Some(last), false) = (barriers.last_mut(), equal.is_empty()) {
        last.columns.push(equal);
    }
}

fn add_foreign_key(all: &mut Vec<ForeignKey>, row: &mut TextRow) {
    let (table, constraint) = (name(row, 0), text(row, 2));
    if all.last().is_none_or(|last| last.table != table || last.name != constraint) {
        let to = name(row, 3);
        all.push(ForeignKey { table, name: constraint, to, columns: Vec::new(), emptied: Vec::new() });
    }
    if let Some(last) = all.last_mut() {
        let column = text(row, 5);
        if truth(row, 7) {
            last.emptied.push(column.clone());
        }
        last.columns.push((column, text(row, 6)));
    }
}

fn link(from: &mut Relation, kind: &str, to: Name) {
    let links = if kind == "f" { &mut from.cascades_to } else { &mut from.parents };
    if !links.contains(&to) {
        links.push(to);
    }
}

/// The row's column; `None` for a relation without any.
fn column(row: &mut TextRow) -> Option<Column> {
    Some(Column {
        name: row.get_mut(5).and_then(Option::take)?,
        type_name: text(row, 6),
        type_oid: number(row, 7),
        type_kind: first_char(&text(row, 8)),
        typmod: number(row, 9),
        byte_order: truth(row, 10),
        nondeterministic: truth(row, 11),
        from_sequence: truth(row, 12),
        generated: truth(row, 13),
        has_default: truth(row, 14),
        default: row.get_mut(15).and_then(Option::take),
    })
}

fn first_char(text: &str) -> char {
    text.chars().next().unwrap_or(' ')
}
