//! The fast lane: what most messages are, done in one go.
//!
//! One plain statement for one shard, a server of which is idle and has the client's settings in place, needs nothing
//! to be waited for until it is sent, and nothing to be decided when its answer is through. It is run here, within
//! one function that is polled, so that its path is short and touches little. All else goes the long way round,
//! which knows everything; what was found out on the way there is handed over ([`Work`]).

use super::batch::{Batch, Item, Reread};
use super::cure::{Again, unproven};
use super::decide::{Decided, Decision};
use super::queued::poll_waiting;
use super::quick::Quick;
use super::relay::{Broken, Exchange, Outcome, Relay};
use super::servers::{Participant, no_lease};
use super::simple::Failure;
use super::writer::Writer;
use super::{End, SYNC, Session};
use crate::error::ClientError;
use crate::handle::Reason;
use crate::plan::locate::Target;
use crate::plan::{Access, Tier};
use crate::proxy::Phase;
use crate::schema::ShardRef;
use crate::sql::command::Command;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::{Asked, Turn};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// Parse, Bind and Execute of BEGIN, without a Sync: should it fail, the server runs nothing of what comes behind it in
/// the same write. After a Query it would, and each statement by itself.
const BEGIN: &[u8] = b"P\0\0\0\x0d\0BEGIN\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0";

/// The Flush message.
const FLUSH: &[u8] = b"H\0\0\0\x04";

/// A statement whose answer is awaited.
pub(super) struct Flight {
    exchange: Exchange,
    shard: ShardRef,
    came: Came,
}

/// A message that was taken up and is for the long way.
pub(super) enum Work {
    /// A Query, and what its text was found to be, if that was looked at closely.
    Simple(Buffer, Option<Decided>),
    /// A batch.
    Batch(Batch),
    /// A batch of the usual form, to be put back.
    Quick(Quick),
    /// A batch that is to be sent once more.
    Again(Box<Again>),
}

/// What a statement in the fast lane came as.
enum Came {
    /// A Query.
    Simple,
    /// A Query that ends the transaction.
    End,
    /// A batch of the usual form.
    Quick(Quick),
    /// Any other batch.
    Batch(Batch),
}

/// What is to be done outside of the fast lane.
pub(super) enum Next {
    /// A message that was taken up, or whatever comes next.
    Long(Option<Work>),
    /// The session is to move to another worker; nothing is under way.
    Move,
}

/// A statement that waits for a server.
pub(super) struct Queued {
    turn: Turn,
    shard: ShardRef,
    access: Access,
    work: Work,
}

/// What became of a statement whose answer was awaited.
enum Landed {
    /// It is done with.
    Here,
    /// It is to be sent once more.
    Again(Box<Again>),
    /// It failed, and other servers of its transaction are to know.
    Apart,
}

/// What became of a message in the fast lane.
pub(super) enum Departure {
    /// It is answered.
    Done,
    /// Its answer, or its server, is awaited.
    Gone,
    /// It is for the long way.
    Long(Option<Work>),
}

/// A server for a statement.
enum Seat {
    /// This one of those in hand.
    Taken(usize),
    /// In a while.
    Queued(Turn),
    /// Not without further ado.
    None,
}

