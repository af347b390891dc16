//! Rows of the text format: lines, in which a backslash takes whatever follows into the line.

use super::{Eol, Found};

/// What the last bytes leave open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    /// `\r`, which may be the first half of an end of line.
    Cr,
    /// A backslash.
    Backslash,
    /// `\.`
    Dot,
    /// `\.\r`, where lines end in two bytes.
    DotCr,
}

/// Finds the ends of lines, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    pub(super) eol: Option<Eol>,
    open: Open,
}

impl Scanner {
    /// Looks for the next row's end from the start of `data`.
    pub(super) fn scan(&mut self, data: &[u8]) -> Found {
        let mut at = 0;
        while at < data.len() {
            let found = match self.open {
                Open::Nothing => match memchr::memchr3(b'\n', b'\r', b'\\', &data[at..]) {
                    None => return Found::Nothing,
                    Some(n) => {
                        at += n + 1;
                        self.meets(data[at - 1], at)
                    }
                },
                open => {
                    self.open = Open::Nothing;
                    at += 1;
                    self.resolves(open, data[at - 1], at - 1)
                }
            };
            if let Some(found) = found {
                return found;
            }
        }
        Found::Nothing
    }

    /// A byte that means something; `next` is the place behind it.
    fn meets(&mut self, byte: u8, next: usize) -> Option<Found> {
        match (byte, self.eol) {
            (b'\n', None | Some(Eol::Nl)) => self.ends(Eol::Nl, next),
            (b'\r', None | Some(Eol::CrNl)) => {
                self.open = Open::Cr;
                None
            }
            (b'\r', Some(Eol::Cr)) => self.ends(Eol::Cr, next),
            (b'\n' | b'\r', _) => Some(Found::Odd(next)),
            _ => {
                self.open = Open::Backslash;
                None
            }
        }
    }

    fn ends(&mut self, eol: Eol, end: usize) -> Option<Found> {
        self.eol = Some(eol);
        Some(Found::Row { end, eol: eol.len() })
    }

    /// The byte at `at` says what was open.
    fn resolves(&mut self, open: Open, byte: u8, at: usize) -> Option<Found> {
        match (open, byte) {
            (Open::Cr, b'\n') => self.ends(Eol::CrNl, at + 1),
            (Open::Cr, _) if self.eol.is_none() => self.ends(Eol::Cr, at),
            (Open::Backslash, b'.') => {
                self.open = Open::Dot;
                None
            }
            (Open::Backslash, _) => None,
            (Open::Dot, b'\r') if self.eol == Some(Eol::CrNl) => {
                self.open = Open::DotCr;
                None
            }
            (Open::Dot, b'\n') if matches!(self.eol, None | Some(Eol::Nl)) => {
                Some(Found::End { end: at + 1, mark: 3 })
            }
            (Open::Dot, b'\r') if matches!(self.eol, None | Some(Eol::Cr)) => {
                Some(Found::End { end: at + 1, mark: 3 })
            }
            (Open::DotCr, b'\n') => Some(Found::End { end: at + 1, mark: 4 }),
            _ => Some(Found::Odd(at + 1)),
        }
    }

    /// Nothing comes any more. What is left is a row without an end of line, but for what this says.
    pub(super) fn finish(&mut self) -> Found {
        match std::mem::take(&mut self.open) {
            Open::Cr if self.eol.is_none() => Found::Row { end: 0, eol: 1 },
            Open::Cr | Open::Dot | Open::DotCr => Found::Odd(0),
            Open::Backslash | Open::Nothing => Found::Nothing,
        }
    }
}
