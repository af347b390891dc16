//! Message frames: one tag byte, a length that counts itself, a body.
//! Source: PostgreSQL, "Frontend/Backend Protocol", Message Formats.

use thiserror::Error;

/// Bytes before a message's body.
pub const HEADER: usize = 5;

/// The largest message Postgres itself takes (`PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize - 1`).
pub const MAX_MESSAGE: usize = 0x3fff_ffff;

/// What the first five bytes of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub tag: u8,
    /// Bytes of the whole message, header included.
    pub len: usize,
}

/// A peer that does not speak the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length does not even cover itself, or is beyond what is allowed here.
    #[error("invalid message length")]
    Length(i32),
}

/// Reads a header; `None` while there are too few bytes. A body may have up to `max` bytes.
pub fn peek(bytes: &[u8], max: usize) -> Result<Option<Header>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = i32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    match usize::try_from(length) {
        Ok(n) if n >= 4 && n - 4 <= max => Ok(Some(Header { tag: header[0], len: n + 1 })),
        _ => Err(FrameError::Length(length)),
    }
}

/// The first message, if all of it is there: its tag and body.
pub fn first(bytes: &[u8], max: usize) -> Result<Option<(u8, &[u8])>, FrameError> {
    let Some(header) = peek(bytes, max)? else { return Ok(None) };
    Ok(bytes.get(HEADER..header.len).map(|body| (header.tag, body)))
}

/// Appends a message made of a tag and a body.
pub fn put(out: &mut crate::buffer::Buffer, tag: u8, body: &[u8]) {
    debug_assert!(body.len() <= MAX_MESSAGE);
    out.push(tag);
    out.extend(&(body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
}

/// A C string at the start of `body`, and what follows it.
pub fn cstr(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, body)?;
    Some((&body[..end], &body[end + 1..]))
}

/// A big-endian `i16` at the start of `body`, and what follows it.
pub fn i16(body: &[u8]) -> Option<(i16, &[u8])> {
    let (head, rest) = body.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*head), rest))
}

/// A big-endian `i32` at the start of `body`, and what follows it.
pub fn i32(body: &[u8]) -> Option<(i32, &[u8])> {
    let (head, rest) = body.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*head), rest))
}

/// A field of an ErrorResponse or NoticeResponse body (`C` is the SQLSTATE, `M` the message).
pub fn error_field(mut body: &[u8], code: u8) -> Option<&[u8]> {
    while let Some((&kind, rest)) = body.split_first() {
        if kind == 0 {
            return None;
        }
        let (text, rest) = cstr(rest)?;
        if kind == code {
            return Some(text);
        }
        body = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_that_does_not_cover_itself_is_refused() {
        assert_eq!(peek(b"Q\0\0\0\x03", 10), Err(FrameError::Length(3)));
        assert_eq!(peek(b"Q\xff\xff\xff\xff", 10), Err(FrameError::Length(-1)));
        assert_eq!(peek(b"Q\0\0\0\x0f", 10), Err(FrameError::Length(15)));
    }

    #[test]
    fn an_unfinished_message_is_not_an_error() {
        assert_eq!(peek(b"Q\0\0\0", 10), Ok(None));
        assert_eq!(first(b"Q\0\0\0\x08ab", 10), Ok(None));
        assert_eq!(first(b"Q\0\0\0\x06abZ", 10), Ok(Some((b'Q', &b"ab"[..]))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = peek(&bytes, 1000);
            let _ = first(&bytes, 1000);
            let _ = error_field(&bytes, b'C');
            let _ = cstr(&bytes);
        }
    }
}
