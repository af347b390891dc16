//! The admin database `shardway`: psql asks SHOW, admins say RELOAD.

mod show;

use crate::error::{ClientError, Severity};
use crate::proxy::{Phase, Proxy};
use crate::{reload, reply};
use shardway_pool::buffer::Buffer;
use shardway_pool::cancel::BackendKey;
use shardway_pool::frame;
use shardway_pool::wire::Wire;
use std::io;
use std::sync::Arc;

/// A table of text to show: column names with types, and rows.
pub(crate) struct Table {
    pub columns: Vec<(&'static str, u32)>,
    pub rows: Vec<Vec<Option<String>>>,
}

/// The largest command taken here.
const MAX_COMMAND: usize = 1024 * 1024;

/// Serves one admin client. Errors end the connection.
pub(crate) async fn serve<T>(
    proxy: &Arc<Proxy>,
    wire: &mut Wire,
    user: &str,
) -> Result<Option<T>, ClientError> {
    for (name, value) in [
        ("server_version", concat!(env!("CARGO_PKG_VERSION"), "/shardway")),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
    ] {
        reply::parameter(&mut wire.output, name, value);
    }
    reply::backend_key(&mut wire.output, BackendKey::default());
    reply::ready(&mut wire.output, b'I');
    let mut phase = proxy.phase();
    loop {
        if wire.flush().await.is_err() {
            return Ok(None);
        }
        let (tag, len) = tokio::select! {
            message = wire.message(MAX_COMMAND) => match message {
                Ok(message) => message,
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(ClientError::protocol("invalid message length")),
                Err(_) => return Ok(None),
            },
            _ = phase.wait_for(|p| *p != Phase::Serving) => {
                return Err(ClientError::fatal("57P01", "terminating connection due to administrator command"));
            }
        };
        let body = wire.body(len).to_vec();
        wire.consume_message(len);
        match tag {
            b'Q' => simple(proxy, &mut wire.output, user, &body).await,
            b'X' => return Ok(None),
            b'S' => reply::ready(&mut wire.output, b'I'),
            // One error per batch: the rest is skipped up to Sync.
            b'P' => {
                let error = ClientError::error("0A000", "the admin database takes simple queries only");
                reply::error(&mut wire.output, &error);
            }
            _ => {}
        }
    }
}

async fn simple(proxy: &Arc<Proxy>, out: &mut Buffer, user: &str, body: &[u8]) {
    let text =
        frame::cstr(body).map(|(text, _)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let command = text.trim().trim_end_matches(';').trim();
    if command.is_empty() {
        out.extend(reply::EMPTY_QUERY);
    } else if let Err(error) = run(proxy, out, user, command).await {
        reply::error(out, &error);
    }
    reply::ready(out, b'I');
}

async fn run(proxy: &Arc<Proxy>, out: &mut Buffer, user: &str, command: &str) -> Result<(), ClientError> {
    let words: Vec<String> = command.split_whitespace().take(3).map(str::to_ascii_uppercase).collect();
    let word = |n: usize| words.get(n).map_or("", String::as_str);
    match (word(0), word(1)) {
        ("SHOW" | "RELOAD", _) if !proxy.world().is_stats(user) => {
            // A reload took the right away.
            return Err(ClientError::error(
                "42501",
                format!("user \"{user}\" may not use the admin database"),
            ));
        }
        ("SHOW", "ROUTE") => {
            let statement = statement_of(command)?;
            table(out, &show::route(proxy, &statement).await?, "SHOW");
        }
        ("SHOW", what) => table(out, &show::show(proxy, what)?, "SHOW"),
        ("RELOAD", "") => {
            admins_only(proxy, user)?;
            reload::reload(proxy).await.map_err(|problems| {
                ClientError::error("F0000", format!("the configuration was not taken: {problems}"))
            })?;
            reply::complete(out, "RELOAD");
        }
        // psql and drivers set parameters when they connect; here they mean nothing.
        ("SET", _) => reply::complete(out, "SET"),
        _ => {
            return Err(ClientError::error("42601", format!("unknown command: {command}"))
                .hint("Use SHOW HELP to see what there is."));
        }
    }
    Ok(())
}

fn admins_only(proxy: &Proxy, user: &str) -> Result<(), ClientError> {
    if proxy.world().is_admin(user) {
        return Ok(());
    }
    Err(ClientError { severity: Severity::Error, ..ClientError::error("42501", "admin access needed") })
}

/// The statement in `SHOW ROUTE '<statement>'`.
fn statement_of(command: &str) -> Result<String, ClientError> {
    let rest = command[4..].trim_start()[5..].trim();
    rest.strip_prefix('\'')
        .and_then(|r| r.strip_suffix('\''))
        .map(|inner| inner.replace("''", "'"))
        .ok_or_else(|| ClientError::error("42601", "SHOW ROUTE takes a statement in single quotes"))
}

fn table(out: &mut Buffer, table: &Table, tag: &str) {
    reply::columns(out, &table.columns);
    table.rows.iter().for_each(|row| reply::row(out, row));
    reply::complete(out, tag);
}
