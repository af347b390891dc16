//! Combining several shards' groups. All of the answers are read before the first row is given: the last one may still
//! change every group.

use super::End;
use super::Session;
use super::asked::Window;
use super::scatter::{FLUSH_AT, broken_row};
use super::simple::Failure;
use crate::combine::{CombineError, Combiner};
use crate::error::ClientError;
use crate::merge;
use crate::plan::combine::Combine;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::server::ServerConn;
use shardway_pool::wire::Wire;
use std::time::Instant;

/// One shard's answer while it is read.
struct Reading<'a, 'b> {
    /// The shard's number among those that are asked.
    number: usize,
    combiner: &'a mut Combiner<'b>,
    combine: &'a Combine,
    /// Whether the client is still to be told of its columns.
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
        let mut combiner = Combiner::new(&combine.shape, max);
        for (number, &index) in servers.iter().enumerate() {
            let mut reading =
                Reading { number, combiner: &mut combiner, combine, describe: describe && number == 0 };
            let server = &mut self.servers[index].lease;
            loop {
                match reading.take(server, &mut self.client) {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(failure) => {
                        self.proxy
                            .metrics
                            .server_errors
                            .inc_by(u64::from(matches!(failure, Failure::ServerError(_))));
                        return Err(failure);
                    }
                }
                if let Err(e) = server.wire.fill().await {
                    let error = server.lost(&e);
                    server.outstanding = 1;
                    return Err(ClientError::from(error).into());
                }
            }
        }
        self.give_back(servers);
        self.give_groups(&combiner, window).await
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
                self.client.flush().await.map_err(End::Client)?;
            }
        }
        Ok(total)
    }
}

impl Reading<'_, '_> {
    /// Takes in what was read of a shard's answer. Whether that is all of it.
    fn take(&mut self, server: &mut ServerConn, client: &mut Wire) -> Result<bool, Failure> {
        let mut used = 0;
        let taken = loop {
            let left = &server.wire.input.filled()[used..];
            let (tag, body) = match frame::first(left, frame::MAX_MESSAGE) {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(false),
                Err(_) => break Err(broken_row().into()),
            };
            let len = HEADER + body.len();
            let done = match tag {
                b'D' => self.combiner.row(self.number, body).map_err(|e| combining(e).into()),
                b'T' => self.described(body, client),
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
                    used += len;
                    break Ok(true);
                }
                _ => Ok(()),
            };
            used += len;
            if let Err(failure) = done {
                break Err(failure);
            }
        };
        server.wire.input.consume(used);
        taken
    }

    fn described(&mut self, body: &[u8], client: &mut Wire) -> Result<(), Failure> {
        if self.number > 0 {
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
