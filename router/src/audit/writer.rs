//! The thread that writes the audit log.

use super::{Desk, Entry};
use shardway_config::AuditLog;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The pause after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Lines taken at a time.
const BATCH: usize = 256;

/// Writes what comes to the desk.
pub(super) struct Writer {
    target: AuditLog,
    output: Output,
    desk: Arc<Desk>,
}

/// Where lines go.
struct Output {
    sink: Sink,
    /// Bytes of the first line not yet written that are out already.
    begun: usize,
}

enum Sink {
    Stderr,
    File(File),
}

impl Output {
    fn open(target: &AuditLog) -> Result<Self, String> {
        let sink = match target {
            AuditLog::Stderr => Sink::Stderr,
            AuditLog::File(path) => {
                Sink::File(open(path).map_err(|e| format!("audit_log: {}: {e}", path.display()))?)
            }
        };
        Ok(Self { sink, begun: 0 })
    }

    /// Writes lines up to the first that fails; gives how many are out whole.
    fn write(&mut self, lines: &[Entry]) -> (usize, io::Result<()>) {
        let mut bytes: Vec<u8> = lines.iter().flat_map(|line| line.text.bytes()).collect();
        bytes.drain(..self.begun);
        let mut at = 0;
        let outcome = loop {
            if at == bytes.len() {
                break Ok(());
            }
            let wrote = match &mut self.sink {
                Sink::Stderr => io::stderr().write(&bytes[at..]),
                Sink::File(file) => file.write(&bytes[at..]),
            };
            match wrote {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => at += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        let mut out = self.begun + at;
        let mut whole = 0;
        while let Some(line) = lines.get(whole).filter(|line| line.text.len() <= out) {
            out -= line.text.len();
            whole += 1;
        }
        self.begun = out;
        (whole, outcome)
    }
}

/// Appends to a file, which is made where it is not there; others may not read it. A line that another process left half
/// written is ended first.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create(true).read(true).mode(0o600).open(path)?;
    let regular = file.metadata()?.is_file();
    if regular && file.seek(SeekFrom::End(0))? > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

impl Writer {
    pub(super) fn open(target: AuditLog, desk: Arc<Desk>) -> Result<Self, String> {
        let output = Output::open(&target)?;
        Ok(Self { target, output, desk })
    }

    /// Until it is closed, and all is written that can be.
    pub(super) fn run(mut self) {
        let mut batch: Vec<Entry> = Vec::new();
        loop {
            let closes = self.wait(&mut batch);
            if !batch.is_empty() && !self.write(&mut batch) && closes {
                self.give_up(&batch);
                batch.clear();
            }
            if closes && batch.is_empty() && self.desk.state().lines.is_empty() {
                break;
            }
        }
        self.desk.state().ended = true;
        self.desk.settled.notify_waiters();
    }

    /// Waits for lines, unless there are some that could not be written: then for a while. Whether it is to end.
    fn wait(&mut self, batch: &mut Vec<Entry>) -> bool {
        let (reopens, closes) = {
            let mut state = self.desk.state();
            if batch.is_empty() {
                let idle =
                    |state: &mut super::State| state.lines.is_empty() && !state.reopens && !state.closes;
                state =
                    self.desk.work.wait_while(state, idle).unwrap_or_else(std::sync::PoisonError::into_inner);
                let count = state.lines.len().min(BATCH);
                batch.extend(state.lines.drain(..count));
                state.taken = batch.len();
            } else if !state.closes && !state.reopens {
                let idle = |state: &mut super::State| !state.reopens && !state.closes;
                let waited = self.desk.work.wait_timeout_while(state, PAUSE, idle);
                state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
            }
            (std::mem::take(&mut state.reopens), state.closes)
        };
        if reopens {
            self.reopen();
        }
        closes
    }

    /// Where it does not work the file that is open stays so: nothing is lost in it.
    fn reopen(&mut self) {
        match Output::open(&self.target) {
            Ok(output) => {
                if self.output.begun > 0
                    && let Sink::File(file) = &mut self.output.sink
                {
                    // The line begins anew in the new file.
                    let _ = file.write_all(b"\n");
                }
                self.output = output;
            }
            Err(e) => {
                self.desk.failures.fetch_add(1, Relaxed);
                tracing::error!("{e}; the file that was open goes on being written");
            }
        }
    }

    /// Writes lines and lets those know who wait for them. Whether all are out.
    fn write(&mut self, batch: &mut Vec<Entry>) -> bool {
        let (whole, outcome) = self.output.write(batch);
        self.desk.written.fetch_add(whole as u64, Relaxed);
        let changed = {
            let mut state = self.desk.state();
            state.taken = batch.len() - whole;
            let why = outcome.as_ref().err().map(ToString::to_string);
            let changed = state.failing.is_some() != why.is_some();
            state.failing = why;
            changed
        };
        for line in batch.drain(..whole) {
            // Who does not wait has left.
            let _ = line.written.send(());
        }
        self.desk.settled.notify_waiters();
        match &outcome {
            Err(e) => {
                self.desk.failures.fetch_add(1, Relaxed);
                if changed {
                    tracing::error!("the audit log can't be written; statements that write are refused: {e}");
                }
            }
            Ok(()) if changed => tracing::warn!("the audit log is written again"),
            Ok(()) => {}
        }
        outcome.is_ok()
    }

    /// The end has come, and these lines can't be written: better here than nowhere.
    fn give_up(&self, batch: &[Entry]) {
        let mut state = self.desk.state();
        let left = std::mem::take(&mut state.lines);
        state.taken = 0;
        drop(state);
        for line in batch.iter().chain(&left) {
            tracing::error!(line = line.text.trim_end(), "a line of the audit log could not be written");
        }
    }
}
