//! Statements that are out of date on a server, prepared again there without the client noticing.
//!
//! A server's copy of a statement may be older than what the client knows: another client had it prepared before the
//! table was changed, and Postgres says "cached plan must not change result type"; or somebody had the server give up
//! all of its statements. As long as nothing was executed, the batch is sent once more with the statement prepared
//! anew, and what the client has got already is not said again. What is not cured is passed on as Postgres said it:
//! within a transaction, which has failed by then, and where the client takes the rows for what they are no more (it was
//! told of other columns, and does not ask again).

use super::batch::Item;
use super::lane::Work;
use super::prepared::Prepared;
use super::relay::{Capture, Exchange, Outcome, Step};
use super::row_shape::RowShape;
use super::simple::Failure;
use super::writer::Writer;
use super::{End, SYNC, Session};
use crate::error::ClientError;
use crate::schema::ShardRef;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_pool::server::{RunError, ServerConn};
use std::collections::VecDeque;
use std::sync::Arc;

/// What is out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailment {
    /// What it is.
    pub kind: Kind,
    /// It came up in a Describe that had told the statement's parameters.
    has_parameters: bool,
    /// As the server said it: an ErrorResponse's body.
    pub body: Box<[u8]>,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A statement's result has other columns now.
    Changed,
    /// A statement is not there.
    Missing,
}

impl Ailment {
    /// What an error says is out of date, if it is that.
    pub(super) fn of(body: &[u8], has_parameters: bool) -> Option<Self> {
        let field = |code| frame::error_field(body, code);
        let kind = match field(b'C')? {
            // The message is in the server's language; the function that raises it is not.
            b"0A000" if field(b'R')? == b"RevalidateCachedQuery" => Kind::Changed,
            b"26000" if names_ours(field(b'M')?) => Kind::Missing,
            _ => return None,
        };
        Some(Self { kind, has_parameters, body: body.into() })
    }
}

/// Whether a message names a statement of ours.
fn names_ours(message: &[u8]) -> bool {
    const OURS: &[u8] = b"shardway_";
    message.windows(OURS.len()).any(|window| window == OURS)
}

/// How an exchange with one server ended.
pub(super) enum Exchanged {
    /// The client has its answer, and was told of these results on the way: see [`Exchange::shapes`].
    Done(Outcome, Vec<Vec<u8>>),
    /// Nothing was executed, and the client was told no error.
    Sick(Ailment),
}

/// A batch of the fast lane that is to be sent once more, to the server that is still in hand.
pub(super) struct Again {
    pub(super) shard: ShardRef,
    pub(super) work: Work,
    pub(super) ailment: Ailment,
}

/// How many of the client's messages a script has still to answer.
pub(super) fn left(script: &VecDeque<Step>) -> usize {
    script.iter().filter(|step| is_clients(step)).count()
}

fn is_clients(step: &Step) -> bool {
    match step {
        Step::Forward | Step::ForwardShape | Step::ForwardRows | Step::ForwardUnnamed => true,
        Step::ForwardParse(_) | Step::KnownParse(_) | Step::Fabricate(_) => true,
        Step::Swallow | Step::SwallowNoData | Step::SwallowParse(_) | Step::SwallowClose(_) => false,
    }
}

/// Has the first `said` answers of a script not said again, nor the parameters that the next one begins with if the
/// client has them.
fn hush(script: &mut VecDeque<Step>, said: usize, has_parameters: bool) {
    let mut at = 0;
    script.retain_mut(|step| {
        if !is_clients(step) {
            return true;
        }
        at += 1;
        if has_parameters && at == said + 1 && *step == Step::ForwardShape {
            *step = Step::ForwardRows;
        }
        if at > said {
            return true;
        }
        match *step {
            Step::KnownParse(_) | Step::Fabricate(_) => return false,
            Step::ForwardParse(id) => *step = Step::SwallowParse(id),
            _ => *step = Step::Swallow,
        }
        true
    });
}

/// Ends a batch where a statement is bound whose rows are not what the client was told any more, and it does not ask:
/// with the error of a server that has not forgotten what it said.
pub(super) fn refuse_changed(items: &mut Vec<Item>) {
    let changed = |item: &Item| matches!(item, Item::Bind { statement, .. } if statement.served.is_changed() && is_blind(items, statement));
    if let Some(at) = items.iter().position(changed) {
        items.truncate(at);
        items.push(Item::Fail { error: changed_result(), parse: None });
    }
}

