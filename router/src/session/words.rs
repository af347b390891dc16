//! What is refused may be no statement at all: then Postgres' own error, with its position, is the right answer.

use super::Session;
use super::relay::move_position;
use super::servers::refused;
use crate::error::ClientError;
use crate::plan::Access;
use crate::schema::GroupId;
use shardway_pool::frame;

/// Sync.
const SYNC: &[u8] = b"S\0\0\0\x04";

impl Session {
    /// The error for a statement that is not run: Postgres' own if it can't parse it either, or if both say the same;
    /// else `error`. A Parse runs nothing. `parse` is Parse's body behind the name: text and types.
    pub(super) async fn in_postgres_words(&mut self, parse: &[u8], error: ClientError) -> ClientError {
        let said = self.postgres_says(parse).await;
        said.filter(|said| said.code == "42601" || said.code == error.code).unwrap_or(error)
    }

    /// What Postgres has against a statement before it runs; `parse` is as above.
    pub(super) async fn postgres_says(&mut self, parse: &[u8]) -> Option<ClientError> {
        let shard = self.any_shard(GroupId(0));
        let index = self.acquire(shard, Access::ReadPrimary).await.ok()?;
        let server = &mut self.servers[index].lease;
        server.unnamed = None;
        frame::put(&mut server.wire.output, b'P', &[b"\0", parse].concat());
        server.wire.output.extend(SYNC);
        server.outstanding += 1;
        // A server that is lost is not clean, and so not given to anybody again.
        let said = match server.wire.flush().await {
            Ok(()) => server.drain().await.err().map(|said| refused(&said)),
            Err(_) => None,
        };
        self.release();
        said.map(|said| ClientError { body: said.body.map(|body| self.moved(&body)), ..said })
    }

    /// A position in one of several statements, as one in the client's text.
    fn moved(&self, body: &[u8]) -> Box<[u8]> {
        move_position(body, self.moved).into()
    }

    /// The same for a Query's text that is one statement.
    pub(super) async fn text_in_postgres_words(&mut self, text: &str, error: ClientError) -> ClientError {
        self.in_postgres_words(&[text.as_bytes(), b"\0\0\0"].concat(), error).await
    }
}
