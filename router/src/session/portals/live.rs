//! A cursor on each of several shards, read as one: rows in the order of the statement, LIMIT and OFFSET counted here.
//!
//! What is held is what was fetched and not given yet: without an order nothing, since one shard follows the other and is
//! asked for just so many rows; with one, up to a batch for each shard. A shard locks a row as it is fetched, so cursors that
//! lock are asked for one row at a time.

use crate::error::ClientError;
use crate::merge;
use crate::plan::scatter::{Scatter, SortKey};
use crate::plan::spread::clock::Frozen;
use crate::plan::{Access, Across};
use crate::schema::{GroupId, ShardRef};
use crate::session::Session;
use crate::session::asked::{Window, hidden_formats};
use crate::session::moment::{TRIES, torn};
use crate::session::relay::move_position;
use crate::session::scatter::broken_row;
use crate::session::servers::refused;
use crate::session::simple::Failure;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame;
use shardway_shardmap::ShardId;
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows that a shard is asked for at most.
const BATCH: u64 = 1000;

/// The savepoint in front of a row that may turn out not to be wanted.
const FENCE: &str = "\"shardway row\"";

/// The shards' cursors.
#[derive(Debug)]
pub(super) struct Live {
    /// What they are called there, quoted.
    name: String,
    feeds: Vec<Feed>,
    order: Vec<SortKey>,
    /// Columns of their rows behind the client's.
    hidden: usize,
    /// The table whose rows are locked, where each says which it is.
    places: Option<String>,
    window: Window,
    /// The first feed that may have rows, where there is no order.
    next: usize,
    /// Rows are locked as they are fetched.
    locks: bool,
    /// Locks of rows that are not given in the end are given up.
    fences: bool,
    /// The formats that rows were fetched in.
    formats: Vec<u8>,
}

/// A shard's cursor.
#[derive(Debug)]
struct Feed {
    shard: ShardRef,
    /// Fetched, and not given.
    rows: VecDeque<Ahead>,
    ended: bool,
    /// Whether the savepoint stands there.
    fenced: bool,
}

/// A row that waits for its turn.
#[derive(Debug)]
struct Ahead {
    row: Box<[u8]>,
    /// Its sort keys, and where it is, if it says so.
    keys: Vec<Option<Vec<u8>>>,
    /// An earlier command has fetched it.
    is_old: bool,
}

/// What is to be read.
pub(super) struct Opening<'a> {
    pub(super) scatter: &'a Arc<Scatter>,
    pub(super) group: GroupId,
    pub(super) shards: Vec<ShardId>,
    pub(super) access: Access,
    /// The client's own text, for its errors.
    pub(super) text: &'a str,
    /// Types declared for parameters.
    pub(super) types: &'a [u32],
    /// Bind's body behind the names, up to the result formats.
    pub(super) values: &'a [u8],
    pub(super) window: Window,
    /// Whether rows that are locked and not given are to be unlocked when it is closed.
    pub(super) fences: bool,
}

impl Session {
    /// Opens a cursor on each shard. Gives it, and the client's columns: RowDescription's body, in text. In a transaction.
    pub(super) async fn open_live(&mut self, opening: Opening<'_>) -> Result<(Live, Vec<u8>), Failure> {
        let Opening { scatter, group, shards, access, .. } = &opening;
        let servers =
            self.open(&Across::Scatter((*scatter).clone()), *group, shards.clone(), *access).await?;
        let frozen = self.as_of(scatter.clock).await?;
        let Some(entrance) = self.entrance(&servers) else {
            return self.declare_live(&opening, frozen.as_ref(), &servers).await;
        };
        for _ in 0..TRIES {
            let limit = self.statement_limit();
            let place = limit.within(self.enter(&entrance)).await??;
            let (live, columns) = self.declare_live(&opening, frozen.as_ref(), &servers).await?;
            if place.leave() {
                return Ok((live, columns));
            }
            // What it would see may be torn.
            self.close_live(live).await?;
        }
        Err(torn().into())
    }