impl Session {
    /// Runs statements as long as they fit.
    pub(super) fn poll_lane(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, End>> {
        loop {
            if self.flight.is_some() {
                match ready!(self.poll_flight(cx))? {
                    Landed::Here => {}
                    Landed::Again(again) => return Poll::Ready(Ok(Next::Long(Some(Work::Again(again))))),
                    Landed::Apart => return Poll::Ready(Ok(Next::Long(None))),
                }
            }
            if self.queued.is_some()
                && let Departure::Long(work) = ready!(self.poll_queued(cx))?
            {
                return Poll::Ready(Ok(Next::Long(work)));
            }
            if self.flight.is_some() {
                continue;
            }
            if !self.client.output.is_empty() || self.skipping || self.is_disturbed() {
                return Poll::Ready(Ok(Next::Long(None)));
            }
            if self.client.input.is_empty() {
                if self.listening.is_some() && self.has_mail() {
                    return Poll::Ready(Ok(Next::Long(None)));
                }
                if self.registration.handle.destination().is_some() && self.transaction.is_none() {
                    return Poll::Ready(Ok(Next::Move));
                }
                if !self.idle_limit().is_none() {
                    return Poll::Ready(Ok(Next::Long(None)));
                }
                match ready!(self.client.poll_fill(cx)) {
                    Ok(0) => return Poll::Ready(Err(End::Client(io::ErrorKind::UnexpectedEof.into()))),
                    Ok(_) => {}
                    Err(e) => return Poll::Ready(Err(End::Client(e))),
                }
            }
            if let Departure::Long(work) = self.depart() {
                return Poll::Ready(Ok(Next::Long(work)));
            }
        }
    }

    /// Whether a shutdown or a reload is to be looked at.
    pub(super) fn is_disturbed(&self) -> bool {
        self.proxy.stage() >= Phase::Releasing || self.proxy.generation() != self.world.generation
    }

    /// Takes up the next message, if it is one for the fast lane.
    fn depart(&mut self) -> Departure {
        let whole = match frame::peek(self.client.input.filled(), self.client.max_message()) {
            Ok(Some(header)) if header.len <= self.client.input.len() => header,
            _ => return Departure::Long(None),
        };
        self.follow_schema();
        let implicit = self.transaction.as_ref().is_some_and(|t| !t.explicit);
        let rarely = implicit || self.listening.is_some();
        if rarely || self.caches() || self.is_timed() {
            return Departure::Long(None);
        }
        self.now = Instant::now();
        self.note_request();
        match whole.tag {
            b'Q' if !self.extended_only => self.depart_simple(whole.len),
            b'P' | b'B' if self.has_failed() => self.depart_batch(),
            b'P' | b'B' => self.depart_quick().unwrap_or_else(|| self.depart_batch()),
            _ => Departure::Long(None),
        }
    }

    fn depart_simple(&mut self, len: usize) -> Departure {
        let body = &self.client.input.filled()[HEADER..len];
        let text = match frame::cstr(body) {
            Some((text, [])) => std::str::from_utf8(text).ok(),
            _ => None,
        };
        let Some(text) = text else { return Departure::Long(None) };
        if !self.has_failed()
            && may_be_plain(text)
            && let Some((target, access, clocked)) = self.known_place(text)
        {
            let work = Work::Simple(self.take(len), None);
            return match self.place_now(&target) {
                Some(shard) if !(clocked && self.is_late(shard)) => self.seat(shard, access, work),
                _ => Departure::Long(Some(work)),
            };
        }
        let Ok(decided) = self.with_planning(|planning| self.decide_with(planning, text)) else {
            return Departure::Long(None);
        };
        let place = match &decided {
            Decided::One(Decision { plan, target: Ok(target), .. }) if plan.plain && !self.has_failed() => {
                Some((target.clone(), plan.access, plan.clocked.is_some()))
            }
            Decided::One(Decision { plan, .. }) if plan.command == Command::Begin => {
                let text = text.to_owned();
                return self.depart_begin(&text, len, decided);
            }
            Decided::One(Decision { plan, .. }) if self.ends_plainly(&plan.command) => {
                let message = self.take(len);
                return self.depart_end(&message);
            }
            _ => None,
        };
        let work = Work::Simple(self.take(len), Some(decided));
        let place = place.and_then(|(target, access, clocked)| {
            let shard = self.place_now(&target)?;
            (!(clocked && self.is_late(shard))).then_some((shard, access))
        });
        match place {
            Some((shard, access)) => self.seat(shard, access, work),
            None => Departure::Long(Some(work)),
        }
    }

    fn has_failed(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.failed)
    }

    /// BEGIN: no server hears of it before a statement says which.
    fn depart_begin(&mut self, text: &str, len: usize, decided: Decided) -> Departure {
        let message = self.take(len);
        match self.begin_now(text) {
            true => {
                self.meter_answer(self.now);
                Departure::Done
            }
            false => Departure::Long(Some(Work::Simple(message, Some(decided)))),
        }
    }

    /// COMMIT or ROLLBACK of a transaction that is on one server.
    fn depart_end(&mut self, message: &Buffer) -> Departure {
        let server = &mut self.servers[0].lease;
        server.unnamed = None;
        server.wire.send(message.filled());
        server.outstanding += 1;
        let shard = self.servers[0].shard;
        self.flight = Some(Flight { exchange: Exchange::simple(true), shard, came: Came::End });
        Departure::Gone
    }

