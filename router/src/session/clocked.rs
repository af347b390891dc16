//! Statements that name the clock where a server's own is not that of the client's transaction: on several shards, and on one
//! that joined the transaction when it had begun on another. They are sent with values in the place of its calls, of the
//! transaction's first server.

use super::Session;
use super::asked::Asked;
use super::batch::Item;
use super::listed::{Spliced, located};
use super::relay::move_position;
use super::simple::Failure;
use super::spread::Write;
use crate::error::ClientError;
use crate::plan::as_of::{AsOf, Naming, edited};
use crate::plan::gather::Gather;
use crate::plan::listed::Splice;
use crate::plan::locate::Params;
use crate::plan::spread::Spread;
use crate::plan::spread::clock::Frozen;
use crate::plan::{Across, Clocked, Plan};
use crate::schema::ShardRef;
use crate::sql::scan::Scan;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use std::sync::Arc;

/// What each of several shards is asked.
pub(super) struct Told {
    /// With a zero behind it.
    pub(super) sql: Vec<u8>,
    /// Columns of its rows that are not the client's.
    pub(super) hidden: usize,
    /// Where its values are, and in what they were put where that is not the client's own.
    splices: Vec<Splice>,
    splice: Option<Splice>,
    /// Characters of the client's text in front of its statement.
    moved: usize,
}

impl Told {
    /// A server's error, with its place as one in the client's text.
    pub(super) fn located(&self, failure: Failure) -> Failure {
        match failure {
            Failure::ServerError(body) => {
                let body = located(&located(&body, &self.splices), self.splice.as_slice());
                Failure::ServerError(move_position(&body, self.moved))
            }
            failure => failure,
        }
    }
}