/// Postgres' error for a statement whose result is not what the client was told.
fn changed_result() -> ClientError {
    ClientError::error("0A000", "cached plan must not change result type")
}

/// A statement of a batch whose rows the client takes for what it was told of them, and of which it is not known that the
/// server gives such rows; and whether it has a name.
pub(super) fn unproven<'a>(server: &ServerConn, items: &'a [Item]) -> Option<(&'a Arc<Prepared>, bool)> {
    items.iter().find_map(|item| match item {
        Item::Bind { statement, named, .. }
            if statement.served.tells()
                && !is_proven(server, statement, *named)
                && is_blind(items, statement) =>
        {
            Some((statement, *named))
        }
        _ => None,
    })
}

fn is_proven(server: &ServerConn, statement: &Prepared, named: bool) -> bool {
    let (id, set) = (statement.id, &server.prepared);
    match named {
        true => set.holds_version(id, statement.version()) && set.is_proven(id),
        false => server.unnamed == Some(statement.id),
    }
}

/// Whether the client takes the rows of a statement for what it was told of them in an earlier batch.
fn is_blind(items: &[Item], statement: &Prepared) -> bool {
    let asks = |item: &Item| match item {
        Item::Parse { statement: parsed, .. } => parsed.id == statement.id,
        Item::DescribeStatement { statement: described, .. } => described.id == statement.id,
        Item::Portal { tag: b'D', portal, .. } => {
            let binds = |item: &Item| matches!(item, Item::Bind { statement: bound, portal: to, .. } if bound.id == statement.id && to == portal);
            items.iter().any(binds)
        }
        _ => false,
    };
    !items.iter().any(asks)
}

impl Session {
    /// A batch of the fast lane, once more.
    pub(super) async fn again(&mut self, again: Again) -> Result<(), End> {
        let Again { shard, work, ailment } = again;
        let batch = match work {
            Work::Quick(quick) => self.as_batch(quick).await,
            Work::Batch(batch) => batch,
            other => return Box::pin(self.turn(Some(other))).await,
        };
        let said = batch.items.len().saturating_sub(left(&self.script));
        let index = self.servers.iter().position(|p| p.shard == shard).unwrap_or_default();
        let done = self.cure(index, &batch.bytes, &batch.items, true, ailment, said).await;
        self.unmark_now();
        for item in &batch.items {
            if let Item::Bind { statement, .. } = item {
                self.count(statement.plan.tier);
            }
        }
        if let Err(failure) = done {
            self.fail(failure)?;
            self.release();
            self.ready();
        }
        Ok(())
    }

    /// Sends a batch once more to a server whose copy of one of its statements was out of date. The client has `said`
    /// answers already. Whether it gets an error.
    pub(super) async fn cure(
        &mut self,
        index: usize,
        bytes: &Buffer,
        items: &[Item],
        ready: bool,
        ailment: Ailment,
        said: usize,
    ) -> Result<bool, Failure> {
        let shard = self.servers[index].shard;
        self.unwind(index);
        if let Err(failure) = self.renew(index, items, &ailment, said).await {
            self.settle(&items[..said.min(items.len())], 0);
            return Err(failure);
        }
        self.write_batch(index, bytes, items);
        hush(&mut self.script, said, ailment.has_parameters);
        match self.exchange(index, items, Exchange::extended(ready), None::<&mut Capture>).await? {
            Exchanged::Done(outcome, shapes) => self.land_unit(shard, bytes, items, outcome, shapes).await,
            Exchanged::Sick(_) => Ok(true),
        }
    }

    /// Has what is out of date prepared again. Errors: the client must be told.
    async fn renew(
        &mut self,
        index: usize,
        items: &[Item],
        ailment: &Ailment,
        said: usize,
    ) -> Result<(), Failure> {
        let lease = &mut self.servers[index].lease;
        lease.unnamed = None;
        match (ailment.kind, items.get(said)) {
            // One is gone, and so may others be.
            (Kind::Missing, _) => lease.prepared.doubt(),
            (
                Kind::Changed,
                Some(Item::Bind { statement, .. } | Item::DescribeStatement { statement, .. }),
            ) => {
                statement.served.outdate();
            }
            (Kind::Changed, _) => return Err(ClientError::of_server(&ailment.body).into()),
        }
        match self.prove(index, items).await {
            Err(Failure::Statement(_)) if ailment.kind == Kind::Changed => {
                Err(ClientError::of_server(&ailment.body).into())
            }
            done => done,
        }
    }