    /// Has each of the servers declare its cursor.
    async fn declare_live(
        &mut self,
        opening: &Opening<'_>,
        frozen: Option<&Frozen>,
        servers: &[usize],
    ) -> Result<(Live, Vec<u8>), Failure> {
        let &Opening { scatter, text, types, values, window, fences, .. } = opening;
        let name = format!("\"shardway {}\"", self.number_portal());
        let (sql, _) = scatter.told_sql(frozen);
        let declare = format!("DECLARE {name} NO SCROLL CURSOR FOR {sql}");
        for (n, &index) in servers.iter().enumerate() {
            let mut messages = Buffer::default();
            if n == 0 {
                // It says what is wrong with the client's words, and where.
                parse(&mut messages, text, types);
            }
            parse(&mut messages, &declare, types);
            frame::put(&mut messages, b'B', &[b"\0\0", values, &[0, 0]].concat());
            frame::put(&mut messages, b'E', &[0; 5]);
            parse(&mut messages, &format!("FETCH {name}"), &[]);
            frame::put(&mut messages, b'D', b"S\0");
            frame::put(&mut messages, b'S', &[]);
            self.send(&[index], messages.filled());
        }
        let mut columns = Vec::new();
        let mut take = |_, tag, body: &[u8]| {
            if tag == b'T' && columns.is_empty() {
                columns = body.to_vec();
            }
            Ok(())
        };
        self.hear_all(servers, &mut take).await?;
        let hidden = scatter.hidden();
        let columns = merge::strip_description(&columns, hidden).ok_or_else(broken_row)?;
        let feed = |&index: &usize| Feed {
            shard: self.servers[index].shard,
            rows: VecDeque::new(),
            ended: false,
            fenced: false,
        };
        let feeds = servers.iter().map(feed).collect();
        let (order, locks) = (scatter.order.clone(), scatter.locks.is_some());
        let fences = fences && locks && !order.is_empty();
        let (places, formats) = (scatter.places.clone(), Vec::new());
        let live = Live { name, feeds, order, hidden, places, window, next: 0, locks, fences, formats };
        Ok((live, columns))
    }

    /// The next row, in these formats; `want` is how many are wanted with it.
    pub(super) async fn live_row(
        &mut self,
        live: &mut Live,
        want: u64,
        formats: &[u8],
    ) -> Result<Option<Box<[u8]>>, Failure> {
        live.check_formats(formats)?;
        loop {
            if live.window.left == Some(0) {
                return Ok(None);
            }
            let empty = live.empty();
            if !empty.is_empty() {
                let count = live.batch(want);
                self.pull(live, &empty, count).await?;
                continue;
            }
            if live.locks
                && let Some(stale) = self.stale(live)
                && self.is_gone(live, stale).await?
            {
                live.feeds[stale].rows.pop_front();
                continue;
            }
            let Some(row) = live.pop() else { return Ok(None) };
            if live.window.skip > 0 {
                live.window.skip -= 1;
                continue;
            }
            live.window.left = live.window.left.map(|left| left - 1);
            return Ok(Some(row));
        }
    }

    /// The shard whose row is next, if the client's transaction may have changed it since it was fetched.
    fn stale(&self, live: &Live) -> Option<usize> {
        let next = live.next_feed()?;
        let feed = &live.feeds[next];
        let was_ahead = feed.rows.front().is_some_and(|ahead| ahead.is_old);
        let wrote = || self.servers.iter().any(|p| p.shard == feed.shard && p.wrote);
        (was_ahead && wrote()).then_some(next)
    }

    /// Whether the transaction has changed a row since it was fetched and locked: Postgres passes over such a row of a cursor
    /// that locks (`TM_SelfModified` in nodeLockRows.c).
    async fn is_gone(&mut self, live: &mut Live, stale: usize) -> Result<bool, Failure> {
        let feed = &live.feeds[stale];
        let place = feed.rows.front().and_then(Ahead::place).filter(|_| live.places.is_some());
        let Some(((table, tid), name)) = place.zip(live.places.as_ref()) else {
            let message = "this transaction wrote on a shard where the cursor has locked a row ahead, of several tables or of a \
                           view: whether it is still what it was can't be told";
            let hint = "Fetch the rows before others are written, or run the query without ORDER BY.";
            return Err(ClientError::error("0A000", message).hint(hint).into());
        };
        let index = self.acquire(feed.shard, Access::Read).await?;
        let sql = format!("SELECT FROM {name} WHERE tableoid = {table} AND ctid = '{tid}'");
        let rows = self.servers[index].lease.rows(&sql).await.map_err(|e| refused(&e))?;
        if let Some(ahead) = live.feeds[stale].rows.front_mut() {
            ahead.is_old = false;
        }
        Ok(rows.is_empty())
    }

