//! COPY FROM STDIN into a sharded table: lines are split by key as they pass, none is held longer than it takes to
//! see its end.

use super::servers::refused;
use super::simple::Failure;
use super::transaction::Transaction;
use super::{End, MAX_MESSAGE, Session};
use crate::error::ClientError;
use crate::plan::copy::CopyPlan;
use crate::plan::{Access, Refusal, dml};
use crate::reply;
use crate::schema::{GroupId, Kind, ShardRef};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_pool::server::{RunError, ServerConn};
use shardway_shardmap::{KeyValue, copy as fields};
use std::collections::HashMap;

/// Lines gathered for one shard before they are sent.
const SEND_AT: usize = 32 * 1024;

/// What a client's COPY message was.
enum Said {
    Data,
    Done,
    Failed(String),
}

/// Lines on their way to the shards.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come yet.
    unfinished: Vec<u8>,
    /// Whole lines, shard by shard.
    ready: HashMap<ShardRef, Vec<u8>>,
    /// Lines seen.
    count: u64,
    /// The end-of-data mark was seen: what follows is ignored.
    ended: bool,
}

impl Session {
    /// Runs it; the client gets CopyInResponse, CommandComplete or an error, and no ReadyForQuery.
    pub(super) async fn copy_in(&mut self, plan: &CopyPlan, text: &str) -> Result<(), Failure> {
        let own = self.transaction.is_none();
        if own {
            self.transaction = Some(Transaction::implicit());
        }
        self.say_copy_in(plan.fields);
        self.client.flush().await.map_err(End::Client)?;
        let copied = self.copy_lines(plan, text).await;
        match copied {
            Ok(rows) => {
                if own {
                    self.commit(false).await?;
                }
                let tag = format!("COPY {rows}");
                reply::complete(&mut self.client.output, &tag);
                self.audit_answer(Some(vec![tag]), None);
                Ok(())
            }
            Err(failure) => {
                // Servers in the middle of a COPY are of no use to anybody.
                self.close_busy_servers();
                if own {
                    self.rollback(false).await;
                }
                Err(failure)
            }
        }
    }

    /// CopyInResponse: text, in so many columns.
    fn say_copy_in(&mut self, columns: usize) {
        let mut body = vec![0u8];
        body.extend_from_slice(&(columns as u16).to_be_bytes());
        body.extend(std::iter::repeat_n(0, columns * 2));
        frame::put(&mut self.client.output, b'G', &body);
    }

    async fn copy_lines(&mut self, plan: &CopyPlan, text: &str) -> Result<u64, Failure> {
        let mut lines = Lines::default();
        let mut open: Vec<ShardRef> = Vec::new();
        loop {
            let mut data = Buffer::default();
            match self.next_copy_message(&mut data).await? {
                Said::Failed(reason) => {
                    return Err(
                        ClientError::error("57014", format!("COPY from stdin failed: {reason}")).into()
                    );
                }
                Said::Done => break,
                Said::Data => self.split(plan, &mut lines, data.filled())?,
            }
            let due: Vec<ShardRef> = lines
                .ready
                .iter()
                .filter(|(_, bytes)| bytes.len() >= SEND_AT)
                .map(|(shard, _)| *shard)
                .collect();
            for shard in due {
                let bytes = lines.ready.remove(&shard).unwrap_or_default();
                self.send_lines(shard, &bytes, text, &mut open).await?;
            }
        }
        if !lines.unfinished.is_empty() && !lines.ended {
            let line = std::mem::take(&mut lines.unfinished);
            self.place(plan, &mut lines, &line)?;
        }
        for (shard, bytes) in std::mem::take(&mut lines.ready) {
            self.send_lines(shard, &bytes, text, &mut open).await?;
        }
        if open.is_empty() {
            // No line: one shard still has to say whether the client may copy at all.
            let group = plan.table.group().unwrap_or(GroupId(0));
            let shard = self.any_shard(group);
            self.send_lines(shard, b"", text, &mut open).await?;
        }
        self.finish_copies(&open).await
    }

