//! Single values: read from a column's bytes, compared, written in the format that the client asked for.

use super::Compared;
use super::numeric::Numeric;
use std::cmp::Ordering;

/// A column's format, as RowDescription says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

/// OIDs of types that are written here.
pub(super) mod oid {
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT4: u32 = 23;
}

/// What RowDescription says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) oid: u32,
    pub(super) format: Format,
}

/// A value that is not NULL.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Integer(i128),
    Numeric(Numeric),
    Bool(bool),
    Float(f64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads a value; `None` if it is not one.
    pub(super) fn read(bytes: &'a [u8], format: Format, compared: Compared) -> Option<Self> {
        Some(match compared {
            Compared::Integer => Self::Integer(integer(bytes, format)?),
            Compared::Oid => Self::Integer(unsigned(bytes, format)?),
            Compared::Numeric => Self::Numeric(numeric(bytes, format)?),
            Compared::Bool => Self::Bool(boolean(bytes, format)?),
            Compared::Bytes => Self::Bytes(bytes),
            Compared::Sent => Self::Integer(sent(bytes)?),
            Compared::SentFloat => Self::Float(sent_float(bytes)?),
        })
    }

    /// As Postgres compares values of one type: among floats and numerics, NaN equals itself and is the largest.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Numeric(a), Self::Numeric(b)) => a.compare(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => {
                a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
            }
            // A column's values are all of one kind.
            _ => Ordering::Equal,
        }
    }
}

/// An integer of two, four or eight bytes.
pub(super) fn integer(bytes: &[u8], format: Format) -> Option<i128> {
    match format {
        Format::Text => digits(bytes),
        Format::Binary => signed(bytes),
    }
}

/// Decimal digits, perhaps under a minus sign.
fn digits(text: &[u8]) -> Option<i128> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn signed(bytes: &[u8]) -> Option<i128> {
    Some(match bytes.len() {
        2 => i16::from_be_bytes(bytes.try_into().ok()?).into(),
        4 => i32::from_be_bytes(bytes.try_into().ok()?).into(),
        8 => i64::from_be_bytes(bytes.try_into().ok()?).into(),
        _ => return None,
    })
}

fn unsigned(bytes: &[u8], format: Format) -> Option<i128> {
    match format {
        Format::Text => digits(bytes),
        Format::Binary => Some(u32::from_be_bytes(bytes.try_into().ok()?).into()),
    }
}

pub(super) fn numeric(bytes: &[u8], format: Format) -> Option<Numeric> {
    match format {
        Format::Text => Numeric::parse(bytes),
        Format::Binary => Numeric::receive(bytes),
    }
}

pub(super) fn boolean(bytes: &[u8], format: Format) -> Option<bool> {
    match (format, bytes) {
        (Format::Text, b"t" | b"true") | (Format::Binary, [1]) => Some(true),
        (Format::Text, b"f" | b"false") | (Format::Binary, [0]) => Some(false),
        _ => None,
    }
}

fn sent(hex: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(hex).ok()?;
    match hex.len() {
        8 => u32::from_str_radix(text, 16).ok().map(|n| (n as i32).into()),
        16 => u64::from_str_radix(text, 16).ok().map(|n| (n as i64).into()),
        _ => None,
    }
}

fn sent_float(hex: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(hex).ok()?;
    match hex.len() {
        8 => u32::from_str_radix(text, 16).ok().map(|bits| f32::from_bits(bits).into()),
        16 => u64::from_str_radix(text, 16).ok().map(f64::from_bits),
        _ => None,
    }
}

/// Appends a value of a DataRow: its length and what `write` appends.
pub(super) fn put(row: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = row.len();
    row.extend_from_slice(&[0; 4]);
    write(row);
    let length = (row.len() - at - 4) as u32;
    row[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends NULL as a value of a DataRow.
pub(super) fn put_null(row: &mut Vec<u8>) {
    row.extend_from_slice(&(-1i32).to_be_bytes());
}

/// Appends an integer of so many bytes, which it fits.
pub(super) fn write_integer(out: &mut Vec<u8>, value: i128, format: Format, width: usize) {
    match format {
        Format::Text => out.extend_from_slice(value.to_string().as_bytes()),
        Format::Binary => out.extend_from_slice(&value.to_be_bytes()[16 - width..]),
    }
}

/// Appends a numeric.
pub(super) fn write_numeric(out: &mut Vec<u8>, value: &Numeric, format: Format) {
    match format {
        Format::Text => value.write_text(out),
        Format::Binary => value.write_binary(out),
    }
}

/// Appends a bool.
pub(super) fn write_bool(out: &mut Vec<u8>, value: bool, format: Format) {
    out.push(match (format, value) {
        (Format::Text, true) => b't',
        (Format::Text, false) => b'f',
        (Format::Binary, value) => u8::from(value),
    });
}
