//! Commands that can't run in a transaction, and those that run in no other.

use super::{Said, Session, query};
use crate::error::ClientError;
use crate::plan::Access;
use crate::plan::ddl::Objects;
use crate::reply;
use crate::schema::ShardRef;
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;

impl Session {
    /// A command that Postgres only takes in a transaction block: it says so itself.
    pub(super) async fn not_in_block(&mut self, objects: &Objects, text: &str) -> Result<String, Failure> {
        let Some(&first) = self.shards_at(objects).first() else { return Ok(String::new()) };
        let asked = self.ask_objects(first, Access::ReadPrimary, &query(text), true).await;
        self.release();
        asked?;
        Err(ClientError::error("25P01", "this command can only be used in transaction blocks").into())
    }

    /// On each shard by itself: the lowest first, then the others at once. Errors tell where it was done and where not.
    pub(super) async fn apart(&mut self, objects: &Objects, text: &str) -> Result<String, Failure> {
        let message = query(text);
        let shards = self.shards_at(objects);
        let Some((&first, others)) = shards.split_first() else { return Ok(String::new()) };
        let in_transaction = self.transaction.is_some();
        let tag = self.ask_objects(first, Access::Write, &message, true).await;
        if in_transaction {
            // Postgres has words for it.
            tag?;
            let message = "this command cannot run inside a transaction block";
            return Err(ClientError::error("25001", message).into());
        }
        let tag = match tag {
            Ok(tag) => tag,
            Err(Failure::ServerError(body)) => {
                self.release();
                return Err(Failure::ServerError(self.with_report(&body, &[], &shards)));
            }
            Err(failure) => return Err(failure),
        };
        let (mut done, mut undone, mut failure) = (vec![first], Vec::new(), None);
        let mut fail = |shard, body| {
            undone.push(shard);
            failure.get_or_insert(body);
        };
        let mut asked = Vec::with_capacity(others.len());
        for &shard in others {
            match self.send_objects(shard, Access::Write, &message).await {
                Ok(_) => asked.push(shard),
                Err(failure) => fail(shard, body_of(failure)?),
            }
        }
        for shard in asked {
            match self.objects_answer(shard).await {
                Ok(Said { error: None, .. }) => done.push(shard),
                Ok(Said { error: Some(body), .. }) => fail(shard, body),
                Err(failure) => fail(shard, body_of(failure)?),
            }
        }
        self.release();
        if objects.changes {
            self.reread_schema().await;
        }
        match failure {
            None => Ok(tag),
            Some(body) => {
                self.proxy.metrics.server_errors.inc();
                Err(Failure::ServerError(self.with_report(&body, &done, &undone)))
            }
        }
    }

    /// A server's error with what was done where.
    pub(super) fn with_report(&self, body: &[u8], done: &[ShardRef], undone: &[ShardRef]) -> Vec<u8> {
        let several = self.database.groups.len() > 1;
        let name = |at: &ShardRef| match several {
            true => format!("{}/{}", self.database.groups[at.group.0].name, at.shard.0),
            false => at.shard.0.to_string(),
        };
        let list = |shards: &[ShardRef]| match shards {
            [] => "none".to_owned(),
            all => all.iter().map(name).collect::<Vec<_>>().join(", "),
        };
        let report = format!("Done on shards: {}. Not done on shards: {}.", list(done), list(undone));
        let hint = "What was done stays. When what is wrong is mended, run it on the shards that are left, with \
                    /* shard: n */ in front; an index that was begun CONCURRENTLY is there, invalid, and has to be dropped \
                    first.";
        let field = |code| frame::error_field(body, code).map(|f| String::from_utf8_lossy(f).into_owned());
        let detail = field(b'D').map_or(report.clone(), |own| format!("{own} {report}"));
        let mut out = Vec::new();
        for (code, value) in [
            (b'S', field(b'S')),
            (b'V', field(b'V')),
            (b'C', field(b'C')),
            (b'M', field(b'M')),
            (b'D', Some(detail)),
            (b'H', Some(hint.to_owned())),
            (b'P', field(b'P')),
        ] {
            if let Some(value) = value {
                out.push(code);
                out.extend_from_slice(value.as_bytes());
                out.push(0);
            }
        }
        out.push(0);
        out
    }
}

/// An error of one server among several, as if it had said it itself. Errors: the session's end.
fn body_of(failure: Failure) -> Result<Vec<u8>, Failure> {
    match failure {
        Failure::ServerError(body) => Ok(body),
        Failure::Statement(error) => {
            let mut out = Buffer::default();
            reply::error(&mut out, &error);
            Ok(out.filled()[frame::HEADER..].to_vec())
        }
        other => Err(other),
    }
}
