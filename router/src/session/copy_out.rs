//! COPY TO STDOUT over several shards: a table's rows as its shards write them, one shard's after another's, or a query's
//! rows, which are turned into the format here. One stream either way, with one header and one trailer.

use super::copying::{complete, copied, response};
use super::listed::located;
use super::moment::Asking;
use super::relay::move_position;
use super::simple::Failure;
use super::{End, Session};
use crate::copy::out::Writer;
use crate::copy::{Csv, ForceQuote, Format, binary};
use crate::error::ClientError;
use crate::plan::listed::Splice;
use crate::plan::{Access, Across, Refusal, Tier};
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_shardmap::ShardId;

/// Output kept back for company before it is written.
const FLUSH_AT: usize = 32 * 1024;

/// A stream that is put together of several.
struct Stream<'a> {
    format: &'a Format,
    /// The header line as the first shard wrote it.
    header: Option<Vec<u8>>,
    /// What goes in front of the first row.
    owed: &'static [u8],
}

impl<'a> Stream<'a> {
    fn new(format: &'a Format) -> Self {
        let owed = if *format == Format::Binary { binary::START } else { b"" };
        Self { format, header: None, owed }
    }

    /// Passes on what belongs to the stream of a shard's CopyData, which is a row, or a header; `begins` if it is the
    /// shard's first. Errors: it is not what every Postgres sends.
    fn take(&mut self, data: &[u8], begins: bool, out: &mut Buffer) -> Result<(), ClientError> {
        let odd = || ClientError::error("XX000", "a shard's COPY does not begin as the others'");
        let mut row = data;
        match self.format {
            Format::Binary if begins => row = data.strip_prefix(binary::START).ok_or_else(odd)?,
            Format::Text(text) if begins && text.header => {
                return self.header_line(data, out).ok_or_else(odd);
            }
            Format::Csv(csv) if begins && csv.header => return self.header_line(data, out).ok_or_else(odd),
            _ => {}
        }
        if *self.format == Format::Binary && row == binary::TRAILER {
            return Ok(());
        }
        let owed = std::mem::take(&mut self.owed);
        match owed.is_empty() {
            true => frame::put(out, b'd', row),
            false => frame::put(out, b'd', &[owed, row].concat()),
        }
        Ok(())
    }

    /// All shards must have the same.
    fn header_line(&mut self, line: &[u8], out: &mut Buffer) -> Option<()> {
        match &self.header {
            Some(header) => (header == line).then_some(()),
            None => {
                frame::put(out, b'd', line);
                self.header = Some(line.to_vec());
                Some(())
            }
        }
    }

    fn end(&self, out: &mut Buffer) {
        if *self.format == Format::Binary {
            frame::put(out, b'd', &[self.owed, binary::TRAILER].concat());
        }
        frame::put(out, b'c', &[]);
    }
}

/// A query's rows on their way to be a COPY's.
#[derive(Debug)]
pub(super) struct Turning {
    /// Rows that go nowhere yet, and so are not turned.
    held: Option<Held>,
    format: Format,
    /// Once the columns are known.
    writer: Option<Writer>,
    /// What goes in front of the first row.
    owed: Vec<u8>,
    /// What is wrong with the options, as the columns show: nothing is said to the client then.
    wrong: Option<ClientError>,
    /// What the rows are turned by when these are through.
    outer: Option<Box<Turning>>,
}

/// A query's rows in text, held up to a size.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The OIDs of its columns' types.
    pub(super) types: Vec<u32>,
    /// RowDescription's body.
    pub(super) columns: Vec<u8>,
    /// Bodies of DataRow.
    pub(super) rows: Vec<Box<[u8]>>,
    pub(super) bytes: u64,
    pub(super) max: u64,
}

impl Held {
    fn row(&mut self, body: &[u8]) {
        self.bytes += body.len() as u64 + 16;
        if self.bytes <= self.max {
            self.rows.push(body.into());
        }
    }

