//! What one process knows: its versions, and the first level that they judge.

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::l1::L1;
use super::stats::Counters;
use super::versions::Versions;

/// Versions and first level together.
pub(super) struct Local {
    pub(super) versions: Versions,
    /// `None`: the cache is switched off.
    pub(super) l1: ArcSwapOption<L1>,
    pub(super) counters: Counters,
}

impl Local {
    pub(super) fn new() -> Self {
        Self { versions: Versions::new(), l1: ArcSwapOption::empty(), counters: Counters::default() }
    }

    /// The kept answer, if it is still what Postgres would say.
    pub(super) fn lookup(&self, key: &[u8]) -> Option<Bytes> {
        // The entry first, the versions after: a write that is over before this began has bumped them by then.
        let entry = self.l1.load().as_ref()?.get(key)?;
        self.versions.holds(&entry.snapshot).then_some(entry.answer)
    }

    /// Serves nothing until [`resume`](Self::resume), and nothing of what there is ever again.
    pub(super) fn suspend(&self) {
        self.versions.suspend();
        self.clear();
    }

    pub(super) fn resume(&self) {
        self.versions.resume();
    }

    /// Forgets everything and carries on.
    pub(super) fn forget(&self) {
        self.versions.bump_all();
        self.clear();
    }

    /// Gives the memory back; that nothing is served is the epoch's doing.
    fn clear(&self) {
        if let Some(l1) = self.l1.load().as_ref() {
            l1.clear();
        }
    }
}
