//! Reading what shards answer to a write, all of them at once, as it comes.
//!
//! Rows of UPDATE and DELETE have no order. Those of INSERT come in the order of VALUES: row i is the next one of the shard
//! that it went to. That is exact where no row can be left out. Where ON CONFLICT or a trigger may leave rows out, each row
//! brings its key, and is taken for the next row of its shard with this key: among rows of one key, which are of one
//! shard, it is not known which was left out, so that the order against rows of other shards may differ from one
//! Postgres's; the rows never do.
//!
//! What is held is one row of each shard; a shard that is ahead waits in its socket.

use super::super::queued::poll_waiting;
use super::super::relay::{move_position, position_in};
use super::super::scatter::{FLUSH_AT, broken_row};
use super::super::servers::Participant;
use super::super::simple::Failure;
use super::super::{End, Session};
use super::Write;
use super::counts::Counts;
use super::moved::Movers;
use super::wording::Worded;
use crate::error::ClientError;
use crate::merge;
use crate::reply;
use crate::schema::ShardRef;
use shardway_pool::frame::{self, FrameError, HEADER};
use shardway_shardmap::{KeyType, KeyValue, ParamType, Use};
use std::collections::hash_map::DefaultHasher;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

/// In which order rows go to the client.
pub(super) enum Order {
    /// As they come.
    Any,
    /// By their rows of VALUES, none of which is left out.
    Rows,
    /// By these keys of the rows of VALUES, of this type.
    Keys(Vec<Option<String>>, KeyType),
}

/// A shard's answer, as far as it has been read.
pub(super) struct Place {
    /// The server's index.
    pub(super) index: usize,
    worded: Arc<Worded>,
    /// Its rows of VALUES, and how many of them are behind it.
    rows: Vec<usize>,
    next: usize,
    /// A row that waits for its turn: its length, and its row of VALUES.
    head: Option<(usize, usize)>,
    /// ReadyForQueries that are still to come, and how many of them are of queries of ours in front.
    due: u32,
    ours: u32,
    written: u64,
    /// Of the compared columns of all rows, whatever their order.
    sum: u64,
}

impl Place {
    pub(super) fn new(index: usize, worded: Arc<Worded>) -> Self {
        Self { index, worded, rows: Vec::new(), next: 0, head: None, due: 1, ours: 0, written: 0, sum: 0 }
    }

    pub(super) fn with_rows(self, rows: Vec<usize>) -> Self {
        Self { rows, ..self }
    }

    /// Behind another Query of ours.
    pub(super) fn asked_twice(self) -> Self {
        Self { due: 2, ours: 1, ..self }
    }

    /// Of a Query of ours alone.
    pub(super) fn of_ours(self) -> Self {
        Self { ours: 1, ..self }
    }
}

/// The answers of shards that were asked.
pub(super) struct Answers<'a> {
    places: Vec<Place>,
    order: Order,
    /// Columns of the rows that are not the client's.
    pub(super) hidden: usize,
    /// Whether the client is told nothing: it was told by another shard.
    pub(super) is_silent: bool,
    /// Who looks at every row's hidden columns.
    pub(super) movers: Option<&'a mut Movers>,
    /// Who adds up rows of counts, and the formats that they are in.
    pub(super) counts: Option<(&'a mut Counts, &'a [u8])>,
    pub(super) describes: bool,
    /// Whether the client gets rows.
    pub(super) returns: bool,
    text: &'a str,
    table: &'a str,
}

impl<'a> Answers<'a> {
    pub(super) fn new(write: &Write<'a>, places: Vec<Place>, order: Order) -> Self {
        let (describes, returns) = (write.describes(), write.spread.returns);
        Self {
            places,
            order,
            hidden: 0,
            is_silent: false,
            movers: None,
            counts: None,
            describes,
            returns,
            text: write.text,
            table: &write.spread.table.name,
        }
    }

    /// Of each shard, the rows written and a sum over those that are compared.
    pub(super) fn sums(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.places.iter().map(|place| (place.written, place.sum))
    }

