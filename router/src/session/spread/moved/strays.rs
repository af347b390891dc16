//! Rows that triggers added to other tables, with the new keys of rows that move: they go to the shards of these.
//!
//! Rows of such keys have no business on a shard that does not own them: whatever has one is what a trigger added.

use super::super::super::Session;
use super::super::super::simple::Failure;
use super::super::answers::{Answers, Order, Place};
use super::super::wording::{Worded, literal};
use super::super::{Write, message};
use super::movable::{name_of, text};
use super::movers::{Movers, places};
use crate::error::ClientError;
use crate::plan::spread::text::Woven;
use crate::plan::spread::{Moved, Stray, stays};
use crate::schema::{Kind, Table};
use std::sync::Arc;

impl Session {
    /// Refuses tables of strays whose rows can't be deleted and inserted without anything else happening.
    pub(super) async fn check_strays(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        index: usize,
    ) -> Result<(), Failure> {
        for stray in &moved.strays {
            let sql = why_not(&stray.table, &write.spread.table);
            let rows = self.servers[index].lease.rows(&sql).await;
            let rows = rows.map_err(|e| super::super::super::servers::refused(&e))?;
            if let Some(Some(why)) = rows.into_iter().next().and_then(|row| row.into_iter().next()) {
                let why = format!("where triggers add rows to \"{}\", {why}", stray.table.name);
                return Err(ClientError::from(stays(&write.spread.table, &why)).into());
            }
        }
        Ok(())
    }

    /// Deletes them where they are. What has come of each table is to be brought home.
    pub(super) async fn take_strays(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        servers: &[usize],
        movers: &mut Movers,
    ) -> Result<Vec<Movers>, Failure> {
        let keys = movers.keys.take().unwrap_or_default();
        let mut all = Vec::new();
        for stray in moved.strays.iter().filter(|_| !keys.is_empty()) {
            let mut own = Movers {
                map: movers.map.clone(),
                table: stray.table.clone(),
                key: stray.key,
                key_type: stray.key_type,
                columns: format!("({})", stray.columns.join(", ")),
                into: Some(name_of(&stray.table)),
                from: keys.keys().map(|&at| movers.from[at]).collect(),
                all_leave: true,
                stay: None,
                at_once: false,
                gone: Default::default(),
                come: Default::default(),
                keys: None,
                held: movers.held,
                max: movers.max,
            };
            let mut asked = Vec::new();
            for (&at, keys) in &keys {
                let worded = Arc::new(taking(stray, keys.iter()));
                let query = Write { bound: None, ..*write };
                self.say(servers[at], message(&query, &worded)?.filled());
                asked.push(Place::new(servers[at], worded));
            }
            let indexes: Vec<usize> = asked.iter().map(|place| place.index).collect();
            let mut answers = Answers::new(write, asked, Order::Any);
            (answers.describes, answers.returns) = (false, false);
            answers.hidden = super::movers::PLACES + stray.columns.len();
            answers.movers = Some(&mut own);
            self.collected(&indexes, answers).await.map_err(super::without_place)?;
            movers.held = own.held;
            all.push(own);
        }
        Ok(all)
    }
}

/// Deletes rows of keys, and gives them.
fn taking<'k>(stray: &Stray, keys: impl Iterator<Item = &'k Vec<u8>>) -> Worded {
    let label = "\"shardway stray\"";
    let (table, key) = (name_of(&stray.table), &stray.columns[stray.key]);
    let mut list = Vec::new();
    for (n, value) in keys.enumerate() {
        if n > 0 {
            list.push(b',');
        }
        literal(Some(value), &mut list);
    }
    let list = String::from_utf8_lossy(&list).into_owned();
    let columns = stray.columns.iter().map(|column| format!("{label}.{column}::pg_catalog.text"));
    let given: Vec<String> = places(label).into_iter().chain(columns).collect();
    let sql = format!(
        "DELETE FROM ONLY {table} AS {label} WHERE {label}.{key} IN ({list}) RETURNING {}",
        given.join(", ")
    );
    Worded { woven: Woven::plain(&sql), hidden: given.len() }
}

/// A query for why rows of a table can't be moved after a trigger has added them; it gives NULL if they can.
fn why_not(table: &Table, moved: &Table) -> String {
    let key = match table.kind {
        Kind::Sharded { key, .. } => text(&table.columns[key].name),
        _ => "''".to_owned(),
    };
    let (name, moved) = (text(&name_of(table)), text(&name_of(moved)));
    format!(
        "WITH t AS (SELECT {name}::pg_catalog.regclass::pg_catalog.oid AS oid) SELECT CASE \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint k, t WHERE k.conrelid = t.oid AND k.contype = 'f' AND NOT k.condeferred \
           AND k.confrelid <> {moved}::pg_catalog.regclass AND (SELECT a.attnum FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid = t.oid AND a.attname = {key}) = ANY (k.conkey)) \
         THEN 'which has a foreign key on the sharding key that is not deferred' \
         WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger g, t WHERE g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D') \
         THEN 'which has triggers of its own' \
         WHEN EXISTS (SELECT FROM t WHERE pg_catalog.row_security_active(t.oid)) \
         THEN 'which has row security that holds for the login' \
         WHEN EXISTS (SELECT FROM t WHERE NOT (pg_catalog.has_table_privilege(t.oid, 'SELECT') \
           AND pg_catalog.has_table_privilege(t.oid, 'INSERT') AND pg_catalog.has_table_privilege(t.oid, 'DELETE'))) \
         THEN 'which the login may not SELECT, INSERT and DELETE' END"
    )
}
