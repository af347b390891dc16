//! The messages of a client: each is added to what goes out next.

use postgres_protocol::{
    IsNull,
    message::frontend::{self, BindError, CopyData},
};

use super::RawClient;
use crate::must;

/// A parameter of a bound statement, in the format that it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// As text.
    Text(&'a str),
    /// In the type's binary format.
    Binary(&'a [u8]),
    /// NULL.
    Null,
}

const ENCODE: &str = "encoding a message";

impl RawClient {
    /// The first message: user, database and other settings.
    pub fn startup(&mut self, parameters: &[(&str, &str)]) -> &mut Self {
        let parameters = parameters.iter().copied();
        must(ENCODE, frontend::startup_message(parameters, &mut self.output));
        self
    }

    /// Asks for TLS; the answer is [`recv_byte`](Self::recv_byte).
    pub fn ssl_request(&mut self) -> &mut Self {
        frontend::ssl_request(&mut self.output);
        self
    }

    /// In the place of a startup: asks to cancel another connection's work.
    pub fn cancel_request(&mut self, process_id: i32, secret_key: i32) -> &mut Self {
        frontend::cancel_request(process_id, secret_key, &mut self.output);
        self
    }

    /// A password, or a hash of one.
    pub fn password(&mut self, password: &[u8]) -> &mut Self {
        must(ENCODE, frontend::password_message(password, &mut self.output));
        self
    }

    /// Query: the simple protocol.
    pub fn query(&mut self, sql: &str) -> &mut Self {
        must(ENCODE, frontend::query(sql, &mut self.output));
        self
    }

    /// Parse; `types` are the parameters' type oids, as many as are told.
    pub fn parse(&mut self, statement: &str, sql: &str, types: &[u32]) -> &mut Self {
        must(ENCODE, frontend::parse(statement, sql, types.iter().copied(), &mut self.output));
        self
    }

    /// Bind; `result_formats` are 0 for text and 1 for binary: none for all text, one for all columns, or
    /// one each.
    pub fn bind(
        &mut self,
        portal: &str,
        statement: &str,
        params: &[Param<'_>],
        result_formats: &[i16],
    ) -> &mut Self {
        let formats = params.iter().map(|param| i16::from(matches!(param, Param::Binary(_))));
        let bound = frontend::bind(
            portal,
            statement,
            formats,
            params,
            |param, buffer| {
                match param {
                    Param::Text(text) => buffer.extend_from_slice(text.as_bytes()),
                    Param::Binary(bytes) => buffer.extend_from_slice(bytes),
                    Param::Null => return Ok(IsNull::Yes),
                }
                Ok(IsNull::No)
            },
            result_formats.iter().copied(),
            &mut self.output,
        );
        match bound {
            Ok(()) => self,
            Err(BindError::Conversion(error)) => panic!("{ENCODE}: {error}"),
            Err(BindError::Serialization(error)) => panic!("{ENCODE}: {error}"),
        }
    }

    /// Describe a prepared statement.
    pub fn describe_statement(&mut self, name: &str) -> &mut Self {
        must(ENCODE, frontend::describe(b'S', name, &mut self.output));
        self
    }

    /// Describe a portal.
    pub fn describe_portal(&mut self, name: &str) -> &mut Self {
        must(ENCODE, frontend::describe(b'P', name, &mut self.output));
        self
    }

    /// Execute; at most `max_rows` rows, 0 for all.
    pub fn execute(&mut self, portal: &str, max_rows: i32) -> &mut Self {
        must(ENCODE, frontend::execute(portal, max_rows, &mut self.output));
        self
    }

    /// Close a prepared statement.
    pub fn close_statement(&mut self, name: &str) -> &mut Self {
        must(ENCODE, frontend::close(b'S', name, &mut self.output));
        self
    }

    /// Close a portal.
    pub fn close_portal(&mut self, name: &str) -> &mut Self {
        must(ENCODE, frontend::close(b'P', name, &mut self.output));
        self
    }

    /// Flush.
    pub fn flush(&mut self) -> &mut Self {
        frontend::flush(&mut self.output);
        self
    }

    /// Sync.
    pub fn sync(&mut self) -> &mut Self {
        frontend::sync(&mut self.output);
        self
    }

    /// CopyData.
    pub fn copy_data(&mut self, data: &[u8]) -> &mut Self {
        must(ENCODE, CopyData::new(data)).write(&mut self.output);
        self
    }

    /// CopyDone.
    pub fn copy_done(&mut self) -> &mut Self {
        frontend::copy_done(&mut self.output);
        self
    }

    /// CopyFail.
    pub fn copy_fail(&mut self, reason: &str) -> &mut Self {
        must(ENCODE, frontend::copy_fail(reason, &mut self.output));
        self
    }

    /// Terminate.
    pub fn terminate(&mut self) -> &mut Self {
        frontend::terminate(&mut self.output);
        self
    }

    /// A message of any kind, with its length as it should be.
    pub fn message(&mut self, tag: u8, body: &[u8]) -> &mut Self {
        let length = must(ENCODE, i32::try_from(body.len() + 4));
        self.output.extend_from_slice(&[tag]);
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(body);
        self
    }

    pub(super) fn sasl_initial_response(&mut self, mechanism: &str, data: &[u8]) -> &mut Self {
        must(ENCODE, frontend::sasl_initial_response(mechanism, data, &mut self.output));
        self
    }

    pub(super) fn sasl_response(&mut self, data: &[u8]) -> &mut Self {
        must(ENCODE, frontend::sasl_response(data, &mut self.output));
        self
    }
}
