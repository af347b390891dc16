//! The messages that rows come in: RowDescription and DataRow, taken apart without copying.

use super::value::{Described, Format};
use super::{Aggregate, CombineError, Shape};
use shardway_pool::frame;

/// A column's place in the bytes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    start: u32,
    /// Negative for NULL.
    length: i32,
}

impl Cell {
    /// Its bytes; `None` for NULL.
    pub(super) fn of(self, values: &[u8]) -> Option<&[u8]> {
        let length = usize::try_from(self.length).ok()?;
        let start = self.start as usize;
        Some(&values[start..start + length])
    }

    /// Its place; empty for NULL.
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end()
    }

    /// Its bytes with the length in front.
    pub(super) fn framed(self, values: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &values[start - 4..self.end()]
    }

    /// Where it ends.
    pub(super) fn end(self) -> usize {
        self.start as usize + usize::try_from(self.length).unwrap_or(0)
    }
}

/// The values of a DataRow's body, behind their number, which must be this one.
pub(super) fn values(body: &[u8], columns: usize) -> Option<&[u8]> {
    let (count, values) = frame::i16(body)?;
    (usize::from(count as u16) == columns).then_some(values)
}

/// Finds the columns of a row.
pub(super) fn cells(values: &[u8], columns: usize, cells: &mut Vec<Cell>) -> Option<()> {
    cells.clear();
    let mut at = 0usize;
    for _ in 0..columns {
        let (length, _) = frame::i32(values.get(at..)?)?;
        let cell = Cell { start: u32::try_from(at + 4).ok()?, length };
        at = cell.end();
        cells.push(cell);
    }
    (at == values.len()).then_some(())
}

/// What a RowDescription's body says of the columns. Errors: an aggregate of none of the types that it may have.
pub(super) fn describe(body: &[u8], shape: &Shape) -> Result<Vec<Described>, CombineError> {
    let mut columns = described(body).ok_or(CombineError::Malformed)?;
    if columns.len() != shape.visible + shape.hidden {
        return Err(CombineError::Malformed);
    }
    // Text in binary format is text.
    columns[shape.visible..].iter_mut().for_each(|column| column.format = Format::Text);
    let meant = |a: &Aggregate| a.column >= shape.visible || a.types.contains(&columns[a.column].oid);
    if !shape.aggregates.iter().all(meant) {
        return Err(CombineError::Type);
    }
    Ok(columns)
}

fn described(body: &[u8]) -> Option<Vec<Described>> {
    let (count, mut at) = frame::i16(body)?;
    let mut columns = Vec::with_capacity(usize::from(count as u16));
    for _ in 0..count as u16 {
        let (_, rest) = frame::cstr(at)?;
        // Behind the table's OID and the column's number: type, size, modifier, format.
        let (oid, _) = frame::i32(rest.get(6..)?)?;
        let (format, rest) = frame::i16(rest.get(16..)?)?;
        let format = if format == 1 { Format::Binary } else { Format::Text };
        columns.push(Described { oid: oid as u32, format });
        at = rest;
    }
    Some(columns)
}
