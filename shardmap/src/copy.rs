//! Finding and unescaping one field of a line in COPY's text format.
//!
//! The rules are those of Postgres's `CopyReadAttributesText`. Lines are split by the caller, without their
//! end of line; a backslash keeps an end of line within its line. CSV and binary are other formats.

use std::borrow::Cow;

use crate::uuid::hex_value;
use crate::{KeyType, KeyValue, Use};

/// What stands for NULL unless COPY's NULL option says otherwise.
pub const DEFAULT_NULL: &[u8] = b"\\N";

/// The raw bytes of field `index` (from 0) of a line, escapes and all; `None` if the line has fewer fields.
///
/// `delimiter` is COPY's DELIMITER, one byte, a tab by default; an escaped delimiter is data.
pub fn field(line: &[u8], index: usize, delimiter: u8) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..index {
        let end = field_len(rest, delimiter);
        rest = rest.get(end + 1..)?;
    }
    Some(&rest[..field_len(rest, delimiter)])
}

/// A raw field's data, or `None` for NULL, which is recognised before unescaping.
///
/// `\b \f \n \r \t \v` are control characters, `\` with one to three octal digits or `x` with one or two
/// hexadecimal ones is that byte, `\` before anything else is that itself, and a lone `\` at the end of the
/// line is dropped.
pub fn unescape<'a>(raw: &'a [u8], null: &[u8]) -> Option<Cow<'a, [u8]>> {
    let Some(mut at) = find_backslash(raw) else {
        return (raw != null).then_some(Cow::Borrowed(raw));
    };
    let mut data = raw[..at].to_vec();
    let mut end = raw.len();
    while at < raw.len() {
        let escape = Escape::read(&raw[at..]);
        if escape.data.is_none() {
            end = at;
        }
        data.extend(escape.data);
        at += escape.len;
        let plain = find_backslash(&raw[at..]).unwrap_or(raw.len() - at);
        data.extend_from_slice(&raw[at..at + plain]);
        at += plain;
    }
    // Postgres ends the field before a lone backslash, so NULL may stand before it.
    (&raw[..end] != null).then_some(Cow::Owned(data))
}

fn find_backslash(text: &[u8]) -> Option<usize> {
    text.iter().position(|b| *b == b'\\')
}

impl KeyType {
    /// Reads a raw COPY field, as found by [`field`], as a key to be stored.
    pub fn read_copy_field<'a>(&self, raw: &'a [u8], null: &[u8]) -> KeyValue<'a> {
        match unescape(raw, null) {
            None => KeyValue::Null,
            Some(Cow::Borrowed(text)) => self.read_text(text, Use::Store),
            Some(Cow::Owned(text)) => self.read_text(&text, Use::Store).into_owned(),
        }
    }
}

/// The length of the field that `line` starts with.
fn field_len(line: &[u8], delimiter: u8) -> usize {
    let mut len = 0;
    while let Some(plain) = line[len..].iter().position(|b| *b == delimiter || *b == b'\\') {
        len += plain;
        // A delimiter can't be a backslash, so one that is met here starts an escape.
        if line[len] == delimiter {
            return len;
        }
        len += Escape::read(&line[len..]).len;
    }
    line.len()
}

/// One escape sequence.
struct Escape {
    /// Bytes, from the backslash on.
    len: usize,
    /// The byte it stands for; `None` for a lone backslash.
    data: Option<u8>,
}

impl Escape {
    /// Reads the escape sequence that `text` starts with.
    fn read(text: &[u8]) -> Escape {
        match &text[1..] {
            [] => Escape { len: 1, data: None },
            [digit @ b'0'..=b'7', tail @ ..] => Escape::octal(*digit, tail),
            [b'x', tail @ ..] => Escape::hex(tail),
            [letter, ..] => Escape { len: 2, data: Some(control(*letter)) },
        }
    }

    /// One to three digits, of whose value the low eight bits count.
    fn octal(first: u8, tail: &[u8]) -> Escape {
        let more = tail.iter().take(2).take_while(|b| matches!(b, b'0'..=b'7'));
        let (digits, value) = more
            .fold((1, u16::from(first - b'0')), |(n, value), b| (n + 1, value << 3 | u16::from(b - b'0')));
        Escape { len: 1 + digits, data: Some((value & 0xff) as u8) }
    }

    /// One or two digits; without any, the `x` is itself.
    fn hex(tail: &[u8]) -> Escape {
        let digits = tail.iter().take(2).map_while(|b| hex_value(*b));
        let (len, data) =
            digits.fold((2, None), |(n, value), digit| (n + 1, Some(value.unwrap_or(0) << 4 | digit)));
        Escape { len, data: data.or(Some(b'x')) }
    }
}

/// What `\` and `letter` stand for.
fn control(letter: u8) -> u8 {
    match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    }
}

#[cfg(test)]
mod tests;
