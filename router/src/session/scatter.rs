//! Running a statement on several shards and putting the answers together, as they stream in.
//!
//! Without an order, one shard's rows follow another's. With one, the smallest head among the shards goes first.
//! What is held is a head row per shard and one buffer; a shard that is ahead waits in its socket.

use super::batch::Item;
use super::prepared::Prepared;
use super::simple::Failure;
use super::{End, Session};
use crate::error::ClientError;
use crate::merge;
use crate::plan::locate::Params;
use crate::plan::scatter::{Count, Scatter};
use crate::plan::{Access, Plan, Route};
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_pool::server::ServerConn;
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// Output kept back for company before it is written.
const FLUSH_AT: usize = 32 * 1024;

/// A shard's answer, as far as it has been read.
#[derive(Default)]
struct Answer {
    /// The head row's length, header included, while there is one.
    head: Option<usize>,
    /// Its sort keys.
    keys: Vec<Option<Vec<u8>>>,
    /// No row will come any more.
    ended: bool,
}

/// Rows to skip and to give.
struct Window {
    skip: u64,
    left: Option<u64>,
}

impl Session {
    /// In simple protocol: rows and CommandComplete, without ReadyForQuery.
    pub(super) async fn scatter_simple(
        &mut self,
        plan: &Plan,
        group: GroupId,
        shards: Vec<ShardId>,
    ) -> Result<(), Failure> {
        let scatter = scatter_of(plan)?;
        let window = window(&scatter, None)?;
        let sql = shard_sql(&scatter);
        let servers = self.open(&scatter, group, shards).await?;
        for &index in &servers {
            let server = &mut self.servers[index].lease;
            frame::put(&mut server.wire.output, b'Q', &[sql.as_bytes(), b"\0"].concat());
            server.unnamed = None;
        }
        self.gather(&servers, &scatter, window, true).await
    }

