//! Gather: one shard's server is the engine, and the rows that a statement needs are brought to it from the others.
//!
//! All of it happens in a transaction of the engine that is rolled back in the end, or in a savepoint of the client's own
//! transaction: nothing is left behind. A server that something might be left on is not clean, and so is closed. Rows
//! stream from the shards into the engine's COPY; what is held here is a piece of that, and a shard that is ahead waits.

mod engine;
mod explained;
pub(super) mod pull;

use super::across::Cancels;
use super::asked::{Window, shard_messages};
use super::relay::{MAX_AHEAD, move_position, position_in};
use super::servers::Participant;
use super::simple::Failure;
use super::{End, Session};
use crate::error::ClientError;
use crate::plan::gather::{Brought, Gather};
use crate::plan::locate::{Params, Values, shards_of};
use crate::plan::scatter::Scatter;
use crate::plan::{Access, Tier};
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use engine::Engine;
pub(super) use engine::described;
use shardway_pool::frame;
use std::future::poll_fn;
use std::io;
use std::time::Instant;

/// What a client asked for.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    /// Parameter types that it declared.
    pub(super) types: &'a [u32],
    /// Bind's body behind the names.
    pub(super) bind: &'a [u8],
    /// Whether the columns are described.
    pub(super) describes: bool,
    /// Whether there was a Bind to be answered.
    pub(super) bound: bool,
}

impl Client<'_> {
    /// A simple query: no parameters, everything in text.
    pub(super) fn simple() -> Self {
        Self { types: &[], bind: &[0; 6], describes: true, bound: false }
    }
}

/// Who takes part: indexes of servers in hand.
struct Parts {
    engine: usize,
    /// For each table, where its rows come from; the engine's own are not among them.
    sources: Vec<Vec<usize>>,
    /// For each table, whether the engine has rows of it.
    own: Vec<bool>,
    /// All of them.
    all: Vec<usize>,
}

