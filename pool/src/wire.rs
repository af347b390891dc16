//! One end of a connection: a socket with what was read and not yet used, and what is still to be written.

use crate::buffer::Buffer;
use crate::frame::{self, FrameError};
use crate::oids::Oids;
use crate::oids::door::Door;
use crate::stream::Stream;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A socket with its two buffers. Both own nothing while they are empty.
#[derive(Debug)]
pub struct Wire {
    /// The socket.
    pub stream: Stream,
    /// Read and not yet used.
    pub input: Buffer,
    /// To be written.
    pub output: Buffer,
    /// Whether what was written, or stands in `output`, ends in the middle of a message, so that no other one may follow.
    pub is_midway: bool,
    /// Bytes that the body of a message may have.
    max_message: u32,
    /// What puts object ids in other terms, where the server has its own.
    door: Option<Box<Door>>,
    /// Bytes read so far.
    pub received: u64,
    /// Bytes written so far.
    pub sent: u64,
}

impl Wire {
    /// Wraps a socket.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: Buffer::default(),
            output: Buffer::default(),
            is_midway: false,
            max_message: frame::MAX_MESSAGE as u32,
            door: None,
            received: 0,
            sent: 0,
        }
    }

    /// Bytes that the body of a message may have.
    pub fn max_message(&self) -> usize {
        self.max_message as usize
    }

    /// The same with another limit.
    #[must_use]
    pub fn limited(mut self, max: usize) -> Self {
        self.limit(max);
        self
    }

    /// Sets that limit.
    pub fn limit(&mut self, max: usize) {
        self.max_message = u32::try_from(max).unwrap_or(u32::MAX);
    }

    /// What is read and written from here on is in terms of clients, whatever ids the server has. Nothing may be under way.
    pub fn translate(&mut self, oids: Option<&Arc<Oids>>) {
        match (&mut self.door, oids) {
            (None, None) => {}
            (Some(door), Some(oids)) if Arc::ptr_eq(door.oids(), oids) => {}
            (Some(door), Some(oids)) => door.set(oids.clone()),
            (Some(door), None) if !door.is_idle() => door.set(Arc::default()),
            (_, oids) => self.door = oids.map(|oids| Box::new(Door::new(oids.clone()))),
        }
    }

    /// Whether what is read and written is put in other terms.
    pub fn translates(&self) -> bool {
        self.door.is_some()
    }

    /// A COPY in binary is to begin, of columns of these types, in terms of clients.
    pub fn expect_copy(&mut self, types: Box<[u32]>) {
        if let Some(door) = &mut self.door {
            door.expect_copy(types);
        }
    }

    /// The server has given up its statements.
    pub fn forget_statements(&mut self) {
        if let Some(door) = &mut self.door {
            door.forget_statements();
        }
    }

    /// Whether nothing is left over of what was read or is to be written.
    pub fn is_through(&self) -> bool {
        self.input.is_empty()
            && self.output.is_empty()
            && self.door.as_ref().is_none_or(|door| door.outside.is_empty())
    }

    /// Makes the socket at home in the caller's runtime. Errors: the system's.
    pub fn rehome(self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.rehome()?, ..self })
    }

    /// Reads what is there; 0 at the end. One system call, none while nothing is there.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = &mut self.stream;
        let read = match &mut self.door {
            None => {
                let read = self.input.read_with(|space| stream.poll_read(cx, space));
                self.input.release();
                read
            }
            Some(door) => {
                let read = door.outside.read_with(|space| stream.poll_read(cx, space));
                door.outside.release();
                door.admit(&mut self.input);
                read
            }
        };
        if let Poll::Ready(Ok(n)) = &read {
            self.received += *n as u64;
        }
        read
    }

    /// Ready when the peer is gone; up to `max` bytes that it sends meanwhile are kept.
    pub fn poll_end(&mut self, cx: &mut Context<'_>, max: usize) -> Poll<()> {
        while self.input.len() < max {
            match ready!(self.poll_fill(cx)) {
                Ok(n) if n > 0 => {}
                _ => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Writes until nothing is left to write.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.door.is_some() {
            return self.poll_flush_out(cx);
        }
        while !self.output.is_empty() {
            let n = ready!(self.stream.poll_write(cx, self.output.filled()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n as u64;
            self.output.consume(n);
        }
        Poll::Ready(Ok(()))
    }

    /// The same through a door: what can't go out yet waits for what the server has to say first.
    fn poll_flush_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(door) = &mut self.door else { return Poll::Ready(Ok(())) };
            door.check(&mut self.output);
            while door.checked > 0 {
                let n = ready!(self.stream.poll_write(cx, &self.output.filled()[..door.checked]))?;
                if n == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.sent += n as u64;
                self.output.consume(n);
                door.checked -= n;
            }
            if !door.awaits() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Writes bytes behind what waits already: straight to the socket if nothing does. What it does not take now, and
    /// what it will never take, stays in `output`, for the next flush to find out.
    pub fn send(&mut self, mut bytes: &[u8]) {
        if self.door.is_some() {
            return self.send_out(bytes);
        }
        if self.output.is_empty()
            && let Ok(written) = self.stream.try_write(bytes)
        {
            self.sent += written as u64;
            bytes = &bytes[written..];
        }
        self.output.extend(bytes);
    }

    fn send_out(&mut self, bytes: &[u8]) {
        let waits = !self.output.is_empty();
        self.output.extend(bytes);
        let Some(door) = &mut self.door else { return };
        door.check(&mut self.output);
        if !waits && let Ok(written) = self.stream.try_write(&self.output.filled()[..door.checked]) {
            self.sent += written as u64;
            self.output.consume(written);
            door.checked -= written;
        }
    }

    /// Waits until something was read; an end is an error here.
    pub async fn fill(&mut self) -> io::Result<usize> {
        match poll_fn(|cx| self.poll_fill(cx)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }

    /// Waits until all is written.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Waits for one whole message with a body of up to `max` bytes and gives its tag and body's length; the
    /// message stays in `input` until [`Wire::consume_message`].
    pub async fn message(&mut self, max: usize) -> io::Result<(u8, usize)> {
        loop {
            match frame::first(self.input.filled(), max) {
                Ok(Some((tag, body))) => return Ok((tag, body.len())),
                Ok(None) => self.fill().await?,
                Err(FrameError::Length(_)) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid message length"));
                }
            };
        }
    }

    /// The body of the message that [`Wire::message`] announced.
    pub fn body(&self, len: usize) -> &[u8] {
        &self.input.filled()[frame::HEADER..frame::HEADER + len]
    }

    /// Drops the message that [`Wire::message`] announced.
    pub fn consume_message(&mut self, len: usize) {
        self.input.consume(frame::HEADER + len);
    }
}
