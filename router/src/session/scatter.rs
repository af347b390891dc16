//! Putting several shards' rows together, as they stream in.
//!
//! Without an order, one shard's rows follow another's. With one, the smallest head among the shards goes first.
//! What is held is a head row per shard and one buffer; a shard that is ahead waits in its socket.

use super::Session;
use super::asked::Window;
use super::simple::Failure;
use crate::error::ClientError;
use crate::merge;
use crate::plan::scatter::Scatter;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::server::ServerConn;

/// Output kept back for company before it is written.
pub(super) const FLUSH_AT: usize = 32 * 1024;

/// A shard's answer, as far as it has been read.
#[derive(Default)]
struct Answer {
    /// The head row's length, header included, while there is one.
    head: Option<usize>,
    /// Its sort keys.
    keys: Vec<Option<Vec<u8>>>,
    /// No row will come any more.
    ended: bool,
}

impl Session {
    /// Gives the client the rows, merged. How many they were.
    pub(super) async fn merge(
        &mut self,
        servers: &[usize],
        scatter: &Scatter,
        mut window: Window,
        describe: bool,
    ) -> Result<u64, Failure> {
        let mut answers: Vec<Answer> = servers.iter().map(|_| Answer::default()).collect();
        let mut described = !describe;
        let mut total = 0;
        // Without an order, shards are read in turn; with one, every head must be known.
        let mut next = 0;
        for (answer, &index) in answers.iter_mut().zip(servers) {
            self.advance(index, answer, scatter, &mut described).await?;
        }
        while window.left != Some(0) {
            let chosen = if scatter.order.is_empty() {
                while next < answers.len() && answers[next].ended {
                    next += 1;
                }
                (next < answers.len()).then_some(next)
            } else {
                smallest(&answers, scatter)
            };
            let Some(chosen) = chosen else { break };
            if window.skip > 0 {
                window.skip -= 1;
                self.drop_head(servers[chosen], &mut answers[chosen]);
            } else {
                self.give_head(servers[chosen], &mut answers[chosen], scatter.hidden()).await?;
                total += 1;
                window.left = window.left.map(|left| left - 1);
            }
            self.advance(servers[chosen], &mut answers[chosen], scatter, &mut described).await?;
        }
        Ok(total)
    }

    /// Reads on to a shard's next row, or to its end.
    async fn advance(
        &mut self,
        index: usize,
        answer: &mut Answer,
        scatter: &Scatter,
        described: &mut bool,
    ) -> Result<(), Failure> {
        let hidden = scatter.hidden();
        while answer.head.is_none() && !answer.ended {
            let server = &mut self.servers[index].lease;
            let (tag, len) = match server.wire.message(frame::MAX_MESSAGE).await {
                Ok(message) => message,
                Err(e) => {
                    let error = server.lost(&e);
                    server.outstanding = 1;
                    return Err(ClientError::from(error).into());
                }
            };
            let body = server.wire.body(len);
            match tag {
                b'D' if hidden == 0 => answer.head = Some(HEADER + len),
                b'D' => {
                    let row = merge::cut(body, hidden).ok_or_else(broken_row)?;
                    answer.keys = row.hidden.into_iter().map(|k| k.map(<[u8]>::to_vec)).collect();
                    answer.head = Some(HEADER + len);
                }
                b'T' => {
                    if !std::mem::replace(described, true) {
                        let stripped = merge::strip_description(body, hidden).ok_or_else(broken_row)?;
                        frame::put(&mut self.client.output, b'T', &stripped);
                    }
                    server.wire.consume_message(len);
                }
                b'E' => {
                    let whole = body.to_vec();
                    server.wire.consume_message(len);
                    self.proxy.metrics.server_errors.inc();
                    return Err(Failure::ServerError(whole));
                }
                b'S' => {
                    let body = body.to_vec();
                    server.parameters.report(&body);
                    server.wire.consume_message(len);
                }
                b'C' => {
                    answer.ended = true;
                    server.wire.consume_message(len);
                }
                b'N' => {
                    frame::put(&mut self.client.output, b'N', body);
                    server.wire.consume_message(len);
                }
                _ => server.wire.consume_message(len),
            }
        }
        Ok(())
    }

    fn drop_head(&mut self, index: usize, answer: &mut Answer) {
        if let Some(len) = answer.head.take() {
            self.servers[index].lease.wire.input.consume(len);
        }
    }

    /// Gives a shard's head row to the client, without its hidden columns.
    async fn give_head(&mut self, index: usize, answer: &mut Answer, hidden: usize) -> Result<(), Failure> {
        let Some(len) = answer.head.take() else { return Ok(()) };
        let server: &mut ServerConn = &mut self.servers[index].lease;
        let row = &server.wire.input.filled()[..len];
        if hidden == 0 {
            self.client.output.extend(row);
        } else {
            let row = merge::cut(&row[HEADER..], hidden).ok_or_else(broken_row)?;
            let out = &mut self.client.output;
            out.push(b'D');
            out.extend(&(row.bytes.len() as u32 + 6).to_be_bytes());
            out.extend(&row.visible.to_be_bytes());
            out.extend(row.bytes);
        }
        server.wire.input.consume(len);
        if self.client.output.len() >= FLUSH_AT {
            self.flush_rows().await?;
        }
        Ok(())
    }
}

fn smallest(answers: &[Answer], scatter: &Scatter) -> Option<usize> {
    let alive = answers.iter().enumerate().filter(|(_, a)| !a.ended);
    alive.min_by(|(_, a), (_, b)| merge::compare(&scatter.order, &a.keys, &b.keys)).map(|(i, _)| i)
}

pub(super) fn broken_row() -> ClientError {
    ClientError::error("08P01", "a shard sent a row that can't be read")
}
