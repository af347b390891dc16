//! What is written to Redis: entries and messages, as bytes. No I/O.
//!
//! Both are read back from a place that others write to, so nothing here trusts a length.

use std::ops::Range;

use super::super::deps::Stripe;

/// A version or an epoch as Redis holds it: eight random bytes. Random, not counted: a counter that Redis lost
/// (evicted, restarted from an old snapshot, failed over) would count up to the same number again, and an old entry
/// would be valid once more. A random version never comes back.
pub(super) type Mark = [u8; 8];

/// Epoch and versions at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) struct Marks {
    pub(super) epoch: Mark,
    pub(super) versions: [Mark; 3],
}

impl Marks {
    /// From a reply; `None` when it isn't what we ever write.
    pub(super) fn parse(reply: &[Vec<u8>]) -> Option<Self> {
        let mark = |at: usize| Mark::try_from(reply.get(at)?.as_slice()).ok();
        Some(Self { epoch: mark(0)?, versions: [mark(1)?, mark(2)?, mark(3)?] })
    }
}

/// What an entry must say of itself to be the answer: all of it is compared.
pub(super) struct Header<'a> {
    pub(super) stripes: [Stripe; 3],
    pub(super) marks: &'a Marks,
    pub(super) key: &'a [u8],
}

impl Header<'_> {
    /// An entry: header, then the answer.
    pub(super) fn encode(&self, answer: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.extend(answer);
        bytes
    }

    /// Where the answer is in an entry, if it is one to this very question and still valid.
    pub(super) fn answer_in(&self, entry: &[u8]) -> Option<Range<usize>> {
        let header = self.bytes();
        entry.starts_with(&header).then_some(header.len()..entry.len())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.key.len());
        bytes.extend(self.marks.epoch);
        for (stripe, version) in self.stripes.iter().zip(self.marks.versions) {
            bytes.extend(stripe.0.to_le_bytes());
            bytes.extend(version);
        }
        bytes.extend((self.key.len() as u64).to_le_bytes());
        bytes.extend(self.key);
        bytes
    }
}

/// What proxies tell each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Message {
    /// The proxy that says it.
    pub(super) sender: u64,
    pub(super) change: Change,
}

/// What is out of date.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Everything,
    Stripes(Vec<Stripe>),
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.sender.to_le_bytes().to_vec();
        match &self.change {
            Change::Everything => bytes.push(0),
            Change::Stripes(stripes) => {
                bytes.push(1);
                bytes.extend(stripes.iter().flat_map(|stripe| stripe.0.to_le_bytes()));
            }
        }
        bytes
    }

    /// `None` when it isn't a message of this format.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (sender, rest) = bytes.split_first_chunk()?;
        let change = match rest.split_first()? {
            (0, []) => Change::Everything,
            (1, stripes) if stripes.len().is_multiple_of(2) => {
                let stripe = |pair: &[u8]| Stripe(u16::from_le_bytes([pair[0], pair[1]]));
                Change::Stripes(stripes.chunks_exact(2).map(stripe).collect())
            }
            _ => return None,
        };
        Some(Self { sender: u64::from_le_bytes(*sender), change })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn marks(n: u8) -> Marks {
        Marks { epoch: [n; 8], versions: [[1; 8], [2; 8], [3; 8]] }
    }

    #[test]
    fn an_entry_answers_its_own_question_and_no_other() {
        let stripes = [Stripe(1), Stripe(2), Stripe(3)];
        let header = Header { stripes, marks: &marks(9), key: b"key" };
        let entry = header.encode(b"answer");
        assert_eq!(header.answer_in(&entry).map(|at| &entry[at]), Some(&b"answer"[..]));
        let others = [
            Header { stripes, marks: &marks(9), key: b"kez" },
            Header { stripes, marks: &marks(9), key: b"keyanswer" },
            Header { stripes, marks: &marks(8), key: b"key" },
            Header { stripes: [Stripe(1), Stripe(2), Stripe(4)], marks: &marks(9), key: b"key" },
            Header { stripes, marks: &Marks { versions: [[1; 8], [2; 8], [4; 8]], ..marks(9) }, key: b"key" },
        ];
        for other in others {
            assert_eq!(other.answer_in(&entry), None);
        }
        assert_eq!(header.answer_in(&entry[..20]), None);
        assert_eq!(header.answer_in(b""), None);
    }

    #[test]
    fn a_mark_of_another_length_is_none_of_ours() {
        let reply = vec![vec![0; 8], vec![1; 8], vec![2; 8], vec![3; 8]];
        assert!(Marks::parse(&reply).is_some());
        assert!(Marks::parse(&reply[..3]).is_none());
        assert!(Marks::parse(&[vec![0; 8], vec![1; 7], vec![2; 8], vec![3; 8]]).is_none());
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(sender: u64, stripes in vec(any::<u16>(), 0..9)) {
            for change in [Change::Everything, Change::Stripes(stripes.iter().copied().map(Stripe).collect())] {
                let message = Message { sender, change };
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }

        #[test]
        fn any_bytes_at_all_are_a_message_or_none(bytes in vec(any::<u8>(), 0..32)) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
