//! Rows that move: where they are gone from, and the INSERTs by which they come to their shards.

use super::super::wording::literal;
use crate::error::ClientError;
use crate::plan::{Refusal, dml};
use crate::schema::{Kind, Table};
use shardway_shardmap::{KeyType, KeyValue, ParamType, ShardId, ShardMap, Use};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of a statement for a shard after which the next one begins.
const BATCH: usize = 256 * 1024;

/// Hidden columns in front of the row's own: where it lies.
pub(super) const PLACES: usize = 2;

/// What gives those, for a table's label.
pub(super) fn places(label: &str) -> [String; PLACES] {
    [
        format!("{label}.ctid::pg_catalog.text"),
        format!("{label}.tableoid::pg_catalog.regclass::pg_catalog.text"),
    ]
}

/// Rows of one relation that leave a shard.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) count: u64,
    /// Their places, as the members of an array.
    pub(super) places: String,
    /// The new key of one of them.
    pub(super) key: Vec<u8>,
}

/// Rows of one relation and one new key that stay on a shard.
#[derive(Debug, Default)]
pub(super) struct Stay {
    pub(super) count: u64,
    /// Their places, as the members of an array.
    pub(super) places: String,
}

/// Rows that come to a shard by one statement.
#[derive(Debug)]
pub(super) struct Come {
    pub(super) sql: Vec<u8>,
    pub(super) count: u64,
    relation: String,
}

/// Rows that stay, by their shard's place, relation and new key.
pub(super) type Staying = BTreeMap<(usize, String, Vec<u8>), Stay>;

/// Rows that shards have updated, and what becomes of those that are not their own any more.
pub(in crate::session::spread) struct Movers {
    pub(super) map: ShardMap,
    pub(super) table: Arc<Table>,
    /// The key's place among the columns, and how it is read.
    pub(super) key: usize,
    pub(super) key_type: KeyType,
    /// `(column, …)`.
    pub(super) columns: String,
    /// Where all are inserted, as SQL; else each in the relation that it lies in.
    pub(super) into: Option<String>,
    /// The shards that were asked, in order.
    pub(super) from: Vec<ShardId>,
    /// Whether none may stay: they have not got their new key.
    pub(super) all_leave: bool,
    /// Those that stay, by their shard's place, relation and new key, if they have not got that.
    pub(super) stay: Option<Staying>,
    /// Whether all that come to a shard come by one statement.
    pub(super) at_once: bool,
    /// By their shard's place among those that were asked, and the relation they lie in.
    pub(super) gone: BTreeMap<(usize, String), Gone>,
    pub(super) come: BTreeMap<ShardId, Vec<Come>>,
    /// New keys of those that leave, by their shard's place, if anybody asks for them.
    pub(super) keys: Option<BTreeMap<usize, BTreeSet<Vec<u8>>>>,
    pub(super) held: u64,
    pub(super) max: u64,
}

impl Movers {
    /// Takes a row in: where it lies, in which relation, and its columns.
    pub(in crate::session::spread) fn row(
        &mut self,
        at: usize,
        hidden: &[Option<&[u8]>],
    ) -> Result<(), ClientError> {
        let [Some(place), Some(relation), values @ ..] = hidden else { return Err(unread()) };
        let key = values.get(self.key).copied().flatten();
        let home = home_of(&self.map, &self.table, self.key_type, ParamType::Unknown, key)?;
        let key = key.unwrap_or_default();
        let place = std::str::from_utf8(place).map_err(|_| unread())?;
        if self.from.get(at) == Some(&home) {
            return self.stays(at, place, relation, key);
        }
        let relation = String::from_utf8_lossy(relation).into_owned();
        self.leaves(at, place, &relation, key);
        self.comes(home, relation, values);
        if self.held > self.max { Err(too_many()) } else { Ok(()) }
    }

    fn stays(&mut self, at: usize, place: &str, relation: &[u8], key: &[u8]) -> Result<(), ClientError> {
        let Some(stay) = &mut self.stay else {
            return if self.all_leave { Err(unread()) } else { Ok(()) };
        };
        let relation = String::from_utf8_lossy(relation).into_owned();
        let stay = stay.entry((at, relation, key.to_vec())).or_default();
        self.held += (key.len() + place.len()) as u64 + 3;
        member(&mut stay.places, place);
        stay.count += 1;
        if self.held > self.max { Err(too_many()) } else { Ok(()) }
    }

    fn leaves(&mut self, at: usize, place: &str, relation: &str, key: &[u8]) {
        if let Some(keys) = &mut self.keys
            && keys.entry(at).or_default().insert(key.to_vec())
        {
            self.held += key.len() as u64;
        }
        let gone = self.gone.entry((at, relation.to_owned())).or_default();
        member(&mut gone.places, place);
        gone.count += 1;
        if gone.count == 1 {
            gone.key = key.to_vec();
        }
        self.held += place.len() as u64 + 3;
    }

    fn comes(&mut self, home: ShardId, relation: String, values: &[Option<&[u8]>]) {
        let come = self.come.entry(home).or_default();
        let relation = self.into.clone().unwrap_or(relation);
        let at_once = self.at_once;
        let full = |last: &Come| !at_once && last.sql.len() > BATCH || last.relation != relation;
        if come.last().is_none_or(full) {
            let columns = &self.columns;
            let sql = format!("INSERT INTO {relation} {columns} OVERRIDING SYSTEM VALUE VALUES ");
            self.held += sql.len() as u64;
            come.push(Come { sql: sql.into_bytes(), count: 0, relation });
        }
        let Some(Come { sql, count, .. }) = come.last_mut() else { return };
        let before = sql.len();
        sql.extend_from_slice(if *count > 0 { b", (" } else { b"(" });
        *count += 1;
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                sql.push(b',');
            }
            literal(*value, sql);
        }
        sql.push(b')');
        self.held += (sql.len() - before) as u64;
    }
}

/// Adds a place to the members of an array.
fn member(places: &mut String, place: &str) {
    places.push_str(if places.is_empty() { "\"" } else { ",\"" });
    places.push_str(place);
    places.push('"');
}

/// The shard of a key in the text that Postgres gives of it, as of a type.
pub(in crate::session::spread) fn home_of(
    map: &ShardMap,
    table: &Table,
    key_type: KeyType,
    given: ParamType,
    key: Option<&[u8]>,
) -> Result<ShardId, ClientError> {
    let name = &table.name;
    let column = match table.kind {
        Kind::Sharded { key, .. } => &*table.columns[key].name,
        _ => "",
    };
    let Some(key) = key else { return Err(dml::null_key(name, column).into()) };
    match key_type.read_text_as(given, key, Use::Store) {
        KeyValue::Key(key) => map.locate(&key).map_err(|why| {
            let hint = "Add a range or list entry for it to the group, then RELOAD.";
            let message = format!("no shard for the key of \"{name}\": {why}");
            ClientError::from(Refusal { code: "23514", message, hint })
        }),
        _ => {
            Err(Refusal::unsupported(format!("the value of \"{name}\".\"{column}\" can't be routed")).into())
        }
    }
}

pub(super) fn unread() -> ClientError {
    ClientError::error("XX000", "a row that a shard has updated can't be read")
}

fn too_many() -> ClientError {
    ClientError::error("54000", "this statement moves more rows to other shards than may be held")
        .hint("Move fewer rows at a time, or raise routing.gather_max_bytes.")
}
