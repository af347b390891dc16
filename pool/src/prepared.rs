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
    held: FnvHashMap<StatementId, Held>,
    clock: u64,
}

/// A statement that is held.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// When it was used last.
    used: u64,
    /// As of which version; `None` if that is not known.
    version: Option<u32>,
    /// Its result is known to be what clients were told.
    proven: bool,
}

impl PreparedSet {
    /// Whether the server holds this version of it; counts as use.
    pub fn touch(&mut self, id: StatementId, version: u32) -> bool {
        self.clock += 1;
        match self.held.get_mut(&id) {
            Some(held) if held.version == Some(version) => {
                held.used = self.clock;
                true
            }
            _ => false,
        }
    }

    /// Whether the server holds this version of it.
    pub fn holds_version(&self, id: StatementId, version: u32) -> bool {
        self.held.get(&id).is_some_and(|held| held.version == Some(version))
    }

    /// Whether the server's copy gives the result that clients were told of.
    pub fn is_proven(&self, id: StatementId) -> bool {
        self.held.get(&id).is_some_and(|held| held.proven)
    }

    /// It does.
    pub fn prove(&mut self, id: StatementId) {
        if let Some(held) = self.held.get_mut(&id) {
            held.proven = true;
        }
    }

    /// Whether the server holds it, in whatever version: then it must be closed before it can be prepared.
    pub fn holds(&self, id: StatementId) -> bool {
        self.held.contains_key(&id)
    }

    /// Adds a statement.
    pub fn insert(&mut self, id: StatementId, version: u32) {
        self.clock += 1;
        self.held.insert(id, Held { used: self.clock, version: Some(version), proven: false });
    }

    /// Takes out the one that was used longest ago, if there are more than `max`.
    pub fn surplus(&mut self, max: usize) -> Option<StatementId> {
        if self.held.len() <= max {
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, held)| held.used).map(|(id, _)| *id)?;
        self.held.remove(&oldest);
        Some(oldest)
    }

    /// Takes one back in that was to be closed and was not.
    pub fn restore(&mut self, id: StatementId) {
        self.clock += 1;
        self.held.insert(id, Held { used: self.clock, version: None, proven: false });
    }

    /// Any of them may be gone: each is closed and prepared again when it is used next.
    pub fn doubt(&mut self) {
        self.held.values_mut().for_each(|held| held.version = None);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes one out.
    pub fn remove(&mut self, id: StatementId) {
        self.held.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_one_goes_first() {
        let mut set = PreparedSet::default();
        for id in 1..=3 {
            set.insert(StatementId(id), 0);
        }
        assert_eq!(set.surplus(3), None);
        assert!(set.touch(StatementId(1), 0));
        set.insert(StatementId(4), 0);
        assert_eq!(set.surplus(3), Some(StatementId(2)));
        assert!(!set.touch(StatementId(2), 0));
        assert_eq!(std::iter::from_fn(|| set.surplus(0)).count(), 3);
    }

    #[test]
    fn another_version_is_another_statement_under_the_same_name() {
        let mut set = PreparedSet::default();
        set.insert(StatementId(1), 0);
        assert!(!set.touch(StatementId(1), 1) && set.holds(StatementId(1)));
        set.insert(StatementId(1), 1);
        assert_eq!(set.surplus(1), None);
        assert!(set.touch(StatementId(1), 1));
    }

    #[test]
    fn what_was_not_closed_after_all_is_there_in_a_version_that_nobody_knows() {
        let mut set = PreparedSet::default();
        set.restore(StatementId(1));
        assert!(set.holds(StatementId(1)) && !set.touch(StatementId(1), 0));
    }
}
