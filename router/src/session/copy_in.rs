//! COPY FROM STDIN into a sharded or a reference table: rows go to their shards as they pass.
//!
//! A shard joins with its first row. All are listened to while they are written to, so that none waits for who waits for
//! it, and an error ends the whole at once. What is held is a few buffers for each shard: one that is slow holds up the
//! client.

mod blame;
mod lanes;

use super::copying::{Protocol, complete, response, unexpected};
use super::listed::located;
use super::patience::{Sender, Streams};
use super::relay::{MAX_AHEAD, move_position};
use super::simple::Failure;
use super::{End, Session};
use crate::copy::deal::{Dealer, Prefix, Stop};
use crate::copy::{Format, KeyField};
use crate::error::ClientError;
use crate::plan::copy::{Clock, CopyIn};
use crate::plan::listed::Splice;
use crate::plan::{Access, Refusal};
use crate::schema::ShardRef;
use lanes::Lane;
use shardway_pool::frame::{self, HEADER};
use shardway_shardmap::{ShardId, ShardMap};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Bytes that are sent to a shard together, as long as more of them come.
const SEND_AT: usize = 32 * 1024;

/// How long the other shards may take over what they have got once one has failed, before they are cancelled: one of them
/// may know of an error in an earlier line.
const GRACE: Duration = Duration::from_millis(500);

/// What shards are told that are to give up.
const GIVE_UP: &str = "another shard failed";

/// Who gets which row.
enum Dealing<'a> {
    /// Each goes to the shard of its key.
    ByKey(Box<Dealer<'a>>),
    /// All go to all.
    ToAll,
}

/// One COPY under way.
struct Feed<'a> {
    dealing: Dealing<'a>,
    lanes: Vec<Lane>,
    /// Bytes of a CopyData message's body that are still to come.
    copying: usize,
    /// Bytes that the client copied so far.
    copied: usize,
    streams: Streams,
    /// What the shards' text has that the client's has not.
    splice: Option<Splice>,
}

/// What stops the passing on.
enum Turn {
    /// A shard gets its first row.
    Opens(ShardRef),
    /// CopyDone.
    Done,
    /// CopyFail: why.
    Fails(Vec<u8>),
    /// A row that no shard can be chosen for.
    Stops(Stop),
    /// A shard has said an error.
    Failed,
}

impl Feed<'_> {
    /// What a shard says, with the client's lines in place of its own.
    fn in_clients_lines(&mut self, plan: &CopyIn, lane: usize, body: &[u8]) -> (Vec<u8>, Option<u64>) {
        let shard = self.lanes[lane].shard.shard;
        let data = match &mut self.dealing {
            Dealing::ByKey(dealer) => {
                let end = dealer.line();
                let prefix = dealer.prefix().to_vec();
                let shard = dealer.home_of_all().unwrap_or(shard);
                Some(blame::Data { lines: &dealer.lane(shard).lines, end, prefix })
            }
            Dealing::ToAll => None,
        };
        blame::in_clients_lines(body, &plan.table.name, data.as_ref())
    }

    fn lane_of(&mut self, shard: ShardRef) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.shard == shard)
    }
}

impl Session {
    /// Runs it; the client gets CopyInResponse, CommandComplete or an error, and no ReadyForQuery.
    pub(super) async fn copy_in(
        &mut self,
        plan: &CopyIn,
        text: &str,
        protocol: Protocol,
    ) -> Result<(), Failure> {
        let opened = self.open_together();
        let limit = self.statement_limit();
        let copied = limit.within(Box::pin(self.copied_in(plan, text, protocol))).await;
        let copied = copied.unwrap_or_else(|late| Err(late.into()));
        if copied.is_err() {
            self.close_busy_servers();
        }
        self.answered = Some(Instant::now());
        let rows = self.close_together(opened, copied).await?;
        complete(self, rows);
        Ok(())
    }

