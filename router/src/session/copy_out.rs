//! COPY TO STDOUT of a sharded table: one shard's lines after another's, as one stream.

use super::End;
use super::Session;
use super::copy_in::copied;
use super::simple::Failure;
use crate::error::ClientError;
use crate::plan::Access;
use crate::plan::copy::CopyPlan;
use crate::reply;
use crate::schema::GroupId;
use shardway_pool::frame;

/// Output kept back for company before it is written.
const FLUSH_AT: usize = 32 * 1024;

impl Session {
    /// Runs it; the client gets everything but ReadyForQuery.
    pub(super) async fn copy_out(&mut self, plan: &CopyPlan, text: &str) -> Result<(), Failure> {
        let group = plan.table.group().unwrap_or(GroupId(0));
        let mut rows = 0;
        for (nth, shard) in self.database.clone().shards_of(group).enumerate() {
            let index = self.acquire(shard, Access::ReadPrimary).await?;
            let server = &mut self.servers[index].lease;
            frame::put(&mut server.wire.output, b'Q', &[text.as_bytes(), b"\0"].concat());
            server.unnamed = None;
            server.outstanding += 1;
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
            rows += self.pass_lines(index, nth == 0).await?;
        }
        frame::put(&mut self.client.output, b'c', &[]);
        reply::complete(&mut self.client.output, &format!("COPY {rows}"));
        self.release();
        Ok(())
    }

    /// Passes one shard's lines on; how many rows it says they were.
    async fn pass_lines(&mut self, index: usize, first: bool) -> Result<u64, Failure> {
        let mut rows = 0;
        loop {
            let server = &mut self.servers[index].lease;
            let (tag, len) = server
                .wire
                .message(frame::MAX_MESSAGE)
                .await
                .map_err(|e| ClientError::from(server.lost(&e)))?;
            let body = server.wire.body(len);
            match tag {
                b'd' => frame::put(&mut self.client.output, b'd', body),
                b'H' if first => frame::put(&mut self.client.output, b'H', body),
                b'C' => rows = copied(body)?,
                b'E' => {
                    let body = body.to_vec();
                    server.wire.consume_message(len);
                    let _ = server.drain().await;
                    return Err(Failure::ServerError(body));
                }
                b'Z' => {
                    server.status = body.first().copied().unwrap_or(b'E');
                    server.outstanding -= 1;
                }
                _ => {}
            }
            server.wire.consume_message(len);
            if self.client.output.len() >= FLUSH_AT {
                self.client.flush().await.map_err(End::Client)?;
            }
            if tag == b'Z' {
                return Ok(rows);
            }
        }
    }
}
