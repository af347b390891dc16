//! What a client knows of a statement's result: its columns' names and types.

use shardway_pool::frame;

/// Columns in order. Pure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowShape {
    /// Each with its type's oid.
    columns: Box<[(Box<[u8]>, u32)]>,
}

/// Bytes of a column's description between its name and its type: table and number there.
const BEFORE_TYPE: usize = 6;

/// Bytes behind the type: its size and modifier, the format.
const BEHIND_TYPE: usize = 8;

impl RowShape {
    /// From a RowDescription's body; `None` if it is not one.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let (count, mut rest) = frame::i16(body)?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let (name, behind) = frame::cstr(rest)?;
            let (oid, behind) = frame::i32(behind.get(BEFORE_TYPE..)?)?;
            columns.push((name.into(), oid as u32));
            rest = behind.get(BEHIND_TYPE..)?;
        }
        rest.is_empty().then(|| Self { columns: columns.into() })
    }

    /// The columns' types.
    pub fn types(&self) -> impl Iterator<Item = u32> {
        self.columns.iter().map(|(_, oid)| *oid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(columns: &[(&str, u8)]) -> RowShape {
        let mut body = vec![0, columns.len() as u8];
        for (name, oid) in columns {
            body.extend(name.as_bytes());
            body.extend([0, 0, 0, 0, 1, 0, 1, 0, 0, 0, *oid, 0, 4, 255, 255, 255, 255, 0, 0]);
        }
        RowShape::parse(&body).unwrap()
    }

    #[test]
    fn names_and_types_and_their_order_make_the_shape() {
        let old = shape(&[("a", 23), ("b", 25)]);
        assert_eq!(old, shape(&[("a", 23), ("b", 25)]));
        for other in [
            shape(&[("a", 23), ("b", 25), ("c", 20)]),
            shape(&[("a", 23)]),
            shape(&[("a", 20), ("b", 25)]),
            shape(&[("b", 25), ("a", 23)]),
            shape(&[("a", 23), ("renamed", 25)]),
            shape(&[]),
        ] {
            assert_ne!(other, old);
        }
    }

    #[test]
    fn what_is_cut_short_is_none() {
        let mut body = vec![0, 1, b'a', 0];
        body.extend([0; 18]);
        assert!(RowShape::parse(&body).is_some());
        for len in 0..body.len() {
            assert_eq!(RowShape::parse(&body[..len]), None);
        }
    }
}
