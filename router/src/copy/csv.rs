//! Rows and fields of the CSV format: lines, but for ends of line within quotes.

use super::{Breaks, Csv, Eol, Found};
use std::borrow::Cow;

/// How much of the data's end mark was seen, at the start of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    /// Nothing of the line yet.
    #[default]
    Start,
    /// `\`
    Backslash,
    /// `\.`
    Dot,
    /// `\.\r`, where lines end in two bytes.
    DotCr,
    /// This line is not one.
    No,
}

/// Finds the ends of rows, in pieces of any size.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    pub(super) eol: Option<Eol>,
    quote: u8,
    /// In front of a quote; `None` where that is the quote itself.
    escape: Option<u8>,
    marks_end: bool,
    in_quote: bool,
    escaped: bool,
    mark: Mark,
    /// A carriage return may be the first half of an end of line.
    cr: bool,
    pub(super) breaks: Breaks,
}

impl Scanner {
    pub(super) fn new(csv: &Csv) -> Self {
        Self {
            eol: None,
            quote: csv.quote,
            escape: (csv.escape != csv.quote).then_some(csv.escape),
            marks_end: csv.marks_end,
            in_quote: false,
            escaped: false,
            mark: Mark::Start,
            cr: false,
            breaks: Breaks::default(),
        }
    }

    /// Looks for the next row's end from the start of `data`.
    pub(super) fn scan(&mut self, data: &[u8]) -> Found {
        let mut at = 0;
        while at < data.len() {
            if self.mark == Mark::No && !self.cr && !self.escaped {
                at += self.dull(&data[at..]);
                if at == data.len() {
                    break;
                }
            }
            if let Some(found) = self.step(data[at], at) {
                return found;
            }
            at += 1;
        }
        Found::Nothing
    }

    /// Bytes at the start that mean nothing.
    fn dull(&self, data: &[u8]) -> usize {
        let found = match (self.in_quote, self.escape) {
            (false, _) | (true, None) => memchr::memchr3(self.quote, b'\n', b'\r', data),
            (true, Some(escape)) => {
                data.iter().position(|b| *b == self.quote || *b == escape || *b == b'\n' || *b == b'\r')
            }
        };
        found.unwrap_or(data.len())
    }

    fn step(&mut self, byte: u8, at: usize) -> Option<Found> {
        if std::mem::take(&mut self.cr) {
            return match (byte, self.eol) {
                (b'\n', _) if self.mark == Mark::DotCr => Some(Found::End { end: at + 1, mark: 4 }),
                (b'\n', _) => self.ends(Eol::CrNl, at + 1),
                (_, None) => self.ends(Eol::Cr, at),
                _ => Some(Found::Odd(at + 1)),
            };
        }
        if self.mark != Mark::No
            && let Some(found) = self.marked(byte, at)
        {
            return Some(found);
        }
        if self.in_quote && Some(byte) == self.escape {
            self.escaped = !self.escaped;
        }
        if byte == self.quote && !self.escaped {
            self.in_quote = !self.in_quote;
        }
        if Some(byte) != self.escape {
            self.escaped = false;
        }
        if self.in_quote {
            self.breaks.nl += u32::from(byte == b'\n');
            self.breaks.cr += u32::from(byte == b'\r');
            return None;
        }
        match (byte, self.eol) {
            (b'\n', None | Some(Eol::Nl)) => self.ends(Eol::Nl, at + 1),
            (b'\r', None | Some(Eol::CrNl)) => {
                self.cr = true;
                None
            }
            (b'\r', Some(Eol::Cr)) => self.ends(Eol::Cr, at + 1),
            (b'\n' | b'\r', _) => Some(Found::Odd(at + 1)),
            _ => None,
        }
    }

