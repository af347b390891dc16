//! The engine's side: temporary tables, and the rows that come into them.

use super::Parts;
use super::answers::{answer, query, send};
use super::prepare::Prepared;
use super::pull::{Form, Pull, plain, pulls};
use crate::error::ClientError;
use crate::plan::gather::Gather;
use crate::plan::locate::Params;
use crate::session::asked::shard_messages;
use crate::session::moment::{Moment, Sign};
use crate::session::servers::Participant;
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use std::borrow::Cow;
use std::ops::Range;

/// Has several tables of a shard seen as of one moment.
pub(super) const AT_ONCE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ";

/// Bytes of a Sync.
const SYNC_LEN: usize = 5;

/// Rows from which on a table's statistics are worth their time.
const ANALYZE_AT: u64 = 1000;

/// An engine at work.
pub(super) struct Engine<'a> {
    pub(super) gather: &'a Gather,
    pub(super) parts: &'a Parts,
    pub(super) types: &'a [u32],
    pub(super) params: Params<'a>,
    /// Bind's body behind the names.
    pub(super) bind: &'a [u8],
    /// Whether nothing runs: the client wants to know of what columns and parameters the statement is.
    pub(super) describes_only: bool,
    /// Whether values that travel in text are exact.
    pub(super) is_text_exact: bool,
    /// Whether the client has a transaction open.
    pub(super) nested: bool,
    /// Bytes that may be brought.
    pub(super) max: u64,
}

/// All is there.
pub(super) struct Ready {
    /// The body of the RowDescription that the client is owed.
    pub(super) described: Vec<u8>,
    /// What the engine is asked.
    pub(super) messages: Buffer,
    /// The statement, where it is not the one over temporary tables.
    pub(super) instead: Option<Gather>,
}

impl Engine<'_> {
    /// Makes the temporary tables and fills them; or holds the rows, where such tables may not be made.
    pub(super) async fn bring(
        &self,
        servers: &mut [Participant],
        copying: &mut bool,
        moment: &mut Moment,
    ) -> Result<Ready, Failure> {
        if !self.nested {
            // What the engine sees of its own is as of its first table.
            moment.begin().await?;
        }
        let Prepared { meant, valued } = self.prepare(servers).await?;
        let types = meant.types();
        if self.gather.stays_empty {
            moment.end()?;
        }
        if let Some(valued) = valued {
            return self.bring_values(servers, valued, &meant.columns, &types, moment).await;
        }
        if !self.gather.stays_empty {
            self.fill(servers, &types, copying, moment).await?;
        }
        let sql = [self.gather.sql().as_bytes(), b"\0"].concat();
        Ok(Ready {
            described: super::described(&meant.columns, self.params.result_formats),
            messages: shard_messages(&sql, self.types, self.bind, &self.params, 0),
            instead: None,
        })
    }

    async fn fill(
        &self,
        servers: &mut [Participant],
        types: &[u32],
        copying: &mut bool,
        moment: &mut Moment,
    ) -> Result<(), Failure> {
        let mut left = self.max;
        for tables in self.batches() {
            self.fill_some(servers, types, copying, moment, tables, &mut left).await?;
        }
        Ok(())
    }

    /// Tables that are asked for at once. In a transaction of the client's each is as of its own moment, on all shards.
    pub(super) fn batches(&self) -> Vec<Range<usize>> {
        let all = 0..self.gather.tables.len();
        if self.nested { all.map(|n| n..n + 1).collect() } else { vec![all] }
    }

    async fn fill_some(
        &self,
        servers: &mut [Participant],
        types: &[u32],
        copying: &mut bool,
        moment: &mut Moment,
        tables: Range<usize>,
        left: &mut u64,
    ) -> Result<(), Failure> {
        if self.nested {
            moment.begin().await?;
        }
        let asked = self.ask(servers, types, tables.clone());
        for index in self.parts.all.iter().copied() {
            let server = &mut servers[index].lease;
            server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
        }
        moment.signs(servers, &asked).await?;
        if !self.nested {
            moment.end()?;
        }
        let mut rows = Vec::with_capacity(tables.len());
        for &own in &self.parts.own[tables.clone()] {
            let server = &mut servers[self.parts.engine].lease;
            rows.push(if own { answer(server).await?.succeeded()?.rows } else { 0 });
        }
        if self.nested {
            // Of a statement that writes, the server does not say when it has begun.
            moment.end()?;
        }
        for (n, rows) in tables.zip(&mut rows) {
            let (table, sources) = (&self.gather.tables[n], &self.parts.sources[n]);
            if !sources.is_empty() {
                let mut pull = Pull::new(table, sources, left);
                *rows += pull.run(servers, self.parts.engine, copying).await?;
            }
            if *rows >= ANALYZE_AT {
                let server = &mut servers[self.parts.engine].lease;
                query(server, &format!("ANALYZE {}", table.name));
                answer(server).await?.succeeded()?;
            }
        }
        Ok(())
    }

    /// Sends what each shard is to bring, and has the engine fill in its own rows. Gives by what each of the shards shows that
    /// it has begun.
    fn ask(&self, servers: &mut [Participant], types: &[u32], tables: Range<usize>) -> Vec<(usize, Sign)> {
        let mut asked = Vec::new();
        for n in tables {
            let table = &self.gather.tables[n];
            let (select, params) = table.select();
            let form = if table.binary { Form::Binary } else { Form::Text };
            let messages = pulls(&select, &params, types, &self.params, form);
            for &index in &self.parts.sources[n] {
                let messages = self.at_once(index, n, &messages);
                note(&mut asked, index, &messages);
                send(&mut servers[index].lease, &messages);
            }
            if self.parts.own[n] {
                let insert = format!("INSERT INTO {} ({}) {select}", table.name, table.columns());
                send(
                    &mut servers[self.parts.engine].lease,
                    &pulls(&insert, &params, types, &self.params, Form::Nothing),
                );
            }
        }
        asked
    }

    /// What a shard is asked for a table, within one transaction for all of its tables: in statements of their own each would
    /// be as of another moment. A transaction of the client's has its own isolation.
    pub(super) fn at_once<'a>(&self, index: usize, table: usize, messages: &'a [u8]) -> Cow<'a, [u8]> {
        let brings = |tables: &[Vec<usize>]| tables.iter().any(|sources| sources.contains(&index));
        let (before, behind) = self.parts.sources.split_at(table);
        let (first, last) = (!brings(before), !brings(&behind[1..]));
        if self.nested || index == self.parts.engine || first && last {
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
}

/// Notes by what a server shows that it has begun, where these messages are the first that it is sent.
pub(super) fn note(asked: &mut Vec<(usize, Sign)>, index: usize, messages: &[u8]) {
    if asked.iter().all(|(known, _)| *known != index) {
        asked.push((index, Sign::of(messages)));
    }
}
