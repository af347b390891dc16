//! An INSERT … SELECT with rows in the place of its query.

use super::super::wording::{Worded, clock_edits, literal};
use crate::error::ClientError;
use crate::plan::listed::Listed;
use crate::plan::spread::Fed;
use crate::plan::spread::clock::Frozen;
use crate::plan::spread::text::{Tokens, Woven};
use shardway_pool::frame;
use std::ops::Range;

/// The statement around its query, and what the rows of that are cast to.
pub(super) struct Around<'a> {
    pub(super) text: &'a str,
    pub(super) fed: &'a Fed,
    pub(super) frozen: &'a Frozen,
    pub(super) tokens: Tokens<'a>,
    pub(super) query: Range<usize>,
    pub(super) columns_end: Option<usize>,
    pub(super) casts: Vec<String>,
    /// The columns that the query's are for, where the text leaves that unsaid.
    pub(super) listed: Option<Listed>,
}

impl Around<'_> {
    /// The statement with some of the rows in the place of its query.
    pub(super) fn with(&self, rows: &[Box<[u8]>], share: &[usize]) -> Result<Worded, ClientError> {
        let edits = clock_edits(&self.tokens);
        let mut woven = Woven::default();
        match self.columns_end {
            Some(end) => {
                woven.piece(self.text, 0..end, &edits, self.frozen);
                woven.own(&self.fed.named);
                woven.piece(self.text, end..self.query.start, &edits, self.frozen);
            }
            None => {
                let lists = self.listed.as_ref().map(|listed| listed.pieces(self.text)).unwrap_or_default();
                let mut done = 0;
                for (at, list) in lists {
                    woven.piece(self.text, done..at, &edits, self.frozen);
                    woven.own(list);
                    done = at;
                }
                woven.piece(self.text, done..self.query.start, &edits, self.frozen);
            }
        }
        woven.own(&self.values(rows, share)?);
        woven.piece(self.text, self.query.end..self.tokens.end(), &edits, self.frozen);
        Ok(Worded { woven, hidden: 0 })
    }

    fn values(&self, rows: &[Box<[u8]>], share: &[usize]) -> Result<String, ClientError> {
        let mut sql = b"SELECT \"shardway rows\".*".to_vec();
        for value in &self.fed.appended {
            sql.extend_from_slice(format!(", {}", value.frozen(self.frozen)).as_bytes());
        }
        sql.extend_from_slice(b" FROM (VALUES (");
        for (n, &row) in share.iter().enumerate() {
            if n > 0 {
                sql.extend_from_slice(b", (");
            }
            let values =
                values_of(&rows[row]).filter(|values| values.len() == self.casts.len()).ok_or_else(unread)?;
            self.row(&values, n == 0, &mut sql);
        }
        if share.is_empty() {
            self.row(&vec![None; self.casts.len()], true, &mut sql);
        }
        sql.extend_from_slice(b") AS \"shardway rows\"");
        if share.is_empty() {
            sql.extend_from_slice(b" WHERE false");
        }
        sql.push(b' ');
        String::from_utf8(sql).map_err(|_| unread())
    }

    /// The first row says of what types all are.
    fn row(&self, values: &[Option<&[u8]>], is_first: bool, sql: &mut Vec<u8>) {
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                sql.push(b',');
            }
            literal(*value, sql);
            if is_first {
                sql.extend_from_slice(b"::");
                sql.extend_from_slice(self.casts[n].as_bytes());
            }
        }
        sql.push(b')');
    }
}

pub(super) fn unread() -> ClientError {
    ClientError::error("XX000", "a row of the query can't be read")
}

/// The values of a DataRow's body.
pub(in crate::session) fn values_of(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let (count, mut rest) = frame::i16(body)?;
    let mut values = Vec::with_capacity(usize::from(count as u16));
    for _ in 0..count as u16 {
        let (length, behind) = frame::i32(rest)?;
        let value = usize::try_from(length).ok();
        let value = match value {
            Some(length) => Some(behind.get(..length)?),
            None => None,
        };
        rest = &behind[value.map_or(0, <[u8]>::len)..];
        values.push(value);
    }
    Some(values)
}
