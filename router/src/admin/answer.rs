//! What a command answers: columns that are known before it runs, rows, notices and a tag.

use super::command::SettingWrite;
use crate::reply;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;

/// The types that PgBouncer's columns have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// `text`; PgBouncer sends times as text, too.
    Text,
    /// `int4`
    Int4,
    /// `int8`
    Int8,
    /// `numeric`: counts that may outgrow a bigint.
    Numeric,
}

impl Type {
    fn oid(self) -> u32 {
        match self {
            Self::Text => 25,
            Self::Int4 => 23,
            Self::Int8 => 20,
            Self::Numeric => 1700,
        }
    }

    fn size(self) -> i16 {
        match self {
            Self::Int4 => 4,
            Self::Int8 => 8,
            Self::Text | Self::Numeric => -1,
        }
    }

    /// A value in binary format; `None` if it is no value of this type.
    fn binary(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Int4 => text.parse::<i32>().ok().map(|n| n.to_be_bytes().to_vec()),
            Self::Int8 => text.parse::<i64>().ok().map(|n| n.to_be_bytes().to_vec()),
            Self::Numeric => text.parse().ok().map(numeric),
        }
    }
}

/// A whole number as numeric_send writes it: digits to the base 10000, without trailing zeros.
fn numeric(mut number: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    while number > 0 {
        digits.insert(0, (number % 10_000) as u16);
        number /= 10_000;
    }
    let weight = digits.len().saturating_sub(1) as u16;
    digits.truncate(digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1));
    let head = [digits.len() as u16, weight, 0, 0];
    head.iter().chain(&digits).flat_map(|n| n.to_be_bytes()).collect()
}

/// A column's name and type.
pub(crate) type Column = (&'static str, Type);

/// A row's values; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// A value for a row.
pub(crate) trait Cell {
    /// As text.
    fn cell(self) -> Option<String>;
}

macro_rules! cells {
    ($($type:ty),+) => {
        $(impl Cell for $type {
            fn cell(self) -> Option<String> {
                Some(self.to_string())
            }
        })+
    };
}

cells!(&str, String, &String, u16, u32, u64, usize, i32);

impl<T: Cell> Cell for Option<T> {
    fn cell(self) -> Option<String> {
        self.and_then(Cell::cell)
    }
}

/// A row of values of whatever kinds.
macro_rules! row {
    ($($value:expr),+ $(,)?) => {
        vec![$($crate::admin::answer::Cell::cell($value)),+]
    };
}
pub(crate) use row;

/// What a command answers.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Said before all else: message and detail.
    pub notice: Option<(&'static str, &'static str)>,
    /// Its rows.
    pub rows: Vec<Row>,
    /// CommandComplete's text.
    pub tag: String,
}

impl Answer {
    /// Rows, as SHOW gives them.
    pub fn rows(rows: Vec<Row>) -> Self {
        Self { rows, ..Self::tag("SHOW") }
    }

    /// A tag alone.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self { notice: None, rows: Vec::new(), tag: tag.into() }
    }

    /// What SET answers when it changed something.
    pub fn set(change: &SettingWrite) -> Self {
        Self::tag(format!("SET {}={}", change.key, change.value))
    }
}

/// NoticeResponse with severity NOTICE.
pub(crate) fn notice(out: &mut Buffer, message: &str, detail: &str) {
    let mut body = format!("SNOTICE\0VNOTICE\0C00000\0M{message}\0");
    if !detail.is_empty() {
        body.push_str(&format!("D{detail}\0"));
    }
    body.push('\0');
    frame::put(out, b'N', body.as_bytes());
}

/// RowDescription; `binary` says for each column in which format it will come.
pub(crate) fn description(out: &mut Buffer, columns: &[Column], binary: impl Fn(usize) -> bool) {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for (index, (name, kind)) in columns.iter().enumerate() {
        body.extend(name.as_bytes());
        // The name's end, no table, no column of it.
        body.extend([0; 1 + 4 + 2]);
        body.extend(kind.oid().to_be_bytes());
        body.extend(kind.size().to_be_bytes());
        body.extend((-1i32).to_be_bytes());
        body.extend(u16::from(binary(index)).to_be_bytes());
    }
    frame::put(out, b'T', &body);
}

/// DataRow.
pub(crate) fn data(out: &mut Buffer, columns: &[Column], row: &Row, binary: impl Fn(usize) -> bool) {
    debug_assert_eq!(columns.len(), row.len(), "a value for each column");
    let mut body = (row.len() as u16).to_be_bytes().to_vec();
    for (index, (value, (_, kind))) in row.iter().zip(columns).enumerate() {
        let bytes = value.as_ref().and_then(|text| match binary(index) {
            true => kind.binary(text),
            false => Some(text.as_bytes().to_vec()),
        });
        match bytes {
            Some(bytes) => {
                body.extend((bytes.len() as u32).to_be_bytes());
                body.extend(bytes);
            }
            None => body.extend((-1i32).to_be_bytes()),
        }
    }
    frame::put(out, b'D', &body);
}

/// The whole answer in text format, as the simple protocol has it.
pub(crate) fn write(out: &mut Buffer, columns: Option<&[Column]>, answer: &Answer) {
    if let Some((message, detail)) = answer.notice {
        notice(out, message, detail);
    }
    if let Some(columns) = columns {
        description(out, columns, |_| false);
        answer.rows.iter().for_each(|row| data(out, columns, row, |_| false));
    }
    reply::complete(out, &answer.tag);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_sent_as_postgres_sends_them() {
        // SELECT encode(numeric_send(n), 'hex')
        for (number, hex) in [
            (0, "0000000000000000"),
            (7, "00010000000000000007"),
            (10_000, "00010001000000000001"),
            (12_345_678, "000200010000000004d2162e"),
            (100_000_000, "00010002000000000001"),
        ] {
            let sent: String = numeric(number).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(sent, hex, "{number}");
        }
    }
}
