//! What is known of a server's health: whether it answers, whether it is in recovery, how far its WAL got.
//!
//! A background poll writes, sessions read; everything is an atomic. A poll has a number, so that a session that
//! wrote can tell a WAL position that was read after its commit from one that was read before.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A position in the write-ahead log, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

impl Lsn {
    /// From Postgres's text: two hexadecimal halves with a slash.
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let high = u64::from(u32::from_str_radix(high, 16).ok()?);
        let low = u64::from(u32::from_str_radix(low, 16).ok()?);
        Some(Self(high << 32 | low))
    }

    /// Where the last record ended. An insert position that stands at a page's begin is told behind that page's header
    /// (24 bytes, 40 in a segment's first page; `XLogBytePosToRecPtr`), which a standby that has replayed everything
    /// reaches only with the next record. Sizes in bytes; 0 is unknown.
    pub fn before_header(self, page: u64, segment: u64) -> Self {
        let header = |size: u64, bytes: u64| size > 0 && self.0 % size == bytes;
        match self.0 {
            at if header(segment, 40) => Self(at - 40),
            at if header(page, 24) && !header(segment, 24) => Self(at - 24),
            at => Self(at),
        }
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// What a server is, as it said itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not asked yet.
    Unknown,
    /// Takes writes.
    Primary,
    /// In recovery.
    Standby,
}

/// One answer of a server.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Its role.
    pub role: Role,
    /// Written (primary) or replayed (standby) up to here.
    pub lsn: Lsn,
}

/// Health of one server.
#[derive(Debug, Default)]
pub struct Health {
    up: AtomicBool,
    role: AtomicU8,
    lsn: AtomicU64,
    lag_ms: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Health {
    /// Whether it answered the last poll.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match self.role.load(Ordering::Acquire) {
            1 => Role::Primary,
            2 => Role::Standby,
            _ => Role::Unknown,
        }
    }

    /// How far it is.
    pub fn lsn(&self) -> Lsn {
        Lsn(self.lsn.load(Ordering::Acquire))
    }

    /// How far behind its primary it is.
    pub fn lag(&self) -> Duration {
        Duration::from_millis(self.lag_ms.load(Ordering::Acquire))
    }

    /// Why it is down, in words.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().ok().and_then(|error| error.clone())
    }

    /// Somebody could not reach it: it is down until a poll finds it up.
    pub fn lost(&self, error: String) {
        if let Ok(mut last) = self.last_error.lock() {
            *last = Some(error);
        }
        self.up.store(false, Ordering::Release);
    }

    /// Takes in a poll's outcome; gives whether up or role changed.
    pub fn record(&self, outcome: Result<Report, String>, lag: Duration) -> bool {
        let (up, error) = match outcome {
            Ok(report) => {
                self.lsn.store(report.lsn.0, Ordering::Release);
                self.lag_ms.store(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
                let role = if report.role == Role::Primary { 1 } else { 2 };
                let before = self.role.swap(role, Ordering::AcqRel);
                if before != 0 && before != role {
                    self.up.store(true, Ordering::Release);
                    return true;
                }
                (true, None)
            }
            Err(error) => (false, Some(error)),
        };
        if let Ok(mut last) = self.last_error.lock() {
            *last = error;
        }
        self.up.swap(up, Ordering::AcqRel) != up
    }
}

/// Where a primary's WAL was, poll by poll: what lag is measured with. A standby that has lost its primary looks
/// up to date to itself, so its own word for lag is not taken.
#[derive(Debug, Default)]
pub struct WalHistory(std::collections::VecDeque<(Instant, Lsn)>);

/// Positions remembered: over an hour at the default interval.
const REMEMBERED: usize = 1024;

impl WalHistory {
    /// Notes the primary's position.
    pub fn push(&mut self, at: Instant, lsn: Lsn) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((at, lsn));
    }

    /// How long a standby at `replayed` has been behind.
    pub fn lag(&self, replayed: Lsn, now: Instant) -> Duration {
        let missed = self.0.iter().find(|(_, lsn)| *lsn > replayed);
        missed.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_as_postgres_prints_it() {
        let lsn = Lsn::parse("16/B374D848").unwrap();
        assert_eq!(lsn.0, 0x16_B374_D848);
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!(Lsn::parse("zz"), None);
    }

    #[test]
    fn a_position_behind_a_pages_header_is_where_the_page_begins() {
        let (page, segment) = (8192, 16 << 20);
        for (at, records_end) in [
            (3 * segment + 40, 3 * segment),
            (3 * segment + 5 * page + 24, 3 * segment + 5 * page),
            (3 * segment + 5 * page + 40, 3 * segment + 5 * page + 40),
            (3 * segment + 5 * page + 32, 3 * segment + 5 * page + 32),
            (3 * segment + 24, 3 * segment + 24),
            (3 * segment, 3 * segment),
        ] {
            assert_eq!(Lsn(at).before_header(page, segment), Lsn(records_end), "{at}");
        }
        assert_eq!(Lsn(40).before_header(0, 0), Lsn(40));
    }

    #[test]
    fn lag_counts_from_the_first_position_a_standby_lacks() {
        let start = Instant::now();
        let mut history = WalHistory::default();
        for second in 0..10 {
            history.push(start + Duration::from_secs(second), Lsn(second * 100));
        }
        let now = start + Duration::from_secs(9);
        assert_eq!(history.lag(Lsn(900), now), Duration::ZERO);
        assert_eq!(history.lag(Lsn(450), now), Duration::from_secs(4));
    }
}
