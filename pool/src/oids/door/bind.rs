//! Bind, as far as its values and its result may have object ids in them.

use super::super::Oids;
use super::asked::{Formats, Statement};
use crate::frame;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes that a value has at least that has a type's id in it and something of that type.
const SHORTEST: usize = 12;

/// What goes out in front of a Bind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Nothing,
    /// The question what the statement's columns are.
    Ask,
    /// The same, and the answer to it.
    Hear,
}

/// A Bind's body.
pub(super) struct Bind<'a> {
    pub(super) portal: &'a [u8],
    pub(super) statement: &'a [u8],
    /// Parameters in binary that are not NULL: which, and where in the body.
    binary: Vec<(usize, std::ops::Range<usize>)>,
    /// Formats of the result's columns.
    pub(super) formats: Formats<'a>,
    body: &'a [u8],
}

impl<'a> Bind<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (portal, rest) = frame::cstr(body)?;
        let (statement, rest) = frame::cstr(rest)?;
        let (given, rest) = Formats::parse(rest)?;
        let (count, mut rest) = frame::i16(rest)?;
        let mut binary = Vec::new();
        for n in 0..usize::from(count as u16) {
            let (len, more) = frame::i32(rest)?;
            let Ok(len) = usize::try_from(len) else {
                rest = more;
                continue;
            };
            let at = body.len() - more.len();
            rest = more.get(len..)?;
            if given.is_binary(n) && len >= SHORTEST {
                binary.push((n, at..at + len));
            }
        }
        let (formats, _) = Formats::parse(rest)?;
        Some(Self { portal, statement, binary, formats, body })
    }

    /// Whether some of the result is in binary.
    pub(super) fn is_binary(&self) -> bool {
        self.formats.any_binary()
    }

    /// What has to be known first. Whoever asks for the portal's columns right behind it has them told in time.
    pub(super) fn first(&self, statement: &Statement, oids: &Oids, behind: &[u8]) -> First {
        let unknown = |(n, value): &(usize, std::ops::Range<usize>)| {
            statement.parameter(*n).is_none() && oids.may_hold(&self.body[value.clone()])
        };
        if !statement.has_parameters() && self.binary.iter().any(unknown) {
            return First::Hear;
        }
        let asks = || match frame::first(behind, frame::MAX_MESSAGE) {
            Ok(Some((b'D', body))) => {
                body.first() == Some(&b'P')
                    && frame::cstr(&body[1..]).is_some_and(|(name, _)| name == self.portal)
            }
            _ => false,
        };
        let known = || statement.knows_columns() || statement.asked.load(Relaxed);
        if self.is_binary() && !known() && !asks() { First::Ask } else { First::Nothing }
    }

    /// Values that have ids in them, with their types.
    pub(super) fn values(&self, statement: &Statement, oids: &Oids) -> Vec<(std::ops::Range<usize>, u32)> {
        let held = |(n, value): &(usize, std::ops::Range<usize>)| {
            let oid = statement.parameter(*n).filter(|oid| oids.outwards().holds(*oid))?;
            Some((value.clone(), oid))
        };
        self.binary.iter().filter_map(held).collect()
    }
}
