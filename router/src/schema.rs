//! What every relation is to Shardway: the shards' catalogs, lowered by the configuration's rules.

pub mod effects;
mod families;
pub mod placing;
pub mod turned;
pub mod views;

use shardway_config::{Database, Group, TableKind as Entry, TableName, UnlistedTables};
use shardway_pool::catalog::{Catalog, Column, Relation, SequenceUse, Unique};
use shardway_shardmap::{KeyType, ShardId, ShardMap, UnsupportedKeyType};
use std::collections::HashMap;
use std::sync::Arc;

/// A shard group's index in its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub usize);

/// One shard of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardRef {
    /// The group.
    pub group: GroupId,
    /// The shard.
    pub shard: ShardId,
}

/// What a table is (Citus's words).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rows live by their key.
    Sharded {
        /// Its group.
        group: GroupId,
        /// The key's index among the columns.
        key: usize,
        /// How the key is read.
        key_type: KeyType,
    },
    /// A full copy on every shard of the group.
    Reference(GroupId),
    /// On one shard.
    Local(ShardRef),
    /// A view or a sequence; what is known of a view is in its [`views::View`].
    View(GroupId),
    /// No key column, no entry, and `unlisted_tables = "error"`.
    Unlisted,
    /// In several groups, and no entry says which is meant.
    Ambiguous,
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Whether users made triggers or rules on it.
    pub has_triggers: bool,
    /// Whether a write here may change other tables, by a foreign key's ON DELETE or ON UPDATE.
    pub cascades: bool,
    /// Whether rows are filtered by policies.
    pub has_row_security: bool,
    /// Whether what users made of triggers and rules may do more than change the row at hand.
    pub triggers_act: bool,
    /// Its unique indexes.
    pub uniques: Vec<Unique>,
    /// One name for all the tables that it shares rows with, as a partition does or by inheritance.
    pub family: Option<Arc<str>>,
    /// What it does by itself that is not known to be right over shards.
    pub side_effects: effects::SideEffects,
    /// Of a view that is read like a table.
    pub of_view: Option<Arc<views::OfView>>,
}

impl Table {
    /// Index of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The columns of its primary key; none if it has none.
    pub fn primary_key(&self) -> &[String] {
        self.uniques.iter().find(|unique| unique.primary).map_or(&[], |unique| &unique.columns)
    }

    /// The type of its key, where it has one.
    pub fn key_oid(&self) -> Option<u32> {
        match self.kind {
            Kind::Sharded { key, .. } => Some(self.columns[key].type_oid),
            _ => None,
        }
    }

    /// Its group, where it has one.
    pub fn group(&self) -> Option<GroupId> {
        match self.kind {
            Kind::Sharded { group, .. } | Kind::Reference(group) | Kind::View(group) => Some(group),
            Kind::Local(place) => Some(place.group),
            Kind::Unlisted | Kind::Ambiguous => None,
        }
    }
}

/// A temporary table of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporaryTable {
    /// Name.
    pub name: String,
    /// Columns in order, with their types.
    pub columns: Vec<(String, u32)>,
}

/// The schema that a session's temporary tables are in.
const TEMPORARY: &str = "pg_temp";

/// All relations of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    tables: HashMap<(String, String), Arc<Table>>,
    /// What is known of functions.
    pub functions: Functions,
    /// Shards per group; one of 1 alone is the unsharded case.
    pub shard_counts: Vec<u32>,
    /// Where objects are and would be.
    pub placing: placing::Placing,
    /// What views are to statements.
    views: HashMap<(String, String), Arc<views::View>>,
    has_temporary: bool,
}

/// What is wrong with a database's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem(pub String);

