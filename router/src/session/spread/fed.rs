//! INSERT … SELECT whose rows go through the proxy (`plan/spread/fed.rs`): the query, then its rows, shard by shard.

mod around;
mod typed;

use super::super::Session;
use super::super::asked::shard_messages;
use super::super::copy_out::Held;
use super::super::simple::Failure;
use super::answers::{Answers, Order, Place};
use super::moved::home_of;
use super::wording::{Worded, clock_edits};
use super::{Bound, Write, unclear};
use crate::error::ClientError;
use crate::plan::listed::Listed;
use crate::plan::locate::{Params, Target, Values, locate};
use crate::plan::scatter::Scatter;
use crate::plan::spread::text::{Tokens, Woven};
use crate::plan::spread::{Fed, To};
use crate::plan::{Access, Across, Refusal};
use crate::schema::{GroupId, ShardRef};
pub(in crate::session) use around::values_of;
use around::{Around, unread};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::{ParamType, ShardId};
use std::sync::Arc;

/// Bytes of rows that a shard is told of at once.
const BATCH: usize = 1024 * 1024;

/// Types from this number on are users' own, with another number on every shard.
const USERS: u32 = 16384;

impl Session {
    pub(super) async fn write_fed(&mut self, write: &Write<'_>, fed: &Fed) -> Result<u64, Failure> {
        self.check_copied_text()?;
        let group = write.spread.group;
        let first = self.acquire(ShardRef { group, shard: ShardId(0) }, Access::ReadPrimary).await?;
        let types = match fed.spans_groups {
            true => without_types(write)?,
            false => self.types_described(write, first).await?,
        };
        let frozen = self.frozen(write.spread, first).await?;
        let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
        let (query, columns_end) = tokens.query(fed.conflicts).ok_or_else(unclear)?;
        let mut edits = clock_edits(&tokens);
        edits.extend(self.param_edits(write, &tokens, &types, first).await?);
        edits.sort_by_key(|(range, _)| range.start);
        let mut inner = Woven::default();
        inner.piece(write.text, query.clone(), &edits, &frozen);
        let held = self.held(&inner.sql, "INSERT … SELECT").await?;
        // Whoever gave rows is still in the transaction.
        let all: Vec<usize> = (0..self.servers.len()).filter(|&index| self.servers[index].asked).collect();
        self.check_exact(write, &all).await?;
        let casts = self.casts(write, fed, &held, first).await?;
        // Every copy of a reference table has its columns in the same order.
        let listed = match (&fed.to, columns_end) {
            (To::Key(..), None) => Listed::of_columns(&write.spread.table, casts.len()),
            _ => None,
        };
        let around =
            Around { text: write.text, fed, frozen: &frozen, tokens, query, columns_end, casts, listed };
        match &fed.to {
            To::All(copied) => {
                let all: Vec<usize> = (0..held.rows.len()).collect();
                let text = around.with(&held.rows, &all)?.woven.sql;
                let bind = without_params(write);
                let bound = match &write.bound {
                    Some(bound) => Some(Bound {
                        types: &[],
                        bind: &bind,
                        params: Params::parse(&bind).ok_or_else(unread)?,
                        describes: bound.describes,
                    }),
                    None => None,
                };
                let told =
                    Write { plan: write.plan, spread: write.spread, text: &text, literals: &[], bound };
                self.write_copied(&told, copied).await
            }
            To::Key(at, key_type) => {
                let map = self.database.maps[group.0].clone();
                let given = match held.types.get(*at).copied().unwrap_or(0) {
                    _ if fed.bare.contains(at) => ParamType::Unknown,
                    USERS.. => ParamType::Column,
                    oid => ParamType::from_oid(oid),
                };
                let mut homes = Vec::with_capacity(held.rows.len());
                for row in &held.rows {
                    let key =
                        values_of(row).and_then(|values| values.get(*at).copied()).ok_or_else(unread)?;
                    homes.push(home_of(&map, &write.spread.table, *key_type, given, key)?);
                }
                self.bound(write);
                self.deal(write, &around, &held, &homes, group).await
            }
        }
    }

