//! A client that speaks the protocol by hand, for what a driver hides: the exact messages, their order, and
//! what a server does with wrong ones.
//!
//! What is to be sent is put together first and goes out in one write when an answer is asked for (or with
//! [`RawClient::send`]), so that a pipeline is a pipeline:
//!
//! ```no_run
//! # async fn test(mut raw: shardway_tests::RawClient) {
//! use shardway_tests::Param;
//!
//! raw.parse("s", "SELECT $1::int", &[]).bind("", "s", &[Param::Text("7")], &[]).execute("", 0).sync();
//! let reply = raw.recv_until_ready().await;
//! assert_eq!(reply.tags(), "12DCZ");
//! assert_eq!(reply.texts(), [[Some("7")]]);
//! # }
//! ```
//!
//! Every wait for the other side ends after ten seconds, in a panic.

mod frontend;
mod login;
mod message;

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::{Buf, Bytes, BytesMut};
use shardway_cluster::HOST;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub use frontend::Param;
pub use message::{Message, Reply, Texts};

use crate::{must, wait::PATIENCE};

/// A connection to Shardway, or to a Postgres server, at the level of single messages.
pub struct RawClient {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    parameters: HashMap<String, String>,
    cancel_key: Option<(i32, i32)>,
}

impl RawClient {
    /// Opens a connection to a port of this machine, and says nothing yet.
    pub async fn connect(port: u16) -> RawClient {
        let connected = within("a connection", TcpStream::connect((HOST, port))).await;
        RawClient::over(must(&format!("connecting to {HOST}:{port}"), connected))
    }

    /// As [`connect`](Self::connect), where nobody may listen; `None` then.
    pub async fn reach(port: u16) -> Option<RawClient> {
        TcpStream::connect((HOST, port)).await.ok().map(RawClient::over)
    }

    fn over(stream: TcpStream) -> RawClient {
        must("turning off Nagle's algorithm", stream.set_nodelay(true));
        RawClient {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            parameters: HashMap::new(),
            cancel_key: None,
        }
    }

    /// Asks the server at `port` to cancel what the connection with this key is doing, and waits until it
    /// has taken note.
    pub async fn cancel(port: u16, (process_id, secret_key): (i32, i32)) {
        let mut raw = RawClient::connect(port).await;
        raw.cancel_request(process_id, secret_key);
        raw.expect_closed().await;
    }

    /// What the server reported as its settings, up to date with the messages read so far.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The key to cancel this connection's work with.
    ///
    /// # Panics
    /// The login is not through, or brought none.
    #[track_caller]
    pub fn cancel_key(&self) -> (i32, i32) {
        self.cancel_key.expect("the server gave no cancel key")
    }

    /// Sends what has been put together.
    pub async fn send(&mut self) {
        let output = self.output.split();
        if !output.is_empty() {
            must("sending", self.try_write(&output).await);
        }
    }

    /// Sends what has been put together to somebody who may have hung up: what came before that is still to be heard.
    pub async fn send_anyway(&mut self) {
        let output = self.output.split();
        let _ = self.try_write(&output).await;
    }

