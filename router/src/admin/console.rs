//! One connection to the admin database: its messages in, their answers out.

use super::command::Command;
use super::extended::Extended;
use super::{answer as answers, run};
use crate::error::ClientError;
use crate::proxy::{Phase, Proxy};
use crate::reply;
use shardway_pool::buffer::Buffer;
use shardway_pool::cancel::BackendKey;
use shardway_pool::frame;
use shardway_pool::wire::Wire;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

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

/// Serves one admin client. Errors end the connection.
pub(crate) async fn serve<T>(
    proxy: &Arc<Proxy>,
    wire: &mut Wire,
    user: &str,
) -> Result<Option<T>, ClientError> {
    PARAMETERS.iter().for_each(|(name, value)| reply::parameter(&mut wire.output, name, value));
    reply::backend_key(&mut wire.output, BackendKey::default());
    reply::ready(&mut wire.output, b'I');
    let mut extended = Extended::default();
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
            _ = phase.wait_for(|p| *p != Phase::Serving) => {
                return Err(ClientError::fatal("57P01", "terminating connection due to administrator command"));
            }
        };
        let body = wire.body(len).to_vec();
        wire.consume_message(len);
        if tag == b'X' {
            return Ok(None);
        }
        // Apart, so that a client that leaves while its command waits is noticed.
        let mut out = std::mem::take(&mut wire.output);
        let answered = tokio::select! {
            biased;
            answered = answer(proxy, &mut out, user, &mut extended, tag, &body) => answered,
            () = poll_fn(|cx| wire.poll_end(cx, MAX_COMMAND)) => return Ok(None),
        };
        wire.output = out;
        answered?;
    }
}

/// Answers one message. Errors end the connection.
async fn answer(
    proxy: &Arc<Proxy>,
    out: &mut Buffer,
    user: &str,
    extended: &mut Extended,
    tag: u8,
    body: &[u8],
) -> Result<(), ClientError> {
    match tag {
        b'Q' => simple(proxy, out, user, body).await,
        b'P' | b'B' | b'D' | b'E' | b'C' | b'S' | b'H' => extended.take(proxy, out, user, tag, body).await,
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

async fn simple(proxy: &Arc<Proxy>, out: &mut Buffer, user: &str, body: &[u8]) {
    let text = frame::cstr(body).map(|(text, _)| String::from_utf8_lossy(text)).unwrap_or_default();
    if let Err(error) = query(proxy, out, user, &text).await {
        reply::error(out, &error);
    }
    reply::ready(out, b'I');
}

async fn query(proxy: &Arc<Proxy>, out: &mut Buffer, user: &str, text: &str) -> Result<(), ClientError> {
    let command = Command::parse(text)?;
    if command == Command::Empty {
        out.extend(reply::EMPTY_QUERY);
        return Ok(());
    }
    let columns = run::columns(&command)?;
    let answer = run::run(proxy, user, &command).await?;
    answers::write(out, columns, &answer);
    Ok(())
}
