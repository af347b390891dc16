//! Binary values that say the types of what is in them, put in the other side's terms where they stand.
//! Source: `array_send`, `record_send`, `range_send`, `multirange_send` in Postgres.

use super::{MAX_DEPTH, Made, Way, u32_at};

/// Bytes of an array in front of its dimensions: how many there are, flags, the elements' type.
const ARRAY_HEAD: usize = 12;
/// Where the elements' type stands.
const ELEMENT_AT: usize = 8;
/// Bytes of one dimension.
const DIMENSION: usize = 8;
/// Dimensions that an array may have (`MAXDIM`).
const MAX_DIMENSIONS: usize = 6;

impl Way<'_> {
    /// Puts the types in a binary value of this type, which is in the terms that the value is in, in the other side's.
    /// `None`: it is no such value, and some of it may be changed.
    pub fn value(&self, value: &mut [u8], oid: u32) -> Option<()> {
        self.nested(value, oid, MAX_DEPTH)
    }

    fn nested(&self, value: &mut [u8], oid: u32, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.from.made(oid) {
            Made::Plain => Some(()),
            Made::Domain(of) => self.nested(value, of, depth),
            Made::Array(_) => self.array(value, depth),
            Made::Record => self.record(value, depth),
            Made::Range(of) if self.holds(of) => self.all(value, 1, of, depth),
            Made::Multirange(of) if self.holds(of) => self.all(value, 4, of, depth),
            Made::Range(_) | Made::Multirange(_) => Some(()),
        }
    }

    fn array(&self, value: &mut [u8], depth: usize) -> Option<()> {
        let of = self.put(value, ELEMENT_AT)?;
        let dimensions = u32_at(value, 0)? as usize;
        if !self.holds(of) || dimensions == 0 {
            return Some(());
        }
        let elements = ARRAY_HEAD + DIMENSION * (dimensions <= MAX_DIMENSIONS).then_some(dimensions)?;
        self.all(value, elements, of, depth)
    }

    fn record(&self, value: &mut [u8], depth: usize) -> Option<()> {
        let fields = u32_at(value, 0)?;
        let mut at = 4;
        for _ in 0..fields {
            let of = self.put(value, at)?;
            at = self.field(value, at + 4, of, depth)?;
        }
        Some(())
    }

    /// Fields of one type, from `at` to the end.
    fn all(&self, value: &mut [u8], mut at: usize, of: u32, depth: usize) -> Option<()> {
        while at < value.len() {
            at = self.field(value, at, of, depth)?;
        }
        Some(())
    }

    /// A field behind its length. Gives where the next one is.
    fn field(&self, value: &mut [u8], at: usize, of: u32, depth: usize) -> Option<usize> {
        let start = at + 4;
        let Ok(len) = usize::try_from(u32_at(value, at)? as i32) else { return Some(start) };
        let end = start.checked_add(len)?;
        let field = value.get_mut(start..end)?;
        if self.holds(of) {
            self.nested(field, of, depth)?;
        }
        Some(end)
    }

    /// Puts a type's id in the other side's terms. Gives what it was.
    fn put(&self, value: &mut [u8], at: usize) -> Option<u32> {
        let oid = u32_at(value, at)?;
        value.get_mut(at..at + 4)?.copy_from_slice(&self.oid(oid).to_be_bytes());
        Some(oid)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Oids, maps};
    use super::*;
    use crate::catalog::types::{Objects, Type};
    use std::sync::Arc;

    /// `mood` is the first of a side's ids, the others follow: `mood[]`, `pair`, `pair[]`, `pairs`, a domain of those, and
    /// a range of `mood` and its multirange.
    fn side(first: u32) -> Objects {
        let made = [
            ("mood", false, Made::Plain),
            ("mood", true, Made::Array(first)),
            ("pair", false, Made::Record),
            ("pair", true, Made::Array(first + 2)),
            ("pairs", false, Made::Domain(first + 3)),
            ("span", false, Made::Range(first + 2)),
            ("spans", false, Made::Multirange(first + 5)),
        ];
        let types = made.into_iter().zip(first..).map(|((name, is_array, made), oid)| Type {
            name: ("public".into(), name.into()),
            is_array,
            oid,
            made,
        });
        Objects { types: types.collect(), relations: Vec::new() }
    }

    fn oids() -> Arc<Oids> {
        maps(&[Some(&side(16400)), Some(&side(20000))]).remove(1).unwrap()
    }

    fn field(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    fn array(of: u32, elements: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut out = [1, 0, of, elements.len() as u32, 1].map(u32::to_be_bytes).concat();
        for element in elements {
            out.extend(element.as_ref().map_or(vec![0xff; 4], |bytes| field(bytes)));
        }
        out
    }

    fn pair(moods: u32, mood: u32) -> Vec<u8> {
        let mut out = 3u32.to_be_bytes().to_vec();
        out.extend([&mood.to_be_bytes(), &field(b"sad")[..]].concat());
        out.extend([&moods.to_be_bytes(), &field(&array(mood, &[Some(b"ok".to_vec()), None]))[..]].concat());
        // A number that is not a type's.
        out.extend([&23u32.to_be_bytes(), &field(&20_000u32.to_be_bytes())[..]].concat());
        out
    }

    fn pairs(first: u32) -> Vec<u8> {
        array(first + 2, &[Some(pair(first + 1, first)), None, Some(pair(first + 1, first))])
    }

    #[test]
    fn what_is_nested_is_put_in_other_terms_and_back() {
        let span =
            |first| [&[2][..], &field(&pair(first + 1, first)), &field(&pair(first + 1, first))].concat();
        let spans = |first| [&1u32.to_be_bytes()[..], &field(&span(first))].concat();
        type Make<'a> = &'a dyn Fn(u32) -> Vec<u8>;
        let make: [(u32, Make<'_>); 6] = [
            (1, &|first| array(first, &[Some(b"ok".to_vec())])),
            (2, &|first| pair(first + 1, first)),
            (3, &pairs),
            (4, &pairs),
            (5, &span),
            (6, &spans),
        ];
        let oids = oids();
        for (kind, make) in make {
            let mut value = make(20_000);
            oids.inwards().value(&mut value, 20_000 + kind).unwrap();
            assert_eq!(value, make(16_400), "{kind}");
            oids.outwards().value(&mut value, 16_400 + kind).unwrap();
            assert_eq!(value, make(20_000), "{kind}");
        }
    }

    #[test]
    fn a_record_without_a_name_says_what_is_in_it() {
        let mut value = pair(20_001, 20_000);
        oids().inwards().value(&mut value, super::super::RECORD).unwrap();
        assert_eq!(value, pair(16_401, 16_400));
    }

    #[test]
    fn what_is_cut_short_is_nothing_and_breaks_nothing() {
        let whole = pairs(20_000);
        for len in 0..whole.len() {
            let mut value = whole[..len].to_vec();
            // Between two elements it is one that counts wrong.
            let _ = oids().inwards().value(&mut value, 20_003);
            assert_eq!(value.len(), len);
        }
        assert_eq!(oids().inwards().value(&mut whole[..30].to_vec(), 20_003), None);
    }

    #[test]
    fn an_empty_array_has_a_type_too() {
        let mut value = [0, 0, 20_000].map(u32::to_be_bytes).concat();
        oids().inwards().value(&mut value, 20_001).unwrap();
        assert_eq!(value, [0, 0, 16_400].map(u32::to_be_bytes).concat());
    }
}
