//! Writes that several shards run (`plan/spread`): each is asked at once, in one transaction, and their answers become one.
//!
//! Rows of RETURNING stream through. The command tag goes to the client when the statement's own transaction, where it
//! has one, has committed. A reference table is written on the group's first shard first, so that writers of the same row
//! wait for each other there and nowhere else.

mod answers;
mod copied;
mod counts;
mod explained;
mod fed;
mod moved;
mod wording;

use super::asked::{Asked, shard_messages};
use super::batch::Item;
use super::clocked::in_utc;
use super::prepared::Prepared;
use super::queued::poll_waiting;
use super::simple::Failure;
use super::{End, Session};
use crate::error::ClientError;
use crate::plan::locate::{Param, Params, Values, keys_of_rows, shards_of_rows};
use crate::plan::spread::clock::{Frozen, is_read_from_clock, loosely};
use crate::plan::spread::{ClockOf, How, Same, Split, Spread, is_dated_type};
use crate::plan::{Access, Plan, Refusal, Tier};
use crate::reply;
use crate::schema::{GroupId, ShardRef, Table};
use crate::sql::literal::string_value;
use crate::sql::scan::{Literal, Scan};
use answers::{Answers, Collected, Order, Place};
use counts::Counts;
pub(super) use fed::{beyond_one_group, values_of};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::ShardId;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use wording::{Worded, lock};

/// A write that is to run.
pub(super) struct Write<'a> {
    pub(super) plan: &'a Plan,
    pub(super) spread: &'a Spread,
    pub(super) text: &'a str,
    pub(super) literals: &'a [Literal],
    /// In extended protocol.
    pub(super) bound: Option<Bound<'a>>,
}

/// What came with a Bind.
pub(super) struct Bound<'a> {
    /// Types declared in Parse.
    pub(super) types: &'a [u32],
    /// Bind's body behind the names.
    pub(super) bind: &'a [u8],
    pub(super) params: Params<'a>,
    /// Whether the portal is described.
    pub(super) describes: bool,
}

impl Write<'_> {
    fn values(&self) -> Values<'_> {
        let bound = self.bound.as_ref();
        Values {
            text: self.text,
            literals: self.literals,
            params: bound.map(|bound| bound.params),
            types: bound.map_or(&[], |bound| bound.types),
        }
    }

    /// Whether the client is told the columns, or that there are none.
    fn describes(&self) -> bool {
        self.bound.as_ref().map_or(self.spread.returns, |bound| bound.describes)
    }

    /// Whether it has no strings that a shard would read from its own clock.
    pub(super) fn is_clear(&self) -> bool {
        self.check_strings().is_ok()
    }

    /// Refuses strings that each shard would read from its own clock.
    fn check_strings(&self) -> Result<(), ClientError> {
        let is_dated = self.spread.is_dated;
        let types = self.bound.as_ref().map_or(&[][..], |bound| bound.types);
        if !is_dated && !types.iter().any(|oid| is_dated_type(*oid)) {
            return Ok(());
        }
        let read = |literal: &Literal| {
            let token = &self.text[literal.start..literal.end];
            match string_value(literal.kind, token) {
                Some(value) => is_read_from_clock(value.as_bytes()),
                None => token.contains('\'') && is_read_from_clock(loosely(token).as_bytes()),
            }
        };
        let written = is_dated && self.literals.iter().any(read);
        let first = matches!(self.spread.how, How::Copied(_));
        let bound = self.bound.as_ref().is_some_and(|bound| {
            let oid = |n: usize| types.get(n).copied().unwrap_or(0);
            let read = |(n, param): (usize, Param<'_>)| {
                !first && (is_dated || is_dated_type(oid(n))) && is_clock_param(param, oid(n))
            };
            bound.params.all().into_iter().enumerate().any(read)
        });
        if !written && !bound {
            return Ok(());
        }
        let message = "a string such as 'now' or 'today', in a write on several shards that reads or stores dates or times, is \
                       not supported";
        Err(ClientError::error("0A000", message).hint("Use now() or CURRENT_DATE."))
    }
}

impl Session {
    /// In simple protocol: rows and CommandComplete, without ReadyForQuery. Gives the tier.
    pub(super) async fn spread_simple(
        &mut self,
        plan: &Plan,
        spread: &Spread,
        text: &str,
        shards: Vec<ShardId>,
    ) -> Result<Tier, Failure> {
        let mut scan = Scan::default();
        // It was scanned before.
        let _ = scan.run(text);
        let write = Write { plan, spread, text, literals: &scan.literals, bound: None };
        self.spread_whole(&write, shards).await
    }

