//! The shards' side of a COPY FROM STDIN: all of them are written to and listened to at once, whichever is ready.

use crate::plan::copy::CopyIn;
use crate::schema::ShardRef;
use crate::session::Session;
use crate::session::copying::copied;
use crate::session::relay::Broken;
use crate::session::simple::Failure;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::server::ServerConn;
use std::io;
use std::task::{Context, Poll};

/// What waits for a socket from which on no more is taken from those who cause it.
const HIGH: usize = 256 * 1024;

/// One shard that copies.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) shard: ShardRef,
    /// The body of its CopyInResponse, once it waits for data.
    pub(super) begun: Option<Vec<u8>>,
    /// The body of its first error.
    pub(super) error: Option<Vec<u8>>,
    /// Rows that it says it copied.
    pub(super) rows: u64,
    /// It was told that there is no more to come.
    pub(super) told_end: bool,
    /// It was told, or made, to give up.
    pub(super) given_up: bool,
    /// It has said ReadyForQuery.
    pub(super) through: bool,
}

impl Lane {
    pub(super) fn new(shard: ShardRef) -> Self {
        Self { shard, begun: None, error: None, rows: 0, told_end: false, given_up: false, through: false }
    }

    /// Whether it takes data.
    pub(super) fn is_open(&self) -> bool {
        !self.told_end && self.error.is_none()
    }

    /// Takes what was read. Gives notices to pass on.
    fn take(&mut self, server: &mut ServerConn) -> Result<Vec<Vec<u8>>, Failure> {
        let mut notices = Vec::new();
        let mut used = 0;
        while !self.through {
            let left = &server.wire.input.filled()[used..];
            let Ok(Some((tag, body))) = frame::first(left, frame::MAX_MESSAGE) else { break };
            used += HEADER + body.len();
            match tag {
                b'G' => self.begun = Some(body.to_vec()),
                b'N' => notices.push(body.to_vec()),
                b'E' if self.error.is_none() => self.error = Some(body.to_vec()),
                b'C' => self.rows = copied(body)?,
                b'S' => {
                    server.reported = true;
                    let _ = server.parameters.report(body);
                }
                b'Z' => {
                    server.status = body.first().copied().unwrap_or(b'E');
                    server.outstanding -= 1;
                    self.through = true;
                }
                _ => {}
            }
        }
        server.wire.input.consume(used);
        Ok(notices)
    }

    /// Why its server went away.
    fn cause(&self, seen: io::Error) -> io::Error {
        let words = self.error.as_deref().and_then(|body| frame::error_field(body, b'M'));
        words.map_or(seen, |words| io::Error::other(String::from_utf8_lossy(words).into_owned()))
    }
}

impl Session {
    /// Writes and reads whatever is ready. Whether a shard takes nothing more for now.
    pub(super) fn poll_lanes(
        &mut self,
        cx: &mut Context<'_>,
        plan: &CopyIn,
        feed: &mut super::Feed<'_>,
    ) -> Result<bool, Failure> {
        loop {
            let mut blocked = false;
            for n in 0..feed.lanes.len() {
                if !feed.lanes[n].through {
                    blocked |= self.poll_one(cx, plan, feed, n)?;
                }
            }
            // Who was not listened to, for what the client has not read yet, is when it has.
            let was_full = self.client.output.len() >= HIGH;
            if let Poll::Ready(Err(e)) = self.client.poll_flush(cx) {
                return Err(super::End::Client(e).into());
            }
            if !was_full || self.client.output.len() >= HIGH {
                return Ok(blocked);
            }
        }
    }

    fn poll_one(
        &mut self,
        cx: &mut Context<'_>,
        plan: &CopyIn,
        feed: &mut super::Feed<'_>,
        n: usize,
    ) -> Result<bool, Failure> {
        let shard = feed.lanes[n].shard;
        let Some(index) = self.servers.iter().position(|p| p.shard == shard) else { return Ok(false) };
        let server = &mut self.servers[index].lease;
        // What it said before it closed is still to be read.
        let lost = match server.wire.poll_flush(cx) {
            Poll::Ready(Err(cause)) => Some(cause),
            _ => None,
        };
        let blocked = server.wire.output.len() > HIGH;
        while !feed.lanes[n].through && self.client.output.len() < HIGH {
            let server = &mut self.servers[index].lease;
            for notice in feed.lanes[n].take(server)? {
                let (notice, _) = feed.in_clients_lines(plan, n, &notice);
                frame::put(&mut self.client.output, b'N', &notice);
            }
            if feed.lanes[n].through {
                break;
            }
            let cause = match self.servers[index].lease.wire.poll_fill(cx) {
                Poll::Ready(Ok(read)) if read > 0 => continue,
                Poll::Ready(Ok(_)) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(cause)) => cause,
                Poll::Pending => break,
            };
            let cause = feed.lanes[n].cause(lost.unwrap_or(cause));
            return Err(self.broken(index, Broken::Server { cause, torn: false })?.into());
        }
        Ok(blocked)
    }

    /// Ready when every shard has said ReadyForQuery.
    pub(super) fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        plan: &CopyIn,
        feed: &mut super::Feed<'_>,
    ) -> Poll<Result<(), Failure>> {
        self.poll_lanes(cx, plan, feed)?;
        match feed.lanes.iter().all(|lane| lane.through) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}