    /// Fetches rows from some of the cursors.
    async fn pull(&mut self, live: &mut Live, which: &[usize], count: u64) -> Result<(), Failure> {
        let hidden = live.hidden;
        let mut servers = Vec::with_capacity(which.len());
        for &n in which {
            let feed = &mut live.feeds[n];
            let index = self.acquire(feed.shard, Access::Read).await?;
            servers.push(index);
            if live.fences {
                let release = if feed.fenced { format!("RELEASE SAVEPOINT {FENCE};") } else { String::new() };
                let mut message = Buffer::default();
                let sql = format!("{release}SAVEPOINT {FENCE}\0");
                frame::put(&mut message, b'Q', sql.as_bytes());
                self.send(&[index], message.filled());
                feed.fenced = true;
            }
            let mut messages = Buffer::default();
            parse(&mut messages, &format!("FETCH FORWARD {count} FROM {}", live.name), &[]);
            let formats = hidden_formats(&live.formats, hidden);
            frame::put(&mut messages, b'B', &[&[0; 6][..], &formats].concat());
            frame::put(&mut messages, b'E', &[0; 5]);
            frame::put(&mut messages, b'S', &[]);
            self.send(&[index], messages.filled());
        }
        let mut fetched = vec![0; which.len()];
        let feeds = &mut live.feeds;
        let mut take = |n: usize, tag, body: &[u8]| {
            if tag == b'D' {
                fetched[n] += 1;
                feeds[which[n]].rows.push_back(Ahead::of(body, hidden)?);
            }
            Ok(())
        };
        self.hear_all(&servers, &mut take).await?;
        for (&n, fetched) in which.iter().zip(fetched) {
            live.feeds[n].ended = fetched < count;
        }
        Ok(())
    }

    /// Sends what is to be sent, and reads each server's answers in turn, all of them. Errors: the first; nothing of the
    /// others is left on its way then.
    pub(super) async fn hear_all(
        &mut self,
        servers: &[usize],
        take: &mut impl FnMut(usize, u8, &[u8]) -> Result<(), ClientError>,
    ) -> Result<(), Failure> {
        let limit = self.statement_limit();
        let heard = limit.within(async {
            for &index in servers {
                let server = &mut self.servers[index].lease;
                server.wire.flush().await.map_err(|e| ClientError::from(server.lost(&e)))?;
            }
            for (n, &index) in servers.iter().enumerate() {
                self.hear_server(index, &mut |tag, body| take(n, tag, body)).await?;
            }
            Ok::<(), Failure>(())
        });
        let heard = heard.await.unwrap_or_else(|late| Err(Failure::from(late)));
        let settled = self.settle_servers(servers, &heard).await;
        heard.and(settled.map_err(Failure::from))
    }

    /// Reads all that a server was asked for.
    pub(super) async fn hear_server(
        &mut self,
        index: usize,
        take: &mut impl FnMut(u8, &[u8]) -> Result<(), ClientError>,
    ) -> Result<(), Failure> {
        while self.servers[index].lease.outstanding > 0 {
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
            let done = match tag {
                b'Z' => {
                    server.status = body.first().copied().unwrap_or(b'E');
                    server.outstanding -= 1;
                    Ok(())
                }
                b'S' => {
                    let body = body.to_vec();
                    server.reported = true;
                    let _ = server.parameters.report(&body);
                    Ok(())
                }
                b'N' => {
                    frame::put(&mut self.client.output, b'N', body);
                    Ok(())
                }
                b'E' => {
                    self.proxy.metrics.server_errors.inc();
                    Err(Failure::ServerError(move_position(body, self.moved)))
                }
                tag => take(tag, body).map_err(Failure::from),
            };
            server.wire.consume_message(len);
            done?;
        }
        Ok(())
    }

