//! What a client sends while its statement runs: the data of a COPY, statements for later, or its end.

use super::{Broken, CopyIn, MAX_AHEAD, Outcome, Relay};
use crate::error::ClientError;
use crate::session::patience::Sender;
use crate::session::{End, SYNC};
use shardway_pool::frame;
use std::io;
use std::task::{Context, Poll, ready};

impl Relay<'_> {
    /// What a COPY came to: should the server be lost, the client's message that was cut short by it is read to its end first.
    #[cold]
    pub(super) fn poll_after_copy(
        &mut self,
        polled: Poll<Result<Outcome, Broken>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outcome, Broken>> {
        match polled {
            Poll::Ready(Err(Broken::Server { cause, torn })) if self.at.copying > 0 => {
                self.at.rare().lost = Some((cause, torn));
                self.at.streams.end(&self.server.wire.stream, &self.client.stream);
                self.poll_rest(cx)
            }
            polled => polled,
        }
    }

    /// The server is lost in the middle of a message of the client's: the rest of that is taken, since it is no message by
    /// itself, before anything is said.
    #[cold]
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome, Broken>> {
        loop {
            let n = self.at.copying.min(self.client.input.len());
            self.client.input.consume(n);
            self.at.copying -= n;
            if self.at.copying == 0 {
                break;
            }
            let cause = match ready!(self.client.poll_fill(cx)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(cause) => cause,
            };
            return Poll::Ready(Err(Broken::Client(End::Client(cause))));
        }
        let (cause, torn) =
            self.at.rare().lost.take().unwrap_or_else(|| (io::ErrorKind::UnexpectedEof.into(), false));
        Poll::Ready(Err(Broken::Server { cause, torn }))
    }

    /// Sends the Sync that is owed, if what belongs before it is through.
    pub(super) fn pay_sync(&mut self) {
        let through = self.at.has_copied || self.at.outcome.error.is_some() || self.script.is_empty();
        if through && self.at.copying == 0 {
            self.server.wire.output.extend(SYNC);
            self.at.owes_sync = false;
        }
    }

    /// What is left to be taken of the client's COPY when it has ended or failed.
    pub(super) fn after_copy(&self) -> CopyIn {
        if self.at.extended && !self.at.owes_sync { CopyIn::UntilSync } else { CopyIn::No }
    }

    /// Reads what the client sends meanwhile: COPY data for the server, statements for later, or its end.
    pub(super) fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        let mut progress = Poll::Pending;
        loop {
            if self.is_copying() {
                if !self.server.wire.output.is_empty() {
                    // The server does not take more right now; its socket will wake us.
                    return Ok(progress);
                }
                if self.copy_to_server()? {
                    progress = Poll::Ready(());
                    let _ = self.server.wire.poll_flush(cx).map_err(|cause| self.server_gone(cause))?;
                    continue;
                }
            } else if self.client.input.len() >= MAX_AHEAD {
                return Ok(progress);
            }
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    return Err(Broken::Client(End::Client(io::ErrorKind::UnexpectedEof.into())));
                }
                Poll::Ready(Ok(n)) if self.is_copying() => self.at.copied = self.at.copied.saturating_add(n),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Err(Broken::Client(End::Client(e))),
                Poll::Pending => {
                    if self.is_copying() {
                        self.at.streams.wait(cx, Sender::Client, &self.client.stream, self.at.copied);
                    }
                    return Ok(progress);
                }
            }
        }
    }

    /// Moves COPY messages from the client's input to the server's output; whether any moved.
    fn copy_to_server(&mut self) -> Result<bool, Broken> {
        let mut moved = false;
        while self.is_copying() && !self.client.input.is_empty() {
            let input = self.client.input.filled();
            if self.at.copying > 0 {
                let n = self.at.copying.min(input.len());
                if !self.at.discarding {
                    self.server.wire.output.extend(&input[..n]);
                }
                self.client.input.consume(n);
                self.at.copying -= n;
                self.at.copied_some = true;
                moved = true;
                continue;
            }
            let header = frame::peek(input, self.client.max_message())
                .map_err(|_| Broken::Client(End::Fatal(ClientError::protocol("invalid message length"))))?;
            let Some(header) = header else { break };
            self.at.copying = header.len;
            self.at.copied_some = false;
            // After CopyDone, CopyFail or an error, only the Sync that ends the batch is the server's; and while it
            // copies, Postgres itself ignores Sync and Flush.
            self.at.discarding = match (header.tag, self.at.copy_in) {
                (b'd', CopyIn::Data) => false,
                (b'c' | b'f', CopyIn::Data) => {
                    self.at.copy_in = self.after_copy();
                    self.at.has_copied = true;
                    false
                }
                (b'S', CopyIn::UntilSync) => {
                    self.at.copy_in = CopyIn::No;
                    false
                }
                (b'S' | b'H', CopyIn::Data) | (b'd' | b'c' | b'f' | b'H', CopyIn::UntilSync) => true,
                _ => {
                    return Err(Broken::Client(End::Fatal(ClientError::protocol(
                        "unexpected message type during COPY from stdin",
                    ))));
                }
            };
        }
        Ok(moved)
    }

    /// Whether the client's next bytes are COPY's.
    fn is_copying(&self) -> bool {
        self.at.copying > 0 || self.at.copy_in != CopyIn::No && self.at.outcome.status == 0
    }
}