    fn depart_batch(&mut self) -> Departure {
        let client = &self.client;
        let Some(len) = whole_batch(client.input.filled(), client.max_message()) else {
            return Departure::Long(None);
        };
        let bytes = self.take(len);
        let Some(items) = self.understand(bytes.filled(), &Reread::NotYet) else {
            // Back to where it was, for the schema to be read first.
            self.client.input = rejoin(bytes, std::mem::take(&mut self.client.input));
            return Departure::Long(None);
        };
        let batch = Batch { bytes, items, sync: true };
        let plain = batch.items.iter().all(is_plain) && !self.has_failed();
        let place = if plain { self.one_place(&batch) } else { None };
        match place {
            Some((shard, access)) => self.seat(shard, access, Work::Batch(batch)),
            None => Departure::Long(Some(Work::Batch(batch))),
        }
    }

    /// Finds a server for a statement, or a place in the queue for one.
    pub(super) fn seat(&mut self, shard: ShardRef, access: Access, work: Work) -> Departure {
        match self.acquire_now(shard, access) {
            Seat::Taken(index) => self.launch(index, work),
            Seat::Queued(turn) => {
                if !self.kept.is_empty() {
                    self.registration.handle.waits_in(turn.pool());
                    self.note_span();
                }
                self.registration.handle.waits(self.now);
                self.queued = Some(Queued { turn, shard, access, work });
                Departure::Gone
            }
            Seat::None => Departure::Long(Some(work)),
        }
    }

    /// Sends a statement to a server in hand, behind the BEGIN of the transaction if the server is not in it yet.
    fn launch(&mut self, index: usize, work: Work) -> Departure {
        let shard = self.servers[index].shard;
        let server = &mut self.servers[index].lease;
        let opening = self.transaction.is_some() && server.status == b'I';
        if opening {
            // It takes the place of the unnamed statement there; the client's own is another matter.
            server.unnamed = None;
            server.wire.output.extend(BEGIN);
        }
        let (exchange, came) = match work {
            Work::Simple(message, _) => {
                // A Query ends the unnamed statement.
                server.unnamed = None;
                server.wire.send(message.filled());
                server.outstanding += 1;
                (Exchange::simple(true), Came::Simple)
            }
            Work::Batch(batch) => {
                if unproven(server, &batch.items).is_some() {
                    return self.step_back(index, Work::Batch(batch));
                }
                let above = self.write_batch(index, &batch.bytes, &batch.items);
                let curable = self.transaction.is_none().then_some(above);
                (Exchange::extended(true).curable(curable), Came::Batch(batch))
            }
            Work::Quick(quick) => {
                if !self.write_quick(index, &quick) {
                    return self.step_back(index, Work::Quick(quick));
                }
                // Execute is the last.
                let curable = self.transaction.is_none().then_some(1);
                (Exchange::extended(true).curable(curable), Came::Quick(quick))
            }
            Work::Again(_) => return Departure::Long(Some(work)),
        };
        self.flight = Some(Flight { exchange: exchange.opening(opening), shard, came });
        Departure::Gone
    }

    /// A statement that has its server turns out to be for the long way. It finds the server there.
    fn step_back(&mut self, index: usize, work: Work) -> Departure {
        let server = &mut self.servers[index].lease;
        if server.status == b'I' {
            // A BEGIN that was to go out with it.
            server.wire.output.clear();
            server.outstanding = 0;
            let participant = self.servers.swap_remove(index);
            self.registration.handle.targets().clear();
            if self.needs(&participant) {
                self.lay_by(participant);
            } else {
                self.leased = Some((participant.shard, participant.lease));
            }
        }
        self.unmark_now();
        Departure::Long(Some(work))
    }

