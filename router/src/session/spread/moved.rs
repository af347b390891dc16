//! UPDATE that sets the sharding key: each shard updates its rows, and those that are another shard's then go there.
//!
//! Rows that move are held as the INSERTs that they will be, up to `gather_max_bytes`.

mod apart;
mod leave;
mod movable;
mod movers;
mod quiet;
mod strays;

use super::super::Session;
use super::super::simple::Failure;
use super::answers::{Answers, Order, Place};
use super::fed::own_message;
use super::wording::{self, Worded};
use super::{Write, message};
use crate::error::ClientError;
use crate::plan::locate::shards_of;
use crate::plan::spread::Moved;
use crate::plan::spread::clock::Frozen;
use crate::plan::spread::text::Woven;
use crate::schema::ShardRef;
use movable::{Quiet, Way};
use movers::Come;
pub(super) use movers::{Movers, home_of};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::{ShardId, ShardMap};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

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
        let movable = self.movable(write, moved, &map, servers[0]).await?;
        match movable.way {
            Way::Leave(home) => {
                let leave = moved.leave.as_ref().map_err(|_| super::unclear())?;
                self.leave_first(write, moved, leave, &movable, shards, home).await
            }
            Way::Apart => {
                let leave = moved.leave.as_ref().map_err(|_| super::unclear())?;
                self.leave_apart(write, moved, leave, &movable, &shards, &servers).await
            }
            Way::InPlace => self.move_in_place(write, moved, &movable.quiet, &shards, &servers).await,
            Way::Deferring(constraints) => {
                let when = |when: &str| format!("SET CONSTRAINTS {constraints} {when}").into_bytes();
                for &index in &servers {
                    self.tell_one(write, index, when("DEFERRED")).await?;
                }
                let total = self.move_in_place(write, moved, &movable.quiet, &shards, &servers).await?;
                for &index in &servers {
                    self.tell_one(write, index, when("IMMEDIATE")).await?;
                }
                Ok(total)
            }
        }
    }

    /// Rows get their new key on the shard of the old one, and then go to their own.
    async fn move_in_place(
        &mut self,
        write: &Write<'_>,
        moved: &Moved,
        quiet: &Quiet,
        shards: &[ShardRef],
        servers: &[usize],
    ) -> Result<u64, Failure> {
        self.check_strays(write, moved, servers[0]).await?;
        self.alone(write, quiet, servers).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        let label = &moved.label;
        let text = |column: &String| format!("{label}.{column}::pg_catalog.text");
        let columns = moved.columns.iter().map(text);
        let columns: Vec<String> = movers::places(label).into_iter().chain(columns).collect();
        let worded = Arc::new(wording::whole(write, &frozen, &columns)?);
        self.bound(write);
        // In front of it each is asked whether the values that it will give are exact.
        let mut asked = exact();
        asked.extend(message(write, &worded)?.filled());
        for &index in servers {
            self.say(index, asked.filled());
            self.servers[index].lease.outstanding += 1;
        }
        let mut movers = self.movers(write, moved, shards.iter().map(|at| at.shard).collect());
        movers.keys = (!moved.strays.is_empty()).then(BTreeMap::new);
        let places = servers.iter().map(|&index| Place::new(index, worded.clone()).asked_twice());
        let mut answers = Answers::new(write, places.collect(), Order::Any);
        answers.hidden = columns.len();
        answers.movers = Some(&mut movers);
        let total = self.collected(servers, answers).await?.total();
        let strays = self.take_strays(write, moved, servers, &mut movers).await?;
        self.take_away(write, quiet, servers, &movers, None).await?;
        self.bring_home(write, quiet, movers.come, None).await?;
        for stray in strays {
            self.bring_home(write, &Quiet::Still, stray.come, None).await?;
        }
        Ok(total)
    }

    fn movers(&self, write: &Write<'_>, moved: &Moved, from: Vec<ShardId>) -> Movers {
        let map: ShardMap = self.database.maps[write.spread.group.0].clone();
        Movers {
            map,
            table: write.spread.table.clone(),
            key: moved.key,
            key_type: moved.key_type,
            columns: format!("({})", moved.columns.join(", ")),
            into: None,
            from,
            all_leave: false,
            stay: None,
            at_once: false,
            gone: BTreeMap::new(),
            come: BTreeMap::new(),
            keys: None,
            held: 0,
            max: self.world.config.routing.gather_max_bytes,
        }
    }

    /// Deletes the rows that are not their shard's any more. Rows of other
    /// tables that refer to a row, by the condition `referred` on `p`, are an error.
    async fn take_away(
        &mut self,
        write: &Write<'_>,
        quiet: &Quiet,
        servers: &[usize],
        movers: &Movers,
        referred: Option<&str>,
    ) -> Result<(), Failure> {
        let mut hushed = BTreeMap::new();
        for ((at, relation), gone) in &movers.gone {
            let index = servers[*at];
            if let Entry::Vacant(vacant) = hushed.entry(index) {
                vacant.insert(self.hush(write, quiet, index).await?);
            }
            if let Some(referred) = referred {
                self.check_unreferred(write, index, relation, gone, referred).await?;
            }
            let places = &gone.places;
            let sql =
                format!("DELETE FROM ONLY {relation} WHERE ctid = ANY ('{{{places}}}'::pg_catalog.tid[])");
            let done = self.tell_one(write, index, sql.into_bytes()).await?;
            if done != gone.count {
                return Err(
                    ClientError::error("XX000", "a row that was to move to another shard is gone").into()
                );
            }
        }
        for (index, loud) in hushed {
            self.unhush(write, loud, index).await?;
        }
        Ok(())
    }

    /// Inserts rows on their shards. By a RETURNING, the client gets what that gives of them.
    async fn bring_home(
        &mut self,
        write: &Write<'_>,
        quiet: &Quiet,
        come: BTreeMap<ShardId, Vec<Come>>,
        returning: Option<&str>,
    ) -> Result<(), Failure> {
        for (shard, all) in come {
            let server = self.writers(&[ShardRef { group: write.spread.group, shard }]).await?[0];
            let loud = self.hush(write, quiet, server).await?;
            for come in all {
                let done = match returning {
                    None => self.tell_one(write, server, come.sql).await?,
                    Some(returning) => self.give_one(write, server, come.sql, returning, false).await?,
                };
                if done != come.count {
                    return Err(ClientError::error(
                        "XX000",
                        "a row that moved to another shard did not arrive",
                    )
                    .into());
                }
            }
            self.unhush(write, loud, server).await?;
        }
        Ok(())
    }

    /// Has a server run a write of ours. How many rows it wrote.
    async fn tell_one(&mut self, write: &Write<'_>, index: usize, mut sql: Vec<u8>) -> Result<u64, Failure> {
        sql.push(0);
        let mut query = Buffer::default();
        frame::put(&mut query, b'Q', &sql);
        self.say(index, query.filled());
        let worded = Arc::new(Worded { woven: Woven::default(), hidden: 0 });
        let mut answers = Answers::new(write, vec![Place::new(index, worded)], Order::Any);
        answers.is_silent = true;
        let told = self.collected(&[index], answers).await;
        Ok(told.map_err(without_place)?.total())
    }

    /// Has a server write rows, and the client given what RETURNING gives of them, and its columns if it is yet to hear of them.
    async fn give_one(
        &mut self,
        write: &Write<'_>,
        index: usize,
        sql: Vec<u8>,
        returning: &str,
        describes: bool,
    ) -> Result<u64, Failure> {
        let sql = String::from_utf8(sql).map_err(|_| movers::unread())?;
        let worded = Arc::new(Worded { woven: Woven::plain(&format!("{sql}\n{returning}")), hidden: 0 });
        self.say(index, own_message(write, &worded)?.filled());
        let mut answers = Answers::new(write, vec![Place::new(index, worded)], Order::Any);
        answers.describes = describes;
        let told = self.collected(&[index], answers).await;
        Ok(told.map_err(without_place)?.total())
    }
}

/// Asks whether values are exact, as a Query.
fn exact() -> Buffer {
    let mut query = Buffer::default();
    frame::put(&mut query, b'Q', &[wording::EXACT.as_bytes(), b"\0"].concat());
    query
}

/// The client's RETURNING, where it has one.
fn returned(write: &Write<'_>, frozen: &Frozen) -> Result<Option<String>, ClientError> {
    write.spread.returns.then(|| wording::own_returning(write, frozen)).transpose()
}

/// An error in a text of ours has no place in the client's.
fn without_place(failure: Failure) -> Failure {
    let Failure::ServerError(body) = failure else { return failure };
    let kept = body.split_inclusive(|&byte| byte == 0).filter(|field| field.first() != Some(&b'P'));
    Failure::ServerError(kept.flatten().copied().collect())
}
