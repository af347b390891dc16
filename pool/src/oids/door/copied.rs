//! Data of a COPY in binary. It says no types: they are the copied columns', which whoever begins the COPY has asked for.
//! Source: PostgreSQL, COPY, "Binary Format".

use super::super::{Oids, Way, u32_at};

/// What the data begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Bytes of the signature, of flags, and of how long what follows them is.
const HEADER: usize = 19;

/// Data that is on its way.
#[derive(Debug)]
pub(super) struct Copied {
    /// Types of the columns, in the client's terms.
    types: Box<[u32]>,
    /// Whether the header is through.
    begun: bool,
    /// What follows is no row.
    over: bool,
    /// What is not whole yet.
    held: Vec<u8>,
}

impl Copied {
    /// Of columns of these types; `None` if none has ids in it.
    pub(super) fn of(types: Box<[u32]>, oids: &Oids) -> Option<Self> {
        let holds = types.iter().any(|oid| oids.outwards().holds(*oid));
        holds.then_some(Self { types, begun: false, over: false, held: Vec::new() })
    }

    /// Puts what a server sends in one message, whole rows, in the client's terms.
    pub(super) fn come(&mut self, data: &mut [u8], oids: &Oids) {
        let types: Vec<u32> = self.types.iter().map(|oid| oids.outwards().oid(*oid)).collect();
        let mut at = 0;
        if !self.begun {
            at = header(data).unwrap_or(data.len());
            self.begun = true;
        }
        while let Some(end) = row_end(data, at) {
            put_row(&mut data[at..end], &types, oids.inwards());
            at = end;
        }
    }

    /// Takes what a client sends, cut wherever.
    pub(super) fn take(&mut self, data: &[u8]) {
        self.held.extend_from_slice(data);
    }

    /// What is whole of it, in the server's terms.
    pub(super) fn give(&mut self, oids: &Oids) -> Vec<u8> {
        let mut at = 0;
        if !self.begun {
            let start = SIGNATURE.len().min(self.held.len());
            match header(&self.held) {
                // The server says what it thinks of it.
                _ if self.held[..start] != SIGNATURE[..start] => self.over = true,
                Some(end) => at = end,
                None => return Vec::new(),
            }
            self.begun = true;
        }
        while !self.over
            && let Some(end) = row_end(&self.held, at)
        {
            // The trailer counts less than nothing.
            self.over = self.held[at] & 0x80 != 0;
            put_row(&mut self.held[at..end], &self.types, oids.outwards());
            at = end;
        }
        if self.over {
            at = self.held.len();
        }
        self.held.drain(..at).collect()
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// Where the header ends, if it is whole.
fn header(data: &[u8]) -> Option<usize> {
    let end = HEADER.checked_add(u32_at(data, HEADER - 4)? as usize)?;
    (data.starts_with(SIGNATURE) && data.len() >= end).then_some(end)
}

fn count(data: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// Where a row ends that begins at `at`, if it is whole.
fn row_end(data: &[u8], at: usize) -> Option<usize> {
    let fields = count(data, at)?;
    let mut at = at + 2;
    for _ in 0..fields {
        let len = usize::try_from(u32_at(data, at)? as i32).unwrap_or(0);
        at = at.checked_add(4)?.checked_add(len)?;
    }
    (at <= data.len()).then_some(at)
}

fn put_row(row: &mut [u8], types: &[u32], way: Way<'_>) {
    let mut at = 2;
    for oid in types {
        let Some(len) = u32_at(row, at) else { return };
        at += 4;
        let len = usize::try_from(len as i32).unwrap_or(0);
        let Some(value) = row.get_mut(at..at + len) else { return };
        if way.holds(*oid) {
            // What is no value of its type the server refuses.
            let _ = way.value(value, *oid);
        }
        at += len;
    }
}
