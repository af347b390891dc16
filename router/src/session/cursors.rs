//! SQL cursors of one shard: they live on the server of the transaction that declared them.

use super::Session;
use super::transaction::Answer;
use crate::error::ClientError;
use crate::schema::ShardRef;
use crate::sql::scan::{identifier, tokens};

impl Session {
    /// FETCH, MOVE, CLOSE where no server is in hand: only CLOSE ALL has nothing to do then.
    pub(super) fn no_cursor(&self, text: &str) -> Result<Answer, ClientError> {
        match cursor_name(text) {
            None => Ok(Answer::Tag("CLOSE CURSOR ALL")),
            Some(name) => Err(ClientError::error("34000", format!("cursor \"{name}\" does not exist"))),
        }
    }

    /// Where a FETCH, MOVE or CLOSE goes: to the server that has the cursor, or any in hand if none has. `None` if it is of
    /// several shards.
    pub(super) fn cursor_shard(&self, text: &str) -> Option<ShardRef> {
        if self.own_cursor(text).is_some() {
            return None;
        }
        let mut held: Vec<_> = self.shards_with_cursors().collect();
        held.extend(self.servers.iter().map(|participant| participant.shard));
        held.sort_unstable();
        let first = self.servers.first().map(|participant| participant.shard).or(held.first().copied());
        match cursor_name(text) {
            None => first,
            Some(name) => self.portal_shard(name.as_bytes()).or(first),
        }
    }

    /// Remembers where a cursor was declared.
    pub(super) fn declared(&mut self, text: &str, shard: ShardRef) {
        let name = tokens(text).get(1).map(|name| identifier(name));
        if let (Some(transaction), Some(name)) = (&mut self.transaction, name) {
            transaction.portals.insert(name.into_bytes(), shard);
        }
    }
}

/// The cursor that a FETCH, MOVE or CLOSE names, last of all; `None` for CLOSE ALL.
fn cursor_name(text: &str) -> Option<String> {
    let words = tokens(text);
    match (words.first(), words.last()) {
        (Some(first), Some(last))
            if first.eq_ignore_ascii_case("close") && last.eq_ignore_ascii_case("all") =>
        {
            None
        }
        (_, Some(last)) => Some(identifier(last)),
        (_, None) => None,
    }
}
