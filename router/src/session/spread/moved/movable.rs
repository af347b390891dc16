//! Whether rows of a table can move, and how: as the table is on its server, for this login, in this transaction.

use super::super::super::Session;
use super::super::super::simple::Failure;
use super::super::Write;
use super::super::wording::literal;
use crate::error::ClientError;
use crate::plan::locate::shards_of;
use crate::plan::pin::Pin;
use crate::plan::spread::{Moved, stays};
use crate::schema::{Kind, Table};
use shardway_shardmap::{ShardId, ShardMap};

/// The first version of Postgres that lets a setting be granted.
const GRANTS_SETTINGS: u32 = 15;

/// How rows get their new key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// On the shard of the old one.
    InPlace,
    /// There, with these constraints deferred until they are where they belong.
    Deferring(String),
    /// Where they are inserted: on this shard.
    Leave(ShardId),
    /// When it is known where that is.
    Apart,
}

/// How triggers of INSERT and DELETE are kept from firing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Quiet {
    /// There are none.
    Still,
    /// They are disabled, with these tables locked.
    Disable(String),
    /// What replicates does not fire them.
    Replica,
}

/// How a table's rows move.
#[derive(Debug)]
pub(super) struct Movable {
    pub(super) way: Way,
    pub(super) quiet: Quiet,
    /// Rows may refer to others of the table.
    pub(super) refers_to_itself: bool,
    /// Whether rows of other tables refer to a row `p`, that its DELETE would change: as SQL.
    pub(super) referred: Option<String>,
}

impl Session {
    /// Errors: they can't, and why.
    pub(super) async fn movable(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        map: &ShardMap,
        index: usize,
    ) -> Result<Movable, Failure> {
        let table = &write.spread.table;
        let lease = &mut self.servers[index].lease;
        let version = lease.parameters.get("server_version").unwrap_or_default();
        let version: u32 = version.split(['.', ' ']).next().and_then(|v| v.parse().ok()).unwrap_or(0);
        let sql = facts(table, moved, version);
        let rows = lease.rows(&sql).await.map_err(|e| super::super::super::servers::refused(&e))?;
        let row: Vec<Option<String>> = rows.into_iter().next().unwrap_or_default();
        let mut row = row.into_iter();
        let mut next = || row.next().flatten();
        let mut truth = || next().as_deref() == Some("t");
        let (checked_now, checked) = (truth(), truth());
        let (may_disable, may_replicate, refers_to_itself, fires) = (truth(), truth(), truth(), truth());
        let (never, acting, deferrable, stuck, referred) = (next(), next(), next(), next(), next());
        let refuse = |why: &str| Failure::from(ClientError::from(stays(table, why)));
        if let Some(why) = never {
            return Err(refuse(&why));
        }
        let unsure = self.transaction.as_ref().is_some_and(|open| open.sets_constraints());
        let now = checked_now || unsure && checked;
        let to = match moved.leave.as_ref().ok().and_then(|leave| leave.to.as_ref()).filter(|_| now) {
            Some(to) => self.shards_of_key(write, to, map, index).await?,
            None => None,
        };
        let leaves = moved.leave.as_ref().map_err(|why| (*why).to_owned()).and_then(|_| {
            match (stuck, to.as_deref()) {
                (Some(why), _) => Err(why),
                (None, Some(&[home])) => Ok(Way::Leave(home)),
                (None, _) if fires => Err("where triggers of UPDATE would fire again".to_owned()),
                (None, _) if refers_to_itself => {
                    Err("where rows refer to others of the same table".to_owned())
                }
                (None, _) => Ok(Way::Apart),
            }
        });
        let way = match (now, leaves, deferrable) {
            (false, ..) => Way::InPlace,
            (true, Ok(way), _) => way,
            (true, Err(_), Some(names)) if !unsure => Way::Deferring(names),
            (true, Err(why), names) => {
                let than = if names.is_some() { "after SET CONSTRAINTS" } else { "that is not DEFERRABLE" };
                return Err(refuse(&format!("{why}, for tables with a foreign key on it {than}")));
            }
        };
        let quiet = match acting {
            None => Quiet::Still,
            Some(_) if may_replicate && way == Way::InPlace => Quiet::Replica,
            // What is deferred is still to come when they are to be enabled again, which Postgres does not do then.
            Some(tables) if may_disable && !matches!(way, Way::Deferring(_)) => Quiet::Disable(tables),
            Some(_) => return Err(refuse(LOUD)),
        };
        Ok(Movable { way, quiet, refers_to_itself, referred })
    }

