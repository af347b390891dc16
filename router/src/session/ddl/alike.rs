//! What a command has done on each shard: read before it and after it, and held side by side.

use super::{Session, query};
use crate::error::ClientError;
use crate::plan::Access;
use crate::plan::ddl::checks::Read;
use crate::plan::ddl::{Objects, alike, made_up};
use crate::schema::ShardRef;
use crate::session::servers::refused;
use crate::session::simple::Failure;
use shardway_pool::catalog::Name;
use shardway_pool::catalog::items::{self, Item};
use shardway_pool::server::TextRow;
use std::collections::{BTreeSet, HashSet};

/// Postgres's own functions that read nothing but their arguments and the session's settings, which shards share.
const SETTLED: &str = "'to_timestamp','to_date','to_char','to_number','date_trunc','date_part','timezone',\
                       'make_timestamptz','concat','concat_ws','format','to_json','to_jsonb','json_build_object',\
                       'jsonb_build_object','json_build_array','jsonb_build_array','array_to_string','array_to_json'";

impl Session {
    /// What the relations that a command names consist of on each of these shards; nothing where it names none.
    pub(super) async fn items_on(
        &mut self,
        objects: &Objects,
        shards: &[ShardRef],
    ) -> Result<Vec<HashSet<Item>>, Failure> {
        let names = self.named_by(objects);
        if shards.len() < 2 || names.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        // Names are looked for in the system's catalogs alone, whatever the client's search path is.
        let sql = format!(
            "SAVEPOINT shardway_items; SET LOCAL search_path = pg_catalog; {}; \
             ROLLBACK TO SAVEPOINT shardway_items; RELEASE SAVEPOINT shardway_items",
            items::query(names.as_deref())
        );
        let rows = self.ask_rows(shards, &sql).await?;
        Ok(rows.into_iter().map(|rows| items::of_rows(rows).into_iter().collect()).collect())
    }

    /// The names of relations that a command names, and of those that share rows with them; `None`: it may be any.
    fn named_by(&self, objects: &Objects) -> Option<Vec<String>> {
        let named = objects.named.as_ref()?;
        let read = self.last_read();
        let is_named = |name: &Name| named.iter().any(|object| object.is(name));
        let of = |table: &crate::schema::Table| (table.schema.clone(), table.name.clone());
        let tables = || read.schema.tables();
        let families: HashSet<_> =
            tables().filter(|table| is_named(&of(table))).filter_map(|table| table.family.clone()).collect();
        let kin = tables().filter(|table| table.family.as_ref().is_some_and(|f| families.contains(f)));
        let names = named.iter().map(|object| object.name.clone()).chain(kin.map(|table| table.name.clone()));
        Some(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Asks shards the same, all at once. Gives the rows of each.
    async fn ask_rows(&mut self, shards: &[ShardRef], sql: &str) -> Result<Vec<Vec<TextRow>>, Failure> {
        let message = query(sql);
        self.acquire_all(shards, Access::ReadPrimary).await?;
        let mut asked = Vec::with_capacity(shards.len());
        for &shard in shards {
            asked.push(self.send_objects(shard, Access::ReadPrimary, &message).await?);
        }
        let mut rows = Vec::with_capacity(shards.len());
        for &shard in shards {
            let said = self.objects_answer(shard).await?;
            if let Some(body) = said.error {
                self.cancel_servers(&asked);
                let _ = self.drain(&asked).await;
                return Err(self.objects_error(&body));
            }
            rows.push(said.rows);
        }
        Ok(rows)
    }

    /// Refuses a command that was not the same on all shards. Gives the tables that must have no rows.
    pub(super) async fn must_be_alike(
        &mut self,
        objects: &Objects,
        text: &str,
        shards: &[ShardRef],
        before: Vec<HashSet<Item>>,
        read: &Read,
    ) -> Result<Vec<Name>, Failure> {
        if before.is_empty() {
            return Ok(Vec::new());
        }
        let after = self.items_on(objects, shards).await?;
        let mut sides = before.into_iter().zip(after).map(|(before, after)| alike::Sides { before, after });
        let mut empty = Vec::new();
        for group in shards.chunk_by(|a, b| a.group == b.group) {
            let sides: Vec<_> = sides.by_ref().take(group.len()).collect();
            if group.len() < 2 {
                continue;
            }
            let done = alike::compare(&sides, &read.schema).map_err(|differs| {
                let names: Vec<_> =
                    differs.shards.iter().map(|&at| self.shard_for_people(group[at])).collect();
                ClientError::from(alike::refusal(&differs, &names.join(", "), made_up::says_now(text)))
            })?;
            empty.extend(done.misplaced);
            if !done.rewritten.is_empty() && !self.is_proven(objects, group[0], &done.rewritten).await? {
                empty.extend(done.rewritten);
            }
        }
        Ok(empty)
    }

    /// A shard's number, with its group's name where there are several.
    fn shard_for_people(&self, at: ShardRef) -> String {
        match self.database.groups.len() {
            1 => at.shard.0.to_string(),
            _ => self.database.label(at),
        }
    }

    /// Whether rows that were written anew have got what any server would have given them.
    async fn is_proven(
        &mut self,
        objects: &Objects,
        shard: ShardRef,
        tables: &BTreeSet<Name>,
    ) -> Result<bool, Failure> {
        let Some(calls) = &objects.calls else { return Ok(false) };
        let literal = |text: &String| format!("'{}'", text.replace('\'', "''"));
        let list = |all: Vec<String>| if all.is_empty() { "''".to_owned() } else { all.join(",") };
        let calls = list(calls.iter().map(literal).collect());
        let names = list(tables.iter().map(|(_, name)| literal(name)).collect());
        let sql = format!(
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.proname IN ({calls}) AND p.provolatile <> 'i' \
               AND NOT (p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname IN ({SETTLED}))) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_proc p ON p.oid = k.castfunc \
               WHERE p.provolatile = 'v' AND p.oid >= 16384) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode \
               WHERE p.provolatile = 'v' AND p.oid >= 16384) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
               AND a.attnum > 0 JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd' \
               WHERE c.relname IN ({names}) AND t.typdefault ~* '[(]|current|local|user|now')"
        );
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        let rows = self.servers[index].lease.rows(&sql).await.map_err(|e| refused(&e))?;
        Ok(rows.first().and_then(|row| row.first()).is_some_and(|said| said.as_deref() == Some("t")))
    }
}