    /// What the server says of a statement's result, prepared anew; or why it says nothing, an ErrorResponse's body.
    async fn describe(
        &mut self,
        index: usize,
        statement: &Arc<Prepared>,
        named: bool,
    ) -> Result<Result<RowShape, Vec<u8>>, Failure> {
        let tally = self.meter.tally();
        let server = &mut self.servers[index].lease;
        self.script.clear();
        Writer { server, script: &mut self.script, tally }.ensure(statement, named);
        self.script.clear();
        let name = if named { statement.name.as_bytes() } else { b"" };
        let server = &mut self.servers[index].lease;
        frame::put(&mut server.wire.output, b'D', &[b"S", name, b"\0"].concat());
        server.wire.output.extend(SYNC);
        server.outstanding += 1;
        match server.description().await {
            Ok(Some(body)) => Ok(Ok(RowShape::parse(&body).unwrap_or_default())),
            Ok(None) => Ok(Ok(RowShape::default())),
            Err(RunError::Refused(body)) => {
                server.prepared.restore(statement.id);
                server.unnamed = None;
                Ok(Err(body))
            }
            Err(RunError::Lost(_)) => {
                let cause = std::io::ErrorKind::UnexpectedEof.into();
                Err(Failure::Statement(
                    self.broken(index, super::relay::Broken::Server { cause, torn: false })?,
                ))
            }
        }
    }

    /// Asks the server for the results of statements whose rows the client takes for what it was told of them when another
    /// server described them: a table may have been changed since. Errors: it was.
    pub(super) async fn prove(&mut self, index: usize, items: &[Item]) -> Result<(), Failure> {
        while let Some((statement, named)) = unproven(&self.servers[index].lease, items) {
            let (statement, named) = (statement.clone(), named);
            match self.describe(index, &statement, named).await? {
                Ok(now) if Some(&now) == statement.served.shape() => {
                    self.servers[index].lease.prepared.prove(statement.id);
                }
                Ok(_) => {
                    statement.served.change();
                    return Err(changed_result().into());
                }
                Err(body) if self.transaction.is_some() => return Err(Failure::ServerError(body)),
                // The batch fails of it too, and says so at its place.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// The client was told what described statements give. One that was told otherwise than those before it has a
    /// statement of its own from here on: the table was changed, and theirs are of the older one.
    pub(super) fn told_shapes(&mut self, index: usize, items: &[Item], shapes: Vec<Vec<u8>>) {
        if shapes.is_empty() {
            return;
        }
        let described = items.iter().filter_map(|item| match item {
            Item::DescribeStatement { statement, .. } => Some(statement),
            _ => None,
        });
        for (statement, body) in described.zip(shapes) {
            let shape = if body.is_empty() {
                RowShape::default()
            } else {
                RowShape::parse(&body).unwrap_or_default()
            };
            match statement.served.told(&shape) {
                true => self.servers[index].lease.prepared.prove(statement.id),
                false => self.part(statement, shape),
            }
        }
    }

    fn part(&mut self, statement: &Arc<Prepared>, shape: RowShape) {
        let own = Arc::new(statement.anew(self.proxy.statements.number(), shape));
        self.proxy.statements.add(&own);
        let same = |known: &&mut Arc<Prepared>| known.id == statement.id;
        self.statements
            .values_mut()
            .chain(&mut self.unnamed)
            .filter(same)
            .for_each(|known| *known = own.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &[u8]) -> Option<Kind> {
        Ailment::of(body, false).map(|ailment| ailment.kind)
    }

    #[test]
    fn what_is_out_of_date_is_told_by_its_code_and_place() {
        let changed = b"SFEHLER\0C0A000\0Mgecachter Plan\0RRevalidateCachedQuery\0\0";
        assert_eq!(kind(changed), Some(Kind::Changed));
        let missing = b"SERROR\0C26000\0Mprepared statement \"shardway_7\" does not exist\0\0";
        assert_eq!(kind(missing), Some(Kind::Missing));
        assert_eq!(kind(b"SERROR\0C26000\0Mprepared statement \"mine\" does not exist\0\0"), None);
        assert_eq!(kind(b"SERROR\0C0A000\0Mnot supported\0RDoCopy\0\0"), None);
    }
}