impl Schema {
    /// Lowers one catalog per group. Problems name tables whose key can't be one; those tables are left out of
    /// nothing: they stay unusable rather than become something else.
    pub fn lower(
        config: &Database,
        unlisted: UnlistedTables,
        maps: &[ShardMap],
        catalogs: &[Catalog],
    ) -> (Self, Vec<SchemaProblem>) {
        let mut schema = Self::unread(maps);
        let mut problems = Vec::new();
        for (index, (group, catalog)) in config.groups.iter().zip(catalogs).enumerate() {
            catalog.functions.iter().for_each(|f| schema.functions.add(f));
            let relations = catalog.relations.iter().map(|r| ((&*r.schema, &*r.name), r)).collect();
            let lowering = Lowering {
                config,
                group,
                id: GroupId(index),
                map: &maps[index],
                unlisted,
                relations: &relations,
            };
            let mut kinds: Vec<_> = catalog.relations.iter().map(|r| lowering.kind(r, 0)).collect();
            lowering.refuse_mixed_families(&catalog.relations, &mut kinds);
            for (relation, kind) in catalog.relations.iter().zip(kinds) {
                schema.add(
                    relation,
                    kind.unwrap_or_else(|why| {
                        problems.push(SchemaProblem(format!(
                            "table {}.{}: {why}",
                            relation.schema, relation.name
                        )));
                        Kind::Unlisted
                    }),
                );
            }
        }
        schema.join_families(catalogs);
        schema.trust_sequences(catalogs);
        for (name, found) in effects::judge(&schema, catalogs) {
            if let Some(table) = schema.tables.get_mut(&name) {
                Arc::make_mut(table).side_effects = found;
            }
        }
        schema.placing = placing::Placing::of(config, catalogs);
        for (group, catalog) in catalogs.iter().enumerate() {
            let counters = crate::plan::ddl::interleave::wanted(&schema, catalog, GroupId(group));
            schema.placing.count_everywhere(counters);
        }
        if !schema.is_unsharded() {
            schema.judge_views(catalogs);
        }
        (schema, problems)
    }

    /// Columns of sharded tables whose sequences count on all shards without giving a value twice are as any other with a
    /// default.
    fn trust_sequences(&mut self, catalogs: &[Catalog]) {
        for (group, catalog) in catalogs.iter().enumerate() {
            let proven = |name: &Option<(String, String)>| {
                name.as_ref().is_some_and(|name| catalog.interleaved.contains(name))
            };
            for used in &catalog.sequence_uses {
                let Some(table) = self.tables.get_mut(&used.table) else { continue };
                let others = catalog.sequence_uses.iter();
                let same = |other: &&SequenceUse| other.table == used.table && other.column == used.column;
                if matches!(table.kind, Kind::Sharded { group: own, .. } if own.0 == group)
                    && others.filter(same).all(|other| proven(&other.sequence))
                    && let Some(at) = table.column(&used.column)
                {
                    Arc::make_mut(table).columns[at].from_sequence = false;
                }
            }
        }
    }

    /// Names the families. A write to a member may reach any other one's rows, so what triggers and foreign keys do there
    /// it does as well.
    fn join_families(&mut self, catalogs: &[Catalog]) {
        for members in families::of(catalogs) {
            let name: Option<Arc<str>> =
                members.first().map(|(schema, name)| format!("{schema}.{name}").into());
            let tables = || members.iter().filter_map(|member| self.tables.get(member));
            let has_triggers = tables().any(|table| table.has_triggers);
            let cascades = tables().any(|table| table.cascades);
            let triggers_act = tables().any(|table| table.triggers_act);
            for member in &members {
                if let Some(table) = self.tables.get_mut(member).map(Arc::make_mut) {
                    (table.has_triggers, table.cascades) = (has_triggers, cascades);
                    table.triggers_act = triggers_act;
                    table.family.clone_from(&name);
                }
            }
        }
    }

    fn add(&mut self, relation: &Relation, kind: Kind) {
        let key = (relation.schema.clone(), relation.name.clone());
        let kind = match self.tables.get(&key) {
            Some(other) => resolve(&other.kind, kind),
            None => kind,
        };
        let table = Table {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            kind,
            columns: relation.columns.clone(),
            has_triggers: relation.has_triggers,
            cascades: !relation.cascades_to.is_empty(),
            has_row_security: relation.has_row_security,
            triggers_act: relation.triggers_act,
            uniques: relation.uniques.clone(),
            family: None,
            side_effects: effects::SideEffects::default(),
            of_view: None,
        };
        self.tables.insert(key, Arc::new(table));
    }

