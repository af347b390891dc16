//! From one server to one client: frames as bytes, from one read to one write.
//!
//! Only headers are looked at. What the client did not ask for (the answer to a Parse that was put in front) is
//! dropped, what it asked for and no server was asked (a Parse that the server had already) is put in. A client
//! that does not read stops the reading from its server; nothing is held beyond one buffer.

mod ahead;

use super::cure::{Ailment, left};
use super::limit::Limit;
use super::listed::Spliced;
use super::patience::{Sender, Streams};
use super::{End, SYNC};
use crate::handle::ClientHandle;
use crate::reply;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::prepared::StatementId;
use shardway_pool::server::ServerConn;
use shardway_pool::wire::Wire;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

/// What a message to the server will be answered with, and what becomes of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client's own.
    Forward,
    /// The client's own Describe of a statement.
    ForwardShape,
    /// The same, of which the client has heard the parameters.
    ForwardRows,
    /// The client's own Parse of the unnamed statement.
    ForwardUnnamed,
    /// The client's own Parse of a named statement.
    ForwardParse(StatementId),
    /// A Parse of ours.
    SwallowParse(StatementId),
    /// A Close of ours, of a named statement.
    SwallowClose(StatementId),
    /// A message of ours.
    Swallow,
    /// A Describe of ours, of which only a NoData is not the client's.
    SwallowNoData,
    /// The client's own Parse of a statement that the server has: it is not sent.
    KnownParse(StatementId),
    /// The client's own Close of a statement: no server is asked; this is the answer.
    Fabricate(&'static [u8]),
}

/// A copy of an answer for the cache, as long as it is one that may be kept.
#[derive(Debug, Default)]
pub struct Capture {
    /// The frames, ReadyForQuery apart.
    pub bytes: Vec<u8>,
    /// More is not kept.
    pub max: usize,
    /// An error, a notice, a changed parameter, or too much: not to be kept.
    pub spoiled: bool,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// ReadyForQuery's status.
    pub status: u8,
    /// SQLSTATE of the (first) error.
    pub error: Option<[u8; 5]>,
}

/// Why an exchange did not end.
#[derive(Debug)]
pub enum Broken {
    /// The client is gone, or said something that can't be.
    Client(End),
    /// The server is gone. `torn`: in the middle of a message, so that nothing can be said to the client any more.
    Server {
        /// What was seen.
        cause: io::Error,
        /// Whether the client got a part of a message.
        torn: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyIn {
    /// Not copying.
    No,
    /// CopyData goes to the server.
    Data,
    /// Extended protocol: on to the Sync that ends it.
    UntilSync,
}

/// How far the BEGIN is that goes before what the client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// There is none, or it is through.
    No,
    /// Its answer comes first.
    Awaited,
    /// The server opened no transaction; as the client sees it there is one, and it has failed.
    Failed,
}

/// How far one exchange is: what outlives a look at the sockets.
#[derive(Debug)]
pub struct Exchange {
    /// Whether ReadyForQuery is the client's.
    forward_ready: bool,
    /// Whether answers follow a script.
    extended: bool,
    outcome: Outcome,
    /// Bytes of a message's body that are still to be passed on.
    passing: usize,
    copy_in: CopyIn,
    /// Bytes of a client's CopyData body that are still to be passed on.
    copying: usize,
    /// Whether these bytes are not the whole message any more.
    copied_some: bool,
    /// Whether these bytes go nowhere.
    discarding: bool,
    /// Characters of the client's text in front of what the server got: positions in errors count them.
    moved: usize,
    opening: Opening,
    /// A described statement's parameters are not the client's.
    hides_parameters: bool,
    /// Whether the client has heard the parameters of the statement whose Describe comes next.
    has_parameters: bool,
    /// As long as there are more steps than this to come, nothing was executed, and a statement that is out of date on
    /// the server can be prepared again without anybody seeing it.
    curable_above: usize,
    /// A Sync is to be sent yet, when the server waits for no data of the client's any more.
    owes_sync: bool,
    /// The client has said all of its data.
    has_copied: bool,
    /// Bytes that came from the server so far.
    passed: usize,
    /// Bytes that the client copied so far.
    copied: usize,
    streams: Streams,
    /// What most have nothing of: an exchange is part of its session, and is moved as it ends.
    rare: Option<Box<Rare>>,
}

/// What few exchanges have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// The FATAL error that the server said before it closed.
    last_words: Option<String>,
    /// How the server was lost in the middle of a client's message, and whether the client got a part of one.
    lost: Option<(io::Error, bool)>,
    /// What the server's texts have that the client's have not.
    spliced: Option<Box<Spliced>>,
    /// Command tags that came, in order, where they are wanted; empty where an Execute ended without one.
    pub(super) tags: Option<Vec<String>>,
    /// What the client was told of described statements, in order: bodies of RowDescription, empty for NoData.
    pub(super) shapes: Vec<Vec<u8>>,
    /// What is out of date; the client was told nothing of it.
    pub(super) ailment: Option<Ailment>,
}