    /// In extended protocol: the answers to a statement's messages from its Bind on, without ReadyForQuery. Gives the tier.
    pub(super) async fn spread_extended(
        &mut self,
        statement: &Arc<Prepared>,
        spread: &Spread,
        shards: Vec<ShardId>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<Tier, Failure> {
        let asked = Asked::of(items, bytes)?;
        self.answer_before_bind(bytes, &items[..asked.bind]).await?;
        let params = Params::parse(asked.params)
            .ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
        let held = asked.limited && spread.returns;
        let describes = asked.describes || held;
        let bound = Bound { types: &statement.types, bind: asked.params, params, describes };
        let write = Write {
            plan: &statement.plan,
            spread,
            text: &statement.text,
            literals: &statement.literals,
            bound: Some(bound),
        };
        if held {
            return Box::pin(self.spread_held(&write, shards, params, &items[asked.bind..])).await;
        }
        let tier = self.spread_whole(&write, shards).await?;
        self.closed(asked.closes);
        Ok(tier)
    }

    /// The same where rows are asked for a few at a time: the statement runs whole, as in Postgres, and they are held. In a
    /// transaction.
    async fn spread_held(
        &mut self,
        write: &Write<'_>,
        shards: Vec<ShardId>,
        params: Params<'_>,
        items: &[Item],
    ) -> Result<Tier, Failure> {
        let max = self.world.config.routing.gather_max_bytes;
        self.begin_holding(max).await?;
        let ran = self.spread_whole(write, shards).await;
        let held = self.end_holding();
        let tier = ran?;
        let verb = if write.spread.verb == "INSERT" { "INSERT 0" } else { write.spread.verb };
        self.give_held(held?, params.result_formats, verb, items).await?;
        Ok(tier)
    }

    /// In the running transaction, as a part of another command: how many rows it wrote, and no word to the client.
    pub(super) async fn spread_within(
        &mut self,
        plan: &Plan,
        spread: &Spread,
        text: &str,
        shards: Vec<ShardId>,
    ) -> Result<u64, Failure> {
        let mut scan = Scan::default();
        // It was scanned before.
        let _ = scan.run(text);
        let write = Write { plan, spread, text, literals: &scan.literals, bound: None };
        write.check_strings()?;
        self.spread(&write, shards).await
    }

    async fn spread_whole(&mut self, write: &Write<'_>, shards: Vec<ShardId>) -> Result<Tier, Failure> {
        write.check_strings()?;
        let opened = self.open_together();
        self.begin_write(write.plan, None).await;
        let done = self.spread(write, shards).await;
        if done.is_err()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.failed = true;
        }
        let total = self.close_together(opened, done).await?;
        let verb = write.spread.verb;
        let tag = if verb == "INSERT" { format!("INSERT 0 {total}") } else { format!("{verb} {total}") };
        if self.wants_tags() {
            self.audit_answer(Some(vec![tag.clone()]), None);
        }
        reply::complete(&mut self.client.output, &tag);
        Ok(Tier::Scatter)
    }

    /// Runs it. How many rows were written.
    async fn spread(&mut self, write: &Write<'_>, shards: Vec<ShardId>) -> Result<u64, Failure> {
        let group = write.spread.group;
        match &write.spread.how {
            How::Each => self.write_each(write, self.refs(group, shards)).await,
            How::Split(split) => self.write_split(write, split).await,
            How::Same(same) => self.write_same(write, same).await,
            How::Copied(copied) => self.write_copied(write, copied).await,
            How::Moved(moved) => self.write_moved(write, moved).await,
            How::Fed(fed) => Box::pin(self.write_fed(write, fed)).await,
        }
    }

    fn refs(&self, group: GroupId, shards: Vec<ShardId>) -> Vec<ShardRef> {
        if shards.is_empty() {
            return self.database.shards_of(group).collect();
        }
        shards.into_iter().map(|shard| ShardRef { group, shard }).collect()
    }

