//! Waiting for more at a time. Large answers, and what clients COPY, come in pieces of 8 KiB, and being woken for each of
//! them costs more than passing it on does. While such a stream lasts, the socket is asked not to speak up before there
//! is a good deal to read; a short timer sees to it that its end is not waited for.

use shardway_pool::stream::Stream;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes after which a stream is a large one.
const STREAMING: usize = 32 * 1024;

/// Bytes that are worth being woken for: most of what a buffer holds.
const WORTHWHILE: usize = 48 * 1024;

/// The longest that anything is held back.
const LIMIT: Duration = Duration::from_millis(1);

/// How patient the reader of one stream is.
#[derive(Debug)]
struct Patience {
    /// Bytes of the stream from which on it waits.
    from: usize,
    /// Whether the socket waits for more.
    raised: bool,
    /// Bytes that had come when the timer was set.
    timed: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { from: STREAMING, raised: false, timed: 0, timer: None }
    }
}

/// The readers of what a server answers and of what a client copies. Nothing, for what is short.
#[derive(Debug, Default)]
pub(super) struct Streams(Option<Box<[Patience; 2]>>);

/// Who sends a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sender {
    Server,
    Client,
}

impl Streams {
    /// See [`Patience::wait`].
    pub fn wait(&mut self, cx: &mut Context<'_>, sender: Sender, peer: &Stream, passed: usize) {
        if passed >= STREAMING {
            self.0.get_or_insert_default()[sender as usize].wait(cx, peer, passed);
        }
    }

    /// Whether one of them is, or was, a large one.
    pub fn any(&self) -> bool {
        self.0.is_some()
    }

    /// What the client copies is through.
    pub fn end_of_copy(&mut self, client: &Stream) {
        if let Some([_, copy]) = self.0.take().as_deref_mut() {
            copy.end(client);
        }
    }

    /// Both are through.
    pub fn end(&mut self, server: &Stream, client: &Stream) {
        if let Some([answer, copy]) = self.0.take().as_deref_mut() {
            answer.end(server);
            copy.end(client);
        }
    }
}

impl Patience {
    /// There is nothing to read from `peer`, who said `passed` bytes so far: the task will be woken when there is enough,
    /// or time is up.
    fn wait(&mut self, cx: &mut Context<'_>, peer: &Stream, passed: usize) {
        if passed < self.from {
            return;
        }
        if !self.raised {
            if peer.set_low_water(WORTHWHILE).is_err() {
                self.from = usize::MAX;
                return;
            }
            self.raised = true;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(LIMIT)));
        if self.timed != passed {
            self.timed = passed;
            timer.as_mut().reset(Instant::now() + LIMIT);
        }
        if let Poll::Ready(()) = timer.as_mut().poll(cx) {
            // What is there is reported now. Whoever is this slow is not waited for again for a while.
            self.end(peer);
            self.from = passed + STREAMING;
        }
    }

    /// The stream is through: the socket speaks up for a single byte again.
    fn end(&mut self, peer: &Stream) {
        if std::mem::take(&mut self.raised) {
            // It was possible to set; should it fail now, the timer's next turn finds out.
            let _ = peer.set_low_water(1);
        }
    }
}
