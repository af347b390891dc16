//! What a WITH counts at its end, `SELECT count(*) FROM …`: the counts of all shards are added up.

use super::super::scatter::broken_row;
use crate::error::ClientError;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;

/// Sums of the shards' counts, column by column.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<i64>);

impl Counts {
    /// Takes in a shard's row, a DataRow's body. `formats` are as in Bind.
    pub(super) fn add(&mut self, row: &[u8], formats: &[u8]) -> Result<(), ClientError> {
        let (columns, mut rest) = frame::i16(row).ok_or_else(broken_row)?;
        let columns = usize::try_from(columns).map_err(|_| broken_row())?;
        self.0.resize(columns, 0);
        for (at, sum) in self.0.iter_mut().enumerate() {
            let (length, value) = frame::i32(rest).ok_or_else(broken_row)?;
            let length = usize::try_from(length).map_err(|_| broken_row())?;
            let (value, next) = value.split_at_checked(length).ok_or_else(broken_row)?;
            let count = match is_binary(formats, at) {
                true => value.try_into().ok().map(i64::from_be_bytes),
                false => std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
            };
            *sum = sum.saturating_add(count.ok_or_else(broken_row)?);
            rest = next;
        }
        Ok(())
    }

    /// The row of sums, as a DataRow.
    pub(super) fn put(&self, out: &mut Buffer, formats: &[u8]) {
        let mut row = (self.0.len() as u16).to_be_bytes().to_vec();
        for (at, sum) in self.0.iter().enumerate() {
            let value = match is_binary(formats, at) {
                true => sum.to_be_bytes().to_vec(),
                false => sum.to_string().into_bytes(),
            };
            row.extend_from_slice(&(value.len() as u32).to_be_bytes());
            row.extend_from_slice(&value);
        }
        frame::put(out, b'D', &row);
    }
}

/// Whether a column is asked for in binary: a number of formats, and none, one for all or one for each.
fn is_binary(formats: &[u8], column: usize) -> bool {
    let Some((count, rest)) = frame::i16(formats) else { return false };
    let at = if count == 1 { 0 } else { column * 2 };
    rest.get(at..at + 2) == Some(&[0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&[u8]]) -> Vec<u8> {
        let mut row = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            row.extend_from_slice(&(value.len() as u32).to_be_bytes());
            row.extend_from_slice(value);
        }
        row
    }

    #[test]
    fn counts_are_added_in_each_format() {
        let formats = [0, 2, 0, 0, 0, 1];
        let mut counts = Counts::default();
        counts.add(&row(&[b"40", &3i64.to_be_bytes()]), &formats).unwrap();
        counts.add(&row(&[b"2", &4i64.to_be_bytes()]), &formats).unwrap();
        let mut out = Buffer::default();
        counts.put(&mut out, &formats);
        assert_eq!(&out.filled()[5..], row(&[b"42", &7i64.to_be_bytes()]));
        assert!(counts.add(&row(&[b"x", b""]), &formats).is_err());
    }
}