    /// UPDATE or DELETE, each shard its rows.
    async fn write_each(&mut self, write: &Write<'_>, shards: Vec<ShardRef>) -> Result<u64, Failure> {
        let servers = self.writers(&shards).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        let worded = Arc::new(wording::whole(write, &frozen, &[])?);
        self.bound(write);
        let message = message(write, &worded)?;
        for &index in &servers {
            self.say(index, message.filled());
        }
        let places = servers.iter().map(|&index| Place::new(index, worded.clone()));
        let mut answers = Answers::new(write, places.collect(), Order::Any);
        if !write.spread.counts {
            return Ok(self.collected(&servers, answers).await?.total());
        }
        let mut counts = Counts::default();
        let formats = write.bound.as_ref().map_or(&[][..], |bound| bound.params.result_formats);
        answers.counts = Some((&mut counts, formats));
        self.collected(&servers, answers).await?;
        counts.put(&mut self.client.output, formats);
        Ok(1)
    }

    /// INSERT, each shard its rows.
    async fn write_split(&mut self, write: &Write<'_>, split: &Split) -> Result<u64, Failure> {
        let (shards, rows) = self.dealt(write, split)?;
        let keys = if split.key.is_some() { keys_of_rows(&split.pin, &write.values()) } else { Vec::new() };
        let servers = self.writers(&self.refs(write.spread.group, shards)).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        let types = self.types_of_repeated(write, servers[0]).await?;
        let worded = wording::split(write, split, &frozen, &rows)?;
        self.bound(write);
        let all = write.bound.as_ref().map(|bound| bound.params.all());
        let mut places = Vec::with_capacity(servers.len());
        for ((&index, worded), rows) in servers.iter().zip(worded).zip(rows) {
            let message = split_message(write, &worded, all.as_deref(), &types)?;
            self.say(index, message.filled());
            places.push(Place::new(index, Arc::new(worded)).with_rows(rows));
        }
        let order = match (write.spread.returns, split.key.is_some()) {
            (false, _) => Order::Any,
            (true, false) => Order::Rows,
            (true, true) => Order::Keys(keys, split.pin.key_type),
        };
        let mut answers = Answers::new(write, places, order);
        answers.hidden = usize::from(split.key.is_some());
        Ok(self.collected(&servers, answers).await?.total())
    }

    /// The shards that get rows of VALUES, and which.
    fn dealt(
        &self,
        write: &Write<'_>,
        split: &Split,
    ) -> Result<(Vec<ShardId>, Vec<Vec<usize>>), ClientError> {
        let map = &self.database.maps[write.spread.group.0];
        let homes = shards_of_rows(map, &split.pin, &write.values()).map_err(ClientError::from)?;
        let mut shards = homes.clone();
        shards.sort_unstable();
        shards.dedup();
        let mut rows = vec![Vec::new(); shards.len()];
        for (row, home) in homes.iter().enumerate() {
            let at = shards.binary_search(home);
            let at =
                at.map_err(|_| ClientError::error("XX000", "the shard of a row is not among those asked"))?;
            rows[at].push(row);
        }
        Ok((shards, rows))
    }

    /// A write of a reference table that each shard can run for itself.
    async fn write_same(&mut self, write: &Write<'_>, same: &Same) -> Result<u64, Failure> {
        let shards: Vec<ShardRef> = self.refs(write.spread.group, Vec::new());
        let servers = self.writers(&shards).await?;
        let frozen = self.frozen(write.spread, servers[0]).await?;
        let worded = Arc::new(match &same.fills {
            Some(fills) => wording::filled(write, fills, &frozen, &same.compared)?,
            None => wording::whole(write, &frozen, &same.compared)?,
        });
        self.bound(write);
        let mut messages = Buffer::default();
        frame::put(&mut messages, b'Q', lock(&write.spread.table).as_bytes());
        messages.extend(message(write, &worded)?.filled());
        let mut all: Option<Collected> = None;
        // Whoever has its rows locked on the first shard has them everywhere.
        let (first, others) = servers.split_at(1);
        for servers in [first, others] {
            for &index in servers {
                self.say(index, messages.filled());
                self.servers[index].lease.outstanding += 1;
            }
            let places = servers.iter().map(|&index| Place::new(index, worded.clone()).asked_twice());
            let mut answers = Answers::new(write, places.collect(), Order::Any);
            answers.hidden = same.compared.len();
            answers.is_silent = all.is_some();
            let collected = self.collected(servers, answers).await?;
            match &mut all {
                None => all = Some(collected),
                Some(all) => all.add(collected),
            }
        }
        let all = all.unwrap_or_default();
        all.check(&write.spread.table.name, &shards)?;
        Ok(all.of_first())
    }

