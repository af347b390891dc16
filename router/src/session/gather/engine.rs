//! The engine's side: the transaction or savepoint, the temporary tables, and the rows that come into them.

use super::Parts;
use super::pull::{Form, Pull, plain, pulls};
use crate::error::ClientError;
use crate::plan::gather::{Brought, Gather};
use crate::plan::locate::Params;
use crate::session::servers::Participant;
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_pool::server::ServerConn;
use std::borrow::Cow;

/// Opens what is undone in the end, where there is no transaction: temporary tables are no writes, but a read-only
/// transaction takes them for such. The engine's own tables are seen as of one moment.
const OPEN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE";

/// Has several tables of a shard seen as of one moment.
const AT_ONCE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

/// Bytes of a Sync.
const SYNC_LEN: usize = 5;

/// The same in a transaction.
const SAVE: &str = "SAVEPOINT \"shardway gather\"";

/// Goes back to it.
pub(super) const BACK: &[&str] =
    &["ROLLBACK TO SAVEPOINT \"shardway gather\"", "RELEASE SAVEPOINT \"shardway gather\""];

/// Rows from which on a table's statistics are worth their time.
const ANALYZE_AT: u64 = 1000;

/// An engine at work.
pub(super) struct Engine<'a> {
    pub(super) gather: &'a Gather,
    pub(super) parts: &'a Parts,
    pub(super) types: &'a [u32],
    pub(super) params: Params<'a>,
    /// Whether the client has a transaction open.
    pub(super) nested: bool,
    /// Bytes that may be brought.
    pub(super) max: u64,
}

/// A server's answer to a Query, or to messages up to a Sync.
#[derive(Default)]
struct Answer {
    /// ErrorResponse's body.
    error: Option<Vec<u8>>,
    /// ParameterDescription's.
    params: Vec<u8>,
    /// RowDescription's.
    columns: Vec<u8>,
    /// Rows that its CommandComplete counts.
    rows: u64,
}

impl Engine<'_> {
    /// Makes the temporary tables and fills them. Gives the body of the RowDescription that the client is owed.
    pub(super) async fn bring(
        &self,
        servers: &mut [Participant],
        copying: &mut bool,
    ) -> Result<Vec<u8>, Failure> {
        let server = &mut servers[self.parts.engine].lease;
        let (columns, types) = self.prepare(server).await?;
        if self.gather.stays_empty {
            return Ok(described(&columns, self.params.result_formats));
        }
        self.ask(servers, &types);
        for index in self.parts.all.iter().copied() {
            let server = &mut servers[index].lease;
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        }
        let mut rows = Vec::with_capacity(self.gather.tables.len());
        for &own in &self.parts.own {
            let server = &mut servers[self.parts.engine].lease;
            rows.push(if own { answer(server).await?.succeeded()?.rows } else { 0 });
        }
        let mut left = self.max;
        for (n, table) in self.gather.tables.iter().enumerate() {
            let sources = &self.parts.sources[n];
            if !sources.is_empty() {
                let mut pull = Pull::new(table, sources, &mut left);
                rows[n] += pull.run(servers, self.parts.engine, copying).await?;
            }
            if rows[n] >= ANALYZE_AT {
                let server = &mut servers[self.parts.engine].lease;
                query(server, &format!("ANALYZE {}", table.name));
                answer(server).await?.succeeded()?;
            }
        }
        Ok(described(&columns, self.params.result_formats))
    }

    /// Sends what each shard is to bring, and has the engine fill in its own rows.
    fn ask(&self, servers: &mut [Participant], types: &[u32]) {
        for (n, table) in self.gather.tables.iter().enumerate() {
            let (select, params) = table.select();
            let form = if table.binary { Form::Binary } else { Form::Text };
            let messages = pulls(&select, &params, types, &self.params, form);
            for &index in &self.parts.sources[n] {
                send(&mut servers[index].lease, &self.at_once(index, n, &messages));
            }
            if self.parts.own[n] {
                let insert = format!("INSERT INTO {} ({}) {select}", table.name, table.columns());
                send(
                    &mut servers[self.parts.engine].lease,
                    &pulls(&insert, &params, types, &self.params, Form::Nothing),
                );
            }
        }
    }

    /// What a shard is asked for a table, within one transaction for all of its tables: in statements of their own each would
    /// be as of another moment. A transaction of the client's has its own isolation.
    fn at_once<'a>(&self, index: usize, table: usize, messages: &'a [u8]) -> Cow<'a, [u8]> {
        let brings = |tables: &[Vec<usize>]| tables.iter().any(|sources| sources.contains(&index));
        let (before, behind) = self.parts.sources.split_at(table);
        let (first, last) = (!brings(before), !brings(&behind[1..]));
        if self.nested || first && last {
            return messages.into();
        }
        let (statement, sync) = messages.split_at(messages.len() - SYNC_LEN);
        let mut out = Buffer::default();
        if first {
            plain(&mut out, AT_ONCE);
        }
        out.extend(statement);
        if last {
            plain(&mut out, "COMMIT");
        }
        out.extend(sync);
        out.filled().to_vec().into()
    }

    /// Checks the statement as it came, so that what is wrong with it is said in Postgres's own words before anything
    /// travels; then makes the tables, and checks that the statement means the same on these. Gives the description of its
    /// columns, and its parameters' types.
    async fn prepare(&self, server: &mut ServerConn) -> Result<(Vec<u8>, Vec<u32>), Failure> {
        self.parse(server, self.gather.asked());
        self.check_views(server);
        self.create(server, if self.nested { SAVE } else { OPEN }, Brought::create);
        self.parse(server, self.gather.sql());
        let asked = answer(server).await?;
        let allowed = if self.gather.views.is_empty() { None } else { Some(answer(server).await?) };
        let [created, renamed] = [answer(server).await?, answer(server).await?];
        let asked = asked.succeeded()?;
        allowed.map_or(Ok(()), |allowed| allowed.succeeded().map(drop))?;
        created.created()?;
        // It selects what hangs on the key that it groups by.
        let renamed = match renamed.code() {
            Some(b"42803") => self.prepare_with_keys(server).await?,
            _ => renamed,
        };
        let renamed = renamed.succeeded().map_err(|failure| match failure {
            Failure::ServerError(body) => {
                let said = ClientError::of_server(&body);
                let message =
                    format!("this statement could not be run over several shards: {}", said.message);
                ClientError::error("0A000", message).into()
            }
            failure => failure,
        })?;
        if !alike(&asked, &renamed) {
            let message = "this statement's columns are not the same over several shards";
            return Err(ClientError::error("0A000", message).into());
        }
        let types = asked.params.get(2..).unwrap_or_default();
        let types = types.chunks_exact(4).filter_map(|oid| frame::i32(oid)).map(|(oid, _)| oid as u32);
        Ok((asked.columns, types.collect()))
    }

    /// Who may not read a view may not have it read by its query either.
    fn check_views(&self, server: &mut ServerConn) {
        let check = |view: &String| format!("SELECT FROM {view} LIMIT 0");
        let checks: Vec<String> = self.gather.views.iter().map(check).collect();
        if !checks.is_empty() {
            query(server, &checks.join("; "));
        }
    }

    async fn prepare_with_keys(&self, server: &mut ServerConn) -> Result<Answer, Failure> {
        if !self.nested {
            query(server, "ROLLBACK");
        }
        self.create(server, if self.nested { BACK[0] } else { OPEN }, Brought::create_with_keys);
        self.parse(server, self.gather.sql());
        if !self.nested {
            answer(server).await?.succeeded()?;
        }
        let (created, renamed) = (answer(server).await?, answer(server).await?);
        created.created()?;
        Ok(renamed)
    }

    /// Makes the tables behind a command that sees to their end. It is one text: should the command fail, there are no
    /// tables that nobody would take away.
    fn create(&self, server: &mut ServerConn, first: &str, create: fn(&Brought) -> String) {
        let mut sql = first.to_owned();
        for table in &self.gather.tables {
            sql.push(';');
            sql.push_str(&create(table));
        }
        query(server, &sql);
    }

    /// Parse, Describe and Sync.
    fn parse(&self, server: &mut ServerConn, sql: &str) {
        let out = &mut server.wire.output;
        let mut types = (self.types.len() as u16).to_be_bytes().to_vec();
        self.types.iter().for_each(|oid| types.extend_from_slice(&oid.to_be_bytes()));
        frame::put(out, b'P', &[b"\0", sql.as_bytes(), b"\0", &types].concat());
        frame::put(out, b'D', b"S\0");
        frame::put(out, b'S', &[]);
        server.unnamed = None;
        server.outstanding += 1;
    }
}

