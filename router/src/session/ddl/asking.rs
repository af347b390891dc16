//! Sending a command to shards, and hearing them out.

use super::{Said, Session};
use crate::error::ClientError;
use crate::plan::Access;
use crate::schema::ShardRef;
use crate::session::End;
use crate::session::relay::{Broken, MAX_AHEAD, move_position};
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_pool::server::{ServerConn, text_row};
use std::future::poll_fn;
use std::io;

impl Session {
    /// Asks one shard; gives the tag. The client hears its notices if `tells`. Errors: the server's, in its own words.
    pub(super) async fn ask_objects(
        &mut self,
        shard: ShardRef,
        access: Access,
        message: &Buffer,
        tells: bool,
    ) -> Result<String, Failure> {
        self.send_objects(shard, access, message).await?;
        let said = self.objects_answer(shard).await?;
        if tells {
            self.client.output.extend(said.notices.filled());
        }
        match said.error {
            Some(body) => Err(self.objects_error(&body)),
            None => Ok(said.tag),
        }
    }

    /// Asks others, all at once; gives their tags.
    pub(super) async fn ask_others(
        &mut self,
        others: &[ShardRef],
        access: Access,
        message: &Buffer,
    ) -> Result<Vec<String>, Failure> {
        for &shard in others {
            self.acquire(shard, access).await?;
        }
        let mut asked = Vec::with_capacity(others.len());
        for &shard in others {
            asked.push(self.send_objects(shard, access, message).await?);
        }
        let mut tags = Vec::with_capacity(others.len());
        for &shard in others {
            // Servers that were not heard to the end are closed with the transaction.
            let said = self.objects_answer(shard).await?;
            if let Some(body) = said.error {
                self.cancel_servers(&asked);
                // What they say now is that they were cancelled.
                let _ = self.drain(&asked).await;
                return Err(self.objects_error(&body));
            }
            tags.push(said.tag);
        }
        Ok(tags)
    }

    /// Sends a command to a shard, without reading what it answers.
    pub(in crate::session) async fn send_objects(
        &mut self,
        shard: ShardRef,
        access: Access,
        message: &Buffer,
    ) -> Result<usize, Failure> {
        let index = self.acquire(shard, access).await?;
        if self.servers[index].holds_anything() {
            self.servers[index].doubt();
        }
        let server = &mut self.servers[index].lease;
        // A Query ends the unnamed statement.
        server.unnamed = None;
        server.used_until = None;
        server.wire.send(message.filled());
        server.outstanding += 1;
        if let Err(cause) = server.wire.flush().await {
            return Err(Failure::Statement(self.broken(index, Broken::Server { cause, torn: false })?));
        }
        Ok(index)
    }

    /// Reads a server's answer to the end. A client that leaves meanwhile has it stopped.
    pub(in crate::session) async fn objects_answer(&mut self, shard: ShardRef) -> Result<Said, Failure> {
        let gone = || ClientError::error("08006", "the server is gone");
        let index = self.servers.iter().position(|p| p.shard == shard).ok_or_else(gone)?;
        let limit = self.statement_limit();
        let (client, server) = (&mut self.client, &mut *self.servers[index].lease);
        let answered = async {
            tokio::select! {
                biased;
                said = answer(server) => said.map_err(|cause| Broken::Server { cause, torn: false }),
                () = poll_fn(|cx| client.poll_end(cx, MAX_AHEAD)) => {
                    Err(Broken::Client(End::Client(io::ErrorKind::UnexpectedEof.into())))
                }
            }
        };
        match limit.within(answered).await.unwrap_or_else(|late| Err(Broken::Client(late))) {
            Ok(said) => {
                self.answered(index);
                self.heard(index);
                Ok(said)
            }
            Err(broken) => Err(Failure::Statement(self.broken(index, broken)?)),
        }
    }

    /// An error of a server, for the client: its place in the text is the client's.
    pub(in crate::session) fn objects_error(&mut self, body: &[u8]) -> Failure {
        self.proxy.metrics.server_errors.inc();
        if self.wants_tags() {
            let code = frame::error_field(body, b'C').and_then(|code| <[u8; 5]>::try_from(code).ok());
            self.audit_answer(None, code);
        }
        let body = if self.moved > 0 { move_position(body, self.moved) } else { body.to_vec() };
        Failure::ServerError(body)
    }
}

/// Reads an answer to its ReadyForQuery.
async fn answer(server: &mut ServerConn) -> io::Result<Said> {
    let mut said = Said::default();
    while server.outstanding > 0 {
        let (tag, len) = server.wire.message(frame::MAX_MESSAGE).await?;
        let body = server.wire.body(len);
        match tag {
            b'Z' => {
                server.status = body.first().copied().unwrap_or(b'E');
                server.outstanding -= 1;
            }
            b'S' => {
                server.parameters.report(body);
                server.reported = true;
            }
            b'C' => {
                said.tag = frame::cstr(body)
                    .map(|(tag, _)| String::from_utf8_lossy(tag).into_owned())
                    .unwrap_or_default()
            }
            b'N' => frame::put(&mut said.notices, b'N', body),
            b'D' => said.rows.extend(text_row(body)),
            b'E' if said.error.is_none() => said.error = Some(body.to_vec()),
            b'G' => return Err(io::Error::other("unexpected COPY")),
            _ => {}
        }
        server.wire.consume_message(len);
    }
    Ok(said)
}
