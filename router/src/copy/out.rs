//! Rows as a COPY TO stream: what Postgres's own COPY would have written of them.

use super::{Csv, ForceQuote, Format, Text, binary};
use shardway_pool::frame;

/// Writes rows in a format.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    /// Columns that are quoted, NULLs apart.
    quoted: Vec<bool>,
}

impl Writer {
    /// For rows of these columns.
    pub fn new(format: Format, columns: &[&[u8]]) -> Self {
        let quoted = |name: &&[u8]| match &format {
            Format::Csv(Csv { force_quote: ForceQuote::All, .. }) => true,
            Format::Csv(Csv { force_quote: ForceQuote::Columns(names), .. }) => {
                names.iter().any(|quoted| quoted.as_bytes() == *name)
            }
            _ => false,
        };
        Self { quoted: columns.iter().map(quoted).collect(), format }
    }

    /// What comes before the first row; empty for nothing.
    pub fn header(&self, columns: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.format {
            Format::Text(text) if text.header => {
                for (n, name) in columns.iter().enumerate() {
                    if n > 0 {
                        out.push(text.delimiter);
                    }
                    write_text(name, text, &mut out);
                }
                out.push(b'\n');
            }
            Format::Csv(csv) if csv.header => {
                for (n, name) in columns.iter().enumerate() {
                    if n > 0 {
                        out.push(csv.delimiter);
                    }
                    write_csv(name, csv, false, columns.len() == 1, &mut out);
                }
                out.push(b'\n');
            }
            Format::Binary => out.extend_from_slice(binary::START),
            _ => {}
        }
        out
    }

    /// A DataRow's body as a row; `None` if it is not one.
    pub fn row(&self, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
        if self.format == Format::Binary {
            out.extend_from_slice(body);
            return Some(());
        }
        let (count, mut rest) = frame::i16(body)?;
        let count = usize::from(count as u16);
        for n in 0..count {
            let (length, behind) = frame::i32(rest)?;
            let value = match usize::try_from(length) {
                Ok(length) => Some(behind.get(..length)?),
                Err(_) => None,
            };
            rest = &behind[value.map_or(0, <[u8]>::len)..];
            self.field(n, value, count == 1, out);
        }
        out.push(b'\n');
        Some(())
    }

    fn field(&self, n: usize, value: Option<&[u8]>, alone: bool, out: &mut Vec<u8>) {
        let (delimiter, null) = match &self.format {
            Format::Text(text) => (text.delimiter, &text.null),
            Format::Csv(csv) => (csv.delimiter, &csv.null),
            Format::Binary => return,
        };
        if n > 0 {
            out.push(delimiter);
        }
        match (value, &self.format) {
            (None, _) => out.extend_from_slice(null),
            (Some(value), Format::Text(text)) => write_text(value, text, out),
            (Some(value), Format::Csv(csv)) => {
                write_csv(value, csv, self.quoted.get(n) == Some(&true), alone, out);
            }
            (Some(_), Format::Binary) => {}
        }
    }

    /// What comes behind the last row; empty for nothing.
    pub fn trailer(&self) -> &'static [u8] {
        if self.format == Format::Binary { binary::TRAILER } else { &[] }
    }
}

fn write_text(value: &[u8], text: &Text, out: &mut Vec<u8>) {
    for &byte in value {
        let escaped = match byte {
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            b'\\' => b'\\',
            delimiter if delimiter == text.delimiter => delimiter,
            plain => {
                out.push(plain);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
}

fn write_csv(value: &[u8], csv: &Csv, quoted: bool, alone: bool, out: &mut Vec<u8>) {
    let special = |b: &u8| *b == csv.delimiter || *b == csv.quote || *b == b'\n' || *b == b'\r';
    let is_mark = alone && value == b"\\.";
    if !(quoted || value == csv.null || is_mark || value.iter().any(special)) {
        out.extend_from_slice(value);
        return;
    }
    out.push(csv.quote);
    for &byte in value {
        if byte == csv.quote || byte == csv.escape {
            out.push(csv.escape);
        }
        out.push(byte);
    }
    out.push(csv.quote);
}
