//! What a server says to what it is asked for a gather.

use crate::error::ClientError;
use crate::session::simple::Failure;
use shardway_pool::frame;
use shardway_pool::server::ServerConn;

/// A server's answer to a Query, or to messages up to a Sync.
#[derive(Default)]
pub(super) struct Answer {
    /// ErrorResponse's body.
    error: Option<Vec<u8>>,
    /// ParameterDescription's.
    pub(super) params: Vec<u8>,
    /// RowDescription's.
    pub(super) columns: Vec<u8>,
    /// Rows that its CommandComplete counts.
    pub(super) rows: u64,
}

impl Answer {
    pub(super) fn succeeded(self) -> Result<Self, Failure> {
        match self.error {
            Some(body) => Err(Failure::ServerError(body)),
            None => Ok(self),
        }
    }

    /// Whether temporary tables may not be made: by this user, or in a read-only transaction.
    pub(super) fn may_not(&self) -> bool {
        matches!(self.code(), Some(b"42501" | b"25006"))
    }

    /// The types of its parameters.
    pub(super) fn types(&self) -> Vec<u32> {
        let types = self.params.get(2..).unwrap_or_default();
        types.chunks_exact(4).filter_map(frame::i32).map(|(oid, _)| oid as u32).collect()
    }

    pub(super) fn code(&self) -> Option<&[u8]> {
        frame::error_field(self.error.as_deref()?, b'C')
    }
}

pub(super) fn query(server: &mut ServerConn, sql: &str) {
    frame::put(&mut server.wire.output, b'Q', &[sql.as_bytes(), b"\0"].concat());
    server.unnamed = None;
    server.outstanding += 1;
}

pub(super) fn send(server: &mut ServerConn, messages: &[u8]) {
    server.wire.output.extend(messages);
    server.unnamed = None;
    server.outstanding += 1;
}

/// Sends what is to be sent, and reads up to the next ReadyForQuery.
pub(super) async fn answer(server: &mut ServerConn) -> Result<Answer, ClientError> {
    let mut answer = Answer::default();
    server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
    loop {
        let message = server.wire.message(frame::MAX_MESSAGE).await;
        let (tag, len) = message.map_err(|e| ClientError::from(server.lost(&e)))?;
        let body = server.wire.body(len);
        match tag {
            b'E' if answer.error.is_none() => answer.error = Some(body.to_vec()),
            b't' => answer.params = body.to_vec(),
            b'T' => answer.columns = body.to_vec(),
            b'C' => answer.rows = counted(body),
            b'S' => {
                server.parameters.report(body);
                server.reported = true;
            }
            b'Z' => {
                server.status = body.first().copied().unwrap_or(b'E');
                server.outstanding = server.outstanding.saturating_sub(1);
            }
            _ => {}
        }
        server.wire.consume_message(len);
        if tag == b'Z' {
            return Ok(answer);
        }
    }
}

/// The answer to a COPY that was fed.
pub(super) async fn copied(server: &mut ServerConn) -> Result<u64, Failure> {
    Ok(answer(server).await?.succeeded()?.rows)
}

/// Rows that a command's tag counts.
fn counted(tag: &[u8]) -> u64 {
    let tag = std::str::from_utf8(tag.strip_suffix(b"\0").unwrap_or(tag)).unwrap_or_default();
    tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Types from here on are the database's own: a table's row type is.
pub(super) const FIRST_OF_USERS: u32 = 16384;

/// Whether two descriptions are of the same parameters and columns.
pub(super) fn alike(a: &Answer, b: &Answer) -> bool {
    let same_type = |a: u32, b: u32| a == b || a.min(b) >= FIRST_OF_USERS;
    match (fields(&a.columns), fields(&b.columns)) {
        (Some(ours), Some(theirs)) => {
            let mut pairs = ours.iter().zip(&theirs);
            let same =
                pairs.all(|(a, b)| a.name == b.name && same_type(a.oid, b.oid) && a.typmod == b.typmod);
            ours.len() == theirs.len() && same && a.params == b.params
        }
        _ => false,
    }
}

/// Takes out of a RowDescription which tables the columns are of: they are temporary ones.
pub(super) fn without_tables(body: &mut [u8]) {
    let mut at = 2;
    while let Some((name, _)) = body.get(at..).and_then(frame::cstr) {
        at += name.len() + 1;
        let Some(table) = body.get_mut(at..at + 6) else { return };
        table.fill(0);
        at += 18;
    }
}

/// A column of a RowDescription.
pub(super) struct Field<'a> {
    name: &'a [u8],
    pub(super) oid: u32,
    typmod: i32,
}

pub(super) fn fields(body: &[u8]) -> Option<Vec<Field<'_>>> {
    // No columns at all: NoData.
    let Some((count, mut at)) = frame::i16(body) else { return Some(Vec::new()) };
    let mut fields = Vec::new();
    for _ in 0..count as u16 {
        let (name, rest) = frame::cstr(at)?;
        let (oid, _) = frame::i32(rest.get(6..)?)?;
        let (typmod, _) = frame::i32(rest.get(12..)?)?;
        fields.push(Field { name, oid: oid as u32, typmod });
        at = rest.get(18..)?;
    }
    Some(fields)
}

/// A statement's RowDescription as its portal's: with the formats that the client asked for.
pub(in crate::session) fn described(columns: &[u8], formats: &[u8]) -> Vec<u8> {
    let codes = formats.get(2..).unwrap_or_default();
    let code = |n: usize| match codes.len() {
        0 => Some([0, 0]),
        2 => codes.first_chunk().copied(),
        _ => codes.get(n * 2..).and_then(|code| code.first_chunk()).copied(),
    };
    let mut body = columns.to_vec();
    let mut at = 2;
    let mut n = 0;
    while let Some((name, _)) = body.get(at..).and_then(frame::cstr) {
        at += name.len() + 1 + 18;
        if let (Some(format), Some(code)) = (body.get_mut(at - 2..at), code(n)) {
            format.copy_from_slice(&code);
        }
        n += 1;
    }
    body
}