    /// Of tables made by hand.
    #[cfg(test)]
    pub fn of(tables: Vec<Table>, functions: Functions, shard_counts: Vec<u32>) -> Self {
        let named = |t: Table| ((t.schema.clone(), t.name.clone()), Arc::new(t));
        Self {
            tables: tables.into_iter().map(named).collect(),
            functions,
            shard_counts,
            placing: placing::Placing::default(),
            views: HashMap::new(),
            has_temporary: false,
        }
    }

    /// Before anything was read.
    pub fn unread(maps: &[ShardMap]) -> Self {
        Self { shard_counts: maps.iter().map(ShardMap::shard_count).collect(), ..Self::default() }
    }

    /// A table by schema and name.
    pub fn get(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        // Allocating for a lookup is fine here: it happens once per statement template.
        self.tables.get(&(schema.to_owned(), name.to_owned()))
    }

    /// A relation by name as a statement gives it: with a schema, or found along a search path.
    pub fn find(&self, path: &[String], schema: Option<&str>, name: &str) -> Option<&Arc<Table>> {
        match schema {
            Some(schema) => self.get(schema, name),
            // A view such as pg_stat_statements is the system's, a table of such a name is not.
            None => self
                .temporary(path, name)
                .or_else(|| path.iter().find_map(|s| self.get(s, name)))
                .filter(|table| !(name.starts_with("pg_") && matches!(table.kind, Kind::View(_)))),
        }
    }

    /// A temporary table comes first, unless the path says where.
    fn temporary(&self, path: &[String], name: &str) -> Option<&Arc<Table>> {
        let first = self.has_temporary && !path.iter().any(|schema| schema == TEMPORARY);
        first.then(|| self.get(TEMPORARY, name)).flatten()
    }

    /// The same with the temporary tables of one session in it, each on its shard.
    #[must_use]
    pub fn with_temporary(&self, tables: &[(ShardRef, TemporaryTable)]) -> Self {
        let mut schema = Self { has_temporary: true, ..self.clone() };
        for (place, table) in tables {
            let key = (TEMPORARY.to_owned(), table.name.clone());
            let kind = match schema.tables.contains_key(&key) {
                true => Kind::Ambiguous,
                false => Kind::Local(*place),
            };
            let table = Table {
                schema: TEMPORARY.to_owned(),
                name: table.name.clone(),
                kind,
                columns: table.columns.iter().map(temporary_column).collect(),
                has_triggers: false,
                cascades: false,
                has_row_security: false,
                triggers_act: false,
                uniques: Vec::new(),
                family: None,
                side_effects: effects::SideEffects::default(),
                of_view: None,
            };
            schema.tables.insert(key, Arc::new(table));
        }
        schema
    }

    /// The shard that has a temporary table; `None` if there is none of this name.
    pub fn place_of_temporary(&self, name: &str) -> Option<ShardRef> {
        match self.get(TEMPORARY, name)?.kind {
            Kind::Local(place) => Some(place),
            _ => None,
        }
    }

    /// Whether there are temporary tables in it.
    pub fn has_temporary(&self) -> bool {
        self.has_temporary
    }

    /// Every table, in no order.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// What its tables do by themselves that is not known to be right over shards, in words and in order.
    pub fn side_effects(&self) -> Vec<String> {
        self.said_of_tables(Table::complaints)
    }

    /// What unique indexes do not keep apart over shards, in words and in order.
    pub fn loose_ends(&self) -> Vec<String> {
        self.said_of_tables(Table::loose_ends)
    }

    fn said_of_tables(&self, of: impl Fn(&Table) -> Vec<String>) -> Vec<String> {
        let mut all: Vec<String> = self.tables().flat_map(|table| of(table)).collect();
        all.sort();
        all
    }

    /// Whether there is just one shard in all: then every statement is as on one Postgres.
    pub fn is_unsharded(&self) -> bool {
        self.shard_counts == [1]
    }
}

/// What is known of a temporary table's column.
fn temporary_column((name, type_oid): &(String, u32)) -> Column {
    Column {
        name: name.clone(),
        type_name: String::new(),
        type_oid: *type_oid,
        type_kind: 'b',
        typmod: -1,
        byte_order: false,
        nondeterministic: true,
        from_sequence: false,
        generated: false,
        has_default: false,
        default: None,
    }
}