    /// Closes the shards' cursors. In a transaction that has failed they are closed, or will be.
    pub(super) async fn close_live(&mut self, live: Live) -> Result<(), Failure> {
        if self.transaction.as_ref().is_none_or(|transaction| transaction.failed) {
            return Ok(());
        }
        let mut told = Vec::with_capacity(live.feeds.len());
        for feed in &live.feeds {
            let Some(index) = self.servers.iter().position(|p| p.shard == feed.shard) else { continue };
            let undo = match (feed.fenced, feed.rows.is_empty()) {
                (false, _) => String::new(),
                (true, true) => format!("RELEASE SAVEPOINT {FENCE};"),
                (true, false) => format!("ROLLBACK TO SAVEPOINT {FENCE};RELEASE SAVEPOINT {FENCE};"),
            };
            let sql = format!("{undo}CLOSE {}", live.name);
            self.servers[index].lease.tell(&sql).await.map_err(|e| refused(&e))?;
            told.push(index);
        }
        for index in told {
            self.servers[index].lease.drain().await.map_err(|e| refused(&e))?;
        }
        Ok(())
    }
}

impl Live {
    /// Rows that wait were fetched in the formats that were asked for then.
    fn check_formats(&mut self, formats: &[u8]) -> Result<(), ClientError> {
        if self.formats == formats {
            return Ok(());
        }
        if self.feeds.iter().any(|feed| !feed.rows.is_empty()) {
            let message =
                "a cursor over several shards can't change the format of its rows between two FETCH";
            let hint = "Fetch all of them in text, or all in binary.";
            return Err(ClientError::error("0A000", message).hint(hint));
        }
        self.formats = formats.to_vec();
        Ok(())
    }

    /// The cursors that have to be fetched from before the next row is known.
    fn empty(&mut self) -> Vec<usize> {
        let wants = |feed: &Feed| feed.rows.is_empty() && !feed.ended;
        if !self.order.is_empty() {
            return (0..self.feeds.len()).filter(|&n| wants(&self.feeds[n])).collect();
        }
        while self.feeds.get(self.next).is_some_and(|feed| feed.rows.is_empty() && feed.ended) {
            self.next += 1;
        }
        let next = self.next;
        self.feeds.get(next).is_some_and(wants).then_some(next).into_iter().collect()
    }

    /// How many rows to fetch from each.
    fn batch(&self, want: u64) -> u64 {
        if self.locks && !self.order.is_empty() {
            return 1;
        }
        let want = self.window.left.map_or(want, |left| left.min(want));
        want.saturating_add(self.window.skip).clamp(1, BATCH)
    }

    /// The cursor whose row is next.
    fn next_feed(&self) -> Option<usize> {
        if self.order.is_empty() {
            return (self.next < self.feeds.len()).then_some(self.next);
        }
        let ahead = |n: &usize| self.feeds[*n].rows.front();
        let with_rows = (0..self.feeds.len()).filter(|n| ahead(n).is_some());
        with_rows.min_by(|a, b| match (ahead(a), ahead(b)) {
            (Some(a), Some(b)) => merge::compare(&self.order, &a.keys, &b.keys),
            _ => std::cmp::Ordering::Equal,
        })
    }

    fn pop(&mut self) -> Option<Box<[u8]>> {
        let at = self.next_feed()?;
        self.feeds[at].rows.pop_front().map(|ahead| ahead.row)
    }

    /// Another command is to fetch: what waits was fetched by one before it, and others may have run in between.
    pub(super) fn goes_on(&mut self) {
        self.feeds.iter_mut().flat_map(|feed| &mut feed.rows).for_each(|ahead| ahead.is_old = true);
    }
}

impl Ahead {
    /// Of a DataRow's body.
    fn of(body: &[u8], hidden: usize) -> Result<Self, ClientError> {
        if hidden == 0 {
            return Ok(Self { row: body.into(), keys: Vec::new(), is_old: false });
        }
        let row = merge::cut(body, hidden).ok_or_else(broken_row)?;
        let keys = row.hidden.into_iter().map(|key| key.map(<[u8]>::to_vec)).collect();
        Ok(Self { row: [&row.visible.to_be_bytes(), row.bytes].concat().into(), keys, is_old: false })
    }

    /// Where it is: its table's number, and its place there.
    fn place(&self) -> Option<(&str, &str)> {
        let place = std::str::from_utf8(self.keys.last()?.as_deref()?).ok()?;
        Some(place.split_at(place.find('(')?))
    }
}

/// Parse of the unnamed statement.
pub(super) fn parse(out: &mut Buffer, sql: &str, types: &[u32]) {
    let mut declared = (types.len() as u16).to_be_bytes().to_vec();
    types.iter().for_each(|oid| declared.extend_from_slice(&oid.to_be_bytes()));
    frame::put(out, b'P', &[b"\0", sql.as_bytes(), b"\0", &declared].concat());
}
