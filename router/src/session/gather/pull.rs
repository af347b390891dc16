//! Rows on their way: from the shards that have them into the engine's COPY.

use super::answers::{copied, query};
use crate::error::ClientError;
use crate::plan::gather::Brought;
use crate::plan::locate::Params;
use crate::session::servers::Participant;
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::server::ServerConn;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// What a binary COPY begins with: signature, flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// And ends with.
const BINARY_TRAILER: &[u8] = &[0xff, 0xff];

/// Rows of this many bytes go to the engine together.
const PIECE: usize = 64 * 1024;

/// What a statement of ours answers with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Form {
    /// No rows.
    Nothing,
    /// Rows in binary.
    Binary,
    /// Rows in text.
    Text,
}

impl Form {
    /// Bind's result formats.
    fn codes(self) -> &'static [u8] {
        match self {
            Self::Nothing | Self::Text => &[0, 1, 0, 0],
            Self::Binary => &[0, 1, 0, 1],
        }
    }
}

/// Has floats written in full, whatever the server, the role or the client want of them otherwise. Gives no rows.
const EXACT: &str = "SELECT FROM pg_catalog.set_config('extra_float_digits', \
    CASE pg_catalog.set_config('shardway.digits', pg_catalog.current_setting('extra_float_digits'), true) \
    WHEN '' THEN '1' ELSE '1' END, true) AS s WHERE s IS NULL";

/// And again as it was: the client's transaction may go on.
const AS_BEFORE: &str = "SELECT FROM pg_catalog.set_config('extra_float_digits', \
    pg_catalog.current_setting('shardway.digits'), true) AS s WHERE s IS NULL";

/// Parse, Bind, Execute and Sync of a statement of ours over some of the client's parameters.
pub(super) fn pulls(sql: &str, numbers: &[usize], types: &[u32], params: &Params<'_>, form: Form) -> Vec<u8> {
    pulls_in(sql, numbers, types, params, form.codes(), form == Form::Text)
}

/// The same with rows in formats of their own; `exact` where some of what is in text has to be written in full.
pub(super) fn pulls_in(
    sql: &str,
    numbers: &[usize],
    types: &[u32],
    params: &Params<'_>,
    codes: &[u8],
    exact: bool,
) -> Vec<u8> {
    let mut out = Buffer::default();
    if exact {
        plain(&mut out, EXACT);
    }
    pull_in(&mut out, sql, numbers, types, params, codes);
    if exact {
        plain(&mut out, AS_BEFORE);
    }
    frame::put(&mut out, b'S', &[]);
    out.filled().to_vec()
}

