//! UPDATE that sets the sharding key: each shard updates its rows, and those that are another shard's then go there.
//!
//! Rows that move are held as the INSERTs that they will be, up to `gather_max_bytes`.

use super::super::Session;
use super::super::simple::Failure;
use super::answers::{Answers, Order, Place};
use super::wording::{self, Worded, literal};
use super::{Write, message};
use crate::error::ClientError;
use crate::plan::locate::shards_of;
use crate::plan::spread::{Moved, stays};
use crate::plan::{Refusal, dml};
use crate::schema::{GroupId, Kind, ShardRef, Table};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::{KeyType, KeyValue, ParamType, ShardId, ShardMap, Use};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a statement for a shard after which the next one begins.
const BATCH: usize = 256 * 1024;

/// Hidden columns in front of the row's own: where it lies.
const PLACES: usize = 2;

/// Rows that a shard has updated, and what becomes of those that are not its own any more.
pub(super) struct Movers {
    map: ShardMap,
    table: Arc<Table>,
    key: usize,
    key_type: KeyType,
    /// `(column, …)`.
    columns: String,
    /// The shards that were asked, in order.
    from: Vec<ShardId>,
    /// Rows that leave a shard: by their place among those and the relation they lie in, and how many.
    gone: BTreeMap<(usize, String), (u64, String)>,
    /// Rows that come to a shard, as INSERTs that may go on, and how many there are.
    come: BTreeMap<ShardId, Vec<(Vec<u8>, u64, String)>>,
    held: u64,
    max: u64,
}

impl Movers {
    /// Takes a row in: where it lies, in which relation, and its columns.
    pub(super) fn row(&mut self, at: usize, hidden: &[Option<&[u8]>]) -> Result<(), ClientError> {
        let [Some(place), Some(relation), values @ ..] = hidden else { return Err(unread()) };
        let home = self.home(values.get(self.key).copied().flatten())?;
        if self.from.get(at) == Some(&home) {
            return Ok(());
        }
        let place = std::str::from_utf8(place).map_err(|_| unread())?;
        let relation = String::from_utf8_lossy(relation).into_owned();
        let before = self.held;
        let (count, gone) = self.gone.entry((at, relation.clone())).or_default();
        *count += 1;
        gone.push_str(if *count > 1 { ",\"" } else { "\"" });
        gone.push_str(place);
        gone.push('"');
        let come = self.come.entry(home).or_default();
        let full = come.last().is_none_or(|(sql, _, into)| sql.len() > BATCH || *into != relation);
        if full {
            let columns = &self.columns;
            let sql =
                format!("INSERT INTO {relation} {columns} OVERRIDING SYSTEM VALUE VALUES ").into_bytes();
            come.push((sql, 0, relation));
        }
        if let Some((sql, count, _)) = come.last_mut() {
            let start = if full { 0 } else { sql.len() };
            sql.extend_from_slice(if *count > 0 { b", (" } else { b"(" });
            *count += 1;
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    sql.push(b',');
                }
                literal(*value, sql);
            }
            sql.push(b')');
            self.held = before + (sql.len() - start + place.len() + 3) as u64;
        }
        if self.held > self.max { Err(too_many()) } else { Ok(()) }
    }

    fn home(&self, key: Option<&[u8]>) -> Result<ShardId, ClientError> {
        home_of(&self.map, &self.table, self.key_type, ParamType::Unknown, key)
    }
}

