//! Gather: one shard's server is the engine, and the rows that a statement needs are brought to it from the others.
//!
//! All of it happens in a transaction of the engine that is rolled back in the end, or in a savepoint of the client's own
//! transaction: nothing is left behind. A server that something might be left on is not clean, and so is closed. Rows
//! stream from the shards into the engine's COPY; what is held here is a piece of that, and a shard that is ahead waits.
//!
//! Where temporary tables may not be made, rows are held here and reach the engine as parameters (`values.rs`). Of what the
//! engine's shard group does not have, a shard of the other group tells what its columns are (`shapes.rs`).

mod answers;
mod described;
mod engine;
mod explained;
mod parts;
mod prepare;
pub(super) mod pull;
mod shapes;
pub(super) mod values;

use super::across::Cancels;
use super::asked::Window;
use super::moment::Moment;
use super::relay::{MAX_AHEAD, move_position, position_in};
use super::simple::Failure;
use super::{End, Session};
use crate::error::ClientError;
use crate::plan::as_of::Naming;
use crate::plan::gather::Gather;
use crate::plan::locate::{Params, Values};
use crate::plan::scatter::Scatter;
use crate::plan::{Access, Tier};
use crate::reply;
pub(super) use answers::described;
pub(super) use described::beyond_any_shard;
use engine::{Engine, Ready};
use parts::Parts;
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
        if gather.clock != Naming::None {
            self.ask_clock_at_begin();
        }
        let values = Values {
            text: &gather.text,
            literals: &gather.literals,
            params: client.bound.then_some(params),
            types: client.types,
        };
        let from = self.shards_with_rows(gather, &values);
        let parts = self.parts(gather, access, &from).await?;
        self.servers[parts.engine].unpreparable = true;
        let told = self.told_gather(gather, parts.engine).await?;
        let gather = told.as_ref().unwrap_or(gather);
        let is_text_exact = self.is_text_exact(&parts);
        if !is_text_exact && !gather.tables.iter().all(|table| table.binary) {
            return Err(not_exact().into());
        }
        let mut copying = false;
        let mut moment = Moment::new(self.entrance(&parts.all));
        let ran = loop {
            let limit = self.statement_limit();
            let gathered = self.gathered(gather, &parts, &client, params, &mut copying, &mut moment);
            let ran = limit.within(gathered).await.unwrap_or_else(|late| Err(late.into()));
            if !moment.comes_again() {
                break ran;
            }
            // Nothing of it is left, and nobody was told.
            if let Err(error) = self.clean_up(&parts, true, false, false).await {
                break Err(error.into());
            }
        };
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

    /// Whether values in text are exact, and are read as they are written.
    fn is_text_exact(&self, parts: &Parts) -> bool {
        let is = |index: usize, name, style| {
            let value = self.servers[index].lease.parameters.get(name);
            value.is_none_or(|value| value.starts_with(style))
        };
        let dates =
            parts.all.iter().all(|&n| is(n, "DateStyle", "ISO") && is(n, "IntervalStyle", "postgres"));
        let unset = |name| self.settings.value(name).is_none();
        dates && unset("lc_monetary") && unset("array_nulls")
    }

    /// Brings the rows, runs the statement, and gives the client its rows. How many they were.
    async fn gathered(
        &mut self,
        gather: &Gather,
        parts: &Parts,
        client: &Client<'_>,
        params: Params<'_>,
        copying: &mut bool,
        moment: &mut Moment,
    ) -> Result<u64, Failure> {
        let engine = Engine {
            gather,
            parts,
            types: client.types,
            params,
            bind: client.bind,
            describes_only: false,
            is_text_exact: self.is_text_exact(parts),
            nested: self.transaction.is_some(),
            max: self.world.config.routing.gather_max_bytes,
        };
        let (servers, wire) = (&mut self.servers[..], &mut self.client);
        let brought = tokio::select! {
            biased;
            brought = engine.bring(servers, copying, moment) => brought,
            () = poll_fn(|cx| wire.poll_end(cx, MAX_AHEAD)) => {
                Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into())
            }
        };
        let ready = brought.map_err(|failure| self.reworded(failure, gather, |position| position))?;
        let Ready { described, messages, instead } = ready;
        let gather = instead.as_ref().unwrap_or(gather);
        if client.bound && !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
        if client.describes {
            frame::put(&mut self.client.output, b'T', &described);
        }
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
            places: None,
            clock: None,
            splice: None,
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
        Failure::ServerError(move_position(&placed(&body, position), moved))
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
            (true, true) => engine.run_each(prepare::BACK).await,
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

/// An error with its position, if it has one, in another text.
fn placed(body: &[u8], position: impl Fn(usize) -> usize) -> Vec<u8> {
    let mut placed = Vec::with_capacity(body.len());
    for field in body.split_inclusive(|&byte| byte == 0) {
        match position_in(field) {
            Some(at) => placed.extend_from_slice(format!("P{}\0", position(at)).as_bytes()),
            None => placed.extend_from_slice(field),
        }
    }
    placed
}

/// Values would be brought in text, which is not exact, or is read otherwise than it is written.
fn not_exact() -> ClientError {
    let message = "this statement brings values of this database's own types over several shards, which takes \
                   DateStyle ISO, IntervalStyle postgres, and lc_monetary and array_nulls as they are";
    ClientError::error("0A000", message)
}