    /// Waits for the statement's turn. A client that leaves gives up its place.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<Departure, End>> {
        let Some(queued) = &mut self.queued else { return Poll::Ready(Ok(Departure::Gone)) };
        let leased = match queued.turn.poll(cx) {
            Poll::Ready(leased) => leased,
            Poll::Pending => {
                if self.proxy.stage() == Phase::Releasing && !self.is_engaged() {
                    self.queued = None;
                    return Poll::Ready(Err(End::Fatal(Reason::ShuttingDown.error())));
                }
                if let Some(error) = self.registration.handle.parted() {
                    self.queued = None;
                    self.registration.handle.waits_no_more();
                    return Poll::Ready(self.turned_away(error).map(|()| Departure::Long(None)));
                }
                ready!(poll_waiting(&mut self.client, &self.registration.handle, cx));
                self.queued = None;
                return Poll::Ready(Err(End::Client(io::ErrorKind::UnexpectedEof.into())));
            }
        };
        let Some(Queued { shard, access, work, .. }) = self.queued.take() else {
            return Poll::Ready(Ok(Departure::Gone));
        };
        self.registration.handle.waits_no_more();
        if let Ok(lease) = &leased {
            self.meter_wait(self.now, lease);
        }
        let names_hold = |lease| self.database.check_names(self.now).map(|()| lease);
        Poll::Ready(match leased.map_err(no_lease).and_then(names_hold) {
            Ok(lease) => match self.board(Participant::new(shard, lease), access) {
                Ok(index) => Ok(self.launch(index, work)),
                Err(Participant { lease, .. }) => {
                    self.leased = Some((shard, lease));
                    Ok(Departure::Long(Some(work)))
                }
            },
            Err(error) => self.turned_away(error).map(|()| Departure::Long(None)),
        })
    }

    /// There will be no server for the statement.
    fn turned_away(&mut self, error: ClientError) -> Result<(), End> {
        self.fail(Failure::Statement(error))?;
        self.ready();
        self.meter_answer(Instant::now());
        Ok(())
    }

    /// Writes items for a server, with a Sync behind them.
    /// Gives how many steps of the script there are from the first Execute on.
    pub(super) fn write_batch(&mut self, index: usize, bytes: &Buffer, items: &[Item]) -> usize {
        let executes = self.write_items(index, bytes, items);
        let tally = self.meter.tally();
        let server = &mut self.servers[index].lease;
        Writer { server, script: &mut self.script, tally }.trim();
        server.wire.output.extend(SYNC);
        server.outstanding += 1;
        executes.map_or(0, |at| self.script.len() - at)
    }

    /// Writes items for a server, with a Flush behind them: the Sync follows when they are through. Nothing else may come
    /// in between, should they begin a COPY.
    pub(super) fn write_flushed(&mut self, index: usize, bytes: &Buffer, items: &[Item]) {
        self.write_items(index, bytes, items);
        let server = &mut self.servers[index].lease;
        server.wire.output.extend(FLUSH);
        server.outstanding += 1;
    }

    /// Gives which step of the script the first Execute is.
    fn write_items(&mut self, index: usize, bytes: &Buffer, items: &[Item]) -> Option<usize> {
        let server = &mut self.servers[index].lease;
        self.script.clear();
        let tally = self.meter.tally();
        let mut writer = Writer { server, script: &mut self.script, tally };
        let mut executes_at = None;
        for item in items {
            if let (None, Item::Portal { tag: b'E', .. }) = (executes_at, item) {
                executes_at = Some(writer.script.len());
            }
            writer.item(bytes.filled(), item);
        }
        executes_at
    }

    /// The shard, if there is one without further thought.
    pub(super) fn place_now(&mut self, target: &Target) -> Option<ShardRef> {
        match target {
            Target::One(shard) => Some(*shard),
            Target::Any(group) => Some(self.any_shard(*group)),
            Target::Several(..) | Target::Everywhere(_) => None,
        }
    }

    /// The server in hand, an idle one that needs no preparation, or a place in the primary's queue.
    fn acquire_now(&mut self, shard: ShardRef, access: Access) -> Seat {
        let writes = access == Access::Write;
        if let Some(index) = self.servers.iter().position(|p| p.shard == shard) {
            // What makes a second writer is for the long way.
            let joins = writes && !self.servers[index].wrote && self.servers.iter().any(|p| p.wrote);
            if joins || !self.is_in_terms_at(index) || !self.mark_now(access) {
                return Seat::None;
            }
            self.servers[index].wrote |= writes;
            self.servers[index].locks |= access == Access::ReadPrimary;
            if !self.servers[index].asked {
                return Seat::None;
            }
            self.servers[index].lease.used_until = None;
            return Seat::Taken(index);
        }
        // The first server of a transaction; those that join later are for the long way.
        if !self.servers.is_empty() || self.transaction.as_ref().is_some_and(|t| !t.opens_plainly()) {
            return Seat::None;
        }
        if let Some(kept) = self.take_kept(shard) {
            return match self.board(kept, access) {
                Ok(index) => {
                    self.servers[index].lease.used_until = None;
                    Seat::Taken(index)
                }
                Err(kept) => {
                    self.kept.push(kept);
                    Seat::None
                }
            };
        }
        let (server, replica) = self.choose(shard, access, self.transaction.is_some());
        if !replica && self.database.shard(shard).lacks_primary() {
            return Seat::None;
        }
        let pool = self.pool(&server);
        // Whoever keeps a server has begun something that a PAUSE waits for.
        let asked = if self.kept.is_empty() { pool.ask(self.now) } else { pool.ask_engaged(self.now) };
        match asked {
            Asked::Lease(lease) => match self.board(Participant::new(shard, lease), access) {
                Ok(index) => {
                    self.meter_lease();
                    if replica {
                        self.proxy.metrics.replica_reads.inc();
                    }
                    Seat::Taken(index)
                }
                Err(Participant { lease, .. }) => {
                    self.meter_lease();
                    self.leased = Some((shard, lease));
                    Seat::None
                }
            },
            // A replica that can't be reached is passed over: that is for the long way.
            Asked::Wait(turn) if !replica => Seat::Queued(turn),
            Asked::Wait(_) | Asked::Slowly => Seat::None,
        }
    }

    /// Takes a server in hand, if the client's settings are in place there.
    fn board(&mut self, mut participant: Participant, access: Access) -> Result<usize, Participant> {
        let settled = Arc::ptr_eq(&participant.lease.settings, &self.settings);
        if !settled || !self.is_in_terms(&mut participant) || !self.mark_now(access) {
            return Err(participant);
        }
        participant.wrote = access == Access::Write;
        participant.locks = access == Access::ReadPrimary;
        self.servers.push(participant);
        let index = self.servers.len() - 1;
        self.tell(index);
        self.publish_cancel_targets();
        Ok(index)
    }

    /// Ready when the answer is through, with the batch if it is to be sent once more.
    fn poll_flight(&mut self, cx: &mut Context<'_>) -> Poll<Result<Landed, End>> {
        let Some(flight) = &mut self.flight else { return Poll::Ready(Ok(Landed::Here)) };
        let Some(index) = self.servers.iter().position(|p| p.shard == flight.shard) else {
            unreachable!("a flight's server stays in hand")
        };
        let server = &mut self.servers[index].lease;
        let handle = &self.registration.handle;
        let mut relay = Relay::new(&mut self.client, server, &mut self.script, &mut flight.exchange, handle);
        let landed = ready!(relay.poll(cx));
        let Some(Flight { came, exchange, shard }) = self.flight.take() else {
            return Poll::Ready(Ok(Landed::Here));
        };
        Poll::Ready(match (landed, came) {
            (Ok(_), came) if exchange.is_sick() => Ok(again(shard, came, exchange)),
            (Ok(outcome), Came::End) => {
                self.land_end(index, outcome);
                Ok(Landed::Here)
            }
            (Ok(outcome), came) => {
                self.land(index, outcome, &came, exchange.found().shapes);
                Ok(if outcome.error.is_some() { self.landed_badly() } else { Landed::Here })
            }
            (Err(broken), came) => {
                self.crash(index, broken, matches!(came, Came::End))?;
                Ok(self.landed_badly())
            }
        })
    }

    /// The answer is through.
    fn land(&mut self, index: usize, outcome: Outcome, came: &Came, shapes: Vec<Vec<u8>>) {
        self.answered(index);
        let failed = outcome.error.is_some();
        if failed {
            self.proxy.metrics.server_errors.inc();
        }
        let shard = self.servers[index].shard;
        let items = if let Came::Batch(batch) = came { &batch.items[..] } else { &[] };
        match came {
            Came::Simple | Came::End => {}
            Came::Quick(_) | Came::Batch(_) if failed => self.after_error(index, items),
            Came::Quick(_) | Came::Batch(_) => self.settle(items, 0),
        }
        self.told_shapes(index, items, shapes);
        self.remember_portals(shard, items);
        if let (Came::Quick(_), Some(transaction)) = (came, &mut self.transaction) {
            transaction.portals.insert(Vec::new(), shard);
        }
        self.heard(index);
        self.follow(index, outcome.status);
        if failed {
            self.give_up_unopened();
        }
        self.unmark_now();
        self.meter_answer(self.answered.unwrap_or(self.now));
        let statements =
            if let Came::Batch(_) = came { items.iter().filter(|i| is_bind(i)).count() } else { 1 };
        for _ in 0..statements {
            self.count(Tier::Single);
        }
    }

    #[cold]
    fn landed_badly(&self) -> Landed {
        if self.fails_apart() { Landed::Apart } else { Landed::Here }
    }

    /// A server that did not open the transaction has no part in it: what it were asked it would do by itself.
    #[cold]
    fn give_up_unopened(&mut self) {
        if !self.has_failed() {
            return;
        }
        if let Some(index) = self.servers.iter().position(|participant| participant.lease.status == b'I') {
            let participant = self.servers.swap_remove(index);
            self.publish_cancel_targets();
            self.lay_by(participant);
        }
    }

    /// The transaction has ended, one way or the other.
    fn land_end(&mut self, index: usize, outcome: Outcome) {
        self.answered(index);
        let end = self.answered.take().unwrap_or(self.now);
        if outcome.error.is_some() {
            self.proxy.metrics.server_errors.inc();
        }
        self.heard(index);
        self.follow(index, outcome.status);
        self.unmark_now();
        self.meter_answer(end);
        self.proxy.metrics.local();
    }

    /// The answer will not come; the client is told if it can be.
    fn crash(&mut self, index: usize, broken: Broken, ends: bool) -> Result<(), End> {
        let error = self.broken(index, broken)?;
        if ends {
            self.transaction = None;
            self.settings_changed();
        }
        self.fail(Failure::Statement(error))?;
        self.unmark_now();
        self.release();
        self.ready();
        self.meter_answer(Instant::now());
        Ok(())
    }
}

