//! DECLARE over several shards.

use super::live::Opening;
use super::past::Past;
use super::stored::Storing;
use super::{BINARY, Portal, Rows, TEXT};
use crate::error::ClientError;
use crate::plan::locate::Params;
use crate::plan::{Across, Plan};
use crate::reply;
use crate::schema::{GroupId, ShardRef};
use crate::session::Session;
use crate::session::asked::Window;
use crate::session::batch::Item;
use crate::session::prepared::Prepared;
use crate::session::simple::Failure;
use crate::sql::cursor::{Declare, Scroll};
use shardway_pool::buffer::Buffer;
use shardway_pool::frame::{self, HEADER};
use shardway_shardmap::ShardId;
use std::sync::Arc;

/// What a cursor that says nothing of SCROLL keeps to go back, in bytes.
const PAST: u64 = 1024 * 1024;

/// A Bind's body behind the names: no parameters, rows in text.
const NO_PARAMS: &[u8] = &[0; 6];

impl Session {
    /// DECLARE in simple protocol.
    pub(in crate::session) async fn declare_simple(
        &mut self,
        plan: &Plan,
        place: (GroupId, Vec<ShardId>),
        text: &str,
    ) -> Result<(), Failure> {
        self.declare_across(plan, place, text, &[], NO_PARAMS).await?;
        reply::complete(&mut self.client.output, "DECLARE CURSOR");
        Ok(())
    }

    /// DECLARE in extended protocol: the messages of one piece.
    pub(in crate::session) async fn declare_piece(
        &mut self,
        statement: &Arc<Prepared>,
        place: (GroupId, Vec<ShardId>),
        bytes: &Buffer,
        items: &[Item],
    ) -> Result<(), Failure> {
        let mut place = Some(place);
        let mut bind: &[u8] = NO_PARAMS;
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Bind { at: here, portal, .. } => {
                    self.answer_before_bind(bytes, &items[..at]).await?;
                    if portal.is_empty() {
                        self.close_portal(portal).await?;
                    }
                    let body = &bytes.filled()[here.start + HEADER..here.end];
                    let names = frame::cstr(body).and_then(|(_, rest)| frame::cstr(rest));
                    bind = names.map_or(NO_PARAMS, |(_, rest)| rest);
                    self.client.output.extend(reply::BIND_COMPLETE);
                }
                Item::Portal { tag: b'D', .. } => self.client.output.extend(reply::NO_DATA),
                Item::Portal { tag: b'E', .. } => {
                    let Some(place) = place.take() else {
                        let message = "a portal of DECLARE that is executed again is not supported";
                        return Err(ClientError::error("0A000", message).into());
                    };
                    let (plan, text) = (&statement.plan, &statement.text);
                    self.declare_across(plan, place, text, &statement.types, bind).await?;
                    reply::complete(&mut self.client.output, "DECLARE CURSOR");
                }
                Item::Portal { .. } => self.client.output.extend(reply::CLOSE_COMPLETE),
                _ => {}
            }
        }
        Ok(())
    }

    async fn declare_across(
        &mut self,
        plan: &Plan,
        (group, shards): (GroupId, Vec<ShardId>),
        text: &str,
        types: &[u32],
        bind: &[u8],
    ) -> Result<(), Failure> {
        let refused = || ClientError::error("0A000", "this form of DECLARE is not supported");
        let declare = Declare::parse(text).ok_or_else(refused)?;
        let across = plan.across().ok_or_else(refused)?;
        if !declare.hold && self.transaction.is_none() {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(ClientError::error("25P01", message).into());
        }
        self.check_cursor_name(declare.name.as_bytes(), None).await?;
        let malformed = || ClientError::error("08P01", "invalid message format");
        let params = Params::parse(bind).ok_or_else(malformed)?;
        let values = &bind[..bind.len() - params.result_formats.len()];
        if let (Across::Scatter(scatter), false) = (across, declare.hold) {
            let opening = Opening {
                scatter,
                group,
                shards,
                access: plan.access,
                text,
                types,
                values,
                window: Window::of(across, Some(&params))?,
                fences: false,
            };
            let (live, columns) = self.open_live(opening).await?;
            // Locks come with rows as they are first given; Postgres does not go back over them either.
            let scroll = if scatter.locks.is_some() { Scroll::No } else { declare.scroll };
            let past = match scroll {
                Scroll::No => 0,
                Scroll::Maybe => PAST,
                Scroll::Yes => self.world.config.routing.gather_max_bytes,
            };
            let number = self.portal_number();
            let mut portal = Portal::new(declare.name.as_bytes(), number, Rows::Live(live), columns);
            portal.formats = if declare.binary { BINARY } else { TEXT }.to_vec();
            (portal.scroll, portal.past) = (scroll, Past::of(past));
            self.put_portal(portal);
            return Ok(());
        }
        if matches!(across, Across::Scatter(scatter) if scatter.locks.is_some()) {
            let message = "DECLARE CURSOR WITH HOLD ... FOR UPDATE is not supported";
            let error = ClientError::error("0A000", message);
            return Err(self.text_in_postgres_words(text, error).await.into());
        }
        let access = plan.access;
        let storing = Storing { declare: &declare, across, access, group, shards, types, values };
        let opened = self.open_together();
        // Errors of the query are placed in the whole command. One among several is counted from its first word on.
        let before = self.moved;
        let head = if before > 0 { declare.head.trim_start() } else { declare.head };
        self.moved += head.chars().count();
        let stored = self.store_cursor(storing).await;
        self.moved = before;
        if let (Ok(shard), Some(transaction)) = (&stored, &mut self.transaction) {
            transaction.portals.insert(declare.name.clone().into_bytes(), *shard);
        }
        self.close_together(opened, stored).await?;
        Ok(())
    }

    /// A cursor is about to be declared on one shard: its name may be in use on another, or over several.
    pub(in crate::session) async fn check_declared(
        &mut self,
        text: &str,
        shard: Option<ShardRef>,
    ) -> Result<(), ClientError> {
        let known = self.transaction.as_ref().is_some_and(|t| t.across.is_any() || !t.portals.is_empty());
        if !known && self.shards_with_cursors().next().is_none() {
            return Ok(());
        }
        match Declare::parse(text) {
            Some(declare) => self.check_cursor_name(declare.name.as_bytes(), shard).await,
            None => Ok(()),
        }
    }
}
