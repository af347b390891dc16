//! Postgres's `numeric`, exactly: read from its text and binary forms, added, compared, averaged, and written again.
//!
//! Not a general decimal library: it has what partial aggregates need. Sources: the documentation of numeric types,
//! and numeric.c for scales and limits (`set_var_from_str`, `numeric_send`, `make_result`).

pub mod arithmetic;
#[cfg(test)]
mod tests;

/// Decimal digits in one digit of base 10000 (`DEC_DIGITS`).
const DIGITS: usize = 4;

/// The largest weight that Postgres stores (`NUMERIC_WEIGHT_MAX`).
const MAX_WEIGHT: i32 = i16::MAX as i32;

/// A value of type `numeric`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numeric {
    /// Below everything.
    NegativeInfinity,
    /// A number.
    Finite(Decimal),
    /// Above every number.
    Infinity,
    /// Above even that, and equal to itself.
    NaN,
}

/// A finite number: ± Σ digits\[i\] · 10000^(weight − i), shown with `scale` digits behind the point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    weight: i32,
    scale: u16,
    /// In base 10000, neither the first nor the last of them zero; none for zero.
    digits: Vec<u16>,
}

/// Signs as they are sent (`numeric_send`).
mod sign {
    pub const POSITIVE: u16 = 0x0000;
    pub const NEGATIVE: u16 = 0x4000;
    pub const NAN: u16 = 0xc000;
    pub const INFINITY: u16 = 0xd000;
    pub const NEGATIVE_INFINITY: u16 = 0xf000;
}

impl Numeric {
    /// Reads what `numeric_out` writes; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"NaN" => Self::NaN,
            b"Infinity" => Self::Infinity,
            b"-Infinity" => Self::NegativeInfinity,
            _ => Self::Finite(Decimal::parse(text)?),
        })
    }

    /// Reads what `numeric_send` writes; `None` for anything else.
    pub fn receive(bytes: &[u8]) -> Option<Self> {
        let word = |i: usize| bytes.get(2 * i..2 * i + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
        let (count, weight, sign, scale) = (word(0)?, word(1)? as i16, word(2)?, word(3)?);
        let digits: Vec<u16> = (0..usize::from(count)).map(|i| word(4 + i)).collect::<Option<_>>()?;
        if bytes.len() != 8 + 2 * digits.len() || digits.iter().any(|&d| d > 9999) {
            return None;
        }
        Some(match sign {
            sign::POSITIVE | sign::NEGATIVE => {
                Self::Finite(Decimal::new(sign == sign::NEGATIVE, i32::from(weight), scale, digits))
            }
            sign::NAN => Self::NaN,
            sign::INFINITY => Self::Infinity,
            sign::NEGATIVE_INFINITY => Self::NegativeInfinity,
            _ => return None,
        })
    }

    /// Appends its text, as `numeric_out` writes it.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::NaN => out.extend_from_slice(b"NaN"),
            Self::Infinity => out.extend_from_slice(b"Infinity"),
            Self::NegativeInfinity => out.extend_from_slice(b"-Infinity"),
            Self::Finite(decimal) => out.extend_from_slice(decimal.text().as_bytes()),
        }
    }

    /// Appends its binary form, as `numeric_send` writes it.
    pub fn write_binary(&self, out: &mut Vec<u8>) {
        let mut words = |words: [u16; 4]| words.iter().for_each(|w| out.extend_from_slice(&w.to_be_bytes()));
        match self {
            Self::NaN => words([0, 0, sign::NAN, 0]),
            // The scale is a bit of the sign as it is stored, which Postgres sends along.
            Self::Infinity => words([0, 0, sign::INFINITY, 32]),
            Self::NegativeInfinity => words([0, 0, sign::NEGATIVE_INFINITY, 32]),
            Self::Finite(d) => {
                let sign = if d.negative { sign::NEGATIVE } else { sign::POSITIVE };
                words([d.digits.len() as u16, d.weight as i16 as u16, sign, d.scale]);
                d.digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
            }
        }
    }
}

impl Decimal {
    /// Strips zeros at both ends, which change no value.
    fn new(negative: bool, weight: i32, scale: u16, mut digits: Vec<u16>) -> Self {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let leading = digits.iter().take_while(|&&d| d == 0).count();
        digits.drain(..leading);
        match digits.is_empty() {
            true => Self { negative: false, weight: 0, scale, digits },
            false => Self { negative, weight: weight - leading as i32, scale, digits },
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let point = unsigned.iter().position(|&c| c == b'.').unwrap_or(unsigned.len());
        let (whole, fraction) = (&unsigned[..point], unsigned.get(point + 1..).unwrap_or_default());
        if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let value = |chunk: &[u8]| chunk.iter().fold(0u16, |n, &c| n * 10 + u16::from(c - b'0'));
        let mut digits = Vec::with_capacity(whole.len() / DIGITS + fraction.len() / DIGITS + 2);
        digits.extend(whole.rchunks(DIGITS).rev().map(value));
        let weight = digits.len() as i32 - 1;
        let padded = |chunk: &[u8]| value(chunk) * 10u16.pow((DIGITS - chunk.len()) as u32);
        digits.extend(fraction.chunks(DIGITS).map(padded));
        Some(Self::new(negative, weight, u16::try_from(fraction.len()).ok()?, digits))
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(2 + usize::from(self.scale) + DIGITS * self.digits.len());
        if self.negative {
            text.push('-');
        }
        match self.weight {
            ..0 => text.push('0'),
            weight => {
                text.push_str(&self.digit(weight).to_string());
                (0..weight).rev().for_each(|w| text.push_str(&format!("{:04}", self.digit(w))));
            }
        }
        if self.scale > 0 {
            text.push('.');
            let end = text.len() + usize::from(self.scale);
            let mut weight = -1;
            while text.len() < end {
                text.push_str(&format!("{:04}", self.digit(weight)));
                weight -= 1;
            }
            text.truncate(end);
        }
        text
    }

    /// The digit of base 10000 that counts 10000^weight.
    fn digit(&self, weight: i32) -> u16 {
        usize::try_from(self.weight - weight).ok().and_then(|i| self.digits.get(i)).copied().unwrap_or(0)
    }
}

impl From<i128> for Decimal {
    fn from(value: i128) -> Self {
        let mut rest = value.unsigned_abs();
        let mut digits = Vec::with_capacity(10);
        while rest > 0 {
            digits.push((rest % 10_000) as u16);
            rest /= 10_000;
        }
        digits.reverse();
        Self::new(value < 0, digits.len() as i32 - 1, 0, digits)
    }
}

impl From<i128> for Numeric {
    fn from(value: i128) -> Self {
        Self::Finite(value.into())
    }
}