/// A batch that is to be sent once more.
fn again(shard: ShardRef, came: Came, exchange: Exchange) -> Landed {
    let Some(ailment) = exchange.found().ailment else { return Landed::Here };
    let work = match came {
        Came::Quick(quick) => Work::Quick(quick),
        Came::Batch(batch) => Work::Batch(batch),
        // These have no script, and nothing that is out of date.
        Came::Simple | Came::End => return Landed::Here,
    };
    Landed::Again(Box::new(Again { shard, work, ailment }))
}

/// Whether a text may be one that [`Session::known_place`] knows: what controls transactions never is.
fn may_be_plain(text: &str) -> bool {
    matches!(
        text.as_bytes().first(),
        Some(b's' | b'S' | b'i' | b'I' | b'u' | b'U' | b'd' | b'D' | b'w' | b'W')
    )
}

/// The bytes up to the first Sync, if they are all there and there is nothing unusual before it. A body may have up to `max`
/// bytes.
fn whole_batch(bytes: &[u8], max: usize) -> Option<usize> {
    let mut at = 0;
    loop {
        let header = frame::peek(&bytes[at..], max).ok()??;
        at += header.len;
        if at > bytes.len() {
            return None;
        }
        match header.tag {
            b'S' => return Some(at),
            b'P' | b'B' | b'D' | b'E' | b'C' => {}
            _ => return None,
        }
    }
}

/// Two runs of bytes, one behind the other.
fn rejoin(mut first: Buffer, second: Buffer) -> Buffer {
    first.extend(second.filled());
    first
}

fn is_bind(item: &Item) -> bool {
    matches!(item, Item::Bind { .. })
}

/// Whether an item asks for nothing but what a server does, and leaves nothing to be done afterwards.
fn is_plain(item: &Item) -> bool {
    match item {
        Item::Parse { statement, .. } | Item::Bind { statement, .. } => statement.plan.plain,
        Item::Portal { .. } | Item::DescribeStatement { .. } | Item::CloseStatement { .. } => true,
        Item::Fail { .. } => false,
    }
}