    async fn copied_in(&mut self, plan: &CopyIn, text: &str, protocol: Protocol) -> Result<u64, Failure> {
        let database = self.database.clone();
        let map = &database.maps[plan.group.0];
        let home = self.any_shard(plan.group);
        let (prefix, (text, splice)) = match (&plan.clock, &plan.data) {
            (Some(clock), Ok((format, _))) => {
                let (prefix, (text, splice)) = self.tell_time(clock, format, home).await?;
                (prefix, (text, Some(splice)))
            }
            (None, Ok(_)) => {
                let own = || (text.to_owned(), None);
                (Prefix::default(), plan.listed.clone().map_or_else(own, |(text, at)| (text, Some(at))))
            }
            _ => (Prefix::default(), (text.to_owned(), None)),
        };
        let text = &text[..];
        let mut feed = Feed {
            dealing: Dealing::ToAll,
            lanes: Vec::new(),
            copying: 0,
            copied: 0,
            streams: Streams::default(),
            splice,
        };
        if plan.is_for_all() {
            let shards: Vec<ShardRef> = database.shards_of(plan.group).collect();
            let servers = self.acquire_all(&shards, Access::Write).await?;
            self.lock_copies(&plan.table, &servers).await?;
            for shard in shards {
                self.open_lane(&mut feed, shard, Access::Write, text).await?;
            }
        } else {
            // One says whether the client may copy at all; it writes only if there is a row for it.
            self.open_lane(&mut feed, home, Access::ReadPrimary, text).await?;
        }
        let Some(begun) = poll_fn(|cx| self.poll_begun(cx, plan, &mut feed)).await? else {
            return Err(self.blame(plan, &mut feed, None, GIVE_UP.as_bytes(), None).await);
        };
        let refusal = match (&plan.data, begun.get(1..).and_then(frame::i16)) {
            (Err(refusal), _) => Some(refusal.clone()),
            (_, Some((fields, _))) if usize::try_from(fields - prefix.fields) != Ok(plan.fields) => {
                self.reread_schema().await;
                Some(Refusal::unsupported("the table's columns have changed: try again"))
            }
            (Ok((format, key)), _) => {
                feed.dealing = self.dealing(plan, format, *key, map, home.shard, prefix);
                None
            }
        };
        if let Some(refusal) = refusal {
            return Err(self.blame(plan, &mut feed, None, GIVE_UP.as_bytes(), Some(refusal.into())).await);
        }
        frame::put(&mut self.client.output, b'G', &response(begun[0], plan.fields));
        self.resyncs = protocol == Protocol::Extended;
        let mut done = self.pass_all(plan, text, &mut feed).await;
        if !matches!(done, Ok(_) | Err(Failure::Session(_)))
            && let Err(end) = self.skip_data(feed.copying).await
        {
            done = Err(end.into());
        }
        feed.streams.end_of_copy(&self.client.stream);
        done
    }

    /// The rest of a message that was being taken is of no use any more.
    async fn skip_data(&mut self, mut left: usize) -> Result<(), End> {
        while left > 0 {
            if self.client.input.is_empty() {
                self.wait_for_client().await?;
            }
            let count = left.min(self.client.input.len());
            self.client.input.consume(count);
            left -= count;
        }
        Ok(())
    }

