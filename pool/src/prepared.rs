//! Prepared statements that a server connection holds: which, and which to give up first.

use fnv::FnvHashMap;
use std::fmt::Write as _;

/// A statement's number, the same for every client that prepares the same text with the same types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatementId(pub u64);

impl StatementId {
    /// The name it has on servers.
    pub fn server_name(self) -> String {
        let mut name = String::with_capacity(12);
        let _ = write!(name, "shardway_{}", self.0);
        name
    }
}

/// The named statements that one server holds, least recently used first out.
#[derive(Debug, Default)]
pub struct PreparedSet {
    used: FnvHashMap<StatementId, u64>,
    clock: u64,
}

impl PreparedSet {
    /// Whether the server holds it; counts as use.
    pub fn touch(&mut self, id: StatementId) -> bool {
        self.clock += 1;
        match self.used.get_mut(&id) {
            Some(at) => {
                *at = self.clock;
                true
            }
            None => false,
        }
    }

    /// Adds a statement; gives the one to close where there are more than `max` then.
    pub fn insert(&mut self, id: StatementId, max: usize) -> Option<StatementId> {
        self.clock += 1;
        self.used.insert(id, self.clock);
        if self.used.len() <= max.max(1) {
            return None;
        }
        let oldest = self.used.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id)?;
        self.used.remove(&oldest);
        Some(oldest)
    }

    /// Takes one back in that was to be closed and was not.
    pub fn restore(&mut self, id: StatementId) {
        self.clock += 1;
        self.used.insert(id, self.clock);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: StatementId) {
        self.used.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_one_goes_first() {
        let mut set = PreparedSet::default();
        for id in 1..=3 {
            assert_eq!(set.insert(StatementId(id), 3), None);
        }
        assert!(set.touch(StatementId(1)));
        assert_eq!(set.insert(StatementId(4), 3), Some(StatementId(2)));
        assert!(!set.touch(StatementId(2)));
    }
}
