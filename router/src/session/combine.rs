//! Combining several shards' groups. All of the answers are read before the first row is given: the last one may still
//! change every group. They are read as they come, none before another.

use super::End;
use super::Session;
use super::asked::Window;
use super::relay::MAX_AHEAD;
use super::scatter::{FLUSH_AT, broken_row};
use super::simple::Failure;
use crate::combine::{CombineError, Combiner};
use crate::error::ClientError;
use crate::merge;
use crate::plan::combine::Combine;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::server::ServerConn;
use shardway_pool::wire::Wire;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

/// The answers while they are read.
struct Reading<'a> {
    combiner: Combiner<'a>,
    combine: &'a Combine,
    /// Whether a shard has said what the columns are.
    described: bool,
    /// Whether the client is to be told.
    describe: bool,
}

impl Session {
    /// Gives the client the groups, combined. How many they were.
    pub(super) async fn combine(
        &mut self,
        servers: &[usize],
        combine: &Combine,
        window: Window,
        describe: bool,
    ) -> Result<u64, Failure> {
        let max = usize::try_from(self.world.config.routing.gather_max_bytes).unwrap_or(usize::MAX);
        let combiner = Combiner::new(&combine.shape, max);
        let mut reading = Reading { combiner, combine, described: false, describe };
        for (shard, &index) in servers.iter().enumerate() {
            // What came with the sign that it has begun.
            self.take_answer_of(shard, index, &mut reading)?;
        }
        poll_fn(|cx| self.poll_answers(cx, servers, &mut reading)).await?;
        self.give_back(servers);
        self.give_groups(&reading.combiner, window).await
    }

    /// Reads what comes from whichever shard, so that the first error ends it all. Ready when all are through.
    fn poll_answers(
        &mut self,
        cx: &mut Context<'_>,
        servers: &[usize],
        reading: &mut Reading<'_>,
    ) -> Poll<Result<(), Failure>> {
        let mut waiting = false;
        for (shard, &index) in servers.iter().enumerate() {
            let mut server = &mut self.servers[index].lease;
            while server.outstanding > 0 {
                let cause = match server.wire.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
                    Poll::Ready(Ok(_)) => {
                        self.take_answer_of(shard, index, reading)?;
                        server = &mut self.servers[index].lease;
                        continue;
                    }
                    Poll::Ready(Err(cause)) => cause,
                    Poll::Pending => {
                        waiting = true;
                        break;
                    }
                };
                server.outstanding = 1;
                return Poll::Ready(Err(ClientError::from(server.lost(&cause)).into()));
            }
        }
        if !waiting {
            return Poll::Ready(Ok(()));
        }
        // Nobody would want the answer of a client that is gone.
        self.client
            .poll_end(cx, MAX_AHEAD)
            .map(|()| Err(End::Client(io::ErrorKind::UnexpectedEof.into()).into()))
    }

    /// Takes in what was read of a shard's answer.
    fn take_answer_of(
        &mut self,
        shard: usize,
        index: usize,
        reading: &mut Reading<'_>,
    ) -> Result<(), Failure> {
        let server = &mut self.servers[index].lease;
        reading.take(shard, server, &mut self.client).inspect_err(|failure| {
            let said = u64::from(matches!(failure, Failure::ServerError(_)));
            self.proxy.metrics.server_errors.inc_by(said);
        })
    }

    /// The servers are not needed for what is left to do.
    fn give_back(&mut self, servers: &[usize]) {
        let now = Instant::now();
        self.answered = Some(now);
        servers.iter().for_each(|&index| self.servers[index].lease.used_until = Some(now));
        self.release();
    }

    async fn give_groups(&mut self, combiner: &Combiner<'_>, mut window: Window) -> Result<u64, Failure> {
        let mut row = Vec::new();
        let mut total = 0;
        let left = window.left.take().map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let skip = usize::try_from(window.skip).unwrap_or(usize::MAX);
        for group in combiner.order().map_err(combining)?.into_iter().skip(skip).take(left) {
            combiner.write(group, &mut row).map_err(combining)?;
            frame::put(&mut self.client.output, b'D', &row);
            total += 1;
            if self.client.output.len() >= FLUSH_AT {
                self.flush_rows().await?;
            }
        }
        Ok(total)
    }
}

impl Reading<'_> {
    /// Takes in what was read of a shard's answer, up to its ReadyForQuery.
    fn take(&mut self, shard: usize, server: &mut ServerConn, client: &mut Wire) -> Result<(), Failure> {
        let mut used = 0;
        let taken = loop {
            let left = &server.wire.input.filled()[used..];
            let (tag, body) = match frame::first(left, frame::MAX_MESSAGE) {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(_) => break Err(broken_row().into()),
            };
            used += HEADER + body.len();
            let done = match tag {
                b'D' => self.combiner.row(shard, body).map_err(|e| combining(e).into()),
                b'T' => self.describe(body, client),
                b'E' => Err(Failure::ServerError(body.to_vec())),
                b'N' => {
                    frame::put(&mut client.output, b'N', body);
                    Ok(())
                }
                b'S' => {
                    server.reported = true;
                    let _ = server.parameters.report(body);
                    Ok(())
                }
                b'Z' => {
                    server.status = body.first().copied().unwrap_or(b'E');
                    server.outstanding -= 1;
                    break Ok(());
                }
                _ => Ok(()),
            };
            if let Err(failure) = done {
                break Err(failure);
            }
        };
        server.wire.input.consume(used);
        taken
    }

    /// All shards describe the same columns: the first one is believed.
    fn describe(&mut self, body: &[u8], client: &mut Wire) -> Result<(), Failure> {
        if std::mem::replace(&mut self.described, true) {
            return Ok(());
        }
        self.combiner.describe(body).map_err(combining)?;
        if self.describe {
            let hidden = self.combine.shape.hidden;
            let stripped = merge::strip_description(body, hidden).ok_or_else(broken_row)?;
            frame::put(&mut client.output, b'T', &stripped);
        }
        Ok(())
    }
}

fn combining(error: CombineError) -> ClientError {
    let client = ClientError::error(error.code(), error.to_string());
    match error {
        CombineError::Memory(_) => client.hint(
            "Pin the statement to one shard by its key, filter more, or raise routing.gather_max_bytes.",
        ),
        _ => client,
    }
}