impl Exchange {
    /// A simple query's: all is the client's, but for the final ReadyForQuery if `forward_ready` is false.
    pub fn simple(forward_ready: bool) -> Self {
        Self {
            forward_ready,
            extended: false,
            outcome: Outcome::default(),
            passing: 0,
            copy_in: CopyIn::No,
            copying: 0,
            copied_some: false,
            discarding: false,
            moved: 0,
            opening: Opening::No,
            hides_parameters: false,
            has_parameters: false,
            curable_above: usize::MAX,
            owes_sync: false,
            has_copied: false,
            passed: 0,
            copied: 0,
            streams: Streams::default(),
            rare: None,
        }
    }

    /// An extended batch's, up to the Sync that was sent; its answers follow a script.
    pub fn extended(forward_ready: bool) -> Self {
        Self { extended: true, ..Self::simple(forward_ready) }
    }

    /// A BEGIN of ours goes before it, with no Sync in between: should it fail, the server skips what follows, and the
    /// client has a transaction that failed.
    #[must_use]
    pub fn opening(mut self, opening: bool) -> Self {
        self.opening = if opening { Opening::Awaited } else { Opening::No };
        self
    }

    /// Statements that are out of date are the caller's to cure, where nothing was executed before: in no transaction, with
    /// this many steps of the script from the first Execute on.
    #[must_use]
    pub fn curable(mut self, above: Option<usize>) -> Self {
        self.curable_above = above.unwrap_or(usize::MAX);
        self
    }

    /// No Sync was sent behind it: it is sent when all is answered, or a COPY that began has got its data. The client's
    /// messages behind that data are not touched.
    #[must_use]
    pub fn owing_sync(mut self) -> Self {
        self.owes_sync = true;
        self
    }

    /// Notes the tags that come.
    #[must_use]
    pub fn telling_tags(mut self, tells: bool) -> Self {
        if tells {
            self.rare().tags = Some(Vec::new());
        }
        self
    }

    /// Errors' positions count from this many characters earlier.
    #[must_use]
    pub fn moving(mut self, characters: usize) -> Self {
        self.moved = characters;
        self
    }

    /// Errors' positions count in texts that have something put in.
    #[must_use]
    pub(super) fn splicing(mut self, spliced: Option<Box<Spliced>>) -> Self {
        if spliced.is_some() {
            self.rare().spliced = spliced;
        }
        self
    }

    /// Whether they do.
    pub(super) fn is_spliced(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.spliced.is_some())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether what is out of date has come up.
    pub(super) fn is_sick(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.ailment.is_some())
    }

    fn is_cut_short(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.lost.is_some())
    }

    fn tells_tags(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.tags.is_some())
    }

    /// What it came to, but for its outcome.
    pub(super) fn found(self) -> Rare {
        self.rare.map(|rare| *rare).unwrap_or_default()
    }

    /// A described statement has no parameters, whatever the server says.
    #[must_use]
    pub fn hiding_parameters(mut self, hides: bool) -> Self {
        self.hides_parameters = hides;
        self
    }
}