    /// The shards of a new key. The type of a parameter may be what tells them, and a server what that is.
    async fn shards_of_key(
        &mut self,
        write: &Write<'_>,
        to: &Pin,
        map: &ShardMap,
        index: usize,
    ) -> Result<Option<Vec<ShardId>>, Failure> {
        let pins = std::slice::from_ref(to);
        let mut values = write.values();
        let shards = shards_of(map, pins, &values);
        if shards.is_some() || write.bound.is_none() {
            return Ok(shards);
        }
        let types = self.types_described(write, index).await?;
        values.types = &types;
        Ok(shards_of(map, pins, &values))
    }
}

const LOUD: &str = "for tables with triggers of INSERT or DELETE, which must not fire for rows that move, unless the login owns \
                    the table and no constraint of it is deferred, or SET ON PARAMETER session_replication_role is granted to \
                    it and the table has no foreign keys";

/// A text as SQL.
pub(super) fn text(value: &str) -> String {
    let mut sql = Vec::new();
    literal(Some(value.as_bytes()), &mut sql);
    String::from_utf8_lossy(&sql).into_owned()
}

/// A table's name as SQL.
pub(super) fn name_of(table: &Table) -> String {
    use super::super::wording::quote;
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// The table and its partitions, and the user's triggers on them that would fire.
pub(super) fn family(table: &Table) -> String {
    let name = text(&name_of(table));
    format!(
        "t AS (SELECT c.oid, c.relkind FROM pg_catalog.pg_class c WHERE c.oid = {name}::pg_catalog.regclass), \
         f AS (SELECT oid FROM t UNION SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree({name}::pg_catalog.regclass)), \
         acting AS (SELECT g.* FROM pg_catalog.pg_trigger g WHERE g.tgrelid IN (SELECT oid FROM f) AND NOT g.tgisinternal \
           AND g.tgenabled IN ('A', CASE pg_catalog.current_setting('session_replication_role') WHEN 'replica' THEN 'R' ELSE 'O' END))"
    )
}

/// A query for what there is to know of a table whose rows are to move.
///
/// Rows that are updated in place must meet foreign keys that are checked then: those that refer to the table do, since
/// what they refer to has the old key, or it is an error in one Postgres too; those of its own that have the key look for
/// rows of the new shard. Rows that leave are updated there but for their key, which must not fail for the lack of it.
fn facts(table: &Table, moved: &Moved, version: u32) -> String {
    let key = match table.kind {
        Kind::Sharded { key, .. } => text(&table.columns[key].name),
        _ => "''".to_owned(),
    };
    let beside: Vec<String> = moved.beside.iter().map(|name| text(name)).collect();
    let changed = if beside.is_empty() {
        "false".to_owned()
    } else {
        format!("(a.attname IN ({}) OR a.attgenerated <> '')", beside.join(", "))
    };
    let may_set = if version >= GRANTS_SETTINGS {
        "pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"
    } else {
        "(SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)"
    };
    let (any_beside, sees_key, strays) = (!beside.is_empty(), moved.sees_key, !moved.strays.is_empty());
    let family = family(table);
    let touches = |of: &str, list: &str| {
        format!(
            "EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = {of} AND a.attnum = ANY ({list}) AND {changed})"
        )
    };
    let (index_changes, key_changes) = (touches("x.indrelid", "x.indkey"), touches("k.conrelid", "k.conkey"));
    let (parts_change, name) = (touches("q.partrelid", "q.partattrs"), text(&name_of(table)));
    format!(
        "WITH {family}, \
         k AS (SELECT c.*, (SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.conrelid AND a.attname = {key}) \
           = ANY (c.conkey) AS of_key FROM pg_catalog.pg_constraint c WHERE c.conrelid IN (SELECT oid FROM f)), \
         own AS (SELECT k.* FROM k WHERE k.contype = 'f' AND k.of_key), \
         theirs AS (SELECT c.*, (SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.confrelid AND a.attname = {key}) \
           = ANY (c.confkey) AS of_key FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.confrelid IN (SELECT oid FROM f)), \
         pulled AS (SELECT c.* FROM theirs c WHERE c.confdeltype IN ('c', 'n', 'd')), \
         moves AS (SELECT g.* FROM acting g WHERE g.tgtype & 12 <> 0) \
         SELECT EXISTS (SELECT FROM own WHERE NOT condeferred), EXISTS (SELECT FROM own), \
         NOT EXISTS (SELECT FROM moves g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid \
           WHERE NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid IN (SELECT oid FROM f) AND g.tginitdeferred), \
         CASE WHEN pg_catalog.current_setting('session_replication_role') = 'replica' \
           OR EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid IN (SELECT oid FROM f) AND NOT g.tgisinternal \
             AND g.tgenabled IN ('A', 'R') AND g.tgtype & 12 <> 0) \
           OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class IN (SELECT oid FROM f) AND w.ev_enabled = 'R') \
           OR EXISTS (SELECT FROM k WHERE k.contype = 'f' OR k.condeferrable) THEN false ELSE {may_set} END, \
         EXISTS (SELECT FROM own WHERE confrelid IN (SELECT oid FROM f)), \
         EXISTS (SELECT FROM acting g WHERE g.tgtype & 17 = 17), \
         CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits h, t WHERE h.inhparent = t.oid AND t.relkind <> 'p') \
         THEN 'for tables that others inherit from' \
         WHEN EXISTS (SELECT FROM f WHERE pg_catalog.row_security_active(f.oid)) \
         THEN 'for tables with row security that holds for the login' \
         WHEN EXISTS (SELECT FROM theirs c WHERE c.confupdtype IN ('c', 'n', 'd') OR c.of_key IS NOT TRUE) \
         THEN 'for tables that foreign keys of others refer to with ON UPDATE CASCADE, SET NULL or SET DEFAULT, or without it' \
         WHEN EXISTS (SELECT FROM t WHERE pg_catalog.has_any_column_privilege(t.oid, 'UPDATE')) \
           AND EXISTS (SELECT FROM f WHERE NOT (pg_catalog.has_table_privilege(f.oid, 'INSERT') \
           AND pg_catalog.has_table_privilege(f.oid, 'DELETE') AND pg_catalog.has_table_privilege(f.oid, 'SELECT'))) \
         THEN 'for logins without the right to SELECT, INSERT and DELETE' \
         WHEN {strays} AND EXISTS (SELECT FROM acting g WHERE g.tgtype & 16 <> 0 AND g.tgdeferrable) \
         THEN 'for tables with triggers that are deferred and may add rows of the new key' END, \
         (SELECT pg_catalog.string_agg('ONLY ' || r.oid::pg_catalog.regclass::pg_catalog.text, ', ' ORDER BY r.oid) \
           FROM (SELECT DISTINCT g.tgrelid AS oid FROM moves g) r), \
         (SELECT CASE WHEN pg_catalog.bool_and(o.condeferrable) THEN pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, o.conname), ', ') END \
           FROM own o JOIN pg_catalog.pg_namespace n ON n.oid = o.connamespace WHERE NOT o.condeferred), \
         CASE WHEN EXISTS (SELECT FROM acting g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid \
           WHERE g.tgtype & 17 = 17 AND ({sees_key} OR g.tgqual IS NOT NULL OR p.oid < 16384 \
             OR EXISTS (SELECT FROM pulled) OR EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = p.oid AND x.deptype = 'e' \
             AND x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass))) \
         THEN 'where triggers of UPDATE may look at the key' \
         WHEN {any_beside} AND (EXISTS (SELECT FROM pg_catalog.pg_partitioned_table q WHERE (q.partrelid IN (SELECT oid FROM f) \
             OR q.partrelid IN (SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors({name}::pg_catalog.regclass))) \
             AND (q.partexprs IS NOT NULL OR {parts_change})) \
           OR EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid IN (SELECT oid FROM f) AND (x.indisunique OR x.indisexclusion) \
             AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL OR {index_changes})) \
           OR EXISTS (SELECT FROM k WHERE k.contype IN ('c', 'f') AND (k.of_key OR 0 = ANY (k.conkey)) AND {key_changes})) \
         THEN 'together with other columns that are unique, checked or refer to others with it' \
         WHEN EXISTS (SELECT FROM pulled c WHERE pg_catalog.row_security_active(c.conrelid)) \
         THEN 'where rows refer to it that row security hides' \
         WHEN EXISTS (SELECT FROM pulled c JOIN own o ON o.oid = c.oid) \
         THEN 'where rows refer to others of the same table with ON DELETE CASCADE, SET NULL or SET DEFAULT' END, \
         (SELECT pg_catalog.string_agg(pg_catalog.format('EXISTS (SELECT FROM %s x WHERE %s)', c.conrelid::pg_catalog.regclass, \
           (SELECT pg_catalog.string_agg(pg_catalog.format('x.%I = p.%I', a.attname, b.attname), ' AND ') \
             FROM pg_catalog.generate_subscripts(c.conkey, 1) n \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[n] \
             JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[n])), ' OR ') FROM pulled c)"
    )
}
