//! One connection to the admin database: its messages in, their answers out.

use super::clients::Client;
use super::command::Command;
use super::extended::Extended;
use super::tally::Count;
use super::{answer as answers, run, standing};
use crate::error::ClientError;
use crate::handle::Reason;
use crate::proxy::{Phase, Proxy};
use crate::reply;
use shardway_pool::buffer::Buffer;
use shardway_pool::cancel::BackendKey;
use shardway_pool::wire::Wire;
use shardway_pool::{frame, server};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use tokio::sync::Notify;

/// The largest command taken here.
const MAX_COMMAND: usize = 1024 * 1024;

/// What drivers want to know of a server.
const PARAMETERS: [(&str, &str); 7] = [
    ("server_version", concat!(env!("CARGO_PKG_VERSION"), "/shardway")),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
];

/// What others can reach of an admin's connection.
#[derive(Debug)]
pub struct Console {
    /// Who it is.
    pub(super) user: String,
    /// The operating system's user is the process's own: it may do everything.
    pub(super) is_owner: bool,
    cancelled: Notify,
    killed: Notify,
}

impl Console {
    /// Has the command that runs, if there is one, given up.
    pub(super) fn cancel(&self) {
        self.cancelled.notify_waiters();
    }

    /// Has it closed.
    pub(super) fn kill(&self) {
        self.killed.notify_one();
    }

    /// Ready when the command that runs is to be given up: the error that says so.
    pub(super) async fn cancelled(&self) -> ClientError {
        self.cancelled.notified().await;
        ClientError::error("57014", "canceling statement due to user request")
    }
}

/// An admin's place on the list of those who can be cancelled.
struct Listed<'a> {
    proxy: &'a Proxy,
    key: BackendKey,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.proxy.admin.list_console(self.key, None);
        standing::admin_left(self.proxy);
    }
}

/// Serves one admin client. Errors end the connection.
pub(crate) async fn serve<T>(
    proxy: &Arc<Proxy>,
    wire: &mut Wire,
    client: &Client,
) -> Result<Option<T>, ClientError> {
    let (user, is_owner) = (client.who.user.clone(), client.who.is_owner);
    let console = Arc::new(Console { user, is_owner, cancelled: Notify::new(), killed: Notify::new() });
    client.has_console(&console);
    let listed = Listed { proxy, key: proxy.new_key() };
    proxy.admin.list_console(listed.key, Some(console.clone()));
    PARAMETERS.iter().for_each(|(name, value)| reply::parameter(&mut wire.output, name, value));
    reply::backend_key(&mut wire.output, listed.key);
    reply::ready(&mut wire.output, b'I');
    let (mut extended, mut counted) = (Extended::default(), false);
    let mut phase = proxy.phase();
    loop {
        // What is pipelined is answered in one write.
        if wire.input.is_empty() && wire.flush().await.is_err() {
            return Ok(None);
        }
        let (tag, len) = tokio::select! {
            message = next(wire) => match message {
                Ok(message) => message,
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    return Err(ClientError::protocol("invalid message length"));
                }
                Err(_) => return Ok(None),
            },
            _ = phase.wait_for(|p| *p >= Phase::Draining) => {
                return Err(ClientError::fatal("57P01", "terminating connection due to administrator command"));
            }
            () = console.killed.notified() => return Err(Reason::Killed.error()),
        };
        let body = wire.body(len).to_vec();
        wire.consume_message(len);
        if tag == b'X' {
            return Ok(None);
        }
        if !std::mem::replace(&mut counted, true) {
            count(proxy);
        }
        // Apart, so that a client that leaves while its command waits is noticed.
        let mut out = std::mem::take(&mut wire.output);
        let answered = tokio::select! {
            biased;
            answered = answer(proxy, &mut out, &console, &mut extended, tag, &body) => answered,
            () = poll_fn(|cx| wire.poll_end(cx, MAX_COMMAND)) => return Ok(None),
            () = console.killed.notified() => return Err(Reason::Killed.error()),
        };
        wire.output = out;
        answered?;
    }
}

/// PgBouncer's statistics have one transaction of one query for each client of the console that has asked for anything.
fn count(proxy: &Proxy) {
    // Only the thread that this runs on adds to it.
    let tally = proxy.admin.tallies.of(proxy.world().console(), server::worker());
    [Count::Transactions, Count::Queries].into_iter().for_each(|count| tally.add(count, 1));
}

/// Answers one message. Errors end the connection.
async fn answer(
    proxy: &Arc<Proxy>,
    out: &mut Buffer,
    console: &Console,
    extended: &mut Extended,
    tag: u8,
    body: &[u8],
) -> Result<(), ClientError> {
    match tag {
        b'Q' => simple(proxy, out, console, body).await,
        b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' => extended.take(proxy, out, console, tag, body).await,
        other => return Err(ClientError::protocol(format!("invalid frontend message type {other}"))),
    }
    Ok(())
}

/// The next message, whole. What was answered goes out before this waits.
async fn next(wire: &mut Wire) -> io::Result<(u8, usize)> {
    loop {
        match frame::peek(wire.input.filled(), MAX_COMMAND) {
            Ok(Some(header)) if wire.input.len() >= header.len => return wire.message(MAX_COMMAND).await,
            Ok(_) => {}
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        wire.flush().await?;
        wire.fill().await?;
    }
}

async fn simple(proxy: &Arc<Proxy>, out: &mut Buffer, console: &Console, body: &[u8]) {
    let text = frame::cstr(body).map(|(text, _)| String::from_utf8_lossy(text)).unwrap_or_default();
    if let Err(error) = query(proxy, out, console, &text).await {
        reply::error(out, &error);
    }
    reply::ready(out, b'I');
}

/// A command that is unknown is told as it was said.
pub(super) fn whole(error: ClientError, text: &str) -> ClientError {
    match error.message.starts_with("invalid command") {
        true => {
            ClientError { message: format!("invalid command '{}', use SHOW HELP;", text.trim()), ..error }
        }
        false => error,
    }
}

async fn query(
    proxy: &Arc<Proxy>,
    out: &mut Buffer,
    console: &Console,
    text: &str,
) -> Result<(), ClientError> {
    let command = Command::parse(text)?;
    if command == Command::Empty {
        out.extend(reply::EMPTY_QUERY);
        return Ok(());
    }
    let columns = run::columns(&command).map_err(|error| whole(error, text))?;
    let answer = run::run(proxy, console, &command).await?;
    answers::write(out, columns, &answer);
    Ok(())
}
