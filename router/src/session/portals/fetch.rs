//! Moving a cursor about: FETCH, MOVE, CLOSE, and Execute with a row limit. Source: DoPortalRunFetch and PortalRunSelect in
//! pquery.c, whose rules for every direction these are.

use super::{BINARY, Portal, Rows, TEXT};
use crate::error::ClientError;
use crate::reply;
use crate::session::Session;
use crate::session::gather::described;
use crate::session::scatter::FLUSH_AT;
use crate::session::simple::Failure;
use crate::sql::cursor::{ALL, CursorCommand, Scroll, Way};
use shardway_pool::frame;

/// Where rows go that are passed.
pub(super) enum Sink<'a> {
    /// Nowhere.
    None,
    /// To the client, behind a description of them if there is one.
    Client(&'a mut Option<Vec<u8>>),
}

impl Session {
    /// The command for a cursor of several shards, or for all cursors there are; `None` if servers have to do with it alone.
    pub(in crate::session) fn own_cursor(&self, text: &str) -> Option<CursorCommand> {
        let owns = self.transaction.as_ref().is_some_and(|t| t.across.is_any());
        let several = || {
            let with = self.shards_with_cursors().chain(self.servers.iter().map(|p| p.shard));
            let mut places: Vec<_> = with.collect();
            places.sort_unstable();
            places.dedup();
            places.len() > 1
        };
        if !owns && self.servers.len() + self.kept.len() < 2 {
            return None;
        }
        let command = CursorCommand::parse(text)?;
        let is_own = match &command {
            CursorCommand::Fetch { name, .. } | CursorCommand::Close(name) => {
                self.has_portal(name.as_bytes())
            }
            CursorCommand::CloseAll => owns || several(),
        };
        is_own.then_some(command)
    }

    /// Runs it in simple protocol: rows and tag.
    pub(in crate::session) async fn cursor_simple(&mut self, command: &CursorCommand) -> Result<(), Failure> {
        let formats = match command {
            CursorCommand::Fetch { name, .. } => {
                let portal = self.transaction.as_ref().and_then(|t| t.across.find(name.as_bytes()));
                portal.map_or(TEXT, |portal| if portal.formats == BINARY { BINARY } else { TEXT }).to_vec()
            }
            _ => TEXT.to_vec(),
        };
        self.run_cursor(command, &formats, true).await
    }

    /// Runs it: what is described, if it is to be, rows and tag.
    pub(super) async fn run_cursor(
        &mut self,
        command: &CursorCommand,
        formats: &[u8],
        describes: bool,
    ) -> Result<(), Failure> {
        match command {
            CursorCommand::Fetch { moves, name, way } => {
                let mut portal = self.take_portal(name.as_bytes(), "cursor")?;
                let mut description = (describes && !moves).then(|| described(&portal.columns, formats));
                let mut sink = if *moves { Sink::None } else { Sink::Client(&mut description) };
                // What is moved over is fetched as what follows will be, as far as that is known.
                let formats =
                    if *moves && formats == TEXT { portal.kept_in.clone() } else { formats.to_vec() };
                let done = self.fetch(&mut portal, *way, &formats, &mut sink).await;
                let count = self.ran(portal, done)?;
                self.describe_rows(&mut description);
                let verb = if *moves { "MOVE" } else { "FETCH" };
                reply::complete(&mut self.client.output, &format!("{verb} {count}"));
            }
            CursorCommand::Close(name) => {
                self.close_portal(name.as_bytes()).await?;
                reply::complete(&mut self.client.output, "CLOSE CURSOR");
            }
            CursorCommand::CloseAll => {
                self.close_all().await?;
                reply::complete(&mut self.client.output, "CLOSE CURSOR ALL");
            }
        }
        Ok(())
    }

