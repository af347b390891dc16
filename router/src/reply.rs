//! Messages that Shardway itself says to clients, written with pgwire's encoders; the few that stand on the warm
//! path are constants.

use crate::error::{ClientError, Severity};
use bytes::BytesMut;
use pgwire::messages::Message;
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::{BackendKeyData, NegotiateProtocolVersion, SecretKey};
use shardway_pool::buffer::Buffer;
use shardway_pool::cancel::BackendKey;
use shardway_pool::frame;

/// ParseComplete.
pub const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
/// BindComplete.
pub const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
/// CloseComplete.
pub const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
/// NoData.
pub const NO_DATA: &[u8] = b"n\0\0\0\x04";
/// EmptyQueryResponse.
pub const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";
/// ParameterDescription of no parameters.
pub const NO_PARAMETERS: &[u8] = b"t\0\0\0\x06\0\0";

/// OIDs of the types that our own answers have.
pub mod oid {
    /// `text`
    pub const TEXT: u32 = 25;
    /// `int8`
    pub const INT8: u32 = 20;
}

fn put(out: &mut Buffer, message: &impl Message) {
    let mut bytes = BytesMut::new();
    match message.encode(&mut bytes) {
        Ok(()) => out.extend(&bytes),
        // Only a message of over a gigabyte can fail; ours are a line or two.
        Err(e) => tracing::error!("a message could not be encoded: {e}"),
    }
}

/// ErrorResponse.
pub fn error(out: &mut Buffer, error: &ClientError) {
    // What ends the connection is FATAL, whatever the server called it.
    if let (Some(body), Severity::Error) = (&error.body, error.severity) {
        return frame::put(out, b'E', body);
    }
    put(out, &ErrorResponse::new(fields(error, severity(error))));
}

fn severity(error: &ClientError) -> &'static str {
    match error.severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    }
}

fn fields(error: &ClientError, severity: &str) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.code.clone()),
        (b'M', error.message.clone()),
    ];
    fields.extend(error.hint.iter().map(|hint| (b'H', hint.clone())));
    fields
}

/// NoticeResponse with severity WARNING.
pub fn warning(out: &mut Buffer, code: &str, message: &str) {
    put(out, &NoticeResponse::new(fields(&ClientError::error(code, message), "WARNING")));
}

/// NoticeResponse with severity NOTICE.
pub fn notice(out: &mut Buffer, message: &str) {
    put(out, &NoticeResponse::new(fields(&ClientError::error("00000", message), "NOTICE")));
}

/// ParameterStatus. Every client that comes in gets a dozen of them.
pub fn parameter(out: &mut Buffer, name: &str, value: &str) {
    let mut body = Vec::with_capacity(name.len() + value.len() + 2);
    for text in [name, value] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    frame::put(out, b'S', &body);
}

/// BackendKeyData.
pub fn backend_key(out: &mut Buffer, key: BackendKey) {
    put(out, &BackendKeyData::new(key.pid as i32, SecretKey::I32(key.secret as i32)));
}

/// NegotiateProtocolVersion: only 3.0 is spoken, and these options are not known.
pub fn negotiate(out: &mut Buffer, unknown: Vec<String>) {
    put(out, &NegotiateProtocolVersion::new(3 << 16, unknown));
}

/// CommandComplete.
pub fn complete(out: &mut Buffer, tag: &str) {
    out.push(b'C');
    out.extend(&(tag.len() as u32 + 5).to_be_bytes());
    out.extend(tag.as_bytes());
    out.push(0);
}

/// ReadyForQuery.
pub fn ready(out: &mut Buffer, status: u8) {
    out.extend(&[b'Z', 0, 0, 0, 5, status]);
}

/// An authentication request: its code and data.
pub fn authentication(out: &mut Buffer, body: &[u8]) {
    frame::put(out, b'R', body);
}

/// RowDescription of columns in text format: name and type.
pub fn columns(out: &mut Buffer, columns: &[(&str, u32)]) {
    let field = |(name, oid): &(&str, u32)| {
        let size = if *oid == oid::INT8 { 8 } else { -1 };
        FieldDescription::new((*name).to_owned(), 0, 0, *oid, size, -1, 0)
    };
    put(out, &RowDescription::new(columns.iter().map(field).collect()));
}

/// DataRow in text format.
pub fn row(out: &mut Buffer, values: &[Option<String>]) {
    let mut data = BytesMut::new();
    for value in values {
        match value {
            Some(text) => {
                data.extend_from_slice(&(text.len() as u32).to_be_bytes());
                data.extend_from_slice(text.as_bytes());
            }
            None => data.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    put(out, &DataRow::new(data, values.len() as i16));
}
