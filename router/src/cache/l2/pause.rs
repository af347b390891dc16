//! A slow Redis is left alone for a while, so that not every miss waits for it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// After a read that took too long, readers go past Redis for this time.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// A time in which readers don't ask.
pub(super) struct Pause {
    began: Instant,
    /// Milliseconds since then.
    until: AtomicU64,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), until: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self) {
        self.until.fetch_max(self.now() + READ_PAUSE.as_millis() as u64, Relaxed);
    }

    pub(super) fn is_on(&self) -> bool {
        self.until.load(Relaxed) > self.now()
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