    /// The next CopyData, CopyDone or CopyFail.
    async fn next_copy_message(&mut self, data: &mut Buffer) -> Result<Said, End> {
        loop {
            let header = match frame::peek(self.client.input.filled(), MAX_MESSAGE) {
                Ok(Some(header)) if self.client.input.len() >= header.len => header,
                Ok(_) => {
                    self.wait_for_client().await?;
                    continue;
                }
                Err(_) => return Err(End::Fatal(ClientError::protocol("invalid message length"))),
            };
            let message = self.take(header.len);
            let body = super::body(&message);
            match header.tag {
                b'd' => {
                    data.extend(body);
                    return Ok(Said::Data);
                }
                b'c' => return Ok(Said::Done),
                b'f' => {
                    let reason = frame::cstr(body).map(|(r, _)| String::from_utf8_lossy(r).into_owned());
                    return Ok(Said::Failed(reason.unwrap_or_default()));
                }
                b'H' | b'S' => {}
                _ => {
                    return Err(End::Fatal(ClientError::protocol(
                        "unexpected message type during COPY from stdin",
                    )));
                }
            }
        }
    }

    /// Cuts data into lines and lays each by for its shard.
    fn split(&self, plan: &CopyPlan, lines: &mut Lines, mut data: &[u8]) -> Result<(), ClientError> {
        while !data.is_empty() && !lines.ended {
            let Some(end) = line_end(&lines.unfinished, data) else {
                if lines.unfinished.len() + data.len() > MAX_MESSAGE {
                    return Err(ClientError::error("54000", "a line of COPY is too long"));
                }
                lines.unfinished.extend_from_slice(data);
                return Ok(());
            };
            let (head, rest) = data.split_at(end);
            data = rest;
            if lines.unfinished.is_empty() {
                self.place(plan, lines, head)?;
            } else {
                let mut line = std::mem::take(&mut lines.unfinished);
                line.extend_from_slice(head);
                self.place(plan, lines, &line)?;
                line.clear();
                lines.unfinished = line;
            }
        }
        Ok(())
    }

    /// Lays a line by for the shard of its key.
    fn place(&self, plan: &CopyPlan, lines: &mut Lines, line: &[u8]) -> Result<(), ClientError> {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        if bare == b"\\." {
            lines.ended = true;
            return Ok(());
        }
        lines.count += 1;
        let shard = self.line_shard(plan, bare).map_err(|refusal| {
            let message = format!("{} (COPY {}, line {})", refusal.message, plan.table.name, lines.count);
            ClientError::from(Refusal { message, ..refusal })
        })?;
        let ready = lines.ready.entry(shard).or_default();
        ready.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            ready.push(b'\n');
        }
        Ok(())
    }

    fn line_shard(&self, plan: &CopyPlan, line: &[u8]) -> Result<ShardRef, Refusal> {
        let Kind::Sharded { group, key, key_type } = plan.table.kind else {
            return Err(Refusal::unsupported("the table is not sharded"));
        };
        let column = &plan.table.columns[key].name;
        let refuse = |code, message: String| Refusal { code, message, hint: "" };
        let raw = fields::field(line, plan.key, plan.delimiter)
            .ok_or_else(|| refuse("22P04", format!("missing data for column \"{column}\"")))?;
        match key_type.read_copy_field(raw, &plan.null) {
            KeyValue::Key(key) => {
                let shard =
                    self.database.maps[group.0].locate(&key).map_err(|e| refuse("23514", e.to_string()))?;
                Ok(ShardRef { group, shard })
            }
            KeyValue::Null => Err(dml::null_key(&plan.table.name, column)),
            KeyValue::Invalid => {
                let value = String::from_utf8_lossy(raw).into_owned();
                Err(refuse("22P02", format!("invalid input syntax for type {key_type}: \"{value}\"")))
            }
            KeyValue::Unproven(why) => Err(Refusal::unsupported(format!("the key can't be routed: {why}"))),
        }
    }

    /// Sends lines to a shard, opening its COPY with the first.
    async fn send_lines(
        &mut self,
        shard: ShardRef,
        lines: &[u8],
        text: &str,
        open: &mut Vec<ShardRef>,
    ) -> Result<(), Failure> {
        let index = self.acquire(shard, Access::Write).await?;
        if !open.contains(&shard) {
            self.open_copy(index, text).await?;
            open.push(shard);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let server = &mut self.servers[index].lease;
        frame::put(&mut server.wire.output, b'd', lines);
        if let Err(e) = server.wire.flush().await {
            return Err(ClientError::from(server.lost(&e)).into());
        }
        Ok(())
    }

    /// Sends the COPY command and waits until the server is ready for data.
    async fn open_copy(&mut self, index: usize, text: &str) -> Result<(), Failure> {
        let server = &mut self.servers[index].lease;
        frame::put(&mut server.wire.output, b'Q', &[text.as_bytes(), b"\0"].concat());
        server.unnamed = None;
        server.outstanding += 1;
        server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        loop {
            if next_message(server).await?.0 == b'G' {
                return Ok(());
            }
        }
    }

    /// Ends every shard's COPY; the rows copied in all.
    async fn finish_copies(&mut self, open: &[ShardRef]) -> Result<u64, Failure> {
        let mut rows = 0;
        for &shard in open {
            let Some(index) = self.servers.iter().position(|p| p.shard == shard) else {
                return Err(ClientError::error("08006", "a shard was lost while it copied").into());
            };
            let server = &mut self.servers[index].lease;
            frame::put(&mut server.wire.output, b'c', &[]);
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
            rows += loop {
                let (tag, body) = next_message(server).await?;
                if tag == b'C' {
                    break copied(&body)?;
                }
            };
            if let Err(error) = server.drain().await {
                return Err(match error {
                    RunError::Refused(body) => Failure::ServerError(body),
                    error => refused(&error).into(),
                });
            }
        }
        Ok(rows)
    }

    /// Closes servers that still wait for COPY data.
    fn close_busy_servers(&mut self) {
        let mut i = 0;
        while i < self.servers.len() {
            if self.servers[i].lease.outstanding > 0 {
                let participant = self.servers.swap_remove(i);
                if let Some(transaction) = &mut self.transaction {
                    transaction.lost |= transaction.explicit;
                }
                participant.lease.close();
            } else {
                i += 1;
            }
        }
        self.publish_cancel_targets();
    }
}

