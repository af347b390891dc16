//! The first packets of a connection: SSL and GSS requests, cancel requests, the startup message.

use super::{Rejected, tls};
use crate::error::ClientError;
use crate::proxy::Proxy;
use shardway_pool::cancel::{BackendKey, CANCEL_CODE};
use shardway_pool::frame;
use shardway_pool::settings::Settings;
use shardway_pool::tls::SSL_REQUEST;
use shardway_pool::wire::Wire;
use std::sync::Arc;

/// The largest startup packet (`MAX_STARTUP_PACKET_LENGTH`).
const MAX_STARTUP: usize = 10_000;
const GSS_REQUEST: u32 = 80_877_104;

/// PgBouncer's words.
const PARTIAL: &str = "client sent partial pkt in startup phase";

/// PgBouncer's words.
const OPTIONS: &str = "unsupported options startup parameter: only '-c config=val' is allowed";

/// What a startup message asks for.
pub(crate) struct Hello {
    /// Role.
    pub user: String,
    /// Database; the role's name where none is given.
    pub database: String,
    /// Parameters to set.
    pub settings: Settings,
    /// Minor protocol version asked for.
    pub minor: u16,
    /// `_pq_.` options that nobody knows.
    pub unknown_options: Vec<String>,
}

/// Reads packets up to the startup message, with the handshake of TLS on the way. A cancel request is carried out, and
/// ends the connection.
pub(crate) async fn hello(proxy: &Arc<Proxy>, wire: &mut Wire) -> Result<Hello, Rejected> {
    tls::if_direct(proxy, wire).await?;
    loop {
        let packet = packet(wire).await?;
        let (code, rest) = frame::i32(&packet).ok_or_else(invalid)?;
        match code as u32 {
            SSL_REQUEST if wire.stream.tls().is_none() => tls::on_request(proxy, wire).await?,
            GSS_REQUEST if wire.stream.tls().is_none() => tls::refuse(wire).await?,
            // By TLS or not: clients before PostgreSQL 17 can't ask by TLS.
            CANCEL_CODE => {
                if let Some(key) = BackendKey::parse(rest) {
                    proxy.cancel(key).await;
                }
                return Err(Rejected::Gone);
            }
            version if version >> 16 == 3 && tls::is_missing(proxy, wire) => {
                return Err(ClientError::fatal("28000", "SSL required").into());
            }
            version if version >> 16 == 3 => return Ok(startup(rest, version as u16)?),
            version => {
                let message = format!(
                    "unsupported frontend protocol {}.{}: server supports 3.0 to 3.0",
                    version >> 16,
                    version & 0xffff
                );
                let error = ClientError::fatal("0A000", message);
                let is_old = version >> 16 == 2;
                return Err(
                    if is_old { error.or_poolers("old V2 protocol not supported") } else { error }.into()
                );
            }
        }
    }
}

/// One packet without a tag: its body.
async fn packet(wire: &mut Wire) -> Result<Vec<u8>, Rejected> {
    while wire.input.len() < 4 {
        wire.fill().await?;
    }
    let length = frame::i32(wire.input.filled()).map_or(0, |(n, _)| n);
    let length = usize::try_from(length).unwrap_or(0);
    if !(8..=MAX_STARTUP).contains(&length) {
        let error = ClientError::protocol("invalid length of startup packet");
        return Err(error.or_poolers(no_packet(wire.input.filled())).into());
    }
    while wire.input.len() < length {
        wire.fill().await?;
    }
    let body = wire.input.filled()[4..length].to_vec();
    wire.input.consume(length);
    Ok(body)
}

/// What PgBouncer says of bytes that begin no packet.
fn no_packet(bytes: &[u8]) -> String {
    // With a tag and a length behind it, it is a message, and comes too early.
    if frame::peek(bytes, i32::MAX as usize).is_ok_and(|header| header.is_some_and(|header| header.tag != 0))
    {
        let early = bytes.first() == Some(&b'p');
        let message = if early { "client password pkt before startup packet" } else { PARTIAL };
        return message.to_owned();
    }
    let hex: String = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("bad packet header: '{hex}'")
}

fn invalid() -> ClientError {
    ClientError::protocol("invalid startup packet layout: expected terminator as last byte")
}

fn startup(mut rest: &[u8], minor: u16) -> Result<Hello, ClientError> {
    let mut hello = Hello {
        user: String::new(),
        database: String::new(),
        settings: Settings::default(),
        minor,
        unknown_options: Vec::new(),
    };
    loop {
        let (name, more) = frame::cstr(rest).ok_or_else(invalid)?;
        if name.is_empty() {
            if !more.is_empty() {
                return Err(invalid());
            }
            break;
        }
        let (value, more) = frame::cstr(more).ok_or_else(invalid)?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec())
                .map_err(|_| ClientError::protocol("startup packet is not UTF-8"))
        };
        parameter(&mut hello, text(name)?, text(value)?)?;
        rest = more;
    }
    if hello.user.is_empty() {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(ClientError::fatal("28000", message).or_poolers("no username supplied"));
    }
    if hello.database.is_empty() {
        hello.database.clone_from(&hello.user);
    }
    Ok(hello)
}

fn parameter(hello: &mut Hello, name: String, value: String) -> Result<(), ClientError> {
    match name.as_str() {
        "user" => hello.user = value,
        "database" => hello.database = value,
        "options" => options(&mut hello.settings, &value)?,
        "replication" => match value.to_ascii_lowercase().as_str() {
            "false" | "off" | "no" | "0" => {}
            _ => {
                return Err(ClientError::fatal(
                    "0A000",
                    "replication connections are not supported; connect to the server directly",
                ));
            }
        },
        // Every server connection has it already.
        "client_encoding" if crate::session::is_utf8(&value) => {}
        name if name.starts_with("_pq_.") => hello.unknown_options.push(name.to_owned()),
        name => hello.settings.set_value(name, &value),
    }
    Ok(())
}

/// `-c name=value` and `--name=value`, with backslashes before spaces. Source: `pg_split_opts`.
fn options(settings: &mut Settings, text: &str) -> Result<(), ClientError> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("--") {
            Some(assignment) => Some(assignment.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        let Some((name, value)) = assignment.as_deref().and_then(|a| a.split_once('=')) else {
            let message = format!("the startup option \"{word}\" is not supported");
            return Err(ClientError::fatal("0A000", message).or_poolers(OPTIONS));
        };
        settings.set_value(&name.replace('-', "_"), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_postgres_splits_them() {
        let mut settings = Settings::default();
        options(&mut settings, r"-c search_path=a\ b -cwork_mem=1MB --statement-timeout=5").unwrap();
        assert_eq!(settings.value("search_path"), Some("a b"));
        assert_eq!(settings.value("work_mem"), Some("1MB"));
        assert_eq!(settings.value("statement_timeout"), Some("5"));
        assert!(options(&mut settings, "-X").is_err());
    }

    #[test]
    fn a_startup_packet_needs_its_terminator_and_a_user() {
        assert!(startup(b"user\0a\0database\0b\0\0", 0).is_ok());
        assert!(startup(b"user\0a\0", 0).is_err());
        assert!(startup(b"user\0a\0\0x", 0).is_err());
        assert_eq!(startup(b"database\0b\0\0", 0).err().unwrap().code, "28000");
    }
}