/// The shard of a key in the text that Postgres gives of it, as of a type.
pub(super) fn home_of(
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

fn unread() -> ClientError {
    ClientError::error("XX000", "a row that a shard has updated can't be read")
}

fn too_many() -> ClientError {
    ClientError::error("54000", "this statement moves more rows to other shards than may be held")
        .hint("Move fewer rows at a time, or raise routing.gather_max_bytes.")
}

impl Session {
    pub(super) async fn write_moved(&mut self, write: &Write<'_>, moved: &Moved) -> Result<u64, Failure> {
        self.check_copied_text()?;
        let group = write.spread.group;
        let map = self.database.maps[group.0].clone();
        let pinned = moved.pin.clone().map(|pin| shards_of(&map, &[pin], &write.values()));
        let shards = match pinned.flatten() {
            // A value that no row can have: any shard says what comes of it.
            Some(shards) if shards.is_empty() => vec![ShardRef { group, shard: ShardId(0) }],
            Some(shards) => self.refs(group, shards),
            None => self.refs(group, Vec::new()),
        };
        let servers = self.writers(&shards).await?;
        self.check_movable(&write.spread.table, servers[0]).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        let label = &moved.label;
        let text = |column: &String| format!("{label}.{column}::pg_catalog.text");
        let mut columns = vec![
            format!("{label}.ctid::pg_catalog.text"),
            format!("{label}.tableoid::pg_catalog.regclass::pg_catalog.text"),
        ];
        columns.extend(moved.columns.iter().map(text));
        debug_assert_eq!(columns.len(), moved.columns.len() + PLACES);
        let worded = Arc::new(wording::whole(write, &frozen, &columns)?);
        self.bound(write);
        // In front of it each is asked whether the values that it will give are exact.
        let mut asked = Buffer::default();
        frame::put(&mut asked, b'Q', &[wording::EXACT.as_bytes(), b"\0"].concat());
        asked.extend(message(write, &worded)?.filled());
        for &index in &servers {
            self.say(index, asked.filled());
            self.servers[index].lease.outstanding += 1;
        }
        let mut movers = Movers {
            map,
            table: write.spread.table.clone(),
            key: moved.key,
            key_type: moved.key_type,
            columns: format!("({})", moved.columns.join(", ")),
            from: shards.iter().map(|at| at.shard).collect(),
            gone: BTreeMap::new(),
            come: BTreeMap::new(),
            held: 0,
            max: self.world.config.routing.gather_max_bytes,
        };
        let places = servers.iter().map(|&index| Place::new(index, worded.clone()).asked_twice());
        let mut answers = Answers::new(write, places.collect(), Order::Any);
        answers.hidden = columns.len();
        answers.movers = Some(&mut movers);
        let total = self.collected(&servers, answers).await?.total();
        self.take_away(write, &servers, &movers).await?;
        self.bring_home(write, group, movers).await?;
        Ok(total)
    }

    /// Deletes the rows that are not their shard's any more. All of them are gone before the first one comes.
    async fn take_away(
        &mut self,
        write: &Write<'_>,
        servers: &[usize],
        movers: &Movers,
    ) -> Result<(), Failure> {
        for ((at, relation), (count, places)) in &movers.gone {
            let sql =
                format!("DELETE FROM ONLY {relation} WHERE ctid = ANY ('{{{places}}}'::pg_catalog.tid[])");
            let done = self.tell_one(write, servers[*at], sql.into_bytes()).await?;
            if done != *count {
                return Err(
                    ClientError::error("XX000", "a row that was to move to another shard is gone").into()
                );
            }
        }
        Ok(())
    }

    async fn bring_home(&mut self, write: &Write<'_>, group: GroupId, movers: Movers) -> Result<(), Failure> {
        for (shard, inserts) in movers.come {
            let server = self.writers(&[ShardRef { group, shard }]).await?[0];
            for (sql, count, _) in inserts {
                let done = self.tell_one(write, server, sql).await?;
                if done != count {
                    return Err(ClientError::error(
                        "XX000",
                        "a row that moved to another shard did not arrive",
                    )
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Has a server run a write of ours. How many rows it wrote.
    async fn tell_one(&mut self, write: &Write<'_>, index: usize, mut sql: Vec<u8>) -> Result<u64, Failure> {
        sql.push(0);
        let mut query = Buffer::default();
        frame::put(&mut query, b'Q', &sql);
        self.say(index, query.filled());
        let worded = Arc::new(Worded { woven: Default::default(), hidden: 0 });
        let mut answers = Answers::new(write, vec![Place::new(index, worded)], Order::Any);
        answers.is_silent = true;
        let told = self.collected(&[index], answers).await;
        Ok(told.map_err(without_place)?.total())
    }

    /// Refuses tables whose rows can't move without anything else happening.
    async fn check_movable(&mut self, table: &Table, index: usize) -> Result<(), Failure> {
        let Kind::Sharded { key, .. } = table.kind else { return Ok(()) };
        let sql = movable(table, &table.columns[key].name);
        let rows =
            self.servers[index].lease.rows(&sql).await.map_err(|e| super::super::servers::refused(&e))?;
        match rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten() {
            Some(why) => Err(ClientError::from(stays(table, &why)).into()),
            None => Ok(()),
        }
    }
}

/// A query for why rows of a table can't move; it gives NULL if they can.
///
/// The rows are updated in place first, so foreign keys that are checked then must hold there: those that refer to the
/// table do, since what they refer to has the old key, or it is an error in one Postgres too; those of its own that have
/// the key look for rows of the new shard.
fn movable(table: &Table, key: &str) -> String {
    let mut name = Vec::new();
    literal(
        Some(
            format!("{}.{}", super::wording::quote(&table.schema), super::wording::quote(&table.name))
                .as_bytes(),
        ),
        &mut name,
    );
    let mut column = Vec::new();
    literal(Some(key.as_bytes()), &mut column);
    let (name, column) =
        (String::from_utf8_lossy(&name).into_owned(), String::from_utf8_lossy(&column).into_owned());
    let number = |of: &str| {
        format!(
            "(SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.{of} AND a.attname = {column})"
        )
    };
    format!(
        "WITH t AS (SELECT c.oid, c.relkind FROM pg_catalog.pg_class c WHERE c.oid = {name}::pg_catalog.regclass), \
         f AS (SELECT oid FROM t UNION SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree({name}::pg_catalog.regclass)) \
         SELECT CASE \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid IN (SELECT oid FROM f) AND NOT g.tgisinternal \
           AND g.tgenabled <> 'D' AND g.tgtype & 12 <> 0) \
         THEN 'for tables with triggers of INSERT or DELETE: they would fire for rows that move' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits h, t WHERE h.inhparent = t.oid AND t.relkind <> 'p') \
         THEN 'for tables that others inherit from' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND NOT k.condeferred \
           AND k.conrelid IN (SELECT oid FROM f) AND {} = ANY (k.conkey)) \
         THEN 'for tables with a foreign key on it that is not DEFERRABLE INITIALLY DEFERRED' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid IN (SELECT oid FROM f) \
           AND (k.confupdtype IN ('c', 'n', 'd') OR ({} = ANY (k.confkey)) IS NOT TRUE)) \
         THEN 'for tables that foreign keys of others refer to with ON UPDATE CASCADE, SET NULL or SET DEFAULT, or without it' \
         END",
        number("conrelid"),
        number("confrelid"),
    )
}

/// An error in a text of ours has no place in the client's.
fn without_place(failure: Failure) -> Failure {
    let Failure::ServerError(body) = failure else { return failure };
    let kept = body.split_inclusive(|&byte| byte == 0).filter(|field| field.first() != Some(&b'P'));
    Failure::ServerError(kept.flatten().copied().collect())
}
