//! What a test does when something is not there yet, or never will be.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// No wait in a test is longer: what hangs, fails. Long enough for a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(5);

/// The value, or a panic that says what could not be done and why.
#[track_caller]
pub fn must<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Looks again and again until there is something to see, for [`PATIENCE`] at most; then panics with `what`.
/// Not for async tests that have work going on in the background: it blocks the thread.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        thread::sleep(PAUSE);
    }
}