impl Answer {
    fn succeeded(self) -> Result<Self, Failure> {
        match self.error {
            Some(body) => Err(Failure::ServerError(body)),
            None => Ok(self),
        }
    }

    /// The answer to CREATE TEMPORARY TABLE.
    fn created(self) -> Result<Self, Failure> {
        let (message, hint) = match self.code() {
            Some(b"42501") => (
                "this statement over several shards needs temporary tables, which this user may not make",
                "GRANT TEMPORARY ON DATABASE … TO this user on every shard, or pin the statement to one shard.",
            ),
            Some(b"25006") => (
                "this statement over several shards needs temporary tables, which a read-only transaction may not make",
                "Run it outside of the transaction, or in one that is READ WRITE.",
            ),
            _ => return self.succeeded(),
        };
        Err(ClientError::error("0A000", message).hint(hint).into())
    }

    fn code(&self) -> Option<&[u8]> {
        frame::error_field(self.error.as_deref()?, b'C')
    }
}

pub(super) fn query(server: &mut ServerConn, sql: &str) {
    frame::put(&mut server.wire.output, b'Q', &[sql.as_bytes(), b"\0"].concat());
    server.unnamed = None;
    server.outstanding += 1;
}

fn send(server: &mut ServerConn, messages: &[u8]) {
    server.wire.output.extend(messages);
    server.unnamed = None;
    server.outstanding += 1;
}

/// Sends what is to be sent, and reads up to the next ReadyForQuery.
async fn answer(server: &mut ServerConn) -> Result<Answer, ClientError> {
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
const FIRST_OF_USERS: u32 = 16384;

/// Whether two descriptions are of the same parameters and columns.
fn alike(a: &Answer, b: &Answer) -> bool {
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

/// A column of a RowDescription.
struct Field<'a> {
    name: &'a [u8],
    oid: u32,
    typmod: i32,
}

fn fields(body: &[u8]) -> Option<Vec<Field<'_>>> {
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
