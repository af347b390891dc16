//! A write of a reference table that only the first shard can run: the others are told what became of each row.

use super::super::Session;
use super::super::scatter::{FLUSH_AT, broken_row};
use super::super::simple::Failure;
use super::answers::{Answers, Collected, Order, Place, check_ours, hash, put_visible, rows_of};
use super::wording::{self, literal, lock_exact};
use super::{Write, message, unclear};
use crate::error::ClientError;
use crate::merge;
use crate::plan::spread::clock::Frozen;
use crate::plan::spread::text::Tokens;
use crate::plan::spread::{Copied, Rewrite};
use crate::reply;
use crate::schema::ShardRef;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use std::sync::Arc;

/// Bytes of statements for the other shards that are kept for company.
const BATCH: usize = 64 * 1024;

/// What the other shards are to be told next.
struct Batch<'a> {
    copied: &'a Copied,
    /// What ON CONFLICT looks for, and what it sets.
    conflict: String,
    sql: Vec<u8>,
}

impl<'a> Batch<'a> {
    fn new(write: &Write<'a>, copied: &'a Copied) -> Result<Self, ClientError> {
        let mut conflict = String::new();
        if let Rewrite::Insert(_, Some(set)) = &copied.rewrite {
            let tokens = Tokens::of(write.text).ok_or_else(unclear)?;
            let target =
                tokens.conflict_target().filter(|target| !target.contains('$')).ok_or_else(unclear)?;
            conflict = format!("\n{target} DO UPDATE SET {set}");
        }
        Ok(Self { copied, conflict, sql: Vec::new() })
    }

    /// Takes a row in. `values` are those of all columns.
    fn row(&mut self, values: &[Option<&[u8]>]) {
        let Copied { table, columns, key, rewrite, .. } = self.copied;
        let out = &mut self.sql;
        match rewrite {
            Rewrite::Insert(stored, _) => {
                if out.is_empty() {
                    let names: Vec<&str> = stored.iter().map(|&at| columns[at].as_str()).collect();
                    let names = names.join(", ");
                    out.extend_from_slice(
                        format!("INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES (").as_bytes(),
                    );
                } else {
                    out.extend_from_slice(b", (");
                }
                for (n, &at) in stored.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    literal(values[at], out);
                }
                out.push(b')');
            }
            Rewrite::Update(set) => {
                out.extend_from_slice(format!("UPDATE {table} SET ").as_bytes());
                for (n, &at) in set.iter().enumerate() {
                    out.extend_from_slice(if n > 0 { b", " } else { b"" });
                    out.extend_from_slice(format!("{} = ", columns[at]).as_bytes());
                    literal(values[at], out);
                }
                named(out, columns, key, values);
                returning(out, columns);
                out.push(b';');
            }
            Rewrite::Delete => {
                out.extend_from_slice(format!("DELETE FROM {table}").as_bytes());
                named(out, columns, key, values);
                returning(out, columns);
                out.push(b';');
            }
        }
    }

    /// What was taken in, as a Query's body.
    fn take(&mut self) -> Vec<u8> {
        let mut sql = std::mem::take(&mut self.sql);
        if let Rewrite::Insert(..) = self.copied.rewrite {
            sql.extend_from_slice(self.conflict.as_bytes());
            returning(&mut sql, &self.copied.columns);
        }
        sql.push(0);
        sql
    }
}

fn named(out: &mut Vec<u8>, columns: &[String], key: &[usize], values: &[Option<&[u8]>]) {
    for (n, &at) in key.iter().enumerate() {
        out.extend_from_slice(if n > 0 { b" AND " } else { b" WHERE " });
        out.extend_from_slice(format!("{} = ", columns[at]).as_bytes());
        literal(values[at], out);
    }
}

fn returning(out: &mut Vec<u8>, columns: &[String]) {
    let texts: Vec<String> = columns.iter().map(|column| format!("{column}::pg_catalog.text")).collect();
    out.extend_from_slice(format!(" RETURNING {}", texts.join(", ")).as_bytes());
}

impl Session {
    pub(super) async fn write_copied(&mut self, write: &Write<'_>, copied: &Copied) -> Result<u64, Failure> {
        self.check_copied_text()?;
        let shards: Vec<ShardRef> = self.refs(write.spread.group, Vec::new());
        let servers = self.writers(&shards).await?;
        let label = &copied.label;
        let columns: Vec<String> =
            copied.columns.iter().map(|column| format!("{label}.{column}::pg_catalog.text")).collect();
        let worded = wording::whole(write, &Frozen::default(), &columns)?;
        self.bound(write);
        let mut lock_message = Buffer::default();
        frame::put(&mut lock_message, b'Q', lock_exact(&write.spread.table).as_bytes());
        let first = servers[0];
        let worded = Arc::new(worded);
        let mut batch = Batch::new(write, copied)?;
        // The others hold their locks before the first row is brought to them.
        for &index in &servers[..1] {
            self.say(index, lock_message.filled());
        }
        self.say(first, message(write, &worded)?.filled());
        let mut all = Collected(vec![(0, 0); shards.len()]);
        let limit = self.statement_limit();
        let ran = limit.within(self.bring(write, &servers, &worded, &mut batch, &lock_message, &mut all));
        let ran = ran.await.unwrap_or_else(|late| Err(late.into()));
        let drained = self.settle_servers(&servers, &ran).await;
        ran?;
        drained?;
        all.check(&write.spread.table.name, &shards)?;
        Ok(all.of_first())
    }

