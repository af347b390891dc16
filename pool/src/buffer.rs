//! Byte buffers that are lent while there is something in them and given back when there is not.
//!
//! A busy proxy has thousands of clients and a handful that are talking: an idle one must not keep memory.
//! Storage comes from a free list per thread, so that lending is a pop and giving back a push.

use std::cell::RefCell;
use std::io;
use std::task::Poll;

/// Bytes of one lent buffer: large enough that a big result needs few system calls, small enough for the L2
/// cache to hold the ones in use.
pub const CHUNK: usize = 64 * 1024;

/// Buffers a thread keeps for the next borrower; more are freed.
const KEPT_PER_THREAD: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn lend() -> Box<[u8]> {
    FREE.with(|free| free.borrow_mut().pop()).unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
}

/// Reads into the buffer that would be lent next; it is lent only if something was read.
fn try_lend(
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> (Poll<io::Result<usize>>, Option<Box<[u8]>>) {
    FREE.with(|free| {
        let mut free = free.borrow_mut();
        if free.is_empty() {
            free.push(vec![0; CHUNK].into_boxed_slice());
        }
        let outcome = free.last_mut().map_or(Poll::Pending, |data| read(data));
        match outcome {
            Poll::Ready(Ok(n)) if n > 0 => (outcome, free.pop()),
            _ => (outcome, None),
        }
    })
}

fn give_back(data: Box<[u8]>) {
    if data.len() != CHUNK {
        return;
    }
    // A thread that is ending has no free list any more, and one that is reading has it in use: then the buffer is
    // simply freed.
    let _ = FREE.try_with(|free| {
        if let Ok(mut free) = free.try_borrow_mut()
            && free.len() < KEPT_PER_THREAD
        {
            free.push(data);
        }
    });
}

/// A first-in first-out run of bytes. Empty, it owns nothing.
#[derive(Default, Debug)]
pub struct Buffer {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What is in it.
    pub fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The same, to be changed where it stands.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops the first `n` bytes. Storage goes back once nothing is left.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n;
        if self.start >= self.end {
            self.release();
        }
    }

    /// Takes `n` bytes out at `at`.
    pub fn cut(&mut self, at: usize, n: usize) {
        debug_assert!(at + n <= self.len());
        let behind = self.start + at + n;
        self.data.copy_within(behind..self.end, self.start + at);
        self.end -= n;
        self.release();
    }

    /// Puts bytes in at `at`.
    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        let end = self.len();
        debug_assert!(at <= end);
        self.extend(bytes);
        self.filled_mut()[at..].rotate_right(bytes.len());
    }

    /// Gives the storage back when nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() && !self.data.is_empty() {
            self.start = 0;
            self.end = 0;
            give_back(std::mem::take(&mut self.data));
        }
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// Reads into the free space with `read`. Storage is borrowed for the attempt and lent only if something came: a
    /// look at a socket that has nothing to say costs next to nothing.
    pub fn read_with(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.data.is_empty() {
            let outcome = read(self.space());
            if let Poll::Ready(Ok(n)) = outcome {
                self.advance(n);
            }
            return outcome;
        }
        let (outcome, data) = try_lend(read);
        if let (Poll::Ready(Ok(n)), Some(data)) = (&outcome, data) {
            (self.data, self.start, self.end) = (data, 0, *n);
        }
        outcome
    }

    /// Free space behind what is in it, at least one byte; moves or grows only when there is none left.
    pub fn space(&mut self) -> &mut [u8] {
        if self.data.is_empty() {
            self.data = lend();
        } else if self.end == self.data.len() {
            self.make_room(1);
        }
        &mut self.data[self.end..]
    }

    /// Says that `n` bytes of [`Buffer::space`] were written.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(self.end + n <= self.data.len());
        self.end += n;
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.data.is_empty() {
            self.data = lend();
        }
        if self.data.len() - self.end < bytes.len() {
            self.make_room(bytes.len());
        }
        self.data[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Appends a byte.
    pub fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    fn make_room(&mut self, wanted: usize) {
        let len = self.len();
        if self.start > 0 && self.data.len() - len >= wanted {
            self.data.copy_within(self.start..self.end, 0);
        } else {
            let size = (self.data.len() * 2).max(len + wanted);
            let mut larger = vec![0; size].into_boxed_slice();
            larger[..len].copy_from_slice(self.filled());
            give_back(std::mem::replace(&mut self.data, larger));
        }
        self.start = 0;
        self.end = len;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.data.is_empty() {
            give_back(std::mem::take(&mut self.data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_owns_nothing() {
        let mut buffer = Buffer::default();
        buffer.extend(b"abc");
        assert_eq!(buffer.filled(), b"abc");
        buffer.consume(3);
        assert_eq!(buffer.data.len(), 0);
    }

    #[test]
    fn bytes_are_taken_out_and_put_in_where_they_stand() {
        let mut buffer = Buffer::default();
        buffer.extend(b"..abcdef");
        buffer.consume(2);
        buffer.cut(1, 2);
        assert_eq!(buffer.filled(), b"adef");
        buffer.insert(2, b"xyz");
        assert_eq!(buffer.filled(), b"adxyzef");
        buffer.insert(7, b"!");
        buffer.insert(0, b"?");
        assert_eq!(buffer.filled(), b"?adxyzef!");
        buffer.cut(0, 9);
        assert_eq!((buffer.filled(), buffer.data.len()), (&b""[..], 0));
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(chunks in proptest::collection::vec((0usize..200_000, 0usize..200_000), 1..12)) {
            let mut buffer = Buffer::default();
            let mut model = std::collections::VecDeque::new();
            let mut next = 0u8;
            for (add, take) in chunks {
                let bytes: Vec<u8> = (0..add).map(|_| { next = next.wrapping_add(7); next }).collect();
                buffer.extend(&bytes);
                model.extend(bytes);
                let take = take.min(model.len());
                let expected: Vec<u8> = model.drain(..take).collect();
                prop_assert_eq!(&buffer.filled()[..take], &expected[..]);
                buffer.consume(take);
            }
            prop_assert_eq!(buffer.filled(), &model.into_iter().collect::<Vec<_>>()[..]);
        }
    }
}
