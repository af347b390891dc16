//! The batch that drivers send most: `[Parse] Bind [Describe] Execute Sync`, of the unnamed portal of a statement that
//! is known. It is passed on as it came, but for the statement's name: no list of its messages is made.

use super::batch::{Batch, Reread};
use super::lane::{Departure, Work};
use super::prepared::Prepared;
use super::relay::Step;
use super::writer::Writer;
use super::{MAX_MESSAGE, Session};
use crate::plan::locate::{Params, Values, locate};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use std::ops::Range;
use std::sync::Arc;

/// Such a batch.
pub(super) struct Quick {
    bytes: Buffer,
    statement: Arc<Prepared>,
    shape: Shape,
}

/// Where its messages are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    /// Body of Parse behind the empty name.
    parse: Option<Range<usize>>,
    /// Bind's statement name.
    name: Range<usize>,
    /// Bind's body behind the names.
    values: Range<usize>,
    /// Whether there is a Describe.
    describes: bool,
    /// Bytes up to the end of Sync.
    len: usize,
}

impl Shape {
    /// Of a batch at the start of `bytes`; `None` if it is not all there, or is another one.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut next = message(bytes, 0)?;
        let mut parse = None;
        if next.0 == b'P' {
            let (unnamed, tail) = (bytes.get(next.1.start) == Some(&0), next.1.start + 1..next.1.end);
            parse = unnamed.then_some(Some(tail))?;
            next = message(bytes, next.1.end)?;
        }
        let (b'B', bind) = next else { return None };
        let (b"", rest) = frame::cstr(&bytes[bind.clone()])? else { return None };
        let (name, rest) = frame::cstr(rest)?;
        let name = bind.start + 1..bind.start + 1 + name.len();
        let values = bind.end - rest.len()..bind.end;
        next = message(bytes, bind.end)?;
        let describes = next.0 == b'D';
        if describes {
            if &bytes[next.1.clone()] != b"P\0" {
                return None;
            }
            next = message(bytes, next.1.end)?;
        }
        let executes = next.0 == b'E' && next.1.len() == 5 && bytes[next.1.start] == 0;
        let (b'S', sync) = message(bytes, next.1.end).filter(|_| executes)? else { return None };
        Some(Self { parse, name, values, describes, len: sync.end })
    }
}

/// The tag and body of a whole message.
fn message(bytes: &[u8], at: usize) -> Option<(u8, Range<usize>)> {
    let header = frame::peek(&bytes[at..], MAX_MESSAGE).ok()??;
    (header.len <= bytes.len() - at).then(|| (header.tag, at + HEADER..at + header.len))
}

impl Session {
    /// Takes up such a batch. `None`: it is another one, or not to be decided here; nothing was taken.
    pub(super) fn depart_quick(&mut self) -> Option<Departure> {
        let input = self.client.input.filled();
        let shape = Shape::of(input).filter(|shape| shape.len <= self.client.max_message())?;
        let statement = self.known(&shape, input)?;
        let values = Values {
            text: &statement.text,
            literals: &statement.literals,
            params: Some(Params::parse(&input[shape.values.clone()])?),
            types: &statement.types,
        };
        let target = locate(&statement.plan.route, &self.database.maps, &values).ok()?;
        let access = statement.plan.access;
        let shard = self.place_now(&target)?;
        if statement.plan.clocked.is_some() && self.is_late(shard) {
            return None;
        }
        let bytes = self.take(shape.len);
        Some(self.seat(shard, access, Work::Quick(Quick { bytes, statement, shape })))
    }

    /// The statement that it binds, if it is plain and planned with the schema and search path as they are.
    fn known(&self, shape: &Shape, input: &[u8]) -> Option<Arc<Prepared>> {
        let name = &input[shape.name.clone()];
        let statement = match &shape.parse {
            Some(tail) if name.is_empty() => {
                self.unnamed.as_ref().filter(|known| *known.parse_tail == input[tail.clone()])?
            }
            Some(_) => return None,
            None if name.is_empty() => self.unnamed.as_ref()?,
            None => self.statements.get(name)?,
        };
        let fresh = self.with_planning(|planning| std::ptr::eq(planning, &*statement.planning));
        let same_path = Arc::ptr_eq(&statement.path, &self.path) || statement.path == self.path;
        let plain = statement.plan.plain && !statement.may_hint && !statement.served.is_changed();
        (fresh && same_path && plain).then(|| statement.clone())
    }