    /// The answer whose row is the next to be given, if that is known and the row is there.
    fn ready(&self) -> Option<usize> {
        if self.describes {
            return None;
        }
        let waiting = |place: &Place| place.due > 0 || place.head.is_some();
        match &self.order {
            Order::Any => self.places.iter().position(|place| place.head.is_some()),
            Order::Rows => {
                let alive = self.places.iter().enumerate().filter(|(_, place)| waiting(place));
                let next = |place: &Place| place.rows.get(place.next).copied().unwrap_or(usize::MAX);
                let (first, place) = alive.min_by_key(|(_, place)| next(place))?;
                place.head.map(|_| first)
            }
            Order::Keys(..) => {
                let alive = || self.places.iter().enumerate().filter(|(_, place)| waiting(place));
                if alive().any(|(_, place)| place.head.is_none()) {
                    return None;
                }
                alive().min_by_key(|(_, place)| place.head.map(|(_, row)| row)).map(|(first, _)| first)
            }
        }
    }

    /// Notes a row that is there.
    fn row(&mut self, at: usize, body: &[u8], len: usize) -> Result<(), ClientError> {
        let place = &mut self.places[at];
        let mut row = place.rows.get(place.next).copied().unwrap_or(usize::MAX);
        if self.hidden > 0 {
            let cut = merge::cut(body, self.hidden).ok_or_else(broken_row)?;
            place.sum = place.sum.wrapping_add(hash(&cut.hidden));
            if let Some(movers) = &mut self.movers {
                movers.row(at, &cut.hidden)?;
            }
            if let Order::Keys(keys, key_type) = &self.order {
                let key = cut.hidden.first().copied().flatten().and_then(|key| canonical(*key_type, key));
                let same = |&&row: &&usize| keys.get(row).is_some_and(|own| own.is_some() && *own == key);
                let found = place.rows[place.next..].iter().position(|row| same(&row));
                place.next += found.ok_or_else(|| other_key(self.table))?;
                row = place.rows.get(place.next).copied().unwrap_or(usize::MAX);
            }
        }
        place.next += 1;
        place.head = Some((HEADER + len, row));
        // In this order the next row is not looked at before this one is given.
        if matches!(self.order, Order::Rows) {
            place.next -= 1;
        }
        Ok(())
    }
}

/// A key as keys are compared, of the text that Postgres gives of it.
fn canonical(key_type: KeyType, text: &[u8]) -> Option<String> {
    match key_type.read_text_as(ParamType::Column, text, Use::Store) {
        KeyValue::Key(key) => Some(key.to_string()),
        _ => None,
    }
}

/// A row came out with a key that was not given.
fn other_key(table: &str) -> ClientError {
    let message = format!(
        "a row of \"{table}\" was stored with another sharding key than the one that it was routed by"
    );
    ClientError::error("0A000", message).hint("Let no trigger change the sharding key.")
}

/// Looks at a row that a query of ours gives: it is empty, or says what would have to be so (`wording::EXACT`).
pub(super) fn check_ours(row: &[u8]) -> Result<(), ClientError> {
    let value = frame::i16(row).and_then(|(_, rest)| frame::i32(rest));
    let what = value.and_then(|(length, rest)| rest.get(..usize::try_from(length).ok()?)).unwrap_or_default();
    if what.is_empty() {
        return Ok(());
    }
    let what = String::from_utf8_lossy(what);
    let message = format!("this write brings rows to other shards as text, which takes {what}");
    Err(ClientError::error("0A000", message).hint("SET it so for this session or transaction."))
}

/// A hash of values, the same for the same ones.
pub(super) fn hash(values: &[Option<&[u8]>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    hasher.finish()
}

/// What came of an answer: rows written, and a sum over those that are compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected(pub(super) Vec<(u64, u64)>);

impl Collected {
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(written, _)| written).sum()
    }

    pub(super) fn of_first(&self) -> u64 {
        self.0.first().map_or(0, |(written, _)| *written)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Errors: the shards, in this order, did not write the same rows.
    pub(super) fn check(&self, table: &str, shards: &[ShardRef]) -> Result<(), ClientError> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let other = self.0.iter().zip(shards).find(|(one, _)| *one != first);
        let (Some((one, shard)), Some(home)) = (other, shards.first()) else { return Ok(()) };
        let (home, shard) = (home.shard, shard.shard);
        let what = if one.0 == first.0 {
            format!("the rows written on shard {shard} are not those written on shard {home}")
        } else {
            format!("shard {home} wrote {} rows, shard {shard} wrote {}", first.0, one.0)
        };
        let message = format!("the copies of reference table \"{table}\" differ: {what}");
        let hint = "Nothing was written. Compare the table's rows on these shards; triggers must come to the same on each.";
        Err(ClientError::error("XX000", message).hint(hint))
    }
}