    /// Values travel in text, in the encoding that the texts of ours are in. What else that takes, each server is asked.
    pub(super) fn check_copied_text(&self) -> Result<(), ClientError> {
        if self.settings.value("client_encoding").is_none_or(super::super::parameters::is_utf8) {
            return Ok(());
        }
        let message = "this write brings rows to other shards as text, which takes client_encoding UTF8";
        Err(ClientError::error("0A000", message))
    }

    /// Asks servers whether what they write as text is exact.
    pub(super) async fn check_exact(&mut self, write: &Write<'_>, servers: &[usize]) -> Result<(), Failure> {
        let mut query = Buffer::default();
        frame::put(&mut query, b'Q', &[wording::EXACT.as_bytes(), b"\0"].concat());
        for &index in servers {
            self.say(index, query.filled());
        }
        let worded = Arc::new(wording::Worded { woven: Default::default(), hidden: 0 });
        let places = servers.iter().map(|&index| Place::new(index, worded.clone()).of_ours());
        let mut answers = Answers::new(write, places.collect(), Order::Any);
        answers.is_silent = true;
        self.collected(servers, answers).await.map(drop)
    }

    /// Reads the first shard's rows, and tells the others of them.
    async fn bring(
        &mut self,
        write: &Write<'_>,
        servers: &[usize],
        worded: &Arc<wording::Worded>,
        batch: &mut Batch<'_>,
        lock_message: &Buffer,
        all: &mut Collected,
    ) -> Result<(), Failure> {
        let (first, others) = (servers[0], &servers[1..]);
        if let Err(e) = self.servers[first].lease.wire.flush().await {
            return Err(self.lost(first, &e));
        }
        let hidden = worded.hidden;
        let (mut describes, returns) = (write.describes(), write.spread.returns);
        let mut due = 2;
        let mut locked = false;
        while due > 0 {
            let server = &mut self.servers[first].lease;
            let (tag, len) = match server.wire.message(frame::MAX_MESSAGE).await {
                Ok(message) => message,
                Err(e) => return Err(self.lost(first, &e)),
            };
            let body = server.wire.body(len);
            match tag {
                b'E' => {
                    let body = super::answers::located(body, worded, write.text, self.moved);
                    server.wire.consume_message(len);
                    self.proxy.metrics.server_errors.inc();
                    return Err(Failure::ServerError(body));
                }
                b'Z' => {
                    server.status = body.first().copied().unwrap_or(b'E');
                    server.outstanding -= 1;
                    due -= 1;
                }
                b'S' => {
                    let body = body.to_vec();
                    server.parameters.report(&body);
                    server.reported = true;
                }
                b'N' => frame::put(&mut self.client.output, b'N', body),
                b'D' if due > 1 => check_ours(body)?,
                _ if due > 1 => {}
                b'T' if describes => {
                    describes = false;
                    if returns {
                        let visible = merge::strip_description(body, hidden).ok_or_else(broken_row)?;
                        frame::put(&mut self.client.output, b'T', &visible);
                    } else {
                        self.client.output.extend(reply::NO_DATA);
                    }
                }
                b'D' => {
                    let cut = merge::cut(body, hidden).ok_or_else(broken_row)?;
                    all.0[0].1 = all.0[0].1.wrapping_add(hash(&cut.hidden));
                    batch.row(&cut.hidden);
                    if returns {
                        let row = &server.wire.input.filled()[..HEADER + len];
                        put_visible(&mut self.client.output, row, hidden)?;
                    }
                }
                b'C' => all.0[0].0 += rows_of(body),
                _ => {}
            }
            self.servers[first].lease.wire.consume_message(len);
            if batch.sql.len() >= BATCH {
                self.tell_others(write, others, batch, lock_message, &mut locked, all).await?;
            }
            if self.client.output.len() >= FLUSH_AT {
                self.flush_rows().await?;
            }
        }
        if !batch.sql.is_empty() {
            self.tell_others(write, others, batch, lock_message, &mut locked, all).await?;
        }
        Ok(())
    }

    /// Tells the other shards of rows.
    async fn tell_others(
        &mut self,
        write: &Write<'_>,
        others: &[usize],
        batch: &mut Batch<'_>,
        lock_message: &Buffer,
        locked: &mut bool,
        all: &mut Collected,
    ) -> Result<(), Failure> {
        let hidden = batch.copied.columns.len();
        let body = batch.take();
        let mut query = Buffer::default();
        frame::put(&mut query, b'Q', &body);
        let worded = Arc::new(wording::Worded { woven: Default::default(), hidden });
        let mut places = Vec::with_capacity(others.len());
        for &index in others {
            let mut place = Place::new(index, worded.clone());
            if !*locked {
                self.say(index, lock_message.filled());
                place = place.asked_twice();
            }
            self.say(index, query.filled());
            places.push(place);
        }
        *locked = true;
        let mut answers = Answers::new(write, places, Order::Any);
        (answers.hidden, answers.is_silent) = (hidden, true);
        self.collect(&mut answers).await?;
        for (own, (written, sum)) in all.0[1..].iter_mut().zip(answers.sums()) {
            own.0 += written;
            own.1 = own.1.wrapping_add(sum);
        }
        Ok(())
    }
}