    /// In extended protocol: the answers to a statement's messages, without ReadyForQuery.
    pub(super) async fn scatter_extended(
        &mut self,
        statement: &Arc<Prepared>,
        group: GroupId,
        shards: Vec<ShardId>,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<(), Failure> {
        let scatter = scatter_of(&statement.plan)?;
        let asked = Asked::of(items, bytes)?;
        self.answer_before_bind(bytes, &items[..asked.bind]).await?;
        let params = Params::parse(asked.params)
            .ok_or_else(|| ClientError::error("08P01", "invalid message format"))?;
        let window = window(&scatter, Some(&params))?;
        let sql = shard_sql(&scatter);
        let messages = shard_messages(&sql, statement, asked.params, &params, scatter.order.len());
        let servers = self.open(&scatter, group, shards).await?;
        for &index in &servers {
            let server = &mut self.servers[index].lease;
            server.wire.output.extend(&messages);
            server.unnamed = None;
        }
        self.client.output.extend(reply::BIND_COMPLETE);
        self.gather(&servers, &scatter, window, asked.describes).await?;
        for _ in 0..asked.closes {
            self.client.output.extend(reply::CLOSE_COMPLETE);
        }
        Ok(())
    }

    /// Parse and Describe in front of the Bind. A lone Parse needs no server: the shards will say what is wrong with it.
    async fn answer_before_bind(&mut self, bytes: &Buffer, items: &[Item]) -> Result<(), Failure> {
        match items {
            [] => {}
            [Item::Parse { name, .. }] if name.is_empty() => {
                self.client.output.extend(reply::PARSE_COMPLETE);
                self.settle(items, 0);
            }
            items => {
                if Box::pin(self.unbound(bytes, items)).await? {
                    return Err(Failure::Answered);
                }
            }
        }
        Ok(())
    }

    /// Servers of the shards that are asked.
    async fn open(
        &mut self,
        scatter: &Scatter,
        group: GroupId,
        shards: Vec<ShardId>,
    ) -> Result<Vec<usize>, ClientError> {
        let floats = scatter.order.iter().any(|key| key.float);
        let digits = self.settings.value("extra_float_digits").map(|v| v.parse::<i32>().unwrap_or(0));
        if floats && digits.is_some_and(|digits| digits < 1) {
            return Err(ClientError::error(
                "0A000",
                "ordering by floats over several shards needs extra_float_digits of 1 or more",
            ));
        }
        let all: Vec<ShardRef> = match shards.is_empty() {
            true => self.database.shards_of(group).collect(),
            false => shards.into_iter().map(|shard| ShardRef { group, shard }).collect(),
        };
        let mut servers = Vec::with_capacity(all.len());
        for shard in all {
            servers.push(self.acquire(shard, Access::Read).await?);
        }
        Ok(servers)
    }

    /// Reads the answers, merges them, and leaves every server ready.
    async fn gather(
        &mut self,
        servers: &[usize],
        scatter: &Scatter,
        window: Window,
        describe: bool,
    ) -> Result<(), Failure> {
        for &index in servers {
            self.servers[index].lease.outstanding += 1;
        }
        for &index in servers {
            let server = &mut self.servers[index].lease;
            if let Err(e) = server.wire.flush().await {
                return Err(ClientError::from(server.lost(&e)).into());
            }
        }
        let merged = self.merge(servers, scatter, window, describe).await;
        let failed = merged.is_err();
        let drained = match &merged {
            Err(Failure::Session(_)) => Ok(()),
            _ => self.drain(servers, failed).await,
        };
        if failed && let Some(transaction) = &mut self.transaction {
            transaction.failed = true;
        }
        // An error behind a shard's last row is an error of the statement.
        merged.and_then(|total| match drained {
            Ok(()) => {
                reply::complete(&mut self.client.output, &format!("SELECT {total}"));
                Ok(())
            }
            Err(error) => Err(error.into()),
        })?;
        self.release();
        Ok(())
    }

    /// Brings every server to its ReadyForQuery. After an error nobody wants the rest: it is cancelled.
    async fn drain(&mut self, servers: &[usize], cancel: bool) -> Result<(), ClientError> {
        let mut failure = Ok(());
        let timeout = self.world.config.pool.cancel_wait_timeout;
        for &index in servers {
            let lease = &mut self.servers[index].lease;
            if cancel && lease.outstanding > 0 {
                tokio::spawn(lease.cancel_target().announce().send(timeout));
            }
        }
        for &index in servers {
            if let Err(error) = self.servers[index].lease.drain().await
                && failure.is_ok()
            {
                failure = Err(super::servers::refused(&error));
            }
        }
        failure
    }

    async fn merge(
        &mut self,
        servers: &[usize],
        scatter: &Scatter,
        mut window: Window,
        describe: bool,
    ) -> Result<u64, Failure> {
        let mut answers: Vec<Answer> = servers.iter().map(|_| Answer::default()).collect();
        let mut described = !describe;
        let mut total = 0;
        // Without an order, shards are read in turn; with one, every head must be known.
        let mut next = 0;
        for (answer, &index) in answers.iter_mut().zip(servers) {
            self.advance(index, answer, scatter, &mut described).await?;
        }
        while window.left != Some(0) {
            let chosen = if scatter.order.is_empty() {
                while next < answers.len() && answers[next].ended {
                    next += 1;
                }
                (next < answers.len()).then_some(next)
            } else {
                smallest(&answers, scatter)
            };
            let Some(chosen) = chosen else { break };
            if window.skip > 0 {
                window.skip -= 1;
                self.drop_head(servers[chosen], &mut answers[chosen]);
            } else {
                self.give_head(servers[chosen], &mut answers[chosen], scatter.order.len()).await?;
                total += 1;
                window.left = window.left.map(|left| left - 1);
            }
            self.advance(servers[chosen], &mut answers[chosen], scatter, &mut described).await?;
        }
        Ok(total)
    }

    /// Reads on to a shard's next row, or to its end.
    async fn advance(
        &mut self,
        index: usize,
        answer: &mut Answer,
        scatter: &Scatter,
        described: &mut bool,
    ) -> Result<(), Failure> {
        let hidden = scatter.order.len();
        while answer.head.is_none() && !answer.ended {
            let server = &mut self.servers[index].lease;
            let (tag, len) = match server.wire.message(frame::MAX_MESSAGE).await {
                Ok(message) => message,
                Err(e) => {
                    let error = server.lost(&e);
                    server.outstanding = 1;
                    return Err(ClientError::from(error).into());
                }
            };
            let body = server.wire.body(len);
            match tag {
                b'D' if hidden == 0 => answer.head = Some(HEADER + len),
                b'D' => {
                    let row = merge::cut(body, hidden).ok_or_else(broken_row)?;
                    answer.keys = row.hidden.into_iter().map(|k| k.map(<[u8]>::to_vec)).collect();
                    answer.head = Some(HEADER + len);
                }
                b'T' => {
                    if !std::mem::replace(described, true) {
                        let stripped = merge::strip_description(body, hidden).ok_or_else(broken_row)?;
                        frame::put(&mut self.client.output, b'T', &stripped);
                    }
                    server.wire.consume_message(len);
                }
                b'E' => {
                    let whole = body.to_vec();
                    server.wire.consume_message(len);
                    self.proxy.metrics.server_errors.inc();
                    return Err(Failure::ServerError(whole));
                }
                b'S' => {
                    let body = body.to_vec();
                    server.parameters.report(&body);
                    server.wire.consume_message(len);
                }
                b'C' => {
                    answer.ended = true;
                    server.wire.consume_message(len);
                }
                b'N' => {
                    frame::put(&mut self.client.output, b'N', body);
                    server.wire.consume_message(len);
                }
                _ => server.wire.consume_message(len),
            }
        }
        Ok(())
    }

    fn drop_head(&mut self, index: usize, answer: &mut Answer) {
        if let Some(len) = answer.head.take() {
            self.servers[index].lease.wire.input.consume(len);
        }
    }

    /// Gives a shard's head row to the client, without its hidden columns.
    async fn give_head(&mut self, index: usize, answer: &mut Answer, hidden: usize) -> Result<(), Failure> {
        let Some(len) = answer.head.take() else { return Ok(()) };
        let server: &mut ServerConn = &mut self.servers[index].lease;
        let row = &server.wire.input.filled()[..len];
        if hidden == 0 {
            self.client.output.extend(row);
        } else {
            let row = merge::cut(&row[HEADER..], hidden).ok_or_else(broken_row)?;
            let out = &mut self.client.output;
            out.push(b'D');
            out.extend(&(row.bytes.len() as u32 + 6).to_be_bytes());
            out.extend(&row.visible.to_be_bytes());
            out.extend(row.bytes);
        }
        server.wire.input.consume(len);
        if self.client.output.len() >= FLUSH_AT {
            self.client.flush().await.map_err(End::Client)?;
        }
        Ok(())
    }
}

fn smallest(answers: &[Answer], scatter: &Scatter) -> Option<usize> {
    let alive = answers.iter().enumerate().filter(|(_, a)| !a.ended);
    alive.min_by(|(_, a), (_, b)| merge::compare(&scatter.order, &a.keys, &b.keys)).map(|(i, _)| i)
}

fn broken_row() -> ClientError {
    ClientError::error("08P01", "a shard sent a row that can't be read")
}

fn scatter_of(plan: &Plan) -> Result<Arc<Scatter>, ClientError> {
    match &plan.route {
        Route::Scatter(scatter) | Route::Keyed { otherwise: Some(scatter), .. } => Ok(scatter.clone()),
        _ => Err(ClientError::error("0A000", "this statement over several shards is not supported yet")),
    }
}

/// The shards' statement: LIMIT and OFFSET become one LIMIT that lets enough rows through.
fn shard_sql(scatter: &Scatter) -> String {
    let term = |count: &Count| match count {
        Count::Fixed(n) => format!("{n}::int8"),
        Count::Param(n) => format!("(${})::int8", n + 1),
    };
    let mut sql = scatter.sql.clone();
    match (&scatter.limit, &scatter.offset) {
        (None, None) => {}
        (Some(Count::Fixed(limit)), None) => sql.push_str(&format!("LIMIT {limit}")),
        (Some(Count::Fixed(limit)), Some(Count::Fixed(offset))) => {
            sql.push_str(&format!("LIMIT {}", limit.saturating_add(*offset).min(i64::MAX as u64)));
        }
        (Some(limit), None) => sql.push_str(&format!("LIMIT {}", term(limit))),
        (None, Some(Count::Fixed(_))) => {}
        // Mentioned, so that the statement has the parameters that the client binds; NULL is no limit.
        (None, Some(offset)) => sql.push_str(&format!("LIMIT NULL::int8 + {}", term(offset))),
        (Some(limit), Some(offset)) => sql.push_str(&format!("LIMIT {} + {}", term(limit), term(offset))),
    }
    sql
}

fn window(scatter: &Scatter, params: Option<&Params<'_>>) -> Result<Window, ClientError> {
    let left = scatter.limit.as_ref().map(|c| rows(c, params, "2201W", "LIMIT")).transpose()?.flatten();
    let skip = scatter.offset.as_ref().map(|c| rows(c, params, "2201X", "OFFSET")).transpose()?.flatten();
    Ok(Window { skip: skip.unwrap_or(0), left })
}

/// A row count; `None` for NULL.
fn rows(
    count: &Count,
    params: Option<&Params<'_>>,
    code: &str,
    what: &str,
) -> Result<Option<u64>, ClientError> {
    let number = match count {
        Count::Fixed(n) => return Ok(Some(*n)),
        Count::Param(n) => *n,
    };
    let unread =
        || ClientError::error("0A000", format!("the value of {what} can't be read over several shards"));
    let param = params.and_then(|p| p.get(number)).ok_or_else(unread)?;
    let Some(bytes) = param.bytes else { return Ok(None) };
    let value = if param.binary {
        match bytes.len() {
            8 => i64::from_be_bytes(bytes.try_into().map_err(|_| unread())?),
            4 => i64::from(i32::from_be_bytes(bytes.try_into().map_err(|_| unread())?)),
            2 => i64::from(i16::from_be_bytes(bytes.try_into().map_err(|_| unread())?)),
            _ => return Err(unread()),
        }
    } else {
        std::str::from_utf8(bytes).ok().and_then(|t| t.trim().parse().ok()).ok_or_else(unread)?
    };
    u64::try_from(value)
        .map(Some)
        .map_err(|_| ClientError::error(code, format!("{what} must not be negative")))
}

/// What a client asked of a scattered statement.
struct Asked<'a> {
    /// Index of the Bind.
    bind: usize,
    /// Bind's body behind the names.
    params: &'a [u8],
    /// Whether the portal is described.
    describes: bool,
    /// Portals closed afterwards.
    closes: usize,
}

