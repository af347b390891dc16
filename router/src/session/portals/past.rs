//! Rows that a cursor has given, kept to go back to. Pure.

use std::collections::VecDeque;

/// The last of them, up to a size.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// How many came before the first one here.
    before: u64,
    rows: VecDeque<Box<[u8]>>,
    bytes: u64,
    max: u64,
}

/// What a row takes beside its bytes.
const OVERHEAD: u64 = 32;

impl Past {
    /// One that keeps so many bytes; none for 0.
    pub(super) fn of(max: u64) -> Self {
        Self { max, ..Self::default() }
    }

    /// The row that was given next.
    pub(super) fn push(&mut self, row: &[u8]) {
        if self.max == 0 {
            self.before += 1;
            return;
        }
        self.bytes += row.len() as u64 + OVERHEAD;
        self.rows.push_back(row.into());
        // The one that the cursor is on can always be given again.
        while self.bytes > self.max && self.rows.len() > 1 {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(row) = self.rows.pop_front() {
            self.bytes -= row.len() as u64 + OVERHEAD;
            self.before += 1;
        }
    }

    /// The row of this number, from 1, if it is kept.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        let at = number.checked_sub(self.before + 1)?;
        self.rows.get(usize::try_from(at).ok()?).map(|row| &**row)
    }

    /// Whether nothing is missing in front.
    pub(super) fn is_whole(&self) -> bool {
        self.before == 0
    }

    /// Forgets them: they are not what would be given now.
    pub(super) fn clear(&mut self) {
        while !self.rows.is_empty() {
            self.drop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_number_until_they_are_dropped() {
        let mut past = Past::of(3 * (OVERHEAD + 1));
        for row in [b"a", b"b", b"c"] {
            past.push(row);
        }
        assert_eq!((past.get(0), past.get(1), past.get(3)), (None, Some(&b"a"[..]), Some(&b"c"[..])));
        assert!(past.is_whole());
        past.push(b"d");
        assert_eq!((past.get(1), past.get(2), past.get(4)), (None, Some(&b"b"[..]), Some(&b"d"[..])));
        assert!(!past.is_whole());
        past.clear();
        assert_eq!(past.get(4), None);
        past.push(b"e");
        assert_eq!(past.get(5), Some(&b"e"[..]));
    }

    #[test]
    fn a_row_that_is_too_large_is_kept_alone_and_one_that_keeps_nothing_counts() {
        let mut past = Past::of(10);
        past.push(&[0; 100]);
        past.push(&[1; 100]);
        assert_eq!((past.get(1), past.get(2)), (None, Some(&[1; 100][..])));
        let mut none = Past::of(0);
        none.push(b"a");
        assert_eq!(none.get(1), None);
        assert!(!none.is_whole());
    }
}