    /// CLOSE ALL: those of several shards, and each server's own.
    async fn close_all(&mut self) -> Result<(), Failure> {
        let mut places: Vec<_> =
            self.shards_with_cursors().chain(self.servers.iter().map(|p| p.shard)).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let index = self.acquire(place, crate::plan::Access::Read).await?;
            if self.servers[index].holds_anything() {
                self.servers[index].doubt();
            }
            let closed = self.servers[index].lease.run("CLOSE ALL").await;
            closed.map_err(|e| crate::session::servers::refused(&e))?;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.across.open.clear();
            transaction.across.stored.clear();
            transaction.portals.clear();
        }
        self.release();
        Ok(())
    }

    /// Tells the client of the columns, once.
    pub(super) fn describe_rows(&mut self, description: &mut Option<Vec<u8>>) {
        if let Some(description) = description.take() {
            frame::put(&mut self.client.output, b'T', &description);
        }
    }

    /// Moves a cursor. How many rows it gave, or would have.
    async fn fetch(
        &mut self,
        portal: &mut Portal,
        way: Way,
        formats: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<u64, Failure> {
        let (ahead, count) = match way {
            Way::Forward(n) => (n >= 0, n.unsigned_abs()),
            Way::Backward(n) => (n < 0, n.unsigned_abs()),
            Way::Absolute(n) => return self.fetch_absolute(portal, n, formats, sink).await,
            Way::Relative(0) => (true, 0),
            Way::Relative(n) => {
                let before = n.unsigned_abs() - 1;
                self.step(portal, n > 0, before, formats, &mut Sink::None).await?;
                return self.step(portal, n > 0, 1, formats, sink).await;
            }
        };
        if count == 0 {
            return self.fetch_again(portal, ahead, sink).await;
        }
        if !ahead && count == ALL.unsigned_abs() && matches!(sink, Sink::None) {
            let passed = portal.at.saturating_sub(1);
            portal.rewind()?;
            return Ok(passed);
        }
        self.step(portal, ahead, count, formats, sink).await
    }

    async fn fetch_absolute(
        &mut self,
        portal: &mut Portal,
        n: i64,
        formats: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<u64, Failure> {
        let none = &mut Sink::None;
        let to = n.unsigned_abs();
        if n == 0 {
            portal.rewind()?;
            return Ok(0);
        }
        if n < 0 {
            self.step(portal, true, ALL.unsigned_abs(), formats, none).await?;
            self.step(portal, false, to - 1, formats, none).await?;
            return self.step(portal, false, 1, formats, sink).await;
        }
        let passed = if portal.at_end { portal.at - 1 } else { portal.at };
        if to - 1 <= passed / 2 {
            portal.rewind()?;
            self.step(portal, true, to - 1, formats, none).await?;
        } else if to <= portal.at {
            self.step(portal, false, portal.at - to + 1, formats, none).await?;
        } else {
            self.step(portal, true, to - portal.at - 1, formats, none).await?;
        }
        self.step(portal, true, 1, formats, sink).await
    }

    /// The row that it is on, once more, if it is on one.
    async fn fetch_again(
        &mut self,
        portal: &mut Portal,
        ahead: bool,
        sink: &mut Sink<'_>,
    ) -> Result<u64, Failure> {
        let on_row = portal.at > 0 && !portal.at_end;
        let Sink::Client(description) = sink else { return Ok(u64::from(on_row)) };
        if portal.scroll == Scroll::No && (on_row || !ahead) {
            return Err(portal.only_forward().into());
        }
        if !on_row {
            return Ok(0);
        }
        let row = portal.past.get(portal.at).ok_or_else(|| portal.only_forward())?.to_vec();
        self.give_kept(&row, description).await?;
        Ok(1)
    }

    async fn step(
        &mut self,
        portal: &mut Portal,
        ahead: bool,
        count: u64,
        formats: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<u64, Failure> {
        match (count, ahead) {
            (0, _) => Ok(0),
            (_, true) => self.go_forward(portal, count, formats, sink).await,
            (_, false) => self.go_back(portal, count, sink).await,
        }
    }

    /// Goes forward over so many rows. How many there were.
    pub(super) async fn go_forward(
        &mut self,
        portal: &mut Portal,
        count: u64,
        formats: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<u64, Failure> {
        if portal.kept_in != formats {
            // They could not be given again as they would be now.
            portal.past.clear();
            portal.kept_in = formats.to_vec();
        }
        if let Rows::Live(live) = &mut portal.rows {
            live.goes_on();
        }
        let mut done = 0;
        while done < count && !portal.at_end {
            let row = if portal.at < portal.given {
                let row = portal.past.get(portal.at + 1).ok_or_else(|| portal.only_forward())?;
                row.into()
            } else {
                match self.next_row(&mut portal.rows, count - done, formats).await? {
                    Some(row) => {
                        portal.given += 1;
                        portal.past.push(&row);
                        row
                    }
                    None => {
                        portal.at_end = true;
                        portal.at += 1;
                        break;
                    }
                }
            };
            portal.at += 1;
            done += 1;
            if let Sink::Client(description) = sink {
                self.give_kept(&row, description).await?;
            }
        }
        Ok(done)
    }

    async fn next_row(
        &mut self,
        rows: &mut Rows,
        want: u64,
        formats: &[u8],
    ) -> Result<Option<Box<[u8]>>, Failure> {
        match rows {
            Rows::Live(live) => self.live_row(live, want, formats).await,
            Rows::Held(rows) => Ok(rows.pop_front()),
        }
    }

    async fn go_back(
        &mut self,
        portal: &mut Portal,
        count: u64,
        sink: &mut Sink<'_>,
    ) -> Result<u64, Failure> {
        if portal.scroll == Scroll::No {
            return Err(portal.only_forward().into());
        }
        let mut done = 0;
        while done < count && portal.at > 0 {
            let to = portal.at - 1;
            if to > 0 {
                let row = portal.past.get(to).ok_or_else(|| portal.only_forward())?.to_vec();
                done += 1;
                if let Sink::Client(description) = sink {
                    self.give_kept(&row, description).await?;
                }
            }
            (portal.at, portal.at_end) = (to, false);
        }
        Ok(done)
    }

    /// Gives the client a row.
    async fn give_kept(&mut self, row: &[u8], description: &mut Option<Vec<u8>>) -> Result<(), Failure> {
        self.describe_rows(description);
        frame::put(&mut self.client.output, b'D', row);
        if self.client.output.len() >= FLUSH_AT {
            self.flush_rows().await?;
        }
        Ok(())
    }
}

impl Portal {
    /// In front of the first row.
    fn rewind(&mut self) -> Result<(), ClientError> {
        if self.at == 0 {
            return Ok(());
        }
        if self.scroll == Scroll::No || self.given > 0 && !self.past.is_whole() {
            return Err(self.only_forward());
        }
        (self.at, self.at_end) = (0, false);
        Ok(())
    }

    /// Why it does not go back.
    fn only_forward(&self) -> ClientError {
        if self.scroll == Scroll::Yes {
            let message =
                "this cursor over several shards has given more rows than may be held to go back to";
            let hint =
                "Raise routing.gather_max_bytes, fetch fewer rows, or fetch all of them in one format.";
            return ClientError::error("54000", message).hint(hint);
        }
        ClientError::error("55000", "cursor can only scan forward")
            .hint("Declare it with SCROLL option to enable backward scan.")
    }
}
