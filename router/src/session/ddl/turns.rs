//! What is put right, or found wrong, when a command has run everywhere: sequences that are to count in turns, tables that
//! must have no rows.

use super::Session;
use crate::error::ClientError;
use crate::plan::ddl::checks::Read;
use crate::plan::ddl::{Objects, interleave};
use crate::plan::{Access, Refusal};
use crate::schema::GroupId;
use crate::schema::placing::Home;
use crate::session::servers::refused;
use crate::session::simple::Failure;
use shardway_pool::catalog::{self, Name, Sequence};
use shardway_pool::server::ServerConn;
use std::collections::HashMap;

impl Session {
    /// Has sequences of sharded tables count so that no value is given twice: those that the command made, or named.
    pub(super) async fn interleave(
        &mut self,
        objects: &Objects,
        before: &Read,
        after: &mut Read,
    ) -> Result<(), Failure> {
        let groups: Vec<GroupId> = objects.homes.iter().map(Home::group).collect();
        for group in groups {
            let catalog = &after.catalogs[group.0];
            let wanted = interleave::wanted(&after.schema, catalog, group);
            let old = before.catalogs.get(group.0);
            let is_touched = |name: &Name| {
                let known = old.is_some_and(|old| old.interleaved.contains(name));
                let uses = || catalog.sequence_uses.iter().filter(|u| u.sequence.as_ref() == Some(name));
                let is_new = |u| !old.is_some_and(|old| old.sequence_uses.contains(u));
                let is_named = objects.named.as_ref().is_none_or(|named| {
                    named.iter().any(|object| object.is(name) || uses().any(|u| object.is(&u.table)))
                });
                is_named || !known && uses().any(is_new)
            };
            let (touched, others): (Vec<Name>, Vec<Name>) = wanted.into_iter().partition(is_touched);
            let ours = |name: &Name| !objects.steps && old.is_some_and(|old| old.interleaved.contains(name));
            let proven = self.interleave_on(group, &touched, ours).await?;
            let catalog = &mut after.catalogs[group.0];
            let known = |name: &Name| old.is_some_and(|old| old.interleaved.contains(name));
            catalog.interleaved = others.into_iter().filter(known).chain(proven).collect();
        }
        *after = self.database.lower(std::mem::take(&mut after.catalogs));
        Ok(())
    }

    /// The same for these sequences on the shards of a group; `ours` knows those that counted so before, in the steps that
    /// they have. Gives those that count so now.
    pub(super) async fn interleave_on(
        &mut self,
        group: GroupId,
        names: &[Name],
        ours: impl Fn(&Name) -> bool,
    ) -> Result<Vec<Name>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let stand = self.sequences_on(group, names).await?;
        let mut proven = Vec::new();
        for name in names {
            let shards: Vec<_> = stand.iter().map(|shard| shard.get(name).copied()).collect();
            if let Some(options) = interleave::options(&shards, ours(name)) {
                let sequence = quoted(name);
                for (shard, options) in self.database.shards_of(group).zip(options) {
                    let index = self.acquire(shard, Access::Write).await?;
                    let sql = format!("ALTER SEQUENCE {sequence} {options}");
                    self.servers[index].lease.run(&sql).await.map_err(|e| refused(&e))?;
                }
                proven.push(name.clone());
            } else if interleave::is_interleaved(&shards) {
                proven.push(name.clone());
            }
        }
        Ok(proven)
    }

    /// How these sequences stand on each shard of a group, as the transaction sees them.
    pub(in crate::session) async fn sequences_on(
        &mut self,
        group: GroupId,
        names: &[Name],
    ) -> Result<Vec<HashMap<Name, Sequence>>, ClientError> {
        let mut stand = Vec::new();
        if names.is_empty() {
            return Ok(stand);
        }
        for shard in self.database.shards_of(group) {
            let index = self.acquire(shard, Access::ReadPrimary).await?;
            let server: &mut ServerConn = &mut self.servers[index].lease;
            let unread = |e| ClientError::error("58000", format!("sequences could not be read: {e}"));
            stand.push(catalog::read_sequences(server, names).await.map_err(unread)?);
        }
        Ok(stand)
    }

    /// Refuses the command if one of these tables has a row, or had one in this transaction.
    pub(super) async fn must_be_empty(&mut self, tables: &[Name], read: &Read) -> Result<(), Failure> {
        for name in tables {
            let Some(table) = read.schema.get(&name.0, &name.1) else { continue };
            let (Some(group), bare) = (table.group(), table.name.clone()) else { continue };
            for shard in self.database.shards_of(group) {
                let index = self.acquire(shard, Access::ReadPrimary).await?;
                let literal = quoted(name).replace('\'', "''");
                let sql = format!("SELECT pg_catalog.pg_relation_size('{literal}'::pg_catalog.regclass) = 0");
                let rows = self.servers[index].lease.rows(&sql).await.map_err(|e| refused(&e))?;
                if rows.first().and_then(|row| row.first()).is_none_or(|v| v.as_deref() != Some("t")) {
                    let refusal = Refusal {
                        code: "0A000",
                        message: format!(
                            "table \"{bare}\" has rows, and this would put them in the wrong places, or give them other \
                             values on every shard"
                        ),
                        hint: "Add the column without a default, UPDATE it, and set the default then.",
                    };
                    return Err(ClientError::from(refusal).into());
                }
            }
        }
        Ok(())
    }
}

fn quoted((schema, name): &Name) -> String {
    let quote = |part: &String| format!("\"{}\"", part.replace('"', "\"\""));
    format!("{}.{}", quote(schema), quote(name))
}