impl<'a> Asked<'a> {
    fn of(items: &[Item], bytes: &'a Buffer) -> Result<Self, ClientError> {
        let refuse = |what: &str| {
            ClientError::error("0A000", format!("{what} over several shards is not supported yet"))
        };
        let mut asked = Asked { bind: 0, params: &[], describes: false, closes: 0 };
        let mut executes = 0;
        for (i, item) in items.iter().enumerate() {
            match item {
                Item::Bind { at, .. } => {
                    asked.bind = i;
                    let body = &bytes.filled()[at.start + HEADER..at.end];
                    let names = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest));
                    asked.params = names.map(|(_, rest)| rest).unwrap_or_default();
                }
                Item::Portal { tag: b'D', .. } => asked.describes = true,
                Item::Portal { tag: b'E', max_rows, .. } => {
                    executes += 1;
                    if *max_rows > 0 {
                        return Err(refuse("a portal with a row limit"));
                    }
                }
                Item::Portal { .. } => asked.closes += 1,
                _ => {}
            }
        }
        if executes == 1 { Ok(asked) } else { Err(refuse("a portal that is not executed just once")) }
    }
}

/// Parse, Bind, Describe, Execute and Sync for one shard.
fn shard_messages(
    sql: &str,
    statement: &Prepared,
    bind: &[u8],
    params: &Params<'_>,
    hidden: usize,
) -> Vec<u8> {
    let mut out = Buffer::default();
    let mut types = (statement.types.len() as u16).to_be_bytes().to_vec();
    statement.types.iter().for_each(|oid| types.extend_from_slice(&oid.to_be_bytes()));
    frame::put(&mut out, b'P', &[b"\0", sql.as_bytes(), b"\0", &types].concat());
    let values = &bind[..bind.len() - params.result_formats.len()];
    let formats = hidden_formats(params.result_formats, hidden);
    frame::put(&mut out, b'B', &[b"\0\0", values, &formats].concat());
    frame::put(&mut out, b'D', b"P\0");
    frame::put(&mut out, b'E', &[0; 5]);
    frame::put(&mut out, b'S', &[]);
    out.filled().to_vec()
}

/// Result formats with text for the hidden columns. None or one for all need no more: text is the same in binary.
fn hidden_formats(formats: &[u8], hidden: usize) -> Vec<u8> {
    match frame::i16(formats) {
        Some((count, codes)) if count > 1 => {
            let mut all = (count as u16 + hidden as u16).to_be_bytes().to_vec();
            all.extend_from_slice(codes);
            all.extend(std::iter::repeat_n(0, hidden * 2));
            all
        }
        _ => formats.to_vec(),
    }
}