/// Which of two kinds holds for a name that two groups have: the one that an entry named, else neither.
fn resolve(first: &Kind, second: Kind) -> Kind {
    match (first, &second) {
        (Kind::Unlisted, _) => second,
        (_, Kind::Unlisted) => first.clone(),
        (Kind::Sharded { .. } | Kind::Local(_), Kind::Reference(_)) => first.clone(),
        (Kind::Reference(_), Kind::Sharded { .. } | Kind::Local(_)) => second,
        _ => Kind::Ambiguous,
    }
}

/// Functions by name, from the catalogs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions(HashMap<String, Function>);

/// What is true of all functions of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    scalar: bool,
    volatile: bool,
    reads_tables: bool,
    overloaded: bool,
    leaves_state: bool,
}

/// What looks like a function in SQL but is syntax: one value for one row.
const SYNTAX: [&str; 20] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
    "row",
    "trim",
    "normalize",
    "xmlelement",
];

impl Functions {
    /// Takes in what one catalog says of a name; catalogs that differ make it doubtful.
    pub fn add(&mut self, function: &shardway_pool::catalog::Function) {
        let shardway_pool::catalog::Function {
            name,
            scalar,
            volatile,
            reads_tables,
            overloaded,
            leaves_state,
        } = function;
        let new = Function {
            scalar: *scalar,
            volatile: *volatile,
            reads_tables: *reads_tables,
            overloaded: *overloaded,
            leaves_state: *leaves_state,
        };
        self.0
            .entry(name.clone())
            .and_modify(|known| {
                known.scalar &= new.scalar;
                known.volatile |= new.volatile;
                known.reads_tables |= new.reads_tables;
                known.overloaded |= new.overloaded;
                known.leaves_state |= new.leaves_state;
            })
            .or_insert(new);
    }

    /// Whether there is a function of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a call gives one value for one row: no aggregate, window or set-returning function.
    pub fn is_scalar(&self, name: &str) -> bool {
        self.0.get(name).map_or_else(|| SYNTAX.contains(&name), |f| f.scalar)
    }

    /// Whether a second call, or one on a replica, may answer otherwise.
    pub fn is_volatile(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|f| f.volatile)
    }

    /// Whether a function of this name is not Postgres's own: then a call may mean that one.
    pub fn is_overloaded(&self, name: &str) -> bool {
        self.0.get(name).is_none_or(|f| f.overloaded)
    }

    /// Whether its text speaks of what stays with a session on its server. A function that calls such a one, or that puts
    /// the words together itself, is not known to.
    pub fn leaves_state(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|f| f.leaves_state)
    }

    /// Whether it may read or write tables that the statement does not name.
    pub fn reads_tables(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|f| f.reads_tables)
    }
}

struct Lowering<'a> {
    config: &'a Database,
    group: &'a Group,
    id: GroupId,
    map: &'a ShardMap,
    unlisted: UnlistedTables,
    relations: &'a HashMap<(&'a str, &'a str), &'a Relation>,
}

/// Generations of inheritance that are followed.
const MAX_GENERATIONS: usize = 32;

