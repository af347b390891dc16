//! Rows that must not have their new key on their old shard, where it is not known before which of them leave.
//!
//! They are updated but for their key, and say what that is to be. Those that leave are gone before the others get theirs.

use super::super::super::Session;
use super::super::super::simple::Failure;
use super::super::answers::{Answers, Order, Place};
use super::super::wording::{leaving, literal, quote};
use super::super::{Write, asked_of_others};
use super::movable::{Movable, name_of, text};
use super::movers::{Movers, PLACES, places};
use super::{exact, returned};
use crate::error::ClientError;
use crate::plan::spread::{Leave, Moved};
use crate::schema::ShardRef;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Session {
    pub(super) async fn leave_apart(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        leave: &Leave,
        movable: &Movable,
        shards: &[ShardRef],
        servers: &[usize],
    ) -> Result<u64, Failure> {
        self.alone(write, &movable.quiet, servers).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        // What of it does not fit together is found here: no shard runs it as it is.
        let mut types = self.types_described(write, servers[0]).await?;
        types.iter_mut().filter(|oid| **oid >= 16384).for_each(|oid| *oid = 0);
        let worded = Arc::new(leaving(write, moved, leave, &frozen, &places(&moved.label))?);
        let returning = returned(write, &frozen)?;
        self.bound(write);
        let (table, key) = (label_of(write, moved), &moved.columns[moved.key]);
        let nothing = format!("UPDATE {table} SET {key} = {}.{key} WHERE false", moved.label);
        let tail = returning.as_deref().unwrap_or_default();
        self.give_one(write, servers[0], nothing.into_bytes(), tail, write.describes()).await?;
        let mut asked = exact();
        asked.extend(asked_of_others(write, &worded, &types)?.filled());
        for &index in servers {
            self.say(index, asked.filled());
            self.servers[index].lease.outstanding += 1;
        }
        let mut movers = self.movers(write, moved, shards.iter().map(|at| at.shard).collect());
        (movers.into, movers.stay) = (Some(table), Some(BTreeMap::new()));
        let places = servers.iter().map(|&index| Place::new(index, worded.clone()).asked_twice());
        let mut answers = Answers::new(write, places.collect(), Order::Any);
        (answers.describes, answers.returns) = (false, false);
        answers.hidden = PLACES + moved.columns.len();
        answers.movers = Some(&mut movers);
        let total = self.collected(servers, answers).await?.total();
        self.take_away(write, &movable.quiet, servers, &movers, movable.referred.as_deref()).await?;
        self.settle_down(write, moved, servers, &mut movers, tail).await?;
        self.bring_home(write, &movable.quiet, movers.come, returning.as_deref()).await?;
        Ok(total)
    }

    /// Gives their new key to rows that stay.
    async fn settle_down(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        servers: &[usize],
        movers: &mut Movers,
        returning: &str,
    ) -> Result<(), Failure> {
        let (table, label) = (label_of(write, moved), &moved.label);
        for ((at, relation, new), stay) in movers.stay.take().unwrap_or_default() {
            let mut sql = format!("UPDATE {table} SET {} = ", moved.columns[moved.key]).into_bytes();
            literal(Some(&new), &mut sql);
            let (relation, places) = (text(&relation), stay.places);
            let place = format!(
                " WHERE {label}.tableoid = {relation}::pg_catalog.regclass AND {label}.ctid = ANY ('{{{places}}}'::pg_catalog.tid[])"
            );
            sql.extend_from_slice(place.as_bytes());
            if self.give_one(write, servers[at], sql, returning, false).await? != stay.count {
                return Err(ClientError::error("XX000", "a row whose key is set is gone").into());
            }
        }
        Ok(())
    }
}

/// The table, as the client's RETURNING calls it.
pub(super) fn label_of(write: &Write<'_>, moved: &Moved) -> String {
    let table = &write.spread.table;
    match moved.label == quote(&table.name) {
        true => name_of(table),
        false => format!("{} AS {}", name_of(table), moved.label),
    }
}
