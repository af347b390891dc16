//! Cursors whose rows no shard has as they are, or that outlive their transaction: the query runs at once, its rows go into a
//! temporary table of one of the shards, and the cursor is that server's own over this table (or over arrays: `valued.rs`).

use crate::copy::binary;
use crate::error::ClientError;
use crate::plan::{Access, Across};
use crate::schema::{GroupId, ShardRef};
use crate::session::Session;
use crate::session::servers::Participant;
use crate::session::simple::Failure;
use crate::sql::cursor::{CursorCommand, Declare};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::ShardId;

/// Rows that are written to the server at once, in bytes.
const FLUSH_AT: usize = 256 * 1024;

/// A DECLARE, and where its query runs.
pub(super) struct Storing<'a> {
    pub(super) declare: &'a Declare<'a>,
    pub(super) across: &'a Across,
    pub(super) access: Access,
    pub(super) group: GroupId,
    pub(super) shards: Vec<ShardId>,
    pub(super) types: &'a [u32],
    /// Bind's body behind the names, up to the result formats.
    pub(super) values: &'a [u8],
}

impl Session {
    /// Runs the query and declares the cursor. In a transaction. Gives the shard whose it is now.
    pub(super) async fn store_cursor(&mut self, storing: Storing<'_>) -> Result<ShardRef, Failure> {
        let Storing { declare, across, access, group, shards, types, values } = storing;
        // In binary: what a server writes so, another one reads as just that.
        let bind = [values, super::BINARY].concat();
        let held = self.hold_bound(across, access, (group, shards), types, &bind).await?;
        let names = names(&held.columns).filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| refused("it has no columns"))?;
        let shard = self.storing_shard(group);
        let index = self.acquire(shard, Access::ReadPrimary).await?;
        self.servers[index].unpreparable = true;
        let number = self.number_portal();
        let table = format!("\"shardway cursor {number}\"");
        let is_foreign = matches!(across, Across::Gather(gather) if gather.is_foreign());
        let tried = match is_foreign {
            true => self.create_typed(index, &table, &held).await,
            false => self.create_table(index, &table, declare, names.len(), types, values).await,
        };
        let has_table = self.has_table(index, tried).await?;
        if !is_foreign {
            self.use_tables(index, &using(number), declare, types, values).await?;
        }
        if has_table {
            self.fill_table(index, &table, &held.rows).await?;
            let columns: Vec<String> =
                names.iter().enumerate().map(|(n, name)| format!("c{n} AS {}", quoted(name))).collect();
            let sql = format!("{}SELECT {} FROM pg_temp.{table}", declare.head, columns.join(", "));
            self.ask_one(index, &sql).await?;
        } else {
            self.declare_values(index, declare, &names, &held).await?;
        }
        if declare.hold {
            self.servers[index].doubt();
        }
        if let (Some(transaction), false) = (&mut self.transaction, is_foreign) {
            transaction.across.stored.push((declare.name.clone().into_bytes(), number));
        }
        Ok(shard)
    }

    /// Has the tables that the query reads in use as long as the cursor is open, as in Postgres, by another cursor that nobody
    /// fetches from: they can't be changed or dropped under it.
    async fn use_tables(
        &mut self,
        index: usize,
        name: &str,
        declare: &Declare<'_>,
        types: &[u32],
        values: &[u8],
    ) -> Result<(), Failure> {
        let sql = format!("DECLARE {name} NO SCROLL CURSOR FOR {}", declare.query);
        let mut messages = Buffer::default();
        super::live::parse(&mut messages, &sql, types);
        frame::put(&mut messages, b'B', &[b"\0\0", values, &[0, 0]].concat());
        frame::put(&mut messages, b'E', &[0; 5]);
        frame::put(&mut messages, b'S', &[]);
        self.send(&[index], messages.filled());
        self.hear_all(&[index], &mut |_, _, _| Ok(())).await
    }

    /// A command for cursors has run on a server: with one in a temporary table goes what has its tables in use.
    pub(in crate::session) async fn cursors_closed(&mut self, text: &str) -> Result<(), Failure> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        let stored = &mut transaction.across.stored;
        let name = match CursorCommand::parse(text) {
            Some(CursorCommand::Close(name)) => name.into_bytes(),
            Some(CursorCommand::CloseAll) => {
                stored.clear();
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(at) = stored.iter().rposition(|(known, _)| *known == name) else { return Ok(()) };
        let (_, number) = stored.remove(at);
        let Some(shard) = transaction.portals.get(&name).copied() else { return Ok(()) };
        let index = self.acquire(shard, Access::Read).await?;
        let closed = self.servers[index].lease.run(&format!("CLOSE {}", using(number))).await;
        Ok(closed.map_err(|e| crate::session::servers::refused(&e))?)
    }

    /// One that takes part; a server that has seen temporary tables can't prepare its transaction, so rather one that has seen
    /// some, or wrote nothing.
    fn storing_shard(&self, group: GroupId) -> ShardRef {
        let here = |fits: fn(&Participant) -> bool| {
            self.servers.iter().find(|p| p.shard.group == group && fits(p)).map(|p| p.shard)
        };
        let one = here(|p| p.unpreparable).or_else(|| here(|p| !p.wrote)).or_else(|| here(|_| true));
        one.unwrap_or(ShardRef { group, shard: ShardId(0) })
    }

    /// A table of the query's columns: the server itself says what they are.
    async fn create_table(
        &mut self,
        index: usize,
        table: &str,
        declare: &Declare<'_>,
        columns: usize,
        types: &[u32],
        values: &[u8],
    ) -> Result<(), Failure> {
        let columns: Vec<String> = (0..columns).map(|n| format!("c{n}")).collect();
        // On a line of its own: a comment at the end of the query must not swallow what follows.
        let sql = format!(
            "CREATE TEMPORARY TABLE {table} ({}) ON COMMIT DROP AS {}\nWITH NO DATA",
            columns.join(", "),
            declare.query
        );
        let mut messages = Buffer::default();
        super::live::parse(&mut messages, &sql, types);
        frame::put(&mut messages, b'B', &[b"\0\0", values, &[0, 0]].concat());
        frame::put(&mut messages, b'E', &[0; 5]);
        frame::put(&mut messages, b'S', &[]);
        self.try_table(index);
        self.send(&[index], messages.filled());
        self.hear_all(&[index], &mut |_, _, _| Ok(())).await
    }

    async fn fill_table(&mut self, index: usize, table: &str, rows: &[Box<[u8]>]) -> Result<(), Failure> {
        let mut message = Buffer::default();
        let sql = format!("COPY pg_temp.{table} FROM STDIN (FORMAT binary)");
        self.tell_copy(index, &sql).await?;
        frame::put(&mut message, b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.send(&[index], message.filled());
        let server = &mut self.servers[index].lease;
        frame::put(&mut server.wire.output, b'd', binary::START);
        for row in rows {
            frame::put(&mut server.wire.output, b'd', row);
            if server.wire.output.len() >= FLUSH_AT {
                server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
            }
        }
        frame::put(&mut server.wire.output, b'd', binary::TRAILER);
        frame::put(&mut server.wire.output, b'c', &[]);
        self.hear_all(&[index], &mut |_, _, _| Ok(())).await.map_err(|failure| match failure {
            Failure::ServerError(body) => refused(&ClientError::of_server(&body).message).into(),
            failure => failure,
        })
    }

    async fn ask_one(&mut self, index: usize, sql: &str) -> Result<(), Failure> {
        let mut message = Buffer::default();
        frame::put(&mut message, b'Q', &[sql.as_bytes(), b"\0"].concat());
        self.send(&[index], message.filled());
        self.hear_all(&[index], &mut |_, _, _| Ok(())).await
    }
}

/// The name of the cursor that has tables in use.
fn using(number: u64) -> String {
    format!("\"shardway reads {number}\"")
}

pub(super) fn refused(why: &str) -> ClientError {
    let message = format!("a cursor of this query over several shards is not supported: {why}");
    ClientError::error("0A000", message).hint("Run the query without a cursor.")
}

/// The names that a RowDescription tells.
fn names(body: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = frame::i16(body)?;
    let mut names = Vec::new();
    for _ in 0..count as u16 {
        let (name, behind) = frame::cstr(rest)?;
        names.push(String::from_utf8(name.to_vec()).ok()?);
        rest = behind.get(18..)?;
    }
    Some(names)
}

/// A name as SQL that means just it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