/// A server's next message. Errors: the server's own, after which it is ready again, or its end.
async fn next_message(server: &mut ServerConn) -> Result<(u8, Vec<u8>), Failure> {
    let message = server.wire.message(frame::MAX_MESSAGE).await;
    let (tag, len) = message.map_err(|e| ClientError::from(server.lost(&e)))?;
    let body = server.wire.body(len).to_vec();
    server.wire.consume_message(len);
    if tag == b'E' {
        let _ = server.drain().await;
        return Err(Failure::ServerError(body));
    }
    Ok((tag, body))
}

/// The rows that a CommandComplete of COPY counts.
pub(super) fn copied(body: &[u8]) -> Result<u64, ClientError> {
    let tag = String::from_utf8_lossy(body);
    let count = tag.trim_end_matches('\0').strip_prefix("COPY ").and_then(|n| n.parse().ok());
    count.ok_or_else(|| ClientError::error("08P01", format!("a shard ended its COPY with \"{tag}\"")))
}

/// Where the first line of `data` ends, its end of line included, given what came of it before. A backslash keeps an
/// end of line within the line.
fn line_end(before: &[u8], data: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = data[from..].iter().position(|&b| b == b'\n').map(|n| from + n) {
        let here = data[..at].iter().rev().take_while(|&&b| b == b'\\').count();
        let carried = if here == at { before.iter().rev().take_while(|&&b| b == b'\\').count() } else { 0 };
        if (here + carried) % 2 == 0 {
            return Some(at + 1);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::line_end;
    use proptest::prelude::*;

    #[test]
    fn a_backslash_keeps_an_end_of_line_within_the_line() {
        assert_eq!(line_end(b"", b"a\nb"), Some(2));
        assert_eq!(line_end(b"", b"a\\\nb\n"), Some(5));
        assert_eq!(line_end(b"", b"a\\\\\nb\n"), Some(4));
        assert_eq!(line_end(b"a\\", b"\nb\n"), Some(3));
        assert_eq!(line_end(b"a\\\\", b"\nb\n"), Some(1));
    }

    proptest! {
        #[test]
        fn where_data_is_cut_does_not_matter(text in "[a\\\\\n]{0,24}", cut in 0usize..24) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = line_end(b"", bytes);
            let parted = line_end(b"", &bytes[..cut]).or_else(|| line_end(&bytes[..cut], &bytes[cut..]).map(|n| n + cut));
            prop_assert_eq!(whole, parted);
        }
    }
}