/// What a look at all sockets found.
enum Heard {
    /// A whole message: whose, its tag and its body's length.
    Message(usize, u8, usize),
    /// A server is gone.
    Lost(usize, io::Error),
    /// The client is.
    Gone,
}

impl Session {
    /// Reads all answers to their end, gives the client its rows, and leaves every server ready.
    pub(super) async fn collected(
        &mut self,
        servers: &[usize],
        mut answers: Answers<'_>,
    ) -> Result<Collected, Failure> {
        let limit = self.statement_limit();
        let done = limit.within(self.collect(&mut answers)).await;
        let done = done.unwrap_or_else(|late| Err(late.into()));
        let drained = self.settle_servers(servers, &done).await;
        done?;
        drained?;
        Ok(Collected(answers.sums().collect()))
    }

    pub(super) async fn collect(&mut self, answers: &mut Answers<'_>) -> Result<(), Failure> {
        for place in &answers.places {
            let server = &mut self.servers[place.index].lease;
            if let Err(e) = server.wire.flush().await {
                return Err(self.lost(place.index, &e));
            }
        }
        let mut from = 0;
        loop {
            while let Some(at) = answers.ready() {
                self.give(answers, at).await?;
                from = at;
            }
            if answers.places.iter().all(|place| place.due == 0 && place.head.is_none()) {
                return Ok(());
            }
            let (servers, client) = (&mut self.servers[..], &mut self.client);
            let handle = &self.registration.handle;
            let heard = poll_fn(|cx| match poll_heard(cx, servers, &answers.places, from) {
                Poll::Pending => poll_waiting(client, handle, cx).map(|()| Heard::Gone),
                heard => heard,
            });
            match heard.await {
                Heard::Message(at, tag, len) => {
                    from = at;
                    self.take_answer(answers, at, tag, len)?;
                }
                Heard::Lost(at, cause) => return Err(self.lost(answers.places[at].index, &cause)),
                Heard::Gone => return Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into()),
            }
        }
    }

    /// A server went away in the middle of its answer.
    pub(super) fn lost(&mut self, index: usize, cause: &io::Error) -> Failure {
        let server = &mut self.servers[index].lease;
        let error = server.lost(cause);
        server.outstanding = server.outstanding.max(1);
        if let Some(transaction) = &mut self.transaction {
            (transaction.failed, transaction.lost) = (true, true);
        }
        ClientError::from(error).into()
    }

    /// Takes in a message of an answer.
    fn take_answer(
        &mut self,
        answers: &mut Answers<'_>,
        at: usize,
        tag: u8,
        len: usize,
    ) -> Result<(), Failure> {
        let server = &mut self.servers[answers.places[at].index].lease;
        let body = server.wire.body(len);
        let is_ours = answers.places[at].ours > 0;
        match tag {
            b'E' => {
                let failure = located(body, &answers.places[at].worded, answers.text, self.moved);
                server.wire.consume_message(len);
                self.proxy.metrics.server_errors.inc();
                return Err(Failure::ServerError(failure));
            }
            b'Z' => {
                server.status = body.first().copied().unwrap_or(b'E');
                server.outstanding -= 1;
                answers.places[at].due -= 1;
                answers.places[at].ours = answers.places[at].ours.saturating_sub(1);
            }
            b'S' => {
                let body = body.to_vec();
                server.parameters.report(&body);
                server.reported = true;
            }
            b'N' if !answers.is_silent => frame::put(&mut self.client.output, b'N', body),
            b'D' if is_ours => check_ours(body)?,
            _ if is_ours => {}
            b'D' if answers.counts.is_some() => {
                if let Some((counts, formats)) = &mut answers.counts {
                    counts.add(body, formats)?;
                }
            }
            b'D' if answers.returns || answers.hidden > 0 => {
                if answers.returns && !answers.is_silent {
                    return answers.row(at, body, len).map_err(Failure::from);
                }
                if answers.hidden > 0 {
                    let cut = merge::cut(body, answers.hidden).ok_or_else(broken_row)?;
                    answers.places[at].sum = answers.places[at].sum.wrapping_add(hash(&cut.hidden));
                    if let Some(movers) = &mut answers.movers {
                        movers.row(at, &cut.hidden)?;
                    }
                }
            }
            b'T' if at == 0 && answers.describes => {
                if !answers.is_silent {
                    if answers.returns {
                        let visible =
                            merge::strip_description(body, answers.hidden).ok_or_else(broken_row)?;
                        frame::put(&mut self.client.output, b'T', &visible);
                    } else {
                        self.client.output.extend(reply::NO_DATA);
                    }
                }
                answers.describes = false;
            }
            b'n' if at == 0 && answers.describes => {
                if !answers.is_silent {
                    self.client.output.extend(reply::NO_DATA);
                }
                answers.describes = false;
            }
            b'C' => answers.places[at].written += rows_of(body),
            _ => {}
        }
        server.wire.consume_message(len);
        Ok(())
    }

    /// Gives the client the row that waits.
    async fn give(&mut self, answers: &mut Answers<'_>, at: usize) -> Result<(), Failure> {
        let place = &mut answers.places[at];
        let Some((len, _)) = place.head.take() else { return Ok(()) };
        if matches!(answers.order, Order::Rows) {
            place.next += 1;
        }
        let input = &mut self.servers[place.index].lease.wire.input;
        put_visible(&mut self.client.output, &input.filled()[..len], answers.hidden)?;
        input.consume(len);
        if self.client.output.len() >= FLUSH_AT {
            self.flush_rows().await?;
        }
        Ok(())
    }
}