/// The call of a function of the clock, as text in UTC that every setting of DateStyle leaves alone.
pub(super) fn in_utc(call: &str) -> String {
    format!("pg_catalog.to_char(pg_catalog.{call}() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
}

impl Session {
    /// What servers in hand are asked for a statement whose rows or groups are put together.
    pub(super) async fn told(&mut self, across: &Across) -> Result<Told, Failure> {
        let frozen = self.as_of(across.clock()).await?;
        let (sql, splices) = match across {
            Across::Scatter(scatter) => scatter.told_sql(frozen.as_ref()),
            Across::Combine(combine) => combine.told_sql(frozen.as_ref()),
            // Have ways of their own.
            Across::Gather(_) | Across::Spread(_) | Across::Explained(_) => Default::default(),
        };
        let (hidden, splice) = match across {
            Across::Scatter(scatter) => (scatter.hidden(), scatter.splice),
            Across::Combine(combine) => (combine.shape.hidden, Some(combine.splice)),
            Across::Gather(_) | Across::Spread(_) | Across::Explained(_) => (0, None),
        };
        // Among several statements, the one that runs is counted from its first word on.
        let space = sql.chars().take_while(|c| c.is_whitespace()).count();
        let mut sql = sql.into_bytes();
        sql.push(0);
        Ok(Told { sql, hidden, splices, splice, moved: self.moved.saturating_sub(space) })
    }

    /// A statement for an engine that joined the transaction later, with the clock told; `None` if it may run as it is.
    pub(super) async fn told_gather(
        &mut self,
        gather: &Gather,
        engine: usize,
    ) -> Result<Option<Gather>, Failure> {
        if gather.clock == Naming::None || !self.is_late(self.servers[engine].shard) {
            return Ok(None);
        }
        let told = match gather.clock.told() {
            Some(clock) => gather.told(&clock, &self.clock(clock.of, 0).await?),
            None => None,
        };
        let refused = || {
            let message = "this use of the clock, in a transaction over several shards, is not supported";
            ClientError::error("0A000", message).hint("Call now() in an expression.")
        };
        Ok(Some(told.ok_or_else(refused)?))
    }

    /// The clock's values for a statement that needs some; there is a server in hand.
    pub(super) async fn as_of(&mut self, clock: Option<AsOf>) -> Result<Option<Frozen>, Failure> {
        match clock {
            Some(clock) => Ok(Some(self.clock(clock.of, 0).await?)),
            None => Ok(None),
        }
    }

    /// A transaction that has no server yet is to ask its first one for the clock as it begins there.
    pub(super) fn ask_clock_at_begin(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.asks_clock = self.servers.is_empty() && transaction.clock.is_none();
        }
    }

    /// Whether a shard joined the transaction, or will, when it had begun on another: `now()` there is a later one.
    pub(super) fn is_late(&self, shard: ShardRef) -> bool {
        self.transaction.is_some() && self.servers.first().is_some_and(|first| first.shard != shard)
    }

    /// A Query for a shard that is late, with the clock told and the lists that it lacks; `None` if it may go as it came.
    pub(super) async fn told_text(
        &mut self,
        plan: &Plan,
        shard: ShardRef,
        text: &str,
    ) -> Result<Option<(Buffer, Box<Spliced>)>, Failure> {
        let clock = plan.clocked.as_ref().and_then(Clocked::text).filter(|_| self.is_late(shard));
        let Some((clock, frozen)) = clock.zip(self.as_of(clock).await?) else { return Ok(None) };
        let (sql, splices) = with_clock(plan, text, &clock, &frozen);
        let mut message = Buffer::default();
        frame::put(&mut message, b'Q', &[sql.as_bytes(), b"\0"].concat());
        Ok(Some((message, Box::new(Spliced::Text(splices)))))
    }

    /// The same for messages of a batch, whose statements are then prepared for this once.
    pub(super) async fn told_items(
        &mut self,
        shard: ShardRef,
        items: &[Item],
    ) -> Result<Option<Vec<Item>>, Failure> {
        if !self.is_late(shard) || items.iter().all(|item| clock_of(item).is_none()) {
            return Ok(None);
        }
        let mut told = Vec::with_capacity(items.len());
        for item in items {
            let mut item = item.clone();
            let clock = clock_of(&item);
            if let Some((clock, frozen)) = clock.zip(self.as_of(clock).await?)
                && let Item::Bind { statement, named, .. } = &mut item
            {
                let (sql, splices) = with_clock(&statement.plan, &statement.text, &clock, &frozen);
                *statement = Arc::new(statement.told_as(self.proxy.statements.number(), &sql, splices));
                *named = false;
            }
            told.push(item);
        }
        Ok(Some(told))
    }

    /// How a late shard writes an INSERT that has columns take the clock, where that is otherwise than by itself.
    pub(super) fn late_write(&self, plan: &Plan, shard: ShardRef, text: &str) -> Option<Arc<Spread>> {
        let spread = self.late_spread(plan, shard, text)?;
        let mut scan = Scan::default();
        scan.run(text).ok()?;
        let write = Write { plan, spread: &spread, text, literals: &scan.literals, bound: None };
        write.is_clear().then_some(spread)
    }

    /// The same in extended protocol.
    pub(super) fn late_insert(&self, shard: ShardRef, bytes: &Buffer, items: &[Item]) -> Option<Arc<Spread>> {
        let bound = |item: &Item| match item {
            Item::Bind { statement, .. } => Some(statement.clone()),
            _ => None,
        };
        let statement = items.iter().find_map(bound)?;
        let spread = self.late_spread(&statement.plan, shard, &statement.text)?;
        let asked = Asked::of(items, bytes).ok()?;
        let params = Params::parse(asked.params)?;
        let (plan, text, literals) = (&*statement.plan, &*statement.text, &*statement.literals);
        let bound =
            super::spread::Bound { types: &statement.types, bind: asked.params, params, describes: false };
        let write = Write { plan, spread: &spread, text, literals, bound: Some(bound) };
        write.is_clear().then_some(spread)
    }

    fn late_spread(&self, plan: &Plan, shard: ShardRef, text: &str) -> Option<Arc<Spread>> {
        match &plan.clocked {
            // What is sent as told goes as it is.
            Some(Clocked::Write(spread, _)) if self.is_late(shard) && !text.contains("/*") => {
                Some(spread.clone())
            }
            _ => None,
        }
    }
}

/// What a message of a batch takes of the clock by its text.
fn clock_of(item: &Item) -> Option<AsOf> {
    match item {
        Item::Bind { statement, .. } => statement.plan.clocked.as_ref().and_then(Clocked::text),
        _ => None,
    }
}

/// A text with the clock told, and with the lists that it lacks; and where they are.
fn with_clock(plan: &Plan, text: &str, clock: &AsOf, frozen: &Frozen) -> (String, Vec<Splice>) {
    let mut edits = clock.edits(text, frozen);
    let lists = plan.listed.as_ref().map(|listed| listed.pieces(text)).unwrap_or_default();
    edits.extend(lists.into_iter().map(|(at, list)| (at..at, list.to_owned())));
    edits.sort_by_key(|(range, _)| range.start);
    edited(text, edits)
}