    /// Servers of shards, to write, in order.
    async fn writers(&mut self, shards: &[ShardRef]) -> Result<Vec<usize>, Failure> {
        Ok(self.acquire_all(shards, Access::Write).await?)
    }

    /// Waits for the other writers of a reference table, on the first of these servers and then on the others.
    pub(super) async fn lock_copies(&mut self, table: &Table, servers: &[usize]) -> Result<(), Failure> {
        let sql = lock(table);
        let (first, others) = servers.split_at(servers.len().min(1));
        for part in [first, others] {
            for &index in part {
                let told = self.servers[index].lease.tell(sql.trim_end_matches('\0')).await;
                told.map_err(|e| super::servers::refused(&e))?;
            }
            let limit = self.statement_limit();
            let (held, client, handle) = (&mut self.servers, &mut self.client, &self.registration.handle);
            let locked = async {
                for &index in part {
                    held[index].lease.drain().await.map_err(|e| super::servers::refused(&e))?;
                }
                Ok::<(), ClientError>(())
            };
            tokio::select! {
                biased;
                locked = limit.within(locked) => locked??,
                () = poll_fn(|cx| poll_waiting(client, handle, cx)) => {
                    return Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into());
                }
            }
        }
        Ok(())
    }

    /// Takes the lock that writers of a reference table take, before rows of it are locked on a shard: a writer that has it
    /// would wait for the rows, and this transaction, should it write next, for the writer. It is that of the first shard,
    /// wherever the rows are.
    pub(super) async fn lock_before_rows(&mut self, plan: &Plan, at: ShardRef) -> Result<(), Failure> {
        if plan.locks.is_empty() || self.transaction.is_none() {
            return Ok(());
        }
        let first = ShardRef { shard: ShardId(0), ..at };
        let index = self.acquire(first, Access::ReadPrimary).await?;
        for table in &plan.locks {
            Box::pin(self.lock_copies(table, &[index])).await?;
        }
        Ok(())
    }

    /// Gives a server messages that end in one ReadyForQuery.
    fn say(&mut self, index: usize, messages: &[u8]) {
        let server = &mut self.servers[index].lease;
        server.wire.send(messages);
        server.unnamed = None;
        server.outstanding += 1;
    }

    /// BindComplete, in extended protocol.
    fn bound(&mut self, write: &Write<'_>) {
        if write.bound.is_some() && !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
    }

    /// The clock's values for a statement that needs them. Those of a transaction's beginning are its first server's: what
    /// that was told before has seen them.
    async fn frozen(&mut self, spread: &Spread, index: usize) -> Result<Frozen, Failure> {
        match spread.clock {
            Some(of) => self.clock(of, index).await,
            None => Ok(Frozen::default()),
        }
    }

    /// The clock's values for a statement that several shards run, as a server in hand tells them.
    pub(super) async fn clock(&mut self, of: ClockOf, index: usize) -> Result<Frozen, Failure> {
        let known = self.transaction.as_ref().and_then(|transaction| transaction.clock.clone());
        if let (Some(transaction), ClockOf::Transaction) = (&known, of) {
            return Ok(Frozen { transaction: transaction.clone(), statement: String::new() });
        }
        let first = if known.is_some() { index } else { 0 };
        let sql = format!("SELECT {}, {}", in_utc("now"), in_utc("statement_timestamp"));
        let rows = self.servers[first].lease.rows(&sql).await.map_err(|e| super::servers::refused(&e))?;
        let unread = || ClientError::error("58000", "the clock of a shard could not be read");
        match rows.into_iter().next().as_deref() {
            Some([Some(transaction), Some(statement)]) => {
                let transaction = known.unwrap_or_else(|| transaction.clone());
                if let Some(open) = &mut self.transaction {
                    open.clock = Some(transaction.clone());
                }
                Ok(Frozen { transaction, statement: statement.clone() })
            }
            _ => Err(unread().into()),
        }
    }

    /// The types of parameters, where one that is not declared stands at several places: in all of them it has the type of
    /// the first, which only the whole statement tells. Empty if there is none.
    async fn types_of_repeated(&mut self, write: &Write<'_>, index: usize) -> Result<Vec<u32>, Failure> {
        let Some(bound) = &write.bound else { return Ok(Vec::new()) };
        if !wording::repeats_undeclared(write.text, bound.types) {
            return Ok(Vec::new());
        }
        let mut declared = (bound.types.len() as u16).to_be_bytes().to_vec();
        bound.types.iter().for_each(|oid| declared.extend_from_slice(&oid.to_be_bytes()));
        let mut messages = Buffer::default();
        frame::put(&mut messages, b'P', &[b"\0", write.text.as_bytes(), b"\0", &declared].concat());
        frame::put(&mut messages, b'D', b"S\0");
        frame::put(&mut messages, b'S', &[]);
        self.say(index, messages.filled());
        let server = &mut self.servers[index].lease;
        let types = server.parameter_types().await.map_err(|e| super::servers::refused(&e))?;
        // Types of users have other numbers on every shard.
        Ok(types.into_iter().map(|oid| if oid < 16384 { oid } else { 0 }).collect())
    }
}