    /// Sends bytes as they are, after what has been put together.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.send().await;
    }

    /// The next message.
    ///
    /// # Panics
    /// The connection ends, or there is none within ten seconds.
    pub async fn recv(&mut self) -> Message {
        self.recv_or_end().await.expect("the connection was closed where a message was due")
    }

    /// The next message; `None` when the connection ends before one.
    ///
    /// # Panics
    /// The connection ends within a message, or nothing happens within ten seconds.
    pub async fn recv_or_end(&mut self) -> Option<Message> {
        // A server that has hung up may have said why before.
        let output = self.output.split();
        let _ = self.try_write(&output).await;
        loop {
            if let Some(message) = self.take_message() {
                self.take_note(&message);
                return Some(message);
            }
            if !self.read_more().await {
                assert!(
                    self.input.is_empty(),
                    "the connection was closed within a message: {:?}",
                    self.input
                );
                return None;
            }
        }
    }

    /// All messages up to and with ReadyForQuery.
    pub async fn recv_until_ready(&mut self) -> Reply {
        self.recv_until(b'Z').await
    }

    /// All messages up to and with the first one with this tag.
    ///
    /// # Panics
    /// The connection ends before, or nothing happens within ten seconds; the message shows what came.
    pub async fn recv_until(&mut self, tag: u8) -> Reply {
        let mut messages = Vec::new();
        loop {
            let message = self.recv_or_end().await;
            let message = message.unwrap_or_else(|| {
                panic!("the connection was closed before a {:?}, after {messages:?}", char::from(tag))
            });
            let last = message.tag == tag;
            messages.push(message);
            if last {
                return Reply(messages);
            }
        }
    }

    /// One byte that is no message: the answer to an SSLRequest.
    pub async fn recv_byte(&mut self) -> u8 {
        self.send().await;
        while self.input.is_empty() {
            assert!(self.read_more().await, "the connection was closed where a byte was due");
        }
        self.input.get_u8()
    }

    /// What comes before the server closes the connection.
    ///
    /// # Panics
    /// It does not close it.
    pub async fn expect_closed(&mut self) -> Reply {
        let mut messages = Vec::new();
        while let Some(message) = self.recv_or_end().await {
            messages.push(message);
        }
        Reply(messages)
    }

    /// What comes before ReadyForQuery or the connection's end, be it within a message.
    pub async fn rest(&mut self) -> Reply {
        // A server that has hung up may have said why before.
        let output = self.output.split();
        let _ = self.try_write(&output).await;
        let mut messages = Vec::new();
        loop {
            while let Some(message) = self.take_message() {
                self.take_note(&message);
                let last = message.tag == b'Z';
                messages.push(message);
                if last {
                    return Reply(messages);
                }
            }
            if !self.read_more().await {
                return Reply(messages);
            }
        }
    }

    /// Reads what there is; whether that, with what came before, is more than so many bytes.
    pub async fn has_more(&mut self, bytes: usize) -> bool {
        self.read_more().await && self.input.len() > bytes
    }

    /// What came of a message that is not whole yet.
    pub fn unread(&self) -> &[u8] {
        &self.input
    }

    /// What has been put together and not been sent.
    pub fn unsent(&self) -> &[u8] {
        &self.output
    }

    /// Forgets what has been put together behind so many bytes.
    pub fn cut_short(&mut self, bytes: usize) {
        self.output.truncate(bytes);
    }

    /// Closes the connection with RST, as the end of a client's machine does.
    pub fn reset(self) {
        // Where that can't be had, it is a FIN.
        let _ = self.stream.set_zero_linger();
    }

    /// Says that nothing more will be sent.
    pub async fn half_close(&mut self) {
        // Whether the other side still listens is not asked.
        let _ = self.stream.shutdown().await;
    }

    /// Closes the connection without a word, as a client's death does.
    pub fn hang_up(self) {}

    fn take_message(&mut self) -> Option<Message> {
        let length = usize::try_from(self.input.get(1..5)?.get_i32()).ok().filter(|&length| length >= 4);
        let length = length.unwrap_or_else(|| panic!("a message with a wrong length: {:?}", self.input));
        if self.input.len() < 1 + length {
            return None;
        }
        let mut message = self.input.split_to(1 + length);
        let tag = message.get_u8();
        message.advance(4);
        Some(Message { tag, body: message.freeze() })
    }

    fn take_note(&mut self, message: &Message) {
        match message.tag {
            b'S' => {
                let mut strings = message.strings();
                if let (Some(name), Some(value)) = (strings.next(), strings.next()) {
                    self.parameters.insert(name, value);
                }
            }
            b'K' if message.body.len() == 8 => {
                let mut body: Bytes = message.body.clone();
                self.cancel_key = Some((body.get_i32(), body.get_i32()));
            }
            _ => {}
        }
    }

    /// Whether there was more; a reset counts as an end.
    async fn read_more(&mut self) -> bool {
        let read = within("a message", self.stream.read_buf(&mut self.input)).await;
        read.is_ok_and(|bytes| bytes > 0)
    }

    /// Sends what has been put together, and takes in what comes meanwhile, as libpq does.
    pub async fn send_hearing(&mut self) {
        let output = self.output.split();
        let (mut read, mut write) = self.stream.split();
        let mut rest = &output[..];
        while !rest.is_empty() {
            let progress = async {
                tokio::select! {
                    written = write.write(rest) => Some(must("sending", written)),
                    read = read.read_buf(&mut self.input) => read.ok().filter(|n| *n > 0).map(|_| 0),
                }
            };
            match within("room to send", progress).await {
                Some(sent) => rest = &rest[sent..],
                None => return,
            }
        }
    }

    /// Sends what has been put together, however long the other side takes for it; `sent` counts the bytes that it took.
    pub async fn send_counting(&mut self, sent: &AtomicUsize) {
        let output = self.output.split();
        let mut rest = &output[..];
        while !rest.is_empty() {
            let taken = must("sending", self.stream.write(rest).await);
            sent.fetch_add(taken, Ordering::Relaxed);
            rest = &rest[taken..];
        }
    }

    async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("room to send", self.stream.write_all(bytes)).await
    }
}

impl Debug for RawClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawClient").field("stream", &self.stream).finish_non_exhaustive()
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}