    /// Follows the end mark. What turns out to be none is looked at as data.
    fn marked(&mut self, byte: u8, at: usize) -> Option<Found> {
        let (mark, found) = match (self.mark, byte) {
            (Mark::Start, b'\\') if self.marks_end => (Mark::Backslash, None),
            (Mark::Backslash, b'.') => (Mark::Dot, None),
            (Mark::Dot, b'\r') if self.eol == Some(Eol::CrNl) => (Mark::DotCr, None),
            (Mark::Dot, b'\n') if matches!(self.eol, None | Some(Eol::Nl)) => {
                (Mark::No, Some(Found::End { end: at + 1, mark: 3 }))
            }
            (Mark::Dot, b'\r') if matches!(self.eol, None | Some(Eol::Cr)) => {
                (Mark::No, Some(Found::End { end: at + 1, mark: 3 }))
            }
            _ => (Mark::No, None),
        };
        self.mark = mark;
        found
    }

    fn ends(&mut self, eol: Eol, end: usize) -> Option<Found> {
        self.eol = Some(eol);
        self.mark = Mark::Start;
        Some(Found::Row { end, eol: eol.len() })
    }

    /// Nothing comes any more. What is left is a row without an end of line, but for what this says.
    pub(super) fn finish(&mut self) -> Found {
        match (std::mem::take(&mut self.cr), self.eol) {
            (true, None) => Found::Row { end: 0, eol: 1 },
            (true, Some(_)) => Found::Odd(0),
            // A quote that is not closed.
            (false, _) if self.in_quote => Found::Odd(0),
            (false, _) => Found::Nothing,
        }
    }
}

/// The data of field `index` of a row without its end of line; `Some(None)` for NULL, `None` if there are fewer fields, or
/// a quote is not closed.
pub(super) fn field<'a>(row: &'a [u8], index: usize, csv: &Csv) -> Option<Option<Cow<'a, [u8]>>> {
    let mut rest = row;
    for _ in 0..index {
        let (len, ..) = measure(rest, csv)?;
        rest = rest.get(len + 1..)?;
    }
    let (len, quoted, changed) = measure(rest, csv)?;
    let raw = &rest[..len];
    let data = if changed { Cow::Owned(unquote(raw, csv)) } else { Cow::Borrowed(raw) };
    let is_null =
        if quoted { csv.key_null && *data == csv.null[..] } else { !csv.key_not_null && raw == csv.null };
    Some((!is_null).then_some(data))
}

/// How long the field is that `text` begins with, whether there are quotes in it, and whether its data is not its bytes.
fn measure(text: &[u8], csv: &Csv) -> Option<(usize, bool, bool)> {
    let mut quoted = false;
    let mut at = 0;
    loop {
        match memchr::memchr2(csv.delimiter, csv.quote, &text[at..]) {
            None => return Some((text.len(), quoted, quoted)),
            Some(n) if text[at + n] == csv.delimiter => return Some((at + n, quoted, quoted)),
            Some(n) => at += n + 1,
        }
        quoted = true;
        at += closing(&text[at..], csv)? + 1;
    }
}

/// Where the quote is that closes; `None` if there is none.
fn closing(text: &[u8], csv: &Csv) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(csv.quote, csv.escape, &text[at..])?;
        let next = text.get(at + 1);
        if text[at] == csv.escape && next.is_some_and(|n| *n == csv.quote || *n == csv.escape) {
            at += 2;
        } else if text[at] == csv.quote {
            return Some(at);
        } else {
            at += 1;
        }
    }
}

fn unquote(raw: &[u8], csv: &Csv) -> Vec<u8> {
    let mut data = Vec::with_capacity(raw.len());
    let mut in_quote = false;
    let mut at = 0;
    while at < raw.len() {
        let (byte, next) = (raw[at], raw.get(at + 1));
        at += 1;
        if in_quote
            && byte == csv.escape
            && let Some(next) = next.filter(|n| **n == csv.quote || **n == csv.escape)
        {
            data.push(*next);
            at += 1;
        } else if byte == csv.quote {
            in_quote = !in_quote;
        } else {
            data.push(byte);
        }
    }
    data
}