/// Whether a parameter's value, in either format, may be a string that a date is read from the clock by.
fn is_clock_param(param: Param<'_>, oid: u32) -> bool {
    let Some(bytes) = param.bytes else { return false };
    let text = match oid {
        _ if !param.binary => true,
        18 | 19 | 25 | 705 | 1042 | 1043 => true,
        // Not told: what is a text has the same bytes as one. A number of 4 bytes may by chance.
        0 => bytes.len() != 4 && bytes.iter().all(|byte| matches!(byte, b' '..=b'~')),
        _ => false,
    };
    text && is_read_from_clock(bytes)
}

/// What a shard is asked that runs the client's statement with its own parameters.
fn message(write: &Write<'_>, worded: &Worded) -> Result<Buffer, Failure> {
    let sql = [worded.woven.sql.as_bytes(), b"\0"].concat();
    Ok(match &write.bound {
        None => {
            let mut message = Buffer::default();
            frame::put(&mut message, b'Q', &sql);
            message
        }
        Some(bound) => shard_messages(&sql, bound.types, bound.bind, &bound.params, worded.hidden),
    })
}

/// What a shard is asked that runs another text with all of the client's parameters, of types as described where they are.
fn asked_of_others(write: &Write<'_>, worded: &Worded, described: &[u32]) -> Result<Buffer, Failure> {
    let Some(bound) = write.bound.as_ref().filter(|_| !described.is_empty()) else {
        return message(write, worded);
    };
    let sql = [worded.woven.sql.as_bytes(), b"\0"].concat();
    Ok(shard_messages(&sql, described, bound.bind, &bound.params, worded.hidden))
}

/// What a shard is asked that gets some of the rows, with the parameters that stand there.
fn split_message(
    write: &Write<'_>,
    worded: &Worded,
    all: Option<&[Param<'_>]>,
    described: &[u32],
) -> Result<Buffer, Failure> {
    let (Some(bound), Some(all)) = (&write.bound, all) else { return message(write, worded) };
    let used = &worded.woven.params;
    let mut bind = (used.len() as u16).to_be_bytes().to_vec();
    let param = |number: &usize| all.get(*number).copied();
    for number in used {
        bind.extend_from_slice(&u16::from(param(number).is_some_and(|p| p.binary)).to_be_bytes());
    }
    bind.extend_from_slice(&(used.len() as u16).to_be_bytes());
    for number in used {
        let Some(param) = param(number) else {
            let text =
                format!("bind message supplies {} parameters, but the statement requires more", all.len());
            return Err(ClientError::error("08P01", text).into());
        };
        match param.bytes {
            Some(bytes) => {
                bind.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
                bind.extend_from_slice(bytes);
            }
            None => bind.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    bind.extend_from_slice(bound.params.result_formats);
    let types = if described.is_empty() { bound.types } else { described };
    let types: Vec<u32> = used.iter().map(|number| types.get(*number).copied().unwrap_or(0)).collect();
    let params = Params::parse(&bind).ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
    let sql = [worded.woven.sql.as_bytes(), b"\0"].concat();
    Ok(shard_messages(&sql, &types, &bind, &params, worded.hidden))
}

/// What can't be told apart any more when it runs.
fn unclear() -> ClientError {
    Refusal::unsupported("the statement's text could not be told apart").into()
}
