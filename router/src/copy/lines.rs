//! Which of the client's lines a shard's line is: a shard counts those that it got.
//!
//! A byte or two for each line, and no more than [`KEPT`] of them: a shard that says an error says it of what it has just
//! read, and what is on the way to it is bounded by the sockets' buffers.

use std::collections::VecDeque;

/// Bytes that are kept for one shard.
const KEPT: usize = 4 * 1024 * 1024;

/// The lines of one shard.
#[derive(Clone, Debug)]
pub struct Lines {
    /// For each row the client's lines that went elsewhere before it, and its own lines where they are not one.
    gaps: VecDeque<u8>,
    kept: usize,
    /// Lines before the first row that is kept: the shard's, and the client's.
    from: (u64, u64),
    /// The same behind the last one.
    to: (u64, u64),
}

impl Default for Lines {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Lines {
    fn keeping(kept: usize) -> Self {
        Self { gaps: VecDeque::new(), kept, from: (0, 0), to: (0, 0) }
    }

    /// A row goes to the shard: it has so many lines for the shard and for the client, whose last of them is `last`.
    pub fn row(&mut self, shards: u32, clients: u32, last: u64) {
        let gap = last.saturating_sub(self.to.1 + u64::from(clients));
        let plain = shards == 1 && clients == 1;
        self.put(gap << 1 | u64::from(!plain));
        if !plain {
            self.put(u64::from(shards));
            self.put(u64::from(clients));
        }
        self.to = (self.to.0 + u64::from(shards), last);
        while self.gaps.len() > self.kept {
            let (next, before, used) = self.step(0, self.from);
            debug_assert!(before.1 <= next.1);
            self.from = next;
            self.gaps.drain(..used);
        }
    }

    fn put(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.gaps.push_back(number as u8 | 0x80);
            number >>= 7;
        }
        self.gaps.push_back(number as u8);
    }

    /// The number at `at`, and the place behind it.
    fn number(&self, mut at: usize) -> (u64, usize) {
        let mut number = 0;
        let mut shift = 0;
        while let Some(&byte) = self.gaps.get(at) {
            at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        (number, at)
    }

    /// The row whose gap stands at `at`, where so many lines came before: lines behind it, lines before it, and the next
    /// row's place.
    fn step(&self, at: usize, before: (u64, u64)) -> ((u64, u64), (u64, u64), usize) {
        let (word, mut at) = self.number(at);
        let (mut shards, mut clients) = (1, 1);
        if word & 1 == 1 {
            (shards, at) = self.number(at);
            (clients, at) = self.number(at);
        }
        let start = (before.0, before.1 + (word >> 1));
        ((start.0 + shards, start.1 + clients), start, at)
    }

    /// The client's line that is the shard's line `line`; `None` if it is no longer known, or the shard never got it.
    pub fn clients(&self, line: u64) -> Option<u64> {
        if line <= self.from.0 || line > self.to.0 {
            return None;
        }
        let (mut at, mut before) = (0, self.from);
        while at < self.gaps.len() {
            let (behind, start, next) = self.step(at, before);
            if line == behind.0 {
                return Some(behind.1);
            }
            if line < behind.0 {
                return Some(start.1 + (line - start.0));
            }
            (before, at) = (behind, next);
        }
        None
    }

    /// Lines that the shard got.
    pub fn count(&self) -> u64 {
        self.to.0
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use proptest::prelude::*;

    #[test]
    fn a_row_of_several_lines_is_known_by_its_last_one() {
        let mut lines = Lines::default();
        lines.row(1, 1, 1);
        lines.row(3, 3, 9);
        // The shard did not count the ends of line within quotes.
        lines.row(1, 4, 20);
        let told: Vec<_> = (0..7).map(|line| lines.clients(line)).collect();
        assert_eq!(told, [None, Some(1), Some(7), Some(8), Some(9), Some(20), None]);
    }

    proptest! {
        #[test]
        fn every_line_is_found_again(gaps in proptest::collection::vec((0u64..400, 1u32..4), 0..200), kept in 8usize..64) {
            let mut lines = Lines::default();
            let mut bounded = Lines::keeping(kept);
            let mut rows = Vec::new();
            let mut last = 0;
            for (gap, count) in gaps {
                last += gap + u64::from(count);
                lines.row(count, count, last);
                bounded.row(count, count, last);
                rows.push((lines.count(), last));
            }
            for (shards, clients) in rows {
                prop_assert_eq!(lines.clients(shards), Some(clients));
                let told = bounded.clients(shards);
                prop_assert!(told.is_none() || told == Some(clients));
            }
            prop_assert!(bounded.gaps.len() <= kept);
            if bounded.count() > 0 {
                prop_assert_eq!(bounded.clients(bounded.count()), Some(last));
            }
        }
    }
}