    /// Stores rows on the shards that they belong to.
    async fn deal(
        &mut self,
        write: &Write<'_>,
        around: &Around<'_>,
        held: &Held,
        homes: &[ShardId],
        group: GroupId,
    ) -> Result<u64, Failure> {
        let mut total = 0;
        let mut at = 0;
        let mut describes = write.describes();
        loop {
            let mut end = at;
            let mut bytes = 0;
            while end < homes.len() && (around.fed.at_once || bytes < BATCH) {
                bytes += held.rows[end].len();
                end += 1;
            }
            let mut shards: Vec<ShardId> = homes[at..end].to_vec();
            shards.sort_unstable();
            shards.dedup();
            if shards.is_empty() {
                if !describes {
                    return Ok(total);
                }
                // Nothing is stored; somebody has to say of what columns.
                shards.push(ShardId(0));
            }
            let refs: Vec<ShardRef> = shards.iter().map(|&shard| ShardRef { group, shard }).collect();
            let servers = self.writers(&refs).await?;
            let mut places = Vec::with_capacity(servers.len());
            for (&index, shard) in servers.iter().zip(&shards) {
                let share: Vec<usize> = (at..end).filter(|&row| homes[row] == *shard).collect();
                let worded = around.with(&held.rows, &share)?;
                let message = own_message(write, &worded)?;
                self.say(index, message.filled());
                places.push(Place::new(index, Arc::new(worded)).with_rows(share));
            }
            let order = if write.spread.returns && !around.fed.skips { Order::Rows } else { Order::Any };
            let mut answers = Answers::new(write, places, order);
            answers.describes = std::mem::take(&mut describes);
            total += self.collected(&servers, answers).await?.total();
            at = end;
            if at >= homes.len() {
                return Ok(total);
            }
        }
    }

    /// Runs a query of ours by whatever tier it has; it is a part of a statement of `kind`.
    pub(in crate::session) async fn held(&mut self, sql: &str, kind: &str) -> Result<Held, Failure> {
        let refused = |what: &str| Refusal::unsupported(format!("{kind} of {what} is not supported"));
        let planning = self.planning();
        let planned = self.plan_text(&planning, sql)?;
        let plan = &planned.plan;
        if plan.access == Access::Write
            || plan.leaves
            || plan.setting.is_some()
            || plan.forbidden
            || plan.copy.is_some()
        {
            return Err(ClientError::from(refused("a query that does more than read")).into());
        }
        let values = Values { text: sql, literals: &planned.literals, params: None, types: &[] };
        let target = locate(&plan.route, &self.database.maps, &values).map_err(ClientError::from)?;
        let one = |group| {
            Across::Scatter(Arc::new(Scatter {
                group,
                sql: sql.to_owned(),
                order: Vec::new(),
                limit: None,
                offset: None,
                locks: None,
                places: None,
                clock: None,
                splice: None,
            }))
        };
        let (across, group, shards) = match target {
            Target::Several(group, shards) => {
                let across =
                    plan.across().cloned().ok_or_else(|| ClientError::from(refused("this query")))?;
                (across, group, shards)
            }
            Target::One(place) => (one(place.group), place.group, vec![place.shard]),
            Target::Any(group) => {
                let place = self.any_shard(group);
                (one(place.group), place.group, vec![place.shard])
            }
            Target::Everywhere(_) => return Err(ClientError::from(refused("this query")).into()),
        };
        let max = self.world.config.routing.gather_max_bytes;
        let held = self.hold_rows(&across, group, shards, max).await?;
        if held.is_over() {
            let message = format!("this {kind} brings more rows to other shards than may be held");
            let hint = "Ask for fewer rows at a time, or raise routing.gather_max_bytes.";
            return Err(ClientError::error("54000", message).hint(hint).into());
        }
        Ok(held)
    }
}

/// No server understands the whole of a statement over several shard groups: it may have no parameters.
fn without_types(write: &Write<'_>) -> Result<Vec<u32>, ClientError> {
    match write.bound.as_ref().is_some_and(|bound| !bound.params.is_empty()) {
        true => Err(beyond_one_group()),
        false => Ok(Vec::new()),
    }
}

/// Why an INSERT … SELECT from another shard group can't be described.
pub(in crate::session) fn beyond_one_group() -> ClientError {
    let message = "an INSERT … SELECT from another shard group, with parameters or in a statement that is described, is not supported";
    ClientError::error("0A000", message).hint("Send it as a simple query, or read the rows first.")
}

/// Bind's body behind the names, with the client's result formats and no parameters.
fn without_params(write: &Write<'_>) -> Vec<u8> {
    let formats = write.bound.as_ref().map_or(&[0, 0][..], |bound| bound.params.result_formats);
    [&[0, 0, 0, 0][..], formats].concat()
}

/// A text of ours, whose rows the client gets as it has asked for them.
pub(super) fn own_message(write: &Write<'_>, worded: &Worded) -> Result<Buffer, Failure> {
    let sql = [worded.woven.sql.as_bytes(), b"\0"].concat();
    if write.bound.is_none() {
        let mut message = Buffer::default();
        frame::put(&mut message, b'Q', &sql);
        return Ok(message);
    }
    let bind = without_params(write);
    let params = Params::parse(&bind).ok_or_else(unread)?;
    Ok(shard_messages(&sql, &[], &bind, &params, 0))
}