impl Session {
    /// Runs a statement on rows of several shards. Rows and CommandComplete, without ReadyForQuery.
    pub(super) async fn gather(
        &mut self,
        gather: &Gather,
        access: Access,
        client: Client<'_>,
    ) -> Result<Tier, Failure> {
        let params = Params::parse(client.bind)
            .ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
        let parts = self.parts(gather, access, &client, params).await?;
        self.servers[parts.engine].unpreparable = true;
        self.check_text(gather, &parts)?;
        let mut copying = false;
        let limit = self.statement_limit();
        let ran = limit.within(self.gathered(gather, &parts, &client, params, &mut copying)).await;
        let ran = ran.unwrap_or_else(|late| Err(late.into()));
        let cleaned =
            self.clean_up(&parts, ran.is_ok(), copying, matches!(ran, Err(Failure::Session(_)))).await;
        let total = ran.and_then(|total| cleaned.map(|()| total).map_err(Failure::from));
        if total.is_err()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.failed = true;
        }
        reply::complete(&mut self.client.output, &format!("SELECT {}", total?));
        self.release();
        Ok(Tier::Gather)
    }

    /// Servers for every shard that has rows, and for the engine.
    async fn parts(
        &mut self,
        gather: &Gather,
        access: Access,
        client: &Client<'_>,
        params: Params<'_>,
    ) -> Result<Parts, ClientError> {
        let values = Values {
            text: &gather.text,
            literals: &gather.literals,
            params: client.bound.then_some(params),
            types: client.types,
        };
        let from: Vec<Vec<ShardRef>> =
            gather.tables.iter().map(|table| self.shards_with(table, gather.group, &values)).collect();
        let engine = self.engine(gather, &from);
        let mut all: Vec<ShardRef> = from.iter().flatten().copied().chain([engine]).collect();
        // In order, as every other statement takes them: nobody waits for who waits for it.
        all.sort_unstable();
        all.dedup();
        let mut servers = Vec::with_capacity(all.len());
        for &shard in &all {
            // A replica has no temporary tables.
            let access = if shard == engine { Access::ReadPrimary } else { access };
            servers.push(self.acquire(shard, access).await?);
        }
        let index = |shard: &ShardRef| all.binary_search(shard).map_or(0, |at| servers[at]);
        let others = |from: &Vec<ShardRef>| from.iter().filter(|s| **s != engine).map(index).collect();
        Ok(Parts {
            engine: index(&engine),
            sources: from.iter().map(others).collect(),
            own: from.iter().map(|from| from.contains(&engine)).collect(),
            all: servers.clone(),
        })
    }

    /// Refuses to bring values in text where that is not exact, or read otherwise than it is written.
    fn check_text(&self, gather: &Gather, parts: &Parts) -> Result<(), ClientError> {
        if gather.tables.iter().all(|table| table.binary) {
            return Ok(());
        }
        let is = |index: usize, name, style| {
            let value = self.servers[index].lease.parameters.get(name);
            value.is_none_or(|value| value.starts_with(style))
        };
        let dates =
            parts.all.iter().all(|&n| is(n, "DateStyle", "ISO") && is(n, "IntervalStyle", "postgres"));
        let unset = |name| self.settings.value(name).is_none();
        if dates && unset("lc_monetary") && unset("array_nulls") {
            return Ok(());
        }
        let message = "this statement brings values of this database's own types over several shards, which takes \
                       DateStyle ISO, IntervalStyle postgres, and lc_monetary and array_nulls as they are";
        Err(ClientError::error("0A000", message))
    }

    fn shards_with(&self, table: &Brought, group: GroupId, values: &Values<'_>) -> Vec<ShardRef> {
        match shards_of(&self.database.maps[group.0], &table.pins, values) {
            Some(shards) => shards.into_iter().map(|shard| ShardRef { group, shard }).collect(),
            None => self.database.shards_of(group).collect(),
        }
    }

    /// The shard that runs the statement: one that has rows of it. In a transaction, one that wrote nothing there if there
    /// is one: a server that has seen temporary tables can't prepare its transaction.
    fn engine(&mut self, gather: &Gather, from: &[Vec<ShardRef>]) -> ShardRef {
        if let Some(shard) = gather.at {
            return ShardRef { group: gather.group, shard };
        }
        let mut able: Vec<ShardRef> = from.iter().flatten().copied().collect();
        if able.is_empty() {
            able = self.database.shards_of(gather.group).collect();
        }
        able.sort_unstable();
        able.dedup();
        let held = |fits: fn(&Participant) -> bool| {
            self.servers.iter().find(|p| fits(p) && able.contains(&p.shard)).map(|p| p.shard)
        };
        // One that has seen some can't prepare any more.
        if let Some(shard) = held(|p| p.unpreparable).or_else(|| held(|p| !p.wrote)) {
            return shard;
        }
        self.next_shard = self.next_shard.wrapping_add(1);
        let wrote = |shard: &ShardRef| self.servers.iter().any(|p| p.wrote && p.shard == *shard);
        let free: Vec<ShardRef> = able.iter().copied().filter(|shard| !wrote(shard)).collect();
        let among = if free.is_empty() { &able } else { &free };
        among[self.next_shard as usize % among.len()]
    }

    /// Brings the rows, runs the statement, and gives the client its rows. How many they were.
    async fn gathered(
        &mut self,
        gather: &Gather,
        parts: &Parts,
        client: &Client<'_>,
        params: Params<'_>,
        copying: &mut bool,
    ) -> Result<u64, Failure> {
        let engine = Engine {
            gather,
            parts,
            types: client.types,
            params,
            nested: self.transaction.is_some(),
            max: self.world.config.routing.gather_max_bytes,
        };
        let (servers, wire) = (&mut self.servers[..], &mut self.client);
        let brought = tokio::select! {
            biased;
            brought = engine.bring(servers, copying) => brought,
            () = poll_fn(|cx| wire.poll_end(cx, MAX_AHEAD)) => {
                Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into())
            }
        };
        let described = brought.map_err(|failure| self.reworded(failure, gather, |position| position))?;
        if client.bound && !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
        if client.describes {
            frame::put(&mut self.client.output, b'T', &described);
        }
        let sql = [gather.sql().as_bytes(), b"\0"].concat();
        let messages = shard_messages(&sql, client.types, client.bind, &params, 0);
        let server = &mut self.servers[parts.engine].lease;
        server.wire.send(messages.filled());
        server.unnamed = None;
        server.outstanding += 1;
        server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        let wire = &mut self.client;
        // Its first words come with its first rows, or at the end. Nobody would want those of a client that is gone.
        let heard = tokio::select! {
            biased;
            heard = server.wire.fill() => heard.map(|_| true),
            () = poll_fn(|cx| wire.poll_end(cx, MAX_AHEAD)) => Ok(false),
        };
        match heard {
            Ok(true) => {}
            Ok(false) => return Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into()),
            Err(cause) => {
                let error = server.lost(&cause);
                server.outstanding = 1;
                return Err(ClientError::from(error).into());
            }
        }
        let plain = Scatter {
            group: gather.group,
            sql: String::new(),
            order: Vec::new(),
            limit: None,
            offset: None,
            locks: None,
        };
        let all = Window { skip: 0, left: None };
        let total = self.merge(&[parts.engine], &plain, all, false).await;
        total.map_err(|failure| self.reworded(failure, gather, |position| gather.position(position)))
    }

    /// A server's error with its position, if it has one, in the client's own text.
    fn reworded(&self, failure: Failure, gather: &Gather, position: impl Fn(usize) -> usize) -> Failure {
        let Failure::ServerError(body) = failure else { return failure };
        // Among several statements, the one that runs is counted from its first word on.
        let space = gather.text.chars().take_while(|c| c.is_whitespace()).count();
        let moved = self.moved.saturating_sub(space);
        self.proxy.metrics.server_errors.inc();
        let mut reworded = Vec::with_capacity(body.len());
        for field in body.split_inclusive(|&byte| byte == 0) {
            match position_in(field) {
                Some(at) => reworded.extend_from_slice(format!("P{}\0", position(at)).as_bytes()),
                None => reworded.extend_from_slice(field),
            }
        }
        Failure::ServerError(move_position(&reworded, moved))
    }

    /// Brings every server to its ReadyForQuery, and undoes what the engine did.
    async fn clean_up(
        &mut self,
        parts: &Parts,
        done: bool,
        copying: bool,
        ended: bool,
    ) -> Result<(), ClientError> {
        if copying && !ended {
            let server = &mut self.servers[parts.engine].lease;
            frame::put(&mut server.wire.output, b'f', b"the rows could not be brought\0");
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        }
        let cancels = if done { Cancels::default() } else { self.cancel_servers(&parts.all) };
        if ended {
            return Ok(());
        }
        let drained = self.drain(&parts.all).await;
        cancels.arrived().await;
        if self.transaction.is_none() && !done {
            for &index in parts.all.iter().filter(|index| **index != parts.engine) {
                let source = &mut self.servers[index].lease;
                if source.status != b'I' && source.outstanding == 0 {
                    // Should it fail the server is not clean, and is closed.
                    let _ = source.run("ROLLBACK").await;
                }
            }
        }
        let engine = &mut self.servers[parts.engine].lease;
        let undone = match (self.transaction.is_some(), done) {
            (true, true) => engine.run_each(engine::BACK).await,
            // Whatever is left there goes when the transaction is rolled back, or to a savepoint of the client's.
            (true, false) => Ok(()),
            (false, _) if engine.status == b'I' => Ok(()),
            (false, _) => engine.run("ROLLBACK").await,
        };
        let now = Instant::now();
        self.answered = Some(now);
        parts.all.iter().for_each(|&index| self.servers[index].lease.used_until = Some(now));
        drained.and(undone.map_err(|e| super::servers::refused(&e)))
    }
}
