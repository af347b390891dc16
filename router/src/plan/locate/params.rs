//! The parameters of a Bind message.

use shardway_pool::frame;

/// A Bind message's parameters, read where they stand.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a> {
    formats: &'a [u8],
    values: &'a [u8],
    count: usize,
    /// Result format codes, as in the message, with their count in front.
    pub result_formats: &'a [u8],
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its bytes; `None` for NULL.
    pub bytes: Option<&'a [u8]>,
    /// Whether it is in binary.
    pub binary: bool,
}

impl<'a> Params<'a> {
    /// From what follows the names in a Bind body; `None` if that is malformed.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (formats, rest) = frame::i16(body)?;
        let formats = usize::from(formats as u16) * 2;
        let (formats, rest) = (rest.get(..formats)?, rest.get(formats..)?);
        let (count, values) = frame::i16(rest)?;
        // Over 32,767 parameters the count wraps, as in Postgres it is unsigned.
        let count = usize::from(count as u16);
        let mut at = values;
        for _ in 0..count {
            let (length, rest) = frame::i32(at)?;
            at = if length < 0 { rest } else { rest.get(usize::try_from(length).ok()?..)? };
        }
        let values = &values[..values.len() - at.len()];
        Some(Self { formats, values, count, result_formats: at })
    }

    /// All of them, for who needs many.
    pub fn all(&self) -> Vec<Param<'a>> {
        let mut all = Vec::with_capacity(self.count);
        let mut at = self.values;
        for n in 0..self.count {
            let Some((length, rest)) = frame::i32(at) else { break };
            let bytes = usize::try_from(length).ok().and_then(|n| rest.get(..n));
            at = rest.get(bytes.map_or(0, <[u8]>::len)..).unwrap_or_default();
            all.push(Param { bytes, binary: self.is_binary(n) });
        }
        all
    }

    fn is_binary(&self, n: usize) -> bool {
        match self.formats.len() / 2 {
            0 => false,
            1 => self.formats[1] == 1,
            _ => self.formats.get(n * 2 + 1) == Some(&1),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Parameter `n`, from 0.
    pub fn get(&self, n: usize) -> Option<Param<'a>> {
        if n >= self.count {
            return None;
        }
        let mut at = self.values;
        for _ in 0..n {
            let (length, rest) = frame::i32(at)?;
            at = rest.get(usize::try_from(length).unwrap_or(0)..)?;
        }
        let (length, rest) = frame::i32(at)?;
        let bytes = usize::try_from(length).ok().and_then(|n| rest.get(..n));
        Some(Param { bytes, binary: self.is_binary(n) })
    }
}