/// One exchange at work; see the module.
pub struct Relay<'a> {
    client: &'a mut Wire,
    server: &'a mut ServerConn,
    script: &'a mut VecDeque<Step>,
    at: &'a mut Exchange,
    handle: &'a ClientHandle,
    capture: Option<&'a mut Capture>,
}

/// SQLSTATE query_canceled.
pub(super) const CANCELED: &[u8; 5] = b"57014";

/// Input that a client may send ahead while its statement runs.
pub(super) const MAX_AHEAD: usize = 256 * 1024;

impl<'a> Relay<'a> {
    /// Goes on with an exchange; `handle` is the client's.
    pub fn new(
        client: &'a mut Wire,
        server: &'a mut ServerConn,
        script: &'a mut VecDeque<Step>,
        at: &'a mut Exchange,
        handle: &'a ClientHandle,
    ) -> Self {
        Self { client, server, script, at, handle, capture: None }
    }

    /// Copies the answer on its way.
    #[must_use]
    pub fn capturing(mut self, capture: Option<&'a mut Capture>) -> Self {
        self.capture = capture;
        self
    }

    fn keep(&mut self, n: usize) {
        let Some(capture) = &mut self.capture else { return };
        let bytes = &self.server.wire.input.filled()[..n];
        if capture.bytes.len() + n > capture.max {
            capture.spoiled = true;
        }
        if !capture.spoiled {
            capture.bytes.extend_from_slice(bytes);
        }
    }

    /// Runs to ReadyForQuery, but no longer than `limit`.
    pub(super) async fn run_within(self, limit: Limit) -> Result<Outcome, Broken> {
        limit.within(self.run()).await.unwrap_or_else(|late| Err(Broken::Client(late)))
    }