    fn dealing<'a>(
        &self,
        plan: &CopyIn,
        format: &Format,
        key: Option<KeyField>,
        map: &'a ShardMap,
        home: ShardId,
        prefix: Prefix,
    ) -> Dealing<'a> {
        let dated = if *format == Format::Binary { Vec::new() } else { plan.dated.clone() };
        if key.is_none() && prefix.fields == 0 && dated.is_empty() {
            return Dealing::ToAll;
        }
        let mut format = format.clone();
        if let Format::Csv(csv) = &mut format {
            let version = self.servers.first().and_then(|p| p.lease.parameters.get("server_version"));
            let major = version.and_then(|v| v.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            csv.marks_end = major.is_none_or(|major: u32| major < 18);
        }
        let dealer = Dealer::new(format, key, plan.fields, map, home);
        Dealing::ByKey(Box::new(dealer.prefixed(prefix).dated(dated)))
    }

    /// Has a shard say the time: what rows get in front for it, and the text that the shards are told.
    async fn tell_time(
        &mut self,
        clock: &Clock,
        format: &Format,
        home: ShardRef,
    ) -> Result<(Prefix, (String, Splice)), Failure> {
        let index = self.acquire(home, Access::ReadPrimary).await?;
        let frozen = self.clock(clock.of(), index).await?;
        let text = clock.text(&frozen);
        if clock.fills() == 0 {
            return Ok((Prefix::default(), text));
        }
        let query = format!("COPY ({}) TO STDOUT ({})", clock.query(&frozen), format.options());
        let rows = self.copied_out(index, &query).await?;
        let prefix = format.prefix(&rows, clock.fills() as i16);
        let prefix =
            prefix.ok_or_else(|| ClientError::error("58000", "the clock of a shard could not be read"))?;
        Ok((prefix, text))
    }

    /// Passes the client's data on, up to its end. How many rows that were.
    async fn pass_all(&mut self, plan: &CopyIn, text: &str, feed: &mut Feed<'_>) -> Result<u64, Failure> {
        loop {
            let turn = match poll_fn(|cx| self.poll_feed(cx, plan, feed)).await? {
                Turn::Done => self.end_of_data(feed).map_or(Turn::Done, Turn::Stops),
                turn => turn,
            };
            // The rows so far may be wrong, too.
            while let (Turn::Done | Turn::Fails(_) | Turn::Stops(_), Some(shard)) =
                (&turn, self.unopened(plan, feed))
            {
                self.open_for_rows(feed, shard, text).await?;
            }
            match turn {
                Turn::Opens(shard) => self.open_for_rows(feed, shard, text).await?,
                Turn::Done => return self.finish_lanes(plan, feed).await,
                Turn::Fails(reason) => {
                    let words = format!("COPY from stdin failed: {}", String::from_utf8_lossy(&reason));
                    let error = ClientError::error("57014", words);
                    return Err(self.blame(plan, feed, None, &reason, Some(error)).await);
                }
                Turn::Stops(stop) => {
                    let at = stop.shard.map(|shard| ShardRef { group: plan.group, shard });
                    if let Some(shard) = at {
                        self.open_for_rows(feed, shard, text).await?;
                    }
                    let error = blame::stopped(plan, &stop);
                    return Err(self.blame(plan, feed, at, GIVE_UP.as_bytes(), Some(error)).await);
                }
                Turn::Failed => {
                    return Err(self.blame(plan, feed, None, GIVE_UP.as_bytes(), None).await);
                }
            }
        }
    }

    fn end_of_data(&mut self, feed: &mut Feed<'_>) -> Option<Stop> {
        match &mut feed.dealing {
            Dealing::ByKey(dealer) => dealer.finish().err(),
            Dealing::ToAll => None,
        }
    }

    /// A shard's COPY, with the access that its first row needs.
    async fn open_for_rows(
        &mut self,
        feed: &mut Feed<'_>,
        shard: ShardRef,
        text: &str,
    ) -> Result<(), Failure> {
        if feed.lane_of(shard).is_some() {
            self.acquire(shard, Access::Write).await?;
            return Ok(());
        }
        self.open_lane(feed, shard, Access::Write, text).await
    }

    /// Opens a shard's COPY. Data may follow at once: a server that refuses ignores it.
    async fn open_lane(
        &mut self,
        feed: &mut Feed<'_>,
        shard: ShardRef,
        access: Access,
        text: &str,
    ) -> Result<(), Failure> {
        let index = self.acquire(shard, access).await?;
        Box::pin(self.tell_copy(index, text)).await?;
        let server = &mut self.servers[index].lease;
        frame::put(&mut server.wire.output, b'Q', &[text.as_bytes(), b"\0"].concat());
        server.unnamed = None;
        server.outstanding += 1;
        feed.lanes.push(Lane::new(shard));
        Ok(())
    }

    /// Ready when the first shard waits for data: its CopyInResponse; `None` if one has said an error.
    fn poll_begun(
        &mut self,
        cx: &mut Context<'_>,
        plan: &CopyIn,
        feed: &mut Feed<'_>,
    ) -> Poll<Result<Option<Vec<u8>>, Failure>> {
        self.poll_lanes(cx, plan, feed)?;
        if feed.lanes.iter().any(|lane| lane.error.is_some()) {
            return Poll::Ready(Ok(None));
        }
        match feed.lanes.iter().find_map(|lane| lane.begun.clone()) {
            Some(begun) => Poll::Ready(Ok(Some(begun))),
            None => self.poll_gone(cx).map(Err),
        }
    }

    /// Ready when the client is gone: nobody would want the rest.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        ready!(self.client.poll_end(cx, MAX_AHEAD));
        Poll::Ready(End::Client(io::ErrorKind::UnexpectedEof.into()).into())
    }

    /// Passes on what there is; ready when there is something else to be done.
    fn poll_feed(
        &mut self,
        cx: &mut Context<'_>,
        plan: &CopyIn,
        feed: &mut Feed<'_>,
    ) -> Poll<Result<Turn, Failure>> {
        loop {
            let blocked = self.poll_lanes(cx, plan, feed)?;
            if feed.lanes.iter().any(|lane| lane.error.is_some()) {
                return Poll::Ready(Ok(Turn::Failed));
            }
            if blocked {
                // A shard takes no more for now; its socket will wake us.
                return Poll::Pending;
            }
            let before = self.client.input.len();
            if let Some(turn) = self.take_data(feed)? {
                return Poll::Ready(Ok(turn));
            }
            if let Some(shard) = self.unopened(plan, feed) {
                return Poll::Ready(Ok(Turn::Opens(shard)));
            }
            self.send_rows(feed, SEND_AT);
            if self.client.input.len() < before {
                continue;
            }
            match self.poll_heard(cx) {
                Poll::Ready(heard) => {
                    heard?;
                    feed.copied = feed.copied.saturating_add(self.client.input.len());
                }
                Poll::Pending if self.send_rows(feed, 1) => {}
                Poll::Pending => {
                    feed.streams.wait(cx, Sender::Client, &self.client.stream, feed.copied);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes what the client has sent.
    fn take_data(&mut self, feed: &mut Feed<'_>) -> Result<Option<Turn>, Failure> {
        while !self.client.input.is_empty() {
            if feed.copying > 0 {
                let count = feed.copying.min(self.client.input.len());
                feed.copying -= count;
                let data = &self.client.input.filled()[..count];
                let dealt = match &mut feed.dealing {
                    Dealing::ByKey(dealer) => dealer.feed(data),
                    Dealing::ToAll => {
                        for participant in &mut self.servers {
                            if feed.lanes.iter().any(|l| l.shard == participant.shard && l.is_open()) {
                                frame::put(&mut participant.lease.wire.output, b'd', data);
                            }
                        }
                        Ok(())
                    }
                };
                self.client.input.consume(count);
                return Ok(dealt.err().map(Turn::Stops));
            }
            let header = match frame::peek(self.client.input.filled(), self.client.max_message()) {
                Ok(Some(header)) => header,
                Ok(None) => return Ok(None),
                Err(_) => return Err(End::Fatal(self.bad_length(0)).into()),
            };
            if header.tag == b'd' {
                self.client.input.consume(HEADER);
                feed.copying = header.len - HEADER;
                continue;
            }
            if self.client.input.len() < header.len {
                return Ok(None);
            }
            let message = self.take(header.len);
            match header.tag {
                b'c' => return Ok(Some(Turn::Done)),
                b'f' => {
                    let reason = frame::cstr(super::body(&message)).map(|(reason, _)| reason.to_vec());
                    return Ok(Some(Turn::Fails(reason.unwrap_or_default())));
                }
                // While it copies, Postgres itself ignores Sync and Flush.
                b'H' | b'S' => {}
                tag => {
                    return Err(End::Fatal(ClientError {
                        severity: crate::error::Severity::Fatal,
                        ..unexpected(tag)
                    })
                    .into());
                }
            }
        }
        Ok(None)
    }

    /// A shard for which there are rows, and which does not write yet.
    fn unopened(&self, plan: &CopyIn, feed: &mut Feed<'_>) -> Option<ShardRef> {
        let Dealing::ByKey(dealer) = &feed.dealing else { return None };
        if plan.is_for_all() {
            return None;
        }
        let writes = |shard: ShardRef| self.servers.iter().any(|p| p.shard == shard && p.wrote);
        let open = |shard: ShardRef| feed.lanes.iter().any(|lane| lane.shard == shard);
        let mut wanting = dealer.wanting().map(|shard| ShardRef { group: plan.group, shard });
        wanting.find(|shard| !writes(*shard) || !open(*shard))
    }

    /// Sends shards what waits for them, where it is so much. Whether anything was sent.
    fn send_rows(&mut self, feed: &mut Feed<'_>, at_least: usize) -> bool {
        let Dealing::ByKey(dealer) = &mut feed.dealing else { return false };
        if let Some(home) = dealer.home_of_all() {
            let rows = dealer.lane(home);
            if rows.waiting() < at_least {
                return false;
            }
            for participant in &mut self.servers {
                if feed.lanes.iter().any(|lane| lane.shard == participant.shard && lane.is_open()) {
                    participant.lease.wire.send(rows.message());
                }
            }
            rows.sent();
            return true;
        }
        let mut sent = false;
        for lane in feed.lanes.iter().filter(|lane| lane.is_open()) {
            let rows = dealer.lane(lane.shard.shard);
            if rows.waiting() < at_least {
                continue;
            }
            if let Some(participant) = self.servers.iter_mut().find(|p| p.shard == lane.shard) {
                participant.lease.wire.send(rows.message());
                rows.sent();
                sent = true;
            }
        }
        sent
    }

    /// Ends every shard's COPY. The rows copied in all.
    async fn finish_lanes(&mut self, plan: &CopyIn, feed: &mut Feed<'_>) -> Result<u64, Failure> {
        self.send_rows(feed, 1);
        for n in 0..feed.lanes.len() {
            self.tell_end(feed, n, None);
        }
        poll_fn(|cx| match self.poll_through(cx, plan, feed) {
            Poll::Pending => self.poll_gone(cx).map(Err),
            through => through,
        })
        .await?;
        if feed.lanes.iter().any(|lane| lane.error.is_some()) {
            return Err(self.blame(plan, feed, None, GIVE_UP.as_bytes(), None).await);
        }
        let rows = || feed.lanes.iter().map(|lane| lane.rows);
        if !plan.is_for_all() {
            return Ok(rows().sum());
        }
        match rows().min() == rows().max() {
            true => Ok(rows().next().unwrap_or(0)),
            false => {
                let message = format!(
                    "COPY would leave different rows of \"{}\" on its shards, and was undone",
                    plan.table.name
                );
                Err(ClientError::error("0A000", message).into())
            }
        }
    }

    /// Tells a shard that nothing more comes, or why it is to give up.
    fn tell_end(&mut self, feed: &mut Feed<'_>, lane: usize, reason: Option<&[u8]>) {
        let lane = &mut feed.lanes[lane];
        if !lane.is_open() {
            return;
        }
        if let Some(participant) = self.servers.iter_mut().find(|p| p.shard == lane.shard) {
            let out = &mut participant.lease.wire.output;
            match reason {
                None => frame::put(out, b'c', &[]),
                Some(reason) => frame::put(out, b'f', &[reason, b"\0"].concat()),
            }
        }
        lane.told_end = true;
        lane.given_up = reason.is_some();
    }

    /// Has every shard give up, but for the one that has the row which is wrong, and finds what to tell the client: the
    /// error of the earliest line. `otherwise` is said where no shard has anything to say.
    async fn blame(
        &mut self,
        plan: &CopyIn,
        feed: &mut Feed<'_>,
        at: Option<ShardRef>,
        reason: &[u8],
        otherwise: Option<ClientError>,
    ) -> Failure {
        self.send_rows(feed, 1);
        let looks_ahead = matches!(&feed.dealing, Dealing::ByKey(dealer) if dealer.looks_ahead());
        for n in 0..feed.lanes.len() {
            let reason = (!looks_ahead && at != Some(feed.lanes[n].shard)).then_some(reason);
            self.tell_end(feed, n, reason);
        }
        let through = tokio::time::timeout(GRACE, poll_fn(|cx| self.poll_through(cx, plan, feed))).await;
        let through = match through {
            Ok(through) => through,
            Err(_) => {
                self.cancel_lanes(feed);
                poll_fn(|cx| self.poll_through(cx, plan, feed)).await
            }
        };
        if let Err(failure) = through {
            return failure;
        }
        self.worst(plan, feed, otherwise)
    }

    fn cancel_lanes(&mut self, feed: &mut Feed<'_>) {
        let mut late = Vec::new();
        for lane in feed.lanes.iter_mut().filter(|lane| !lane.through) {
            lane.given_up = true;
            late.extend(self.servers.iter().position(|p| p.shard == lane.shard));
        }
        self.cancel_servers(&late);
    }

    /// The error to tell.
    fn worst(&mut self, plan: &CopyIn, feed: &mut Feed<'_>, otherwise: Option<ClientError>) -> Failure {
        let mut errors = Vec::new();
        let mut echo = None;
        for n in 0..feed.lanes.len() {
            let Some(body) = feed.lanes[n].error.take() else { continue };
            let (body, line) = feed.in_clients_lines(plan, n, &body);
            if feed.lanes[n].given_up && blame::is_echo(&body) {
                echo = Some(body);
            } else {
                errors.push((line.unwrap_or(u64::MAX), body));
            }
        }
        errors.sort_by_key(|(line, _)| *line);
        let said = errors
            .into_iter()
            .next()
            .map(|(_, body)| move_position(&located(&body, feed.splice.as_slice()), self.moved));
        self.proxy.metrics.server_errors.inc_by(u64::from(said.is_some()));
        match (said, otherwise, echo) {
            (Some(body), ..) => Failure::ServerError(body),
            (None, Some(error), Some(body)) if error.code == "57014" => Failure::ServerError(body),
            (None, Some(error), _) => Failure::Statement(error),
            (None, None, Some(body)) => Failure::ServerError(body),
            (None, None, None) => ClientError::error("XX000", "COPY failed").into(),
        }
    }

    /// Closes servers that are still in the middle of a COPY: they are of no use to anybody.
    fn close_busy_servers(&mut self) {
        let mut i = 0;
        while i < self.servers.len() {
            if self.servers[i].lease.outstanding == 0 {
                i += 1;
                continue;
            }
            let participant = self.servers.swap_remove(i);
            super::servers::cancel_abandoned(&participant, self.world.config.pool.cancel_wait_timeout);
            if let Some(transaction) = &mut self.transaction {
                transaction.lost |= transaction.explicit;
            }
            participant.lease.close();
        }
        self.publish_cancel_targets();
    }
}
