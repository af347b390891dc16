//! Where servers are sent other texts than the client's: with the lists of columns that INSERTs leave unsaid
//! (`plan/listed.rs`). What servers say of places in them is told in the client's own text.

use super::Session;
use super::batch::Item;
use super::prepared::Prepared;
use super::relay::position_in;
use crate::plan::Plan;
use crate::plan::listed::{Splice, in_clients_text, put_into_all};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use std::ops::Range;
use std::sync::Arc;

/// What was put into the texts of an exchange.
#[derive(Debug)]
pub(super) enum Spliced {
    /// Into the one text.
    Text(Vec<Splice>),
    /// Into those that messages of a batch are about.
    Items(Vec<Vec<Splice>>),
}

impl Spliced {
    /// Of a batch; `None` if all of it is the client's own.
    pub(super) fn of(items: &[Item]) -> Option<Box<Self>> {
        if !Self::is_in(items) {
            return None;
        }
        let bound = |name: &[u8]| {
            items.iter().rev().find_map(|item| match item {
                Item::Bind { statement, portal, .. } if portal == name => Some(statement),
                _ => None,
            })
        };
        let splices = |item: &Item| {
            let statement = match item {
                Item::Portal { portal, .. } => bound(portal),
                item => statement_of(item),
            };
            statement.and_then(|s| s.told.as_ref()).map(|told| told.splices.clone()).unwrap_or_default()
        };
        Some(Box::new(Self::Items(items.iter().map(splices).collect())))
    }

    /// Whether a batch has any.
    pub(super) fn is_in(items: &[Item]) -> bool {
        items.iter().filter_map(statement_of).any(|statement| statement.told.is_some())
    }

    /// An error's body, with its place as one in the client's text. So many of the client's messages are still to be
    /// answered.
    pub(super) fn located(&self, body: &[u8], left: usize) -> Vec<u8> {
        let splices = match self {
            Self::Text(splices) => &splices[..],
            Self::Items(items) => {
                let at = items.len().saturating_sub(left.max(1));
                items.get(at).map_or(&[][..], Vec::as_slice)
            }
        };
        located(body, splices)
    }
}

fn statement_of(item: &Item) -> Option<&Arc<Prepared>> {
    match item {
        Item::Parse { statement, .. }
        | Item::Bind { statement, .. }
        | Item::DescribeStatement { statement, .. } => Some(statement),
        Item::Portal { .. } | Item::CloseStatement { .. } | Item::Fail { .. } => None,
    }
}

/// An ErrorResponse's body, with its place as one in a text without these splices.
pub(super) fn located(body: &[u8], splices: &[Splice]) -> Vec<u8> {
    let mut located = Vec::with_capacity(body.len());
    for field in body.split_inclusive(|&byte| byte == 0) {
        match position_in(field) {
            Some(position) => {
                let position = in_clients_text(position, splices);
                located.extend_from_slice(format!("P{position}\0").as_bytes());
            }
            None => located.extend_from_slice(field),
        }
    }
    located
}

/// A Query with the lists that its statements lack, and where they were put; `None` if it is to go as it came.
pub(super) fn with_lists<'a>(
    text: &str,
    statements: impl Iterator<Item = (Range<usize>, &'a Plan)>,
) -> Option<(Buffer, Box<Spliced>)> {
    let listed = statements.filter_map(|(range, plan)| Some((range, plan.listed.as_ref()?)));
    let (sql, splices) = put_into_all(text, listed)?;
    let mut message = Buffer::default();
    frame::put(&mut message, b'Q', &[sql.as_bytes(), b"\0"].concat());
    Some((message, Box::new(Spliced::Text(splices))))
}

impl Session {
    /// A statement with lists of ours has failed: where the table has other columns than it was planned by, the next one is
    /// planned anew.
    #[cold]
    pub(super) async fn relearn(&mut self, code: Option<[u8; 5]>) {
        // undefined_column; a list that is too short or too long is a syntax_error.
        if !matches!(code.as_ref(), Some(b"42703" | b"42601")) {
            return;
        }
        if let Err(e) = self.read_anew().await {
            tracing::warn!(database = self.database.name, "{e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_placed_in_the_message_that_it_answers() {
        let splice = |at| vec![Splice { at, was: 0, is: 10 }];
        let spliced = Spliced::Items(vec![splice(2), Vec::new(), splice(20)]);
        let body = b"SERROR\0P31\0Mno\0\0";
        assert_eq!(spliced.located(body, 3), b"SERROR\0P21\0Mno\0\0");
        assert_eq!(spliced.located(body, 2), body);
        for left in [0, 1] {
            assert_eq!(spliced.located(body, left), b"SERROR\0P21\0Mno\0\0");
        }
        assert_eq!(Spliced::Text(splice(40)).located(body, 0), body);
    }
}
