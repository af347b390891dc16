//! Portals of the extended protocol: those that are executed otherwise than once and to their end, and cursors by FETCH.

use super::fetch::Sink;
use super::live::Opening;
use super::{BINARY, Portal, Rows, TEXT};
use crate::error::ClientError;
use crate::plan::locate::Params;
use crate::plan::{Access, Across};
use crate::reply;
use crate::schema::GroupId;
use crate::session::Session;
use crate::session::asked::Window;
use crate::session::batch::Item;
use crate::session::copy_out::Held;
use crate::session::gather::described;
use crate::session::prepared::Prepared;
use crate::session::simple::Failure;
use crate::sql::command::Command;
use crate::sql::cursor::CursorCommand;
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_shardmap::ShardId;
use std::collections::VecDeque;
use std::sync::Arc;

/// PortalSuspended.
const SUSPENDED: &[u8] = b"s\0\0\0\x04";

/// Whether a statement over several shards, whose messages these are, needs a portal that stays.
pub(in crate::session) fn needs_portal(across: &Across, items: &[Item]) -> bool {
    let limited = items.iter().any(|item| matches!(item, Item::Portal { tag: b'E', max_rows: 1.., .. }));
    let executes = items.iter().filter(|item| matches!(item, Item::Portal { tag: b'E', .. })).count();
    match across {
        Across::Scatter(scatter) => limited || executes != 1 || scatter.locks_some(),
        Across::Combine(_) | Across::Gather(_) => limited || executes != 1,
        Across::Spread(_) | Across::Explained(_) => false,
    }
}

/// Result formats in one form for what means the same.
fn canonical(formats: &[u8]) -> Vec<u8> {
    let codes = formats.get(2..).unwrap_or_default();
    if codes.iter().all(|&byte| byte == 0) {
        return TEXT.to_vec();
    }
    let binary = codes.chunks(2).all(|code| code == [0, 1]);
    if binary { BINARY.to_vec() } else { formats.to_vec() }
}

/// A Bind's portal and what stands behind the names.
fn bound<'a>(bytes: &'a Buffer, item: &'a Item) -> Result<(&'a [u8], &'a [u8], Params<'a>), ClientError> {
    let malformed = || ClientError::error("08P01", "invalid message format");
    let Item::Bind { at, portal, .. } = item else { return Err(malformed()) };
    let body = &bytes.filled()[at.start + HEADER..at.end];
    let (_, rest) = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest)).ok_or_else(malformed)?;
    Ok((portal, rest, Params::parse(rest).ok_or_else(malformed)?))
}

impl Session {
    /// The messages of a statement whose portal stays. In a transaction.
    pub(in crate::session) async fn portal_piece(
        &mut self,
        statement: &Arc<Prepared>,
        across: &Across,
        (group, shards): (GroupId, Vec<ShardId>),
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<(), Failure> {
        let at = items.iter().position(|item| matches!(item, Item::Bind { .. })).unwrap_or_default();
        self.answer_before_bind(bytes, &items[..at]).await?;
        let (name, bind, params) = bound(bytes, &items[at])?;
        self.replace_portal(name).await?;
        let values = &bind[..bind.len() - params.result_formats.len()];
        let whole = items.iter().any(|item| matches!(item, Item::Portal { tag: b'E', max_rows: ..1, .. }));
        let mut portal = match across {
            Across::Scatter(scatter) => {
                let opening = Opening {
                    scatter,
                    group,
                    shards,
                    access: statement.plan.access,
                    text: &statement.text,
                    types: &statement.types,
                    values,
                    window: Window::of(across, Some(&params))?,
                    fences: whole,
                };
                let (live, columns) = self.open_live(opening).await?;
                let number = self.portal_number();
                Portal::new(name, number, Rows::Live(live), columns)
            }
            across => {
                let access = statement.plan.access;
                let held = self.hold_bound(across, access, (group, shards), &statement.types, bind).await?;
                self.held_portal(name, held)
            }
        };
        portal.formats = canonical(params.result_formats);
        self.bind_portal(portal, &items[at + 1..]).await
    }

    /// Rows that are held, by the portal of a Bind, the first of these messages.
    pub(in crate::session) async fn give_held(
        &mut self,
        held: Held,
        formats: &[u8],
        verb: &'static str,
        items: &[Item],
    ) -> Result<(), Failure> {
        held.check_portal()?;
        let [Item::Bind { portal: name, .. }, rest @ ..] = items else { return Ok(()) };
        self.replace_portal(name).await?;
        let mut portal = self.held_portal(name, held);
        (portal.formats, portal.verb) = (canonical(formats), verb);
        self.bind_portal(portal, rest).await
    }

    /// A portal is there; what is asked of it at once.
    async fn bind_portal(&mut self, portal: Portal, rest: &[Item]) -> Result<(), Failure> {
        self.put_portal(portal);
        if !self.is_query {
            self.client.output.extend(reply::BIND_COMPLETE);
        }
        for item in rest {
            if let Item::Portal { tag, portal, max_rows, .. } = item {
                self.portal_message(*tag, portal, *max_rows).await?;
            }
        }
        Ok(())
    }

    /// Makes room for a portal: the unnamed one takes the place of the last.
    async fn replace_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        if name.is_empty() {
            return self.close_portal(name).await;
        }
        Ok(self.check_cursor_name(name, None).await?)
    }