/// Parse, Bind and Execute of a statement without parameters.
pub(in crate::session) fn plain(out: &mut Buffer, sql: &str) {
    frame::put(out, b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
    frame::put(out, b'B', &[0; 8]);
    frame::put(out, b'E', &[0; 5]);
}

/// Parse, Bind and Execute of a statement over the parameters with these numbers, from 0.
pub(in crate::session) fn pull(
    out: &mut Buffer,
    sql: &str,
    numbers: &[usize],
    types: &[u32],
    params: &Params<'_>,
    form: Form,
) {
    pull_in(out, sql, numbers, types, params, form.codes());
}

fn pull_in(out: &mut Buffer, sql: &str, numbers: &[usize], types: &[u32], params: &Params<'_>, codes: &[u8]) {
    let mut parse = [b"\0", sql.as_bytes(), b"\0"].concat();
    let count = (numbers.len() as u16).to_be_bytes();
    parse.extend_from_slice(&count);
    let mut formats = count.to_vec();
    let mut values = count.to_vec();
    for &number in numbers {
        // Numbers of users' types differ from shard to shard: there the column says it.
        let oid = types.get(number).copied().filter(|oid| *oid < 16384).unwrap_or(0);
        parse.extend_from_slice(&oid.to_be_bytes());
        let param = params.get(number);
        formats.extend_from_slice(&[0, u8::from(param.is_some_and(|param| param.binary))]);
        match param.and_then(|param| param.bytes) {
            Some(bytes) => {
                values.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
                values.extend_from_slice(bytes);
            }
            None => values.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    let bind = [b"\0\0", &formats[..], &values, codes].concat();
    frame::put(out, b'P', &parse);
    frame::put(out, b'B', &bind);
    // With that the server says that it has taken its snapshot, before it looks for rows.
    frame::put(out, b'H', &[]);
    frame::put(out, b'E', &[0; 5]);
}

/// One table's rows.
pub(super) struct Pull<'a> {
    table: &'a Brought,
    /// Shards that are not through, by their servers' indexes.
    sources: Vec<usize>,
    /// Rows that go to the engine next.
    piece: Vec<u8>,
    /// Bytes that may still be brought.
    left: &'a mut u64,
    /// Whether rows are taken as they come, and not as COPY has them.
    plain: bool,
}

impl<'a> Pull<'a> {
    pub(super) fn new(table: &'a Brought, sources: &[usize], left: &'a mut u64) -> Self {
        Self { table, sources: sources.to_vec(), piece: Vec::new(), left, plain: false }
    }

    /// Gives them all to `take`, some at a time, as they stand in DataRows.
    pub(super) async fn give(
        mut self,
        servers: &mut [Participant],
        take: &mut impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        self.plain = true;
        while poll_fn(|cx| self.poll_rows(cx, servers)).await? {
            let size = self.piece.len() as u64;
            *self.left = self.left.checked_sub(size).ok_or_else(too_large)?;
            take(&self.piece);
            self.piece.clear();
        }
        Ok(())
    }

    /// Brings them all into the engine. How many they were.
    pub(super) async fn run(
        &mut self,
        servers: &mut [Participant],
        engine: usize,
        copying: &mut bool,
    ) -> Result<u64, Failure> {
        let Brought { name, binary, .. } = self.table;
        let format = if *binary { " (FORMAT binary)" } else { "" };
        let columns = self.table.columns();
        query(&mut servers[engine].lease, &format!("COPY {name} ({columns}) FROM STDIN{format}"));
        if !begun(&mut servers[engine].lease).await? {
            return copied(&mut servers[engine].lease).await;
        }
        *copying = true;
        if *binary {
            frame::put(&mut servers[engine].lease.wire.output, b'd', BINARY_HEADER);
        }
        while poll_fn(|cx| self.poll_rows(cx, servers)).await? {
            let size = self.piece.len() as u64;
            *self.left = self.left.checked_sub(size).ok_or_else(too_large)?;
            let server = &mut servers[engine].lease;
            frame::put(&mut server.wire.output, b'd', &self.piece);
            self.piece.clear();
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        }
        let server = &mut servers[engine].lease;
        if *binary {
            frame::put(&mut server.wire.output, b'd', BINARY_TRAILER);
        }
        frame::put(&mut server.wire.output, b'c', &[]);
        *copying = false;
        copied(server).await
    }

    /// Takes rows from whichever shard has some, up to a piece. False once all are through.
    fn poll_rows(
        &mut self,
        cx: &mut Context<'_>,
        servers: &mut [Participant],
    ) -> Poll<Result<bool, Failure>> {
        let mut n = 0;
        while let Some(&index) = self.sources.get(n) {
            if self.piece.len() >= PIECE {
                break;
            }
            let server = &mut servers[index].lease;
            if self.take(server)? {
                self.sources.swap_remove(n);
                continue;
            }
            let cause = match server.wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => continue,
                Poll::Ready(Ok(_)) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(cause)) => cause,
                Poll::Pending => {
                    n += 1;
                    continue;
                }
            };
            server.outstanding = 1;
            return Poll::Ready(Err(ClientError::from(server.lost(&cause)).into()));
        }
        match (self.piece.is_empty(), self.sources.is_empty()) {
            (false, _) => Poll::Ready(Ok(true)),
            (true, true) => Poll::Ready(Ok(false)),
            (true, false) => Poll::Pending,
        }
    }

    /// Whether a message that has begun has more bytes than may still be brought.
    fn is_too_large(&self, begun: &[u8]) -> bool {
        let header = frame::peek(begun, frame::MAX_MESSAGE).ok().flatten();
        header.is_some_and(|header| header.tag == b'D' && header.len as u64 > *self.left + HEADER as u64 + 2)
    }

    /// Takes the rows that were read from a shard, up to a piece. Whether it is through with this table.
    fn take(&mut self, server: &mut ServerConn) -> Result<bool, Failure> {
        let mut used = 0;
        let mut through = false;
        let mut failure = None;
        while !through && failure.is_none() && self.piece.len() < PIECE {
            let left = &server.wire.input.filled()[used..];
            let (tag, body) = match frame::first(left, frame::MAX_MESSAGE) {
                Ok(Some(message)) => message,
                // One that can't be held at all is not waited for.
                Ok(None) if self.is_too_large(left) => return Err(too_large()),
                Ok(None) => break,
                Err(_) => return Err(malformed(server)),
            };
            used += HEADER + body.len();
            match tag {
                b'D' if self.table.binary || self.plain => self.piece.extend_from_slice(body),
                b'D' => line(body, &mut self.piece),
                b'E' => failure = Some(unplaced(body)),
                b'S' => {
                    server.reported = true;
                    let _ = server.parameters.report(body);
                }
                b'Z' => {
                    server.status = body.first().copied().unwrap_or(b'E');
                    server.outstanding = server.outstanding.saturating_sub(1);
                    through = true;
                }
                _ => {}
            }
        }
        server.wire.input.consume(used);
        failure.map_or(Ok(through), |body| Err(Failure::ServerError(body)))
    }
}

/// Whether the server waits for rows; else it has said an error.
async fn begun(server: &mut ServerConn) -> Result<bool, ClientError> {
    server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
    loop {
        let message = server.wire.message(frame::MAX_MESSAGE).await;
        let (tag, len) = message.map_err(|e| ClientError::from(server.lost(&e)))?;
        match tag {
            b'G' => {
                server.wire.consume_message(len);
                return Ok(true);
            }
            b'E' => return Ok(false),
            _ => server.wire.consume_message(len),
        }
    }
}

/// A row in text as a line of COPY's.
fn line(row: &[u8], out: &mut Vec<u8>) {
    let Some((count, mut at)) = frame::i16(row) else { return };
    for n in 0..count as u16 {
        if n > 0 {
            out.push(b'\t');
        }
        let Some((length, rest)) = frame::i32(at) else { return };
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(value) => {
                escape(value, out);
                at = &rest[value.len()..];
            }
            None => {
                out.extend_from_slice(b"\\N");
                at = rest;
            }
        }
    }
    out.push(b'\n');
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            plain => {
                out.push(plain);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// A message that can't be one: the server is of no use any more.
fn malformed(server: &mut ServerConn) -> Failure {
    server.outstanding = 1;
    let cause = io::Error::new(io::ErrorKind::InvalidData, "invalid message length");
    ClientError::from(server.lost(&cause)).into()
}

/// An error without its position: that is one in our text.
fn unplaced(body: &[u8]) -> Vec<u8> {
    let fields = body.split_inclusive(|&byte| byte == 0).filter(|field| !field.starts_with(b"P"));
    fields.flatten().copied().collect()
}

fn too_large() -> Failure {
    let error =
        ClientError::error("54000", "this statement needs more rows of other shards than may be held");
    let hint = "Filter more, pin the statement to one shard by its key, or raise routing.gather_max_bytes.";
    error.hint(hint).into()
}
