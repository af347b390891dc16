//! What passes between a server and whoever talks to it, put in the other side's terms.
//!
//! A door follows the protocol as far as it must: which answer belongs to which message, and so which rows are of which
//! columns. Messages are changed where they stand and keep their lengths. A message that has to be changed is let through
//! when it is whole; all others pass as they come.
//!
//! Rows in binary are of the statement's columns: where nobody has asked the server what these are, the door asks, in
//! front of the Bind, and keeps the answer to itself. Parameters are of the types that were declared; where they were not,
//! and a value may have an id in it that differs, the Bind waits until the server has said what it takes them for.

mod asked;
mod bind;
mod copied;

use super::Oids;
use crate::buffer::Buffer;
use crate::frame::{self, HEADER, Header};
use asked::{Asked, Columns, Portal, Statement};
use bind::{Bind, First};
use copied::Copied;
use fnv::FnvHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The Flush message.
const FLUSH: &[u8] = b"H\0\0\0\x04";

/// Between one server and whoever talks to it.
#[derive(Debug, Default)]
pub struct Door {
    oids: Arc<Oids>,
    /// Read from the server, and not let in yet.
    pub(crate) outside: Buffer,
    /// Bytes of a message that are let in as they come.
    admitting: usize,
    /// Bytes at the start of the output that have been looked at.
    pub(crate) checked: usize,
    /// Bytes of a message that are let out as they come.
    passing: usize,
    /// What the server owes answers to.
    asked: VecDeque<Asked>,
    statements: FnvHashMap<Box<[u8]>, Arc<Statement>>,
    portals: FnvHashMap<Box<[u8]>, Arc<Portal>>,
    /// Of the rows that a Query gives.
    columns: Columns,
    /// The COPY in binary that is about to begin, or runs.
    copied: Option<Copied>,
    /// Bytes of a client's CopyData that are still to be taken.
    copying: usize,
    /// After an error, the server passes over everything up to a Sync.
    skips: bool,
    /// The statement whose parameters have to be known before anything else goes out.
    awaits: Option<Arc<Statement>>,
}

/// What becomes of a message from the server.
enum Heard {
    /// It passes, as its bytes come.
    Pass,
    /// It must be whole first.
    Await,
    /// It is whole, and passes.
    Done,
    /// It is nobody's but the door's.
    Drop,
}

impl Door {
    /// One that lays these ids side by side.
    pub fn new(oids: Arc<Oids>) -> Self {
        Self { oids, ..Self::default() }
    }

    /// What it lays side by side.
    pub fn oids(&self) -> &Arc<Oids> {
        &self.oids
    }

    /// From here on it is this.
    pub fn set(&mut self, oids: Arc<Oids>) {
        self.oids = oids;
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.outside.is_empty() && self.passing == 0
    }

    /// A COPY in binary is to begin, of columns of these types, in the client's terms.
    pub fn expect_copy(&mut self, types: Box<[u32]>) {
        self.copied = Copied::of(types, &self.oids);
    }