impl Lowering<'_> {
    fn kind(&self, relation: &Relation, generation: usize) -> Result<Kind, String> {
        if matches!(relation.kind, 'v' | 'm' | 'S') {
            return Ok(Kind::View(self.id));
        }
        // A partition is what its table is, unless an entry says otherwise.
        let parent = relation.parents.first().and_then(|(s, n)| self.relations.get(&(&**s, &**n)));
        if let (Some(parent), None) = (parent, self.entry(relation)) {
            return match self.kind(
                parent,
                if generation < MAX_GENERATIONS { generation + 1 } else { return Ok(Kind::Unlisted) },
            )? {
                Kind::Sharded { key, .. } => {
                    self.sharded(relation, &parent.columns[key].name).map_err(|e| e.to_string())
                }
                kind => Ok(kind),
            };
        }
        self.own_kind(relation).map_err(|e| e.to_string())
    }

    /// A query on a parent reads its children too: they must be of one kind.
    fn refuse_mixed_families(&self, relations: &[Relation], kinds: &mut [Result<Kind, String>]) {
        let at: HashMap<_, _> =
            relations.iter().enumerate().map(|(i, r)| ((&*r.schema, &*r.name), i)).collect();
        for (child, relation) in relations.iter().enumerate() {
            for (schema, name) in &relation.parents {
                let Some(&parent) = at.get(&(&**schema, &**name)) else { continue };
                let key = |i: usize| match &kinds[i] {
                    Ok(Kind::Sharded { key, .. }) => relations[i].columns.get(*key).map(|c| c.name.clone()),
                    _ => None,
                };
                let alike = match (&kinds[parent], &kinds[child]) {
                    (Ok(Kind::Sharded { .. }), Ok(Kind::Sharded { .. })) => key(parent) == key(child),
                    (Ok(a), Ok(b)) => a == b,
                    _ => false,
                };
                // Children of a table without the key that have it themselves would be sharded beside a full copy.
                let hidden_key = matches!(kinds[child], Ok(Kind::Reference(_)))
                    && self.group.keys.iter().any(|k| relation.columns.iter().any(|c| c.name == *k))
                    && self.entry(relation).is_none()
                    && self.entry(&relations[parent]).is_none();
                if !alike || hidden_key {
                    let why = format!(
                        "\"{}\" inherits from \"{name}\" and is not sharded as that is",
                        relation.name
                    );
                    kinds[parent] = Err(why.clone());
                    kinds[child] = Err(why);
                }
            }
        }
    }

    fn own_kind(&self, relation: &Relation) -> Result<Kind, UnsupportedKeyType> {
        match self.entry(relation) {
            Some(Entry::Reference { group }) if *group == self.id.0 => Ok(Kind::Reference(self.id)),
            Some(Entry::Local { group, shard }) if *group == self.id.0 => {
                Ok(Kind::Local(ShardRef { group: self.id, shard: ShardId(*shard) }))
            }
            Some(Entry::Sharded { group, key: Some(key) }) if *group == self.id.0 => {
                self.sharded(relation, key)
            }
            Some(Entry::Sharded { group, key: None }) if *group == self.id.0 => self.by_columns(relation),
            Some(_) => Ok(Kind::Unlisted),
            None => self.by_columns(relation),
        }
    }

    fn entry(&self, relation: &Relation) -> Option<&shardway_config::TableKind> {
        let names = |name: &TableName| {
            name.name == relation.name && name.schema.as_ref().is_none_or(|s| *s == relation.schema)
        };
        let mut found: Vec<_> = self.config.tables.iter().filter(|t| names(&t.name)).collect();
        // An entry that names the schema is meant more exactly than one that does not.
        found.sort_by_key(|t| t.name.schema.is_none());
        found.first().map(|t| &t.kind)
    }

    fn by_columns(&self, relation: &Relation) -> Result<Kind, UnsupportedKeyType> {
        let key = self.group.keys.iter().find(|key| relation.columns.iter().any(|c| c.name == **key));
        match (key, self.unlisted) {
            (Some(key), _) => self.sharded(relation, key),
            (None, UnlistedTables::Reference) => Ok(Kind::Reference(self.id)),
            (None, UnlistedTables::Error) => Ok(Kind::Unlisted),
        }
    }

    fn sharded(&self, relation: &Relation, key: &str) -> Result<Kind, UnsupportedKeyType> {
        let Some(index) = relation.columns.iter().position(|c| c.name == key) else {
            return Ok(Kind::Unlisted);
        };
        let column = &relation.columns[index];
        let key_type = if column.type_kind == 'e' {
            KeyType::Enum
        } else {
            KeyType::from_catalog(&column.type_name, column.typmod)?
        };
        // What it is computed from may change, and the row would have to move.
        if column.generated {
            return Ok(Kind::Unlisted);
        }
        if column.nondeterministic {
            return Err(UnsupportedKeyType::nondeterministic(&column.type_name));
        }
        self.map.supports(key_type)?;
        Ok(Kind::Sharded { group: self.id, key: index, key_type })
    }
}