    /// Runs to ReadyForQuery.
    pub async fn run(mut self) -> Result<Outcome, Broken> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Passes on what there is; ready at ReadyForQuery.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Broken>> {
        let mut polled = if self.at.is_cut_short() { self.poll_rest(cx) } else { self.poll_on(cx) };
        if polled.is_pending() {
            return polled;
        }
        if self.at.copied_some {
            polled = self.poll_after_copy(polled, cx);
        }
        if self.at.streams.any() && polled.is_ready() {
            // However it ended, nobody waits for much any more.
            self.at.streams.end(&self.server.wire.stream, &self.client.stream);
        }
        polled
    }

    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Broken>> {
        loop {
            if self.at.owes_sync {
                self.pay_sync();
            }
            let to_server = self.server.wire.poll_flush(cx).map_err(|cause| self.server_gone(cause))?;
            match self.client.poll_flush(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(Broken::Client(End::Client(e)))),
                // The client does not read: neither do we.
                Poll::Pending => {
                    let _ = self.poll_client(cx)?;
                    return Poll::Pending;
                }
            }
            // A COPY may end in the middle of a message from the client: the server is owed its rest.
            if self.at.outcome.status != 0 && self.at.copying == 0 && self.server.wire.output.is_empty() {
                return Poll::Ready(Ok(self.at.outcome));
            }
            // The server first: most often what it says is the end, and the client need not be looked at.
            match self.server.wire.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(self.server_gone(io::ErrorKind::UnexpectedEof.into())));
                }
                Poll::Ready(Ok(n)) => {
                    self.at.passed = self.at.passed.saturating_add(n);
                    self.pass()?;
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(self.server_gone(e))),
                Poll::Pending => {
                    let from_client = self.poll_client(cx)?;
                    if from_client.is_pending() || to_server.is_pending() {
                        self.at.streams.wait(cx, Sender::Server, &self.server.wire.stream, self.at.passed);
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn server_gone(&self, cause: io::Error) -> Broken {
        let words = self.at.rare.as_ref().and_then(|rare| rare.last_words.clone());
        let cause = words.map_or(cause, io::Error::other);
        Broken::Server { cause, torn: self.at.passing > 0 }
    }

    fn malformed(&self) -> Broken {
        self.server_gone(io::Error::new(io::ErrorKind::InvalidData, "the server broke the protocol"))
    }

    /// Passes on what has been read from the server.
    fn pass(&mut self) -> Result<(), Broken> {
        let scanned = self.scan();
        self.client.is_midway = self.at.passing > 0;
        let (run, used) = scanned?;
        if run > 0 {
            self.keep(run);
            self.client.send(&self.server.wire.input.filled()[..run]);
        }
        self.server.wire.input.consume(used);
        Ok(())
    }

    /// Walks over the frames in the server's input. Gives how many bytes at its start are to be written as they
    /// are, and how many are done with. When something in between must be dropped or put in, everything before is
    /// moved to the client's output first and the input consumed, so that a run always starts at the front.
    fn scan(&mut self) -> Result<(usize, usize), Broken> {
        let mut at = 0;
        loop {
            let input = &self.server.wire.input.filled()[at..];
            if self.at.passing > 0 {
                let n = self.at.passing.min(input.len());
                self.at.passing -= n;
                at += n;
                if self.at.passing > 0 {
                    return Ok((at, at));
                }
                continue;
            }
            let header = match frame::peek(input, self.client.max_message()) {
                Ok(Some(header)) => header,
                Ok(None) => return Ok((at, at)),
                Err(_) => {
                    self.stage(at);
                    return Err(self.malformed());
                }
            };
            let whole = header.len <= input.len();
            if !whole {
                if !matches!(header.tag, b'D' | b'd') {
                    return Ok((at, at));
                }
                // A row or a piece of COPY: passed on as it comes.
                self.at.passing = header.len;
                continue;
            }
            let looked = self.look(header.tag, at, header.len);
            if looked.is_err() {
                // What came before is the client's, be it the rest of a row: an error is told behind it.
                self.stage(at);
            }
            match looked? {
                Keep::Yes => at += header.len,
                Keep::Drop => {
                    self.stage(at);
                    self.server.wire.input.consume(header.len);
                    at = 0;
                }
                Keep::Before(bytes) => {
                    self.stage(at);
                    at = 0;
                    if let Some(capture) = &mut self.capture {
                        capture.bytes.extend_from_slice(bytes);
                    }
                    self.client.output.extend(bytes);
                }
                Keep::Instead(bytes) => {
                    self.stage(at);
                    self.server.wire.input.consume(header.len);
                    at = 0;
                    frame::put(&mut self.client.output, header.tag, &bytes);
                }
            }
            if self.at.outcome.status != 0 {
                return Ok((at, at));
            }
        }
    }

    /// Moves the first `n` bytes of the server's input to the client's output.
    fn stage(&mut self, n: usize) {
        if n > 0 {
            self.keep(n);
            self.client.output.extend(&self.server.wire.input.filled()[..n]);
        }
        self.server.wire.input.consume(n);
    }

    /// Looks at a whole message.
    fn look(&mut self, tag: u8, at: usize, len: usize) -> Result<Keep, Broken> {
        if let (b'E' | b'N' | b'A' | b'S' | b'G' | b'H' | b'W', Some(capture)) = (tag, &mut self.capture) {
            capture.spoiled = true;
        }
        if self.at.opening == Opening::Awaited && !matches!(tag, b'S' | b'N' | b'A') {
            return self.look_at_opening(tag, at, len);
        }
        let body = &self.server.wire.input.filled()[at + HEADER..at + len];
        match tag {
            b'D' | b'd' | b'N' => Ok(Keep::Yes),
            // Where something else is due first it is looked at again.
            b'C' | b's' | b'I' if self.at.tells_tags() && !(self.at.extended && self.is_due()) => {
                let tag_text = if tag == b'C' { frame::cstr(body).map(|(text, _)| text) } else { None };
                let text = String::from_utf8_lossy(tag_text.unwrap_or_default()).into_owned();
                self.at.rare().tags.get_or_insert_default().push(text);
                Ok(if self.at.extended { self.completes(tag) } else { Keep::Yes })
            }
            // Nobody listens on a server that others will have: a function did it, for a client that is gone.
            b'A' => Ok(Keep::Drop),
            // It comes before the answer that Describe is done with, and behind what was asked for before it.
            b't' if !self.at.has_parameters && self.script.front() == Some(&Step::ForwardShape) => {
                self.at.has_parameters = true;
                self.look(tag, at, len)
            }
            b't' if matches!(self.script.front(), Some(Step::Swallow | Step::ForwardRows)) => Ok(Keep::Drop),
            b't' if self.at.hides_parameters && !self.is_due() => Ok(Keep::Instead(vec![0, 0])),
            b't' => Ok(self.due().map_or(Keep::Yes, Keep::Before)),
            b'Z' => match *body {
                [status @ (b'I' | b'T' | b'E')] => Ok(self.ready(status)),
                _ => Err(self.malformed()),
            },
            b'E' => {
                if self.at.extended
                    && let Some(bytes) = self.due()
                {
                    return Ok(Keep::Before(bytes));
                }
                let body = &self.server.wire.input.filled()[at + HEADER..at + len];
                if let Some(b"FATAL" | b"PANIC") = frame::error_field(body, b'V') {
                    // It ends that server's connection, not the client's: its end is due next, and told with this.
                    let words = frame::error_field(body, b'M').unwrap_or_default();
                    self.at.rare().last_words = Some(String::from_utf8_lossy(words).into_owned());
                    return Ok(Keep::Drop);
                }
                let code = frame::error_field(body, b'C').and_then(|c| c.first_chunk::<5>()).copied();
                let first = self.at.outcome.error.is_none();
                self.at.outcome.error.get_or_insert(code.unwrap_or(*b"XX000"));
                if first
                    && self.script.len() > self.at.curable_above
                    && let Some(ailment) = Ailment::of(body, self.at.has_parameters)
                {
                    self.at.rare().ailment = Some(ailment);
                    return Ok(Keep::Drop);
                }
                if self.at.copy_in == CopyIn::Data {
                    self.at.copy_in = self.after_copy();
                }
                Ok(if let Some(instead) = self.verdict(code) {
                    Keep::Instead(instead)
                } else if self.at.moved > 0 || self.at.is_spliced() {
                    let body = &self.server.wire.input.filled()[at + HEADER..at + len];
                    let spliced = self.at.rare.as_ref().and_then(|rare| rare.spliced.as_ref());
                    let located = spliced.map(|s| s.located(body, left(self.script)));
                    Keep::Instead(move_position(located.as_deref().unwrap_or(body), self.at.moved))
                } else {
                    Keep::Yes
                })
            }
            b'S' => {
                let body = body.to_vec();
                self.server.parameters.report(&body).ok_or_else(|| self.malformed())?;
                self.server.reported = true;
                Ok(Keep::Yes)
            }
            b'G' => {
                self.at.copy_in = CopyIn::Data;
                Ok(Keep::Yes)
            }
            b'T' | b'n' if matches!(self.script.front(), Some(Step::ForwardShape | Step::ForwardRows)) => {
                let shape = if tag == b'T' { body.to_vec() } else { Vec::new() };
                self.at.rare().shapes.push(shape);
                self.at.has_parameters = false;
                self.script.pop_front();
                Ok(Keep::Yes)
            }
            b'1' | b'2' | b'3' | b'n' | b'T' | b'C' | b's' | b'I' if self.at.extended => {
                Ok(self.completes(tag))
            }
            _ => Ok(Keep::Yes),
        }
    }

    /// What the client is told in place of this error, if the server was cancelled for a reason of ours.
    fn verdict(&mut self, code: Option<[u8; 5]>) -> Option<Vec<u8>> {
        let verdict = code.filter(|code| code == CANCELED).and_then(|_| self.handle.takes_verdict())?;
        self.at.outcome.error = verdict.code.as_bytes().first_chunk().copied();
        verdict.body.map(Vec::from)
    }

    /// Looks at a message of the answer to our own BEGIN.
    fn look_at_opening(&mut self, tag: u8, at: usize, len: usize) -> Result<Keep, Broken> {
        match tag {
            b'1' | b'2' => Ok(Keep::Drop),
            b'C' => {
                self.at.opening = Opening::No;
                Ok(Keep::Drop)
            }
            b'E' => {
                self.at.opening = Opening::Failed;
                if !self.at.extended {
                    // It skips all up to a Sync, a Query too. A batch has one.
                    self.server.wire.output.extend(SYNC);
                }
                self.look(tag, at, len)
            }
            _ => Err(self.malformed()),
        }
    }

    /// A message of the script is answered.
    fn completes(&mut self, tag: u8) -> Keep {
        if let Some(bytes) = self.due() {
            return Keep::Before(bytes);
        }
        match self.script.front().copied() {
            Some(Step::Swallow | Step::SwallowParse(_) | Step::SwallowClose(_)) => {
                self.script.pop_front();
                Keep::Drop
            }
            Some(Step::SwallowNoData) => {
                self.script.pop_front();
                if tag == b'n' { Keep::Drop } else { Keep::Yes }
            }
            Some(Step::Forward | Step::ForwardUnnamed | Step::ForwardParse(_)) => {
                self.script.pop_front();
                Keep::Yes
            }
            _ => Keep::Yes,
        }
    }

    fn is_due(&self) -> bool {
        matches!(self.script.front(), Some(Step::Fabricate(_) | Step::KnownParse(_)))
    }

    /// What the client is to get before anything else of the server's.
    fn due(&mut self) -> Option<&'static [u8]> {
        let bytes = match self.script.front()? {
            Step::Fabricate(bytes) => bytes,
            Step::KnownParse(_) => reply::PARSE_COMPLETE,
            _ => return None,
        };
        self.script.pop_front();
        Some(bytes)
    }

    fn ready(&mut self, status: u8) -> Keep {
        // After an error the rest of the script was skipped; it is left for who wrote it.
        if self.at.outcome.error.is_none()
            && let Some(bytes) = self.due()
        {
            return Keep::Before(bytes);
        }
        self.server.status = status;
        self.server.outstanding = self.server.outstanding.saturating_sub(1);
        let told = if self.at.opening == Opening::Failed { b'E' } else { status };
        self.at.outcome.status = told;
        match self.at.forward_ready && !self.at.is_sick() {
            true if told == status => Keep::Yes,
            true => Keep::Instead(vec![told]),
            false => Keep::Drop,
        }
    }
}