    /// A portal on one shard is about to be bound.
    pub(in crate::session) async fn bind_elsewhere(&mut self, items: &[Item]) -> Result<(), Failure> {
        if !self.transaction.as_ref().is_some_and(|t| t.across.is_any()) {
            return Ok(());
        }
        for item in items {
            let Item::Bind { portal, statement, .. } = item else { continue };
            if portal.is_empty() {
                self.close_portal(portal).await?;
            } else if self.has_portal(portal) {
                self.check_cursor_name(portal, None).await?;
            }
            if matches!(statement.plan.command, Command::Declare { .. }) {
                self.check_declared(&statement.text, None).await?;
            }
        }
        Ok(())
    }

    pub(super) fn portal_number(&self) -> u64 {
        self.transaction.as_ref().map_or(0, |t| t.across.mark())
    }

    fn held_portal(&mut self, name: &[u8], held: Held) -> Portal {
        let number = self.number_portal();
        Portal::new(name, number, Rows::Held(VecDeque::from(held.rows)), held.columns)
    }

    /// Describe, Execute or Close of one that is there.
    pub(in crate::session) async fn portal_message(
        &mut self,
        tag: u8,
        name: &[u8],
        max_rows: i32,
    ) -> Result<(), Failure> {
        match tag {
            b'C' => {
                self.close_portal(name).await?;
                self.client.output.extend(reply::CLOSE_COMPLETE);
            }
            b'D' => {
                let portal = self.take_portal(name, "portal")?;
                let description = described(&portal.columns, &portal.formats);
                self.put_portal(portal);
                frame::put(&mut self.client.output, b'T', &description);
            }
            _ => self.execute_portal(name, max_rows).await?,
        }
        Ok(())
    }

    async fn execute_portal(&mut self, name: &[u8], max_rows: i32) -> Result<(), Failure> {
        self.check_failed(&Command::Plannable)?;
        let mut portal = self.take_portal(name, "portal")?;
        let limit = u64::try_from(max_rows).ok().filter(|max| *max > 0);
        let formats = portal.formats.clone();
        let most = limit.unwrap_or(u64::MAX);
        let done = self.go_forward(&mut portal, most, &formats, &mut Sink::Client(&mut None)).await;
        let verb = portal.verb;
        let ended = portal.at_end;
        // Tables are not in use any more by what has come to its end.
        let live = ended.then(|| std::mem::replace(&mut portal.rows, Rows::Held(VecDeque::new())));
        let count = self.ran(portal, done)?;
        if let Some(Rows::Live(live)) = live {
            self.close_live(live).await?;
        }
        match limit {
            Some(limit) if count == limit => self.client.output.extend(SUSPENDED),
            _ if verb == "EXPLAIN" => reply::complete(&mut self.client.output, verb),
            _ => reply::complete(&mut self.client.output, &format!("{verb} {count}")),
        }
        Ok(())
    }