/// Writes a row without its hidden columns.
pub(super) fn put_visible(
    out: &mut shardway_pool::buffer::Buffer,
    row: &[u8],
    hidden: usize,
) -> Result<(), ClientError> {
    if hidden == 0 {
        out.extend(row);
        return Ok(());
    }
    let row = merge::cut(&row[HEADER..], hidden).ok_or_else(broken_row)?;
    out.push(b'D');
    out.extend(&(row.bytes.len() as u32 + 6).to_be_bytes());
    out.extend(&row.visible.to_be_bytes());
    out.extend(row.bytes);
    Ok(())
}

/// Looks for a message among the answers that are not held back, beginning with one of them.
fn poll_heard(
    cx: &mut Context<'_>,
    servers: &mut [Participant],
    places: &[Place],
    from: usize,
) -> Poll<Heard> {
    for n in 0..places.len() {
        let at = (from + n) % places.len();
        let place = &places[at];
        if place.due == 0 || place.head.is_some() {
            continue;
        }
        let wire = &mut servers[place.index].lease.wire;
        loop {
            match frame::first(wire.input.filled(), frame::MAX_MESSAGE) {
                Ok(Some((tag, body))) => return Poll::Ready(Heard::Message(at, tag, body.len())),
                Ok(None) => {}
                Err(FrameError::Length(_)) => {
                    let cause = io::Error::new(io::ErrorKind::InvalidData, "invalid message length");
                    return Poll::Ready(Heard::Lost(at, cause));
                }
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Heard::Lost(at, io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(cause)) => return Poll::Ready(Heard::Lost(at, cause)),
                Poll::Pending => break,
            }
        }
    }
    Poll::Pending
}

/// The rows that a command tag counts.
pub(super) fn rows_of(tag: &[u8]) -> u64 {
    let text = std::str::from_utf8(tag.strip_suffix(b"\0").unwrap_or(tag)).unwrap_or_default();
    text.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A server's error with its position, if it has one, in the client's own text.
pub(super) fn located(body: &[u8], worded: &Worded, text: &str, moved: usize) -> Vec<u8> {
    let mut located = Vec::with_capacity(body.len());
    for field in body.split_inclusive(|&byte| byte == 0) {
        match position_in(field) {
            Some(at) => {
                located.extend_from_slice(format!("P{}\0", worded.woven.position(text, at)).as_bytes());
            }
            None => located.extend_from_slice(field),
        }
    }
    move_position(&located, moved)
}