    /// Whether there were more than may be held.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > self.max
    }
}

/// The types that a RowDescription tells.
fn types(body: &[u8]) -> Option<Vec<u32>> {
    let (count, mut rest) = frame::i16(body)?;
    let mut types = Vec::new();
    for _ in 0..count as u16 {
        let (_, behind) = frame::cstr(rest)?;
        types.push(u32::from_be_bytes(behind.get(6..10)?.try_into().ok()?));
        rest = behind.get(18..)?;
    }
    Some(types)
}

impl Turning {
    /// Turns one message of an answer. Errors: it can't be read.
    fn turn(&mut self, tag: u8, body: &[u8], out: &mut Buffer) -> Option<()> {
        if let Some(held) = &mut self.held {
            match tag {
                b'T' => (held.types, held.columns) = (types(body)?, body.to_vec()),
                b'D' => held.row(body),
                b'N' => frame::put(out, tag, body),
                _ => {}
            }
            return Some(());
        }
        match (tag, &self.writer) {
            (b'N', _) => frame::put(out, tag, body),
            _ if self.wrong.is_some() => {}
            (b'T', _) => self.describe(body, out)?,
            (b'D', Some(writer)) => {
                let mut row = std::mem::take(&mut self.owed);
                writer.row(body, &mut row)?;
                frame::put(out, b'd', &row);
            }
            (b'C', Some(writer)) => {
                let tag = String::from_utf8_lossy(body);
                let rows = tag.trim_end_matches('\0').strip_prefix("SELECT ")?;
                let mut last = std::mem::take(&mut self.owed);
                last.extend_from_slice(writer.trailer());
                if !last.is_empty() {
                    frame::put(out, b'd', &last);
                }
                frame::put(out, b'c', &[]);
                reply::complete(out, &format!("COPY {rows}"));
            }
            _ => frame::put(out, tag, body),
        }
        Some(())
    }

    /// RowDescription: CopyOutResponse, and the header line in a message of its own.
    fn describe(&mut self, body: &[u8], out: &mut Buffer) -> Option<()> {
        let (count, mut rest) = frame::i16(body)?;
        let mut names = Vec::new();
        for _ in 0..count as u16 {
            let (name, behind) = frame::cstr(rest)?;
            names.push(name);
            rest = behind.get(18..)?;
        }
        if let Format::Csv(Csv { force_quote: ForceQuote::Columns(forced), .. }) = &self.format
            && let Some(name) = forced.iter().find(|name| !names.contains(&name.as_bytes()))
        {
            let message = format!("column \"{name}\" does not exist");
            self.wrong = Some(ClientError::error("42703", message));
            return Some(());
        }
        frame::put(out, b'H', &response(self.format.code(), names.len()));
        let writer = Writer::new(self.format.clone(), &names);
        let header = writer.header(&names);
        match self.format {
            Format::Binary => self.owed = header,
            _ if header.is_empty() => {}
            _ => frame::put(out, b'd', &header),
        }
        self.writer = Some(writer);
        Some(())
    }
}