    /// FETCH, MOVE or CLOSE of a cursor over several shards: the messages of one piece.
    pub(in crate::session) async fn cursor_piece(
        &mut self,
        command: &CursorCommand,
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<(), Failure> {
        let executes = |item: &&Item| matches!(item, Item::Portal { tag: b'E', .. });
        let limited = items.iter().any(|item| matches!(item, Item::Portal { tag: b'E', max_rows: 1.., .. }));
        let mut bound_as = None;
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Parse { .. } => {
                    self.client.output.extend(reply::PARSE_COMPLETE);
                    self.settle(&items[at..=at], 0);
                }
                Item::DescribeStatement { .. } => {
                    self.client.output.extend(reply::NO_PARAMETERS);
                    self.describe_cursor(command, TEXT);
                }
                Item::Bind { .. } => {
                    let (name, _, params) = bound(bytes, item)?;
                    let formats = canonical(params.result_formats);
                    if limited || items.iter().filter(executes).count() != 1 {
                        return self.hold_fetched(command, &formats, &items[at..]).await;
                    }
                    self.replace_portal(name).await?;
                    self.client.output.extend(reply::BIND_COMPLETE);
                    bound_as = Some(formats);
                }
                Item::Portal { tag: b'D', .. } => {
                    self.describe_cursor(command, bound_as.as_deref().unwrap_or(TEXT));
                }
                Item::Portal { tag: b'E', .. } => {
                    self.check_failed(&Command::Cursor)?;
                    let formats = bound_as.clone().unwrap_or_else(|| TEXT.to_vec());
                    self.run_cursor(command, &formats, false).await?;
                }
                Item::Portal { .. } | Item::CloseStatement { .. } => {
                    self.client.output.extend(reply::CLOSE_COMPLETE);
                }
                Item::Fail { .. } => {}
            }
        }
        Ok(())
    }

    /// A FETCH whose own portal has a row limit, or waits to be executed: its rows are held.
    async fn hold_fetched(
        &mut self,
        command: &CursorCommand,
        formats: &[u8],
        items: &[Item],
    ) -> Result<(), Failure> {
        let CursorCommand::Fetch { moves: false, name: cursor, .. } = command else {
            let message = "a portal of MOVE or CLOSE that is not executed just once is not supported over several shards";
            return Err(ClientError::error("0A000", message).into());
        };
        let columns = self.transaction.as_ref().and_then(|t| t.across.find(cursor.as_bytes()));
        let columns = columns.map(|portal| portal.columns.clone()).unwrap_or_default();
        let max = self.world.config.routing.gather_max_bytes;
        self.begin_holding(max).await?;
        let ran = self.run_cursor(command, formats, false).await;
        let held = self.end_holding();
        ran?;
        self.give_held(Held { columns, ..held? }, formats, "FETCH", items).await
    }

    fn describe_cursor(&mut self, command: &CursorCommand, formats: &[u8]) {
        let portal = match command {
            CursorCommand::Fetch { moves: false, name, .. } => {
                self.transaction.as_ref().and_then(|t| t.across.find(name.as_bytes()))
            }
            _ => None,
        };
        match portal.map(|portal| described(&portal.columns, formats)) {
            Some(description) => frame::put(&mut self.client.output, b'T', &description),
            None => self.client.output.extend(reply::NO_DATA),
        }
    }

    /// The rows of a statement over several shards, held. Errors: there are more than may be.
    pub(super) async fn hold_bound(
        &mut self,
        across: &Across,
        access: Access,
        (group, shards): (GroupId, Vec<ShardId>),
        types: &[u32],
        bind: &[u8],
    ) -> Result<Held, Failure> {
        let max = self.world.config.routing.gather_max_bytes;
        self.begin_holding(max).await?;
        let ran = self.across_bound(across, access, (group, shards), types, bind).await;
        let held = self.end_holding();
        ran?;
        let held = held?;
        held.check_portal()?;
        Ok(held)
    }
}

impl Held {
    fn check_portal(&self) -> Result<(), ClientError> {
        if !self.is_over() {
            return Ok(());
        }
        let message = "this cursor or portal over several shards has more rows than may be held";
        let hint =
            "Pin the statement to one shard by its key, filter more, or raise routing.gather_max_bytes.";
        Err(ClientError::error("54000", message).hint(hint))
    }
}
