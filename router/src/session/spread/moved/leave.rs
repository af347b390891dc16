//! Rows that leave their shard before they have their new key, since a foreign key would look there for what it refers to.
//!
//! All go to one shard, which runs the statement as it is and answers for it. On the others rows are updated but for their
//! key, and then leave; where they are inserted, all that is checked is checked.

use super::super::super::Session;
use super::super::super::simple::Failure;
use super::super::answers::{Answers, Order, Place};
use super::super::asked_of_others;
use super::super::wording;
use super::super::{Write, message};
use super::apart::label_of;
use super::movable::Movable;
use super::movers::{Gone, PLACES, places};
use super::{exact, returned};
use crate::error::ClientError;
use crate::plan::spread::{Leave, Moved, stays};
use crate::schema::ShardRef;
use shardway_pool::frame;
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// Whether what a row refers to is not there: Postgres looks first for what refers to the row.
fn is_of_reference(failure: &Failure) -> bool {
    matches!(failure, Failure::ServerError(body) if frame::error_field(body, b'C') == Some(b"23503"))
}

impl Session {
    pub(super) async fn leave_first(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        leave: &Leave,
        movable: &Movable,
        shards: Vec<ShardRef>,
        home: ShardId,
    ) -> Result<u64, Failure> {
        let group = write.spread.group;
        let mut others = shards;
        others.retain(|at| at.shard != home);
        let at_home = self.writers(&[ShardRef { group, shard: home }]).await?[0];
        let servers = self.writers(&others).await?;
        self.alone(write, &movable.quiet, &[&[at_home], &servers[..]].concat()).await?;
        let frozen = self.frozen(write.spread, at_home).await?;
        let leaving = Arc::new(wording::leaving(write, moved, leave, &frozen, &places(&moved.label))?);
        let types = self.types_of_repeated(write, at_home).await?;
        self.bound(write);
        let whole = Arc::new(wording::whole(write, &frozen, &[])?);
        self.say(at_home, message(write, &whole)?.filled());
        let answers = Answers::new(write, vec![Place::new(at_home, whole)], Order::Any);
        let mut total = self.collected(&[at_home], answers).await?.total();
        if servers.is_empty() {
            return Ok(total);
        }
        let mut asked = exact();
        asked.extend(asked_of_others(write, &leaving, &types)?.filled());
        for &index in &servers {
            self.say(index, asked.filled());
            self.servers[index].lease.outstanding += 1;
        }
        let mut movers = self.movers(write, moved, others.iter().map(|at| at.shard).collect());
        movers.into = Some(label_of(write, moved));
        (movers.all_leave, movers.at_once) = (true, movable.refers_to_itself);
        let places = servers.iter().map(|&index| Place::new(index, leaving.clone()).asked_twice());
        let mut answers = Answers::new(write, places.collect(), Order::Any);
        (answers.describes, answers.returns) = (false, false);
        answers.hidden = PLACES + moved.columns.len();
        answers.movers = Some(&mut movers);
        total += self.collected(&servers, answers).await?.total();
        // No row leaves that shard, so none there is in the way of those that come: what forbids them is told as Postgres does,
        // before who refers to the rows that go.
        let returning = returned(write, &frozen)?;
        let come = std::mem::take(&mut movers.come);
        let came = self.bring_home(write, &movable.quiet, come, returning.as_deref()).await;
        if came.as_ref().is_err_and(|failure| !is_of_reference(failure)) {
            return came.map(|()| total);
        }
        self.take_away(write, &movable.quiet, &servers, &movers, movable.referred.as_deref()).await?;
        came.map(|()| total)
    }

    /// Rows that go must not take others with them that refer to them: in place of that, Postgres says what it says of a row
    /// whose key is set. None can come to refer to them any more.
    pub(super) async fn check_unreferred(
        &mut self,
        write: &Write<'_>,
        index: usize,
        relation: &str,
        gone: &Gone,
        referred: &str,
    ) -> Result<(), Failure> {
        let places = format!("p.ctid = ANY ('{{{}}}'::pg_catalog.tid[])", gone.places);
        let lock = format!("SELECT FROM ONLY {relation} p WHERE {places} FOR UPDATE");
        self.tell_one(write, index, lock.into_bytes()).await?;
        let table = &write.spread.table;
        let key = match table.kind {
            crate::schema::Kind::Sharded { key, .. } => wording::quote(&table.columns[key].name),
            _ => return Err(super::movers::unread().into()),
        };
        let mut set = format!("UPDATE ONLY {relation} p SET {key} = ").into_bytes();
        wording::literal(Some(&gone.key), &mut set);
        set.extend_from_slice(format!(" WHERE {places} AND ({referred})").as_bytes());
        if self.tell_one(write, index, set).await? > 0 {
            let why = "where rows refer to it by a foreign key with ON DELETE that is deferred";
            return Err(ClientError::from(stays(table, why)).into());
        }
        Ok(())
    }
}