    /// The server has given up its statements.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
    }

    /// Lets in what has been read, up to a message that is not whole and has to be.
    pub fn admit(&mut self, input: &mut Buffer) {
        let mut at = 0;
        while at < self.outside.len() {
            if self.admitting > 0 {
                let n = self.admitting.min(self.outside.len() - at);
                self.admitting -= n;
                at += n;
                continue;
            }
            let header = match frame::peek(&self.outside.filled()[at..], frame::MAX_MESSAGE) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                // No message: who reads it finds that out.
                Err(_) => {
                    at = self.outside.len();
                    break;
                }
            };
            let whole = header.len <= self.outside.len() - at;
            match self.hear(header, at, whole) {
                Heard::Pass => self.admitting = header.len,
                Heard::Await => break,
                Heard::Done => at += header.len,
                Heard::Drop => self.outside.cut(at, header.len),
            }
        }
        self.let_in(at, input);
    }

    fn let_in(&mut self, n: usize, input: &mut Buffer) {
        if n == self.outside.len() && input.is_empty() {
            std::mem::swap(&mut self.outside, input);
        } else {
            input.extend(&self.outside.filled()[..n]);
            self.outside.consume(n);
        }
    }

    fn hear(&mut self, header: Header, at: usize, whole: bool) -> Heard {
        let body = at + HEADER..at + header.len;
        match header.tag {
            b'D' => {
                self.next();
                let columns = match self.asked.front() {
                    Some(Asked::Execute(Some(portal))) => portal.columns(&self.oids),
                    Some(Asked::Query) => &self.columns,
                    _ => &[],
                };
                if columns.is_empty() {
                    return Heard::Pass;
                }
                if !whole {
                    return Heard::Await;
                }
                put_row(&mut self.outside.filled_mut()[body], columns, &self.oids);
                Heard::Done
            }
            b'd' if self.copied.is_some() && !whole => Heard::Await,
            b'd' => match &mut self.copied {
                Some(copied) => {
                    copied.come(&mut self.outside.filled_mut()[body], &self.oids);
                    Heard::Done
                }
                None => Heard::Pass,
            },
            b'T' | b't' | b'Z' if !whole => Heard::Await,
            b'T' => self.hear_columns(body),
            b't' => self.hear_parameters(body),
            b'n' => {
                let Some(Asked::Describe { statement, ours }) = self.answered() else { return Heard::Pass };
                statement.tell_columns(&[]);
                if ours { Heard::Drop } else { Heard::Pass }
            }
            b'1' | b'2' | b'3' => {
                self.answered();
                Heard::Pass
            }
            b'C' | b's' | b'I' => {
                if matches!(self.next(), Some(Asked::Execute(_))) {
                    self.asked.pop_front();
                }
                Heard::Pass
            }
            b'E' => {
                self.failed();
                Heard::Pass
            }
            b'G' => {
                self.copies_in();
                Heard::Pass
            }
            b'Z' => {
                self.ready(self.outside.filled()[body] == *b"I");
                Heard::Pass
            }
            _ => Heard::Pass,
        }
    }

    /// What the next answer of a message is to: no Sync, since that is answered by ReadyForQuery.
    fn next(&mut self) -> Option<&Asked> {
        while matches!(self.asked.front(), Some(Asked::Sync | Asked::EndOfCopy)) {
            self.asked.pop_front();
        }
        self.asked.front()
    }

    /// A message that has one answer has got it.
    fn answered(&mut self) -> Option<Asked> {
        match self.next() {
            Some(Asked::Query | Asked::Execute(_)) | None => None,
            Some(_) => self.asked.pop_front(),
        }
    }

    fn hear_columns(&mut self, body: std::ops::Range<usize>) -> Heard {
        let described = match self.next() {
            Some(Asked::Describe { .. } | Asked::DescribePortal(_)) => self.asked.pop_front(),
            _ => None,
        };
        let body = &mut self.outside.filled_mut()[body];
        match described {
            Some(Asked::Describe { statement, ours }) => {
                statement.tell_columns(body);
                if ours {
                    return Heard::Drop;
                }
            }
            Some(Asked::DescribePortal(Some(portal))) => portal.tell_columns(body, &self.oids),
            None => self.columns = asked::described(body, &self.oids),
            Some(_) => {}
        }
        put_description(body, &self.oids);
        Heard::Done
    }

    fn hear_parameters(&mut self, body: std::ops::Range<usize>) -> Heard {
        let (statement, ours) = match self.next() {
            Some(Asked::Describe { statement, ours }) => (Some(statement.clone()), *ours),
            _ => (None, false),
        };
        let body = &mut self.outside.filled_mut()[body];
        put_oids(body, |oid| self.oids.inwards().oid(oid));
        if let Some(statement) = statement {
            statement.tell_parameters(body);
        }
        if ours { Heard::Drop } else { Heard::Done }
    }

    /// An error: what was asked behind it, up to a Sync, has no answers.
    fn failed(&mut self) {
        self.pass_over_copies();
        // What a Sync commits may fail: then it is answered all the same.
        if matches!(self.asked.front(), Some(Asked::Query | Asked::Sync) | None) {
            return;
        }
        while let Some(asked) = self.asked.front() {
            match asked {
                Asked::Sync => return,
                Asked::Describe { statement, .. } => statement.asked.store(false, Relaxed),
                _ => {}
            }
            self.asked.pop_front();
        }
        self.skips = true;
    }

    /// The end of data that was copied has no answer of its own.
    fn pass_over_copies(&mut self) {
        while matches!(self.asked.front(), Some(Asked::EndOfCopy)) {
            self.asked.pop_front();
        }
    }

    /// While data is copied in, a Sync is passed over.
    fn copies_in(&mut self) {
        let data = self.asked.iter().position(|asked| matches!(asked, Asked::EndOfCopy));
        let mut before = data.unwrap_or(self.asked.len());
        self.asked.retain(|asked| {
            let meant = before == 0 || !matches!(asked, Asked::Sync);
            before = before.saturating_sub(1);
            meant
        });
    }

    fn ready(&mut self, ends: bool) {
        while let Some(asked) = self.asked.pop_front() {
            if matches!(asked, Asked::Sync | Asked::Query) {
                break;
            }
        }
        self.pass_over_copies();
        // Nothing is left that could be passed over.
        self.skips &= !self.asked.is_empty();
        self.columns = Columns::default();
        self.copied = None;
        // Behind the transaction there are none; what has been bound since is of the next one.
        if ends && self.asked.is_empty() {
            self.portals.clear();
        }
    }

    /// Looks at what is to go out, as far as it may: up to `checked`.
    pub fn check(&mut self, output: &mut Buffer) {
        self.checked = self.checked.min(output.len());
        if let Some(statement) = &self.awaits {
            if !statement.has_parameters() && !self.skips {
                return;
            }
            self.awaits = None;
        }
        while self.checked < output.len() && self.awaits.is_none() {
            if self.passing > 0 {
                let n = self.passing.min(output.len() - self.checked);
                self.passing -= n;
                self.checked += n;
                continue;
            }
            if self.copying > 0 {
                self.copy_on(output);
                continue;
            }
            let at = self.checked;
            match frame::peek(&output.filled()[at..], frame::MAX_MESSAGE) {
                Ok(Some(header)) if header.tag == b'B' && header.len <= output.len() - at && !self.skips => {
                    self.check_bind(output, header.len);
                }
                Ok(Some(header)) if header.tag == b'd' && self.copied.is_some() => {
                    self.copying = header.len - HEADER;
                    output.cut(at, HEADER);
                }
                Ok(Some(header)) => {
                    if matches!(header.tag, b'c' | b'f') {
                        self.end_copy(output);
                    }
                    let at = self.checked;
                    let end = (at + header.len).min(output.len());
                    self.say(header.tag, &mut output.filled_mut()[at + HEADER..end]);
                    self.passing = header.len;
                }
                // Nobody writes what is no message.
                _ => self.checked = output.len(),
            }
        }
    }

    /// Takes what there is of a client's CopyData, and lets out rows that are whole.
    fn copy_on(&mut self, output: &mut Buffer) {
        let n = self.copying.min(output.len() - self.checked);
        let Some(copied) = &mut self.copied else {
            // The server takes no more of it, and its header is gone.
            output.cut(self.checked, n);
            self.copying -= n;
            return;
        };
        copied.take(&output.filled()[self.checked..self.checked + n]);
        output.cut(self.checked, n);
        self.copying -= n;
        let rows = copied.give(&self.oids);
        self.let_out_data(&rows, output);
    }

    /// The client's data is at its end.
    fn end_copy(&mut self, output: &mut Buffer) {
        let rest = self.copied.as_mut().map(Copied::rest).unwrap_or_default();
        self.let_out_data(&rest, output);
    }

    fn let_out_data(&mut self, data: &[u8], output: &mut Buffer) {
        if !data.is_empty() {
            let mut message = Buffer::default();
            frame::put(&mut message, b'd', data);
            output.insert(self.checked, message.filled());
            self.checked += message.len();
        }
    }

    /// Whether something can't go out before the server has said more.
    pub fn awaits(&self) -> bool {
        self.awaits.is_some()
    }

    /// Takes note of a message on its way out.
    fn say(&mut self, tag: u8, body: &mut [u8]) {
        if tag == b'S' {
            self.skips = false;
        }
        if self.skips {
            return;
        }
        let asked = match tag {
            b'P' => self.say_parse(body),
            b'D' => self.say_describe(body),
            b'E' => {
                let portal = frame::cstr(body).and_then(|(name, _)| self.portals.get(name));
                Some(Asked::Execute(portal.cloned()))
            }
            b'C' => {
                self.say_close(body);
                Some(Asked::Plain)
            }
            b'B' => Some(Asked::Plain),
            b'Q' | b'F' => Some(Asked::Query),
            b'S' => Some(Asked::Sync),
            b'c' | b'f' => Some(Asked::EndOfCopy),
            _ => None,
        };
        self.asked.extend(asked);
    }

    fn say_parse(&mut self, body: &mut [u8]) -> Option<Asked> {
        let (name, rest) = frame::cstr(body)?;
        let (_, types) = frame::cstr(rest)?;
        let at = body.len() - types.len();
        let name = name.into();
        self.statements.insert(name, Arc::new(Statement::declared(&body[at..])));
        put_oids(&mut body[at..], |oid| self.oids.outwards().oid(oid));
        Some(Asked::Plain)
    }

    fn say_describe(&mut self, body: &[u8]) -> Option<Asked> {
        let (kind, name) = body.split_first()?;
        let (name, _) = frame::cstr(name)?;
        if *kind == b'S' {
            let statement = self.statement(name);
            statement.asked.store(true, Relaxed);
            return Some(Asked::Describe { statement, ours: false });
        }
        // A cursor has a portal that nobody bound.
        if !name.is_empty() && !self.portals.contains_key(name) {
            self.portals.insert(name.into(), Arc::default());
        }
        Some(Asked::DescribePortal(self.portals.get(name).cloned()))
    }

    fn say_close(&mut self, body: &[u8]) {
        let Some((kind, name)) = body.split_first() else { return };
        let Some((name, _)) = frame::cstr(name) else { return };
        match kind {
            b'S' => drop(self.statements.remove(name)),
            _ => drop(self.portals.remove(name)),
        }
    }

    fn statement(&mut self, name: &[u8]) -> Arc<Statement> {
        if let Some(known) = self.statements.get(name) {
            return known.clone();
        }
        let statement = Arc::<Statement>::default();
        self.statements.insert(name.into(), statement.clone());
        statement
    }

    /// Lets a Bind out, or what has to go before it.
    fn check_bind(&mut self, output: &mut Buffer, len: usize) {
        let at = self.checked;
        let message = &output.filled()[at..at + len];
        let behind = &output.filled()[at + len..];
        let Some(bind) = Bind::parse(&message[HEADER..]) else {
            self.asked.push_back(Asked::Plain);
            self.passing = len;
            return;
        };
        let statement = self.statement(bind.statement);
        let first = bind.first(&statement, &self.oids, behind);
        if first != First::Nothing {
            let mut own = Buffer::default();
            if !statement.asked.swap(true, Relaxed) {
                frame::put(&mut own, b'D', &[b"S", bind.statement, b"\0"].concat());
                self.asked.push_back(Asked::Describe { statement: statement.clone(), ours: true });
            }
            if first == First::Hear {
                own.extend(FLUSH);
                self.awaits = Some(statement);
            }
            output.insert(at, own.filled());
            self.checked += own.len();
            return;
        }
        let values = bind.values(&statement, &self.oids);
        if bind.is_binary() && statement.may_give(&self.oids) {
            let portal = Portal::bound(statement, bind.formats.0);
            self.portals.insert(bind.portal.into(), Arc::new(portal));
        } else {
            self.portals.remove(bind.portal);
        }
        for (value, oid) in values {
            let value = &mut output.filled_mut()[at + HEADER..][value];
            // What is no value of its type the server refuses.
            let _ = self.oids.outwards().value(value, oid);
        }
        self.asked.push_back(Asked::Plain);
        self.passing = len;
    }
}