    /// Writes it for a server. False, and nothing was written, if the server may not mean by it what the client was told, or
    /// is to keep no statement.
    pub(super) fn write_quick(&mut self, index: usize, quick: &Quick) -> bool {
        let Quick { bytes, statement, shape } = quick;
        let bytes = bytes.filled();
        let tally = self.meter.tally();
        let server = &mut self.servers[index].lease;
        let named = !shape.name.is_empty();
        if named && server.max_prepared == 0 {
            // It is to be closed again before Sync.
            return false;
        }
        self.script.clear();
        if shape.parse.is_some() {
            server.unnamed = Some(statement.id);
            self.script.push_back(Step::ForwardUnnamed);
        } else {
            let mut writer = Writer { server, script: &mut self.script, tally };
            let has = writer.has(statement, named);
            let blind = !shape.describes && statement.served.tells();
            if blind && !(has && (!named || writer.server.prepared.is_proven(statement.id))) {
                return false;
            }
            if !has {
                writer.prepare(statement, named);
                writer.trim();
            }
        }
        let server = &mut self.servers[index].lease;
        if named {
            let bind = &bytes[..shape.values.end];
            Writer { server, script: &mut self.script, tally }.bind(bind, statement);
            server.wire.output.extend(&bytes[shape.values.end..]);
        } else {
            server.wire.send(bytes);
            self.script.push_back(Step::Forward);
        }
        server.outstanding += 1;
        self.script.extend(std::iter::repeat_n(Step::Forward, 1 + usize::from(shape.describes)));
        true
    }

    /// The same as any batch.
    pub(super) async fn as_batch(&mut self, quick: Quick) -> Batch {
        let bytes = quick.bytes;
        let items = match self.understand(bytes.filled(), &Reread::NotYet) {
            Some(items) => items,
            None => self.understand_anew(bytes.filled()).await,
        };
        Batch { bytes, items, sync: true }
    }

    /// Puts it back where it came from, in front of what came since.
    pub(super) fn take_back(&mut self, quick: Quick) {
        let mut bytes = quick.bytes;
        bytes.extend(self.client.input.filled());
        self.client.input = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(messages: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = Buffer::default();
        messages.iter().for_each(|(tag, body)| frame::put(&mut out, *tag, body));
        out.filled().to_vec()
    }

    const PARSE: (u8, &[u8]) = (b'P', b"\0SELECT 1\0\0\0");
    const BIND: (u8, &[u8]) = (b'B', b"\0\0\0\0\0\0\0\0");
    const NAMED: (u8, &[u8]) = (b'B', b"\0s1\0\0\0\0\0\0\0");
    const DESCRIBE: (u8, &[u8]) = (b'D', b"P\0");
    const EXECUTE: (u8, &[u8]) = (b'E', b"\0\0\0\0\0");
    const SYNC: (u8, &[u8]) = (b'S', b"");

    #[test]
    fn what_drivers_send_is_recognised() {
        for messages in [
            &[PARSE, BIND, DESCRIBE, EXECUTE, SYNC][..],
            &[BIND, EXECUTE, SYNC],
            &[NAMED, DESCRIBE, EXECUTE, SYNC],
        ] {
            let bytes = batch(messages);
            let shape = Shape::of(&bytes).unwrap();
            assert_eq!(shape.len, bytes.len());
            assert_eq!(&bytes[shape.values.clone()], b"\0\0\0\0\0\0");
            assert_eq!(shape.describes, messages.contains(&DESCRIBE));
        }
        let bytes = batch(&[NAMED, EXECUTE, SYNC]);
        assert_eq!(&bytes[Shape::of(&bytes).unwrap().name], b"s1");
    }

    #[test]
    fn anything_else_is_not() {
        for messages in [
            &[PARSE, SYNC][..],
            &[BIND, EXECUTE, EXECUTE, SYNC],
            &[BIND, EXECUTE, DESCRIBE, SYNC],
            &[BIND, DESCRIBE, SYNC],
            &[BIND, BIND, EXECUTE, SYNC],
            &[(b'B', b"portal\0\0\0\0\0\0\0\0"), EXECUTE, SYNC],
            &[BIND, (b'D', b"Ss1\0"), EXECUTE, SYNC],
            &[BIND, (b'E', b"p\0\0\0\0\0"), SYNC],
            &[(b'P', b"s1\0SELECT 1\0\0\0"), NAMED, EXECUTE, SYNC],
            &[BIND, EXECUTE, (b'H', b"")],
        ] {
            assert_eq!(Shape::of(&batch(messages)), None, "{messages:?}");
        }
        let whole = batch(&[PARSE, BIND, DESCRIBE, EXECUTE, SYNC]);
        for len in 0..whole.len() {
            assert_eq!(Shape::of(&whole[..len]), None);
        }
    }
}