/// What becomes of a message.
enum Keep {
    /// It is the client's.
    Yes,
    /// It is not.
    Drop,
    /// These bytes come first; then it is looked at again.
    Before(&'static [u8]),
    /// Another body is in its place.
    Instead(Vec<u8>),
}

/// An ErrorResponse's body with its position so many characters further on.
pub(super) fn move_position(body: &[u8], characters: usize) -> Vec<u8> {
    let mut moved = Vec::with_capacity(body.len() + 4);
    for field in body.split_inclusive(|&byte| byte == 0) {
        match position_in(field) {
            Some(position) => {
                let position = position.saturating_add(characters);
                moved.extend_from_slice(format!("P{position}\0").as_bytes());
            }
            None => moved.extend_from_slice(field),
        }
    }
    moved
}

/// The position that a field of an ErrorResponse says, if it is one that does.
pub(super) fn position_in(field: &[u8]) -> Option<usize> {
    let digits = field.strip_prefix(b"P")?.strip_suffix(b"\0")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Waits until all that the client was promised is written.
pub async fn flush(client: &mut Wire) -> Result<(), End> {
    poll_fn(|cx| {
        ready!(client.poll_flush(cx))?;
        Poll::Ready(Ok(()))
    })
    .await
    .map_err(End::Client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_moves_and_all_else_stays() {
        let body = b"SERROR\0P12\0Mno\0\0";
        assert_eq!(move_position(body, 3), b"SERROR\0P15\0Mno\0\0");
    }

    #[test]
    fn an_error_that_breaks_the_protocol_is_passed_on_as_it_came() {
        for body in [&b"P"[..], b"SERROR\0P", b"P12", b"P\0", b"Px\0\0", b"P-1\0\0", b"", b"\0"] {
            assert_eq!(move_position(body, 3), body);
        }
        let far = format!("P{}\0", usize::MAX);
        assert_eq!(move_position(far.as_bytes(), 3), far.as_bytes());
    }
}
