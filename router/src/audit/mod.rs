//! The audit log: a JSON line for each statement that changes data, in a file or on standard error.
//!
//! What an auditor may rely on:
//! - A client is told that its statement is done only when the line has been handed to the operating system (it is not
//!   forced to the disk). No line is dropped: where the disk is slow, those who write wait.
//! - While the log can't be written, no statement that writes is sent to a server: it is refused under 58030. Those that
//!   had been sent keep their clients waiting until their lines are written. Reads go on.
//! - A statement whose outcome nobody knows (its server or its client was lost meanwhile) has a line that says so.
//! - If the process is killed, what it had sent and not heard the end of has no line, and nobody was told that it is done.
//!
//! Lines are written by a thread of their own, in the order in which they came. The text of a statement is as the client
//! sent it, literals included and parameters not, as pgaudit has it: see [`line`].

pub mod line;
mod writer;

use crate::error::ClientError;
use shardway_config::AuditLog;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use writer::Writer;

/// Lines that may wait before those who want to write have to. Whoever was let in brings one or a few more.
const MOST_WAITING: usize = 1024;

/// The log of one configuration; closed with its last holder, when all is written.
#[derive(Debug)]
pub struct Audit {
    target: AuditLog,
    desk: Arc<Desk>,
}

/// What sessions and the writer share.
#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    /// There is something to do for the writer.
    work: Condvar,
    /// Lines were written, or can't be.
    settled: Notify,
    written: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Entry>,
    /// Lines that the writer has taken.
    taken: usize,
    /// Why the last attempt failed.
    failing: Option<String>,
    reopens: bool,
    closes: bool,
    /// The writer is gone.
    ended: bool,
}

/// A line on its way.
#[derive(Debug)]
struct Entry {
    text: String,
    written: oneshot::Sender<()>,
}

/// Ready when a line has been written.
#[derive(Debug)]
pub struct Written(oneshot::Receiver<()>);

impl Written {
    /// Waits for it, however long the disk takes.
    pub async fn wait(self) {
        // A writer that ended without it has said so in the log.
        let _ = self.0.await;
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit {
    /// Opens it. Errors: it can't be; in words.
    pub fn open(target: &AuditLog) -> Result<Self, String> {
        let desk = Arc::new(Desk::default());
        let writer = Writer::open(target.clone(), desk.clone())?;
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| format!("audit_log: its thread can't start: {e}"))?;
        Ok(Self { target: target.clone(), desk })
    }

    /// The one that is configured: `old` where it stays the same. Errors: as [`Audit::open`].
    pub fn of(target: Option<&AuditLog>, old: Option<&Arc<Self>>) -> Result<Option<Arc<Self>>, String> {
        let Some(target) = target else { return Ok(None) };
        match old.filter(|old| old.target == *target) {
            Some(old) => Ok(Some(old.clone())),
            None => Self::open(target).map(Arc::new).map(Some),
        }
    }

    /// Where it goes.
    pub fn target(&self) -> &AuditLog {
        &self.target
    }

    /// Opens its file anew, which may have been moved away meanwhile.
    pub fn reopen(&self) {
        self.desk.state().reopens = true;
        self.desk.work.notify_all();
    }

    /// Waits until somebody who wants to write may. Errors: the log can't be written.
    pub async fn admit(&self) -> Result<(), ClientError> {
        loop {
            let settled = self.desk.settled.notified();
            {
                let state = self.desk.state();
                if let Some(why) = &state.failing {
                    let message = format!("the audit log cannot be written: {why}");
                    return Err(ClientError::error("58030", message)
                        .hint("The statement was not sent. Statements that only read are not affected."));
                }
                if state.lines.len() + state.taken < MOST_WAITING {
                    return Ok(());
                }
            }
            settled.await;
        }
    }

    /// Hands in a line. It will be written even if nobody waits for that.
    pub fn submit(&self, text: String) -> Written {
        let (written, receiver) = oneshot::channel();
        self.desk.state().lines.push_back(Entry { text, written });
        self.desk.work.notify_all();
        Written(receiver)
    }

    /// Lines written.
    pub fn written(&self) -> u64 {
        self.desk.written.load(Ordering::Relaxed)
    }

    /// Attempts that failed.
    pub fn failures(&self) -> u64 {
        self.desk.failures.load(Ordering::Relaxed)
    }

    /// Whether it can't be written now.
    pub fn is_failing(&self) -> bool {
        self.desk.state().failing.is_some()
    }

    /// Waits until all is written, or for so long: what is not goes to the process's own log then.
    pub async fn finish(&self, patience: Duration) {
        let written = async {
            loop {
                let settled = self.desk.settled.notified();
                {
                    let state = self.desk.state();
                    if state.lines.is_empty() && state.taken == 0 {
                        return;
                    }
                }
                settled.await;
            }
        };
        if tokio::time::timeout(patience, written).await.is_err() {
            self.close();
            while !self.desk.state().ended {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn close(&self) {
        self.desk.state().closes = true;
        self.desk.work.notify_all();
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
