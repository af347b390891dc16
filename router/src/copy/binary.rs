//! The binary format: a header, rows of counted fields, a trailer.

use shardway_pool::frame;

/// What the data begins with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags and the length of the extension.
const HEADER: usize = 19;

/// What data begins with that we write: no flags, no extension.
pub const START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// And ends with.
pub const TRAILER: &[u8] = &[0xff, 0xff];

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// At least so many bytes are needed to tell.
    Needs(usize),
    /// The header or a row, so long.
    Whole(usize),
    /// The trailer.
    Trailer,
    /// No shard will take what stands before this byte.
    Odd(usize),
}

/// The header that `bytes` begin with. Flags that Postgres would not know are left to it.
pub(super) fn header(bytes: &[u8]) -> Part {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Part::Odd(known);
    }
    let Some(length) = bytes.get(15..HEADER).and_then(frame::i32) else { return Part::Needs(HEADER) };
    match usize::try_from(length.0) {
        Ok(extension) if bytes.len() < HEADER + extension => Part::Needs(HEADER + extension),
        Ok(extension) => Part::Whole(HEADER + extension),
        Err(_) => Part::Odd(HEADER),
    }
}

/// The row of so many fields that `bytes` begin with.
pub(super) fn row(bytes: &[u8], fields: usize) -> Part {
    let Some((count, _)) = frame::i16(bytes) else { return Part::Needs(2) };
    match usize::try_from(count) {
        Err(_) if count == -1 => return Part::Trailer,
        Ok(count) if count == fields => {}
        _ => return Part::Odd(2),
    }
    let mut at = 2;
    for _ in 0..fields {
        let Some((length, _)) = bytes.get(at..).and_then(frame::i32) else { return Part::Needs(at + 4) };
        at += 4;
        match usize::try_from(length) {
            Ok(length) => at += length,
            Err(_) if length == -1 => {}
            Err(_) => return Part::Odd(at),
        }
        // Not before its length is known to be one that may be held.
        if at > super::MAX_ROW {
            return Part::Needs(at);
        }
    }
    if bytes.len() < at { Part::Needs(at) } else { Part::Whole(at) }
}

/// Field `index` of a row; `Some(None)` for NULL, `None` if there are fewer.
pub(super) fn field(row: &[u8], index: usize) -> Option<Option<&[u8]>> {
    let (count, mut rest) = frame::i16(row)?;
    if usize::try_from(count).ok()? <= index {
        return None;
    }
    for _ in 0..index {
        let (length, behind) = frame::i32(rest)?;
        rest = behind.get(usize::try_from(length).unwrap_or(0)..)?;
    }
    let (length, behind) = frame::i32(rest)?;
    match usize::try_from(length) {
        Ok(length) => behind.get(..length).map(Some),
        Err(_) => Some(None),
    }
}