impl Session {
    /// COPY of a sharded table; the client gets everything but ReadyForQuery.
    pub(super) async fn copy_out(
        &mut self,
        group: GroupId,
        format: &Result<Format, Refusal>,
        text: &str,
    ) -> Result<(), Failure> {
        let all = self.database.shards_of(group);
        // Options that are not understood are one shard's to refuse.
        let shards: Vec<ShardRef> = all.take(if format.is_ok() { usize::MAX } else { 1 }).collect();
        let mut servers = Vec::with_capacity(shards.len());
        for shard in shards {
            let index = self.acquire(shard, Access::ReadPrimary).await?;
            Box::pin(self.tell_copy(index, text)).await?;
            servers.push(index);
        }
        let mut message = Buffer::default();
        frame::put(&mut message, b'Q', &[text.as_bytes(), b"\0"].concat());
        let limit = self.statement_limit();
        let passed = limit.within(self.pass_streams(&servers, message.filled(), format)).await;
        let passed = passed.unwrap_or_else(|late| Err(late.into()));
        let drained = self.settle_servers(&servers, &passed).await;
        match passed.and_then(|rows| drained.map(|()| rows).map_err(Failure::from)) {
            Ok(rows) => {
                complete(self, rows);
                Ok(())
            }
            Err(failure) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.failed = true;
                }
                Err(failure)
            }
        }
    }

    /// Asks the servers, and passes their streams on as one. How many rows they say they were.
    async fn pass_streams(
        &mut self,
        servers: &[usize],
        message: &[u8],
        format: &Result<Format, Refusal>,
    ) -> Result<u64, Failure> {
        self.ask_at_once(servers, message, Asking::Copy).await?;
        let mut responses = Vec::with_capacity(servers.len());
        for &index in servers {
            responses.push(self.out_begins(index).await?);
        }
        let format = format.as_ref().map_err(|refusal| ClientError::from(refusal.clone()))?;
        if responses.iter().any(|response| *response != responses[0]) {
            return Err(
                ClientError::error("XX000", "the table's columns are not the same on all shards").into()
            );
        }
        frame::put(&mut self.client.output, b'H', &responses[0]);
        let mut stream = Stream::new(format);
        let mut rows = 0;
        for &index in servers {
            rows += self.pass_stream(index, &mut stream).await?;
        }
        stream.end(&mut self.client.output);
        Ok(rows)
    }

    /// A shard's CopyOutResponse: its body.
    async fn out_begins(&mut self, index: usize) -> Result<Vec<u8>, Failure> {
        loop {
            let (tag, body) = self.out_message(index).await?;
            if tag == b'H' {
                return Ok(body);
            }
        }
    }

    async fn pass_stream(&mut self, index: usize, stream: &mut Stream<'_>) -> Result<u64, Failure> {
        let mut begins = true;
        loop {
            let (tag, body) = self.out_message(index).await?;
            match tag {
                b'd' => stream.take(&body, std::mem::take(&mut begins), &mut self.client.output)?,
                b'C' => return Ok(copied(&body)?),
                _ => {}
            }
            if self.client.output.len() >= FLUSH_AT {
                self.client.flush().await.map_err(End::Client)?;
            }
        }
    }

    /// What a COPY TO STDOUT of our own gives: its messages' data.
    pub(super) async fn copied_out(&mut self, index: usize, sql: &str) -> Result<Vec<Vec<u8>>, Failure> {
        let mut message = Buffer::default();
        frame::put(&mut message, b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.send(&[index], message.filled());
        let server = &mut self.servers[index].lease;
        server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        let mut rows = Vec::new();
        let failure = loop {
            match self.out_message(index).await {
                Ok((b'd', body)) => rows.push(body),
                Ok((b'C', _)) => break None,
                Ok(_) => {}
                Err(failure) => break Some(failure),
            }
        };
        let drained = self.servers[index].lease.drain().await;
        match failure {
            Some(failure) => Err(failure),
            None => drained.map(|()| rows).map_err(|e| super::servers::refused(&e).into()),
        }
    }

    /// A shard's next message. Notices are passed on. Errors: the shard's own, or its end.
    async fn out_message(&mut self, index: usize) -> Result<(u8, Vec<u8>), Failure> {
        loop {
            let server = &mut self.servers[index].lease;
            let (tag, len) = match server.wire.message(frame::MAX_MESSAGE).await {
                Ok(message) => message,
                Err(e) => {
                    server.outstanding = 1;
                    return Err(ClientError::from(server.lost(&e)).into());
                }
            };
            let body = server.wire.body(len);
            match tag {
                b'N' => frame::put(&mut self.client.output, b'N', body),
                b'S' => {
                    let body = body.to_vec();
                    server.reported = true;
                    let _ = server.parameters.report(&body);
                }
                b'E' => {
                    let body = body.to_vec();
                    server.wire.consume_message(len);
                    self.proxy.metrics.server_errors.inc();
                    return Err(Failure::ServerError(body));
                }
                _ => {
                    let message = (tag, body.to_vec());
                    server.wire.consume_message(len);
                    return Ok(message);
                }
            }
            server.wire.consume_message(len);
        }
    }

    /// Has a server look at the options of a COPY of a query: `text` is that of one without rows.
    pub(super) async fn look_at_options(
        &mut self,
        group: GroupId,
        text: &str,
        splice: Splice,
    ) -> Result<(), Failure> {
        let shard = self.any_shard(group);
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        let moved = self.moved;
        let looked = match self.copied_out(index, text).await {
            Err(Failure::ServerError(body)) => {
                Err(Failure::ServerError(move_position(&located(&body, &[splice]), moved)))
            }
            looked => looked.map(drop),
        };
        self.release();
        looked
    }

    /// COPY of a query that several shards run; the client gets everything but ReadyForQuery. Gives the tier.
    pub(super) async fn copy_out_rows(
        &mut self,
        across: &Across,
        format: &Format,
        access: Access,
        group: GroupId,
        shards: Vec<ShardId>,
    ) -> Result<Tier, Failure> {
        // What stands there is not to be turned.
        self.client.flush().await.map_err(End::Client)?;
        let binary = *format == Format::Binary;
        self.turning = Some(Box::new(Turning {
            held: None,
            format: format.clone(),
            writer: None,
            owed: Vec::new(),
            wrong: None,
            outer: None,
        }));
        let ran = self.across_rows(across, access, group, shards, binary).await;
        let turned = self.turn_rows();
        let wrong = self.turning.take().and_then(|turning| turning.wrong);
        let tier = ran?;
        turned?;
        wrong.map_or(Ok(tier), |wrong| Err(wrong.into()))
    }

    /// A query's rows, held up to so many bytes.
    pub(super) async fn hold_rows(
        &mut self,
        across: &Across,
        group: GroupId,
        shards: Vec<ShardId>,
        max: u64,
    ) -> Result<Held, Failure> {
        self.begin_holding(max).await?;
        let ran = self.across_rows(across, Access::ReadPrimary, group, shards, false).await;
        let held = self.end_holding();
        ran?;
        Ok(held?)
    }

    /// Holds what is said to the client from now on: of rows up to so many bytes, of all else notices alone.
    pub(super) async fn begin_holding(&mut self, max: u64) -> Result<(), Failure> {
        self.flush_rows().await?;
        let held = Some(Held { max, ..Held::default() });
        let outer = self.turning.take();
        self.turning = Some(Box::new(Turning {
            held,
            format: Format::Binary,
            writer: None,
            owed: Vec::new(),
            wrong: None,
            outer,
        }));
        Ok(())
    }

    /// The rows that were held. Errors: something can't be read.
    pub(super) fn end_holding(&mut self) -> Result<Held, ClientError> {
        let turned = self.turn_rows();
        let held = self.turning.take().and_then(|turning| {
            self.turning = turning.outer;
            turning.held
        });
        turned.map(|()| held.unwrap_or_default())
    }

    /// Writes rows to the client, as a COPY if they are to be one.
    pub(super) async fn flush_rows(&mut self) -> Result<(), Failure> {
        self.turn_rows()?;
        self.client.flush().await.map_err(|e| End::Client(e).into())
    }

    /// Turns the rows that wait for the client into a COPY's, if they are to be one.
    fn turn_rows(&mut self) -> Result<(), ClientError> {
        let Some(turning) = &mut self.turning else { return Ok(()) };
        let waiting = std::mem::take(&mut self.client.output);
        let mut rest = waiting.filled();
        while let Ok(Some((tag, body))) = frame::first(rest, frame::MAX_MESSAGE) {
            let turned = turning.turn(tag, body, &mut self.client.output);
            turned.ok_or_else(super::scatter::broken_row)?;
            rest = &rest[HEADER + body.len()..];
        }
        Ok(())
    }
}