/// Changes object ids in a counted list of them.
fn put_oids(list: &mut [u8], with: impl Fn(u32) -> u32) {
    for oid in list.get_mut(2..).unwrap_or_default().chunks_exact_mut(4) {
        let now = with(super::u32_at(oid, 0).unwrap_or(0));
        oid.copy_from_slice(&now.to_be_bytes());
    }
}

/// Puts a RowDescription in the client's terms.
fn put_description(body: &mut [u8], oids: &Oids) {
    let mut at = 2;
    while let Some(column) = asked::Column::at(body, at) {
        let (relation, kind) = (oids.relation(column.relation), oids.inwards().oid(column.oid));
        body[column.at..column.at + 4].copy_from_slice(&relation.to_be_bytes());
        body[column.at + 6..column.at + 10].copy_from_slice(&kind.to_be_bytes());
        at = column.end;
    }
}

/// Puts a row in the client's terms.
fn put_row(body: &mut [u8], columns: &[(u16, u32)], oids: &Oids) {
    let way = oids.inwards();
    let mut columns = columns.iter().peekable();
    let (mut at, mut n) = (2, 0);
    while let (Some((next, oid)), Some(len)) = (columns.peek(), super::u32_at(body, at)) {
        at += 4;
        let len = usize::try_from(len as i32).unwrap_or(0);
        let Some(value) = body.get_mut(at..at + len) else { return };
        if *next == n {
            columns.next();
            // A NULL has no bytes, and is none.
            let _ = way.value(value, *oid);
        }
        at += len;
        n += 1;
    }
}

#[cfg(test)]
mod tests;
